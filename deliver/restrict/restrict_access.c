/* Rules that ask tables and policy services, and what their answers do. */
#include <stdio.h>
#include <string.h>

#include "deliver/policy/policy_settings.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict_priv.h"
#include "mail/edit.h"
#include "smtp/addr.h"

/* --- what an answer does --- */

static enum verdict broken(struct ev *ev, const struct item *it, const char *from, const char *why)
{
	note(ev, true, "%s: %s", from, why);
	return refuse_whole(ev, 451, "4.3.5", STR("Server configuration error"));
}

static enum verdict prepend(struct ev *ev, const struct item *it, struct str text, const char *from)
{
	struct restrict_effects *x = &ev->out->effects;
	const char *edit = arena_printf(ev->a, "+%.*s", STR_ARG(text));
	struct err e = { 0 };

	if (mail_edit_check(str_c(edit), &e) < 0)
		return broken(ev, it, from, "PREPEND: no header field");
	for (size_t i = 0; i < x->n_prepend; i++)
		if (str_eq(x->prepend[i], str_c(edit)))
			return DUNNO;
	if (x->n_prepend < RESTRICT_EFFECTS_MAX)
		x->prepend[x->n_prepend++] = str_c(edit);
	return DUNNO;
}

static enum verdict words_run(struct ev *ev, const struct item *it, struct str text, const char *from)
{
	struct str words[RESTRICT_EFFECTS_MAX], word;
	struct list l;
	struct err e = { 0 };
	size_t n = 0;

	while (n < ARRAY_LEN(words) && str_token(&text, ", \t", &word))
		words[n++] = word;
	if (str_token(&text, ", \t", &word))
		return broken(ev, it, from, "too many restrictions in one value");	/* what is left out may be the reject */
	if (restrict_compile_words(ev->set, NULL, from, words, n, it->object, ev->a, &l, &e) < 0)
		return broken(ev, it, from, e.text);
	return list_run(ev, &l);
}

static struct str or_text(struct str text, const char *otherwise)
{
	return text.n > 0 ? text : str_c(otherwise);
}

static enum verdict effect(struct ev *ev, const struct item *it, const struct access_action *act, const char *from)
{
	struct restrict_effects *x = &ev->out->effects;
	const struct str text = arena_str(ev->a, act->text);

	switch (act->kind) {
	case ACCESS_BCC:
		if (x->n_bcc < RESTRICT_EFFECTS_MAX)
			x->bcc[x->n_bcc++] = text;
		return DUNNO;
	case ACCESS_DISCARD:
		x->discard = or_text(text, "triggers DISCARD action");
		return PERMIT;
	case ACCESS_FILTER:
		x->filter = text;
		return DUNNO;
	case ACCESS_HOLD:
		x->hold = or_text(text, "triggers HOLD action");
		return DUNNO;
	case ACCESS_REDIRECT:
		x->redirect = text;
		return DUNNO;
	case ACCESS_PREPEND:
		return prepend(ev, it, text, from);
	default:
		note(ev, act->kind == ACCESS_WARN, "%s: %.*s", act->kind == ACCESS_WARN ? "warn" : "info", STR_ARG(or_text(text, from)));
		return DUNNO;
	}
}

enum verdict access_apply(struct ev *ev, const struct item *it, struct str value, const char *from)
{
	const struct conf *c = ev->set->conf;
	struct access_action act;
	struct err e = { 0 };

	if (access_parse(value, (int)c->access_map_defer_code, (int)c->access_map_reject_code, &act, &e) < 0)
		return broken(ev, it, from, e.text);
	switch (act.kind) {
	case ACCESS_OK: return PERMIT;
	case ACCESS_DUNNO: return DUNNO;
	case ACCESS_REFUSE:
		return refuse(ev, it->object, act.code, act.enhanced[0] ? act.enhanced : act.code < 500 ? "4.7.1" : "5.7.1",
			      or_text(act.text, act.code < 500 ? "Try again later" : "Access denied"));
	case ACCESS_DEFER_IF_PERMIT:
		return defer_later(ev, it, act.enhanced[0] ? act.enhanced : "4.7.1", or_text(act.text, "Service unavailable"));
	case ACCESS_DEFER_IF_REJECT: return rule_defer_reject(ev, it);
	case ACCESS_RESTRICTIONS: return words_run(ev, it, act.text, from);
	default: return effect(ev, it, &act, from);
	}
}

/* --- tables --- */

/* What the table says of key. DUNNO: nothing. *found (may be NULL): it said something. */
static enum verdict look_up(struct ev *ev, const struct item *it, struct str key, enum access_how how, bool *found)
{
	const struct fact *x = key.n > 0 ? want(ev, FACT_MAP, str_c(it->arg), key, how) : NULL;

