/* What a connection promises, over socket pairs: order of events, marks and limits, deadlines, endings, files, relays. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/conn_priv.h"
#include "test/tap.h"

static struct loop *loop;
static const struct conn_limits limits = { .in_max = 4096, .out_high = 8192, .out_max = 1 << 20 };

/* One end of a pair with a record of what happened to it. */
struct end {
	struct conn *c;
	struct buf in; /* all input, unless lazy */
	char events[64];
	size_t n_events;
	bool lazy;	   /* leave input in the connection */
	char stop_at;	   /* this event ends the loop; '*': any */
	size_t stop_bytes; /* this many bytes end the loop */
	void (*hook)(struct end *t, enum conn_event ev);
};

static const char letters[] = {
	[CONN_EV_DATA] = 'd',	 [CONN_EV_DRAINED] = 'w', [CONN_EV_SECURED] = 's',
	[CONN_EV_TIMEOUT] = 't', [CONN_EV_CLOSED] = 'c',  [CONN_EV_ERROR] = 'e'
};

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct end *t = ctx;

	if (t->n_events < sizeof(t->events) - 1)
		t->events[t->n_events++] = letters[ev];
	if (ev == CONN_EV_DATA && !t->lazy) {
		buf_str(&t->in, conn_input(c));
		conn_consume(c, conn_input(c).n);
	}
	if (t->hook)
		t->hook(t, ev);
	if (t->stop_at == letters[ev] || t->stop_at == '*' ||
	    (t->stop_bytes && t->in.n >= t->stop_bytes))
		loop_stop(loop);
}

static void end_init(struct end *t, int fd)
{
	*t = (struct end){ .c = NULL };
	buf_init(&t->in, 1 << 24);
	if (fd >= 0)
		t->c = conn_new(loop, fd, &limits, on_conn, t);
}

static void end_fini(struct end *t)
{
	conn_free(&t->c);
	buf_fini(&t->in);
}

static void pair(struct end *a, struct end *b)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	end_init(a, sv[0]);
	end_init(b, sv[1]);
}

static void on_limit(void *ctx)
{
	*(bool *)ctx = true;
	loop_stop(loop);
}

/* Run until something stops the loop, or ms. Returns false when it was the time. */
static bool run_ms(unsigned ms)
{
	bool late = false;
	struct timer *t = loop_timer(loop, ms, on_limit, &late);

	loop_run(loop);
	timer_del(&t);
	return !late;
}

static bool run(void)
{
	return run_ms(30000);
}

/* Let the loop go on until what, or half a minute. */
#define RUN_UNTIL(what)                                                                            \
	for (int rounds = 0; !(what) && rounds < 1500; rounds++)                                   \
	run_ms(20)

static void echo(struct end *t, enum conn_event ev)
{
	if (ev == CONN_EV_DATA) {
		conn_write(t->c, buf_view(&t->in));
		buf_reset(&t->in);
	}
}

static void input_is_answered(void)
{
	struct end a, b;

	pair(&a, &b);
	b.hook = echo;
	a.stop_at = 'd';
	conn_write(a.c, STR("one "));
	conn_printf(a.c, "%s %0300d", "two", 3);
	tap_is_int((long long)conn_out_pending(a.c), 4 + 4 + 300,
		   "output waits for the end of the round");
	run();
	tap_is_int((long long)a.in.n, 308, "it arrives whole and comes back");
	tap_ok(memcmp(a.in.p, "one two 000", 11) == 0, "in order");
	tap_is_str(a.events, "wd", "the sender hears that it left");
	end_fini(&a);
	end_fini(&b);
}

static size_t to_write;

static void writer(struct end *t, enum conn_event ev)
{
	static const char block[3000];

	for (; conn_out_room(t->c) > 0 && to_write > 0; to_write -= sizeof(block))
		conn_write(t->c, str_n(block, sizeof(block)));
}

static void much_output_flows_by_marks(void)
{
	struct end a, b;

	pair(&a, &b);
	b.stop_bytes = 3000000;
	a.hook = writer;
	to_write = 3000000;
	writer(&a, CONN_EV_DRAINED);
	tap_ok(conn_out_pending(a.c) <= 8192 + 3000,
	       "a writer that asks for room stays near the mark");
	run();
	tap_is_int((long long)b.in.n, 3000000, "all of it arrives");
	end_fini(&a);
	end_fini(&b);
}

