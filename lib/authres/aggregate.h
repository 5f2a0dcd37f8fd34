/* What DMARC found, kept for reports to the owners of domains (RFC 7489 7.2): a line for each message that was measured, and the report as XML (appendix C).
 *
 * A line is "SECONDS\tNAME=value\t…": lines that differ in nothing but the time are one row of the report. Values hold no controls.
 */
#ifndef AUTHRES_AGGREGATE_H
#define AUTHRES_AGGREGATE_H

#include "authres/dmarc.h"
#include "base/buf.h"
#include "base/err.h"

enum {
	AGGREGATE_LINE_MAX = 4000,
	AGGREGATE_VALUE_MAX = 255,
	AGGREGATE_RUA_MAX = 1000,
	AGGREGATE_KEYS_MAX = 10,	/* DKIM results in a line */
};

enum aggregate_field {		/* in the order of a line; aggregate_fields.def */
#define AGGREGATE(id, name, max) AGG_##id,
#include "authres/aggregate_fields.def"
#undef AGGREGATE
	AGG_MAX_
};
struct aggregate {
	int64_t when;
	struct str v[AGG_MAX_];			/* empty: not said */
	struct str dkim[AGGREGATE_KEYS_MAX];	/* "domain selector result" */
	size_t n_dkim;
};
/* Append the line with its "\n". -1: longer than AGGREGATE_LINE_MAX, or a value that may not be in one. */
int aggregate_put(struct buf *out, const struct aggregate *a) MUST_CHECK;
/* line: without its end; borrowed by *out. */
int aggregate_parse(struct str line, struct aggregate *out) MUST_CHECK;

/* The line of a message. what: what was done, none quarantine reject. why: of another policy than the published one, "" or local_policy sampled_out …;
 * comment: about that. false: the domain wants no reports (no rua=), or there is nothing to tell. Strings are borrowed, some made in arena. */
struct aggregate_query {
	const struct dmarc_result *dmarc;
	const struct spf_result *spf;
	const struct dkim_result *dkim;
	size_t n_dkim;
	struct str client, envelope_from;
	const char *what, *why, *comment;
	int64_t now;
};
bool aggregate_make(struct arena *a, const struct aggregate_query *q, struct aggregate *out);

bool aggregate_is_name(struct str s);	/* of a domain or selector, in letters, digits, "-", "_" */

/* --- the report --- */

struct aggregate_row {
	struct aggregate a;
	uint64_t count;
};
struct aggregate_report {
	struct str organisation, email, id, domain;	/* ours, ours, "id", whose policy it is */
	int64_t begin, end;
	const struct aggregate_row *rows;		/* of that domain and one policy; at least one */
	size_t n_rows;
};
void aggregate_xml(const struct aggregate_report *r, struct buf *out);

/* rua=: the next address that reports go to. Only mailto: counts. *max_out: most bytes it takes, 0: any. false: no more. */
bool aggregate_rua_next(struct str *list, struct arena *a, struct str *address_out, uint64_t *max_out);
/* "example.com._report._dmarc.other.example": asked for TXT when the address is of another organisation (7.1); empty: no need. */
struct str aggregate_permission(struct arena *a, const struct psl *psl, struct str domain, struct str address);

#endif
