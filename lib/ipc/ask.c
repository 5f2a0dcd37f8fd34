/* Requests of tools: one connection each, rows in pages, the closing word. */
#include "ipc/ask.h"

#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/num.h"
#include "os/os.h"

enum { ANSWER_MS = 60000 };

struct str control_value(const struct ipc_control_LINE *l, const char *key)
{
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		if (str_eq(l->keys.v[i], str_c(key)))
			return l->values.v[i];
	return STR("");
}

uint64_t control_number(const struct ipc_control_LINE *l, const char *key)
{
	uint64_t v = 0;

	return num_parse(control_value(l, key), 0, UINT64_MAX, &v) < 0 ? 0 : v;
}

enum { MORE = 2 };

/* MORE: the next page was asked for; else as control_ask. */
static int at_end(int sock, const struct ipc_control_END *end, struct buf *text_out, struct err *e)
{
	const struct ipc_control_REQUEST more = { .word = STR("more") };

	if (end->code) {
		err_set(e, end->code < ERR_MAX_ ? (enum err_code)end->code : ERR_TEMP, 0, "%.*s", STR_ARG(end->text));
		return 1;
	}
	if (str_eq(end->text, STR("more")))
		return ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &more, 1, -1, e) < 0 ? -1 : MORE;
	if (text_out)
		buf_str(text_out, end->text);
	return 0;
}

static int read_answer(int sock, struct arena *a, control_line_fn *fn, void *ctx, struct buf *text_out, struct err *e)
{
	int r = MORE;

	while (r == MORE) {
		const struct arena_mark mark = arena_mark(a);
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd = -1;

		if (ipc_recv_fd(sock, &ipc_control, ANSWER_MS, a, &type, &id, &msg, &fd, e) < 0)
			return -1;
		close_fd(&fd);
		if (type == IPC_control_LINE && fn)
			fn(ctx, msg);
		else if (type == IPC_control_END)
			r = at_end(sock, msg, text_out, e);
		arena_release(a, mark);
	}
	return r;
}

int control_ask(const char *run, const char *which, const char *word, const struct str *args, size_t n, control_line_fn *fn, void *ctx, struct buf *text_out,
		struct err *e)
{
	struct arena *a = arena_new(0);
	struct ipc_control_REQUEST m = { .word = str_c(word) };
	char path[PATH_MAX];
	int r = -1;

	m.args.v = ARENA_ARRAY(a, struct str, n + 1);
	for (; m.args.n < n; m.args.n++)
		m.args.v[m.args.n] = args[m.args.n];
	(void)snprintf(path, sizeof(path), "%s/%s", run, which);
	CLEANUP_FD int sock = sock_unix_connect(path, SOCK_SEQPACKET, e);
	if (sock >= 0 && ipc_send_fd(sock, &ipc_control, IPC_control_REQUEST, &m, 1, -1, e) == 0)
		r = read_answer(sock, a, fn, ctx, text_out, e);
	arena_free(&a);
	return r;
}
