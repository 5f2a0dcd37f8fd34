/* MAIL, RCPT, RSET: the envelope. Syntax and the limits of the protocol are decided here; who may send to whom is queued's answer.
 * RFC 5321 4.1.1.2, 4.1.1.3; RFC 1870; RFC 6152; RFC 4954 5. */
#include <stdio.h>

#include "smtp/addr.h"
#include "smtp/cmd.h"
#include "smtpd/peers.h"

struct mail_params {
	uint64_t size;
	struct str body;
	unsigned seen;
};

/* 0, or -1 when it has been answered. */
static int param_size(struct session *s, struct str v, struct mail_params *p)
{
	struct err e = { 0 };

	if (smtp_size_parse(v, s->conf->message_size_limit, &p->size, &e) == 0)
		return 0;
	if (e.code == ERR_TOOBIG) {
		static const char what[] = "Message size exceeds fixed limit";
		session_log_reject(s, "MAIL", 552, "5.3.4", str_c(what), (struct str){ 0 });
		session_reply(s, 552, "5.3.4", "%s", what);
	} else {
		session_reply(s, 501, "5.5.4", "Bad message size syntax");
	}
	return -1;
}

static int param_body(struct session *s, struct str v, struct mail_params *p)
{
	if (str_case_eq(v, STR("7BIT")))
		p->body = STR("7BIT");
	else if (str_case_eq(v, STR("8BITMIME")))
		p->body = STR("8BITMIME");
	else {
		session_reply(s, 501, "5.5.4", "Error: unsupported body type");
		return -1;
	}
	return 0;
}

/* The submitter's claim of another submitter (RFC 4954 5): checked for syntax, believed of nobody. */
static int param_auth(struct session *s, struct str v, struct mail_params *p)
{
	struct buf text;

	if (!session_may_offer_auth(s)) {
		session_reply(s, 503, "5.5.4", "Error: authentication disabled");
		return -1;
	}
	buf_init(&text, SMTP_PARAM_MAX);
	const int r = str_eq(v, STR("<>")) ? 0 : smtp_xtext_decode(v, &text);
	buf_fini(&text);
	if (r < 0)
		session_reply(s, 501, "5.5.4", "Bad AUTH= syntax");
	return r;
}

static const struct {
	const char *key;
	int (*take)(struct session *s, struct str value, struct mail_params *p);
} mail_params[] = {
	{ "SIZE", param_size },
	{ "BODY", param_body },
	{ "AUTH", param_auth },
};

static int take_param(struct session *s, const struct smtp_param *p, struct mail_params *out)
{
	for (size_t i = 0; i < ARRAY_LEN(mail_params); i++) {
		if (!str_case_eq(p->key, str_c(mail_params[i].key)))
			continue;
		if (out->seen & 1u << i || p->value.p == NULL) {
			session_reply(s, 501, "5.5.4", "Error: %s given twice or without value", mail_params[i].key);
			return -1;
		}
		out->seen |= 1u << i;
		return mail_params[i].take(s, p->value, out);
	}
	session_reply(s, 555, "5.5.4", "Unsupported option: %.*s", p->key.n > 64 ? 64 : (int)p->key.n, p->key.p);
	return -1;
}

static int take_params(struct session *s, struct str rest, struct mail_params *out)
{
	struct smtp_param p;
	struct err e = { 0 };
	int r, n = 0;

	while ((r = smtp_param_next(&rest, &p, &e)) == 0) {
		if (++n > SMTP_PARAMS_MAX) {
			session_reply(s, 501, "5.5.4", "Error: too many options");
			return -1;
		}
		if (take_param(s, &p, out) < 0)
			return -1;
	}
	if (r < 0)
		session_reply(s, 501, "5.5.4", "Error: %s", e.text);
	return r < 0 ? -1 : 0;
}

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

void cmd_mail(struct session *s, struct str args)
{
	struct mail_params p = { 0 };
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
	if (smtp_path_parse(s->unit, args, s->conf->strict_rfc821_envelopes, false, &addr, &rest, &e) < 0) {
		session_reply(s, 501, "5.1.7", "Bad sender address syntax: %s", e.text);
		return;
	}
	const struct str sender = path_text(s, &addr);
	if (take_params(s, rest, &p) < 0) {
		trans_reset(s, false);
		return;
	}
	s->t.sender = sender;
	if (session_secure(s))
		(void)snprintf(tls, sizeof tls, "%s with cipher %s (%d/%d bits)", conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c),
			       conn_tls_bits(s->c));
	const struct ipc_queue_MAIL m = {
		.sender = sender,
		.helo = buf_view(&s->helo),
		.esmtp = s->esmtp,
		.size = p.size,
		.body = p.body,
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
		s->t.rcpt_ok++;
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
	struct smtp_addr addr;
	struct smtp_param p;
	struct str rest;
	struct err e = { 0 };

	if (!smtp_cmd_keyword(&args, "TO", s->conf->strict_rfc821_envelopes)) {
		session_reply(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return;
	}
	if (smtp_path_parse(s->unit, args, s->conf->strict_rfc821_envelopes, false, &addr, &rest, &e) < 0)
		session_reply(s, 501, "5.1.3", "Bad recipient address syntax: %s", e.text);
	else if (addr.local.n == 0 || addr.local.n > SMTP_LOCAL_MAX)
		session_reply(s, 501, "5.1.3", "Bad recipient address syntax");
	else if (smtp_param_next(&rest, &p, &e) != 1)
		session_reply(s, 555, "5.5.4", "Unsupported option");
	else if (s->t.rcpt_ok >= s->conf->smtpd_recipient_limit) {
		/* A few more are answered without being held against a client that has simply not heard yet (RFC 5321 4.5.3.1.10). */
		s->errors -= s->t.rcpt_over++ < RCPT_OVERSHOOT && s->errors > 0;
		session_reply(s, 452, "4.5.3", "Error: too many recipients");
	} else {
		const struct str text = path_text(s, &addr);
		if (text.n >= sizeof s->rcpt) {
			rcpt_refuse(s, 501, "5.1.3", "Bad recipient address syntax", text);
		} else {
			memcpy(s->rcpt, text.p, text.n);
			s->rcpt[text.n] = '\0';
			peers_rcpt(s, str_c(s->rcpt), rcpt_answered);
		}
	}
	arena_release(s->unit, mark);
}

void cmd_rset(struct session *s, struct str args)
{
	trans_reset(s, true);
	session_reply_str(s, 250, "2.0.0", STR("Ok"));
}
