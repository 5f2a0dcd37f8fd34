/* ENVELOPE and BODYSTRUCTURE as text (RFC 3501 section 7.4.2), from a header and from a tree of parts. Pure; fuzzed. */
#ifndef IMAP_STRUCTURE_H
#define IMAP_STRUCTURE_H

#include "base/arena.h"
#include "base/buf.h"
#include "mail/mime.h"

void envelope_put(struct buf *out, struct arena *scratch, struct str head);
/* The same. addresses not NULL: what the fields From, To and Cc name, in scratch, which the caller releases then. */
struct envelope_addresses {
	const struct mail_addr *from, *to, *cc;	/* NULL: none */
};
void envelope_put_fields(struct buf *out, struct arena *scratch, const struct mail_fields *fields, struct envelope_addresses *addresses);
/* extended: BODYSTRUCTURE; else BODY. */
void body_put(struct buf *out, struct arena *scratch, const struct mime_part *p, bool extended);

/* BODY and BODYSTRUCTURE as one blob, to be kept: bytes of BODY:32 (little-endian), BODY, BODYSTRUCTURE. */
void structure_pack(struct buf *out, struct arena *scratch, const struct mime_part *p);
int structure_unpack(struct str blob, bool extended, struct str *out);	/* 0, or -1: it is none */

#endif
