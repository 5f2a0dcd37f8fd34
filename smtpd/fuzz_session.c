/* Any bytes as a client of smtpd, against a queued and an authd of straw in the same loop: no message is taken twice or without its end, and the
 * session ends with its client. The first byte chooses the listener's profile, and what the client may. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/auth.h"
#include "ipc/queue.h"
#include "os/os.h"
#include "smtpd/session.h"
#include "test/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MAX = 60000, SIZE_LIMIT = 4096 };

static const struct conf *conf;
static bool trusted, proxied;	/* the client may send XCLIENT; is a proxy */
static struct straw {
	struct loop *loop;
	struct front_env env;
	struct ipc_chan *queue, *auth;
	int msg_fd, steps;
	bool mail, rcpt, writing, over;
} w;

void front_keep(struct front_env *env, int auth_fd, struct ipc_chan *queue)
{
	close_fd(&auth_fd);
	ipc_chan_free(&queue);
}

void front_last(struct front_env *env)
{
}

void front_done(struct front_env *env, const struct front_conn *fc)
{
	w.over = true;
}

void front_select_key(const struct front_conn *fc)
{
}

static void check(bool good)
{
	if (!good)
		abort();
}

static void answer(uint32_t id, uint64_t code, const char *enhanced, const char *text)
{
	const struct ipc_queue_REPLY m = { .code = code, .enhanced = str_c(enhanced), .text = str_c(text), .qid = w.mail ? STR("Q1") : STR("") };
	struct err e = { 0 };

	check(ipc_send(w.queue, IPC_queue_REPLY, &m, id, -1, &e) == 0 || e.code != ERR_BUG);
}

/* What has been written is text with LF line ends, as long as the front says. */
static void take(const struct ipc_queue_DATA_END *m)
{
	char text[SIZE_LIMIT + 1];
	const ssize_t n = pread(w.msg_fd, text, sizeof text, 0);

	check(n >= 0 && (uint64_t)n == m->size && m->size + m->lines <= SIZE_LIMIT);
	for (ssize_t i = 0; i < n; i++) {
		check(text[i] != '\r' && text[i] != '\0');
		check(m->lines >= (text[i] == '\n'));
	}
	check(n == 0 || text[n - 1] == '\n');
	close_fd(&w.msg_fd);
}

static void take_rcpt(uint32_t id, struct str to)
{
	const bool good = !str_starts(to, STR("no"));

	check(w.mail && !w.writing);
	w.rcpt = w.rcpt || good;
	answer(id, good ? 250 : 550, good ? "2.1.5" : "5.1.1", good ? "Ok" : "No");
}

static void on_queue(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct err e = { 0 };

	if (type == IPC_queue_MAIL) {
		const struct str from = ((struct ipc_queue_MAIL *)msg)->sender;
		check(!w.mail && str_chr(from, '\r') < 0 && str_chr(from, '\n') < 0);
		if (str_starts(from, STR("die"))) {
			ipc_chan_free(&w.queue);
			return;
		}
		w.mail = !str_starts(from, STR("no"));
		const struct str to = ((struct ipc_queue_MAIL *)msg)->recipient;
		if (w.mail && to.n > 0)
			take_rcpt(id, to);
		else if (w.mail)
			answer(id, 250, "2.1.0", "Ok");
		else
			answer(id, 450, "4.1.0", "No");
	} else if (type == IPC_queue_RCPT) {
		take_rcpt(id, ((struct ipc_queue_RCPT *)msg)->recipient);
	} else if (type == IPC_queue_DATA) {
		const struct ipc_queue_OPEN m = { .size_max = SIZE_LIMIT };
		check(w.mail && w.rcpt && !w.writing);
		w.writing = true;
		w.msg_fd = memfd_create("message", MFD_CLOEXEC);
		check(ipc_send(w.queue, IPC_queue_OPEN, &m, id, w.msg_fd, &e) == 0 || e.code != ERR_BUG);
	} else if (type == IPC_queue_XCLIENT) {
		check(!w.mail && !w.writing && trusted);
		answer(id, 220, "2.0.0", "Ok");
	} else if (type == IPC_queue_XFORWARD) {
		check(!w.mail && !w.writing && trusted);
		answer(id, 250, "2.0.0", "Ok");
	} else if (type == IPC_queue_PROXIED) {
		check(!w.mail && proxied);
	} else if (type == IPC_queue_ETRN) {
		check(!w.mail && !w.writing);
		answer(id, 250, "2.0.0", "Queuing started");
	} else if (type == IPC_queue_DATA_END) {
		check(w.writing);
		take(msg);
		w.mail = w.rcpt = w.writing = false;
		answer(id, 250, "2.0.0", "Ok: queued as Q1");
	} else if (type == IPC_queue_RESET) {
		w.mail = w.rcpt = w.writing = false;
		close_fd(&w.msg_fd);
	}
	close_fd(&fd);
}

