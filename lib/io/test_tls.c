/* TLS between two connections in one loop: every kind of key under both versions, signed through the remote-key provider;
 * then what must not work. Certificates are made at run time. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/conn.h"
#include "io/tls.h"
#include "test/tap.h"

static struct loop *loop;
static const struct conn_limits limits = { .in_max = 16384, .out_high = 65536, .out_max = 1 << 22 };

/* --- a key and a certificate, as PEM --- */

struct cert {
	char key[4096], chain[4096], chain2[8192];
};

static void pem_of(BIO *bio, char *out, size_t max)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	if (n <= 0 || (size_t)n >= max)
		abort();
	memcpy(out, p, (size_t)n);
	out[n] = '\0';
	BIO_free(bio);
}

static EVP_PKEY *make_key(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return EVP_RSA_gen(2048);
	if (strcmp(kind, "RSA1024") == 0)
		return EVP_RSA_gen(1024);
	if (strcmp(kind, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(kind);
}

static void add_ext(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	if (!ext || !X509_add_ext(x, ext, -1))
		abort();
	X509_EXTENSION_free(ext);
}

static void make_cert(const char *kind, long days, struct cert *out)
{
	EVP_PKEY *key = make_key(kind);
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	BIO *bio = BIO_new(BIO_s_mem());

	if (!key)
		abort();
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 4711);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), days * 86400 + 60);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				   (const unsigned char *)"mail.example.org", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	add_ext(x, NID_subject_alt_name,
		"DNS:mail.example.org, DNS:*.mx.example.org, email:a@example.org");
	if (!X509_sign(x, key, strcmp(kind, "ED25519") == 0 ? NULL : EVP_sha256()))
		abort();
	PEM_write_bio_X509(bio, x);
	pem_of(bio, out->chain, sizeof(out->chain));
	snprintf(out->chain2, sizeof(out->chain2), "some text\n%s%s", out->chain, out->chain);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	pem_of(bio, out->key, sizeof(out->key));
	X509_free(x);
	EVP_PKEY_free(key);
}

/* What ca has signed for a key of its own. */
static void issue(const struct cert *ca, struct cert *out)
{
	BIO *ca_cert = BIO_new_mem_buf(ca->chain, -1), *ca_key = BIO_new_mem_buf(ca->key, -1), *bio = BIO_new(BIO_s_mem());
	X509 *issuer = PEM_read_bio_X509(ca_cert, NULL, NULL, NULL), *x = X509_dup(issuer);
	EVP_PKEY *signer = PEM_read_bio_PrivateKey(ca_key, NULL, NULL, NULL), *key = make_key("P-256");
	X509_NAME *name = X509_NAME_new();

	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"leaf.example.org", -1, -1, 0);
	if (!X509_set_subject_name(x, name) || !X509_set_pubkey(x, key) || !X509_sign(x, signer, EVP_sha256()) || !PEM_write_bio_X509(bio, x))
		abort();
	pem_of(bio, out->chain, sizeof(out->chain));
	bio = BIO_new(BIO_s_mem());
	if (!PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		abort();
	pem_of(bio, out->key, sizeof(out->key));
	BIO_free(ca_cert);
	BIO_free(ca_key);
	X509_NAME_free(name);
	X509_free(issuer);
	X509_free(x);
	EVP_PKEY_free(signer);
	EVP_PKEY_free(key);
}

/* --- the key worker of these tests: in this process --- */

static struct tls_key *worker_key;
static unsigned signatures, refusals;
static bool worker_down, sign_garbage;
static char last_scheme[64];

