/* Results of searches, written in pieces: a response may name hundreds of thousands of messages. */
#include "results.h"

#include "base/num.h"
#include "imap/out.h"

enum { PIECE = 1000 };

int results_init(struct results *r, struct arena *a, size_t room, bool scores, bool modseqs, struct err *e)
{
	*r = (struct results){ .cap = room, .a = a };
	r->v = ARENA_ARRAY(a, uint32_t, room + 1);
	r->scores = scores ? ARENA_ARRAY(a, uint8_t, room + 1) : NULL;
	r->modseqs = modseqs ? ARENA_ARRAY(a, uint64_t, room + 1) : NULL;
	if (!r->v || (scores && !r->scores) || (modseqs && !r->modseqs))
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	return 0;
}

/* A command's arena has no maximum: it does not fail. */
static void *larger(struct arena *a, const void *v, size_t n, size_t room, size_t size)
{
	void *const more = v ? arena_array(a, room + 1, size) : NULL;

	if (v)
		memcpy(more, v, n * size);
	return more;
}

static void grow(struct results *r)
{
	r->cap = r->cap * 2 + RESULTS_FEW;
	r->v = larger(r->a, r->v, r->n, r->cap, sizeof(*r->v));
	r->scores = larger(r->a, r->scores, r->n, r->cap, sizeof(*r->scores));
	r->modseqs = larger(r->a, r->modseqs, r->n, r->cap, sizeof(*r->modseqs));
}

void results_add(struct results *r, uint32_t number, unsigned score, uint64_t modseq)
{
	if (r->n == r->cap)
		grow(r);
	r->v[r->n] = number;
	if (r->scores)
		r->scores[r->n] = (uint8_t)score;
	if (r->modseqs)
		r->modseqs[r->n] = modseq;
	r->n++;
}

uint32_t results_from(const uint32_t *v, size_t n, uint32_t seq)
{
	const size_t at = u32_lower(v, n, seq);

	return at < n ? v[at] : 0;
}

int results_permute(struct results *r, struct arena *a, const uint32_t *order, struct err *e)
{
	const struct results old = *r;

	if (results_init(r, a, old.n, old.scores, old.modseqs, e) < 0)
		return -1;
	for (size_t i = 0; i < old.n; i++)
		results_add(r, old.v[order[i]], old.scores ? old.scores[order[i]] : 0, old.modseqs ? old.modseqs[order[i]] : 0);
	return 0;
}

/* --- the plain response --- */

static uint64_t highest(const struct results *r, size_t from, size_t to)
{
	uint64_t most = 0;

	for (size_t i = from; i < to; i++)
		most = r->modseqs[i] > most ? r->modseqs[i] : most;
	return most;
}

static bool plain_step(struct client *c, struct answer *a)
{
	const struct results *r = a->r;
	struct buf *out = resp(c);

	if (a->phase == 0) {
		buf_printf(out, "* %s", a->verb);
		a->phase = 1;
	}
	for (unsigned n = 0; n < PIECE && a->at < r->n; n++) {
		buf_ch(out, ' ');
		buf_u64(out, r->v[a->at++]);
	}
	if (a->at < r->n)
		return false;
	if (r->modseqs && r->n)
		buf_printf(out, " (MODSEQ %llu)", (unsigned long long)highest(r, 0, r->n));
	buf_c(out, "\r\n");
	return true;
}

/* --- ESEARCH --- */

enum { PH_BEGIN, PH_ALL, PH_PARTIAL, PH_PARTIAL_LIST, PH_RELEVANCY, PH_RELEVANCY_LIST, PH_END };

static void begin(struct client *c, struct answer *a)
{
	const struct results *r = a->r;
	struct buf *out = resp(c);

	buf_c(out, "* ESEARCH (TAG ");
	imap_put_string(out, c->run.tag);
	buf_str(out, a->correlator);
	buf_c(out, a->uid ? ") UID" : ")");
	if ((a->ret.what & IMAP_RETURN_MIN) && r->n)
		buf_printf(out, " MIN %u", r->v[0]);
	if ((a->ret.what & IMAP_RETURN_MAX) && r->n)
		buf_printf(out, " MAX %u", r->v[r->n - 1]);
	if (a->ret.what & IMAP_RETURN_COUNT)
		buf_printf(out, " COUNT %zu", r->n);
}

