/* See tlsrpt_text.h. */
#include "deliver/queue/tlsrpt_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json.h"

enum { ADDRESS_MAX = 320 };

/* --- the record --- */

/* mailto:ADDRESS?fields (RFC 6068), percent decoded. -1: no address, or a control in it. */
static int take_mailto(struct str uri, struct arena *a, struct str *out)
{
	struct str rest = str_from(uri, 7);
	const struct str text = str_split(&rest, '?');
	char *p = arena_alloc(a, text.n + 1);
	size_t n = 0;

	if (p == NULL || text.n == 0 || text.n > ADDRESS_MAX)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		int c = (unsigned char)text.p[i];
		if (c == '%') {
			if (text.n - i < 3 || ch_xdigit(text.p[i + 1]) < 0 || ch_xdigit(text.p[i + 2]) < 0)
				return -1;
			c = ch_xdigit(text.p[i + 1]) * 16 + ch_xdigit(text.p[i + 2]);
			i += 2;
		}
		if (c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == ',')
			return -1;
		p[n++] = (char)c;
	}
	*out = str_n(p, n);
	return str_chr(*out, '@') > 0 ? 0 : -1;
}

static int take_uris(struct str list, struct arena *a, struct str out[TLSRPT_RUA_MAX], size_t *n_out, struct err *e)
{
	size_t n = 0;

	while (list.n > 0) {
		const struct str uri = str_trim(str_split(&list, ','));
		if (!str_case_starts(uri, STR("mailto:")) || n == TLSRPT_RUA_MAX)
			continue;
		if (take_mailto(uri, a, &out[n]) < 0)
			return err_set(e, ERR_INPUT, 0, "TLSRPT record: an address that cannot be used");
		n++;
	}
	*n_out = n;
	return 0;
}

int tlsrpt_record_parse(struct str record, struct arena *a, struct str out[TLSRPT_RUA_MAX], size_t *n_out, struct err *e)
{
	struct str rest = record;

	if (!str_eq(str_trim(str_split(&rest, ';')), STR("v=TLSRPTv1")))
		return 1;
	while (rest.n > 0) {
		const struct str field = str_trim(str_split(&rest, ';'));
		if (str_starts(field, STR("rua=")))
			return take_uris(str_from(field, 4), a, out, n_out, e);
	}
	return err_set(e, ERR_INPUT, 0, "TLSRPT record without rua");
}

/* --- the report --- */

void tlsrpt_time_format(int64_t seconds, char out[32])
{
	const time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}

static bool success(const struct tlsrpt_row *x)
{
	return str_eq(x->result, STR("success"));
}

static void put_failures(FILE *f, const struct tlsrpt_report *r, struct str policy)
{
	bool first = true;

	for (size_t i = 0; i < r->n_rows; i++) {
		const struct tlsrpt_row *x = r->rows[i];
		if (!str_eq(x->policy, policy) || success(x))
			continue;
		fputs(first ? ",\"failure-details\":[{" : ",{", f);
		json_field(f, "result-type", x->result, true);
		if (x->own.n > 0)
			json_field(f, "sending-mta-ip", x->own, false);
		if (x->exchanger.n > 0)
			json_field(f, "receiving-mx-hostname", x->exchanger, false);
		if (x->address.n > 0)
			json_field(f, "receiving-ip", x->address, false);
		json_number(f, "failed-session-count", (long long)x->n, false);
		fputc('}', f);
		first = false;
	}
	if (!first)
		fputc(']', f);
}

/* The lines of the policy and its exchangers (RFC 8460 4.4). */
static void put_sts(FILE *f, const struct tlsrpt_policy *p)
{
	char text[300];

	fputs(",\"policy-string\":[\"version: STSv1\",", f);
	(void)snprintf(text, sizeof(text), "mode: %s", p->mode);
	json_string(f, str_c(text));
	for (size_t i = 0; i < p->n_mx; i++) {
		(void)snprintf(text, sizeof(text), "mx: %.*s", STR_ARG(p->mx[i]));
		fputc(',', f);
		json_string(f, str_c(text));
	}
	(void)snprintf(text, sizeof(text), "max_age: %llu", (unsigned long long)p->max_age_s);
	fputc(',', f);
	json_string(f, str_c(text));
	fputs("],\"mx-host\":[", f);
	for (size_t i = 0; i < p->n_mx; i++) {
		if (i > 0)
			fputc(',', f);
		json_string(f, p->mx[i]);
	}
	fputc(']', f);
}

static void put_policy(FILE *f, const struct tlsrpt_report *r, struct str policy)
{
	uint64_t good = 0, bad = 0;

	for (size_t i = 0; i < r->n_rows; i++)
		if (str_eq(r->rows[i]->policy, policy))
			*(success(r->rows[i]) ? &good : &bad) += r->rows[i]->n;
	fputs("{\"policy\":{", f);
	json_field(f, "policy-type", policy, true);
	if (str_eq(policy, STR("sts")) && r->sts != NULL)
		put_sts(f, r->sts);
	json_field(f, "policy-domain", r->domain, false);
	fputs("},\"summary\":{", f);
	json_number(f, "total-successful-session-count", (long long)good, true);
	json_number(f, "total-failure-session-count", (long long)bad, false);
	fputc('}', f);
	put_failures(f, r, policy);
	fputc('}', f);
}

static void put_report(FILE *f, const struct tlsrpt_report *r)
{
	char from[32], to[32];
	bool first = true;

	tlsrpt_time_format(r->day * TLSRPT_DAY_S, from);
	tlsrpt_time_format((r->day + 1) * TLSRPT_DAY_S - 1, to);
	fputc('{', f);
	json_field(f, "organization-name", r->organization, true);
	fputs(",\"date-range\":{", f);
	json_field(f, "start-datetime", str_c(from), true);
	json_field(f, "end-datetime", str_c(to), false);
	fputc('}', f);
	json_field(f, "contact-info", r->contact, false);
	json_field(f, "report-id", r->id, false);
	fputs(",\"policies\":[", f);
	for (size_t i = 0; i < r->n_rows; i++) {
		bool seen = false;
		for (size_t k = 0; k < i; k++)
			seen = seen || str_eq(r->rows[k]->policy, r->rows[i]->policy);
		if (seen)
			continue;
		if (!first)
			fputc(',', f);
		put_policy(f, r, r->rows[i]->policy);
		first = false;
	}
	fputs("]}\n", f);
}

int tlsrpt_report_format(const struct tlsrpt_report *r, struct buf *out, struct err *e)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (f == NULL)
		return err_set(e, ERR_TEMP, 0, "no memory for a report");
	put_report(f, r);
	const bool bad = ferror(f) != 0;
	(void)fclose(f);
	if (!bad)
		buf_mem(out, text, n);
	free(text);
	return bad ? err_set(e, ERR_TEMP, 0, "no memory for a report") : buf_check(out, "report", e);
}
