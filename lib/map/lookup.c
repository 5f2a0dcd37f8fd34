/* Types of tables: a row of handlers each. */
#include "map/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/map.h"
#include "conf/conf.h"
#include "map/cdbfile.h"
#include "map/pcre.h"
#include "map/source.h"
#include "os/os.h"

enum { PATTERNS_MAX = 10000, KEY_MAX = SOURCE_KEY_MAX, SPEC_MAX = 4096 };

struct entry {
	struct entry *next; /* in file order */
	struct str key, value;
	unsigned line;
};

struct network {
	struct network *next;
	struct cidr cidr;
	struct str value;
	unsigned line;
};

struct pattern {
	struct pattern *next;
	struct pcre *re;	/* NULL: endif */
	struct str value;
	unsigned line;
	bool inverted;		/* "!": it is for what does not match */
	bool is_if;
	struct pattern *past;	/* of an if: its endif; while that has not come yet, the if around it */
};

struct lookup {
	const struct type *type;
	char *spec, *file, *source;
	const char *rest; /* of the spec, after the colon */
	struct cdbfile *cdb;
	/* texthash, inline */
	struct arena *arena;
	struct map *keys;
	struct entry *entries, **entries_end;
	/* pcre */
	struct pattern *patterns, **patterns_end, *open_if;
	struct network *networks, **networks_end; /* cidr */
	struct stat st; /* of the text that was read */
	bool broken;
	struct err trouble;
};

struct type {
	const char *name;
	bool is_pattern, has_file, compiled;
	int (*load)(struct lookup *l, struct err *e);
	int (*get)(struct lookup *l, struct str key, struct buf *out, unsigned *line,
		   struct err *e);
};

/* --- cdb --- */

static int cdb_load(struct lookup *l, struct err *e)
{
	cdbfile_close(&l->cdb);
	return cdbfile_open(l->file, &l->cdb, e);
}

static int cdb_get(struct lookup *l, struct str key, struct buf *out, unsigned *line, struct err *e)
{
	return cdbfile_get(l->cdb, key, LOOKUP_VALUE_MAX, out, e);
}

/* --- tables in memory --- */

static void memory_free(struct lookup *l)
{
	for (struct pattern *p = l->patterns; p; p = p->next)
		pcre_free(&p->re);
	if (l->keys)
		map_free(&l->keys);
	if (l->arena)
		arena_free(&l->arena);
	l->entries = NULL;
	l->entries_end = &l->entries;
	l->patterns = NULL;
	l->patterns_end = &l->patterns;
	l->open_if = NULL;
	l->networks = NULL;
	l->networks_end = &l->networks;
}

static void memory_new(struct lookup *l)
{
	memory_free(l);
	l->arena = arena_new(0);
	l->keys = map_new();
}

static struct str fold(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = ch_lower(s.p[i]);
	return str_n(p, s.n);
}

/* The first of two equal keys stays, as in a compiled map. */
static void memory_add(struct lookup *l, struct str key, struct str value, unsigned line)
{
	struct entry *en = ARENA_NEW(l->arena, struct entry);

	*en = (struct entry){ .key = fold(l->arena, key),
			      .value = arena_str(l->arena, value),
			      .line = line };
	if (map_get(l->keys, en->key))
		return;
	map_set(l->keys, en->key, en);
	*l->entries_end = en;
	l->entries_end = &en->next;
}

static int memory_get(struct lookup *l, struct str key, struct buf *out, unsigned *line,
		      struct err *e)
{
	const struct entry *en = map_get(l->keys, key);

	if (!en)
		return 1;
	buf_str(out, en->value);
	*line = en->line;
	return 0;
}

/* Each logical line of the file through put; the first mistake ends it. */
static int text_load(struct lookup *l,
		     int (*put)(struct lookup *l, struct str line, unsigned number, struct err *e),
		     struct err *e)
{
	struct source s;
	struct buf text;
	struct str line;

	buf_init(&text, SOURCE_FILE_MAX);
	memory_new(l);
	int r = stat(l->file, &l->st) < 0 ? err_set(e, ERR_TEMP, errno, "%s", l->file)
					  : file_read(l->file, SOURCE_FILE_MAX, &text, e);

	if (r == 0) {
		source_init(&s, buf_view(&text));
		while ((r = source_next(&s, &line, e)) == 1 && (r = put(l, line, s.line, e)) == 0)
			;
		if (r < 0)
			err_wrap(e, "%s:%u", l->file, s.line);
		source_fini(&s);
	}
	buf_fini(&text);
	return r < 0 ? -1 : 0;
}

