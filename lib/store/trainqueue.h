/* Messages that a user's moves call spam, or not spam, until postern-learn has learned them: the directory postern.train in the root of the user's own tree, with
 * a link of each message, so that it is there when its folder has lost it. A name says all: "STAMP.INODE.spam" or ".ham", both numbers as 16 hexadecimal
 * digits. Sessions add, as the user; the learner's feeder, as the user too, reads and drops. What has another name is nobody's and stays.
 */
#ifndef STORE_TRAINQUEUE_H
#define STORE_TRAINQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define TRAIN_DIR "postern.train"

enum {
	TRAIN_QUEUE_MAX = 200,		/* messages of a user */
	TRAIN_MESSAGE_MAX = 4 << 20,	/* bytes of one */
	TRAIN_BYTES_MAX = 32 << 20,	/* of all: they are outside of the quota */
	TRAIN_AGE_MAX_DAYS = 30,	/* what nobody has learned by then is forgotten when the next is added */
	TRAIN_NAME_SIZE = 40,
};

struct train_entry {
	uint64_t stamp, inode;		/* stamp: microseconds of wall time, each once in a queue */
	uint64_t bytes;
	bool spam;
};

void train_name_format(const struct train_entry *t, char out[TRAIN_NAME_SIZE]);
bool train_name_parse(const char *name, struct train_entry *out);	/* bytes are left alone */
/* Opens the queue below the root of a user's tree; make: and makes it. ERR_NOENT. Returns fd. */
int train_queue_open(int rootfd, bool make, struct err *e) MUST_CHECK;
/* Its entries by stamp; at most max are taken, of a directory of any size. */
int train_queue_read(int dirfd, struct train_entry *out, size_t max, size_t *n_out, struct err *e) MUST_CHECK;
/* Those up to a stamp have been learned. */
int train_queue_drop(int dirfd, uint64_t upto, struct err *e) MUST_CHECK;

#endif
