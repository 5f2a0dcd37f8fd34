/* TLS as a filter of conn (OpenSSL 3): the state of one connection, its handshake, what it says of itself. Contexts and their policy are in tls_ctx.c, the server's
 * key is in another process (keyprov.c).
 *
 * OpenSSL reads the socket itself: one copy, from its record buffer to the loop's. Buffers are given back when empty, so an idle connection holds its keys and
 * little else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
};

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

int tls_channel(void)
{
	return key_fd;
}

static struct tls *of(const struct filter *f)
{
	return (struct tls *)(uintptr_t)f;
}

/* Messages after the handshake cost us work and bring nothing: a few are legitimate. */
void tls_on_message(int write_p, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
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
			   tls_unconst(sni)))
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
