/* The conversation with one milter: a stage's steps one after the other, each with its answer if one is due. Whatever a milter does wrong, or too late, ends the
 * conversation, and its default action holds for the rest of the transaction. */
#include "deliver/policy/policy_milter.h"

#include <stdio.h>
#include <string.h>

#include "log/log.h"
#include "os/os.h"

enum { OUTPUT_HIGH = 1 << 18, OUTPUT_MAX = 1 << 22, LINGER_MS = 2000 };

static void go_on(struct milter *m);

/* --- the end --- */

static void disconnect(struct milter *m)
{
	dial_cancel(&m->dial);
	timer_del(&m->stage);
	conn_free(&m->conn);
	milter_changes_forget(m);
	m->waiting = m->blocked = false;
}

static const char *pool_key(const struct milter *m)
{
	return arena_printf(m->talk->arena, "%u %s", (unsigned)m->set.protocol, m->name);
}

/* libmilter takes SMFIC_QUIT_NC behind a message that it let go on, and drops it without a word behind one that it accepted, refused or lost: the next client would be taken
 * for this one. And something must be answered before MAIL has passed: else an end of the connection would show too late to begin anew. */
static bool may_be_reused(const struct milter *m)
{
	static const uint32_t steps[][2] = { { MP_NO_CONNECT, MP_NR_CONN }, { MP_NO_HELO, MP_NR_HELO }, { MP_NO_MAIL, MP_NR_MAIL } };
	bool answers = false;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		answers |= (m->options.protocol & (steps[i][0] | steps[i][1])) == 0;
	return answers && m->went_on && m->options.version >= 6 && !m->waiting && !m->blocked && conn_out_pending(m->conn) == 0 && conn_input(m->conn).n == 0;
}

/* SMFIC_QUIT_NC: the next transaction begins with its client. */
static void hand_on(struct milter *m)
{
	struct buf b, rest;

	buf_init(&b, 64);
	buf_init(&rest, MILTER_PACKET_MAX + 4);
	milter_put(&b, 'K', STR(""));
	conn_write(m->conn, buf_view(&b));
	conn_flush(m->conn);
	if (conn_out_pending(m->conn) == 0) {
		int fd = conn_detach(&m->conn, &rest);
		if (rest.n == 0)
			pool_put(m->talk->pool, pool_key(m), fd, &m->options);
		else
			close_fd(&fd);
	}
	buf_fini(&b);
	buf_fini(&rest);
}

static void say_goodbye(struct milter *m)
{
	struct buf b;

	buf_init(&b, 64);
	if (m->seen_mail && m->step != TELL_AFTER)
		milter_put(&b, 'A', STR(""));
	milter_put(&b, 'Q', STR(""));
	conn_write(m->conn, buf_view(&b));
	conn_finish(&m->conn, LINGER_MS);
	buf_fini(&b);
}

void milter_close(struct milter *m)
{
	if (m->conn && m->step != TELL_OPTIONS) {
		if (pool_keeps(m->talk->pool) && may_be_reused(m))
			hand_on(m);
		else
			say_goodbye(m);
	}
	disconnect(m);
}

static void passed(struct milter *m)
{
	timer_del(&m->stage);
	if (m->conn)
		conn_deadline(m->conn, 0);
	talk_passed(m->talk);
}

static void fall_back(struct milter *m)
{
	struct talk *t = m->talk;

	switch (m->set.fallback) {
	case MILTER_REJECT: talk_refuse(t, 550, "5.5.0", STR("Service unavailable")); break;
	case MILTER_TEMPFAIL: talk_refuse(t, 451, "4.7.1", STR("Service unavailable - try again later")); break;
	case MILTER_QUARANTINE:
		t->quarantine = STR("a milter does not work (default_action)");
		talk_passed(t);
		break;
	case MILTER_ACCEPT: talk_passed(t); break;
	}
}

static void failed(struct milter *m, const char *why)
{
	log_warning("milter %s: %s", m->name, why);
	disconnect(m);
	m->broken = true;
	fall_back(m);
}

/* --- answers --- */

static void refuse_custom(struct milter *m, struct str text)
{
	char enhanced[MILTER_ENHANCED_MAX];
	struct err e = { 0 };
	struct buf b;
	int code;

	buf_init(&b, MILTER_PACKET_MAX);
	if (milter_text_get(text, &code, enhanced, &b, &e) < 0)
		failed(m, e.text);
	else
		talk_refuse(m->talk, code, enhanced[0] ? enhanced : code >= 500 ? "5.7.1" : "4.7.1", buf_view(&b));
	buf_fini(&b);
}

