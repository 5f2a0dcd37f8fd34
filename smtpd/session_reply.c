/* Replies of a connection: they are collected in s->out (session.c says why), softened or given a footer where the configuration wants it, counted, and delayed for who makes
 * errors. RFC 5321 section 4.2. */
#include "smtpd/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/format.h"
#include "log/log.h"
#include "smtp/reply.h"

void session_flush(struct session *s)
{
	if (s->out.n == 0)
		return;
	conn_write(s->c, buf_view(&s->out));
	buf_reset(&s->out);
}

void session_end_after_flush(struct session *s)
{
	s->finish_after = true;
}

/* An error answer counts; too many end the session. */
bool session_too_many_errors(struct session *s)
{
	if (++s->errors < s->conf->smtpd_hard_error_limit)
		return false;
	log_info("too many errors after %s from %s", session_stage(s), s->host);
	return true;
}

/* soft_bounce. Not of AUTH: a mail program that hears of a wrong password is to ask for another. */
static int soften(const struct session *s, int code, const char **enhanced, char room[16])
{
	if (!s->conf->soft_bounce || code < 500 || s->cmd == CMD_AUTH)
		return code;
	if (*enhanced && (*enhanced)[0] == '5') {
		snprintf(room, 16, "4%.12s", *enhanced + 1);
		*enhanced = room;
	}
	return code - 100;
}

static void put_reply(struct session *s, int code, const char *enhanced, struct str text)
{
	struct buf b;
	char room[16];

	code = soften(s, code, &enhanced, room);
	if (code < 400 || !session_has_footer(s)) {
		smtp_reply_put(&s->out, code, enhanced, text);
		return;
	}
	buf_init(&b, FOOTED_MAX);
	buf_str(&b, text);
	session_footer(s, code, enhanced, &b);
	smtp_reply_put(&s->out, code, enhanced, buf_failed(&b) ? text : buf_view(&b));
	buf_fini(&b);
}

static void reply(struct session *s, uint64_t delay_ms, int code, const char *enhanced, struct str text)
{
	if (s->out.n > REPLY_MAX / 2)
		session_flush(s);
	if (s->mode == MODE_QUEUE || s->mode == MODE_AUTH)
		s->mode = MODE_COMMAND;
	put_reply(s, code, enhanced, text);
	s->answered = true;
	if (code >= 300 && code < 400)
		return;
	if (code < 400) {
		s->count[s->cmd].ok++;
		s->commands_ok++;
	} else if (code == 421 || code == 521) {
		session_end_after_flush(s);
	} else if (session_too_many_errors(s)) {
		struct buf b;
		buf_init(&b, 512);
		buf_printf(&b, "%s Error: too many errors", s->conf->myhostname);
		smtp_reply_put(&s->out, 421, "4.7.0", buf_view(&b));
		buf_fini(&b);
		session_end_after_flush(s);
	} else if (s->errors > s->conf->smtpd_soft_error_limit && delay_ms < s->conf->smtpd_error_sleep_time * 1000) {
		delay_ms = s->conf->smtpd_error_sleep_time * 1000;
	}
	if (delay_ms > 0)
		session_sleep(s, delay_ms);
}

void session_reply_str(struct session *s, int code, const char *enhanced, struct str text)
{
	reply(s, 0, code, enhanced, text);
}

void session_reply_part(struct session *s, int code, const char *enhanced, struct str text)
{
	if (s->out.n > REPLY_MAX / 2)
		session_flush(s);
	char room[16];
	const int said = soften(s, code, &enhanced, room);
	smtp_reply_put(&s->out, said, enhanced, text);
}

void session_reply_after(struct session *s, uint64_t delay_ms, int code, const char *enhanced, struct str text)
{
	reply(s, delay_ms, code, enhanced, text);
}

void session_reply(struct session *s, int code, const char *enhanced, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	const int n = text_vformat(text, sizeof text, fmt, ap);
	va_end(ap);
	reply(s, 0, code, enhanced, str_n(text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}
