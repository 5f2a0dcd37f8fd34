/* postern-alias: aliases without an editor. A name with an @ is an entry of the first file of virtual_alias_maps, another one of alias_database. The new
 * text is compiled, without being written, before it takes the place of the old one; then the map is compiled from it. Whoever edits by hand at the same time
 * wins or loses as a whole: the file is replaced, under a lock for which other calls of this tool wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/alias/alias_edit.h"
#include "admin/alias/alias_leads.h"
#include "admin/maps/postmap.h"
#include "base/json.h"
#include "conf/conf.h"
#include "map/source.h"
#include "os/os.h"

enum { OK = 0, FAILED = 1, EXIT_USAGE = 64, TARGETS_MAX = 1000 };

struct file {
	const char *source;	/* NULL: the parameter names none that can be compiled */
	const char *parameter;
	enum alias_form form;
	int lock;		/* the source's directory, locked */
	struct stat st;
	struct buf text;
};

static struct {
	const char *conf_file;
	bool json;
	struct conf *conf;
} g;

static int usage(FILE *to, int status)
{
	fprintf(to, "usage: postern-alias [-c FILE] list [--json] [NAME]\n"
		    "       postern-alias [-c FILE] add NAME TARGET ...\n"
		    "       postern-alias [-c FILE] del NAME [TARGET ...]\n"
		    "       postern-alias --help | --version\n"
		    "NAME with an @ stands in virtual_alias_maps, another one in alias_database.\n");
	return status;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "postern alias: %s\n", e->text);
	return FAILED;
}

/* --- the file --- */

static void choose(struct file *f, bool address)
{
	const struct conf_list maps = address ? g.conf->virtual_alias_maps : g.conf->alias_database;

	*f = (struct file){ .parameter = address ? "virtual_alias_maps" : "alias_database", .form = address ? ALIAS_FORM_PAIR : ALIAS_FORM_COLON, .lock = -1 };
	for (size_t i = 0; i < maps.n && f->source == NULL; i++)
		if (strncmp(maps.v[i], "cdb:/", 5) == 0 || strncmp(maps.v[i], "hash:/", 6) == 0)
			f->source = strchr(maps.v[i], '/');
}

static int file_text(struct file *f, struct err *e)
{
	if (f->source == NULL)
		return err_set(e, ERR_CONF, 0, "%s names no file that is compiled (cdb:/FILE)", f->parameter);
	buf_init(&f->text, SOURCE_FILE_MAX);
	if (stat(f->source, &f->st) < 0) {
		f->st = (struct stat){ .st_mode = 0644, .st_uid = 0 };
		return 0;
	}
	return file_read(f->source, SOURCE_FILE_MAX, &f->text, e);
}

/* Returns owned. */
static char *dir_of(const char *file)
{
	const size_t n = (size_t)(strrchr(file, '/') - file);

	return xstrndup(file, n > 0 ? n : 1);
}

/* The lock is the directory's: the file itself is replaced, and the map must be of the text that came last. */
static int file_lock(struct file *f, const char *dir, struct err *e)
{
	f->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->lock < 0 || flock(f->lock, LOCK_EX) < 0 ? err_set(e, ERR_TEMP, errno, "%s: its directory cannot be locked", f->source) : 0;
}

/* To change: a file of root's, where nobody else can put another in its place. One that is not there yet is made. */
static int file_take(struct file *f, struct err *e)
{
	char *real = f->source ? realpath(f->source, NULL) : NULL;

	if (real)
		f->source = real;
	if (f->source) {
		char *dir = dir_of(f->source);
		const int r = file_lock(f, dir, e) < 0 || path_trusted(real ? real : dir, 0, e) < 0 ? -1 : 0;
		free(dir);
		if (r < 0)
			return -1;
	}
	return file_text(f, e);
}

static void say(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "postern alias: %s\n", text);
}

static int compile(const struct file *f, const char *path, bool check_only, struct err *e)
{
	struct build b = { .alias = f->form == ALIAS_FORM_COLON, .check_only = check_only, .tell = say };

	if (map_build(&b, path, e) == 0)
		return 0;
	return e->code == ERR_NONE ? err_set(e, ERR_CONF, 0, "%s: %u mistakes: nothing was changed", f->source, b.errors) : -1;
}

static int file_put(const struct file *f, struct str text, struct err *e)
{
	const mode_t mode = f->st.st_mode & 0777;
	char *draft;

	if (asprintf(&draft, "%s.new", f->source) < 0)
		abort();
	int r = file_replace(draft, text, mode, f->st.st_uid, f->st.st_gid, e);
	if (r == 0)
		r = compile(f, draft, true, e);
	if (r == 0)
		r = file_replace(f->source, text, mode, f->st.st_uid, f->st.st_gid, e);
	(void)unlink(draft);
	free(draft);
	return r < 0 ? -1 : compile(f, f->source, false, e);
}

/* --- list --- */

