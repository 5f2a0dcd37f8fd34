/* FETCH items (RFC 3501 section 6.4.5) from a command's text to a set of bits and a list of sections; the rows are fetch.def. */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "imap/lex.h"
#include "imap/search.h"

enum imap_fetch_item {
#define FETCH_ITEM(id, name, source) IMAP_FETCH_##id,
#define FETCH_WHOLE(name, answer, kind, peek)
#define FETCH_BRACKET(name, answer, peek)
#define FETCH_MACRO(name, items)
#include "imap/fetch.def"
#undef FETCH_ITEM
#undef FETCH_WHOLE
#undef FETCH_BRACKET
#undef FETCH_MACRO
	IMAP_FETCH_MAX_
};
#define FETCH_BIT(id) (1u << IMAP_FETCH_##id)

enum {
	IMAP_SECTIONS_MAX = 1000,	/* sections of one command */
	IMAP_PART_DEPTH_MAX = 100,	/* numbers in 1.2.3 */
};

enum imap_section_kind {
	IMAP_SECTION_ALL,		/* [] or [1.2]: the message, or the part's body */
	IMAP_SECTION_HEADER,		/* of the message or of an embedded message */
	IMAP_SECTION_FIELDS,		/* HEADER.FIELDS */
	IMAP_SECTION_FIELDS_NOT,
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME,		/* header of a part */
};

struct imap_section {
	enum imap_section_kind kind;
	const char *answer;		/* "BODY", "RFC822.TEXT" */
	bool bracket;			/* label goes between [ and ] */
	bool peek;			/* does not set \Seen */
	bool binary, size;		/* BINARY (RFC 3516): the part decoded; only its size */
	bool partial;
	uint64_t from, count;		/* of the partial: <from.count> */
	uint32_t *path;			/* part numbers, each at least 1 */
	size_t depth;
	struct str *fields;
	size_t n_fields;
	struct str label;		/* as the client spelled it (Apple Mail compares), safe to send */
	struct imap_section *next;
};

struct imap_fetch {
	uint32_t items;			/* FETCH_BIT() */
	struct imap_section *sections;	/* in the order of the command */
	size_t n_sections;
	bool changed, vanished;		/* modifiers */
	uint64_t changedsince;
	bool lazy;			/* PREVIEW only when it is known already */
	bool part;			/* PARTIAL (RFC 9394 3.2) */
	struct imap_partial partial;
};

int imap_get_fetch(struct imap_lex *l, struct imap_fetch *out, struct err *e) MUST_CHECK;
/* [SP "(" modifier *(SP modifier) ")"]: CHANGEDSINCE and VANISHED (RFC 7162). */
int imap_get_fetch_modifiers(struct imap_lex *l, struct imap_fetch *out, struct err *e) MUST_CHECK;
/* "1.2.HEADER.FIELDS (From To)" and so on, up to the "]" (not taken). */
int imap_get_section(struct imap_lex *l, struct imap_section *out, struct err *e) MUST_CHECK;

#endif
