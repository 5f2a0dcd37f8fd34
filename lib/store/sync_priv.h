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
/* Is there a look (sync_look_step)? What is left of it is done now. take: the caller's, then. *exact_out: it is what is there; else what it has not found may be there, too. */
bool sync_look_holds(struct mbox *m);
struct sync_match;
bool sync_look_take(struct mbox *m, struct listing *l_out, struct timespec *marked_out, struct sync_match *match_out, bool *exact_out);
bool sync_look_recent(const struct mbox *m);	/* the last one was not exact, and is not worth another at once */
/* --- which record a file is of (sync_match.c) --- */
struct name_table {
	const struct state *st;
	uint32_t *slot;		/* position + 1 */
	size_t mask;
	uint32_t n, at;		/* records before at are in it */
};
void name_table_init(struct name_table *t, const struct state *st, uint32_t from);	/* empty; for the records from there on */
bool name_table_add(struct name_table *t, uint32_t work);	/* so many records more; true: more are left */
uint32_t name_table_find(const struct name_table *t, struct str base);	/* UINT32_MAX: none */
void name_table_fini(struct name_table *t);
uint32_t match_near(const struct state *st, uint32_t next, struct str base);	/* among the records that are likely; UINT32_MAX: none */
/* All entries of a sorted listing, in pieces; step true: more is to do. Then there are left, in their order, those whose files are not called as is known, and the records of all
 * other messages. A state moves on between that and the lock: there what was found counts if names_same, after late. */
struct sync_match {
	struct entry **left;	/* n_left entries of the listing */
	uint32_t *where;	/* and their records, UINT32_MAX none */
	size_t n_left;
	unsigned char *seen;	/* per position: the file is there as it is known; n of them */
	uint32_t *missing;	/* the n_missing positions of messages of which that cannot be said */
	uint32_t n, n_missing;
	/* inside */
	uint64_t renames;	/* of the state, then */
	struct name_table t;
	uint32_t next, checked;	/* checked: records that were looked at for missing */
	size_t at;
	bool far, apart;	/* far: some records are to be looked for in the table; apart: the entries that are left are known */
};
bool sync_match_step(struct sync_match *k, const struct state *st, const struct listing *l);
bool sync_match_names_same(const struct sync_match *k, const struct state *st);
void sync_match_late(struct sync_match *k, const struct state *st);	/* entries without a record, among those that came since */
void sync_match_fini(struct sync_match *k);
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
