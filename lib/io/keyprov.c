/* A provider for OpenSSL 3 whose keys have no private half: key management answers from the certificate's public key,
 * and a signature is a request to the key worker (tls_sign_through). It has two operations, key management and signature;
 * there is none that decrypts, so RSA key exchange cannot work with it.
 *
 * Traps, each measured: it must be loaded after "default", or fetches without properties find it first; it must refuse
 * to export a private selection, so that OpenSSL comes back to this provider instead of carrying the key to "default";
 * an EC key must name ECDSA as its signature operation.
 */
#include <string.h>

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/arena.h"
#include "io/tls_priv.h"

#define NAME "postern-key"
#define PROPS "provider=" NAME
#define PARAM_CERT "postern-cert-sha256"

enum { CERT_SHA = 32, KINDS = 3 };

/* The kinds of key, and what names a signature has in TLS (RFC 8446 4.2.3). */
enum kind { KIND_RSA, KIND_EC, KIND_ED25519 };
static const char *const kind_name[KINDS] = { "RSA", "EC", "ED25519" };

static const struct scheme {
	enum kind kind;
	bool pss;
	const char *digest, *name;
} schemes[] = {
	{ KIND_RSA, true, "SHA2-256", "rsa_pss_rsae_sha256" },
	{ KIND_RSA, true, "SHA2-384", "rsa_pss_rsae_sha384" },
	{ KIND_RSA, true, "SHA2-512", "rsa_pss_rsae_sha512" },
	{ KIND_RSA, false, "SHA2-256", "rsa_pkcs1_sha256" },
	{ KIND_RSA, false, "SHA2-384", "rsa_pkcs1_sha384" },
	{ KIND_RSA, false, "SHA2-512", "rsa_pkcs1_sha512" },
	{ KIND_EC, false, "SHA2-256", "ecdsa_secp256r1_sha256" },
	{ KIND_EC, false, "SHA2-384", "ecdsa_secp384r1_sha384" },
	{ KIND_ED25519, false, "", "ed25519" },
};

struct key {
	enum kind kind;
	bool remote; /* made by keyprov_key: signs. Others are public keys to compare with */
	EVP_PKEY *public;
	unsigned char cert_sha256[CERT_SHA];
};

struct signer {
	struct key *key;
	bool pss, bad;
	const char *digest;
};

int keyprov_channel = -1;
static tls_sign_fn *sign_fn;
static struct err last_error;

void tls_sign_through(tls_sign_fn *fn)
{
	sign_fn = fn;
}

const char *keyprov_last_error(void)
{
	return last_error.text;
}

void keyprov_forget_error(void)
{
	err_clear(&last_error);
}

/* --- key management --- */

static struct key *key_new(enum kind kind)
{
	struct key *k = OPENSSL_zalloc(sizeof(*k));

	if (k)
		k->kind = kind;
	return k;
}
static void *rsa_new(void *provctx)
{
	return key_new(KIND_RSA);
}
static void *ec_new(void *provctx)
{
	return key_new(KIND_EC);
}
static void *ed25519_new(void *provctx)
{
	return key_new(KIND_ED25519);
}

static void key_free(void *vkey)
{
	struct key *k = vkey;

	if (k)
		EVP_PKEY_free(k->public);
	OPENSSL_free(k);
}

static int key_has(const void *vkey, int selection)
{
	const struct key *k = vkey;

	if (!k || !k->public)
		return 0;
	return !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || k->remote;
}

static int key_match(const void *va, const void *vb, int selection)
{
	const struct key *a = va, *b = vb;

	return a->public && b->public && EVP_PKEY_eq(a->public, b->public) == 1;
}

