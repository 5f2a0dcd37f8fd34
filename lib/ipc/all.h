/* Every channel of the suite, for tests, fuzzing and documentation: IPC_EACH(name) rows. */
#ifndef IPC_ALL_H
#define IPC_ALL_H

#include "ipc/auth.h"
#include "ipc/control.h"
#include "ipc/deliver.h"
#include "ipc/dns.h"
#include "ipc/filter.h"
#include "ipc/helper.h"
#include "ipc/import.h"
#include "ipc/key.h"
#include "ipc/learn.h"
#include "ipc/link.h"
#include "ipc/policy.h"
#include "ipc/queue.h"
#include "ipc/reg.h"
#include "ipc/remote.h"
#include "ipc/resolve.h"
#include "ipc/sess.h"
#include "ipc/spawn.h"
#include "ipc/sts.h"

static const struct ipc_proto *const ipc_all[] = {
	&ipc_auth, &ipc_control, &ipc_deliver, &ipc_dns, &ipc_filter, &ipc_helper, &ipc_import, &ipc_key, &ipc_learn, &ipc_link, &ipc_policy, &ipc_queue,
	&ipc_reg, &ipc_remote, &ipc_resolve, &ipc_sess, &ipc_spawn, &ipc_sts,
};

#endif
