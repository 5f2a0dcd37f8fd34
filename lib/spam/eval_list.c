/* Eval functions over lists: senders and recipients, hosts in URIs, subjects (SpamAssassin's WLBLEval and WelcomeListSubject). */
#include <stdio.h>
#include <stdlib.h>

#include "spam/eval.h"

static void add_all(struct msg *m, struct strs *out, const char *spec, bool squeeze_dots)
{
	const struct strs *v = msg_get_all(m, spec);
	for (size_t i = 0; i < v->n; i++) {
		struct str s = v->v[i];
		if (squeeze_dots && s.n == 0)
			continue;
		if (squeeze_dots && str_find(s, STR("..")) >= 0) {
			char *p = arena_alloc(m->a, s.n + 1);
			size_t n = 0;
			for (size_t k = 0; k < s.n; k++)
				if (s.p[k] != '.' || n == 0 || p[n - 1] != '.')
					p[n++] = s.p[k];
			s = str_n(p, n);
		}
		if (!strs_has(out, s))
			strs_add(m->a, out, s);
	}
}

const struct strs *from_addrs(struct msg *m)
{
	static const char *const specs[] = { "From:addr", "Envelope-Sender:addr", "Resent-Sender:addr", "X-Envelope-From:addr", "EnvelopeFrom:addr" };
	struct msg_evals *e = evals(m);
	if (e->from_made)
		return &e->from_addrs;
	e->from_made = true;
	add_all(m, &e->from_addrs, "Resent-From:first:addr", false);
	for (size_t i = 0; e->from_addrs.n == 0 && i < ARRAY_LEN(specs); i++) {
		for (size_t k = 0; k < ARRAY_LEN(specs); k++)
			add_all(m, &e->from_addrs, specs[k], true);
		break;
	}
	return &e->from_addrs;
}

/* " for <a@b>;" of the newest three Received fields. */
static void received_for(struct msg *m, struct strs *out)
{
	const struct strs *v = msg_get_all(m, "Received");
	for (size_t i = 0; i < v->n && i < 3; i++) {
		ptrdiff_t at = str_find(v->v[i], STR(" for "));
		struct str s = at < 0 ? STR("") : str_from(v->v[i], (size_t)at + 5);
		if (s.n > 0 && s.p[0] == '<')
			s = str_from(s, 1);
		size_t n = 0;
		while (n < s.n && !sp_char(s.p[n]) && s.p[n] != '>' && s.p[n] != ';')
			n++;
		size_t end = n + (n < s.n && s.p[n] == '>');
		struct str address = str_sub(s, 0, n);
		ptrdiff_t sign = str_chr(address, '@');
		if (end < s.n && s.p[end] == ';' && sign > 0 && fqdn_ok(str_from(address, (size_t)sign + 1)))
			strs_add(m->a, out, address);
	}
}

const struct strs *to_addrs(struct msg *m)
{
	static const char *const specs[] = { "To:addr", "Apparently-To:addr", "Delivered-To:addr", "Envelope-Recipients:addr", "Apparently-Resent-To:addr",
		"X-Envelope-To:addr", "Envelope-To:addr", "X-Delivered-To:addr", "X-Original-To:addr", "X-Rcpt-To:addr", "X-Real-To:addr", "Cc:addr" };
	struct msg_evals *e = evals(m);
	if (e->to_made)
		return &e->to_addrs;
	e->to_made = true;
	for (size_t i = 0; i < m->facts->n_recipients; i++)
		strs_add(m->a, &e->to_addrs, m->facts->recipients[i]);
	add_all(m, &e->to_addrs, "Resent-To:first:addr", false);
	add_all(m, &e->to_addrs, "Resent-Cc:first:addr", false);
	if (e->to_addrs.n > m->facts->n_recipients)
		return &e->to_addrs;
	received_for(m, &e->to_addrs);
	for (size_t k = 0; k < ARRAY_LEN(specs); k++)
		add_all(m, &e->to_addrs, specs[k], false);
	return &e->to_addrs;
}

static int any_listed(struct msg *m, const struct strs *addrs, struct str list)
{
	const struct globs *g = set_list_find(m->s, list);
	for (size_t i = 0; g != NULL && i < addrs->n; i++)
		if (globs_match(g, str_lower_copy(m->a, addrs->v[i])))
			return 1;
	return 0;
}

