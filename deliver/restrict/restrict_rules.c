/* Rules that ask little: who the client is, what its words look like, what kind of address this is. */
#include <stdio.h>

#include "base/num.h"
#include "deliver/restrict/restrict_priv.h"
#include "smtp/addr.h"

enum verdict rule_permit(struct ev *ev, const struct item *it) { return PERMIT; }
enum verdict rule_reject(struct ev *ev, const struct item *it) { return REFUSE; }
enum verdict rule_nothing(struct ev *ev, const struct item *it) { return DUNNO; }
enum verdict rule_permit_mynetworks(struct ev *ev, const struct item *it) { return ev->f->mynetworks ? PERMIT : DUNNO; }
enum verdict rule_permit_user(struct ev *ev, const struct item *it) { return ev->f->user ? PERMIT : DUNNO; }
enum verdict rule_permit_ours(struct ev *ev, const struct item *it) { return class_is_ours(ev->f->class) ? PERMIT : DUNNO; }
enum verdict rule_reject_foreign(struct ev *ev, const struct item *it) { return class_is_ours(ev->f->class) ? DUNNO : REFUSE; }
enum verdict rule_reject_plaintext(struct ev *ev, const struct item *it) { return ev->f->secure || ev->f->local ? DUNNO : REFUSE; }

enum verdict rule_defer_permit(struct ev *ev, const struct item *it)
{
	return defer_later(ev, it, "4.7.1", STR("defer_if_permit requested"));
}

static void reject_later(struct ev *ev, const struct item *it, struct str text)
{
	if (ev->defer_if_reject)
		return;
	(void)!refuse(ev, it->object, 450, "4.7.1", text);
	ev->said = false;
	ev->defer_if_reject = true;
	ev->reject_text = ev->out->text;
}

enum verdict rule_defer_reject(struct ev *ev, const struct item *it)
{
	reject_later(ev, it, STR("defer_if_reject requested"));
	return DUNNO;
}

enum verdict rule_sleep(struct ev *ev, const struct item *it)
{
	const char *place = arena_printf(ev->a, "%u at stage %d", it->place, (int)ev->stage);
	uint64_t seconds;

	if (num_parse(str_c(it->arg), 0, 600, &seconds) < 0 || seconds == 0)
		return DUNNO;
	return want(ev, FACT_SLEEP, (struct str){ 0 }, str_c(place), (unsigned)seconds) ? DUNNO : WAIT;
}

/* --- HELO and addresses as text --- */

enum verdict rule_reject_helo_syntax(struct ev *ev, const struct item *it)
{
	return ev->f->helo.n > 0 && !smtp_helo_valid(ev->f->helo) ? REFUSE : DUNNO;
}

enum verdict rule_reject_helo_short(struct ev *ev, const struct item *it)
{
	const struct str h = ev->f->helo;

	return h.n > 0 && h.p[0] != '[' && str_chr(h, '.') < 0 ? REFUSE : DUNNO;
}

static bool address_short(struct str addr)
{
	const struct str domain = smtp_domain_of(addr);

	if (addr.n == 0 || (domain.n > 0 && domain.p[0] == '['))
		return false;
	return str_chr(domain, '.') < 0 || !smtp_domain_valid(domain);
}

enum verdict rule_reject_sender_short(struct ev *ev, const struct item *it)
{
	return address_short(ev->f->sender) ? REFUSE : DUNNO;
}

enum verdict rule_reject_rcpt_short(struct ev *ev, const struct item *it)
{
	return !str_case_eq(ev->f->recipient, STR("postmaster")) && address_short(ev->f->recipient) ? REFUSE : DUNNO;
}

enum verdict rule_reject_many(struct ev *ev, const struct item *it)
{
	return ev->f->sender.n == 0 && ev->f->recipients > 1 ? REFUSE : DUNNO;
}

/* --- who is it --- */

enum verdict rule_reject_unlisted(struct ev *ev, const struct item *it)
{
	return str_eq(ev->f->class, STR("unknown")) ? REFUSE : DUNNO;
}

