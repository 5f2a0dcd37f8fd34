/* Channels over a socket pair on a real loop: order, descriptors, phases, malformed records, floods, the peer's end. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "ipc/packet.h"
#include "ipc/all.h"
#include "test/tap.h"

enum { GIVE_UP_MS = 3000 };

struct side {
	struct loop *loop;
	struct ipc_chan *ch;
	unsigned got, closed;
	uint32_t last_id;
	int last_fd;
	char last_text[64];
	struct err why;
	unsigned stop_after;		/* stop the loop after this many messages */
	bool free_in_callback;
};

static void on_give_up(void *ctx)
{
	loop_stop(ctx);
}

static void on_msg(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct side *s = ctx;

	s->got++;
	s->last_id = id;
	if (s->last_fd >= 0)
		close(s->last_fd);
	s->last_fd = fd;
	if (type == IPC_queue_RCPT) {
		const struct ipc_queue_RCPT *m = msg;

		snprintf(s->last_text, sizeof(s->last_text), "%.*s", STR_ARG(m->recipient));
	}
	if (s->free_in_callback) {
		ipc_chan_free(&ch);
		s->ch = NULL;
	}
	if (s->got == s->stop_after)
		loop_stop(s->loop);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct side *s = ctx;

	s->closed++;
	s->why = *why;
	ipc_chan_free(&ch);
	s->ch = NULL;
	loop_stop(s->loop);
}

