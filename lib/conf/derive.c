/* Defaults that depend on the machine: its name, its domain, its networks. Asks the kernel only; no resolver and no NSS. */
#include "conf/conf_priv.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

static void derive(struct conf *c, const char *name, struct str value)
{
	struct setting *s = conf_setting(c, param_find(str_c(name)));

	s->text = arena_str(c->priv->arena, value);
	s->derived = true;
}

static bool unset(const struct conf *c, const char *name)
{
	return conf_setting(c, param_find(str_c(name)))->line == 0;
}

static bool host_name_sane(struct str s)
{
	if (s.n == 0 || s.n > 253 || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.')
			return false;
	return true;
}

/* As Postfix: a host name without a domain gets mydomain when that is set, else "localdomain". */
static void derive_host(struct conf *c, struct trouble *t)
{
	char name[300] = "";
	struct str domain = STR("localdomain"), text;
	struct buf b;

	if (gethostname(name, sizeof(name) - 1) < 0 || !host_name_sane(str_c(name))) {
		trouble_warning(
			t, 0,
			"myhostname: the system has no usable host name; \"localhost\" is taken");
		(void)memcpy(name, "localhost", sizeof("localhost"));
	}
	buf_init(&b, 1024);
	buf_c(&b, name);
	if (!strchr(name, '.')) {
		if (!unset(c, "mydomain") &&
		    conf_expand(c, conf_setting(c, param_find(STR("mydomain")))->text, &text,
				NULL) == 0)
			domain = text;
		buf_ch(&b, '.');
		buf_str(&b, domain);
	}
	derive(c, "myhostname", buf_view(&b));
	buf_fini(&b);
}

void conf_derive_names(struct conf *c, struct trouble *t)
{
	struct str host = { 0 };

	if (unset(c, "myhostname"))
		derive_host(c, t);
	if (unset(c, "mydomain") &&
	    conf_expand(c, conf_setting(c, param_find(STR("myhostname")))->text, &host, NULL) ==
		    0) {
		const ptrdiff_t dot = str_chr(host, '.');

		derive(c, "mydomain",
		       dot < 0 || (size_t)dot + 1 == host.n ? STR("localdomain")
							    : str_from(host, (size_t)dot + 1));
	}
	if (unset(c, "libexec_directory"))
		derive(c, "libexec_directory", STR(POSTERN_LIBEXECDIR));
	if (unset(c, "share_directory"))
		derive(c, "share_directory", STR(POSTERN_PREFIX "/share/postern"));
	if (unset(c, "virtual_mail_directory"))
		derive(c, "virtual_mail_directory", STR("$state_directory/mail"));
	if (unset(c, "saslauthd_socket"))
		derive(c, "saslauthd_socket", STR("$run_directory/saslauthd/mux"));
}

/* --- mynetworks_style --- */

static unsigned mask_bits(const uint8_t *mask, size_t n)
{
	unsigned bits = 0;

	while (bits < n * 8 && (mask[bits / 8] & (0x80u >> (bits % 8))))
		bits++;
	return bits;
}

/* The old classes: A, B, C by the first bits; other addresses count as hosts. */
static unsigned class_bits(const uint8_t addr[4])
{
	return addr[0] < 128 ? 8 : addr[0] < 192 ? 16 : addr[0] < 224 ? 24 : 32;
}

static void put_network(struct buf *out, int family, const uint8_t *addr, unsigned bits)
{
	uint8_t net[16];
	char text[INET6_ADDRSTRLEN];
	const size_t n = family == AF_INET ? 4 : 16;

	memcpy(net, addr, n);
	for (unsigned i = bits; i < n * 8; i++)
		net[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
	if (inet_ntop(family, net, text, sizeof(text)))
		buf_printf(out, family == AF_INET ? "%s/%u " : "[%s]/%u ", text, bits);
}

static void put_interface(struct buf *out, const struct ifaddrs *i, struct str style)
{
	if (!i->ifa_addr || !i->ifa_netmask || !(i->ifa_flags & IFF_UP))
		return;
	const bool subnet = str_eq(style, STR("subnet")), class = str_eq(style, STR("class"));

	if (i->ifa_addr->sa_family == AF_INET) {
		const struct sockaddr_in *sa = (const void *)i->ifa_addr,
					 *mask = (const void *)i->ifa_netmask;
		const uint8_t *a = (const void *)&sa->sin_addr;

		if (a[0] == 127)
			return;
		put_network(out, AF_INET, a,
			    class    ? class_bits(a)
			    : subnet ? mask_bits((const void *)&mask->sin_addr, 4)
				     : 32);
	} else if (i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sa = (const void *)i->ifa_addr,
					  *mask = (const void *)i->ifa_netmask;
		const uint8_t *a = (const void *)&sa->sin6_addr;

		if (IN6_IS_ADDR_LOOPBACK(&sa->sin6_addr) || IN6_IS_ADDR_V4MAPPED(&sa->sin6_addr))
			return;
		put_network(out, AF_INET6, a,
			    subnet ? mask_bits((const void *)&mask->sin6_addr, 16) : 128);
	}
}

/* A confined process that reads its configuration again may not list them any more: those of the last time hold. NULL: never listed. */
static const struct ifaddrs *interfaces(struct trouble *t)
{
	static struct ifaddrs *last;
	struct ifaddrs *now = NULL;

	if (getifaddrs(&now) == 0) {
		freeifaddrs(last);
		last = now;
	} else if (last == NULL) {
		trouble_warning(t, 0, "mynetworks_style: the interfaces cannot be listed; mynetworks is loopback only");
	}
	return last;
}

void conf_derive_networks(struct conf *c, struct trouble *t)
{
	const struct str style = str_c(c->mynetworks_style);
	struct buf b;

	if (!unset(c, "mynetworks") || style.n == 0)
		return;
	buf_init(&b, CONF_VALUE_MAX);
	buf_c(&b, "127.0.0.0/8 [::1]/128 ");
	for (const struct ifaddrs *i = interfaces(t); i; i = i->ifa_next)
		put_interface(&b, i, style);
	derive(c, "mynetworks", str_trim(buf_view(&b)));
	buf_fini(&b);
}
