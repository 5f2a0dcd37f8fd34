/* authd-key: the only process that holds private keys: of TLS here and in key_certs.c, of DKIM in key_dkim.c. A front's parent registers each connection here (reg.def,
 * its peer must be root); the front then asks for one signature, gets it only over the exact TLS server structures (lib/io/tls.h), and its channel ends. Keys
 * come from the monitor, which reads the files as root; the previous pair is kept for fronts that still show the old certificate. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/helper.h"
#include "authd/key_certs.h"
#include "authd/key_dkim.h"
#include "authd/scram.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/tls.h"
#include "ipc/helper.h"
#include "ipc/key.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

enum { CONNS_MAX = 20000, REGISTRARS_MAX = 16, REMOTES_MAX = 1024, KEYS_KEPT = 2, KEYS_WAIT_MS = 1000, SIGNATURE_MAX = 1024 };
enum { CLIENT_SHARE = 5, WORKER_SHARE = 4 };	/* of the servers' signatures, for remote; of these, for one of its workers */

struct budget {
	uint64_t second, in_second, per_second;
};

struct conn {
	struct list node;
	struct ipc_chan *ch;
	unsigned left;	/* signatures, of a front's; a handshake takes one, a template's self test has two handshakes */
	bool remote;	/* one of remote's: asks for a client's signatures, as many as it has conversations, */
	struct budget own;	/* but no more than its part, so that one worker cannot use up what all of them have */
};

struct registrar {
	struct list node;
	struct ipc_chan *ch;
	bool said_hello;
};

static struct {
	struct loop *loop;
	struct ipc_chan *monitor;
	struct pair {
		struct tls_key *key;
		uint8_t cert[SCRAM_HASH];	/* SHA-256 of the certificate */
	} keys[KEYS_KEPT], client_keys[KEYS_KEPT];	/* newest first */
	struct list conns, registrars;
	unsigned n_conns, n_registrars, n_remotes;
	struct watch *listeners[2];
	struct timer *late;
	uid_t filter_uid, remote_uid;
	/* Of fronts and of remote. Each has its own, so that neither can use up the other's. */
	struct budget servers, clients;
} key;

static const uint16_t conn_allowed[] = { IPC_key_SIGN }, test_allowed[] = { IPC_key_KNOWN, IPC_key_SIGN }, remote_allowed[] = { IPC_key_CLIENT };
static const uint16_t reg_first[] = { IPC_reg_HELLO }, reg_then[] = { IPC_reg_CONN };
static const uint16_t monitor_allowed[] = { IPC_helper_KEYS, IPC_helper_KEYS_DONE, IPC_helper_DKIM_KEY, IPC_helper_DKIM_DONE };

/* --- signatures --- */

static void refuse(struct conn *c, uint32_t id, const char *why)
{
	struct err e = { 0 };

	log_warning("signature refused: %s", why);
	if (ipc_send(c->ch, IPC_key_REFUSED, &(struct ipc_key_REFUSED){ .text = str_c(why) }, id, -1, &e) < 0)
		log_error("%s", e.text);
}

static bool rate_allows(struct budget *b)
{
	const uint64_t now = clock_mono_ms() / 1000;

	if (now != b->second) {
		b->second = now;
		b->in_second = 0;
	}
	return b->in_second++ < b->per_second;
}

/* The key of the certificate that the front shows; without one, the newest. */
static struct tls_key *key_for(const struct pair pairs[KEYS_KEPT], struct str cert)
{
	for (int i = 0; i < KEYS_KEPT; i++)
		if (pairs[i].key && (cert.n == 0 || str_eq(cert, str_n(pairs[i].cert, sizeof pairs[i].cert))))
			return pairs[i].key;
	return NULL;
}

static struct tls_key *server_key_for(struct str cert)
{
	struct tls_key *k = key_for(key.keys, cert);

	return k ? k : key_certs_find(cert);
}

