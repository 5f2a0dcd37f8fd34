/* Telling authd, the key worker and queued that a connection exists, with one end of its channel. One registration channel to each; when
 * one breaks it is made again, sooner at first, and meanwhile connections are refused politely. A daemon is told of connections as soon as it can be
 * reached; but where the last channel was closed without WELCOME, as one of another release does it, when it has said that. For the key worker's return WELCOME is awaited,
 * too: what its clients and new templates ask must not go to a socket that only an ending process still has.
 *
 * Most connections to port 25 never log in, and many use no TLS: of these authd and the key worker hear when the front first writes to its
 * channel. Until then the daemon's end waits here; what the front wrote waits in it and is read by the daemon only. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "front/front_priv.h"
#include "ipc/auth.h"
#include "ipc/key.h"
#include "ipc/queue.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

enum { REG_COMING_MS = 300, KEY_ANSWERS_MS = 10000, RETRY_FIRST_MS = 20, RETRY_MAX_MS = 1000, UNUSED_SHARE = 2, BEHIND_PACKETS = 64 };

static const struct {
	enum front_peer bit;
	const char *name;
	const char *path;	/* below run_directory */
	const struct ipc_proto *proto;	/* of the connections' channels */
	size_t fd_offset;	/* of the front's end in struct front_conn */
} rows[PEER_COUNT] = {
	{ PEER_AUTH, "authd", "auth/register", &ipc_auth, offsetof(struct front_conn, auth_fd) },
	{ PEER_KEY, "authd's key worker", "key/register", &ipc_key, offsetof(struct front_conn, key_fd) },
	{ PEER_QUEUE, "queued", "queue/register", &ipc_queue, offsetof(struct front_conn, queue_fd) },
};

struct link {
	struct reg *reg;
	size_t row;
	struct ipc_chan *chan;
	struct timer *retry;
	uint64_t retry_ms;
	uint64_t start;		/* counts connections to it */
	bool said;		/* that it is missing */
	bool welcome;		/* it has answered HELLO on this channel */
	bool awaited;		/* the key worker was missing, and is reached, but has not answered: what listens there may be what is left of the old one */
	unsigned unwelcome;	/* how many it has closed instead, one after another */
	uint64_t gone_ms;	/* since when it has gone; 0: it is there, or never was */
};

/* A daemon's end of a channel that the front has not used yet. */
struct unused {
	struct list node;
	struct link *link;
	struct watch *watch;
	int fd;
	struct front_conn fc;	/* the facts */
	uint64_t uid;
	struct unused **holder;	/* of a front that serves again; NULL: none */
	bool asked;		/* it has been used, while its daemon was away */
};

struct reg {
	struct loop *loop;
	const struct front_run *run;
	struct list unused;
	int unused_fd_max;	/* a descriptor above this does not wait: they are needed for new connections */
	struct link links[PEER_COUNT];
	struct reg_calls calls;
};

unsigned front_peers_needed(const struct front_run *run)
{
	return (run->service->uses_auth ? PEER_AUTH : 0U) | (*run->conf->tls_cert_file ? PEER_KEY : 0U) | (run->service->uses_queue ? PEER_QUEUE : 0U);
}

static void on_retry(void *ctx);
static void asked_settle(struct link *k);

static void retry_later(struct link *k)
{
	if (!k->retry)
		k->retry = loop_timer(k->reg->loop, k->retry_ms, on_retry, k);
	else
		timer_again(k->retry, k->retry_ms);
	k->retry_ms = k->retry_ms * 2 < RETRY_MAX_MS ? k->retry_ms * 2 : RETRY_MAX_MS;
}

static void tell_changed(const struct link *k)
{
	if (k->reg->calls.changed)
		k->reg->calls.changed();
}

static bool is_there(const struct link *k)
{
	return k->chan && (k->welcome || k->unwelcome == 0);
}

static bool is_coming(const struct link *k)
{
	return k->awaited || (!is_there(k) && k->gone_ms && clock_mono_ms() - k->gone_ms < REG_COMING_MS);
}

bool reg_coming(const struct reg *r)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if ((front_peers_needed(r->run) & rows[i].bit) && is_coming(&r->links[i]))
			return true;
	return false;
}

