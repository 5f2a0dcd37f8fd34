/* When DNS lists count as silent: never because name servers that the sender has chosen are. The monitor is this test: its answers lie in the channel before the
 * worker's half looks.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "asker.h"
#include "ipc/filter.h"
#include "ipc/ipc.h"
#include "test/tap.h"

enum { ROUNDS = 2, ASKED = 3, LISTS_MS = 500 };

/* A round: 'l' a list that answers, 'L' one that is silent, 't' one that cannot be asked, 's' and 'S' a server of the sender's. */
static const struct {
	const char *name, *rounds[ROUNDS], *sent;
	bool silent;
} cases[] = {
	{ "all answer", { "lsl", "sl" }, "llsls", false },
	{ "the sender's server is silent", { "Sl", "" }, "lS", false },
	{ "only the sender's is asked, and silent", { "SS", "" }, "SS", false },
	{ "lists are silent later", { "ls", "LL" }, "lsLL", false },
	{ "lists cannot be asked, the sender's server is silent", { "tS", "" }, "tS", false },
	{ "one list is silent", { "lL", "" }, "lL", false },
	{ "lists are silent", { "LL", "" }, "LL", true },
	{ "lists are silent, the sender's server is not", { "sL", "" }, "Ls", true },
};

static int channel[2];

/* Questions come lists first: answers are numbered so. */
static uint32_t answer_first(const char *round, const char *kinds, uint32_t id)
{
	struct str record = STR("127.0.0.2");
	struct err e = { 0 };

	for (const char *p = round; *p; p++) {
		const bool list = *p == 'l' || *p == 'L' || *p == 't';
		if (list != (kinds[0] == 'l'))
			continue;
		id++;
		const struct ipc_filter_ANSWER m = { .known = *p == 't' ? AUTH_TROUBLE : AUTH_HAS, .records = { &record, *p != 't' } };
		if (*p != 'L' && *p != 'S' && ipc_send_fd(channel[1], &ipc_filter, IPC_filter_ANSWER, &m, id, -1, &e) < 0)
			tap_ok(false, "%s", e.text);
	}
	return id;
}

static void ask(struct asker *k, struct arena *a, const char *round)
{
	struct spam_question q[ASKED] = { 0 };
	size_t n = 0;
	bool right = true;

	(void)answer_first(round, "s", answer_first(round, "l", k->id));
	for (; round[n]; n++)
		q[n] = (struct spam_question){ .name = str_n(&round[n], 1), .type = 1, .list = round[n] != 's' && round[n] != 'S' };
	asker_ask_lists(k, a, q, n);
	for (size_t i = 0; i < n; i++)
		right &= q[i].n == (round[i] == 'l' || round[i] == 's');
	tap_ok(right, "answers belong to their questions: %s", round);
}

static void run(size_t i)
{
	struct arena *a = arena_new(0);
	struct asker k = { .lists_ms = LISTS_MS };
	struct err e = { 0 };
	struct buf sent;
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel) < 0)
		return;
	k.sock = channel[0];
	buf_init(&sent, 100);
	for (size_t r = 0; r < ROUNDS && cases[i].rounds[r][0]; r++)
		ask(&k, a, cases[i].rounds[r]);
	close(channel[0]);
	while (ipc_recv_fd(channel[1], &ipc_filter, 1000, a, &type, &id, &msg, &fd, &e) == 0)
		buf_str(&sent, ((const struct ipc_filter_ASK *)msg)->name);
	tap_is_mem(buf_view(&sent), str_c(cases[i].sent), "%s: what was asked, in this order", cases[i].name);
	tap_ok((k.lists_silent_until_ms > 0) == cases[i].silent, "%s: lists are %s", cases[i].name, cases[i].silent ? "left alone for a while" : "asked again");
	close(channel[1]);
	buf_fini(&sent);
	arena_free(&a);
}

int main(void)
{
	alarm(100);
	if (freopen("/dev/null", "w", stderr) == NULL)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		run(i);
	return tap_done();
}
