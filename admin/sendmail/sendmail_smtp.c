/* The dialog of a posting: SMTP over $run/smtpd/submit, blocking, with an alarm on every wait. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sysexits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "admin/sendmail/sendmail.h"
#include "os/os.h"
#include "smtp/addr.h"
#include "smtp/data.h"
#include "smtp/reply.h"

enum { ANSWER_MS = 600000, CONNECT_TRIES = 10, CONNECT_WAIT_MS = 500 };

struct dialog {
	int fd;
	char in[8192];
	size_t n;
	int code;
	char text[600];		/* last line of the answer */
};

static int connect_submit(const struct conf *conf, struct err *e)
{
	char path[200];
	int fd = -1;

	if (snprintf(path, sizeof path, "%s/smtpd/submit", conf->run_directory) >= (int)sizeof path)
		return err_set(e, ERR_CONF, 0, "run_directory is too long");
	/* The daemon may just be restarting. */
	for (int i = 0; i < CONNECT_TRIES; i++) {
		fd = sock_unix_connect(path, SOCK_STREAM, e);
		if (fd >= 0)
			break;
		(void)poll(NULL, 0, CONNECT_WAIT_MS);
	}
	return fd;
}

/* One whole answer. -1: the connection is of no use any more. */
static int answer(struct dialog *d)
{
	for (;;) {
		const char *lf = memchr(d->in, '\n', d->n);
		if (lf != NULL) {
			struct smtp_reply_line l;
			struct err e = { 0 };
			const size_t used = (size_t)(lf - d->in) + 1;
			const struct str line = str_n(d->in, used >= 2 && lf[-1] == '\r' ? used - 2 : used - 1);
			const int r = smtp_reply_line_parse(line, &l, &e);
			if (r == 0)
				(void)snprintf(d->text, sizeof d->text, "%.*s", STR_ARG(line));
			const bool last = r == 0 && l.last;
			d->code = r == 0 ? l.code : 0;
			memmove(d->in, d->in + used, d->n - used);
			d->n -= used;
			if (r < 0)
				return -1;
			if (last)
				return d->code == 421 ? -1 : 0;
			continue;
		}
		struct pollfd pfd = { .fd = d->fd, .events = POLLIN };
		if (d->n == sizeof d->in || poll(&pfd, 1, ANSWER_MS) != 1)
			return -1;
		const ssize_t n = read(d->fd, d->in + d->n, sizeof d->in - d->n);
		if (n <= 0)
			return -1;
		d->n += (size_t)n;
	}
}

static int say(struct dialog *d, struct str text)
{
	struct err e = { 0 };

	return write_all(d->fd, text.p, text.n, &e);
}

static int ask(struct dialog *d, struct buf *line)
{
	const int r = say(d, buf_view(line)) < 0 ? -1 : answer(d);

	buf_reset(line);
	return r;
}

/* The exit status of a refusal. */
static int refused(const struct dialog *d, const char *what, struct str subject)
{
	(void)fprintf(stderr, "sendmail: %s %.*s: %s\n", what, STR_ARG(subject), d->code ? d->text : "lost connection with smtpd");
	if (d->code < 500)
		return EX_TEMPFAIL;
	return d->code == 550 || d->code == 551 || d->code == 553 ? EX_NOUSER : d->code == 552 ? EX_DATAERR : EX_UNAVAILABLE;
}

static int send_data(struct dialog *d, const struct post *p)
{
	struct smtp_dot dot = SMTP_DOT_INIT;
	struct buf wire;
	int r = 0;

	buf_init(&wire, 1 << 20);
	for (size_t i = 0; i < p->message.n && r == 0; i += 65536) {
		smtp_dot_encode(&dot, str_sub(buf_view(&p->message), i, 65536), &wire);
		r = say(d, buf_view(&wire));
		buf_reset(&wire);
	}
	smtp_dot_end(&dot, &wire);
	if (r == 0)
		r = ask(d, &wire);
	buf_fini(&wire);
	return r;
}

/* Envelope: *good_out recipients accepted; the status of the first one that was not in *bad_out. */
static int envelope(struct dialog *d, const struct post *p, size_t *good_out, int *bad_out)
{
	struct buf b;
	int r;

	buf_init(&b, 4096);
	buf_printf(&b, "EHLO %s\r\n", p->conf->myhostname);
	r = ask(d, &b);
	if (r == 0) {
		buf_printf(&b, "MAIL FROM:<%.*s> SIZE=%zu%s%s%s", STR_ARG(p->sender), p->message.n, p->eight_bit ? " BODY=8BITMIME" : "", p->ret ? " RET=" : "",
			   p->ret ? p->ret : "");
		if (p->envid) {
			buf_c(&b, " ENVID=");
			smtp_xtext_encode(str_c(p->envid), &b);
		}
		buf_c(&b, "\r\n");
		r = ask(d, &b);
	}
	if (r == 0 && d->code >= 300) {
		*bad_out = refused(d, "sender", p->sender);
		goto out;
	}
	for (size_t i = 0; i < p->n_rcpts && r == 0; i++) {
		buf_printf(&b, "RCPT TO:<%.*s>%s%s\r\n", STR_ARG(p->rcpts[i]), p->notify ? " NOTIFY=" : "", p->notify ? p->notify : "");
		r = ask(d, &b);
		if (r == 0 && d->code < 300)
			++*good_out;
		else if (r == 0)
			*bad_out = refused(d, "recipient", p->rcpts[i]);
	}
out:
	buf_fini(&b);
	return r;
}

int post_send(struct post *p)
{
	struct dialog d = { .fd = -1 };
	struct err e = { 0 };
	struct buf line;
	size_t good = 0;
	int bad = 0;

	d.fd = connect_submit(p->conf, &e);
	if (d.fd < 0) {
		(void)fprintf(stderr, "sendmail: %s\n", e.text);
		return EX_TEMPFAIL;
	}
	buf_init(&line, 256);
	int r = answer(&d);
	if (r == 0)
		r = envelope(&d, p, &good, &bad);
	if (r == 0 && good > 0) {
		buf_c(&line, "DATA\r\n");
		r = ask(&d, &line);
		if (r == 0 && d.code == 354)
			r = send_data(&d, p);
		if (r == 0 && d.code >= 300)
			bad = refused(&d, "message", STR(""));
	}
	if (r < 0)
		bad = refused(&d, "message", STR(""));
	else
		(void)say(&d, STR("QUIT\r\n"));
	buf_fini(&line);
	close_fd(&d.fd);
	return bad;
}

int post_relay_stdio(const struct conf *conf)
{
	struct err e = { 0 };
	struct pollfd pfd[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
	char buf[65536];
	int fd = connect_submit(conf, &e);

	if (fd < 0) {
		(void)fprintf(stderr, "sendmail: %s\n", e.text);
		return EX_TEMPFAIL;
	}
	pfd[1].fd = fd;
	while (poll(pfd, 2, -1) > 0 || errno == EINTR) {
		for (int i = 0; i < 2; i++) {
			if (!(pfd[i].revents & (POLLIN | POLLHUP | POLLERR)))
				continue;
			const ssize_t n = read(pfd[i].fd, buf, sizeof buf);
			if (n > 0 && write_all(i == 0 ? fd : 1, buf, (size_t)n, &e) == 0)
				continue;
			if (i == 1) {
				close_fd(&fd);
				return n == 0 ? 0 : EX_IOERR;
			}
			(void)shutdown(fd, SHUT_WR);
			pfd[0].fd = -1;
		}
	}
	close_fd(&fd);
	return EX_IOERR;
}