/* Lists keep the new words. */
static struct str list_word(struct msg *m, struct str name)
{
	ptrdiff_t w = str_find(name, STR("whitelist")), b = str_find(name, STR("blacklist"));
	if (w < 0 && b < 0)
		return name;
	size_t at = (size_t)(w >= 0 ? w : b);
	return str_cat(m->a, str_sub(name, 0, at), str_cat(m->a, w >= 0 ? STR("welcomelist") : STR("blocklist"), str_from(name, at + 9)));
}

int eval_from_block(struct msg *m, const struct rule *r) { (void)r; return any_listed(m, from_addrs(m), STR("blocklist_from")); }
int eval_to_block(struct msg *m, const struct rule *r) { (void)r; return any_listed(m, to_addrs(m), STR("blocklist_to")); }
int eval_to_welcome(struct msg *m, const struct rule *r) { (void)r; return any_listed(m, to_addrs(m), STR("welcomelist_to")); }
int eval_to_more(struct msg *m, const struct rule *r) { (void)r; return any_listed(m, to_addrs(m), STR("more_spam_to")); }
int eval_to_all(struct msg *m, const struct rule *r) { (void)r; return any_listed(m, to_addrs(m), STR("all_spam_to")); }
int eval_from_list(struct msg *m, const struct rule *r) { return any_listed(m, from_addrs(m), list_word(m, arg(r, 0))); }
int eval_to_list(struct msg *m, const struct rule *r) { return any_listed(m, to_addrs(m), list_word(m, arg(r, 0))); }

int eval_replyto_list(struct msg *m, const struct rule *r)
{
	struct str address = msg_get(m, "Reply-To:addr");
	const struct globs *g = set_list_find(m->s, list_word(m, arg(r, 0)));
	return g != NULL && address.n > 0 && globs_match(g, str_lower_copy(m->a, address));
}

/* --- lists with the relay that must have sent it --- */

static bool relay_fits(const struct relay *rl, struct str want)
{
	if (want.n > 2 && want.p[0] == '[') {
		ptrdiff_t close = str_chr(want, ']');
		if (close < 0)
			return false;
		struct nets one = { 0 };
		char text[80];
		struct err e = { 0 };
		snprintf(text, sizeof(text), "%.*s%.*s", (int)close - 1, want.p + 1, STR_ARG(str_from(want, (size_t)close + 1)));
		bool fits = nets_add(NULL, &one, str_c(text), &e) == 0 && nets_match(&one, rl->ip);
		free(one.v);
		return fits;
	}
	return str_case_eq(rl->rdns, want) ||
	       (rl->rdns.n > want.n && str_case_ends(rl->rdns, want) && rl->rdns.p[rl->rdns.n - want.n - 1] == '.');
}

/* 1 listed and sent by the right relay, -1 listed but sent by another, 0 not listed. */
static int rcvd_list(struct msg *m, const char *list, struct str address)
{
	const struct globs *g = set_list_find(m->s, str_c(list)), *any = set_list_find(m->s, STR("welcomelist_allows_relays"));
	struct str low = str_lower_copy(m->a, address);
	int found = 0;
	msg_relays(m);
	bool has_untrusted = false;
	for (size_t i = 0; i < m->n_relays; i++)
		has_untrusted |= !m->relays[i].trusted;
	for (const struct rcvd_pair *p = g == NULL || m->n_relays == 0 ? NULL : g->pairs; p != NULL; p = p->next) {
		if (!glob_match(p->glob, low))
			continue;
		found = -1;
		for (size_t i = 0; i < m->n_relays; i++) {
			if (has_untrusted && m->relays[i].trusted)
				continue;
			if (relay_fits(&m->relays[i], p->domain))
				return 1;
			if (has_untrusted)
				break;	/* only the newest that is not ours */
		}
	}
	return found < 0 && globs_match(any, low) ? 0 : found;
}