bool reg_behind(const struct reg *r)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (r->links[i].chan && ipc_chan_waiting(r->links[i].chan) >= BEHIND_PACKETS)
			return true;
	return false;
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct link *k = ctx;
	k->unwelcome += k->welcome ? 0 : 1;
	if (k->unwelcome <= 1)		/* not taken once: it may just have been stopped */
		log_warning("%s has gone: %s", rows[k->row].name, why->text);
	else if (k->unwelcome == 2)
		log_error("%s does not take our registration: it may be of another release, which its log says (%s)", rows[k->row].name, why->text);
	if (k->unwelcome <= 1)
		k->gone_ms = clock_mono_ms();
	k->said = true;
	ipc_chan_free(&k->chan);
	if (k->welcome)
		k->retry_ms = RETRY_FIRST_MS;
	k->welcome = k->awaited = false;
	retry_later(k);
	tell_changed(k);
}

static void is_back(struct link *k)
{
	log_info("%s is back", rows[k->row].name);
	asked_settle(k);
	if (rows[k->row].bit == PEER_KEY && k->reg->calls.key_back)
		k->reg->calls.key_back();
	tell_changed(k);
}

/* From now on it is told of connections. */
static void is_here(struct link *k)
{
	const bool back = k->said;
	k->said = false;
	k->gone_ms = 0;
	if (!back)
		return;
	k->awaited = rows[k->row].bit == PEER_KEY && !k->welcome;
	if (k->awaited) {
		timer_again(k->retry, KEY_ANSWERS_MS);
		return;
	}
	is_back(k);
}

/* The key worker has answered, or does not. */
static void awaited_end(struct link *k)
{
	if (!k->awaited)
		return;
	k->awaited = false;
	if (!k->welcome)
		log_warning("%s does not answer", rows[k->row].name);
	is_back(k);
}

static void on_welcome(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct link *k = ctx;
	const bool doubted = k->unwelcome > 0;
	ipc_chan_allow(ch, (struct ipc_allow){ NULL, 0 });
	k->retry_ms = RETRY_FIRST_MS;
	k->welcome = true;
	k->unwelcome = 0;
	if (doubted)
		is_here(k);
	awaited_end(k);
}

static void try_connect(void *ctx)
{
	static const uint16_t from_daemon[] = { IPC_reg_WELCOME };
	struct link *k = ctx;
	char path[4096];
	struct err e = { 0 };
	if (k->chan || !(front_peers_needed(k->reg->run) & rows[k->row].bit))
		return;
	(void)snprintf(path, sizeof(path), "%s/%s", k->reg->run->conf->run_directory, rows[k->row].path);
	const int fd = sock_unix_connect(path, SOCK_SEQPACKET, &e);
	if (fd < 0) {
		if (!k->said)
			log_warning("%s is missing: %s", rows[k->row].name, e.text);
		k->said = true;
		retry_later(k);
		if (!is_coming(k))
			asked_settle(k);
		if (k->gone_ms)
			tell_changed(k);
		return;
	}
	const struct ipc_reg_HELLO hello = { .service = str_c(k->reg->run->service->name), .version = reg_version(rows[k->row].proto) };
	k->chan = ipc_chan_new(k->reg->loop, fd, &ipc_reg, on_welcome, on_closed, k);
	ipc_chan_allow(k->chan, (struct ipc_allow){ from_daemon, ARRAY_LEN(from_daemon) });
	if (ipc_send(k->chan, IPC_reg_HELLO, &hello, 0, -1, &e) < 0)
		log_error("%s: %s", rows[k->row].name, e.text);
	k->start++;
	if (k->unwelcome == 0)
		is_here(k);
}

static void on_retry(void *ctx)
{
	awaited_end(ctx);
	try_connect(ctx);
}

void reg_refresh(struct reg *r)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		try_connect(&r->links[i]);
}

struct reg *reg_new(struct loop *l, const struct front_run *run, struct reg_calls calls)
{
	struct reg *r = xzalloc(sizeof(*r));
	r->calls = calls;
	r->loop = l;
	r->run = run;
	list_init(&r->unused);
	r->unused_fd_max = (int)(sysconf(_SC_OPEN_MAX) < INT_MAX ? sysconf(_SC_OPEN_MAX) / UNUSED_SHARE : INT_MAX / UNUSED_SHARE);
	for (size_t i = 0; i < PEER_COUNT; i++)
		r->links[i] = (struct link){ .reg = r, .row = i, .retry_ms = RETRY_FIRST_MS };
	reg_refresh(r);
	return r;
}