static void accepted(struct milter *m)
{
	m->done = true;
	passed(m);
}

static void answered(struct milter *m, bool skip)
{
	m->waiting = false;
	conn_deadline(m->conn, 0);
	if (skip)
		m->off = m->talk->size;
	if (m->step == TELL_EOM && m->body.cr) {
		failed(m, "its new body ends in a bare CR");
		return;
	}
	if (m->step == TELL_EOM) {
		milter_changes_keep(m);
		m->went_on = true;
	}
	if ((m->step == TELL_HEADER && m->at < m->talk->view.n) || (m->step == TELL_BODY && m->off < m->talk->size)) {
		go_on(m);
		return;
	}
	m->step++;
	go_on(m);
}

static void options(struct milter *m, struct str data)
{
	struct err e = { 0 };

	if (milter_options_get(data, m->set.protocol, &m->options, &e) < 0) {
		failed(m, e.text);
		return;
	}
	for (size_t i = 0; i < MILTER_STAGES; i++)
		if (m->options.macros[i].p)
			m->options.macros[i] = arena_str(m->talk->arena, m->options.macros[i]);
	answered(m, false);
}

static void final(struct milter *m, const struct milter_reply *r)
{
	struct talk *t = m->talk;

	m->waiting = false;
	conn_deadline(m->conn, 0);
	timer_del(&m->stage);
	if (m->step == TELL_EOM && r->command == 'a') {
		if (m->body.cr) {
			failed(m, "its new body ends in a bare CR");
			return;
		}
		milter_changes_keep(m);
	}
	switch (r->command) {
	case 'a': accepted(m); break;
	case 'r': talk_refuse(t, 550, "5.7.1", STR("Command rejected")); break;
	case 't': talk_refuse(t, 451, "4.7.1", STR("Service unavailable - try again later")); break;
	case '4': talk_refuse(t, 421, "4.7.0", STR("Server closing connection")); break;
	case 'y': refuse_custom(m, r->a); break;
	case 'd':
		if (m->step <= TELL_HELO)
			failed(m, "discards before there is a message");
		else
			talk_discard(t);
		break;
	default: failed(m, "fails by its own account"); break;
	}
}

/* What has come is an answer to step. */
static void reply(struct milter *m, const struct milter_reply *r)
{
	struct err e = { 0 };

	switch (r->command) {
	case 'c':
		answered(m, false);
		break;
	case 's':
		if (m->step != TELL_BODY || !(m->options.protocol & MP_SKIP))
			failed(m, "skips what cannot be skipped");
		else
			answered(m, true);
		break;
	case 'a': case 'r': case 't': case 'd': case 'y': case '4': case 'f':
		final(m, r);
		break;
	default:
		/* A body that was to be replaced must not go on as it was, whatever the default action is. */
		if (r->command == 'b')
			m->set.fallback = MILTER_TEMPFAIL;
		if (m->step != TELL_EOM)
			failed(m, "answers what is possible at the end of a message only");
		else if (r->command == 'p')
			conn_deadline(m->conn, m->set.content_ms);
		else if (milter_change(m, r, &e) < 0)
			failed(m, e.text);
	}
}

static void on_packet(struct milter *m, char command, struct str data)
{
	struct milter_reply r;
	struct err e = { 0 };

	m->heard = true;
	if (!m->waiting)
		failed(m, "speaks without being asked");
	else if (m->step == TELL_OPTIONS && command == 'O')
		options(m, data);
	else if (m->step == TELL_OPTIONS)
		failed(m, "does not negotiate");
	else if (milter_reply_get(command, data, &r, &e) < 0)
		failed(m, e.text);
	else
		reply(m, &r);
}

static void lost(struct milter *m, const char *why);

static bool is_asked(const struct milter *m)
{
	return m->talk->busy && &m->talk->v[m->talk->at] == m;
}

static void on_input(struct milter *m)
{
	struct str data;
	struct buf copy;
	struct err e = { 0 };
	size_t used;
	char command;
	int r = 0;

	buf_init(&copy, MILTER_PACKET_MAX);
	while (m->conn && (r = milter_packet_get(conn_input(m->conn), &command, &data, &used, &e)) == 0) {
		buf_reset(&copy);
		buf_str(&copy, data);
		conn_consume(m->conn, used);
		if (is_asked(m))
			on_packet(m, command, buf_view(&copy));
		else
			lost(m, "speaks without being asked");
	}
	if (r < 0)
		lost(m, e.text);
	buf_fini(&copy);
}

