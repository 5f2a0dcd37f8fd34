/* SEARCH programs (RFC 3501 section 6.4.4): the text after the charset to a tree of keys; the rows are search.def. Strings stay as sent, in
 * the search's charset. */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "imap/lex.h"
#include "imap/seqset.h"

enum {
	IMAP_SEARCH_DEPTH_MAX = 100,	/* NOT, OR and parentheses */
	IMAP_SEARCH_KEYS_MAX = 10000,
};

enum imap_search_op {
	IMAP_SEARCH_ALL,
	IMAP_SEARCH_AND,	/* sub: all must hold (a parenthesised list) */
	IMAP_SEARCH_OR,		/* sub: one must hold */
	IMAP_SEARCH_NOT,	/* only while parsing: becomes AND, negated */
	IMAP_SEARCH_SET,	/* sequence numbers */
	IMAP_SEARCH_UID,
	IMAP_SEARCH_FLAG,
	IMAP_SEARCH_RECENT,
	IMAP_SEARCH_NEW,
	IMAP_SEARCH_KEYWORD,
	IMAP_SEARCH_LARGER,
	IMAP_SEARCH_SMALLER,
	IMAP_SEARCH_BEFORE,
	IMAP_SEARCH_ON,
	IMAP_SEARCH_SINCE,
	IMAP_SEARCH_SENTBEFORE,
	IMAP_SEARCH_SENTON,
	IMAP_SEARCH_SENTSINCE,
	IMAP_SEARCH_HEADER,	/* field, text */
	IMAP_SEARCH_BODY,
	IMAP_SEARCH_TEXT,
	IMAP_SEARCH_MODSEQ,	/* number: at least that mod-sequence */
	IMAP_SEARCH_OLDER,	/* number: seconds */
	IMAP_SEARCH_YOUNGER,
	IMAP_SEARCH_SAVEDBEFORE,
	IMAP_SEARCH_SAVEDON,
	IMAP_SEARCH_SAVEDSINCE,
	IMAP_SEARCH_EMAILID,
	IMAP_SEARCH_THREADID,
	IMAP_SEARCH_FUZZY,	/* only while parsing: becomes AND, all below it fuzzy */
};

struct imap_search_key {
	enum imap_search_op op;
	bool negate;
	bool fuzzy;			/* RFC 6203: the words of text in any order */
	enum imap_flag flag;
	struct str field, text;		/* text: also a keyword's name */
	int64_t days;			/* since 1970-01-01 */
	uint64_t number;
	struct imap_seqset set;		/* not resolved */
	struct imap_search_key *sub, *next;
	void *own;			/* the program's */
};

/* What a search is to return (RFC 4466 2.6.1). */
enum {
	IMAP_RETURN_MIN = 1, IMAP_RETURN_MAX = 2, IMAP_RETURN_ALL = 4, IMAP_RETURN_COUNT = 8,	/* RFC 4731 */
	IMAP_RETURN_SAVE = 16,									/* RFC 5182 */
	IMAP_RETURN_PARTIAL = 32,								/* RFC 5267, RFC 9394 */
	IMAP_RETURN_UPDATE = 64, IMAP_RETURN_CONTEXT = 128,					/* RFC 5267 */
	IMAP_RETURN_RELEVANCY = 256,								/* RFC 6203 */
};
struct imap_partial {
	int64_t lo, hi;		/* positions from 1, or from the end with -1 the last one; the lower position first */
};
struct imap_search_return {
	bool given;		/* "RETURN (…)" was there: the answer is an ESEARCH response */
	unsigned what;		/* IMAP_RETURN_*; "RETURN ()" means ALL */
	struct imap_partial partial;
	struct str items;	/* of UPDATE: FETCH items of messages that come to the result (RFC 5465 7), with their "(…)"; empty: none */
};
/* "RETURN" SP "(" … ")" SP, when it is there. */
int imap_get_search_return(struct imap_lex *l, struct imap_search_return *out, struct err *e) MUST_CHECK;
/* "1:500", "-1:-100" (RFC 9394 3.1) */
int imap_get_partial(struct imap_lex *l, struct imap_partial *out, struct err *e) MUST_CHECK;
/* The positions from..to, 0-based and to excluded, that a range means of n results. */
void imap_partial_resolve(const struct imap_partial *p, size_t n, size_t *from_out, size_t *to_out);

/* search-key *(SP search-key) to the end of the text: *out is an AND. */
int imap_get_search(struct imap_lex *l, struct imap_search_key **out, struct err *e) MUST_CHECK;
/* "CHARSET" SP astring SP, when it is there; else p NULL. */
int imap_get_search_charset(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;

#endif
