/* Certificates and their keys: what fronts show, to all and by name, what remote shows, and who is believed. */
#include <dirent.h>
#include <string.h>
#include <time.h>

#include "admin/postern/check.h"
#include "base/num.h"
#include "io/tls.h"
#include "map/snimap.h"
#include "os/os.h"

enum { PEM_MAX = 1 << 20, CA_MAX = 16 << 20, EXPIRY_WARN_DAYS = 14, RSA_BITS_MIN = 2048 };

struct pair {
	const char *cert_param, *key_param, *cert, *key;
	bool server;		/* clients look at the name and at who signed it */
	bool one_of_many;	/* the parameter is a table's: the file says which it is */
};

static void about(struct check *c, enum severity severity, const struct pair *p, bool key, const char *text)
{
	const char *param = key ? p->key_param : p->cert_param;

	if (p->one_of_many)
		found(c, severity, key ? p->key : p->cert, param, "%s", text);
	else
		found_param(c, severity, param, "%s", text);
}

static void check_server_certificate(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (info->self_signed)
		about(c, SEV_WARNING, p, false, "is self-signed: mail programs warn their users");
	else if (info->chain_length < 2)
		about(c, SEV_NOTE, p, false, "holds one certificate; when its issuer is no root, the intermediate ones belong behind it");
}

static void check_certificate_info(struct check *c, const struct pair *p, const struct tls_cert_info *info)
{
	if (info->days_left < 0)
		about(c, SEV_ERROR, p, false, arena_printf(c->a, "expired %lld days ago", (long long)-info->days_left));
	else
		about(c, info->days_left < EXPIRY_WARN_DAYS ? SEV_WARNING : SEV_NOTE, p, false, arena_printf(c->a, "expires in %lld days", (long long)info->days_left));
	if (info->not_before > (int64_t)time(NULL))
		about(c, SEV_ERROR, p, false, "is not valid yet");
	if (strcmp(info->key_type, "RSA") == 0 && info->key_bits < RSA_BITS_MIN)
		about(c, SEV_ERROR, p, false,
		      arena_printf(c->a, "an RSA key of %d bits is refused by today's peers (at least %d, or EC P-256)", info->key_bits, RSA_BITS_MIN));
	if (p->server)
		check_server_certificate(c, p, info);
}

/* *info_out is set, and true returned, when the certificate can be read. pem is the caller's: the chain's text. */
static bool check_certificate(struct check *c, const struct pair *p, struct buf *pem, struct tls_cert_info *info_out)
{
	struct tls_key *key = NULL;
	struct buf key_pem;
	struct err e = { 0 };

	buf_init(&key_pem, PEM_MAX);
	const bool read = file_read(p->cert, PEM_MAX, pem, &e) == 0 && tls_cert_info(buf_view(pem), c->a, info_out, &e) == 0;
	if (read)
		check_certificate_info(c, p, info_out);
	else
		about(c, SEV_ERROR, p, false, e.text);
	if (tls_holds_key(buf_view(pem)))
		about(c, SEV_WARNING, p, false, "holds a private key: it is passed over, but processes that speak with the network read this file; put it into a file of its own");
	if (pem->n && (file_read(p->key, PEM_MAX, &key_pem, &e) < 0 || tls_key_load(buf_view(&key_pem), &key, &e) < 0 || tls_key_matches(key, buf_view(pem), &e) < 0))
		about(c, SEV_ERROR, p, true, e.text);
	if (key)
		tls_key_free(&key);
	buf_wipe(&key_pem);
	buf_fini(&key_pem);
	check_secret(c, p->key_param, p->key);
	return read;
}

static void check_lone(struct check *c, const struct pair *p)
{
	struct tls_cert_info info;
	struct buf pem;

	if (!p->cert[0])
		return;
	buf_init(&pem, PEM_MAX);
	if (check_certificate(c, p, &pem, &info) && p->server && !tls_cert_covers(&info, str_c(c->conf->myhostname)))
		about(c, SEV_WARNING, p, false, arena_printf(c->a, "does not cover myhostname (%s)", c->conf->myhostname));
	buf_fini(&pem);
}

/* --- tls_alt_cert_files, tls_server_sni_maps --- */

/* What the table's certificates become in a front, so that what it refuses is refused here. */
struct by_name {
	struct check *c;
	struct snimap map;
	struct tls_ctx *tls;	/* NULL: tls_cert_file is not to be used */
	struct tls_cert_info *infos;
	struct tls_cert **certs;	/* NULL: not to be used */
};

static void check_pairs(struct by_name *b)
{
	for (size_t i = 0; i < b->map.n_pairs; i++) {
		const bool alt = i < b->map.n_alt;
		const struct pair p = {
			alt ? "tls_alt_cert_files" : "tls_server_sni_maps", alt ? "tls_alt_key_files" : "tls_server_sni_maps", b->map.pairs[i].chain,
			b->map.pairs[i].key, true, true,
		};
		struct err e = { 0 };
		struct buf pem;

		buf_init(&pem, PEM_MAX);
		if (check_certificate(b->c, &p, &pem, &b->infos[i]) && b->tls && tls_server_cert(b->tls, buf_view(&pem), &b->certs[i], &e) < 0)
			about(b->c, SEV_ERROR, &p, false, e.text);
		if (alt && b->infos[i].key_type && !tls_cert_covers(&b->infos[i], str_c(b->c->conf->myhostname)))
			about(b->c, SEV_WARNING, &p, false, arena_printf(b->c->a, "does not cover myhostname (%s)", b->c->conf->myhostname));
		buf_fini(&pem);
	}
}

