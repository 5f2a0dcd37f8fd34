/* Rules that need names: the client's own, domains that exist, DNS lists. Temporary trouble never refuses for good and never accepts: it puts off. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "deliver/restrict/restrict_priv.h"
#include "smtp/addr.h"

/* --- the client's name --- */

static bool same_address(const struct ev *ev, struct str text)
{
	uint8_t addr[16];

	return addr_parse(text, addr) == 0 && memcmp(addr, ev->f->addr, sizeof(addr)) == 0;
}

static bool is_v4(const struct ev *ev)
{
	return str_chr(ev->f->client, ':') < 0;
}

/* Forward: the name must lead back to the address. */
static enum verdict verify_name(struct ev *ev, struct str name)
{
	const struct fact *x = want_dns(ev, name, is_v4(ev) ? DNS_A : DNS_AAAA);

	if (x == NULL)
		return WAIT;
	ev->client_trouble = x->state == FACT_TROUBLE;
	for (size_t i = 0; x->state == FACT_HAS && i < x->n; i++)
		if (same_address(ev, x->v[i]))
			ev->client_name = ev->reverse_name;
	return DUNNO;
}

enum verdict client_names(struct ev *ev)
{
	if (ev->f->local) {
		ev->client_name = ev->reverse_name = "localhost";
		return DUNNO;
	}
	if (ev->f->client_name) {
		ev->client_name = ev->f->client_name;
		ev->reverse_name = ev->f->reverse_name;
		return DUNNO;
	}
	if (!ev->f->addr_known || !ev->set->conf->smtpd_peername_lookup)
		return DUNNO;
	const struct fact *x = want_dns(ev, str_c(dns_reverse_name(ev->a, ev->f->addr, (struct str){ 0 })), DNS_PTR);
	if (x == NULL)
		return WAIT;
	ev->reverse_trouble = ev->client_trouble = x->state == FACT_TROUBLE;
	if (x->state != FACT_HAS || !smtp_domain_valid(x->v[0]) || str_chr(x->v[0], ':') >= 0)
		return DUNNO;
	ev->reverse_name = arena_cstr(ev->a, x->v[0]);
	return verify_name(ev, x->v[0]);
}

static enum verdict client_refused(struct ev *ev, const struct item *it, bool trouble)
{
	const char *text = arena_printf(ev->a, "%s, [%.*s]", it->rule->text, STR_ARG(ev->f->client));

	return refuse(ev, it->object, trouble ? 450 : rule_code(ev, it), it->rule->enhanced, str_c(text));
}

enum verdict rule_reject_client_unknown(struct ev *ev, const struct item *it)
{
	return strcmp(ev->client_name, "unknown") == 0 && !ev->f->local ? client_refused(ev, it, ev->client_trouble) : DUNNO;
}

enum verdict rule_reject_reverse_unknown(struct ev *ev, const struct item *it)
{
	return strcmp(ev->reverse_name, "unknown") == 0 && !ev->f->local ? client_refused(ev, it, ev->reverse_trouble) : DUNNO;
}

/* --- hosts and addresses --- */

static bool null_mx(const struct fact *x)
{
	return x->n == 1 && str_ends(x->v[0], STR(" ."));
}

enum verdict host_addresses(struct ev *ev, struct str host, struct str *addrs, size_t max, size_t *n_out)
{
	const struct fact *const all[] = { want_dns(ev, host, DNS_A), want_dns(ev, host, DNS_AAAA) };

	*n_out = 0;
	if (all[0] == NULL || all[1] == NULL)
		return WAIT;
	for (size_t k = 0; k < ARRAY_LEN(all); k++)
		for (size_t i = 0; all[k]->state == FACT_HAS && i < all[k]->n && *n_out < max; i++)
			addrs[(*n_out)++] = all[k]->v[i];
	return *n_out == 0 && (all[0]->state == FACT_TROUBLE || all[1]->state == FACT_TROUBLE) ? REFUSE : DUNNO;
}

static enum verdict mail_exchangers(struct ev *ev, struct str domain, struct str *hosts, size_t *n_out)
{
	const struct fact *x = want_dns(ev, domain, DNS_MX);