/* --- the connection --- */

/* Not asked at the moment, it may have closed: that shows when it is asked again. */
static void lost(struct milter *m, const char *why)
{
	if (is_asked(m)) {
		failed(m, why);
		return;
	}
	log_warning("milter %s: %s", m->name, why);
	disconnect(m);
	m->broken = true;
}

static void dial_anew(struct milter *m);

/* A connection that waited has ended: nothing of this transaction has been taken in there. */
static bool begins_anew(struct milter *m)
{
	if (!m->reused || m->heard || m->last != TELL_MAIL || !is_asked(m))
		return false;
	disconnect(m);
	dial_anew(m);
	return true;
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct milter *m = ctx;

	if ((ev == CONN_EV_CLOSED || ev == CONN_EV_ERROR) && begins_anew(m))
		return;

	switch (ev) {
	case CONN_EV_DATA: on_input(m); break;
	case CONN_EV_DRAINED:
		if (m->blocked) {
			m->blocked = false;
			conn_deadline(m->conn, 0);
			go_on(m);
		}
		break;
	case CONN_EV_TIMEOUT: lost(m, "timed out"); break;
	case CONN_EV_CLOSED: lost(m, "closes the connection"); break;
	case CONN_EV_ERROR: lost(m, conn_error(c)); break;
	default: break;
	}
}

static void on_dialled(void *ctx, int fd, const char *why)
{
	static const struct conn_limits limits = { .in_max = MILTER_PACKET_MAX + 4, .out_high = OUTPUT_HIGH, .out_max = OUTPUT_MAX };
	struct milter *m = ctx;

	m->dial = NULL;
	if (fd < 0) {
		failed(m, why);
		return;
	}
	m->conn = conn_new(m->talk->loop, fd, &limits, on_event, m);
	go_on(m);
}

static void on_stage(void *ctx)
{
	failed(ctx, "takes too long in all");
}

static void begin_stage(struct milter *m, enum milter_step first)
{
	m->step = first;
	m->stage = loop_timer(m->talk->loop, POLICY_STAGE_FACTOR * (first == TELL_DATA ? m->set.content_ms : m->set.connect_ms + m->set.command_ms), on_stage, m);
}

static void dial_anew(struct milter *m)
{
	m->reused = m->seen_mail = false;
	m->options = (struct milter_options){ 0 };
	begin_stage(m, TELL_OPTIONS);
	m->dial = dial(m->talk->loop, m->talk->dns, &m->set.target, m->set.connect_ms, on_dialled, m);
}

/* A connection that waits, behind its negotiation; else a new one. */
static void begin(struct milter *m)
{
	const int fd = pool_take(m->talk->pool, pool_key(m), m->talk->arena, &m->options);

	if (fd < 0) {
		dial_anew(m);
		return;
	}
	m->reused = true;
	begin_stage(m, TELL_CONNECT);
	on_dialled(m, fd, NULL);
}

/* --- a stage --- */

static uint64_t patience(const struct milter *m)
{
	return m->step <= TELL_DATA ? m->set.command_ms : m->set.content_ms;
}

static void go_on(struct milter *m)
{
	struct err e = { 0 };
	bool more;

	while (m->step <= m->last) {
		if (conn_out_pending(m->conn) > OUTPUT_HIGH / 2) {
			m->blocked = true;
			conn_deadline(m->conn, patience(m));
			return;
		}
		const int r = milter_send(m, &more, &e);
		if (r < 0) {
			failed(m, e.text);
			return;
		}
		m->seen_mail |= m->step == TELL_MAIL;
		if (r == 0 && milter_answers(m)) {
			if (conn_input(m->conn).n > 0) {
				failed(m, "answers before it is asked");
				return;
			}
			m->waiting = true;
			conn_deadline(m->conn, patience(m));
			return;
		}
		if (!more)
			m->step++;
	}
	passed(m);
}

void milter_start(struct milter *m, enum milter_step first, enum milter_step last)
{
	struct err e = { 0 };

	if (m->done || m->broken) {
		if (m->broken)
			fall_back(m);
		else
			talk_passed(m->talk);
		return;
	}
	m->last = last;
	m->at = 0;
	m->off = m->talk->body;
	if (first == TELL_OPTIONS) {
		begin(m);
		return;
	}
	begin_stage(m, first);
	if (last == TELL_EOM && milter_changes_begin(m, &e) < 0)
		failed(m, e.text);
	else
		go_on(m);
}
