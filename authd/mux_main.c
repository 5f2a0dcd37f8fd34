/* authd-mux: saslauthd's socket protocol for other programs (Postfix, OpenLDAP, testsaslauthd). One request per connection; this process
 * holds the passwords of requests in progress, and passes each to a check worker as the monitor says. Who may connect: root, and members
 * of saslauthd_group, by the socket's directory and again by the peer's credentials. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/helper.h"
#include "authd/muxproto.h"
#include "base/arena.h"
#include "base/enc.h"
#include "base/list.h"
#include "io/loop.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "os/os.h"

enum { CLIENTS_MAX = 512, REQUEST_MS = 5000, TOTAL_MS = 150000, DRAIN_MS = 2000, GROUPS_MAX = 256 };

struct client {
	struct list node;
	int fd;
	uint32_t id;			/* of its CREDS; 0: none yet */
	bool answered;
	struct buf in;
	struct mux_request req;		/* borrows in */
	struct watch *watch;
	struct timer *timer;
	char reply[256];
};

static struct {
	struct helper h;
	struct loop *loop;
	struct ipc_chan *monitor;
	struct list clients;
	unsigned n;
	gid_t group;
	bool has_group;
} mux;

static void client_free(struct client *c)
{
	watch_del(&c->watch);
	timer_del(&c->timer);
	close(c->fd);
	buf_wipe(&c->in);
	buf_fini(&c->in);
	list_del(&c->node);
	mux.n--;
	loop_free_later(mux.loop, c);
}

static void on_drained(void *ctx)
{
	client_free(ctx);
}

/* Send the answer, shut our side, and let the client close: it may still be writing a fifth field. */
static void client_reply(void *ctx)
{
	struct client *c = ctx;
	struct buf out;

	buf_init(&out, 512);
	mux_reply_put(&out, c->reply);
	(void)!send(c->fd, out.p, out.n, MSG_NOSIGNAL);
	buf_fini(&out);
	shutdown(c->fd, SHUT_WR);
	c->answered = true;
	buf_wipe(&c->in);
	timer_del(&c->timer);
	c->timer = loop_timer(mux.loop, DRAIN_MS, on_drained, c);
}

static void answer(struct client *c, uint64_t delay_ms, const char *text)
{
	snprintf(c->reply, sizeof c->reply, "%s", text);
	c->id = 0;
	timer_del(&c->timer);
	if (delay_ms)
		c->timer = loop_timer(mux.loop, delay_ms, client_reply, c);
	else
		client_reply(c);
}

static void on_timeout(void *ctx)
{
	answer(ctx, 0, "NO timeout");
}

static void client_ask(struct client *c)
{
	struct ipc_helper_CREDS m = { .given = c->req.login, .service = c->req.service };
	uint8_t tag[32];
	struct err e = { 0 };

	if (c->req.realm.n && c->req.realm.n <= 256)
		m.realm = c->req.realm;
	int fd = -1;

	if (c->req.login.n > 255 || helper_password_put(c->req.password, &fd, &e) < 0) {
		answer(c, 0, "NO authentication failed");
		return;
	}
	helper_tag(&mux.h, c->req.login, c->req.password, tag);
	m.tag = str_n(tag, sizeof tag);
	c->id = ipc_next_id(mux.monitor);
	timer_again(c->timer, TOTAL_MS);
	if (ipc_send(mux.monitor, IPC_helper_CREDS, &m, c->id, fd, &e) < 0)
		answer(c, 0, "NO authentication failed");
	close(fd);
}

static void on_client(void *ctx, unsigned events)
{
	struct client *c = ctx;
	char chunk[2048];
	struct err e = { 0 };
	const ssize_t n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	if (c->id || c->answered || c->reply[0])	/* a fifth field, or noise: read and forgotten */
		return;
	buf_mem(&c->in, chunk, (size_t)n);
	mem_wipe(chunk, sizeof chunk);
	int r = buf_failed(&c->in) ? -1 : mux_request_parse(buf_view(&c->in), &c->req, &e);
	if (r == 0) {
		client_ask(c);
	} else if (r < 0) {
		log_info("saslauthd request refused: %s", e.text);
		answer(c, 0, "NO malformed request");
	}
}

static bool peer_allowed(int fd)
{
	struct peer_cred cred;
	gid_t groups[GROUPS_MAX];
	socklen_t n = sizeof groups;
	struct err e = { 0 };

	if (sock_peer_cred(fd, &cred, &e) < 0)
		return false;
	if (cred.uid == 0 || (mux.has_group && cred.gid == mux.group))
		return true;
	if (!mux.has_group || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
		return false;
	for (size_t i = 0; i < n / sizeof *groups; i++)
		if (groups[i] == mux.group)
			return true;
	return false;
}

static void on_listener(void *ctx, unsigned events)
{
	const int fd = accept4(HELPER_LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (mux.n >= CLIENTS_MAX || !peer_allowed(fd)) {
		log_warning("saslauthd socket: connection refused (%s)", mux.n >= CLIENTS_MAX ? "too many" : "not in the group");
		close(fd);
		return;
	}
	struct client *c = xzalloc(sizeof *c);
	c->fd = fd;
	buf_init(&c->in, MUX_REQUEST_MAX);
	list_append(&mux.clients, &c->node);
	mux.n++;
	c->watch = loop_watch(mux.loop, fd, LOOP_READ, on_client, c);
	c->timer = loop_timer(mux.loop, REQUEST_MS, on_timeout, c);
}

static void on_monitor(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_helper_VERDICT *v = msg;

	list_each_safe(it, &mux.clients) {
		struct client *c = list_of(it, struct client, node);

		if (!c->id || c->id != id)
			continue;
		answer(c, v->delay_ms, v->ok == 1 ? "OK Success." : "NO authentication failed");
		break;
	}
}

static void on_monitor_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	exit(0);
}

int main(int argc, char **argv)
{
	static const uint16_t allowed[] = { IPC_helper_VERDICT };

	helper_init(&mux.h, argc, argv, "mux");
	list_init(&mux.clients);
	FILE *f = fopen("/etc/group", "re");
	for (const struct group *g; f && (g = fgetgrent(f));)
		if (strcmp(g->gr_name, mux.h.conf->saslauthd_group) == 0) {
			mux.group = g->gr_gid;
			mux.has_group = true;
		}
	if (f)
		fclose(f);
	helper_confine(&mux.h, CONFINE_AUTH_MUX, mux.h.conf->user_sasl, NULL, 0);
	helper_setup(&mux.h);
	mux.loop = loop_new();
	mux.monitor = ipc_chan_new(mux.loop, HELPER_CHANNEL, &ipc_helper, on_monitor, on_monitor_closed, NULL);
	ipc_chan_allow(mux.monitor, (struct ipc_allow){ allowed, ARRAY_LEN(allowed) });
	(void)loop_watch(mux.loop, HELPER_LISTENER, LOOP_READ, on_listener, NULL);
	log_as("saslauthd", LOG_LV_INFO, "ipc_init        : listening on socket: %s", mux.h.conf->saslauthd_socket[0] ?
	       mux.h.conf->saslauthd_socket : "mux");
	loop_run(mux.loop);
	return 0;
}
