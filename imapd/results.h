/* The answer to a search: numbers in the order in which they are to be told, and the responses SEARCH, SORT (RFC 3501, RFC 5256) and ESEARCH (RFC 4731, 5267,
 * 6203, 7377, 9394) made of them, in pieces. */
#ifndef IMAPD_RESULTS_H
#define IMAPD_RESULTS_H

#include "imap/search.h"
#include "session.h"

enum { RESULTS_FEW = 250 };
struct results {
	uint32_t *v;		/* sequence numbers or UIDs */
	uint8_t *scores;	/* NULL: not wanted */
	uint64_t *modseqs;	/* NULL: not wanted */
	size_t n, cap;
	struct arena *a;
};
/* With room for so many, which grows: most searches find few messages of many. -1 ERR_LIMIT. */
int results_init(struct results *r, struct arena *a, size_t room, bool scores, bool modseqs, struct err *e) MUST_CHECK;
void results_add(struct results *r, uint32_t number, unsigned score, uint64_t modseq);
/* In the order of indices; keeps what belongs to each number. */
int results_permute(struct results *r, struct arena *a, const uint32_t *order, struct err *e) MUST_CHECK;

uint32_t results_from(const uint32_t *v, size_t n, uint32_t seq);	/* the first of n ascending numbers that is not below; 0: none */

struct answer {
	const struct results *r;
	struct imap_search_return ret;	/* not given: a plain response */
	const char *verb;		/* of the plain response */
	struct str correlator;		/* after the tag: " MAILBOX x UIDVALIDITY 1"; may be empty */
	bool uid;
	/* inside */
	unsigned phase;
	size_t at, to;
	bool first;
};
bool answer_step(struct client *c, struct answer *a);	/* true: all was written */

#endif