static int welcome(struct msg *m)
{
	struct msg_evals *e = evals(m);
	const struct globs *plain = set_list_find(m->s, STR("welcomelist_from"));
	const struct strs *from = from_addrs(m);
	for (size_t i = 0; i < from->n && !e->welcome_made; i++) {
		int v = globs_match(plain, str_lower_copy(m->a, from->v[i])) ? 1 : rcvd_list(m, "welcomelist_from_rcvd", from->v[i]);
		if (v == 1) {
			e->welcome = 1;
			break;
		}
		e->welcome = v < 0 ? -1 : e->welcome;
	}
	e->welcome_made = true;
	return e->welcome;
}

static int def_welcome(struct msg *m)
{
	struct msg_evals *e = evals(m);
	const struct strs *from = from_addrs(m);
	for (size_t i = 0; i < from->n && !e->def_made; i++) {
		int v = rcvd_list(m, "def_welcomelist_from_rcvd", from->v[i]);
		if (v == 1) {
			e->def = 1;
			break;
		}
		e->def = v < 0 ? -1 : e->def;
	}
	e->def_made = true;
	return e->def;
}

int eval_from_welcome(struct msg *m, const struct rule *r) { (void)r; return welcome(m) > 0; }
int eval_forged_welcome(struct msg *m, const struct rule *r) { (void)r; return welcome(m) < 0 && def_welcome(m) == 0; }
int eval_from_def(struct msg *m, const struct rule *r) { (void)r; return def_welcome(m) > 0; }
int eval_forged_def(struct msg *m, const struct rule *r) { (void)r; return def_welcome(m) < 0 && welcome(m) == 0; }

int eval_from_rcvd(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str sender = msg_get(m, "EnvelopeFrom:addr");
	ptrdiff_t sign = str_rchr(sender, '@');
	if (sign <= 0 || str_chr(str_from(sender, (size_t)sign + 1), '.') <= 0)
		return 0;
	struct str domain = domain_trim(m->s, m->a, str_from(sender, (size_t)sign + 1));
	msg_relays(m);
	bool has_untrusted = false;
	for (size_t i = 0; i < m->n_relays; i++)
		has_untrusted |= !m->relays[i].trusted;
	for (size_t i = 0; i < m->n_relays; i++) {
		if (has_untrusted && m->relays[i].trusted)
			continue;
		if (m->relays[i].rdns.n > 0 && str_eq(domain_trim(m->s, m->a, m->relays[i].rdns), domain))
			return 1;
		if (has_untrusted)
			return 0;
	}
	return 0;
}

/* --- hosts of URIs --- */

/* The most specific entry decides; "!host" says no. */
static bool host_listed(const struct map *list, struct str host)
{
	for (struct str h = host; h.n > 0;) {
		uintptr_t v = (uintptr_t)map_get(list, h);
		if (v != 0)
			return v == 1;
		if (ip_is(host))
			return false;
		str_split(&h, '.');
		if (h.p == NULL)
			break;
	}
	return false;
}

static int uri_listed(struct msg *m, struct str name)
{
	const struct map *list = map_get(m->s->uri_lists, name);
	if (list == NULL)
		return 0;
	msg_uris(m);
	for (size_t i = 0; i < m->n_uris; i++) {
		if (str_case_starts(m->uris[i].raw, STR("mailto:")))
			continue;
		for (size_t k = 0; k < m->uris[i].hosts.n; k++)
			if (host_listed(list, m->uris[i].hosts.v[k]))
				return 1;
	}
	return 0;
}

int eval_uri_host(struct msg *m, const struct rule *r) { return uri_listed(m, arg(r, 0)); }
int eval_uri_block(struct msg *m, const struct rule *r) { (void)r; return uri_listed(m, STR("BLOCK")); }
int eval_uri_welcome(struct msg *m, const struct rule *r) { (void)r; return uri_listed(m, STR("WELCOME")); }

static int subject_listed(struct msg *m, const char *list)
{
	const struct globs *g = set_list_find(m->s, str_c(list));
	return g != NULL && globs_match(g, str_lower_copy(m->a, sp_trim(msg_get(m, "Subject"))));
}

int eval_subject_welcome(struct msg *m, const struct rule *r) { (void)r; return subject_listed(m, "welcomelist_subject"); }
int eval_subject_block(struct msg *m, const struct rule *r) { (void)r; return subject_listed(m, "blocklist_subject"); }
