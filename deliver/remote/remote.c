/* The dispatcher: reads the certificates of authorities, confines itself, then forks one worker for each destination that queued has mail for, and passes SENDs on and
 * RESULTs back, and workers' questions about names to the dns process. It never touches the network; a worker gets the messages, and the password, of its own
 * destination and of no other (one process per destination at a time), and what takes it over reaches just those. A worker that dies costs its attempts one
 * back-off. One without work for REMOTE_WORKER_IDLE_MS is dismissed.
 */
#include "deliver/remote/remote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/map.h"
#include "deliver/remote/remote_priv.h"
#include "dns/client.h"
#include "ipc/dns.h"
#include "ipc/key_client.h"
#include "ipc/link.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "map/lookups.h"
#include "os/confine.h"
#include "os/os.h"

struct worker {
	struct list node;
	pid_t pid;
	struct ipc_chan *chan, *names;	/* names: its questions */
	char *key;
	struct list attempts, questions;
	size_t n;
	struct timer *idle;
};

/* A SEND without its RESULT. */
struct attempt {
	struct list node;
	uint32_t id, queue_id;		/* on the worker's channel, on queued's */
	size_t n_rcpts;
};

/* A QUERY without its ANSWER. */
struct question {
	struct list node;
	struct worker *w;
	uint32_t id;
	struct dns_ask *ask;
};

/* A SEND that waits for its connection. */
struct held {
	struct arena *a;
	struct ipc_remote_SEND *m;
	uint32_t id;
	int fd;
	bool for_key;
};

enum { CHAIN_MAX = 1 << 20 };

static struct dispatcher {
	struct loop *loop;
	struct ipc_chan *link;
	struct map *held;		/* id of an OPEN */
	struct remote r;		/* what workers inherit */
	struct ipc_chan *queue;
	struct dns_client *dns;
	struct map *workers;		/* by key */
	bool unconfined;
} d;

/* The chain alone: what proves that it is ours is signed by the key worker. */
static int show_certificate(struct remote *r, struct err *e)
{
	struct buf chain;

	tls_sign_through(key_client_sign_client);
	buf_init(&chain, CHAIN_MAX);
	int rc = file_read(r->conf->smtp_tls_cert_file, CHAIN_MAX, &chain, e);
	if (rc == 0)
		rc = tls_client_show(r->tls, buf_view(&chain), e);
	buf_wipe(&chain);	/* it may hold a key (tls_holds_key) */
	buf_fini(&chain);
	return rc < 0 ? err_wrap(e, "smtp_tls_cert_file") : 0;
}

int remote_init(struct remote *r, const struct conf *conf, struct err *e)
{
	r->conf = conf;
	list_init(&r->jobs);
	list_init(&r->idle);
	r->given = -1;
	r->key_fd = -1;
	own_load(conf, arena_new(0), &r->own);	/* for as long as the process lives */
	if (lookups_open("smtp_discard_ehlo_keyword_address_maps", conf->smtp_discard_ehlo_keyword_address_maps, &r->discard, e) < 0)
		return -1;
	if (tls_client_new(false, *conf->smtp_tls_CAfile ? conf->smtp_tls_CAfile : NULL, &r->tls, e) < 0)
		return -1;
	return *conf->smtp_tls_cert_file ? show_certificate(r, e) : 0;
}

/* --- a worker --- */

static void on_term(void *ctx, int signo)
{
	loop_stop(ctx);
}

/* The supervisor tells everybody; the new configuration comes with the next start. */
static void on_hup(void *ctx, int signo)
{
}

/* A worker must not hold ends of the dispatcher's channels, nor of its siblings'. */
static void close_channels(void)
{
	struct str name;
	size_t it = 0;
	void *v;

	ipc_chan_free(&d.queue);
	ipc_chan_free(&d.link);
	dns_client_free(&d.dns);
	while (map_next(d.workers, &it, &name, &v)) {
		struct worker *w = v;
		ipc_chan_free(&w->chan);
		ipc_chan_free(&w->names);
	}
}

static void worker_run(int fd, int dns_fd, int key_fd, const char *key)
{
	struct err e = { 0 };
	struct loop *l = loop_after_fork(&d.loop);

	close_channels();
	str_hash_reseed();
	proc_title("remote", "remote: worker %s", key);
	if (!d.unconfined && confine_no_fork(&e) < 0) {
		log_error("%s", e.text);
		_exit(1);
	}
	loop_signal(l, SIGTERM, on_term, l);
	loop_signal(l, SIGHUP, on_hup, l);
	d.r.key_fd = key_fd;
	tls_key_channel(key_fd);
	remote_serve(&d.r, l, fd, dns_fd);
	loop_run(l);
	_exit(0);
}

