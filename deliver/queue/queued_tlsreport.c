/* TLS reports (RFC 8460): for each domain of a day that is over, its record is asked for, and who wants reports by mail gets one; one domain after the other. What could
 * not be queued now is tried again with the next tick. Reports go out under any TLS (RFC 8460 5.3: they must arrive when TLS fails) and are never answered. */
#include <stdlib.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "deliver/queue/tlsrpt_text.h"
#include "io/gzip.h"
#include "log/log.h"
#include "mail/report.h"
#include "smtp/addr.h"

enum { REPORT_MAX = 16 << 20, DOMAIN_ROWS_MAX = 2000 };

struct item {
	struct str domain;
	int64_t day;
};

struct sending {
	struct queued *q;
	struct arena *arena;		/* of all */
	struct map *seen;
	struct item *items;
	size_t n, at;
	/* the one at hand */
	struct arena *one;
	struct str rua[TLSRPT_RUA_MAX];
	size_t n_rua, to;
	struct buf file;		/* gzip */
	struct str id;
	bool lost;			/* one mail could not be queued */
};

static void next_domain(struct sending *s);

static const struct item *item_of(const struct sending *s)
{
	return &s->items[s->at - 1];
}

/* --- one report --- */

static void send_next(struct sending *s);

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	struct sending *s = ctx;
	const struct item *x = item_of(s);

	if (qid.n > 0)
		log_info("TLS report for %.*s: %.*s", STR_ARG(x->domain), STR_ARG(qid));
	s->lost = s->lost || (qid.n == 0 && !permanent);
	send_next(s);
}

static int mail_of(struct sending *s, struct str to, struct buf *out, struct err *e)
{
	const struct conf *c = s->q->conf;
	const struct item *x = item_of(s);
	struct arena *a = s->one;
	const struct report_mail m = {
		.from = str_c(arena_printf(a, "postmaster@%s", c->mydomain)),
		.to = to,
		.subject = str_c(arena_printf(a, "Report Domain: %.*s Submitter: %s Report-ID: <%.*s>", STR_ARG(x->domain), c->mydomain, STR_ARG(s->id))),
		.message_id = str_c(arena_printf(a, "<%.*s>", STR_ARG(s->id))),
		.now = clock_wall(),
		.text = str_c(arena_printf(a, "This is an aggregate TLS report from %s (RFC 8460).\n", c->myhostname)),
		.file_type = STR("application/tlsrpt+gzip"),
		.file_name = str_c(arena_printf(a, "%s!%.*s!%lld!%lld!001.json.gz", c->mydomain, STR_ARG(x->domain), (long long)x->day * TLSRPT_DAY_S,
						(long long)(x->day + 1) * TLSRPT_DAY_S - 1)),
		.file = buf_view(&s->file),
		.report_type = "tlsrpt",
		.fields = arena_printf(a, "TLS-Report-Domain: %.*s\nTLS-Report-Submitter: %s\nTLS-Required: No\n", STR_ARG(x->domain), c->mydomain),
	};

	return report_mail_format(&m, out, e);
}

static void send_next(struct sending *s)
{
	struct post_request r = { .sender = STR(""), .message_id = s->id, .to = &s->rua[s->to], .n_to = 1, .flags = SPOOL_F_BOUNCE | SPOOL_F_ANY_TLS };
	struct err e = { 0 };

	if (s->to == s->n_rua) {
		if (!s->lost)
			tlsrpt_forget(s->q, item_of(s)->day, item_of(s)->domain);
		next_domain(s);
		return;
	}
	buf_init(&r.content, REPORT_MAX);
	if (mail_of(s, s->rua[s->to++], &r.content, &e) == 0) {
		post(s->q, &r, on_posted, s);
		return;
	}
	log_error("TLS report: %s", e.text);
	buf_fini(&r.content);
	send_next(s);
}

