/* RFC 5321 paths and what servers do with addresses. Pure. */
#ifndef SMTP_ADDR_H
#define SMTP_ADDR_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* RFC 5321 4.5.3.1; local parts are longer in the wild than its 64. */
enum { SMTP_LOCAL_MAX = 255, SMTP_DOMAIN_MAX = 255 };

struct smtp_addr {
	struct str local;	/* unquoted local part; empty with empty domain: the null address */
	struct str domain;	/* lower-cased; "[1.2.3.4]" literal kept with brackets; empty: none given */
	bool quoted;		/* the local part needed or had quotes */
};

/* One path "<@route:local@domain>" or, when !strict, also without brackets; the rest (ESMTP parameters) is left in *rest. Source routes are
 * accepted and dropped (RFC 5321 4.1.1.3, appendix C). utf8: SMTPUTF8 in force. Errors: ERR_INPUT with a text that names the fault ("local part longer than 255",
 * "bad character …"). Strings live in a. */
int smtp_path_parse(struct arena *a, struct str in, bool strict, bool utf8, struct smtp_addr *out, struct str *rest, struct err *e) MUST_CHECK;
/* local@domain, unquoted-or-quoted as a path needs it (no brackets). */
void smtp_addr_format(const struct smtp_addr *addr, struct buf *out);
/* Parse what smtp_addr_format or an administrator wrote: local@domain or local alone. */
int smtp_addr_parse(struct arena *a, struct str in, struct smtp_addr *out, struct err *e) MUST_CHECK;
bool smtp_domain_valid(struct str d);		/* host name syntax (letters digits hyphen, UTF-8 labels), 1..255 */
struct str smtp_domain_of(struct str address);	/* what is behind the last @ of one that was taken; empty: nothing */
bool smtp_helo_valid(struct str s);		/* domain or address literal */
bool smtp_literal_parse(struct str s, uint8_t addr[16]);	/* "[1.2.3.4]" "[IPv6:…]" */
/* True when the local part routes elsewhere: holds @, % or ! (RFC: never an authorised destination). */
bool smtp_addr_routed(const struct smtp_addr *addr);

/* xtext (RFC 3461 section 4); decoded controls are refused. */
int smtp_xtext_decode(struct str in, struct buf *out) MUST_CHECK;
void smtp_xtext_encode(struct str in, struct buf *out);

#endif
