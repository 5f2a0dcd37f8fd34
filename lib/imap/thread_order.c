/* The order of threads (thread.c): children by date and number, dates of what is not here, and the roots, which are sorted as SORT sorts. */
#include "imap/thread_priv.h"

static uint32_t number_of(const struct imap_thread *t, uint32_t i)
{
	return t->v[i].number ? t->v[i].number : t->v[t->v[i].child].number;
}

static bool before(const struct imap_thread *t, uint32_t a, uint32_t b)
{
	if (t->v[a].date != t->v[b].date)
		return t->v[a].date < t->v[b].date;
	return number_of(t, a) < number_of(t, b);
}

static uint32_t list_merge(struct imap_thread *t, uint32_t a, uint32_t b)
{
	uint32_t head = 0, *link = &head;

	while (a && b) {
		uint32_t *const least = before(t, b, a) ? &b : &a;

		*link = *least;
		link = &t->v[*least].next;
		*least = *link;
	}
	*link = a ? a : b;
	return head;
}

/* Bottom-up merge sort of a list: runs[k] holds 2^k nodes. Most lists hold one. */
static uint32_t list_sort(struct imap_thread *t, uint32_t list)
{
	uint32_t runs[32], sorted = 0;
	size_t n_runs = 0;

	if (!list || !t->v[list].next)
		return list;
	while (list) {
		uint32_t one = list;
		size_t k = 0;

		list = t->v[list].next;
		t->v[one].next = 0;
		for (; k < n_runs && runs[k]; k++) {
			one = list_merge(t, runs[k], one);
			runs[k] = 0;
		}
		n_runs += k == n_runs;
		runs[k] = one;
	}
	for (size_t k = 0; k < n_runs; k++)
		sorted = list_merge(t, runs[k], sorted);
	return sorted;
}

/* Children of nodes that are here; those of the others, all roots, wait for their dates, which are their first child's. */
bool thread_below_some(struct imap_thread *t, size_t work)
{
	for (; work > 0 && t->at < t->n; work--, t->at++) {
		if (t->v[t->at].number && t->v[t->at].child)
			t->v[t->at].child = list_sort(t, t->v[t->at].child);
	}
	return t->at >= t->n;
}

/* REFS: the youngest message decides where its thread stands. */
static void latest_to_root(struct imap_thread *t, uint32_t i)
{
	const int64_t date = t->v[i].date;
	uint32_t root = i;

	while (t->v[root].parent)
		root = t->v[root].top ? t->v[root].top : t->v[root].parent;
	while (i != root) {		/* the way is short the next time */
		const uint32_t up = t->v[i].top ? t->v[i].top : t->v[i].parent;

		t->v[i].top = root;
		i = up;
	}
	if (date > t->v[root].date)
		t->v[root].date = date;
}

/* Dates of what stands for others; for REFS also those of the youngest below each root. */
bool thread_dates_some(struct imap_thread *t, size_t work)
{
	for (; work > 0 && t->root_at < t->n_roots; work--, t->root_at++) {
		const uint32_t i = t->roots[t->root_at];

		if (!i || t->v[i].number)
			continue;
		t->v[i].child = list_sort(t, t->v[i].child);
		t->v[i].date = t->v[t->v[i].child].date;
	}
	if (t->root_at < t->n_roots)
		return false;
	for (; t->alg == IMAP_THREAD_REFS && work > 0 && t->at < t->n; work--, t->at++) {
		if (t->v[t->at].number && t->v[t->at].parent)
			latest_to_root(t, t->at);
	}
	return t->alg != IMAP_THREAD_REFS || t->at >= t->n;
}

static int64_t root_number(const void *ctx, uint32_t row, size_t k)
{
	const struct imap_thread *const t = ctx;
	const uint32_t i = t->roots[row];

	switch (t->order.by[k].by) {
	case IMAP_SORT_SUBJECT:
		return t->v[i].subject;
	case IMAP_SORT_DATE:
		return t->v[i].date;
	default:
		return number_of(t, i);
	}
}

/* Roots by date and number; for ORDEREDSUBJECT first by subject, to find what belongs together. */
void thread_sort_begin(struct imap_thread *t, bool by_subject)
{
	static const struct imap_sort_criterion subject_date[] = { { IMAP_SORT_SUBJECT, false }, { IMAP_SORT_DATE, false }, { IMAP_SORT_ARRIVAL, false } };
	const size_t n_by = by_subject ? 3 : 2;

	if (!t->sorted)
		t->sorted = ARENA_ARRAY(t->own, uint32_t, t->n_roots + 1);
	t->order.by = subject_date + 3 - n_by;
	t->order.n_by = n_by;
	t->order.number = root_number;
	t->order.ctx = t;
	t->sorting = ROOTS_GATHER;
	t->kept = 0;
	t->first = 0;
}

static bool gather_some(struct imap_thread *t, size_t *work)
{
	for (; *work > 0 && t->root_at < t->n_roots; t->root_at++, (*work)--) {
		if (t->roots[t->root_at])
			t->roots[t->kept++] = t->roots[t->root_at];
	}
	if (t->root_at < t->n_roots)
		return false;
	t->n_roots = t->order.n = t->kept;
	(void)!imap_order_begin(&t->order, t->own, NULL);
	return true;
}

/* ORDEREDSUBJECT: neighbours with one subject become the children of the first. True: this one does. */
static bool link_subject(struct imap_thread *t, uint32_t i)
{
	if (!t->first || t->v[t->first].subject != t->v[i].subject) {
		t->first = i;
		t->last = 0;
		return false;
	}
	t->v[i].parent = t->first;
	if (t->last)
		t->v[t->last].next = i;
	else
		t->v[t->first].child = i;
	t->last = i;
	return true;
}

static bool take_some(struct imap_thread *t, size_t work, bool link)
{
	for (; work > 0 && t->root_at < t->n_roots; work--, t->root_at++) {
		const uint32_t i = t->roots[imap_order_row(&t->order, t->root_at)];

		t->sorted[t->root_at] = link && link_subject(t, i) ? 0 : i;
	}
	if (t->root_at < t->n_roots)
		return false;
	uint32_t *const swap = t->roots;

	t->roots = t->sorted;
	t->sorted = swap;
	return true;
}

bool thread_sort_some(struct imap_thread *t, size_t work, bool link)
{
	if (t->sorting == ROOTS_GATHER && gather_some(t, &work))
		t->sorting = ROOTS_SORT;
	if (t->sorting == ROOTS_SORT && imap_order_step(&t->order, work)) {
		t->sorting = ROOTS_TAKE;
		t->root_at = 0;
	}
	return t->sorting == ROOTS_TAKE && take_some(t, work, link);
}
