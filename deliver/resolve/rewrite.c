/* Rewriting of addresses: canonical maps (canonical(5)), masquerading, what is missing from an address, blind copies. For the envelope's recipients
 * it runs inside of an answer (resolve.c); for the rest of a message in one request at its end. */
#include "deliver/resolve/resolve_priv.h"

#include <stddef.h>

#include "log/log.h"

enum { BCC_MAX = 100 };

static const char *const class_names[] = {
	[RW_ENVELOPE_SENDER] = "envelope_sender",
	[RW_ENVELOPE_RECIPIENT] = "envelope_recipient",
	[RW_HEADER_SENDER] = "header_sender",
	[RW_HEADER_RECIPIENT] = "header_recipient",
};

/* --- canonical --- */

static int canonical_one(struct answer *an, const struct tables *t, struct conf_list classes, enum rewrite_class class, struct smtp_addr *addr)
{
	const bool propagate = conf_lists(an->r->conf->propagate_unmatched_extensions, "canonical");
	struct smtp_addr to;
	struct found f;

	if (t->n == 0 || !conf_lists(classes, class_names[class]))
		return 0;
	const int r = address_find(an, t, addr, NULL, &f);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (address_result(an, addr, &f, propagate, f.value, &to) < 0) {
		log_error("%s: \"%.*s\" is no address", t->parameter, STR_ARG(str_sub(f.value, 0, 80)));
		return fail(an, 451, "4.3.5", "Address rewriting error");
	}
	*addr = to;
	return 0;
}

int rewrite_canonical(struct answer *an, enum rewrite_class class, struct smtp_addr *addr)
{
	const struct resolver *r = an->r;
	const struct conf *c = r->conf;
	const bool sender = class == RW_ENVELOPE_SENDER || class == RW_HEADER_SENDER;

	if (sender ? canonical_one(an, &r->sender_canonical, c->sender_canonical_classes, class, addr) < 0
		   : canonical_one(an, &r->recipient_canonical, c->recipient_canonical_classes, class, addr) < 0)
		return -1;
	return canonical_one(an, &r->canonical, c->canonical_classes, class, addr);
}

/* --- masquerading --- */

void rewrite_masquerade(const struct conf *c, enum rewrite_class class, struct smtp_addr *addr)
{
	if (!conf_lists(c->masquerade_classes, class_names[class]))
		return;
	for (size_t i = 0; i < c->masquerade_exceptions.n; i++)
		if (str_case_eq(addr->local, str_c(c->masquerade_exceptions.v[i])))
			return;
	for (size_t i = 0; i < c->masquerade_domains.n; i++) {
		struct str name = str_c(c->masquerade_domains.v[i]);
		const bool keep = name.n > 1 && name.p[0] == '!';

		if (keep)
			name = str_from(name, 1);
		const bool below = addr->domain.n > name.n && str_case_ends(addr->domain, name) && addr->domain.p[addr->domain.n - name.n - 1] == '.';
		if (!below && !str_case_eq(addr->domain, name))
			continue;
		if (below && !keep)
			addr->domain = name;
		return;
	}
}

/* --- a message's addresses --- */

/* Rewritten, or as it was when it is no address. -1: a map is in trouble. */
static int one_address(struct answer *an, enum rewrite_class class, struct str in, struct str *out)
{
	struct smtp_addr addr;
	struct err e = { 0 };

	*out = in;
	if (in.n == 0 || in.n > ADDRESS_BYTES_MAX || smtp_addr_parse(an->a, in, &addr, &e) < 0 || addr.local.n == 0 || addr.domain.n == 0)
		return 0;
	if (rewrite_canonical(an, class, &addr) < 0)
		return -1;
	rewrite_masquerade(an->r->conf, class, &addr);
	*out = address_text(an->a, addr.local, addr.domain);
	return 0;
}

