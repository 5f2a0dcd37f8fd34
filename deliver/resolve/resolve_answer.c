/* What an envelope recipient is, all told: how it is written, whether somebody moved, where its aliases lead, or why there is nobody. */
#include <string.h>

#include "base/clock.h"
#include "deliver/resolve/resolve_priv.h"
#include "log/log.h"

static struct ipc_strs list_of_finals(const struct answer *an,
				      struct str (*get)(const struct final *f))
{
	struct ipc_strs l = { ARENA_ARRAY(an->a, struct str, an->n_finals ? an->n_finals : 1), 0 };

	for (const struct final *f = an->finals; f; f = f->next)
		l.v[l.n++] = get(f);
	return l;
}

static struct str get_kind(const struct final *f)
{
	return str_c(f->kind);
}
static struct str get_address(const struct final *f)
{
	return f->address;
}
static struct str get_user(const struct final *f)
{
	return f->user;
}
static struct str get_extension(const struct final *f)
{
	return f->extension;
}

static struct str get_owner(const struct final *f)
{
	return f->owner;
}

static void put_result(const struct answer *an, const char *class, struct ipc_resolve_RESULT *out)
{
	*out = (struct ipc_resolve_RESULT){ .class = str_c(class) };
	out->limited = an->limited;
	out->bounces = an->bounces;
	if (an->code) {
		out->code = (uint64_t)an->code;
		out->enhanced = str_c(an->enhanced);
		out->text = an->text;
	} else {
		out->kinds = list_of_finals(an, get_kind);
		out->addresses = list_of_finals(an, get_address);
		out->users = list_of_finals(an, get_user);
		out->extensions = list_of_finals(an, get_extension);
		out->owners = list_of_finals(an, get_owner);
	}
	if (!an->explain)
		return;
	out->steps.v = ARENA_ARRAY(an->a, struct str, an->n_steps ? an->n_steps : 1);
	for (const struct step *s = an->steps; s; s = s->next)
		out->steps.v[out->steps.n++] = s->text;
}

/* RFC 5321 4.5.1: postmaster is always there. Without an alias or account of its own it is who postmaster, then root, is at home. */
static int postmaster_fallback(struct answer *an)
{
	static const char *const names[] = { "postmaster", "root" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		step(an, "postmaster must always be there: trying local %s", names[i]);
		const int r = expand_local(an, str_c(names[i]), str_c(an->r->conf->myhostname), 0);

		if (r < 0)
			return -1;
		if (r == 0 && an->n_finals)
			return 0;
	}
	log_error("postmaster has neither alias nor account, nor has root: its mail waits");
	return fail(an, 451, "4.3.5", "postmaster has no mailbox yet");
}

static const char *const unknown_texts[] = {
	[CLASS_LOCAL] = "User unknown in local recipient table",
	[CLASS_VIRTUAL_ALIAS] = "User unknown in virtual alias table",
	[CLASS_VIRTUAL_MAILBOX] = "User unknown in virtual mailbox table",
	[CLASS_RELAY] = "User unknown in relay recipient table",
	[CLASS_DEFAULT] = "User unknown",
};

static int unknown_code(const struct conf *c, enum addr_class class)
{
	switch (class) {
	case CLASS_LOCAL: return (int)c->unknown_local_recipient_reject_code;
	case CLASS_VIRTUAL_ALIAS: return (int)c->unknown_virtual_alias_reject_code;
	case CLASS_VIRTUAL_MAILBOX: return (int)c->unknown_virtual_mailbox_reject_code;
	case CLASS_RELAY: return (int)c->unknown_relay_recipient_reject_code;
	default: return 550;
	}
}

/* The old ways to write an address: user%domain and site!user. False: the local part holds neither, or its rewriting is off. */
static bool unroute(const struct conf *c, struct arena *a, struct smtp_addr *addr)
{
	const ptrdiff_t percent = str_rchr(addr->local, '%'), bang = str_chr(addr->local, '!');
	struct smtp_addr out = *addr;

	if (addr->quoted)
		return false;
	if (c->swap_bangpath && bang > 0 && (size_t)bang + 1 < addr->local.n) {
		out.domain = str_sub(addr->local, 0, (size_t)bang);
		out.local = str_from(addr->local, (size_t)bang + 1);
	} else if (c->allow_percent_hack && percent > 0 && (size_t)percent + 1 < addr->local.n) {
		out.domain = str_from(addr->local, (size_t)percent + 1);
		out.local = str_sub(addr->local, 0, (size_t)percent);
	} else {
		return false;
	}
	if (!smtp_domain_valid(out.domain))
		return false;
	out.domain = arena_str(a, out.domain);
	*addr = out;
	return true;
}

/* RFC 5321: @, % and ! in a local part ask us to route on; that is never an authorised destination, so only those who may relay get this far. */
static const char *answer_routed(struct answer *an, const struct smtp_addr *addr,
				 enum addr_class class)
{
	struct smtp_addr to = *addr;

