/* Expansion of an address: virtual_alias_maps for every class, then what the class says; aliases(5) for local names.
 *
 * An address that is met again while it is being expanded is a loop; one that has been expanded already is skipped, since all it leads
 * to is in the answer. So the work is bounded by the number of different addresses, which has a limit too. */
#include "deliver/resolve/resolve_priv.h"

#include "deliver/resolve/aliases.h"
#include "log/log.h"

static char state_busy, state_done; /* only their addresses matter */

/* Key of the state map: kind, text folded. */
static struct str state_key(struct answer *an, char kind, struct str text)
{
	char *p = arena_alloc(an->a, text.n + 2);

	p[0] = kind;
	for (size_t i = 0; i < text.n; i++)
		p[i + 1] = ch_lower(text.p[i]);
	return str_n(p, text.n + 1);
}

/* 0: begun; 1: done before; -1: a loop or a limit (failed). */
static int begin(struct answer *an, struct str key, unsigned depth, bool local)
{
	const void *state = map_get(an->state, key);
	const struct conf *c = an->r->conf;

	if (state == &state_done)
		return 1;
	/* Postfix defers the one (a table can be mended) and returns the other. */
	if (state == &state_busy)
		return local ? fail(an, 554, "5.4.6", "Alias loop at %.*s",
				    STR_ARG(str_from(key, 1)))
			     : fail(an, 451, "4.6.0", "Alias expansion error: loop at %.*s",
				    STR_ARG(str_from(key, 1)));
	if (local && depth > ALIAS_DEPTH_MAX)
		return fail(an, 554, "5.4.6", "Aliases are nested more than %d deep",
			    ALIAS_DEPTH_MAX);
	if (depth > c->virtual_alias_recursion_limit)
		return fail(an, 451, "4.6.0", "Alias expansion error: nested more than %llu deep",
			    (unsigned long long)c->virtual_alias_recursion_limit);
	if (++an->n_expanded > c->virtual_alias_expansion_limit * 2)
		return fail(an, 451, "4.6.0", "Alias expansion error: more than %llu addresses",
			    (unsigned long long)c->virtual_alias_expansion_limit * 2);
	map_set(an->state, key, &state_busy);
	return 0;
}

static void note_dead(struct answer *an, struct str address)
{
	an->dead = arena_str(an->a, address);
	step(an, "%.*s: unknown", STR_ARG(address));
}

/* --- virtual_alias_maps --- */

/* Does the domain have the right to keys without a domain? */
static int is_home(struct answer *an, struct str domain, bool *out)
{
	enum addr_class class;

	if (str_case_eq(domain, str_c(an->r->conf->myorigin))) {
		*out = true;
		return 0;
	}
	const bool explain = an->explain;

	an->explain = false;
	const int r = classify(an, domain, &class);

	an->explain = explain;
	*out = r == 0 && class == CLASS_LOCAL;
	return r;
}

/* A catch-all yields to who exists (catchall_strict = no). 1: it must, 0: it may capture, -1. */
static int catch_all_yields(struct answer *an, const struct smtp_addr *addr)
{
	enum addr_class class;

	if (an->r->conf->catchall_strict)
		return 0;
	if (classify(an, addr->domain, &class) < 0)
		return -1;
	return recipient_known(an, addr, class);
}

int address_find(struct answer *an, const struct tables *t, const struct smtp_addr *addr,
		 int (*yields)(struct answer *an, const struct smtp_addr *addr), struct found *out)
{
	struct str base, value;
	bool home = false;

	if (t->n == 0)
		return 1;
	const struct str ext = extension_split(an->r->conf, addr->local, &base);

	if (is_home(an, addr->domain, &home) < 0)
		return -1;
	const struct {
		bool use, whole;
		struct str key, extension;
	} keys[] = {
		{ true, true, address_text(an->a, addr->local, addr->domain), STR("") },
		{ base.n != addr->local.n, false, address_text(an->a, base, addr->domain), ext },
		{ home, false, addr->local, STR("") },
		{ home && base.n != addr->local.n, false, base, ext },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const int r =
			keys[i].use ? tables_get(an, t, keys[i].key, keys[i].whole, &value) : 1;

		if (r == 0)
			*out = (struct found){ value, keys[i].extension, false };
		if (r != 1)
			return r;
	}
	const struct str key =
		arena_str(an->a, str_c(arena_printf(an->a, "@%.*s", STR_ARG(addr->domain))));
	const int r = tables_get(an, t, key, false, &value);

	if (r != 0)
		return r;
	const int stop = yields ? yields(an, addr) : 0;

	if (stop > 0)
		step(an, "the catch-all yields: %.*s exists (catchall_strict = no)",
		     STR_ARG(keys[0].key));
	if (stop == 0)
		*out = (struct found){ value, STR(""), true };
	return stop;
}