static int key_import(void *vkey, int selection, const OSSL_PARAM params[])
{
	struct key *k = vkey;
	const OSSL_PARAM *cert = OSSL_PARAM_locate_const(params, PARAM_CERT);
	EVP_PKEY_CTX *ctx =
		EVP_PKEY_CTX_new_from_name(NULL, kind_name[k->kind], "provider=default");
	/* fromdata wants a writable array, and writes nothing. */
	OSSL_PARAM *writable = OSSL_PARAM_dup(params);
	EVP_PKEY *public = NULL;
	int ok = ctx && writable && EVP_PKEY_fromdata_init(ctx) == 1 &&
		 EVP_PKEY_fromdata(ctx, &public, EVP_PKEY_PUBLIC_KEY, writable) == 1;

	OSSL_PARAM_free(writable);
	EVP_PKEY_CTX_free(ctx);
	if (!ok)
		return 0;
	EVP_PKEY_free(k->public);
	k->public = public;
	if (cert && cert->data_type == OSSL_PARAM_OCTET_STRING && cert->data_size == CERT_SHA) {
		memcpy(k->cert_sha256, cert->data, CERT_SHA);
		k->remote = true;
	}
	return 1;
}

static int key_export(void *vkey, int selection, OSSL_CALLBACK *cb, void *arg)
{
	struct key *k = vkey;
	OSSL_PARAM *params = NULL;

	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || !k->public ||
	    EVP_PKEY_todata(k->public, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	int ok = cb(params, arg);
	OSSL_PARAM_free(params);
	return ok;
}

static const OSSL_PARAM *key_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_octet_string(PARAM_CERT, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY ? types : NULL;
}

static int key_get_params(void *vkey, OSSL_PARAM params[])
{
	struct key *k = vkey;

	return k->public && EVP_PKEY_get_params(k->public, params);
}

static const OSSL_PARAM *key_gettable(void *provctx)
{
	static const OSSL_PARAM gettable[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	return gettable;
}

static const char *rsa_operation(int operation)
{
	return "RSA";
}
static const char *ec_operation(int operation)
{
	return "ECDSA";
}
static const char *ed25519_operation(int operation)
{
	return "ED25519";
}

typedef void (*func)(void);
#define KEYMGMT(kind)                                                                              \
	{                                                                                          \
		{ OSSL_FUNC_KEYMGMT_NEW, (func)kind##_new },                                       \
			{ OSSL_FUNC_KEYMGMT_FREE, (func)key_free },                                \
			{ OSSL_FUNC_KEYMGMT_HAS, (func)key_has },                                  \
			{ OSSL_FUNC_KEYMGMT_MATCH, (func)key_match },                              \
			{ OSSL_FUNC_KEYMGMT_IMPORT, (func)key_import },                            \
			{ OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (func)key_types },                       \
			{ OSSL_FUNC_KEYMGMT_EXPORT, (func)key_export },                            \
			{ OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (func)key_types },                       \
			{ OSSL_FUNC_KEYMGMT_GET_PARAMS, (func)key_get_params },                    \
			{ OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (func)key_gettable },                 \
			{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (func)kind##_operation },        \
			{ 0, NULL },                                                               \
	}
static const OSSL_DISPATCH rsa_keymgmt[] = KEYMGMT(rsa);
static const OSSL_DISPATCH ec_keymgmt[] = KEYMGMT(ec);
static const OSSL_DISPATCH ed25519_keymgmt[] = KEYMGMT(ed25519);

/* --- signature --- */

static void *signer_new(void *provctx, const char *props)
{
	return OPENSSL_zalloc(sizeof(struct signer));
}

static void signer_free(void *vs)
{
	OPENSSL_free(vs);
}

static void *signer_dup(void *vs)
{
	return OPENSSL_memdup(vs, sizeof(struct signer));
}

static bool is_name(const OSSL_PARAM *p, const char *name)
{
	return p->data_type == OSSL_PARAM_UTF8_STRING && p->data && strcmp(p->data, name) == 0;
}

static void set_digest(struct signer *s, const char *name)
{
	/* All that TLS uses with our schemes; another is refused when it comes to signing. */
	static const struct {
		const char *from, *to;
	} names[] = {
		{ "SHA256", "SHA2-256" },
		{ "SHA2-256", "SHA2-256" },
		{ "SHA384", "SHA2-384" },
		{ "SHA2-384", "SHA2-384" },
		{ "SHA512", "SHA2-512" },
		{ "SHA2-512", "SHA2-512" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(name, names[i].from) == 0) {
			s->digest = names[i].to;
			return;
		}
	}
	s->bad = true;
}

/* Padding, salt length and digests, as libssl sets them for its signature schemes; anything else is remembered as bad. */
static int signer_set_params(void *vs, const OSSL_PARAM params[])
{
	struct signer *s = vs;
	int n;

	for (const OSSL_PARAM *p = params; p && p->key; p++) {
		if (strcmp(p->key, OSSL_SIGNATURE_PARAM_PAD_MODE) == 0) {
			s->pss = is_name(p, OSSL_PKEY_RSA_PAD_MODE_PSS) ||
				 (p->data_type == OSSL_PARAM_INTEGER && OSSL_PARAM_get_int(p, &n) &&
				  n == RSA_PKCS1_PSS_PADDING);
			if (!s->pss && !is_name(p, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) &&
			    !(p->data_type == OSSL_PARAM_INTEGER && OSSL_PARAM_get_int(p, &n) &&
			      n == RSA_PKCS1_PADDING))
				s->bad = true;
		} else if (strcmp(p->key, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) == 0) {
			if (!is_name(p, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) && !is_name(p, "-1") &&
			    !(p->data_type == OSSL_PARAM_INTEGER && OSSL_PARAM_get_int(p, &n) &&
			      n == RSA_PSS_SALTLEN_DIGEST))
				s->bad = true;
		} else if (strcmp(p->key, OSSL_SIGNATURE_PARAM_DIGEST) == 0) {
			if (p->data_type == OSSL_PARAM_UTF8_STRING && p->data)
				set_digest(s, p->data);
		}
	}
	return 1;
}

static const OSSL_PARAM *signer_settable(void *vs, void *provctx)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	return settable;
}

static int signer_init(void *vs, const char *digest, void *vkey, const OSSL_PARAM params[])
{
	struct signer *s = vs;

	if (vkey)
		s->key = vkey;
	if (!s->key || !s->key->remote)
		return 0;
	s->pss = s->bad = false;
	set_digest(s, digest ? digest : "");
	return signer_set_params(s, params);
}

static const struct scheme *scheme_of(const struct signer *s)
{
	for (size_t i = 0; !s->bad && i < ARRAY_LEN(schemes); i++) {
		if (schemes[i].kind == s->key->kind && schemes[i].pss == s->pss &&
		    strcmp(schemes[i].digest, s->digest) == 0)
			return &schemes[i];
	}
	return NULL;
}

static int signer_sign(void *vs, unsigned char *sig, size_t *sig_n, size_t sig_max,
		       const unsigned char *tbs, size_t tbs_n)
{
	struct signer *s = vs;
	const struct scheme *scheme = scheme_of(s);

	if (!sig) {
		*sig_n = (size_t)EVP_PKEY_get_size(s->key->public);
		return 1;
	}
	err_clear(&last_error);
	if (!scheme)
		err_set(&last_error, ERR_BUG, 0, "no such signature scheme");
	else if (!sign_fn || keyprov_channel < 0)
		err_set(&last_error, ERR_BUG, 0, "no channel to the key worker");
	else if (sign_fn(keyprov_channel, scheme->name, str_n(tbs, tbs_n),
			 str_n(s->key->cert_sha256, CERT_SHA), sig, sig_max, sig_n,
			 &last_error) == 0)
		return 1;
	return 0;
}

static const OSSL_DISPATCH signature[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, (func)signer_new },
	{ OSSL_FUNC_SIGNATURE_FREECTX, (func)signer_free },
	{ OSSL_FUNC_SIGNATURE_DUPCTX, (func)signer_dup },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (func)signer_init },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (func)signer_sign },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (func)signer_set_params },
	{ OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (func)signer_settable },
	{ 0, NULL },
};

