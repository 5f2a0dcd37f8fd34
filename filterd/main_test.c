/* postern-filter: explains what the filter makes of a message, in this process, with the installed lists and signatures. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/map.h"
#include "clamav.h"
#include "ipc/filter.h"
#include "os/os.h"
#include "scan.h"
#include "spam/spam.h"

enum { MESSAGE_MAX = 1 << 30, FINDINGS_MAX = 100, PROFILE_MAX = 40 };

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

static int test_file(const struct filter_rules *rules, const char *file, const char *recipient, bool json)
{
	struct buf text;
	struct err e = { 0 };
	struct findings f = { .n = 0 };
	buf_init(&text, MESSAGE_MAX);
	if (file_read(file, MESSAGE_MAX, &text, &e) < 0) {
		fprintf(stderr, "postern-filter: %s\n", e.text);
		buf_fini(&text);
		return 1;
	}
	struct arena *a = arena_new(0);
	struct str to = str_c(recipient);
	const struct ipc_filter_SCAN facts = { .recipients = { &to, 1 } };
	struct scan s = { .a = a, .rules = rules, .message = buf_view(&text), .facts = recipient == NULL ? NULL : &facts, .explain = on_finding, .explain_ctx = &f };
	scan_run(&s);
	(json ? print_json : print_text)(file, &s, &f);
	arena_free(&a);
	buf_fini(&text);
	return 0;
}

static int usage(FILE *to, int status)
{
	fputs("usage: postern-filter [-c FILE] test [--json] [--profile] [--recipient ADDRESS] MESSAGE...\n"
	      "Shows the verdict on each message file, and every finding with its rule; or which rules take the time of scoring.\n", to);
	return status;
}

/* --- --profile --- */

/* Of a rule or a text over all messages. */
struct cost { struct str name; uint64_t ns, most; };
struct costs { struct arena *a; struct map *by_name; struct cost **v; size_t n, messages; uint64_t ns; };

static void cost_add(struct costs *c, const struct spam_cost *one)
{
	struct cost *k = map_get(c->by_name, one->name);
	if (k == NULL) {
		k = ARENA_NEW(c->a, struct cost);
		k->name = arena_str(c->a, one->name);
		map_set(c->by_name, k->name, k);
		c->v = xrealloc(c->v, (c->n + 1) * sizeof(struct cost *));
		c->v[c->n++] = k;
	}
	k->ns += one->ns;
	k->most = one->ns > k->most ? one->ns : k->most;
	c->ns += one->ns;
}

static int profile_file(const struct filter_rules *rules, const char *file, struct costs *c)
{
	struct buf text;
	struct err e = { 0 };
	struct arena *a = arena_new(0);
	struct spam_result r;
	buf_init(&text, MESSAGE_MAX);
	int status = file_read(file, MESSAGE_MAX, &text, &e);
	if (status == 0) {
		const struct scan s = { .rules = rules, .message = buf_view(&text) };
		spam_check(rules->spam, a, stage_spam_text(&s), NULL, SPAM_WANT_COSTS, &r);
		for (size_t i = 0; i < r.n_costs; i++)
			cost_add(c, &r.costs[i]);
		c->messages++;
	} else {
		fprintf(stderr, "postern-filter: %s\n", e.text);
	}
	arena_free(&a);
	buf_fini(&text);
	return status < 0;
}

static int by_cost(const void *a, const void *b)
{
	const uint64_t x = (*(struct cost *const *)a)->ns, y = (*(struct cost *const *)b)->ns;
	return x < y ? 1 : x > y ? -1 : 0;
}

static void print_costs(const struct costs *c, bool json)
{
	const double messages = (double)c->messages * 1e3;
	for (size_t i = 0; i < c->n && json; i++) {
		putchar('{');
		json_field(stdout, "name", c->v[i]->name, true);
		json_number(stdout, "ns", (long long)c->v[i]->ns, false);
		json_number(stdout, "most_ns", (long long)c->v[i]->most, false);
		puts("}");
	}
	if (json)
		return;
	printf("%zu messages, %.0f us a message\n   us/message   %%   most  rule, or in brackets what all rules look at\n", c->messages, (double)c->ns / messages);
	for (size_t i = 0; i < c->n && i < PROFILE_MAX; i++)
		printf("%13.1f %3.0f %6.0f  %.*s\n", (double)c->v[i]->ns / messages, 100 * (double)c->v[i]->ns / (double)c->ns, (double)c->v[i]->most / 1e3,
		       STR_ARG(c->v[i]->name));
}

/* The scoring alone, with machine code as the daemon has it. */
static int profile(const struct filter_rules *rules, char **files, bool json)
{
	struct costs c = { .a = arena_new(0), .by_name = map_new() };
	int status = 0;
	if (rules->spam == NULL) {
		fputs("postern-filter: spam_check = no\n", stderr);
		status = 1;
	}
	for (; status == 0 && *files != NULL; files++)
		status = profile_file(rules, *files, &c);
	if (c.n > 1)
		qsort(c.v, c.n, sizeof(struct cost *), by_cost);
	if (c.messages > 0)
		print_costs(&c, json);
	free(c.v);
	map_free(&c.by_name);
	arena_free(&c.a);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "profile", no_argument, NULL, 'p' },
					      { "recipient", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' },
					      { "version", no_argument, NULL, 'V' }, { 0 } };
	const char *conf_file = conf_default_file(), *recipient = NULL;
	bool json = false, profiles = false;
	for (int c; (c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
		if (c == 'c')
			conf_file = optarg;
		else if (c == 'j')
			json = true;
		else if (c == 'p')
			profiles = true;
		else if (c == 'r')
			recipient = optarg;
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
	if (filter_rules_load(conf, profiles ? 1u << STAGE_SCORE : ~0u, profiles, conf->share_directory, "/tmp", &rules, &e) < 0) {
		fprintf(stderr, "postern-filter: %s\n", e.text);
		return 1;
	}
	int status = 0;
	if (profiles)
		status = profile(&rules, argv + optind + 1, json);
	for (int i = optind + 1; i < argc && !profiles; i++)
		status |= test_file(&rules, argv[i], recipient, json);
	filter_rules_free(&rules);
	conf_free(&conf);
	return status;
}