/* --- the dispatcher's view of it --- */

static void answer_deferred(uint32_t queue_id, size_t n, bool reached, const char *text)
{
	struct arena *a = arena_new(0);
	struct str *v = ARENA_ARRAY(a, struct str, 3 * n + 1);
	struct ipc_remote_RESULT m = { .status = { v, n }, .enhanced = { v + n, n }, .texts = { v + 2 * n, n }, .relay = STR("none"), .reached = reached };
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++) {
		v[i] = STR("deferred");
		v[n + i] = STR("4.3.0");
		v[2 * n + i] = str_c(text);
	}
	if (d.queue && ipc_send(d.queue, IPC_remote_RESULT, &m, queue_id, -1, &e) < 0)
		log_error("%s", e.text);
	arena_free(&a);
}

static void question_free(struct question *x)
{
	list_del(&x->node);
	dns_forget(&x->ask);
	free(x);
}

static void worker_free(struct worker *w)
{
	(void)map_del(d.workers, str_c(w->key));
	while (!list_empty(&w->attempts)) {
		struct attempt *t = list_of(w->attempts.next, struct attempt, node);
		list_del(&t->node);
		answer_deferred(t->queue_id, t->n_rcpts, true, "delivery process ended unexpectedly");
		free(t);
	}
	while (!list_empty(&w->questions))
		question_free(list_of(w->questions.next, struct question, node));
	timer_del(&w->idle);
	ipc_chan_free(&w->chan);
	ipc_chan_free(&w->names);
	free(w->key);
	loop_free_later(d.loop, w);
}

static void on_worker(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct worker *w = ctx;
	struct err e = { 0 };

	close_fd(&fd);
	list_each_safe(it, &w->attempts) {
		struct attempt *t = list_of(it, struct attempt, node);
		if (t->id != id)
			continue;
		if (d.queue && ipc_send(d.queue, IPC_remote_RESULT, msg, t->queue_id, -1, &e) < 0)
			log_error("%s", e.text);
		list_del(&t->node);
		free(t);
		if (--w->n == 0)
			timer_again(w->idle, REMOTE_WORKER_IDLE_MS);
		return;
	}
	log_error("worker for %s: a result without an attempt", w->key);
	worker_free(w);
}

static void on_worker_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct worker *w = ctx;

	if (w->n > 0)
		log_error("worker for %s: %s", w->key, why->text);
	worker_free(w);
}

/* --- its questions about names --- */

static void on_dns_answer(void *ctx, const struct dns_answer *a)
{
	struct question *x = ctx;
	struct err e = { 0 };
	const struct ipc_dns_ANSWER m = {
		.rcode = a->result == DNS_NO_SUCH ? DNS_RCODE_NO_NAME : a->result == DNS_TROUBLE ? DNS_RCODE_FAILED : DNS_RCODE_OK, .trouble = a->why, .ad = a->ad,
		.ttl = a->ttl, .canonical = a->canonical, .records = { (struct str *)(uintptr_t)a->v, a->n },
	};

	x->ask = NULL;
	if (ipc_send(x->w->names, IPC_dns_ANSWER, &m, x->id, -1, &e) < 0)
		log_error("%s", e.text);
	question_free(x);
}

static void on_question(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_dns_QUERY *m = msg;
	struct question *x = xzalloc(sizeof *x);

	close_fd(&fd);
	*x = (struct question){ .w = ctx, .id = id };
	list_append(&x->w->questions, &x->node);
	x->ask = dns_ask(d.dns, m->name, (unsigned)m->type, on_dns_answer, x);
}

static void on_names_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct worker *w = ctx;

	ipc_chan_free(&w->names);	/* its other channel tells of its end, or it has lost its way */
	if (w->n > 0)
		log_error("worker for %s: %s", w->key, why->text);
	worker_free(w);
}

static void on_idle(void *ctx)
{
	struct worker *w = ctx;

	if (w->n == 0)
		worker_free(w);
}

/* queued never has more attempts under way than there may be workers, so one of them is idle. */
static void make_room(void)
{
	struct str key;
	size_t it = 0;
	void *v;

	if (map_count(d.workers) < REMOTE_WORKERS_MAX)
		return;
	while (map_next(d.workers, &it, &key, &v)) {
		struct worker *w = v;
		if (w->n == 0) {
			worker_free(w);
			return;
		}
	}
}

