/* What the writers of a journal share: journal.c (one batch more), journal_write.c (all of it anew). */
#ifndef STORE_JOURNAL_PRIV_H
#define STORE_JOURNAL_PRIV_H

#include "store/store_priv.h"

enum { HEAD_BYTES = 128, BATCHES_AT = 256, BATCH_HEAD = 32 };

static inline size_t journal_padded(size_t n) { return (n + 7) & ~(size_t)7; }	/* bytes that n of operations take */
void journal_head_put(unsigned char out[HEAD_BYTES], const struct journal_head *h);
/* What stands before the operations ops in the batch at off. */
void journal_batch_head(unsigned char head[BATCH_HEAD], uint64_t generation, uint64_t off, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved);
int journal_pwrite(int fd, const void *data, size_t n, uint64_t off, struct err *e) MUST_CHECK;	/* all of it. ERR_QUOTA, ERR_TEMP */

#endif
