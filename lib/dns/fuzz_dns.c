/* Any bytes as an answer: decoded or refused, within the limits, and every name that comes out can be asked for again. */
#include <assert.h>

#include "dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask_again(struct str name)
{
	unsigned char wire[DNS_QUERY_MAX];
	struct err e = { 0 };
	size_t n;

	assert(dns_query_put(1, name, DNS_A, wire, &n, &e) == 0 && n <= DNS_QUERY_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned types[] = { DNS_A, DNS_NS, DNS_CNAME, DNS_SOA, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_SRV, DNS_TLSA };
	struct arena *a = arena_new(0);
	struct dns_records r;
	struct err e = { 0 };
	size_t total = 0;

	if (size > 0) {
		const unsigned type = types[data[0] % ARRAY_LEN(types)];
		if (dns_answer_get(str_n(data + 1, size - 1), STR("a.test"), type, a, &r, &e) == 0) {
			assert(r.n <= DNS_RECORDS_MAX);
			for (size_t i = 0; i < r.n; i++)
				total += r.v[i].n;
			assert(total <= DNS_TEXTS_MAX);
			ask_again(r.canonical);
			for (size_t i = 0; i < r.n && (type == DNS_NS || type == DNS_PTR); i++)
				ask_again(r.v[i]);
		}
	}
	arena_free(&a);
	return 0;
}
