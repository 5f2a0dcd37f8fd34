/* The life of a connection before login: greeting, TLS, reading commands within their limits, the end and its log line. Commands are in
 * front_cmd.c, the exchange with authd in front_auth.c. RFC 3501 sections 3.1 and 7.1. */
#include "login.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "caps.h"
#include "log/log.h"

static void on_conn(void *ctx, struct conn *c, enum conn_event ev);

void login_enter(struct login *s, enum login_state state)
{
	log_debug("imap-login: %016llx: state %d -> %d", (unsigned long long)s->fc.conn, s->state, state);
	s->state = state;
}

void login_untagged(struct login *s, const char *fmt, ...)
{
	struct buf b;
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	buf_init(&b, 8192);
	buf_printf(&b, "* %s\r\n", text ? text : "");
	conn_write(s->conn, buf_view(&b));
	buf_fini(&b);
	free(text);
}

void login_tagged(struct login *s, const char *status, const char *code, const char *text)
{
	struct buf b;

	buf_init(&b, 8192);
	if (s->tag.n)
		buf_str(&b, s->tag);
	else
		buf_ch(&b, '*');
	buf_printf(&b, " %s %s%s%s%s\r\n", status, *code ? "[" : "", code, *code ? "] " : "", text);
	conn_write(s->conn, buf_view(&b));
	buf_fini(&b);
}

unsigned login_caps(const struct login *s)
{
	const bool secure = conn_secure(s->conn);

	return CAP_PRE | (s->env->tls && !secure ? CAP_CANTLS : 0u) | (!secure && !s->plain_ok ? CAP_NOLOGIN : 0u);
}

void login_put_caps(struct login *s, struct buf *out)
{
	const unsigned now = login_caps(s);

	caps_put(out, now, s->env->conf, !(now & CAP_NOLOGIN));
}

void login_reset(struct login *s)
{
	buf_wipe(&s->cmd);
	buf_fini(&s->cmd);
	arena_reset(s->arena);
	s->tag = (struct str){ 0 };
	imap_scan_init(&s->scan, LOGIN_LINE_MAX);
}

static void log_end(struct login *s, const char *why)
{
	struct buf b;
	const unsigned secs = (unsigned)((clock_mono_ms() - s->started_ms) / 1000);

	if (s->state == LOGIN_ST_RELAY)
		return;
	buf_init(&b, 1000);
	if (s->attempts)
		buf_printf(&b, "auth failed, %u attempts in %u secs", s->attempts, secs);
	else
		buf_printf(&b, "no auth attempts in %u secs", secs);
	log_as("dovecot", LOG_LV_INFO, "imap-login: %s (%s): user=<%s>, %s%s%srip=%s, lip=%s, %ssession=<%016llx>", why, b.p,
	       s->user, s->mech[0] ? "method=" : "", s->mech, s->mech[0] ? ", " : "", s->fc.client, s->fc.server,
	       conn_secure(s->conn) ? "TLS, " : "", (unsigned long long)s->fc.conn);
	buf_fini(&b);
}

