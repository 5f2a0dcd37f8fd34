/* DNS lists as facts of a message (dnslists.h). Relays are chosen, and answers read, as SpamAssassin's plugins DNSEval and URIDNSBL do. */
#include "spam/dnslists.h"

#include <stdlib.h>

#include "base/num.h"
#include "spam/eval.h"

enum { TYPE_A = 1, TYPE_NS = 2, TYPE_TXT = 16, NAME_MAX_BYTES = 253 };

/* --- definitions --- */

static unsigned type_of(struct str word)
{
	return str_case_eq(word, STR("TXT")) ? TYPE_TXT : str_case_eq(word, STR("A")) ? TYPE_A : 0;
}

int uri_list_add(struct set *s, struct rule *rule, struct str rest, bool by_address, bool subtest, struct err *e)
{
	struct str zone, type, test = { 0 };
	if (!str_token(&rest, " \t", &zone) || !str_token(&rest, " \t", &type) || type_of(type) == 0 || (subtest && !str_token(&rest, " \t", &test)))
		return err_set(e, ERR_CONF, 0, "the form is NAME zone A|TXT%s", subtest ? " subtest" : "");
	if (s->n_uri_lists_dns >= URI_LISTS_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d lists", URI_LISTS_MAX);
	struct uri_list *l = ARENA_NEW(s->a, struct uri_list);
	*l = (struct uri_list){ rule, zone, test, type_of(type), by_address, s->uri_lists_dns };
	s->uri_lists_dns = l;
	s->n_uri_lists_dns++;
	return 0;
}

static bool calls(const struct rule *r, const char *function)
{
	return r->type == RULE_EVAL && str_eq(r->text, str_c(function));
}

static bool names_zone(const struct rule *r)
{
	return calls(r, "check_rbl") || calls(r, "check_rbl_txt");
}

void dns_lists_bind(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		if (names_zone(r))
			r->list = r;
		for (size_t k = 0; calls(r, "check_rbl_sub") && k < s->n && r->list == NULL; k++)
			if (names_zone(s->rules[k]) && str_eq(s->rules[k]->args[0], r->args[0]))
				r->list = s->rules[k];
	}
}

/* --- questions --- */

struct asks {
	struct msg *m;
	struct map *by_name;		/* "type name" -> index + 1 */
	struct spam_question *v;
	size_t n, asked;
};

static bool name_ok(struct str name)
{
	return name.n > 0 && name.n <= NAME_MAX_BYTES && str_chr(name, ' ') < 0 && str_find(name, STR("..")) < 0 && name.p[0] != '.';
}

/* The question, made when there is none; NULL: no name, or enough. */
static struct spam_question *question(struct asks *k, struct str name, unsigned type)
{
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	if (!name_ok(name))
		return NULL;
	const struct str key = str_c(arena_printf(k->m->a, "%u %.*s", type, STR_ARG(name)));
	size_t at = (size_t)(uintptr_t)map_get(k->by_name, key);
	if (at > 0)
		return &k->v[at - 1];
	if (k->n >= SPAM_QUESTIONS_MAX)
		return NULL;
	k->v[k->n++] = (struct spam_question){ .name = str_from(key, key.n - name.n), .type = type };
	map_set(k->by_name, key, (void *)(uintptr_t)k->n);
	return &k->v[k->n - 1];
}

static void ask(struct asks *k)
{
	const struct spam_facts *f = k->m->facts;
	if (k->n > k->asked)
		f->ask(f->ask_ctx, k->m->a, k->v + k->asked, k->n - k->asked);
	k->asked = k->n;
}

/* What the list says about the name. */
static struct spam_question *list_question(struct asks *k, struct str name, struct str zone, unsigned type)
{
	struct spam_question *q = question(k, str_c(arena_printf(k->m->a, "%.*s.%.*s", STR_ARG(name), STR_ARG(zone))), type);
	if (q != NULL)
		q->list = true;
	return q;
}