/* NULL: it may be signed. What is beyond a worker's part takes nothing from the others. */
static const char *why_not(struct conn *c)
{
	if (!c->remote)
		return rate_allows(&key.servers) ? NULL : "more than tls_signatures_per_second";
	if (!rate_allows(&c->own))
		return "more than one worker's part of remote's share of tls_signatures_per_second";
	return rate_allows(&key.clients) ? NULL : "more than remote's share of tls_signatures_per_second";
}

static void sign(struct conn *c, uint32_t id, struct tls_key *k, struct str scheme_name, struct str tbs)
{
	unsigned char sig[SIGNATURE_MAX];
	char scheme[41];
	struct err e = { 0 };
	size_t n = 0;

	const char *why = k ? why_not(c) : "no such key";
	if (why) {
		refuse(c, id, why);
		return;
	}
	snprintf(scheme, sizeof scheme, "%.*s", STR_ARG(scheme_name));
	if ((c->remote ? tls_key_sign_client(k, scheme, tbs, sig, &n, &e) : tls_key_sign(k, scheme, tbs, sig, &n, &e)) < 0) {
		refuse(c, id, e.text);
		return;
	}
	if (ipc_send(c->ch, IPC_key_SIGNED, &(struct ipc_key_SIGNED){ .signature = str_n(sig, n) }, id, -1, &e) < 0)
		log_error("%s", e.text);
}

static void conn_free(struct conn *c)
{
	ipc_chan_free(&c->ch);
	list_del(&c->node);
	key.n_conns--;
	key.n_remotes -= c->remote;
	loop_free_later(key.loop, c);
}

/* To a template: which certificates it may show, those whose keys are here. */
static void say_known(struct conn *c, uint32_t id, const struct ipc_key_KNOWN *m)
{
	char flags[KEY_KNOWN_MAX];
	struct err e = { 0 };
	const size_t n = m->certs.n / SCRAM_HASH < KEY_KNOWN_MAX ? m->certs.n / SCRAM_HASH : KEY_KNOWN_MAX;

	for (size_t i = 0; i < n; i++)
		flags[i] = server_key_for(str_sub(m->certs, i * SCRAM_HASH, SCRAM_HASH)) ? 1 : 0;
	if (ipc_send(c->ch, IPC_key_KNOWS, &(struct ipc_key_KNOWS){ .flags = str_n(flags, n) }, id, -1, &e) < 0)
		log_error("%s", e.text);
}

/* Whoever has had what is due to it can ask for nothing more: to see it end would be for nothing. */
static void on_conn(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct conn *c = ctx;
	const struct ipc_key_SIGN *m = msg;

	if (type == IPC_key_KNOWN) {
		say_known(c, id, msg);
		return;
	}
	sign(c, id, server_key_for(m->cert_sha256), m->scheme, m->tbs);
	if (--c->left == 0)
		conn_free(c);
}

static void on_remote(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_key_CLIENT *m = msg;

	sign(ctx, id, key_for(key.client_keys, m->cert_sha256), m->scheme, m->tbs);
}

static void on_conn_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct conn *c = ctx;

	if (why->code == ERR_INPUT)
		log_warning("key channel closed: %s", why->text);
	conn_free(c);
}

/* fd is taken. left: 0 for remote's, which are not counted. */
static void conn_new(int fd, unsigned left)
{
	struct conn *c = xzalloc(sizeof *c);
	const bool remote = left == 0;

	c->left = left;
	c->remote = remote;
	c->own.per_second = key.clients.per_second > WORKER_SHARE ? key.clients.per_second / WORKER_SHARE : 1;
	list_append(&key.conns, &c->node);
	key.n_conns++;
	key.n_remotes += remote;
	c->ch = ipc_chan_new(key.loop, fd, &ipc_key, remote ? on_remote : on_conn, on_conn_closed, c);
	ipc_chan_allow(c->ch, remote   ? (struct ipc_allow){ remote_allowed, ARRAY_LEN(remote_allowed) } :
			      left > 1 ? (struct ipc_allow){ test_allowed, ARRAY_LEN(test_allowed) } :
					 (struct ipc_allow){ conn_allowed, ARRAY_LEN(conn_allowed) });
}

