/* Threads. A node is a message, or stands for one that is referred to but is not here (number 0). Nodes are numbers in one array, 0 is none: first those
 * of all ids, then those of messages without one and of what is made on the way; children are lists. After the last message the tree goes through phases,
 * each in pieces: prune, (merge by subject), sort what lies below, sort the roots (thread_order.c).
 *
 * RFC 5256 section 3, REFERENCES, in its steps: 1 link (imap_thread_add), 2 and 3 roots and pruning, 4 sort the roots, 5 gather by subject, 6 sort all. */
#include "imap/thread.h"

#include <string.h>

#include "imap/thread_priv.h"

const char *const imap_thread_names[IMAP_THREAD_MAX_] = {
#define THREAD_ALG(id, name, source) [IMAP_THREAD_##id] = name,
#include "imap/thread.def"
#undef THREAD_ALG
};

struct imap_thread *imap_thread_new(struct arena *a, enum imap_thread_alg alg, size_t messages_max, uint32_t ids, uint32_t subjects)
{
	struct imap_thread *t = ARENA_NEW(a, struct imap_thread);

	t->a = a;
	t->alg = alg;
	t->ids = alg == IMAP_THREAD_ORDEREDSUBJECT ? 0 : ids;
	t->subjects = subjects < SUBJECT_MAX ? subjects : SUBJECT_MAX;
	t->n = (size_t)t->ids + 1;
	t->cap = t->n + (t->ids ? messages_max / 8 : messages_max) + 64;
	t->own = arena_new_large();
	t->v = ARENA_ARRAY(t->own, struct node, t->cap);
	t->by_subject = ARENA_ARRAY(t->own, uint32_t, (size_t)t->subjects + 1);
	return t;
}

void imap_thread_free(struct imap_thread **tp)
{
	struct imap_thread *t = *tp;

	*tp = NULL;
	if (t)
		arena_free(&t->own);
}

/* --- adding --- */

static uint32_t node_new(struct imap_thread *t)
{
	if (t->n == t->cap) {
		struct node *const v = ARENA_ARRAY(t->own, struct node, t->cap * 2);

		memcpy(v, t->v, t->n * sizeof(*v));
		t->v = v;
		t->cap *= 2;
	}
	t->v[t->n] = (struct node){ 0 };
	return (uint32_t)t->n++;
}

static uint32_t node_of_id(const struct imap_thread *t, uint32_t id)
{
	return id <= t->ids ? id : 0;
}

static bool is_above(const struct imap_thread *t, uint32_t who, uint32_t of)
{
	unsigned n = 0;

	for (; of; of = t->v[of].parent) {
		if (of == who || n++ == IMAP_THREAD_UP_MAX)
			return true;
	}
	return false;
}

static void adopt(struct imap_thread *t, uint32_t parent, uint32_t child)
{
	t->v[child].parent = parent;
	t->v[child].next = t->v[parent].child;
	t->v[child].prev = 0;
	if (t->v[child].next)
		t->v[t->v[child].next].prev = child;
	t->v[parent].child = child;
}

static void orphan(struct imap_thread *t, uint32_t child)
{
	const struct node *c = &t->v[child];

	if (c->prev)
		t->v[c->prev].next = c->next;
	else
		t->v[c->parent].child = c->next;
	if (c->next)
		t->v[c->next].prev = c->prev;
	t->v[child].parent = t->v[child].next = t->v[child].prev = 0;
}

/* A node without children cannot be above anything. */
static bool may_link(const struct imap_thread *t, uint32_t parent, uint32_t child)
{
	return parent != child && (!t->v[child].child || !is_above(t, child, parent));
}

static uint32_t link_references(struct imap_thread *t, const struct imap_thread_msg *m)
{
	const size_t from = m->n_refs > IMAP_THREAD_REFS_MAX ? m->n_refs - IMAP_THREAD_REFS_MAX : 0;
	uint32_t last = 0;

	for (size_t i = from; i < m->n_refs; i++) {
		const uint32_t ref = node_of_id(t, m->refs[i]);

		if (!ref)
			continue;
		/* What is known already is not changed by what others say of it. */
		if (last && !t->v[ref].parent && may_link(t, last, ref))
			adopt(t, last, ref);
		last = ref;
	}
	return last;
}

