/* Notifications (dsn.c has the words): what failed, or is late, or has arrived, is told to the sender as he asked for it (RFC 3461 6). A notification has the null sender and
 * is never answered by another; one that cannot be delivered goes to 2bounce_notice_recipient where notify_classes asks for it, from double_bounce_sender, and what cannot be
 * delivered then is dropped. Postmaster gets copies, with the header alone, of bounces and delay warnings where notify_classes says so. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/dsn.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"

enum { DSN_MAX = 256 << 20, HEAD_READ = 65536 };

struct bounce {
	char qid[SPOOL_QID_MAX + 1];
	enum dsn_kind kind;
	bool postmaster;
	bounced_fn *fn;		/* NULL: nobody waits */
	void *ctx;
};

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	static const char *const words[] = { [DSN_FAILED] = "non-delivery", [DSN_DELAYED] = "delay", [DSN_SUCCESS] = "delivery status" };
	struct bounce *b = ctx;

	if (qid.n > 0)
		log_as(log_ident("bounce"), LOG_LV_INFO, "%s: %s %s notification: %.*s", b->qid, b->postmaster ? "postmaster" : "sender", words[b->kind], STR_ARG(qid));
	else if (permanent)
		log_as(log_ident("bounce"), LOG_LV_WARNING, "%s: undeliverable notification discarded", b->qid);
	if (b->fn)
		b->fn(b->ctx, qid.n > 0 || permanent);
	free(b);
}

bool notify_wanted(const struct conf *c, const char *class)
{
	for (size_t i = 0; i < c->notify_classes.n; i++)
		if (str_case_eq(str_c(c->notify_classes.v[i]), str_c(class)))
			return true;
	return false;
}

/* NOTIFY= (RFC 3461 4.1): not given means failures and delays. */
static bool wants(const struct spool_rcpt *r, enum dsn_kind kind)
{
	static const uint64_t bits[] = { [DSN_FAILED] = SMTP_NOTIFY_FAILURE, [DSN_DELAYED] = SMTP_NOTIFY_DELAY, [DSN_SUCCESS] = SMTP_NOTIFY_SUCCESS };

	return r->notify == 0 ? kind != DSN_SUCCESS : (r->notify & bits[kind]) != 0;
}

static size_t collect(const struct bounce_request *r, bool all, struct arena *a, struct dsn_rcpt **out)
{
	const struct spool_msg *m = r->m;
	struct dsn_rcpt *v = ARENA_ARRAY(a, struct dsn_rcpt, m->n_rcpts + 1);
	size_t n = 0;

	for (size_t i = 0; i < m->n_rcpts; i++) {
		const struct spool_rcpt *x = &m->rcpts[i];
		if (!r->pick[i] || (!all && !wants(x, r->kind)))
			continue;
		v[n++] = (struct dsn_rcpt){ .address = spool_rcpt_shown(x), .original = x->original, .orcpt = x->orcpt, .enhanced = x->enhanced, .text = x->text,
					    .relay = x->relay, .action = r->actions && r->actions[i] ? r->actions[i] : "delivered" };
	}
	*out = v;
	return n;
}

static struct str read_original(const struct spool_msg *m, int fd, uint64_t max, struct arena *a, bool *whole)
{
	const uint64_t want = (max > HEAD_READ ? max : HEAD_READ) + 1;
	const size_t n = m->size < want ? (size_t)m->size : (size_t)want;
	char *p = arena_alloc(a, n + 1);
	struct err e = { 0 };

	*whole = n == m->size;
	if (p == NULL || (n > 0 && pread_all(fd, p, n, 0, &e) < 0)) {
		log_warning("%.*s: %s", STR_ARG(m->qid), e.code ? e.text : "no memory for the original");
		return STR("");
	}
	return str_n(p, n);
}

