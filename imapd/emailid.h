/* EMAILID (RFC 8474): a name made of a message's content and INTERNALDATE, so that it is the same after COPY, MOVE, RENAME, a rebuilt index and on another
 * server of this kind. Computed once, then cached. */
#ifndef IMAPD_EMAILID_H
#define IMAPD_EMAILID_H

#include "base/attr.h"
#include "base/err.h"
#include "store/store.h"

enum { EMAILID_SIZE = 34 };	/* "M", 32 hexadecimal digits, NUL */
int emailid_get(struct mbox_view *v, uint32_t seq, int64_t internaldate, char out[EMAILID_SIZE], struct err *e) MUST_CHECK;

#endif
