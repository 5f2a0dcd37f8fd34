/* SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), and the keyed tag of a login. No channel binding: the mechanism without -PLUS,
 * so a client that says "y" is right and one that asks for "p=" is refused. The verifier of a user is one line of text:
 *	SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>		(base64; the form of RFC 5803's fields in PostgreSQL's spelling)
 *
 *	scram_server_first(&s, client_first, e) -> s.user; look its verifier up; scram_server_challenge(&s, &v, nonce, &out)
 *	scram_server_final(&s, client_final, &out, e) == 0: the proof is right; out is "v=…"
 */
#ifndef AUTHD_SCRAM_H
#define AUTHD_SCRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	SCRAM_HASH = 32,
	SCRAM_SALT_MAX = 64,
	SCRAM_NAME_MAX = 255,
	SCRAM_NONCE_MAX = 512,
	SCRAM_MESSAGE_MAX = 4096,
	SCRAM_ITERATIONS_MIN = 4096,
	SCRAM_ITERATIONS_DEFAULT = 10000,
	SCRAM_ITERATIONS_MAX = 1000000,
};

struct scram_verifier {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	uint8_t stored_key[SCRAM_HASH], server_key[SCRAM_HASH];
};

/* password is prepared (scram_prepare) by the caller. */
int scram_derive(struct str password, const uint8_t *salt, size_t salt_n, uint32_t iterations, struct scram_verifier *out,
		 struct err *e) MUST_CHECK;
int scram_verifier_parse(struct str text, struct scram_verifier *out, struct err *e) MUST_CHECK;
void scram_verifier_format(const struct scram_verifier *v, struct buf *out);
/* For a name that is not there: salt and keys that depend on secret and name only, so that asking again shows the same. Never verifies. */
void scram_verifier_fake(struct str secret, struct str user, struct scram_verifier *out);

/* SASLprep (RFC 4013) without NFKC: non-ASCII blanks become blanks, what maps to nothing is removed; ERR_INPUT for control characters, invalid
 * UTF-8 and other prohibited code points. Composed text (what keyboards make) comes out as with NFKC but for compatibility forms. */
int scram_prepare(struct str in, struct buf *out, struct err *e) MUST_CHECK;

struct scram {
	char user[SCRAM_NAME_MAX + 1];
	char gs2[SCRAM_NAME_MAX * 3 + 8];	/* header as sent, for c= */
	struct scram_verifier v;
	struct buf auth;			/* AuthMessage as far as it is known */
	struct buf nonce;			/* client's and server's */
};

void scram_init(struct scram *s);
void scram_fini(struct scram *s);	/* wipes */
int scram_server_first(struct scram *s, struct str message, struct err *e) MUST_CHECK;
/* server_nonce: printable, no comma. */
int scram_server_challenge(struct scram *s, const struct scram_verifier *v, struct str server_nonce, struct buf *out, struct err *e) MUST_CHECK;
/* 0, or ERR_INPUT (malformed) or ERR_AUTH (the proof is wrong). */
int scram_server_final(struct scram *s, struct str message, struct buf *out, struct err *e) MUST_CHECK;

int digest_sha256(struct str data, uint8_t out[SCRAM_HASH]) MUST_CHECK;

#endif
