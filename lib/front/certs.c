/* The certificates that all fronts of a process show: that of tls_cert_file, beside it those of tls_alt_cert_files, and those of tls_server_sni_maps to
 * clients that ask for one of their names. Read as root, before the walls; keys are in the key worker, which is asked whether it has them. A process that
 * takes the place of one that serves after a reload wants all of them (whole): else the old one stays. Any other does without one that is broken, and says
 * which: clients get the certificate of tls_cert_file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "front/front_priv.h"
#include "ipc/key_client.h"
#include "log/log.h"
#include "map/snimap.h"
#include "os/os.h"

enum { CHAIN_MAX = 1 << 20 };
_Static_assert((int)SNIMAP_PAIRS_MAX <= (int)TLS_CERTS_MAX && (int)SNIMAP_PAIRS_MAX <= (int)KEY_KNOWN_MAX && (int)TLS_CERT_SHA256 == (int)KEY_CERT_BYTES,
	       "what a table may name can be loaded and asked about");
_Static_assert((int)SNIMAP_NAMES_MAX <= (int)TLS_NAMES_MAX && (int)SNIMAP_OF_NAME_MAX <= (int)TLS_CERTS_OF_NAME_MAX, "names, too");

struct loading {
	const struct front_certs *how;
	struct tls_ctx *tls;
	struct snimap map;
	struct tls_cert **certs;	/* of map.pairs; NULL: not to be shown */
};

/* 0: said, go on without it; -1: it is not to be done without. */
static int broken(const struct loading *l, const char *of, struct err *e)
{
	if (l->how->whole)
		return err_wrap(e, "%s", of);
	log_error("%s: %s; clients get the certificate of tls_cert_file instead", of, e->text);
	err_clear(e);
	return 0;
}

static const char *of_pair(const struct loading *l, size_t i)
{
	return i < l->map.n_alt ? "tls_alt_cert_files" : "tls_server_sni_maps";
}

static int load_one(struct tls_ctx *tls, const char *file, struct tls_cert **out, struct err *e)
{
	struct buf chain;

	buf_init(&chain, CHAIN_MAX);
	int r = file_read(file, CHAIN_MAX, &chain, e);
	if (r == 0 && tls_server_cert(tls, buf_view(&chain), out, e) < 0)
		r = err_wrap(e, "%s", file);
	buf_wipe(&chain);	/* it may hold a key (tls_holds_key) */
	buf_fini(&chain);
	return r;
}

static int load_certs(struct loading *l, struct err *e)
{
	for (size_t i = 0; i < l->map.n_pairs; i++)
		if (load_one(l->tls, l->map.pairs[i].chain, &l->certs[i], e) < 0 && broken(l, of_pair(l, i), e) < 0)
			return -1;
	return 0;
}

/* Of those that were loaded: a certificate without its key would fail in each handshake. */
static int ask_keys(struct loading *l, struct arena *a, struct err *e)
{
	bool known[KEY_KNOWN_MAX] = { false };
	unsigned char *digests = arena_alloc(a, l->map.n_pairs * TLS_CERT_SHA256 + 1);
	size_t n = 0;

	if (l->how->key_fd < 0)
		return 0;
	for (size_t i = 0; i < l->map.n_pairs; i++)
		if (l->certs[i])
			memcpy(digests + TLS_CERT_SHA256 * n++, tls_cert_sha256(l->certs[i]), TLS_CERT_SHA256);
	if (n > 0 && key_client_known(l->how->key_fd, str_n(digests, n * TLS_CERT_SHA256), known, e) < 0)
		return -1;
	for (size_t i = n = 0; i < l->map.n_pairs; i++) {
		if (l->certs[i] == NULL || known[n++])
			continue;
		l->certs[i] = NULL;
		err_set(e, ERR_TEMP, 0, "%s: the key worker has no key of it", l->map.pairs[i].chain);
		if (broken(l, of_pair(l, i), e) < 0)
			return -1;
	}
	return 0;
}

static int load_names(struct loading *l, struct err *e)
{
	for (size_t i = 0; i < l->map.n_names; i++) {
		const struct snimap_name *name = &l->map.names[i];
		const struct tls_cert *certs[SNIMAP_OF_NAME_MAX];
		size_t n = 0;

		for (size_t k = 0; k < name->n_pairs; k++)
			if (l->certs[name->pairs[k]])
				certs[n++] = l->certs[name->pairs[k]];
		if (n > 0 && tls_server_name(l->tls, name->name, certs, n, e) < 0) {
			(void)err_wrap(e, "%s:%u", name->file, name->line);
			if (broken(l, "tls_server_sni_maps", e) < 0)
				return -1;
		}
	}
	return 0;
}

/* Those of tls_alt_cert_files. */
static int load_alt(struct loading *l, struct err *e)
{
	const struct tls_cert *certs[SNIMAP_OF_NAME_MAX];
	size_t n = 0;

	for (size_t i = 0; i < l->map.n_alt; i++)
		if (l->certs[i])
			certs[n++] = l->certs[i];
	return n > 0 && tls_server_also(l->tls, certs, n, e) < 0 ? broken(l, "tls_alt_cert_files", e) : 0;
}

static int load_further(struct loading *l, const struct conf *c, struct err *e)
{
	struct arena *a = arena_new(0);
	int r = 0;

	if (snimap_conf(c, a, &l->map, e) < 0)
		r = broken(l, "tls_server_sni_maps", e);
	if (r == 0) {
		l->certs = ARENA_ARRAY(a, struct tls_cert *, l->map.n_pairs + 1);
		r = load_certs(l, e);
	}
	if (r == 0)
		r = ask_keys(l, a, e);
	if (r == 0)
		r = load_alt(l, e);
	if (r == 0)
		r = load_names(l, e);
	arena_free(&a);
	return r;
}

int front_certs_load(const struct front_run *run, const struct front_certs *how, struct tls_ctx **out, struct err *e)
{
	struct loading l = { .how = how };
	const char *file = run->conf->tls_cert_file;
	struct buf chain;

	if (!*file)
		return 0;
	tls_share_memory();
	tls_sign_through(key_client_sign);
	buf_init(&chain, CHAIN_MAX);
	int r = file_read(file, CHAIN_MAX, &chain, e);
	if (r == 0)
		r = tls_server_new(buf_view(&chain), run->service->alpn, &l.tls, e);
	buf_wipe(&chain);	/* it may hold a key (tls_holds_key) */
	buf_fini(&chain);
	if (r < 0)
		return err_wrap(e, "tls_cert_file");
	if ((run->conf->tls_server_sni_maps.n > 0 || run->conf->tls_alt_cert_files.n > 0) && load_further(&l, run->conf, e) < 0)
		return -1;
	*out = l.tls;
	return tls_warm_up(l.tls, e) < 0 ? err_wrap(e, "tls_cert_file") : 0;
}
