/* See asker.h. */
#include "asker.h"

#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "ipc/filter.h"
#include "log/log.h"
#include "relay.h"

/* The next answer; NULL: too late. The monitor ends us when it is gone or speaks nonsense: there is nobody to serve then. */
static const void *next(struct asker *k, struct arena *a, uint64_t until_ms, uint16_t *type_out, uint32_t *id_out)
{
	const uint64_t now = clock_mono_ms();
	void *msg;
	int fd = -1;
	struct err e = { 0 };
	if (now >= until_ms)
		return NULL;
	if (ipc_recv_fd(k->sock, &ipc_filter, (int)(until_ms - now), a, type_out, id_out, &msg, &fd, &e) < 0) {
		if (clock_mono_ms() >= until_ms)
			return NULL;
		log_warning("worker: %s", e.text);
		_exit(1);
	}
	if ((*type_out != IPC_filter_ANSWER && *type_out != IPC_filter_SIGNATURE) || fd >= 0)
		_exit(1);
	return msg;
}

/* The answer of that type to our last question. */
static const void *receive(struct asker *k, struct arena *a, uint16_t wanted, uint64_t until_ms)
{
	uint16_t type;
	uint32_t id;
	const void *msg;
	while ((msg = next(k, a, until_ms, &type, &id)) != NULL)
		if (id == k->id && type == wanted)
			return msg;
	return NULL;
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

static void send_question(struct asker *k, const struct spam_question *q)
{
	const struct ipc_filter_ASK m = { .name = q->name, .type = q->type };
	struct err e = { 0 };
	if (ipc_send_fd(k->sock, &ipc_filter, IPC_filter_ASK, &m, ++k->id, -1, &e) < 0)
		_exit(1);
}

/* Lists first: name servers that the sender has chosen may keep what they are asked waiting. */
static size_t in_order(const struct spam_question *q, size_t n, size_t order[SPAM_QUESTIONS_MAX])
{
	size_t lists = 0, all;
	for (size_t i = 0; i < n; i++)
		if (q[i].list)
			order[lists++] = i;
	all = lists;
	for (size_t i = 0; i < n; i++)
		if (!q[i].list)
			order[all++] = i;
	return lists;
}

/* As many at once as the monitor passes on. true: the lists have said something, or none was asked, or all have refused at once. */
static bool ask_all(struct asker *k, struct arena *a, struct spam_question *q, size_t n)
{
	const uint32_t first = k->id + 1;
	size_t order[SPAM_QUESTIONS_MAX], sent = 0, got = 0, lists_got = 0, lists_known = 0;
	const size_t lists = in_order(q, n, order);
	while (got < n) {
		uint16_t type;
		uint32_t id;
		for (; sent < n && sent - got < WORKER_ASKS_MAX; sent++)
			send_question(k, &q[order[sent]]);
		const struct ipc_filter_ANSWER *r = next(k, a, k->lists_until_ms, &type, &id);
		if (r == NULL)
			break;
		if (type != IPC_filter_ANSWER || id - first >= sent)
			continue;	/* to what was given up before */
		struct spam_question *about = &q[order[id - first]];
		about->records = r->records.v;
		about->n = r->known == AUTH_HAS ? r->records.n : 0;
		lists_got += about->list;
		lists_known += about->list && r->known != AUTH_TROUBLE;
		got++;
	}
	return lists_known > 0 || lists_got == lists;
}

/* Only a message's first questions, with all the time, tell that lists are silent. Later ones may have next to nothing left: the name servers of a link, which are
 * the sender's, may have had the rest. */
void asker_ask_lists(void *ctx, struct arena *a, struct spam_question *q, size_t n)
{
	struct asker *k = ctx;
	const uint64_t now = clock_mono_ms();
	const bool first = k->lists_until_ms == 0;
	if (now < k->lists_silent_until_ms || n > SPAM_QUESTIONS_MAX)
		return;
	if (first)
		k->lists_until_ms = now + k->lists_ms;
	if (now >= k->lists_until_ms)
		return;
	if (!ask_all(k, a, q, n) && first) {
		log_warning("dns: no answer of any DNS list in %llu ms: none is asked for %d s", (unsigned long long)k->lists_ms, ASKER_SILENT_MS / 1000);
		k->lists_silent_until_ms = clock_mono_ms() + ASKER_SILENT_MS;
	}
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
