/* TLS contexts. Only the tls_*.c files and keyprov.c include OpenSSL, and a program that uses nothing of this header links
 * none of it. A server context holds the certificate chain; signatures are asked of the key worker through a function
 * that the program sets (lib/ipc/key_client.h has it), so that no private key is ever in this process.
 *
 *	tls_sign_through(key_client_sign);			once
 *	tls_server_new(chain, "imap", &ctx, &e);		once; shared by forks
 *	tls_key_channel(fd);					per connection, before conn_starttls_server
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct tls_ctx;

/* Before all else, in a process that only starts TLS in forked children (a template): OpenSSL's memory is laid out so that children
 * share nearly all of it. No threads. */
void tls_share_memory(void);
/* chain: PEM text of the certificate chain. alpn: the one accepted name ("imap", "pop3"; "" none): a client that offers
 * only others gets no_application_protocol. TLS 1.2 and 1.3, ECDHE only, no renegotiation, no compression, no tickets. Returns owned. */
int tls_server_new(struct str chain_pem, const char *alpn, struct tls_ctx **out, struct err *e) MUST_CHECK;
/* Further certificates of a server, shown to clients that ask for one of their names (RFC 6066 3) in place of the first; before the process forks. name: "mail.example.org", or
 * ".example.org" for all below; in any case, with or without a dot at its end. Certificates of one name have different kinds of key, RSA, EC, Ed25519: the client's
 * abilities decide. A client that asks for no name or another one gets the first certificate. ERR_CONF: what is wrong; the context stays as it was. */
enum { TLS_NAME_MAX = 255, TLS_CERTS_MAX = 1000, TLS_NAMES_MAX = 10000, TLS_CERTS_OF_NAME_MAX = 3, TLS_CERT_SHA256 = 32 };
struct tls_cert;
int tls_server_cert(struct tls_ctx *t, struct str chain_pem, struct tls_cert **out, struct err *e) MUST_CHECK;	/* the context's */
int tls_server_also(struct tls_ctx *t, const struct tls_cert *const *certs, size_t n, struct err *e) MUST_CHECK;	/* beside the first, of other kinds of key */
int tls_server_name(struct tls_ctx *t, struct str name, const struct tls_cert *const *certs, size_t n, struct err *e) MUST_CHECK;
const unsigned char *tls_cert_sha256(const struct tls_cert *c);
bool tls_name_valid(struct str name);
/* Whose certificates clients may show to conn_starttls_server_asking (conn.h): authorities in the file (clients are told their names) and in the directory, by
 * names as c_rehash makes them; "": none. Both are read now, and complete our own chain where it is a lone certificate, as in Postfix. depth: certificates between
 * client and authority. */
int tls_server_believe(struct tls_ctx *t, const char *ca_file, const char *ca_dir, unsigned depth, struct err *e) MUST_CHECK;
/* Who a certificate says that the peer is. Text is the peer's: printable where it is ASCII, not more. */
enum { TLS_FINGERPRINT_MAX = 64 * 3, TLS_CN_MAX = 256 };
struct tls_cert_facts {
	bool trusted;			/* an authority that is believed vouches for it */
	const char *why;		/* it is not */
	char cert[TLS_FINGERPRINT_MAX], key[TLS_FINGERPRINT_MAX];	/* "AB:CD:…", of the certificate and of its public key */
	char subject[TLS_CN_MAX], issuer[TLS_CN_MAX];			/* common names; "": none */
};
/* The descriptor of a connection's channel to the key worker. conn_starttls_server remembers the one set last for its
 * connection; tls_self_test uses it as well. -1: signing fails. */
void tls_key_channel(int fd);
/* Ask for a signature and wait for it (the caller's deadline): scheme and tbs as for tls_key_sign; cert_sha256 names the key by its
 * certificate. */
typedef int tls_sign_fn(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max,
			size_t *sig_n_out, struct err *e);
void tls_sign_through(tls_sign_fn *fn);
/* verify: a handshake fails unless chain and name are right; else conn_tls_trust says what they were worth. ca_file NULL: the
 * system's; read now. */
int tls_client_new(bool verify, const char *ca_file, struct tls_ctx **out, struct err *e) MUST_CHECK;
/* The certificate chain (PEM) that a client shows to servers that ask for one; signatures are asked for on the channel that tls_key_channel set before the handshake. */
int tls_client_show(struct tls_ctx *t, struct str chain_pem, struct err *e) MUST_CHECK;
void tls_ctx_free(struct tls_ctx **t);

