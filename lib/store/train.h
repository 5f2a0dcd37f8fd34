/* What moves of messages say of them (trainqueue.h is where it is kept): into the folder \Junk, that they are spam; out of it, but not into \Trash, that
 * they are not. */
#ifndef STORE_TRAIN_H
#define STORE_TRAIN_H

#include "store/store.h"

enum train_as { TRAIN_NOTHING, TRAIN_SPAM, TRAIN_HAM };

int train_of_move(struct store *s, struct str from, struct str to, enum train_as *out, struct err *e) MUST_CHECK;
int train_in_junk(struct store *s, struct str folder, bool *out, struct err *e) MUST_CHECK;
/* Queue messages of a view, in the order of seqs. The last word about a message counts. Those that are too large, gone, or more than the queue may hold are left
 * out; *queued_out: how many were not. Durable. */
int mbox_train(struct mbox_view *v, const uint32_t *seqs, size_t n, bool spam, size_t *queued_out, struct err *e) MUST_CHECK;

#endif
