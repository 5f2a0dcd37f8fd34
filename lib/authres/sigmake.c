/* See sigmake.h. What goes wrong in libcrypto is told as one sentence; its error queue is emptied. */
#include "authres/sigmake.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/arena.h"

struct sign_key {
	EVP_PKEY *key;
	enum sig_kind kind;
};

static int failed(struct err *e, enum err_code code, const char *what)
{
	ERR_clear_error();
	return err_set(e, code, 0, "%s", what);
}

/* No key file has a password here: a prompt would wait for ever. */
static int no_password(char *buf, int size, int rw, void *ctx)
{
	(void)buf, (void)size, (void)rw, (void)ctx;
	return -1;
}

static int kind_of(EVP_PKEY *k, enum sig_kind *out)
{
	const int bits = EVP_PKEY_bits(k);
	if (EVP_PKEY_base_id(k) == EVP_PKEY_ED25519)
		*out = SIG_ED25519_SHA256;
	else if (EVP_PKEY_base_id(k) == EVP_PKEY_RSA && bits >= SIG_RSA_BITS_MIN && bits <= SIG_RSA_BITS_MAX)
		*out = SIG_RSA_SHA256;
	else
		return -1;
	return 0;
}

int sign_key_load(struct str pem, struct sign_key **out, struct err *e)
{
	enum sig_kind kind;
	BIO *b = pem.n > 0 && pem.n < INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
	BIO_free(b);
	if (k == NULL)
		return failed(e, ERR_CONF, "no private key can be read (PEM, without a password)");
	if (kind_of(k, &kind) < 0) {
		EVP_PKEY_free(k);
		return failed(e, ERR_CONF, "the key is neither RSA of 1024 to 8192 bits nor Ed25519");
	}
	*out = xzalloc(sizeof(**out));
	**out = (struct sign_key){ k, kind };
	return 0;
}

void sign_key_free(struct sign_key **k)
{
	if (*k == NULL)
		return;
	EVP_PKEY_free((*k)->key);
	xfree_p(k);
	*k = NULL;
}

enum sig_kind sign_key_kind(const struct sign_key *k)
{
	return k->kind;
}

static bool rsa_sign(const struct sign_key *k, const unsigned char hash[32], unsigned char *sig, size_t *n)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k->key, NULL);
	const bool good = c != NULL && EVP_PKEY_sign_init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
			  EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 && EVP_PKEY_sign(c, sig, n, hash, 32) == 1;
	EVP_PKEY_CTX_free(c);
	return good;
}

static bool ed25519_sign(const struct sign_key *k, const unsigned char hash[32], unsigned char *sig, size_t *n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	const bool good = c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, k->key) == 1 && EVP_DigestSign(c, sig, n, hash, 32) == 1;
	EVP_MD_CTX_free(c);
	return good;
}

int sign_hash(const struct sign_key *k, const unsigned char hash[32], struct buf *out, struct err *e)
{
	unsigned char sig[SIGNATURE_BYTES_MAX];
	size_t n = sizeof(sig);
	if (!(k->kind == SIG_RSA_SHA256 ? rsa_sign : ed25519_sign)(k, hash, sig, &n))
		return failed(e, ERR_BUG, "libcrypto could not sign");
	buf_mem(out, sig, n);
	return buf_check(out, "signature", e);
}

static EVP_PKEY *new_key(enum sig_kind kind, unsigned bits)
{
	EVP_PKEY *k = NULL;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(kind == SIG_RSA_SHA256 ? EVP_PKEY_RSA : EVP_PKEY_ED25519, NULL);
	bool good = c != NULL && EVP_PKEY_keygen_init(c) == 1;
	if (good && kind == SIG_RSA_SHA256)
		good = EVP_PKEY_CTX_set_rsa_keygen_bits(c, (int)bits) == 1;
	if (good && EVP_PKEY_keygen(c, &k) != 1)
		k = NULL;
	EVP_PKEY_CTX_free(c);
	return k;
}

int sign_key_make(enum sig_kind kind, unsigned bits, struct buf *pem_out, struct err *e)
{
	char *text = NULL;
	EVP_PKEY *k = new_key(kind, bits);
	BIO *b = k ? BIO_new(BIO_s_secmem()) : NULL;
	if (b && PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1) {
		const long n = BIO_get_mem_data(b, &text);
		buf_mem(pem_out, text, n > 0 ? (size_t)n : 0);
	}
	BIO_free(b);
	EVP_PKEY_free(k);
	return text == NULL ? failed(e, ERR_TEMP, "libcrypto could not make a key") : buf_check(pem_out, "key", e);
}

int sign_key_public(const struct sign_key *k, struct buf *out, struct err *e)
{
	unsigned char raw[32], *der = NULL;
	size_t raw_n = sizeof(raw);
	int n = 0;
	if (k->kind == SIG_ED25519_SHA256) {
		if (EVP_PKEY_get_raw_public_key(k->key, raw, &raw_n) != 1 || raw_n != sizeof(raw))
			return failed(e, ERR_BUG, "libcrypto gives no public key");
		buf_mem(out, raw, raw_n);
		return buf_check(out, "public key", e);
	}
	n = i2d_PUBKEY(k->key, &der);
	if (n <= 0)
		return failed(e, ERR_BUG, "libcrypto gives no public key");
	buf_mem(out, der, (size_t)n);
	OPENSSL_free(der);
	return buf_check(out, "public key", e);
}
