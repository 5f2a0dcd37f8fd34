/* The monitor against processes of ours that were taken over: workers that ask for signatures, a door that claims what only the queue may say, workers that want
 * something to be learned. A child is template, worker, door and queue in one; what it was given and told comes back through a pipe. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/filter.h"
#include "learndata.h"
#include "monitor.h"
#include "os/os.h"
#include "spam/taught.h"
#include "test/tap.h"

enum { WAIT_MS = 10000, LATE_S = 60 };

static const struct row {
	const char *name;
	bool door;
	uint64_t sign;		/* the job's */
	const char *domain;	/* the worker asks for a key of this */
	unsigned asks;
	const char *action;
	bool score, learns, teach;	/* a worker scores it; its rules wish that mail is learned of itself; a person asked for it */
	bool wants, kept;		/* the last worker wants it to be learned; it is */
} rows[] = {
	{ "no signature was wished for", false, 0, "example.test", 1, .action = "tempfail" },
	{ "DKIM, as many as there may be keys", false, SIGN_DKIM, "example.test", MONITOR_SIGNS_MAX, .action = "accept" },
	{ "DKIM, one more", false, SIGN_DKIM, "example.test", MONITOR_SIGNS_MAX + 1, .action = "tempfail" },
	{ "only signing", false, SIGN_DKIM | SIGN_ONLY, "example.test", 1, .action = "accept" },
	{ "a seal of ours", false, SIGN_ARC, "mx.example.test", 2, .action = "accept" },
	{ "a seal of the domain above", false, SIGN_ARC, "EXAMPLE.test", 2, .action = "accept" },
	{ "a seal of another", false, SIGN_ARC, "bank.test", 1, .action = "tempfail" },
	{ "a seal of one that ends so", false, SIGN_ARC, "ample.test", 1, .action = "tempfail" },
	{ "no signature for a door", true, SIGN_DKIM, "example.test", 1, .action = "tempfail" },
	{ "a door without signatures", true, SIGN_DKIM, "example.test", 0, .action = "accept" },
	{ "a worker that does not score teaches", .domain = "", .action = "accept", .learns = true, .wants = true },
	{ "one that scores teaches where nobody wishes it", .domain = "", .action = "accept", .score = true, .wants = true },
	{ "one that scores teaches where that is wished", .domain = "", .action = "accept", .score = true, .learns = true, .wants = true, .kept = true },
	{ "a person teaches", .domain = "", .door = true, .action = "accept", .score = true, .teach = true, .wants = true, .kept = true },
};

/* --- the child --- */

struct straw {
	struct arena *a;
	int template[STAGE_KINDS], door, queue;	/* of the monitor's channels */
	bool clean;			/* nothing arrived that is not for the client to say */
};

static uint16_t take(struct straw *t, int sock, uint32_t *id, void **msg, int *fd)
{
	struct err e = { 0 };
	uint16_t type = 0;
	return ipc_recv_fd(sock, &ipc_filter, WAIT_MS, t->a, &type, id, msg, fd, &e) < 0 ? 0 : type;
}

static bool give(int sock, uint16_t type, const void *msg, uint32_t id, int fd)
{
	struct err e = { 0 };
	return ipc_send_fd(sock, &ipc_filter, type, msg, id, fd, &e) == 0;
}

static struct str record(struct straw *t, bool told)
{
	static uint64_t token = 1;
	const struct taught what = { .as = BAYES_SPAM, .told = told, .tokens = &token, .n_tokens = 1 };
	return taught_format(t->a, &what);
}

/* The message with its second worker, who is told what the first one found. */
static bool score(struct straw *t, const struct row *r)
{
	CLEANUP_FD int sock = -1, fd = -1;
	uint32_t id;
	void *msg;
	if (take(t, t->template[STAGE_SCORE], &id, &msg, &sock) != IPC_filter_FORK || take(t, sock, &id, &msg, &fd) != IPC_filter_SCAN)
		return false;
	const struct ipc_filter_VERDICT v = { .action = STR("accept"), .learn = r->wants ? record(t, r->teach) : STR("") };
	return give(sock, IPC_filter_VERDICT, &v, id, -1);
}

/* One message with one worker. */
static bool work(struct straw *t, const struct row *r)
{
	CLEANUP_FD int sock = -1, fd = -1;
	int none = -1;
	uint32_t id, other;
	void *msg;
	if (r->teach)
		return score(t, r);
	if (take(t, t->template[STAGE_SCAN], &id, &msg, &sock) != IPC_filter_FORK || take(t, sock, &id, &msg, &fd) != IPC_filter_SCAN)
		return false;
	const struct ipc_filter_SCAN *m = msg;
	t->clean = m->found.n == 0 && m->report.n == 0 && m->sign == (r->door ? 0 : r->sign) && m->edits.n == (r->door ? 0 : 1);
	const struct ipc_filter_SIGN q = { .domain = str_c(r->domain), .selector = STR("s"), .hash = STR("0123456789abcdef0123456789abcdef") };
	for (unsigned i = 0; i < r->asks; i++)
		if (!give(sock, IPC_filter_SIGN, &q, i + 1, -1) || take(t, sock, &other, &msg, &none) != IPC_filter_SIGNATURE)
			return false;
	const struct ipc_filter_VERDICT v = { .action = r->score ? STR("score") : STR("accept"), .learn = r->wants ? record(t, false) : STR("") };
	return give(sock, IPC_filter_VERDICT, &v, id, -1) && (!r->score || score(t, r));
}