	if (key.n == 0)
		return DUNNO;
	if (x == NULL)
		return WAIT;
	if (x->state == FACT_TROUBLE) {
		note(ev, true, "%s: %.*s", it->arg, STR_ARG(x->why));
		return refuse_whole(ev, 451, "4.3.0", str_c(arena_printf(ev->a, "<%.*s>: Temporary lookup failure", STR_ARG(key))));
	}
	if (x->state != FACT_HAS)
		return DUNNO;
	if (found)
		*found = true;
	return access_apply(ev, it, x->v[0], it->arg);
}

enum verdict rule_access_client(struct ev *ev, const struct item *it)
{
	bool found = false;
	enum verdict v = look_up(ev, it, str_c(ev->client_name), ACCESS_DOMAIN, &found);

	return found || v != DUNNO ? v : look_up(ev, it, ev->f->client, ACCESS_NETWORK, NULL);
}

enum verdict rule_access_name(struct ev *ev, const struct item *it)
{
	return look_up(ev, it, object_text(ev, it->object), ACCESS_DOMAIN, NULL);
}

enum verdict rule_access_address(struct ev *ev, const struct item *it)
{
	const struct str addr = object_text(ev, it->object);

	if (addr.n == 0)
		return look_up(ev, it, str_c(ev->set->conf->smtpd_null_access_lookup_key), ACCESS_WHOLE, NULL);
	return look_up(ev, it, addr, ACCESS_ADDRESS, NULL);
}

enum verdict rule_access_login(struct ev *ev, const struct item *it)
{
	return ev->f->user ? look_up(ev, it, ev->f->login, ACCESS_WHOLE, NULL) : DUNNO;
}

/* --- client certificates --- */

enum verdict rule_access_ccert(struct ev *ev, const struct item *it)
{
	bool found = false;
	enum verdict v = look_up(ev, it, ev->f->ccert, ACCESS_WHOLE, &found);

	return found || v != DUNNO ? v : look_up(ev, it, ev->f->ccert_key, ACCESS_WHOLE, NULL);
}

enum verdict rule_permit_ccert_all(struct ev *ev, const struct item *it)
{
	return ev->f->ccert_trusted ? PERMIT : DUNNO;
}

/* A table that cannot be asked may be the one that has it: no refusal for good. */
static enum verdict relay_cert(struct ev *ev, const struct item *it, struct str fingerprint)
{
	const struct conf_list l = ev->set->conf->relay_clientcerts;

	for (size_t i = 0; i < l.n; i++) {
		const struct fact *x = want(ev, FACT_MAP, str_c(l.v[i]), fingerprint, ACCESS_WHOLE);
		if (x == NULL)
			return WAIT;
		if (x->state == FACT_HAS)
			return PERMIT;
		if (x->state == FACT_TROUBLE) {
			note(ev, true, "%s: %.*s", l.v[i], STR_ARG(x->why));
			return rule_defer_reject(ev, it);
		}
	}
	return DUNNO;
}

enum verdict rule_permit_ccert(struct ev *ev, const struct item *it)
{
	const enum verdict v = ev->f->ccert.n > 0 ? relay_cert(ev, it, ev->f->ccert) : DUNNO;

	return v != DUNNO || ev->f->ccert_key.n == 0 ? v : relay_cert(ev, it, ev->f->ccert_key);
}

/* --- tables about hosts --- */

/* The domain that a rule about name servers and the like is asked for. */
static struct str object_domain(const struct ev *ev, enum object object)
{
	struct str s = object == CLIENT ? str_c(ev->client_name) : object_text(ev, object);

	if (object == SENDER || object == RCPT)
		s = smtp_domain_of(s);
	return s.n == 0 || s.p[0] == '[' || str_eq(s, STR("unknown")) || !smtp_domain_valid(s) ? (struct str){ 0 } : s;
}

/* Strangers choose their own name servers: such a table can refuse, never permit. */
static enum verdict no_permit(struct ev *ev, const struct item *it, enum verdict v)
{
	if (v == PERMIT)
		note(ev, true, "%s: %s: OK is not possible here, taken for DUNNO", it->rule->name, it->arg);
	return v == PERMIT ? DUNNO : v;
}

static enum verdict access_addresses(struct ev *ev, const struct item *it, struct str host)
{
	struct str addrs[RESTRICT_HOSTS_MAX];
	size_t n;
	enum verdict v = host_addresses(ev, host, addrs, RESTRICT_HOSTS_MAX, &n);

	if (v == WAIT)
		return WAIT;
	v = DUNNO;
	for (size_t i = 0; i < n && v == DUNNO; i++)
		v = no_permit(ev, it, look_up(ev, it, addrs[i], ACCESS_NETWORK, NULL));
	return v;
}

