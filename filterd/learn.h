/* postern-learn: the feeder opens mail as the owner of each directory and reads nothing of it; the learner, who is user_filter and confined to the tokens'
 * directory, reads it. */
#ifndef FILTERD_LEARN_H
#define FILTERD_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"
#include "conf/conf.h"
#include "spam/bayes.h"

enum { LEARN_DIRS_MAX = 10000, LEARN_MESSAGE_MAX = 4 << 20, LEARN_FILE_SECONDS = 60 };

struct learn_dir {
	const char *path;
	enum bayes_class as;
	uid_t uid;		/* who reads it; 0: its owner */
	gid_t gid;
};
struct learn_options {
	const char *conf, *tokens;
	bool json, quiet, status, unconfined;
	bool queued, folders;	/* what users moved; learn_spam_folders and learn_ham_folders */
	size_t limit;		/* messages of one directory */
	struct learn_dir *dirs;
	size_t n_dirs;
	struct arena *a;	/* of names that are made */
};

void learn_dir_add(struct learn_options *o, const struct learn_dir *d);
/* The directories of learn_spam_folders and learn_ham_folders (learn_folders.c). -1: one names nothing. */
int learn_folders(struct learn_options *o, const struct conf *conf, struct err *e) MUST_CHECK;

/* A process of its own: everything to chan, one directory after the other. */
void learn_feed(const struct learn_options *o, const struct conf *conf, int chan) __attribute__((noreturn));

/* --- for its parts --- */
/* Root becomes that user for good; who is not root stays who he is. */
int learn_become(uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
/* Hand one message over. 0; 1: there is none that can be learned; -1 the learner has gone. */
int learn_send(int chan, int dir, const char *name, enum bayes_class as, struct err *e) MUST_CHECK;

/* What users' sessions have queued, within each user's share of the day (learn_queue.c). *n_out: how many messages; -1: nothing more can be done. */
struct learn_queue;
int learn_queue_feed(const struct conf *conf, int chan, struct learn_queue **out, size_t *n_out, struct err *e) MUST_CHECK;
/* They have been learned: the shares are written down, the queues dropped. Frees *q. */
int learn_queue_done(struct learn_queue **q, struct err *e) MUST_CHECK;

#endif
