/* Matches that resolve answers with: whatever it names, only lines that were asked about, each once and in their order, reach who changes a header by them. resolve is
 * played here, at the other end of the channel.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deliver/queue/queued.h"
#include "io/loop.h"
#include "test/tap.h"

enum { LINES = 3, NAMED_MAX = 4 };

static const struct {
	const char *name;
	const char *at[NAMED_MAX];
	size_t n, n_actions;
	bool taken;
} cases[] = {
	{ "none", { NULL }, 0, 0, true },
	{ "one", { "2" }, 1, 1, true },
	{ "all", { "0", "1", "2" }, 3, 3, true },
	{ "one behind the last", { "3" }, 1, 1, false },
	{ "one far behind", { "99999999" }, 1, 1, false },
	{ "the same twice", { "0", "0" }, 2, 2, false },
	{ "one before another", { "1", "0" }, 2, 2, false },
	{ "one more than there are", { "0", "1", "2", "2" }, 4, 4, false },
	{ "no number", { "-1" }, 1, 1, false },
	{ "no text", { "" }, 1, 1, false },
	{ "fewer actions", { "0", "1" }, 2, 1, false },
	{ "more actions", { "0" }, 1, 2, false },
};

static struct queued q;
static unsigned answers;
static bool taken;

void milter_body(void *ctx, int fd, uint64_t size)
{
	tap_ok(false, "a milter's body");
}

static void on_matches(void *ctx, const struct ipc_resolve_MATCHES *m)
{
	answers++;
	taken = m != NULL;
	loop_stop(q.loop);
}

static void ask(int resolve, size_t i)
{
	struct str lines[LINES] = { STR("A: a"), STR("B: b"), STR("C: c") }, at[NAMED_MAX], actions[NAMED_MAX];
	const struct ipc_resolve_CHECK m = { .which = CHECK_SMTP_HEADER, .lines = { lines, LINES } };
	struct err e = { 0 };

	for (size_t k = 0; k < NAMED_MAX; k++) {
		at[k] = str_c(cases[i].at[k] ? cases[i].at[k] : "");
		actions[k] = STR("IGNORE");
	}
	answers = 0;
	check_ask(&q, &m, on_matches, NULL);
	const struct ipc_resolve_MATCHES r = { .at = { at, cases[i].n }, .actions = { actions, cases[i].n_actions } };
	if (ipc_send_fd(resolve, &ipc_resolve, IPC_resolve_MATCHES, &r, (uint32_t)i + 1, -1, &e) < 0)
		tap_ok(false, "%s: %s", cases[i].name, e.text);
	else
		loop_run(q.loop);
	tap_ok(answers == 1 && taken == cases[i].taken, "%s: %s", cases[i].name, cases[i].taken ? "taken" : "no answer");
}

int main(void)
{
	int pair[2];

	alarm(60);
	if (freopen("/dev/null", "w", stderr) == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return 1;
	q.loop = loop_new();
	asks_start(&q, pair[0]);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ask(pair[1], i);
	return tap_done();
}
