/* Answers of SORT and THREAD that hold while nothing changes in the folder or, where the search does not look at flags, while no message comes or goes:
 * webmail asks the same again for each page, on a connection of its own. Kept in memory with the folder, as the bytes that were sent. */
#ifndef IMAPD_ANSWERS_H
#define IMAPD_ANSWERS_H

#include "session.h"

enum {
	ANSWER_BYTES_MAX = 4 << 20,	/* longer ones are made anew each time */
};

struct answer_kept;
/* An answer that is being made. */
struct answer_making {
	struct buf text;
	struct str key;		/* verb and arguments, in the command's arena */
	bool lasting;		/* flags do not matter */
	uint64_t stamp;		/* 0: it will not be kept */
};
void answer_making_begin(struct client *c, struct answer_making *m, struct str key, bool lasting);
void answer_making_fini(struct answer_making *m);
/* Run a step that writes the response, and keep what it writes; the whole of it when the step says CMD_OK. */
enum cmd_result answer_making_step(struct client *c, struct answer_making *m, enum cmd_result (*step)(struct client *c, struct err *e), struct err *e);

/* The answer to key, if it still holds: a reference; NULL. */
struct answer_kept *answer_get(struct client *c, struct str key);
void answer_put(struct answer_kept **k);
bool answer_replay(struct client *c, const struct answer_kept *k, size_t *at);	/* a piece of it; true: all is said */

void answers_free(struct folder *f);

#endif
