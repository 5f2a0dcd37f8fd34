/* What the parent believes of a front that serves its client again: that it is free, once, and nothing else. Who breaks that is let go, and its connection counts no
 * more; others are not touched. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "os/os.h"
#include "test/tap.h"

enum { ROUND_MS = 20, HEARD_ROUNDS = 500, ENDS_MAX = 200, MANY = 64 };

static struct loop *loop;
static struct again *again;
static uint64_t ends[ENDS_MAX];
static size_t n_ends, n_lingers;
static uint64_t lingers;	/* the last that does */
static const char *const owner = "a template";

static void on_ended(uint64_t conn)
{
	if (n_ends < ENDS_MAX)
		ends[n_ends++] = conn;
}

static void on_lingers(const void *of, uint64_t first)
{
	tap_ok(of == owner, "a process of that template");
	lingers = first;
	n_lingers++;
}

static void stop(void *ctx)
{
	loop_stop(ctx);
}

static void rounds(void)
{
	struct timer *t = loop_timer(loop, ROUND_MS, stop, loop);
	loop_run(loop);
	timer_del(&t);
}

/* As the parent does for the next connection. */
static void hear(void)
{
	rounds();
	again_hear(again);
}

static struct front_conn conn_of(uint64_t conn, const char *client)
{
	struct front_conn fc = { .conn = conn, .fd = -1, .auth_fd = -1, .key_fd = -1, .queue_fd = -1, .again_fd = -1, .client_known = true };
	(void)snprintf(fc.client, sizeof(fc.client), "%s", client);
	(void)snprintf(fc.server, sizeof(fc.server), "192.0.2.2");
	(void)snprintf(fc.profile, sizeof(fc.profile), "smtp");
	return fc;
}

/* A new process's end of its channel; -1: it serves one connection only. */
static int start(uint64_t conn, const char *client)
{
	struct front_conn fc = conn_of(conn, client);
	return again_new_front(again, owner, &fc) ? fc.again_fd : -1;
}

static void say(int fd, uint16_t type, const void *m, int with)
{
	struct err e = { 0 };
	if (ipc_send_fd(fd, &ipc_handover, type, m, 0, with, &e) < 0)
		tap_diag("%s", e.text);
}

static void say_free(int fd, int times)
{
	const struct ipc_handover_FREE m = { 0 };
	while (times-- > 0)
		say(fd, IPC_handover_FREE, &m, -1);
}

static bool waits(const char *client)
{
	const struct front_conn fc = conn_of(0, client);
	return again_find(again, &fc) != NULL;
}

/* The parent has closed its end: the process ends when it has read what it was given. */
static bool let_go(int fd)
{
	char room[1000];
	ssize_t n;
	while ((n = recv(fd, room, sizeof(room), MSG_DONTWAIT)) > 0)
		continue;
	return n == 0 || errno == ECONNRESET;	/* with words of ours unread */
}

static bool serve(uint64_t conn, const char *client)
{
	struct front_conn fc = conn_of(conn, client);
	struct again_front *f = again_find(again, &fc);
	struct err e = { 0 };
	fc.fd = dup(0);
	const bool r = f && again_serve(f, &fc, &e) == 0;
	close_fd(&fc.fd);
	return r;
}

static void its_client_alone(void)
{
	int fd = start(1, "192.0.2.1");
	tap_ok(fd >= 0 && !waits("192.0.2.1"), "who serves waits for nobody");
	say_free(fd, 1);
	rounds();
	tap_ok(n_ends == 1 && ends[0] == 1, "its connection has ended");
	tap_ok(waits("192.0.2.1") && !waits("192.0.2.10"), "it waits for its client, and for no other");
	tap_ok(serve(2, "192.0.2.1") && !waits("192.0.2.1"), "one connection at a time");
	close_fd(&fd);
	rounds();
	tap_ok(n_ends == 2 && ends[1] == 2, "its end is the end of the connection that it serves now");
	n_ends = 0;
}

static void free_once(void)
{
	int fd = start(1, "192.0.2.1"), other = start(2, "192.0.2.1");
	say_free(other, 1);
	say_free(fd, 3);
	rounds();
	tap_ok(let_go(fd), "who says twice that it is free is let go");
	tap_is_int((long long)n_ends, 2, "its connection counts once");
	tap_ok(!let_go(other) && waits("192.0.2.1"), "another waits as before");
	close_fd(&fd);
	close_fd(&other);
	rounds();
	tap_is_int((long long)n_ends, 2, "and their ends count no more");
	n_ends = 0;
}

static void nothing_else(void)
{
	const struct ipc_handover_ENDED m = { .conn = 7, .status = 0, .started = 5 };
	const struct ipc_handover_FREE free_one = { 0 };
	int a = start(1, "192.0.2.1"), b = start(2, "192.0.2.1"), c = start(3, "192.0.2.1");
	say(a, IPC_handover_ENDED, &m, -1);
	say(b, IPC_handover_FREE, &free_one, 0);
	if (send(c, "x", 1, MSG_NOSIGNAL) != 1)
		tap_diag("not sent");
	rounds();
	tap_ok(let_go(a) && let_go(b) && let_go(c), "a template's word, a descriptor, no message at all: let go");
	tap_is_int((long long)n_ends, 3, "their own connections have ended, and no other");
	tap_ok(!waits("192.0.2.1"), "they serve nobody");
	close_fd(&a);
	close_fd(&b);
	close_fd(&c);
	n_ends = 0;
}

