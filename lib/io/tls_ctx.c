/* TLS contexts (OpenSSL 3): what is spoken, and what is shown.
 *
 * Policy: TLS 1.2 (RFC 5246) and 1.3 (RFC 8446); ephemeral key exchange on X25519, P-256, P-384; AEAD ciphers; no
 * compression, renegotiation, tickets, resumption or early data.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/arena.h"
#include "io/tls_priv.h"

enum {
	LEVEL_SERVER = 2, /* 112 bits: RSA from 2048 */
	LEVEL_CLIENT = 1,
};

static const char server_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
				     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char suites13[] =
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
/* What the key worker signs, best first. */
static const char sigalgs[] = "ed25519:ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:"
			      "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
			      "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";

/* RFC 7301 3.2, and no other protocol's client (ALPACA). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
		   const unsigned char *in, unsigned in_n, void *arg)
{
	const struct tls_ctx *t = arg;

	for (unsigned at = 0; at < in_n; at += 1u + in[at]) {
		if (at + 1u + in[at] <= in_n && t->alpn[0] && in[at] == t->alpn[0] &&
		    memcmp(in + at + 1, t->alpn + 1, in[at]) == 0) {
			*out = in + at + 1;
			*out_n = in[at];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *common(const SSL_METHOD *method, int level)
{
	tls_start_openssl();
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	SSL_CTX *ssl = SSL_CTX_new(method);
	if (!ssl)
		return NULL;
	SSL_CTX_set_security_level(ssl, level);
	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(ssl,
			    SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_msg_callback(ssl, tls_on_message);
	if (SSL_CTX_set_ciphersuites(ssl, suites13) &&
	    SSL_CTX_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, tls_unconst(groups)))
		return ssl;
	SSL_CTX_free(ssl);
	return NULL;
}

static int use_chain(SSL_CTX *ssl, struct str pem, struct err *e)
{
	STACK_OF(X509) *chain = tls_chain_read(pem, e);
	EVP_PKEY *key = NULL;
	int r = -1;

	if (!chain)
		return -1;
	X509 *leaf = sk_X509_value(chain, 0);
	if (!SSL_CTX_use_certificate(ssl, leaf)) {
		tls_err(e, ERR_CONF, "certificate");
		goto out;
	}
	for (int i = 1; i < sk_X509_num(chain); i++) {
		if (!SSL_CTX_add1_chain_cert(ssl, sk_X509_value(chain, i))) {
			tls_err(e, ERR_CONF, "certificate chain");
			goto out;
		}
	}
	if (keyprov_key(leaf, &key, e) < 0)
		goto out;
	if (!SSL_CTX_use_PrivateKey(ssl, key))
		tls_err(e, ERR_BUG, "remote key");
	else
		r = 0;
out:
	EVP_PKEY_free(key);
	tls_chain_free(&chain);
	return r;
}

SSL_CTX *tls_server_common(void)
{
	SSL_CTX *ssl = common(TLS_server_method(), LEVEL_SERVER);

	if (!ssl || !SSL_CTX_set_cipher_list(ssl, server_ciphers) ||
	    !SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SIGALGS_LIST, 0, tls_unconst(sigalgs))) {
		SSL_CTX_free(ssl);
		return NULL;
	}
	SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_num_tickets(ssl, 0);
	/* What is shown is what the file holds: OpenSSL would look for a lone certificate's issuer in each handshake. */
	SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
	return ssl;
}

int tls_server_new(struct str chain_pem, const char *alpn, struct tls_ctx **out, struct err *e)
{
	struct tls_ctx *t = xzalloc(sizeof(*t));
	size_t n = strlen(alpn);

	if (n > sizeof(t->alpn) - 1) {
		free(t);
		return err_set(e, ERR_BUG, 0, "ALPN name too long");
	}
	t->alpn[0] = (unsigned char)n;
	memcpy(t->alpn + 1, alpn, n);
	t->ssl = tls_server_common();
	if (!t->ssl) {
		tls_ctx_free(&t);
		return tls_err(e, ERR_BUG, "TLS context");
	}
	SSL_CTX_set_alpn_select_cb(t->ssl, on_alpn, t);
	if (use_chain(t->ssl, chain_pem, e) < 0) {
		tls_ctx_free(&t);
		return -1;
	}
	*out = t;
	return 0;
}

static int load_system_cas(SSL_CTX *ssl)
{
	static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt",
					       "/etc/pki/tls/certs/ca-bundle.crt",
					       "/etc/ssl/cert.pem" };

	/* A bundle is read now, before the process may be confined; a directory would be looked into later. */
	for (size_t i = 0; i < ARRAY_LEN(bundles); i++) {
		if (access(bundles[i], R_OK) == 0)
			return SSL_CTX_load_verify_file(ssl, bundles[i]);
	}
	return SSL_CTX_set_default_verify_paths(ssl);
}

static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	return 1; /* opportunistic: the result is kept for conn_tls_trust */
}

int tls_client_new(bool verify, const char *ca_file, struct tls_ctx **out, struct err *e)
{
	struct tls_ctx *t = xzalloc(sizeof(*t));

	t->verify = verify;
	t->ssl = common(TLS_client_method(), LEVEL_CLIENT);
	if (!t->ssl || !SSL_CTX_set_cipher_list(t->ssl, "HIGH:!aNULL:!eNULL:!PSK:!SRP")) {
		tls_ctx_free(&t);
		return tls_err(e, ERR_BUG, "TLS context");
	}
	int loaded = ca_file ? SSL_CTX_load_verify_file(t->ssl, ca_file) : load_system_cas(t->ssl);
	if (!loaded && (verify || ca_file)) {
		tls_ctx_free(&t);
		return tls_err(e, ERR_CONF, ca_file ? ca_file : "the system's CA certificates");
	}
	if (SSL_CTX_dane_enable(t->ssl) <= 0) {
		tls_ctx_free(&t);
		return tls_err(e, ERR_BUG, "TLS context");
	}
	ERR_clear_error();
	SSL_CTX_set_verify(t->ssl, SSL_VERIFY_PEER, verify ? NULL : on_verify);
	*out = t;
	return 0;
}

int tls_client_show(struct tls_ctx *t, struct str chain_pem, struct err *e)
{
	return use_chain(t->ssl, chain_pem, e);
}

void tls_ctx_free(struct tls_ctx **tp)
{
	struct tls_ctx *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	SSL_CTX_free(t->ssl);
	tls_names_free(&t->names);
	free(t);
}

SSL_CTX *tls_any_client(void)
{
	SSL_CTX *client = common(TLS_client_method(), LEVEL_CLIENT);

	if (client)
		SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
	return client;
}
