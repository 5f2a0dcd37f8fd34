/* The sending side of the log: formats, neutralises, sends datagrams, never blocks. Time, host and process id are
 * added by the log process from what it knows itself.
 *
 * Datagram: level digit, blank, ident, blank, text; after a line feed the next line, of the same level. */
#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/format.h"
#include "log/log_priv.h"

enum { FULL_WAIT_MS = 20 };	/* main_log.c sleeps for less than half of that */

static struct {
	char name[64], program[64];
	struct sockaddr_un to; /* sun_path empty: stderr only */
	int fd;
	unsigned long lost;
	bool verbose, reconnected, gather;
	void (*divert)(void *ctx, enum log_level lv, const char *text);
	void *divert_ctx;
	struct buf held;	/* lines that wait for log_flush */
	unsigned n_held;
} state = { .name = "postern", .program = "postern", .fd = -1 };

static const char *const level_words[] = { "error: ", "warning: ", "", "debug: " };

/* Lines on their way count against the sender: the usual 208 KB are some 200 lines, fewer than queued says in a burst. Root may have more. */
enum { SEND_BYTES = 2 << 20 };

static int connect_log(struct err *e)
{
	const int bytes = SEND_BYTES;
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "log socket");
	if (connect(fd, (const struct sockaddr *)&state.to, sizeof(state.to)) < 0) {
		err_set(e, ERR_TEMP, errno, "%s", state.to.sun_path);
		close(fd);
		return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	state.fd = fd;
	return 0;
}

int log_open(const char *syslog_name, const char *program, const char *sock, struct err *e)
{
	if (snprintf(state.name, sizeof(state.name), "%s", syslog_name) >= (int)sizeof(state.name))
		return err_set(e, ERR_CONF, 0, "syslog_name is longer than %zu",
			       sizeof(state.name) - 1);
	log_program(program);
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	state.to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!sock)
		return 0;
	if (snprintf(state.to.sun_path, sizeof(state.to.sun_path), "%s", sock) >=
	    (int)sizeof(state.to.sun_path))
		return err_set(e, ERR_CONF, 0, "%s: longer than a socket's name may be", sock);
	return connect_log(e);
}

void log_program(const char *program)
{
	(void)snprintf(state.program, sizeof(state.program), "%s", program);
}

void log_divert(void (*fn)(void *ctx, enum log_level lv, const char *text), void *ctx)
{
	state.divert = fn;
	state.divert_ctx = ctx;
}

void log_verbose(bool on)
{
	state.verbose = on;
}

int log_fd(void)
{
	return state.fd;
}

/* Programs whose lines have the form that log parsers know from Postfix: these carry syslog_name. With "postfix" the parsers would find strange what the
 * others write, so they stay under our own name. */
static bool parsed_by_others(const char *program)
{
	static const char *const known[] = { "smtpd",	"qmgr",	 "cleanup", "local",  "smtp",	"lmtp",
					     "virtual", "pipe",	 "pickup",  "bounce", "error", "master",
					     "anvil",	"policy" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(program, known[i]) == 0)
			return true;
	return false;
}

const char *log_ident(const char *program)
{
	static char ident[sizeof(state.name) + sizeof(state.program) + 1];
	const char *const before = parsed_by_others(program) ? state.name : "postern";
	const size_t n = strlen(before), room = sizeof(ident) - n - 2, k = strlen(program);

	memcpy(ident, before, n);
	ident[n] = '/';
	memcpy(ident + n + 1, program, k < room ? k : room);
	ident[n + 1 + (k < room ? k : room)] = '\0';
	return ident;
}

/* 0: sent; -1 with errno. After the log process came back with a new socket, one new connection is tried (it needs the
 * file system, so a process in an empty root stays silent: the log's parent keeps its socket over restarts for that). */
