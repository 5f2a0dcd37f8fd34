/* Routing of mail that is not for a mailbox of ours: transport and next hop of an address (transport_maps, default_transport or the sender's own,
 * relay_transport), the relay that takes their place (relayhost, sender_dependent_relayhost_maps), the TLS policy of that next hop and the login for
 * it. Order as in Postfix: what transport_maps says wins; where it names no next hop, or there is no entry, the sender's relay, then relayhost, then
 * the recipient's domain. Trouble with a map is transport "retry".
 */
#include <string.h>

#include "deliver/resolve/resolve_priv.h"

/* "smtp:[host]:25" into its halves; without a colon the whole is a transport. A next hop may hold colons of its own. */
static void split(struct str in, struct str *transport, struct str *nexthop)
{
	const ptrdiff_t colon = str_chr(in, ':');

	*transport = colon < 0 ? in : str_sub(in, 0, (size_t)colon);
	*nexthop = colon < 0 ? STR("") : str_from(in, (size_t)colon + 1);
}

static bool is_word(struct str s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_case_eq(s, str_c(words[i])))
			return true;
	return false;
}

bool route_transport_known(struct str t)
{
	static const char *const words[] = { "smtp", "relay", "lmtp", "error", "retry", "discard", "local", "virtual" };

	return is_word(t, words, ARRAY_LEN(words));
}

static bool delivers_here(struct str t)
{
	return str_case_eq(t, STR("local")) || str_case_eq(t, STR("virtual"));
}

static struct str joined(struct arena *a, const char *before, struct str s)
{
	return str_c(arena_printf(a, "%s%.*s", before, STR_ARG(s)));
}

/* One key over transport_maps. As tables_get. */
static int transport_key(struct answer *an, struct str key, bool whole, struct str *out)
{
	return tables_get(an, &an->r->transport, key, whole, out);
}

/* user+ext@domain, user@domain, domain, .parent …, "*". */
static int transport_find(struct answer *an, const struct smtp_addr *addr, struct str *out)
{
	struct str base;
	int r = transport_key(an, address_text(an->a, addr->local, addr->domain), true, out);

	(void)extension_split(an->r->conf, addr->local, &base);
	if (r == 1 && base.n < addr->local.n)
		r = transport_key(an, address_text(an->a, base, addr->domain), false, out);
	if (r == 1)
		r = transport_key(an, addr->domain, false, out);
	for (ptrdiff_t dot = str_chr(addr->domain, '.'); r == 1 && dot >= 0;) {
		const struct str parent = str_from(addr->domain, (size_t)dot);
		r = transport_key(an, parent, false, out);
		const ptrdiff_t next = str_chr(str_from(parent, 1), '.');
		dot = next < 0 ? -1 : dot + 1 + next;
	}
	return r == 1 ? transport_key(an, STR("*"), false, out) : r;
}

/* --- mailboxes that transport_maps sends elsewhere, and the other way round --- */

static int to_mailbox(struct answer *an, struct final *f, const struct smtp_addr *addr)
{
	struct account acc;
	struct str extension;
	const int r = account_find(an, addr->local, addr->domain, &acc, &extension);

	if (r < 0)
		return -1;
	if (r > 0)
		return fail(an, 550, "5.1.1", "User unknown in local recipient table");
	f->kind = "mailbox";
	f->user = str_c(arena_strdup(an->a, acc.name));
	f->extension = extension;
	return 0;
}

int route_finals(struct answer *an)
{
	for (struct final *f = an->finals; f && an->r->transport.n > 0; f = f->next) {
		const bool mailbox = strcmp(f->kind, "mailbox") == 0;
		struct smtp_addr addr;
		struct str value, transport, nexthop;
		struct err e = { 0 };

		if ((!mailbox && strcmp(f->kind, "remote") != 0) || smtp_addr_parse(an->a, f->address, &addr, &e) < 0)
			continue;
		if (addr.domain.n == 0)
			addr.domain = str_c(an->r->conf->myhostname);
		const int r = transport_find(an, &addr, &value);
		if (r < 0)
			return -1;
		if (r > 0)
			continue;
		split(value, &transport, &nexthop);
		if (transport.n == 0 && (nexthop.n == 0 || mailbox))
			continue;
		if (delivers_here(transport)) {
			if (!mailbox && to_mailbox(an, f, &addr) < 0)
				return -1;
		} else if (mailbox) {
			step(an, "transport_maps takes it away: %.*s", STR_ARG(value));
			f->kind = "remote";
			f->user = f->extension = STR("");
		}
	}
	return 0;
}

