/* The commands before login, one function each; commands.def has the rows. */
#include <stdio.h>

#include "base/enc.h"
#include "log/log.h"
#include "lang.h"
#include "login.h"

#define LOGIN(verb, least, most, source) static void login_##verb(struct login *s, struct str arg);
#define MAIL(verb, least, most, source)
#include "commands.def"
#undef LOGIN
#undef MAIL

static const struct {
	const char *verb;
	unsigned least, most;
	void (*fn)(struct login *s, struct str arg);
} rows[] = {
#define LOGIN(verb, least, most, source) { #verb, least, most, login_##verb },
#define MAIL(verb, least, most, source)
#include "commands.def"
#undef LOGIN
#undef MAIL
};

void login_command(struct login *s, struct str line)
{
	/* What follows the blank belongs to the argument as it is: passwords may hold blanks, also at their ends (RFC 1939 7). */
	const struct str verb = str_split(&line, ' ');

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_case_eq(verb, str_c(rows[i].verb)))
			continue;
		if ((rows[i].least > 0 && line.n == 0) || (rows[i].most == 0 && line.n > 0))
			login_bad(s, rows[i].least > 0 ? "Missing argument." : "No argument expected.");
		else
			rows[i].fn(s, line);
		return;
	}
	login_bad(s, "Unknown command, or not before login.");
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

static void login_CAPA(struct login *s, struct str arg)
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
		if ((caps[i].where & B) && caps[i].now(s))
			put_capability(&b, caps[i].text, s->env->conf->pop3_login_delay);
	if (can_login(s) && s->env->conf->auth_mechanisms.n > 0) {
		buf_c(&b, "SASL");
		put_mechanisms(s, &b, " ");
		buf_c(&b, "\r\n");
	}
	buf_c(&b, ".\r\n");
	conn_write(s->conn, buf_view(&b));
	buf_fini(&b);
}

/* --- TLS --- */

static void login_STLS(struct login *s, struct str arg)
{
	bool dropped = false;

	if (s->utf8) {		/* RFC 6856 2.1: not after UTF8 */
		login_bad(s, "Not after UTF8.");
		return;
	}
	if (!can_starttls(s)) {
		login_bad(s, conn_secure(s->conn) ? "TLS is already active." : "TLS is not available.");
		return;
	}
	login_ok(s, "Begin TLS negotiation now.");
	front_select_key(&s->fc);
	conn_starttls_server(s->conn, s->env->tls, &dropped);
	if (dropped)	/* CVE-2021-38084: what came in the clear after STLS is never run */
		log_as("dovecot", LOG_LV_WARNING, "pop3-login: input after STLS dropped: rip=%s, lip=%s", s->fc.client, s->fc.server);
	/* What was learned in the clear is forgotten (RFC 2595 4). */
	s->has_user = false;
	s->name[0] = s->user[0] = s->mech[0] = '\0';
	s->bad = 0;
}

/* --- login --- */

/* A password in the clear is neither checked nor logged. */
static bool refuse_plain(struct login *s)
{
	if (can_login(s))
		return false;
	login_err(s, "AUTH", "Plaintext authentication needs TLS first.");
	return true;
}

static void login_USER(struct login *s, struct str arg)
{
	if (refuse_plain(s))
		return;
	if (arg.n >= sizeof(s->name)) {
		login_bad(s, "User name too long.");
		return;
	}
	memcpy(s->name, arg.p, arg.n);
	s->name[arg.n] = '\0';
	s->has_user = true;
	auth_name(s, arg);
	login_ok(s, "");
}

static void login_PASS(struct login *s, struct str arg)
{
	struct buf plain;

	if (refuse_plain(s))
		return;
	if (!s->has_user) {
		login_bad(s, "No user name given.");
		return;
	}
	s->has_user = false;	/* RFC 1939 7: after PASS, USER again */
	if (arg.n > LOGIN_PASSWORD_MAX) {
		login_bad(s, "Password too long.");
		return;
	}
	/* The same road as AUTH PLAIN (RFC 4616): authzid is empty. */
	buf_init(&plain, sizeof(s->name) + LOGIN_PASSWORD_MAX + 4);
	buf_ch(&plain, '\0');
	buf_c(&plain, s->name);
	buf_ch(&plain, '\0');
	buf_str(&plain, arg);
	auth_start(s, "PLAIN", buf_view(&plain));
	buf_wipe(&plain);
	buf_fini(&plain);
}

static bool mech_offered(const struct login *s, struct str name)
{
	const struct conf_list *const m = &s->env->conf->auth_mechanisms;

	for (size_t i = 0; i < m->n; i++)
		if (str_case_eq(name, str_c(m->v[i])))
			return true;
	return false;
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

static void login_AUTH(struct login *s, struct str arg)
{
	const struct str mech = str_split(&arg, ' ');
	struct str initial = { 0 };
	struct buf decoded;
	char name[65];

	if (mech.n == 0) {
		list_mechanisms(s);
		return;
	}
	if (refuse_plain(s))
		return;
	if (mech.n >= sizeof(name) || !mech_offered(s, mech)) {
		login_err(s, "", "Unsupported authentication mechanism.");
		return;
	}
	for (size_t i = 0; i < mech.n; i++)
		name[i] = ch_up(mech.p[i]);
	name[mech.n] = '\0';
	buf_init(&decoded, 16384);
	int r = 0;
	if (arg.n > 0 && !str_eq(arg, STR("="))) {	/* RFC 5034 4: "=" is an empty one */
		r = base64_decode(&decoded, arg);
		initial = buf_view(&decoded);
	} else if (arg.n > 0) {
		initial = STR("");
	}
	if (r < 0 || buf_failed(&decoded))
		login_bad(s, "Invalid base64 data.");
	else
		auth_start(s, name, initial);
	buf_wipe(&decoded);
	buf_fini(&decoded);
}

/* Messages are given as they are in any case; what the command changes is what the client expects. */
static void login_UTF8(struct login *s, struct str arg)
{
	s->utf8 = true;
	login_ok(s, "UTF8 enabled");
}

static void login_LANG(struct login *s, struct str arg)
{
	const struct str range = str_trim(arg);
	const char *const tag = lang_pick(range);
	char text[64];

	if (range.n == 0) {
		conn_write(s->conn, STR(LANG_LIST));
	} else if (tag) {
		(void)snprintf(text, sizeof text, "%s Language changed.", tag);
		login_ok(s, text);
	} else {
		login_bad(s, "Language not available.");
	}
}

static void login_QUIT(struct login *s, struct str arg)
{
	login_ok(s, "Logging out");
	login_end(s, s->attempts ? "Aborted login" : "Disconnected");
}
