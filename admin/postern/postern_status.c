/* postern status: what runs, who is connected, what waits, how fast. Asked of the daemons themselves (their control sockets), of the log's counters and of /proc. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/postern/postern.h"
#include "admin/postern/status.h"
#include "base/clock.h"
#include "base/num.h"
#include "ipc/ask.h"
#include "log/count.h"

enum { WATCH_DEFAULT_S = 2, WATCH_MAX_S = 3600 };

struct taker {
	struct status *s;
	struct arena *a;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern status [--json] [--watch[=SECONDS]]\n"
	      "Processes, connections, queue and rates of the running suite. --watch: again and again, with the rates of the time between.\n"
	      "Exit status: 0 all answer, 1 something does not run.\n",
	      to);
	return status;
}

static void on_queue(void *ctx, const struct ipc_control_LINE *l)
{
	struct status *s = ((struct taker *)ctx)->s;

	s->messages = control_number(l, "messages");
	s->transactions = control_number(l, "transactions");
	s->smtp_connections = control_number(l, "connections");
	s->agents = control_number(l, "agents");
}

static void add_session(const struct taker *t, const struct ipc_control_LINE *l)
{
	struct status *s = t->s;

	if (s->shown_sessions < STATUS_SESSIONS_MAX)
		s->sessions[s->shown_sessions++] = (struct status_session){
			.user = arena_printf(t->a, "%.*s", STR_ARG(control_value(l, "user"))),
			.service = arena_printf(t->a, "%.*s", STR_ARG(control_value(l, "service"))),
			.pid = control_number(l, "pid"),
			.connections = control_number(l, "connections"),
		};
}

static void on_auth(void *ctx, const struct ipc_control_LINE *l)
{
	struct taker *t = ctx;
	struct status *s = t->s;
	const struct str what = control_value(l, "what");
	const struct {
		const char *name;
		uint64_t *to;
	} numbers[] = {
		{ "accounts", &s->accounts },	       { "connections", &s->mail_connections }, { "sessions", &s->n_sessions },
		{ "logins-ok", &s->logins_ok },	       { "logins-cached", &s->logins_cached },	{ "logins-failed", &s->logins_failed },
		{ "logins-refused", &s->logins_refused },
	};

	if (what.n == 0) {
		add_session(t, l);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (str_eq(what, str_c(numbers[i].name)))
			*numbers[i].to = control_number(l, "value");
}

static void take_counters(struct status *s, const char *run)
{
	struct counters *c = NULL;
	struct err ignored = { 0 };

	if (counters_open(run, false, &c, &ignored) < 0)
		return;
	s->counted = true;
	s->counting_since = counters_since(c);
	for (unsigned i = 0; i < EV_MAX_; i++) {
		s->total[i] = counter_total(c, (enum event)i);
		s->minute[i] = counter_minute(c, (enum event)i);
	}
	counters_close(&c);
}

/* Who does not answer is said once, on standard error. */
static void take(const struct conf *c, struct arena *a, struct status *s, bool quiet)
{
	struct taker t = { s, a };
	struct err e = { 0 };

	s->taken_ms = clock_mono_ms();
	status_processes(s, c->libexec_directory);
	s->queue_up = control_ask(c->run_directory, "queue/control", "status", NULL, 0, on_queue, &t, NULL, &e) == 0;
	if (!s->queue_up && !quiet)
		fprintf(stderr, "postern status: queued: %s\n", e.text);
	err_clear(&e);
	s->auth_up = control_ask(c->run_directory, "auth/control", "status", NULL, 0, on_auth, &t, NULL, &e) == 0;
	if (!s->auth_up && !quiet)
		fprintf(stderr, "postern status: authd: %s\n", e.text);
	take_counters(s, c->run_directory);
}

static void pause_s(uint64_t seconds)
{
	const struct timespec t = { .tv_sec = (time_t)seconds };

	(void)nanosleep(&t, NULL);
}

static void watch(const struct conf *c, bool json, uint64_t seconds)
{
	static struct status s[2];
	struct arena *a[2] = { arena_new(0), arena_new(0) };
	const bool tty = isatty(STDOUT_FILENO);

	for (unsigned i = 0; !ferror(stdout); i ^= 1) {
		arena_free(&a[i]);
		a[i] = arena_new(0);
		memset(&s[i], 0, sizeof(s[i]));
		take(c, a[i], &s[i], tty);
		if (tty && !json)
			fputs("\033[H\033[J", stdout);
		if (json)
			status_print_json(&s[i]);
		else
			status_print(&s[i], s[i ^ 1].taken_ms ? &s[i ^ 1] : NULL);
		fflush(stdout);
		pause_s(seconds);
	}
	arena_free(&a[0]);
	arena_free(&a[1]);
}

static int once(const struct conf *c, bool json)
{
	static struct status s;
	struct arena *a = arena_new(0);

	take(c, a, &s, false);
	if (json)
		status_print_json(&s);
	else
		status_print(&s, NULL);
	arena_free(&a);
	return s.queue_up && s.auth_up ? POSTERN_OK : POSTERN_FAILED;
}

int postern_status(const struct postern *p, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "watch", optional_argument, NULL, 'w' },
					       { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	uint64_t seconds = 0;
	bool json = false;

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (ch == 'h')
			return usage(stdout, POSTERN_OK);
		if (ch == 'j')
			json = true;
		else if (ch != 'w' || (optarg && num_parse(str_c(optarg), 1, WATCH_MAX_S, &seconds) < 0))
			return usage(stderr, POSTERN_USAGE);
		else if (!optarg)
			seconds = WATCH_DEFAULT_S;
	}
	if (optind != argc)
		return usage(stderr, POSTERN_USAGE);
	struct conf *c = postern_conf(p);

	if (!c)
		return POSTERN_CONFIG;
	int status = POSTERN_OK;

	if (seconds)
		watch(c, json, seconds);
	else
		status = once(c, json);
	conf_free(&c);
	return status;
}
