/* MAIL, RCPT, RSET: the envelope. Syntax and the limits of the protocol are decided here; who may send to whom is queued's answer.
 * RFC 5321 4.1.1.2, 4.1.1.3. The parameters are esmtp.c's. */
#include <stdio.h>

#include "smtp/addr.h"
#include "smtp/cmd.h"
#include "smtpd/esmtp.h"
#include "smtpd/peers.h"

static void mail_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];

	(void)snprintf(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	if (r->code < 300) {
		s->t.open = true;
		(void)snprintf(s->t.qid, sizeof s->t.qid, "%.*s", STR_ARG(r->qid));
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

void cmd_mail(struct session *s, struct str args)
{
	struct esmtp p = { 0 };
	struct smtp_addr addr;
	struct str rest;
	struct err e = { 0 };
	char tls[128] = "";

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
	if (esmtp_mail(s, rest, &p) < 0) {
		trans_reset(s, false);
		return;
	}
	if (!p.utf8 && needs_utf8(sender)) {
		trans_reset(s, false);
		session_reply(s, 553, "5.6.7", "Must declare SMTPUTF8 to send unicode address");
		return;
	}
	s->t.sender = sender;
	s->t.utf8 = p.utf8;
	if (session_secure(s))
		(void)snprintf(tls, sizeof tls, "%s with cipher %s (%d/%d bits)", conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c),
			       conn_tls_bits(s->c));
	const struct ipc_queue_MAIL m = {
		.sender = sender,
		.helo = buf_view(&s->helo),
		.esmtp = s->esmtp,
		.size = p.size,
		.body = p.body,
		.smtputf8 = p.utf8,
		.ret = p.ret,
		.envid = p.envid,
		.tls = tls[0] ? str_c(tls) : (struct str){ 0 },
		.auth_method = s->user[0] ? str_c(s->mech) : (struct str){ 0 },
	};
	peers_mail(s, &m, mail_answered);
}

static void rcpt_answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];
	const size_t n = strlen(s->rcpt);

	(void)snprintf(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
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
	else if (addr.local.n == 0 || addr.local.n > SMTP_LOCAL_MAX)
		session_reply(s, 501, "5.1.3", "Bad recipient address syntax");
	else if (esmtp_rcpt(s, rest, &p) < 0)
		;	/* answered */
	else if (s->t.rcpt_ok >= s->conf->smtpd_recipient_limit) {
		/* A few more are answered without being held against a client that has simply not heard yet (RFC 5321 4.5.3.1.10). */
		s->errors -= s->t.rcpt_over++ < RCPT_OVERSHOOT && s->errors > 0;
		session_reply(s, 452, "4.5.3", "Error: too many recipients");
	} else {
		const struct str text = path_text(s, &addr);
		if (needs_utf8(text) && !s->t.utf8) {
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
			const struct ipc_queue_RCPT m = { .recipient = str_c(s->rcpt), .notify = p.notify, .orcpt = p.orcpt, .ready = s->ready_fd < 0 };
			peers_rcpt(s, &m, rcpt_answered);
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
