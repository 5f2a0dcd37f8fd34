/* Private keys of DKIM and ARC: read, used, made. Only the process that holds the keys and the tool that makes them use this. */
#ifndef AUTHRES_SIGMAKE_H
#define AUTHRES_SIGMAKE_H

#include "authres/sigcheck.h"
#include "base/buf.h"
#include "base/err.h"

enum { SIG_MADE_RSA_BITS = 2048, SIGNATURE_BYTES_MAX = 1024 };

struct sign_key;
/* pem: an unencrypted RSA (1024 to 8192 bits) or Ed25519 private key. Returns owned. */
int sign_key_load(struct str pem, struct sign_key **out, struct err *e) MUST_CHECK;
void sign_key_free(struct sign_key **k);
enum sig_kind sign_key_kind(const struct sign_key *k);
/* Append the signature of a SHA-256 hash (RFC 6376 3.3.3, RFC 8463 3), raw bytes. */
int sign_hash(const struct sign_key *k, const unsigned char hash[32], struct buf *out, struct err *e) MUST_CHECK;
/* A new key as PEM (PKCS #8). bits: of RSA. */
int sign_key_make(enum sig_kind kind, unsigned bits, struct buf *pem_out, struct err *e) MUST_CHECK;
/* Append the public half as a key record's p= has it, not yet in base64. */
int sign_key_public(const struct sign_key *k, struct buf *out, struct err *e) MUST_CHECK;

#endif
