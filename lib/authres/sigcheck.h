/* Digests and signatures of DKIM; the only file of this library that includes OpenSSL is sigcheck.c. Call sigcheck_start() before confinement. */
#ifndef AUTHRES_SIGCHECK_H
#define AUTHRES_SIGCHECK_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/str.h"

enum { SIG_RSA_BITS_MIN = 1024, SIG_RSA_BITS_MAX = 8192 };	/* RFC 8301 3.2; above: too dear to check for strangers */
enum sig_kind { SIG_RSA_SHA256, SIG_ED25519_SHA256 };
enum sig_check { SIG_GOOD, SIG_BAD, SIG_KEY_USELESS };

void sigcheck_start(void);
struct digest;
struct digest *digest_new(void);	/* SHA-256; returns owned */
void digest_add(struct digest *d, struct str bytes);
void digest_end(struct digest **d, unsigned char out[32]);	/* frees */
void digest_free(struct digest **d);
/* key: of a record's p=, decoded (RSA: SubjectPublicKeyInfo or RSAPublicKey; Ed25519: 32 bytes). *why: a constant. */
enum sig_check sig_verify(enum sig_kind kind, struct str key, const unsigned char hash[32], struct str sig, const char **why);

#endif