int address_listed(struct answer *an, const struct tables *t, const struct smtp_addr *addr)
{
	struct found f;
	const int r = address_find(an, t, addr, NULL, &f);

	return r < 0 ? -1 : r == 0;
}

int address_result(struct answer *an, const struct smtp_addr *from, const struct found *f,
		   bool propagate, struct str item, struct smtp_addr *out)
{
	struct err e = { 0 };

	if (item.n > 1 && item.p[0] == '@') {
		*out = *from;
		out->domain = str_from(item, 1);
		return 0;
	}
	if (item.n == 0 || item.n > ADDRESS_BYTES_MAX || strchr("|/:\\", item.p[0]) ||
	    smtp_addr_parse(an->a, item, out, &e) < 0 || out->local.n == 0)
		return -1;
	if (out->domain.n == 0)
		out->domain = str_c(an->r->conf->myorigin);
	/* The delimiter stands before the extension in the address that was asked. */
	if (f->extension.n && propagate)
		out->local =
			str_c(arena_printf(an->a, "%.*s%c%.*s", STR_ARG(out->local),
					   f->extension.p[-1], STR_ARG(f->extension)));
	return 0;
}

/* One result of a virtual alias as an address. */
static int virtual_result(struct answer *an, const struct smtp_addr *from, const struct found *f,
			  struct str item, struct smtp_addr *out)
{
	const bool propagate =
		conf_lists(an->r->conf->propagate_unmatched_extensions, "virtual");

	if (address_result(an, from, f, propagate, item, out) == 0)
		return 0;
	log_error("virtual_alias_maps: \"%.*s\" is no address", STR_ARG(str_sub(item, 0, 80)));
	return fail(an, 451, "4.6.0", "Alias expansion error: \"%.*s\" is no address",
		    STR_ARG(str_sub(item, 0, 80)));
}

static int expand_class(struct answer *an, const struct smtp_addr *addr, unsigned depth);

static bool same_address(const struct smtp_addr *a, const struct smtp_addr *b)
{
	return str_case_eq(a->local, b->local) && str_case_eq(a->domain, b->domain);
}

static int expand_results(struct answer *an, const struct smtp_addr *addr, const struct found *f,
			  unsigned depth)
{
	struct alias_reader rd;
	struct alias_item item;
	struct err e = { 0 };
	size_t n = 0;
	int r;

	alias_reader_init(&rd, f->value);
	while ((r = alias_next(&rd, an->a, &item, &e)) > 0) {
		struct smtp_addr next;

		n++;
		if (virtual_result(an, addr, f, item.text, &next) < 0)
			return -1;
		/* An address that yields itself is final. */
		if ((same_address(&next, addr) ? expand_class(an, addr, depth)
					       : expand_address(an, &next, depth + 1)) < 0)
			return -1;
	}
	if (r < 0 || n == 0) {
		log_error("virtual_alias_maps: \"%.*s\": %s", STR_ARG(str_sub(f->value, 0, 80)),
			  r < 0 ? e.text : "no address");
		return fail(an, 451, "4.6.0", "Alias expansion error");
	}
	return 0;
}

int expand_address(struct answer *an, const struct smtp_addr *addr, unsigned depth)
{
	const struct str text = address_text(an->a, addr->local, addr->domain),
			 key = state_key(an, 'v', text);
	struct found f = { 0 };
	int r = begin(an, key, depth, false);

	if (r != 0)
		return r < 0 ? -1 : 0;
	r = address_find(an, &an->r->virtual, addr, catch_all_yields, &f);
	if (r >= 0)
		r = r == 0 ? expand_results(an, addr, &f, depth) : expand_class(an, addr, depth);
	map_set(an->state, key, &state_done);
	return r;
}

/* --- classes --- */