static int texthash_put(struct lookup *l, struct str line, unsigned number, struct err *e)
{
	struct str key, value;

	if (source_pair(line, false, &key, &value, e) < 0)
		return -1;
	memory_add(l, key, value, number);
	return 0;
}

static int texthash_load(struct lookup *l, struct err *e)
{
	return text_load(l, texthash_put, e);
}

/* {key=value, key=value}; also Postfix's {{key = value} {key = value}}. */
static int inline_load(struct lookup *l, struct err *e)
{
	struct str s = str_trim(str_c(l->rest)), pair;
	unsigned line = 0;

	memory_new(l);
	if (s.n < 2 || s.p[0] != '{' || s.p[s.n - 1] != '}')
		return err_set(e, ERR_CONF, 0,
			       "%s: no braces (allowed: inline:{key=value, key=value})", l->spec);
	s = str_trim(str_sub(s, 1, s.n - 2));
	const bool nested = s.n && s.p[0] == '{';

	while (str_token(&s, nested ? "{}" : ",", &pair)) {
		const ptrdiff_t eq = str_chr(pair, '=');
		const struct str key = str_trim(str_sub(pair, 0, eq < 0 ? pair.n : (size_t)eq));

		if (nested && (str_trim(pair).n == 0 || str_eq(str_trim(pair), STR(","))))
			continue;
		if (eq < 0 || key.n == 0)
			return err_set(e, ERR_CONF, 0, "%s: \"%.*s\" is not key=value", l->spec,
				       STR_ARG(str_sub(pair, 0, 60)));
		memory_add(l, key, str_trim(str_from(pair, (size_t)eq + 1)), ++line);
	}
	return 0;
}

/* --- static --- */

static int static_load(struct lookup *l, struct err *e)
{
	return 0;
}

static int static_get(struct lookup *l, struct str key, struct buf *out, unsigned *line,
		      struct err *e)
{
	buf_c(out, l->rest);
	return 0;
}

/* --- pcre --- */

/* "/pattern/flags value" as in pcre_table(5): case is folded and a point matches line ends unless the letter i or s says no. */
static int pattern_parse(struct str line, struct pcre **out, struct str *rest, struct err *e)
{
	const char delimiter = line.p[0];
	char flags[16] = "is";
	size_t end = 1, n = 2;

	while (end < line.n && line.p[end] != delimiter)
		end += line.p[end] == '\\' ? 2 : 1;
	if (ch_alnum(delimiter) || end >= line.n)
		return err_set(e, ERR_CONF, 0, "no pattern (allowed: /pattern/flags value)");
	size_t i = end + 1;

	for (; i < line.n && !ch_blank(line.p[i]); i++) {
		char *known = memchr(flags, line.p[i], n);

		if (known)
			*known = flags[--n]; /* a letter toggles */
		else if (n < sizeof(flags) - 1)
			flags[n++] = line.p[i];
	}
	flags[n] = 0;
	*rest = str_from(line, i);
	return pcre_compile(str_sub(line, 1, end - 1), flags, false, out, e);
}

static void pattern_add(struct lookup *l, struct pattern *p)
{
	*l->patterns_end = p;
	l->patterns_end = &p->next;
}

static int endif_put(struct lookup *l, struct pattern *p, struct err *e)
{
	struct pattern *opened = l->open_if;

	if (opened == NULL)
		return err_set(e, ERR_CONF, 0, "endif without if");
	l->open_if = opened->past;
	opened->past = p;
	pattern_add(l, p);
	return 0;
}

/* The first word of line, if it is this one. */
static bool word_is(struct str line, const char *word)
{
	return str_case_eq(str_split(&line, ' '), str_c(word));
}

/* What stands behind a pattern; with "!" nothing is captured that it could name. */
static int value_put(struct pattern *p, struct str value, struct lookup *l, struct err *e)
{
	const struct str none[1] = { { 0 } };
	struct buf b;

	p->value = arena_str(l->arena, str_trim(value));
	if (p->is_if ? p->value.n > 0 : p->value.n == 0)
		return err_set(e, ERR_CONF, 0, p->is_if ? "a value behind if" : "no value after the pattern");
	if (!p->inverted || p->is_if)
		return 0;
	buf_init(&b, LOOKUP_VALUE_MAX);
	const int r = pcre_expand(p->value, none, 1, &b, e);
	buf_fini(&b);
	return r;
}

