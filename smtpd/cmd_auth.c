/* AUTH (RFC 4954): the client's half of a SASL exchange. authd decides; passwords pass through here as bytes that are wiped when they have been sent
 * on, and are never logged. */

#include "base/enc.h"
#include "base/format.h"
#include "ipc/auth.h"
#include "log/log.h"
#include "smtpd/peers.h"

enum { SASL_MAX = 9217 };	/* decoded from 12288 bytes of base64 */

/* The bytes of a line that held credentials, in the connection's own buffer. */
static void wipe(struct str s)
{
	if (s.n > 0)
		mem_wipe((void *)(uintptr_t)s.p, s.n);
}

static void backend_gone(struct session *s)
{
	log_warning("%s: SASL %s authentication failed: Connection lost to authentication server", s->host, s->mech);
	session_reply(s, 454, "4.7.0", "Temporary authentication failure");
}

static bool mechanism_offered(const struct session *s, struct str mech)
{
	for (size_t i = 0; i < s->conf->auth_mechanisms.n; i++)
		if (str_case_eq(mech, str_c(s->conf->auth_mechanisms.v[i])))
			return true;
	return false;
}

/* What forbids AUTH now; true when it has been answered. */
static bool refused(struct session *s)
{
	if (!session_may_offer_auth(s))
		session_reply(s, 503, "5.5.1", "Error: authentication not enabled");
	else if (s->state == ST_START)
		session_reply(s, 503, "5.5.1", "Error: send HELO/EHLO first");
	else if (s->state & ST_TRANS)
		session_reply(s, 503, "5.5.1", "Error: MAIL transaction in progress");
	else if (s->user[0] != '\0')
		session_reply(s, 503, "5.5.1", "Error: already authenticated");
	else if (!session_secure(s) && s->conf->smtpd_tls_auth_only)
		session_reply(s, 538, "5.7.11", "Encryption required for requested authentication mechanism");
	else
		return false;
	return true;
}

static void start(struct session *s, struct str mech, struct str initial)
{
	struct buf raw;
	struct str first = { 0 };

	buf_init(&raw, SASL_MAX);
	for (size_t i = 0; i < mech.n; i++)
		s->mech[i] = ch_up(mech.p[i]);
	s->mech[mech.n] = '\0';
	if (initial.n > 0 && !str_eq(initial, STR("="))) {
		if (base64_decode(&raw, initial) < 0) {
			session_reply(s, 501, "5.5.2", "Invalid base64 data");
			goto out;
		}
		first = buf_view(&raw);
	} else if (initial.n > 0) {
		first = STR("");
	}
	if (peers_auth_start(s, str_c(s->mech), first) < 0)
		backend_gone(s);
out:
	buf_wipe(&raw);
	buf_fini(&raw);
}

void cmd_auth(struct session *s, struct str args)
{
	const struct str all = args;
	struct str mech = { 0 }, initial = { 0 }, extra;

	front_last(s->env);	/* the line may hold a password */

	if (!refused(s)) {
		const bool have = str_token(&args, " \t", &mech);
		if (have)
			(void)str_token(&args, " \t", &initial);
		if (!have || str_token(&args, " \t", &extra))
			session_reply(s, 501, "5.5.4", "Syntax: AUTH mechanism");
		else if (mech.n >= sizeof s->mech || !mechanism_offered(s, mech))
			session_reply(s, 504, "5.5.4", "Unrecognized authentication type");
		else
			start(s, mech, initial);
	}
	wipe(all);
}

static bool group_follows(struct session *s)
{
	if (conn_input(s->c).n == 0)
		return false;
	log_info("improper command pipelining after AUTH from %s", s->host);
	peers_auth_cancel(s);
	s->mode = MODE_COMMAND;
	session_reply(s, 554, "5.5.0", "Error: SMTP protocol synchronization");
	s->finish_after = true;
	return true;
}

void auth_line(struct session *s, struct str line)
{
	struct buf raw;

	buf_init(&raw, SASL_MAX);
	/* Looking at the input comes after the last look at line, which borrows from it. */
	const bool cancel = str_eq(line, STR("*"));
	const int r = cancel ? 0 : base64_decode(&raw, line);
	wipe(line);
	if (group_follows(s))
		goto out;
	if (cancel || r < 0) {
		peers_auth_cancel(s);
		s->mode = MODE_COMMAND;
		if (cancel)
			session_reply(s, 501, "5.7.0", "Authentication aborted");
		else
			session_reply(s, 501, "5.5.2", "Invalid base64 data");
	} else if (peers_auth_step(s, buf_view(&raw)) < 0) {
		s->mode = MODE_COMMAND;
		backend_gone(s);
	}
out:
	buf_wipe(&raw);
	buf_fini(&raw);
}

void auth_challenge(struct session *s, struct str data)
{
	struct buf text;

	buf_init(&text, 32768);
	base64_encode(&text, data);
	/* Not through session_reply: a challenge may be longer than a reply line, up to 12288 bytes (RFC 4954 4). */
	buf_c(&s->out, "334 ");
	buf_str(&s->out, buf_view(&text));
	buf_c(&s->out, "\r\n");
	buf_wipe(&text);
	buf_fini(&text);
	s->mode = MODE_SASL_LINE;
	s->answered = true;
	session_run(s);
}

void auth_done(struct session *s, struct str user)
{
	(void)text_format(s->user, sizeof s->user, "%.*s", STR_ARG(user));
	session_reply_str(s, 235, "2.7.0", STR("Authentication successful"));
	session_run(s);
}

/* The reason in the log line, which fail2ban reads; a back end that is down must not ban anybody (its filter skips this text). */
static const char *reason(uint64_t code)
{
	switch (code) {
	case ERR_AUTH: return "authentication failure";
	case ERR_INPUT: return "bad protocol";
	case ERR_DENIED: return "too many failures";
	default: return "Connection lost to authentication server";
	}
}

void auth_failed(struct session *s, const struct ipc_auth_FAIL *f)
{
	static const struct { uint64_t code; int smtp; const char *enhanced; } answers[] = {
		{ ERR_AUTH, 535, "5.7.8" }, { ERR_INPUT, 501, "5.5.2" }, { ERR_DENIED, 535, "5.7.8" }, { ERR_LIMIT, 450, "4.7.1" },
	};
	struct buf user;
	int code = 454;
	const char *enhanced = "4.7.0";

	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		if (answers[i].code == f->code) {
			code = answers[i].smtp;
			enhanced = answers[i].enhanced;
		}
	buf_init(&user, 1024);
	text_neutral(&user, f->user, 64, false);
	if (f->code == ERR_LIMIT)	/* nobody failed */
		log_warning("AUTH command rate limit exceeded: from %s for service %s", s->host, s->profile->name);
	else
		log_warning("%s: SASL %s authentication failed: %s%s%.*s", s->host, s->mech, reason(f->code), user.n ? ", sasl_username=" : "", STR_ARG(user));
	buf_fini(&user);
	session_reply_after(s, f->delay_ms < AUTH_MS ? f->delay_ms : AUTH_MS, code, enhanced, f->text);
	session_run(s);
}
