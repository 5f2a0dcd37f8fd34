/* Numeric addresses and networks. IPv4 lives in IPv6's mapped range, so that there is one comparison. */
#include "conf/conf.h"

#include <arpa/inet.h>

#include "base/num.h"

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int addr_parse(struct str s, uint8_t addr[16])
{
	char text[INET6_ADDRSTRLEN + 1];
	uint8_t v4[4], v6[16];

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, 0, s.n))
		return -1;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	if (inet_pton(AF_INET, text, v4) == 1) {
		memcpy(addr, v4_prefix, sizeof(v4_prefix));
		memcpy(addr + 12, v4, sizeof(v4));
		return 0;
	}
	if (inet_pton(AF_INET6, text, v6) != 1)
		return -1;
	memcpy(addr, v6, sizeof(v6));
	return 0;
}

static bool is_v4(const uint8_t addr[16])
{
	return memcmp(addr, v4_prefix, sizeof(v4_prefix)) == 0;
}

/* Any of the bits after the first n set? */
static bool host_bits(const uint8_t addr[16], unsigned n)
{
	for (unsigned i = n; i < 128; i++)
		if (addr[i / 8] & (0x80u >> (i % 8)))
			return true;
	return false;
}

int cidr_parse(struct str s, struct cidr *out, struct err *e)
{
	const struct str whole = s;
	struct cidr c = { .bits = 128 };
	uint64_t bits;

	if (s.n && s.p[0] == '!') {
		c.negate = true;
		s = str_from(s, 1);
	}
	const ptrdiff_t slash = str_rchr(s, '/');
	struct str addr = slash < 0 ? s : str_sub(s, 0, (size_t)slash);
	const bool brackets = addr.n > 2 && addr.p[0] == '[' && addr.p[addr.n - 1] == ']';

	if (brackets)
		addr = str_sub(addr, 1, addr.n - 2);
	/* main.cf also has [address/bits]. */
	else if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		addr = str_sub(s, 1, (size_t)(slash < 0 ? (ptrdiff_t)s.n : slash) - 1);
	if (addr_parse(addr, c.addr) < 0)
		return err_set(e, ERR_CONF, 0,
			       "\"%.*s\" is not a network (allowed: 10.0.0.0/8, [2001:db8::]/32, "
			       "!exclusion)",
			       STR_ARG(str_sub(whole, 0, 60)));
	if (slash >= 0) {
		struct str digits = str_from(s, (size_t)slash + 1);
		const unsigned width = is_v4(c.addr) && str_chr(addr, ':') < 0 ? 32 : 128;

		if (!brackets && digits.n && digits.p[digits.n - 1] == ']')
			digits.n--;
		if (num_parse(digits, 0, width, &bits) < 0)
			return err_set(e, ERR_CONF, 0,
				       "\"%.*s\": bad prefix length (allowed: 0 to %u)",
				       STR_ARG(str_sub(whole, 0, 60)), width);
		c.bits = (uint8_t)(128 - width + bits);
	}
	if (host_bits(c.addr, c.bits))
		return err_set(e, ERR_CONF, 0, "\"%.*s\": bits are set after the prefix",
			       STR_ARG(str_sub(whole, 0, 60)));
	*out = c;
	return 0;
}

static bool prefix_same(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	const unsigned bytes = bits / 8, rest = bits % 8;

	return memcmp(a, b, bytes) == 0 &&
	       (rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0);
}

bool cidr_match(const struct cidr *list, size_t n, const uint8_t addr[16])
{
	for (size_t i = 0; i < n; i++)
		if (prefix_same(list[i].addr, addr, list[i].bits))
			return !list[i].negate;
	return false;
}

bool conf_networks_have(struct conf_list networks, const uint8_t addr[16])
{
	for (size_t i = 0; i < networks.n; i++) {
		struct cidr c;

		if (cidr_parse(str_c(networks.v[i]), &c, NULL) == 0 &&
		    prefix_same(c.addr, addr, c.bits))
			return !c.negate;
	}
	return false;
}