	step(an, "the local part holds @, %% or !: routed");
	if (class != CLASS_DEFAULT && class != CLASS_RELAY &&
	    !unroute(an->r->conf, an->a, &to)) {
		fail(an, 550, "5.1.1", "%s", unknown_texts[class]);
		return "routed";
	}
	if (final_add(an, "remote", address_text(an->a, to.local, to.domain), STR(""), STR("")) < 0)
		return "error";
	return "routed";
}

/* relocated_maps. 0: not there; -1: answered. */
static int check_relocated(struct answer *an, const struct smtp_addr *addr)
{
	struct found f;
	const int r = an->r->relocated.n ? address_find(an, &an->r->relocated, addr, NULL, &f) : 1;

	if (r == 0)
		fail(an, 550, "5.1.6", "User has moved to %.*s", STR_ARG(str_sub(f.value, 0, 300)));
	return r == 1 ? 0 : -1;
}

/* A bounce to a sender that was rewritten here (lib/smtp/srs.h): it goes on to the true one. */
static const char *answer_rewritten(struct answer *an, const struct smtp_addr *addr)
{
	struct smtp_addr to;
	struct str text;
	struct err e = { 0 };

	if (srs_reverse(&an->r->srs, addr->local, clock_wall() / 86400, an->a, &text, &e) < 0 || smtp_addr_parse(an->a, text, &to, &e) < 0 || to.domain.n == 0) {
		fail(an, 550, "5.1.1", "%s", e.text);
		return "unknown";
	}
	an->bounces = true;
	step(an, "srs_domain: it stands for %.*s; only for the null sender", STR_ARG(text));
	if (expand_address(an, &to, 0) < 0)
		return "error";
	if (an->n_finals == 0) {
		fail(an, 550, "5.1.1", "%s", "User unknown");
		return "unknown";
	}
	return "local";
}

static const char *answer_parsed(struct answer *an, struct smtp_addr *addr)
{
	enum addr_class class;

	if (srs_is(&an->r->srs, addr->local, addr->domain))
		return answer_rewritten(an, addr);
	if (rewrite_canonical(an, RW_ENVELOPE_RECIPIENT, addr) < 0 ||
	    classify(an, addr->domain, &class) < 0)
		return "error";
	rewrite_masquerade(an->r->conf, RW_ENVELOPE_RECIPIENT, addr);
	if (smtp_addr_routed(addr))
		return answer_routed(an, addr, class);
	if (check_relocated(an, addr) < 0)
		return an->code < 500 ? "error" : "unknown";
	int r = expand_address(an, addr, 0);

	if (r < 0)
		return "error";
	if (an->n_finals == 0 && is_postmaster(addr->local) && class != CLASS_DEFAULT &&
	    class != CLASS_RELAY)
		r = postmaster_fallback(an);
	if (r < 0)
		return "error";
	if (an->n_finals)
		return class_words[class];
	if (an->dead.n && !str_case_eq(an->dead, address_text(an->a, addr->local, addr->domain)))
		step(an, "its alias leads to %.*s, which does not exist", STR_ARG(an->dead));
	const int code = unknown_code(an->r->conf, class);
	fail(an, code, code < 500 ? "4.1.1" : "5.1.1", "%s", unknown_texts[class]);
	return "unknown";
}

/* local@domain, or local alone, which gets myorigin (after the old forms were looked at). */
static int parse_address(struct answer *an, struct str address, struct smtp_addr *out)
{
	struct err e = { 0 };

	if (address.n > ADDRESS_BYTES_MAX || smtp_addr_parse(an->a, address, out, &e) < 0 ||
	    out->local.n == 0 || route_number(an, out) < 0)
		return -1;
	if (out->domain.n == 0 && unroute(an->r->conf, an->a, out))
		step(an, "no domain: %.*s is meant", STR_ARG(address_text(an->a, out->local, out->domain)));
	if (out->domain.n == 0) {
		out->domain = str_c(an->r->conf->myorigin);
		step(an, "no domain: %s is taken (myorigin)", an->r->conf->myorigin);
	}
	return 0;
}

void resolver_answer_dead(struct resolver *r, struct arena *a, struct str address, bool explain, struct ipc_resolve_RESULT *out, struct str *dead_out)
{
	struct answer an = { .r = r, .a = a, .explain = explain, .state = map_new() };
	struct smtp_addr addr;
	const char *class = "error";

	an.finals_end = &an.finals;
	an.steps_end = &an.steps;
	if (parse_address(&an, address, &addr) < 0)
		fail(&an, 501, "5.1.3", "Bad recipient address syntax");
	else
		class = answer_parsed(&an, &addr);
	if (an.code == 0 && route_finals(&an) < 0)
		class = an.code < 500 ? "error" : "unknown";
	put_result(&an, class, out);
	*dead_out = an.code == 0 && an.n_finals ? an.dead : STR("");
	map_free(&an.state);
}

void resolver_answer(struct resolver *r, struct arena *a, struct str address, bool explain, struct ipc_resolve_RESULT *out)
{
	struct str dead;

	resolver_answer_dead(r, a, address, explain, out, &dead);
}
