/* Certificates by name (RFC 6066 3): which one a client gets for what it asks for, and what a table refuses. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "base/buf.h"
#include "io/conn.h"
#include "io/tls.h"
#include "test/tap.h"

enum { PEM_MAX = 16384, KEYS = 8 };

static struct loop *loop;

/* A certificate and its key, which the worker of these tests finds by the certificate. */
struct pair {
	char chain[PEM_MAX];
	struct tls_key *key;
	struct tls_cert *cert;
	unsigned char sha256[TLS_CERT_SHA256];
};
static struct pair pairs[KEYS];
enum { FIRST, NET, BELOW, NET_RSA, TWO, TWO_RSA };

static int sign(int channel, const char *scheme, struct str tbs, struct str cert_sha256, unsigned char *sig, size_t sig_max, size_t *sig_n_out, struct err *e)
{
	for (size_t i = 0; i < KEYS; i++)
		if (pairs[i].key && str_eq(cert_sha256, str_n(pairs[i].sha256, TLS_CERT_SHA256)))
			return tls_key_sign(pairs[i].key, scheme, tbs, sig, sig_n_out, e);
	return err_set(e, ERR_DENIED, 0, "no such key");
}

static void make(struct pair *p, const char *kind)
{
	EVP_PKEY *key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : strcmp(kind, "RSA1024") == 0 ? EVP_RSA_gen(1024) : EVP_EC_gen(kind);
	X509 *x = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	struct err e = { 0 };
	char *text;

	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	X509_digest(x, EVP_sha256(), p->sha256, NULL);
	PEM_write_bio_X509(bio, x);
	long n = BIO_get_mem_data(bio, &text);
	snprintf(p->chain, sizeof(p->chain), "%.*s", (int)n, text);
	(void)BIO_reset(bio);
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &text);
	if (tls_key_load(str_n(text, (size_t)n), &p->key, &e) < 0)
		tap_diag("%s", e.text);		/* of those that are to be refused */
	BIO_free(bio);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* --- one handshake --- */

static char server_name[300];
static unsigned ended;

static void on_server(void *ctx, struct conn *c, enum conn_event ev)
{
	if (ev == CONN_EV_SECURED)
		(void)snprintf(server_name, sizeof(server_name), "%s", conn_tls_name(c));
	if (ev == CONN_EV_ERROR || (ev == CONN_EV_SECURED && ++ended == 2))
		loop_stop(loop);
}

static void on_client(void *ctx, struct conn *c, enum conn_event ev)
{
	if (ev == CONN_EV_ERROR || (ev == CONN_EV_SECURED && ++ended == 2))
		loop_stop(loop);
}

/* Which of the pairs a client is shown that asks for sni; -1: none, the handshake fails. */
static int asked(struct tls_ctx *server, struct tls_ctx *client, const char *sni)
{
	static const struct conn_limits limits = { .in_max = 16384, .out_high = 65536, .out_max = 1 << 22 };
	unsigned char cert[32], key[32];
	int sv[2], which = -1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	struct conn *s = conn_new(loop, sv[0], &limits, on_server, NULL), *c = conn_new(loop, sv[1], &limits, on_client, NULL);
	server_name[0] = '\0';
	ended = 0;
	conn_starttls_server(s, server, NULL);
	conn_starttls_client(c, client, sni);
	loop_run(loop);
	if (ended == 2 && conn_tls_fingerprints(c, cert, key) == 0)
		for (int i = 0; i < KEYS; i++)
			which = memcmp(pairs[i].sha256, cert, 32) == 0 ? i : which;
	conn_free(&s);
	conn_free(&c);
	return which;
}

static void add(struct tls_ctx *t, const char *name, int first, int second)
{
	struct err e = { 0 };
	const struct tls_cert *of[2] = { NULL };
	const int use[2] = { first, second };
	size_t n = 0;

	for (int i = 0; i < 2 && use[i] > 0; i++) {
		struct pair *p = &pairs[use[i]];
		if (p->cert == NULL && tls_server_cert(t, str_c(p->chain), &p->cert, &e) < 0)
			tap_ok(false, "certificate of %s: %s", name, e.text);
		of[n++] = p->cert;
	}
	tap_is_int(tls_server_name(t, str_c(name), of, n, &e), 0, "%s is taken %s", name, e.text);
}

/* --- what is shown --- */