static void start(struct side *s, int fds[2])
{
	*s = (struct side){ .loop = loop_new(), .last_fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	s->ch = ipc_chan_new(s->loop, fds[0], &ipc_queue, on_msg, on_closed, s);
}

static void run(struct side *s)
{
	struct timer *t = loop_timer(s->loop, GIVE_UP_MS, on_give_up, s->loop);

	loop_run(s->loop);
	timer_del(&t);
}

static void end(struct side *s)
{
	ipc_chan_free(&s->ch);
	if (s->last_fd >= 0)
		close(s->last_fd);
	loop_free(&s->loop);
}

static void put(int fd, uint16_t type, const void *msg, uint32_t id, int with)
{
	struct err e = { 0 };

	if (ipc_send_fd(fd, &ipc_queue, type, msg, id, with, &e) < 0)
		tap_diag("send: %s", e.text);
}

static void order_and_fds(void)
{
	struct side s;
	int fds[2];

	start(&s, fds);
	for (uint32_t i = 1; i <= 10; i++) {
		const struct ipc_queue_RCPT m = { .recipient = STR("joe@example.com") };

		put(fds[1], IPC_queue_RCPT, &m, i, -1);
	}
	const struct ipc_queue_OPEN open = { .size_max = 5 };

	put(fds[1], IPC_queue_OPEN, &open, 11, fds[1]);
	s.stop_after = 11;
	run(&s);
	tap_is_int(s.got, 11, "all messages arrive");
	tap_is_int(s.last_id, 11, "in order");
	tap_ok(s.last_fd >= 0 && (fcntl(s.last_fd, F_GETFD) & FD_CLOEXEC), "a descriptor arrives close-on-exec");
	tap_is_str(s.last_text, "joe@example.com", "fields arrive");
	close(fds[1]);
	close(s.last_fd);
	s.last_fd = -1;
	run(&s);
	tap_ok(s.closed == 1 && s.why.code == ERR_CLOSED, "the peer's end is told once (%s)", s.why.text);
	end(&s);
}

static void answers(void)
{
	struct arena *a = arena_new(0);
	struct side s;
	struct err e = { 0 };
	int fds[2], fd;
	uint16_t type = 0;
	uint32_t id = 0;
	void *msg;

	start(&s, fds);
	const struct ipc_queue_REPLY m = { .code = 250, .enhanced = STR("2.0.0"), .text = STR("Ok") };

	tap_is_int(ipc_send(s.ch, IPC_queue_REPLY, &m, ipc_next_id(s.ch), -1, &e), 0, "send");
	tap_is_int(ipc_recv_fd(fds[1], &ipc_queue, 1000, a, &type, &id, &msg, &fd, &e), 0, "a blocking peer receives it %s", e.text);
	tap_ok(type == IPC_queue_REPLY && id == 1 && fd == -1, "with type and id");
	tap_ok(ipc_recv_fd(fds[1], &ipc_queue, 20, a, &type, &id, &msg, &fd, &e) < 0 && e.code == ERR_TEMP, "and times out for more (%s)", e.text);
	err_clear(&e);
	tap_is_int(ipc_patience(fds[1], 20, &e), 0, "a time to wait is kept");
	tap_is_int(ipc_send(s.ch, IPC_queue_REPLY, &m, ipc_next_id(s.ch), -1, &e), 0, "send");
	tap_is_int(ipc_recv_fd(fds[1], &ipc_queue, IPC_PATIENCE, a, &type, &id, &msg, &fd, &e), 0, "one call receives it %s", e.text);
	tap_ok(type == IPC_queue_REPLY && id == 2, "with type and id");
	tap_ok(ipc_recv_fd(fds[1], &ipc_queue, IPC_PATIENCE, a, &type, &id, &msg, &fd, &e) < 0 && e.code == ERR_TEMP, "and ends when nothing comes (%s)", e.text);
	tap_ok(ipc_recv_fd(fds[1], &ipc_queue, 0, a, &type, &id, &msg, &fd, &e) < 0 && e.code == ERR_TEMP, "who says another time waits for that (%s)", e.text);
	close(fds[1]);
	end(&s);
	arena_free(&a);
}

static void phases(void)
{
	static const uint16_t only_mail[] = { IPC_queue_MAIL };
	const struct ipc_queue_RCPT m = { .recipient = STR("x") };
	struct side s;
	int fds[2];

	start(&s, fds);
	ipc_chan_allow(s.ch, (struct ipc_allow){ only_mail, 1 });
	put(fds[1], IPC_queue_RCPT, &m, 1, -1);
	run(&s);
	tap_ok(s.got == 0 && s.closed == 1 && s.why.code == ERR_INPUT, "a message outside its phase closes the channel (%s)", s.why.text);
	tap_ok(send(fds[1], "x", 1, MSG_NOSIGNAL) < 0, "at once");
	close(fds[1]);
	end(&s);
}

static void malformed(void)
{
	static const struct { const char *name; size_t n; } cases[] = { { "a short record", 5 }, { "an over-long record", IPC_PACKET_MAX + 1 } };
	static char junk[IPC_PACKET_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const int room = 1 << 20;
		struct side s;
		int fds[2];

		start(&s, fds);
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		if (send(fds[1], junk, cases[i].n, MSG_NOSIGNAL) < 0)
			tap_diag("send failed");
		run(&s);
		tap_ok(s.closed == 1 && s.why.code == ERR_INPUT, "%s closes the channel (%s)", cases[i].name, s.why.text);
		close(fds[1]);
		end(&s);
	}
}

static int open_fds(void)
{
	int n = 0;

	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* count descriptors with one record. */
static void send_fds(int sock, unsigned count)
{
	union { char bytes[CMSG_SPACE(sizeof(int) * 250)]; struct cmsghdr align; } space;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &sock, sizeof(int));
	if (sendmsg(sock, &mh, MSG_NOSIGNAL) < 0)
		tap_diag("sendmsg failed");
}

static void too_many_fds(void)
{
	static const unsigned counts[] = { 2, 250 };

	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct side s;
		int fds[2];

		start(&s, fds);
		const int before = open_fds();

		send_fds(fds[1], counts[i]);
		run(&s);
		tap_ok(s.closed == 1 && s.why.code == ERR_INPUT, "%u descriptors close the channel (%s)", counts[i], s.why.text);
		tap_is_int(open_fds(), before - 1, "and none of them stays open");
		close(fds[1]);
		end(&s);
	}
}

