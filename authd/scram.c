/* SCRAM-SHA-256 (RFC 5802 section 5 and 7, RFC 7677). The parsers are pure; the arithmetic is libcrypto's. */
#include "authd/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/enc.h"
#include "base/num.h"

/* --- arithmetic --- */

static int hmac(const void *key, size_t key_n, struct str data, uint8_t out[SCRAM_HASH])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)data.p, data.n, out, &n) && n == SCRAM_HASH ? 0 : -1;
}

static int sha256(const void *p, size_t n, uint8_t out[SCRAM_HASH])
{
	return EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

int digest_sha256(struct str data, uint8_t out[SCRAM_HASH])
{
	return sha256(data.p, data.n, out);
}

int scram_derive(struct str password, const uint8_t *salt, size_t salt_n, uint32_t iterations, struct scram_verifier *out, struct err *e)
{
	struct scram_verifier v = { .iterations = iterations, .salt_n = salt_n };
	uint8_t salted[SCRAM_HASH], client_key[SCRAM_HASH];
	int rc = -1;

	if (salt_n == 0 || salt_n > SCRAM_SALT_MAX || iterations < SCRAM_ITERATIONS_MIN || iterations > SCRAM_ITERATIONS_MAX)
		return err_set(e, ERR_INPUT, 0, "SCRAM: salt of %zu bytes, %u iterations", salt_n, iterations);
	memcpy(v.salt, salt, salt_n);
	if (PKCS5_PBKDF2_HMAC(password.n ? password.p : "", (int)password.n, salt, (int)salt_n, (int)iterations, EVP_sha256(), SCRAM_HASH,
			      salted) == 1 &&
	    hmac(salted, SCRAM_HASH, STR("Client Key"), client_key) == 0 && sha256(client_key, SCRAM_HASH, v.stored_key) == 0 &&
	    hmac(salted, SCRAM_HASH, STR("Server Key"), v.server_key) == 0)
		rc = 0;
	mem_wipe(salted, sizeof salted);
	mem_wipe(client_key, sizeof client_key);
	if (rc < 0)
		return err_set(e, ERR_TEMP, 0, "SCRAM: libcrypto failed");
	*out = v;
	return 0;
}

void scram_verifier_fake(struct str secret, struct str user, struct scram_verifier *out)
{
	struct scram_verifier v = { .iterations = SCRAM_ITERATIONS_DEFAULT, .salt_n = 16 };
	uint8_t h[SCRAM_HASH] = { 0 };

	(void)!hmac(secret.p, secret.n, user, h);
	memcpy(v.salt, h, v.salt_n);
	(void)!hmac(h, sizeof h, STR("stored"), v.stored_key);
	(void)!hmac(h, sizeof h, STR("server"), v.server_key);
	*out = v;
}

/* --- the verifier as text --- */

static int base64_fixed(struct str in, size_t min, size_t max, uint8_t *out, size_t *n_out)
{
	struct buf b;
	int rc = -1;

	buf_init(&b, 1024);
	if (base64_decode(&b, in) == 0 && b.n >= min && b.n <= max) {
		memcpy(out, b.p, b.n);
		*n_out = b.n;
		rc = 0;
	}
	buf_wipe(&b);
	buf_fini(&b);
	return rc;
}

int scram_verifier_parse(struct str text, struct scram_verifier *out, struct err *e)
{
	struct scram_verifier v = { 0 };
	struct str rest = text, name = str_split(&rest, '$'), salt = str_split(&rest, '$');
	struct str iterations = str_split(&salt, ':'), stored = str_split(&rest, ':');
	uint64_t n;
	size_t k;

	if (!str_eq(name, STR("SCRAM-SHA-256")) || num_parse(iterations, SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX, &n) < 0 ||
	    base64_fixed(salt, 8, SCRAM_SALT_MAX, v.salt, &v.salt_n) < 0 ||
	    base64_fixed(stored, SCRAM_HASH, SCRAM_HASH, v.stored_key, &k) < 0 ||
	    base64_fixed(rest, SCRAM_HASH, SCRAM_HASH, v.server_key, &k) < 0)
		return err_set(e, ERR_INPUT, 0, "not a SCRAM-SHA-256 verifier");
	v.iterations = (uint32_t)n;
	*out = v;
	return 0;
}

void scram_verifier_format(const struct scram_verifier *v, struct buf *out)
{
	buf_printf(out, "SCRAM-SHA-256$%u:", v->iterations);
	base64_encode(out, str_n(v->salt, v->salt_n));
	buf_ch(out, '$');
	base64_encode(out, str_n(v->stored_key, SCRAM_HASH));
	buf_ch(out, ':');
	base64_encode(out, str_n(v->server_key, SCRAM_HASH));
}

/* --- SASLprep without NFKC (RFC 4013; tables of RFC 3454 named in the rows) --- */

enum prep { PREP_NOTHING, PREP_BLANK, PREP_BAD };
static const struct { uint32_t first, last; enum prep what; } prep_rows[] = {
	{ 0x00, 0x1f, PREP_BAD }, { 0x7f, 0x9f, PREP_BAD },			/* C.2 control */
	{ 0xa0, 0xa0, PREP_BLANK }, { 0x1680, 0x1680, PREP_BLANK },		/* C.1.2 blanks */
	{ 0x2000, 0x200a, PREP_BLANK }, { 0x202f, 0x202f, PREP_BLANK }, { 0x205f, 0x205f, PREP_BLANK }, { 0x3000, 0x3000, PREP_BLANK },
	{ 0xad, 0xad, PREP_NOTHING }, { 0x34f, 0x34f, PREP_NOTHING }, { 0x1806, 0x1806, PREP_NOTHING },	/* B.1 */
	{ 0x180b, 0x180d, PREP_NOTHING }, { 0x200b, 0x200d, PREP_NOTHING }, { 0x2060, 0x2060, PREP_NOTHING },
	{ 0xfe00, 0xfe0f, PREP_NOTHING }, { 0xfeff, 0xfeff, PREP_NOTHING },
	{ 0x340, 0x341, PREP_BAD }, { 0x6dd, 0x6dd, PREP_BAD }, { 0x70f, 0x70f, PREP_BAD }, { 0x180e, 0x180e, PREP_BAD },
	{ 0x200e, 0x200f, PREP_BAD }, { 0x2028, 0x202e, PREP_BAD }, { 0x2061, 0x2063, PREP_BAD }, { 0x206a, 0x206f, PREP_BAD },
	{ 0x2ff0, 0x2ffb, PREP_BAD }, { 0xe000, 0xf8ff, PREP_BAD }, { 0xfdd0, 0xfdef, PREP_BAD }, { 0xfff9, 0xffff, PREP_BAD },
	{ 0x1d173, 0x1d17a, PREP_BAD }, { 0xe0001, 0xe0001, PREP_BAD }, { 0xe0020, 0xe007f, PREP_BAD },
	{ 0xf0000, 0x10ffff, PREP_BAD },					/* C.3, C.4 private use, non-characters */
};

int scram_prepare(struct str in, struct buf *out, struct err *e)
{
	if (!utf8_valid(in))
		return err_set(e, ERR_INPUT, 0, "not UTF-8");
	while (in.n) {
		uint32_t cp = utf8_next(&in);
		size_t i = 0;

		while (i < ARRAY_LEN(prep_rows) && (cp < prep_rows[i].first || cp > prep_rows[i].last))
			i++;
		if (i == ARRAY_LEN(prep_rows))
			utf8_put(out, cp);
		else if (prep_rows[i].what == PREP_BLANK)
			buf_ch(out, ' ');
		else if (prep_rows[i].what == PREP_BAD)
			return err_set(e, ERR_INPUT, 0, "code point U+%04X is not allowed", cp);
	}
	return buf_check(out, "text", e);
}

/* --- the exchange --- */

void scram_init(struct scram *s)
{
	*s = (struct scram){ 0 };
	buf_init(&s->auth, SCRAM_MESSAGE_MAX * 3);
	buf_init(&s->nonce, SCRAM_NONCE_MAX * 2);
}

void scram_fini(struct scram *s)
{
	buf_wipe(&s->auth);
	buf_fini(&s->auth);
	buf_wipe(&s->nonce);
	buf_fini(&s->nonce);
	mem_wipe(&s->v, sizeof s->v);
}

/* saslname: =2C and =3D stand for comma and equals; no other equals (RFC 5802 5.1 n:). */
static int name_decode(struct str in, char out[SCRAM_NAME_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '=') {
			struct str code = str_sub(in, i + 1, 2);

			if (!str_case_eq(code, STR("2C")) && !str_case_eq(code, STR("3D")))
				return -1;
			c = ch_lower(code.p[1]) == 'c' ? ',' : '=';
			i += 2;
		}
		if (c == 0 || n == SCRAM_NAME_MAX)
			return -1;
		out[n++] = c;
	}
	out[n] = 0;
	return n ? 0 : -1;
}

