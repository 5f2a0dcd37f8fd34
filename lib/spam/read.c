/* Rule files: lines, comments, include, lang, conditions (SpamAssassin's Conf syntax). A line with a mistake is told with file and number and skipped. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "spam/set.h"

/* Up to the first '#' that no backslash precedes; "\#" is a '#'. */
static struct str clean_line(struct arena *a, struct str line)
{
	if (str_chr(line, '#') < 0)
		return str_trim(line);
	char *p = arena_alloc(a, line.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '\\' && i + 1 < line.n && line.p[i + 1] == '#')
			continue;
		if (line.p[i] == '#' && (i == 0 || line.p[i - 1] != '\\'))
			break;
		p[n++] = line.p[i];
	}
	return str_trim(str_n(p, n));
}

static struct str first_word(struct str *rest)
{
	size_t n = 0;
	while (n < rest->n && !ch_blank(rest->p[n]))
		n++;
	struct str word = str_sub(*rest, 0, n);
	*rest = str_trim(str_from(*rest, n));
	return word;
}

static int cond_push(struct reader *r, struct str text, struct err *e)
{
	if (r->n_stack == ARRAY_LEN(r->stack))
		return err_set(e, ERR_CONF, 0, "conditions are nested more than %zu deep", ARRAY_LEN(r->stack));
	r->stack[r->n_stack++] = (struct cond){ r->skip, r->line };
	bool yes = false;
	int result = r->skip ? 0 : cond_eval(r->s, text, &yes, e);
	r->skip |= !yes;
	return result;
}

static int cond_pop(struct reader *r, struct err *e)
{
	if (r->n_stack == 0)
		return err_set(e, ERR_CONF, 0, "endif without if");
	r->skip = r->stack[--r->n_stack].skip;
	return 0;
}

static int cond_else(struct reader *r, struct err *e)
{
	if (r->n_stack == 0)
		return err_set(e, ERR_CONF, 0, "else without if");
	bool outer = false;
	for (size_t i = 0; i < r->n_stack; i++)
		outer |= r->stack[i].skip;
	r->skip = outer || !r->skip;
	return 0;
}

static int include(struct reader *r, struct str value, struct err *e)
{
	if (r->depth >= SPAM_INCLUDE_DEPTH_MAX)
		return err_set(e, ERR_CONF, 0, "files are included more than %d deep", SPAM_INCLUDE_DEPTH_MAX);
	const char *slash = strrchr(r->file, '/');
	bool relative = value.n > 0 && value.p[0] != '/' && slash != NULL;
	char *path = arena_printf(r->s->a, "%.*s%.*s", relative ? (int)(slash + 1 - r->file) : 0, r->file, STR_ARG(value));
	return read_file(r->s, path, r->depth + 1, e);
}

/* Another version's file is skipped as a whole; "@@VERSION@@" and ours are fine. */
static int require_version(struct reader *r, struct str value, struct err *e)
{
	if (str_eq(value, STR("@@VERSION@@")) || str_starts(value, STR("4.0")) || str_starts(value, STR("3.")))
		return 0;
	r->skip = true;
	return err_set(e, ERR_CONF, 0, "the file is for version %.*s and is skipped", STR_ARG(value));
}

static int read_line(struct reader *r, struct str line, struct err *e)
{
	struct str rest = line, key = first_word(&rest);
	if (str_case_eq(key, STR("lang"))) {
		struct str locale = first_word(&rest);
		if (!str_case_eq(locale, STR("en")))
			return 0;
		key = first_word(&rest);
	}
	if (str_case_eq(key, STR("ifplugin")))
		return cond_push(r, str_c(arena_printf(r->s->a, "plugin(%.*s)", STR_ARG(rest))), e);
	if (str_case_eq(key, STR("if")))
		return cond_push(r, rest, e);
	if (str_case_eq(key, STR("endif")))
		return cond_pop(r, e);
	if (str_case_eq(key, STR("else")))
		return cond_else(r, e);
	if (r->skip)
		return 0;
	if (str_case_eq(key, STR("include")))
		return include(r, rest, e);
	if (str_case_eq(key, STR("require_version")))
		return require_version(r, rest, e);
	return directive_run(r, key, rest, e);
}

static void read_text(struct reader *r, struct str text)
{
	while (text.n > 0) {
		struct str line = str_split(&text, '\n');
		struct err e = { 0 };
		r->line++;
		line = clean_line(r->s->a, line);
		if (line.n > 0 && read_line(r, line, &e) < 0)
			set_say(r->s, r->file, r->line, "%s", e.text);
		if (text.p == NULL)
			break;
	}
	for (size_t i = 0; i < r->n_stack; i++)
		set_say(r->s, r->file, r->stack[i].line, "if without endif");
}

int read_file(struct set *s, const char *path, unsigned depth, struct err *e)
{
	struct buf text;
	buf_init(&text, SPAM_FILE_MAX);
	if (file_read(path, SPAM_FILE_MAX, &text, e) < 0) {
		buf_fini(&text);
		return -1;
	}
	struct reader *r = xzalloc(sizeof(*r));
	*r = (struct reader){ .s = s, .file = arena_strdup(s->a, path), .depth = depth };
	read_text(r, arena_str(s->a, buf_view(&text)));
	free(r);
	buf_fini(&text);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int read_dir(struct set *s, const char *path, const char *suffix, struct err *e)
{
	DIR *d = opendir(path);
	if (d == NULL)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_CONF, errno, "%s", path);
	char **names = NULL;
	size_t n = 0;
	for (struct dirent *f; (f = readdir(d)) != NULL;) {
		if (f->d_name[0] == '.' || !str_ends(str_c(f->d_name), str_c(suffix)))
			continue;
		names = xrealloc(names, (n + 1) * sizeof(*names));
		names[n++] = xstrdup(f->d_name);
	}
	closedir(d);
	if (n > 0)
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		struct err why = { 0 };
		char *file = arena_printf(s->a, "%s/%s", path, names[i]);
		if (read_file(s, file, 0, &why) < 0)
			set_say(s, file, 0, "%s", why.text);
		free(names[i]);
	}
	free(names);
	return n == 0 ? err_set(e, ERR_NOENT, 0, "%s holds no *%s", path, suffix) : 0;
}