/* The peer never reads: the queue ends at its limit, the sender is not blocked, and told from the loop. */
static void flood(void)
{
	static char text[300];
	const struct ipc_queue_REPLY m = { .code = 250, .enhanced = STR("2.0.0"), .text = str_n(text, sizeof(text)) };
	struct err e = { 0 };
	struct side s;
	int fds[2];
	bool sent = true;

	start(&s, fds);
	const int before = open_fds();

	for (int i = 0; i < 100000; i++)
		sent &= ipc_send(s.ch, IPC_queue_REPLY, &m, 1, -1, &e) == 0;
	tap_ok(sent && s.closed == 0, "sending to a peer that never reads does not fail inside the call");
	tap_is_int(open_fds(), before, "nor use descriptors");
	run(&s);
	tap_ok(s.closed == 1 && s.why.code == ERR_LIMIT, "it closes the channel (%s)", s.why.text);
	close(fds[1]);
	end(&s);
}

/* 1,000 packets through a socket that holds fewer: the queue is drained in order. */
static void backlog(void)
{
	const struct ipc_queue_REPLY m = { .code = 250, .enhanced = STR("2.0.0"), .text = STR("Ok") };
	struct err e = { 0 };
	struct side s, peer;
	int fds[2], small = 4096;

	start(&s, fds);
	peer = (struct side){ .loop = s.loop, .last_fd = -1, .stop_after = 200 };
	(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (uint32_t i = 1; i <= 200; i++)
		if (ipc_send(s.ch, IPC_queue_REPLY, &m, i, -1, &e) < 0)
			tap_diag("%s", e.text);
	peer.ch = ipc_chan_new(s.loop, fds[1], &ipc_queue, on_msg, on_closed, &peer);
	run(&s);
	tap_is_int(peer.got, 200, "what waited arrives");
	tap_is_int(peer.last_id, 200, "in order");
	ipc_chan_free(&peer.ch);
	end(&s);
}

/* The peer answers and exits with our packet unread: its answer still arrives before the end. */
static void last_words(void)
{
	const struct ipc_queue_RCPT m = { .recipient = STR("last") };
	const struct ipc_queue_USER_OK ok = { 0 };
	struct err e = { 0 };
	struct side s;
	int fds[2];

	start(&s, fds);
	if (ipc_send(s.ch, IPC_queue_USER_OK, &ok, 1, -1, &e) < 0)
		tap_diag("%s", e.text);
	put(fds[1], IPC_queue_RCPT, &m, 7, -1);
	close(fds[1]);
	if (ipc_send(s.ch, IPC_queue_USER_OK, &ok, 2, -1, &e) < 0)
		tap_diag("%s", e.text);
	run(&s);
	tap_ok(s.got == 1 && s.closed == 1, "a peer's last message is delivered before its end (%u %u)", s.got, s.closed);
	end(&s);
}

static void freed_inside(void)
{
	const struct ipc_queue_RCPT m = { .recipient = STR("x") };
	struct side s;
	int fds[2];

	start(&s, fds);
	s.free_in_callback = true;
	s.stop_after = 1;
	put(fds[1], IPC_queue_RCPT, &m, 1, -1);
	put(fds[1], IPC_queue_RCPT, &m, 2, -1);
	run(&s);
	tap_ok(s.got == 1 && s.closed == 0, "a callback may free its channel");
	close(fds[1]);
	end(&s);
}

static void held(void)
{
	const struct ipc_queue_RCPT m = { .recipient = STR("a@b") };
	struct side s;
	int fds[2];

	start(&s, fds);
	ipc_chan_hold(s.ch, true);
	put(fds[1], IPC_queue_RCPT, &m, 1, -1);
	struct timer *t = loop_timer(s.loop, 20, on_give_up, s.loop);
	loop_run(s.loop);
	tap_is_int(s.got, 0, "a channel that is held reads nothing");
	timer_del(&t);
	ipc_chan_take(s.ch);
	ipc_chan_take(s.ch);
	tap_is_int(s.got, 1, "but what is there when it is to be taken");
	put(fds[1], IPC_queue_RCPT, &m, 2, -1);
	t = loop_timer(s.loop, 20, on_give_up, s.loop);
	loop_run(s.loop);
	tap_is_int(s.got, 1, "it stays held");
	timer_del(&t);
	ipc_chan_hold(s.ch, false);
	s.stop_after = 2;
	run(&s);
	tap_is_int(s.got, 2, "and goes on with what came meanwhile");
	ipc_chan_hold(s.ch, true);
	put(fds[1], IPC_queue_RCPT, &m, 3, -1);
	close(fds[1]);
	s.stop_after = 0;
	run(&s);
	tap_ok(s.got == 3 && s.closed == 1, "that its peer has gone is seen, after its last words");
	end(&s);
}

/* Descriptors are all taken in a round, or where they come alone one. */
static void alone(void)
{
	static const struct {
		bool alone;
		unsigned first;		/* messages of the first round */
	} cases[] = { { false, 3 }, { true, 1 } };
	const struct ipc_queue_OPEN m = { .size_max = 1 };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct side s;
		int fds[2];
		start(&s, fds);
		if (cases[i].alone)
			ipc_chan_alone(s.ch);
		for (uint32_t k = 1; k <= 3; k++)
			put(fds[1], IPC_queue_OPEN, &m, k, fds[1]);
		s.stop_after = 1;
		run(&s);
		tap_is_int(s.got, cases[i].first, "messages with descriptors in one round, case %zu", i);
		s.stop_after = 3;
		if (s.got < 3)
			run(&s);
		tap_is_int(s.got, 3, "and all in the end");
		close(fds[1]);
		end(&s);
	}
}