static void input_stops_above_the_mark(void)
{
	struct end a, b;
	static char big[400000];

	pair(&a, &b);
	b.lazy = true;
	a.lazy = true;
	conn_pause(b.c, true);
	memset(big, 'z', sizeof(big));
	conn_write(a.c, str_n(big, sizeof(big)));
	run_ms(20);
	(void)!write(conn_fd(b.c), "hello\r\n", 7);
	run_ms(30);
	tap_is_str(a.events, "", "who does not read his answers is not read");
	tap_ok(conn_out_pending(a.c) > limits.out_high, "output is pending");
	b.lazy = false;
	b.stop_bytes = sizeof(big);
	conn_pause(b.c, false);
	run();
	RUN_UNTIL(strchr(a.events, 'd') != NULL && strchr(a.events, 'w') != NULL);
	tap_ok(strchr(a.events, 'd') != NULL && strchr(a.events, 'w') != NULL,
	       "he is read again when they left");
	end_fini(&a);
	end_fini(&b);
}

static void output_has_an_end(void)
{
	struct end a, b;
	static char big[700000];

	pair(&a, &b);
	conn_pause(b.c, true);
	a.stop_at = 'e';
	conn_write(a.c, str_n(big, sizeof(big)));
	tap_is_str(a.events, "", "no callback from inside a call");
	conn_write(a.c, str_n(big, sizeof(big)));
	tap_ok(run(), "too much output is an error");
	tap_is_str(conn_error(a.c), "the peer does not read its answers", "that says why");
	end_fini(&a);
	end_fini(&b);
}

static int lines;

static void take_lines(struct end *t, enum conn_event ev)
{
	struct err e = { 0 };
	struct str line;
	static char answer[5000];

	while (ev == CONN_EV_DATA && conn_line(t->c, 100, &line, &e) == 0) {
		lines++;
		conn_write(t->c, str_n(answer, sizeof(answer)));
	}
}

static void pipelined_lines_wait_for_output(void)
{
	struct end a, b;

	pair(&a, &b);
	b.lazy = true;
	b.hook = take_lines;
	lines = 0;
	conn_pause(a.c, true);
	for (int i = 0; i < 300; i++)
		conn_write(a.c, STR("cmd\r\n"));
	run_ms(30);
	tap_ok(lines < 300, "commands wait while their answers are not read (%d taken)", lines);
	a.stop_bytes = 300 * 5000;
	conn_pause(a.c, false);
	run();
	tap_is_int((long long)a.in.n, 300 * 5000, "and all are answered in the end");
	tap_is_int(lines, 300, "each once");
	end_fini(&a);
	end_fini(&b);
}

static void full_input_waits(void)
{
	struct end a, b;
	static char big[20000];

	pair(&a, &b);
	b.lazy = true;
	conn_write(a.c, str_n(big, sizeof(big)));
	RUN_UNTIL(conn_input(b.c).n == 4096);
	run_ms(30);
	tap_is_int((long long)conn_input(b.c).n, 4096, "input is buffered up to its limit");
	b.stop_bytes = sizeof(big) - 4096;
	b.lazy = false;
	conn_consume(b.c, 4096);
	run();
	tap_is_int((long long)b.in.n, sizeof(big) - 4096, "and read on when there is room");
	end_fini(&a);
	end_fini(&b);
}

static void deadlines_pass(void)
{
	struct end a, b;
	uint64_t start = clock_mono_ms();

	pair(&a, &b);
	a.stop_at = 't';
	conn_idle(a.c, 500);
	run_ms(20);
	conn_write(b.c, STR("x"));
	run();
	uint64_t took = clock_mono_ms() - start;
	tap_is_str(a.events, "dt", "silence is reported");
	tap_ok(took >= 519, "input restarts the idle time (%d ms)", (int)took);
	tap_ok(!run_ms(60), "once");
	conn_idle(a.c, 20);
	b.hook = NULL;
	run();
	tap_is_str(a.events, "dtt", "the idle time can be set again");
	conn_deadline(a.c, 30);
	run();
	tap_is_str(a.events, "dttt", "the deadline is absolute");
	end_fini(&a);
	end_fini(&b);
}

static void end_of_input(void)
{
	struct end a, b;

	pair(&a, &b);
	b.lazy = true;
	b.stop_at = 'c';
	conn_write(a.c, STR("last"));
	conn_finish(&a.c, 30000);
	tap_ok(a.c == NULL, "conn_finish takes the connection");
	run();
	tap_is_str(b.events, "dc", "what was written before arrives before the end");
	tap_is_mem(conn_input(b.c), STR("last"), "and can be read after it");
	conn_free(&b.c);
	end_fini(&a);
	end_fini(&b);
}

static bool finished;

static void on_finished(void *ctx)
{
	finished = true;
	loop_stop(loop);
}