/* "2.0.0.127", or the nibbles of an IPv6 address. */
static struct str reversed(struct msg *m, struct str ip)
{
	unsigned char b[16];
	struct buf out;
	if (ip_parse(ip, b) < 0)
		return STR("");
	if (ip_is_v4(ip))
		return str_c(arena_printf(m->a, "%u.%u.%u.%u", b[15], b[14], b[13], b[12]));
	buf_init(&out, 64);
	for (unsigned i = 32; i-- > 0;)
		buf_printf(&out, "%x%s", i % 2 == 1 ? b[i / 2] & 15 : b[i / 2] >> 4, i == 0 ? "" : ".");
	const struct str s = arena_str(m->a, buf_view(&out));
	buf_fini(&out);
	return s;
}

/* --- answers --- */

static bool address_value(struct str text, uint64_t *out)
{
	unsigned char b[16];
	if (!ip_is_v4(text) || ip_parse(text, b) < 0)
		return false;
	*out = (uint64_t)b[12] << 24 | (uint64_t)b[13] << 16 | (uint64_t)b[14] << 8 | b[15];
	return true;
}

static bool number_value(struct str text, uint64_t *out)
{
	if (str_case_starts(text, STR("0x")))
		return num_parse_hex(str_from(text, 2), UINT32_MAX, out) == 0;
	return num_parse(text, 0, UINT32_MAX, out) == 0;
}

static bool number_or_address(struct str text, uint64_t *out)
{
	return address_value(text, out) || number_value(text, out);
}

/* "64" a bit, "127.0.0.2" that address, "127.0.1.2-127.0.1.99" a range, "127.0.0.4/255.0.0.255" a value under a mask. */
static bool numeric_test(struct str test, uint64_t value, bool *hit)
{
	uint64_t a, b;
	const ptrdiff_t dash = str_chr(test, '-'), slash = str_chr(test, '/');
	const ptrdiff_t cut = dash >= 0 ? dash : slash;
	if (cut > 0) {
		if (!number_or_address(str_sub(test, 0, (size_t)cut), &a) || !number_or_address(str_from(test, (size_t)cut + 1), &b))
			return false;
		*hit = dash >= 0 ? value >= a && value <= b : (value & b) == (a & b);
		return true;
	}
	if (address_value(test, &a))
		*hit = value == a;
	else if (number_value(test, &a))
		*hit = (value & a) != 0;
	else
		return false;
	return true;
}

/* What one record says to a subtest; a pattern where it is no number. */
static bool record_fits(struct msg *m, const struct pattern *p, struct str test, unsigned type, struct str record)
{
	uint64_t value;
	bool hit = false;
	if (type == TYPE_A && (!address_value(record, &value) || value >> 24 != 127))
		return false;
	if (test.p == NULL || str_eq(test, record))
		return true;
	if (type == TYPE_A && numeric_test(test, value, &hit))
		return hit;
	return p != NULL && p->code != NULL && pattern_hits(m, p, record);
}

static bool answer_fits(struct msg *m, const struct spam_question *q, const struct pattern *p, struct str test)
{
	for (size_t i = 0; q != NULL && i < q->n; i++)
		if (record_fits(m, p, test, q->type, q->records[i]))
			return true;
	return false;
}

/* --- relays --- */

static void add_public(struct msg *m, struct strs *out, struct str ip)
{
	if (ip.n > 0 && ip_is(ip) && !ip_private(ip) && !strs_has(out, ip))
		strs_add(m->a, out, ip);
}

static void strs_skip(struct strs *v, size_t n)
{
	v->v += n;
	v->n -= n;
}

/* Where all who handed the message on are trusted nobody is asked about. A list that speaks well of somebody may be asked about who is trusted. */
static void addresses(struct msg *m, const struct rule *list, struct strs *out)
{
	const struct str set = list->args[0];
	const bool last = str_ends(set, STR("-lastexternal")), external = last || str_ends(set, STR("-notfirsthop"));
	struct strs untrusted = { 0 };
	msg_relays(m);
	for (size_t i = 0; i < m->n_relays; i++) {
		if (!m->relays[i].trusted)
			add_public(m, &untrusted, m->relays[i].ip);
		if (external && !m->relays[i].internal)
			add_public(m, out, m->relays[i].ip);
	}
	if (!external)
		*out = untrusted;
	if (untrusted.n == 0)
		out->n = 0;
	else if (last || str_ends(set, STR("-firsttrusted")))
		out->n = out->n > 1 ? 1 : out->n;
	else if (external && out->n > 1)
		out->n--;	/* who writes mail may have a dialled address */
	else if (str_ends(set, STR("-untrusted")))
		strs_skip(out, 1);
	else if (!external && out->n > LIST_RELAYS_MAX)
		strs_skip(out, out->n - LIST_RELAYS_MAX);	/* those nearest to who wrote it */
	out->n = out->n > LIST_RELAYS_MAX ? LIST_RELAYS_MAX : out->n;
	while (out->n > 0 && !(list->tflags & TFLAG_BIT(NICE)) && nets_match(&m->s->trusted, out->v[0]))
		strs_skip(out, 1);
}