static const struct tlsrpt_row **rows_of(struct sending *s, size_t *n_out)
{
	const struct item *x = item_of(s);
	const struct tlsrpt_row **v = ARENA_ARRAY(s->one, const struct tlsrpt_row *, DOMAIN_ROWS_MAX), *r;
	size_t it = 0, n = 0;

	while (n < DOMAIN_ROWS_MAX && (r = tlsrpt_next(s->q, &it)) != NULL)
		if (r->day == x->day && str_eq(r->domain, x->domain))
			v[n++] = r;
	*n_out = n;
	return v;
}

static void on_policy(void *ctx, const struct ipc_sts_POLICY *m)
{
	struct sending *s = ctx;
	const struct conf *c = s->q->conf;
	const struct tlsrpt_policy p = { .mode = m ? arena_cstr(s->one, m->mode) : "", .mx = m ? m->mx.v : NULL, .n_mx = m ? m->mx.n : 0, .max_age_s = m ? m->max_age : 0 };
	struct tlsrpt_report r = {
		.organization = str_c(c->mydomain), .contact = str_c(arena_printf(s->one, "postmaster@%s", c->mydomain)), .domain = item_of(s)->domain,
		.day = item_of(s)->day, .sts = m != NULL && m->mx.n > 0 ? &p : NULL,
	};
	struct err e = { 0 };
	struct buf text;

	s->id = str_c(arena_printf(s->one, "%lld.%016llx@%s", (long long)r.day, (unsigned long long)random_u64(), c->myhostname));
	r.id = s->id;
	r.rows = rows_of(s, &r.n_rows);
	buf_init(&text, REPORT_MAX);
	if (tlsrpt_report_format(&r, &text, &e) == 0 && gzip_pack(&s->file, buf_view(&text), &e) == 0) {
		s->to = 0;
		s->lost = false;
	} else {
		log_error("TLS report: %s", e.text);
		s->to = s->n_rua;
	}
	buf_fini(&text);
	send_next(s);
}

static void on_record(void *ctx, const struct dns_answer *a)
{
	struct sending *s = ctx;
	struct err e = { 0 };

	s->n_rua = 0;
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++)
		if (tlsrpt_record_parse(a->v[i], s->one, s->rua, &s->n_rua, &e) < 0)
			log_warning("%.*s: %s", STR_ARG(item_of(s)->domain), e.text);
	if (s->n_rua > 0) {
		sts_ask(s->q, item_of(s)->domain, on_policy, s);
		return;
	}
	if (a->result == DNS_TROUBLE) {		/* whether somebody does is not known now: with the next tick */
		next_domain(s);
		return;
	}
	tlsrpt_forget(s->q, item_of(s)->day, item_of(s)->domain);	/* nobody wants to know */
	next_domain(s);
}

static void next_domain(struct sending *s)
{
	arena_free(&s->one);
	buf_fini(&s->file);
	if (s->at == s->n) {
		s->q->reporting = false;
		tlsrpt_save(s->q);
		arena_free(&s->arena);
		free(s);
		return;
	}
	s->at++;
	s->one = arena_new(0);
	buf_init(&s->file, REPORT_MAX);
	(void)dns_ask(s->q->dns, str_c(arena_printf(s->one, "_smtp._tls.%.*s", STR_ARG(item_of(s)->domain))), DNS_TXT, on_record, s);
}

/* --- all --- */

static bool seen(const struct sending *s, const struct tlsrpt_row *x)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].day == x->day && str_eq(s->items[i].domain, x->domain))
			return true;
	return false;
}

size_t tlsrpt_send(struct queued *q, int64_t before_day)
{
	struct sending *s;
	const struct tlsrpt_row *x;
	size_t it = 0, rows = 0;

	while (tlsrpt_next(q, &it) != NULL)
		rows++;
	if (q->reporting || rows == 0)
		return 0;
	s = xzalloc(sizeof(*s));
	s->q = q;
	s->arena = arena_new(0);
	s->items = ARENA_ARRAY(s->arena, struct item, rows);
	it = 0;
	while ((x = tlsrpt_next(q, &it)) != NULL)
		if (x->day < before_day && smtp_domain_valid(x->domain) && !seen(s, x))
			s->items[s->n++] = (struct item){ arena_str(s->arena, x->domain), x->day };
	const size_t n = s->n;
	q->reporting = true;
	next_domain(s);
	return n;
}