/* --- the provider --- */

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPS, rsa_keymgmt,
		  "RSA keys elsewhere" },
		{ "EC:id-ecPublicKey:1.2.840.10045.2.1", PROPS, ec_keymgmt, "EC keys elsewhere" },
		{ "ED25519:1.3.101.112", PROPS, ed25519_keymgmt, "Ed25519 keys elsewhere" },
		{ NULL, NULL, NULL, NULL },
	};
	static const OSSL_ALGORITHM signatures[] = {
		{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPS, signature, "RSA elsewhere" },
		{ "ECDSA", PROPS, signature, "ECDSA elsewhere" },
		{ "ED25519:1.3.101.112", PROPS, signature, "Ed25519 elsewhere" },
		{ NULL, NULL, NULL, NULL },
	};

	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT	? keys
	       : operation == OSSL_OP_SIGNATURE ? signatures
						: NULL;
}

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
		void **provctx)
{
	static const OSSL_DISPATCH provider[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (func)query },
		{ 0, NULL },
	};
	static char context; /* must not be NULL */

	*out = provider;
	*provctx = &context;
	return 1;
}

static int load(struct err *e)
{
	static bool loaded;

	if (loaded)
		return 0;
	/* tls_start_openssl() has loaded "default". */
	if (!OSSL_PROVIDER_available(NULL, "default") ||
	    !OSSL_PROVIDER_add_builtin(NULL, NAME, init) || !OSSL_PROVIDER_load(NULL, NAME))
		return tls_err(e, ERR_BUG, "key provider");
	loaded = true;
	return 0;
}