static int pcre_put(struct lookup *l, struct str line, unsigned number, struct err *e)
{
	struct pattern *p = ARENA_NEW(l->arena, struct pattern);
	struct str rest;

	if (number > PATTERNS_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d lines", PATTERNS_MAX);
	p->line = number;
	if (word_is(line, "endif"))
		return endif_put(l, p, e);
	p->is_if = word_is(line, "if");
	if (p->is_if)
		line = str_trim(str_from(line, 2));
	while (line.n > 0 && line.p[0] == '!') {
		p->inverted = !p->inverted;
		line = str_trim(str_from(line, 1));
	}
	if (line.n == 0)
		return err_set(e, ERR_CONF, 0, "no pattern (allowed: /pattern/flags value)");
	if (pattern_parse(line, &p->re, &rest, e) < 0)
		return -1;
	pattern_add(l, p);
	if (value_put(p, rest, l, e) < 0)
		return -1;
	if (p->is_if) {
		p->past = l->open_if;
		l->open_if = p;
	}
	return 0;
}

static int pcre_load(struct lookup *l, struct err *e)
{
	if (text_load(l, pcre_put, e) < 0)
		return -1;
	if (l->open_if != NULL)
		return err_set(e, ERR_CONF, 0, "%s:%u: if without endif", l->file, l->open_if->line);
	return 0;
}

static int pcre_get(struct lookup *l, struct str key, struct buf *out, unsigned *line,
		    struct err *e)
{
	for (const struct pattern *p = l->patterns; p; p = p->next) {
		struct str groups[PCRE_GROUPS_MAX] = { { 0 } };

		if (p->re == NULL)
			continue;
		const int r = pcre_match(p->re, key, groups, PCRE_GROUPS_MAX, e);
		if (r < 0)
			return err_wrap(e, "%s:%u", l->file, p->line);
		if ((r == 1) == p->inverted) {
			p = p->is_if ? p->past : p;
			continue;
		}
		if (p->is_if)
			continue;
		*line = p->line;
		return pcre_expand(p->value, groups, PCRE_GROUPS_MAX, out, e);
	}
	return 1;
}

/* --- cidr: the first network that holds the address decides --- */

static int cidr_put(struct lookup *l, struct str line, unsigned number, struct err *e)
{
	struct network *n = ARENA_NEW(l->arena, struct network);
	struct str rest = line, word;

	if (!str_token(&rest, " \t", &word) || cidr_parse(word, &n->cidr, e) < 0)
		return -1;
	n->value = arena_str(l->arena, str_trim(rest));
	n->line = number;
	*l->networks_end = n;
	l->networks_end = &n->next;
	return n->value.n == 0 ? err_set(e, ERR_CONF, 0, "no value after the network") : 0;
}

static int cidr_load(struct lookup *l, struct err *e)
{
	return text_load(l, cidr_put, e);
}

static int cidr_get(struct lookup *l, struct str key, struct buf *out, unsigned *line, struct err *e)
{
	uint8_t addr[16];

	if (addr_parse(key, addr) < 0)
		return 1;
	for (const struct network *n = l->networks; n; n = n->next) {
		struct cidr c = n->cidr;

		c.negate = false;
		if (cidr_match(&c, 1, addr) == n->cidr.negate)
			continue;
		buf_str(out, n->value);
		*line = n->line;
		return 0;
	}
	return 1;
}

static const struct type types[] = {
	/* name     pattern  file   compiled  load           get */
	{ "cdb", false, true, true, cdb_load, cdb_get },
	{ "hash", false, true, true, cdb_load, cdb_get },
	{ "texthash", false, true, false, texthash_load, memory_get },
	{ "pcre", true, true, false, pcre_load, pcre_get },
	{ "cidr", true, true, false, cidr_load, cidr_get },
	{ "static", true, false, false, static_load, static_get },
	{ "inline", false, false, false, inline_load, memory_get },
};

/* --- the interface --- */

static const struct type *type_find(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(str_c(types[i].name), name))
			return &types[i];
	return NULL;
}

static void load(struct lookup *l)
{
	struct err e = { 0 };

	l->broken = l->type->load(l, &e) < 0;
	if (l->broken) {
		e.code = ERR_TEMP;
		l->trouble = e;
	}
}

