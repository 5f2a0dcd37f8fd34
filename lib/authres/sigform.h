/* What DKIM and ARC sign: digests of a body and of named fields (RFC 6376 3.7). Shared by checking and signing. */
#ifndef AUTHRES_SIGFORM_H
#define AUTHRES_SIGFORM_H

#include <stdint.h>

#include "authres/sigcheck.h"
#include "base/arena.h"
#include "mail/head.h"

/* Returns the length of the whole canonical body; max bytes of it are digested. */
uint64_t sigform_body(struct str body, bool relaxed, uint64_t max, unsigned char out[32]);
/* Add the fields that names ("a:b:c") lists, each name from the bottom up (5.4.2); a name without a field (more) adds nothing, own is passed over. -1: more than
 * names_max names. */
int sigform_fields(struct digest *d, struct arena *a, const struct mail_fields *f, struct str names, size_t names_max, const struct mail_field *own, bool relaxed) MUST_CHECK;
/* Add one whole field with its line end. */
void sigform_field(struct digest *d, struct str field, bool relaxed);
/* Add the signature's own field, without what b= holds and without its last line end. */
void sigform_own(struct digest *d, struct arena *a, const struct mail_field *own, bool relaxed);

#endif