static int sign(int channel, const char *scheme, struct str tbs, struct str cert_sha256,
		unsigned char *sig, size_t sig_max, size_t *sig_n_out, struct err *e)
{
	unsigned char out[TLS_SIG_MAX];
	size_t n;

	if (worker_down || channel != 7)
		return err_set(e, ERR_TEMP, 0, "no answer");
	if (cert_sha256.n != 32)
		return err_set(e, ERR_BUG, 0, "no certificate");
	snprintf(last_scheme, sizeof(last_scheme), "%s", scheme);
	if (tls_key_sign(worker_key, scheme, tbs, out, &n, e) < 0) {
		refusals++;
		return -1;
	}
	signatures++;
	if (n > sig_max)
		return err_set(e, ERR_BUG, 0, "signature too long");
	if (sign_garbage)
		out[n / 2] ^= 1;
	memcpy(sig, out, n);
	*sig_n_out = n;
	return 0;
}

/* --- one end --- */

struct end {
	struct conn *c;
	struct buf in;
	char events[32];
	size_t n_events, stop_bytes;
	char stop_at;
};
static const char letters[] = {
	[CONN_EV_DATA] = 'd',	 [CONN_EV_DRAINED] = 'w', [CONN_EV_SECURED] = 's',
	[CONN_EV_TIMEOUT] = 't', [CONN_EV_CLOSED] = 'c',  [CONN_EV_ERROR] = 'e'
};

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct end *t = ctx;

	bool repeated = t->n_events && t->events[t->n_events - 1] == letters[ev];
	if (t->n_events < sizeof(t->events) - 1 && ev != CONN_EV_DRAINED && !repeated)
		t->events[t->n_events++] = letters[ev];
	if (ev == CONN_EV_DATA) {
		buf_str(&t->in, conn_input(c));
		conn_consume(c, conn_input(c).n);
	}
	if (ev == CONN_EV_ERROR || t->stop_at == letters[ev] ||
	    (t->stop_bytes && t->in.n >= t->stop_bytes))
		loop_stop(loop);
}

static void end_init(struct end *t, int fd)
{
	*t = (struct end){ .stop_at = 0 };
	buf_init(&t->in, 1 << 24);
	t->c = conn_new(loop, fd, &limits, on_conn, t);
}

static void end_fini(struct end *t)
{
	conn_free(&t->c);
	buf_fini(&t->in);
}

static void pair(struct end *a, struct end *b)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	end_init(a, sv[0]);
	end_init(b, sv[1]);
}

static void on_limit(void *ctx)
{
	*(bool *)ctx = true;
	loop_stop(loop);
}

static bool run_ms(unsigned ms)
{
	bool late = false;
	struct timer *t = loop_timer(loop, ms, on_limit, &late);

	loop_run(loop);
	timer_del(&t);
	return !late;
}

static struct tls_ctx *server_ctx(const struct cert *cert, const char *alpn)
{
	struct tls_ctx *t = NULL;
	struct err e = { 0 };

	if (tls_server_new(str_c(cert->chain2), alpn, &t, &e) < 0)
		tap_ok(false, "server context: %s", e.text);
	return t;
}

static void load_key(const struct cert *cert)
{
	struct err e = { 0 };

	tls_key_free(&worker_key);
	if (tls_key_load(str_c(cert->key), &worker_key, &e) < 0)
		tap_ok(false, "key: %s", e.text);
}

/* A raw OpenSSL client in memory against a server context in a connection is more than we need: these tests drive a
 * blocking SSL client in a child process where our own client cannot be made to misbehave. */
struct client_opts {
	int max_version;
	const char *ciphers, *alpn;
	char *groups, *sigalgs;	/* the library's macros cast const away */
};

static pid_t child_client(int fd, int keep_not, const struct client_opts *o, void (*then)(SSL *ssl))
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	close(keep_not);
	alarm(10);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(ctx, 0);
	if (o->max_version) {
		SSL_CTX_set_min_proto_version(ctx, 0);
		SSL_CTX_set_max_proto_version(ctx, o->max_version);
	}
	if (o->ciphers && !SSL_CTX_set_cipher_list(ctx, o->ciphers))
		_exit(90);
	if (o->groups && !SSL_CTX_set1_groups_list(ctx, o->groups))
		_exit(91);
	if (o->sigalgs && !SSL_CTX_set1_sigalgs_list(ctx, o->sigalgs))
		_exit(92);
	SSL *ssl = SSL_new(ctx);
	if (o->alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)o->alpn, (unsigned)strlen(o->alpn));
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		_exit(1);
	if (then)
		then(ssl);
	_exit(0);
}

