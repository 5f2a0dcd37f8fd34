/* Shared by dkim.c (checking) and dkim_parse.c (signature fields and key records). */
#ifndef AUTHRES_DKIM_PRIV_H
#define AUTHRES_DKIM_PRIV_H

#include "authres/dkim.h"

struct dkim_sig {
	enum sig_kind kind;
	struct str domain, selector, identity_domain;
	struct str names;	/* h=, raw */
	struct str b, bh;	/* decoded */
	bool relaxed_head, relaxed_body;
	uint64_t length;	/* l=, or UINT64_MAX */
	uint64_t signed_at, expires;	/* 0: not said */
};
/* value: of a DKIM-Signature field. Fills what it can of res for the report. -1: *result and *why. */
int dkim_sig_parse(struct arena *a, struct str value, struct dkim_sig *out, struct dkim_result *res) MUST_CHECK;
bool dkim_list_has(struct str list, const char *word);	/* "a:b : c", case folded */

#endif
