/* postmap, postalias, newaliases: compile and query maps. One program; its name decides which. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "conf/conf.h"
#include "admin/maps/postmap.h"
#include "map/lookup.h"
#include "os/os.h"

enum { OK = 0, FAILED = 1, EXIT_USAGE = 64, STDIN_LINE_MAX = 65536 };

static struct {
	const char *name; /* postmap postalias newaliases */
	bool alias, newaliases;
	const char *conf_file;
	const char *query;
	bool dump, verbose;
	struct build build;
} g;

static void say(void *ctx, const char *text)
{
	fprintf(stderr, "%s: %s\n", g.name, text);
}

static int usage(FILE *to, int status)
{
	if (g.newaliases)
		fputs("usage: newaliases [-c FILE] [-v]\n"
		      "Compile the maps named by alias_database.\n",
		      to);
	else
		fprintf(to,
			"usage: %s [-efFrvw%s] [type:]file ...\n"
			"       %s [-f] -q key|- [type:]file ...\n"
			"       %s -s [type:]file ...\n"
			"Compile %s into file.cdb, or query a map.\n"
			"  -e        strict: every warning is an error\n"
			"  -f        do not fold keys to lower case\n"
			"  -F        values are lists of files: their content is stored in base64, and decoded when it is printed\n"
			"  -q KEY    print KEY's value; - reads keys from standard input\n"
			"  -r        of equal keys the last wins, without a warning\n"
			"  -s        print every key and value\n"
			"  -t        check only, write nothing\n"
			"  -v        say what is done\n"
			"  -w        of equal keys the first wins, without a warning\n"
			"%s"
			"  -c FILE   accepted; the configuration is not needed\n"
			"types: cdb (default), hash (the same); to query also texthash, pcre, "
			"cidr, static, inline\n",
			g.name, g.alias ? "" : "] [--colon-ok", g.name, g.name,
			g.alias ? "aliases(5)" : "\"key value\" lines",
			g.alias ? "" : "  --colon-ok  drop a colon after a key (\"key: value\")\n");
	return status;
}

/* "file" means cdb:file. Relative files are taken from the working directory. */
static char *full_spec(const char *arg)
{
	const char *colon = strchr(arg, ':');
	const bool typed = colon && colon > arg && !memchr(arg, '/', (size_t)(colon - arg));
	const char *file = typed ? colon + 1 : arg;
	char *spec = NULL, *dir = NULL;
	int n;

	if (file[0] != '/' && (!typed || strncmp(arg, "static:", 7) != 0) &&
	    (!typed || strncmp(arg, "inline:", 7) != 0))
		dir = realpath(".", NULL);
	n = asprintf(&spec, "%.*s%s%s%s", typed ? (int)(colon - arg + 1) : 4,
		     typed ? arg : "cdb:", dir ? dir : "", dir ? "/" : "", file);
	free(dir);
	if (n < 0)
		abort();
	return spec;
}

/* --- compiling --- */

static bool has_map(const char *source)
{
	char *path;
	struct stat st;

	if (asprintf(&path, "%s.cdb", source) < 0)
		abort();
	const bool has = stat(path, &st) == 0;

	free(path);
	return has;
}