/* Run a server against such a client; returns the server's events. */
static const char *against(struct tls_ctx *ctx, const struct client_opts *o, void (*then)(SSL *ssl),
			   struct end *b, char stop_at)
{
	int sv[2];
	bool dropped;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	pid_t pid = child_client(sv[0], sv[1], o, then);
	close(sv[0]);
	end_init(b, sv[1]);
	b->stop_at = stop_at;
	conn_starttls_server(b->c, ctx, &dropped);
	run_ms(30000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return b->events;
}

/* --- what works --- */

static bool shake_hands(struct tls_ctx *client, struct tls_ctx *server, const char *sni,
			struct end *a, struct end *b)
{
	bool dropped;

	conn_starttls_server(b->c, server, &dropped);
	conn_starttls_client(a->c, client, sni);
	a->stop_at = 's';
	if (!run_ms(30000))
		return false;
	if (b->n_events == 0) {
		b->stop_at = 's';
		run_ms(30000);
	}
	a->stop_at = b->stop_at = 0;
	return strcmp(a->events, "s") == 0 && strcmp(b->events, "s") == 0;
}

static bool handshake(struct tls_ctx *client, struct tls_ctx *server, const char *sni,
		      struct end *a, struct end *b)
{
	pair(a, b);
	return shake_hands(client, server, sni, a, b);
}

static void tcp_pair(struct end *a, struct end *b)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(addr);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&addr, &n) < 0 || connect(c, (struct sockaddr *)&addr, n) < 0)
		abort();
	end_init(a, c);
	end_init(b, accept(l, NULL, NULL));
	close(l);
}

static unsigned packets_with_data(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		abort();
	return info.tcpi_data_segs_in;
}

static void last_words(struct tls_ctx *client, struct tls_ctx *server)
{
	struct end a, b;

	tcp_pair(&a, &b);
	tap_ok(shake_hands(client, server, "mail.example.org", &a, &b), "a handshake over TCP");
	const unsigned before = packets_with_data(conn_fd(a.c));
	a.stop_at = 'c';
	conn_write(b.c, STR("221 Bye\r\n"));
	conn_finish(&b.c, 10000);
	tap_ok(run_ms(30000), "the end arrives");
	tap_is_str(a.in.p, "221 Bye\r\n", "after the last answer");
	tap_is_int(packets_with_data(conn_fd(a.c)) - before, 1, "both are one packet");
	end_fini(&a);
	end_fini(&b);
}

