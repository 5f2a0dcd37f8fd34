/* postern-filter: explains what the filter makes of a message, in this process, with the installed lists and signatures. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/json.h"
#include "clamav.h"
#include "os/os.h"
#include "scan.h"

enum { MESSAGE_MAX = 1 << 30, FINDINGS_MAX = 100 };

struct findings {
	struct { const char *stage; char text[300]; } v[FINDINGS_MAX];
	size_t n;
};

static void on_finding(void *ctx, const char *stage, const char *text)
{
	struct findings *f = ctx;
	if (f->n == FINDINGS_MAX)
		return;
	struct buf b;
	buf_init(&b, sizeof(f->v[0].text) - 1);
	text_neutral(&b, str_c(text), 250, true);
	f->v[f->n].stage = stage;
	snprintf(f->v[f->n++].text, sizeof(f->v[0].text), "%s", b.p);
	buf_fini(&b);
}

static void print_json(const char *file, const struct scan *s, const struct findings *f)
{
	putchar('{');
	json_field(stdout, "file", str_c(file), true);
	json_field(stdout, "action", str_c(verdict_action_names[s->verdict.action]), false);
	json_number(stdout, "code", s->verdict.code, false);
	json_field(stdout, "text", str_c(s->verdict.text), false);
	json_field(stdout, "category", str_c(s->verdict.category), false);
	json_name(stdout, "findings", false);
	putchar('[');
	for (size_t i = 0; i < f->n; i++) {
		fputs(i == 0 ? "{" : ", {", stdout);
		json_field(stdout, "stage", str_c(f->v[i].stage), true);
		json_field(stdout, "text", str_c(f->v[i].text), false);
		putchar('}');
	}
	puts("]}");
}

static void print_text(const char *file, const struct scan *s, const struct findings *f)
{
	printf("%s: %s %s: %d %s %s\n", file, verdict_action_names[s->verdict.action], s->verdict.category, s->verdict.code,
	       s->verdict.enhanced, s->verdict.text);
	for (size_t i = 0; i < f->n; i++)
		printf("  %-8s %s\n", f->v[i].stage, f->v[i].text);
}

static int test_file(const struct filter_rules *rules, const char *file, bool json)
{
	struct buf text;
	struct err e = { 0 };
	struct findings f = { .n = 0 };
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	buf_init(&text, MESSAGE_MAX);
	if (fd < 0 || file_read(file, MESSAGE_MAX, &text, &e) < 0) {
		fprintf(stderr, "postern-filter: %s: %s\n", file, fd < 0 ? strerror(errno) : e.text);
		close_fd(&fd);
		buf_fini(&text);
		return 1;
	}
	struct arena *a = arena_new(0);
	struct scan s = { .a = a, .rules = rules, .fd = fd, .message = buf_view(&text), .explain = on_finding, .explain_ctx = &f };
	scan_run(&s);
	(json ? print_json : print_text)(file, &s, &f);
	arena_free(&a);
	buf_fini(&text);
	close_fd(&fd);
	return 0;
}

static int usage(FILE *to, int status)
{
	fputs("usage: postern-filter [-c FILE] test [--json] MESSAGE...\n"
	      "Shows the verdict on each message file, and every finding with its rule.\n", to);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' },
					      { "version", no_argument, NULL, 'V' }, { 0 } };
	const char *conf_file = conf_default_file();
	bool json = false;
	for (int c; (c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
		if (c == 'c')
			conf_file = optarg;
		else if (c == 'j')
			json = true;
		else if (c == 'V')
			return puts("postern-filter (Postern) " POSTERN_VERSION) == EOF;
		else
			return usage(c == 'h' ? stdout : stderr, c == 'h' ? 0 : 2);
	}
	if (optind + 1 >= argc || strcmp(argv[optind], "test") != 0)
		return usage(stderr, 2);
	struct conf *conf;
	struct err e = { 0 };
	if (conf_load_told("postern-filter", conf_file, false, &conf) < 0)
		return 1;
	struct filter_rules rules;
	if (filter_rules_load(conf, ~0u, false, conf->share_directory, "/tmp", &rules, &e) < 0) {
		fprintf(stderr, "postern-filter: %s\n", e.text);
		return 1;
	}
	int status = 0;
	for (int i = optind + 1; i < argc; i++)
		status |= test_file(&rules, argv[i], json);
	filter_rules_free(&rules);
	conf_free(&conf);
	return status;
}
