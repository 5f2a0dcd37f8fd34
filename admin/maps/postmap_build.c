/* From the source of a map to its cdb file. All mistakes of a source are told; with one error nothing is written. */
#include "admin/maps/postmap.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/enc.h"
#include "base/map.h"
#include "deliver/resolve/aliases.h"
#include "map/cdbfile.h"
#include "map/source.h"
#include "os/os.h"

struct pair {
	struct pair *next;
	struct str key, value;
	unsigned line;
};

struct making {
	struct build *b;
	const char *source;
	struct arena *arena;
	struct map *keys;
	struct pair *pairs, **end;
	struct buf key_space;
};

static void tell(struct making *m, unsigned line, bool error, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static void tell(struct making *m, unsigned line, bool error, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n = line ? snprintf(text, sizeof(text), "%s:%u: %s", m->source, line,
				error ? "error: " : "warning: ")
		     : snprintf(text, sizeof(text), "%s: %s", m->source,
				error ? "error: " : "warning: ");

	if (n < 0 || n >= (int)sizeof(text))
		n = 0;
	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (error)
		m->b->errors++;
	else
		m->b->warnings++;
	m->b->tell(m->b->ctx, text);
}

static struct str fold(const struct making *m, struct str s)
{
	char *p = arena_alloc(m->arena, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = m->b->keep_case ? s.p[i] : ch_lower(s.p[i]);
	return str_n(p, s.n);
}

static void add(struct making *m, struct str key, struct str value, unsigned line)
{
	struct pair *p = ARENA_NEW(m->arena, struct pair), *old;

	*p = (struct pair){ .key = fold(m, key),
			    .value = arena_str(m->arena, value),
			    .line = line };
	old = map_get(m->keys, p->key);
	if (!old) {
		map_set(m->keys, p->key, p);
		*m->end = p;
		m->end = &p->next;
		m->b->entries++;
		return;
	}
	if (!m->b->dup_silent && !m->b->dup_replace)
		tell(m, line, m->b->strict,
		     "duplicate key \"%.*s\" (first in line %u): the first stays",
		     STR_ARG(str_sub(p->key, 0, 80)), old->line);
	if (m->b->dup_replace)
		old->value = p->value;
}

/* Items that nobody could deliver to are a mistake now, not at delivery. */
static void check_alias_value(struct making *m, struct str value, unsigned line)
{
	struct arena *a = arena_new(0);
	struct alias_reader rd;
	struct alias_item item;
	struct err e = { 0 };
	int r;

	alias_reader_init(&rd, value);
	while ((r = alias_next(&rd, a, &item, &e)) > 0)
		;
	if (r < 0)
		tell(m, line, true, "%s", e.text);
	arena_free(&a);
}

static void take_alias(struct making *m, struct str line, unsigned number)
{
	struct err e = { 0 };
	struct str key, value;

	if (source_alias(line, &m->key_space, &key, &value, &e) < 0) {
		m->b->skipped++;
		tell(m, number, m->b->strict, "%s; line skipped", e.text);
		return;
	}
	if (str_chr(key, '@') >= 0)
		tell(m, number, m->b->strict,
		     "\"%.*s\": an alias has no domain: this key never matches (virtual_alias_maps "
		     "takes addresses)",
		     STR_ARG(str_sub(key, 0, 80)));
	check_alias_value(m, value, number);
	add(m, key, value, number);
}

/* The content of all files that value names, one after the other, in base64. */
static int files_value(struct making *m, struct str *value, struct err *e)
{
	struct buf all, coded, one;
	struct str rest = *value, name;
	int r = 0;

	buf_init(&all, SOURCE_LINE_MAX);
	buf_init(&coded, SOURCE_LINE_MAX * 2);
	while (r == 0 && str_token(&rest, ", \t", &name)) {
		buf_init(&one, SOURCE_LINE_MAX);
		r = file_read(arena_cstr(m->arena, name), SOURCE_LINE_MAX, &one, e);
		buf_str(&all, buf_view(&one));
		buf_fini(&one);
	}
	base64_encode(&coded, buf_view(&all));
	if (r == 0)
		r = buf_check(&all, "content", e);
	*value = arena_str(m->arena, buf_view(&coded));
	buf_fini(&all);
	buf_fini(&coded);
	return r;
}

static void take_pair(struct making *m, struct str line, unsigned number)
{
	struct err e = { 0 };
	struct str key, value;

	if (source_pair(line, m->b->colon_ok, &key, &value, &e) < 0 ||
	    (m->b->files && files_value(m, &value, &e) < 0)) {
		tell(m, number, true, "%s", e.text);
		return;
	}
	add(m, key, value, number);
}

static void take_all(struct making *m, struct str text)
{
	struct source s;
	struct str line;
	struct err e = { 0 };
	int r;

	source_init(&s, text);
	while ((r = source_next(&s, &line, &e)) != 0) {
		if (r < 0)
			tell(m, s.line, true, "%s", e.text);
		else if (m->b->alias)
			take_alias(m, line, s.line);
		else
			take_pair(m, line, s.line);
	}
	source_fini(&s);
}

/* --- files --- */

static int write_map(const struct making *m, const struct stat *st, struct err *e)
{
	struct cdbwrite *w;
	char *path;
	int r = 0;

	if (asprintf(&path, "%s.cdb", m->source) < 0)
		abort();
	if (cdbwrite_begin(path, &w, e) < 0) {
		free(path);
		return -1;
	}
	for (const struct pair *p = m->pairs; r >= 0 && p; p = p->next)
		r = cdbwrite_add(w, p->key, p->value, e);
	if (r < 0)
		cdbwrite_abort(&w);
	else
		r = cdbwrite_commit(&w, st->st_mode & 0644, (uid_t)-1,
				    geteuid() == st->st_uid ? st->st_gid : (gid_t)-1, e);
	free(path);
	return r;
}

/* Root acts as the owner of the source, who could otherwise have root write where links lead. */
static int become_owner(const char *source, struct stat *st, struct err *e)
{
	if (stat(source, st) < 0)
		return err_set(e, ERR_NOENT, errno, "%s", source);
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_CONF, 0, "%s: not a regular file", source);
	if (geteuid() != 0)
		return 0;
	if (path_trusted(source, st->st_uid, e) < 0)
		return -1;
	if (st->st_uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setegid(st->st_gid) < 0 || seteuid(st->st_uid) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: cannot act as its owner", source);
	return 0;
}

static void become_self(void)
{
	if (getuid() == 0 && geteuid() != 0 && (seteuid(0) < 0 || setegid(getgid()) < 0))
		abort();
}

static int build(struct making *m, struct err *e)
{
	struct stat st;
	struct buf text;
	int r;

	buf_init(&text, SOURCE_FILE_MAX);
	r = become_owner(m->source, &st, e);
	if (r == 0)
		r = file_read(m->source, SOURCE_FILE_MAX, &text, e);
	if (r == 0)
		take_all(m, buf_view(&text));
	buf_fini(&text);
	if (r == 0 && m->b->alias && !map_get(m->keys, STR("postmaster")))
		tell(m, 0, m->b->strict,
		     "no alias for postmaster, which every mail server must have (its mail goes to "
		     "root)");
	if (r == 0 && m->b->errors)
		r = -1;
	if (r == 0 && !m->b->check_only)
		r = write_map(m, &st, e);
	become_self();
	return r;
}

int map_build(struct build *b, const char *source, struct err *e)
{
	struct making m = { .b = b, .source = source, .arena = arena_new(0), .keys = map_new() };

	m.end = &m.pairs;
	buf_init(&m.key_space, SOURCE_KEY_MAX);
	err_clear(e);
	const int r = build(&m, e);

	buf_fini(&m.key_space);
	map_free(&m.keys);
	arena_free(&m.arena);
	return r;
}
