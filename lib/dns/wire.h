/* DNS messages (RFC 1035, 6891): a question to bytes, the bytes of an answer to what was asked. Pure; the decoder is fuzzed.
 *
 * Records are handed on as text, by type:
 *	A, AAAA		192.0.2.1, 2001:db8::1
 *	NS CNAME PTR	the name		MX	"10 mx.example.com"; the null MX is "0 ." (RFC 7505)
 *	TXT		the strings joined, raw bytes (SPF and DKIM read them so)
 *	SRV		"priority weight port target"	TLSA	"usage selector matching hex"
 *	SOA		"mname serial minimum"
 * Names are in presentation form without the final dot (the root is "."), as sent; bytes other than letters, digits, "-" and "_" as \DDD,
 * a dot in a label as "\.". Whoever uses one as a host name asks smtp_domain_valid() first.
 */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum dns_type {
#define DNS_TYPE(name, number, form) DNS_##name = (number),
#include "dns/types.def"
#undef DNS_TYPE
};

enum {
	DNS_NAME_MAX = 253,		/* presentation form without escapes (RFC 1035 2.3.4) */
	DNS_RECORDS_MAX = 100,		/* of one answer; what is more is left out */
	DNS_TEXT_MAX = 16384,		/* bytes of one record's text */
	DNS_TEXTS_MAX = 65000,		/* of all of one answer */
	DNS_ALIASES_MAX = 16,		/* CNAMEs that are followed */
	DNS_QUERY_MAX = 12 + 255 + 4 + 11,
	DNS_UDP_MAX = 1232,		/* what we say that we take */
	DNS_RCODE_OK = 0,
	DNS_RCODE_FAILED = 2,
	DNS_RCODE_NO_NAME = 3,
};

struct dns_records {
	unsigned rcode;
	bool ad, truncated;
	uint32_t ttl;			/* least of all that were used; for "no such" the SOA's; 0: nothing said */
	struct str canonical;
	struct str *v;
	size_t n;
};

const char *dns_type_name(unsigned type);	/* NULL: not one of ours */
/* Presentation form to wire form: ERR_INPUT when it is none. out at least 255 bytes. */
int dns_name_put(struct str name, unsigned char *out, size_t *n_out, struct err *e) MUST_CHECK;
/* A query with EDNS, recursion desired and the AD bit set ("tell me whether it is authentic", RFC 6840 5.7). */
int dns_query_put(uint16_t id, struct str name, unsigned type, unsigned char out[DNS_QUERY_MAX], size_t *n_out, struct err *e) MUST_CHECK;
/* The answer to name and type. Aliases are followed inside the message. ERR_INPUT: malformed, or the answer to something else. Strings live in a. */
int dns_answer_get(struct str packet, struct str name, unsigned type, struct arena *a, struct dns_records *out, struct err *e) MUST_CHECK;

/* "2.0.0.127.LIST" or the nibbles of an IPv6 address; suffix "in-addr.arpa"/"ip6.arpa" is chosen when it is empty. addr: IPv4 as ::ffff:a.b.c.d. */
const char *dns_reverse_name(struct arena *a, const uint8_t addr[16], struct str suffix);

#endif
