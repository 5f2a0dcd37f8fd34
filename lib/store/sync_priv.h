/* What the files of new/ and cur/ share: sync_mark.c (times, and our own changes), sync_cur.c (cur as a whole), sync.c (new, and the ways in). */
#ifndef STORE_SYNC_PRIV_H
#define STORE_SYNC_PRIV_H

#include "store/listing.h"
#include "store/store_priv.h"

bool sync_same_time(const struct timespec *a, const struct timespec *b);
int sync_dir_time(int fd, struct timespec *out);
bool sync_cur_is_seen(struct mbox *m);
/* Give cur a time that the clock's ticks do not give: now, with random nanoseconds. */
int sync_mark(struct mbox *m, struct timespec *out) MUST_CHECK;

/* What gives the file en a UID, as its name says it; without keywords. base: its name's, or another. */
struct assign sync_assign(const struct entry *en, struct str base, uint32_t uid, int64_t now);
/* Under the lock: list cur, and write down how it differs from the state. */
int sync_cur(struct mbox *m, struct err *e) MUST_CHECK;
/* Is there a look (sync_look_step) that is over, what is left of it done now, and is it what is there? take: the caller's, then. */
bool sync_look_holds(struct mbox *m);
bool sync_look_take(struct mbox *m, struct listing *l_out, struct timespec *marked_out);
/* At most max files of new/ into cur/, without UIDs. *more_out: others are left. */
int sync_take_new(struct mbox *m, size_t max, size_t *moved_out, bool *more_out, struct err *e) MUST_CHECK;
/* Keywords of the letters a..z of a file that another server named, and more that it keeps elsewhere (NULL: none): their numbers in ids, which has room for
 * 26 + COURIER_WORDS_MAX; new ones are named by operations appended to ops. Returns how many. */
size_t sync_letter_keywords(struct mbox *m, struct str info, const struct str letters[26], const struct courier_words *more, uint16_t *ids, struct buf *ops);
/* A second file of a base name that is taken: another message (a copy made by hand) gets a name of its own, from a. False: it has gone, or cannot. */
bool sync_twin(struct mbox *m, struct arena *a, struct entry *en) MUST_CHECK;
/* A file that is renamed while cur is listed may be told twice, under its old name and its new one. Is that of the same base name which came before still there? Else there is no
 * second file; what it is called now is seen at the next look. */
bool sync_is_there(const struct mbox *m, const struct entry *en);
/* Letters out of their order, or twice: no name that we would look for. True: en has another one, from a. */
bool sync_straighten(struct mbox *m, struct arena *a, struct entry *en);

/* What another server knew, by base name. */
struct old_table {
	const struct old_list *old;
	uint32_t *slot;		/* index + 1 */
	size_t mask;
};
void old_table_init(struct old_table *t, const struct old_list *old);	/* borrows old */
void old_table_fini(struct old_table *t);
void old_table_match(const struct old_table *t, struct entry *en);	/* en gets the UID that it has there, if any */

#endif
