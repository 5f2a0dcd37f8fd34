/* See asker.h. */
#include "asker.h"

#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "ipc/filter.h"
#include "log/log.h"

/* The next message of that type with our last question's id; NULL: too late. The monitor ends us when it is gone or speaks nonsense: there is nobody to serve
 * then. */
static const void *receive(struct asker *k, struct arena *a, uint16_t wanted, uint64_t until_ms)
{
	for (;;) {
		const uint64_t now = clock_mono_ms();
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd = -1;
		struct err e = { 0 };
		if (now >= until_ms)
			return NULL;
		if (ipc_recv_fd(k->sock, &ipc_filter, (int)(until_ms - now), a, &type, &id, &msg, &fd, &e) < 0) {
			if (clock_mono_ms() >= until_ms)
				return NULL;
			log_warning("worker: %s", e.text);
			_exit(1);
		}
		if ((type != IPC_filter_ANSWER && type != IPC_filter_SIGNATURE) || fd >= 0)
			_exit(1);
		if (id == k->id && type == wanted)
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
	const struct ipc_filter_ANSWER *r = receive(k, a, IPC_filter_ANSWER, k->until_ms);
	if (r == NULL || r->known > AUTH_TROUBLE)
		return (struct auth_answer){ .known = AUTH_TROUBLE };
	return (struct auth_answer){ .known = (enum auth_known)r->known, .v = r->records.v, .n = r->records.n };
}

int asker_sign(void *ctx, struct str domain, struct str selector, const unsigned char hash[32], struct buf *out, struct err *e)
{
	struct asker *k = ctx;
	struct arena *a = arena_new(0);
	const struct ipc_filter_SIGN m = { .domain = domain, .selector = selector, .hash = str_n(hash, 32) };
	if (ipc_send_fd(k->sock, &ipc_filter, IPC_filter_SIGN, &m, ++k->id, -1, e) < 0)
		_exit(1);
	const struct ipc_filter_SIGNATURE *r = receive(k, a, IPC_filter_SIGNATURE, clock_mono_ms() + ASKER_SIGN_MS);
	int done = 0;
	if (r == NULL)
		done = err_set(e, ERR_TEMP, 0, "no signature in %d ms", ASKER_SIGN_MS);
	else if (r->signature.n == 0)
		done = err_set(e, ERR_TEMP, 0, "%.*s", STR_ARG(r->trouble));
	else
		buf_str(out, r->signature);
	arena_free(&a);
	return done;
}
