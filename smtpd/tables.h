/* Tables of the front. */
#ifndef SMTPD_TABLES_H
#define SMTPD_TABLES_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "front/front.h"

/* Open what the configuration names; the template's prepare. ERR_CONF. */
int tables_open(struct front_env *env, struct err *e) MUST_CHECK;
/* smtpd_discard_ehlo_keyword_address_maps: append the words for a client; false: it is in none. */
bool tables_discard(const struct front_env *env, struct str client, struct buf *out);
/* smtpd_reject_footer_maps: append what is to be added to a refusal; false: it is in none. */
bool tables_footer(const struct front_env *env, struct str reply, struct buf *out);

#endif