/* --- one route --- */

/* What a table has for a sender: by the address, without its extension, by @domain. As tables_get; DUNNO is nothing. */
static int sender_find(struct answer *an, const struct tables *t, struct str sender, const char *for_null, struct str *out)
{
	const struct str key = sender.n > 0 ? sender : str_c(for_null);
	const ptrdiff_t at = str_rchr(key, '@');
	struct str base;

	if (t->n == 0 || key.n == 0)
		return 1;
	int r = tables_get(an, t, key, true, out);
	if (r == 1 && at > 0 && extension_split(an->r->conf, str_sub(key, 0, (size_t)at), &base).n > 0)
		r = tables_get(an, t, address_text(an->a, base, str_from(key, (size_t)at + 1)), false, out);
	if (r == 1 && at >= 0)
		r = tables_get(an, t, str_from(key, (size_t)at), false, out);
	return r == 0 && str_case_eq(*out, STR("DUNNO")) ? 1 : r;
}

/* The relay for this sender, or relayhost; empty: none. */
static int relay_find(struct answer *an, struct str sender, struct str *out)
{
	const struct conf *c = an->r->conf;
	const int r = sender_find(an, &an->r->sender_relayhost, sender, c->empty_address_relayhost_maps_lookup_key, out);

	if (r == 1)
		*out = str_c(c->relayhost);
	return r < 0 ? -1 : 0;
}

static int by_class(struct answer *an, struct str sender, const struct smtp_addr *addr, struct str *out)
{
	const struct conf *c = an->r->conf;
	enum addr_class class;
	int r = 1;

	if (classify(an, addr->domain, &class) < 0)
		return -1;
	if (class == CLASS_DEFAULT)
		r = sender_find(an, &an->r->sender_transport, sender, c->empty_address_default_transport_maps_lookup_key, out);
	if (r == 1)
		*out = str_c(class == CLASS_RELAY ? c->relay_transport : c->default_transport);
	return r < 0 ? -1 : 0;
}

static int route_find(struct answer *an, struct str sender, const struct smtp_addr *addr, struct route *out)
{
	struct str value = STR(""), fallback;
	const int r = an->r->transport.n > 0 ? transport_find(an, addr, &value) : 1;

	if (r < 0 || by_class(an, sender, addr, &fallback) < 0)
		return -1;
	split(r == 0 ? value : STR(""), &out->transport, &out->nexthop);
	if (out->transport.n == 0) {
		struct str hop;
		split(fallback, &out->transport, &hop);
		if (out->nexthop.n == 0)
			out->nexthop = hop;
	}
	/* An entry of transport_maps that names a transport alone goes to the recipient's domain (Postfix: transport(5)). */
	if (out->nexthop.n == 0 && (r != 0 || value.n <= 1) && relay_find(an, sender, &out->nexthop) < 0)
		return -1;
	if (out->nexthop.n == 0)
		out->nexthop = addr->domain;
	return 0;
}

/* The next hop as it stands, then its host alone. */
static int hop_get(struct answer *an, const struct tables *t, struct str hop, struct str *out)
{
	struct str host = hop;
	int r = tables_get(an, t, hop, true, out);

	if (r != 1)
		return r;
	if (hop.n > 0 && hop.p[0] == '[') {
		const ptrdiff_t end = str_chr(hop, ']');
		host = end < 0 ? hop : str_sub(hop, 0, (size_t)end + 1);
		if (host.n < hop.n && (r = tables_get(an, t, host, false, out)) != 1)
			return r;
		host = end < 0 ? hop : str_sub(hop, 1, (size_t)end - 1);
	} else {
		const ptrdiff_t colon = str_chr(hop, ':');
		host = colon < 0 ? hop : str_sub(hop, 0, (size_t)colon);
	}
	return host.n < hop.n ? tables_get(an, t, host, false, out) : 1;
}