static int compile(const char *arg)
{
	char *spec = full_spec(arg);
	const char *file = strchr(spec, ':') + 1;
	struct err e = { 0 };
	int r = -1;

	if (strncmp(spec, "cdb:", 4) != 0 && strncmp(spec, "hash:", 5) != 0) {
		fprintf(stderr, "%s: %s: only cdb: and hash: maps are compiled\n", g.name, spec);
		free(spec);
		return FAILED;
	}
	if (strncmp(spec, "hash:", 5) == 0)
		fprintf(stderr, "%s: notice: hash: is cdb: here; the map is %s.cdb\n", g.name,
			file);
	g.build.entries = g.build.skipped = g.build.warnings = g.build.errors = 0;
	r = map_build(&g.build, file, &e);
	if (e.code != ERR_NONE)
		fprintf(stderr, "%s: error: %s\n", g.name, e.text);
	if (g.build.skipped)
		fprintf(stderr, "%s: %s: %u line%s skipped\n", g.name, file, g.build.skipped,
			g.build.skipped == 1 ? "" : "s");
	if (r < 0)
		fprintf(stderr, "%s: %s: not compiled%s\n", g.name, file,
			has_map(file) ? "; the old map stays" : "");
	else if (g.verbose)
		printf("%s.cdb: %u entries%s\n", file, g.build.entries,
		       g.build.check_only ? " (checked only)" : "");
	free(spec);
	return r < 0 ? FAILED : OK;
}

/* --- querying --- */

static struct lookup *open_map(const char *arg)
{
	char *spec = full_spec(arg);
	struct lookup *l = NULL;
	struct err e = { 0 };

	if (lookup_open(spec, &l, &e) < 0)
		fprintf(stderr, "%s: error: %s\n", g.name, e.text);
	else if (lookup_trouble(l)) {
		fprintf(stderr, "%s: error: %s\n", g.name, lookup_trouble(l)->text);
		lookup_close(&l);
	}
	free(spec);
	return l;
}

/* -F: the value is base64. */
static int decode(struct buf *value)
{
	struct buf plain;
	int r;

	if (!g.build.files)
		return 0;
	buf_init(&plain, LOOKUP_VALUE_MAX);
	r = base64_decode(&plain, buf_view(value));
	if (r == 0) {
		buf_reset(value);
		buf_str(value, buf_view(&plain));
	}
	buf_fini(&plain);
	return r;
}

/* 0: printed; 1: no such key; -1. */
static int query_one(struct lookup *l, struct str key, bool with_key)
{
	struct buf value;
	struct err e = { 0 };

	buf_init(&value, LOOKUP_VALUE_MAX);
	int r = lookup_get(l, key, &value, NULL, &e);

	if (r == 0 && decode(&value) < 0)
		r = err_set(&e, ERR_CONF, 0, "%.*s: the value is no base64", (int)key.n, key.p);
	if (r < 0)
		fprintf(stderr, "%s: error: %s\n", g.name, e.text);
	if (r == 0 && with_key)
		printf("%.*s%s\t%s\n", (int)key.n, key.p, g.alias ? ":" : "", value.p);
	else if (r == 0)
		printf("%s\n", value.p);
	buf_fini(&value);
	return r;
}

static int query_stdin(struct lookup *l)
{
	char line[STDIN_LINE_MAX];
	int status = FAILED;

	while (fgets(line, sizeof(line), stdin)) {
		const struct str key = str_trim(str_c(line));
		const int r = key.n ? query_one(l, key, true) : 1;

		if (r < 0)
			return -1;
		if (r == 0)
			status = OK;
	}
	return status;
}

/* Postfix asks the maps in turn and prints the first answer. */
static int query(char **maps, int n)
{
	for (int i = 0; i < n; i++) {
		struct lookup *l = open_map(maps[i]);

		if (!l)
			return FAILED;
		const int r = strcmp(g.query, "-") == 0 ? query_stdin(l)
							: query_one(l, str_c(g.query), false);

		lookup_close(&l);
		if (r != 1)
			return r < 0 ? FAILED : OK;
	}
	return FAILED;
}

static int dump_pair(void *ctx, struct str key, struct str value, unsigned line)
{
	struct buf text;

	buf_init(&text, LOOKUP_VALUE_MAX);
	buf_str(&text, value);
	if (decode(&text) == 0)
		value = buf_view(&text);
	printf("%.*s%s\t%.*s\n", (int)key.n, key.p, g.alias ? ":" : "", (int)value.n, value.p);
	buf_fini(&text);
	return 0;
}

