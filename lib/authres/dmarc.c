/* See dmarc.h: From's domains, the record (of the domain, else of its organisation), alignment, policy. */
#include "authres/dmarc.h"

#include "authres/idn.h"
#include "base/num.h"
#include "mail/edit.h"
#include "mail/head.h"

const char *dmarc_policy_name(enum dmarc_policy p)
{
	static const char *const names[] = { "none", "quarantine", "reject" };
	return (unsigned)p < ARRAY_LEN(names) ? names[p] : "none";
}

/* --- the record --- */

static int read_policy(struct str s, enum dmarc_policy *out)
{
	for (unsigned i = 0; i <= DMARC_REJECT; i++) {
		if (str_case_eq(s, str_c(dmarc_policy_name((enum dmarc_policy)i)))) {
			*out = (enum dmarc_policy)i;
			return 0;
		}
	}
	return -1;
}

/* Their names in any case, as the grammar of RFC 7489 6.4 has them. */
static bool tag(const struct auth_tags *t, struct str name, struct str *value_out)
{
	for (size_t i = 0; i < t->n; i++) {
		if (str_case_eq(t->v[i].name, name)) {
			*value_out = t->v[i].value;
			return true;
		}
	}
	return false;
}

/* "v" *WSP "=" *WSP "DMARC1" in front (6.4); what has not is no record of this kind (6.6.3). */
static bool is_record(struct str text)
{
	struct auth_tags t;

	return auth_tags_parse(str_split(&text, ';'), &t) == 0 && str_case_eq(t.v[0].name, STR("v")) && str_eq(t.v[0].value, STR("DMARC1"));
}

/* Syntax errors behind that are ignored, and do not void the policy (6.3): of doubled tags the first counts. */
static void read_tags(struct str text, struct auth_tags *out)
{
	struct auth_tags one;
	struct str there;

	out->n = 0;
	while (text.p != NULL && out->n < AUTH_TAGS_MAX)
		if (auth_tags_parse(str_split(&text, ';'), &one) == 0 && !tag(out, one.v[0].name, &there))
			out->v[out->n++] = one.v[0];
}

int dmarc_record_parse(struct str text, struct dmarc_record *out)
{
	struct auth_tags t;
	struct str s;
	uint64_t pct = 100;
	struct dmarc_record r = { .percent = 100 };
	if (!is_record(text))
		return -1;
	read_tags(text, &t);
	bool good = tag(&t, STR("p"), &s) && read_policy(s, &r.policy) == 0;
	r.sub_policy = r.policy;
	if (tag(&t, STR("sp"), &s) && read_policy(s, &r.sub_policy) < 0)
		good = false;
	if (!good) {	/* 6.6.3: who asks for reports is at least monitored */
		if (!tag(&t, STR("rua"), &s) || s.n == 0)
			return -1;
		r.policy = r.sub_policy = DMARC_NOTHING;
	}
	r.strict_dkim = tag(&t, STR("adkim"), &s) && str_case_eq(s, STR("s"));
	r.strict_spf = tag(&t, STR("aspf"), &s) && str_case_eq(s, STR("s"));
	if (tag(&t, STR("pct"), &s) && num_parse(s, 0, 100, &pct) == 0)
		r.percent = (unsigned)pct;
	if (tag(&t, STR("rua"), &s))
		r.rua = s;
	*out = r;
	return 0;
}

/* The record at _dmarc.domain: PASS there is one, NONE, TEMPERROR. Two are none (6.6.3). */
static enum auth_result record_at(struct arena *a, const struct auth_dns *dns, struct str domain, struct dmarc_record *out)
{
	const struct auth_answer got = auth_ask(dns, a, str_c(arena_printf(a, "_dmarc.%.*s", STR_ARG(domain))), DNS_TXT);
	size_t found = 0;
	struct str text = { 0 };
	if (got.known == AUTH_TROUBLE)
		return AUTH_TEMPERROR;
	for (size_t i = 0; got.known == AUTH_HAS && i < got.n; i++) {
		if (is_record(got.v[i])) {
			text = got.v[i];
			found++;
		}
	}
	return found == 1 && dmarc_record_parse(text, out) == 0 ? AUTH_PASS : AUTH_NONE;
}

/* --- one domain --- */

struct measured {
	struct arena *a;
	const struct dmarc_query *q;
	struct str domain, organisation;
};

static bool aligned(const struct measured *m, struct str authenticated, bool strict)
{
	if (str_case_eq(authenticated, m->domain))
		return true;
	return !strict && str_case_eq(psl_organisation(m->q->psl, m->a, authenticated), m->organisation);
}

