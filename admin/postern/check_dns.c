/* What the world's name servers say of our name and domains. The suite's dns process asks them, since it is confined and what answers is not ours; so only
 * while the suite runs. The answers are compared, and nothing of them is believed. */
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/postern/check.h"
#include "dns/client.h"
#include "dns/wire.h"
#include "os/os.h"

enum { DOMAINS_MAX = 50, ADDRESSES_MAX = 16, OTHERS_MAX = 900, ANSWER_MS = 5000 };

struct names {
	struct check *c;
	struct loop *loop;
	struct dns_client *dns;
	struct timer *end;
	unsigned open, silent;	/* questions under way; without an answer */
	bool has_address, late;
	const char *trouble;
};

typedef void heard_fn(struct names *n, const char *what, const struct dns_answer *a);

struct question {
	struct names *n;
	heard_fn *heard;
	const char *what;	/* the domain or address that it is about */
};

static void on_answer(void *ctx, const struct dns_answer *a)
{
	struct question *q = ctx;
	struct names *n = q->n;

	if (a->result != DNS_TROUBLE) {
		q->heard(n, q->what, a);
	} else {
		n->silent++;
		n->trouble = arena_printf(n->c->a, "%.*s", STR_ARG(str_sub(a->why, 0, 200)));
	}
	if (--n->open == 0)
		loop_stop(n->loop);
}

static void on_late(void *ctx)
{
	struct names *n = ctx;

	n->late = true;
	loop_stop(n->loop);
}

static void ask(struct names *n, const char *name, unsigned type, heard_fn *heard, const char *what)
{
	struct question *q = ARENA_NEW(n->c->a, struct question);

	*q = (struct question){ n, heard, what };
	n->open++;
	(void)dns_ask(n->dns, str_c(name), type, on_answer, q);
}

static bool any_has(const struct dns_answer *a, struct str text)
{
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++)
		if (str_case_eq(a->v[i], text))
			return true;
	return false;
}

static bool any_starts(const struct dns_answer *a, struct str text)
{
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++)
		if (str_case_starts(a->v[i], text))
			return true;
	return false;
}

/* --- a domain --- */

/* A domain without MX is its own one, if it has an address of either kind. */
static bool is_its_own(struct names *n, const char *domain, const struct dns_answer *a)
{
	if (a->result != DNS_HAS || a->n == 0)
		return false;
	found(n->c, SEV_NOTE, "", "DNS", "%s has no MX: its mail goes to its own address (RFC 5321 5.1), now %.*s", domain, STR_ARG(a->v[0]));
	return true;
}

static void heard_mail_ip6(struct names *n, const char *domain, const struct dns_answer *a)
{
	if (!is_its_own(n, domain, a))
		found(n->c, SEV_WARNING, "", "DNS", "%s has no MX and no address: nobody can send it mail (postern setup prints the records)", domain);
}

static void heard_mail_ip4(struct names *n, const char *domain, const struct dns_answer *a)
{
	if (!is_its_own(n, domain, a))
		ask(n, domain, DNS_AAAA, heard_mail_ip6, domain);
}

/* Beside others it means nothing (RFC 7505 3). */
static bool is_null_mx(const struct dns_answer *a)
{
	return a->n == 1 && str_ends(a->v[0], STR(" ."));
}

static void heard_mx(struct names *n, const char *domain, const struct dns_answer *a)
{
	const char *own = n->c->conf->myhostname;
	struct buf others;
	size_t left_out = 0;

	if (a->result != DNS_HAS || a->n == 0) {
		ask(n, domain, DNS_A, heard_mail_ip4, domain);
		return;
	}
	if (is_null_mx(a)) {
		found(n->c, SEV_WARNING, "", "DNS", "%s has a null MX (RFC 7505): it says that it takes no mail, and none is sent to it", domain);
		return;
	}
	buf_init(&others, OTHERS_MAX + 256);
	for (size_t i = 0; i < a->n; i++) {
		const struct str host = str_from(a->v[i], (size_t)(str_chr(a->v[i], ' ') + 1));
		if (str_case_eq(host, str_c(own)))
			goto out;
		if (str_eq(host, STR(".")))
			continue;
		if (others.n + host.n < OTHERS_MAX)
			buf_printf(&others, "%s%.*s", others.n ? ", " : "", STR_ARG(host));
		else
			left_out++;
	}
	if (left_out)
		buf_printf(&others, " and %zu more", left_out);
	found(n->c, SEV_WARNING, "", "DNS", "no MX of %s is %s: its mail goes to %s", domain, own, others.p);
out:
	buf_fini(&others);
}

static void heard_spf(struct names *n, const char *domain, const struct dns_answer *a)
{
	if (!any_starts(a, STR("v=spf1")))
		found(n->c, SEV_NOTE, "", "DNS", "%s has no SPF record: large receivers distrust its mail", domain);
}

static void heard_dmarc(struct names *n, const char *domain, const struct dns_answer *a)
{
	if (!any_starts(a, STR("v=DMARC1")))
		found(n->c, SEV_NOTE, "", "DNS", "%s has no DMARC record (_dmarc.%s)", domain, domain);
}

