/* The commands before login (RFC 3501 sections 6.1 and 6.2, RFC 2971, RFC 4959), one function each; front.def has the rows. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "caps.h"
#include "log/log.h"
#include "login.h"

/* Each returns 0 after it has answered (or will), -1 with *e for a BAD answer. */
#define FRONT(verb, source) static int front_##verb(struct login *s, struct imap_lex *l, struct err *e);
#include "front.def"
#undef FRONT

static const struct {
	const char *verb;
	int (*fn)(struct login *s, struct imap_lex *l, struct err *e);
} rows[] = {
#define FRONT(verb, source) { #verb, front_##verb },
#include "front.def"
#undef FRONT
};

static void bad(struct login *s, const char *text)
{
	login_tagged(s, "BAD", "", text);
	login_reset(s);
	if (++s->bad >= LOGIN_BAD_MAX)
		login_end(s, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.");
}

static int run(struct login *s, struct str verb, struct imap_lex *l, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_case_eq(verb, str_c(rows[i].verb)))
			return rows[i].fn(s, l, e);
	}
	return err_set(e, ERR_INPUT, 0, "Unknown command, or not before login");
}

void front_command(struct login *s)
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
		bad(s, e.text);
		return;
	}
	s->tag = arena_str(s->arena, tag);
	if (imap_get_verb(&l, &verb, &e) < 0 || run(s, verb, &l, &e) < 0) {
		bad(s, e.text);
		return;
	}
	if (s->state == LOGIN_ST_COMMAND)
		login_reset(s);
}

static int front_CAPABILITY(struct login *s, struct imap_lex *l, struct err *e)
{
	struct buf b;

	if (imap_get_end(l, e) < 0)
		return -1;
	buf_init(&b, 8192);
	login_put_caps(s, &b);
	login_untagged(s, "CAPABILITY %s", b.p);
	buf_fini(&b);
	login_tagged(s, "OK", "", "Capability completed.");
	return 0;
}

static int front_NOOP(struct login *s, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return -1;
	login_tagged(s, "OK", "", "NOOP completed.");
	return 0;
}

static int front_LOGOUT(struct login *s, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return -1;
	login_untagged(s, "BYE Logging out");
	login_tagged(s, "OK", "", "Logout completed.");
	login_end(s, s->attempts ? "Aborted login" : "Disconnected", NULL);
	return 0;
}

/* Pairs of the ID command: x-originating-ip goes to authd (which decides whether to believe it), all go to the session's log line. */
static int id_pair(struct login *s, struct imap_lex *l, struct buf *log, unsigned *n, struct err *e)
{
	struct str key, value;

	if (imap_get_string(l, &key, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_nstring(l, &value, e) < 0)
		return -1;
	if (++*n > 30 || key.n > 30 || value.n > 1024)
		return err_set(e, ERR_LIMIT, 0, "ID beyond the limits of RFC 2971");
	if (str_case_eq(key, STR("x-originating-ip")) && value.n <= 64)
		auth_client(s, value);
	if (log->n)
		buf_c(log, ", ");
	text_neutral(log, key, 30, true);
	buf_ch(log, '=');
	text_neutral(log, value, 200, true);
	return 0;
}

static int front_ID(struct login *s, struct imap_lex *l, struct err *e)
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
		snprintf(s->client_id, sizeof(s->client_id), "%s", log.n ? log.p : "");
		login_untagged(s, "ID (\"name\" \"%s\")", s->env->conf->mail_name);
		login_tagged(s, "OK", "", "ID completed.");
	}
	buf_fini(&log);
	return r;
}

static int front_STARTTLS(struct login *s, struct imap_lex *l, struct err *e)
{
	bool dropped = false;

	if (imap_get_end(l, e) < 0)
		return -1;
	if (!caps_has(login_caps(s), "STARTTLS"))
		return err_set(e, ERR_INPUT, 0, "%s", conn_secure(s->conn) ? "TLS is already active" : "TLS is not available");
	login_tagged(s, "OK", "", "Begin TLS negotiation now.");
	login_reset(s);
	front_select_key(&s->fc);
	conn_starttls_server(s->conn, s->env->tls, &dropped);
	if (dropped)
		log_as("dovecot", LOG_LV_WARNING, "imap-login: input after STARTTLS dropped: rip=%s, lip=%s", s->fc.client, s->fc.server);
	/* What was learned in the clear is forgotten. */
	s->client_id[0] = s->user[0] = s->mech[0] = '\0';
	s->bad = 0;
	return 0;
}

/* A password in the clear is neither checked nor logged. */
static bool refuse_plain(struct login *s)
{
	if (!(login_caps(s) & CAP_NOLOGIN))
		return false;
	login_tagged(s, "NO", "PRIVACYREQUIRED", "Plaintext authentication needs TLS first.");
	return true;
}

static bool mech_offered(const struct login *s, struct str name)
{
	const struct conf_list *m = &s->env->conf->auth_mechanisms;

	for (size_t i = 0; i < m->n; i++) {
		if (str_case_eq(name, str_c(m->v[i])))
			return true;
	}
	return false;
}

static int front_AUTHENTICATE(struct login *s, struct imap_lex *l, struct err *e)
{
	struct str mech, text = { 0 }, initial = { 0 };
	struct buf decoded;
	int r = 0;

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
	if (mech.n > 64 || !mech_offered(s, mech)) {
		login_tagged(s, "NO", "", "Unsupported authentication mechanism.");
		return 0;
	}
	buf_init(&decoded, 16384);
	if (text.n && !str_eq(text, STR("="))) {
		r = base64_decode(&decoded, text);
		initial = buf_view(&decoded);
	} else if (text.n) {
		initial = STR("");
	}
	if (r < 0 || buf_failed(&decoded)) {
		r = err_set(e, ERR_INPUT, 0, "Invalid base64 data in initial response");
	} else {
		char name[65];

		snprintf(name, sizeof(name), "%.*s", STR_ARG(mech));
		for (char *c = name; *c; c++)
			*c = ch_up(*c);
		auth_start(s, name, initial);
	}
	buf_wipe(&decoded);
	buf_fini(&decoded);
	return r;
}

static int front_LOGIN(struct login *s, struct imap_lex *l, struct err *e)
{
	struct str user, password;
	struct buf plain;

	if (imap_get_sp(l, e) < 0 || imap_get_astring(l, &user, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_astring(l, &password, e) < 0 ||
	    imap_get_end(l, e) < 0)
		return -1;
	if (refuse_plain(s))
		return 0;
	/* The same road as AUTHENTICATE PLAIN (RFC 4616): authzid is empty. */
	buf_init(&plain, 16384);
	buf_ch(&plain, '\0');
	buf_str(&plain, user);
	buf_ch(&plain, '\0');
	buf_str(&plain, password);
	const bool fits = !buf_failed(&plain);

	if (fits)
		auth_start(s, "PLAIN", buf_view(&plain));
	buf_wipe(&plain);
	buf_fini(&plain);
	/* A copy made for escapes is wiped; the command's text is, when it ends. */
	if (password.n && (password.p < s->cmd.p || password.p > s->cmd.p + s->cmd.n))
		mem_wipe((void *)(uintptr_t)password.p, password.n);
	return fits ? 0 : err_set(e, ERR_LIMIT, 0, "user name or password too long");
}
