/* See sigcheck.h. Keys come from strangers: only their public halves, decoded by libcrypto, with sizes checked before they are used. */
#include "authres/sigcheck.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/arena.h"

struct digest {
	EVP_MD_CTX *ctx;
};

void sigcheck_start(void)
{
	unsigned char none[32];
	/* As lib/io does: no openssl.cnf, no exit handler. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	struct digest *d = digest_new();	/* the provider is loaded now, not after confinement */
	digest_end(&d, none);
}

struct digest *digest_new(void)
{
	struct digest *d = xzalloc(sizeof(*d));
	d->ctx = EVP_MD_CTX_new();
	if (d->ctx != NULL && EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(d->ctx);
		d->ctx = NULL;
	}
	return d;
}

void digest_add(struct digest *d, struct str bytes)
{
	if (d->ctx != NULL && bytes.n > 0)
		EVP_DigestUpdate(d->ctx, bytes.p, bytes.n);
}

void digest_end(struct digest **d, unsigned char out[32])
{
	if ((*d)->ctx == NULL || EVP_DigestFinal_ex((*d)->ctx, out, NULL) != 1)
		memset(out, 0, 32);	/* matches nothing that was ever signed */
	digest_free(d);
}

void digest_free(struct digest **d)
{
	if (*d == NULL)
		return;
	EVP_MD_CTX_free((*d)->ctx);
	xfree_p(d);
	*d = NULL;
}

static EVP_PKEY *rsa_key(struct str key)
{
	const unsigned char *p = (const unsigned char *)key.p;
	EVP_PKEY *k = d2i_PUBKEY(NULL, &p, (long)key.n);
	if (k == NULL) {
		p = (const unsigned char *)key.p;
		k = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long)key.n);
	}
	return k;
}

static EVP_PKEY *key_read(enum sig_kind kind, struct str key, const char **why)
{
	EVP_PKEY *k = kind == SIG_RSA_SHA256 ? rsa_key(key) : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)key.p, key.n);
	*why = "the key cannot be read";
	if (k == NULL || kind == SIG_ED25519_SHA256)
		return k;
	const int bits = EVP_PKEY_bits(k);
	if (EVP_PKEY_base_id(k) == EVP_PKEY_RSA && bits >= SIG_RSA_BITS_MIN && bits <= SIG_RSA_BITS_MAX)
		return k;
	*why = EVP_PKEY_base_id(k) != EVP_PKEY_RSA ? "the key is of another kind" : bits < SIG_RSA_BITS_MIN ? "the RSA key is too short" : "the RSA key is too long";
	EVP_PKEY_free(k);
	return NULL;
}

static bool rsa_good(EVP_PKEY *k, const unsigned char hash[32], struct str sig)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k, NULL);
	const bool good = c != NULL && EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
			  EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 &&
			  EVP_PKEY_verify(c, (const unsigned char *)sig.p, sig.n, hash, 32) == 1;
	EVP_PKEY_CTX_free(c);
	return good;
}

/* RFC 8463 3: what is signed is the hash, as a message. */
static bool ed25519_good(EVP_PKEY *k, const unsigned char hash[32], struct str sig)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	const bool good = c != NULL && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
			  EVP_DigestVerify(c, (const unsigned char *)sig.p, sig.n, hash, 32) == 1;
	EVP_MD_CTX_free(c);
	return good;
}

enum sig_check sig_verify(enum sig_kind kind, struct str key, const unsigned char hash[32], struct str sig, const char **why)
{
	EVP_PKEY *k = key_read(kind, key, why);
	if (k == NULL) {
		ERR_clear_error();
		return SIG_KEY_USELESS;
	}
	const bool good = kind == SIG_RSA_SHA256 ? rsa_good(k, hash, sig) : ed25519_good(k, hash, sig);
	EVP_PKEY_free(k);
	ERR_clear_error();
	*why = good ? "" : "the signature does not fit";
	return good ? SIG_GOOD : SIG_BAD;
}