/* The host of an address under a zone: with a top-level domain that there is, or an address of IP. */
static void add_sender(struct msg *m, const struct rule *r, struct str address, struct strs *out)
{
	const ptrdiff_t sign = str_chr(address, '@');
	struct str rest = sign < 0 ? STR("") : str_from(address, (size_t)sign + 1), host = STR(""), domain;
	(void)str_token(&rest, "@ \t\n", &host);
	host = str_lower_copy(m->a, host);
	while (host.n > 0 && host.p[0] == '.')
		host = str_from(host, 1);
	while (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	if (str_chr(host, '.') < 0 || !uri_to_domain(m->s, m->a, host, &domain, &host))
		return;
	if (ip_is(host))
		host = r->tflags & TFLAG_BIT(DOMAINS_ONLY) ? STR("") : reversed(m, host);
	else if (r->tflags & TFLAG_BIT(IPS_ONLY))
		host = STR("");
	else if (calls(r, "check_rbl_from_domain"))
		host = domain;
	if (host.n > 0 && !strs_has(out, host))
		strs_add(m->a, out, host);
}

static void sender_names(struct msg *m, const struct rule *r, struct strs *out)
{
	struct str envelope;
	if (calls(r, "check_rbl_envfrom")) {
		if (msg_envelope_from(m, &envelope))
			add_sender(m, r, envelope, out);
		return;
	}
	const struct strs *from = from_addrs(m);
	for (size_t i = 0; i < from->n && out->n < LIST_RELAYS_MAX; i++)
		add_sender(m, r, from->v[i], out);
}

/* The questions of a check_rbl… rule; with test, whether one of their answers fits. */
static bool relay_rule(struct asks *k, const struct rule *r, bool test)
{
	struct msg *m = k->m;
	const struct rule *list = r->list != NULL ? r->list : r;
	const bool sub = calls(r, "check_rbl_sub"), by_sender = r->list == NULL;
	const unsigned type = calls(list, "check_rbl_txt") ? TYPE_TXT : TYPE_A;
	const size_t at = sub ? 1 : 2;
	struct strs names = { 0 };
	if (by_sender)
		sender_names(m, r, &names);
	else
		addresses(m, list, &names);
	bool hit = false;
	for (size_t i = 0; i < names.n && list->n_args > 1; i++) {
		const struct str name = by_sender ? names.v[i] : reversed(m, names.v[i]);
		const struct spam_question *q = list_question(k, name, list->args[1], type);
		hit |= test && answer_fits(m, q, &r->arg_pattern, r->n_args > at ? r->args[at] : (struct str){ 0 });
	}
	return hit;
}

static bool asks_by_relay(const struct rule *r)
{
	return r->list != NULL || calls(r, "check_rbl_from_host") || calls(r, "check_rbl_from_domain") || calls(r, "check_rbl_envfrom");
}

/* --- links --- */

struct domain { struct str host, domain; bool ip; };
struct domains { struct domain *v; size_t n, max; };

static void add_host(struct msg *m, struct domains *d, struct str host)
{
	const bool ip = ip_is_v4(host);
	const struct str domain = ip ? host : domain_trim(m->s, m->a, host);
	if (d->n >= d->max || domain.n == 0 || (ip && ip_private(host)) || map_get(m->s->dns_skip, domain) != NULL)
		return;
	for (size_t i = 0; i < d->n; i++)
		if (str_eq(d->v[i].host, host))
			return;
	d->v[d->n++] = (struct domain){ host, domain, ip };
}

/* Links that a reader may follow come first. */
static void link_domains(struct msg *m, struct domains *out)
{
	const double wanted = m->s->num[SPAM_NUM_URI_DOMAINS];
	*out = (struct domains){ ARENA_ARRAY(m->a, struct domain, LIST_DOMAINS_MAX), 0, wanted < LIST_DOMAINS_MAX ? (size_t)(wanted < 0 ? 0 : wanted) : LIST_DOMAINS_MAX };
	msg_uris(m);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < m->n_uris; i++) {
			const struct uri *u = &m->uris[i];
			if (strs_has(&u->types, STR("a")) != (round == 0) || str_case_starts(u->raw, STR("mailto:")) || str_case_starts(u->raw, STR("domainkeys:")))
				continue;
			for (size_t h = 0; h < u->hosts.n; h++)
				add_host(m, out, u->hosts.v[h]);
		}
	}
}