/* key_fd: of the key worker, or -1; stays the caller's. */
static struct worker *worker_new(const char *key, int key_fd, struct err *e)
{
	static const uint16_t types[] = { IPC_remote_RESULT };
	static const uint16_t may_ask[] = { IPC_dns_QUERY };
	int fds[2] = { -1, -1 }, dns[2] = { -1, -1 };

	make_room();
	if (sock_pair(SOCK_SEQPACKET, fds, e) < 0)
		return NULL;
	if (sock_pair(SOCK_SEQPACKET, dns, e) < 0) {
		close_fd(&fds[0]);
		close_fd(&fds[1]);
		return NULL;
	}
	const pid_t pid = fork();
	if (pid < 0) {
		(void)err_set(e, ERR_TEMP, errno, "fork");
		close_fd(&fds[0]);
		close_fd(&fds[1]);
		close_fd(&dns[0]);
		close_fd(&dns[1]);
		return NULL;
	}
	if (pid == 0) {
		close_fd(&fds[0]);
		close_fd(&dns[0]);
		worker_run(fds[1], dns[1], key_fd, key);
	}
	close_fd(&fds[1]);
	close_fd(&dns[1]);
	struct worker *w = xzalloc(sizeof *w);
	w->pid = pid;
	w->key = xstrdup(key);
	list_init(&w->attempts);
	list_init(&w->questions);
	w->idle = loop_timer(d.loop, REMOTE_WORKER_IDLE_MS, on_idle, w);
	w->chan = ipc_chan_new(d.loop, fds[0], &ipc_remote, on_worker, on_worker_closed, w);
	ipc_chan_waiting_max(w->chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(w->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	w->names = ipc_chan_new(d.loop, dns[0], &ipc_dns, on_question, on_names_closed, w);
	ipc_chan_waiting_max(w->names, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(w->names, (struct ipc_allow){ may_ask, ARRAY_LEN(may_ask) });
	(void)map_set(d.workers, str_c(w->key), w);
	return w;
}

/* Same transport, next hop, login and policy: connections may be shared. */
static struct str key_of(struct arena *a, const struct ipc_remote_SEND *m)
{
	const ptrdiff_t colon = str_chr(m->login, ':');
	struct str user = colon < 0 ? m->login : str_sub(m->login, 0, (size_t)colon);

	return str_c(arena_printf(a, "%.*s:%.*s%s%.*s", STR_ARG(m->transport), STR_ARG(m->nexthop), user.n ? " as " : "", STR_ARG(user)));
}

/* given: a connection for it, or -1. key_fd: one to the key worker, for a new worker, or -1. All descriptors stay the caller's. */
static void pass_on(const struct ipc_remote_SEND *m, uint32_t id, int fd, int given, int key_fd)
{
	static const struct ipc_remote_CONNECTION connection;
	struct arena *a = arena_new(0);
	const struct str key = key_of(a, m);
	struct worker *w = map_get(d.workers, key);
	struct err e = { 0 };

	if (w == NULL)
		w = worker_new(key.p, key_fd, &e);
	const uint32_t worker_id = w ? ipc_next_id(w->chan) : 0;
	if (w == NULL || (given >= 0 && ipc_send(w->chan, IPC_remote_CONNECTION, &connection, worker_id, given, &e) < 0) ||
	    ipc_send(w->chan, IPC_remote_SEND, m, worker_id, fd, &e) < 0) {
		log_error("%.*s: %s", STR_ARG(key), e.text);
		answer_deferred(id, m->recipients.n, true, "delivery process cannot be started");
	} else {
		struct attempt *t = xzalloc(sizeof *t);
		*t = (struct attempt){ .id = worker_id, .queue_id = id, .n_rcpts = m->recipients.n };
		list_append(&w->attempts, &t->node);
		w->n++;
	}
	arena_free(&a);
}

/* --- connections that the connector makes: next hops that are UNIX sockets, the key worker --- */

static void held_free(struct held *h)
{
	struct arena *a = h->a;

	close_fd(&h->fd);
	arena_free(&a);
}

static void on_link(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct held *h = map_del(d.held, str_n(&id, sizeof id));
	char text[500];

	if (h != NULL && type == IPC_link_OPENED) {
		pass_on(h->m, h->id, h->fd, h->for_key ? -1 : fd, h->for_key ? fd : -1);
	} else if (h != NULL) {
		const struct ipc_link_FAILED *m = msg;
		(void)snprintf(text, sizeof text, "connect to %s%.*s", h->for_key ? "the key worker, for smtp_tls_cert_file: " : "", STR_ARG(m->text));
		answer_deferred(h->id, h->m->recipients.n, false, text);
	}
	if (h != NULL)
		held_free(h);
	close_fd(&fd);
}

static void on_link_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	_exit(0);	/* the group starts again */
}

/* fd is taken. */
static void hold(const struct ipc_remote_SEND *m, uint32_t id, int fd, bool for_key)
{
	struct arena *a = arena_new(0);
	struct held *h = ARENA_NEW(a, struct held);
	struct err e = { 0 };
	const struct ipc_link_OPEN open = { .path = for_key ? (struct str){ 0 } : str_from(m->nexthop, 5) };

	*h = (struct held){ a, ipc_copy(&ipc_remote, IPC_remote_SEND, m, a), id, fd, for_key };
	const uint32_t link_id = ipc_next_id(d.link);
	if (h->m != NULL && (for_key || (open.path.n > 0 && open.path.p[0] == '/')) && ipc_send(d.link, IPC_link_OPEN, &open, link_id, -1, &e) == 0) {
		(void)map_set(d.held, str_n(&link_id, sizeof link_id), h);
		return;
	}
	answer_deferred(id, m->recipients.n, true, "bad next hop");
	held_free(h);
}

/* A worker that is there has its channel already. */
static bool needs_key(const struct ipc_remote_SEND *m)
{
	if (!*d.r.conf->smtp_tls_cert_file || !str_eq(m->transport, STR("smtp")))
		return false;
	struct arena *a = arena_new(0);
	const bool missing = map_get(d.workers, key_of(a, m)) == NULL;
	arena_free(&a);
	return missing;
}

static void on_send(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_remote_SEND *m = msg;

	if (str_eq(m->transport, STR("lmtp")) && str_case_starts(m->nexthop, STR("unix:"))) {
		hold(m, id, fd, false);
		return;
	}
	if (needs_key(m)) {
		hold(m, id, fd, true);
		return;
	}
	pass_on(m, id, fd, -1, -1);
	close_fd(&fd);
}

static void on_queue_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	_exit(0);	/* workers see the end of their channels */
}

static void on_child(void *ctx, int signo)
{
	int status;

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
			log_error("worker %d ended by signal %d", (int)pid, WTERMSIG(status));
}

static int set_up(const struct remote_env *env, struct err *e)
{
	char root[4096];

	if (remote_init(&d.r, env->conf, e) < 0)
		return -1;
	(void)snprintf(root, sizeof root, "%s/empty", env->conf->run_directory);
	const struct confine c = { .role = CONFINE_REMOTE, .user = env->conf->user_remote, .root = root, .unconfined = env->unconfined };
	return confine_enter(&c, e);
}

void remote_run(void *ctx)
{
	static const uint16_t may_send[] = { IPC_remote_SEND }, may_answer[] = { IPC_link_OPENED, IPC_link_FAILED };
	const struct remote_env *env = ctx;
	struct err e = { 0 };

	log_program("smtp");
	proc_title("remote", "remote");
	if (set_up(env, &e) < 0) {
		log_error("remote: %s", e.text);
		_exit(1);
	}
	d.unconfined = env->unconfined;
	d.workers = map_new();
	d.held = map_new();
	d.loop = loop_new();
	loop_signal(d.loop, SIGTERM, on_term, d.loop);
	loop_signal(d.loop, SIGHUP, on_hup, NULL);
	loop_signal(d.loop, SIGCHLD, on_child, NULL);
	d.dns = dns_client_new(d.loop, env->dns_fd, NULL, NULL);
	d.link = ipc_chan_new(d.loop, env->link_fd, &ipc_link, on_link, on_link_closed, NULL);
	ipc_chan_waiting_max(d.link, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(d.link, (struct ipc_allow){ may_answer, ARRAY_LEN(may_answer) });
	d.queue = ipc_chan_new(d.loop, env->queue_fd, &ipc_remote, on_send, on_queue_closed, NULL);
	ipc_chan_waiting_max(d.queue, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(d.queue, (struct ipc_allow){ may_send, ARRAY_LEN(may_send) });
	loop_run(d.loop);
	_exit(0);
}
