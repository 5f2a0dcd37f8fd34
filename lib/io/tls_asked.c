/* A TLS server that asks its clients for a certificate (RFC 8446 4.3.2, RFC 5246 7.4.4): the authorities that it believes, and what a certificate says. The handshake
 * never fails because of one, and proves that the client has its key; whether an authority vouches for it is kept for whoever decides what it is worth. Names in
 * it are the client's words.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "io/tls_priv.h"

enum { DIGEST_MAX = 64, CHAIN_BYTES_MAX = 65536 };

/* --- what is believed --- */

static int load_file(SSL_CTX *ssl, const char *file, struct err *e)
{
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);

	if (!names || !SSL_CTX_load_verify_file(ssl, file)) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return tls_err(e, ERR_CONF, file);
	}
	SSL_CTX_set_client_CA_list(ssl, names);	/* takes them */
	return 0;
}

/* "5ad8a5d6.0", as c_rehash names them. */
static bool hashed_name(const char *name)
{
	return strlen(name) >= 10 && strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9 + strspn(name + 9, "0123456789")] == '\0';
}

/* All of them now: the process will see no files later. */
static int load_dir(SSL_CTX *ssl, const char *path, struct err *e)
{
	const struct dirent *entry;
	DIR *d = opendir(path);
	size_t n = 0;
	int r = 0;

	if (d == NULL)
		return err_set(e, ERR_CONF, errno, "%s", path);
	while (r == 0 && (entry = readdir(d)) != NULL) {
		char file[4096];
		if (!hashed_name(entry->d_name))
			continue;
		if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= sizeof(file))
			r = err_set(e, ERR_CONF, 0, "%s: name too long", path);
		else if (!SSL_CTX_load_verify_file(ssl, file))
			r = tls_err(e, ERR_CONF, file);
		n++;
	}
	closedir(d);
	return r == 0 && n == 0 ? err_set(e, ERR_CONF, 0, "%s: no certificate under a hashed name (openssl rehash makes them)", path) : r;
}

int tls_server_believe(struct tls_ctx *t, const char *ca_file, const char *ca_dir, unsigned depth, struct err *e)
{
	if (*ca_file && load_file(t->ssl, ca_file, e) < 0)
		return -1;
	if (*ca_dir && load_dir(t->ssl, ca_dir, e) < 0)
		return -1;
	if (*ca_file || *ca_dir)	/* they may complete our own chain, too */
		SSL_CTX_clear_mode(t->ssl, SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_verify_depth(t->ssl, (int)depth);
	SSL_CTX_set_max_cert_list(t->ssl, CHAIN_BYTES_MAX);
	return 0;
}

/* --- asking --- */

static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	return 1;	/* the result is kept: tls_cert_facts */
}

void tls_ask_client(SSL *ssl)
{
	SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
}

/* --- what it says --- */

static void put_hex(const unsigned char *p, unsigned n, char out[TLS_FINGERPRINT_MAX])
{
	for (unsigned i = 0; i < n; i++)
		(void)snprintf(out + 3 * i, 4, "%02X%s", p[i], i + 1 < n ? ":" : "");
}

/* The last common name is the most specific one. Bytes below a blank would reach logs and headers. */
static void put_cn(const X509_NAME *name, char out[TLS_CN_MAX])
{
	int at = -1, last = -1;
	unsigned char *text = NULL;

	out[0] = '\0';
	while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
		last = at;
	const int n = last < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
	for (int i = 0; i < n && i < TLS_CN_MAX - 1; i++) {
		out[i] = text[i] < ' ' || text[i] > '~' ? '?' : (char)text[i];
		out[i + 1] = '\0';
	}
	OPENSSL_free(text);
}

int tls_cert_facts(SSL *ssl, const char *digest, struct tls_cert_facts *out)
{
	const X509 *x = SSL_get0_peer_certificate(ssl);
	const EVP_MD *md = EVP_get_digestbyname(digest);
	const long result = SSL_get_verify_result(ssl);
	unsigned char hash[DIGEST_MAX], *der = NULL;
	unsigned n = 0;
	struct tls_cert_facts f = { .trusted = result == X509_V_OK };

	if (!x || !md || X509_digest(x, md, hash, &n) != 1)
		return -1;
	put_hex(hash, n, f.cert);
	const int der_n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	const int ok = der_n > 0 && EVP_Digest(der, (size_t)der_n, hash, &n, md, NULL) == 1;
	OPENSSL_free(der);
	if (!ok)
		return -1;
	put_hex(hash, n, f.key);
	put_cn(X509_get_subject_name(x), f.subject);
	put_cn(X509_get_issuer_name(x), f.issuer);
	f.why = f.trusted ? "" : X509_verify_cert_error_string(result);
	*out = f;
	return 0;
}