static void by_name(struct tls_ctx *server, struct tls_ctx *client)
{
	static const struct {
		const char *sni;
		int which;
		bool named;
	} cases[] = {
		{ NULL, FIRST, false },
		{ "", FIRST, false },
		{ "mail.example.com", FIRST, false },
		{ "mail.example.net", NET, true },
		{ "MAIL.Example.NET", NET, true },
		{ "mail.example.net.", NET, true },
		{ "example.net", FIRST, false },
		{ "xmail.example.net", FIRST, false },
		{ "a.mail.example.net", FIRST, false },
		{ "a.example.org", BELOW, true },
		{ "a.b.c.example.org", BELOW, true },
		{ "example.org", FIRST, false },
		{ "special.example.org", NET_RSA, true },
		{ "a.special.example.org", BELOW, true },
		{ ".example.org", FIRST, false },
		{ "a..example.org", FIRST, false },
		{ "a.example.org..", FIRST, false },
		{ "*.example.org", FIRST, false },
		{ "../../etc/passwd", FIRST, false },
		{ "a b.example.org", FIRST, false },
		{ "\xc3\xbc.example.org", FIRST, false },
		{ "xn--tda.example.org", BELOW, true },
		{ "192.0.2.1", FIRST, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *sni = cases[i].sni;

		tap_is_int(asked(server, client, sni), cases[i].which, "%s: its certificate", sni ? sni : "no name");
		tap_is_str(server_name, cases[i].named ? sni : "", "and the server knows that it was asked for");
	}
}

static void long_names(struct tls_ctx *server, struct tls_ctx *client)
{
	static const char end[] = ".example.org";
	char name[256];

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = i % 2 ? '.' : 'a';
	memcpy(name + sizeof(name) - sizeof(end), end, sizeof(end));
	name[sizeof(name) - sizeof(end) - 1] = 'b';
	tap_is_int(asked(server, client, name), BELOW, "a name of 255 bytes and as many labels as there can be");
	name[0] = '\xff';
	tap_is_int(asked(server, client, name), FIRST, "a byte that is in no name");
}

/* --- two kinds of key --- */

static void *unconst(const char *s)
{
	return (void *)(uintptr_t)s;
}

/* Bytes that a client of OpenSSL's sees: the kind of key it is shown for the name. */
static int kind_shown(struct tls_ctx *server, const char *sni, const char *sigalgs)
{
	static const struct conn_limits limits = { .in_max = 16384, .out_high = 65536, .out_max = 1 << 22 };
	int sv[2], status = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	const pid_t pid = fork();
	if (pid == 0) {
		close(sv[0]);
		alarm(20);
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		if (!SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SIGALGS_LIST, 0, unconst(sigalgs)))
			_exit(99);
		SSL *ssl = SSL_new(ctx);
		SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, unconst(sni));
		SSL_set_fd(ssl, sv[1]);
		if (SSL_connect(ssl) != 1)
			_exit(1);
		_exit(EVP_PKEY_is_a(X509_get0_pubkey(SSL_get0_peer_certificate(ssl)), "RSA") ? 10 : 20);
	}
	close(sv[1]);
	struct conn *s = conn_new(loop, sv[0], &limits, on_server, NULL);
	ended = 1;
	conn_starttls_server(s, server, NULL);
	loop_run(loop);
	conn_free(&s);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void two_kinds(struct tls_ctx *server)
{
	tap_is_int(kind_shown(server, "two.example.net", "ECDSA+SHA256:RSA-PSS+SHA256"), 20, "of two the faster kind for a client that knows both");
	tap_is_int(kind_shown(server, "two.example.net", "RSA-PSS+SHA256"), 10, "the other for one that knows that alone");
	tap_is_int(kind_shown(server, "special.example.org", "ECDSA+SHA256:RSA-PSS+SHA256"), 10, "of one kind that, and never the first certificate's");
	tap_is_int(kind_shown(server, "special.example.org", "ECDSA+SHA256"), 1, "and no handshake for a client that does not know it");
	tap_is_int(kind_shown(server, "none.example.com", "ECDSA+SHA256"), 20, "while the first certificate is there for others");
}

/* --- what a table refuses --- */

