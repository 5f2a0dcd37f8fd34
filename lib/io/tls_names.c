/* Which certificate a server shows (RFC 6066 3): the first one, or those of the name that the client asks for. All are loaded before the process
 * forks; a handshake costs a look at a table for the name and one for each of its parents, and copies nothing. The name is the client's: it is compared, and nothing
 * else. OpenSSL has refused one with a NUL or of more than 255 bytes with an alert.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "base/map.h"
#include "io/conn_priv.h"
#include "io/tls_priv.h"

struct tls_cert {
	struct tls_cert *next;
	X509 *leaf;
	STACK_OF(X509) *chain;	/* what is shown behind it */
	EVP_PKEY *key;		/* elsewhere */
	unsigned char sha256[TLS_CERT_SHA256];
};

struct shown {
	struct shown *next;
	const struct tls_cert *certs[TLS_CERTS_OF_NAME_MAX];
	size_t n;
};

struct tls_names {
	struct tls_cert *certs;
	struct shown *shown;
	size_t n_certs;
	struct map *by_name;	/* "mail.example.org", ".example.org" for all below */
};

/* --- names --- */

/* In lower case, without the dot of the root. Letters, digits, '-' and '_' in labels: what is anything else is in no certificate that we have. */
static bool fold(struct str name, char out[TLS_NAME_MAX], struct str *folded_out)
{
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	if (name.n == 0 || name.n > TLS_NAME_MAX || name.p[name.n - 1] == '.')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		const char c = name.p[i];
		if (!ch_alnum(c) && c != '-' && c != '_' && (c != '.' || i == 0 || out[i - 1] == '.'))
			return false;
		out[i] = ch_lower(c);
	}
	*folded_out = str_n(out, name.n);
	return true;
}

/* A key of the table: a name, or ".parent". */
static bool fold_key(struct str name, char out[TLS_NAME_MAX + 1], struct str *key_out)
{
	const bool below = str_starts(name, STR("."));
	struct str key;

	if (!fold(str_from(name, below), out + below, &key))
		return false;
	out[0] = below ? '.' : out[0];
	*key_out = str_n(out, key.n + below);
	return true;
}

bool tls_name_valid(struct str name)
{
	char low[TLS_NAME_MAX + 1];
	struct str key;

	return fold_key(name, low, &key);
}

static const struct shown *find(const struct tls_names *names, const char *asked)
{
	char low[TLS_NAME_MAX];
	struct str s;

	if (names == NULL || asked == NULL || !fold(str_c(asked), low, &s))
		return NULL;
	const struct shown *found = map_get(names->by_name, s);
	for (ptrdiff_t dot = str_chr(s, '.'); found == NULL && dot >= 0; dot = str_chr(s, '.')) {
		s = str_from(s, (size_t)dot);
		found = map_get(names->by_name, s);
		s = str_from(s, 1);
	}
	return found;
}

/* --- in a handshake --- */

