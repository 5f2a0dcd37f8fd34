/* The private key's side, for the key worker: sign what is exactly a TLS server signature and nothing else, so that a
 * front taken over gets no general signing oracle; the same for a client's, with another key. Owns the forms (RFC 8446 4.4.3, RFC 8422 5.4,
 * RFC 5246 7.4.8) and the table of schemes. No text has both a server's and a client's form.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/arena.h"
#include "io/tls_priv.h"

enum {
	RSA_BITS_MIN = 2048,
	RSA_BITS_MAX = 8192, /* its signature fits TLS_SIG_MAX */
	RANDOM = 32,
};

struct tls_key {
	EVP_PKEY *key;
};

/* --- the forms --- */

static const char server13[] = "TLS 1.3, server CertificateVerify", client13[] = "TLS 1.3, client CertificateVerify"; /* the NUL is the form's zero */

/* RFC 8446 4.4.3: 64 spaces, the context string, a zero, the transcript hash of SHA-256 or SHA-384. */
static bool is_certificate_verify(struct str tbs, const char context[sizeof(server13)])
{
	enum { PAD = 64, HEAD = PAD + sizeof(server13) };

	if (tbs.n != HEAD + 32 && tbs.n != HEAD + 48)
		return false;
	for (size_t i = 0; i < PAD; i++) {
		if (tbs.p[i] != ' ')
			return false;
	}
	return memcmp(tbs.p + PAD, context, sizeof(server13)) == 0;
}

/* RFC 8422 5.4: both randoms, then ECParameters (named_curve) and an ECPoint whose length is the curve's. */
static bool is_key_exchange(struct str tbs)
{
	static const struct {
		unsigned id, point;
		bool uncompressed;
	} curves[] = {
		{ 0x0017, 65, true },
		{ 0x0018, 97, true },
		{ 0x001d, 32, false },
	};
	const unsigned char *p = (const unsigned char *)tbs.p + 2 * RANDOM;

	if (tbs.n < 2 * RANDOM + 5 || p[0] != 3)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		if (curves[i].id == ((unsigned)p[1] << 8 | p[2]))
			return p[3] == curves[i].point &&
			       tbs.n == 2 * RANDOM + 4 + curves[i].point &&
			       (!curves[i].uncompressed || p[4] == 4);
	}
	return false;
}

int tls_tbs_version(struct str tbs)
{
	return is_certificate_verify(tbs, server13) ? 13 : is_key_exchange(tbs) ? 12 : -1;
}

/* RFC 5246 7.4.8: all messages of the handshake up to here, in the one order that there is (7.3), each with its type and its length in three bytes. */
static bool is_transcript(struct str tbs)
{
	static const struct { unsigned char type; bool optional, hello; } order[] = {
		{ .type = 1, .hello = true }, { .type = 2, .hello = true }, { .type = 11 }, { .type = 22, .optional = true }, { .type = 12, .optional = true },
		{ .type = 13 }, { .type = 14 }, { .type = 11 }, { .type = 16 },
	};

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		const unsigned char *p = (const unsigned char *)tbs.p;
		const bool here = tbs.n >= 4 && p[0] == order[i].type;
		if (!here && order[i].optional)
			continue;
		if (!here)
			return false;
		const size_t n = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		if (n > tbs.n - 4 || (order[i].hello && (n < 2 + RANDOM || p[4] != 3 || p[5] != 3)))
			return false;
		tbs = str_from(tbs, 4 + n);
	}
	return tbs.n == 0;
}

int tls_client_tbs_version(struct str tbs)
{
	return is_certificate_verify(tbs, client13) ? 13 : is_transcript(tbs) ? 12 : -1;
}

/* --- schemes --- */

static const struct scheme {
	const char *name, *kind, *digest, *group; /* group: the one curve that TLS 1.3 allows */
	bool pss, in13;
} schemes[] = {
	{ "rsa_pss_rsae_sha256", "RSA", "SHA256", NULL, true, true },
	{ "rsa_pss_rsae_sha384", "RSA", "SHA384", NULL, true, true },
	{ "rsa_pss_rsae_sha512", "RSA", "SHA512", NULL, true, true },
	{ "rsa_pkcs1_sha256", "RSA", "SHA256", NULL, false, false },
	{ "rsa_pkcs1_sha384", "RSA", "SHA384", NULL, false, false },
	{ "rsa_pkcs1_sha512", "RSA", "SHA512", NULL, false, false },
	{ "ecdsa_secp256r1_sha256", "EC", "SHA256", "prime256v1", false, true },
	{ "ecdsa_secp384r1_sha384", "EC", "SHA384", "secp384r1", false, true },
	{ "ed25519", "ED25519", NULL, NULL, false, true },
};

