/* postern-learn: the feeder opens mail as the owner of each directory and reads nothing of it; the learner, who is user_filter and confined to the tokens'
 * directory, reads it. */
#ifndef FILTERD_LEARN_H
#define FILTERD_LEARN_H

#include <stdbool.h>
#include <stddef.h>

#include "spam/bayes.h"

enum { LEARN_DIRS_MAX = 10000, LEARN_MESSAGE_MAX = 4 << 20 };

struct learn_dir { const char *path; enum bayes_class as; };
struct learn_options {
	const char *conf, *tokens;
	bool json, quiet, status, unconfined;
	size_t limit;		/* messages of one directory */
	struct learn_dir *dirs;
	size_t n_dirs;
};

/* A process of its own: everything of o->dirs to chan, one directory after the other. */
void learn_feed(const struct learn_options *o, int chan) __attribute__((noreturn));

#endif
