/* Messages that queued itself makes: notifications and forwarded copies. They are ordinary queue messages, durable before anybody is told that they exist. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"

struct posting {
	struct queued *q;
	struct arena *arena;
	struct spool_msg *m;
	struct buf content;
	struct str *to;
	size_t n_to, next;
	uint64_t notify;	/* of each recipient */
	struct str orcpt;	/* of each but a list's, whose owner knows its members by their own addresses */
	bool no_answer, forwarded;
	char signing[SPOOL_QID_MAX + 1];	/* the file that filterd reads */
	int fd;
	posted_fn *fn;
	void *ctx;
};

static void resolve_next(struct posting *p);
static void write_it(struct posting *p);

static void finish(struct posting *p, struct str qid, bool permanent)
{
	struct arena *a = p->arena;

	p->fn(p->ctx, qid, permanent);
	buf_fini(&p->content);
	arena_free(&a);
}

static void on_synced(void *ctx, int error)
{
	struct posting *p = ctx;

	if (error) {
		log_error("%.*s: sync of the queue file failed (errno %d)", STR_ARG(p->m->qid), error);
		spool_remove(p->q->spool, p->m->qid, p->m->size);
		finish(p, STR(""), false);
		return;
	}
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%.*s: message-id=%.*s", STR_ARG(p->m->qid), STR_ARG(p->m->message_id));
	sched_add(p->q, p->m, false);
	finish(p, p->m->qid, false);
}

/* A bounce without a signature is better than none: what cannot be signed is told and goes as it is. */
static void add_signatures(struct posting *p, const struct ipc_filter_VERDICT *v)
{
	struct str *edits = ARENA_ARRAY(p->arena, struct str, p->m->n_edits + (v ? v->edits.n : 0) + 1);

	if (v == NULL || !str_eq(v->action, STR("accept")) || p->m->n_edits + v->edits.n > SPOOL_EDITS_MAX) {
		log_warning("%.*s: not signed: %.*s", STR_ARG(p->m->qid), STR_ARG(v ? v->log : STR("filterd is not available")));
		return;
	}
	for (size_t i = 0; i < p->m->n_edits; i++)
		edits[i] = p->m->edits[i];
	for (size_t i = 0; i < v->edits.n; i++)
		edits[p->m->n_edits + i] = arena_str(p->arena, v->edits.v[i]);
	p->m->edits = edits;
	p->m->n_edits += v->edits.n;
}

static void on_signed(void *ctx, const struct filter_outcomes *o)
{
	struct posting *p = ctx;

	close_fd(&p->fd);
	spool_discard(p->q->spool, str_c(p->signing));
	add_signatures(p, o && o->n == 1 ? o->v[0] : NULL);
	write_it(p);
}

/* filterd reads it from a file that is gone again before the message is written. */
static void sign_it(struct posting *p)
{
	const struct ipc_filter_SCAN m = {
		.qid = p->m->qid, .sender = p->m->sender, .client = STR("local"), .size = p->m->size, .own = 1, .sign = SIGN_ONLY | (p->forwarded ? SIGN_ARC : SIGN_DKIM),
		.recipients = { p->to, p->n_to < IPC_STRS_MAX ? p->n_to : IPC_STRS_MAX }, .edits = { p->m->edits, p->m->n_edits },
	};
	struct err e = { 0 };
	int wfd = -1;

	spool_qid_new(p->signing);
	if (!p->q->conf->filter_enable || p->m->n_rcpts == 0) {
		write_it(p);
		return;
	}
	int r = spool_receive(p->q->spool, str_c(p->signing), p->content.n, &wfd, &p->fd, &e);
	if (r == 0)
		r = write_all(wfd, p->content.p, p->content.n, &e);
	close_fd(&wfd);
	if (r == 0) {
		(void)filter_ask(p->q, &m, p->fd, on_signed, p);
		return;
	}
	log_error("%.*s: %s", STR_ARG(p->m->qid), e.text);
	on_signed(p, NULL);
}

static void write_it(struct posting *p)
{
	struct err e = { 0 };
	int fd = -1;

	if (p->m->n_rcpts == 0) {
		finish(p, STR(""), !p->no_answer);
	} else if (spool_write(p->q->spool, p->m, buf_view(&p->content), &fd, &e) < 0) {
		log_error("%s", e.text);
		finish(p, STR(""), false);
	} else {
		buf_reset(&p->content);
		sync_submit(p->q->sync, fd, on_synced, p);
	}
}

static void on_resolved(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct posting *p = ctx;
	const struct str asked = p->to[p->next++];

	if (r == NULL || str_eq(r->class, STR("error")))
		p->no_answer = true;
	for (size_t i = 0; r && !str_eq(r->class, STR("unknown")) && i < r->kinds.n; i++) {
		struct spool_rcpt *x = spool_msg_add(p->arena, p->m);
		if (x == NULL)
			break;
		x->kind = arena_str(p->arena, r->kinds.v[i]);
		x->address = arena_str(p->arena, r->addresses.v[i]);
		x->user = arena_str(p->arena, r->users.v[i]);
		x->extension = arena_str(p->arena, r->extensions.v[i]);
		x->original = asked;
		x->sender = p->m->sender.n > 0 ? arena_str(p->arena, resolved_owner(r, i)) : STR("");
		x->notify = p->notify;
		x->orcpt = x->sender.n > 0 ? STR("") : p->orcpt;
	}
	resolve_next(p);
}

static void resolve_next(struct posting *p)
{
	if (p->next == p->n_to)
		sign_it(p);
	else
		(void)resolve_ask(p->q, p->to[p->next], on_resolved, p);
}

static struct str *copy_strs(struct arena *a, const struct str *v, size_t n)
{
	struct str *out = ARENA_ARRAY(a, struct str, n + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = arena_str(a, v[i]);
	return out;
}

void post(struct queued *q, struct post_request *r, posted_fn *fn, void *ctx)
{
	struct arena *a = arena_new(0);
	struct posting *p = ARENA_NEW(a, struct posting);
	char qid[SPOOL_QID_MAX + 1];

	spool_qid_new(qid);
	p->q = q;
	p->arena = a;
	p->fn = fn;
	p->ctx = ctx;
	p->fd = -1;
	p->forwarded = (r->flags & SPOOL_F_FORWARDED) != 0;
	p->content = r->content;
	p->to = copy_strs(a, r->to, r->n_to);
	p->n_to = r->n_to;
	p->m = ARENA_NEW(a, struct spool_msg);
	p->m->qid = arena_str(a, r->qid.n > 0 ? r->qid : str_c(qid));
	p->m->size = p->content.n;
	p->m->arrived_us = clock_wall_us();
	p->m->flags = r->flags;
	p->m->sender = arena_str(a, r->sender);
	p->m->message_id = arena_str(a, r->message_id);
	p->m->body = arena_str(a, r->body);
	p->m->envid = arena_str(a, r->envid);
	p->m->ret = r->ret;
	p->notify = r->notify;
	p->orcpt = arena_str(a, r->orcpt);
	p->m->edits = copy_strs(a, r->edits, r->n_edits);
	p->m->n_edits = r->n_edits;
	resolve_next(p);
}