/* Names that the world can know: of two labels or more, and not of this machine alone. */
static bool is_public(const char *domain)
{
	return strchr(domain, '.') && !strchr(domain, ':') && !strchr(domain, '/') && domain[0] != '[' && domain[0] != '.' &&
	       !str_case_ends(str_c(domain), STR(".localdomain"));
}

static void ask_domains(struct names *n, const char *param, struct conf_list domains)
{
	size_t asked = 0, left_out = 0;

	for (size_t i = 0; i < domains.n; i++) {
		const char *d = domains.v[i];
		if (!is_public(d) || str_case_eq(str_c(d), str_c(n->c->conf->myhostname)) ||
		    (str_case_starts(str_c(d), STR("localhost.")) && str_case_eq(str_c(d + 10), str_c(n->c->conf->mydomain))))
			continue;
		if (++asked > DOMAINS_MAX) {
			left_out++;
			continue;
		}
		ask(n, d, DNS_MX, heard_mx, d);
		ask(n, d, DNS_TXT, heard_spf, d);
		ask(n, arena_printf(n->c->a, "_dmarc.%s", d), DNS_TXT, heard_dmarc, d);
	}
	if (left_out)
		found_param(n->c, SEV_NOTE, param, "name servers are asked about the first %d of these domains; %zu were left out", DOMAINS_MAX, left_out);
}

/* --- our name --- */

static void heard_reverse(struct names *n, const char *address, const struct dns_answer *a)
{
	const char *own = n->c->conf->myhostname;

	if (a->result != DNS_HAS || a->n == 0)
		found(n->c, SEV_WARNING, "", "DNS", "%s has no reverse name: many servers refuse its mail", address);
	else if (!any_has(a, str_c(own)))
		found(n->c, SEV_WARNING, "", "DNS", "the reverse name of %s is %.*s, not %s: many servers refuse its mail", address, STR_ARG(a->v[0]), own);
}

static bool is_of_this_machine(const uint8_t addr[16])
{
	struct ifaddrs *all = NULL;
	bool yes = false;

	if (getifaddrs(&all) < 0)
		return true;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		uint8_t own[16] = { [10] = 0xff, [11] = 0xff };
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
			memcpy(own + 12, (const char *)i->ifa_addr + offsetof(struct sockaddr_in, sin_addr), 4);
		else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6)
			memcpy(own, (const char *)i->ifa_addr + offsetof(struct sockaddr_in6, sin6_addr), 16);
		else
			continue;
		yes |= memcmp(own, addr, sizeof(own)) == 0;
	}
	freeifaddrs(all);
	return yes;
}

static void heard_addresses(struct names *n, const char *host, const struct dns_answer *a)
{
	for (size_t i = 0; a->result == DNS_HAS && i < a->n && i < ADDRESSES_MAX; i++) {
		const char *text = arena_printf(n->c->a, "%.*s", STR_ARG(a->v[i]));
		uint8_t addr[16];
		if (addr_parse(str_c(text), addr) < 0)
			continue;
		n->has_address = true;
		if (!is_of_this_machine(addr))
			found(n->c, SEV_NOTE, "", "DNS", "%s is %s, which no interface of this machine has: right if a router passes it on", host, text);
		ask(n, dns_reverse_name(n->c->a, addr, STR("")), DNS_PTR, heard_reverse, text);
	}
	if (a->result == DNS_HAS && a->n > ADDRESSES_MAX)
		found(n->c, SEV_NOTE, "", "DNS", "%s has %zu addresses: the first %d were looked at", host, a->n, ADDRESSES_MAX);
}

static void say_what_is_missing(struct names *n)
{
	if (n->silent || n->late)
		found(n->c, SEV_NOTE, "", "DNS", "%u questions were not answered (%s): what the world sees of these domains was not looked at in full",
		      n->silent + (n->late ? n->open : 0), n->late || !n->trouble ? "nothing came within 5 s" : n->trouble);
	else if (!n->has_address && is_public(n->c->conf->myhostname))
		found(n->c, SEV_WARNING, "", "DNS", "%s, as this server calls itself, has no address: many servers refuse its mail", n->c->conf->myhostname);
}

void check_dns(struct check *c)
{
	struct names n = { .c = c };
	struct err e = { 0 };
	const int fd = sock_unix_connect(arena_printf(c->a, "%s/dns/sock", c->conf->run_directory), SOCK_SEQPACKET, &e);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		found(c, SEV_NOTE, "", "DNS", "name servers are asked by the running suite, as root: %s", e.text);
		return;
	}
	n.loop = loop_new();
	n.dns = dns_client_new(n.loop, fd, NULL, NULL);
	if (is_public(c->conf->myhostname)) {
		ask(&n, c->conf->myhostname, DNS_A, heard_addresses, c->conf->myhostname);
		ask(&n, c->conf->myhostname, DNS_AAAA, heard_addresses, c->conf->myhostname);
	}
	ask_domains(&n, "mydestination", c->conf->mydestination);
	ask_domains(&n, "virtual_mailbox_domains", c->conf->virtual_mailbox_domains);
	ask_domains(&n, "virtual_alias_domains", c->conf->virtual_alias_domains);
	n.end = loop_timer(n.loop, ANSWER_MS, on_late, &n);
	if (n.open > 0)
		loop_run(n.loop);
	say_what_is_missing(&n);
	timer_del(&n.end);
	dns_client_free(&n.dns);
	loop_free(&n.loop);
}
