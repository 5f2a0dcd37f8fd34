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
};

struct imap_search_key {
	enum imap_search_op op;
	bool negate;
	enum imap_flag flag;
	struct str field, text;		/* text: also a keyword's name */
	int64_t days;			/* since 1970-01-01 */
	uint64_t number;
	struct imap_seqset set;		/* not resolved */
	struct imap_search_key *sub, *next;
};

/* search-key *(SP search-key) to the end of the text: *out is an AND. */
int imap_get_search(struct imap_lex *l, struct imap_search_key **out, struct err *e) MUST_CHECK;
/* "CHARSET" SP astring SP, when it is there; else p NULL. */
int imap_get_search_charset(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;

#endif
