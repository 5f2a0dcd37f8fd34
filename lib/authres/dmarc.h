/* DMARC (RFC 7489): does what SPF and DKIM authenticated belong to the domain that people see in From, and what does that domain want when not?
 *
 * A message with several From domains is measured by each of them and the strictest outcome counts (6.6.1), so that a second From hides nothing.
 */
#ifndef AUTHRES_DMARC_H
#define AUTHRES_DMARC_H

#include "authres/dkim.h"
#include "authres/psl.h"
#include "authres/spf.h"

enum { DMARC_FROMS_MAX = 5 };	/* different domains in From; with more the message cannot be measured: "permerror" */

enum dmarc_policy { DMARC_NOTHING, DMARC_QUARANTINE, DMARC_REJECT };
const char *dmarc_policy_name(enum dmarc_policy p);	/* none quarantine reject */

struct dmarc_query {
	struct str message;
	const struct psl *psl;		/* may be NULL */
	const struct spf_result *spf;	/* of the envelope sender, or of HELO when it is empty; NULL: not checked */
	const struct dkim_result *dkim;
	size_t n_dkim;
	unsigned draw;			/* 0..99, by chance: pct= of the failing messages get the policy, others the next weaker one */
};
struct dmarc_record {
	enum dmarc_policy policy, sub_policy;	/* p=, sp= */
	bool strict_dkim, strict_spf;		/* adkim=s, aspf=s */
	unsigned percent;
	struct str rua;			/* where reports go; borrowed from the text */
};
struct dmarc_result {
	enum auth_result result;	/* none pass fail temperror permerror */
	enum dmarc_policy policy;	/* what to do; DMARC_NOTHING unless result is fail */
	enum dmarc_policy published;
	bool vouched;			/* set by the caller: it fails, but a trusted ARC chain says that it passed before (policy is none then) */
	struct str domain;		/* of From */
	struct str organisation;	/* whose record it was */
	bool sampled_out;		/* it got a weaker policy by pct= */
	bool spf_aligned, dkim_aligned;
	struct dmarc_record record;	/* of pass and fail */
	const char *why;
};
struct dmarc_result dmarc_check(struct arena *a, const struct auth_dns *dns, const struct dmarc_query *q);

/* -1: it is no DMARC record, or none that says anything (6.6.3). */
int dmarc_record_parse(struct str text, struct dmarc_record *out) MUST_CHECK;

#endif