static bool list_wants(const struct uri_list *l, const struct domain *d)
{
	return d->ip ? !(l->rule->tflags & TFLAG_BIT(DOMAINS_ONLY)) : !(l->rule->tflags & TFLAG_BIT(IPS_ONLY));
}

/* What is listed of a domain: itself, or the addresses of it or of its name servers. */
static void listed_names(struct asks *k, const struct uri_list *l, const struct domain *d, struct strs *out)
{
	struct msg *m = k->m;
	struct strs servers = { 0 };
	if (d->ip || !l->by_address) {
		strs_add(m->a, out, d->ip ? reversed(m, d->host) : l->rule->tflags & TFLAG_BIT(NOTRIM) ? d->host : d->domain);
		return;
	}
	if (l->rule->tflags & TFLAG_BIT(A)) {
		strs_add(m->a, &servers, d->host);
	} else {
		const struct spam_question *ns = question(k, d->domain, TYPE_NS);
		for (size_t i = 0; ns != NULL && i < ns->n && i < 4; i++)
			strs_add(m->a, &servers, ns->records[i]);
	}
	for (size_t i = 0; i < servers.n; i++) {
		const struct spam_question *a = question(k, servers.v[i], TYPE_A);
		for (size_t n = 0; a != NULL && n < a->n && n < 4; n++)
			if (ip_is_v4(a->records[n]) && !ip_private(a->records[n]) && out->n < LIST_SERVERS_MAX)
				strs_add(m->a, out, reversed(m, a->records[n]));
	}
}

static bool link_rule(struct asks *k, const struct uri_list *l, const struct domains *d, bool test)
{
	bool hit = false;
	for (size_t i = 0; i < d->n; i++) {
		struct strs names = { 0 };
		if (!list_wants(l, &d->v[i]))
			continue;
		listed_names(k, l, &d->v[i], &names);
		for (size_t n = 0; n < names.n; n++)
			hit |= answer_fits(k->m, list_question(k, names.v[n], l->zone, l->type), NULL, l->subtest) && test;
	}
	return hit;
}

/* --- all --- */

/* Every rule says its questions, or tells its answers; what depends on answers is asked in a further round. */
static void round_of(struct asks *k, const struct domains *d, bool test)
{
	struct msg *m = k->m;
	for (size_t i = 0; i < m->s->n && m->s->num[SPAM_NUM_SKIP_RBL] <= 0; i++) {
		const struct rule *r = m->s->rules[i];
		if (rule_active(m, r) && asks_by_relay(r))
			m->listed[r->index] |= relay_rule(k, r, test);
	}
	for (const struct uri_list *l = m->s->uri_lists_dns; l != NULL && m->s->num[SPAM_NUM_SKIP_URIBL] <= 0; l = l->next)
		if (rule_active(m, l->rule))
			m->listed[l->rule->index] |= link_rule(k, l, d, test);
}

void msg_ask_lists(struct msg *m)
{
	enum { ROUNDS = 3 };	/* a domain's name servers, their addresses, whether those are listed */
	struct domains d;
	if (m->facts->ask == NULL)
		return;
	struct asks k = { .m = m, .by_name = map_new(), .v = ARENA_ARRAY(m->a, struct spam_question, SPAM_QUESTIONS_MAX) };
	m->listed = arena_alloc(m->a, m->s->n + 1);
	link_domains(m, &d);
	for (unsigned i = 0; i < ROUNDS; i++) {
		round_of(&k, &d, false);
		ask(&k);
	}
	round_of(&k, &d, true);
	map_free(&k.by_name);
}

int eval_dns_list(struct msg *m, const struct rule *r)
{
	return (m->listed != NULL && m->listed[r->index]) || eval_fact(m, r);
}
