/* A receiving SMTP server for the benchmarks: takes everything, keeps nothing, counts. Many listeners, one process, so that it costs little beside the servers that are
 * measured.
 *
 *	sink COUNTER DELAY_MS PORT FIRST_ADDRESS ADDRESSES
 *
 * COUNTER is a file of 8 bytes: messages taken, in the machine's order, always current. DELAY_MS: each answer waits so long, as over a slow line; answers to
 * commands that came together wait together. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"
#include "io/conn.h"

enum { LISTENERS_MAX = 1000, IN_MAX = 1 << 20 };

static struct {
	struct loop *loop;
	volatile uint64_t *count;
	uint64_t delay_ms;
} g;

struct session {
	struct conn *c;
	bool data, quit;
	unsigned matched;	/* of the end's five bytes */
	struct buf out;		/* answers that wait */
	struct timer *timer;
};

static void end(struct session *s)
{
	timer_del(&s->timer);
	buf_fini(&s->out);
	conn_free(&s->c);
	loop_free_later(g.loop, s);
}

static void flush(void *ctx)
{
	struct session *s = ctx;

	conn_write(s->c, buf_view(&s->out));
	buf_reset(&s->out);
	if (s->quit) {
		conn_finish(&s->c, 1000);
		end(s);
	}
}

static void say(struct session *s, const char *text)
{
	const bool first = s->out.n == 0;

	buf_c(&s->out, text);
	if (first && g.delay_ms > 0)
		timer_again(s->timer, g.delay_ms);
}

/* Message data up to CR LF . CR LF, wherever it is cut. */
static bool take_data(struct session *s, struct str in)
{
	static const char mark[] = "\r\n.\r\n";

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == mark[s->matched])
			s->matched++;
		else
			s->matched = in.p[i] == '\r' ? 1 : 0;
		if (s->matched == 5) {
			conn_consume(s->c, i + 1);
			s->data = false;
			++*g.count;
			say(s, "250 2.0.0 Ok: taken\r\n");
			return true;
		}
	}
	conn_consume(s->c, in.n);
	return false;
}

static void command(struct session *s, struct str line)
{
	if (str_case_starts(line, STR("EHLO"))) {
		say(s, "250-sink\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n");
	} else if (str_case_starts(line, STR("DATA"))) {
		say(s, "354 go ahead\r\n");
		s->data = true;
		s->matched = 2;
	} else if (str_case_starts(line, STR("QUIT"))) {
		say(s, "221 2.0.0 bye\r\n");
		s->quit = true;
	} else {
		say(s, "250 2.0.0 Ok\r\n");
	}
}

static void on_input(struct session *s)
{
	while (!s->quit) {
		const struct str in = conn_input(s->c);
		if (in.n == 0)
			break;
		if (s->data) {
			if (!take_data(s, in))
				break;
			continue;
		}
		const ptrdiff_t lf = str_chr(in, '\n');
		if (lf < 0)
			break;
		command(s, str_sub(in, 0, (size_t)lf));
		conn_consume(s->c, (size_t)lf + 1);
	}
	if (g.delay_ms == 0 && s->out.n > 0)
		flush(s);
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct session *s = ctx;

	if (ev == CONN_EV_DATA)
		on_input(s);
	else if (ev != CONN_EV_DRAINED && s->c)
		end(s);
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct conn_limits limits = { .in_max = IN_MAX, .out_high = IN_MAX, .out_max = 8 << 20 };
	const int *listener = ctx;
	int fd;

	while ((fd = accept4(*listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct session *s = xzalloc(sizeof(*s));
		buf_init(&s->out, 65536);
		s->timer = loop_timer(g.loop, 1u << 30, flush, s);
		s->c = conn_new(g.loop, fd, &limits, on_event, s);
		say(s, "220 sink ESMTP\r\n");
		if (g.delay_ms == 0)
			flush(s);
	}
}

static int listen_at(struct in_addr a, uint16_t port)
{
	const struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = a, .sin_port = htons(port) };
	const int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind(fd, (const struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 1024) < 0) {
		perror("sink: listen");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	static int fds[LISTENERS_MAX];
	uint64_t port, n;
	struct in_addr a;

	if (argc != 6 || num_parse(str_c(argv[2]), 0, 60000, &g.delay_ms) < 0 || num_parse(str_c(argv[3]), 1, 65535, &port) < 0 ||
	    inet_pton(AF_INET, argv[4], &a) != 1 || num_parse(str_c(argv[5]), 1, LISTENERS_MAX, &n) < 0) {
		fputs("usage: sink COUNTER DELAY_MS PORT FIRST_ADDRESS ADDRESSES\n", stderr);
		return 2;
	}
	const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*g.count)) < 0 || (g.count = mmap(NULL, sizeof(*g.count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		perror("sink: counter");
		return 1;
	}
	*g.count = 0;
	g.loop = loop_new();
	for (uint64_t i = 0; i < n; i++) {
		fds[i] = listen_at((struct in_addr){ htonl(ntohl(a.s_addr) + (uint32_t)i) }, (uint16_t)port);
		loop_watch(g.loop, fds[i], LOOP_READ, on_accept, &fds[i]);
	}
	puts("ready");
	fflush(stdout);
	loop_run(g.loop);
	return 0;
}
