/* Making DKIM signatures (RFC 6376 section 5, 8301, 8463): relaxed/relaxed, always over the whole body (no l=), over the fields of signed.def. The private key
 * is elsewhere: a function gives the signature of a hash.
 *
 *	struct dkim_letter l = dkim_letter(a, head, body);
 *	for each key: if (dkim_sign(a, &l, &signer, now, &field, &e) < 0) …	field: "DKIM-Signature: v=1; …", folds inside, no final line end
 */
#ifndef AUTHRES_DKIM_SIGN_H
#define AUTHRES_DKIM_SIGN_H

#include "authres/sigcheck.h"
#include "base/buf.h"
#include "base/err.h"
#include "mail/head.h"

enum { DKIM_SIGNED_FIELD_MAX = 8192 };

struct dkim_signer {
	struct str domain, selector;
	enum sig_kind kind;
	/* Append the raw signature of hash by the key of domain and selector. */
	int (*sign)(void *ctx, const struct dkim_signer *k, const unsigned char hash[32], struct buf *out, struct err *e);
	void *ctx;
};
/* A message as it will leave: the header section with all edits, and the body. */
struct dkim_letter {
	struct mail_fields fields;
	unsigned char body[32];		/* hash of the body */
};
struct dkim_letter dkim_letter(struct arena *a, struct str head, struct str body);
int dkim_sign(struct arena *a, const struct dkim_letter *l, const struct dkim_signer *k, int64_t now, struct str *field_out, struct err *e) MUST_CHECK;

/* Shared with ARC: "rsa-sha256" …; h= for these fields ("from:to:…", folded), without those that skip names (NULL: none). */
const char *dkim_algorithm(enum sig_kind kind);
void dkim_put_names(struct buf *out, const struct mail_fields *f, const char *const *more, size_t n_more);
/* text: a field that ends in "b="; d: what is signed before it. Ends d, appends b= (folded). */
int dkim_finish(struct arena *a, struct buf *text, struct digest **d, const struct dkim_signer *k, struct err *e) MUST_CHECK;

#endif
