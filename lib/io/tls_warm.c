/* Handshakes in memory: the self test of a process that starts, and what OpenSSL finds and builds on first use, before others are forked. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "io/tls_priv.h"

static int step(SSL *ssl, const char *who, struct err *e)
{
	ERR_clear_error();
	int r = SSL_do_handshake(ssl), why = SSL_get_error(ssl, r);

	if (r == 1)
		return 0;
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return 1;
	tls_err(e, ERR_TEMP, who);
	return keyprov_last_error()[0] ? err_wrap(e, "%s", keyprov_last_error()) : -1;
}

static int shake(SSL *server, SSL *client, struct err *e)
{
	char word[8];

	for (int i = 0; i < 20; i++) {
		int c = step(client, "TLS handshake in memory, client", e);
		if (c < 0)
			return -1;
		int s = step(server, "TLS handshake in memory, server", e);
		if (s < 0)
			return -1;
		if (c == 0 && s == 0)
			return SSL_write(client, "hello", 5) == 5 &&
					       SSL_read(server, word, 5) == 5 &&
					       SSL_write(server, word, 5) == 5
				       ? 0
				       : tls_err(e, ERR_BUG, "TLS in memory");
	}
	return err_set(e, ERR_BUG, 0, "TLS handshake in memory: no end");
}

static int shake_version(SSL_CTX *server_ctx, const unsigned char *alpn, SSL_CTX *client_ctx,
			 int version, struct err *e)
{
	SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
	BIO *a = NULL, *b = NULL;
	int r = -1;

	if (!server || !client || !BIO_new_bio_pair(&a, 0, &b, 0)) {
		tls_err(e, ERR_TEMP, "TLS handshake in memory");
		goto out;
	}
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	SSL_set_max_proto_version(client, version);
	if (alpn[0])
		SSL_set_alpn_protos(client, alpn, 1u + alpn[0]);
	r = shake(server, client, e);
	if (r == 0 && SSL_version(client) != version)
		r = err_set(e, ERR_BUG, 0, "TLS handshake in memory: wrong version");
out:
	SSL_free(server);
	SSL_free(client);
	return r;
}

int tls_self_test(struct tls_ctx *server, struct err *e)
{
	SSL_CTX *client = tls_any_client();

	if (!client)
		return tls_err(e, ERR_TEMP, "TLS self test");
	keyprov_channel = tls_channel();
	int r = shake_version(server->ssl, server->alpn, client, TLS1_3_VERSION, e);
	if (r == 0)
		r = shake_version(server->ssl, server->alpn, client, TLS1_2_VERSION, e);
	keyprov_channel = -1;
	SSL_CTX_free(client);
	return r;
}

/* A certificate for a key that nobody will see again. */
static int use_stand_in(SSL_CTX *ssl)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	int ok = key && x && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
		 X509_gmtime_adj(X509_getm_notAfter(x), 60) && X509_set_pubkey(x, key) &&
		 X509_sign(x, key, EVP_sha256()) > 0 && SSL_CTX_use_certificate(ssl, x) &&
		 SSL_CTX_use_PrivateKey(ssl, key);

	X509_free(x);
	EVP_PKEY_free(key);
	return ok;
}

int tls_warm_up(struct tls_ctx *server, struct err *e)
{
	static const unsigned char none[1];
	SSL_CTX *client = tls_any_client(), *stand_in = tls_server_common();
	int r = -1;

	if (!client || !stand_in || !use_stand_in(stand_in)) {
		tls_err(e, ERR_TEMP, "TLS warm-up");
	} else {
		/* This one fails where the key worker would be asked. */
		keyprov_channel = -1;
		(void)shake_version(server->ssl, server->alpn, client, TLS1_3_VERSION, NULL);
		r = shake_version(stand_in, none, client, TLS1_3_VERSION, e);
		if (r == 0)
			r = shake_version(stand_in, none, client, TLS1_2_VERSION, e);
	}
	SSL_CTX_free(client);
	SSL_CTX_free(stand_in);
	keyprov_forget_error();
	return r;
}