	if (x == NULL)
		return WAIT;
	if (x->state == FACT_TROUBLE)
		return REFUSE;
	for (size_t i = 0; x->state == FACT_HAS && i < x->n && *n_out < RESTRICT_HOSTS_MAX; i++)
		hosts[(*n_out)++] = str_from(x->v[i], (size_t)(str_chr(x->v[i], ' ') + 1));
	if (x->state == FACT_NONE)
		hosts[(*n_out)++] = domain;
	return DUNNO;
}

static enum verdict name_servers(struct ev *ev, struct str domain, struct str *hosts, size_t *n_out)
{
	for (int labels = 0; domain.n > 0 && labels < 128; labels++) {
		const struct fact *x = want_dns(ev, domain, DNS_NS);
		if (x == NULL)
			return WAIT;
		if (x->state == FACT_TROUBLE)
			return REFUSE;
		for (size_t i = 0; x->state == FACT_HAS && i < x->n && *n_out < RESTRICT_HOSTS_MAX; i++)
			hosts[(*n_out)++] = x->v[i];
		const ptrdiff_t dot = str_chr(domain, '.');
		if (*n_out > 0 || dot < 0)
			return DUNNO;
		domain = str_from(domain, (size_t)dot + 1);
	}
	return DUNNO;
}

enum verdict domain_hosts(struct ev *ev, struct str domain, enum dns_type type, struct str *hosts, size_t *n_out)
{
	*n_out = 0;
	return type == DNS_MX ? mail_exchangers(ev, domain, hosts, n_out) : name_servers(ev, domain, hosts, n_out);
}

/* --- domains that exist --- */

enum existence { EXISTS, MISSING, UNSURE, NO_MAIL, ASKING };

/* RFC 5321 5.1: MX, else an address; RFC 7505: the null MX says that there is none. */
static enum existence domain_exists(struct ev *ev, struct str domain)
{
	const struct fact *mx = want_dns(ev, domain, DNS_MX);
	struct str addrs[1];
	size_t n;

	if (mx == NULL)
		return ASKING;
	if (mx->state == FACT_HAS)
		return null_mx(mx) ? NO_MAIL : EXISTS;
	if (mx->state != FACT_NONE)
		return mx->state == FACT_NO_NAME ? MISSING : UNSURE;
	switch (host_addresses(ev, domain, addrs, 1, &n)) {
	case WAIT: return ASKING;
	case REFUSE: return UNSURE;
	default: return n > 0 ? EXISTS : MISSING;
	}
}

static enum verdict judge_domain(struct ev *ev, const struct item *it, struct str domain, int no_mail_code, const char *no_mail_enhanced)
{
	switch (domain_exists(ev, domain)) {
	case ASKING: return WAIT;
	case EXISTS: return DUNNO;
	case MISSING: return REFUSE;
	case UNSURE: return defer_later(ev, it, "4.4.3", STR("Domain could not be looked up, try again later"));
	case NO_MAIL:
		return refuse(ev, it->object, no_mail_code, no_mail_enhanced,
			      str_c(arena_printf(ev->a, "Domain %.*s does not accept mail (nullMX)", STR_ARG(domain))));
	}
	return DUNNO;
}

enum verdict rule_reject_sender_unknown(struct ev *ev, const struct item *it)
{
	const struct str domain = smtp_domain_of(ev->f->sender);

	if (domain.n == 0 || domain.p[0] == '[')
		return DUNNO;
	const struct fact *x = want(ev, FACT_CLASS, (struct str){ 0 }, ev->f->sender, 0);
	if (x == NULL)
		return WAIT;
	return x->state == FACT_HAS && class_is_ours(x->v[0]) ? DUNNO : judge_domain(ev, it, domain, 550, "5.7.27");
}

enum verdict rule_reject_rcpt_unknown(struct ev *ev, const struct item *it)
{
	const struct str domain = smtp_domain_of(ev->f->recipient);

