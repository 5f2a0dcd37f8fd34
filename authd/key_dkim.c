/* See key_dkim.h. */
#include "authd/key_dkim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "authres/sigmake.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "ipc/key.h"
#include "log/log.h"

struct dkim_key {
	struct list node;
	struct sign_key *key;
	uint64_t generation;
	char *name;	/* selector._domainkey.domain */
};

struct peer {
	struct loop *loop;
	struct ipc_chan *ch;
};

static struct {
	struct list keys;
	bool started;
	size_t n;
	unsigned n_peers;
	uint64_t second, in_second;
	char trouble[300];
} dkim;

static void start(void)
{
	if (!dkim.started)
		list_init(&dkim.keys);
	dkim.started = true;
}

static void key_free(struct dkim_key *k)
{
	list_del(&k->node);
	dkim.n--;
	sign_key_free(&k->key);
	free(k->name);
	free(k);
}

static struct dkim_key *find(struct str domain, struct str selector)
{
	char name[600];
	snprintf(name, sizeof(name), "%.*s._domainkey.%.*s", STR_ARG(selector), STR_ARG(domain));
	list_each(it, &dkim.keys) {
		struct dkim_key *k = list_of(it, struct dkim_key, node);
		if (str_case_eq(str_c(k->name), str_c(name)))
			return k;
	}
	return NULL;
}

static void trouble(const struct ipc_helper_DKIM_KEY *m, const char *why)
{
	if (dkim.trouble[0] == '\0')
		snprintf(dkim.trouble, sizeof(dkim.trouble), "%.*s._domainkey.%.*s: %s", (int)(m->selector.n < 60 ? m->selector.n : 60), m->selector.p,
			 (int)(m->domain.n < 100 ? m->domain.n : 100), m->domain.p, why);
}

void key_dkim_take(const struct ipc_helper_DKIM_KEY *m)
{
	struct sign_key *key;
	struct err e = { 0 };
	start();
	struct dkim_key *old = find(m->domain, m->selector);
	if (sign_key_load(m->key, &key, &e) < 0) {
		trouble(m, e.text);
		if (old)
			old->generation = m->generation;	/* the one that was good stays */
		return;
	}
	if (old)
		key_free(old);
	if (dkim.n == KEY_DKIM_KEYS_MAX) {
		sign_key_free(&key);
		trouble(m, "too many keys");
		return;
	}
	struct dkim_key *k = xzalloc(sizeof(*k));
	k->key = key;
	k->generation = m->generation;
	if (asprintf(&k->name, "%.*s._domainkey.%.*s", STR_ARG(m->selector), STR_ARG(m->domain)) < 0)
		abort();
	list_append(&dkim.keys, &k->node);
	dkim.n++;
}

void key_dkim_done(const struct ipc_helper_DKIM_DONE *m, struct ipc_helper_KEYS_RESULT *out)
{
	static char text[300];
	start();
	list_each_safe(it, &dkim.keys) {
		struct dkim_key *k = list_of(it, struct dkim_key, node);
		if (k->generation != m->generation)
			key_free(k);
	}
	snprintf(text, sizeof(text), "%s", dkim.trouble);
	dkim.trouble[0] = '\0';
	*out = (struct ipc_helper_KEYS_RESULT){ .ok = text[0] == '\0', .text = str_c(text), .count = dkim.n, .dkim = 1 };
}

/* --- signatures --- */

static bool rate_allows(void)
{
	const uint64_t now = clock_mono_ms() / 1000;
	if (now != dkim.second) {
		dkim.second = now;
		dkim.in_second = 0;
	}
	return dkim.in_second++ < KEY_DKIM_PER_SECOND;
}

static int make(const struct ipc_key_DKIM *m, struct buf *sig, struct err *e)
{
	start();
	const struct dkim_key *k = find(m->domain, m->selector);
	if (m->hash.n != 32)
		return err_set(e, ERR_INPUT, 0, "a hash has 32 bytes");
	if (k == NULL)
		return err_set(e, ERR_TEMP, 0, "no such key");
	if (!rate_allows())
		return err_set(e, ERR_LIMIT, 0, "more than %d signatures a second", KEY_DKIM_PER_SECOND);
	return sign_hash(k->key, (const unsigned char *)m->hash.p, sig, e);
}

static void on_ask(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct err e = { 0 };
	struct buf sig;
	(void)ctx, (void)type, (void)fd;
	buf_init(&sig, SIGNATURE_BYTES_MAX);
	int r;
	if (make(msg, &sig, &e) == 0)
		r = ipc_send(ch, IPC_key_SIGNED, &(struct ipc_key_SIGNED){ .signature = buf_view(&sig) }, id, -1, &e);
	else
		r = ipc_send(ch, IPC_key_REFUSED, &(struct ipc_key_REFUSED){ .text = str_sub(str_c(e.text), 0, 200) }, id, -1, &e);
	if (r < 0)
		log_error("%s", e.text);
	buf_fini(&sig);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct peer *p = ctx;
	(void)ch;
	if (why->code == ERR_INPUT)
		log_warning("filterd's key channel closed: %s", why->text);
	ipc_chan_free(&p->ch);
	dkim.n_peers--;
	loop_free_later(p->loop, p);
}

void key_dkim_peer(struct loop *l, int fd)
{
	static const uint16_t may[] = { IPC_key_DKIM };
	start();
	if (dkim.n_peers == KEY_DKIM_PEERS_MAX) {
		log_warning("too many connections of filterd's user");
		close(fd);
		return;
	}
	struct peer *p = xzalloc(sizeof(*p));
	dkim.n_peers++;
	p->loop = l;
	p->ch = ipc_chan_new(l, fd, &ipc_key, on_ask, on_closed, p);
	ipc_chan_allow(p->ch, (struct ipc_allow){ may, ARRAY_LEN(may) });
}