static int login_find(struct answer *an, struct str sender, struct route *out)
{
	const struct conf *c = an->r->conf;
	int r = 1;

	out->login = STR("");
	if (!c->smtp_sasl_auth_enable || an->r->passwords.n == 0)
		return 0;
	if (c->smtp_sender_dependent_authentication && sender.n > 0)
		r = tables_get(an, &an->r->passwords, sender, true, &out->login);
	if (r == 1)
		r = hop_get(an, &an->r->passwords, out->nexthop, &out->login);
	if (r == 1)
		out->login = STR("");
	return r < 0 ? -1 : 0;
}

static int policy_find(struct answer *an, struct route *out)
{
	out->policy = STR("");
	if (an->r->tls_policy.n == 0)
		return 0;
	int r = hop_get(an, &an->r->tls_policy, out->nexthop, &out->policy);
	struct str rest = out->nexthop;
	for (ptrdiff_t dot; r == 1 && rest.n > 0 && rest.p[0] != '[' && (dot = str_chr(str_from(rest, 1), '.')) >= 0;) {
		rest = str_from(rest, (size_t)dot + 1);
		r = tables_get(an, &an->r->tls_policy, rest, false, &out->policy);
	}
	if (r == 1)
		out->policy = STR("");
	return r < 0 ? -1 : 0;
}

/* "user@1.2.3.4": no domain can be a number (RFC 1123 2.1), and a literal has brackets, which resolve_numeric_domain adds. */
int route_number(struct answer *an, struct smtp_addr *addr)
{
	uint8_t ip[16];

	for (size_t i = 0; i < addr->domain.n; i++)
		if (!ch_digit(addr->domain.p[i]) && addr->domain.p[i] != '.')
			return 0;
	if (addr->domain.n == 0)
		return 0;
	if (!an->r->conf->resolve_numeric_domain || addr_parse(addr->domain, ip) < 0)
		return -1;
	addr->domain = str_c(arena_printf(an->a, "[%.*s]", STR_ARG(addr->domain)));
	return 0;
}

void resolver_route(struct resolver *r, struct arena *a, struct str sender, struct str address, struct route *out)
{
	struct answer an = { .r = r, .a = a, .state = map_new() };
	struct smtp_addr addr;
	struct err e = { 0 };

	an.finals_end = &an.finals;
	an.steps_end = &an.steps;
	*out = (struct route){ .login = STR(""), .policy = STR("") };
	if (smtp_addr_parse(a, address, &addr, &e) < 0 || route_number(&an, &addr) < 0) {
		out->transport = STR("error");
		out->nexthop = joined(a, "5.1.3 ", str_c("bad recipient address"));
	} else {
		if (addr.domain.n == 0)
			addr.domain = str_c(r->conf->myorigin);
		if (route_find(&an, sender, &addr, out) < 0 || login_find(&an, sender, out) < 0 || policy_find(&an, out) < 0) {
			out->transport = STR("retry");
			out->nexthop = joined(a, "4.3.0 ", an.text);
		} else if (!route_transport_known(out->transport)) {
			out->nexthop = joined(a, "4.3.5 unknown mail transport: ", out->transport);
			out->transport = STR("retry");
		} else if (delivers_here(out->transport)) {	/* it was a mailbox when it was accepted, or is none of ours */
			out->nexthop = joined(a, "5.1.1 ", str_c("User unknown in local recipient table"));
			out->transport = STR("error");
		} else if (str_case_eq(out->transport, STR("relay"))) {
			out->transport = STR("smtp");
		}
	}
	map_free(&an.state);
}