	if (domain.n == 0 || domain.p[0] == '[' || class_is_ours(ev->f->class))
		return DUNNO;
	return judge_domain(ev, it, domain, 556, "5.1.10");
}

enum verdict rule_reject_helo_unknown(struct ev *ev, const struct item *it)
{
	const struct str h = ev->f->helo;

	if (h.n == 0 || h.p[0] == '[')
		return DUNNO;
	switch (domain_exists(ev, h)) {
	case ASKING: return WAIT;
	case MISSING: return REFUSE;
	case UNSURE: return defer_later(ev, it, "4.7.1", STR("Host not found, try again later"));
	default: return DUNNO;
	}
}

/* --- DNS lists --- */

/* One octet's pattern: a number, or [2..9;11]. */
static bool octet_matches(struct str pattern, uint64_t v)
{
	uint64_t low, high;

	if (pattern.n > 0 && pattern.p[0] == '[') {
		struct str rest = str_sub(pattern, 1, pattern.n - 2), part;
		while (str_token(&rest, ";", &part)) {
			const ptrdiff_t dots = str_find(part, STR(".."));
			if (num_parse(dots < 0 ? part : str_sub(part, 0, (size_t)dots), 0, 255, &low) < 0 ||
			    num_parse(dots < 0 ? part : str_from(part, (size_t)dots + 2), 0, 255, &high) < 0)
				continue;
			if (v >= low && v <= high)
				return true;
		}
		return false;
	}
	return num_parse(pattern, 0, 255, &low) == 0 && v == low;
}

/* The next octet of a pattern; dots inside of brackets do not end it. */
static struct str octet_pattern(struct str *s)
{
	size_t n = 0;
	bool inside = false;

	while (n < s->n && (inside || s->p[n] != '.')) {
		inside = s->p[n] == '[' || (inside && s->p[n] != ']');
		n++;
	}
	const struct str r = str_sub(*s, 0, n);
	*s = str_from(*s, n < s->n ? n + 1 : n);
	return r;
}

static bool set_valid(struct str p)
{
	struct str rest, part;
	uint64_t low, high;
	size_t n = 0;

	if (p.n < 3 || p.p[0] != '[' || p.p[p.n - 1] != ']')
		return num_parse(p, 0, 255, &low) == 0;
	for (rest = str_sub(p, 1, p.n - 2); str_token(&rest, ";", &part); n++) {
		const ptrdiff_t dots = str_find(part, STR(".."));
		if (num_parse(dots < 0 ? part : str_sub(part, 0, (size_t)dots), 0, 255, &low) < 0 ||
		    num_parse(dots < 0 ? part : str_from(part, (size_t)dots + 2), 0, 255, &high) < 0 || low > high)
			return false;
	}
	return n > 0;
}

static void split_filter(struct str arg, struct str *domain, struct str *filter)
{
	*filter = arg;
	*domain = str_split(filter, '=');
}

int dnsbl_filter_check(const char *arg, struct err *e)
{
	struct str domain, filter;
	int octets = 0;

	split_filter(str_c(arg), &domain, &filter);
	if (!smtp_domain_valid(domain))
		return err_set(e, ERR_CONF, 0, "\"%s\": no domain", arg);
	while (filter.p && filter.n > 0) {
		const struct str p = octet_pattern(&filter);
		if (!set_valid(p) || ++octets > 4)
			return err_set(e, ERR_CONF, 0, "\"%s\": bad filter (allowed: list=127.0.0.[2..9;11])", arg);
	}
	return filter.p && octets != 4 ? err_set(e, ERR_CONF, 0, "\"%s\": a filter has four parts", arg) : 0;
}

/* Does one answer list the client? Only 127.0.0.0/8 counts: other answers come from hijacked or parked names. 127.255.255.0/24 says that the list does not
 * answer us (asked through a public resolver, or too often), 127.0.0.1 is what no list uses. */
