/* Telling authd, the key worker and queued that a connection exists, with one end of its channel. One registration channel to each; when
 * one breaks it is made again, sooner at first, and meanwhile connections are refused politely. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "front/front_priv.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

enum { REG_VERSION = 1, RETRY_FIRST_MS = 20, RETRY_MAX_MS = 1000 };

static const struct {
	enum front_peer bit;
	const char *name;
	const char *path;	/* below run_directory */
	size_t fd_offset;	/* of the front's end in struct front_conn */
} rows[PEER_COUNT] = {
	{ PEER_AUTH, "authd", "auth/register", offsetof(struct front_conn, auth_fd) },
	{ PEER_KEY, "authd's key worker", "key/register", offsetof(struct front_conn, key_fd) },
	{ PEER_QUEUE, "queued", "queue/register", offsetof(struct front_conn, queue_fd) },
};

struct link {
	struct reg *reg;
	size_t row;
	struct ipc_chan *chan;
	struct timer *retry;
	uint64_t retry_ms;
	bool said;		/* that it is missing */
};

struct reg {
	struct loop *loop;
	const struct front_run *run;
	struct link links[PEER_COUNT];
};

unsigned front_peers_needed(const struct front_run *run)
{
	return (run->service->uses_auth ? PEER_AUTH : 0U) | (*run->conf->tls_cert_file ? PEER_KEY : 0U) | (run->service->uses_queue ? PEER_QUEUE : 0U);
}

static void try_connect(void *ctx);

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	if (fd >= 0)	/* nothing may come (ipc_chan_allow), so nothing does */
		close(fd);
}

static void retry_later(struct link *k)
{
	if (!k->retry)
		k->retry = loop_timer(k->reg->loop, k->retry_ms, try_connect, k);
	else
		timer_again(k->retry, k->retry_ms);
	k->retry_ms = k->retry_ms * 2 < RETRY_MAX_MS ? k->retry_ms * 2 : RETRY_MAX_MS;
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct link *k = ctx;
	log_warning("%s has gone: %s", rows[k->row].name, why->text);
	k->said = true;
	ipc_chan_free(&k->chan);
	k->retry_ms = RETRY_FIRST_MS;
	retry_later(k);
}

static void try_connect(void *ctx)
{
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
		return;
	}
	const struct ipc_reg_HELLO hello = { .service = str_c(k->reg->run->service->name), .version = REG_VERSION };
	k->chan = ipc_chan_new(k->reg->loop, fd, &ipc_reg, on_message, on_closed, k);
	ipc_chan_allow(k->chan, (struct ipc_allow){ NULL, 0 });
	if (ipc_send(k->chan, IPC_reg_HELLO, &hello, 0, -1, &e) < 0)
		log_error("%s: %s", rows[k->row].name, e.text);
	if (k->said)
		log_info("%s is back", rows[k->row].name);
	k->said = false;
	k->retry_ms = RETRY_FIRST_MS;
}

void reg_refresh(struct reg *r)
{
	for (size_t i = 0; i < PEER_COUNT; i++)
		try_connect(&r->links[i]);
}

struct reg *reg_new(struct loop *l, const struct front_run *run)
{
	struct reg *r = xzalloc(sizeof(*r));
	r->loop = l;
	r->run = run;
	for (size_t i = 0; i < PEER_COUNT; i++)
		r->links[i] = (struct link){ .reg = r, .row = i, .retry_ms = RETRY_FIRST_MS };
	reg_refresh(r);
	return r;
}

static int announce_to(struct link *k, struct front_conn *fc, uint64_t uid, struct err *e)
{
	const struct ipc_reg_CONN m = {
		.conn = fc->conn,
		.service = str_c(k->reg->run->service->name),
		.profile = str_c(fc->profile),
		.client = str_c(fc->client_known ? fc->client : "unknown"),
		.client_port = fc->client_port,
		.server = str_c(fc->server),
		.server_port = fc->server_port,
		.uid = uid,
	};
	int pair[2];
	if (sock_pair(SOCK_SEQPACKET, pair, e) < 0)
		return -1;
	const int r = ipc_send(k->chan, IPC_reg_CONN, &m, 0, pair[0], e);
	close_fd(&pair[0]);
	if (r < 0) {
		close_fd(&pair[1]);
		return -1;
	}
	*(int *)(void *)((char *)fc + rows[k->row].fd_offset) = pair[1];
	return 0;
}

int reg_announce(struct reg *r, struct front_conn *fc, uint64_t uid, struct err *e)
{
	const unsigned needed = front_peers_needed(r->run);
	for (size_t i = 0; i < PEER_COUNT; i++)
		if ((needed & rows[i].bit) && !r->links[i].chan)
			return err_set(e, ERR_CLOSED, 0, "%s is missing", rows[i].name);
	for (size_t i = 0; i < PEER_COUNT; i++)
		if ((needed & rows[i].bit) && announce_to(&r->links[i], fc, uid, e) < 0)
			return -1;
	return 0;
}

int reg_key_channel(struct reg *r)
{
	struct front_conn fc = { .conn = random_u64(), .auth_fd = -1, .key_fd = -1, .queue_fd = -1, .client = "local", .server = "local",
				 .profile = "local", .client_known = true };
	struct err e = { 0 };
	for (size_t i = 0; i < PEER_COUNT; i++)
		if (rows[i].bit == PEER_KEY && r->links[i].chan && announce_to(&r->links[i], &fc, 0, &e) < 0)
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
	loop_free_later((*r)->loop, *r);
	*r = NULL;
}
