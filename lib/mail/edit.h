/* Header edits: the message in the spool is never changed; edits are records of the envelope, applied by whoever writes a copy
 * (deliver, remote). One text per edit:
 *	"+Name: value"		insert at the top (a later "+" goes above an earlier one)
 *	">Name: value"		add at the end of the header
 *	"<K Name: value"	insert before the K-th field (1 = first) that the message itself has; when it has fewer: add at the end
 *	"-Name#K"		delete the K-th (1 = first) field of that name; K = 0: all
 *	"=Name#K: value"	replace the K-th field's value; when there is none: add at the end
 * Values may hold folded lines ("\n " or "\n\t"); any other control byte, or a name that is no RFC 5322 field name, is ERR_INPUT.
 */
#ifndef MAIL_EDIT_H
#define MAIL_EDIT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

int mail_edit_check(struct str edit, struct err *e) MUST_CHECK;
/* head: the header section with LF line ends, without the empty line. Appends the edited section to *out. Fields that are not edited stay byte
 * for byte. */
int mail_edit_apply(struct str head, const struct str *edits, size_t n, struct buf *out, struct err *e) MUST_CHECK;
/* Length of the header section at the start of a message (LF or CRLF), the empty line excluded; *body_out where the body starts. 1: more bytes needed
 * (no empty line in in); at the message's end pass final = true. */
int mail_head_find(struct str in, bool final, size_t *head_n_out, size_t *body_out) MUST_CHECK;

#endif
