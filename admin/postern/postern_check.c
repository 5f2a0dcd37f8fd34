/* postern check: every mistake, before anything is reloaded. The checks are in check_*.c; here they are run and printed. */
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/json.h"
#include "admin/postern/check.h"
#include "log/log.h"

enum { FINDING_TEXT_MAX = 8192 };

static const char *const severity_words[] = { "note", "warning", "error" };

/* A terminal is no place for the bytes of a process, a file or a name server. */
static const char *neutral(struct check *c, const char *text)
{
	struct buf b;

	buf_init(&b, FINDING_TEXT_MAX);
	text_neutral(&b, str_c(text), FINDING_TEXT_MAX / 2, false);
	const char *out = arena_str(c->a, buf_view(&b)).p;
	buf_fini(&b);
	return out;
}

static void add(struct check *c, enum severity s, const char *place, const char *what,
		const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));
static void add(struct check *c, enum severity s, const char *place, const char *what,
		const char *fmt, va_list ap)
{
	struct finding *f = ARENA_NEW(c->a, struct finding);
	char text[2048];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	*f = (struct finding){ .severity = s,
			       .place = neutral(c, place),
			       .what = neutral(c, what),
			       .text = neutral(c, text) };
	*c->end = f;
	c->end = &f->next;
	c->counts[s]++;
}

void found(struct check *c, enum severity s, const char *place, const char *what, const char *fmt,
	   ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(c, s, place, what, fmt, ap);
	va_end(ap);
}

void found_param(struct check *c, enum severity s, const char *param, const char *fmt, ...)
{
	const unsigned line = conf_param_line(c->conf, param);
	char place[4096];
	va_list ap;

	(void)snprintf(place, sizeof(place), line ? "%s:%u" : "%s", c->conf->conf_file, line);
	va_start(ap, fmt);
	add(c, s, place, param, fmt, ap);
	va_end(ap);
}

void found_error(struct check *c, const char *where, const struct err *e)
{
	struct str rest = str_c(e->text);
	const char *const param = arena_cstr(c->a, str_split(&rest, ':'));

	if (where[0])
		found(c, SEV_ERROR, c->conf->conf_file, where, "%s", e->text);
	else if (!str_starts(rest, STR(" ")) || !conf_param_line(c->conf, param))
		found(c, SEV_ERROR, c->conf->conf_file, "", "%s", e->text);
	else
		found_param(c, SEV_ERROR, param, "%.*s", STR_ARG(str_from(rest, 1)));
}

/* The loader's lines: "FILE[:LINE]: [warning: ]text". */
static void take_problem(struct check *c, struct str line, const char *file)
{
	const struct str name = str_c(file);
	const char *place = file;

	if (!str_starts(line, name)) {
		found(c, SEV_ERROR, "", "", "%.*s", STR_ARG(line));
		return;
	}
	struct str rest = str_from(line, name.n);

	if (rest.n && rest.p[0] == ':' && rest.n > 1 && ch_digit(rest.p[1])) {
		const ptrdiff_t end = str_find(rest, STR(": "));

		place = arena_printf(c->a, "%s%.*s", file, end < 0 ? (int)rest.n : (int)end,
				     rest.p);
		rest = end < 0 ? STR("") : str_from(rest, (size_t)end);
	}
	rest = str_starts(rest, STR(": ")) ? str_from(rest, 2) : rest;
	const bool warning = str_starts(rest, STR("warning: "));

	if (warning)
		rest = str_from(rest, sizeof("warning: ") - 1);
	found(c, warning ? SEV_WARNING : SEV_ERROR, place, "", "%.*s", STR_ARG(rest));
}

static struct conf *load(struct check *c)
{
	const char *file = c->p->conf_file ? c->p->conf_file : conf_default_file();
	struct conf *conf = NULL;
	struct buf problems;
	struct err e = { 0 };

	buf_init(&problems, 1 << 17);
	(void)!conf_load(file, &conf, &problems, &e);
	struct str rest = buf_view(&problems), line;

	while (str_token(&rest, "\n", &line))
		take_problem(c, line, file);
	buf_fini(&problems);
	return conf;
}

/* What the daemons' code would write into the log, once. */
static void take_line(void *ctx, enum log_level level, const char *text)
{
	struct check *const c = ctx;

	if (level > LOG_LV_WARNING)
		return;
	text = neutral(c, text);
	for (const struct finding *f = c->findings; f; f = f->next)
		if (strcmp(f->text, text) == 0)
			return;
	found(c, SEV_WARNING, "", "", "%s", text);
}

static void print_text(const struct check *c, bool quiet)
{
	for (const struct finding *f = c->findings; f; f = f->next) {
		if (quiet && f->severity == SEV_NOTE)
			continue;
		printf("%s%s%s: %s%s%s\n", f->place, f->place[0] ? ": " : "",
		       severity_words[f->severity], f->what, f->what[0] ? ": " : "", f->text);
	}
	if (c->counts[SEV_ERROR] || c->counts[SEV_WARNING] || !quiet)
		printf("%u error%s, %u warning%s, %u note%s\n", c->counts[SEV_ERROR],
		       c->counts[SEV_ERROR] == 1 ? "" : "s", c->counts[SEV_WARNING],
		       c->counts[SEV_WARNING] == 1 ? "" : "s", c->counts[SEV_NOTE],
		       c->counts[SEV_NOTE] == 1 ? "" : "s");
}

static void print_json(const struct check *c)
{
	putchar('[');
	for (const struct finding *f = c->findings; f; f = f->next) {
		fputs(f == c->findings ? "\n  {" : ",\n  {", stdout);
		json_field(stdout, "severity", str_c(severity_words[f->severity]), true);
		json_field(stdout, "place", str_c(f->place), false);
		json_field(stdout, "parameter", str_c(f->what), false);
		json_field(stdout, "text", str_c(f->text), false);
		putchar('}');
	}
	puts("\n]");
}

static int usage(FILE *to, int status)
{
	fputs("usage: postern check [-q] [--json]\n"
	      "Report every mistake of configuration, maps, certificates and permissions.\n"
	      "  -q      no notes, and nothing at all when there is nothing to report\n"
	      "  --json  a JSON array of findings\n"
	      "Exit status: 0 no errors (there may be warnings), 1 errors.\n",
	      to);
	return status;
}

int postern_check(const struct postern *p, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	struct check c = { .p = p, .a = arena_new(0) };
	bool json = false, quiet = false;

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "q", longs, NULL)) != -1;) {
		if (ch == 'h')
			return usage(stdout, POSTERN_OK);
		if (ch != 'j' && ch != 'q')
			return usage(stderr, POSTERN_USAGE);
		json = json || ch == 'j';
		quiet = quiet || ch == 'q';
	}
	if (optind < argc)
		return usage(stderr, POSTERN_USAGE);
	c.end = &c.findings;
	struct conf *conf = load(&c);

	c.conf = conf;
	log_divert(take_line, &c);
	if (conf) {
		check_values(&c);
		check_maps(&c);
		check_system(&c);
		check_disks(&c);
		check_certificates(&c);
		check_ports(&c);
		check_dkim(&c);
		check_filter(&c);
		check_dns(&c);
	}
	if (json)
		print_json(&c);
	else
		print_text(&c, quiet);
	const int status = c.counts[SEV_ERROR] ? POSTERN_FAILED : POSTERN_OK;

	conf_free(&conf);
	arena_free(&c.a);
	return status;
}