static void each_key(const char *kind, unsigned rounds, struct tls_ctx *client)
{
	struct cert cert;
	struct end a, b;
	struct client_opts tls12 = { .max_version = TLS1_2_VERSION };

	make_cert(kind, 30, &cert);
	load_key(&cert);
	tls_key_channel(7);
	struct tls_ctx *server = server_ctx(&cert, "");
	if (!server)
		return;
	struct err e = { 0 };
	tap_is_int(tls_self_test(server, &e), 0, "%s: self test %s", kind, e.text);
	unsigned before = signatures;
	tap_is_int(tls_warm_up(server, &e), 0, "%s: warming up %s", kind, e.text);
	tap_is_int(signatures, before, "%s: asks for no signature", kind);
	unsigned good = 0, good12 = 0;
	for (unsigned i = 0; i < rounds; i++) {
		good += handshake(client, server, "mail.example.org", &a, &b);
		if (i == 0) {
			tap_is_str(conn_tls_version(b.c), "TLSv1.3",
				   "%s: the newest version is used", kind);
			tap_is_int(conn_tls_bits(b.c), 128, "%s: %s with %s", kind,
				   conn_tls_cipher(b.c), last_scheme);
			tap_ok(conn_secure(a.c) && conn_secure(b.c), "%s: both ends are secure",
			       kind);
			tap_is_str(conn_tls_trust(a.c), "Untrusted",
				   "%s: a stranger's certificate is not trusted", kind);
			unsigned char x[32], y[32];
			tap_ok(conn_tls_binding(a.c, x) == 0 && conn_tls_binding(b.c, y) == 0 &&
				       memcmp(x, y, 32) == 0,
			       "%s: both ends derive the same channel binding", kind);
		}
		end_fini(&a);
		end_fini(&b);
	}
	for (unsigned i = 0; i < rounds / 4 + 1; i++) {
		good12 += strcmp(against(server, &tls12, NULL, &b, 's'), "s") == 0;
		if (i == 0)
			tap_is_str(conn_tls_version(b.c), "TLSv1.2",
				   "%s: an older client gets TLS 1.2 with %s", kind, last_scheme);
		end_fini(&b);
	}
	tap_is_int(good, rounds, "%s: all handshakes under TLS 1.3", kind);
	tap_is_int(good12, rounds / 4 + 1, "%s: all handshakes under TLS 1.2", kind);
	tls_ctx_free(&server);
}

static void bytes_pass(struct tls_ctx *client, struct tls_ctx *server)
{
	struct end a, b;
	static char big[600000];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 % 253);
	tap_ok(handshake(client, server, NULL, &a, &b), "a client needs no server name");
	conn_write(a.c, str_n(big, sizeof(big)));
	conn_write(a.c, STR("end"));
	b.stop_bytes = sizeof(big) + 3;
	conn_write(b.c, STR("both ways"));
	run_ms(30000);
	tap_ok(b.in.n == sizeof(big) + 3 && memcmp(b.in.p, big, sizeof(big)) == 0,
	       "large output arrives unchanged");
	tap_is_str(a.in.p, "both ways", "at the same time as the other direction's");
	conn_write(a.c, STR("bye"));
	conn_finish(&a.c, 30000);
	b.stop_at = 'c';
	b.stop_bytes = 0;
	run_ms(30000);
	tap_ok(strchr(b.events, 'c') && !strchr(b.events, 'e'), "an orderly end is an end");
	end_fini(&a);
	end_fini(&b);
}

static void starttls_drops_plaintext(struct tls_ctx *client, struct tls_ctx *server)
{
	struct end a, b;
	bool dropped = false;

	pair(&a, &b);
	conn_pause(b.c, true);
	(void)!write(conn_fd(a.c), "STARTTLS\r\nMAIL FROM:<x>\r\n", 25);
	conn_free(&b.c);
	end_fini(&a);
	end_fini(&b);

	/* The way of a session: a line, the answer, TLS; what came behind the line is dropped. */
	pair(&a, &b);
	conn_write(a.c, STR("x"));
	b.stop_at = 'd';
	run_ms(30000);
	conn_write(b.c, STR("220 go ahead\r\n"));
	conn_starttls_server(b.c, server, &dropped);
	tap_ok(!dropped, "nothing was buffered, nothing is dropped");
	a.stop_at = 'd';
	run_ms(30000);
	tap_is_str(a.in.p, "220 go ahead\r\n", "the answer before TLS leaves in the clear");
	conn_starttls_client(a.c, client, NULL);
	a.stop_at = 's';
	tap_ok(run_ms(30000), "then the handshake begins");
	end_fini(&a);
	end_fini(&b);
}

struct injected {
	struct end *b;
	struct tls_ctx *server;
	bool dropped;
};