static int send_line(const char *p, size_t n)
{
	struct err e;

	if (send(state.fd, p, n, MSG_NOSIGNAL) >= 0)
		return 0;
	/* The kernel queues few datagrams: give the log process a moment, but not while it is stuck. */
	if (errno == EAGAIN && state.lost == 0) {
		struct pollfd room = { .fd = state.fd, .events = POLLOUT };

		if (poll(&room, 1, FULL_WAIT_MS) > 0 && send(state.fd, p, n, MSG_NOSIGNAL) >= 0)
			return 0;
		errno = EAGAIN;
	}
	if ((errno != ECONNREFUSED && errno != ENOTCONN) || state.reconnected)
		return -1;
	const int old = state.fd;

	state.reconnected = true;
	if (connect_log(&e) < 0) {
		errno = ECONNREFUSED;
		return -1;
	}
	/* Keep the number: sandboxes and close-all loops know it. */
	if (dup3(state.fd, old, O_CLOEXEC) == old) {
		close(state.fd);
		state.fd = old;
	}
	return send(state.fd, p, n, MSG_NOSIGNAL) >= 0 ? 0 : -1;
}

static void put_lost(void)
{
	char line[128];

	if (state.lost == 0)
		return;
	const int n = snprintf(line, sizeof(line), "%d %s warning: %lu lines lost",
			       LOG_LV_WARNING, log_ident(state.program), state.lost);

	if (n > 0 && send_line(line, (size_t)n) == 0)
		state.lost = 0;
}

static void send_lines(struct str lines, unsigned n)
{
	put_lost();
	if (send_line(lines.p, lines.n) < 0)
		state.lost += n;
	else
		state.reconnected = false;
}

void log_gather(void)
{
	buf_init(&state.held, LOG_DATAGRAM_MAX);
	state.gather = true;
}

void log_flush(void)
{
	if (state.n_held > 0)
		send_lines(buf_view(&state.held), state.n_held);
	state.n_held = 0;
	buf_reset(&state.held);
}

static void hold(struct str line)
{
	if (state.n_held > 0 && state.held.n + 1 + line.n > LOG_DATAGRAM_MAX)
		log_flush();
	if (state.n_held++ > 0)
		buf_ch(&state.held, '\n');
	buf_str(&state.held, line);
}

static void put_stderr(const char *ident, const char *text, size_t n)
{
	fprintf(stderr, "%s[%d]: %.*s\n", ident, (int)getpid(), (int)n, text);
}

static void put_line(const char *ident, enum log_level lv, const char *text)
{
	/* A line's own memory: log_as() may run in a process that is short of everything else. */
	static struct buf b;

	if (!b.max)
		buf_init(&b, LOG_DATAGRAM_MAX + 16);
	buf_reset(&b);
	buf_ch(&b, (char)('0' + (int)lv));
	buf_ch(&b, ' ');
	buf_c(&b, ident);
	buf_ch(&b, ' ');
	const size_t head = b.n;

	text_neutral(&b, str_trim(str_c(text)), LOG_TEXT_MAX, false);
	if (state.fd < 0 || state.verbose)
		put_stderr(ident, b.p + head, b.n - head);
	if (state.fd < 0)
		return;
	if (state.gather && lv == LOG_LV_INFO) {
		hold(buf_view(&b));
		return;
	}
	log_flush();
	send_lines(buf_view(&b), 1);
}

static void vline(const char *ident, enum log_level lv, const char *word, const char *fmt,
		  va_list ap) __attribute__((format(printf, 4, 0)));
static void vline(const char *ident, enum log_level lv, const char *word, const char *fmt,
		  va_list ap)
{
	char text[LOG_TEXT_MAX + 256];
	const int saved = errno;
	size_t n = 0;

	if (lv == LOG_LV_DEBUG && !state.verbose)
		return;
	if (state.divert) {
		(void)text_vformat(text, sizeof(text), fmt, ap);
		state.divert(state.divert_ctx, lv, text);
		errno = saved;
		return;
	}
	if (strncmp(fmt, word, strlen(word)) != 0)
		n = (size_t)text_format(text, sizeof(text), "%s", word);
	(void)text_vformat(text + n, sizeof(text) - n, fmt, ap);
	put_line(ident, lv, text);
	errno = saved;
}

void log_line(enum log_level lv, const char *fmt, ...)
{
	va_list ap;

	if (lv == LOG_LV_DEBUG && !state.verbose)
		return;
	va_start(ap, fmt);
	vline(log_ident(state.program), lv, level_words[lv], fmt, ap);
	va_end(ap);
}

void log_as(const char *ident, enum log_level lv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vline(ident, lv, strchr(ident, '/') ? level_words[lv] : "", fmt, ap);
	va_end(ap);
}
