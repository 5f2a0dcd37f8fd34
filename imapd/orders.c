/* Kept orders: whose they are, and how long. */
#include "orders.h"

#include <stdlib.h>

bool order_can_keep(const struct imap_sort_criterion *by, size_t n_by)
{
	for (size_t i = 0; i < n_by; i++) {
		/* Sizes are corrected when a message is read, relevancy is the search's. */
		if (by[i].by == IMAP_SORT_SIZE || by[i].by == IMAP_SORT_RELEVANCY)
			return false;
	}
	return true;
}

static bool is_by(const struct order_kept *k, const struct imap_sort_criterion *by, size_t n_by)
{
	bool same = k->n_by == n_by;

	for (size_t i = 0; same && i < n_by; i++)
		same = k->by[i].by == by[i].by && k->by[i].reverse == by[i].reverse;
	return same;
}

struct order_kept *order_get(struct client *c, const struct imap_sort_criterion *by, size_t n_by)
{
	for (size_t i = 0; i < ARRAY_LEN(c->folder->orders); i++) {
		struct order_kept *const k = c->folder->orders[i];

		if (k && is_by(k, by, n_by)) {
			k->refs++;
			return k;
		}
	}
	return NULL;
}

void order_put(struct order_kept **kp)
{
	struct order_kept *const k = *kp;

	*kp = NULL;
	if (k == NULL || --k->refs > 0)
		return;
	free(k->v);
	free(k);
}

/* The youngest last; the eldest gives way. */
static void insert(struct folder *f, struct order_kept *k, size_t gone)
{
	const size_t last = ARRAY_LEN(f->orders) - 1;

	order_put(&f->orders[gone]);
	memmove(f->orders + gone, f->orders + gone + 1, (last - gone) * sizeof(f->orders[0]));
	f->orders[last] = k;
}

void order_keep(struct client *c, const struct imap_sort_criterion *by, size_t n_by, uint32_t *v, size_t n, uint32_t places)
{
	struct folder *const f = c->folder;
	struct order_kept *const k = xzalloc(sizeof(*k));
	size_t gone = 0;

	*k = (struct order_kept){ .refs = 1, .n_by = n_by, .places = places, .n = n, .v = v };
	memcpy(k->by, by, n_by * sizeof(*by));
	for (size_t i = 0; i < ARRAY_LEN(f->orders); i++) {
		if (f->orders[i] && is_by(f->orders[i], by, n_by))
			gone = i;
	}
	insert(f, k, gone);
}

/* Is it used by nobody but one command, and the folder? */
static bool is_alone(const struct folder *f, const struct order_kept *k)
{
	bool kept = false;

	for (size_t i = 0; i < ARRAY_LEN(f->orders); i++)
		kept |= f->orders[i] == k;
	return kept && k->refs == 2;
}

/* From the end, so that each moves once. */
static void put_between(uint32_t *v, const struct order_more *m)
{
	size_t end = m->n_live;

	for (size_t i = m->n; i-- > 0;) {
		const size_t from = m->before[i];

		memmove(v + from + i + 1, m->live == v ? v + from : m->live + from, (end - from) * sizeof(*v));
		v[from + i] = m->rows[i];
		end = from;
	}
	if (m->live != v)
		memcpy(v, m->live, end * sizeof(*v));
}

void order_add(struct client *c, struct order_kept **kp, const struct order_more *m)
{
	struct order_kept *const k = *kp;
	const size_t n = m->n_live + m->n;
	struct order_more more = *m;

	if (m->live == k->v && is_alone(c->folder, k)) {
		more.live = k->v = xrealloc(k->v, (n + 1) * sizeof(*k->v));
		put_between(k->v, &more);
		k->n = n;
		k->places = m->places;
		return;
	}
	uint32_t *const v = xmalloc((n + 1) * sizeof(*v));
	put_between(v, m);
	order_keep(c, k->by, k->n_by, v, n, m->places);
	struct order_kept *const made = order_get(c, k->by, k->n_by);
	order_put(kp);
	*kp = made;
}

void orders_free(struct folder *f)
{
	for (size_t i = 0; i < ARRAY_LEN(f->orders); i++)
		order_put(&f->orders[i]);
}
