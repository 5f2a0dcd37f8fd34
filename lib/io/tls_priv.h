/* Inside lib/io, between the files that know OpenSSL. */
#ifndef IO_TLS_PRIV_H
#define IO_TLS_PRIV_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "io/tls.h"

struct tls_ctx {
	SSL_CTX *ssl;
	bool verify;
	unsigned char alpn[1 + 32]; /* length and name, as on the wire; length 0: none */
	struct tls_names *names;    /* NULL: one certificate for all */
};

/* tls_asked.c */
void tls_ask_client(SSL *ssl);
int tls_cert_facts(SSL *ssl, const char *digest, struct tls_cert_facts *out) MUST_CHECK;

/* OpenSSL's controls take void *, and only read. */
static inline void *tls_unconst(const char *s)
{
	return (void *)(uintptr_t)s;
}

/* tls.c */
void tls_on_message(int write_p, int version, int type, const void *p, size_t n, SSL *ssl, void *arg); /* of every context */
int tls_channel(void); /* set last by tls_key_channel() */

/* tls_ctx.c */
SSL_CTX *tls_server_common(void); /* without a certificate; NULL: no memory */
SSL_CTX *tls_any_client(void);	  /* believes everybody */

/* tls_names.c */
const char *tls_name_of(SSL *ssl, const struct tls_ctx *t); /* conn_tls_name() */
void tls_names_free(struct tls_names **n);

/* tls_text.c */
void tls_start_openssl(void); /* before any other use */
int tls_err(struct err *e, enum err_code code, const char *what); /* -1, with OpenSSL's reason */
/* The certificates of a PEM text, at most TLS_CHAIN_MAX; returns owned. */
enum { TLS_CHAIN_MAX = 16, TLS_PEM_MAX = 1 << 20 };
STACK_OF(X509) * tls_chain_read(struct str pem, struct err *e);
void tls_chain_free(STACK_OF(X509) * *chain);

/* tls_client.c */
int tls_client_demand(SSL *ssl, const struct tls_peer *p, struct err *e) MUST_CHECK; /* before the handshake */
int tls_peer_fingerprints(SSL *ssl, unsigned char cert[32], unsigned char key[32]) MUST_CHECK;

/* keyprov.c */
/* A key whose signatures are asked of the function of tls_sign_through(). Returns owned. */
int keyprov_key(X509 *cert, EVP_PKEY **out, struct err *e) MUST_CHECK;
extern int keyprov_channel; /* of the handshake that is being stepped; -1: signing fails */
void keyprov_forget_error(void);
const char *keyprov_last_error(void); /* why the last signature failed; "" */

#endif
