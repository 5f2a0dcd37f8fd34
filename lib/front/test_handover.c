/* A connection is handed over whole: its facts, its socket and each channel in its own place, also when the other side is slow; what does not fit is refused, and
 * no descriptor is left. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "os/os.h"
#include "test/tap.h"

enum { MANY = 40, FDS_SEEN_MAX = 256 };

static struct scene {
	struct loop *loop;
	struct ipc_chan *from, *to;
	int wanted, got, right;
	bool careless;		/* takes none of the further descriptors */
	char text[200];
} s;

static int open_count(void)
{
	int n = 0;
	for (int fd = 0; fd < FDS_SEEN_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A pipe that holds one letter: who reads it knows which descriptor it was. */
static int lettered(char letter)
{
	int p[2];
	if (pipe(p) < 0 || write(p[1], &letter, 1) != 1)
		return -1;
	close(p[1]);
	return p[0];
}

static char letter_of(int *fd)
{
	char c = '-';
	if (*fd >= 0 && read(*fd, &c, 1) != 1)
		c = '?';
	close_fd(fd);
	return c;
}

static void describe(struct front_conn *fc, char *out, size_t size)
{
	const char socket = letter_of(&fc->fd), auth = letter_of(&fc->auth_fd), key = letter_of(&fc->key_fd), queue = letter_of(&fc->queue_fd), again = letter_of(&fc->again_fd);
	(void)snprintf(out, size, "%llx %s %s %s:%u %s:%u %d %c%c%c%c%c", (unsigned long long)fc->conn, fc->profile, fc->listener, fc->client, fc->client_port,
		       fc->server, fc->server_port, fc->implicit_tls, socket, auth, key, queue, again);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct front_conn fc;
	if (s.careless) {
		close(fd);
	} else {
		s.right += handover_take(msg, fd, ipc_more_fds(ch), &fc);
		describe(&fc, s.text, sizeof(s.text));
	}
	if (++s.got == s.wanted)
		loop_stop(s.loop);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)snprintf(s.text, sizeof(s.text), "closed");
	loop_stop(s.loop);
}

static struct front_conn sample(bool auth, bool key, bool queue, bool again)
{
	struct front_conn fc = { .conn = 0xabc, .fd = lettered('S'), .auth_fd = auth ? lettered('A') : -1, .key_fd = key ? lettered('K') : -1,
				 .queue_fd = queue ? lettered('Q') : -1, .again_fd = again ? lettered('F') : -1, .client_port = 4000, .server_port = 465, .client_known = true };
	(void)snprintf(fc.profile, sizeof(fc.profile), "submissions");
	(void)snprintf(fc.listener, sizeof(fc.listener), "l");
	(void)snprintf(fc.client, sizeof(fc.client), "192.0.2.1");
	(void)snprintf(fc.server, sizeof(fc.server), "192.0.2.2");
	return fc;
}

static void close_all(struct front_conn *fc)
{
	close_fd(&fc->fd);
	close_fd(&fc->auth_fd);
	close_fd(&fc->key_fd);
	close_fd(&fc->queue_fd);
	close_fd(&fc->again_fd);
}

static void send_one(bool auth, bool key, bool queue, bool again)
{
	struct front_conn fc = sample(auth, key, queue, again);
	struct err e = { 0 };
	if (handover_send(s.from, &fc, &e) < 0)
		tap_ok(false, "%s", e.text);
	close_all(&fc);
}

static void whole(bool auth, bool key, bool queue, bool again, const char *letters)
{
	char want[100];
	(void)snprintf(want, sizeof(want), "abc submissions l 192.0.2.1:4000 192.0.2.2:465 1 %s", letters);
	s.got = s.right = 0;
	s.wanted = 1;
	send_one(auth, key, queue, again);
	loop_run(s.loop);
	tap_is_str(s.text, want, "%s", letters);
	tap_is_int(s.right, 1, "as it was said");
}

/* The message says mask; n further descriptors come. */
static void misfit(uint64_t mask, size_t n, const char *what)
{
	const struct ipc_handover_CLIENT m = { .conn = 1, .profile = STR("smtp"), .client = STR("x"), .server = STR("y"), .channels = mask };
	struct ipc_fds more = { .n = n };
	struct front_conn fc;
	const int before = open_count();
	for (size_t i = 0; i < n; i++)
		more.v[i] = lettered('x');
	tap_ok(!handover_take(&m, lettered('S'), more, &fc), "%s", what);
	close_all(&fc);
	tap_is_int(open_count(), before, "and no descriptor is left");
}

int main(void)
{
	int pair[2];
	struct err e = { 0 };
	s.loop = loop_new();
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0)
		return 1;
	s.from = ipc_chan_new(s.loop, pair[0], &ipc_handover, on_message, on_closed, NULL);
	s.to = ipc_chan_new(s.loop, pair[1], &ipc_handover, on_message, on_closed, NULL);
	const int before = open_count();
	whole(true, true, true, true, "SAKQF");
	whole(true, true, true, false, "SAKQ-");
	whole(false, false, true, false, "S--Q-");
	whole(true, false, true, false, "SA-Q-");
	whole(false, true, false, true, "S-K-F");
	whole(false, false, false, false, "S----");
	s.got = s.right = 0;
	s.wanted = MANY;
	for (int i = 0; i < MANY; i++)
		send_one(true, true, true, true);
	loop_run(s.loop);
	tap_is_int(s.right, MANY, "many at once, those that had to wait too");
	tap_is_int(open_count(), before, "no descriptor is left");
	s.careless = true;
	s.got = 0;
	s.wanted = 1;
	send_one(true, true, true, true);
	loop_run(s.loop);
	tap_is_int(open_count(), before, "what nobody takes is closed");
	misfit(7, 2, "a channel too few");
	misfit(2, 2, "one too many");
	misfit(16, 1, "a channel that does not exist");
	const struct ipc_handover_READY ready = { 0 };
	const int extra = lettered('x');
	const struct ipc_fds two = { { extra, extra }, 2 };
	if (ipc_send_fds(s.from, IPC_handover_READY, &ready, 0, &two, &e) < 0)
		tap_ok(false, "%s", e.text);
	close(extra);
	loop_run(s.loop);
	tap_is_str(s.text, "closed", "descriptors with a message that has none: the channel closes");
	ipc_chan_free(&s.to);
	ipc_chan_free(&s.from);
	tap_is_int(open_count(), before - 2, "and none is left");
	loop_free(&s.loop);
	return tap_done();
}
