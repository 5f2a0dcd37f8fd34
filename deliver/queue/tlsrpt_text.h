/* What TLS reports are made of (RFC 8460): the record that asks for them, and the report itself. Pure; the record is fuzzed. */
#ifndef DELIVER_TLSRPT_TEXT_H
#define DELIVER_TLSRPT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { TLSRPT_RUA_MAX = 5, TLSRPT_DAY_S = 86400 };

struct tlsrpt_row {
	int64_t day;		/* since 1970, UTC */
	struct str domain, policy, result, exchanger, address, own;	/* the last three may be empty; own: our address */
	uint64_t n;
};

/* The mail addresses of a record "v=TLSRPTv1; rua=mailto:a@x,https://…" (RFC 8460 3), percent decoded, on a. 0: *n_out of out (none: only other schemes); 1: the
 * record is something else; -1: ERR_INPUT. */
int tlsrpt_record_parse(struct str record, struct arena *a, struct str out[TLSRPT_RUA_MAX], size_t *n_out, struct err *e) MUST_CHECK;

/* What is known of the domain's MTA-STS policy; n 0: nothing. */
struct tlsrpt_policy {
	const char *mode;
	const struct str *mx;
	size_t n_mx;
	uint64_t max_age_s;
};
struct tlsrpt_report {
	struct str organization, contact, id, domain;
	int64_t day;
	const struct tlsrpt_policy *sts;	/* NULL: not known */
	const struct tlsrpt_row *const *rows;	/* of this domain and day */
	size_t n_rows;
};
/* JSON (RFC 8460 4.4), one line. */
int tlsrpt_report_format(const struct tlsrpt_report *r, struct buf *out, struct err *e) MUST_CHECK;
/* "2026-11-28T00:00:00Z", or with the day's last second. out at least 32 bytes. */
void tlsrpt_time_format(int64_t seconds, char out[32]);

#endif
