/* From the client's sets to messages: "*" and "$" (RFC 5182) are put in place, UIDs become sequence numbers. */
#include <stdlib.h>

#include "session.h"

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void saved_put(struct client *c, const uint32_t *uids, size_t n)
{
	uint32_t *sorted = xmalloc((n + 1) * sizeof(*sorted));

	if (n)
		memcpy(sorted, uids, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	free(c->saved.v);
	c->saved = (struct imap_seqset){ .v = xmalloc((n + 1) * sizeof(struct imap_range)) };
	for (size_t i = 0; i < n; i++) {
		struct imap_range *const last = c->saved.n ? &c->saved.v[c->saved.n - 1] : NULL;

		if (last && sorted[i] - last->hi <= 1)
			last->hi = sorted[i];
		else
			c->saved.v[c->saved.n++] = (struct imap_range){ sorted[i], sorted[i] };
	}
	free(sorted);
}

int set_uids(struct client *c, const struct mbox_view *v, struct imap_seqset *set, struct err *e)
{
	const uint32_t count = mbox_view_count(v);

	if (!set->saved) {
		imap_seqset_resolve(set, count ? mbox_view_uid(v, count) : 0);
		return 0;
	}
	*set = (struct imap_seqset){ .n = c->saved.n, .cap = c->saved.n };
	if (!(set->v = ARENA_ARRAY(c->arena, struct imap_range, c->saved.n + 1)))
		return err_set(e, ERR_LIMIT, 0, "saved result too large");
	if (set->n)
		memcpy(set->v, c->saved.v, set->n * sizeof(*set->v));
	return 0;
}

/* Each range of UIDs becomes the range of messages that have them. */
static void uids_to_seqs(struct client *c, struct imap_seqset *set)
{
	const uint32_t count = mbox_view_count(c->view);
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct imap_range r = { mbox_view_seq_from(c->view, set->v[i].lo), 0 };

		r.hi = set->v[i].hi == UINT32_MAX ? count : mbox_view_seq_from(c->view, set->v[i].hi + 1) - 1;
		if (r.lo <= r.hi && r.lo <= count)
			set->v[n++] = r;
	}
	set->n = n;
}

int set_resolve(struct client *c, struct imap_seqset *set, bool uid, struct err *e)
{
	const uint32_t count = mbox_view_count(c->view);

	if (uid || set->saved) {
		if (set_uids(c, c->view, set, e) < 0)
			return -1;
		uids_to_seqs(c, set);
		return 0;
	}
	imap_seqset_resolve(set, count);
	if (imap_seqset_max(set) > count)
		return err_set(e, ERR_INPUT, 0, "message number out of range");
	return 0;
}

int set_array(struct client *c, const struct imap_seqset *set, uint32_t **out, size_t *n_out, bool *gone_out, struct err *e)
{
	uint32_t *v = ARENA_ARRAY(c->arena, uint32_t, (size_t)imap_seqset_count(set) + 1);
	size_t n = 0;
	bool gone = false;

	if (!v)
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	for (size_t i = 0; i < set->n; i++) {
		for (uint32_t seq = set->v[i].lo; seq <= set->v[i].hi; seq++) {
			if (mbox_view_is_expunged(c->view, seq))
				gone = true;
			else
				v[n++] = seq;
		}
	}
	*out = v;
	*n_out = n;
	*gone_out = gone;
	return 0;
}