void login_end(struct login *s, const char *why, const char *bye)
{
	if (s->state == LOGIN_ST_OVER)
		return;
	if (bye)
		login_untagged(s, "BYE %s", bye);
	log_end(s, why);
	login_enter(s, LOGIN_ST_OVER);
	auth_close(s);
	if (s->relay_fd >= 0)
		close(s->relay_fd);
	timer_del(&s->timer);
	login_reset(s);
	arena_free(&s->arena);
	conn_finish(&s->conn, 2000);
	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

static void greet(struct login *s)
{
	struct buf b;

	buf_init(&b, 8192);
	buf_c(&b, "OK [CAPABILITY ");
	login_put_caps(s, &b);
	buf_printf(&b, "] %s ready.", s->env->conf->mail_name);
	login_untagged(s, "%s", b.p);
	buf_fini(&b);
}

/* --- reading --- */

/* The literal just announced: within its limits it becomes text of the command. True: go on scanning. */
static bool literal(struct login *s)
{
	if (s->scan.lit_size <= LOGIN_LITERALS_MAX && s->scan.literal_bytes <= LOGIN_LITERALS_MAX - s->scan.lit_size) {
		if (!s->scan.lit_nonsync)
			conn_write(s->conn, STR("+ OK\r\n"));
		imap_scan_accept(&s->scan);
		return true;
	}
	/* Before login nobody's literal is read over: what does not wait for leave ends the connection (RFC 7888 section 4). */
	if (s->scan.lit_nonsync)
		s->scan.error = IMAP_SCAN_FATAL;
	else
		(void)imap_scan_refuse(&s->scan);
	return false;
}

static void scan_error(struct login *s)
{
	static const char *const texts[] = {
		[IMAP_SCAN_LONG] = "Command line too long",
		[IMAP_SCAN_BYTES] = "Bare CR, bare LF or NUL in command",
		[IMAP_SCAN_TOOBIG] = "Literal too large",
		[IMAP_SCAN_FATAL] = "Literal too large",
	};
	const enum imap_scan_error error = s->scan.error;
	struct imap_lex l = { .p = s->cmd.p, .end = s->cmd.p + s->cmd.n, .arena = s->arena };
	struct err e = { 0 };

	if (s->cmd.p && imap_get_tag(&l, &s->tag, &e) < 0)
		s->tag = (struct str){ 0 };
	login_tagged(s, "BAD", error == IMAP_SCAN_TOOBIG || error == IMAP_SCAN_FATAL ? "TOOBIG" : "", texts[error]);
	login_reset(s);
	if (error == IMAP_SCAN_FATAL || ++s->bad >= LOGIN_BAD_MAX)
		login_end(s, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.");
}

/* One command's bytes at most. True: there may be more to do. */
static bool read_command(struct login *s)
{
	const struct str in = conn_input(s->conn);
	size_t used = 0;

	if (in.n == 0)
		return false;
	const enum imap_scan_result r = imap_scan(&s->scan, in, &used);

	/* Of a wrong command only the tag is wanted. */
	if (s->scan.error == IMAP_SCAN_OK)
		buf_mem(&s->cmd, in.p, used);
	else if (s->cmd.n <= IMAP_TAG_MAX)
		buf_mem(&s->cmd, in.p, used <= IMAP_TAG_MAX ? used : IMAP_TAG_MAX);
	conn_consume(s->conn, used);
	conn_wipe_input(s->conn);	/* it may be a password */
	if (s->scan.line_bytes > LOGIN_IN_MAX) {
		login_tagged(s, "BAD", "", "Command line too long");
		login_end(s, "Disconnected: Command line too long", "Command line too long.");
		return false;
	}
	if (r == IMAP_SCAN_MORE || (r == IMAP_SCAN_LITERAL && literal(s)))
		return r != IMAP_SCAN_MORE;
	if (s->scan.error != IMAP_SCAN_OK)
		scan_error(s);
	else
		front_command(s);
	return true;
}

static void read_input(struct login *s)
{
	struct str line;
	struct err e = { 0 };
	bool more = true;

	while (more && s->state == LOGIN_ST_COMMAND)
		more = read_command(s);
	if (s->state != LOGIN_ST_RESPONSE)
		return;
	const int r = conn_line(s->conn, LOGIN_SASL_LINE_MAX, &line, &e);

	if (r != 1)
		conn_wipe_input(s->conn);
	if (r == 0) {
		auth_response(s, line);
		return;
	}
	if (r < 0) {
		auth_cancel(s);
		login_tagged(s, "BAD", "", "Invalid authentication response");
		login_reset(s);
		login_enter(s, LOGIN_ST_COMMAND);
		if (++s->bad >= LOGIN_BAD_MAX)
			login_end(s, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.");
	}
}

/* States in which input waits: it is not read beyond one buffer. */
static bool reading(const struct login *s)
{
	return s->state == LOGIN_ST_COMMAND || s->state == LOGIN_ST_RESPONSE;
}

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct login *s = ctx;

	switch (ev) {
	case CONN_EV_DATA:
		if (reading(s))
			read_input(s);
		break;
	case CONN_EV_SECURED:
		if (s->state == LOGIN_ST_START) {
			login_enter(s, LOGIN_ST_COMMAND);
			greet(s);
		}
		break;
	case CONN_EV_TIMEOUT:
		login_end(s, "Disconnected: Inactivity", "Disconnected for inactivity.");
		break;
	case CONN_EV_CLOSED:
		/* Commands that came with the end are still run; an exchange with authd has nobody left to hear of it. */
		if (reading(s))
			read_input(s);
		if (s->state != LOGIN_ST_OVER && s->state != LOGIN_ST_RELAY)
			login_end(s, s->attempts ? "Aborted login" : "Disconnected", NULL);
		break;
	case CONN_EV_ERROR:
		log_debug("imap-login: %s: %s", s->fc.client, conn_error(c));
		login_end(s, s->attempts ? "Aborted login" : "Disconnected", NULL);
		break;
	case CONN_EV_DRAINED:
		break;
	}
}

static bool plain_allowed(const struct front_env *env, const struct front_conn *fc)
{
	uint8_t addr[16];

	if (!fc->client_known || addr_parse(str_c(fc->client), addr) < 0)
		return false;
	for (size_t i = 0; i < env->conf->plaintext_login_networks.n; i++) {
		struct cidr net;

		if (cidr_parse(str_c(env->conf->plaintext_login_networks.v[i]), &net, NULL) == 0 && cidr_match(&net, 1, addr))
			return !net.negate;
	}
	return false;
}

void login_session(struct front_env *env, const struct front_conn *fc)
{
	struct login *s = xzalloc(sizeof(*s));
	const struct conn_limits limits = { .in_max = LOGIN_IN_MAX, .out_high = 65536, .out_max = 1 << 20 };

	s->env = env;
	s->fc = *fc;
	s->relay_fd = -1;
	s->started_ms = clock_mono_ms();
	s->arena = arena_new(1 << 20);
	buf_init(&s->cmd, LOGIN_LINE_MAX + LOGIN_LITERALS_MAX + 64);
	s->plain_ok = plain_allowed(env, fc);
	login_reset(s);
	s->conn = conn_new(env->loop, fc->fd, &limits, on_conn, s);
	conn_deadline(s->conn, env->conf->login_timeout * 1000);
	auth_open(s);
	if (!fc->implicit_tls) {
		login_enter(s, LOGIN_ST_COMMAND);
		greet(s);
		return;
	}
	if (!env->tls) {
		login_end(s, "Disconnected: no TLS certificate", "TLS is not configured");
		return;
	}
	front_select_key(fc);
	conn_starttls_server(s->conn, env->tls, NULL);
}
