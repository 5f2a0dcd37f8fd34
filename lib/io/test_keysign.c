/* The key worker signs the two forms of a TLS server signature. Near misses of each are refused. */
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/buf.h"
#include "io/tls.h"
#include "test/tap.h"

enum { SPACES = 64, RANDOMS = 64 };

/* --- building the forms --- */

static void verify_form(struct buf *b, const char *context, size_t context_n, size_t hash)
{
	buf_reset(b);
	for (int i = 0; i < SPACES; i++)
		buf_ch(b, ' ');
	buf_mem(b, context, context_n);
	for (size_t i = 0; i < hash; i++)
		buf_ch(b, (char)(i + 1));
}

static const char server[] = "TLS 1.3, server CertificateVerify";

static void exchange_form(struct buf *b, const char *params, size_t params_n, int first,
			  size_t point)
{
	buf_reset(b);
	for (int i = 0; i < RANDOMS; i++)
		buf_ch(b, (char)(i * 3));
	buf_mem(b, params, params_n);
	for (size_t i = 0; i < point; i++)
		buf_ch(b, i == 0 && first >= 0 ? (char)first : (char)i);
}

/* --- the forms alone --- */

static const struct {
	const char *name, *context;
	size_t context_n, hash;
	int version;
} verifies[] = {
	{ "server context, SHA-256", server, sizeof(server), 32, 13 },
	{ "server context, SHA-384", server, sizeof(server), 48, 13 },
	{ "no hash has 31 bytes", server, sizeof(server), 31, -1 },
	{ "nor 33", server, sizeof(server), 33, -1 },
	{ "nor 47", server, sizeof(server), 47, -1 },
	{ "nor 64", server, sizeof(server), 64, -1 },
	{ "nor 0", server, sizeof(server), 0, -1 },
	{ "client context", "TLS 1.3, client CertificateVerify", sizeof(server), 32, -1 },
	{ "exporter's context", "TLS 1.3, Server CertificateVerify", sizeof(server), 32, -1 },
	{ "without the zero", server, sizeof(server) - 1, 33, -1 },
	{ "another version's", "TLS 1.4, server CertificateVerify", sizeof(server), 32, -1 },
};

static const struct {
	const char *name, *params;
	size_t params_n;
	int first;
	size_t point;
	int version;
} exchanges[] = {
	{ "X25519", "\x03\x00\x1d\x20", 4, -1, 32, 12 },
	{ "P-256", "\x03\x00\x17\x41", 4, 4, 65, 12 },
	{ "P-384", "\x03\x00\x18\x61", 4, 4, 97, 12 },
	{ "X25519, one byte short", "\x03\x00\x1d\x20", 4, -1, 31, -1 },
	{ "X25519, one byte more", "\x03\x00\x1d\x20", 4, -1, 33, -1 },
	{ "X25519 with another length", "\x03\x00\x1d\x1f", 4, -1, 31, -1 },
	{ "P-256 compressed", "\x03\x00\x17\x21", 4, 2, 33, -1 },
	{ "P-256, not a point's first byte", "\x03\x00\x17\x41", 4, 2, 65, -1 },
	{ "an explicit prime", "\x01\x00\x17\x41", 4, 4, 65, -1 },
	{ "an unknown curve", "\x03\x00\x19\x85", 4, 4, 133, -1 },
	{ "finite-field parameters", "\x00\x20", 2, -1, 98, -1 },
	{ "nothing behind the randoms", "", 0, -1, 0, -1 },
	{ "only a curve", "\x03\x00\x1d", 3, -1, 0, -1 },
	{ "only a length", "\x03\x00\x1d\x20", 4, -1, 0, -1 },
};

static void forms(void)
{
	struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < ARRAY_LEN(verifies); i++) {
		verify_form(&b, verifies[i].context, verifies[i].context_n, verifies[i].hash);
		tap_is_int(tls_tbs_version(buf_view(&b)), verifies[i].version, "TLS 1.3: %s",
			   verifies[i].name);
	}
	for (size_t i = 0; i < ARRAY_LEN(exchanges); i++) {
		exchange_form(&b, exchanges[i].params, exchanges[i].params_n, exchanges[i].first,
			      exchanges[i].point);
		tap_is_int(tls_tbs_version(buf_view(&b)), exchanges[i].version, "TLS 1.2: %s",
			   exchanges[i].name);
	}
	/* Every byte of the fixed part matters, every length but the two is refused. */
	unsigned changed = 0, longer = 0;
	for (size_t at = 0; at < SPACES + sizeof(server); at++) {
		verify_form(&b, server, sizeof(server), 32);
		b.p[at] ^= 1;
		changed += tls_tbs_version(buf_view(&b)) != -1;
	}
	tap_is_int(changed, 0, "TLS 1.3: any change of the fixed part is refused");
	verify_form(&b, server, sizeof(server), 200);
	for (size_t n = 0; n <= b.n; n++)
		longer += tls_tbs_version(str_n(b.p, n)) != -1;
	tap_is_int(longer, 2, "TLS 1.3: cut anywhere, two lengths are accepted");
	exchange_form(&b, "\x03\x00\x17\x41", 4, 4, 65);
	longer = 0;
	for (size_t n = 0; n <= b.n; n++)
		longer += tls_tbs_version(str_n(b.p, n)) != -1;
	tap_is_int(longer, 1, "TLS 1.2: cut anywhere, one length is accepted");
	tap_is_int(tls_tbs_version(str_n(NULL, 0)), -1, "nothing");
	tap_is_int(tls_tbs_version(STR("31 random bytes that mean nothing")), -1, "anything else");
	buf_fini(&b);
}