static void finish_sends_all(void)
{
	struct end a, b;
	static char big[500000];

	pair(&a, &b);
	b.stop_at = 'c';
	finished = false;
	conn_write(a.c, str_n(big, sizeof(big)));
	conn_finish(&a.c, 30000);
	conn_when_finished(loop, on_finished, NULL);
	run();
	tap_is_int((long long)b.in.n, sizeof(big), "a finishing connection sends all");
	tap_ok(!finished, "and waits for the peer's end");
	conn_free(&b.c);
	run();
	tap_ok(finished, "then the loop says that none is left");
	end_fini(&a);
	end_fini(&b);

	pair(&a, &b);
	conn_pause(b.c, true);
	finished = false;
	conn_write(a.c, str_n(big, sizeof(big)));
	conn_finish(&a.c, 30);
	conn_when_finished(loop, on_finished, NULL);
	tap_ok(run() && finished, "a peer that reads nothing is waited for so long and no longer");
	end_fini(&a);
	end_fini(&b);

	finished = false;
	conn_when_finished(loop, on_finished, NULL);
	tap_ok(run() && finished, "with none finishing the answer comes at once");
}

/* A layer that passes everything on and counts its ends. */
static int layers_freed;

static ssize_t pass_read(struct filter *f, void *p, size_t n, struct err *e)
{
	return f->below->ops->read(f->below, p, n, e);
}

static ssize_t pass_write(struct filter *f, const void *p, size_t n, bool more, struct err *e)
{
	return f->below->ops->write(f->below, p, n, more, e);
}

static void count_free(struct filter *f)
{
	layers_freed++;
}

static void last_is_left_to_the_kernel(void)
{
	static const struct filter_ops ops = { .read = pass_read, .write = pass_write, .free = count_free };
	static struct filter layers[2];
	struct end a, b, c, d;

	pair(&a, &b);
	pair(&c, &d);
	layers[0].ops = layers[1].ops = &ops;
	conn_push(a.c, &layers[0]);
	conn_push(c.c, &layers[1]);
	RUN_UNTIL(a.c->top == &layers[0] && c.c->top == &layers[1]);
	layers_freed = 0;
	finished = false;
	conn_finish(&a.c, 30000);
	conn_finish(&c.c, 30000);
	conn_when_finished(loop, on_finished, NULL);
	RUN_UNTIL(b.n_events > 0 && d.n_events > 0);	/* each sees the other's end */
	conn_free(&b.c);
	RUN_UNTIL(layers_freed > 0);
	tap_ok(!finished && layers_freed == 1, "the first of two that finish is freed");
	conn_free(&d.c);
	run();
	tap_ok(finished && layers_freed == 1, "the last is left for the end of the process");
	end_fini(&a);
	end_fini(&b);
	end_fini(&c);
	end_fini(&d);
}

static void broken_peer_is_an_error(void)
{
	struct end a, b;

	pair(&a, &b);
	a.stop_at = 'e';
	conn_pause(a.c, true);
	conn_free(&b.c);
	tap_ok(!run_ms(20), "a paused connection does not spin on a hang-up");
	conn_write(a.c, STR("x"));
	tap_ok(run(), "writing to nobody is an error");
	tap_ok(strstr(conn_error(a.c), "Broken pipe") != NULL, "that names the cause: %s",
	       conn_error(a.c));
	tap_ok(!run_ms(20), "and is reported once");
	end_fini(&a);
	end_fini(&b);
}

static void free_self(struct end *t, enum conn_event ev)
{
	if (ev == CONN_EV_DATA) {
		conn_write(t->c, STR("never"));
		conn_free(&t->c);
	}
}

static void freed_in_its_callback(void)
{
	struct end a, b;

	pair(&a, &b);
	b.hook = free_self;
	a.stop_at = 'c';
	conn_write(a.c, STR("x"));
	run();
	tap_is_str(a.events, "wc",
		   "a connection can be freed in its own callback; its output is lost");
	end_fini(&a);
	end_fini(&b);
}

static void detached(void)
{
	struct end a, b;
	struct buf left;

	buf_init(&left, 1000);
	pair(&a, &b);
	b.lazy = true;
	b.stop_at = 'd';
	conn_write(a.c, STR("early"));
	run();
	int fd = conn_detach(&b.c, &left);
	tap_is_str(left.p, "early", "detaching hands out what was read");
	(void)!write(fd, "late", 4);
	a.stop_at = 'd';
	run();
	tap_is_str(a.in.p, "late", "and the descriptor, open");
	close(fd);
	buf_fini(&left);
	end_fini(&a);
	end_fini(&b);
}

static int temp_file(size_t n, char first)
{
	char name[] = "/tmp/test_conn.XXXXXX";
	int fd = mkstemp(name);
	char *p = xmalloc(n);

	unlink(name);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(first + (char)(i % 26));
	if (write(fd, p, n) != (ssize_t)n)
		abort();
	free(p);
	return fd;
}

