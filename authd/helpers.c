/* The helper programs: start, first message, restart, keys. A helper that dies is started again, later and later when it dies fast; what was
 * under way in it fails for now and never succeeds by accident. Requests sent to a helper that is still starting wait in its socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "log/log.h"
#include "os/os.h"

enum {
	CHILD_CHANNEL = 3, CHILD_LISTENER = 4, LISTENERS_MAX = 2,
	FAST_MS = 5000, BACKOFF_MS = 100, BACKOFF_MAX_MS = 5000,
	KEY_FILE_MAX = 65000, CHAIN_FILE_MAX = 60000,
	END_MS = 1000, END_STEP_MS = 5,		/* of a helper that lost its channel; then it is killed */
	KEYS_AGAIN_MS = 1000, KEYS_AGAIN_MAX = 60,	/* looks at a pair that did not fit */
	KEYS_WAITING_MAX = 8192,	/* all keys at once, of TLS and of DKIM */
};

static const struct row {
	const char *program;
	int listeners[LISTENERS_MAX];	/* which it serves, or -1 */
	bool permanent;		/* started with the monitor and kept alive */
	uint16_t sends[2];	/* what it may send on this channel after READY */
} rows[HELPERS] = {
	[HELPER_SASL] = { "authd-sasl", { -1, -1 }, true, { 0 } },
	[HELPER_CHECK] = { "authd-check", { -1, -1 }, true, { 0 } },
	[HELPER_KEY] = { "authd-key", { LISTEN_KEY, LISTEN_SIGN }, true, { IPC_helper_KEYS_RESULT } },
	[HELPER_MUX] = { "authd-mux", { LISTEN_MUX, -1 }, true, { IPC_helper_CREDS } },
	[HELPER_GATHER] = { "authd-gather", { -1, -1 }, false, { 0 } },
};

struct proc {
	struct monitor *m;
	enum helper_kind kind;
	pid_t pid;
	struct ipc_chan *ch;
	struct timer *again;
	uint64_t started;
	unsigned fast_deaths;
	uint16_t allowed[3];
};

/* Pairs of a key and a certificate: tls_cert_file's, remote's, all of tls_server_sni_maps. */
enum keys_kind { KEYS_SERVER, KEYS_CLIENT, KEYS_SNI, KEYS_KINDS };

struct helpers {
	struct proc v[HELPERS];
	bool keys_ok[KEYS_KINDS], keys_wanted[KEYS_KINDS];	/* loaded once; to be looked at again */
	struct timer *keys_again;
	unsigned keys_tries;	/* since they were to be loaded */
};

static void start(struct proc *p);

