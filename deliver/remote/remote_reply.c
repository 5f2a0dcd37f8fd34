/* What the server says. It is hostile text: replies are bounded in lines and bytes, and neutralised before they reach a log, a bounce or queued. A whole reply goes
 * to the handler of the step that it answers; one that answers nothing ends the connection.
 */
#include <stdio.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote/remote_smtp_priv.h"
#include "map/lookups.h"
#include "smtp/reply.h"

void reply_said(const struct smtp *s, const struct reply *r, const char *command, char out[700])
{
	(void)snprintf(out, 700, "host %s said: %s%s%s%s", s->name, r->text, *command ? " (in reply to " : "", command, *command ? ")" : "");
}

enum rcpt_status reply_status(int code)
{
	return code >= 500 ? RCPT_BOUNCED : RCPT_DEFERRED;
}

static void on_unasked(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;
	char text[700];

	if (j == NULL) {		/* idle: the server says good-bye */
		smtp_quit(s);
		return;
	}
	/* In the middle of the data: only the end of the connection makes sure that no part is taken for a message. */
	reply_said(s, r, "message data", text);
	job_close_open(j, r->code >= 400 ? reply_status(r->code) : RCPT_DEFERRED, r->code >= 400 ? r->enhanced : "4.5.0", text);
	s->j = NULL;
	smtp_drop(s);
	job_done(j);
}

static void (*const handlers[STEP_MAX_])(struct smtp *s, const struct reply *r) = {
	[STEP_GREETING] = smtp_on_greeting, [STEP_EHLO] = smtp_on_ehlo, [STEP_HELO] = smtp_on_helo, [STEP_STARTTLS] = smtp_on_starttls, [STEP_ENVELOPE] = smtp_on_envelope,
	[STEP_DATA] = smtp_on_data, [STEP_DOT] = smtp_on_dot, [STEP_EMPTY] = smtp_on_empty, [STEP_RSET] = smtp_on_rset, [STEP_AUTH] = smtp_on_auth,
};

static void whole_reply(struct smtp *s, int code)
{
	struct reply r = { .code = code };
	struct buf b;

	if (s->enhanced[0] != '\0')
		(void)snprintf(r.enhanced, sizeof r.enhanced, "%s", s->enhanced);
	else
		(void)snprintf(r.enhanced, sizeof r.enhanced, "%d.0.0", code / 100 == 3 ? 5 : code / 100);
	buf_init(&b, 4096);
	text_neutral(&b, buf_view(&s->text), REMOTE_TEXT_MAX, true);
	(void)snprintf(r.text, sizeof r.text, "%d %.*s", code, STR_ARG(buf_view(&b)));
	buf_fini(&b);
	buf_reset(&s->text);
	s->enhanced[0] = '\0';
	s->lines = 0;
	if (handlers[s->step] != NULL)
		handlers[s->step](s, &r);
	else
		on_unasked(s, &r);
}

/* Looked up at the first line of an answer to EHLO. What is too long for a list of keywords is none. */
static void discard_find(struct smtp *s)
{
	struct buf b;

	buf_init(&b, sizeof s->discard - 1);
	s->discard_own = lookups_find(s->r->discard, str_c(s->target.addr.text), &b) && !buf_failed(&b);
	(void)snprintf(s->discard, sizeof s->discard, "%.*s", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

static bool discarded(const struct smtp *s, struct str word)
{
	const struct conf_list l = s->r->conf->smtp_discard_ehlo_keywords;
	struct str rest = str_c(s->discard), one;

	while (s->discard_own && str_token(&rest, ", \t", &one))
		if (str_case_eq(word, one))
			return true;
	for (size_t i = 0; !s->discard_own && i < l.n; i++)
		if (str_case_eq(word, str_c(l.v[i])))
			return true;
	return false;
}

static void take_feature(struct smtp *s, struct str text)
{
	static const struct { const char *word; unsigned bit; } words[] = {
		{ "PIPELINING", FEAT_PIPELINING }, { "SIZE", FEAT_SIZE }, { "8BITMIME", FEAT_8BITMIME }, { "STARTTLS", FEAT_STARTTLS },
		{ "SMTPUTF8", FEAT_SMTPUTF8 }, { "DSN", FEAT_DSN }, { "AUTH", FEAT_AUTH },
	};
	const struct str word = str_split(&text, ' ');
	uint64_t size;

	if (discarded(s, word))
		return;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_case_eq(word, str_c(words[i].word)))
			s->features |= words[i].bit;
	if (str_case_eq(word, STR("AUTH")))
		s->mechs |= auth_offered(text);
	if (str_case_eq(word, STR("SIZE")) && num_parse(str_trim(text), 1, UINT64_MAX, &size) == 0)
		s->size_max = size;
}

/* One line of a reply; -1: the connection has been given up. */
static int take_line(struct smtp *s, struct str line)
{
	struct smtp_reply_line l;
	struct err e = { 0 };
	char text[500];

	if (smtp_reply_line_parse(line, &l, &e) < 0 || ++s->lines > SMTP_REPLY_LINES_MAX) {
		(void)snprintf(text, sizeof text, "host %s broke the SMTP protocol", s->name);
		smtp_broken(s, text);
		return -1;
	}
	if (s->step == STEP_EHLO && s->lines == 1)
		discard_find(s);
	if (s->step == STEP_EHLO && l.code == 250 && s->lines > 1)
		take_feature(s, str_from(line, 4));
	if (s->lines == 1 && l.enhanced.n > 0 && l.enhanced.n < sizeof s->enhanced)
		(void)snprintf(s->enhanced, sizeof s->enhanced, "%.*s", STR_ARG(l.enhanced));
	if (s->text.n < REMOTE_TEXT_MAX) {
		if (s->text.n > 0)
			buf_ch(&s->text, ' ');
		if (l.enhanced.n > 0) {
			buf_str(&s->text, l.enhanced);
			buf_ch(&s->text, ' ');
		}
		buf_str(&s->text, str_sub(l.text, 0, REMOTE_TEXT_MAX));
	}
	if (l.last)
		whole_reply(s, l.code);
	return 0;
}

void smtp_input(struct smtp *s)
{
	struct str line;
	struct err e = { 0 };
	char text[500];

	while (s->c != NULL) {
		const int r = conn_line(s->c, 4096, &line, &e);
		if (r == 1)
			return;
		if (r < 0) {
			(void)snprintf(text, sizeof text, "host %s broke the SMTP protocol (%s)", s->name, e.text);
			smtp_broken(s, text);
			return;
		}
		if (take_line(s, line) < 0)
			return;
	}
}
