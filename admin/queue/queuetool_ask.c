/* A request over $run/queue/control. Long answers come in pages. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "base/num.h"
#include "admin/queue/queuetool.h"
#include "os/os.h"

enum { ANSWER_MS = 60000 };

struct str queue_value(const struct ipc_control_LINE *l, const char *key)
{
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		if (str_eq(l->keys.v[i], str_c(key)))
			return l->values.v[i];
	return (struct str){ 0 };
}

uint64_t queue_number(const struct ipc_control_LINE *l, const char *key)
{
	uint64_t v = 0;

	return num_parse(queue_value(l, key), 0, UINT64_MAX, &v) < 0 ? 0 : v;
}

/* 1: the next page was asked for; else the exit status. */
static int at_end(int sock, const struct ipc_control_END *end, FILE *to, struct err *e)
{
	const struct ipc_control_REQUEST more = { .word = STR("more") };

	if (end->code == 0 && str_eq(end->text, STR("more"))) {
		if (ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &more, 1, -1, e) == 0)
			return 1;
		fprintf(stderr, "postern-queue: %s\n", e->text);
		return EX_UNAVAILABLE;
	}
	if (end->text.n > 0 && (end->code || to))
		fprintf(end->code ? stderr : to, "%.*s\n", STR_ARG(end->text));
	return end->code ? EX_DATAERR : 0;
}

static int read_answer(int sock, struct arena *a, queue_line_fn *fn, void *ctx, FILE *to)
{
	struct err e = { 0 };
	int r = 1;

	while (r == 1) {
		const struct arena_mark mark = arena_mark(a);
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd = -1;
		if (ipc_recv_fd(sock, &ipc_control, ANSWER_MS, a, &type, &id, &msg, &fd, &e) < 0) {
			fprintf(stderr, "postern-queue: %s\n", e.text);
			return EX_UNAVAILABLE;
		}
		close_fd(&fd);
		if (type == IPC_control_LINE && fn)
			fn(ctx, msg);
		else if (type == IPC_control_END)
			r = at_end(sock, msg, to, &e);
		arena_release(a, mark);
	}
	return r;
}

int queue_ask(const struct conf *c, const char *word, const struct str *args, size_t n, queue_line_fn *fn, void *ctx, FILE *to)
{
	struct arena *a = arena_new(0);
	struct ipc_control_REQUEST m = { .word = str_c(word) };
	struct err e = { 0 };
	char path[1100];
	int r = EX_UNAVAILABLE;

	m.args.v = ARENA_ARRAY(a, struct str, n + 1);
	for (; m.args.n < n; m.args.n++)
		m.args.v[m.args.n] = args[m.args.n];
	snprintf(path, sizeof(path), "%s/queue/control", c->run_directory);
	CLEANUP_FD int sock = sock_unix_connect(path, SOCK_SEQPACKET, &e);
	if (sock < 0 || ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &m, 1, -1, &e) < 0)
		fprintf(stderr, "postern-queue: %s (is queued running, and are you root?)\n", e.text);
	else
		r = read_answer(sock, a, fn, ctx, to);
	arena_free(&a);
	return r;
}
