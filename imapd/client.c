/* One connection from ATTACH to its end: reading commands (or a message, or DONE), the connection's events, time-outs, the last log line.
 * What a command does is command.c and cmd_*.c. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "caps.h"
#include "held.h"
#include "link.h"
#include "log/log.h"
#include "relay.h"

static void on_conn(void *ctx, struct conn *conn, enum conn_event ev);

/* --- reading --- */

struct str client_input(struct client *c)
{
	return c->before.n ? buf_view(&c->before) : conn_input(c->conn);
}

void client_consume(struct client *c, size_t n)
{
	c->in_bytes += n;
	if (c->before.n == 0)
		conn_consume(c->conn, n);
	else if (n == c->before.n)
		buf_fini(&c->before);
	else
		buf_shift(&c->before, n);
}

/* The literal that was just announced. False: the command is over. */
static bool literal(struct client *c)
{
	const struct imap_scan *s = &c->scan;
	enum append_literal how = APPEND_INLINE;

	if (!c->idling && (c->append || c->relay || c->text.n > 0))
		how = append_literal(c);
	if (how == APPEND_STREAM || how == APPEND_OPENING)
		return true;
	if (how == APPEND_REFUSED)
		return !imap_scan_refuse(&c->scan);
	if (s->lit_size > CLIENT_LITERALS_MAX || s->literal_bytes > CLIENT_LITERALS_MAX - s->lit_size)
		return !imap_scan_refuse(&c->scan);
	if (!s->lit_nonsync) {
		held_commit(c);
		buf_c(resp(c), "+ OK\r\n");
		resp_flush(c);
	}
	imap_scan_accept(&c->scan);
	return true;
}

static void command_text(struct client *c)
{
	if (c->idling) {
		struct str line = buf_view(&c->text);

		while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
			line.n--;
		if (c->relay)
			relay_line(c, line);
		else
			idle_line(c, line);
	} else if (c->relay) {
		relay_text(c);
	} else if (c->scan.error != IMAP_SCAN_OK && !c->append) {
		command_scan_error(c);
	} else {
		command_start(c);
	}
}

/* One command's bytes at most. False: no more can be done now. */
static bool read_some(struct client *c)
{
	const struct str in = client_input(c);
	size_t used = 0;

	if (in.n == 0)
		return false;
	const enum imap_scan_result r = imap_scan(&c->scan, in, &used);

	/* Of a wrong command only the tag is wanted. */
	if (c->scan.error == IMAP_SCAN_OK)
		buf_mem(&c->text, in.p, used);
	else if (c->text.n <= IMAP_TAG_MAX)
		buf_mem(&c->text, in.p, used <= IMAP_TAG_MAX ? used : IMAP_TAG_MAX);
	client_consume(c, used);
	if (r == IMAP_SCAN_MORE || (r == IMAP_SCAN_LITERAL && literal(c)))
		return r != IMAP_SCAN_MORE;
	command_text(c);
	return true;
}

/* Input is left over, but others come first. */
static void on_round(void *ctx)
{
	struct client *c = ctx;

	timer_del(&c->timer);
	client_continue(c);
}

/* Read and run commands until input ends, a long one is in progress, the client must read first, or others have waited enough. */
static void read_input(struct client *c)
{
	unsigned n = 0;

	for (;;) {
		notify_fetch(c);
		contexts_aside(c);
		if (c->over || c->run.step || c->timer || resp_full(c) || relay_away(c))
			break;
		if (n++ == CLIENT_ROUND_MAX) {
			c->timer = loop_timer(c->user->loop, 0, on_round, c);
			return;
		}
		if (append_waited(c)) {
			if (!literal(c))
				command_text(c);
			continue;
		}
		if (!(relay_streaming(c) ? relay_data(c) : append_streaming(c) ? append_data(c) : read_some(c)))
			break;
	}
	if (!c->over && c->held) {
		held_commit(c);
		folder_push(c);		/* what its answers have left */
		contexts_aside(c);
	}
	if (!c->over && c->why && !c->run.cmd)
		client_end(c, c->why, NULL);
	if (!c->over && c->eof && !c->run.step && !c->timer && !resp_full(c) && !relay_away(c))
		client_end(c, c->run.cmd || c->append ? "Connection closed in a command" : "Connection closed", NULL);
}

void client_continue(struct client *c)
{
	if (!c->over && !c->run.step)
		read_input(c);
}

/* No input for long. A client that is still taking what it asked for is not idle. */
static void on_timeout(struct client *c)
{
	if ((c->run.step && c->out_bytes != c->out_at_timeout) || relay_away(c)) {
		c->out_at_timeout = c->out_bytes;
		conn_idle(c->conn, c->user->conf->imap_timeout * 1000);
		return;
	}
	client_end(c, "Disconnected for inactivity", "Disconnected for inactivity.");
}

