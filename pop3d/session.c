/* One connection after login: it waits for the mailbox, runs commands line by line, and ends with the UPDATE state when (and only when) the client says
 * QUIT. Input is read while the output is below its mark; a message is written in chunks as the client takes them. */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "log/log.h"
#include "os/os.h"

#define LAST_LOGIN "postern.poplogin"

static void run(struct client *c);

/* --- answers --- */

void client_ok(struct client *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conn_printf(c->conn, "+OK%s%s\r\n", *text ? " " : "", text);
}

void client_err(struct client *c, const char *code, const char *text)
{
	conn_printf(c->conn, "-ERR %s%s%s%s\r\n", *code ? "[" : "", code, *code ? "] " : "", text);
}

/* --- end --- */

static void tell(struct user *u, uint16_t type, const void *msg)
{
	struct err e = { 0 };

	if (u->chan && ipc_send(u->chan, type, msg, 1, -1, &e) < 0)
		log_warning("pop3(%s): to authd: %s", u->name, e.text);
}

static void on_linger(void *ctx)
{
	struct user *const u = ctx;

	if (u->n_clients == 0)
		loop_stop(u->loop);
}

static void log_end(const struct client *c, const char *why)
{
	log_as("dovecot", LOG_LV_INFO, "pop3(%s)<%ld><%016llx>: Disconnected: %s top=%u/%llu, retr=%u/%llu, del=%u/%u, size=%llu", c->user->name, (long)getpid(),
	       (unsigned long long)c->id, why, c->n_top, (unsigned long long)c->top_bytes, c->n_retr, (unsigned long long)c->retr_bytes,
	       c->n - c->left, c->n, (unsigned long long)c->octets);
}

void client_end(struct client *c, const char *why)
{
	struct user *const u = c->user;

	if (c->over)
		return;
	c->over = true;
	log_end(c, why);
	send_end(c);
	drop_close(c);
	timer_del(&c->retry);
	timer_del(&c->next);
	conn_finish(&c->conn, 2000);
	buf_fini(&c->in);
	free(c->seqs);
	free(c->sizes);
	free(c->marks);
	list_del(&c->node);
	u->n_clients--;
	tell(u, IPC_sess_DETACHED, &(struct ipc_sess_DETACHED){ .conn = c->id, .out_bytes = c->top_bytes + c->retr_bytes });
	if (u->n_clients == 0) {
		timer_del(&u->linger);
		u->linger = loop_timer(u->loop, u->chan ? LINGER_MS : 0, on_linger, u);
	}
	loop_free_later(u->loop, c);
}

void client_goodbye(struct client *c, const char *reason)
{
	/* In the middle of a message a line of ours would become part of it. */
	if (c->out.fd < 0)
		client_err(c, "SYS/TEMP", reason);
	client_end(c, "Server shutting down.");
}

/* --- the mailbox --- */