/* What a client wants of one server, for conn_starttls_client_peer (conn.h). */
enum { TLS_TLSA_MAX = 4096 };
struct tls_tlsa {		/* RFC 6698 2.1 */
	uint8_t usage, selector, matching;
	uint8_t data[TLS_TLSA_MAX];
	size_t n;
};
struct tls_peer {		/* all borrowed during the call */
	const char *sni;
	bool verify;		/* the handshake fails unless a believed authority vouches for one of names; ".example.com": any name below */
	const struct str *names;
	size_t n_names;
	const struct tls_tlsa *tlsa;	/* with any of usage 2 or 3 (RFC 7672 3.1) they take the authorities' place; names count for usage 2 */
	size_t n_tlsa;
};
/* HMAC-MD5 (RFC 2195), for CRAM-MD5. */
int tls_hmac_md5(struct str key, struct str text, unsigned char out[16]) MUST_CHECK;

/* --- for the key worker only (links OpenSSL, holds the key) --- */
struct tls_key;
int tls_key_load(struct str key_pem, struct tls_key **out, struct err *e) MUST_CHECK;
void tls_key_free(struct tls_key **k);
/* 0 when key and the first certificate of the chain belong together. */
int tls_key_matches(const struct tls_key *k, struct str chain_pem, struct err *e) MUST_CHECK;
/* Sign to-be-signed bytes with the named TLS signature scheme ("ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256",
 * "ed25519" …, RFC 8446 4.2.3). Refuses (ERR_DENIED) whatever is not exactly the TLS 1.3 server CertificateVerify form or the TLS 1.2
 * server key exchange form. sig at least TLS_SIG_MAX bytes; *sig_n_out its length. */
enum { TLS_SIG_MAX = 1024 };
int tls_key_sign(struct tls_key *k, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e) MUST_CHECK;
/* The same for what a client signs: TLS 1.3's client CertificateVerify form, or TLS 1.2's whole handshake up to there. */
int tls_key_sign_client(struct tls_key *k, const char *scheme, struct str tbs, unsigned char *sig, size_t *sig_n_out, struct err *e) MUST_CHECK;
int tls_client_tbs_version(struct str tbs);
/* The check alone; pure (fuzzed). 13 or 12: the TLS version whose form tbs has; -1: neither. */
int tls_tbs_version(struct str tbs);

/* --- for `postern check` --- */
struct tls_cert_info {
	const char *subject, *issuer;	/* one line each */
	struct str *names;		/* DNS subject alternative names */
	size_t n_names;
	int64_t not_before, not_after;	/* seconds since 1970 */
	int64_t days_left;		/* negative: expired */
	const char *key_type;		/* "RSA", "EC", "ED25519" */
	int key_bits;
	size_t chain_length;
	bool self_signed;
};
/* A chain's file with a private key in it. It is passed over when the chain is read, and not even decoded; whoever has read the file wipes its text. */
bool tls_holds_key(struct str pem);
/* About the first certificate of the chain; strings live in a. ERR_CONF when it cannot be read. */
int tls_cert_info(struct str chain_pem, struct arena *a, struct tls_cert_info *out, struct err *e) MUST_CHECK;
/* Does the certificate cover this host name (RFC 6125, wildcards included)? */
bool tls_cert_covers(const struct tls_cert_info *info, struct str host);

/* A P-256 key and a certificate for these host names that only itself signs, as PEM. For `postern setup`. */
int tls_self_signed(const struct str *names, size_t n, unsigned days, struct buf *cert_out, struct buf *key_out, struct err *e) MUST_CHECK;

/* Handshakes in memory (TLS 1.3 and 1.2) with this process' own context and the channel set by tls_key_channel: two signatures. The
 * start-up self test. */
int tls_self_test(struct tls_ctx *server, struct err *e) MUST_CHECK;
/* For a template, before it forks: handshakes in memory with a stand-in key, and one with this context up to its signature, which is
 * not asked for. What OpenSSL finds and builds on first use is then shared by all children. */
int tls_warm_up(struct tls_ctx *server, struct err *e) MUST_CHECK;

#endif