static void on_starttls_line(void *ctx, struct conn *c, enum conn_event ev)
{
	struct injected *x = ctx;
	struct str line;

	if (ev == CONN_EV_DATA && !conn_secure(c) && conn_line(c, 100, &line, NULL) == 0) {
		conn_write(c, STR("220\r\n"));
		conn_starttls_server(c, x->server, &x->dropped);
		struct str after = conn_input(c);
		tap_is_int((long long)after.n, 0, "nothing of before is left");
		loop_stop(loop);
	}
}

static void injection(struct tls_ctx *server)
{
	struct injected x = { .server = server };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	struct conn *c = conn_new(loop, sv[1], &limits, on_starttls_line, &x);
	(void)!write(sv[0], "STARTTLS\r\nMAIL FROM:<x>\r\n", 25);
	run_ms(30000);
	tap_ok(x.dropped, "commands behind STARTTLS are dropped, and that is said");
	conn_free(&c);
	close(sv[0]);
}

/* --- what must not work --- */

static void cut_off(SSL *ssl)
{
	SSL_write(ssl, "half a mess", 11);
	close(SSL_get_fd(ssl));
	_exit(0);
}

static void end_well(SSL *ssl)
{
	SSL_write(ssl, "whole", 5);
	SSL_shutdown(ssl);
	pause();
}

static void update_keys(SSL *ssl)
{
	for (int i = 0; i < 200; i++) {
		SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		if (SSL_write(ssl, "x", 1) <= 0)
			break;
	}
	pause();
}

static void update_keys_a_little(SSL *ssl)
{
	for (int i = 0; i < 5; i++) {
		SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		SSL_write(ssl, "x", 1);
	}
	SSL_shutdown(ssl);
	pause();
}

static void renegotiate(SSL *ssl)
{
	for (int i = 0; i < 100; i++) {
		SSL_renegotiate(ssl);
		if (SSL_do_handshake(ssl) <= 0)
			break;
		SSL_write(ssl, "x", 1);
	}
	/* It was refused: say so with a byte. */
	_exit(0);
}

