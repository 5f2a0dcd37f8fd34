/* A look at all of cur in pieces, without the folder's lock, before what differs from the state is written down under the lock (sync_cur.c): to list a large folder that
 * another program has changed, and to find the record of each file, takes most of the time. While cur has the time that it was given before, what was found is what is there. Else
 * it is listed again; at last what was found is used where it can be proven under the lock: files that are there. What seems gone may have got another name meanwhile, and waits
 * for a look while nothing changes. */
#include <stdlib.h>

#include "base/clock.h"
#include "store/sync_priv.h"

enum {
	LOOK_MIN = 10000,	/* messages: fewer are listed in some milliseconds */
	TRIES = 2,
	UNSURE_MS = 1000,	/* so long nobody lists cur at once after that */
};

struct sync_look {
	struct listing l;
	struct timespec marked;
	unsigned tries;
	bool listed, inexact;
	struct sync_match match;
};

void sync_look_free(struct sync_look **lp)
{
	if (*lp) {
		listing_fini(&(*lp)->l);
		sync_match_fini(&(*lp)->match);
	}
	free(*lp);
	*lp = NULL;
}

/* What others have written down until now is read, and what they find from now on gives cur another time: they do either under the lock. It is not waited for. */
static int begin(struct mbox *m, struct err *e)
{
	struct sync_look *const k = m->look;
	const int locked = mbox_lock_try(m, e);

	if (locked < 0)
		return -1;
	listing_fini(&k->l);
	sync_match_fini(&k->match);
	k->listed = false;
	k->tries++;
	const int r = sync_mark(m, &k->marked);
	if (locked == 0)
		mbox_unlock_folder(m);
	return r < 0 || listing_begin(&k->l, m->curfd, SIZE_MAX, store_crew(m->s), e) < 0 ? -1 : 1;
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

static int check(struct mbox *m, struct err *e)
{
	struct sync_look *const k = m->look;

	if (!k->inexact && !holds(m)) {
		if (k->tries < TRIES)
			return begin(m, e);
		k->inexact = true;
	}
	return 0;
}

static int step(struct mbox *m, struct err *e)
{
	struct sync_look *const k = m->look;

	if (!k->listed) {
		const int r = listing_step(&k->l, e);
		if (r != 0)
			return r;
		k->listed = true;
		return check(m, e) < 0 ? -1 : 1;
	}
	if (listing_sort_step(&k->l) || sync_match_step(&k->match, &m->st, &k->l))
		return 1;
	return check(m, e);
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
		r = step(m, &given_up);
	}
	if (r < 0)
		sync_look_free(&m->look);
	return r > 0;
}

bool sync_look_holds(struct mbox *m)
{
	while (m->look && sync_look_step(m))
		;
	return m->look != NULL;
}

bool sync_look_take(struct mbox *m, struct listing *l_out, struct timespec *marked_out, struct sync_match *match_out, bool *exact_out)
{
	if (!sync_look_holds(m))
		return false;
	*exact_out = !m->look->inexact && holds(m);
	*l_out = m->look->l;
	*marked_out = *exact_out ? m->look->marked : (struct timespec){ 0 };
	*match_out = m->look->match;
	free(m->look);
	m->look = NULL;
	m->unsure_ms = *exact_out ? 0 : clock_mono_ms();
	return true;
}

bool sync_look_recent(const struct mbox *m)
{
	return !m->look && m->unsure_ms != 0 && clock_mono_ms() - m->unsure_ms < UNSURE_MS;
}
