/* TLS as a filter of conn (OpenSSL 3). Owns the contexts, their policy and the state of one TLS connection; the server's
 * key is in another process (keyprov.c).
 *
 * Policy: TLS 1.2 (RFC 5246) and 1.3 (RFC 8446); ephemeral key exchange on X25519, P-256, P-384; AEAD ciphers; no
 * compression, renegotiation, tickets, resumption or early data. OpenSSL reads the socket itself: one copy, from its record
 * buffer to the loop's. Buffers are given back when empty, so an idle connection holds its keys and little else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/arena.h"
#include "base/clock.h"
#include "io/conn_priv.h"
#include "io/tls_priv.h"

enum {
	HANDSHAKE_MS = 15000,
	AFTER_MAX =
		32, /* handshake messages (KeyUpdate, ClientHello) per window after the handshake */
	AFTER_WINDOW_MS = 60000,
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

struct tls {
	struct filter f;
	SSL *ssl;
	const struct tls_ctx *ctx;
	int key_fd;
	bool done; /* handshake is over */
	bool flood;
	unsigned after;
	uint64_t after_since;
};

static int key_fd = -1; /* for the connection that starts TLS next */

void tls_key_channel(int fd)
{
	key_fd = fd;
}

static struct tls *of(const struct filter *f)
{
	return (struct tls *)(uintptr_t)f;
}

/* --- contexts --- */

/* OpenSSL's controls take void *, and only read. */
static void *unconst(const char *s)
{
	return (void *)(uintptr_t)s;
}

/* Messages after the handshake cost us work and bring nothing: a few are legitimate. */
static void on_message(int write_p, int version, int type, const void *p, size_t n, SSL *ssl,
		       void *arg)
{
	struct tls *t = arg;

	if (write_p || type != SSL3_RT_HANDSHAKE || !t || !t->done)
		return;
	uint64_t now = clock_mono_ms();
	if (now - t->after_since > AFTER_WINDOW_MS) {
		t->after_since = now;
		t->after = 0;
	}
	if (++t->after > AFTER_MAX)
		t->flood = true;
}

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
	SSL_CTX_set_msg_callback(ssl, on_message);
	if (SSL_CTX_set_ciphersuites(ssl, suites13) &&
	    SSL_CTX_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, unconst(groups)))
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

static SSL_CTX *server_common(void)
{
	SSL_CTX *ssl = common(TLS_server_method(), LEVEL_SERVER);

	if (!ssl || !SSL_CTX_set_cipher_list(ssl, server_ciphers) ||
	    !SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SIGALGS_LIST, 0, unconst(sigalgs))) {
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
	t->ssl = server_common();
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

/* --- the filter --- */

/* What a failed operation means: FILTER_AGAIN, FILTER_EOF, or FILTER_ERROR with *e filled. */
static int meaning(struct tls *t, int r, const char *what, struct err *e)
{
	int sys = errno;

	t->f.want = 0;
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return FILTER_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->f.want = LOOP_WRITE;
		return FILTER_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return FILTER_EOF;
	case SSL_ERROR_SYSCALL:
		err_set(e, ERR_CLOSED, sys, "%s", what);
		return FILTER_ERROR;
	default:
		break;
	}
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		err_set(e, ERR_CLOSED, 0,
			t->done ? "closed without TLS close-notify"
				: "closed during the TLS handshake");
	} else {
		const bool refused = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
		tls_err(e, ERR_INPUT, what);
		if (refused)	/* why it was: no OpenSSL reason says so */
			(void)err_wrap(e, "%s", X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
	}
	return FILTER_ERROR;
}