static void on_conn(void *ctx, struct conn *conn, enum conn_event ev)
{
	struct client *c = ctx;

	switch (ev) {
	case CONN_EV_DATA:
		client_continue(c);
		break;
	case CONN_EV_DRAINED:		/* perhaps in the round of the last slice: a client that reads fast would keep others waiting */
		command_step_later(c);
		if (!c->over)
			links_resume(c);
		client_continue(c);
		break;
	case CONN_EV_TIMEOUT:
		on_timeout(c);
		break;
	case CONN_EV_CLOSED:
		c->eof = true;
		client_continue(c);
		break;
	case CONN_EV_ERROR:
		client_end(c, conn_error(conn), NULL);
		break;
	case CONN_EV_SECURED:
		break;
	}
}

/* --- begin and end --- */

static void greet(struct client *c, struct str tag)
{
	struct buf *out = resp(c);

	if (tag.n)
		buf_str(out, tag);
	else
		buf_c(out, "* PREAUTH");
	buf_c(out, tag.n ? " OK [CAPABILITY " : " [CAPABILITY ");
	caps_put(out, CAP_POST | CAP_CANCOMPRESS, c->user->conf, false);
	buf_c(out, "] Logged in\r\n");
	resp_flush(c);
}

int client_attach(struct user *u, int fd, const struct ipc_sess_ATTACH *m, struct err *e)
{
	const struct conn_limits limits = { .in_max = CLIENT_IN_MAX, .out_high = CLIENT_OUT_HIGH, .out_max = m->guest.n ? GUEST_OUT_MAX : CLIENT_OUT_MAX };
	struct client *c;

	if (!m->guest.n && u->n_clients - u->n_guests >= u->conf->mail_connections_per_user)
		return err_set(e, ERR_LIMIT, 0, "Too many connections of this user");
	c = xzalloc(sizeof(*c));
	c->user = u;
	c->rights = ACL_ALL;
	if (m->guest.n && guest_begin(c, m->guest, e) < 0) {
		free(c);
		return -1;
	}
	c->id = m->conn;
	snprintf(c->rip, sizeof(c->rip), "%.*s", STR_ARG(m->client));
	snprintf(c->lip, sizeof(c->lip), "%.*s", STR_ARG(m->server));
	c->arena = arena_new_large();
	buf_init(&c->before, CLIENT_IN_MAX);
	buf_init(&c->text, (size_t)u->conf->imap_line_max + CLIENT_LITERALS_MAX + 64);
	imap_scan_init(&c->scan, (size_t)u->conf->imap_line_max);
	c->conn = conn_new(u->loop, fd, &limits, on_conn, c);
	conn_idle(c->conn, u->conf->imap_timeout * 1000);
	list_init(&c->contexts);
	list_init(&c->links);
	list_append(&u->clients, &c->node);
	u->n_clients++;
	greet(c, m->tag);
	if (m->input.n) {
		buf_mem(&c->before, m->input.p, m->input.n);
		c->timer = loop_timer(u->loop, 0, on_round, c);
	}
	return 0;
}

static void free_client(struct client *c)
{
	buf_fini(&c->before);
	arena_free(&c->arena);
	buf_fini(&c->text);
	free(c->saved.v);
	loop_free_later(c->user->loop, c);
}

void client_end(struct client *c, const char *why, const char *bye)
{
	struct user *u = c->user;
	struct err e = { 0 };

	if (c->over)
		return;
	held_end(c);
	if (bye)
		resp_untagged(c, "BYE %s", bye);
	resp_flush(c);
	conn_flush(c->conn);	/* before what may take time */
	c->over = true;
	timer_del(&c->timer);
	idle_stop(c);
	relay_end(c);
	command_drop(c);
	notify_end(c);
	folder_unselect(c);
	log_as("dovecot", LOG_LV_INFO, "imap(%s)<%d><%016llx>: Disconnected: %s in=%llu out=%llu", u->name, (int)getpid(),
	       (unsigned long long)c->id, why, (unsigned long long)c->in_bytes, (unsigned long long)c->out_bytes);
	struct ipc_sess_DETACHED m = { .conn = c->id, .in_bytes = c->in_bytes, .out_bytes = c->out_bytes };

	if (u->chan && ipc_send(u->chan, IPC_sess_DETACHED, &m, 0, -1, &e) < 0)
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): %s", u->name, e.text);
	conn_finish(&c->conn, 2000);
	list_del(&c->node);
	u->n_clients--;
	guest_end(c);
	user_idle(u);
	free_client(c);
}