/* --- registration --- */

static void registrar_end(struct registrar *r)
{
	ipc_chan_free(&r->ch);
	list_del(&r->node);
	key.n_registrars--;
	loop_free_later(key.loop, r);
}

static void on_reg(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct registrar *r = ctx;
	struct err e = { 0 };

	if (type == IPC_reg_HELLO && reg_welcome(ch, msg, &ipc_key, &e) < 0) {
		log_error("key registration refused: %s", e.text);
		registrar_end(r);
		return;
	}
	if (type == IPC_reg_HELLO) {
		r->said_hello = true;
		ipc_chan_allow(ch, (struct ipc_allow){ reg_then, ARRAY_LEN(reg_then) });
		return;
	}
	if (key.n_conns >= CONNS_MAX) {
		close(fd);
		return;
	}
	const struct ipc_reg_CONN *m = msg;
	conn_new(fd, str_eq(m->profile, STR("self test")) ? 2 : 1);
}

static void on_reg_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	if (why->code != ERR_CLOSED)
		log_warning("registration closed: %s", why->text);
	registrar_end(ctx);
}

static void on_listener(void *ctx, unsigned events)
{
	struct peer_cred cred;
	struct err e = { 0 };
	const int fd = accept4(HELPER_LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &cred, &e) == 0 && cred.uid != 0 && cred.uid == key.filter_uid) {
		key_dkim_peer(key.loop, fd);
		return;
	}
	if (e.code != ERR_NONE || cred.uid != 0 || key.n_registrars >= REGISTRARS_MAX) {
		log_warning("key registration refused (%s)", e.text[0] ? e.text : "not root, or too many");
		close(fd);
		return;
	}
	struct registrar *r = xzalloc(sizeof *r);
	list_append(&key.registrars, &r->node);
	key.n_registrars++;
	r->ch = ipc_chan_new(key.loop, fd, &ipc_reg, on_reg, on_reg_closed, r);
	ipc_chan_allow(r->ch, (struct ipc_allow){ reg_first, ARRAY_LEN(reg_first) });
}

static void on_remote_listener(void *ctx, unsigned events)
{
	struct peer_cred cred;
	struct err e = { 0 };
	const int fd = accept4(HELPER_LISTENER2, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &cred, &e) < 0 || cred.uid != key.remote_uid || cred.uid == 0 || key.n_remotes >= REMOTES_MAX) {
		log_warning("key channel refused (%s)", e.text[0] ? e.text : "not of remote's user, or too many");
		close(fd);
		return;
	}
	conn_new(fd, 0);
}

/* --- keys --- */

/* Fronts may show a certificate whose key is forgotten now: their parents come back at once, and make new ones. What a parent has registered before it sees that
 * we want it to go is a connection like all others: so our end is closed when its end is. */
static void dismiss_registrars(void)
{
	list_each(it, &key.registrars) {
		const int fd = ipc_chan_fd(list_of(it, struct registrar, node)->ch);

		if (fd >= 0)
			(void)shutdown(fd, SHUT_WR);
	}
}

/* The newest first. A certificate that is loaded again, as at each reload, takes no other's place. */
static void pairs_put(struct pair pairs[KEYS_KEPT], struct pair p)
{
	int at = 0;

	while (at < KEYS_KEPT - 1 && !(pairs[at].key && memcmp(pairs[at].cert, p.cert, sizeof p.cert) == 0))
		at++;
	if (pairs == key.keys && pairs[at].key && memcmp(pairs[at].cert, p.cert, sizeof p.cert) != 0)
		dismiss_registrars();
	tls_key_free(&pairs[at].key);
	for (; at > 0; at--)
		pairs[at] = pairs[at - 1];
	pairs[0] = p;
}