static bool has_group(EVP_PKEY *key, const char *group)
{
	char name[64];

	return EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) == 1 &&
	       strcmp(name, group) == 0;
}

static const struct scheme *allowed(const struct tls_key *k, const char *name, int version)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		const struct scheme *s = &schemes[i];

		if (strcmp(name, s->name) != 0)
			continue;
		/* Under 1.2 the name says no more than hash and kind (RFC 8446 4.2.3). */
		return EVP_PKEY_is_a(k->key, s->kind) &&
				       (version != 13 ||
					(s->in13 && (!s->group || has_group(k->key, s->group))))
			       ? s
			       : NULL;
	}
	return NULL;
}

static int sign(struct tls_key *k, int version, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e)
{
	const struct scheme *s = allowed(k, scheme, version);

	if (!s)
		return err_set(e, ERR_DENIED, 0, "scheme %.40s is not for this key under TLS 1.%d",
			       scheme, version - 10);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	size_t n = TLS_SIG_MAX;
	ERR_clear_error();
	int ok = ctx &&
		 EVP_DigestSignInit_ex(ctx, &pctx, s->digest, NULL, NULL, k->key, NULL) == 1 &&
		 (!s->pss ||
		  (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		   EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
		 EVP_DigestSign(ctx, sig, &n, (const unsigned char *)tbs.p, tbs.n) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return tls_err(e, ERR_TEMP, "signing");
	*sig_n_out = n;
	return 0;
}

int tls_key_sign(struct tls_key *k, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e)
{
	const int version = tls_tbs_version(tbs);

	return version < 0 ? err_set(e, ERR_DENIED, 0, "not a TLS server signature (%zu bytes)", tbs.n) : sign(k, version, scheme, tbs, sig, sig_n_out, e);
}

int tls_key_sign_client(struct tls_key *k, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e)
{
	const int version = tls_client_tbs_version(tbs);

	return version < 0 ? err_set(e, ERR_DENIED, 0, "not a TLS client signature (%zu bytes)", tbs.n) : sign(k, version, scheme, tbs, sig, sig_n_out, e);
}

/* --- the key --- */

static int no_password(char *buf, int size, int rwflag, void *arg)
{
	return -1; /* a daemon has nobody to ask */
}

static int check_kind(EVP_PKEY *key, struct err *e)
{
	int bits = EVP_PKEY_get_bits(key);

	if (EVP_PKEY_is_a(key, "RSA"))
		return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX
			       ? 0
			       : err_set(e, ERR_CONF, 0,
					 "RSA key of %d bits; %d to %d are accepted", bits,
					 RSA_BITS_MIN, RSA_BITS_MAX);
	if (EVP_PKEY_is_a(key, "EC"))
		return has_group(key, "prime256v1") || has_group(key, "secp384r1")
			       ? 0
			       : err_set(e, ERR_CONF, 0,
					 "EC key on another curve than P-256 and P-384");
	return EVP_PKEY_is_a(key, "ED25519")
		       ? 0
		       : err_set(e, ERR_CONF, 0, "the key is not RSA, EC or Ed25519");
}

int tls_key_load(struct str key_pem, struct tls_key **out, struct err *e)
{
	tls_start_openssl();
	BIO *bio = key_pem.n > 0 && key_pem.n <= TLS_PEM_MAX
			   ? BIO_new_mem_buf(key_pem.p, (int)key_pem.n)
			   : NULL;

	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	BIO_free(bio);
	if (!key)
		return tls_err(e, ERR_CONF, "private key (PEM, without a password)");
	if (check_kind(key, e) < 0) {
		EVP_PKEY_free(key);
		return -1;
	}
	struct tls_key *k = xzalloc(sizeof(*k));
	k->key = key;
	*out = k;
	return 0;
}

void tls_key_free(struct tls_key **kp)
{
	struct tls_key *k = *kp;

	if (!k)
		return;
	*kp = NULL;
	EVP_PKEY_free(k->key); /* OpenSSL wipes private numbers */
	free(k);
}

int tls_key_matches(const struct tls_key *k, struct str chain_pem, struct err *e)
{
	STACK_OF(X509) *chain = tls_chain_read(chain_pem, e);

	if (!chain)
		return -1;
	ERR_clear_error();
	int ok = X509_check_private_key(sk_X509_value(chain, 0), k->key);
	tls_chain_free(&chain);
	return ok == 1 ? 0 : tls_err(e, ERR_CONF, "key and certificate do not belong together");
}