static void bursts(void)
{
	const struct ipc_queue_RCPT m = { .recipient = STR("a@b") };
	struct side s;
	int fds[2];

	for (unsigned i = 0; i < 2; i++) {
		start(&s, fds);
		if (i == 1)
			ipc_chan_bursts(s.ch);
		for (uint32_t k = 1; k <= 40; k++)
			put(fds[1], IPC_queue_RCPT, &m, k, -1);
		s.stop_after = 1;
		run(&s);
		tap_is_int(s.got, i == 1 ? 32 : 1, i == 1 ? "of a burst a round takes up to its limit" : "else one, when nothing rides along");
		close(fds[1]);
		end(&s);
	}
}

static void passed_on(void)
{
	const struct ipc_queue_RCPT m = { .recipient = STR("a@b") };
	struct err e = { 0 };
	struct side s, other;
	int fds[2];

	start(&s, fds);
	other = (struct side){ .loop = s.loop, .last_fd = -1, .stop_after = 1 };
	put(fds[1], IPC_queue_RCPT, &m, 1, -1);
	s.stop_after = 1;
	run(&s);
	put(fds[1], IPC_queue_RCPT, &m, 2, -1);
	tap_ok(ipc_chan_pass(s.ch, on_msg, on_closed, &other), "a channel is passed on");
	run(&s);
	tap_ok(s.got == 1 && other.got == 1 && other.last_id == 2, "what comes then is another's");
	const struct ipc_queue_REPLY r = { .code = 250, .enhanced = STR("2.0.0"), .text = STR("Ok") };
	while (send(fds[0], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		continue;
	tap_is_int(ipc_send(s.ch, IPC_queue_REPLY, &r, 1, -1, &e), 0, "with a packet that waits");
	tap_ok(!ipc_chan_pass(s.ch, on_msg, on_closed, &s), "it is not");
	close(fds[1]);
	run(&s);
	tap_ok(s.closed == 0 && other.closed == 1, "its end is the other's too");
	s.ch = NULL;
	end(&s);
}

int main(void)
{
	held();
	alone();
	bursts();
	passed_on();
	order_and_fds();
	answers();
	phases();
	malformed();
	too_many_fds();
	flood();
	backlog();
	last_words();
	freed_inside();
	return tap_done();
}
