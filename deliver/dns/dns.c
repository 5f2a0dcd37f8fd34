/* The dns process: channels, questions, answers. A question that several ask at the same time is asked once; whoever waits is a waiter on it. What comes back is
 * decoded by lib/dns/wire.c and handed on as text. */
#include "deliver/dns/dns.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "dns/wire.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { EXIT_CONFIG = 78, KEY_MAX = 4 * 255 + 8 };

struct server;

struct client {
	struct list node;
	struct server *s;
	struct ipc_chan *chan;
	struct list waiters;
	size_t n_waiters;
	bool group;
};

struct question {
	struct server *s;
	struct list waiters;
	char *name, *key;
	unsigned type;
	struct timer *deadline;		/* NULL: its waiters were told; the answer still goes into the cache */
};

struct waiter {
	struct list of_question, of_client;
	struct client *c;
	uint32_t id;
};

struct server {
	struct loop *loop;
	const struct conf *conf;
	struct resolver_ares *ares;
	struct dns_cache *cache;
	struct map *questions;		/* key -> struct question */
	struct list clients;
	size_t n_clients, n_group;
	int listen_fd;
	uid_t users[4];			/* who may connect, besides root */
	size_t n_users;
};

/* --- answers --- */

static void send_answer(struct client *c, uint32_t id, const struct ipc_dns_ANSWER *m)
{
	const struct ipc_dns_ANSWER huge = { .rcode = DNS_RCODE_FAILED, .trouble = STR("answer too large") };
	struct err e = { 0 };

	if (ipc_send(c->chan, IPC_dns_ANSWER, m, id, -1, &e) < 0 && ipc_send(c->chan, IPC_dns_ANSWER, &huge, id, -1, &e) < 0)
		log_error("dns: %s", e.text);
}

static void waiter_free(struct waiter *w)
{
	list_del(&w->of_question);
	list_del(&w->of_client);
	w->c->n_waiters--;
	free(w);
}

static void tell_waiters(struct question *q, const struct ipc_dns_ANSWER *m)
{
	list_each_safe (n, &q->waiters) {
		struct waiter *w = list_of(n, struct waiter, of_question);
		send_answer(w->c, w->id, m);
		waiter_free(w);
	}
}

static void question_free(struct question *q)
{
	(void)map_del(q->s->questions, str_c(q->key));
	timer_del(&q->deadline);
	free(q->name);
	free(q->key);
	free(q);
}

/* What the name server said, as a message. Strings live in a. */
static void decode(struct str packet, const struct question *q, struct arena *a, struct ipc_dns_ANSWER *out)
{
	struct dns_records r;
	struct err e = { 0 };

	if (dns_answer_get(packet, str_c(q->name), q->type, a, &r, &e) < 0) {
		*out = (struct ipc_dns_ANSWER){ .rcode = DNS_RCODE_FAILED, .trouble = arena_str(a, str_c(e.text)) };
	} else if (r.truncated) {
		*out = (struct ipc_dns_ANSWER){ .rcode = DNS_RCODE_FAILED, .trouble = STR("truncated DNS server reply") };
	} else {
		*out = (struct ipc_dns_ANSWER){
			.rcode = r.rcode, .ad = r.ad, .ttl = r.ttl, .canonical = r.canonical, .records = { r.v, r.n },
		};
		if (r.rcode != DNS_RCODE_OK && r.rcode != DNS_RCODE_NO_NAME)
			out->trouble = str_c(arena_printf(a, "the name server answers with code %u", r.rcode));
	}
}

static void on_packet(void *ctx, struct str packet, const char *why)
{
	struct question *q = ctx;
	struct ipc_dns_ANSWER m = { .rcode = DNS_RCODE_FAILED, .trouble = str_c(why) };
	struct arena *a = arena_new(0);

	if (packet.p)
		decode(packet, q, a, &m);
	dns_cache_put(q->s->cache, str_c(q->key), &m, clock_mono_ms());
	tell_waiters(q, &m);
	arena_free(&a);
	question_free(q);
}

static void on_deadline(void *ctx)
{
	struct question *q = ctx;
	const struct ipc_dns_ANSWER m = { .rcode = DNS_RCODE_FAILED, .trouble = STR("no name server answers in time") };

	tell_waiters(q, &m);
}

