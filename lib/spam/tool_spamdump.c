/* For tests and benches: what the engine makes of message files. One line each: path, score, rules, sub-rules (with their number of hits when it is not 1),
 * separated by tabs; or the texts that rules see, or only the time it takes, or
 * (-p) lines with nanoseconds and what took them. ZONE: what the DNS says, lines of a name, a type (A, NS, TXT or a number) and the data; then network rules run.
 *	spamdump [-r RULES] [-s SITE] [-b BAYES] [-z ZONE] [-t] [-p] [-j] [-x WHAT] FILE…  (or paths on standard input)
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "spam/eval.h"
#include "spam/spam.h"

enum { MESSAGE_MAX = 64 << 20, ZONE_MAX = 1 << 20 };

struct todo {
	struct spam *s;
	struct arena *a;
	bool times, costs;
	unsigned want;
	const char *show;
	struct buf zone;
};

static unsigned type_number(struct str s)
{
	uint64_t n;
	return str_eq(s, STR("A")) ? 1 : str_eq(s, STR("NS")) ? 2 : str_eq(s, STR("TXT")) ? 16 : num_parse(s, 1, 65535, &n) == 0 ? (unsigned)n : 0;
}

/* The DNS is the zone's file. */
static void on_ask(void *ctx, struct arena *a, struct spam_question *q, size_t n)
{
	const struct todo *t = ctx;
	for (size_t i = 0; i < n; i++) {
		struct strs found = { 0 };
		for (struct str rest = buf_view(&t->zone); rest.n > 0;) {
			struct str data = str_split(&rest, '\n');
			const struct str name = str_split(&data, ' '), type = str_split(&data, ' ');
			if (str_case_eq(name, q[i].name) && type_number(type) == q[i].type)
				strs_add(a, &found, data);
		}
		q[i].records = found.v;
		q[i].n = found.n;
	}
}

static void say(void *ctx, const char *file, unsigned line, const char *text)
{
	if (ctx == NULL)
		fprintf(stderr, "%s:%u: %s\n", file == NULL ? "-" : file, line, text);
}

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* What rules see: "body", "raw", "uri", "parts", or a header specification. */
static void show(struct todo *t, struct str message)
{
	struct msg *m = ARENA_NEW(t->a, struct msg);
	msg_init(m, t->a, spam_set(t->s), NULL, message, 0);
	const char *what = t->show;
	const struct strs *v = strcmp(what, "body") == 0 ? msg_body_lines(m) : strcmp(what, "raw") == 0 ? msg_raw_pieces(m) :
			       strcmp(what, "uri") == 0 ? msg_uri_list(m) : NULL;
	if (strcmp(what, "parts") == 0) {
		msg_parts(m);
		for (size_t i = 0; i < m->n_parts; i++)
			printf("%s %.*s %zu [%.*s]\n", m->parts[i].leaf ? "leaf" : "node", STR_ARG(m->parts[i].type), m->parts[i].raw.n,
			       STR_ARG(m->parts[i].raw));
		return;
	}
	struct err e = { 0 };
	const struct head_spec *h = v != NULL ? NULL : set_head(spam_set(t->s), str_c(what), &e);
	if (h != NULL) {
		m->heads = ARENA_ARRAY(t->a, struct head_value, h->index + 1000);
		v = &msg_head(m, h)->v;
	}
	for (size_t i = 0; v != NULL && i < v->n; i++)
		printf("[%.*s]\n", STR_ARG(v->v[i]));
}

static int check(struct todo *t, const char *file)
{
	struct buf text;
	struct err e = { 0 };
	buf_init(&text, MESSAGE_MAX);
	if (file_read(file, MESSAGE_MAX, &text, &e) < 0) {
		fprintf(stderr, "spamdump: %s\n", e.text);
		buf_fini(&text);
		return 1;
	}
	arena_reset(t->a);
	if (t->show != NULL) {
		show(t, buf_view(&text));
		buf_fini(&text);
		return 0;
	}
	struct spam_result r;
	const struct spam_facts facts = { .ask = on_ask, .ask_ctx = t };
	double start = cpu_ms();
	spam_check(t->s, t->a, buf_view(&text), t->zone.n > 0 ? &facts : NULL, t->want, &r);
	double took = cpu_ms() - start;
	if (t->costs) {
		for (size_t i = 0; i < r.n_costs; i++)
			printf("%llu\t%.*s\n", (unsigned long long)r.costs[i].ns, STR_ARG(r.costs[i].name));
	} else if (t->times) {
		printf("%s\t%.3f\t%zu\t%.3f\t%.6f\n", file, r.score, text.n, took, r.bayes);
	} else {
		printf("%s\t%.3f\t", file, r.score);
		for (size_t i = 0; i < r.n_hits; i++)
			printf("%s%.*s", i == 0 ? "" : ",", STR_ARG(r.hits[i].name));
		putchar('\t');
		for (size_t i = 0; i < r.n_subs; i++) {
			printf("%s%.*s", i == 0 ? "" : ",", STR_ARG(r.subs[i]));
			if (r.sub_counts[i] > 1)
				printf("(%u)", r.sub_counts[i]);
		}
		putchar('\n');
	}
	buf_fini(&text);
	return 0;
}

int main(int argc, char **argv)
{
	struct spam_options o = { .rules_dir = "auto", .site_dir = "/etc/spamassassin", .jit = true, .all = true };
	struct todo t = { .want = SPAM_WANT_ALL };
	const char *zone = NULL;
	bool quiet = true;
	for (int c; (c = getopt(argc, argv, "r:s:b:o:jptvx:z:")) != -1;) {
		switch (c) {
		case 'r':
			o.rules_dir = optarg;
			break;
		case 's':
			o.site_dir = optarg;
			break;
		case 'b':
			o.bayes_file = optarg;
			break;
		case 'o':
			o.own_dir = optarg;
			break;
		case 'j':
			o.jit = false;
			break;
		case 'p':
			t.costs = true;
			t.want = SPAM_WANT_COSTS;
			o.all = false;
			break;
		case 't':
			t.times = true;
			t.want = 0;
			o.all = false;
			break;
		case 'x':
			t.show = optarg;
			break;
		case 'v':
			quiet = false;
			break;
		case 'z':
			zone = optarg;
			o.network = true;
			break;
		default:
			return 2;
		}
	}
	struct err e = { 0 };
	buf_init(&t.zone, ZONE_MAX);
	if (zone != NULL && file_read(zone, ZONE_MAX, &t.zone, &e) < 0) {
		fprintf(stderr, "spamdump: %s\n", e.text);
		return 1;
	}
	if (spam_load(&o, say, quiet ? &t : NULL, &t.s, &e) < 0) {
		fprintf(stderr, "spamdump: %s\n", e.text);
		return 1;
	}
	t.a = arena_new(0);
	int status = 0;
	char line[4096];
	for (int i = optind; i < argc; i++)
		status |= check(&t, argv[i]);
	while (optind == argc && fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		status |= check(&t, line);
	}
	buf_fini(&t.zone);
	arena_free(&t.a);
	spam_free(&t.s);
	return status;
}