static void used_up(void)
{
	int fd = start(1, "192.0.2.1");
	for (uint64_t i = 2; i <= 3; i++) {
		say_free(fd, 1);
		hear();
		tap_ok(serve(i, "192.0.2.1"), "%d", (int)i);
	}
	say_free(fd, 1);
	hear();
	tap_ok(!waits("192.0.2.1") && let_go(fd) && n_ends == 3, "after max_use connections it is let go");
	close_fd(&fd);
	n_ends = 0;
}

/* Of one that serves again: the word for its next connection is there in time, and who sends none is heard all the same. */
static void heard_when_asked(void)
{
	int fd = start(1, "192.0.2.1"), other = start(2, "192.0.2.1");
	say_free(fd, 1);
	rounds();
	tap_ok(serve(3, "192.0.2.1"), "it serves again");
	again_hear(again);
	tap_ok(n_ends == 1 && !waits("192.0.2.1"), "and has said nothing yet");
	say_free(fd, 1);
	rounds();
	tap_is_int((long long)n_ends, 1, "nobody is woken for its word");
	again_hear(again);
	tap_ok(n_ends == 2 && ends[1] == 3 && waits("192.0.2.1"), "which is there when it is asked for");
	tap_ok(serve(4, "192.0.2.1"), "and so the next connection is its");
	say_free(fd, 1);
	for (int i = 0; i < HEARD_ROUNDS && n_ends < 3; i++)
		rounds();
	tap_ok(n_ends == 3 && ends[2] == 4, "it is heard when no other connection comes, too");
	close_fd(&other);
	rounds();
	tap_ok(n_ends == 4 && ends[3] == 2, "the end of another wakes at once");
	close_fd(&fd);
	rounds();
	tap_ok(n_ends == 4 && !waits("192.0.2.1"), "nobody waits");
	n_ends = 0;
}

static void bounded(void)
{
	int fds[MANY], more;
	for (int i = 0; i < MANY; i++)
		fds[i] = start((uint64_t)i + 1, i % 2 ? "192.0.2.1" : "192.0.2.2");
	tap_ok(fds[MANY - 1] >= 0 && start(100, "192.0.2.3") < 0, "there are only so many");
	for (int i = 0; i < MANY; i++)
		say_free(fds[i], 1);
	rounds();
	rounds();
	tap_is_int((long long)n_ends, MANY, "all have ended");
	more = start(101, "192.0.2.3");
	tap_ok(more >= 0 && let_go(fds[0]) && !let_go(fds[1]), "who has waited longest makes room for another client");
	again_let_go_of(again, owner, false);
	tap_ok(let_go(fds[1]) && let_go(fds[MANY - 1]) && !let_go(more), "with their template all are let go, but what is served");
	say_free(more, 1);
	rounds();
	tap_ok(let_go(more) && n_ends == MANY + 1, "which is so when it ends");
	for (int i = 0; i < MANY; i++)
		close_fd(&fds[i]);
	close_fd(&more);
	n_ends = 0;
}

/* What it was told of the end of a process, and what not, decides whether that counts when it is let go. */
static void lingering(void)
{
	int kept = start(1, "192.0.2.1"), ended = start(3, "192.0.2.2"), orphan = start(4, "192.0.2.3");
	say_free(kept, 1);
	say_free(ended, 1);
	say_free(orphan, 1);
	rounds();
	tap_ok(serve(2, "192.0.2.1") && n_lingers == 0, "who waits does not linger");
	say_free(kept, 2);
	hear();
	hear();
	tap_ok(let_go(kept) && n_lingers == 1 && lingers == 1, "a process that is let go does, by the name that its template knows");
	again_process_ended(again, 3);
	close_fd(&ended);
	rounds();
	tap_ok(n_lingers == 1 && !waits("192.0.2.2"), "one that has ended does not");
	again_let_go_of(again, owner, true);
	tap_ok(let_go(orphan) && n_lingers == 1, "nor one of whose end nobody can tell");
	close_fd(&kept);
	close_fd(&orphan);
	n_ends = 0;
}

int main(void)
{
	static const struct front_service service = { .seldom_profile = "smtp" };
	static struct front_run run = { .service = &service };
	struct err e = { 0 };
	if (conf_parse(STR("myhostname = h.example\nmax_use = 3\n"), "test.conf", &run.conf, NULL, &e) < 0) {
		tap_ok(false, "%s", e.text);
		return tap_done();
	}
	loop = loop_new();
	again = again_new(loop, &run, 1000, (struct again_calls){ .ended = on_ended, .lingers = on_lingers });
	lingering();
	its_client_alone();
	free_once();
	nothing_else();
	used_up();
	heard_when_asked();
	bounded();
	return tap_done();
}
