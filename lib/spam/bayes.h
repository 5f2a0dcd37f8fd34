/* What was learned from a site's spam and ham: words of messages and how many messages of each kind held them. Readers map one file that is only ever
 * replaced (a cdb: 8 bytes of a token's hash -> counts); the learner builds a new one beside it and renames. No locks between them.
 */
#ifndef SPAM_BAYES_H
#define SPAM_BAYES_H

#include <stdint.h>

#include "base/err.h"
#include "spam/msg.h"

enum {
	BAYES_TOKENS_MAX = 4000,	/* of one message */
	BAYES_WORD_MIN = 3, BAYES_WORD_MAX = 24,
	BAYES_DIGEST = 16,
};

/* Hashes of the words of a message, each once, sorted. */
size_t bayes_tokens(struct msg *m, uint64_t **out);
/* Names a message whatever folder it lies in: of its Message-ID and body. */
void bayes_digest(struct msg *m, unsigned char out[BAYES_DIGEST]);

struct bayes;
struct bayes_counts { uint32_t spam, ham, day; };

/* Returns owned; a missing file is "nothing learned". It is looked at again by bayes_refresh. */
struct bayes *bayes_new(const char *path);
void bayes_free(struct bayes **b);
void bayes_refresh(struct bayes *b);
bool bayes_damaged(const struct bayes *b);	/* the file is there and none of ours, or cannot be read: nothing learned */
struct bayes_counts bayes_messages(const struct bayes *b);	/* how many were learned */
bool bayes_get(const struct bayes *b, uint64_t token, struct bayes_counts *out);
enum bayes_class { BAYES_NONE, BAYES_SPAM, BAYES_HAM };
enum bayes_class bayes_seen(const struct bayes *b, const unsigned char digest[BAYES_DIGEST]);	/* what that message was learned as */
double bayes_combine(const struct bayes *b, const uint64_t *tokens, size_t n);	/* 0 (ham) to 1 (spam) */
/* The same for the message under check, or -1: nothing or too little was learned. */
double bayes_score(struct msg *m);

/* --- learning (learn.c) --- */

struct learner;
struct spam;
struct taught;
struct learn_stats { size_t spam, ham, forgotten, known, tokens, expired, all_spam, all_ham; };

/* Everything of the file in memory; a missing file is an empty one. */
int learner_open(const char *path, size_t tokens_max, struct learner **out, struct err *e) MUST_CHECK;
/* Learn as (again: nothing; as the other: the old one is taken back), or forget (BAYES_NONE). */
void learner_message(struct learner *l, const struct spam *s, struct str message, enum bayes_class as);
/* The same of a message that somebody else has read. What was learned of itself never changes what a person said. */
void learner_taught(struct learner *l, const struct taught *t);
/* Old words go when there are too many; the new file replaces the old one, synced. */
int learner_commit(struct learner **l, struct learn_stats *out, struct err *e) MUST_CHECK;
/* What the file holds; nothing is changed. */
void learner_look(struct learner **l, struct learn_stats *out);
void learner_abort(struct learner **l);

#endif