static int kind_of(EVP_PKEY *public)
{
	for (int i = 0; public && i < KINDS; i++) {
		if (EVP_PKEY_is_a(public, kind_name[i]))
			return i;
	}
	return -1;
}

/* Of the curves those that a scheme has. */
static bool has_scheme(EVP_PKEY *ec)
{
	char group[64];

	return EVP_PKEY_get_group_name(ec, group, sizeof(group), NULL) == 1 && (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
}

int keyprov_key(X509 *cert, EVP_PKEY **out, struct err *e)
{
	EVP_PKEY *public = X509_get0_pubkey(cert);
	int kind = kind_of(public);
	unsigned char sha[CERT_SHA];
	OSSL_PARAM extra[] = { OSSL_PARAM_construct_octet_string(PARAM_CERT, sha, sizeof(sha)),
			       OSSL_PARAM_construct_end() };
	OSSL_PARAM *params = NULL, *all = NULL;
	EVP_PKEY_CTX *ctx = NULL;

	if (kind < 0)
		return err_set(e, ERR_CONF, 0, "the certificate's key is not RSA, EC or Ed25519");
	if (kind == KIND_EC && !has_scheme(public))
		return err_set(e, ERR_CONF, 0, "the certificate's key is on another curve than P-256 and P-384");
	if (load(e) < 0)
		return -1;
	int ok = X509_digest(cert, EVP_sha256(), sha, NULL) == 1 &&
		 EVP_PKEY_todata(public, EVP_PKEY_PUBLIC_KEY, &params) == 1 &&
		 (all = OSSL_PARAM_merge(params, extra)) &&
		 (ctx = EVP_PKEY_CTX_new_from_name(NULL, kind_name[kind], PROPS)) &&
		 EVP_PKEY_fromdata_init(ctx) == 1 &&
		 EVP_PKEY_fromdata(ctx, out, EVP_PKEY_KEYPAIR, all) == 1;

	EVP_PKEY_CTX_free(ctx);
	OPENSSL_free(all);
	OSSL_PARAM_free(params);
	return ok ? 0 : tls_err(e, ERR_BUG, "remote key");
}