static const struct {
	const char *name, *expected; /* the server's events */
	struct client_opts o;
	void (*then)(SSL *);
	const char *error; /* a part of the text */
} refused[] = {
	{ "TLS 1.1 is refused",
	  "e",
	  { .max_version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0" },
	  NULL,
	  "unsupported protocol" },
	{ "RSA key exchange is refused",
	  "e",
	  { .max_version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256" },
	  NULL,
	  "no shared cipher" },
	{ "CBC ciphers are refused",
	  "e",
	  { .max_version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-SHA" },
	  NULL,
	  "no shared cipher" },
	{ "another protocol's client is refused", "e", { .alpn = "\x08http/1.1" }, NULL, "" },
	{ "the right ALPN name is taken",
	  "sdc",
	  { .alpn = "\x08http/1.1\x04imap" },
	  end_well,
	  NULL },
	{ "no ALPN is fine", "sdc", { .max_version = 0 }, end_well, NULL },
	{ "an end without close-notify is an error",
	  "sde",
	  { .max_version = 0 },
	  cut_off,
	  "close-notify" },
	{ "and so under TLS 1.2",
	  "sde",
	  { .max_version = TLS1_2_VERSION },
	  cut_off,
	  "close-notify" },
	{ "a flood of key updates ends the connection",
	  "e",
	  { .max_version = 0 },
	  update_keys,
	  "too many" },
	{ "a few key updates do not", "c", { .max_version = 0 }, update_keys_a_little, NULL },
	{ "a client without our signature schemes is refused",
	  "e",
	  { .sigalgs = "rsa_pss_pss_sha256" },
	  NULL,
	  "" },
	{ "a client of other groups is refused", "e", { .groups = "P-521" }, NULL, "" },
};

static void refusals_by_server(struct tls_ctx *server)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct end b;
		const char *events = against(server, &refused[i].o, refused[i].then, &b, 'c');
		size_t n = strlen(events), m = strlen(refused[i].expected);

		tap_ok(n >= m && strcmp(events + n - m, refused[i].expected) == 0, "%s: %s, %s",
		       refused[i].name, events, conn_error(b.c));
		tap_ok(!conn_tls_own_fault(b.c), "and that is the client's fault");
		if (refused[i].error)
			tap_ok(strstr(conn_error(b.c), refused[i].error) != NULL, "and says so");
		end_fini(&b);
	}
	struct end b;
	struct client_opts o = { .max_version = TLS1_2_VERSION };
	against(server, &o, renegotiate, &b, 'c');
	tap_is_int((long long)b.in.n, 0, "renegotiation is refused");
	end_fini(&b);
}

static void worker_fails(struct tls_ctx *client, struct tls_ctx *server)
{
	struct end a, b;

	worker_down = true;
	tap_ok(!handshake(client, server, NULL, &a, &b),
	       "without the key worker there is no handshake");
	tap_ok(strstr(conn_error(b.c), "no answer") != NULL, "and the error names the cause: %s",
	       conn_error(b.c));
	tap_ok(conn_tls_own_fault(b.c) && !conn_tls_own_fault(a.c), "which is known as this side's fault");
	worker_down = false;
	end_fini(&a);
	end_fini(&b);
	tls_key_channel(-1);
	tap_ok(!handshake(client, server, NULL, &a, &b), "without a channel neither");
	tls_key_channel(7);
	end_fini(&a);
	end_fini(&b);
	sign_garbage = true;
	tap_ok(!handshake(client, server, NULL, &a, &b), "a wrong signature convinces no client");
	sign_garbage = false;
	end_fini(&a);
	end_fini(&b);
	tap_ok(handshake(client, server, NULL, &a, &b), "afterwards all is well again");
	end_fini(&a);
	end_fini(&b);
}

static void plain_bytes_instead(struct tls_ctx *server)
{
	struct end a, b;
	bool dropped;

	pair(&a, &b);
	conn_starttls_server(b.c, server, &dropped);
	conn_write(a.c, STR("GET / HTTP/1.1\r\n\r\n"));
	run_ms(30000);
	tap_is_str(b.events, "e", "bytes that are not TLS are an error: %s", conn_error(b.c));
	end_fini(&a);
	end_fini(&b);
}

static void verification(struct tls_ctx *server, const struct cert *cert)
{
	char name[] = "/tmp/test_tls.XXXXXX";
	int fd = mkstemp(name);
	struct err e = { 0 };
	struct tls_ctx *strict = NULL, *loose = NULL;
	struct end a, b;

	(void)!write(fd, cert->chain, strlen(cert->chain));
	close(fd);
	tap_is_int(tls_client_new(true, name, &strict, &e), 0, "a client that verifies %s", e.text);
	tap_ok(handshake(strict, server, "mail.example.org", &a, &b),
	       "accepts the right chain and name");
	tap_is_str(conn_tls_trust(a.c), "Verified", "and says so");
	end_fini(&a);
	end_fini(&b);
	tap_ok(!handshake(strict, server, "other.example.org", &a, &b), "refuses another name");
	tap_ok(strstr(conn_error(a.c), "verify failed") != NULL, "with a reason: %s",
	       conn_error(a.c));
	end_fini(&a);
	end_fini(&b);
	tap_ok(!handshake(strict, server, NULL, &a, &b), "refuses to go without a name");
	end_fini(&a);
	end_fini(&b);
	tls_ctx_free(&strict);
	tap_is_int(tls_client_new(false, name, &loose, &e), 0, "a client that takes what comes %s",
		   e.text);
	tap_ok(handshake(loose, server, "other.example.org", &a, &b), "accepts another name");
	tap_is_str(conn_tls_trust(a.c), "Trusted", "and knows that only the chain is good");
	end_fini(&a);
	end_fini(&b);
	tls_ctx_free(&loose);
	unlink(name);
	tap_ok(tls_client_new(true, "/nonexistent", &strict, &e) < 0,
	       "a missing CA file is an error: %s", e.text);
}

static void tell_chain_length(SSL *ssl)
{
	const char n = (char)('0' + sk_X509_num(SSL_get_peer_cert_chain(ssl)));

	SSL_write(ssl, &n, 1);
}

static void lone_certificate(void)
{
	static struct cert ca, leaf;
	char name[] = "/tmp/test_tls.XXXXXX";
	int fd = mkstemp(name);
	const struct client_opts o = { 0 };
	struct tls_ctx *server = NULL;
	struct err e = { 0 };
	struct end b;

	make_cert("P-256", 30, &ca);
	issue(&ca, &leaf);
	load_key(&leaf);
	(void)!write(fd, ca.chain, strlen(ca.chain));
	close(fd);
	tap_is_int(tls_server_new(str_c(leaf.chain), "", &server, &e), 0, "a server with a lone certificate %s", e.text);
	tap_is_int(tls_server_believe(server, "", "", 9, &e), 0, "that believes nobody %s", e.text);
	against(server, &o, tell_chain_length, &b, 'd');
	tap_is_str(b.in.p, "1", "shows it alone");
	end_fini(&b);
	tap_is_int(tls_server_believe(server, name, "", 9, &e), 0, "one that believes the issuer %s", e.text);
	against(server, &o, tell_chain_length, &b, 'd');
	tap_is_str(b.in.p, "2", "shows that, too");
	end_fini(&b);
	tls_ctx_free(&server);
	unlink(name);
}

static void bad_files(const struct cert *good)
{
	static struct cert other, weak, p521;
	struct tls_ctx *t = NULL;
	struct tls_key *k = NULL;
	struct err e = { 0 };
	char cut[4096];

	make_cert("P-256", 5, &other);
	make_cert("RSA1024", 5, &weak);
	make_cert("P-521", 5, &p521);
	tap_ok(tls_server_new(STR("no certificate"), "", &t, &e) < 0, "no certificate: %s", e.text);
	snprintf(cut, sizeof(cut), "%.*s", (int)strlen(good->chain) - 200, good->chain);
	tap_ok(tls_server_new(str_c(cut), "", &t, &e) < 0, "half a certificate: %s", e.text);
	tap_ok(tls_server_new(str_c(weak.chain), "", &t, &e) < 0, "a weak key: %s", e.text);
	tap_ok(tls_key_load(str_c(weak.key), &k, &e) < 0, "a weak private key: %s", e.text);
	tap_ok(tls_key_load(str_c(p521.key), &k, &e) < 0, "a curve that is not served: %s", e.text);
	tap_ok(tls_key_load(STR("rubbish"), &k, &e) < 0, "no key: %s", e.text);
	tap_ok(tls_key_load(str_n(NULL, 0), &k, &e) < 0, "an empty file: %s", e.text);
	tap_is_int(tls_key_load(str_c(other.key), &k, &e), 0, "a good key");
	tap_is_int(tls_key_matches(k, str_c(other.chain2), &e), 0, "matches its certificate");
	tap_ok(tls_key_matches(k, str_c(good->chain), &e) < 0, "and no other: %s", e.text);
	tls_key_free(&k);
}

/* As other servers have it: key and chain in one file, in any order. */
static void key_in_chain(void)
{
	static struct cert cert;
	static char text[20000];
	struct tls_ctx *t = NULL;
	struct tls_cert_info info;
	struct arena *a = arena_new(0);
	struct err e = { 0 };

	make_cert("P-256", 5, &cert);
	tap_ok(tls_holds_key(str_c(cert.key)) && !tls_holds_key(str_c(cert.chain2)), "a key is seen");
	snprintf(text, sizeof(text), "%s%s%s%s", cert.key, cert.chain, cert.key, cert.chain);
	tap_ok(tls_holds_key(str_c(text)), "in a chain, too");
	tap_is_int(tls_server_new(str_c(text), "", &t, &e), 0, "and passed over %s", e.text);
	tls_ctx_free(&t);
	tap_ok(tls_cert_info(str_c(text), a, &info, &e) == 0 && info.chain_length == 2, "by all who read chains %s", e.text);
	snprintf(text, sizeof(text), "-----BEGIN PRIVATE KEY-----\nthis is nothing that could be decoded\n%s", cert.chain);
	tap_is_int(tls_server_new(str_c(text), "", &t, &e), 0, "unread %s", e.text);
	tls_ctx_free(&t);
	snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", cert.chain);
	tap_ok(tls_server_new(str_c(text), "", &t, &e) < 0, "while a certificate that is none spoils the chain: %s", e.text);
	snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----", cert.chain);
	tap_ok(tls_server_new(str_c(text), "", &t, &e) < 0, "or one that only begins: %s", e.text);
	tap_ok(tls_server_new(str_c(cert.key), "", &t, &e) < 0, "a key alone is no chain: %s", e.text);
	arena_free(&a);
}

static void information(void)
{
	static struct cert cert;
	struct tls_cert_info info;
	struct err e = { 0 };
	struct arena *a = arena_new(0);
	static const struct {
		const char *host;
		bool covered;
	} hosts[] = {
		{ "mail.example.org", true },
		{ "MAIL.Example.ORG", true },
		{ "a.mx.example.org", true },
		{ "mx.example.org", false },
		{ "a.b.mx.example.org", false },
		{ "example.org", false },
		{ "", false },
		{ ".mx.example.org", false },
		{ "a@example.org", false },
	};

	make_cert("P-384", 12, &cert);
	tap_is_int(tls_cert_info(str_c(cert.chain2), a, &info, &e), 0, "information %s", e.text);
	tap_is_str(info.subject, "CN=mail.example.org", "subject");
	tap_is_int((long long)info.n_names, 2, "host names");
	tap_is_int(info.days_left, 12, "days left");
	tap_is_str(info.key_type, "EC", "kind of key");
	tap_is_int(info.key_bits, 384, "bits");
	tap_is_int((long long)info.chain_length, 2, "length of the chain");
	tap_ok(info.self_signed, "self-signed");
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		tap_is_int(tls_cert_covers(&info, str_c(hosts[i].host)), hosts[i].covered,
			   "covers '%s'", hosts[i].host);
	make_cert("P-256", -3, &cert);
	tap_is_int(tls_cert_info(str_c(cert.chain), a, &info, &e), 0, "an expired one");
	tap_ok(info.days_left < 0, "has negative days left: %d", (int)info.days_left);
	arena_free(&a);
}

int main(void)
{
	struct tls_ctx *client = NULL;
	struct err e = { 0 };
	static struct cert cert;

	alarm(60);
	loop = loop_new();
	tls_sign_through(sign);
	if (tls_client_new(false, NULL, &client, &e) < 0)
		tap_ok(false, "client context: %s", e.text);
	each_key("RSA", 20, client);
	each_key("P-256", 50, client);
	each_key("P-384", 10, client);
	each_key("ED25519", 50, client);
	tap_is_int(refusals, 0, "no honest signature was refused");
	tap_ok(signatures >= 170, "all were made by the worker (%u)", signatures);

	make_cert("RSA", 30, &cert);
	load_key(&cert);
	struct tls_ctx *server = server_ctx(&cert, "imap");
	bytes_pass(client, server);
	last_words(client, server);
	starttls_drops_plaintext(client, server);
	injection(server);
	refusals_by_server(server);
	worker_fails(client, server);
	plain_bytes_instead(server);
	verification(server, &cert);
	lone_certificate();
	load_key(&cert);
	bad_files(&cert);
	key_in_chain();
	information();
	tls_ctx_free(&server);
	tls_ctx_free(&client);
	tls_key_free(&worker_key);
	loop_free(&loop);
	return tap_done();
}
