/* The front's frame and authd, of straw: every login ends in an answer, and the connection with its client. */
#include "test/fuzz_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/auth.h"
#include "os/os.h"
#include "test/fuzz_session.h"

enum { INPUT_MAX = 60000 };

static const struct conf *conf;
static struct {
	struct loop *loop;
	struct front_env env;
	struct ipc_chan *auth;
	int steps;
	bool no_session, over, in, given;
} w;

void front_done(struct front_env *env, const struct front_conn *fc)
{
	w.over = true;
}

void front_select_key(const struct front_conn *fc)
{
}

void front_narrow(struct front_env *env)
{
}

static void check(bool good)
{
	if (!good)
		abort();
}

static int session_answer(uint32_t id, struct err *e)
{
	const struct ipc_auth_SESSION_OK ok = { .pid = 1 };
	const struct ipc_auth_SESSION_FAIL fail = { .code = ERR_TEMP, .text = STR("none") };

	check(w.in && !w.given);
	w.given = true;
	return w.no_session ? ipc_send(w.auth, IPC_auth_SESSION_FAIL, &fail, id, -1, e) : ipc_send(w.auth, IPC_auth_SESSION_OK, &ok, id, -1, e);
}

static int exchange(uint32_t id, struct str said, struct err *e)
{
	const struct ipc_auth_CHALLENGE more = { .data = STR("Username:") };
	const struct ipc_auth_OK ok = { .user = STR("joe") };
	const struct ipc_auth_FAIL fail = { .code = ERR_AUTH, .text = STR("failed"), .user = STR("x") };

	check(!w.in);
	if (said.n && said.p[said.n - 1] == 't') {
		w.in = true;
		return ipc_send(w.auth, IPC_auth_OK, &ok, id, -1, e);
	}
	if (said.n && said.p[0] == '!') {
		ipc_chan_free(&w.auth);
		return 0;
	}
	return w.steps < 2 ? ipc_send(w.auth, IPC_auth_CHALLENGE, &more, id, -1, e) : ipc_send(w.auth, IPC_auth_FAIL, &fail, id, -1, e);
}

static void on_auth(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct err e = { 0 };
	int r = 0;

	close_fd(&fd);
	if (type == IPC_auth_START) {
		w.steps = 0;
		r = exchange(id, ((struct ipc_auth_START *)msg)->initial, &e);
	} else if (type == IPC_auth_STEP) {
		w.steps++;
		r = exchange(id, ((struct ipc_auth_STEP *)msg)->data, &e);
	} else if (type == IPC_auth_SESSION) {
		r = session_answer(id, &e);
	}
	check(r == 0 || e.code != ERR_BUG);
}

static void on_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	ipc_chan_free(&w.auth);
}

static void stop(void *ctx)
{
	loop_stop(w.loop);
}

static void client_gone(void *ctx)
{
	conn_when_finished(w.loop, stop, NULL);
}

static void start(void)
{
	struct conf *c;
	struct err e = { 0 };

	check(conf_parse(STR("myhostname = h.example\nplaintext_login_networks = 192.0.2.0/24\nauth_mechanisms = PLAIN LOGIN SCRAM-SHA-256\n"), "fuzz.conf", &c, NULL,
			 &e) == 0);
	conf = c;
}

void fuzz_login(const uint8_t *data, size_t size, void (*session)(struct front_env *env, const struct front_conn *fc))
{
	struct front_conn fc = { .conn = 1, .key_fd = -1, .queue_fd = -1, .client = "192.0.2.1", .server = "192.0.2.2" };
	struct err e = { 0 };
	int a[2];

	if (size < 1 || size > INPUT_MAX)
		return;
	if (!conf)
		start();
	fuzz_log_mute();
	memset(&w, 0, sizeof w);
	w.loop = loop_new();
	w.no_session = data[0] & 1;
	w.env = (struct front_env){ .loop = w.loop, .conf = conf };
	check(sock_pair(SOCK_SEQPACKET, a, &e) == 0);
	w.auth = ipc_chan_new(w.loop, a[0], &ipc_auth, on_auth, on_gone, NULL);
	fc.client_known = !(data[0] & 2);
	fc.fd = fuzz_client(w.loop, str_n(data + 1, size - 1), client_gone, NULL);
	fc.auth_fd = a[1];
	if (data[0] & 4)
		close_fd(&fc.auth_fd);
	session(&w.env, &fc);
	loop_run(w.loop);
	check(w.over);
	fuzz_client_end();
	ipc_chan_free(&w.auth);
	loop_free(&w.loop);
}