/* smtp_generic_maps (generic(5)): one look, for all kinds of address. */
static int generic_address(struct answer *an, struct str in, struct str *out)
{
	const bool propagate = conf_lists(an->r->conf->propagate_unmatched_extensions, "generic");
	struct smtp_addr addr, to;
	struct err e = { 0 };
	struct found f;

	*out = in;
	if (in.n == 0 || in.n > ADDRESS_BYTES_MAX || smtp_addr_parse(an->a, in, &addr, &e) < 0 || addr.local.n == 0 || addr.domain.n == 0)
		return 0;
	const int r = address_find(an, &an->r->generic, &addr, NULL, &f);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (address_result(an, &addr, &f, propagate, f.value, &to) < 0) {
		log_error("smtp_generic_maps: \"%.*s\" is no address", STR_ARG(str_sub(f.value, 0, 80)));
		return fail(an, 451, "4.3.5", "Address rewriting error");
	}
	*out = address_text(an->a, to.local, to.domain);
	return 0;
}

static int generic_addresses(struct answer *an, const struct ipc_resolve_REWRITE *m, struct ipc_resolve_REWRITTEN *out)
{
	out->addresses.v = ARENA_ARRAY(an->a, struct str, m->addresses.n + 1);
	for (; out->addresses.n < m->addresses.n; out->addresses.n++)
		if (generic_address(an, m->addresses.v[out->addresses.n], &out->addresses.v[out->addresses.n]) < 0)
			return -1;
	return 0;
}

static void add_bcc(struct answer *an, struct str value, struct ipc_strs *bcc)
{
	value = str_trim(value);
	for (size_t i = 0; i < bcc->n; i++)
		if (str_case_eq(bcc->v[i], value))
			return;
	if (value.n > 0 && value.n <= ADDRESS_BYTES_MAX && bcc->n < BCC_MAX)
		bcc->v[bcc->n++] = arena_str(an->a, value);
}

static int bcc_of(struct answer *an, const struct tables *t, struct str address, struct ipc_strs *bcc)
{
	struct smtp_addr addr;
	struct err e = { 0 };
	struct found f;

	if (t->n == 0 || address.n == 0 || address.n > ADDRESS_BYTES_MAX || smtp_addr_parse(an->a, address, &addr, &e) < 0)
		return 0;
	if (addr.domain.n == 0)
		addr.domain = str_c(an->r->conf->myorigin);
	const int r = address_find(an, t, &addr, NULL, &f);
	if (r == 0)
		add_bcc(an, f.value, bcc);
	return r < 0 ? -1 : 0;
}

static int all_addresses(struct answer *an, const struct ipc_resolve_REWRITE *m, struct ipc_resolve_REWRITTEN *out)
{
	if (m->envelope && one_address(an, RW_ENVELOPE_SENDER, m->sender, &out->sender) < 0)
		return -1;
	out->addresses.v = ARENA_ARRAY(an->a, struct str, m->addresses.n + 1);
	for (; out->addresses.n < m->addresses.n; out->addresses.n++) {
		const size_t i = out->addresses.n;
		const bool sender = i < m->classes.n && str_eq(m->classes.v[i], STR("sender"));

		if (one_address(an, sender ? RW_HEADER_SENDER : RW_HEADER_RECIPIENT, m->addresses.v[i], &out->addresses.v[i]) < 0)
			return -1;
	}
	return 0;
}

static int all_bcc(struct answer *an, const struct ipc_resolve_REWRITE *m, struct ipc_strs *bcc)
{
	bcc->v = ARENA_ARRAY(an->a, struct str, BCC_MAX);
	add_bcc(an, str_c(an->r->conf->always_bcc), bcc);
	if (bcc_of(an, &an->r->sender_bcc, m->sender, bcc) < 0)
		return -1;
	for (size_t i = 0; i < m->recipients.n; i++)
		if (bcc_of(an, &an->r->recipient_bcc, m->recipients.v[i], bcc) < 0)
			return -1;
	return 0;
}

void resolver_rewrite(struct resolver *r, struct arena *a, const struct ipc_resolve_REWRITE *m, struct ipc_resolve_REWRITTEN *out)
{
	struct answer an = { .r = r, .a = a };

	*out = (struct ipc_resolve_REWRITTEN){ .sender = m->sender };
	if (m->generic ? generic_addresses(&an, m, out) < 0 : all_addresses(&an, m, out) < 0 || all_bcc(&an, m, &out->bcc) < 0)
		*out = (struct ipc_resolve_REWRITTEN){ .code = 451, .sender = m->sender };
}
