/* IP addresses as 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2): one form for all that count and compare them. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool ip_is_v4(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

/* What one customer has, as a key: an IPv4 address, an IPv6 /64. */
static inline void ip_customer(const uint8_t addr[16], uint8_t out[16])
{
	memcpy(out, addr, 16);
	if (!ip_is_v4(addr))
		memset(out + 8, 0, 8);
}

#endif
