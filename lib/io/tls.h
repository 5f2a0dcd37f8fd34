/* TLS contexts; the only file that includes OpenSSL is tls.c (and keyprov.c, the provider). A server context holds the
 * certificate chain; signatures are asked of the key worker over a channel descriptor (lib/ipc/key.def), so that no
 * private key is ever in this process. The provider is loaded after "default" (ref/security.md F4).
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct tls_ctx;

/* chain: PEM text of the certificate chain. alpn: the one accepted name ("imap", "pop3"; "" none): a client that offers
 * only others gets no_application_protocol. TLS 1.2 and 1.3, ECDHE only, no renegotiation, no compression, no tickets. Returns owned. */
int tls_server_new(struct str chain_pem, const char *alpn, struct tls_ctx **out, struct err *e) MUST_CHECK;
/* The descriptor of this connection's channel to the key worker, per process (isolated) or switched before each
 * handshake step (shared): the provider signs through the one set last. -1: signing fails. */
void tls_key_channel(int fd);
/* verify: check chain and name. ca_file NULL: the system's. */
int tls_client_new(bool verify, const char *ca_file, struct tls_ctx **out, struct err *e) MUST_CHECK;
void tls_ctx_free(struct tls_ctx **t);

/* --- for the key worker only (links OpenSSL, holds the key) --- */
struct tls_key;
int tls_key_load(struct str key_pem, struct tls_key **out, struct err *e) MUST_CHECK;
void tls_key_free(struct tls_key **k);
/* 0 when key and the first certificate of the chain belong together. */
int tls_key_matches(const struct tls_key *k, struct str chain_pem, struct err *e) MUST_CHECK;
/* Sign to-be-signed bytes with the named TLS signature scheme ("ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256",
 * "ed25519" …, RFC 8446 4.2.3). Refuses (ERR_DENIED) whatever is not exactly the TLS 1.3 server CertificateVerify form or the TLS 1.2
 * server key exchange form (ref/security.md H3). sig at least 1024 bytes; *sig_n_out its length. */
int tls_key_sign(struct tls_key *k, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e) MUST_CHECK;

/* One handshake in memory with this process' own context; the start-up self test. */
int tls_self_test(struct tls_ctx *server, struct err *e) MUST_CHECK;

#endif
