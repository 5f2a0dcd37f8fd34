/* passwd.cdb (state_directory, 0640 root:user_pam): what the suite's own users prove themselves with. Key: account name; value:
 * three lines, "1", the crypt(3) hash (or "{PLAIN}secret", for benches only, when explicitly asked for), the SCRAM verifier (scram.h) or
 * "-". A password longer than crypt(3) takes (511 bytes) is hashed twice: "{SHA256}" before the hash says that crypt's input is the base64 of
 * the password's SHA-256. Key "=secret": 32 random bytes in hexadecimal, from which unknown names get their SCRAM salt. Hash and
 * verifier are always written together.
 */
#ifndef AUTHD_PASSFILE_H
#define AUTHD_PASSFILE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "authd/scram.h"

enum { PASSWORD_MAX = 1024, CRYPT_INPUT_MAX = 511, PASS_RECORD_MAX = 4096 };
#define PASS_SECRET_KEY "=secret"

struct pass_record {
	struct str hash;		/* borrows the value */
	bool has_scram;
	struct scram_verifier scram;
};

int pass_record_parse(struct str value, struct pass_record *out, struct err *e) MUST_CHECK;
/* scheme: "yescrypt" "sha512" "plain". ERR_INPUT: empty, longer than PASSWORD_MAX, NUL, or (plain) a line end in it. The verifier
 * is left out, and *scram_out false, when the password is not valid for SCRAM (scram_prepare). */
int pass_record_make(struct str password, const char *scheme, struct buf *value_out, bool *scram_out, struct err *e) MUST_CHECK;
/* 1 right, 0 wrong, -1 the hash cannot be computed (unknown method). Costs what the hash's method costs. */
int pass_verify(struct str hash, struct str password, struct err *e);
/* A hash of the default scheme of a random password: what unknown names are checked against. */
int pass_dummy(struct buf *hash_out, struct err *e) MUST_CHECK;

#endif
