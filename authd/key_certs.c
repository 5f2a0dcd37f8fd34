/* See key_certs.h. */
#include "authd/key_certs.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "base/list.h"
#include "base/map.h"

enum { KEYS_MAX = 65536, SETS_KEPT = 1 };

struct cert_key {
	struct list node;
	struct tls_key *key;
	uint8_t cert[SCRAM_HASH];
	uint64_t generation;	/* of the last load that had it */
	bool in_use;		/* in the set that is complete */
	unsigned age;		/* sets since it was */
};

static struct {
	struct map *by_cert;	/* NULL: there was none yet */
	struct list all;
	bool trouble;		/* in the generation that is coming */
} certs;

/* SHA-256 of the first certificate of a PEM chain. */
static int cert_digest(struct str chain, uint8_t out[SCRAM_HASH], struct err *e)
{
	static const struct str begin = { "-----BEGIN CERTIFICATE-----", 27 }, end = { "-----END CERTIFICATE-----", 25 };
	const ptrdiff_t from = str_find(chain, begin), to = str_find(chain, end);
	struct str text, line;
	struct buf flat, der;
	int rc = -1;

	if (from < 0 || to < from)
		return err_set(e, ERR_CONF, 0, "no certificate in the chain");
	text = str_sub(chain, (size_t)from + begin.n, (size_t)(to - from) - begin.n);
	buf_init(&flat, KEYS_MAX);
	buf_init(&der, KEYS_MAX);
	while (str_token(&text, "\r\n \t", &line))
		buf_str(&flat, line);
	if (base64_decode(&der, buf_view(&flat)) == 0 && der.n && !buf_failed(&der))
		rc = digest_sha256(buf_view(&der), out);
	buf_fini(&flat);
	buf_fini(&der);
	return rc < 0 ? err_set(e, ERR_CONF, 0, "the certificate is not PEM") : 0;
}

int key_pair_load(const struct ipc_helper_KEYS *m, struct tls_key **key_out, uint8_t cert_out[SCRAM_HASH], struct err *e)
{
	struct tls_key *key = NULL;

	if (cert_digest(m->chain, cert_out, e) < 0 || tls_key_load(m->key, &key, e) < 0)
		return -1;
	if (tls_key_matches(key, m->chain, e) < 0) {
		tls_key_free(&key);
		return -1;
	}
	*key_out = key;
	return 0;
}

static void forget(struct cert_key *c)
{
	(void)map_del(certs.by_cert, str_n(c->cert, sizeof(c->cert)));
	list_del(&c->node);
	tls_key_free(&c->key);
	free(c);
}

static int take(const struct ipc_helper_KEYS *m, struct err *e)
{
	struct tls_key *key;
	uint8_t cert[SCRAM_HASH];

	if (key_pair_load(m, &key, cert, e) < 0)
		return -1;
	struct cert_key *c = map_get(certs.by_cert, str_n(cert, sizeof(cert)));
	if (c == NULL && map_count(certs.by_cert) >= KEY_CERTS_MAX) {
		tls_key_free(&key);
		return err_set(e, ERR_CONF, 0, "more than %d certificates, old ones included", KEY_CERTS_MAX);
	}
	if (c == NULL) {
		c = xzalloc(sizeof(*c));
		memcpy(c->cert, cert, sizeof(cert));
		list_append(&certs.all, &c->node);
		(void)map_set(certs.by_cert, str_n(c->cert, sizeof(c->cert)), c);
	}
	tls_key_free(&c->key);
	c->key = key;
	c->generation = m->generation;	/* of its age the end of the load decides */
	return 0;
}

int key_certs_take(const struct ipc_helper_KEYS *m, struct err *e)
{
	if (certs.by_cert == NULL) {
		certs.by_cert = map_new();
		list_init(&certs.all);
	}
	const int r = take(m, e);
	certs.trouble = certs.trouble || r < 0;
	return r;
}

/* Is it another set of certificates than the one before? */
static bool changed(uint64_t generation)
{
	list_each(it, &certs.all) {
		const struct cert_key *c = list_of(it, struct cert_key, node);

		if (c->in_use != (c->generation == generation))
			return true;
	}
	return false;
}

/* The set before this one is kept, however often the same is loaded again. */
static bool forget_old(uint64_t generation)
{
	bool forgotten = false;

	list_each_safe(it, &certs.all) {
		struct cert_key *c = list_of(it, struct cert_key, node);

		c->age = c->generation == generation ? 0 : c->age + 1;
		c->in_use = c->age == 0;
		if (c->age <= SETS_KEPT)
			continue;
		forget(c);
		forgotten = true;
	}
	return forgotten;
}

void key_certs_done(const struct ipc_helper_KEYS_DONE *m, struct ipc_helper_KEYS_RESULT *out, bool *forgotten_out)
{
	const bool all = !certs.trouble && m->missing == 0;
	uint64_t count = 0;

	certs.trouble = false;
	*forgotten_out = certs.by_cert && all && changed(m->generation) && forget_old(m->generation);
	if (certs.by_cert)
		list_each(it, &certs.all)
			count += list_of(it, struct cert_key, node)->generation == m->generation;
	*out = (struct ipc_helper_KEYS_RESULT){ .ok = 1, .count = count, .sni = 1 };
}

struct tls_key *key_certs_find(struct str cert)
{
	struct cert_key *c = certs.by_cert ? map_get(certs.by_cert, cert) : NULL;

	return c ? c->key : NULL;
}
