/* What filterd found is told to the administrator who wants to know (virus_admin and the like): a message of ours with the facts of the envelope and the
 * header section of what was found. It has the null sender, and is not answered. */
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "os/os.h"

enum { NOTICE_MAX = 256 << 10, HEAD_SHOWN_MAX = 64 << 10, RECIPIENTS_SHOWN_MAX = 50 };

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	if (qid.n > 0)
		log_info("filter notification: %.*s", STR_ARG(qid));
	else
		log_warning("a filter notification could not be %s", permanent ? "delivered: no such address" : "queued");
}

static void line(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s: ", name);
	text_neutral(b, value, 500, false);
	buf_ch(b, '\n');
}

static void put_head(const struct trans *t, struct buf *b)
{
	const size_t n = t->size < HEAD_SHOWN_MAX ? (size_t)t->size : (size_t)HEAD_SHOWN_MAX;
	char *p = arena_alloc(t->arena, n + 1);
	struct err e = { 0 };
	size_t head_n = 0, body = 0;

	if (p == NULL || pread_all(t->fd, p, n, 0, &e) < 0 || mail_head_find(str_n(p, n), true, &head_n, &body) < 0)
		return;
	buf_c(b, "\nIts header section:\n------------------------- BEGIN HEADERS -----------------------------\n");
	for (struct str rest = str_n(p, head_n); rest.p != NULL;) {
		text_neutral(b, str_split(&rest, '\n'), 1000, false);
		buf_ch(b, '\n');
	}
	buf_c(b, "-------------------------- END HEADERS ------------------------------\n");
}

static void put_text(const struct trans *t, const struct ipc_filter_VERDICT *v, struct str kept, struct buf *b)
{
	const bool passed = str_eq(v->action, STR("accept"));

	buf_c(b, passed ? "A message was delivered although the filter found this in it:\n\n" : "A message was kept from its recipients:\n\n");
	line(b, "Found", v->log);
	line(b, "Action", v->action);
	line(b, "Client", str_c(t->conn->client));
	line(b, "Sender", t->sender.n > 0 ? t->sender : STR("<>"));
	for (size_t i = 0, n = 0; i < t->n_finals && n < RECIPIENTS_SHOWN_MAX; i++)
		if (filter_outcome_has(v, t->finals[i].row)) {
			line(b, "Recipient", t->finals[i].address);
			n++;
		}
	line(b, "Message-ID", v->message_id);
	line(b, "Queue-ID", trans_qid(t));
	if (kept.n > 0)
		buf_printf(b, "\nIt lies in quarantine: postern quarantine show|release|delete %.*s\n", STR_ARG(kept));
	put_head(t, b);
}

void notice_send(struct trans *t, const struct ipc_filter_VERDICT *v, struct str kept)
{
	const struct conf *c = t->conf;
	struct buf b;

	if (v->notify.n == 0)
		return;
	buf_init(&b, NOTICE_MAX);
	buf_printf(&b, "From: Mail filter <MAILER-DAEMON@%s>\nTo: ", c->myhostname);
	text_neutral(&b, v->notify, 320, true);
	buf_c(&b, "\nSubject: ");
	text_neutral(&b, v->log, 150, true);
	buf_printf(&b, " in mail FROM [%s] <", t->conn->client);
	text_neutral(&b, t->sender, 200, true);
	buf_c(&b, ">\nDate: ");
	mail_date_format(clock_wall(), 0, &b);
	const char *id = arena_printf(t->arena, "<filter.%s@%s>", t->qid, c->myhostname);
	buf_printf(&b, "\nMessage-ID: %s\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n", id);
	put_text(t, v, kept, &b);
	if (buf_failed(&b)) {
		log_warning("%s: the filter notification is too long", t->qid);
		buf_fini(&b);
		return;
	}
	struct post_request r = { .sender = STR(""), .message_id = str_c(id), .to = &v->notify, .n_to = 1, .flags = SPOOL_F_BOUNCE, .content = b };
	post(t->q, &r, on_posted, NULL);
}