/* The certificates that come from the context must go: of two kinds of key OpenSSL would take the better one, whatever its name. */
static bool show(SSL *ssl, const struct shown *w)
{
	int ok = 1;

	SSL_certs_clear(ssl);
	for (size_t i = 0; ok == 1 && i < w->n; i++) {
		const struct tls_cert *c = w->certs[i];
		/* No chain, not an empty one: it may be completed (tls_server_believe). */
		ok = SSL_use_cert_and_key(ssl, c->leaf, c->key, sk_X509_num(c->chain) > 0 ? c->chain : NULL, 1);
	}
	return ok == 1;
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_ctx *t = arg;
	const struct shown *w = find(t->names, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

	if (w == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	if (show(ssl, w))
		return SSL_TLSEXT_ERR_OK;
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

const char *tls_name_of(SSL *ssl, const struct tls_ctx *t)
{
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	return find(t->names, asked) ? asked : "";
}

/* --- before --- */

static struct tls_names *names_of(struct tls_ctx *t)
{
	if (t->names == NULL) {
		t->names = xzalloc(sizeof(*t->names));
		t->names->by_name = map_new();
		SSL_CTX_set_tlsext_servername_callback(t->ssl, on_name);
		SSL_CTX_set_tlsext_servername_arg(t->ssl, t);
	}
	return t->names;
}

static void cert_free(struct tls_cert *c)
{
	X509_free(c->leaf);
	tls_chain_free(&c->chain);
	EVP_PKEY_free(c->key);
	free(c);
}

void tls_names_free(struct tls_names **np)
{
	struct tls_names *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	for (struct tls_cert *c = n->certs, *next; c; c = next) {
		next = c->next;
		cert_free(c);
	}
	for (struct shown *w = n->shown, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	map_free(&n->by_name);
	free(n);
}

/* What a handshake will do with it, once: a weak key is refused now, and what OpenSSL builds on first use is built. */
static int try_out(struct tls_ctx *t, const struct tls_cert *c, struct err *e)
{
	const struct shown w = { .certs = { c }, .n = 1 };
	SSL *ssl = SSL_new(t->ssl);
	const int r = ssl && show(ssl, &w) ? 0 : tls_err(e, ERR_CONF, "certificate");

	SSL_free(ssl);
	return r;
}

int tls_server_cert(struct tls_ctx *t, struct str chain_pem, struct tls_cert **out, struct err *e)
{
	struct tls_names *names = names_of(t);

	if (names->n_certs >= TLS_CERTS_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d certificates", TLS_CERTS_MAX);
	struct tls_cert *c = xzalloc(sizeof(*c));
	c->chain = tls_chain_read(chain_pem, e);
	c->leaf = c->chain ? sk_X509_shift(c->chain) : NULL;
	if (c->leaf == NULL || keyprov_key(c->leaf, &c->key, e) < 0 || try_out(t, c, e) < 0) {
		cert_free(c);
		return -1;
	}
	if (X509_digest(c->leaf, EVP_sha256(), c->sha256, NULL) != 1) {
		cert_free(c);
		return tls_err(e, ERR_BUG, "certificate");
	}
	c->next = names->certs;
	names->certs = c;
	names->n_certs++;
	*out = c;
	return 0;
}

const unsigned char *tls_cert_sha256(const struct tls_cert *c)
{
	return c->sha256;
}

/* Of one kind of key OpenSSL keeps one certificate: the other would never be shown. */
static bool same_kind(const struct tls_cert *a, const struct tls_cert *b)
{
	return EVP_PKEY_get_base_id(X509_get0_pubkey(a->leaf)) == EVP_PKEY_get_base_id(X509_get0_pubkey(b->leaf));
}

int tls_server_also(struct tls_ctx *t, const struct tls_cert *const *certs, size_t n, struct err *e)
{
	const struct tls_cert first = { .leaf = SSL_CTX_get0_certificate(t->ssl) };

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k <= i; k++)
			if (same_kind(certs[i], k == i ? &first : certs[k]))
				return err_set(e, ERR_CONF, 0, "two certificates have the same kind of key");
	for (size_t i = 0; i < n; i++) {
		const struct tls_cert *c = certs[i];
		if (SSL_CTX_use_cert_and_key(t->ssl, c->leaf, c->key, sk_X509_num(c->chain) > 0 ? c->chain : NULL, 1) != 1)
			return tls_err(e, ERR_CONF, "certificate");
	}
	return 0;
}

int tls_server_name(struct tls_ctx *t, struct str name, const struct tls_cert *const *certs, size_t n, struct err *e)
{
	struct tls_names *names = names_of(t);
	char low[TLS_NAME_MAX + 1];
	struct str key;

	if (!fold_key(name, low, &key))
		return err_set(e, ERR_CONF, 0, "\"%.*s\" is not a host name (allowed: letters, digits and hyphens in labels; other alphabets as xn--…)",
			       STR_ARG(str_sub(name, 0, 80)));
	if (n == 0 || n > TLS_CERTS_OF_NAME_MAX)
		return err_set(e, ERR_CONF, 0, "%zu certificates for %.*s (allowed: 1 to %d)", n, STR_ARG(key), TLS_CERTS_OF_NAME_MAX);
	if (map_get(names->by_name, key))
		return err_set(e, ERR_CONF, 0, "%.*s stands there twice", STR_ARG(key));
	if (map_count(names->by_name) >= TLS_NAMES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d names", TLS_NAMES_MAX);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (same_kind(certs[i], certs[k]))
				return err_set(e, ERR_CONF, 0, "two certificates for %.*s have the same kind of key", STR_ARG(key));
	struct shown *w = xzalloc(sizeof(*w));
	memcpy(w->certs, certs, n * sizeof(*certs));
	w->n = n;
	w->next = names->shown;
	names->shown = w;
	(void)map_set(names->by_name, key, w);
	return 0;
}
