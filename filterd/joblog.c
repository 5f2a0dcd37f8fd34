/* See joblog.h. "Passed|Blocked CATEGORY {actions}, [POLICY ][client] <from> -> <to>,<to>, quarantine: X, Queue-ID: X, Message-ID: X, mail_id: X, Hits: n,
 * size: n". What is kept for some recipients has an id of its own, which queued tells. The category's detail in parentheses only where amavisd-new writes one. */
#include "joblog.h"

#include <unistd.h>

#include "base/enc.h"
#include "log/log.h"

enum { LINE_MAX_BYTES = 8000, RECIPIENTS_MAX = 100 };

static const struct {
	const char *action, *word, *did;
} actions[] = {
	{ "accept", "Passed", "Relayed" },        { "reject", "Blocked", "Rejected" },   { "tempfail", "Blocked", "TempFailed" },
	{ "quarantine", "Blocked", "Discarded" }, { "redirect", "Blocked", "Discarded" }, { "discard", "Blocked", "Discarded" },
};

static bool is_marked(const struct ipc_filter_VERDICT *v)
{
	for (size_t i = 0; i < v->edits.n; i++)
		if (str_starts(v->edits.v[i], STR("+X-Spam-Flag: YES")) || str_starts(v->edits.v[i], STR("+X-Amavis-Alert:")))
			return true;
	return false;
}

static void put_category(struct str log, struct buf *out)
{
	const ptrdiff_t space = str_chr(log, ' ');
	const struct str word = space < 0 ? log : str_sub(log, 0, (size_t)space);
	const bool detailed = str_eq(word, STR("INFECTED")) || str_eq(word, STR("BANNED"));
	buf_str(out, detailed ? log : word.n > 0 ? word : STR("OTHER"));
}

static void put_item(const char *name, struct str value, struct buf *out)
{
	if (value.n == 0)
		return;
	buf_printf(out, ", %s: ", name);
	text_neutral(out, value, 300, false);
}

static void put_envelope(const struct ipc_filter_SCAN *m, const struct ipc_filter_VERDICT *v, struct buf *out)
{
	size_t said = 0;
	buf_c(out, m->user.n > 0 ? "ORIGINATING " : m->own ? "MYNETS " : "");
	buf_printf(out, "[%.*s] <%.*s> -> ", STR_ARG(m->client), STR_ARG(m->sender));
	for (size_t i = 0; i < m->recipients.n && said < RECIPIENTS_MAX; i++)
		if (filter_outcome_has(v, i))
			buf_printf(out, "%s<%.*s>", said++ == 0 ? "" : ",", STR_ARG(m->recipients.v[i]));
}

void job_log_format(const struct ipc_filter_SCAN *m, const struct ipc_filter_VERDICT *v, struct buf *out)
{
	size_t k = 0;
	while (k + 1 < ARRAY_LEN(actions) && !str_eq(v->action, str_c(actions[k].action)))
		k++;
	const bool kept = str_eq(v->action, STR("quarantine"));
	buf_printf(out, "%s ", actions[k].word);
	put_category(v->log, out);
	buf_printf(out, " {%s%s%s%s}, ", actions[k].did, k == 0 && is_marked(v) ? "Tagged" : "", m->own ? "Outbound" : "Inbound",
		   kept || str_eq(v->action, STR("redirect")) ? ",Quarantined" : "");
	put_envelope(m, v, out);
	put_item("quarantine", kept ? (v->whose.n == 0 ? m->qid : STR("")) : str_eq(v->action, STR("redirect")) ? v->target : STR(""), out);
	put_item("Queue-ID", m->qid, out);
	put_item("Message-ID", v->message_id, out);
	put_item("mail_id", m->qid, out);
	buf_printf(out, ", Hits: %.*s, size: %llu", STR_ARG(v->hits.n > 0 ? v->hits : STR("-")), (unsigned long long)m->size);
}

void job_log(const struct ipc_filter_SCAN *m, const struct ipc_filter_VERDICT *v, unsigned long long seq, uint64_t ms)
{
	struct buf line;
	buf_init(&line, LINE_MAX_BYTES);
	job_log_format(m, v, &line);
	log_as("amavis", LOG_LV_INFO, "(%ld-%llu) %s, %llu ms", (long)getpid(), seq, line.p, (unsigned long long)ms);
	buf_fini(&line);
}
