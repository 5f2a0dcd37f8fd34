/* One transaction: MAIL, RCPT, DATA and the message (RFC 5321, 1870, 2920, 3461, 6152, 6531; LMTP's answers: RFC 2033). Where the server announces it MAIL, RCPT and
 * DATA are pipelined; a transaction of which no recipient was accepted is then ended by an empty message (RFC 2920 3.1).
 */
#include <stdio.h>

#include "base/clock.h"
#include "deliver/remote/remote_smtp_priv.h"
#include "log/log.h"
#include "smtp/addr.h"
#include "smtp/dsn.h"

/* The envelope in the wire's form; queued holds addresses unquoted-or-quoted as a path needs them, so they go out as they are. Controls cannot be in
 * them, and are refused here all the same: they would be commands. */
static bool clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]) || s.p[i] == '<' || s.p[i] == '>')
			return false;
	return true;
}

static bool envelope_possible(struct smtp *s)
{
	struct job *j = s->j;
	char text[500];

	if (!clean(j->sender)) {
		job_close_open(j, RCPT_BOUNCED, "5.1.7", "bad sender address");
		return false;
	}
	for (size_t i = 0; i < j->n_rcpts; i++)
		if (!clean(j->rcpts[i].addr) || j->rcpts[i].addr.n == 0) {
			job_close_open(j, RCPT_BOUNCED, "5.1.3", "bad recipient address");
			return false;
		}
	if ((s->features & FEAT_SIZE) && s->size_max > 0 && j->size > s->size_max) {
		(void)snprintf(text, sizeof text, "message size %llu exceeds size limit %llu of server %s", (unsigned long long)j->size,
			       (unsigned long long)s->size_max, s->name);
		job_close_open(j, RCPT_BOUNCED, "5.3.4", text);
		return false;
	}
	if (j->utf8 && !(s->features & FEAT_SMTPUTF8)) {
		(void)snprintf(text, sizeof text, "SMTPUTF8 is required, but was not offered by host %s", s->name);
		job_close_open(j, RCPT_BOUNCED, "5.6.7", text);
		return false;
	}
	return true;
}