static bool nonce_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return false;
	return s.n > 0 && s.n <= SCRAM_NONCE_MAX;
}

static bool attribute(struct str part, char name, struct str *value)
{
	if (part.n < 2 || part.p[0] != name || part.p[1] != '=')
		return false;
	*value = str_from(part, 2);
	return true;
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INPUT, 0, "SCRAM: %s", what);
}

int scram_server_first(struct scram *s, struct str message, struct err *e)
{
	struct str rest = message, value, authz = { 0 };
	char authzid[SCRAM_NAME_MAX + 1] = "";

	if (message.n > SCRAM_MESSAGE_MAX)
		return bad(e, "message too long");
	struct str flag = str_split(&rest, ',');
	if (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y")))
		return bad(e, "channel binding is not offered");
	struct str zid = str_split(&rest, ',');
	if (!rest.p || (zid.n && !attribute(zid, 'a', &authz)))
		return bad(e, "malformed header");
	size_t header = (size_t)(rest.p - message.p);
	if (header >= sizeof s->gs2)
		return bad(e, "header too long");
	struct str bare = rest, name = str_split(&rest, ','), nonce = str_split(&rest, ',');
	if (!attribute(name, 'n', &value) || name_decode(value, s->user) < 0)
		return bad(e, "malformed user name");	/* m= (mandatory extension) ends here too */
	if (zid.n && (name_decode(authz, authzid) < 0 || strcmp(authzid, s->user) != 0))
		return bad(e, "another identity was asked for");
	if (!attribute(nonce, 'r', &value) || !nonce_valid(value))
		return bad(e, "malformed nonce");
	if (memchr(message.p, 0, message.n))
		return bad(e, "NUL");
	memcpy(s->gs2, message.p, header);
	s->gs2[header] = 0;
	buf_str(&s->nonce, value);
	buf_str(&s->auth, bare);
	return buf_check(&s->auth, "SCRAM message", e);
}

int scram_server_challenge(struct scram *s, const struct scram_verifier *v, struct str server_nonce, struct buf *out, struct err *e)
{
	size_t from = out->n;

	s->v = *v;
	buf_str(&s->nonce, server_nonce);
	buf_c(out, "r=");
	buf_str(out, buf_view(&s->nonce));
	buf_c(out, ",s=");
	base64_encode(out, str_n(v->salt, v->salt_n));
	buf_printf(out, ",i=%u", v->iterations);
	buf_ch(&s->auth, ',');
	buf_str(&s->auth, str_from(buf_view(out), from));
	if (buf_failed(out) || buf_failed(&s->nonce) || buf_failed(&s->auth))
		return bad(e, "message too long");
	return 0;
}

/* ClientProof XOR HMAC(StoredKey, AuthMessage) must hash to StoredKey (RFC 5802 section 3). */
static int proof_check(const struct scram *s, const uint8_t proof[SCRAM_HASH], struct err *e)
{
	uint8_t key[SCRAM_HASH], hash[SCRAM_HASH];

	if (hmac(s->v.stored_key, SCRAM_HASH, buf_view(&s->auth), key) < 0)
		return err_set(e, ERR_TEMP, 0, "SCRAM: libcrypto failed");
	for (int i = 0; i < SCRAM_HASH; i++)
		key[i] ^= proof[i];
	int rc = sha256(key, SCRAM_HASH, hash);
	mem_wipe(key, sizeof key);
	if (rc < 0)
		return err_set(e, ERR_TEMP, 0, "SCRAM: libcrypto failed");
	return mem_equal_ct(hash, s->v.stored_key, SCRAM_HASH) ? 0 : err_set(e, ERR_AUTH, 0, "SCRAM: the proof is wrong");
}

int scram_server_final(struct scram *s, struct str message, struct buf *out, struct err *e)
{
	struct str rest = message, value;
	uint8_t proof[SCRAM_HASH], signature[SCRAM_HASH];
	size_t n;
	struct buf header;

	if (message.n > SCRAM_MESSAGE_MAX)
		return bad(e, "message too long");
	ptrdiff_t at = str_rchr(message, ',');
	struct str last = at < 0 ? (struct str){ 0 } : str_from(message, (size_t)at + 1);
	if (!attribute(last, 'p', &value) || base64_fixed(value, SCRAM_HASH, SCRAM_HASH, proof, &n) < 0)
		return bad(e, "no proof");
	struct str binding = str_split(&rest, ','), nonce = str_split(&rest, ',');
	if (!attribute(binding, 'c', &value))
		return bad(e, "no channel binding field");
	buf_init(&header, sizeof s->gs2);
	bool same = base64_decode(&header, value) == 0 && str_eq(buf_view(&header), str_c(s->gs2));
	buf_fini(&header);
	if (!same)
		return bad(e, "the header has changed");
	if (!attribute(nonce, 'r', &value) || !str_eq(value, buf_view(&s->nonce)))
		return bad(e, "wrong nonce");
	buf_ch(&s->auth, ',');
	buf_str(&s->auth, str_sub(message, 0, (size_t)at));
	if (buf_failed(&s->auth))
		return bad(e, "message too long");
	if (proof_check(s, proof, e) < 0)
		return -1;
	if (hmac(s->v.server_key, SCRAM_HASH, buf_view(&s->auth), signature) < 0)
		return err_set(e, ERR_TEMP, 0, "SCRAM: libcrypto failed");
	buf_c(out, "v=");
	base64_encode(out, str_n(signature, SCRAM_HASH));
	return buf_check(out, "SCRAM message", e);
}