/* --- questions --- */

/* Names that no name server is asked for (RFC 6761 6.3): this host, by its loopback. */
static bool answer_locally(struct str name, unsigned type, struct str *record, struct ipc_dns_ANSWER *out)
{
	static const struct {
		const char *name;
		unsigned type;
		const char *value;
	} rows[] = {
		{ "localhost", DNS_A, "127.0.0.1" },
		{ "localhost", DNS_AAAA, "::1" },
		{ "1.0.0.127.in-addr.arpa", DNS_PTR, "localhost" },
		{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", DNS_PTR, "localhost" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_case_eq(name, str_c(rows[i].name)))
			continue;
		*out = (struct ipc_dns_ANSWER){ .rcode = DNS_RCODE_OK, .canonical = str_c(rows[i].name), .ttl = DNS_TTL_MAX };
		if (rows[i].type != type)
			continue;
		*record = str_c(rows[i].value);
		out->records = (struct ipc_strs){ record, 1 };
		return true;
	}
	return out->canonical.p != NULL;
}

static void refuse(struct client *c, uint32_t id, const char *why)
{
	const struct ipc_dns_ANSWER m = { .rcode = DNS_RCODE_FAILED, .trouble = str_c(why) };

	send_answer(c, id, &m);
}

static struct question *question_new(struct server *s, struct str name, unsigned type, const char *key)
{
	struct question *q = xzalloc(sizeof(*q));

	q->s = s;
	q->name = xstrndup(name.p, name.n);
	q->key = xstrdup(key);
	q->type = type;
	list_init(&q->waiters);
	(void)map_set(s->questions, str_c(q->key), q);
	q->deadline = loop_timer(s->loop, s->conf->dns_timeout * 1000, on_deadline, q);
	return q;
}

static void wait_for(struct client *c, uint32_t id, struct question *q)
{
	struct waiter *w = xzalloc(sizeof(*w));

	w->c = c;
	w->id = id;
	list_append(&q->waiters, &w->of_question);
	list_append(&c->waiters, &w->of_client);
	c->n_waiters++;
}

static void ask(struct client *c, uint32_t id, struct str name, unsigned type, const char *key)
{
	struct server *s = c->s;
	struct question *q = map_get(s->questions, str_c(key));
	unsigned char query[DNS_QUERY_MAX];
	struct err e = { 0 };
	size_t n;

	if (q == NULL && map_count(s->questions) >= DNS_QUESTIONS_MAX) {
		refuse(c, id, "too many questions at once");
	} else if (q != NULL) {
		wait_for(c, id, q);
	} else if (dns_query_put((uint16_t)random_u64(), name, type, query, &n, &e) < 0) {
		/* A name that cannot be written does not exist. */
		const struct ipc_dns_ANSWER none = { .rcode = DNS_RCODE_NO_NAME };
		send_answer(c, id, &none);
	} else {
		q = question_new(s, name, type, key);
		wait_for(c, id, q);
		resolver_ares_ask(s->ares, str_n(query, n), on_packet, q);	/* q may be gone now */
	}
}

static void on_query(struct client *c, uint32_t id, const struct ipc_dns_QUERY *m)
{
	struct str name = m->name, record;
	struct ipc_dns_ANSWER own = { 0 };
	char key[KEY_MAX + 1];

	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (dns_type_name((unsigned)m->type) == NULL || m->type > UINT16_MAX) {
		refuse(c, id, "this record type is not asked for here");
	} else if (c->n_waiters >= DNS_WAITERS_MAX) {
		refuse(c, id, "too many questions at once");
	} else if (name.n + 8 > KEY_MAX || memchr(name.p, '\0', name.n)) {
		own.rcode = DNS_RCODE_NO_NAME;
		send_answer(c, id, &own);
	} else if (answer_locally(name, (unsigned)m->type, &record, &own)) {
		send_answer(c, id, &own);
	} else {
		const int n = snprintf(key, sizeof(key), "%u %.*s", (unsigned)m->type, STR_ARG(name));
		for (int i = 0; i < n; i++)
			key[i] = ch_lower(key[i]);
		if (dns_cache_get(c->s->cache, str_c(key), clock_mono_ms(), &own))
			send_answer(c, id, &own);
		else
			ask(c, id, name, (unsigned)m->type, key);
	}
}

/* --- channels --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	on_query(ctx, id, msg);
}

static void client_free(struct client *c)
{
	struct server *s = c->s;

	while (!list_empty(&c->waiters))
		waiter_free(list_of(c->waiters.next, struct waiter, of_client));
	list_del(&c->node);
	ipc_chan_free(&c->chan);
	s->n_clients--;
	s->n_group -= c->group;
	if (s->n_group == 0)
		loop_stop(s->loop);
	free(c);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct client *c = ctx;

	if (why->code != ERR_CLOSED)
		log_warning("dns: a client: %s", why->text);
	client_free(c);
}

static void client_new(struct server *s, int fd, bool group)
{
	static const uint16_t types[] = { IPC_dns_QUERY };
	struct client *c = xzalloc(sizeof(*c));

	c->s = s;
	c->group = group;
	list_init(&c->waiters);
	list_append(&s->clients, &c->node);
	s->n_clients++;
	s->n_group += group;
	c->chan = ipc_chan_new(s->loop, fd, &ipc_dns, on_message, on_closed, c);
	ipc_chan_waiting_max(c->chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(c->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

static bool may_ask(const struct server *s, uid_t uid)
{
	for (size_t i = 0; i < s->n_users; i++)
		if (s->users[i] == uid)
			return true;
	return uid == 0;
}

static void on_listener(void *ctx, unsigned events)
{
	struct server *s = ctx;
	struct peer_cred who;
	struct err e = { 0 };
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &who, &e) < 0 || !may_ask(s, who.uid)) {
		log_warning("dns: uid %u may not ask", (unsigned)who.uid);
		close_fd(&fd);
	} else if (s->n_clients >= DNS_CLIENTS_MAX) {
		log_warning("dns: too many clients");
		close_fd(&fd);
	} else {
		client_new(s, fd, false);
	}
}

/* --- start --- */

static void on_term(void *ctx, int signo)
{
	loop_stop(((struct server *)ctx)->loop);
}

static void on_hup(void *ctx, int signo)
{
}

static int find_users(struct server *s, struct err *e)
{
	const char *const names[] = { s->conf->user_queue, s->conf->user_remote, s->conf->user_filter };
	gid_t gid;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (confine_user(names[i], &s->users[s->n_users++], &gid, e) < 0)
			return -1;
	return 0;
}

static int set_up(struct server *s, const struct dns_env *env, struct err *e)
{
	char root[1100];

	s->conf = env->conf;
	if (resolver_ares_open(s->conf, &s->ares, e) < 0 || find_users(s, e) < 0)
		return -1;
	(void)snprintf(root, sizeof(root), "%s/empty", env->conf->run_directory);
	return confine_enter(&(struct confine){ .role = CONFINE_DNS, .user = env->conf->user_dns, .root = root, .unconfined = env->unconfined }, e);
}

void dns_run(void *ctx)
{
	static struct server s;
	const struct dns_env *env = ctx;
	struct err e = { 0 };
	int keep[DNS_PAIRS + 5] = { 0, 1, 2, log_fd(), env->listen_fd };

	memcpy(keep + 5, env->fds, sizeof(env->fds));
	proc_title("dns", "dns");
	log_program("dns");
	close_all_but(keep, ARRAY_LEN(keep));
	str_hash_reseed();
	if (set_up(&s, env, &e) < 0) {
		log_error("dns: %s", e.text);
		_exit(EXIT_CONFIG);
	}
	s.loop = loop_new();
	loop_signal(s.loop, SIGTERM, on_term, &s);
	loop_signal(s.loop, SIGHUP, on_hup, &s);
	resolver_ares_attach(s.ares, s.loop);
	s.cache = dns_cache_new(DNS_CACHE_ENTRIES_MAX, DNS_CACHE_BYTES_MAX);
	s.questions = map_new();
	list_init(&s.clients);
	for (size_t i = 0; i < DNS_PAIRS; i++)
		client_new(&s, env->fds[i], true);
	s.listen_fd = env->listen_fd;
	loop_watch(s.loop, s.listen_fd, LOOP_READ, on_listener, &s);
	loop_run(s.loop);
	_exit(0);
}