static struct ipc_reg_CONN facts(const struct link *k, const struct front_conn *fc, uint64_t uid)
{
	return (struct ipc_reg_CONN){
		.conn = fc->conn,
		.service = str_c(k->reg->run->service->name),
		.profile = str_c(fc->profile),
		.client = str_c(fc->client_known ? fc->client : "unknown"),
		.client_port = fc->client_port,
		.server = str_c(fc->server),
		.server_port = fc->server_port,
		.uid = uid,
		.listener = fc->listener[0] ? str_c(fc->listener) : (struct str){ 0 },
		.stress = fc->stress,
	};
}

static int tell(struct link *k, const struct front_conn *fc, uint64_t uid, int fd, struct err *e)
{
	const struct ipc_reg_CONN m = facts(k, fc, uid);
	return ipc_send(k->chan, IPC_reg_CONN, &m, 0, fd, e);
}

/* --- channels that wait for their first use --- */

static void unused_free(struct unused *u)
{
	if (u->holder)
		*u->holder = NULL;
	list_del(&u->node);
	watch_del(&u->watch);
	close_fd(&u->fd);
	free(u);
}

static void used(struct unused *u)
{
	struct err e = { 0 };
	if (!is_there(u->link))
		log_warning("%s is missing: a channel of %s is closed", rows[u->link->row].name, u->fc.client);
	else if (tell(u->link, &u->fc, u->uid, u->fd, &e) < 0)
		log_error("%s", e.text);
	unused_free(u);
}

/* The front has gone, or asks something: then the daemon is told, and finds the question in the channel. One that is started again in this moment finds it when it
 * is there. */
static void on_first_use(void *ctx, unsigned events)
{
	struct unused *u = ctx;
	if (events & LOOP_HUP) {
		unused_free(u);
	} else if (is_coming(u->link)) {
		u->asked = true;
		watch_set(u->watch, 0);
	} else {
		used(u);
	}
}

/* The daemon is back, or has been away for too long. */
static void asked_settle(struct link *k)
{
	list_each_safe(it, &k->reg->unused)
	{
		struct unused *u = list_of(it, struct unused, node);
		if (u->asked && u->link == k)
			used(u);
	}
}

static bool may_wait(const struct link *k, const struct front_conn *fc, int fd)
{
	const struct front_run *run = k->reg->run;
	return rows[k->row].bit != PEER_QUEUE && !run->options.inetd && run->service->seldom_profile && strcmp(fc->profile, run->service->seldom_profile) == 0 &&
	       fd <= k->reg->unused_fd_max;
}

static void wait_for_use(struct link *k, const struct front_conn *fc, uint64_t uid, int fd, struct reg_kept *kept)
{
	struct unused *u = xmalloc(sizeof(*u));
	*u = (struct unused){ .link = k, .fd = fd, .fc = *fc, .uid = uid, .holder = kept ? &kept->waiting[k->row] : NULL };
	if (u->holder && *u->holder)
		(*u->holder)->holder = NULL;	/* it was asked, and nobody waits for the answer any more */
	if (u->holder)
		*u->holder = u;
	list_append(&k->reg->unused, &u->node);
	u->watch = loop_watch(k->reg->loop, fd, LOOP_READ, on_first_use, u);
}

void reg_tell_all(struct reg *r)
{
	list_each_safe(it, &r->unused)
	{
		struct unused *u = list_of(it, struct unused, node);
		const struct ipc_reg_CONN m = facts(u->link, &u->fc, u->uid);
		struct err e = { 0 };
		const int sock = is_there(u->link) ? ipc_chan_fd(u->link->chan) : -1;
		if (sock >= 0 && ipc_send_fd(sock, &ipc_reg, IPC_reg_CONN, &m, 0, u->fd, &e) < 0)
			log_error("%s: %s", rows[u->link->row].name, e.text);
		unused_free(u);
	}
}

static int announce_to(struct link *k, struct front_conn *fc, uint64_t uid, struct reg_kept *kept, struct err *e)
{
	int pair[2];
	if (sock_pair(SOCK_SEQPACKET, pair, e) < 0)
		return -1;
	if (may_wait(k, fc, pair[0])) {
		wait_for_use(k, fc, uid, pair[0], kept);
	} else {
		const int r = tell(k, fc, uid, pair[0], e);
		close_fd(&pair[0]);
		if (r < 0) {
			close_fd(&pair[1]);
			return -1;
		}
	}
	*(int *)(void *)((char *)fc + rows[k->row].fd_offset) = pair[1];
	return 0;
}