static ssize_t tls_read(struct filter *f, void *p, size_t n, struct err *e)
{
	struct tls *t = of(f);

	ERR_clear_error();
	int r = SSL_read(t->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	f->want = 0;
	if (t->flood) {
		err_set(e, ERR_INPUT, 0, "too many TLS handshake messages");
		return FILTER_ERROR;
	}
	return r > 0 ? r : meaning(t, r, "TLS read", e);
}

static ssize_t tls_write(struct filter *f, const void *p, size_t n, bool more, struct err *e)
{
	struct tls *t = of(f);

	ERR_clear_error();
	int r = SSL_write(t->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	f->want = 0;
	if (r > 0)
		return r;
	int m = meaning(t, r, "TLS write", e);
	if (m == FILTER_EOF) {
		err_set(e, ERR_CLOSED, 0, "TLS write after the end");
		return FILTER_ERROR;
	}
	return m;
}

static int tls_setup(struct filter *f, struct err *e)
{
	struct tls *t = of(f);

	ERR_clear_error();
	keyprov_forget_error();		/* another connection's */
	keyprov_channel = t->key_fd;
	int r = SSL_do_handshake(t->ssl);
	keyprov_channel = -1;
	f->want = 0;
	if (r == 1) {
		t->done = true;
		return 0;
	}
	int m = meaning(t, r, "TLS handshake", e);
	if (m == FILTER_ERROR && e && keyprov_last_error()[0]) {
		err_wrap(e, "%s", keyprov_last_error());
		e->code = ERR_TEMP;	/* the peer has done nothing wrong */
	}
	return m == FILTER_EOF ? FILTER_ERROR : m;
}

static int tls_finish(struct filter *f, struct err *e)
{
	struct tls *t = of(f);

	if (!t->done)
		return 0;
	ERR_clear_error();
	int r = SSL_shutdown(t->ssl);
	f->want = 0;
	if (r >= 0)
		return 0;
	return meaning(t, r, "TLS end", e) == FILTER_AGAIN && f->want ? FILTER_AGAIN : 0;
}

static bool tls_pending(const struct filter *f)
{
	return SSL_has_pending(of(f)->ssl) == 1;
}

static void tls_free(struct filter *f)
{
	SSL_free(of(f)->ssl);
	free(of(f));
}

static const char *tls_version(const struct filter *f)
{
	return SSL_get_version(of(f)->ssl);
}

static const char *tls_cipher(const struct filter *f)
{
	return SSL_get_cipher_name(of(f)->ssl);
}

static int tls_bits(const struct filter *f)
{
	return SSL_get_cipher_bits(of(f)->ssl, NULL);
}

static const char *tls_trust(const struct filter *f)
{
	SSL *ssl = of(f)->ssl;
	long result = SSL_get_verify_result(ssl);

	if (SSL_is_server(ssl))
		return !SSL_get0_peer_certificate(ssl) ? "Anonymous" : result == X509_V_OK ? "Trusted" : "Untrusted";
	return result == X509_V_OK			? "Verified"
	       : result == X509_V_ERR_HOSTNAME_MISMATCH ? "Trusted"
							: "Untrusted";
}

static int tls_binding(const struct filter *f, unsigned char out[32])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	SSL *ssl = of(f)->ssl;

	/* RFC 9266 4.2: under 1.2 only when the master secret is bound to the session (RFC 7627). */
	if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
		return -1;
	return SSL_export_keying_material(ssl, out, 32, label, sizeof(label) - 1, NULL, 0, 1) == 1
		       ? 0
		       : -1;
}

static int tls_fingerprints(const struct filter *f, unsigned char cert[32], unsigned char key[32])
{
	return tls_peer_fingerprints(of(f)->ssl, cert, key);
}

static int tls_cert(const struct filter *f, const char *digest, struct tls_cert_facts *out)
{
	return tls_cert_facts(of(f)->ssl, digest, out);
}

static const char *tls_name(const struct filter *f)
{
	return SSL_is_server(of(f)->ssl) ? tls_name_of(of(f)->ssl, of(f)->ctx) : "";
}

static const struct filter_tls tls_facts = { .version = tls_version,
					     .cipher = tls_cipher,
					     .bits = tls_bits,
					     .trust = tls_trust,
					     .name = tls_name,
					     .binding = tls_binding,
					     .fingerprints = tls_fingerprints,
					     .cert = tls_cert };
static const struct filter_ops tls_ops = { .read = tls_read,
					   .write = tls_write,
					   .setup = tls_setup,
					   .finish = tls_finish,
					   .pending = tls_pending,
					   .free = tls_free,
					   .tls = &tls_facts };

static struct tls *tls_new(struct conn *c, const struct tls_ctx *ctx)
{
	struct tls *t = xzalloc(sizeof(*t));

	t->f.ops = &tls_ops;
	t->f.setup_ms = HANDSHAKE_MS;
	t->ctx = ctx;
	t->key_fd = -1;
	t->ssl = SSL_new(ctx->ssl);
	if (t->ssl && SSL_set_fd(t->ssl, c->fd)) {
		SSL_set_msg_callback_arg(t->ssl, t);
		return t;
	}
	tls_free(&t->f);
	conn_fail(c, "TLS: no memory for a connection");
	return NULL;
}

static void start_server(struct conn *c, struct tls_ctx *ctx, bool ask, bool *dropped_out)
{
	if (dropped_out != NULL)
		*dropped_out = conn_input(c).n > 0;
	conn_drop_input(c);
	struct tls *t = tls_new(c, ctx);
	if (!t)
		return;
	t->key_fd = key_fd;
	SSL_set_accept_state(t->ssl);
	if (ask)
		tls_ask_client(t->ssl);
	conn_push(c, &t->f);
}

void conn_starttls_server(struct conn *c, struct tls_ctx *ctx, bool *dropped_out)
{
	start_server(c, ctx, false, dropped_out);
}

void conn_starttls_server_asking(struct conn *c, struct tls_ctx *ctx, bool *dropped_out)
{
	start_server(c, ctx, true, dropped_out);
}

void conn_starttls_client_peer(struct conn *c, struct tls_ctx *ctx, const struct tls_peer *p)
{
	const char *sni = p->sni;
	struct err e = { 0 };

	conn_drop_input(c);
	struct tls *t = tls_new(c, ctx);
	if (!t)
		return;
	t->key_fd = key_fd;
	SSL_set_connect_state(t->ssl);
	/* OpenSSL checks the name during the handshake; an address is no name for SNI (RFC 6066 3). */
	const bool address =
		sni && (strchr(sni, ':') || strspn(sni, "0123456789.") == strlen(sni));
	if (tls_client_demand(t->ssl, p, &e) < 0)
		conn_fail(c, e.text);
	else if (sni && *sni && !address &&
		 !SSL_ctrl(t->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
			   unconst(sni)))
		conn_fail(c, "TLS: unusable server name");
	conn_push(c, &t->f);
}

void conn_starttls_client(struct conn *c, struct tls_ctx *ctx, const char *sni)
{
	const struct str name = str_c(sni ? sni : "");

	conn_starttls_client_peer(c, ctx,
				  &(struct tls_peer){ .sni = sni,
						      .verify = ctx->verify,
						      .names = &name,
						      .n_names = name.n > 0 });
}

/* --- handshakes in memory: the start-up self test, and warming up --- */

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

static SSL_CTX *any_client(void)
{
	SSL_CTX *client = common(TLS_client_method(), LEVEL_CLIENT);

	if (client)
		SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
	return client;
}

int tls_self_test(struct tls_ctx *server, struct err *e)
{
	SSL_CTX *client = any_client();

	if (!client)
		return tls_err(e, ERR_TEMP, "TLS self test");
	keyprov_channel = key_fd;
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
	SSL_CTX *client = any_client(), *stand_in = server_common();
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