/* One notification to to, if anybody there is to be told of anything. True: it is on its way, fn will be called. */
static bool send_one(struct queued *q, const struct bounce_request *r, struct str to, bool postmaster, bounced_fn *fn, void *ctx)
{
	struct arena *a = arena_new(0);
	const struct spool_msg *m = r->m;
	struct dsn_rcpt *rcpts;
	char qid[SPOOL_QID_MAX + 1];
	struct err e = { 0 };

	spool_qid_new(qid);
	const bool is_ascii = ascii_plain(to) == to.n;	/* else its own To: is not either; the parts within need 8BITMIME alone */
	const char *const double_bounce = arena_printf(a, "%s@%s", q->conf->double_bounce_sender, q->conf->myorigin);
	struct post_request p = { .sender = postmaster ? str_c(double_bounce) : STR(""), .flags = SPOOL_F_BOUNCE | (is_ascii ? 0 : SPOOL_F_SMTPUTF8),
				  .qid = str_c(qid), .to = &to, .n_to = 1,
				  .message_id = str_c(arena_printf(a, "<%s@%s>", qid, q->conf->myhostname)) };
	const uint64_t lifetime = m->sender.n > 0 ? q->conf->maximal_queue_lifetime : q->conf->bounce_queue_lifetime;
	struct dsn d = {
		.kind = r->kind, .hostname = q->conf->myhostname, .mail_name = q->conf->mail_name, .qid = m->qid, .bounce_qid = str_c(qid), .sender = m->sender, .to = to,
		.envid = m->envid, .utf8 = (m->flags & SPOOL_F_SMTPUTF8) != 0, .postmaster = postmaster,
		.head_only = postmaster || m->ret == SMTP_RET_HDRS, .original_max = q->conf->bounce_size_limit,
		.arrived = (int64_t)(m->arrived_us / 1000000), .now = clock_wall(), .retry_until = (int64_t)(m->arrived_us / 1000000 + lifetime),
	};
	d.n_rcpts = collect(r, postmaster, a, &rcpts);
	d.rcpts = rcpts;
	bool sent = d.n_rcpts > 0;
	if (sent) {
		d.original = read_original(m, r->fd, d.original_max, a, &d.original_whole);
		buf_init(&p.content, DSN_MAX);
		if (dsn_format(&d, &p.content, &e) < 0) {
			log_error("%.*s: %s", STR_ARG(m->qid), e.text);
			buf_fini(&p.content);
			sent = false;
		}
	}
	if (sent) {
		struct bounce *b = xzalloc(sizeof(*b));
		*b = (struct bounce){ .kind = r->kind, .postmaster = postmaster, .fn = fn, .ctx = ctx };
		snprintf(b->qid, sizeof(b->qid), "%.*s", STR_ARG(m->qid));
		post(q, &p, on_posted, b);
	}
	arena_free(&a);
	return sent;
}

/* Mail of ours that must never be answered: from double_bounce_sender. */
static bool is_double_bounce(const struct queued *q, const struct spool_msg *m)
{
	const ptrdiff_t at = str_rchr(m->sender, '@');

	return (m->flags & SPOOL_F_BOUNCE) && at >= 0 && str_case_eq(str_sub(m->sender, 0, (size_t)at), str_c(q->conf->double_bounce_sender));
}

static void copy_to_postmaster(struct queued *q, const struct bounce_request *r)
{
	const struct conf *c = q->conf;

	if (r->kind == DSN_FAILED && notify_wanted(c, "bounce"))
		(void)send_one(q, r, str_c(c->bounce_notice_recipient), true, NULL, NULL);
	else if (r->kind == DSN_DELAYED && notify_wanted(c, "delay"))
		(void)send_one(q, r, str_c(c->delay_notice_recipient), true, NULL, NULL);
}

void bounce_send(struct queued *q, const struct bounce_request *r, bounced_fn *fn, void *ctx)
{
	const struct conf *c = q->conf;
	const struct spool_msg *m = r->m;
	bool sent = false;

	if (is_double_bounce(q, m)) {
		log_as(log_ident("bounce"), LOG_LV_WARNING, "%.*s: undeliverable postmaster notification discarded", STR_ARG(m->qid));
	} else if (m->sender.n > 0) {
		copy_to_postmaster(q, r);
		sent = send_one(q, r, m->sender, false, fn, ctx);
	} else if (r->kind == DSN_FAILED && (notify_wanted(c, "2bounce") || notify_wanted(c, "bounce"))) {
		sent = send_one(q, r, str_c(conf_digit(c, 2bounce_notice_recipient)), true, fn, ctx);
	}
	if (!sent && fn)
		fn(ctx, true);	/* nobody is to be told */
}