enum verdict rule_reject_unlisted_sender(struct ev *ev, const struct item *it)
{
	if (smtp_domain_of(ev->f->sender).n == 0)
		return DUNNO;
	const struct fact *x = want(ev, FACT_CLASS, (struct str){ 0 }, ev->f->sender, 0);
	if (x == NULL)
		return WAIT;
	if (x->state == FACT_TROUBLE)
		return defer_later(ev, it, "4.3.0", STR("Temporary lookup failure"));
	return x->n > 0 && str_eq(x->v[0], STR("unknown")) ? refuse(ev, SENDER, 550, "5.1.0", STR("User unknown")) : DUNNO;
}

static enum verdict verified(struct ev *ev, const struct item *it, struct str address, const char *reason, const char *bad, const char *unsure)
{
	if (address.n == 0 || (it->object == RCPT && str_case_eq(address, STR("postmaster"))))
		return DUNNO;
	const struct fact *x = want(ev, FACT_VERIFY, (struct str){ 0 }, address, 0);
	if (x == NULL)
		return WAIT;
	if (x->state != FACT_HAS)
		return defer_later(ev, it, unsure, STR("unverified address: Address verification in progress"));
	if (x->n < 1 || str_eq(x->v[0], STR("good")))
		return DUNNO;
	const char *const said = arena_printf(ev->a, "undeliverable address: %.*s", STR_ARG(x->n > 1 ? x->v[1] : STR("")));
	return refuse(ev, it->object, rule_code(ev, it), bad, str_c(reason[0] ? reason : said));
}

enum verdict rule_reject_rcpt_unverified(struct ev *ev, const struct item *it)
{
	return verified(ev, it, ev->f->recipient, ev->set->conf->unverified_recipient_reject_reason, "5.1.1", "4.1.1");
}

enum verdict rule_reject_sender_unverified(struct ev *ev, const struct item *it)
{
	return verified(ev, it, ev->f->sender, ev->set->conf->unverified_sender_reject_reason, "5.1.7", "4.1.7");
}

/* Is this address one of this machine's? resolve knows them: user@[address] is local then. DUNNO: no. */
static enum verdict is_own(struct ev *ev, struct str addr)
{
	const char *literal = arena_printf(ev->a, "postmaster@[%s%.*s]", str_chr(addr, ':') >= 0 ? "IPv6:" : "", STR_ARG(addr));
	const struct fact *x = want(ev, FACT_CLASS, (struct str){ 0 }, str_c(literal), 0);

	if (x == NULL)
		return WAIT;
	return x->state == FACT_HAS && (str_eq(x->v[0], STR("local")) || str_eq(x->v[0], STR("unknown"))) ? PERMIT : DUNNO;
}

enum verdict rule_permit_own(struct ev *ev, const struct item *it)
{
	return ev->f->local ? PERMIT : ev->f->addr_known ? is_own(ev, ev->f->client) : DUNNO;
}

/* One of the mail exchangers of the recipient's domain has an address of ours. */
enum verdict rule_permit_mx_backup(struct ev *ev, const struct item *it)
{
	const struct str domain = smtp_domain_of(ev->f->recipient);
	struct str hosts[RESTRICT_HOSTS_MAX], addrs[RESTRICT_HOSTS_MAX];
	size_t n_hosts, n_addrs;

	if (class_is_ours(ev->f->class))
		return PERMIT;
	if (domain.n == 0 || domain.p[0] == '[' || str_eq(ev->f->class, STR("routed")))
		return DUNNO;
	enum verdict v = domain_hosts(ev, domain, DNS_MX, hosts, &n_hosts);
	if (v == REFUSE)
		return defer_later(ev, it, "4.4.4", STR("Unable to look up mail exchanger information"));
	if (v == WAIT)
		return WAIT;
	for (size_t i = 0; i < n_hosts; i++) {
		v = host_addresses(ev, hosts[i], addrs, RESTRICT_HOSTS_MAX, &n_addrs);
		for (size_t k = 0; v == DUNNO && k < n_addrs; k++)
			v = is_own(ev, addrs[k]);
		if (v == PERMIT || v == WAIT)
			return v;
	}
	return DUNNO;
}
