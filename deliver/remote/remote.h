/* remote: the outgoing SMTP client. One process serves all attempts that queued asks for (lib/ipc/remote.def): it resolves next hops
 * (MX, A, AAAA), speaks SMTP with TLS where it may, and answers one RESULT per SEND. It knows no queue, no configuration of users and no file
 * but the read-only descriptors it is handed. queued's supervisor starts it in a child of its own.
 */
#ifndef DELIVER_REMOTE_H
#define DELIVER_REMOTE_H

#include <stdbool.h>

#include "conf/conf.h"

struct remote_env {
	const struct conf *conf;
	int queue_fd;		/* SEQPACKET channel to queued; taken */
	int dns_fd;		/* the same to dns (lib/dns/client.h) */
	int link_fd;		/* and to a connector (lib/ipc/link.def), for next hops that are UNIX sockets */
	bool unconfined;	/* --no-sandbox */
};

/* Runs in the child: reads the resolver's configuration, confines itself, serves until queued is gone. Does not return. ctx is a
 * struct remote_env (the shape of super_child.run). */
void remote_run(void *ctx);

#endif
