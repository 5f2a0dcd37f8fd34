/* The Authentication-Results field (RFC 8601). */
#ifndef AUTHRES_RESULTS_H
#define AUTHRES_RESULTS_H

#include "authres/arc.h"
#include "authres/dmarc.h"
#include "base/buf.h"

/* What was found out about one message. */
struct authres {
	const char *hostname;			/* authserv-id */
	struct str sender;			/* of the envelope */
	const struct spf_result *spf;		/* NULL: not checked, as with the others */
	const struct dkim_result *dkim;
	size_t n_dkim;
	const struct arc_result *arc;
	const struct dmarc_result *dmarc;
};
/* Append the value: "mx.example.org;\n\tspf=pass smtp.mailfrom=example.com;\n\tdkim=…". What strangers wrote is a token, or a quoted string without controls.
 * ARC is named when there is a chain. */
void authres_format(struct buf *out, const struct authres *r);

#endif
