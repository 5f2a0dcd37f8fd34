/* What is to be learned of a message without its text: a digest that names it and the hashes of its words (bayes.h). Made by who has read the message and may
 * write nothing, kept in a file, and learned later. On the wire: class, told, digest, tokens; in the file each with length and checksum before it.
 */
#ifndef SPAM_TAUGHT_H
#define SPAM_TAUGHT_H

#include "base/buf.h"
#include "spam/bayes.h"

enum {
	TAUGHT_HEAD = 2 + BAYES_DIGEST,
	TAUGHT_MAX = TAUGHT_HEAD + 8 * BAYES_TOKENS_MAX,
	TAUGHT_FILE_MAX = 64 << 20,
};

struct spam_result;
struct taught {
	enum bayes_class as;	/* BAYES_NONE: forget */
	bool told;		/* by a person; false: of itself */
	bool known;		/* of what a person says: learned as that already, as far as is known where the message was read */
	unsigned char digest[BAYES_DIGEST];
	uint64_t *tokens;
	size_t n_tokens;
};

struct str taught_format(struct arena *a, const struct taught *t);
int taught_parse(struct arena *a, struct str record, struct taught *out, struct err *e) MUST_CHECK;
int taught_head(struct str record, struct taught *out, struct err *e) MUST_CHECK;	/* the same without the tokens */

/* A file of them. */
void taught_file_put(struct buf *b, struct str record);
/* The next record of what is left of a file. 0; 1 the end; -1 what follows is cut short or damaged. */
int taught_file_next(struct str *rest, struct str *record_out) MUST_CHECK;

/* Is the message under check to be learned by SpamAssassin's conditions (bayes_auto_learn)? Sets learn of its result. */
void autolearn(struct msg *m, struct spam_result *out);

/* What a person says of a message. */
void spam_teach(const struct spam *s, struct arena *a, struct str message, enum bayes_class as, struct str *out);

#endif
