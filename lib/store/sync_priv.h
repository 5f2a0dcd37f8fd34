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

/* The operation that gives the file en (named in cur as disk/info say) a UID. */
void sync_assign(struct buf *ops, const struct entry *en, struct str base, uint32_t uid, uint8_t disk, struct str odd_info, const uint16_t *kw, size_t n_kw,
		 int64_t now);
/* Under the lock: list cur, and write down how it differs from the state. */
int sync_cur(struct mbox *m, struct err *e) MUST_CHECK;
/* The state of a folder that has no journal: all files numbered, as another server did where it is known. m->st has its identity already. */
int sync_first_state(struct mbox *m, struct old_list *old, struct err *e) MUST_CHECK;

#endif
