/* The table of the handover channel; its rows are handover.def. */
#include "front/front_priv.h"
#include "front/handover.h"

#define IPC_DEF "front/handover.def"
#define IPC_NAME handover
#include "ipc/define.h"

static int send_channel(struct ipc_chan *ch, const char *daemon, int fd, struct err *e)
{
	const struct ipc_handover_CHANNEL m = { .daemon = str_c(daemon) };
	return fd < 0 ? 0 : ipc_send(ch, IPC_handover_CHANNEL, &m, 0, fd, e);
}

int handover_send(struct ipc_chan *ch, const struct front_conn *fc, struct err *e)
{
	const struct ipc_handover_CLIENT m = {
		.conn = fc->conn,
		.profile = str_c(fc->profile),
		.listener = str_c(fc->listener),
		.stress = fc->stress,
		.client = str_c(fc->client),
		.client_port = fc->client_port,
		.server = str_c(fc->server),
		.server_port = fc->server_port,
		.channels = (uint64_t)((fc->auth_fd >= 0) + (fc->key_fd >= 0) + (fc->queue_fd >= 0)),
	};
	if (ipc_send(ch, IPC_handover_CLIENT, &m, 0, fc->fd, e) < 0 || send_channel(ch, "auth", fc->auth_fd, e) < 0 ||
	    send_channel(ch, "key", fc->key_fd, e) < 0 || send_channel(ch, "queue", fc->queue_fd, e) < 0)
		return -1;
	return 0;
}
