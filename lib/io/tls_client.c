/* What a TLS client demands of one server: names under a believed authority (RFC 6125), or TLSA records (RFC 6698, 7671, 7672); and what identifies the server
 * afterwards. */
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "io/tls_priv.h"

enum { NAME_MAX_ = 256, USAGE_TA = 2, USAGE_EE = 3 };

static int add_name(SSL *ssl, struct str name, bool first)
{
	char text[NAME_MAX_];

	if (name.n == 0 || name.n >= sizeof(text))
		return 0;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	return first ? SSL_set1_host(ssl, text) : SSL_add1_host(ssl, text);
}

/* Records that OpenSSL can use; others (certificate usages of the web) are left aside (RFC 7672 3.1.3). */
static int add_tlsa(SSL *ssl, const struct tls_peer *p)
{
	int usable = 0;

	for (size_t i = 0; i < p->n_tlsa; i++) {
		const struct tls_tlsa *t = &p->tlsa[i];
		if (t->usage == USAGE_TA || t->usage == USAGE_EE)
			usable += SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching, t->data, t->n) > 0;
	}
	return usable;
}

/* NULL would leave the context's forgiving callback in force. */
static int on_verify_strict(int ok, X509_STORE_CTX *ctx)
{
	return ok;
}

int tls_client_demand(SSL *ssl, const struct tls_peer *p, struct err *e)
{
	const char *base = p->sni ? p->sni : "";
	bool first = true;

	if (p->n_tlsa > 0) {
		if (SSL_dane_enable(ssl, base) <= 0)
			return tls_err(e, ERR_INPUT, "TLSA");
		SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
		if (add_tlsa(ssl, p) == 0)
			return err_set(e, ERR_INPUT, 0, "no usable TLSA record");
		first = false;	/* dane_enable has set the base name */
	}
	for (size_t i = 0; i < p->n_names; i++) {
		if (!add_name(ssl, p->names[i], first))
			return err_set(e, ERR_INPUT, 0, "unusable server name");
		first = false;
	}
	if (first && p->verify)
		return err_set(e, ERR_INPUT, 0, "no server name to verify");
	if (first && *base && !add_name(ssl, str_c(base), true))
		return err_set(e, ERR_INPUT, 0, "unusable server name");
	if (p->verify || p->n_tlsa > 0)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify_strict);
	return 0;
}

int tls_peer_fingerprints(SSL *ssl, unsigned char cert[32], unsigned char key[32])
{
	X509 *x = SSL_get0_peer_certificate(ssl);
	unsigned char *der = NULL;
	unsigned n = 32;

	if (!x || X509_digest(x, EVP_sha256(), cert, &n) != 1)
		return -1;
	const int der_n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	const int ok = der_n > 0 && EVP_Digest(der, (size_t)der_n, key, &n, EVP_sha256(), NULL) == 1;
	OPENSSL_free(der);
	return ok ? 0 : -1;
}

int tls_hmac_md5(struct str key, struct str text, unsigned char out[16])
{
	unsigned n = 16;

	tls_start_openssl();
	return HMAC(EVP_md5(), key.p, (int)key.n, (const unsigned char *)text.p, text.n, out, &n) && n == 16 ? 0 : -1;
}