static bool listed(struct ev *ev, const struct item *it, struct str domain, struct str filter, struct str record)
{
	struct str rest = record;
	uint64_t o[4];

	for (int i = 0; i < 4; i++)
		if (num_parse(str_split(&rest, '.'), 0, 255, &o[i]) < 0)
			return false;
	if (o[0] != 127 || (o[1] == 255 && o[2] == 255)) {
		note(ev, true, "%.*s answers %.*s: %s; ignored", STR_ARG(domain), STR_ARG(record),
		     o[0] != 127 ? "no list's answer" : "it refuses to answer us (see its terms of use)");
		return false;
	}
	if (!filter.p)
		return o[1] != 0 || o[2] != 0 || o[3] > 1;
	for (int i = 0; i < 4; i++)
		if (!octet_matches(octet_pattern(&filter), o[i]))
			return false;
	return true;
}

/* PERMIT: it is listed. */
static enum verdict ask_list(struct ev *ev, const struct item *it, const char *name, struct str domain, struct str filter)
{
	const struct fact *x = want_dns(ev, str_c(name), DNS_A);

	if (x == NULL)
		return WAIT;
	if (x->state == FACT_TROUBLE) {
		note(ev, true, "%s: DNS list lookup error: %.*s", name, STR_ARG(x->why));
		return REFUSE;
	}
	for (size_t i = 0; x->state == FACT_HAS && i < x->n; i++)
		if (listed(ev, it, domain, filter, x->v[i]))
			return PERMIT;
	return DUNNO;
}

static enum verdict ask_reason(struct ev *ev, const struct item *it, const char *class, struct str what, const char *name, struct str domain)
{
	const struct fact *x = want_dns(ev, str_c(name), DNS_TXT);

	if (x == NULL)
		return WAIT;
	const struct listing l = { class, what, domain, x->state == FACT_HAS ? str_sub(x->v[0], 0, 200) : STR("") };
	return refuse_listed(ev, it, &l);
}

enum verdict rule_rbl_client(struct ev *ev, const struct item *it)
{
	struct str domain, filter;

	if (!ev->f->addr_known)
		return DUNNO;
	split_filter(str_c(it->arg), &domain, &filter);
	const char *name = dns_reverse_name(ev->a, ev->f->addr, domain);
	const enum verdict v = ask_list(ev, it, name, domain, filter);
	return v == PERMIT ? ask_reason(ev, it, "Client host", ev->f->client, name, domain) : v == WAIT ? WAIT : DUNNO;
}

static struct str rhsbl_name(const struct ev *ev, enum object object)
{
	const struct str whole = object == CLIENT ? str_c(ev->client_name) : object_text(ev, object);
	const struct str name = object == SENDER || object == RCPT ? smtp_domain_of(whole) : whole;

	return name.n == 0 || name.p[0] == '[' || str_eq(name, STR("unknown")) || !smtp_domain_valid(name) ? (struct str){ 0 } : name;
}

enum verdict rule_rhsbl(struct ev *ev, const struct item *it)
{
	static const char *const class[] = {
		[CLIENT] = "Client host", [REVERSE] = "Unverified Client host", [HELO] = "Helo command", [SENDER] = "Sender address", [RCPT] = "Recipient address",
	};
	const struct str on = rhsbl_name(ev, it->object), whole = it->object == SENDER || it->object == RCPT ? object_text(ev, it->object) : on;
	struct str domain, filter;

	if (on.n == 0)
		return DUNNO;
	split_filter(str_c(it->arg), &domain, &filter);
	const char *name = arena_printf(ev->a, "%.*s.%.*s", STR_ARG(on), STR_ARG(domain));
	const enum verdict v = ask_list(ev, it, name, domain, filter);
	return v == PERMIT ? ask_reason(ev, it, class[it->object], whole, name, domain) : v == WAIT ? WAIT : DUNNO;
}

/* Whether a good list knows the client. When that cannot be told, no refusal for good may follow. */
static enum verdict good_list(struct ev *ev, const struct item *it, const char *name, struct str domain, struct str filter)
{
	const enum verdict v = ask_list(ev, it, name, domain, filter);

	return v == REFUSE ? rule_defer_reject(ev, it) : v;
}

enum verdict rule_dnswl_client(struct ev *ev, const struct item *it)
{
	struct str domain, filter;