static void files_are_sent_in_order(void)
{
	struct end a, b;
	int f = temp_file(300000, 'a'), g = temp_file(30, 'A');

	pair(&a, &b);
	conn_write(a.c, STR("<"));
	conn_send_file(a.c, f, 26, 260000);
	conn_write(a.c, STR("|"));
	conn_send_file_own(a.c, g, 2, 3);
	conn_write(a.c, STR(">"));
	tap_is_int((long long)conn_out_pending(a.c), 1 + 260000 + 1 + 3 + 1,
		   "files count as pending output");
	b.stop_bytes = 260006;
	run();
	RUN_UNTIL(conn_out_pending(a.c) == 0);
	tap_is_int((long long)b.in.n, 260006, "files and text arrive");
	tap_ok(b.in.n == 260006 && memcmp(b.in.p, "<abcd", 5) == 0 &&
		       strcmp(b.in.p + 260000, "z|CDE>") == 0,
	       "in order");
	tap_ok(fcntl(g, F_GETFD) < 0, "a file that was given away is closed");
	tap_is_int((long long)conn_out_pending(a.c), 0, "nothing is pending");
	a.stop_at = 'e';
	conn_send_file(a.c, f, 299990, 100);
	tap_ok(run(), "a file shorter than promised breaks the connection");
	close(f);
	end_fini(&a);
	end_fini(&b);
}

static void pause_and_resume(void)
{
	struct end a, b;

	pair(&a, &b);
	b.lazy = true;
	b.stop_at = 'd';
	conn_write(a.c, STR("x"));
	run();
	conn_pause(b.c, true);
	conn_write(a.c, STR("y"));
	tap_ok(!run_ms(20), "a paused connection reports no input");
	conn_pause(b.c, false);
	tap_ok(run(), "resuming delivers what is buffered");
	tap_ok(conn_input(b.c).n >= 1, "again");
	end_fini(&a);
	end_fini(&b);
}

static bool relay_done;

static void on_relay_done(void *ctx)
{
	relay_done = true;
	loop_stop(loop);
}

static void relays(void)
{
	struct end client, front_c, front_s, session;
	static char big[1000000];

	pair(&client, &front_c);
	pair(&front_s, &session);
	front_c.lazy = true;
	front_c.stop_at = 'd';
	conn_write(client.c, STR("early"));
	run();
	relay_done = false;
	conn_relay(&front_c.c, &front_s.c, 60000, on_relay_done, NULL);
	session.stop_bytes = 5;
	run();
	tap_is_str(session.in.p, "early", "what was read before the relay passes");
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 31 % 251);
	conn_write(session.c, str_n(big, sizeof(big)));
	conn_write(client.c, STR("more"));
	client.stop_bytes = sizeof(big);
	session.stop_bytes = 0;
	run();
	tap_is_mem(str_sub(buf_view(&client.in), 999990, 10), str_n(big + 999990, 10),
		   "a large answer passes");
	tap_ok(client.in.n == sizeof(big) && memcmp(client.in.p, big, sizeof(big)) == 0,
	       "unchanged");
	conn_write(session.c, STR("bye"));
	conn_finish(&session.c, 30000);
	client.stop_at = 'c';
	run();
	tap_is_int((long long)client.in.n, sizeof(big) + 3,
		   "the session's last words arrive before its end");
	client.stop_at = 0;
	client.stop_bytes = 0;
	conn_free(&client.c);
	tap_ok(run() && relay_done, "both ended: the relay is done");
	end_fini(&client);
	end_fini(&front_c);
	end_fini(&front_s);
	end_fini(&session);

	pair(&client, &front_c);
	pair(&front_s, &session);
	relay_done = false;
	conn_relay(&front_c.c, &front_s.c, 50, on_relay_done, NULL);
	tap_ok(run_ms(30000) && relay_done, "an idle relay ends");
	end_fini(&client);
	end_fini(&front_c);
	end_fini(&front_s);
	end_fini(&session);
}

static void endless_line(void)
{
	struct end a, b;
	static char big[1 << 20];

	pair(&a, &b);
	memset(big, 'x', sizeof(big));
	b.lazy = true;
	b.hook = take_lines;
	b.stop_at = 'e';
	conn_write(a.c, str_n(big, 1 << 19));
	run_ms(20);
	conn_write(a.c, str_n(big, 1 << 19));
	run_ms(20);
	conn_write(a.c, str_n(big, 1 << 19));
	tap_ok(run(), "a line without end breaks the connection");
	end_fini(&a);
	end_fini(&b);
}

int main(void)
{
	alarm(30);
	loop = loop_new();
	input_is_answered();
	much_output_flows_by_marks();
	input_stops_above_the_mark();
	output_has_an_end();
	pipelined_lines_wait_for_output();
	full_input_waits();
	deadlines_pass();
	end_of_input();
	finish_sends_all();
	last_is_left_to_the_kernel();
	broken_peer_is_an_error();
	freed_in_its_callback();
	detached();
	files_are_sent_in_order();
	pause_and_resume();
	relays();
	endless_line();
	loop_free(&loop);
	return tap_done();
}
