/* IMAP before login: greeting, reading commands within their limits, answers. Commands are in front_cmd.c. RFC 3501 sections 3.1 and 7.1. */
#include "imapd/login.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "caps.h"
#include "log/log.h"

static struct imap_login *own(struct login *s)
{
	return (struct imap_login *)(void *)s;
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
	return CAP_PRE | (login_can_starttls(s) ? CAP_CANTLS : 0u) | (login_can_login(s) ? 0u : CAP_NOLOGIN);
}

void login_put_caps(struct login *s, struct buf *out)
{
	const unsigned now = login_caps(s);

	caps_put(out, now, s->env->conf, !(now & CAP_NOLOGIN));
}

void login_reset(struct imap_login *s)
{
	buf_wipe(&s->cmd);
	buf_fini(&s->cmd);
	arena_reset(s->arena);
	s->l.tag = (struct str){ 0 };
	imap_scan_init(&s->scan, LOGIN_LINE_MAX);
}

void login_bad(struct login *s, const char *text)
{
	login_tagged(s, "BAD", "", text);
	login_reset(own(s));
	if (++s->bad >= LOGIN_BAD_MAX)
		login_end(s, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.");
}

static void refuse(struct login *s, enum err_code code, const char *text)
{
	const bool bad = code == ERR_INPUT;

	login_tagged(s, bad ? "BAD" : "NO", bad ? "" : err_row(code)->imap, text);
	login_reset(own(s));
}

static void bye(struct login *s, const char *text)
{
	login_untagged(s, "BYE %s", text);
}

static void forget(struct login *s)
{
	login_reset(own(s));
	arena_free(&own(s)->arena);
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
static bool literal(struct imap_login *s)
{
	if (s->scan.lit_size <= LOGIN_LITERALS_MAX && s->scan.literal_bytes <= LOGIN_LITERALS_MAX - s->scan.lit_size) {
		if (!s->scan.lit_nonsync)
			conn_write(s->l.conn, STR("+ OK\r\n"));
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

static void scan_error(struct imap_login *s)
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

	if (s->cmd.p && imap_get_tag(&l, &s->l.tag, &e) < 0)
		s->l.tag = (struct str){ 0 };
	login_tagged(&s->l, "BAD", error == IMAP_SCAN_TOOBIG || error == IMAP_SCAN_FATAL ? "TOOBIG" : "", texts[error]);
	login_reset(s);
	if (error == IMAP_SCAN_FATAL || ++s->l.bad >= LOGIN_BAD_MAX)
		login_end(&s->l, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.");
}

/* One command's bytes at most. True: there may be more to do. */
static bool read_command(struct imap_login *s)
{
	const struct str in = conn_input(s->l.conn);
	size_t used = 0;

	if (in.n == 0)
		return false;
	const enum imap_scan_result r = imap_scan(&s->scan, in, &used);

	/* Of a wrong command only the tag is wanted. */
	if (s->scan.error == IMAP_SCAN_OK)
		buf_mem(&s->cmd, in.p, used);
	else if (s->cmd.n <= IMAP_TAG_MAX)
		buf_mem(&s->cmd, in.p, used <= IMAP_TAG_MAX ? used : IMAP_TAG_MAX);
	conn_consume(s->l.conn, used);
	conn_wipe_input(s->l.conn);	/* it may be a password */
	if (s->scan.line_bytes > LOGIN_IN_MAX) {
		login_tagged(&s->l, "BAD", "", "Command line too long");
		login_end(&s->l, "Disconnected: Command line too long", "Command line too long.");
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
		more = read_command(own(s));
	if (s->state != LOGIN_ST_RESPONSE)
		return;
	const int r = conn_line(s->conn, LOGIN_SASL_LINE_MAX, &line, &e);

	if (r != 1)
		conn_wipe_input(s->conn);
	if (r == 0) {
		login_response(s, line);
	} else if (r < 0) {
		login_cancel(s);
		login_enter(s, LOGIN_ST_COMMAND);
		login_bad(s, "Invalid authentication response");
	}
}

void login_session(struct front_env *env, const struct front_conn *fc)
{
	static const struct login_protocol imap = {
		.log_name = "imap-login",
		.bye_follows = true,
		.greet = greet,
		.read = read_input,
		.refuse = refuse,
		.bad = login_bad,
		.bye = bye,
		.forget = forget,
	};
	struct imap_login *const s = xzalloc(sizeof(*s));

	s->arena = arena_new(1 << 20);
	buf_init(&s->cmd, LOGIN_LINE_MAX + LOGIN_LITERALS_MAX + 64);
	imap_scan_init(&s->scan, LOGIN_LINE_MAX);
	login_begin(&s->l, &imap, env, fc);
}
