/* Address verification: who stays in a full table, and that nothing is used after it went. resolve is played here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "io/loop.h"
#include "spool/spool.h"
#include "test/tap.h"

enum { ENTRIES_MAX = 50000, HELD_MAX = 200, TABLES_MAX = 3 };

/* --- resolve --- */

static struct {
	char address[100];
	resolved_fn *fn;
	void *ctx;
} held[HELD_MAX];
static size_t n_held;

struct ask *resolve_ask(struct queued *q, struct str address, resolved_fn *fn, void *ctx)
{
	(void)snprintf(held[n_held].address, sizeof(held[n_held].address), "%.*s", STR_ARG(address));
	held[n_held].fn = fn;
	held[n_held++].ctx = ctx;
	return NULL;
}

struct ask *route_ask(struct queued *q, struct str sender, struct ipc_strs addresses, routed_fn *fn, void *ctx)
{
	return NULL;
}

/* The oldest question is answered. NULL: nobody knows; else this is the kind of its recipient. */
static void resolve_says(const char *kind)
{
	struct str v = str_c(kind ? kind : "");
	const struct ipc_resolve_RESULT r = { .class = STR("local"), .kinds = { &v, 1 } };
	resolved_fn *fn = held[0].fn;
	void *ctx = held[0].ctx;

	memmove(&held[0], &held[1], --n_held * sizeof(held[0]));
	fn(ctx, kind ? &r : NULL);
}

/* --- the table --- */

static struct conf conf = {
	.address_verify_negative_cache = true, .address_verify_positive_expire_time = 1000000, .address_verify_negative_expire_time = 1000000,
	.address_verify_positive_refresh_time = 500000, .address_verify_negative_refresh_time = 500000, .address_verify_poll_count = 3, .address_verify_poll_delay = 100,
	.myorigin = "example.com",
};
static struct queued queues[TABLES_MAX], *q;
static size_t n_queues;

/* n that are known to be good, u0 the oldest. */
static void start(size_t n)
{
	char dir[] = "/tmp/test_verify.XXXXXX";
	struct err e = { 0 };
	FILE *f;

	if (n_queues == TABLES_MAX)
		exit(1);
	q = &queues[n_queues++];
	q->conf = &conf;
	q->loop = loop_new();
	n_held = 0;
	if (mkdtemp(dir) == NULL || chdir(dir) < 0 || mkdir(SPOOL_STATE, 0700) < 0 || (f = fopen(SPOOL_STATE "/verified", "w")) == NULL)
		exit(1);
	fprintf(f, "postern-verified 1\n");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "good %lld u%zu@a.example \n", (long long)clock_wall() - 400000 + (long long)i, i);
	(void)fclose(f);
	tap_is_int(verify_start(q, &e), 0, "starts");
	(void)unlink(SPOOL_STATE "/verified"), (void)unlink(SPOOL_STATE "/empty"), (void)rmdir(SPOOL_STATE), (void)rmdir(dir);
}

struct seen {
	unsigned calls;
	bool known, good;
	const char *then;	/* asked for when the answer is there */
	struct seen *of;
};

static void on_answer(void *ctx, const struct verify_answer *a)
{
	struct seen *s = ctx;

	s->calls++;
	s->known = a->known;
	s->good = a->good;
	if (s->then)
		(void)verify_ask(q, str_c(s->then), on_answer, s->of);
}

static void stop(void *ctx)
{
	loop_stop(q->loop);
}

static void turn(void)
{
	struct timer *t = loop_timer(q->loop, 1, stop, NULL);

	loop_run(q->loop);
	timer_del(&t);
}

static struct seen ask_known(const char *address)
{
	struct seen s = { 0 };

	struct verify_wait *w = verify_ask(q, str_c(address), on_answer, &s);
	turn();
	if (s.calls == 0)
		verify_forget(&w);
	return s;
}

static void test_a_full_table_takes_new_ones(void)
{
	struct seen s = { 0 };

	start(ENTRIES_MAX);
	(void)verify_ask(q, STR("new@a.example"), on_answer, &s);
	tap_ok(n_held == 1, "a new address is asked for");
	if (n_held == 1)
		resolve_says("mailbox");
	turn();
	tap_ok(s.calls == 1 && s.known && s.good, "and known then");
	tap_ok(ask_known("u49999@a.example").known && ask_known("u64@a.example").known, "the young are still known");
	tap_ok(n_held == 0 && !ask_known("u0@a.example").known && n_held == 1, "the oldest has gone");
}

static void test_what_is_in_use_stays(void)
{
	struct seen first = { 0 }, again = { 0 }, other = { 0 }, probed = { 0 };

	start(ENTRIES_MAX - 1);
	(void)verify_ask(q, STR("x@a.example"), on_answer, &first);
	resolve_says(NULL);
	tap_ok(first.calls == 1 && !first.known, "nobody knows");
	(void)verify_ask(q, STR("x@a.example"), on_answer, &again);
	tap_ok(n_held == 0, "it is not asked for again at once");
	(void)verify_ask(q, STR("y@a.example"), on_answer, &other);	/* needs room in the same turn of the loop */
	turn();
	tap_ok(again.calls == 1 && !again.known, "who asked again is told so");
	(void)verify_ask(q, STR("y@a.example"), on_answer, &probed);
	tap_ok(n_held == 1, "what is asked about stays");
	resolve_says("mailbox");
	tap_ok(other.calls == 1 && other.good && probed.calls == 1 && probed.good, "and is answered to all who wait");
}

static void test_an_answer_may_lead_to_a_question(void)
{
	struct seen next = { 0 }, first = { .then = "y@a.example", .of = &next };

	start(ENTRIES_MAX - 1);
	(void)verify_ask(q, STR("x@a.example"), on_answer, &first);
	resolve_says(NULL);
	tap_ok(first.calls == 1 && n_held == 1, "the next is asked for");
	resolve_says("mailbox");
	tap_ok(next.calls == 1 && next.good, "and answered");
}

int main(void)
{
	test_a_full_table_takes_new_ones();
	test_what_is_in_use_stays();
	test_an_answer_may_lead_to_a_question();
	return tap_done();
}
