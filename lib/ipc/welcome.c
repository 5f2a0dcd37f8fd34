/* Whether a parent and the daemon that it registers connections with are of one release. */
#include "ipc/reg.h"

uint64_t reg_version(const struct ipc_proto *of_conns)
{
	return ipc_version(&ipc_reg) ^ ipc_version(of_conns);
}

int reg_welcome(struct ipc_chan *ch, const struct ipc_reg_HELLO *m, const struct ipc_proto *of_conns, struct err *e)
{
	const struct ipc_reg_WELCOME welcome = { 0 };

	if (m->version != reg_version(of_conns))
		return err_set(e, ERR_INPUT, 0, "the parent of %.*s is of another release than this process: restart what still runs from before the upgrade",
			       STR_ARG(m->service));
	return ipc_send(ch, IPC_reg_WELCOME, &welcome, 0, -1, e);
}