/* A message of the handshake: type, length, a body of zeroes but for the version in front. */
static void message(struct buf *b, int type, size_t n)
{
	const char head[] = { (char)type, (char)(n >> 16), (char)(n >> 8), (char)n };

	buf_mem(b, head, 4);
	for (size_t i = 0; i < n; i++)
		buf_ch(b, i < 2 ? 3 : 0);
}

static const struct {
	const char *name, *types;
	int version;
} transcripts[] = {
	{ "a handshake up to the client's key exchange", "\x01\x02\x0b\x0c\x0d\x0e\x0b\x10", 12 },
	{ "with a stapled answer", "\x01\x02\x0b\x16\x0c\x0d\x0e\x0b\x10", 12 },
	{ "without ephemeral keys", "\x01\x02\x0b\x0d\x0e\x0b\x10", 12 },
	{ "no request for a certificate", "\x01\x02\x0b\x0c\x0e\x0b\x10", -1 },
	{ "no certificate of the client", "\x01\x02\x0b\x0c\x0d\x0e\x10", -1 },
	{ "not up to the key exchange", "\x01\x02\x0b\x0c\x0d\x0e\x0b", -1 },
	{ "another message behind it", "\x01\x02\x0b\x0c\x0d\x0e\x0b\x10\x14", -1 },
	{ "one twice", "\x01\x01\x02\x0b\x0c\x0d\x0e\x0b\x10", -1 },
	{ "the server first", "\x02\x01\x0b\x0c\x0d\x0e\x0b\x10", -1 },
};

static void client_forms(void)
{
	static const char client[] = "TLS 1.3, client CertificateVerify";
	struct buf b;

	buf_init(&b, 4000);
	verify_form(&b, client, sizeof(client), 32);
	tap_is_int(tls_client_tbs_version(buf_view(&b)), 13, "client: TLS 1.3's context");
	tap_is_int(tls_tbs_version(buf_view(&b)), -1, "client: it is no server's");
	verify_form(&b, server, sizeof(server), 32);
	tap_is_int(tls_client_tbs_version(buf_view(&b)), -1, "client: a server's context is refused");
	exchange_form(&b, "\x03\x00\x1d\x20", 4, -1, 32);
	tap_is_int(tls_client_tbs_version(buf_view(&b)), -1, "client: so is a server's key exchange");
	for (size_t i = 0; i < ARRAY_LEN(transcripts); i++) {
		buf_reset(&b);
		for (const char *t = transcripts[i].types; *t; t++)
			message(&b, *t, 40);
		tap_is_int(tls_client_tbs_version(buf_view(&b)), transcripts[i].version, "client, TLS 1.2: %s", transcripts[i].name);
		tap_is_int(tls_tbs_version(buf_view(&b)), -1, "client, TLS 1.2: no server's: %s", transcripts[i].name);
	}
	buf_reset(&b);
	for (const char *t = transcripts[0].types; *t; t++)
		message(&b, *t, 40);
	unsigned accepted = 0;
	for (size_t n = 0; n < b.n; n++)
		accepted += tls_client_tbs_version(str_n(b.p, n)) != -1;
	tap_is_int(accepted, 0, "client, TLS 1.2: cut anywhere, nothing is accepted");
	b.p[5] = 2;
	tap_is_int(tls_client_tbs_version(buf_view(&b)), -1, "client, TLS 1.2: a hello of TLS 1.1");
	buf_fini(&b);
}

/* --- schemes and keys --- */

static struct tls_key *load(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct tls_key *k = NULL;
	struct err e = { 0 };
	char *p;

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	long n = BIO_get_mem_data(bio, &p);
	if (tls_key_load(str_n(p, (size_t)n), &k, &e) < 0)
		tap_ok(false, "key: %s", e.text);
	BIO_free(bio);
	return k;
}

