/* Canonical forms of DKIM (RFC 6376 3.4), fed to a digest piece by piece. Line ends may be LF or CRLF: both are CRLF to the digest. */
#ifndef AUTHRES_CANON_H
#define AUTHRES_CANON_H

#include "authres/sigcheck.h"

struct canon_sink {
	void (*put)(void *ctx, struct str bytes);
	void *ctx;
};
/* One field with its line end ("Name: value", folds inside). bare: without the final CRLF (the signature's own field). */
void canon_field(const struct canon_sink *to, struct str field, bool relaxed, bool bare);
/* Returns the length of the whole canonical body; no more than max bytes of it are put. */
uint64_t canon_body(const struct canon_sink *to, struct str body, bool relaxed, uint64_t max);

#endif
