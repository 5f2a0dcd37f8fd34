/* Notifications: what failed, or is late, is told to the sender (dsn.c has the words). A notification has the null sender and is never answered by another; one that cannot
 * be delivered goes to postmaster where notify_classes asks for it (2bounce). */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/dsn.h"
#include "deliver/queued.h"
#include "log/log.h"
#include "os/os.h"

enum { DSN_MAX = 16 << 20 };

struct bounce {
	char qid[SPOOL_QID_MAX + 1];
	bool delayed, postmaster;
	bounced_fn *fn;
	void *ctx;
};

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	struct bounce *b = ctx;

	if (qid.n > 0)
		log_as(log_ident("bounce"), LOG_LV_INFO, "%s: %s: %.*s", b->qid,
		       b->postmaster ? "postmaster non-delivery notification" : b->delayed ? "sender delay notification" : "sender non-delivery notification",
		       STR_ARG(qid));
	else if (permanent)
		log_as(log_ident("bounce"), LOG_LV_WARNING, "%s: undeliverable notification discarded", b->qid);
	b->fn(b->ctx, qid.n > 0 || permanent);
	free(b);
}

static bool notify(const struct conf *c, const char *class)
{
	for (size_t i = 0; i < c->notify_classes.n; i++)
		if (str_case_eq(str_c(c->notify_classes.v[i]), str_c(class)))
			return true;
	return false;
}

static size_t collect(const struct spool_msg *m, const bool *pick, struct arena *a, struct dsn_rcpt **out)
{
	struct dsn_rcpt *v = ARENA_ARRAY(a, struct dsn_rcpt, m->n_rcpts);
	size_t n = 0;

	for (size_t i = 0; i < m->n_rcpts; i++)
		if (pick[i]) {
			const struct spool_rcpt *r = &m->rcpts[i];
			v[n++] = (struct dsn_rcpt){ .address = spool_rcpt_shown(r), .original = r->original, .enhanced = r->enhanced, .text = r->text, .relay = r->relay };
		}
	*out = v;
	return n;
}

static struct str read_original(const struct spool_msg *m, int fd, struct arena *a, bool *whole)
{
	const size_t n = m->size < DSN_ORIGINAL_MAX + 1 ? (size_t)m->size : DSN_ORIGINAL_MAX + 1;
	char *p = arena_alloc(a, n + 1);
	struct err e = { 0 };

	*whole = n == m->size;
	if (n > 0 && pread_all(fd, p, n, 0, &e) < 0) {
		log_warning("%.*s: %s", STR_ARG(m->qid), e.text);
		return STR("");
	}
	return str_n(p, n);
}

void bounce_send(struct queued *q, bool delayed, const struct spool_msg *m, const bool *pick, int content_fd, bounced_fn *fn, void *ctx)
{
	struct arena *a = arena_new(0);
	struct bounce *b = xzalloc(sizeof(*b));
	struct post_request r = { .sender = STR(""), .flags = SPOOL_F_BOUNCE };
	struct dsn_rcpt *rcpts;
	char qid[SPOOL_QID_MAX + 1];
	struct err e = { 0 };

	spool_qid_new(qid);
	b->postmaster = m->sender.n == 0;
	const struct str to = b->postmaster ? STR("postmaster") : m->sender;
	struct dsn d = {
		.kind = delayed ? DSN_DELAYED : DSN_FAILED, .hostname = q->conf->myhostname, .mail_name = q->conf->mail_name, .qid = m->qid, .bounce_qid = str_c(qid),
		.sender = to, .arrived = (int64_t)(m->arrived_us / 1000000), .now = clock_wall(),
		.retry_until = (int64_t)(m->arrived_us / 1000000 + q->conf->maximal_queue_lifetime),
	};
	d.n_rcpts = collect(m, pick, a, &rcpts);
	d.rcpts = rcpts;
	d.original = read_original(m, content_fd, a, &d.original_whole);
	buf_init(&r.content, DSN_MAX);
	const bool wanted = !b->postmaster || (!delayed && !(m->flags & SPOOL_F_BOUNCE && str_case_eq(m->rcpts[0].original, STR("postmaster"))) &&
					       notify(q->conf, "2bounce"));
	if (!wanted || d.n_rcpts == 0 || dsn_format(&d, &r.content, &e) < 0) {
		if (e.code)
			log_error("%.*s: %s", STR_ARG(m->qid), e.text);
		buf_fini(&r.content);
		free(b);
		fn(ctx, true);	/* nobody is to be told */
	} else {
		snprintf(b->qid, sizeof(b->qid), "%.*s", STR_ARG(m->qid));
		b->delayed = delayed;
		b->fn = fn;
		b->ctx = ctx;
		r.qid = str_c(qid);
		r.message_id = str_c(arena_printf(a, "<%s@%s>", qid, q->conf->myhostname));
		r.to = &to;
		r.n_to = 1;
		post(q, &r, on_posted, b);
	}
	arena_free(&a);
}
