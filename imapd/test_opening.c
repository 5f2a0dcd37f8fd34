/* A folder that is opened in slices is locked meanwhile: a client that does not read what it was told, and so gets no slices, does not keep it so. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imapd/opening.h"
#include "os/os.h"
#include "store/store_priv.h"
#include "test/fuzz_session.h"
#include "test/tap.h"

enum { FILES = 20, STEPS_MAX = 1000 };

static struct user u;
static const char *tree;

void user_idle(struct user *user)
{
	(void)user;
}

static void on_conn(void *ctx, struct conn *conn, enum conn_event ev)
{
	(void)ctx;
	(void)conn;
	(void)ev;
}

/* Mail that no session has seen. */
static void leave_mail(const char *folder)
{
	static const char *const subs[] = { "cur", "new", "tmp" };
	char rel[200];

	snprintf(rel, sizeof(rel), "%s/%s", tree, folder);
	(void)mkdir(rel, 0700);
	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		snprintf(rel, sizeof(rel), "%s/%s/%s", tree, folder, subs[i]);
		(void)mkdir(rel, 0700);
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(rel, sizeof(rel), "%s/cur/%u.M1P1.host,S=2,W=3:2,", folder, 1600000000 + i);
		fuzz_tree_file(rel, "x\n");
	}
}

/* Can another process have the folder? */
static bool lock_free(const char *folder)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s/" LOCK_NAME, tree, folder);
	CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd >= 0 && lock_try(fd) == 0;
}

/* bytes: so much is written to the client, who reads nothing. */
static void test(const char *folder, const char *name, size_t bytes, bool target)
{
	static const struct conn_limits limits = { .in_max = 4096, .out_high = CLIENT_OUT_HIGH, .out_max = CLIENT_OUT_MAX };
	int (*const step)(struct client *c, struct str name, struct mbox **m, struct err *e) = target ? opening_target_step : opening_step;
	struct client c = { .user = &u };
	struct mbox *m = NULL;
	struct err e = { 0 };
	struct mbox_status st = { 0 };
	char *const said = xzalloc(bytes + 1);
	int s[2], steps = 1, r;

	leave_mail(folder);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	c.conn = conn_new(u.loop, s[0], &limits, on_conn, &c);
	conn_write(c.conn, str_n(said, bytes));
	conn_flush(c.conn);
	const bool full = resp_full(&c);

	r = step(&c, str_c(name), &m, &e);
	if (full) {
		tap_ok(r == 0 && lock_free(folder), "%s: nothing of it is read, and the folder is open, and free, at once", name);
	} else {
		tap_ok(r == 1 && !lock_free(folder), "%s: it is opened in slices, and locked", name);
		while ((r = step(&c, str_c(name), &m, &e)) > 0 && steps < STEPS_MAX)
			steps++;
		tap_ok(r == 0 && steps > 3 && lock_free(folder), "%s: then it is free: %d slices", name, steps);
	}
	tap_ok(full == (bytes > 0) && r == 0 && mbox_status(m, &st, &e) == 0 && st.messages == FILES, "%s: all mail is there", name);
	mbox_close(&m);
	conn_finish(&c.conn, 0);
	close(s[1]);
	free(said);
}

int main(void)
{
	struct err e = { 0 };

	signal(SIGPIPE, SIG_IGN);
	fuzz_log_mute();
	tree = fuzz_tree();
	if (store_open(tree, true, &u.store, &e) < 0)
		abort();
	u.name = "joe";
	u.loop = loop_new();
	list_init(&u.clients);
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
	test(".read", "read", 0, false);
	test(".unread", "unread", 4 << 20, false);
	test(".readtarget", "readtarget", 0, true);
	test(".unreadtarget", "unreadtarget", 4 << 20, true);
	store_close(&u.store);
	loop_free(&u.loop);
	return tap_done();
}