	if (!ev->f->addr_known)
		return DUNNO;
	split_filter(str_c(it->arg), &domain, &filter);
	return good_list(ev, it, dns_reverse_name(ev->a, ev->f->addr, domain), domain, filter);
}

enum verdict rule_rhswl_client(struct ev *ev, const struct item *it)
{
	const struct str on = rhsbl_name(ev, CLIENT);
	struct str domain, filter;

	if (on.n == 0)
		return DUNNO;
	split_filter(str_c(it->arg), &domain, &filter);
	return good_list(ev, it, arena_printf(ev->a, "%.*s.%.*s", STR_ARG(on), STR_ARG(domain)), domain, filter);
}

/* --- weighted lists (postscreen_dnsbl_sites) --- */

static int site_parse(const char *text, struct arena *a, struct dnsbl_site *out, struct err *e)
{
	struct str s = str_c(text), domain, filter;
	const ptrdiff_t star = str_rchr(s, '*');
	uint64_t weight = 1;
	bool minus = false;

	if (star >= 0) {
		struct str w = str_from(s, (size_t)star + 1);
		minus = w.n > 0 && w.p[0] == '-';
		if (num_parse(minus ? str_from(w, 1) : w, 0, 1000, &weight) < 0)
			return err_set(e, ERR_CONF, 0, "\"%s\": bad weight (allowed: -1000 to 1000)", text);
		s = str_sub(s, 0, (size_t)star);
	}
	const char *arg = arena_cstr(a, s);
	if (dnsbl_filter_check(arg, e) < 0)
		return -1;
	split_filter(str_c(arg), &domain, &filter);
	*out = (struct dnsbl_site){ arena_cstr(a, domain), filter.p ? arena_cstr(a, filter) : NULL, minus ? -(int)weight : (int)weight };
	return 0;
}

int dnsbl_compile(struct restrict_set *s, struct arena *a, struct err *e)
{
	const struct conf_list l = s->conf->postscreen_dnsbl_sites;

	s->sites = ARENA_ARRAY(a, struct dnsbl_site, l.n + 1);
	for (s->n_sites = 0; s->n_sites < l.n; s->n_sites++)
		if (site_parse(l.v[s->n_sites], a, &s->sites[s->n_sites], e) < 0)
			return err_wrap(e, "postscreen_dnsbl_sites");
	return 0;
}

static enum verdict score_verdict(struct ev *ev, long score, struct str domain)
{
	const char *action = ev->set->conf->postscreen_dnsbl_action;

	note(ev, false, "DNSBL rank %ld for [%.*s]", score, STR_ARG(ev->f->client));
	if (strcmp(action, "ignore") == 0)
		return DUNNO;
	return refuse_whole(ev, strcmp(action, "drop") == 0 ? 521 : 550, "5.7.1",
			    str_c(arena_printf(ev->a, "Service unavailable; client [%.*s] blocked using %.*s", STR_ARG(ev->f->client), STR_ARG(domain))));
}

enum verdict dnsbl_score(struct ev *ev)
{
	const struct restrict_set *s = ev->set;
	struct str most = { 0 };
	int best = 0;
	long score = 0;
	bool waiting = false;

	if (s->n_sites == 0 || ev->f->mynetworks || ev->f->user || !ev->f->addr_known)
		return DUNNO;
	/* All are asked before the first is waited for. */
	for (size_t i = 0; i < s->n_sites; i++) {
		const struct dnsbl_site *x = &s->sites[i];
		const char *name = dns_reverse_name(ev->a, ev->f->addr, str_c(x->domain));
		const enum verdict v = ask_list(ev, NULL, name, str_c(x->domain), str_c(x->filter));
		waiting |= v == WAIT;
		if (v != PERMIT)
			continue;
		score += x->weight;
		if (x->weight > best) {
			best = x->weight;
			most = str_c(x->domain);
		}
	}
	if (waiting)
		return WAIT;
	return score >= (long)s->conf->postscreen_dnsbl_threshold ? score_verdict(ev, score, most) : DUNNO;
}
