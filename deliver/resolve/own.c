/* This machine's addresses. */
#include "deliver/resolve/own.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"

enum { OWN_MAX = 256, SMTP_PORT = 25 };

static void own_add(struct own_addresses *own, const uint8_t addr[16])
{
	if (own->n < OWN_MAX)
		memcpy(own->v[own->n++], addr, 16);
}

/* The raw bytes of an interface's address; NULL when it is neither IPv4 nor IPv6. */
static const void *raw_address(const struct sockaddr *sa)
{
	const void *any = sa;
	const struct sockaddr_in *v4 = any;
	const struct sockaddr_in6 *v6 = any;

	if (sa && sa->sa_family == AF_INET)
		return &v4->sin_addr;
	return sa && sa->sa_family == AF_INET6 ? &v6->sin6_addr : NULL;
}

static void own_interfaces(struct own_addresses *own)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		const void *raw = raw_address(i->ifa_addr);
		char text[INET6_ADDRSTRLEN];
		uint8_t addr[16];

		if (raw && inet_ntop(i->ifa_addr->sa_family, raw, text, sizeof(text)) &&
		    addr_parse(str_c(text), addr) == 0)
			own_add(own, addr);
	}
	freeifaddrs(all);
}

static bool takes_all(const struct conf *c, struct arena *a)
{
	struct conf_listener *v;
	struct err e = { 0 };
	size_t n;

	if (conf_listeners(c, c->smtp_listeners, "smtp", a, &v, &n, &e) < 0)
		return false;	/* smtpd says why, and does not start */
	for (size_t i = 0; i < n; i++)
		if (v[i].port == SMTP_PORT && (v[i].host[0] == 0 || strcmp(v[i].host, "0.0.0.0") == 0))
			return true;
	return false;
}

void own_load(const struct conf *c, struct arena *a, struct own_addresses *own)
{
	const struct conf_list lists[] = { c->inet_interfaces, c->proxy_interfaces };

	own->v = arena_array(a, OWN_MAX, 16);
	own->n = 0;
	own->loopback = takes_all(c, a);
	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		for (size_t i = 0; i < lists[k].n; i++) {
			struct str s = str_c(lists[k].v[i]);
			uint8_t addr[16];

			if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
				s = str_sub(s, 1, s.n - 2);
			if (addr_parse(s, addr) == 0)
				own_add(own, addr);
			else if (str_case_eq(s, STR("all")))
				own_interfaces(own);
		}
}

bool own_has(const struct own_addresses *own, const uint8_t addr[16])
{
	static const uint8_t loopback[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };

	if (addr && own->loopback && memcmp(addr, loopback, sizeof loopback) == 0)
		return true;
	for (size_t i = 0; addr && i < own->n; i++)
		if (memcmp(own->v[i], addr, 16) == 0)
			return true;
	return false;
}