/* The account of a name that virtual_mailbox_maps gives for addr: a value that names none leaves the address's own. */
static int listed_account(struct answer *an, const struct smtp_addr *addr, struct account *acc,
			  struct str *ext)
{
	struct found f;
	int r = an->r->mailboxes.n ? address_find(an, &an->r->mailboxes, addr, NULL, &f) : 0;

	if (r != 0)
		return r;
	r = account_find(an, addr->local, addr->domain, acc, ext);
	if (r != 1 || an->r->mailboxes.n == 0)
		return r;
	if (account_name_valid(f.value)) {
		r = account_find(an, f.value, STR(""), acc, ext);
		*ext = f.extension;
	}
	if (r == 1) {
		log_error("virtual_mailbox_maps: %.*s has no account",
			  STR_ARG(address_text(an->a, addr->local, addr->domain)));
		return fail(an, 451, "4.3.5", "Mailbox has no account yet");
	}
	return r;
}

static int expand_mailbox(struct answer *an, const struct smtp_addr *addr)
{
	const struct str text = address_text(an->a, addr->local, addr->domain);
	struct account acc;
	struct str ext;
	const int r = listed_account(an, addr, &acc, &ext);

	if (r == 1)
		note_dead(an, text);
	return r == 0 ? final_add(an, "mailbox", text, str_c(acc.name), ext) : r < 0 ? -1 : 0;
}

static int expand_relay(struct answer *an, const struct smtp_addr *addr)
{
	const struct str text = address_text(an->a, addr->local, addr->domain);
	const int r = an->r->relay_recipients.n
			      ? address_listed(an, &an->r->relay_recipients, addr)
			      : 1;

	if (r == 0)
		note_dead(an, text);
	return r > 0 ? final_add(an, "remote", text, STR(""), STR("")) : r;
}

static int expand_class(struct answer *an, const struct smtp_addr *addr, unsigned depth)
{
	const struct str text = address_text(an->a, addr->local, addr->domain);
	enum addr_class class;
	int r;

	if (classify(an, addr->domain, &class) < 0)
		return -1;
	switch (class) {
	case CLASS_LOCAL:
		r = expand_local(an, addr->local, addr->domain, depth);
		if (r == 1)
			note_dead(an, text);
		return r < 0 ? -1 : 0;
	case CLASS_VIRTUAL_MAILBOX:
		return expand_mailbox(an, addr);
	case CLASS_VIRTUAL_ALIAS:
		note_dead(an, text);
		return 0;
	case CLASS_RELAY:
		return expand_relay(an, addr);
	default:
		return final_add(an, "remote", text, STR(""), STR(""));
	}
}

/* --- aliases(5) --- */

/* The alias of local: "name+ext", then "name". *name_out is what was found, *ext_out what the key did not hold. 0; 1; -1. */
static int alias_find(struct answer *an, struct str local, struct str *name_out,
		      struct str *ext_out, struct str *value_out)
{
	struct str base;
	int r = tables_get(an, &an->r->aliases, local, true, value_out);

	*name_out = local;
	*ext_out = STR("");
	if (r != 1)
		return r;
	const struct str ext = extension_split(an->r->conf, local, &base);

	if (base.n == local.n)
		return 1;
	*name_out = base;
	*ext_out = ext;
	return tables_get(an, &an->r->aliases, base, true, value_out);
}

int recipient_known(struct answer *an, const struct smtp_addr *addr, enum addr_class class)
{
	struct str name, ext, value;
	struct account acc;
	int r = 1;

	if (class == CLASS_LOCAL) {
		r = alias_find(an, addr->local, &name, &ext, &value);
		if (r == 1)
			r = account_find(an, addr->local, STR(""), &acc, &ext);
	} else if (class == CLASS_VIRTUAL_MAILBOX) {
		r = listed_account(an, addr, &acc, &ext);
	}
	return r < 0 ? -1 : r == 0;
}

static struct str replace_all(struct arena *a, struct str in, const char *name, struct str value)
{
	const struct str what = str_c(name);
	struct buf b;

	buf_init(&b, ADDRESS_BYTES_MAX);
	while (in.n) {
		const ptrdiff_t at = str_find(in, what);

		buf_str(&b, str_sub(in, 0, at < 0 ? in.n : (size_t)at));
		if (at < 0)
			break;
		buf_str(&b, value);
		in = str_from(in, (size_t)at + what.n);
	}
	const struct str s = buf_failed(&b) ? STR("") : arena_str(a, buf_view(&b));