static void put_envid(struct smtp *s)
{
	struct buf b;

	buf_init(&b, 8192);
	smtp_xtext_encode(s->j->envid, &b);
	conn_printf(s->c, " ENVID=%.*s", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

/* Who gave the address in a form that is too long in this one has a recipient without it, and not a refusal. */
static void put_orcpt(struct smtp *s, struct str orcpt)
{
	struct buf b;

	buf_init(&b, 8192);
	if (smtp_orcpt_format(orcpt, s->j->utf8, &b) == 0)
		conn_printf(s->c, " ORCPT=%.*s", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

static void send_mail(struct smtp *s)
{
	const struct job *j = s->j;

	conn_printf(s->c, "MAIL FROM:<%.*s>", STR_ARG(j->sender));
	if (s->features & FEAT_SIZE)
		conn_printf(s->c, " SIZE=%llu", (unsigned long long)j->size);
	if ((s->features & FEAT_8BITMIME) && str_case_eq(j->body, STR("8BITMIME")))
		conn_write(s->c, STR(" BODY=8BITMIME"));
	if (j->utf8)
		conn_write(s->c, STR(" SMTPUTF8"));
	if ((s->features & FEAT_DSN) && j->ret.n > 0)
		conn_printf(s->c, " RET=%.*s", STR_ARG(j->ret));
	if ((s->features & FEAT_DSN) && j->envid.n > 0)
		put_envid(s);
	conn_write(s->c, STR("\r\n"));
}

static void send_rcpt(struct smtp *s, const struct rcpt *to)
{
	conn_printf(s->c, "RCPT TO:<%.*s>", STR_ARG(to->addr));
	if ((s->features & FEAT_DSN) && to->notify.n > 0)
		conn_printf(s->c, " NOTIFY=%.*s", STR_ARG(to->notify));
	if ((s->features & FEAT_DSN) && str_chr(to->orcpt, ';') > 0)
		put_orcpt(s, to->orcpt);
	conn_write(s->c, STR("\r\n"));
}

/* As many RCPTs as may be under way, then DATA if it may be pipelined. */
static void send_envelope(struct smtp *s)
{
	const struct job *j = s->j;
	const bool pipe = s->features & FEAT_PIPELINING;

	if ((!pipe && !s->mail_answered) || (s->mail_answered && !s->mail_ok))
		return;
	while (s->rcpt_sent < j->n_rcpts && s->rcpt_sent - s->rcpt_answered < (pipe ? REMOTE_WINDOW : 1))
		send_rcpt(s, &j->rcpts[s->rcpt_sent++]);
	if (pipe && !j->probe && s->rcpt_sent == j->n_rcpts && !s->data_sent && s->rcpt_answered == 0) {
		s->data_sent = true;
		conn_write(s->c, STR("DATA\r\n"));
	}
}

void smtp_begin(struct smtp *s)
{
	struct job *j = s->j;

	s->mail_answered = s->mail_ok = s->data_sent = false;
	s->rcpt_sent = s->rcpt_answered = s->rcpt_ok = s->dots = 0;
	s->messages++;
	j->uses = s->messages;
	j->reached = true;
	j->begun_us = clock_mono_us();
	j->dsn = (s->features & FEAT_DSN) != 0;
	if (s->port > 0)
		(void)snprintf(j->relay, sizeof j->relay, "%.270s:%u", s->name, s->port);
	else
		(void)snprintf(j->relay, sizeof j->relay, "%.290s", s->name);
	if (!envelope_possible(s)) {
		s->j = NULL;
		job_done(j);
		smtp_go_idle(s);
		return;
	}
	smtp_enter(s, STEP_ENVELOPE);
	send_mail(s);
	send_envelope(s);
}

/* The answer ends the transaction for all recipients that have none. */
static void transaction_failed(struct smtp *s, const struct reply *r, const char *command)
{
	struct job *j = s->j;
	char text[700];

	reply_said(s, r, command, text);
	job_close_open(j, reply_status(r->code), r->enhanced, text);
	s->j = NULL;
	job_done(j);
	if (r->code == 421)
		smtp_quit(s);
	else
		smtp_say(s, STEP_RSET, "RSET");
}

static void transaction_over(struct smtp *s)
{
	struct job *j = s->j;

	s->j = NULL;
	job_done(j);
}

static bool envelope_answered(const struct smtp *s)
{
	return s->mail_answered && s->rcpt_answered == s->rcpt_sent && (!s->mail_ok || s->rcpt_sent == s->j->n_rcpts);
}

static void after_envelope(struct smtp *s)
{
	if (s->data_sent) {
		smtp_enter(s, STEP_DATA);
	} else if (s->rcpt_ok > 0 && !s->j->probe) {
		smtp_say(s, STEP_DATA, "DATA");
	} else {
		transaction_over(s);
		smtp_say(s, STEP_RSET, "RSET");
	}
}

static void on_mail(struct smtp *s, const struct reply *r)
{
	char text[700];

	s->mail_answered = true;
	s->mail_ok = r->code < 300;
	if (s->mail_ok)
		return;
	reply_said(s, r, smtp_step_command(STEP_ENVELOPE), text);
	job_close_open(s->j, reply_status(r->code), r->enhanced, text);
}

static void on_rcpt(struct smtp *s, const struct reply *r)
{
	struct rcpt *to = &s->j->rcpts[s->rcpt_answered++];
	char text[700];

	to->accepted = s->mail_ok && r->code < 300;
	s->rcpt_ok += to->accepted;
	if (to->accepted && s->j->probe)
		rcpt_close(s->j, to, RCPT_SENT, r->enhanced, r->text);
	if (to->accepted || !s->mail_ok)
		return;
	reply_said(s, r, "RCPT TO command", text);
	rcpt_close(s->j, to, reply_status(r->code), r->enhanced, text);
}

void smtp_on_envelope(struct smtp *s, const struct reply *r)
{
	if (r->code == 421) {
		transaction_failed(s, r, smtp_step_command(STEP_ENVELOPE));
		return;
	}
	if (!s->mail_answered)
		on_mail(s, r);
	else
		on_rcpt(s, r);
	send_envelope(s);
	if (envelope_answered(s))
		after_envelope(s);
	else
		conn_deadline(s->c, smtp_limit_ms(s, STEP_ENVELOPE));
}

/* The message could not be opened, or read: the connection must break, or the server would take half a message for a whole one. */
static void body_failed(struct smtp *s, const struct err *e)
{
	struct job *j = s->j;

	log_error("%.*s: cannot read the message: %s", STR_ARG(j->qid), e->text);
	job_close_open(j, RCPT_DEFERRED, "4.3.0", "the message could not be read");
	s->j = NULL;
	smtp_drop(s);
	job_done(j);
}

void smtp_pump(struct smtp *s)
{
	struct buf wire;
	struct err e = { 0 };
	bool end = false;

	buf_init(&wire, REMOTE_CHUNK * 4 + 16);
	while (!end && conn_out_room(s->c) > 0) {
		if (body_read(&s->body, &wire, &end, &e) < 0 || buf_check(&wire, "message", &e) < 0) {
			buf_fini(&wire);
			body_failed(s, &e);
			return;
		}
		conn_write(s->c, buf_view(&wire));
		buf_reset(&wire);
	}
	if (end)
		smtp_enter(s, STEP_DOT);
	else
		conn_deadline(s->c, smtp_limit_ms(s, STEP_BODY));
	buf_fini(&wire);
}

void smtp_on_data(struct smtp *s, const struct reply *r)
{
	struct err e = { 0 };
	char text[500];

	if (s->rcpt_ok == 0) {		/* RFC 2920 3.1: DATA was pipelined, and nobody was accepted */
		transaction_over(s);
		if (r->code == 354)
			smtp_say(s, STEP_EMPTY, ".");
		else if (r->code == 421)
			smtp_quit(s);
		else
			smtp_say(s, STEP_RSET, "RSET");
		return;
	}
	if (r->code != 354) {
		transaction_failed(s, r, smtp_step_command(STEP_DATA));
		return;
	}
	/* Text behind the answer would pass for the one to the message, before a byte of it has left. */
	if (conn_input(s->c).n > 0) {
		(void)snprintf(text, sizeof text, "host %s sent text behind its answer to DATA", s->name);
		smtp_broken(s, text);
		return;
	}
	smtp_enter(s, STEP_BODY);
	if (body_open(&s->body, s->j, !(s->features & FEAT_8BITMIME) && !s->j->utf8, &e) < 0)
		body_failed(s, &e);
	else
		smtp_pump(s);
}

/* RFC 2033 4.2: one answer for each accepted recipient. */
static void on_lmtp_dot(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;
	size_t k = s->dots++;
	char text[700];

	for (size_t i = 0; i < j->n_rcpts; i++) {
		if (!j->rcpts[i].accepted || k-- > 0)
			continue;
		if (r->code < 300) {
			rcpt_close(j, &j->rcpts[i], RCPT_SENT, r->enhanced, r->text);
		} else {
			reply_said(s, r, smtp_step_command(STEP_DOT), text);
			rcpt_close(j, &j->rcpts[i], reply_status(r->code), r->enhanced, text);
		}
		break;
	}
}

void smtp_on_dot(struct smtp *s, const struct reply *r)
{
	body_close(&s->body);
	if (s->lmtp && r->code != 421) {
		on_lmtp_dot(s, r);
		if (s->dots < s->rcpt_ok)
			return;
	} else if (r->code >= 300) {
		transaction_failed(s, r, smtp_step_command(STEP_DOT));
		return;
	} else {
		job_close_open(s->j, RCPT_SENT, r->enhanced, r->text);
	}
	transaction_over(s);
	smtp_go_idle(s);
}

/* Somebody got a message without recipients, or refused it: in either case the next transaction may begin. */
void smtp_on_empty(struct smtp *s, const struct reply *r)
{
	if (r->code == 421)
		smtp_quit(s);
	else
		smtp_go_idle(s);
}

void smtp_on_rset(struct smtp *s, const struct reply *r)
{
	if (r->code < 300)
		smtp_go_idle(s);
	else
		smtp_quit(s);
}
