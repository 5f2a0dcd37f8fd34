/* The table of the handover channel; its rows are handover.def. */
#include <unistd.h>

#include "base/arena.h"
#include "base/format.h"
#include "front/front_priv.h"
#include "front/handover.h"

#define IPC_DEF "front/handover.def"
#define IPC_NAME handover
#include "ipc/define.h"

/* The channels as bits of CLIENT, in the order of their descriptors. */
static const struct {
	uint64_t bit;
	size_t offset;
} channels[] = {
	{ 1, offsetof(struct front_conn, auth_fd) },
	{ 2, offsetof(struct front_conn, key_fd) },
	{ 4, offsetof(struct front_conn, queue_fd) },
	{ 8, offsetof(struct front_conn, again_fd) },
};

static int *channel(struct front_conn *fc, size_t i)
{
	return (int *)(void *)((char *)fc + channels[i].offset);
}

int handover_send(struct ipc_chan *ch, const struct front_conn *fc, struct err *e)
{
	struct front_conn copy = *fc;
	struct ipc_fds fds = { { fc->fd }, 1 };
	struct ipc_handover_CLIENT m = {
		.conn = fc->conn,
		.profile = str_c(fc->profile),
		.listener = str_c(fc->listener),
		.stress = fc->stress,
		.client = str_c(fc->client),
		.client_port = fc->client_port,
		.server = str_c(fc->server),
		.server_port = fc->server_port,
	};
	for (size_t i = 0; i < ARRAY_LEN(channels); i++) {
		if (*channel(&copy, i) < 0)
			continue;
		m.channels |= channels[i].bit;
		fds.v[fds.n++] = *channel(&copy, i);
	}
	return ipc_send_fds(ch, IPC_handover_CLIENT, &m, 0, &fds, e);
}

static void copy_text(char *to, size_t size, struct str s)
{
	(void)text_format(to, size, "%.*s", STR_ARG(s));
}

bool handover_take(const struct ipc_handover_CLIENT *m, int fd, struct ipc_fds more, struct front_conn *fc)
{
	size_t used = 0;
	*fc = (struct front_conn){ .conn = m->conn, .fd = fd, .auth_fd = -1, .key_fd = -1, .queue_fd = -1, .again_fd = -1 };
	fc->client_port = (uint16_t)m->client_port;
	fc->server_port = (uint16_t)m->server_port;
	fc->client_known = true;
	copy_text(fc->profile, sizeof(fc->profile), m->profile);
	copy_text(fc->listener, sizeof(fc->listener), m->listener);
	fc->stress = m->stress != 0;
	copy_text(fc->client, sizeof(fc->client), m->client);
	copy_text(fc->server, sizeof(fc->server), m->server);
	fc->implicit_tls = front_profile_tls(fc->profile);
	for (size_t i = 0; i < ARRAY_LEN(channels) && used < more.n; i++)
		if (m->channels & channels[i].bit)
			*channel(fc, i) = more.v[used++];
	const bool right = used == more.n && m->channels == (m->channels & 15) && (size_t)__builtin_popcountll(m->channels) == used;
	while (used < more.n)
		close(more.v[used++]);
	return right;
}
