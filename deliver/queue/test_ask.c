/* Matches that resolve answers with: whatever it names, only lines that were asked about, each once and in their order, reach who changes a header by them. Then
 * addresses: which answers are remembered, and when they are forgotten. resolve is played here, at the other end of the channel.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* --- addresses --- */

static char table[64];		/* the file that answers depend on */
static char told[64];
static int resolve_end;

static void on_address(void *ctx, const struct ipc_resolve_RESULT *r)
{
	answers++;
	(void)snprintf(told, sizeof(told), "%.*s", r && r->users.n > 0 ? (int)r->users.v[0].n : 0, r && r->users.n > 0 ? r->users.v[0].p : "");
	loop_stop(q.loop);
}

/* Which address resolve is asked about now: the question's id, 0: none. */
static uint32_t question(void)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type = 0;
	uint32_t id = 0;
	void *msg;
	int fd = -1;

	/* The questions of above were answered unread. */
	while (type != IPC_resolve_ADDRESS && ipc_recv_fd(resolve_end, &ipc_resolve, 0, a, &type, &id, &msg, &fd, &e) == 0)
		;
	arena_free(&a);
	return type == IPC_resolve_ADDRESS ? id : 0;
}

static void result(uint32_t id, const char *kind, const char *user)
{
	struct str v[] = { str_c(kind), STR("joe@example.com"), str_c(user), STR("") };
	const struct ipc_resolve_RESULT r = { .class = STR("local"), .kinds = { v, 1 }, .addresses = { v + 1, 1 }, .users = { v + 2, 1 }, .extensions = { v + 3, 1 } };
	struct err e = { 0 };

	if (ipc_send_fd(resolve_end, &ipc_resolve, IPC_resolve_RESULT, &r, id, -1, &e) < 0)
		tap_ok(false, "%s", e.text);
}

/* Ask, and be resolve with this answer if it is asked. true: it was. */
static bool asked(const char *kind, const char *user)
{
	answers = 0;
	resolve_ask(&q, STR("joe@example.com"), on_address, NULL);
	const uint32_t id = question();
	if (id)
		result(id, kind, user);
	loop_run(q.loop);
	return id != 0;
}

static void replace_table(void)
{
	char fresh[80];

	(void)snprintf(fresh, sizeof(fresh), "%s.new", table);
	close(open(fresh, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	tap_ok(rename(fresh, table) == 0, "the table is replaced");
}

static void addresses(void)
{
	tap_ok(asked("mailbox", "joe") && answers == 1 && strcmp(told, "joe") == 0, "an address is asked about");
	tap_ok(asked("mailbox", "joe"), "again, when nothing is watched");
	known_watch(&q, table);
	tap_ok(asked("remote", "x"), "watched, the first time");
	tap_ok(asked("mailbox", "joe"), "what was no mailbox is not remembered");
	tap_ok(!asked("mailbox", "x") && answers == 1 && strcmp(told, "joe") == 0, "a mailbox is");
	struct ask *a = resolve_ask(&q, STR("joe@example.com"), on_address, NULL);
	known_forget(&q);
	answers = 0;
	loop_run(q.loop);
	tap_ok(answers == 1 && strcmp(told, "joe") == 0, "forgotten before it is told: it is told");
	tap_ok(asked("mailbox", "joe"), "and the next is asked about");
	a = resolve_ask(&q, STR("joe@example.com"), on_address, NULL);
	ask_forget(&a);
	replace_table();
	tap_ok(asked("mailbox", "ann") && strcmp(told, "ann") == 0, "a table was replaced: asked again");
	tap_ok(!asked("mailbox", "x") && strcmp(told, "ann") == 0, "and remembered");
	/* The table is replaced after the question, and that is noticed by another question before the answer comes. */
	known_forget(&q);
	(void)resolve_ask(&q, STR("joe@example.com"), on_address, NULL);
	const uint32_t old = question();
	replace_table();
	(void)resolve_ask(&q, STR("ann@example.com"), on_address, NULL);
	const uint32_t other = question();
	result(old, "mailbox", "old");
	loop_run(q.loop);
	result(other, "mailbox", "ann");
	loop_run(q.loop);
	tap_ok(old && other && asked("mailbox", "new") && strcmp(told, "new") == 0, "an answer from before is not remembered");
}

int main(void)
{
	int pair[2];
	char dir[] = "/tmp/test_ask.XXXXXX";

	alarm(60);
	if (freopen("/dev/null", "w", stderr) == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return 1;
	q.loop = loop_new();
	asks_start(&q, pair[0]);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ask(pair[1], i);
	resolve_end = pair[1];
	tap_ok(mkdtemp(dir) != NULL, "a directory");
	(void)snprintf(table, sizeof(table), "%s/table.cdb", dir);
	addresses();
	(void)unlink(table);
	(void)rmdir(dir);
	return tap_done();
}
