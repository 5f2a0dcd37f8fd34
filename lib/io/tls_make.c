/* A certificate that nobody else has signed, so that a new server speaks TLS from its first minute: P-256, for the given host names. */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "io/tls.h"

enum { SERIAL_BYTES = 16, NAMES_TEXT_MAX = 4096 };

static int failed(struct err *e, const char *what)
{
	return err_set(e, ERR_TEMP, 0, "certificate: %s", what);
}

static bool set_serial(X509 *x)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *n = RAND_bytes(bytes, sizeof(bytes)) == 1 ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
	const bool ok = n && BN_clear_bit(n, SERIAL_BYTES * 8 - 1) >= 0 && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

	BN_free(n);
	return ok;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	const bool ok = ext && X509_add_ext(x, ext, -1) == 1;

	X509_EXTENSION_free(ext);
	return ok;
}

static bool fill(X509 *x, EVP_PKEY *key, const struct str *names, size_t n, unsigned days)
{
	struct buf alt;
	X509_NAME *subject = X509_get_subject_name(x);
	bool ok;

	buf_init(&alt, NAMES_TEXT_MAX);
	for (size_t i = 0; i < n; i++)
		buf_printf(&alt, "%sDNS:%.*s", i ? "," : "", STR_ARG(names[i]));
	ok = !buf_failed(&alt) && X509_set_version(x, 2) == 1 && set_serial(x) && X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
	     X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, NULL) && X509_set_pubkey(x, key) == 1 &&
	     X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[0].p, (int)names[0].n, -1, 0) == 1 &&
	     X509_set_issuer_name(x, subject) == 1 && add_extension(x, NID_subject_alt_name, alt.p) &&
	     add_extension(x, NID_basic_constraints, "critical,CA:FALSE") && add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	     add_extension(x, NID_ext_key_usage, "serverAuth");
	buf_fini(&alt);
	return ok;
}

static bool take(BIO *bio, struct buf *out)
{
	char *text = NULL;
	const long size = BIO_get_mem_data(bio, &text);

	if (size > 0)
		buf_mem(out, text, (size_t)size);
	return size > 0 && !buf_failed(out);
}

static bool write_pem(X509 *x, EVP_PKEY *key, struct buf *cert_out, struct buf *key_out)
{
	BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_secmem());
	const bool ok = cert_bio && key_bio && PEM_write_bio_X509(cert_bio, x) == 1 &&
			PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1 && take(cert_bio, cert_out) && take(key_bio, key_out);

	BIO_free(cert_bio);
	BIO_free(key_bio);
	return ok;
}

int tls_self_signed(const struct str *names, size_t n, unsigned days, struct buf *cert_out, struct buf *key_out, struct err *e)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	int rc = 0;

	if (n == 0 || !x || !key || !fill(x, key, names, n, days) || X509_sign(x, key, EVP_sha256()) == 0)
		rc = failed(e, "it could not be made");
	else if (!write_pem(x, key, cert_out, key_out))
		rc = failed(e, "no memory");
	X509_free(x);
	EVP_PKEY_free(key);
	return rc;
}
