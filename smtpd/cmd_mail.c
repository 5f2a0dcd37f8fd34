/* MAIL, RCPT, RSET: the envelope. Syntax and the limits of the protocol are decided here; who may send to whom is queued's answer.
 * RFC 5321 4.1.1.2, 4.1.1.3. The parameters are esmtp.c's.
 *
 * Where nobody is asked about MAIL alone it is answered here, and queued hears of it with the first RCPT: one wait less for the client, and for two processes. What
 * queued has against it nevertheless (no room, say) is the answer to that RCPT, and the next one brings MAIL again. */

#include "base/format.h"
#include "smtp/addr.h"
#include "smtp/cmd.h"
#include "smtpd/esmtp.h"
#include "smtpd/peers.h"

enum { TLS_TEXT_MAX = 128 };

/* queued's answer names the transaction that it opens. */
static void opened(struct session *s, struct str qid)
{
	s->t.open = true;
	(void)text_format(s->t.qid, sizeof s->t.qid, "%.*s", STR_ARG(qid));
}

static void mail_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];

	(void)text_format(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	if (r->code < 300) {
		opened(s, r->qid);
		session_set_state(s, ST_MAIL);
	} else {
		session_log_reject(s, "MAIL", (int)r->code, enhanced, r->text, (struct str){ 0 });
		trans_reset(s, false);
	}
	session_reply_str(s, (int)r->code, enhanced, r->text);
}

/* The path as local@domain on the unit arena. */
static struct str path_text(struct session *s, const struct smtp_addr *addr)
{
	struct buf b;

	buf_init(&b, 2048);
	smtp_addr_format(addr, &b);
	const struct str text = arena_str(s->unit, buf_view(&b));
	buf_fini(&b);
	return text.p ? text : STR("");
}

/* RFC 6531 3.2: an address beyond ASCII needs SMTPUTF8. */
static bool needs_utf8(struct str path)
{
	for (size_t i = 0; i < path.n; i++)
		if ((unsigned char)path.p[i] >= 0x80)
			return true;
	return false;
}

/* Has the configuration somebody who could refuse MAIL before there is a recipient? XFORWARD is for the next transaction of queued's, even if it has no recipient. */
static bool is_asked(const struct session *s)
{
	const struct conf *c = s->conf;
	const bool local = s->profile->local, milters = (local ? c->non_smtpd_milters : c->smtpd_milters)[0] != '\0' || (!local && c->smtpd_milter_maps.n > 0);

	return !c->smtpd_delay_reject || milters || c->smtpd_client_message_rate_limit > 0 || (s->user[0] != '\0' && c->smtpd_user_message_limit > 0) ||
	       s->forward != NULL;
}

/* tls: room for a description. */
static struct ipc_queue_MAIL mail_message(const struct session *s, char *tls, size_t tls_size)
{
	const struct esmtp *p = s->t.params;

	tls[0] = '\0';
	if (session_secure(s))
		(void)text_format(tls, tls_size, "%s with cipher %s (%d/%d bits)", conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c), conn_tls_bits(s->c));
	return (struct ipc_queue_MAIL){
		.sender = s->t.sender,
		.helo = buf_view(&s->helo),
		.esmtp = s->esmtp,
		.size = p->size,
		.body = p->body,
		.smtputf8 = p->utf8,
		.ret = p->ret,
		.envid = p->envid,
		.tls = tls[0] ? str_c(tls) : (struct str){ 0 },
		.auth_method = s->user[0] ? str_c(s->mech) : (struct str){ 0 },
	};
}

static void accept_mail(struct session *s)
{
	char tls[TLS_TEXT_MAX];

	if (is_asked(s)) {
		const struct ipc_queue_MAIL m = mail_message(s, tls, sizeof tls);
		peers_mail(s, &m, mail_answered);
		return;
	}
	session_set_state(s, ST_MAIL);
	session_reply_str(s, 250, "2.1.0", STR("Ok"));
}

