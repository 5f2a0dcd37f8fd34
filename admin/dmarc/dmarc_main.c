/* postern-dmarc: reports of what DMARC found, to the owners of domains that ask for them. It runs as filterd's user, confined to the data: what it reads was written by
 * strangers in the end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/dmarc/dmarc.h"
#include "base/json.h"
#include "base/num.h"
#include "os/confine.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78, EXIT_WALLS = 77, DAYS_MAX = 64 };

struct run {
	struct sender s;
	const char *conf_file, *day;
	bool json, unconfined;
	char dir[1100];
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-dmarc [-c FILE] report [--day YYYYMMDD] [--dry-run] [--print] [--no-sandbox]\n"
	      "       postern-dmarc [-c FILE] list [--json]\n",
	      to);
	return status;
}

/* -1: go on. */
static int options(int argc, char **argv, struct run *r)
{
	static const struct option longs[] = { { "day", required_argument, NULL, 'd' }, { "dry-run", no_argument, NULL, 'r' }, { "print", no_argument, NULL, 'p' },
					       { "json", no_argument, NULL, 'j' }, { "no-sandbox", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	for (int c; (c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': r->conf_file = optarg; break;
		case 'd': r->day = optarg; break;
		case 'r': r->s.dry = true; break;
		case 'p': r->s.print = r->s.dry = true; break;
		case 'j': r->json = true; break;
		case 'n': r->unconfined = true; break;
		case 'h': return usage(stdout, 0);
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	return -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The days that are over, oldest first; today too; or with --day that one alone, over or not. */
static size_t find_days(const struct run *r, char days[DAYS_MAX][16], bool today_too)
{
	char today[16];
	const time_t now = time(NULL);
	struct tm tm;
	size_t n = 0;
	int64_t begin;
	strftime(today, sizeof(today), "%Y%m%d", gmtime_r(&now, &tm));
	DIR *dir = opendir(r->dir);
	if (dir == NULL && errno != ENOENT)
		fprintf(stderr, "postern-dmarc: %s: %s\n", r->dir, strerror(errno));
	for (struct dirent *f; dir != NULL && (f = readdir(dir)) != NULL && n < DAYS_MAX;)
		if (day_begin(f->d_name, &begin) == 0 && (r->day ? strcmp(f->d_name, r->day) == 0 : today_too || strcmp(f->d_name, today) < 0))
			snprintf(days[n++], 16, "%s", f->d_name);
	if (dir != NULL)
		closedir(dir);
	qsort(days, n, 16, by_name);
	return n;
}

static int read_day(const struct run *r, const char *name, struct arena *a, struct buf *text, struct day *d)
{
	struct err e = { 0 };
	buf_init(text, DAY_BYTES_MAX);
	if (file_read(arena_printf(a, "%s/%s", r->dir, name), DAY_BYTES_MAX, text, &e) < 0) {
		fprintf(stderr, "postern-dmarc: %s\n", e.text);
		buf_fini(text);
		return -1;
	}
	day_read(d, a, name, buf_view(text));
	if (d->bad > 0)
		fprintf(stderr, "postern-dmarc: %s: %zu of %zu lines are left out (damaged, or more than a report holds)\n", name, d->bad, d->lines);
	return 0;
}

/* A day whose reports are all sent is removed, unless it is not over. */
static int report_day(const struct run *r, const char *name)
{
	struct arena *a = arena_new(0);
	struct buf text;
	struct day d;
	int status = 1;
	if (read_day(r, name, a, &text, &d) == 0) {
		const char *path = arena_printf(a, "%s/%s", r->dir, name), *done = arena_printf(a, "%s/%s.done", r->dir, name);
		const size_t later = day_send(&r->s, &d, done);
		status = later > 0;
		if (later > 0)
			fprintf(stderr, "postern-dmarc: %s: %zu reports could not be sent, the next run tries again\n", name, later);
		else if (!r->s.dry && d.begin + 86400 <= (int64_t)time(NULL) && (unlink(path) < 0 || (unlink(done) < 0 && errno != ENOENT)))
			fprintf(stderr, "postern-dmarc: %s: %s\n", path, strerror(errno));
		day_free(&d);
		buf_fini(&text);
	}
	arena_free(&a);
	return status;
}

static void list_day(const struct run *r, const char *name, bool first)
{
	struct arena *a = arena_new(0);
	struct buf text;
	struct day d;
	if (read_day(r, name, a, &text, &d) == 0) {
		if (r->json) {
			printf("%s{", first ? "" : ",\n");
			json_field(stdout, "day", str_c(name), true);
			json_number(stdout, "messages", (long long)(d.lines - d.bad), false);
			json_number(stdout, "reports", (long long)d.n, false);
			putchar('}');
		} else {
			printf("%s  %zu messages, %zu reports\n", name, d.lines - d.bad, d.n);
		}
		day_free(&d);
		buf_fini(&text);
	}
	arena_free(&a);
}

static int report_all(struct run *r)
{
	char days[DAYS_MAX][16];
	const size_t n = find_days(r, days, false);
	int status = 0;
	for (size_t i = 0; i < n; i++)
		status |= report_day(r, days[i]);
	if (r->day && n == 0) {
		fprintf(stderr, "postern-dmarc: there is no data of %s\n", r->day);
		status = 1;
	}
	return status;
}

static int list_all(struct run *r)
{
	char days[DAYS_MAX][16];
	const size_t n = find_days(r, days, true);
	if (r->json)
		putchar('[');
	for (size_t i = 0; i < n; i++)
		list_day(r, days[i], i == 0);
	if (r->json)
		puts("]");
	return 0;
}

/* filterd's user, and nothing but the data. */
static int confine(const struct run *r, const struct conf *c, struct err *e)
{
	const struct confine_path paths[] = { { r->dir, true, false } };
	const struct confine me = { .role = CONFINE_REPORT, .user = geteuid() == 0 ? c->user_filter : NULL, .paths = paths, .n_paths = ARRAY_LEN(paths),
		.unconfined = r->unconfined };
	return confine_enter(&me, e);
}

int main(int argc, char **argv)
{
	struct run r = { .conf_file = NULL };
	struct conf *conf;
	struct psl *psl = NULL;
	struct err e = { 0 };
	proc_init(argc, argv);
	const int status = options(argc, argv, &r);
	if (status >= 0)
		return status;
	const char *word = optind + 1 == argc ? argv[optind] : "";
	if (strcmp(word, "report") != 0 && strcmp(word, "list") != 0)
		return usage(stderr, EXIT_USAGE);
	if (conf_load_told("postern-dmarc", r.conf_file, false, &conf) < 0)
		return EXIT_CONFIG;
	snprintf(r.dir, sizeof(r.dir), "%s/dmarc", conf->state_directory);
	if (access(r.dir, F_OK) < 0 && errno == ENOENT) {
		if (r.json)
			puts("[]");
		return 0;	/* filterd has kept nothing */
	}
	if (conf->public_suffix_list[0] && access(conf->public_suffix_list, R_OK) == 0 && psl_load(conf->public_suffix_list, &psl, &e) < 0)
		fprintf(stderr, "postern-dmarc: %s\n", e.text);
	r.s.conf = conf;
	r.s.psl = psl;
	if (confine(&r, conf, &e) < 0) {
		fprintf(stderr, "postern-dmarc: %s\n", e.text);
		return EXIT_WALLS;
	}
	return strcmp(word, "list") == 0 ? list_all(&r) : report_all(&r);
}
