/* One packet over a socket: what chan.c and blocking.c share. */
#ifndef IPC_PACKET_H
#define IPC_PACKET_H

#include <stdbool.h>

#include "ipc/ipc.h"

/* Send n bytes, with fds. 0; 1: would block; -1: *e (ERR_CLOSED: the peer has gone). */
int packet_send(int sock, const void *p, size_t n, const struct ipc_fds *fds, bool wait, struct err *e) MUST_CHECK;
void packet_close(struct ipc_fds *fds);	/* and forget them */
/* Receive one into p (IPC_PACKET_MAX bytes), waiting for it or not. 0: *n_out bytes, *fds_out owned; 1: nothing there; -1: *e: ERR_CLOSED at the end,
 * ERR_INPUT for a packet that is too long or brings more descriptors than IPC_FDS_MAX (all are closed). */
int packet_recv(int sock, unsigned char *p, size_t *n_out, struct ipc_fds *fds_out, bool wait, struct err *e) MUST_CHECK;

#endif