/* In the child: descriptors 3 (channel), 4 and 5 (listeners), nothing else but stderr; then the program. */
static void child_exec(const struct monitor *m, const struct row *row, int channel)
{
	char path[1100], *argv[8];
	int n = 0, keep[] = { 0, 1, 2, CHILD_CHANNEL, CHILD_LISTENER, CHILD_LISTENER + 1 }, fds[LISTENERS_MAX], listeners = 0;
	static char *env[] = { (char *)(uintptr_t)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	sigset_t none;

	/* dup2 would close the one that is already in the other's place: move them all out of the way first. */
	channel = fcntl(channel, F_DUPFD, 10);
	for (; listeners < LISTENERS_MAX && row->listeners[listeners] >= 0; listeners++)
		fds[listeners] = fcntl(m->listen[row->listeners[listeners]], F_DUPFD, 10);
	if (dup2(channel, CHILD_CHANNEL) < 0)
		_exit(71);
	for (int i = 0; i < listeners; i++)
		if (dup2(fds[i], CHILD_LISTENER + i) < 0)
			_exit(71);
	close_all_but(keep, (size_t)(4 + listeners));
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(path, sizeof path, "%s/%s", m->conf->libexec_directory, row->program);
	argv[n++] = path;
	argv[n++] = (char *)(uintptr_t)"-c";
	argv[n++] = (char *)(uintptr_t)m->active_conf;
	if (m->unconfined)
		argv[n++] = (char *)(uintptr_t)"-n";
	if (m->verbose)
		argv[n++] = (char *)(uintptr_t)"-v";
	argv[n] = NULL;
	execve(path, argv, env);
	log_error("%s: cannot be started (errno %d)", path, errno);
	_exit(71);
}

int helpers_spawn(struct monitor *m, enum helper_kind kind, pid_t *pid_out, int *fd_out, struct err *e)
{
	const struct row *row = &rows[kind];
	int sp[2];

	if (sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return -1;
	const pid_t pid = fork();
	if (pid < 0) {
		close(sp[0]);
		close(sp[1]);
		return err_set(e, ERR_TEMP, errno, "fork of %s", row->program);
	}
	if (pid == 0)
		child_exec(m, row, sp[1]);
	close(sp[1]);
	const struct ipc_helper_SETUP setup = { .tag_key = str_n(m->tag_key, sizeof m->tag_key) };
	if (ipc_send_fd(sp[0], &ipc_helper, IPC_helper_SETUP, &setup, 1, -1, e) < 0) {
		close(sp[0]);
		return -1;
	}
	*pid_out = pid;
	*fd_out = sp[0];
	return 0;
}

static void on_again(void *ctx)
{
	struct proc *p = ctx;

	timer_del(&p->again);
	start(p);
}

static void again(struct proc *p)
{
	uint64_t wait = 0;

	p->fast_deaths = clock_mono_ms() - p->started < FAST_MS ? p->fast_deaths + 1 : 0;
	for (unsigned i = 1; i < p->fast_deaths && wait < BACKOFF_MAX_MS; i++)
		wait = wait ? wait * 2 : BACKOFF_MS;
	timer_del(&p->again);
	p->again = loop_timer(p->m->loop, wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS, on_again, p);
}

static void keys_send(struct monitor *m, enum keys_kind kind);

static void on_keys_again(void *ctx)
{
	struct monitor *m = ctx;

	timer_del(&m->helpers->keys_again);
	for (enum keys_kind k = 0; k < KEYS_KINDS; k++)
		if (m->helpers->keys_wanted[k])
			keys_send(m, k);
}

/* Key and certificate are two files: who replaces them may be between the two. The first and the last failure are told. */
static void keys_failed(struct monitor *m, enum keys_kind kind, const char *why)
{
	struct helpers *h = m->helpers;

	h->keys_wanted[kind] = true;
	if (!h->keys_again && h->keys_tries < KEYS_AGAIN_MAX) {
		h->keys_tries++;
		h->keys_again = loop_timer(m->loop, KEYS_AGAIN_MS, on_keys_again, m);
	}
	if (h->keys_tries == 1 || !h->keys_again)
		log_error("%s%s", why, h->keys_ok[kind] ? "; the old key stays in use" : "");
}

void helpers_sni_failed(struct monitor *m, const char *why)
{
	keys_failed(m, KEYS_SNI, why);
}

static void keys_result(struct monitor *m, enum keys_kind kind, const struct ipc_helper_KEYS_RESULT *r)
{
	const struct conf *c = m->conf;
	const bool client = kind == KEYS_CLIENT;
	const char *chain = client ? c->smtp_tls_cert_file : c->tls_cert_file;

	if (r->ok) {
		m->helpers->keys_ok[kind] = true;
		log_info("TLS key and certificate loaded from %s", chain);
	} else {
		char why[2 * 1100 + 300];
		(void)snprintf(why, sizeof(why), "%s, %s: %.*s", client ? c->smtp_tls_key_file : c->tls_key_file, chain, STR_ARG(r->text));
		keys_failed(m, kind, why);
	}
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct proc *p = ctx;

	switch (type) {
	case IPC_helper_READY:
		log_debug("%s is ready", rows[p->kind].program);
		if (p->kind == HELPER_KEY) {
			helpers_keys_load(p->m);
			dkim_load(p->m, NULL, NULL);
		}
		break;
	case IPC_helper_KEYS_RESULT: {
		const struct ipc_helper_KEYS_RESULT *r = msg;

		if (r->dkim)
			dkim_result(p->m, id, r);
		else if (r->sni)
			sni_result(p->m, id, r);
		else
			keys_result(p->m, id == KEYS_CLIENT ? KEYS_CLIENT : KEYS_SERVER, r);
		break;
	}
	default:
		mux_message(p->m, ch, type, id, msg, fd);
	}
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct proc *p = ctx;

	ipc_chan_free(&p->ch);
	log_error("%s has gone (%s), restarting", rows[p->kind].program, why->text);
	if (p->kind == HELPER_MUX)
		mux_closed(p->m);
	if (p->kind == HELPER_KEY)
		memset(p->m->helpers->keys_ok, 0, sizeof(p->m->helpers->keys_ok));
	again(p);
}

static void start(struct proc *p)
{
	const struct row *row = &rows[p->kind];
	struct err e = { 0 };
	int fd;

	p->started = clock_mono_ms();
	if (helpers_spawn(p->m, p->kind, &p->pid, &fd, &e) < 0) {
		log_error("%s", e.text);
		again(p);
		return;
	}
	p->ch = ipc_chan_new(p->m->loop, fd, &ipc_helper, on_message, on_closed, p);
	p->allowed[0] = IPC_helper_READY;
	memcpy(p->allowed + 1, row->sends, sizeof row->sends);
	if (p->kind == HELPER_KEY)
		ipc_chan_waiting_max(p->ch, KEYS_WAITING_MAX);
	ipc_chan_allow(p->ch, (struct ipc_allow){ p->allowed, 1 + (row->sends[0] ? 1u : 0u) + (row->sends[1] ? 1u : 0u) });
}

void helpers_init(struct monitor *m)
{
	m->helpers = xzalloc(sizeof *m->helpers);
	random_bytes(m->tag_key, sizeof m->tag_key);
	for (int k = 0; k < HELPERS; k++) {
		m->helpers->v[k] = (struct proc){ .m = m, .kind = (enum helper_kind)k };
		if (rows[k].permanent)
			start(&m->helpers->v[k]);
	}
}

void helpers_reload(struct monitor *m)
{
	static const enum helper_kind zygotes[] = { HELPER_SASL, HELPER_CHECK };

	for (size_t i = 0; i < ARRAY_LEN(zygotes); i++) {
		struct proc *p = &m->helpers->v[zygotes[i]];

		if (!p->ch)
			continue;	/* it is being restarted anyway */
		ipc_chan_free(&p->ch);
		start(p);
	}
	workers_renew(m);
	helpers_keys_load(m);
	dkim_load(m, NULL, NULL);
}

/* One that serves a listener and has lost its channel ends by itself. */
static void wait_for_end(struct proc *p)
{
	for (unsigned ms = 0; p->pid > 0; ms += END_STEP_MS) {
		const pid_t r = waitpid(p->pid, NULL, WNOHANG);
		if (r == p->pid || (r < 0 && errno != EINTR))
			p->pid = 0;
		else if (ms >= END_MS)
			(void)kill(p->pid, SIGKILL);
		if (p->pid > 0)
			(void)poll(NULL, 0, END_STEP_MS);
	}
}

void helpers_end(struct monitor *m)
{
	for (int k = 0; k < HELPERS; k++)
		ipc_chan_free(&m->helpers->v[k].ch);
	for (int k = 0; k < HELPERS; k++)
		if (rows[k].listeners[0] >= 0)
			wait_for_end(&m->helpers->v[k]);
}

struct ipc_chan *helpers_chan(struct monitor *m, enum helper_kind kind)
{
	return m->helpers->v[kind].ch;
}

bool helpers_reaped(struct monitor *m, pid_t pid, int status)
{
	for (int k = 0; k < HELPERS; k++)
		if (m->helpers->v[k].pid == pid) {
			m->helpers->v[k].pid = 0;	/* its channel's end starts the next one */
			return true;
		}
	return false;
}

int helpers_keys_put(struct monitor *m, struct ipc_helper_KEYS *keys, const char *key_file, const char *chain_file, uint32_t id, struct err *e)
{
	struct proc *p = &m->helpers->v[HELPER_KEY];
	struct buf key, chain;
	int r = -1;

	buf_init(&key, KEY_FILE_MAX);
	buf_init(&chain, CHAIN_FILE_MAX);
	if (file_read(key_file, KEY_FILE_MAX, &key, e) == 0 && file_read(chain_file, CHAIN_FILE_MAX, &chain, e) == 0) {
		keys->key = buf_view(&key);
		keys->chain = buf_view(&chain);
		r = ipc_send(p->ch, IPC_helper_KEYS, keys, id, -1, e);
	}
	buf_wipe(&key);
	buf_fini(&key);
	buf_fini(&chain);
	return r;
}

static void keys_send(struct monitor *m, enum keys_kind kind)
{
	const struct conf *c = m->conf;
	const bool client = kind == KEYS_CLIENT;
	const char *chain = client ? c->smtp_tls_cert_file : c->tls_cert_file;
	struct ipc_helper_KEYS keys = { .client = client };
	struct err e = { 0 };

	m->helpers->keys_wanted[kind] = false;
	if (kind == KEYS_SNI)
		sni_load(m);
	else if (chain[0] && m->helpers->v[HELPER_KEY].ch && helpers_keys_put(m, &keys, client ? c->smtp_tls_key_file : c->tls_key_file, chain, kind, &e) < 0)
		keys_failed(m, kind, e.text);
}

void helpers_keys_load(struct monitor *m)
{
	m->helpers->keys_tries = 0;
	for (enum keys_kind k = 0; k < KEYS_KINDS; k++)
		keys_send(m, k);
}

int helpers_worker(struct monitor *m, enum helper_kind zygote, uint64_t life_ms, int *fd_out, struct err *e)
{
	struct proc *p = &m->helpers->v[zygote];
	int sp[2];

	if (!p->ch)
		return err_set(e, ERR_TEMP, 0, "%s is being restarted", rows[zygote].program);
	if (sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return -1;
	const int rc = ipc_send(p->ch, IPC_helper_FORK, &(struct ipc_helper_FORK){ .life_ms = life_ms }, 1, sp[1], e);
	close(sp[1]);
	if (rc < 0) {
		close(sp[0]);
		return -1;
	}
	*fd_out = sp[0];
	return 0;
}