struct listing {
	const struct file *file;
	struct str only;
	bool first;
};

static void print_json(const struct listing *l, const struct alias_entry *x)
{
	struct str rest = x->value, item;

	fputs(l->first ? "\n  {" : ",\n  {", stdout);
	json_field(stdout, "name", x->name, true);
	json_name(stdout, "targets", false);
	putchar('[');
	for (bool first = true; alias_edit_item(&rest, &item); first = false) {
		fputs(first ? "" : ", ", stdout);
		json_string(stdout, item);
	}
	putchar(']');
	json_field(stdout, "file", str_c(l->file->source), false);
	json_number(stdout, "line", x->line, false);
	putchar('}');
}

static void print_entry(void *ctx, const struct alias_entry *x)
{
	struct listing *l = ctx;

	if (l->only.n > 0 && !str_case_eq(l->only, x->name))
		return;
	if (g.json)
		print_json(l, x);
	else
		printf("%-30.*s %.*s\n", STR_ARG(x->name), STR_ARG(x->value));
	l->first = false;
}

static int list(int n, char **names, struct err *e)
{
	struct listing l = { .first = true, .only = n > 0 ? str_c(names[0]) : STR("") };
	int r = 0;

	if (g.json)
		putchar('[');
	for (int address = 0; r == 0 && address < 2; address++) {
		struct file f;
		choose(&f, address);
		l.file = &f;
		if (f.source == NULL)
			continue;
		r = file_text(&f, e);
		if (r == 0)
			alias_edit_each(buf_view(&f.text), f.form, print_entry, &l);
		buf_fini(&f.text);
	}
	if (g.json)
		puts(l.first ? "]" : "\n]");
	if (r < 0)
		return fail(e);
	if (l.only.n == 0 || !l.first)
		return OK;
	if (!g.json)
		fprintf(stderr, "postern alias: %.*s: no such alias\n", STR_ARG(l.only));
	return FAILED;
}

/* --- change --- */

typedef int edit_fn(struct str text, enum alias_form form, struct str name, const struct str *targets, size_t n, struct buf *out, size_t *changed_out, struct err *e);

static int change(edit_fn *edit, int n, char **words, struct err *e)
{
	struct str targets[TARGETS_MAX];
	const struct str name = str_c(words[0]);
	struct file f;
	struct buf out;
	size_t changed = 0;

	if (n - 1 > TARGETS_MAX)
		return usage(stderr, EXIT_USAGE);
	for (int i = 1; i < n; i++)
		targets[i - 1] = str_c(words[i]);
	choose(&f, str_chr(name, '@') >= 0);
	buf_init(&out, SOURCE_FILE_MAX);
	int r = file_take(&f, e);
	if (r == 0)
		r = edit(buf_view(&f.text), f.form, name, targets, (size_t)(n - 1), &out, &changed, e);
	if (r == 0 && changed > 0)
		r = file_put(&f, buf_view(&out), e);
	if (r == 0)
		printf("%s %s\n", changed > 0 ? "changed" : "kept   ", f.source);
	if (r == 0 && edit == alias_edit_add) {
		(void)fflush(stdout);
		alias_leads_tell(g.conf, words[0]);
	}
	return r < 0 ? fail(e) : changed == 0 && edit == alias_edit_del ? FAILED : OK;
}

static int word(int n, char **words, struct err *e)
{
	const char *const w = n > 0 ? words[0] : "";

	if (strcmp(w, "list") == 0 && n <= 2)
		return list(n - 1, words + 1, e);
	if (strcmp(w, "add") == 0 && n >= 3)
		return change(alias_edit_add, n - 1, words + 1, e);
	if (strcmp(w, "del") == 0 && n >= 2)
		return change(alias_edit_del, n - 1, words + 1, e);
	if (strcmp(w, "add") == 0)
		fputs("postern alias: add: which name, and where to?\n", stderr);
	else if (strcmp(w, "del") == 0)
		fputs("postern alias: del: which name?\n", stderr);
	else if (n > 0 && strcmp(w, "list") != 0)
		fprintf(stderr, "postern alias: no word \"%s\"\n", w);
	return usage(stderr, EXIT_USAGE);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { "json", no_argument, NULL, 'j' }, { 0 },
	};
	struct err e = { 0 };

	proc_init(argc, argv);
	for (int o; (o = getopt_long(argc, argv, "c:", longs, NULL)) != -1;)
		switch (o) {
		case 'c': g.conf_file = optarg; break;
		case 'j': g.json = true; break;
		case 'h': return usage(stdout, OK);
		case 'V': printf("postern-alias (Postern) %s\n", POSTERN_VERSION); return OK;
		default: return usage(stderr, EXIT_USAGE);
		}
	if (conf_load_told("postern alias", g.conf_file ? g.conf_file : conf_default_file(), false, &g.conf) < 0)
		return FAILED;
	return word(argc - optind, argv + optind, &e);
}
