/* See snimap.h. It needs no more of tables than their text, so that a root process that reads one links neither cdb nor PCRE2. */
#include "map/snimap.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/map.h"
#include "map/source.h"
#include "os/os.h"

struct reading {
	struct snimap *map;
	struct arena *a;
	struct map *index;	/* "chain\nkey" to its pair */
	const char *file;
};

/* The pair of these files, made if it is a new one. */
static int pair_of(struct reading *r, struct str chain, struct str key, unsigned *out, struct err *e)
{
	struct snimap *map = r->map;
	const struct str both = str_c(arena_printf(r->a, "%.*s\n%.*s", STR_ARG(chain), STR_ARG(key)));
	const struct snimap_pair *old = map_get(r->index, both);

	if (old) {
		*out = (unsigned)(old - map->pairs);
		return 0;
	}
	if (map->n_pairs == SNIMAP_PAIRS_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d certificates", SNIMAP_PAIRS_MAX);
	struct snimap_pair *p = &map->pairs[map->n_pairs];
	*p = (struct snimap_pair){ .chain = arena_cstr(r->a, chain), .key = arena_cstr(r->a, key) };
	(void)map_set(r->index, both, p);
	*out = (unsigned)map->n_pairs++;
	return 0;
}

static int take_word(struct str *rest, struct str *out, struct err *e)
{
	if (!str_token(rest, ", \t", out))
		return 0;
	if (out->p[0] != '/' || out->n > SNIMAP_PATH_MAX)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: absolute paths)", STR_ARG(str_sub(*out, 0, 60)));
	return 1;
}

/* Postfix has one file with both. That would bring the key into processes that must not have one. */
static int take_pairs(struct reading *r, struct str value, struct snimap_name *name, struct err *e)
{
	struct str chain, key;
	int got;

	while ((got = take_word(&value, &chain, e)) == 1) {
		if ((got = take_word(&value, &key, e)) < 0)
			return -1;
		if (got == 0 || str_eq(chain, key))
			return err_set(e, ERR_CONF, 0, "%.*s: a chain without a key (allowed: CHAIN KEY, in two files)", STR_ARG(str_sub(chain, 0, 100)));
		if (name->n_pairs == SNIMAP_OF_NAME_MAX)
			return err_set(e, ERR_CONF, 0, "more than %d certificates for one name", SNIMAP_OF_NAME_MAX);
		if (pair_of(r, chain, key, &name->pairs[name->n_pairs], e) < 0)
			return -1;
		name->n_pairs++;
	}
	return got;
}

static int take_line(struct reading *r, struct str line, unsigned number, struct err *e)
{
	struct snimap *map = r->map;
	struct str key, value;

	if (source_pair(line, false, &key, &value, e) < 0)
		return -1;
	if (map->n_names == SNIMAP_NAMES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d names", SNIMAP_NAMES_MAX);
	struct snimap_name *n = &map->names[map->n_names];
	*n = (struct snimap_name){ .name = arena_str(r->a, key), .file = r->file, .line = number };
	if (take_pairs(r, value, n, e) < 0)
		return -1;
	if (n->n_pairs == 0)
		return err_set(e, ERR_CONF, 0, "%.*s: no files (allowed: CHAIN KEY)", STR_ARG(str_sub(key, 0, 60)));
	map->n_names++;
	return 0;
}

static void rooms(struct arena *a, struct snimap *map)
{
	map->pairs = ARENA_ARRAY(a, struct snimap_pair, SNIMAP_PAIRS_MAX);
	map->names = ARENA_ARRAY(a, struct snimap_name, SNIMAP_NAMES_MAX);
}

int snimap_parse(struct str text, const char *file, struct arena *a, struct snimap *map, struct err *e)
{
	struct reading r = { .map = map, .a = a, .index = map_new(), .file = file };
	struct source s;
	struct str line;
	int got;

	if (map->pairs == NULL)
		rooms(a, map);
	for (size_t i = 0; i < map->n_pairs; i++)
		(void)map_set(r.index, str_c(arena_printf(a, "%s\n%s", map->pairs[i].chain, map->pairs[i].key)), &map->pairs[i]);
	source_init(&s, text);
	while ((got = source_next(&s, &line, e)) == 1 && (got = take_line(&r, line, s.line, e)) == 0)
		;
	if (got < 0)
		err_wrap(e, "%s:%u", file, s.line);
	source_fini(&s);
	map_free(&r.index);
	return got < 0 ? -1 : 0;
}

static int read_table(const char *spec, struct arena *a, struct snimap *map, struct err *e)
{
	static const struct str type = { "texthash:", 9 };
	const char *file = spec + type.n;
	struct stat st;
	struct buf text;

	if (!str_starts(str_c(spec), type) || file[0] != '/')
		return err_set(e, ERR_CONF, 0, "%.80s (allowed: texthash:/file)", spec);
	if (geteuid() == 0 && stat(file, &st) == 0 && (st.st_uid != 0 || (st.st_mode & 022)))
		return err_set(e, ERR_CONF, 0, "%s must belong to root and be writable by nobody else", file);
	buf_init(&text, SNIMAP_BYTES_MAX);
	int r = file_read(file, SNIMAP_BYTES_MAX, &text, e);
	if (r == 0)
		r = snimap_parse(buf_view(&text), arena_strdup(a, file), a, map, e);
	buf_fini(&text);
	return r;
}

static int read_tables(struct conf_list tables, struct arena *a, struct snimap *map, struct err *e)
{
	for (size_t i = 0; i < tables.n; i++)
		if (read_table(tables.v[i], a, map, e) < 0)
			return -1;
	return 0;
}

int snimap_read(struct conf_list tables, struct arena *a, struct snimap *out, struct err *e)
{
	struct snimap map = { .n_pairs = 0 };

	if (read_tables(tables, a, &map, e) < 0)
		return -1;
	*out = map;
	return 0;
}

int snimap_conf(const struct conf *c, struct arena *a, struct snimap *out, struct err *e)
{
	struct snimap map = { .n_pairs = 0 };

	rooms(a, &map);
	for (; map.n_alt < c->tls_alt_cert_files.n && map.n_alt < c->tls_alt_key_files.n && map.n_alt < SNIMAP_OF_NAME_MAX; map.n_alt++)
		map.pairs[map.n_alt] = (struct snimap_pair){ .chain = c->tls_alt_cert_files.v[map.n_alt], .key = c->tls_alt_key_files.v[map.n_alt] };
	map.n_pairs = map.n_alt;
	*out = map;
	if (read_tables(c->tls_server_sni_maps, a, &map, e) < 0)
		return -1;
	*out = map;
	return 0;
}
