/* postern-learn: the feeder opens messages as the owner of each directory and copies them into memory, unread; the learner, who is user_filter and
 * confined to the tokens' directory, reads them. */
#ifndef FILTERD_LEARN_H
#define FILTERD_LEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "conf/conf.h"
#include "spam/bayes.h"

enum { LEARN_DIRS_MAX = 10000, LEARN_MESSAGE_MAX = 4 << 20 };
/* What users can hold up ends: a process that opens mail has so long for all of a directory or a queue, the learner's time aside, and ends itself; the feeder waits
 * for it so long, the learner's time included. */
enum {
	LEARN_DIR_SECONDS = 1800, LEARN_DIR_PATIENCE = 7200,
	LEARN_USER_SECONDS = 60, LEARN_USER_PATIENCE = 600,
	LEARN_DROP_PATIENCE = 60,
	LEARN_QUEUES_SECONDS = 3600,	/* then no other user's queue is begun: the next run's */
	LEARN_ROOM = 16384,		/* of the feeder's socket: about ten messages are on their way, each with a copy */
};

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
/* This process ends when it has worked for so long; while it waits for the learner that time stands still. */
void learn_time(unsigned seconds);
/* Hand one message over. 0, its size is added to *bytes; 1: there is none that can be learned; -1 the learner has gone. */
int learn_send(int chan, int dir, const char *name, enum bayes_class as, uint64_t *bytes, struct err *e) MUST_CHECK;
/* A child that may be somebody else's by now. -1: it did not end well, was stopped by its user, or had not ended in time; then it is waited for no more. */
int learn_child_wait(pid_t pid, unsigned seconds);

/* What users' sessions have queued, within each user's share of the day (learn_queue.c). *n_out: how many messages; -1: nothing more can be done. */
struct learn_queue;
int learn_queue_feed(const struct conf *conf, int chan, struct learn_queue **out, size_t *n_out, struct err *e) MUST_CHECK;
/* They have been learned: the shares are written down, the queues dropped. Frees *q. */
int learn_queue_done(struct learn_queue **q, struct err *e) MUST_CHECK;

#endif