	buf_fini(&b);
	return s;
}

/* luser_relay, with the unknown address in it. */
static int to_luser(struct answer *an, struct str local, struct str domain, unsigned depth)
{
	const struct conf *c = an->r->conf;
	struct str base, to = str_c(c->luser_relay);
	const struct str ext = extension_split(c, local, &base);
	const struct smtp_addr from = { .local = local, .domain = domain };
	struct smtp_addr next;
	const struct {
		const char *name;
		struct str value;
	} names[] = { { "$local", local },
		      { "$user", base },
		      { "$domain", domain },
		      { "$extension", ext },
		      { "$recipient", address_text(an->a, local, domain) } };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		to = replace_all(an->a, to, names[i].name, names[i].value);
	if (address_result(an, &from, &(struct found){ 0 }, false, to, &next) < 0) {
		log_error("luser_relay: \"%.*s\" is no address", STR_ARG(to));
		return fail(an, 451, "4.3.5", "luser_relay is no address");
	}
	step(an, "luser_relay: %.*s", STR_ARG(to));
	return expand_address(an, &next, depth + 1);
}

/* The transport that the maps have for the name without its extension, else the one for all. 0: it takes the mail; 1: there is none; -1. */
static int to_transport(struct answer *an, const struct tables *maps, const char *for_all, struct str local, struct str text)
{
	struct str base, to = { 0 };

	(void)extension_split(an->r->conf, local, &base);
	const int r = tables_get(an, maps, base, true, &to);
	if (r < 0)
		return -1;
	if (r == 1)
		to = str_c(for_all);
	return to.n ? final_add(an, "remote", text, to, STR("")) : 1;
}

/* Neither alias nor account. 1: refuse it; else it was taken by one who takes such, or will be returned. */
static int to_unknown(struct answer *an, struct str local, struct str domain, unsigned depth)
{
	const struct conf *c = an->r->conf;
	const struct smtp_addr addr = { .local = local, .domain = domain };
	const struct str text = address_text(an->a, local, domain);
	const int listed = c->local_recipient_maps.n == 0
				   ? 1
				   : address_listed(an, &an->r->local_recipients, &addr);

	if (listed <= 0)
		return listed < 0 ? -1 : 1;
	int r = to_transport(an, &an->r->mailbox_transports, c->mailbox_transport, local, text);
	if (r == 1)
		r = to_transport(an, &an->r->fallback_transports, c->fallback_transport, local, text);
	if (r != 1)
		return r;
	if (c->luser_relay[0])
		return to_luser(an, local, domain, depth);
	if (c->local_recipient_maps.n)
		log_warning("local_recipient_maps: %.*s is neither alias nor account",
			    STR_ARG(text));
	step(an, "it is accepted by local_recipient_maps, and nobody: it will be returned");
	return final_add(an, "error", text,
			 str_c(arena_printf(an->a, "unknown user: \"%.*s\"", STR_ARG(local))),
			 STR("5.1.1"));
}

static int to_account(struct answer *an, struct str local, struct str domain, unsigned depth)
{
	const struct conf *c = an->r->conf;
	const struct str text = address_text(an->a, local, domain);
	struct account acc;
	struct str ext;
	const int r = account_find(an, local, STR(""), &acc, &ext);
	const int passed = r == 0 ? to_transport(an, &an->r->mailbox_transports, c->mailbox_transport, local, text) : 1;

	if (passed != 1)
		return passed;
	return r == 0	? final_add(an, "mailbox", text, str_c(acc.name), ext)
	       : r == 1 ? to_unknown(an, local, domain, depth)
			: r;
}

/* The address that errors of list NAME go to. */
static int owner_address(struct answer *an, struct str owner, struct str value, struct str *out)
{
	struct alias_reader rd;
	struct alias_item item, more;
	struct err e = { 0 };
	struct smtp_addr addr;

	*out = address_text(an->a, owner, str_c(an->r->conf->myorigin));
	if (!an->r->conf->expand_owner_alias)
		return 0;
	/* With several owners there is no one sender: owner-NAME stays, and leads to all of them. */
	alias_reader_init(&rd, value);
	if (alias_next(&rd, an->a, &item, &e) > 0 && item.kind == ALIAS_ADDRESS &&
	    alias_next(&rd, an->a, &more, &e) == 0 &&
	    address_result(an, &(struct smtp_addr){ 0 }, &(struct found){ 0 }, false, item.text,
			   &addr) == 0)
		*out = address_text(an->a, addr.local, addr.domain);
	return 0;
}