static enum verdict access_hosts(struct ev *ev, const struct item *it, enum dns_type type)
{
	const struct str domain = object_domain(ev, it->object);
	struct str hosts[RESTRICT_HOSTS_MAX];
	size_t n;

	if (domain.n == 0)
		return DUNNO;
	enum verdict v = domain_hosts(ev, domain, type, hosts, &n);
	if (v != DUNNO)
		return v == REFUSE ? defer_later(ev, it, "4.4.3", STR("Domain could not be looked up, try again later")) : v;
	for (size_t i = 0; i < n && v == DUNNO; i++) {
		v = no_permit(ev, it, look_up(ev, it, hosts[i], ACCESS_DOMAIN, NULL));
		if (v == DUNNO && !str_eq(hosts[i], STR(".")))
			v = access_addresses(ev, it, hosts[i]);
	}
	return v;
}

enum verdict rule_access_ns(struct ev *ev, const struct item *it) { return access_hosts(ev, it, DNS_NS); }
enum verdict rule_access_mx(struct ev *ev, const struct item *it) { return access_hosts(ev, it, DNS_MX); }

enum verdict rule_access_a(struct ev *ev, const struct item *it)
{
	const struct str domain = object_domain(ev, it->object);

	return domain.n > 0 ? access_addresses(ev, it, domain) : DUNNO;
}

/* --- who may send as whom --- */

enum ownership { OWN_ASKING, OWN_TROUBLE, OWN_NOBODY, OWN_OTHERS, OWN_MINE };

static bool is_login(const struct ev *ev, struct str name)
{
	return ev->f->user && str_case_eq(name, ev->f->login);
}

static enum ownership owned_by_map(struct ev *ev, const char *spec)
{
	const struct fact *x = want(ev, FACT_MAP, str_c(spec), ev->f->sender, ACCESS_ADDRESS);
	struct str rest, word;

	if (x == NULL)
		return OWN_ASKING;
	if (x->state != FACT_HAS)
		return x->state == FACT_TROUBLE ? OWN_TROUBLE : OWN_NOBODY;
	for (rest = x->v[0]; str_token(&rest, ", \t\r\n", &word);)
		if (is_login(ev, word))
			return OWN_MINE;
	return OWN_OTHERS;
}

/* Whoever gets the mail of an address owns it. */
static enum ownership owned_by_delivery(struct ev *ev)
{
	const struct fact *x = want(ev, FACT_CLASS, (struct str){ 0 }, ev->f->sender, 0);

	if (x == NULL)
		return OWN_ASKING;
	if (x->state != FACT_HAS)
		return x->state == FACT_TROUBLE ? OWN_TROUBLE : OWN_NOBODY;
	for (size_t i = 1; i < x->n; i++)
		if (is_login(ev, x->v[i]))
			return OWN_MINE;
	return x->n > 1 ? OWN_OTHERS : OWN_NOBODY;
}

static enum ownership ownership(struct ev *ev)
{
	const struct conf *c = ev->set->conf;
	enum ownership most = OWN_NOBODY;

	for (size_t i = 0; i < c->smtpd_sender_login_maps.n && most == OWN_NOBODY; i++)
		most = owned_by_map(ev, c->smtpd_sender_login_maps.v[i]);
	if (!c->smtpd_sender_login_own || (most != OWN_NOBODY && most != OWN_OTHERS))
		return most;
	const enum ownership o = owned_by_delivery(ev);
	return o == OWN_NOBODY ? most : o;
}

static enum verdict login_rule(struct ev *ev, const struct item *it, bool users, bool strangers, bool known_only)
{
	const enum ownership o = ev->f->sender.n > 0 && (ev->f->user ? users : strangers) ? ownership(ev) : OWN_MINE;

	if (o == OWN_ASKING)
		return WAIT;
	if (o == OWN_TROUBLE)
		return refuse_whole(ev, 451, "4.3.0", str_c(arena_printf(ev->a, "<%.*s>: Temporary lookup failure", STR_ARG(ev->f->sender))));
	if (o == OWN_MINE || (o == OWN_NOBODY && (known_only || !ev->f->user)))
		return DUNNO;
	if (ev->f->user)
		return refuse(ev, SENDER, 553, "5.7.1", str_c(arena_printf(ev->a, "not owned by user %.*s", STR_ARG(ev->f->login))));
	return refuse(ev, SENDER, 553, "5.7.1", STR("not logged in"));
}

enum verdict rule_login_all(struct ev *ev, const struct item *it) { return login_rule(ev, it, true, true, false); }
enum verdict rule_login_authenticated(struct ev *ev, const struct item *it) { return login_rule(ev, it, true, false, false); }
enum verdict rule_login_known(struct ev *ev, const struct item *it) { return login_rule(ev, it, true, true, true); }
enum verdict rule_login_stranger(struct ev *ev, const struct item *it) { return login_rule(ev, it, false, true, false); }

