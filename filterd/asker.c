/* See asker.h. */
#include "asker.h"

#include <unistd.h>

#include "base/clock.h"
#include "ipc/filter.h"
#include "log/log.h"

/* The monitor ends us when it is gone or speaks nonsense: there is nobody to serve then. */
static const struct ipc_filter_ANSWER *receive(struct asker *k, struct arena *a)
{
	for (;;) {
		const uint64_t now = clock_mono_ms();
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd = -1;
		struct err e = { 0 };
		if (now >= k->until_ms)
			return NULL;
		if (ipc_recv_fd(k->sock, &ipc_filter, (int)(k->until_ms - now), a, &type, &id, &msg, &fd, &e) < 0) {
			if (clock_mono_ms() >= k->until_ms)
				return NULL;
			log_warning("worker: %s", e.text);
			_exit(1);
		}
		if (type != IPC_filter_ANSWER || fd >= 0)
			_exit(1);
		if (id == k->id)
			return msg;
	}
}

struct auth_answer asker_ask(void *ctx, struct arena *a, struct str name, unsigned type)
{
	struct asker *k = ctx;
	const struct ipc_filter_ASK m = { .name = name, .type = type };
	struct err e = { 0 };
	if (clock_mono_ms() >= k->until_ms)
		return (struct auth_answer){ .known = AUTH_TROUBLE };
	if (ipc_send_fd(k->sock, &ipc_filter, IPC_filter_ASK, &m, ++k->id, -1, &e) < 0)
		_exit(1);
	const struct ipc_filter_ANSWER *r = receive(k, a);
	if (r == NULL || r->known > AUTH_TROUBLE)
		return (struct auth_answer){ .known = AUTH_TROUBLE };
	return (struct auth_answer){ .known = (enum auth_known)r->known, .v = r->records.v, .n = r->records.n };
}
