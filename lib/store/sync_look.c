/* A look at all of cur in pieces, without the folder's lock, before it is compared with the state under the lock (sync_cur.c): to list a large folder that another program has
 * changed takes most of the time. What was listed is used only while cur has the time that it was given before: then it is what is there. Else it is listed again, and at the
 * third time under the lock at once. */
#include <stdlib.h>

#include "store/sync_priv.h"

enum {
	LOOK_MIN = 10000,	/* messages: fewer are listed in some milliseconds */
	TRIES = 2,
};

struct sync_look {
	struct listing l;
	struct timespec marked;
	unsigned tries;
	bool ready;
};

void sync_look_free(struct sync_look **lp)
{
	if (*lp)
		listing_fini(&(*lp)->l);
	free(*lp);
	*lp = NULL;
}

static int begin(struct mbox *m, struct err *e)
{
	struct sync_look *const k = m->look;

	listing_fini(&k->l);
	k->tries++;
	return sync_mark(m, &k->marked) < 0 || listing_begin(&k->l, m->curfd, SIZE_MAX, store_crew(m->s), e) < 0 ? -1 : 1;
}

static bool holds(struct mbox *m)
{
	struct timespec now;

	return sync_dir_time(m->curfd, &now) == 0 && sync_same_time(&m->look->marked, &now);
}

/* Another process may have accounted for the change. */
static bool is_due(struct mbox *m)
{
	if (m->gone || m->st.uidvalidity == 0 || state_count(&m->st) < LOOK_MIN || sync_cur_is_seen(m))
		return false;
	sync_record_read(m);
	return !sync_cur_is_seen(m);
}

static int step(struct mbox *m, struct err *e)
{
	struct sync_look *const k = m->look;
	const int r = listing_step(&k->l, e);

	if (r != 0)
		return r;
	if (!holds(m))
		return k->tries < TRIES ? begin(m, e) : -1;
	k->ready = true;
	return 0;
}

bool sync_look_step(struct mbox *m)
{
	struct err given_up = { 0 };
	int r;

	if (m->look == NULL && !is_due(m))
		return false;
	if (m->look == NULL) {
		m->look = xzalloc(sizeof(*m->look));
		r = begin(m, &given_up);
	} else {
		r = m->look->ready ? 0 : step(m, &given_up);
		if (r == 0)
			r = listing_sort_step(&m->look->l);
	}
	if (r < 0)
		sync_look_free(&m->look);
	return r > 0;
}

bool sync_look_holds(struct mbox *m)
{
	while (m->look && sync_look_step(m))
		;
	if (m->look && !holds(m))
		sync_look_free(&m->look);
	return m->look != NULL;
}

bool sync_look_take(struct mbox *m, struct listing *l_out, struct timespec *marked_out)
{
	if (!sync_look_holds(m))
		return false;
	*l_out = m->look->l;
	*marked_out = m->look->marked;
	free(m->look);
	m->look = NULL;
	return true;
}