int imap_thread_add(struct imap_thread *t, const struct imap_thread_msg *m, struct err *e)
{
	uint32_t i = node_of_id(t, m->id);

	if (t->n > UINT32_MAX / 2)
		return err_set(e, ERR_LIMIT, 0, "too many references");
	if (!i || t->v[i].number)	/* a second message with an id: as if it had none */
		i = node_new(t);
	t->v[i].number = m->number;
	t->v[i].date = m->date;
	t->v[i].subject = (m->subject <= t->subjects ? m->subject : 0) & SUBJECT_MAX;
	t->v[i].reply = m->reply;
	if (t->alg == IMAP_THREAD_ORDEREDSUBJECT)
		return 0;
	const uint32_t parent = link_references(t, m);

	/* Only the message itself knows its parent for sure: what others guessed is undone. */
	if (t->v[i].parent)
		orphan(t, i);
	if (parent && may_link(t, parent, i))
		adopt(t, parent, i);
	return 0;
}

/* --- pruning: nodes that are not here --- */

static void root_add(struct imap_thread *t, uint32_t i)
{
	t->roots[t->n_roots++] = i;
	t->v[i].rooted = true;
}

/* Replace *link, a node that is not here, by its children. */
static void promote(struct imap_thread *t, uint32_t *link)
{
	const uint32_t gone = *link, first = t->v[gone].child;
	uint32_t last = first;

	if (!first) {
		*link = t->v[gone].next;
		return;
	}
	for (uint32_t c = first; c; c = t->v[c].next) {
		t->v[c].parent = t->v[gone].parent;
		last = c;
	}
	t->v[last].next = t->v[gone].next;
	*link = first;
}

/* The children of one node: those that are not here give way to theirs. Children that come up are looked at in turn. */
static void prune_children(struct imap_thread *t, uint32_t i)
{
	uint32_t *link = &t->v[i].child;

	while (*link) {
		if (t->v[*link].number)
			link = &t->v[*link].next;
		else
			promote(t, link);
	}
}

/* A root that is not here stays when it holds several together. */
static void prune_root(struct imap_thread *t, uint32_t i)
{
	prune_children(t, i);
	if (t->v[i].number) {
		root_add(t, i);
	} else if (t->v[i].child && !t->v[t->v[i].child].next) {
		t->v[t->v[i].child].parent = 0;
		root_add(t, t->v[i].child);
	} else if (t->v[i].child) {
		root_add(t, i);
	}
}

static bool prune_some(struct imap_thread *t, size_t work)
{
	for (; work > 0 && t->at < t->n; work--, t->at++) {
		t->v[t->at].top = 0;
		if (t->v[t->at].parent == 0 && !t->v[t->at].rooted)
			prune_root(t, t->at);
		else if (t->v[t->at].number)
			prune_children(t, t->at);
	}
	return t->at >= t->n;
}

/* --- gathering by subject (step 5) --- */

static uint32_t subject_of(const struct imap_thread *t, uint32_t i)
{
	const uint32_t who = t->v[i].number ? i : t->v[i].child;

	return t->v[who].subject;
}

static bool reply_of(const struct imap_thread *t, uint32_t i)
{
	return t->v[i].number && t->v[i].reply;
}

static bool table_some(struct imap_thread *t, size_t work)
{
	for (; work > 0 && t->root_at < t->n_roots; work--, t->root_at++) {
		const uint32_t i = t->roots[t->root_at];
		const uint32_t subject = subject_of(t, i), have = t->by_subject[subject];

		if (!subject)
			continue;
		if (!have || (!t->v[i].number && t->v[have].number) || (reply_of(t, have) && t->v[i].number && !t->v[i].reply))
			t->by_subject[subject] = i;
	}
	return t->root_at == t->n_roots;
}

static void adopt_children(struct imap_thread *t, uint32_t parent, uint32_t from)
{
	for (uint32_t c = t->v[from].child, next; c; c = next) {
		next = t->v[c].next;
		adopt(t, parent, c);
	}
	t->v[from].child = 0;
}

/* A node for both. The table's root becomes it, so that it keeps its place among the roots. */
static uint32_t join(struct imap_thread *t, uint32_t have, uint32_t i)
{
	const uint32_t was = node_new(t);

	t->v[was] = t->v[have];
	for (uint32_t c = t->v[was].child; c; c = t->v[c].next)
		t->v[c].parent = was;
	t->v[have] = (struct node){ 0 };
	adopt(t, have, was);
	adopt(t, have, i);
	return have;
}