/* LOGIN-DELAY (RFC 2449 8.1.1): the time of the last login is that of a file in the mail tree, which is our directory. True: too early. */
static bool too_early(const struct client *c)
{
	const uint64_t delay = c->user->conf->pop3_login_delay;
	struct stat st;

	if (delay == 0)
		return false;
	const int64_t now = clock_wall();
	if (fstatat(AT_FDCWD, LAST_LOGIN, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime <= now && now - st.st_mtime < (int64_t)delay)
		return true;
	CLEANUP_FD int fd = open(LAST_LOGIN, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 || futimens(fd, NULL) < 0)
		log_warning("pop3(%s): " LAST_LOGIN ": errno %d", c->user->name, errno);
	return false;
}

static void try_open(void *ctx)
{
	struct client *const c = ctx;
	struct err e = { 0 };

	timer_del(&c->retry);
	if (c->tries == 0 && too_early(c)) {
		client_err(c, "LOGIN-DELAY", "Too soon after the last login.");
		client_end(c, "Too soon after the last login");
		return;
	}
	if (drop_open(c, &e) == 0) {
		client_ok(c, "Logged in. %u messages (%llu octets)", c->n, (unsigned long long)c->octets);
		run(c);
		return;
	}
	if (e.code == ERR_LIMIT && ++c->tries < LOCK_TRIES) {
		c->retry = loop_timer(c->user->loop, LOCK_TRY_MS, try_open, c);
		return;
	}
	if (e.code == ERR_LIMIT) {
		client_err(c, "IN-USE", "The mailbox is in use by another POP3 session.");
		client_end(c, "Mailbox in use");
		return;
	}
	log_error("pop3(%s): mailbox: %s", c->user->name, e.text);
	client_err(c, "SYS/TEMP", "The mailbox cannot be opened.");
	client_end(c, "Mailbox cannot be opened");
}

/* --- reading --- */

/* One command of what has come in. True: there may be another. */
static bool one_line(struct client *c)
{
	struct str line;
	struct err e = { 0 };
	size_t used = 0;
	const int r = line_parse(buf_view(&c->in), CLIENT_LINE_MAX, &line, &used, &e);

	if (r == 1)
		return false;
	if (r < 0) {
		/* After a line without an end in sight, what follows would be taken for commands. */
		client_err(c, "", e.code == ERR_LIMIT ? "Line too long." : "Invalid line.");
		const bool endless = e.code == ERR_LIMIT && (used == 0 || c->in.p[used - 1] != '\n');
		if (endless || ++c->bad >= CLIENT_BAD_MAX) {
			client_end(c, "Too many invalid commands");
			return false;
		}
		buf_shift(&c->in, used);
		return true;
	}
	/* The command may end the connection, and the buffer with it. */
	char copy[CLIENT_LINE_MAX];
	memcpy(copy, line.p, line.n);
	buf_shift(&c->in, used);
	client_command(c, str_n(copy, line.n));
	return !c->over;
}

static void run_again(void *ctx)
{
	struct client *const c = ctx;

	timer_del(&c->next);
	run(c);
}

static bool take_input(struct client *c)
{
	const struct str in = conn_input(c->conn);
	const size_t room = c->in.n < CLIENT_IN_MAX ? CLIENT_IN_MAX - c->in.n : 0;
	const size_t n = in.n < room ? in.n : room;

	buf_mem(&c->in, in.p, n);
	conn_consume(c->conn, n);
	return n > 0;
}

/* Work as long as there is input, and room for answers. */
static void run(struct client *c)
{
	for (unsigned rounds = 0; !c->over && c->v; rounds++) {
		if (c->out.fd >= 0 && !send_more(c))
			return;		/* CONN_EV_DRAINED goes on */
		if (c->over)
			return;
		if (conn_out_room(c->conn) == 0)
			return;
		if (rounds == CLIENT_ROUND_MAX) {
			timer_del(&c->next);
			c->next = loop_timer(c->user->loop, 0, run_again, c);
			return;
		}
		if (!one_line(c) && !c->over && !take_input(c))
			break;
	}
	if (!c->over && c->eof && c->v)
		client_end(c, "Connection closed");
}

static void on_conn(void *ctx, struct conn *conn, enum conn_event ev)
{
	struct client *const c = ctx;

	if (c->over)
		return;
	switch (ev) {
	case CONN_EV_DATA:
		(void)take_input(c);
		run(c);
		break;
	case CONN_EV_DRAINED:
		run(c);
		break;
	case CONN_EV_TIMEOUT:	/* RFC 1939 3: no UPDATE */
		if (c->out.fd < 0)
			client_err(c, "", "Disconnected for inactivity.");
		client_end(c, "Inactivity");
		break;
	case CONN_EV_CLOSED:
		(void)take_input(c);
		c->eof = true;
		if (c->v)
			run(c);
		else
			client_end(c, "Connection closed");
		break;
	case CONN_EV_ERROR:
		log_debug("pop3(%s): %s", c->user->name, conn_error(conn));
		client_end(c, "Connection closed");
		break;
	case CONN_EV_SECURED:
		break;
	}
}

/* --- start --- */

static void refuse(struct user *u, int fd, const struct ipc_sess_ATTACH *m, const char *text)
{
	tell(u, IPC_sess_REFUSED, &(struct ipc_sess_REFUSED){ .conn = m->conn, .code = ERR_LIMIT, .text = str_c(text) });
	close(fd);
}

static void address(char out[65], struct str s)
{
	snprintf(out, 65, "%.*s", STR_ARG(s));
}

void client_attach(struct user *u, int fd, const struct ipc_sess_ATTACH *m)
{
	static const struct conn_limits limits = { .in_max = CLIENT_IN_MAX, .out_high = CLIENT_OUT_HIGH, .out_max = CLIENT_OUT_MAX };

	if (u->n_clients >= u->conf->mail_connections_per_user) {
		refuse(u, fd, m, "Too many connections of this user.");
		return;
	}
	struct client *const c = xzalloc(sizeof(*c));
	c->user = u;
	c->id = m->conn;
	c->out.fd = -1;
	address(c->rip, m->client);
	address(c->lip, m->server);
	buf_init(&c->in, CLIENT_IN_MAX * 2);
	buf_str(&c->in, m->input);
	c->conn = conn_new(u->loop, fd, &limits, on_conn, c);
	conn_idle(c->conn, u->conf->pop3_timeout * 1000);
	list_append(&u->clients, &c->node);
	u->n_clients++;
	tell(u, IPC_sess_ATTACHED, &(struct ipc_sess_ATTACHED){ .conn = m->conn });
	try_open(c);
}
