/* The commands before login (RFC 3501 sections 6.1 and 6.2, RFC 2971, RFC 4959), one function each; front.def has the rows. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "caps.h"
#include "log/log.h"
#include "imapd/login.h"

/* Each returns 0 after it has answered (or will), -1 with *e for a BAD answer. */
#define FRONT(verb, source) static int front_##verb(struct imap_login *s, struct imap_lex *l, struct err *e);
#include "front.def"
#undef FRONT

static const struct {
	const char *verb;
	int (*fn)(struct imap_login *s, struct imap_lex *l, struct err *e);
} rows[] = {
#define FRONT(verb, source) { #verb, front_##verb },
#include "front.def"
#undef FRONT
};

static int run(struct imap_login *s, struct str verb, struct imap_lex *l, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_case_eq(verb, str_c(rows[i].verb)))
			return rows[i].fn(s, l, e);
	}
	return err_set(e, ERR_INPUT, 0, "Unknown command, or not before login");
}

void front_command(struct imap_login *s)
{
	struct imap_lex l = { .p = s->cmd.p, .end = s->cmd.p + s->cmd.n, .arena = s->arena };
	struct err e = { 0 };
	struct str verb, tag;

	while (l.end > l.p && (l.end[-1] == '\n' || l.end[-1] == '\r'))
		l.end--;
	if (imap_at_end(&l)) {		/* an empty line: some clients send them */
		login_reset(s);
		return;
	}
	if (imap_get_tag(&l, &tag, &e) < 0) {
		login_bad(&s->l, e.text);
		return;
	}
	s->l.tag = arena_str(s->arena, tag);
	if (imap_get_verb(&l, &verb, &e) < 0 || run(s, verb, &l, &e) < 0) {
		login_bad(&s->l, e.text);
		return;
	}
	if (s->l.state == LOGIN_ST_COMMAND)
		login_reset(s);
}

static int front_CAPABILITY(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	struct buf b;

	if (imap_get_end(l, e) < 0)
		return -1;
	buf_init(&b, 8192);
	login_put_caps(&s->l, &b);
	login_untagged(&s->l, "CAPABILITY %s", b.p);
	buf_fini(&b);
	login_tagged(&s->l, "OK", "", "Capability completed.");
	return 0;
}

static int front_NOOP(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return -1;
	login_tagged(&s->l, "OK", "", "NOOP completed.");
	return 0;
}

static int front_LOGOUT(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return -1;
	login_untagged(&s->l, "BYE Logging out");
	login_tagged(&s->l, "OK", "", "Logout completed.");
	login_end(&s->l, s->l.attempts ? "Aborted login" : "Disconnected", NULL);
	return 0;
}

/* Pairs of the ID command: x-originating-ip goes to authd (which decides whether to believe it), all go to the session's log line. */
static int id_pair(struct imap_login *s, struct imap_lex *l, struct buf *log, unsigned *n, struct err *e)
{
	struct str key, value;

	if (imap_get_string(l, &key, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_nstring(l, &value, e) < 0)
		return -1;
	if (++*n > 30 || key.n > 30 || value.n > 1024)
		return err_set(e, ERR_LIMIT, 0, "ID beyond the limits of RFC 2971");
	if (str_case_eq(key, STR("x-originating-ip")) && value.n <= 64)
		login_client(&s->l, value);
	if (log->n)
		buf_c(log, ", ");
	text_neutral(log, key, 30, true);
	buf_ch(log, '=');
	text_neutral(log, value, 200, true);
	return 0;
}

static int front_ID(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	struct buf log;
	unsigned n = 0;
	int r = 0;

	if (imap_get_sp(l, e) < 0)
		return -1;
	buf_init(&log, LOGIN_ID_MAX);
	if (!imap_try_word(l, "NIL")) {
		r = imap_get_char(l, '(', e);
		while (r == 0 && !imap_try(l, ')')) {
			r = id_pair(s, l, &log, &n, e);
			if (r == 0 && !imap_at(l, ')'))
				r = imap_get_sp(l, e);
		}
	}
	if (r == 0)
		r = imap_get_end(l, e);
	if (r == 0) {
		snprintf(s->l.client_id, sizeof(s->l.client_id), "%s", log.n ? log.p : "");
		login_untagged(&s->l, "ID (\"name\" \"%s\")", s->l.env->conf->mail_name);
		login_tagged(&s->l, "OK", "", "ID completed.");
	}
	buf_fini(&log);
	return r;
}

static int front_STARTTLS(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return -1;
	if (!login_can_starttls(&s->l))
		return err_set(e, ERR_INPUT, 0, "%s", conn_secure(s->l.conn) ? "TLS is already active" : "TLS is not available");
	login_tagged(&s->l, "OK", "", "Begin TLS negotiation now.");
	login_reset(s);
	login_starttls(&s->l);
	return 0;
}

/* A password in the clear is neither checked nor logged. */
static bool refuse_plain(struct imap_login *s)
{
	if (login_can_login(&s->l))
		return false;
	login_tagged(&s->l, "NO", "PRIVACYREQUIRED", "Plaintext authentication needs TLS first.");
	return true;
}

static int front_AUTHENTICATE(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	struct str mech, text = { 0 };

	if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &mech, e) < 0)
		return -1;
	if (imap_at(l, ' ')) {
		if (imap_get_sp(l, e) < 0)
			return -1;
		text = str_n(l->p, (size_t)(l->end - l->p));
		if (text.n == 0)
			return err_set(e, ERR_INPUT, 0, "empty initial response");
	} else if (!imap_at_end(l)) {
		return err_set(e, ERR_INPUT, 0, "invalid mechanism");
	}
	if (refuse_plain(s))
		return 0;
	if (!login_offers(&s->l, mech)) {
		login_tagged(&s->l, "NO", "", "Unsupported authentication mechanism.");
		return 0;
	}
	return login_auth(&s->l, mech, text, e);
}

static int front_LOGIN(struct imap_login *s, struct imap_lex *l, struct err *e)
{
	struct str user, password;

	if (imap_get_sp(l, e) < 0 || imap_get_astring(l, &user, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_astring(l, &password, e) < 0 ||
	    imap_get_end(l, e) < 0)
		return -1;
	if (refuse_plain(s))
		return 0;
	const int r = login_plain(&s->l, user, password, e);
	/* A copy made for escapes is wiped; the command's text is, when it ends. */
	if (password.n && (password.p < s->cmd.p || password.p > s->cmd.p + s->cmd.n))
		mem_wipe((void *)(uintptr_t)password.p, password.n);
	return r;
}