/* --- policy services --- */

static void attribute(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s=", name);
	for (size_t i = 0; i < value.n; i++)
		buf_ch(b, ch_ctl(value.p[i]) ? '?' : value.p[i]);
	buf_ch(b, '\n');
}

static void number(struct buf *b, const char *name, uint64_t value)
{
	buf_printf(b, "%s=%llu\n", name, (unsigned long long)value);
}

static const char *state_word(enum restrict_stage s)
{
	switch (s) {
	case RESTRICT_MAIL: return "MAIL";
	case RESTRICT_RCPT: return "RCPT";
	case RESTRICT_DATA: return "DATA";
	case RESTRICT_END: return "END-OF-MESSAGE";
	case RESTRICT_ETRN: return "ETRN";
	case RESTRICT_NAMES: return "CONNECT";
	}
	return "";
}

/* "TLSv1.3 with cipher NAME (256/256 bits)" in its parts. */
static void put_tls(struct buf *b, struct str tls)
{
	const ptrdiff_t name = str_find(tls, STR(" with cipher ")), open = str_find(tls, STR(" ("));
	const size_t at = name < 0 ? tls.n : (size_t)name + 13;
	struct str bits = open < 0 ? (struct str){ 0 } : str_from(tls, (size_t)open + 2);

	attribute(b, "encryption_protocol", str_sub(tls, 0, name < 0 ? 0 : (size_t)name));
	attribute(b, "encryption_cipher", open > 0 && (size_t)open > at ? str_sub(tls, at, (size_t)open - at) : STR(""));
	attribute(b, "encryption_keysize", tls.n ? str_split(&bits, '/') : STR("0"));
}

static struct str policy_request(struct ev *ev, const struct item *it)
{
	const struct restrict_facts *f = ev->f;
	struct policy_settings set;
	struct err e = { 0 };
	const bool late = ev->stage == RESTRICT_DATA || ev->stage == RESTRICT_END;
	struct buf b;

	buf_init(&b, 16384);
	attribute(&b, "request", STR("smtpd_access_policy"));
	attribute(&b, "protocol_state", str_c(state_word(ev->stage)));
	attribute(&b, "protocol_name", f->esmtp ? STR("ESMTP") : STR("SMTP"));
	attribute(&b, "helo_name", f->helo);
	attribute(&b, "queue_id", f->qid);
	attribute(&b, "sender", f->sender);
	attribute(&b, "recipient", late && f->recipients > 1 ? STR("") : f->recipient);
	number(&b, "recipient_count", late ? f->recipients : 0);
	attribute(&b, "client_address", f->local ? STR("127.0.0.1") : f->client);
	attribute(&b, "client_name", str_c(ev->client_name));
	attribute(&b, "reverse_client_name", str_c(ev->reverse_name));
	number(&b, "client_port", f->client_port);
	attribute(&b, "server_address", f->server);
	number(&b, "server_port", f->server_port);
	attribute(&b, "instance", f->instance);
	attribute(&b, "sasl_method", f->method);
	attribute(&b, "sasl_username", f->login);
	attribute(&b, "sasl_sender", STR(""));
	number(&b, "size", f->size);
	attribute(&b, "etrn_domain", f->etrn);
	attribute(&b, "ccert_subject", f->ccert_trusted ? f->ccert_subject : STR(""));	/* names that nobody vouches for are no facts */
	attribute(&b, "ccert_issuer", f->ccert_trusted ? f->ccert_issuer : STR(""));
	attribute(&b, "ccert_fingerprint", f->ccert);
	attribute(&b, "ccert_pubkey_fingerprint", f->ccert_key);
	put_tls(&b, f->tls);
	attribute(&b, "stress", f->stress ? STR("yes") : STR(""));
	attribute(&b, "policy_context", policy_settings_parse(ev->set->conf, str_c(it->arg), &set, &e) == 0 ? set.context : STR(""));
	attribute(&b, "compatibility_level", STR("3.6"));	/* whose defaults ours are */
	attribute(&b, "mail_version", STR(POSTERN_VERSION));
	const struct str r = arena_str(ev->a, buf_view(&b));
	buf_fini(&b);
	return r;
}

enum verdict rule_policy(struct ev *ev, const struct item *it)
{
	const struct fact *x = want(ev, FACT_POLICY, str_c(it->arg), policy_request(ev, it), 0);

	if (x == NULL)
		return WAIT;
	if (x->state == FACT_HAS)
		return access_apply(ev, it, x->v[0], it->arg);
	note(ev, true, "policy service %s: %.*s", it->arg, STR_ARG(x->why));
	return access_apply(ev, it, str_c(ev->set->conf->smtpd_policy_service_default_action), "smtpd_policy_service_default_action");
}
