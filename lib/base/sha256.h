/* SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104), in processes that have no OpenSSL. Neither branches on what it hashes. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stdint.h>

#include "base/str.h"

struct sha256 {
	uint32_t h[8];
	uint64_t bytes;
	unsigned char block[64];
};
/* s holds the last bytes that were added until the caller wipes it. */
void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, struct str data);
void sha256_end(struct sha256 *s, unsigned char out[32]);

struct hmac_sha256 {
	struct sha256 hash;
	unsigned char pad[64];
};
/* key: of any length; copied. */
void hmac_sha256_init(struct hmac_sha256 *h, struct str key);
void hmac_sha256_add(struct hmac_sha256 *h, struct str data);
/* Wipes *h: nothing of key and data is left. */
void hmac_sha256_end(struct hmac_sha256 *h, unsigned char out[32]);

#endif
