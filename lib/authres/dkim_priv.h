/* Shared by dkim.c (checking) and dkim_parse.c (signature fields and key records). */
#ifndef AUTHRES_DKIM_PRIV_H
#define AUTHRES_DKIM_PRIV_H

#include "authres/dkim.h"
#include "mail/head.h"

struct dkim_sig {
	enum sig_kind kind;
	struct str domain, selector, identity_domain;
	struct str names;	/* h=, raw */
	struct str b, bh;	/* decoded */
	bool relaxed_head, relaxed_body;
	uint64_t length;	/* l=, or UINT64_MAX */
	uint64_t signed_at, expires;	/* 0: not said */
};
/* An ARC-Message-Signature (RFC 8617 4.1.2) is a signature without v=, whose i= is a number, and which covers no ARC-Seal. */
enum dkim_form { DKIM_FORM_SIGNATURE, DKIM_FORM_ARC };
/* value: of such a field. Fills what it can of res for the report. -1: *result and *why. */
int dkim_sig_parse(struct arena *a, struct str value, enum dkim_form form, struct dkim_sig *out, struct dkim_result *res) MUST_CHECK;
/* Tags that all such fields have: d= s= a= b=. */
int dkim_sig_common(struct arena *a, const struct auth_tags *t, struct dkim_sig *out, struct dkim_result *res) MUST_CHECK;

/* One message under check. */
struct dkim_body {
	bool relaxed;
	uint64_t max, length;
	unsigned char hash[32];
};
struct dkim_run {
	struct arena *a;
	const struct auth_dns *dns;
	struct mail_fields fields;
	struct str body;
	int64_t now;
	struct dkim_body done[DKIM_SIGNATURES_MAX];	/* the same body is digested once */
	size_t n_done;
};
void dkim_run_start(struct dkim_run *r, struct arena *a, const struct auth_dns *dns, struct str message, int64_t now);
/* At most DKIM_SIGNATURES_MAX calls with one run. */
void dkim_check_field(struct dkim_run *r, const struct mail_field *own, enum dkim_form form, struct dkim_result *res);
int dkim_find_key(struct dkim_run *r, const struct dkim_sig *s, struct dkim_key *key, struct dkim_result *res) MUST_CHECK;
bool dkim_list_has(struct str list, const char *word);	/* "a:b : c", case folded */

#endif
