/* Header fields of a message held in memory (LF or CRLF line ends), RFC 5322 section 2.2 and 3.6, tolerant of what is found in the wild. */
#ifndef MAIL_HEAD_H
#define MAIL_HEAD_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct mail_field {
	struct str name;	/* without colon and blanks before it */
	struct str value;	/* raw, folds inside, without the final line end; leading blank kept */
	struct str whole;	/* name through final line end */
};
/* Next field at *in, which advances. 0; 1: the header has ended (empty line consumed, or end of input); lines that are no field are skipped
 * into *whole with an empty name. */
int mail_field_next(struct str *in, struct mail_field *out) MUST_CHECK;
/* First field of that name (case folded) at or after *in. false: none. */
bool mail_field_find(struct str head, const char *name, struct mail_field *out);
/* All fields, for who looks for many: found by name in one walk each, and the walk is short. */
struct mail_fields {
	struct mail_field *v;
	size_t n;
	bool cut;	/* the arena was full: there are more */
};
struct mail_fields mail_fields_of(struct arena *a, struct str head);
const struct mail_field *mail_fields_find(const struct mail_fields *f, const char *name);	/* the first; NULL: none */
struct str mail_unfold(struct arena *a, struct str value);	/* line ends removed, trimmed */

/* Does an Authentication-Results field (RFC 8601) of this value speak in the name of hostname? However that is written: in any case, behind comments, as a quoted
 * string, with a dot at its end. */
bool mail_results_claim(struct arena *a, struct str value, const char *hostname);

/* Addresses (RFC 5322 3.4), tolerant: groups, comments, quoted strings, route; depth and count limited. */
struct mail_addr {
	struct str name;	/* display name or comment, unquoted, encoded words kept; p NULL: none */
	struct str route;	/* source route, p NULL: none */
	struct str local;	/* unquoted local part; group start: the group's name with domain p NULL; group end: both NULL */
	struct str domain;
	bool doubtful;		/* more than one "@", or words side by side: what is here is a guess, to be shown and not to be sent to */
	struct mail_addr *next;
};
enum { MAIL_ADDR_MAX = 10000, MAIL_COMMENT_DEPTH_MAX = 50 };
int mail_addr_parse(struct arena *a, struct str value, struct mail_addr **list_out, struct err *e) MUST_CHECK;

/* Dates: RFC 5322 3.3 with obsolete zones. */
int mail_date_parse(struct str value, int64_t *unix_out, int *zone_minutes_out) MUST_CHECK;
void mail_date_format(int64_t when, int zone_minutes, struct buf *out);	/* "Mon, 02 Jan 2006 15:04:05 +0000" */

/* RFC 2047 encoded words to UTF-8 (charsets through iconv); controls become blanks; at most 64 KiB out. */
void mail_words_decode(struct str in, struct buf *out);
/* A structured value "token; a=b; c*0*=…" with RFC 2231 continuations and charsets, every wrong form clients accept. */
struct mail_param { struct str name, value; struct mail_param *next; };	/* value decoded to UTF-8 */
int mail_params_parse(struct arena *a, struct str value, struct str *token_out, struct mail_param **list_out) MUST_CHECK;

/* Convert from charset to UTF-8 (invalid bytes: U+FFFD); unknown charset: -1 and bytes above 0x7f become U+FFFD. */
int mail_charset_utf8(struct str charset, struct str in, struct buf *out) MUST_CHECK;
/* The same, but 1 and nothing appended when a byte cannot be converted, -1 when the charset is unknown. */
int mail_charset_strict(struct str charset, struct str in, struct buf *out) MUST_CHECK;
/* Load the converters of charsets.def for good: for processes that may not load code later. Call before confinement. */
void mail_charsets_load(void);
void mail_qp_decode(struct str in, bool header_q, struct buf *out);	/* tolerant */
void mail_b64_decode(struct str in, struct buf *out);			/* tolerant: skips junk, stops at padding */

#endif