/* owner-NAME becomes the envelope sender of what NAME expands to; of nested lists the innermost. */
static int note_owner(struct answer *an, struct str name)
{
	struct str value;

	if (str_case_starts(name, STR("owner-")) || str_case_ends(name, STR("-request")))
		return 0;
	const struct str owner = str_c(arena_printf(an->a, "owner-%.*s", STR_ARG(name)));
	const int r = tables_get(an, &an->r->aliases, owner, true, &value);

	return r == 0 ? owner_address(an, owner, value, &an->owner) : r < 0 ? -1 : 0;
}

/* An address in an alias: ours by name, or elsewhere. */
static int alias_address(struct answer *an, struct str name, struct str domain,
			 const struct alias_item *item, unsigned depth)
{
	struct smtp_addr next;
	enum addr_class class = CLASS_LOCAL;
	struct err e = { 0 };

	if (item->text.n > ADDRESS_BYTES_MAX || smtp_addr_parse(an->a, item->text, &next, &e) < 0 ||
	    next.local.n == 0) {
		log_error("alias \"%.*s\": \"%.*s\" is no address: %s", STR_ARG(name),
			  STR_ARG(str_sub(item->text, 0, 80)), e.text);
		note_dead(an, item->text);
		return 0;
	}
	if (next.domain.n && classify(an, next.domain, &class) < 0)
		return -1;
	if (class != CLASS_LOCAL)
		return expand_address(an, &next, depth + 1);
	struct str base;

	(void)extension_split(an->r->conf, next.local, &base);
	/* A name that expands to itself is the user of that name; so is \name. */
	int r = item->plain || str_case_eq(next.local, name) || str_case_eq(base, name)
			? to_account(an, next.local, domain, depth)
			: expand_local(an, next.local, domain, depth + 1);

	if (r == 1 && next.domain.n == 0 && !str_case_eq(str_c(an->r->conf->myorigin), domain)) {
		/* Neither alias nor account: with myorigin it may be an address of another class. */
		next.domain = str_c(an->r->conf->myorigin);
		if (classify(an, next.domain, &class) < 0)
			return -1;
		if (class != CLASS_LOCAL)
			return expand_address(an, &next, depth + 1);
	}
	if (r == 1) {
		log_warning("alias \"%.*s\": \"%.*s\" does not exist", STR_ARG(name),
			    STR_ARG(item->text));
		note_dead(an, item->text);
	}
	return r < 0 ? -1 : 0;
}

static int alias_expand(struct answer *an, struct str name, struct str domain, struct str value,
			unsigned depth)
{
	struct alias_reader rd;
	struct alias_item item;
	struct err e = { 0 };
	int r;

	const struct str outer = an->owner;

	if (note_owner(an, name) < 0)
		return -1;
	alias_reader_init(&rd, value);
	while ((r = alias_next(&rd, an->a, &item, &e)) > 0) {
		const int k = item.kind == ALIAS_ADDRESS
				      ? alias_address(an, name, domain, &item, depth)
				      : final_add(an, alias_kind_words[item.kind], item.text, name,
						  STR(""));

		if (k < 0)
			return -1;
	}
	if (r < 0) {
		log_error("alias \"%.*s\": %s", STR_ARG(name), e.text);
		return fail(an, 451, "4.3.5", "Alias of %.*s is malformed", STR_ARG(name));
	}
	an->owner = outer;
	return 0;
}

int expand_local(struct answer *an, struct str local, struct str domain, unsigned depth)
{
	struct str name, ext, value;
	int r = alias_find(an, local, &name, &ext, &value);

	if (r == 1)
		return to_account(an, local, domain, depth);
	if (r < 0)
		return -1;
	const struct str key = state_key(an, 'a', name);

	r = begin(an, key, depth, true);
	if (r != 0)
		return r < 0 ? -1 : 0;
	r = alias_expand(an, name, domain, value, depth);
	map_set(an->state, key, &state_done);
	return r;
}
