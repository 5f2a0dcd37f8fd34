/* The Authentication-Results field (RFC 8601). */
#ifndef AUTHRES_RESULTS_H
#define AUTHRES_RESULTS_H

#include "authres/dmarc.h"
#include "base/buf.h"

/* Append the value: "mx.example.org;\n\tspf=pass smtp.mailfrom=example.com;\n\tdkim=…". What strangers wrote is a token, or a quoted string without controls.
 * sender: the envelope sender. */
void authres_format(struct buf *out, const char *hostname, struct str sender, const struct spf_result *spf, const struct dkim_result *dkim, size_t n_dkim,
		    const struct dmarc_result *dmarc);

#endif