void cmd_mail(struct session *s, struct str args)
{
	struct smtp_addr addr;
	struct str rest;
	struct err e = { 0 };

	if (s->state == ST_START && s->conf->smtpd_helo_required) {
		session_reply(s, 503, "5.5.1", "Error: send HELO/EHLO first");
		return;
	}
	if (!smtp_cmd_keyword(&args, "FROM", s->conf->strict_rfc821_envelopes)) {
		session_reply(s, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		return;
	}
	trans_reset(s, false);
	if (smtp_path_parse(s->unit, args, s->conf->strict_rfc821_envelopes, true, &addr, &rest, &e) < 0) {
		session_reply(s, 501, "5.1.7", "Bad sender address syntax: %s", e.text);
		return;
	}
	const struct str sender = path_text(s, &addr);
	struct esmtp *p = ARENA_NEW(s->unit, struct esmtp);
	if (esmtp_mail(s, rest, p) < 0) {
		trans_reset(s, false);
		return;
	}
	if (!p->utf8 && needs_utf8(sender)) {
		trans_reset(s, false);
		session_reply(s, 553, "5.6.7", "Must declare SMTPUTF8 to send unicode address");
		return;
	}
	s->t.sender = sender;
	s->t.params = p;
	accept_mail(s);
}

static void rcpt_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];
	const size_t n = strlen(s->rcpt);

	(void)text_format(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	if (!s->t.open && r->qid.n > 0)
		opened(s, r->qid);
	if (r->code < 300) {
		if (s->t.rcpt_ok++ == 0)
			s->t.first_rcpt = arena_str(s->unit, str_n(s->rcpt, n));
		session_set_state(s, ST_RCPT);
	} else {
		s->t.rcpt_bad++;
		session_log_reject(s, "RCPT", (int)r->code, enhanced, r->text, str_n(s->rcpt, n));
	}
	session_reply_str(s, (int)r->code, enhanced, r->text);
}

static void rcpt_refuse(struct session *s, int code, const char *enhanced, const char *text, struct str rcpt)
{
	s->t.rcpt_bad++;
	session_log_reject(s, "RCPT", code, enhanced, str_c(text), rcpt);
	session_reply(s, code, enhanced, "%s", text);
}

static void ask_rcpt(struct session *s, const struct esmtp *p)
{
	const struct ipc_queue_RCPT r = { .recipient = str_c(s->rcpt), .notify = p->notify, .orcpt = p->orcpt, .ready = s->ready_fd < 0 };
	char tls[TLS_TEXT_MAX];

	if (s->t.open) {
		peers_rcpt(s, &r, rcpt_answered);
		return;
	}
	struct ipc_queue_MAIL m = mail_message(s, tls, sizeof tls);
	m.recipient = r.recipient;
	m.notify = r.notify;
	m.orcpt = r.orcpt;
	m.ready = r.ready;
	peers_mail(s, &m, rcpt_answered);
}

void cmd_rcpt(struct session *s, struct str args)
{
	struct arena_mark mark = arena_mark(s->unit);
	struct esmtp p = { 0 };
	struct smtp_addr addr;
	struct str rest;
	struct err e = { 0 };

	if (!smtp_cmd_keyword(&args, "TO", s->conf->strict_rfc821_envelopes)) {
		session_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return;
	}
	if (smtp_path_parse(s->unit, args, s->conf->strict_rfc821_envelopes, true, &addr, &rest, &e) < 0)
		session_reply(s, 501, "5.1.3", "Bad recipient address syntax: %s", e.text);
	else if (addr.local.n == 0)
		session_reply(s, 501, "5.1.3", "Bad recipient address syntax");
	else if (esmtp_rcpt(s, rest, &p) < 0)
		;	/* answered */
	else if (s->t.rcpt_ok >= s->conf->smtpd_recipient_limit) {
		/* A few more are answered without being held against a client that has simply not heard yet (RFC 5321 4.5.3.1.10). */
		s->errors -= s->t.rcpt_over++ < RCPT_OVERSHOOT && s->errors > 0;
		session_reply(s, 452, "4.5.3", "Error: too many recipients");
	} else {
		const struct str text = path_text(s, &addr);
		if (needs_utf8(text) && !s->t.params->utf8) {
			rcpt_refuse(s, 553, "5.6.7", "Must declare SMTPUTF8 to send unicode address", text);
		} else if (text.n >= sizeof s->rcpt) {
			rcpt_refuse(s, 501, "5.1.3", "Bad recipient address syntax", text);
		} else {
			memcpy(s->rcpt, text.p, text.n);
			s->rcpt[text.n] = '\0';
			if (greet_refuses(s)) {
				rcpt_refuse(s, 550, "5.5.1", "Protocol error", text);
				goto out;
			}
			ask_rcpt(s, &p);
		}
	}
out:
	arena_release(s->unit, mark);
}

void cmd_rset(struct session *s, struct str args)
{
	trans_reset(s, true);
	session_reply_str(s, 250, "2.0.0", STR("Ok"));
}
