/* The ESMTP parameters of MAIL and RCPT: rows of a table, each with the extension that admits it. RFC 1870, RFC 3461 4, RFC 4954 5, RFC 6152, RFC 6531 3.4. */
#include "smtpd/esmtp.h"

#include <stdio.h>

#include "base/enc.h"
#include "smtp/addr.h"
#include "smtp/cmd.h"
#include "smtp/dsn.h"

struct param {
	const char *key;
	enum ext_id ext;
	bool bare;	/* without a value */
	int (*take)(struct session *s, struct str value, struct esmtp *p);	/* 0, or -1 when it has been answered */
};

static int bad(struct session *s, const char *what)
{
	session_reply(s, 501, "5.5.4", "%s", what);
	return -1;
}

static int param_size(struct session *s, struct str v, struct esmtp *p)
{
	struct err e = { 0 };

	if (smtp_size_parse(v, s->conf->message_size_limit, &p->size, &e) == 0)
		return 0;
	if (e.code != ERR_TOOBIG)
		return bad(s, "Bad message size syntax");
	static const char what[] = "Message size exceeds fixed limit";
	session_log_reject(s, "MAIL", 552, "5.3.4", str_c(what), (struct str){ 0 });
	session_reply(s, 552, "5.3.4", "%s", what);
	return -1;
}

static int param_body(struct session *s, struct str v, struct esmtp *p)
{
	if (str_case_eq(v, STR("7BIT")))
		p->body = STR("7BIT");
	else if (str_case_eq(v, STR("8BITMIME")))
		p->body = STR("8BITMIME");
	else
		return bad(s, "Error: unsupported body type");
	return 0;
}

/* The submitter's claim of another submitter (RFC 4954 5): checked for syntax, believed of nobody. */
static int param_auth(struct session *s, struct str v, struct esmtp *p)
{
	struct buf text;

	if (!session_may_offer_auth(s)) {
		session_reply(s, 503, "5.5.4", "Error: authentication disabled");
		return -1;
	}
	buf_init(&text, SMTP_PARAM_MAX);
	const int r = str_eq(v, STR("<>")) ? 0 : smtp_xtext_decode(v, &text);
	buf_fini(&text);
	return r < 0 ? bad(s, "Bad AUTH= syntax") : 0;
}

static int param_ret(struct session *s, struct str v, struct esmtp *p)
{
	return smtp_ret_parse(v, &p->ret) < 0 ? bad(s, "Bad RET parameter syntax") : 0;
}

/* Decode onto the transaction's memory. */
static int decoded(struct session *s, struct str v, int (*parse)(struct str, struct buf *), struct str *out)
{
	struct buf text;

	buf_init(&text, SMTP_PARAM_MAX);
	const int r = parse(v, &text);
	if (r == 0)
		*out = arena_str(s->unit, buf_view(&text));
	buf_fini(&text);
	return r;
}

static int param_envid(struct session *s, struct str v, struct esmtp *p)
{
	return decoded(s, v, smtp_envid_parse, &p->envid) < 0 ? bad(s, "Bad ENVID parameter syntax") : 0;
}

static int param_utf8(struct session *s, struct str v, struct esmtp *p)
{
	p->utf8 = true;
	return 0;
}

static int param_notify(struct session *s, struct str v, struct esmtp *p)
{
	return smtp_notify_parse(v, &p->notify) < 0 ? bad(s, "Bad NOTIFY parameter syntax") : 0;
}

static int param_orcpt(struct session *s, struct str v, struct esmtp *p)
{
	if (!s->t.params->utf8 && ascii_plain(v) < v.n)
		return bad(s, "Bad ORCPT parameter syntax: SMTPUTF8 was not said");
	return decoded(s, v, smtp_orcpt_parse, &p->orcpt) < 0 ? bad(s, "Bad ORCPT parameter syntax") : 0;
}

static const struct param mail_params[] = {
	{ "SIZE", EXT_SIZE, false, param_size },
	{ "BODY", EXT_8BITMIME, false, param_body },
	{ "AUTH", EXT_NONE, false, param_auth },	/* says itself when it is not offered */
	{ "RET", EXT_DSN, false, param_ret },
	{ "ENVID", EXT_DSN, false, param_envid },
	{ "SMTPUTF8", EXT_SMTPUTF8, true, param_utf8 },
};
static const struct param rcpt_params[] = {
	{ "NOTIFY", EXT_DSN, false, param_notify },
	{ "ORCPT", EXT_DSN, false, param_orcpt },
};

static int take_param(struct session *s, const struct param *table, size_t n, const struct smtp_param *p, unsigned *seen, struct esmtp *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct param *const row = &table[i];
		if (!str_case_eq(p->key, str_c(row->key)) || (row->ext != EXT_NONE && !session_offers(s, row->ext)))
			continue;
		if (*seen & 1u << i || (p->value.p == NULL) != row->bare) {
			session_reply(s, 501, "5.5.4", "Error: %s given twice or %s value", row->key, row->bare ? "with a" : "without");
			return -1;
		}
		*seen |= 1u << i;
		return row->take(s, p->value, out);
	}
	session_reply(s, 555, "5.5.4", "Unsupported option: %.*s", p->key.n > 64 ? 64 : (int)p->key.n, p->key.p);
	return -1;
}

static int take_params(struct session *s, const struct param *table, size_t n, struct str rest, struct esmtp *out)
{
	struct smtp_param p;
	struct err e = { 0 };
	unsigned seen = 0;
	int r, count = 0;

	while ((r = smtp_param_next(&rest, &p, &e)) == 0) {
		if (++count > SMTP_PARAMS_MAX)
			return bad(s, "Error: too many options");
		if (take_param(s, table, n, &p, &seen, out) < 0)
			return -1;
	}
	if (r < 0)
		session_reply(s, 501, "5.5.4", "Error: %s", e.text);
	return r < 0 ? -1 : 0;
}

int esmtp_mail(struct session *s, struct str rest, struct esmtp *out)
{
	return take_params(s, mail_params, ARRAY_LEN(mail_params), rest, out);
}

int esmtp_rcpt(struct session *s, struct str rest, struct esmtp *out)
{
	return take_params(s, rcpt_params, ARRAY_LEN(rcpt_params), rest, out);
}
