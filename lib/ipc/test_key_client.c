/* A signature is one question and its answer; every other answer is an error with a name. */
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "ipc/key.h"
#include "ipc/key_client.h"
#include "test/tap.h"

enum answer { SIGNED, LATE, REFUSED, OTHER_ID, OTHER_TYPE, EMPTY, RUBBISH, SILENT_END };

static void answer(int sock, enum answer how)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	if (ipc_recv_fd(sock, &ipc_key, 1000, a, &type, &id, &msg, &fd, &e) < 0 || type != IPC_key_SIGN)
		_exit(1);
	const struct ipc_key_SIGN *ask = msg;
	struct ipc_key_SIGNED done = { .signature = ask->tbs };
	if (how == EMPTY)
		done.signature = STR("");
	int r = 0;
	if (how == LATE)	/* to a question that was given up */
		r = ipc_send_fd(sock, &ipc_key, IPC_key_REFUSED, &(struct ipc_key_REFUSED){ .text = STR("too late") }, id - 1, -1, &e);
	if (r == 0 && (how == SIGNED || how == LATE || how == EMPTY))
		r = ipc_send_fd(sock, &ipc_key, IPC_key_SIGNED, &done, id, -1, &e);
	else if (r == 0 && how == OTHER_ID)
		r = ipc_send_fd(sock, &ipc_key, IPC_key_SIGNED, &done, id + 1, -1, &e);
	else if (how == OTHER_TYPE)
		r = ipc_send_fd(sock, &ipc_key, IPC_key_SIGN, ask, id, -1, &e);
	else if (how == REFUSED)
		r = ipc_send_fd(sock, &ipc_key, IPC_key_REFUSED, &(struct ipc_key_REFUSED){ .text = STR("no such key") }, id, -1, &e);
	else if (how == RUBBISH)
		r = send(sock, "rubbish", 7, 0) == 7 ? 0 : -1;
	_exit(r < 0);
}

static const struct {
	const char *name;
	enum answer how;
	enum err_code code;
	const char *text;	/* a part of it */
} cases[] = {
	{ "a signature", SIGNED, ERR_NONE, "" },
	{ "a signature behind a late answer", LATE, ERR_NONE, "" },
	{ "a refusal", REFUSED, ERR_DENIED, "no such key" },
	{ "an answer to another question", OTHER_ID, ERR_BUG, "another question" },
	{ "a question as answer", OTHER_TYPE, ERR_BUG, "unexpected" },
	{ "an empty signature", EMPTY, ERR_BUG, "0 bytes" },
	{ "rubbish", RUBBISH, ERR_INPUT, "" },
	{ "a worker that went away", SILENT_END, ERR_CLOSED, "" },
};

int main(void)
{
	alarm(20);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned char sig[64];
		struct err e = { 0 };
		size_t n = 0;
		int sv[2], status;

		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) < 0)
			return 1;
		pid_t pid = fork();
		if (pid == 0) {
			close(sv[0]);
			answer(sv[1], cases[i].how);
		}
		close(sv[1]);
		int r = key_client_sign(sv[0], "ed25519", STR("to be signed"), STR("12345678901234567890123456789012"), sig, sizeof(sig), &n, &e);
		tap_ok(e.code == cases[i].code && (r == 0) == (e.code == ERR_NONE) && strstr(e.text, cases[i].text), "%s: %d %s",
		       cases[i].name, e.code, e.text);
		if (r == 0)
			tap_is_mem(str_n((char *)sig, n), STR("to be signed"), "arrives");
		close(sv[0]);
		waitpid(pid, &status, 0);
		tap_is_int(status, 0, "the worker saw the question");
	}
	return tap_done();
}