static int dump(char **maps, int n)
{
	int status = OK;

	for (int i = 0; i < n; i++) {
		struct lookup *l = open_map(maps[i]);
		struct err e = { 0 };

		if (!l || lookup_each(l, dump_pair, NULL, &e) < 0) {
			if (l)
				fprintf(stderr, "%s: error: %s\n", g.name, e.text);
			status = FAILED;
		}
		if (l)
			lookup_close(&l);
	}
	return status;
}

/* --- newaliases --- */

static int newaliases(void)
{
	struct conf *c = NULL;
	int status = OK;

	if (conf_load_told(g.name, g.conf_file, false, &c) < 0)
		return FAILED;
	if (c->alias_database.n == 0)
		fprintf(stderr, "%s: nothing to do: alias_database and alias_maps are empty\n",
			g.name);
	for (size_t i = 0; i < c->alias_database.n; i++) {
		const char *map = c->alias_database.v[i];

		if (strncmp(map, "texthash:", 9) == 0 || strncmp(map, "inline:", 7) == 0 ||
		    strncmp(map, "pcre:", 5) == 0)
			continue; /* read as they are */
		if (compile(map) != OK)
			status = FAILED;
	}
	conf_free(&c);
	return status;
}

/* --- start --- */

static int refuse(char option, const char *why)
{
	fprintf(stderr, "%s: -%c: %s\n", g.name, option, why);
	return EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int options(int argc, char **argv)
{
	enum { COLON_OK = 256 };
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { "colon-ok", no_argument, NULL, COLON_OK },
					       { "strict", no_argument, NULL, 'e' },
					       { NULL, 0, NULL, 0 } };

	for (int o; (o = getopt_long(argc, argv, "c:d:efFhinNopq:rstvw", longs, NULL)) != -1;) {
		switch (o) {
		case 'c':
			g.conf_file = optarg;
			break;
		case 'd':
			return refuse('d', "a cdb map cannot be changed in place: edit the source "
					   "and compile it again");
		case 'i':
			return refuse('i', "a cdb map cannot be changed in place: add to the "
					   "source and compile it again");
		case 'e':
			g.build.strict = true;
			break;
		case 'F':
			g.build.files = true;
			break;
		case 'f':
			g.build.keep_case = true;
			break;
		case 'q':
			g.query = optarg;
			break;
		case 'r':
			g.build.dup_replace = true;
			break;
		case 's':
			g.dump = true;
			break;
		case 't':
			g.build.check_only = true;
			break;
		case 'v':
			g.verbose = true;
			break;
		case 'w':
			g.build.dup_silent = true;
			break;
		case COLON_OK:
			g.build.colon_ok = true;
			break;
		case 'n':
		case 'N':
		case 'o':
		case 'p':
			break; /* Postfix's; what they choose is so here, or does not exist */
		case 'h':
			return usage(stdout, 0);
		case 'V':
			printf("%s (Postern) %s\n", g.name, POSTERN_VERSION);
			return 0;
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	if (g.newaliases ? optind < argc : optind == argc)
		return usage(stderr, EXIT_USAGE);
	return -1;
}

static void choose_name(const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;

	g.name = name;
	if (strncmp(name, "postern-", 8) == 0)
		name += 8;
	g.newaliases = strcmp(name, "newaliases") == 0;
	g.alias = g.newaliases || strcmp(name, "postalias") == 0;
	g.build.alias = g.alias;
	g.build.tell = say;
}

int main(int argc, char **argv)
{
	int status;

	proc_init(argc, argv);
	choose_name(argv[0]);
	status = options(argc, argv);
	if (status >= 0)
		return status;
	if (g.newaliases)
		return newaliases();
	if (g.query)
		return query(argv + optind, argc - optind);
	if (g.dump)
		return dump(argv + optind, argc - optind);
	status = OK;
	for (int i = optind; i < argc; i++)
		if (compile(argv[i]) != OK)
			status = FAILED;
	return status;
}