static unsigned needed_by(const struct front_run *run, const struct front_conn *fc)
{
	const struct front_service *s = run->service;
	const bool login = !s->may_log_in || s->may_log_in(conf_for(run->conf, str_c(fc->listener), false), fc->profile);
	return front_peers_needed(run) & ~(login ? 0U : (unsigned)PEER_AUTH);
}

static int all_there(const struct reg *r, unsigned needed, struct err *e)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if ((needed & rows[i].bit) && !is_there(&r->links[i]))
			return err_set(e, ERR_CLOSED, 0, "%s is missing", rows[i].name);
	return 0;
}

int reg_announce(struct reg *r, struct front_conn *fc, uint64_t uid, struct reg_kept *kept, struct err *e)
{
	const unsigned needed = needed_by(r->run, fc);
	if (all_there(r, needed, e) < 0)
		return -1;
	for (size_t i = 0; i < PEER_COUNT; i++) {
		if ((needed & rows[i].bit) && announce_to(&r->links[i], fc, uid, kept, e) < 0)
			return -1;
		if (kept && (needed & rows[i].bit & PEER_QUEUE))
			kept->queued = r->links[i].start;
	}
	return 0;
}

/* --- the same channels for another connection --- */

bool reg_may_again(const struct reg *r, const struct reg_kept *kept, const struct front_conn *fc)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (rows[i].bit == PEER_AUTH && (needed_by(r->run, fc) & PEER_AUTH) && (!kept->waiting[i] || kept->waiting[i]->asked))
			return false;
	return true;
}

void reg_tell_again(struct reg *r, uint64_t was, const struct front_conn *fc)
{
	const struct ipc_reg_AGAIN m = { .conn = fc->conn, .was = was, .client = str_c(fc->client), .client_port = fc->client_port, .server = str_c(fc->server),
					 .server_port = fc->server_port, .stress = fc->stress };
	struct err e = { 0 };
	for (size_t i = 0; i < PEER_COUNT; i++)
		if ((needed_by(r->run, fc) & rows[i].bit & PEER_QUEUE) && fc->queue_fd < 0 && ipc_send(r->links[i].chan, IPC_reg_AGAIN, &m, 0, -1, &e) < 0)
			log_error("%s", e.text);
}

int reg_again(struct reg *r, struct front_conn *fc, uint64_t uid, struct reg_kept *kept, struct err *e)
{
	const unsigned needed = needed_by(r->run, fc);
	if (all_there(r, needed, e) < 0)
		return -1;
	for (size_t i = 0; i < PEER_COUNT; i++) {
		struct link *k = &r->links[i];
		if (!(needed & rows[i].bit))
			continue;
		if (kept->waiting[i] && !kept->waiting[i]->asked) {
			kept->waiting[i]->fc = *fc;
			kept->waiting[i]->uid = uid;
		} else if (rows[i].bit != PEER_QUEUE || kept->queued != k->start) {
			if (announce_to(k, fc, uid, kept, e) < 0)
				return -1;
			kept->queued = rows[i].bit == PEER_QUEUE ? k->start : kept->queued;
		}
	}
	return 0;
}

void reg_kept_forget(struct reg_kept *kept)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (kept->waiting[i])
			kept->waiting[i]->holder = NULL;
	*kept = (struct reg_kept){ 0 };
}

int reg_key_channel(struct reg *r)
{
	struct front_conn fc = { .conn = random_u64(), .auth_fd = -1, .key_fd = -1, .queue_fd = -1, .again_fd = -1, .client = "local", .server = "local",
				 .profile = "self test", .client_known = true };
	struct err e = { 0 };
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (rows[i].bit == PEER_KEY && is_there(&r->links[i]) && announce_to(&r->links[i], &fc, 0, NULL, &e) < 0)
			log_error("%s: %s", rows[i].name, e.text);
	return fc.key_fd;
}

/* For a process that announces one connection and goes on without this loop: what waits is sent now, or it fails. */
int reg_settle(struct reg *r, struct err *e)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (r->links[i].chan && ipc_chan_fd(r->links[i].chan) < 0)
			return err_set(e, ERR_CLOSED, 0, "%s has gone", rows[i].name);
	return 0;
}

void reg_free(struct reg **r)
{
	for (size_t i = 0; i < PEER_COUNT; i++) {
		ipc_chan_free(&(*r)->links[i].chan);
		timer_del(&(*r)->links[i].retry);
	}
	list_each_safe(it, &(*r)->unused)
		unused_free(list_of(it, struct unused, node));
	loop_free_later((*r)->loop, *r);
	*r = NULL;
}
