/* check_host() (RFC 7208 section 4): find the record, walk its terms, follow include and redirect. Depth is bounded by the number of lookups. */
#include "authres/spf_priv.h"

#include "authres/idn.h"
#include "base/buf.h"
#include "conf/conf.h"

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool spf_is_v4(const uint8_t addr[16])
{
	return memcmp(addr, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool spf_prefix_match(const uint8_t a[16], const uint8_t b[16], unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

/* What a term comes to; the last two end the check. */
enum match { MATCH_NO, MATCH_YES, MATCH_TEMP, MATCH_PERM };

struct check {
	struct spf_run *r;
	struct str domain;
	const char *why;
};

static enum match give_up(struct check *c, enum match m, const char *why)
{
	c->why = why;
	return m;
}

/* One more term that asks. */
static bool may_ask(struct spf_run *r)
{
	return ++r->lookups <= SPF_LOOKUPS_MAX;
}

/* MATCH_YES: *out has records. */
static enum match ask(struct check *c, struct str name, unsigned type, struct auth_answer *out)
{
	*out = auth_ask(c->r->dns, c->r->a, name, type);
	if (out->known == AUTH_TROUBLE)
		return give_up(c, MATCH_TEMP, arena_printf(c->r->a, "no answer for %.*s", STR_ARG(name)));
	if (out->known == AUTH_HAS)
		return MATCH_YES;
	if (++c->r->voids > SPF_VOIDS_MAX)
		return give_up(c, MATCH_PERM, "too many names without records");
	return MATCH_NO;
}

static bool same_net(const struct spf_run *r, struct str text, const struct spf_term *t)
{
	uint8_t addr[16];
	const bool v4 = spf_is_v4(r->q->addr);
	if (addr_parse(text, addr) < 0 || spf_is_v4(addr) != v4)
		return false;
	return spf_prefix_match(r->q->addr, addr, v4 ? 96 + t->bits4 : t->bits6);
}

static unsigned addr_type(const struct spf_run *r)
{
	return spf_is_v4(r->q->addr) ? DNS_A : DNS_AAAA;
}

static enum match match_host(struct check *c, const struct spf_term *t, struct str host)
{
	struct auth_answer got;
	const enum match m = ask(c, host, addr_type(c->r), &got);
	for (size_t i = 0; m == MATCH_YES && i < got.n; i++)
		if (same_net(c->r, got.v[i], t))
			return MATCH_YES;
	return m == MATCH_YES ? MATCH_NO : m;
}

static enum match match_mx(struct check *c, const struct spf_term *t, struct str name)
{
	struct auth_answer mx;
	enum match m = ask(c, name, DNS_MX, &mx);
	if (m != MATCH_YES)
		return m;
	if (mx.n > SPF_NAMES_MAX)
		return give_up(c, MATCH_PERM, "too many MX records");
	for (size_t i = 0; i < mx.n; i++) {
		struct str host = mx.v[i];
		(void)str_split(&host, ' ');
		m = host.n == 0 || str_eq(host, STR(".")) ? MATCH_NO : match_host(c, t, host);
		if (m != MATCH_NO)
			return m;
	}
	return MATCH_NO;
}

static bool leads_back(struct spf_run *r, struct str name)
{
	static const struct spf_term whole = { .bits4 = 32, .bits6 = 128 };
	const struct auth_answer got = auth_ask(r->dns, r->a, name, addr_type(r));
	for (size_t i = 0; got.known == AUTH_HAS && i < got.n; i++)
		if (same_net(r, got.v[i], &whole))
			return true;
	return false;
}

void spf_validated_names(struct spf_run *r, struct str *v, size_t *n_out)
{
	const struct str reverse = str_c(dns_reverse_name(r->a, r->q->addr, STR("")));
	const struct auth_answer ptr = auth_ask(r->dns, r->a, reverse, DNS_PTR);
	*n_out = 0;
	for (size_t i = 0; ptr.known == AUTH_HAS && i < ptr.n && i < SPF_NAMES_MAX; i++)
		if (leads_back(r, ptr.v[i]))
			v[(*n_out)++] = ptr.v[i];
}

static enum match match_ptr(struct check *c, struct str name)
{
	struct str v[SPF_NAMES_MAX];
	size_t n;
	spf_validated_names(c->r, v, &n);
	for (size_t i = 0; i < n; i++)
		if (str_case_eq(v[i], name) || (v[i].n > name.n && str_case_ends(v[i], name) && v[i].p[v[i].n - name.n - 1] == '.'))
			return MATCH_YES;
	return MATCH_NO;
}

static enum auth_result check_host(struct check *c, struct str *exp_out, struct str *exp_domain_out);

static enum match match_include(struct check *c, struct str name)
{
	struct check inner = { .r = c->r, .domain = name };
	struct str exp, exp_domain;
	switch (check_host(&inner, &exp, &exp_domain)) {
	case AUTH_PASS:
		return MATCH_YES;
	case AUTH_TEMPERROR:
		return give_up(c, MATCH_TEMP, inner.why);
	case AUTH_PERMERROR:
		return give_up(c, MATCH_PERM, inner.why);
	case AUTH_NONE:
		return give_up(c, MATCH_PERM, arena_printf(c->r->a, "include of %.*s, which has no record", STR_ARG(name)));
	default:
		return MATCH_NO;
	}
}

static enum match match_term(struct check *c, const struct spf_term *t)
{
	struct spf_run *r = c->r;
	struct auth_answer got;
	const bool v4 = spf_is_v4(r->q->addr);
	switch (t->kind) {
	case SPF_ALL:
		return MATCH_YES;
	case SPF_IP4:
		return v4 && spf_prefix_match(r->q->addr, t->addr, 96 + t->bits4) ? MATCH_YES : MATCH_NO;
	case SPF_IP6:
		return !v4 && spf_prefix_match(r->q->addr, t->addr, t->bits6) ? MATCH_YES : MATCH_NO;
	default:
		break;
	}
	if (!may_ask(r))
		return give_up(c, MATCH_PERM, "too many terms that need the DNS");
	const struct str name = spf_expand_name(r, t->spec, c->domain);
	switch (t->kind) {
	case SPF_A:
		return match_host(c, t, name);
	case SPF_MX:
		return match_mx(c, t, name);
	case SPF_PTR:
		return match_ptr(c, name);
	case SPF_EXISTS:
		return ask(c, name, DNS_A, &got);
	default:
		return match_include(c, name);
	}
}

/* --- records --- */

/* The one record of the domain (4.5). PASS: *text_out is what follows the version. */
static enum auth_result find_record(struct check *c, struct str *text_out)
{
	const struct auth_answer got = auth_ask(c->r->dns, c->r->a, c->domain, DNS_TXT);
	size_t found = 0;
	if (got.known == AUTH_TROUBLE) {
		c->why = "no answer for the record";
		return AUTH_TEMPERROR;
	}
	for (size_t i = 0; got.known == AUTH_HAS && i < got.n; i++) {
		if (!str_case_starts(got.v[i], STR("v=spf1")) || (got.v[i].n > 6 && got.v[i].p[6] != ' '))
			continue;
		*text_out = str_from(got.v[i], 6);
		found++;
	}
	if (found > 1)
		c->why = "more than one record";
	return found == 0 ? AUTH_NONE : found == 1 ? AUTH_PASS : AUTH_PERMERROR;
}

static enum auth_result qualified(char q)
{
	return q == '-' ? AUTH_FAIL : q == '~' ? AUTH_SOFTFAIL : q == '?' ? AUTH_NEUTRAL : AUTH_PASS;
}

static enum auth_result redirect(struct check *c, struct str spec, struct str *exp_out, struct str *exp_domain_out)
{
	if (!may_ask(c->r)) {
		c->why = "too many terms that need the DNS";
		return AUTH_PERMERROR;
	}
	struct check next = { .r = c->r, .domain = spf_expand_name(c->r, spec, c->domain) };
	enum auth_result r = check_host(&next, exp_out, exp_domain_out);
	c->why = next.why;
	if (r == AUTH_NONE) {
		c->why = "redirect to a domain without record";
		r = AUTH_PERMERROR;
	}
	return r;
}

static enum auth_result walk(struct check *c, const struct spf_record *rec, struct str *exp_out, struct str *exp_domain_out)
{
	for (size_t i = 0; i < rec->n; i++) {
		const struct spf_term *t = &rec->v[i];
		switch (match_term(c, t)) {
		case MATCH_NO:
			continue;
		case MATCH_TEMP:
			return AUTH_TEMPERROR;
		case MATCH_PERM:
			return AUTH_PERMERROR;
		case MATCH_YES:
			c->why = arena_cstr(c->r->a, t->text);
			*exp_out = rec->exp;
			*exp_domain_out = c->domain;
			return qualified(t->qualifier);
		}
	}
	c->why = "no term matches";
	return rec->redirect.p != NULL ? redirect(c, rec->redirect, exp_out, exp_domain_out) : AUTH_NEUTRAL;
}

static enum auth_result check_host(struct check *c, struct str *exp_out, struct str *exp_domain_out)
{
	struct str text = { 0 };
	*exp_out = *exp_domain_out = (struct str){ 0 };
	if (!auth_name_valid(c->domain) || str_chr(c->domain, '.') < 0) {
		c->why = "no domain that could have a record";
		return AUTH_NONE;
	}
	enum auth_result r = find_record(c, &text);
	if (r != AUTH_PASS)
		return r;
	struct spf_record *rec = ARENA_NEW(c->r->a, struct spf_record);
	if (spf_record_parse(c->r->a, text, rec, &c->why) < 0)
		return AUTH_PERMERROR;
	return walk(c, rec, exp_out, exp_domain_out);
}

/* The domain's own words (6.2): any trouble means that there are none. */
static const char *explanation(struct spf_run *r, struct str spec, struct str domain)
{
	if (spec.p == NULL)
		return NULL;
	const struct auth_answer got = auth_ask(r->dns, r->a, spf_expand_name(r, spec, domain), DNS_TXT);
	if (got.known != AUTH_HAS || got.n != 1 || !spf_macro_valid(got.v[0], true))
		return NULL;
	const struct str text = spf_expand(r, got.v[0], domain);
	return str_printable(text) ? arena_cstr(r->a, str_sub(text, 0, SPF_EXPLANATION_MAX)) : NULL;
}

struct spf_result spf_check(struct arena *a, const struct auth_dns *dns, const struct spf_query *q)
{
	struct spf_run r = { .a = a, .dns = dns, .q = q };
	const ptrdiff_t at = str_rchr(q->sender, '@');
	struct str exp, exp_domain;
	r.local = at > 0 ? str_sub(q->sender, 0, (size_t)at) : STR("postmaster");
	r.sender_domain = idn_ascii(a, q->sender.n == 0 ? q->helo : str_from(q->sender, (size_t)(at + 1)));
	struct spf_result out = { .helo = q->sender.n == 0, .domain = r.sender_domain };
	struct check c = { .r = &r, .domain = r.sender_domain };
	out.result = check_host(&c, &exp, &exp_domain);
	out.why = c.why != NULL ? c.why : "";
	if (out.result == AUTH_FAIL)
		out.explanation = explanation(&r, exp, exp_domain);
	return out;
}