/* PASS, TEMPERROR (it might have passed), FAIL. */
static enum auth_result alignment(const struct measured *m, const struct dmarc_record *rec, struct dmarc_result *out)
{
	const struct spf_result *spf = m->q->spf;
	const bool spf_fits = spf != NULL && aligned(m, spf->domain, rec->strict_spf);
	bool maybe = spf_fits && spf->result == AUTH_TEMPERROR;
	out->spf_aligned = spf_fits && spf->result == AUTH_PASS;
	for (size_t i = 0; i < m->q->n_dkim; i++) {
		const struct dkim_result *d = &m->q->dkim[i];
		if ((d->result != AUTH_PASS && d->result != AUTH_TEMPERROR) || !aligned(m, d->domain, rec->strict_dkim))
			continue;
		out->dkim_aligned |= d->result == AUTH_PASS;
		maybe |= d->result == AUTH_TEMPERROR;
	}
	if (out->spf_aligned || out->dkim_aligned) {
		out->why = out->spf_aligned ? "SPF" : "DKIM";
		return AUTH_PASS;
	}
	out->why = maybe ? "nobody answers for SPF or a key" : "neither SPF nor a signature of that domain";
	return maybe ? AUTH_TEMPERROR : AUTH_FAIL;
}

static enum dmarc_policy sampled(enum dmarc_policy p, unsigned percent, unsigned draw)
{
	if (draw < percent || p == DMARC_NOTHING)
		return p;
	return p == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_NOTHING;
}

static struct dmarc_result check_domain(struct arena *a, const struct auth_dns *dns, const struct dmarc_query *q, struct str domain)
{
	struct measured m = { a, q, domain, psl_organisation(q->psl, a, domain) };
	struct dmarc_record rec;
	struct dmarc_result out = { .domain = domain, .organisation = domain, .why = "no record" };
	bool sub = false;
	out.result = record_at(a, dns, domain, &rec);
	if (out.result == AUTH_NONE && !str_case_eq(m.organisation, domain)) {
		out.organisation = m.organisation;
		out.result = record_at(a, dns, m.organisation, &rec);
		sub = true;
	}
	if (out.result == AUTH_TEMPERROR)
		out.why = "nobody answers for the record";
	if (out.result != AUTH_PASS)
		return out;
	out.published = sub ? rec.sub_policy : rec.policy;
	out.record = rec;
	out.result = alignment(&m, &rec, &out);
	if (out.result == AUTH_FAIL) {
		out.policy = sampled(out.published, rec.percent, q->draw);
		out.sampled_out = out.policy != out.published;
	}
	return out;
}

/* --- From --- */

static int add_domain(struct str *v, size_t *n, struct str domain)
{
	for (size_t i = 0; i < *n; i++)
		if (str_case_eq(v[i], domain))
			return 0;
	if (*n == DMARC_FROMS_MAX)
		return -1;
	v[(*n)++] = domain;
	return 0;
}

/* The different domains of all From fields. -1: more than DMARC_FROMS_MAX, or not to be read. */
static int from_domains(struct arena *a, struct str message, struct str *v, size_t *n)
{
	size_t head_n = message.n, body;
	struct err e = { 0 };
	*n = 0;
	if (mail_head_find(message, true, &head_n, &body) != 0)
		head_n = message.n;
	const struct mail_fields f = mail_fields_of(a, str_sub(message, 0, head_n));
	for (size_t i = 0; i < f.n; i++) {
		struct mail_addr *list = NULL;
		if (!str_case_eq(f.v[i].name, STR("From")))
			continue;
		if (mail_addr_parse(a, f.v[i].value, &list, &e) < 0)
			return -1;
		for (; list != NULL; list = list->next)
			if (list->domain.n > 0 && add_domain(v, n, idn_ascii(a, list->domain)) < 0)
				return -1;
	}
	return 0;
}

/* Which of two outcomes is the stricter one. */
static unsigned weight(const struct dmarc_result *r)
{
	static const unsigned of[] = { [AUTH_PASS] = 0, [AUTH_NONE] = 1, [AUTH_TEMPERROR] = 2, [AUTH_PERMERROR] = 3, [AUTH_FAIL] = 4 };
	return of[r->result] + (unsigned)r->policy;
}

struct dmarc_result dmarc_check(struct arena *a, const struct auth_dns *dns, const struct dmarc_query *q)
{
	struct str v[DMARC_FROMS_MAX];
	size_t n;
	if (from_domains(a, q->message, v, &n) < 0)
		return (struct dmarc_result){ .result = AUTH_PERMERROR, .why = "From cannot be read, or has too many domains" };
	if (n == 0)
		return (struct dmarc_result){ .result = AUTH_NONE, .why = "From has no domain" };
	struct dmarc_result worst = check_domain(a, dns, q, v[0]);
	for (size_t i = 1; i < n; i++) {
		const struct dmarc_result r = check_domain(a, dns, q, v[i]);
		if (weight(&r) > weight(&worst))
			worst = r;
	}
	return worst;
}