static int keys_take(const struct ipc_helper_KEYS *m, struct err *e)
{
	struct pair p = { 0 };

	if (m->generation)
		return key_certs_take(m, e);
	if (key_pair_load(m, &p.key, p.cert, e) < 0)
		return -1;
	pairs_put(m->client ? key.client_keys : key.keys, p);
	return 0;
}

/* Whoever comes before the keys do waits, for a moment, instead of hearing that there is none. */
static void serve(void *ctx)
{
	for (size_t i = 0; i < ARRAY_LEN(key.listeners); i++)
		watch_set(key.listeners[i], LOOP_READ);
	timer_del(&key.late);
}

/* A key should not reach the swap. Where little may be locked that is the heap: all memory together would be refused, or, where it fits, each allocation that
 * comes when the rest is used up. Best effort: a smaller limit than the heap leaves the keys as they are. */
static void lock_memory(void)
{
	const size_t heap = mallinfo2().arena;
	struct rlimit may;

	if (getrlimit(RLIMIT_MEMLOCK, &may) == 0 && may.rlim_cur == RLIM_INFINITY)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE);
	else
		(void)mlock((char *)sbrk(0) - heap, heap);
}

static void on_monitor(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct ipc_helper_KEYS_RESULT r = { .ok = 1 };
	struct err e = { 0 };

	if (type == IPC_helper_DKIM_KEY) {
		key_dkim_take(msg);
		return;
	}
	if (type == IPC_helper_DKIM_DONE) {
		key_dkim_done(msg, &r);
		lock_memory();	/* they come last */
		serve(NULL);
	} else if (type == IPC_helper_KEYS_DONE) {
		bool forgotten;
		key_certs_done(msg, &r, &forgotten);
		if (forgotten)
			dismiss_registrars();
	} else {
		const struct ipc_helper_KEYS *m = msg;
		if (keys_take(m, &e) < 0)
			r = (struct ipc_helper_KEYS_RESULT){ .ok = 0, .sni = m->generation != 0, .text = str_c(e.text) };
		else if (m->generation)
			return;		/* that one of many is good is not told */
	}
	if (ipc_send(ch, IPC_helper_KEYS_RESULT, &r, id, -1, &e) < 0)
		log_error("%s", e.text);
}

static void on_monitor_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	exit(0);
}

int main(int argc, char **argv)
{
	struct helper h;

	helper_init(&h, argc, argv, "key worker");
	list_init(&key.conns);
	list_init(&key.registrars);
	/* A load that fails makes libcrypto read its configuration and set itself up before the walls. */
	struct err e = { 0 };
	struct tls_key *none = NULL;
	if (tls_key_load(STR("-"), &none, &e) == 0)
		tls_key_free(&none);
	gid_t gid;
	if (confine_user(h.conf->user_filter, &key.filter_uid, &gid, &e) < 0 || confine_user(h.conf->user_remote, &key.remote_uid, &gid, &e) < 0)
		log_error("%s", e.text);
	key.servers.per_second = h.conf->tls_signatures_per_second;
	key.clients.per_second = h.conf->tls_signatures_per_second / CLIENT_SHARE;
	helper_confine(&h, CONFINE_AUTH_KEY, h.conf->user_key, NULL, 0);
	helper_setup(&h);
	key.loop = loop_new();
	key.monitor = ipc_chan_new(key.loop, HELPER_CHANNEL, &ipc_helper, on_monitor, on_monitor_closed, NULL);
	ipc_chan_allow(key.monitor, (struct ipc_allow){ monitor_allowed, ARRAY_LEN(monitor_allowed) });
	key.listeners[0] = loop_watch(key.loop, HELPER_LISTENER, 0, on_listener, NULL);
	key.listeners[1] = loop_watch(key.loop, HELPER_LISTENER2, 0, on_remote_listener, NULL);
	key.late = loop_timer(key.loop, KEYS_WAIT_MS, serve, NULL);
	loop_run(key.loop);
	return 0;
}
