/* Certificates as text: reading a chain, what `postern check` says about one, OpenSSL's errors as ours. */
#include <limits.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "io/tls_priv.h"

enum { DAY = 86400 };

void tls_start_openssl(void)
{
	static OSSL_PROVIDER *base;

	/* No openssl.cnf: the policy is ours, and after chroot there is none. No exit handler: forks end with _exit. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	/* By name and first, see keyprov.c. */
	if (!base)
		base = OSSL_PROVIDER_load(NULL, "default");
	ERR_clear_error();
}

int tls_err(struct err *e, enum err_code code, const char *what)
{
	unsigned long last = ERR_peek_last_error();
	const char *reason = last ? ERR_reason_error_string(last) : NULL;

	if (reason)
		err_set(e, code, 0, "%s: %s", what, reason);
	else if (last)
		err_set(e, code, 0, "%s: OpenSSL error %lx", what, last);
	else
		err_set(e, code, 0, "%s", what);
	ERR_clear_error();
	return -1;
}

void tls_chain_free(STACK_OF(X509) * *chain)
{
	sk_X509_pop_free(*chain, X509_free);
	*chain = NULL;
}

/* The text of the next certificate, moved out of *rest; empty: there is none. Blocks of another kind, a private key above all, are not even decoded: what decodes them
 * leaves their bytes in freed memory. */
static struct str next_certificate(struct str *rest)
{
	static const struct str begin = { "-----BEGIN ", 11 };
	static const char *const labels[] = { "CERTIFICATE-----", "X509 CERTIFICATE-----", "TRUSTED CERTIFICATE-----" };

	for (ptrdiff_t at; (at = str_find(*rest, begin)) >= 0;) {
		struct str block = str_from(*rest, (size_t)at);
		const ptrdiff_t next = str_find(str_from(block, begin.n), begin);

		block.n = next < 0 ? block.n : begin.n + (size_t)next;
		*rest = str_from(*rest, (size_t)at + block.n);
		for (size_t i = 0; i < ARRAY_LEN(labels); i++)
			if (str_starts(str_from(block, begin.n), str_c(labels[i])))
				return block;
	}
	return (struct str){ 0 };
}

static X509 *read_one(struct str text)
{
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return cert;
}

STACK_OF(X509) * tls_chain_read(struct str pem, struct err *e)
{
	tls_start_openssl();
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct str rest = pem.n <= TLS_PEM_MAX ? pem : (struct str){ 0 }, text;

	while (chain && (text = next_certificate(&rest)).n > 0) {
		X509 *cert = read_one(text);
		if (!cert || sk_X509_num(chain) >= TLS_CHAIN_MAX || !sk_X509_push(chain, cert)) {
			X509_free(cert);
			tls_chain_free(&chain);
			tls_err(e, ERR_CONF, "certificate chain");
			return NULL;
		}
	}
	if (chain && sk_X509_num(chain) > 0)
		return chain;
	tls_chain_free(&chain);
	err_set(e, ERR_CONF, 0, "no certificate in the chain");
	return NULL;
}

bool tls_holds_key(struct str pem)
{
	return str_find(pem, STR("PRIVATE KEY-----")) >= 0;
}

/* --- what a certificate says --- */

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static const char *name_line(X509_NAME *name, struct arena *a)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	const char *out = "";

	/* RFC 2253 escapes control characters, so it is one line. */
	if (bio &&
	    X509_NAME_print_ex(bio, name, 0,
			       XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
		long n = BIO_get_mem_data(bio, &p);

		out = arena_cstr(a, str_n(p, n > 0 ? (size_t)n : 0));
	}
	BIO_free(bio);
	return out;
}

/* Names with anything but letters, digits, '-', '.', '_' and a leading "*" are nobody's host name. */
static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!ch_alnum(s.p[i]) && !memchr("-._", s.p[i], 3) && !(s.p[i] == '*' && i == 0))
			return false;
	}
	return s.n > 0 && s.n < 254;
}

static void read_names(X509 *cert, struct arena *a, struct tls_cert_info *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int n = names ? sk_GENERAL_NAME_num(names) : 0;

	out->names = ARENA_ARRAY(a, struct str, n > 0 ? (size_t)n : 1);
	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (g->type != GEN_DNS)
			continue;
		struct str s = str_n(ASN1_STRING_get0_data(g->d.dNSName),
				     (size_t)ASN1_STRING_length(g->d.dNSName));
		if (is_host(s))
			out->names[out->n_names++] = arena_str(a, s);
	}
	GENERAL_NAMES_free(names);
}

int tls_cert_info(struct str chain_pem, struct arena *a, struct tls_cert_info *out, struct err *e)
{
	STACK_OF(X509) *chain = tls_chain_read(chain_pem, e);

	if (!chain)
		return -1;
	X509 *cert = sk_X509_value(chain, 0);
	EVP_PKEY *key = X509_get0_pubkey(cert);
	*out = (struct tls_cert_info){ .key_type = "unknown" };
	out->subject = name_line(X509_get_subject_name(cert), a);
	out->issuer = name_line(X509_get_issuer_name(cert), a);
	out->not_before = seconds(X509_get0_notBefore(cert));
	out->not_after = seconds(X509_get0_notAfter(cert));
	int64_t left = out->not_after - clock_wall();
	out->days_left = left >= 0 ? left / DAY : -1 - (-left / DAY);
	if (key) {
		out->key_type = EVP_PKEY_is_a(key, "RSA")	? "RSA"
				: EVP_PKEY_is_a(key, "EC")	? "EC"
				: EVP_PKEY_is_a(key, "ED25519") ? "ED25519"
								: "unknown";
		out->key_bits = EVP_PKEY_get_bits(key);
	}
	out->chain_length = (size_t)sk_X509_num(chain);
	out->self_signed =
		X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0;
	read_names(cert, a, out);
	tls_chain_free(&chain);
	return 0;
}

bool tls_cert_covers(const struct tls_cert_info *info, struct str host)
{
	for (size_t i = 0; i < info->n_names; i++) {
		struct str name = info->names[i];

		if (str_case_eq(name, host))
			return true;
		/* A star is one whole label, and not the top two (RFC 6125 6.4.3). */
		ptrdiff_t dot = str_chr(host, '.');
		if (str_starts(name, STR("*.")) && dot > 0 &&
		    str_case_eq(str_from(name, 1), str_from(host, (size_t)dot)) &&
		    str_chr(str_from(name, 2), '.') > 0)
			return true;
	}
	return false;
}