/* True: i is no root any more. */
static bool merge_root(struct imap_thread *t, uint32_t i)
{
	const uint32_t have = t->by_subject[subject_of(t, i)];

	if (!have || have == i)
		return false;
	if (!t->v[have].number && !t->v[i].number)
		adopt_children(t, have, i);
	else if (!t->v[have].number || (reply_of(t, i) && !t->v[have].reply))
		adopt(t, have, i);
	else
		(void)join(t, have, i);
	return true;
}

static bool merge_some(struct imap_thread *t, size_t work)
{
	for (; work > 0 && t->root_at < t->n_roots; work--, t->root_at++) {
		if (merge_root(t, t->roots[t->root_at]))
			t->roots[t->root_at] = 0;
	}
	return t->root_at == t->n_roots;
}

/* --- phases --- */

static void phase_enter(struct imap_thread *t, enum phase p)
{
	t->phase = p;
	t->at = 1;
	t->root_at = 0;
	if (p == PH_FIRST_SORT || p == PH_SORT || p == PH_LINK)
		thread_sort_begin(t, p == PH_LINK);
}

static enum phase phase_after_prune(const struct imap_thread *t)
{
	return t->alg == IMAP_THREAD_ORDEREDSUBJECT ? PH_LINK : t->alg == IMAP_THREAD_REFERENCES ? PH_FIRST_DATES : PH_BELOW;
}

static bool phase_some(struct imap_thread *t, size_t work, enum phase *next)
{
	switch (t->phase) {
	case PH_ADDING:
		t->roots = ARENA_ARRAY(t->own, uint32_t, t->n + 1);
		*next = PH_PRUNE;
		return true;
	case PH_PRUNE:
		*next = phase_after_prune(t);
		return prune_some(t, work);
	case PH_FIRST_DATES:
		*next = PH_FIRST_SORT;
		return thread_dates_some(t, work);
	case PH_FIRST_SORT:
		*next = PH_TABLE;
		return thread_sort_some(t, work, false);
	case PH_TABLE:
		*next = PH_MERGE;
		return table_some(t, work);
	case PH_MERGE:
		*next = PH_BELOW;
		return merge_some(t, work);
	case PH_BELOW:
		*next = PH_DATES;
		return thread_below_some(t, work);
	case PH_DATES:
		*next = PH_SORT;
		return thread_dates_some(t, work);
	case PH_LINK:
		*next = PH_SORT;
		return thread_sort_some(t, work, true);
	case PH_SORT:
		*next = PH_DONE;
		return thread_sort_some(t, work, false);
	case PH_DONE:
		break;
	}
	*next = PH_DONE;
	return true;
}

bool imap_thread_step(struct imap_thread *t, size_t work)
{
	enum phase next;

	if (t->phase == PH_DONE)
		return true;
	if (!phase_some(t, work, &next))
		return false;
	phase_enter(t, next);
	if (next == PH_DONE)
		t->at = 0;
	return next == PH_DONE;
}

/* --- the response --- */

static bool has_one(const struct imap_thread *t, uint32_t i)
{
	return t->v[i].child && !t->v[t->v[i].child].next;
}

/* One node and the way to the next. Returns 0 when the tree is written. A lone child goes on in its parent's list, several have lists of their own. */
static uint32_t put_node(const struct imap_thread *t, uint32_t i, struct buf *out)
{
	if (t->v[i].number)
		buf_u64(out, t->v[i].number);
	if (t->v[i].child) {
		if (t->v[i].number)
			buf_ch(out, ' ');
		if (!has_one(t, i))
			buf_ch(out, '(');
		return t->v[i].child;
	}
	for (uint32_t p = t->v[i].parent; p; i = p, p = t->v[i].parent) {
		if (has_one(t, p))
			continue;
		buf_ch(out, ')');
		if (t->v[i].next) {
			buf_ch(out, '(');
			return t->v[i].next;
		}
	}
	return 0;
}

bool imap_thread_put(struct imap_thread *t, struct buf *out, size_t nodes)
{
	for (; nodes > 0; nodes--) {
		if (!t->at) {
			while (t->root_at < t->n_roots && !t->roots[t->root_at])
				t->root_at++;
			if (t->root_at == t->n_roots)
				return true;
			if (!t->inside)
				buf_ch(out, ' ');
			t->inside = true;
			buf_ch(out, '(');
			t->at = t->roots[t->root_at++];
		}
		t->at = put_node(t, t->at, out);
		if (!t->at)
			buf_ch(out, ')');
	}
	return false;
}