/* ".example.org" is for names with one label more, too. */
static bool covers(const struct by_name *b, unsigned pair, struct str name)
{
	return tls_cert_covers(&b->infos[pair], str_starts(name, STR(".")) ? str_c(arena_printf(b->c->a, "x%.*s", STR_ARG(name))) : name);
}

static void check_alt(struct by_name *b)
{
	const struct tls_cert *certs[SNIMAP_OF_NAME_MAX];
	struct err e = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < b->map.n_alt; i++)
		if (b->certs[i])
			certs[n++] = b->certs[i];
	if (n > 0 && tls_server_also(b->tls, certs, n, &e) < 0)
		found_param(b->c, SEV_ERROR, "tls_alt_cert_files", "%s", e.text);
}

static void check_names(struct by_name *b)
{
	for (size_t i = 0; i < b->map.n_names; i++) {
		const struct snimap_name *n = &b->map.names[i];
		const char *place = arena_printf(b->c->a, "%s:%u", n->file, n->line);
		const struct tls_cert *certs[SNIMAP_OF_NAME_MAX];
		struct err e = { 0 };
		size_t n_certs = 0;

		for (size_t k = 0; k < n->n_pairs; k++) {
			const unsigned pair = n->pairs[k];
			if (b->certs[pair] == NULL)
				continue;
			certs[n_certs++] = b->certs[pair];
			if (!covers(b, pair, n->name))
				found(b->c, SEV_WARNING, place, "tls_server_sni_maps", "%s does not cover %.*s", b->map.pairs[pair].chain, STR_ARG(n->name));
		}
		if (n_certs > 0 && tls_server_name(b->tls, n->name, certs, n_certs, &e) < 0)
			found(b->c, SEV_ERROR, place, "tls_server_sni_maps", "%s", e.text);
	}
}

static void check_by_name(struct check *c)
{
	struct by_name b = { .c = c };
	struct err e = { 0 };
	struct buf first;

	if (c->conf->tls_server_sni_maps.n == 0 && c->conf->tls_alt_cert_files.n == 0)
		return;
	if (snimap_conf(c->conf, c->a, &b.map, &e) < 0)
		found_param(c, SEV_ERROR, "tls_server_sni_maps", "%s", e.text);
	b.infos = ARENA_ARRAY(c->a, struct tls_cert_info, b.map.n_pairs + 1);
	memset(b.infos, 0, (b.map.n_pairs + 1) * sizeof(*b.infos));
	b.certs = ARENA_ARRAY(c->a, struct tls_cert *, b.map.n_pairs + 1);
	memset(b.certs, 0, (b.map.n_pairs + 1) * sizeof(*b.certs));
	buf_init(&first, PEM_MAX);
	if (file_read(c->conf->tls_cert_file, PEM_MAX, &first, &e) == 0 && tls_server_new(buf_view(&first), "", &b.tls, &e) < 0)
		b.tls = NULL;	/* said where it was looked at for itself */
	check_pairs(&b);
	check_alt(&b);
	check_names(&b);
	if (b.tls)
		tls_ctx_free(&b.tls);
	buf_fini(&first);
}

/* Whom to believe: a file of certificates, a directory of them by hashes of their names. */
static void check_authorities(struct check *c, const char *param, const char *file)
{
	struct tls_cert_info info;
	struct buf pem;
	struct err e = { 0 };

	if (!file[0])
		return;
	buf_init(&pem, CA_MAX);
	if (file_read(file, CA_MAX, &pem, &e) < 0 || tls_cert_info(buf_view(&pem), c->a, &info, &e) < 0)
		found_param(c, SEV_ERROR, param, "%s", e.text);
	buf_fini(&pem);
}

static void check_hashed(struct check *c, const char *param, const char *path)
{
	DIR *d = path[0] ? opendir(path) : NULL;
	bool any = false;

	for (const struct dirent *ent; d && (ent = readdir(d));) {
		const struct str name = str_c(ent->d_name);
		uint64_t hash;
		any |= name.n == 10 && name.p[8] == '.' && num_parse_hex(str_sub(name, 0, 8), UINT32_MAX, &hash) == 0;
	}
	if (path[0] && !d)
		found_param(c, SEV_ERROR, param, "%s cannot be read", path);
	else if (d && !any)
		found_param(c, SEV_ERROR, param, "%s has no certificate under the hash of its name: run openssl rehash %s", path, path);
	if (d)
		closedir(d);
}

void check_certificates(struct check *c)
{
	const struct conf *o = c->conf;

	check_authorities(c, "smtpd_tls_CAfile", o->smtpd_tls_CAfile);
	check_authorities(c, "smtp_tls_CAfile", o->smtp_tls_CAfile);
	check_hashed(c, "smtpd_tls_CApath", o->smtpd_tls_CApath);

	check_lone(c, &(struct pair){ "tls_cert_file", "tls_key_file", o->tls_cert_file, o->tls_key_file, true, false });
	check_lone(c, &(struct pair){ "smtp_tls_cert_file", "smtp_tls_key_file", o->smtp_tls_cert_file, o->smtp_tls_key_file, false, false });
	check_by_name(c);
}
