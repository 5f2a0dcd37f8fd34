/* saslauthd's socket protocol, the server's side: four counted strings in (16-bit big-endian counts; a fifth, the client's address, from newer
 * libraries), one counted string out. Pure (fuzzed). */
#ifndef AUTHD_MUXPROTO_H
#define AUTHD_MUXPROTO_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { MUX_FIELDS = 4, MUX_FIELD_MAX = 1024, MUX_REQUEST_MAX = (MUX_FIELDS + 1) * (2 + MUX_FIELD_MAX) };

struct mux_request {
	struct str login, password, service, realm;	/* borrow the input */
};

/* 0: whole (bytes behind the fourth field are not looked at: the fifth is optional and never waited for); 1: need more; -1: ERR_INPUT. */
int mux_request_parse(struct str in, struct mux_request *out, struct err *e) MUST_CHECK;
void mux_reply_put(struct buf *out, const char *text);

#endif
