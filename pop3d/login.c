/* The life of a connection before login: greeting, TLS, reading commands within their limits, the end and its log line. The greeting has no timestamp: APOP
 * needs passwords in plain text on the server. RFC 1939 sections 3 and 4. */
#include "login.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "ipc/ipc.h"
#include "log/log.h"

void login_enter(struct login *s, enum login_state state)
{
	log_debug("pop3-login: %016llx: state %d -> %d", (unsigned long long)s->fc.conn, s->state, state);
	s->state = state;
}

void login_ok(struct login *s, const char *text)
{
	conn_printf(s->conn, "+OK%s%s\r\n", *text ? " " : "", text);
}

void login_err(struct login *s, const char *code, const char *text)
{
	conn_printf(s->conn, "-ERR %s%s%s%s\r\n", *code ? "[" : "", code, *code ? "] " : "", text);
}

bool login_can_starttls(const struct login *s)
{
	return s->env->tls && !conn_secure(s->conn);
}

bool login_can_login(const struct login *s)
{
	return conn_secure(s->conn) || s->plain_ok;
}

static void log_end(struct login *s, const char *why)
{
	char what[80];
	const unsigned secs = (unsigned)((clock_mono_ms() - s->started_ms) / 1000);

	if (s->state == LOGIN_ST_RELAY)
		return;
	if (s->attempts)
		snprintf(what, sizeof(what), "auth failed, %u attempts in %u secs", s->attempts, secs);
	else
		snprintf(what, sizeof(what), "no auth attempts in %u secs", secs);
	log_as("dovecot", LOG_LV_INFO, "pop3-login: %s (%s): user=<%s>, %s%s%srip=%s, lip=%s, %ssession=<%016llx>", why, what, s->user,
	       s->mech[0] ? "method=" : "", s->mech, s->mech[0] ? ", " : "", s->fc.client, s->fc.server, conn_secure(s->conn) ? "TLS, " : "",
	       (unsigned long long)s->fc.conn);
}

void login_end(struct login *s, const char *why)
{
	if (s->state == LOGIN_ST_OVER)
		return;
	log_end(s, why);
	login_enter(s, LOGIN_ST_OVER);
	auth_close(s);
	if (s->relay_fd >= 0)
		close(s->relay_fd);
	timer_del(&s->timer);
	conn_finish(&s->conn, 2000);
	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

void login_bad(struct login *s, const char *text)
{
	login_err(s, "", text);
	if (++s->bad >= LOGIN_BAD_MAX) {
		login_err(s, "", "Too many invalid commands.");
		login_end(s, "Disconnected: Too many invalid commands");
	}
}

static void greet(struct login *s)
{
	conn_printf(s->conn, "+OK %s ready.\r\n", s->env->conf->mail_name);
}

/* --- reading --- */

static void line_error(struct login *s, const struct err *e)
{
	if (s->state == LOGIN_ST_RESPONSE) {
		auth_cancel(s);
		login_enter(s, LOGIN_ST_COMMAND);
	}
	login_bad(s, e->code == ERR_LIMIT ? "Line too long." : "Invalid line.");
}

static bool reading(const struct login *s)
{
	return s->state == LOGIN_ST_COMMAND || s->state == LOGIN_ST_RESPONSE;
}

static void read_input(struct login *s)
{
	struct str line;

	while (reading(s)) {
		const bool sasl = s->state == LOGIN_ST_RESPONSE;
		struct err e = { 0 };
		const int r = conn_line(s->conn, sasl ? LOGIN_SASL_LINE_MAX : LOGIN_LINE_MAX, &line, &e);
		if (r == 1)
			return;
		conn_wipe_input(s->conn);
		if (r < 0) {
			line_error(s, &e);
		} else if (sasl) {
			auth_response(s, line);
		} else if (++s->commands > LOGIN_COMMANDS_MAX) {
			login_err(s, "", "Too many commands before login.");
			login_end(s, "Disconnected: Too many commands");
		} else {
			login_command(s, line);
		}
	}
}

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct login *const s = ctx;

	switch (ev) {
	case CONN_EV_DATA:
		read_input(s);
		break;
	case CONN_EV_SECURED:
		if (s->state == LOGIN_ST_START) {
			login_enter(s, LOGIN_ST_COMMAND);
			greet(s);
		}
		break;
	case CONN_EV_TIMEOUT:
		login_err(s, "", "Disconnected for inactivity.");
		login_end(s, "Disconnected: Inactivity");
		break;
	case CONN_EV_CLOSED:
		/* Commands that came with the end are still run; an exchange with authd has nobody left to hear of it. */
		read_input(s);
		if (s->state != LOGIN_ST_OVER && s->state != LOGIN_ST_RELAY)
			login_end(s, s->attempts ? "Aborted login" : "Disconnected");
		break;
	case CONN_EV_ERROR:
		log_debug("pop3-login: %s: %s", s->fc.client, conn_error(c));
		login_end(s, s->attempts ? "Aborted login" : "Disconnected");
		break;
	case CONN_EV_DRAINED:
		break;
	}
}

/* --- start --- */

static bool plain_allowed(const struct front_env *env, const struct front_conn *fc)
{
	const struct conf_list *const nets = &env->conf->plaintext_login_networks;
	uint8_t addr[16];

	if (!env->conf->smtpd_tls_auth_only)
		return fc->client_known;
	if (!fc->client_known || addr_parse(str_c(fc->client), addr) < 0)
		return false;
	for (size_t i = 0; i < nets->n; i++) {
		struct cidr net;
		struct err e = { 0 };
		if (cidr_parse(str_c(nets->v[i]), &net, &e) == 0 && cidr_match(&net, 1, addr))
			return !net.negate;
	}
	return false;
}

void login_session(struct front_env *env, const struct front_conn *fc)
{
	static const struct conn_limits limits = { .in_max = LOGIN_IN_MAX, .out_high = 65536, .out_max = 1 << 20 };
	struct login *const s = xzalloc(sizeof(*s));

	s->env = env;
	s->fc = *fc;
	s->relay_fd = -1;
	s->started_ms = clock_mono_ms();
	s->plain_ok = plain_allowed(env, fc);
	s->conn = conn_new(env->loop, fc->fd, &limits, on_conn, s);
	conn_deadline(s->conn, env->conf->login_timeout * 1000);
	auth_open(s);
	if (!fc->implicit_tls) {
		login_enter(s, LOGIN_ST_COMMAND);
		greet(s);
	} else if (!env->tls) {
		login_end(s, "Disconnected: no TLS certificate");
	} else {
		front_select_key(fc);
		conn_starttls_server(s->conn, env->tls, NULL);
	}
}
