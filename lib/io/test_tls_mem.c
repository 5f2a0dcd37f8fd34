/* OpenSSL on the template's memory: handshakes work before the fork, in children, in the parent afterwards, and a child
 * leaves what it inherited alone. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "io/tls.h"
#include "test/tap.h"

static struct tls_key *key;

static int sign(int channel, const char *scheme, struct str tbs, struct str cert_sha256,
		unsigned char *sig, size_t sig_max, size_t *sig_n_out, struct err *e)
{
	unsigned char out[TLS_SIG_MAX];

	if (tls_key_sign(key, scheme, tbs, out, sig_n_out, e) < 0 || *sig_n_out > sig_max)
		return -1;
	memcpy(sig, out, *sig_n_out);
	return 0;
}

static struct tls_ctx *context(struct err *e)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	struct tls_ctx *t = NULL;
	char *p;

	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, pair);
	X509_sign(x, pair, EVP_sha256());
	PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL);
	long n = BIO_get_mem_data(bio, &p);
	tls_key_free(&key);
	if (tls_key_load(str_n(p, (size_t)n), &key, e) < 0)
		abort();
	(void)BIO_reset(bio);
	PEM_write_bio_X509(bio, x);
	n = BIO_get_mem_data(bio, &p);
	if (tls_server_new(str_n(p, (size_t)n), "imap", &t, e) < 0)
		abort();
	BIO_free(bio);
	X509_free(x);
	EVP_PKEY_free(pair);
	return t;
}

static long dirty_kb(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[200];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Private_Dirty: %ld", &kb);
	if (f)
		fclose(f);
	return kb;
}

static int child(struct tls_ctx *t, int rounds)
{
	struct err e = { 0 };

	for (int i = 0; i < rounds; i++) {
		if (tls_self_test(t, &e) < 0)
			return 1;
	}
	/* Making and freeing contexts of its own, and freeing the inherited one. */
	struct tls_ctx *own = context(&e);
	if (tls_self_test(own, &e) < 0)
		return 2;
	tls_ctx_free(&own);
	tls_ctx_free(&t);
	return 0;
}

/* Algorithms, whose counters each handshake writes to, and as many objects of the same size that none does. */
static bool share_a_page(void)
{
	enum { N = 64, SIZE = 248, PAGE_SHIFT = 12 };
	void *written[N], *others[N];
	bool shared = false;

	for (int i = 0; i < N; i++) {
		written[i] = CRYPTO_malloc(SIZE, "../crypto/evp/signature.c", 1);
		others[i] = CRYPTO_malloc(SIZE, "../crypto/property/property.c", 1);
	}
	for (int i = 0; i < N; i++)
		for (int k = 0; k < N; k++)
			shared = shared || (uintptr_t)written[i] >> PAGE_SHIFT == (uintptr_t)others[k] >> PAGE_SHIFT;
	for (int i = 0; i < N; i++) {
		CRYPTO_free(written[i], "../crypto/evp/signature.c", 2);
		CRYPTO_free(others[i], "../crypto/property/property.c", 2);
	}
	return shared;
}

int main(void)
{
	struct err e = { 0 };
	int status, good = 0;

	alarm(30);
	tls_share_memory();
	/* The library starts OpenSSL, not the first key that this test makes. */
	struct tls_ctx *client = NULL;
	tap_is_int(tls_client_new(false, NULL, &client, &e), 0, "a client's context %s", e.text);
	tls_ctx_free(&client);
	tls_sign_through(sign);
	tls_key_channel(0);
	struct tls_ctx *t = context(&e);
	tap_is_int(tls_warm_up(t, &e), 0, "warming up %s", e.text);
	tap_is_int(tls_self_test(t, &e), 0, "a handshake before the fork %s", e.text);
#ifdef __SANITIZE_ADDRESS__
	tap_skip(2, "memory is not grouped under the sanitizer");
#else
	tap_ok(!share_a_page(), "what handshakes write to shares no page with the rest");
	tap_ok(!share_a_page(), "nor when it is allocated again");
#endif
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(child(t, i));
		waitpid(pid, &status, 0);
		good += status == 0;
	}
	tap_is_int(good, 10, "handshakes in children");
	for (int i = 0; i < 20; i++) {
		struct tls_ctx *again = context(&e);
		tls_ctx_free(&t);
		t = again;
		good += tls_self_test(t, &e) == 0;
	}
	tap_is_int(good, 30, "and in the parent, with contexts that come and go");
	pid_t pid = fork();
	if (pid == 0) {
		if (tls_self_test(t, &e) < 0)
			_exit(2);
		long kb = dirty_kb();
		tap_diag("a child has %ld KB of its own", kb);
		_exit(kb > 700);
	}
	waitpid(pid, &status, 0);
#ifdef __SANITIZE_ADDRESS__
	tap_skip(1, "memory is not shared under the sanitizer");
#else
	tap_is_int(status, 0, "a handshake copies few pages");
#endif
	tls_ctx_free(&t);
	tls_key_free(&key);
	return tap_done();
}