static void play(struct straw *t, const struct row *r, FILE *out)
{
	struct str field = STR("+X-Test: a\n"), to = STR("b@example.test");
	const struct ipc_filter_READY ready = { .text = STR("straw"), .learns = r->learns };
	const struct ipc_filter_SCAN scan = { .qid = STR("Q"), .sender = STR("a@example.test"), .recipients = { &to, 1 }, .client = STR("192.0.2.1"), .size = 5,
		.sign = r->sign, .teach = r->teach ? 1 + BAYES_SPAM : 0, .edits = { &field, 1 }, .found = { &field, 1 }, .report = STR("claimed") };
	CLEANUP_FD int fd = memfd_create("message", MFD_CLOEXEC);
	int none = -1;
	uint32_t id;
	void *msg;
	const int sock = r->door ? t->door : t->queue;
	t->clean = r->teach;
	for (size_t k = 0; k < STAGE_KINDS; k++)
		if (!give(t->template[k], IPC_filter_READY, &ready, 0, -1))
			return;
	if (!give(sock, IPC_filter_SCAN, &scan, 7, fd))
		return;
	for (int i = 0; i < MONITOR_ATTEMPTS && !work(t, r); i++)
		continue;
	if (take(t, sock, &id, &msg, &none) == IPC_filter_VERDICT && id == 7)
		fprintf(out, "%.*s %s", STR_ARG(((const struct ipc_filter_VERDICT *)msg)->action), t->clean ? "clean" : "claimed");
}

/* --- the monitor --- */

struct scene {
	int template[STAGE_KINDS], door;
};

static int give_template(void *ctx, enum stage_kind kind, const struct conf *conf)
{
	(void)conf;
	return dup(((struct scene *)ctx)->template[kind]);
}

static int give_door(void *ctx, size_t which, const struct conf *conf)
{
	(void)conf;
	(void)which;
	return dup(((struct scene *)ctx)->door);
}

static bool everyone_may_teach(void *ctx, size_t which)
{
	(void)ctx;
	(void)which;
	return true;
}

/* 0: as expected. What a process does last: monitor_run keeps what it has. */
static int serve(const struct conf *conf, const char *path, int listener, const struct row *r)
{
	int scan[2], score[2], door[2], told[2];
	struct err e = { 0 };
	char text[100] = "", want[100];
	if (sock_pair(SOCK_SEQPACKET, scan, &e) < 0 || sock_pair(SOCK_SEQPACKET, score, &e) < 0 || sock_pair(SOCK_SEQPACKET, door, &e) < 0 || pipe(told) < 0)
		return 1;
	const pid_t pid = fork();
	if (pid == 0) {
		close(scan[0]);
		close(score[0]);
		close(door[0]);
		FILE *out = fdopen(told[1], "w");
		struct straw t = { arena_new(0), { scan[1], score[1] }, door[1], sock_unix_connect(path, SOCK_SEQPACKET, &e), false };
		alarm(LATE_S);
		play(&t, r, out);
		fclose(out);
		kill(getppid(), SIGTERM);
		_exit(0);
	}
	close(scan[1]);
	close(score[1]);
	close(door[1]);
	close(told[1]);
	if (pid < 0)
		return 1;
	struct scene s = { { scan[0], score[0] }, door[0] };
	const struct monitor_hooks hooks = { .start_template = give_template, .start_door = give_door, .may_teach = everyone_may_teach, .n_doors = 1, .ctx = &s, .doors_ctx = &s };
	const int ended = monitor_run(conf, listener, getuid(), &hooks, &e);
	const ssize_t n = read(told[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "%s clean", r->action);
	(void)waitpid(pid, NULL, 0);
	const bool kept = learn_data_there(conf->state_directory);
	if (ended == 0 && strcmp(text, want) == 0 && kept == r->kept)
		return 0;
	tap_diag("got \"%s\"%s, want \"%s\"", text, kept ? " and learned" : "", want);
	fflush(stdout);
	return 1;
}

int main(void)
{
	char dir[] = "/tmp/test_monitor.XXXXXX", path[100], taught[100];
	static const char *const below[] = { "filter", LEARN_QUEUE_DIR };
	struct err e = { 0 };
	if (mkdtemp(dir) == NULL)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(below); i++) {
		snprintf(taught, sizeof(taught), "%s/%s", dir, below[i]);
		if (mkdir(taught, 0700) < 0)
			return 1;
	}
	snprintf(taught, sizeof(taught), "%s/" LEARN_QUEUE_DIR "/taught", dir);
	snprintf(path, sizeof(path), "%s/scan", dir);
	struct conf conf = { .myhostname = "mx.example.test", .run_directory = dir, .state_directory = dir, .virus_database_directory = dir, .greylist_level = "",
		.spam_check = true, .spam_rules_directory = "", .spam_site_directory = "",
		.filter_workers = 1, .filter_timeout = 60 };
	CLEANUP_FD int listener = sock_unix_listen(path, SOCK_SEQPACKET, 0600, (uid_t)-1, (gid_t)-1, &e);
	tap_ok(listener >= 0, "a listener: %s", e.text);
	for (size_t i = 0; listener >= 0 && i < ARRAY_LEN(rows); i++) {
		const pid_t pid = fork();
		if (pid == 0)
			_exit(serve(&conf, path, listener, &rows[i]));
		int status = 0;
		tap_ok(waitpid(pid, &status, 0) == pid && status == 0, "%s", rows[i].name);
		(void)unlink(taught);
	}
	for (size_t i = ARRAY_LEN(below); i-- > 0;) {
		snprintf(taught, sizeof(taught), "%s/%s", dir, below[i]);
		(void)rmdir(taught);
	}
	(void)unlink(path);
	(void)rmdir(dir);
	return tap_done();
}
