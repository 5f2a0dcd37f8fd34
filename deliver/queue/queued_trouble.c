/* notify_classes resource, software, policy, protocol, data: error_notice_recipient is told what was refused to whom, and why. A refusal's class follows from its
 * enhanced status; that of content which never gets here from what the front says of it. The first of a class is told at once, what follows in one letter every
 * TELL_EVERY_MS, so that a flood of refusals is no flood of mail. Lines are what the log has, cut and neutralised; letters have double_bounce_sender and are never
 * answered. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "mail/head.h"

enum { TELL_EVERY_MS = 600000, LINES_MAX = 200, LINE_MAX_BYTES = 500, LETTER_MAX = 256 << 10 };

enum class { RESOURCE, SOFTWARE, POLICY, PROTOCOL, DATA, CLASSES };

static const struct class_row {
	const char *word, *what;
} rows[CLASSES] = {
	[RESOURCE] = { "resource", "Mail was not taken for want of room, memory or processes:" },
	[SOFTWARE] = { "software", "Mail was not taken because a part of this system failed:" },
	[POLICY] = { "policy", "Mail was refused by the restrictions of this system:" },
	[PROTOCOL] = { "protocol", "Servers did not keep to the protocol:" },
	[DATA] = { "data", "Clients sent what no message may hold, as who would smuggle a second one past a filter does:" },
};

struct trouble {
	struct queued *q;
	enum class class;
	struct timer *timer;		/* NULL: nothing was told lately */
	struct buf lines;
	size_t n, left_out;
};

struct troubles {
	struct trouble v[CLASSES];
};

/* --- the letter --- */

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	if (qid.n > 0)
		log_as(log_ident("bounce"), LOG_LV_INFO, "postmaster notice of trouble: %.*s", STR_ARG(qid));
	else
		log_warning("a notice of trouble could not be %s", permanent ? "delivered: no such address" : "queued");
}

static void tell(struct trouble *t)
{
	const struct conf *c = t->q->conf;
	const struct str to = str_c(c->error_notice_recipient);
	char qid[SPOOL_QID_MAX + 1], id[SPOOL_QID_MAX + 300], sender[600];
	struct buf b;

	spool_qid_new(qid);
	(void)snprintf(id, sizeof(id), "<%s@%.255s>", qid, c->myhostname);
	(void)snprintf(sender, sizeof(sender), "%.255s@%.255s", c->double_bounce_sender, c->myorigin);
	buf_init(&b, LETTER_MAX);
	buf_printf(&b, "From: MAILER-DAEMON@%s (Mail Delivery System)\nTo: %s\nSubject: %s: errors of class %s\nDate: ", c->myhostname, c->error_notice_recipient, c->mail_name,
		   rows[t->class].word);
	mail_date_format(clock_wall(), 0, &b);
	buf_printf(&b, "\nMessage-Id: %s\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n%s\n\n", id, rows[t->class].what);
	buf_str(&b, buf_view(&t->lines));
	if (t->left_out > 0)
		buf_printf(&b, "\n%zu more are in the log alone.\n", t->left_out);
	buf_c(&b, "\nFurther ones are told together, every ten minutes (notify_classes).\n");
	struct post_request r = { .sender = str_c(sender), .qid = str_c(qid), .message_id = str_c(id), .to = &to, .n_to = 1, .flags = SPOOL_F_BOUNCE, .content = b };
	post(t->q, &r, on_posted, NULL);
}

static void on_timer(void *ctx)
{
	struct trouble *t = ctx;

	if (t->n == 0) {
		timer_del(&t->timer);
		return;
	}
	tell(t);
	buf_reset(&t->lines);
	t->n = t->left_out = 0;
	timer_again(t->timer, TELL_EVERY_MS);
}

/* --- what happens --- */

static void note_line(struct queued *q, enum class class, struct str line)
{
	struct trouble *t;
	char stamp[64];

	if (!notify_wanted(q->conf, rows[class].word))
		return;
	if (q->troubles == NULL)
		q->troubles = xzalloc(sizeof(*q->troubles));
	t = &q->troubles->v[class];
	if (t->q == NULL) {
		*t = (struct trouble){ .q = q, .class = class };
		buf_init(&t->lines, LETTER_MAX / 2);
	}
	if (t->n >= LINES_MAX) {
		t->left_out++;
		return;
	}
	tlsrpt_time_format(clock_wall(), stamp);
	buf_printf(&t->lines, "%s ", stamp);
	text_neutral(&t->lines, line, LINE_MAX_BYTES, false);
	buf_ch(&t->lines, '\n');
	t->n++;
	if (t->timer == NULL)
		t->timer = loop_timer(q->loop, 0, on_timer, t);
}

/* -1: a class that nobody is told of: a wrong address, a greylisted try, a lost client. */
static int class_of(struct str enhanced)
{
	static const struct { const char *status; enum class class; } table[] = {
		{ "3.0", SOFTWARE }, { "3.5", SOFTWARE }, { "3.1", RESOURCE }, { "1.7", POLICY }, { "1.8", POLICY },
	};
	const struct str status = enhanced.n > 2 ? str_from(enhanced, 2) : STR("");

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (str_eq(status, str_c(table[i].status)))
			return (int)table[i].class;
	return str_starts(status, STR("7.")) ? POLICY : -1;
}

void trouble_refused(const struct conn_entry *c, uint64_t code, const char *enhanced, struct str text)
{
	const int class = code >= 400 ? class_of(str_c(enhanced)) : -1;
	char line[1200];

	if (class < 0)
		return;
	(void)snprintf(line, sizeof(line), "%.255s[%s] %s: %llu %s %.*s", c->name[0] ? c->name : "unknown", c->client, c->trans ? trans_id(c->trans) : "NOQUEUE",
		       (unsigned long long)code, enhanced, STR_ARG(str_sub(text, 0, 400)));
	note_line(c->q, (enum class)class, str_c(line));
}

void trouble_data(const struct conn_entry *c, struct str what)
{
	char line[600];

	if (what.n == 0)
		return;
	(void)snprintf(line, sizeof(line), "%.255s[%s] %s: %.*s", c->name[0] ? c->name : "unknown", c->client, c->trans ? trans_id(c->trans) : "NOQUEUE", STR_ARG(what));
	note_line(c->q, DATA, str_c(line));
}

void trouble_protocol(struct queued *q, struct str text)
{
	note_line(q, PROTOCOL, text);
}