/* Ascending runs of a->r->v up to a->to, as a sequence set. True: all. */
static bool set_step(struct buf *out, struct answer *a)
{
	const uint32_t *v = a->r->v;

	for (unsigned n = 0; n < PIECE && a->at < a->to; n++) {
		const size_t from = a->at++;

		while (a->at < a->to && v[a->at] == v[a->at - 1] + 1)
			a->at++;
		if (!a->first)
			buf_ch(out, ',');
		a->first = false;
		buf_u64(out, v[from]);
		if (a->at - from > 1)
			buf_printf(out, ":%u", v[a->at - 1]);
	}
	return a->at == a->to;
}

static void set_begin(struct answer *a, size_t from, size_t to, unsigned phase)
{
	a->at = from;
	a->to = to;
	a->first = true;
	a->phase = phase;
}

static void partial_begin(struct buf *out, struct answer *a)
{
	const struct imap_partial *p = &a->ret.partial;
	size_t from, to;
	/* As asked, but for the order: the smaller distance first. */
	const bool swap = p->lo < 0;

	imap_partial_resolve(p, a->r->n, &from, &to);
	buf_printf(out, " PARTIAL (%lld:%lld ", (long long)(swap ? p->hi : p->lo), (long long)(swap ? p->lo : p->hi));
	if (from == to)
		buf_c(out, "NIL");
	set_begin(a, from, to, PH_PARTIAL_LIST);
}

/* Of the messages that the answer names (RFC 4731 3.2). */
static uint64_t answer_modseq(const struct answer *a)
{
	const struct results *r = a->r;
	const unsigned what = a->ret.what;
	size_t from = 0, to = 0;

	if (what & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT))
		return highest(r, 0, r->n);
	if (what & IMAP_RETURN_PARTIAL)
		imap_partial_resolve(&a->ret.partial, r->n, &from, &to);
	const uint64_t min = what & IMAP_RETURN_MIN ? r->modseqs[0] : 0, max = what & IMAP_RETURN_MAX ? r->modseqs[r->n - 1] : 0;
	const uint64_t most = min > max ? min : max, part = highest(r, from, to);

	return part > most ? part : most;
}

static void scores_step(struct buf *out, struct answer *a)
{
	for (unsigned n = 0; n < PIECE && a->at < a->to; n++) {
		if (!a->first)
			buf_ch(out, ' ');
		a->first = false;
		buf_u64(out, a->r->scores[a->at++]);
	}
	if (a->at < a->to)
		return;
	buf_ch(out, ')');
	a->phase = PH_END;
}

static bool end(struct buf *out, const struct answer *a)
{
	const uint64_t modseq = a->r->modseqs && a->r->n ? answer_modseq(a) : 0;

	if (modseq)
		buf_printf(out, " MODSEQ %llu", (unsigned long long)modseq);
	buf_c(out, "\r\n");
	return true;
}

static bool esearch_step(struct client *c, struct answer *a)
{
	struct buf *out = resp(c);

	switch (a->phase) {
	case PH_BEGIN:
		begin(c, a);
		if ((a->ret.what & IMAP_RETURN_ALL) && a->r->n) {
			buf_c(out, " ALL ");
			set_begin(a, 0, a->r->n, PH_ALL);
		} else {
			a->phase = PH_PARTIAL;
		}
		return false;
	case PH_ALL:
		if (set_step(out, a))
			a->phase = PH_PARTIAL;
		return false;
	case PH_PARTIAL:
		if (a->ret.what & IMAP_RETURN_PARTIAL)
			partial_begin(out, a);
		else
			a->phase = PH_RELEVANCY;
		return false;
	case PH_PARTIAL_LIST:
		if (!set_step(out, a))
			return false;
		buf_ch(out, ')');
		a->phase = PH_RELEVANCY;
		return false;
	case PH_RELEVANCY:
		a->phase = PH_END;
		if ((a->ret.what & IMAP_RETURN_RELEVANCY) && a->r->scores && a->r->n) {
			buf_c(out, " RELEVANCY (");
			set_begin(a, 0, a->r->n, PH_RELEVANCY_LIST);
			if (a->ret.what & IMAP_RETURN_PARTIAL)
				imap_partial_resolve(&a->ret.partial, a->r->n, &a->at, &a->to);
		}
		return false;
	case PH_RELEVANCY_LIST:
		scores_step(out, a);
		return false;
	default:
		return end(out, a);
	}
}

bool answer_step(struct client *c, struct answer *a)
{
	return a->ret.given ? esearch_step(c, a) : plain_step(c, a);
}
