/* What the log says of a connection, in the words that log parsers know (Postfix's): where it was, what was refused and by whom, how many commands of each kind there were.
 */
#include <stdio.h>
#include <string.h>

#include "base/enc.h"
#include "ipc/queue.h"
#include "log/log.h"
#include "smtpd/session.h"

const char *session_stage(const struct session *s)
{
	static char text[48];

	if (s->mode == MODE_DATA || s->mode == MODE_BDAT) {
		(void)snprintf(text, sizeof text, "%s (%llu bytes)", commands[s->last_cmd].verb, (unsigned long long)s->data_bytes);
		return text;
	}
	if (s->commands_total == 0)
		return "CONNECT";
	return commands[s->last_cmd].verb;
}

struct str session_neutral(struct buf *b, struct str s)
{
	buf_init(b, 4096);
	text_neutral(b, s, LOG_TEXT_MAX, false);
	return buf_view(b);
}

void session_log_reject(struct session *s, const char *stage, int code, const char *enhanced, struct str text, struct str to)
{
	struct buf b[4];
	const struct str what = session_neutral(&b[0], text), from = session_neutral(&b[1], s->t.sender), rcpt = session_neutral(&b[2], to),
			 helo = session_neutral(&b[3], buf_view(&s->helo));
	const bool have_from = s->t.sender.p != NULL;
	const char *id = s->t.rcpt_ok > 0 && s->t.qid[0] != '\0' ? s->t.qid : "NOQUEUE";

	if (s->refuser == REFUSER_PATTERN)
		return;
	/* What a milter refuses, or the filter for what is in the message, has the form of a milter's refusal, which log parsers know. */
	char verdict[40];
	const bool milter = s->refuser == REFUSER_CONTENT, content = milter && strcmp(stage, "END-OF-MESSAGE") == 0;
	if (content)
		snprintf(verdict, sizeof(verdict), "%s", enhanced);
	else
		snprintf(verdict, sizeof(verdict), "%d %s", code, enhanced);
	log_as(log_ident(content ? "cleanup" : "smtpd"), LOG_LV_INFO,
		"%s: %sreject: %s from %s: %s %.*s;%s%.*s%s%s%.*s%s proto=%s helo=<%.*s>",
		id, milter ? "milter-" : "", stage, s->host, verdict, STR_ARG(what),
		 have_from ? " from=<" : "", STR_ARG(from), have_from ? ">" : "", to.p ? " to=<" : "", STR_ARG(rcpt), to.p ? ">" : "",
		 s->profile->lmtp ? "LMTP" : s->esmtp ? "ESMTP" : "SMTP", STR_ARG(helo));
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		buf_fini(&b[i]);
}

static void put_count(struct buf *b, unsigned ok, unsigned total)
{
	buf_ch(b, '=');
	buf_u64(b, ok);
	if (ok == total)
		return;
	buf_ch(b, '/');
	buf_u64(b, total);
}

void session_log_disconnect(struct session *s)
{
	struct buf b;

	buf_init(&b, 2048);
	buf_c(&b, "disconnect from ");
	buf_c(&b, s->host);
	for (size_t i = 0; i < CMD_MAX_; i++) {
		if (s->count[i].total == 0)
			continue;
		buf_ch(&b, ' ');
		for (const char *v = commands[i].verb; *v; v++)
			buf_ch(&b, ch_lower(*v));
		put_count(&b, s->count[i].ok, s->count[i].total);
	}
	buf_c(&b, " commands");
	put_count(&b, s->commands_ok, s->commands_total);
	log_info("%s", b.p);
	buf_fini(&b);
}