int lookup_open(const char *spec, struct lookup **out, struct err *e)
{
	const ptrdiff_t colon = str_chr(str_c(spec), ':');
	const struct type *type =
		colon < 0 ? NULL : type_find(str_sub(str_c(spec), 0, (size_t)colon));

	if (!type)
		return err_set(e, ERR_CONF, 0,
			       "\"%.80s\": no such table type (allowed: cdb: hash: texthash: pcre: "
			       "cidr: static: inline:)",
			       spec);
	const char *rest = spec + colon + 1;

	if (type->has_file && (rest[0] != '/' || strlen(rest) > SPEC_MAX))
		return err_set(e, ERR_CONF, 0, "\"%.80s\": the file needs an absolute path", spec);
	struct lookup *l = xzalloc(sizeof(*l));

	l->type = type;
	l->spec = xstrdup(spec);
	l->rest = l->spec + colon + 1;
	l->entries_end = &l->entries;
	l->patterns_end = &l->patterns;
	l->networks_end = &l->networks;
	if (type->has_file) {
		l->source = xstrdup(rest);
		if (asprintf(&l->file, "%s%s", rest, type->compiled ? ".cdb" : "") < 0)
			abort();
	}
	load(l);
	if (l->broken && !type->has_file) {
		if (e) {
			*e = l->trouble;
			e->code = ERR_CONF;
		}
		lookup_close(&l);
		return -1;
	}
	*out = l;
	return 0;
}

void lookup_close(struct lookup **lp)
{
	struct lookup *l = *lp;

	*lp = NULL;
	if (!l)
		return;
	cdbfile_close(&l->cdb);
	memory_free(l);
	free(l->spec);
	free(l->file);
	free(l->source);
	free(l);
}

int lookup_get(struct lookup *l, struct str key, struct buf *out, unsigned *line_out, struct err *e)
{
	char folded[KEY_MAX];
	unsigned line = 0;
	int r;

	if (l->broken) {
		if (e)
			*e = l->trouble;
		return -1;
	}
	if (!l->type->is_pattern && key.n > KEY_MAX)
		return 1;	/* no table has such a key */
	if (!l->type->is_pattern) {
		for (size_t i = 0; i < key.n; i++)
			folded[i] = ch_lower(key.p[i]);
		key = str_n(folded, key.n);
	}
	r = l->type->get(l, key, out, &line, e);
	if (r == 0 && buf_check(out, "value", e) < 0)
		r = -1;
	if (r < 0) {
		if (e)
			e->code = ERR_TEMP;
		return err_wrap(e, "%s", l->spec);
	}
	if (line_out && r == 0)
		*line_out = line;
	return r;
}

static bool text_changed(const struct lookup *l)
{
	struct stat st;

	return stat(l->file, &st) < 0 || st.st_ino != l->st.st_ino || st.st_dev != l->st.st_dev ||
	       st.st_size != l->st.st_size || st.st_mtim.tv_sec != l->st.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != l->st.st_mtim.tv_nsec;
}

bool lookup_refresh(struct lookup *l)
{
	const bool was_broken = l->broken;

	if (!l->type->has_file)
		return false;
	if (!l->broken && !(l->type->compiled ? cdbfile_changed(l->cdb, l->file) : text_changed(l)))
		return false;
	load(l);
	return !(was_broken && l->broken);
}

void lookup_reload(struct lookup *l)
{
	if (l->type->has_file)
		load(l);
}

const struct err *lookup_trouble(const struct lookup *l)
{
	return l->broken ? &l->trouble : NULL;
}

const char *lookup_spec(const struct lookup *l)
{
	return l->spec;
}

const char *lookup_file(const struct lookup *l)
{
	return l->file;
}

const char *lookup_source(const struct lookup *l)
{
	return l->source;
}

bool lookup_is_pattern(const struct lookup *l)
{
	return l->type->is_pattern;
}

struct each {
	int (*fn)(void *ctx, struct str key, struct str value, unsigned line);
	void *ctx;
};

static int each_cdb(void *ctx, struct str key, struct str value)
{
	const struct each *each = ctx;

	return each->fn(each->ctx, key, value, 0);
}

int lookup_each(struct lookup *l,
		int (*fn)(void *ctx, struct str key, struct str value, unsigned line), void *ctx,
		struct err *e)
{
	struct each each = { fn, ctx };

	if (l->broken) {
		if (e)
			*e = l->trouble;
		return -1;
	}
	if (l->type->compiled)
		return cdbfile_each(l->cdb, each_cdb, &each, e);
	for (const struct entry *en = l->entries; en; en = en->next)
		if (fn(ctx, en->key, en->value, en->line) != 0)
			break;
	return 0;
}
