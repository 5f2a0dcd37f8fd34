/* POP3 before login: greeting, reading commands within their limits, answers. The greeting has no timestamp: APOP needs passwords in plain text on the
 * server. RFC 1939 sections 3 and 4. */
#include "pop3d/login.h"

#include "base/arena.h"

void login_ok(struct login *s, const char *text)
{
	conn_printf(s->conn, "+OK%s%s\r\n", *text ? " " : "", text);
}

void login_err(struct login *s, const char *code, const char *text)
{
	conn_printf(s->conn, "-ERR %s%s%s%s\r\n", *code ? "[" : "", code, *code ? "] " : "", text);
}

void login_bad(struct login *s, const char *text)
{
	login_err(s, "", text);
	if (++s->bad >= LOGIN_BAD_MAX)
		login_end(s, "Disconnected: Too many invalid commands", "Too many invalid commands.");
}

static void greet(struct login *s)
{
	conn_printf(s->conn, "+OK %s ready.\r\n", s->env->conf->mail_name);
}

static void refuse(struct login *s, enum err_code code, const char *text)
{
	/* Too many failures are a passing state. */
	login_err(s, code == ERR_DENIED ? "SYS/TEMP" : err_row(code)->pop3, text);
}

static void bye(struct login *s, const char *text)
{
	login_err(s, "", text);
}

static void line_error(struct login *s, const struct err *e)
{
	if (s->state == LOGIN_ST_RESPONSE) {
		login_cancel(s);
		login_enter(s, LOGIN_ST_COMMAND);
	}
	login_bad(s, e->code == ERR_LIMIT ? "Line too long." : "Invalid line.");
}

static void read_input(struct login *s)
{
	struct pop3_login *const own = (struct pop3_login *)(void *)s;
	struct str line;

	while (login_reading(s)) {
		const bool sasl = s->state == LOGIN_ST_RESPONSE;
		struct err e = { 0 };
		const int r = conn_line(s->conn, sasl ? LOGIN_SASL_LINE_MAX : LOGIN_LINE_MAX, &line, &e);
		if (r == 1)
			return;
		conn_wipe_input(s->conn);
		if (r < 0)
			line_error(s, &e);
		else if (sasl)
			login_response(s, line);
		else if (++own->commands > LOGIN_COMMANDS_MAX)
			login_end(s, "Disconnected: Too many commands", "Too many commands before login.");
		else
			login_command(own, line);
	}
}

void login_session(struct front_env *env, const struct front_conn *fc)
{
	static const struct login_protocol pop3 = {
		.log_name = "pop3-login",
		.greet = greet,
		.read = read_input,
		.refuse = refuse,
		.bad = login_bad,
		.bye = bye,
	};
	struct pop3_login *const s = xzalloc(sizeof(*s));

	login_begin(&s->l, &pop3, env, fc);
}