static const struct {
	const char *kind, *scheme;
	int version;
	enum err_code code;
	const char *digest; /* to verify with */
	int padding;
} signs[] = {
	{ "RSA", "rsa_pss_rsae_sha256", 13, ERR_NONE, "SHA256", RSA_PKCS1_PSS_PADDING },
	{ "RSA", "rsa_pss_rsae_sha384", 12, ERR_NONE, "SHA384", RSA_PKCS1_PSS_PADDING },
	{ "RSA", "rsa_pss_rsae_sha512", 12, ERR_NONE, "SHA512", RSA_PKCS1_PSS_PADDING },
	{ "RSA", "rsa_pkcs1_sha256", 12, ERR_NONE, "SHA256", RSA_PKCS1_PADDING },
	{ "RSA", "rsa_pkcs1_sha256", 13, ERR_DENIED, NULL, 0 },
	{ "RSA", "rsa_pkcs1_sha1", 12, ERR_DENIED, NULL, 0 },
	{ "RSA", "rsa_pss_pss_sha256", 13, ERR_DENIED, NULL, 0 },
	{ "RSA", "ecdsa_secp256r1_sha256", 13, ERR_DENIED, NULL, 0 },
	{ "RSA", "", 13, ERR_DENIED, NULL, 0 },
	{ "P-256", "ecdsa_secp256r1_sha256", 13, ERR_NONE, "SHA256", 0 },
	{ "P-256", "ecdsa_secp256r1_sha256", 12, ERR_NONE, "SHA256", 0 },
	{ "P-256", "ecdsa_secp384r1_sha384", 12, ERR_NONE, "SHA384", 0 },
	{ "P-256", "ecdsa_secp384r1_sha384", 13, ERR_DENIED, NULL, 0 },
	{ "P-256", "rsa_pss_rsae_sha256", 13, ERR_DENIED, NULL, 0 },
	{ "P-384", "ecdsa_secp384r1_sha384", 13, ERR_NONE, "SHA384", 0 },
	{ "P-384", "ecdsa_secp256r1_sha256", 13, ERR_DENIED, NULL, 0 },
	{ "ED25519", "ed25519", 13, ERR_NONE, NULL, 0 },
	{ "ED25519", "ed25519", 12, ERR_NONE, NULL, 0 },
	{ "ED25519", "ED25519", 12, ERR_DENIED, NULL, 0 },
};

static bool verifies_with(EVP_PKEY *key, const char *digest, int padding, struct str tbs,
			  const unsigned char *sig, size_t n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, digest, NULL, NULL, key, NULL) == 1 &&
		  (!padding || EVP_PKEY_CTX_set_rsa_padding(pctx, padding) == 1) &&
		  (padding != RSA_PKCS1_PSS_PADDING ||
		   EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1) &&
		  EVP_DigestVerify(ctx, sig, n, (const unsigned char *)tbs.p, tbs.n) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

static void signing(void)
{
	EVP_PKEY *key = NULL;
	struct tls_key *k = NULL;
	const char *kind = "";
	struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		unsigned char sig[TLS_SIG_MAX];
		struct err e = { 0 };
		size_t n = 0;

		if (strcmp(kind, signs[i].kind) != 0) {
			kind = signs[i].kind;
			EVP_PKEY_free(key);
			tls_key_free(&k);
			key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048)
			      : kind[0] == 'P'	       ? EVP_EC_gen(kind)
						       : EVP_PKEY_Q_keygen(NULL, NULL, kind);
			k = load(key);
		}
		if (signs[i].version == 13)
			verify_form(&b, server, sizeof(server), 48);
		else
			exchange_form(&b, "\x03\x00\x1d\x20", 4, -1, 32);
		int r = tls_key_sign(k, signs[i].scheme, buf_view(&b), sig, &n, &e);
		tap_is_int(e.code, signs[i].code, "%s, %s, TLS 1.%d: %s", kind, signs[i].scheme,
			   signs[i].version - 10, e.text);
		if (r == 0)
			tap_ok(verifies_with(key, signs[i].digest, signs[i].padding, buf_view(&b),
					     sig, n),
			       "and verifies");
		buf_ch(&b, 'x');
		tap_ok(tls_key_sign(k, signs[i].scheme, buf_view(&b), sig, &n, &e) < 0 &&
			       e.code == ERR_DENIED,
		       "not with a byte more");
	}
	EVP_PKEY_free(key);
	tls_key_free(&k);
	buf_fini(&b);
}

int main(void)
{
	forms();
	client_forms();
	signing();
	return tap_done();
}