static void refused(struct tls_ctx *server)
{
	static struct pair weak, curve;
	const struct tls_cert *both[] = { pairs[NET].cert, pairs[TWO].cert }, *four[] = { pairs[NET].cert, pairs[NET_RSA].cert, pairs[NET].cert, pairs[NET].cert };
	static const char *const names[] = { "", ".", "..", "a..b", "*.example.org", "..example.org",
		"a/b", "\xc3\xbc.example.org", "a b", "mail.example.net", "Mail.Example.Net.", ".example.org" };
	struct tls_cert *c = NULL;
	struct err e = { 0 };
	char name[400];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		tap_ok(tls_server_name(server, str_c(names[i]), both, 1, &e) < 0, "no key of a table, or there already: '%s': %s", names[i], e.text);
	memset(name, 'a', sizeof(name));
	tap_ok(tls_server_name(server, str_n(name, 256), both, 1, &e) < 0, "256 bytes: %s", e.text);
	tap_ok(tls_server_name(server, STR("b.example.net"), both, 2, &e) < 0, "two of one kind: %s", e.text);
	tap_ok(tls_server_name(server, STR("b.example.net"), four, 4, &e) < 0, "four: %s", e.text);
	tap_ok(tls_server_name(server, STR("b.example.net"), four, 0, &e) < 0, "none: %s", e.text);
	make(&weak, "RSA1024");
	make(&curve, "P-521");
	tap_ok(tls_server_cert(server, str_c(weak.chain), &c, &e) < 0, "a weak key: %s", e.text);
	tap_ok(tls_server_cert(server, str_c(curve.chain), &c, &e) < 0, "a curve that nobody signs on: %s", e.text);
	tap_ok(tls_server_cert(server, STR("rubbish"), &c, &e) < 0, "no certificate: %s", e.text);
	tap_ok(c == NULL, "and nothing comes back");
}

static void limits_hold(struct tls_ctx *server)
{
	const struct tls_cert *const one[] = { pairs[NET].cert };
	struct tls_cert *c;
	struct err e = { 0 };
	char name[64];
	int n_names = 0, n_certs = 0;

	do {
		(void)snprintf(name, sizeof(name), "n%d.example.edu", n_names);
	} while (tls_server_name(server, str_c(name), one, 1, &e) == 0 && ++n_names < 2 * TLS_NAMES_MAX);
	tap_ok(n_names > TLS_NAMES_MAX - 10 && n_names <= TLS_NAMES_MAX, "%d names, then: %s", n_names, e.text);
	while (tls_server_cert(server, str_c(pairs[NET].chain), &c, &e) == 0 && ++n_certs < 2 * TLS_CERTS_MAX)
		;
	tap_ok(n_certs > TLS_CERTS_MAX - 10 && n_certs <= TLS_CERTS_MAX, "%d certificates, then: %s", n_certs, e.text);
}

int main(void)
{
	static const char *const kinds[] = { [FIRST] = "P-256", [NET] = "P-256", [BELOW] = "P-384", [NET_RSA] = "RSA", [TWO] = "P-256", [TWO_RSA] = "RSA" };
	struct tls_ctx *server = NULL, *client = NULL;
	struct err e = { 0 };

	alarm(60);
	loop = loop_new();
	tls_sign_through(sign);
	tls_key_channel(0);
	/* The library starts OpenSSL, not the first key that this test makes. */
	const int made = tls_client_new(false, NULL, &client, &e);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		make(&pairs[i], kinds[i]);
	if (made < 0 || tls_server_new(str_c(pairs[FIRST].chain), "", &server, &e) < 0) {
		tap_ok(false, "contexts: %s", e.text);
		return tap_done();
	}
	tap_is_int(asked(server, client, "mail.example.net"), FIRST, "before there is a table: the first for every name");
	add(server, "Mail.Example.NET.", NET, 0);
	add(server, ".example.org", BELOW, 0);
	add(server, "special.example.org", NET_RSA, 0);
	add(server, "two.example.net", TWO, TWO_RSA);
	by_name(server, client);
	long_names(server, client);
	two_kinds(server);
	refused(server);
	limits_hold(server);
	tap_is_int(asked(server, client, "n17.example.edu"), NET, "one of ten thousand");
	tap_is_int(tls_warm_up(server, &e), 0, "warming up %s", e.text);
	tls_ctx_free(&server);
	tls_ctx_free(&client);
	for (size_t i = 0; i < KEYS; i++)
		tls_key_free(&pairs[i].key);
	loop_free(&loop);
	return tap_done();
}
