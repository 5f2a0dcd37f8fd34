/* Certificates and their keys: what fronts and remote show. */
#include <string.h>
#include <time.h>

#include "admin/postern/check.h"
#include "io/tls.h"
#include "os/os.h"

enum { PEM_MAX = 1 << 20, EXPIRY_WARN_DAYS = 14, RSA_BITS_MIN = 2048 };

struct pair {
	const char *cert_param, *key_param, *cert, *key;
	bool server;		/* clients look at the name and at who signed it */
};

static void check_server_certificate(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (!tls_cert_covers(info, str_c(c->conf->myhostname)))
		found_param(c, SEV_WARNING, p->cert_param, "does not cover myhostname (%s)", c->conf->myhostname);
	if (info->self_signed)
		found_param(c, SEV_WARNING, p->cert_param, "is self-signed: mail programs warn their users");
	else if (info->chain_length < 2)
		found_param(c, SEV_NOTE, p->cert_param, "holds one certificate; when its issuer is no root, the intermediate ones belong behind it");
}

static void check_certificate_info(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (info->days_left < 0)
		found_param(c, SEV_ERROR, p->cert_param, "expired %lld days ago", (long long)-info->days_left);
	else
		found_param(c, info->days_left < EXPIRY_WARN_DAYS ? SEV_WARNING : SEV_NOTE, p->cert_param, "expires in %lld days", (long long)info->days_left);
	if (info->not_before > (int64_t)time(NULL))
		found_param(c, SEV_ERROR, p->cert_param, "is not valid yet");
	if (strcmp(info->key_type, "RSA") == 0 && info->key_bits < RSA_BITS_MIN)
		found_param(c, SEV_ERROR, p->cert_param, "an RSA key of %d bits is refused by today's peers (at least %d, or EC P-256)", info->key_bits, RSA_BITS_MIN);
	if (p->server)
		check_server_certificate(c, p, info);
}

static void check_certificate(struct check *c, const struct pair *p)
{
	struct tls_cert_info info;
	struct tls_key *key = NULL;
	struct buf pem, key_pem;
	struct err e = { 0 };

	if (!p->cert[0])
		return;
	buf_init(&pem, PEM_MAX);
	buf_init(&key_pem, PEM_MAX);
	if (file_read(p->cert, PEM_MAX, &pem, &e) < 0 || tls_cert_info(buf_view(&pem), c->a, &info, &e) < 0)
		found_param(c, SEV_ERROR, p->cert_param, "%s", e.text);
	else
		check_certificate_info(c, p, &info);
	if (pem.n && (file_read(p->key, PEM_MAX, &key_pem, &e) < 0 || tls_key_load(buf_view(&key_pem), &key, &e) < 0 || tls_key_matches(key, buf_view(&pem), &e) < 0))
		found_param(c, SEV_ERROR, p->key_param, "%s", e.text);
	if (key)
		tls_key_free(&key);
	buf_wipe(&key_pem);
	buf_fini(&key_pem);
	buf_fini(&pem);
	check_secret(c, p->key_param, p->key);
}

void check_certificates(struct check *c)
{
	const struct conf *o = c->conf;

	check_certificate(c, &(struct pair){ "tls_cert_file", "tls_key_file", o->tls_cert_file, o->tls_key_file, true });
	check_certificate(c, &(struct pair){ "smtp_tls_cert_file", "smtp_tls_key_file", o->smtp_tls_cert_file, o->smtp_tls_key_file, false });
}
