/* The commands before login, one function each; commands.def has the rows. */
#include <stdio.h>

#include "base/enc.h"
#include "log/log.h"
#include "lang.h"
#include "pop3d/login.h"

#define LOGIN(verb, least, most, source) static void login_##verb(struct pop3_login *s, struct str arg);
#define MAIL(verb, least, most, source)
#include "commands.def"
#undef LOGIN
#undef MAIL

static const struct {
	const char *verb;
	unsigned least, most;
	void (*fn)(struct pop3_login *s, struct str arg);
} rows[] = {
#define LOGIN(verb, least, most, source) { #verb, least, most, login_##verb },
#define MAIL(verb, least, most, source)
#include "commands.def"
#undef LOGIN
#undef MAIL
};

void login_command(struct pop3_login *s, struct str line)
{
	/* What follows the blank belongs to the argument as it is: passwords may hold blanks, also at their ends (RFC 1939 7). */
	const struct str verb = str_split(&line, ' ');

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_case_eq(verb, str_c(rows[i].verb)))
			continue;
		if ((rows[i].least > 0 && line.n == 0) || (rows[i].most == 0 && line.n > 0))
			login_bad(&s->l, rows[i].least > 0 ? "Missing argument." : "No argument expected.");
		else
			rows[i].fn(s, line);
		return;
	}
	login_bad(&s->l, "Unknown command, or not before login.");
}

/* --- capabilities --- */

static bool always(const struct login *s)
{
	return true;
}

static bool can_starttls(const struct login *s)
{
	return login_can_starttls(s);
}

static bool can_login(const struct login *s)
{
	return login_can_login(s);
}

static bool login_delay(const struct login *s)
{
	return s->env->conf->pop3_login_delay > 0;
}

static void put_mechanisms(struct login *s, struct buf *out, const char *before)
{
	const struct conf_list *const m = &s->env->conf->auth_mechanisms;

	for (size_t i = 0; i < m->n; i++) {
		buf_c(out, before);
		buf_c(out, m->v[i]);
	}
}

static void login_CAPA(struct pop3_login *s, struct str arg)
{
	enum { B = 1, A = 2 };
	static const struct {
		const char *text;
		unsigned where;
		bool (*now)(const struct login *s);
	} caps[] = {
#define CAP(text, where, condition, source) { text, where, condition },
#include "capabilities.def"
#undef CAP
	};
	struct buf b;

	buf_init(&b, 4096);
	buf_c(&b, "+OK Capability list follows\r\n");
	for (size_t i = 0; i < ARRAY_LEN(caps); i++)
		if ((caps[i].where & B) && caps[i].now(&s->l))
			put_capability(&b, caps[i].text, s->l.env->conf->pop3_login_delay);
	if (can_login(&s->l) && s->l.env->conf->auth_mechanisms.n > 0) {
		buf_c(&b, "SASL");
		put_mechanisms(&s->l, &b, " ");
		buf_c(&b, "\r\n");
	}
	buf_c(&b, ".\r\n");
	conn_write(s->l.conn, buf_view(&b));
	buf_fini(&b);
}

/* --- TLS --- */

static void login_STLS(struct pop3_login *s, struct str arg)
{
	if (s->utf8) {		/* RFC 6856 2.1: not after UTF8 */
		login_bad(&s->l, "Not after UTF8.");
		return;
	}
	if (!can_starttls(&s->l)) {
		login_bad(&s->l, conn_secure(s->l.conn) ? "TLS is already active." : "TLS is not available.");
		return;
	}
	login_ok(&s->l, "Begin TLS negotiation now.");
	login_starttls(&s->l);
	s->has_user = false;
	s->name[0] = '\0';
}

/* --- login --- */

/* A password in the clear is neither checked nor logged. */
static bool refuse_plain(struct pop3_login *s)
{
	if (can_login(&s->l))
		return false;
	login_err(&s->l, "AUTH", "Plaintext authentication needs TLS first.");
	return true;
}

static void login_USER(struct pop3_login *s, struct str arg)
{
	if (refuse_plain(s))
		return;
	if (arg.n >= sizeof(s->name)) {
		login_bad(&s->l, "User name too long.");
		return;
	}
	memcpy(s->name, arg.p, arg.n);
	s->name[arg.n] = '\0';
	s->has_user = true;
	login_name(&s->l, arg);
	login_ok(&s->l, "");
}

static void login_PASS(struct pop3_login *s, struct str arg)
{
	struct err e = { 0 };

	if (refuse_plain(s))
		return;
	if (!s->has_user) {
		login_bad(&s->l, "No user name given.");
		return;
	}
	s->has_user = false;	/* RFC 1939 7: after PASS, USER again */
	if (arg.n > LOGIN_PASSWORD_MAX) {
		login_bad(&s->l, "Password too long.");
		return;
	}
	if (login_plain(&s->l, str_c(s->name), arg, &e) < 0)
		login_bad(&s->l, e.text);
}

/* "AUTH" alone: what some old clients ask instead of CAPA. */
static void list_mechanisms(struct login *s)
{
	struct buf b;

	buf_init(&b, 2048);
	buf_c(&b, "+OK");
	if (can_login(s))
		put_mechanisms(s, &b, "\r\n");
	buf_c(&b, "\r\n.\r\n");
	conn_write(s->conn, buf_view(&b));
	buf_fini(&b);
}

static void login_AUTH(struct pop3_login *s, struct str arg)
{
	const struct str mech = str_split(&arg, ' ');
	struct err e = { 0 };

	if (mech.n == 0) {
		list_mechanisms(&s->l);
		return;
	}
	if (refuse_plain(s))
		return;
	if (!login_offers(&s->l, mech))
		login_err(&s->l, "", "Unsupported authentication mechanism.");
	else if (login_auth(&s->l, mech, arg.n > 0 ? arg : (struct str){ 0 }, &e) < 0)
		login_bad(&s->l, "Invalid base64 data.");
}

/* Messages are given as they are in any case; what the command changes is what the client expects. */
static void login_UTF8(struct pop3_login *s, struct str arg)
{
	s->utf8 = true;
	login_ok(&s->l, "UTF8 enabled");
}

static void login_LANG(struct pop3_login *s, struct str arg)
{
	const struct str range = str_trim(arg);
	const char *const tag = lang_pick(range);
	char text[64];

	if (range.n == 0) {
		conn_write(s->l.conn, STR(LANG_LIST));
	} else if (tag) {
		(void)snprintf(text, sizeof text, "%s Language changed.", tag);
		login_ok(&s->l, text);
	} else {
		login_bad(&s->l, "Language not available.");
	}
}

static void login_QUIT(struct pop3_login *s, struct str arg)
{
	login_ok(&s->l, "Logging out");
	login_end(&s->l, s->l.attempts ? "Aborted login" : "Disconnected", NULL);
}
