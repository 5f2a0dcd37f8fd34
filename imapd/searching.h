/* A search in progress: the walk over the selected folder that SEARCH, SORT and THREAD share (cmd_search.c). A command embeds struct searching as its
 * first member, fills in then, and gets the sequence numbers of what matches. */
#ifndef IMAPD_SEARCHING_H
#define IMAPD_SEARCHING_H

#include "answers.h"
#include "results.h"
#include "search.h"

struct searching {
	struct matcher matcher;
	struct imap_search_return ret;
	struct results results;		/* sequence numbers, then (numbers_final) what is answered */
	struct answer answer;
	struct str text;		/* charset and keys, as they came */
	struct str key;			/* all of the command: its answer may be kept; empty: never */
	struct answer_making making;
	struct answer_kept *kept;	/* the answer is there already */
	size_t kept_at;
	uint32_t next;
	bool failed;
	bool scored;			/* scores are wanted, though not in the answer */
	enum cmd_result (*then)(struct client *c, struct searching *s, struct err *e);	/* a step: after the walk */
};
/* [charset SP] keys to the end, then the walk. charset_due: the charset comes first and without CHARSET (SORT, THREAD). */
enum cmd_result searching_start(struct client *c, struct searching *s, struct imap_lex *l, bool charset_due, struct err *e);
/* UIDs where they are asked for; what SAVE saves; UPDATE. verb: of the plain response. */
int searching_finish(struct client *c, struct searching *s, const char *verb, struct err *e) MUST_CHECK;
/* Verb and arguments, from after the verb to the line's end: SORT and THREAD, whose answers are kept. Before anything is parsed. */
void searching_keeps(struct client *c, struct searching *s, const struct imap_lex *l);
enum cmd_result searching_answer(struct client *c, struct searching *s, struct err *e);	/* a step */

#endif