static void on_auth(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_auth_CHALLENGE more = { .data = STR("Username:") };
	const struct ipc_auth_OK ok = { .user = STR("joe") };
	const struct ipc_auth_FAIL fail = { .code = ERR_AUTH, .text = STR("Error: authentication failed"), .user = STR("x") };
	struct err e = { 0 };
	struct str said = { 0 };
	int r = 0;

	close_fd(&fd);
	if (type == IPC_auth_START) {
		w.steps = 0;
		said = ((struct ipc_auth_START *)msg)->initial;
	} else if (type == IPC_auth_STEP) {
		w.steps++;
		said = ((struct ipc_auth_STEP *)msg)->data;
	} else {
		return;
	}
	if (said.n && said.p[said.n - 1] == 't')
		r = ipc_send(w.auth, IPC_auth_OK, &ok, id, -1, &e);
	else if (said.n && said.p[0] == '!')
		ipc_chan_free(&w.auth);
	else if (w.steps < 2)
		r = ipc_send(w.auth, IPC_auth_CHALLENGE, &more, id, -1, &e);
	else
		r = ipc_send(w.auth, IPC_auth_FAIL, &fail, id, -1, &e);
	check(r == 0 || e.code != ERR_BUG);
}

static void on_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	if (ch == w.queue)
		ipc_chan_free(&w.queue);
	else
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

	/* No delays: they would only be waited for. */
	check(conf_parse(STR("myhostname = mail.example.com\nmessage_size_limit = 4096\nsmtpd_tls_auth_only = no\nbroken_sasl_auth_clients = yes\n"
			     "auth_mechanisms = PLAIN LOGIN\nsmtpd_hard_error_limit = 20\nsmtpd_soft_error_limit = 100\nsmtpd_recipient_limit = 100\n"
			     "smtpd_authorized_xclient_hosts = 192.0.2.9\nsmtpd_authorized_xforward_hosts = 192.0.2.9\nsmtpd_upstream_proxy_protocol = haproxy\n"
			     "smtpd_upstream_proxy_hosts = 192.0.2.8\n"),
			 "fuzz.conf", &c, NULL, &e) == 0);
	conf = c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const profiles[] = { "smtp", "submission", "submissions", "local" };
	struct front_conn fc = { .conn = 1, .key_fd = -1, .client = "192.0.2.1", .server = "192.0.2.2" };
	struct err e = { 0 };
	int q[2], a[2];

	if (size < 1 || size > FUZZ_MAX)
		return 0;
	if (!conf)
		start();
	fuzz_log_mute();
	w = (struct straw){ .loop = loop_new(), .msg_fd = -1 };
	w.env = (struct front_env){ .loop = w.loop, .conf = conf };
	check(sock_pair(SOCK_SEQPACKET, q, &e) == 0 && sock_pair(SOCK_SEQPACKET, a, &e) == 0);
	w.queue = ipc_chan_new(w.loop, q[0], &ipc_queue, on_queue, on_gone, NULL);
	w.auth = ipc_chan_new(w.loop, a[0], &ipc_auth, on_auth, on_gone, NULL);
	fc.client_known = data[0] & 4;
	trusted = data[0] & 8;
	proxied = !trusted && data[0] & 16;
	(void)snprintf(fc.client, sizeof fc.client, "192.0.2.%d", trusted ? 9 : proxied ? 8 : 1);
	fc.fd = fuzz_client(w.loop, str_n(data + 1, size - 1), client_gone, NULL);
	fc.queue_fd = q[1];
	fc.auth_fd = a[1];
	(void)snprintf(fc.profile, sizeof fc.profile, "%s", profiles[data[0] & 3]);
	session_start(&w.env, &fc);
	loop_run(w.loop);
	check(w.over);
	fuzz_client_end();
	ipc_chan_free(&w.queue);
	ipc_chan_free(&w.auth);
	close_fd(&w.msg_fd);
	loop_free(&w.loop);
	return 0;
}
