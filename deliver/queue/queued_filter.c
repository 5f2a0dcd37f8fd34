/* Questions to filterd: is this message good? Its socket lies outside of the spool: the connector opens it, on demand, and again after filterd was restarted. */
#include <stdlib.h>

#include "deliver/queue/queued_ask.h"
#include "ipc/link.h"
#include "log/log.h"
#include "os/os.h"

enum { OUTCOMES_BYTES_MAX = 16 << 20 };

struct filter {
	struct ipc_chan *chan, *link;
	bool linking;
	struct list waiting, pending;
};

/* Everything is there. */
static void verdict_done(struct ask *a, const struct filter_outcomes *o)
{
	struct arena *of_o = a->arena;
	scanned_fn *fn = a->scanned;
	void *fn_ctx = a->ctx;

	a->arena = NULL;
	ask_free(a);
	fn(fn_ctx, o);
	arena_free(&of_o);
}

static void on_count(struct ask *a, const struct ipc_filter_COUNT *m)
{
	counted_fn *fn = a->counted;
	void *fn_ctx = a->ctx;

	ask_free(a);
	fn(fn_ctx, m->lists);
}

static void on_verdict(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	struct ask *a = ask_find(&q->filter->pending, id);
	const struct ipc_filter_VERDICT *v = msg;
	struct filter_outcomes alone = { .n = 0 };
	struct err e = { 0 };

	close_fd(&fd);
	if (a == NULL || (type == IPC_filter_COUNT) != (a->kind == ASK_LISTS))
		return;
	if (type == IPC_filter_COUNT) {
		on_count(a, msg);
		return;
	}
	if (v->more && a->arena == NULL) {
		a->arena = arena_new(OUTCOMES_BYTES_MAX);
		a->outcomes = ARENA_NEW(a->arena, struct filter_outcomes);
	}
	struct filter_outcomes *o = a->arena ? a->outcomes : &alone;
	const int r = filter_outcomes_add(o, a->arena, a->scan.recipients.n, v, &e);
	if (r == 0) {
		verdict_done(a, o);
	} else if (r < 0) {
		log_warning("filterd: %s", e.text);
		ask_answer_none(a);
	}
}

static void on_filter_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;

	log_warning("filterd: %s", why->text);
	ipc_chan_free(&q->filter->chan);
	ask_fail_all(&q->filter->pending);
}

static void filter_send(struct queued *q, struct ask *a)
{
	const bool lists = a->kind == ASK_LISTS;
	struct filter *f = q->filter;
	struct err e = { 0 };

	list_del(&a->node);
	list_append(&f->pending, &a->node);
	a->id = ipc_next_id(f->chan);
	if (ipc_send(f->chan, lists ? IPC_filter_LISTS : IPC_filter_SCAN, lists ? (const void *)&a->lists : &a->scan, a->id, a->fd, &e) < 0) {
		log_warning("filterd: %s", e.text);
		ask_fail_later(a);
	}
}

static void on_link(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	static const uint16_t types[] = { IPC_filter_VERDICT, IPC_filter_COUNT };
	struct queued *q = ctx;
	struct filter *f = q->filter;

	f->linking = false;
	if (type == IPC_link_FAILED) {
		const struct ipc_link_FAILED *m = msg;
		log_warning("filterd cannot be reached: %.*s", STR_ARG(m->text));
		ask_fail_all(&f->waiting);
		return;
	}
	f->chan = ipc_chan_new(q->loop, fd, &ipc_filter, on_verdict, on_filter_closed, q);
	ipc_chan_allow(f->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	while (f->chan && !list_empty(&f->waiting))
		filter_send(q, list_of(f->waiting.next, struct ask, node));
}

static void on_link_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;

	log_warning("connector: %s", why->text);
	ipc_chan_free(&q->filter->link);
	q->filter->linking = false;
	ask_fail_all(&q->filter->waiting);
}

void filter_start(struct queued *q, int link_fd)
{
	static const uint16_t types[] = { IPC_link_OPENED, IPC_link_FAILED };

	q->filter = xzalloc(sizeof(*q->filter));
	list_init(&q->filter->waiting);
	list_init(&q->filter->pending);
	q->filter->link = ipc_chan_new(q->loop, link_fd, &ipc_link, on_link, on_link_closed, q);
	ipc_chan_allow(q->filter->link, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

static bool link_ask(struct filter *f)
{
	struct ipc_link_OPEN m = { 0 };
	struct err e = { 0 };

	if (f->linking)
		return true;
	if (f->link == NULL || ipc_send(f->link, IPC_link_OPEN, &m, ipc_next_id(f->link), -1, &e) < 0)
		return false;
	f->linking = true;
	return true;
}

static struct ask *ask_filter(struct ask *a)
{
	struct queued *q = a->q;
	struct filter *f = q->filter;

	list_append(&f->waiting, &a->node);
	if (f->chan)
		filter_send(q, a);
	else if (!link_ask(f))
		ask_fail_later(a);
	return a;
}

struct ask *filter_ask(struct queued *q, const struct ipc_filter_SCAN *m, int fd, scanned_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_FILTER, q->conf->filter_timeout * 1000 + 10000, ctx);

	a->scanned = fn;
	a->scan = *m;
	a->fd = fd;
	return ask_filter(a);
}

struct ask *lists_ask(struct queued *q, const struct ipc_filter_LISTS *m, counted_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_LISTS, QUEUED_ASK_MS, ctx);

	a->counted = fn;
	a->lists = *m;
	a->fd = -1;
	return ask_filter(a);
}
