/* Session processes: one per user and service. Started as the user (setgroups, setgid, setuid, and a check that none of it can be undone), with
 * one descriptor, a clean environment and the mail tree as its directory; it confines itself further before it serves. Connections are
 * handed over one by one and each is acknowledged in two seconds, or the process is replaced. A session outlives the monitor: when
 * its channel ends it serves on what it has. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "ipc/sess.h"
#include "log/log.h"
#include "os/os.h"

enum { ATTACH_MS = 2000, ATTACH_TRIES = 2, END_MS = 10000, CHANNEL = 3 };

struct session {
	struct list node;
	struct monitor *m;
	const char *service;		/* "imap" "pop3" */
	struct account account;
	pid_t pid;			/* 0: reaped */
	struct ipc_chan *ch;		/* NULL: closed, or told to end */
	unsigned conns;
	bool ending;
	struct timer *kill_timer;
	struct guests *guests;		/* what it has asked for */
	struct list attaches;
};

struct attach {
	struct list node;
	struct monitor *m;
	struct session *s;
	struct timer *timer;
	unsigned tries;
	uint64_t conn, relayed;
	const char *service;
	char client[64], server[64], guest[ACCOUNT_NAME_MAX + 1];
	struct account account;
	int fd;
	struct str tag, input;
	attach_done_fn *done;
	void *ctx;
};

struct sessions {
	struct list all;
	size_t n;
};

static const struct { const char *service, *program; } programs[] = {
	{ "imap", "imap-session" },
	{ "pop3", "pop3-session" },
};

static void attach_try(struct attach *a);

void sessions_init(struct monitor *m)
{
	m->sessions = xzalloc(sizeof *m->sessions);
	list_init(&m->sessions->all);
}

size_t sessions_count(const struct monitor *m)
{
	return m->sessions->n;
}

/* --- starting one --- */

static void child_drop(const struct account *a)
{
	uid_t r, e, s;

	if (setgroups(0, NULL) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 || setresuid(a->uid, a->uid, a->uid) < 0)
		_exit(71);
	if (getresuid(&r, &e, &s) < 0 || r != a->uid || e != a->uid || s != a->uid || setuid(0) == 0 || setgid(0) == 0 ||
	    setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
		_exit(71);
}

static void child_exec(const struct monitor *m, const struct account *a, const char *program, int channel)
{
	static char *env[] = { (char *)(uintptr_t)"PATH=/usr/bin:/bin", NULL };
	char path[1100], *argv[] = { path, (char *)(uintptr_t)a->name, (char *)(uintptr_t)"-c", (char *)(uintptr_t)m->active_conf, NULL, NULL, NULL };
	const int keep[] = { 0, 1, 2, CHANNEL };
	sigset_t none;
	int null;

	channel = fcntl(channel, F_DUPFD, 10);
	null = open("/dev/null", O_RDWR);
	if (dup2(channel, CHANNEL) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || (!m->verbose && dup2(null, 2) < 0))
		_exit(71);
	close_all_but(keep, ARRAY_LEN(keep));
	(void)setsid();
	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP)
			(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	child_drop(a);
	/* The session takes the directory it stands in for the mail tree: the right one, new for a new user, or none. */
	if ((mkdir(a->maildir, 0700) < 0 && errno != EEXIST) || chdir(a->maildir) < 0)
		_exit(75);
	snprintf(path, sizeof path, "%s/%s", m->conf->libexec_directory, program);
	int n = 4;
	if (m->unconfined)
		argv[n++] = (char *)(uintptr_t)"-n";
	if (m->verbose)
		argv[n++] = (char *)(uintptr_t)"-v";
	execve(path, argv, env);
	log_error("%s: cannot be started (errno %d)", path, errno);
	_exit(71);
}

static void session_closed(struct session *s, const char *why);
static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd);
static void on_guest(void *ctx, uint32_t id, struct str owner, enum err_code code, int fd);
static void on_sharers(void *ctx, uint32_t id);

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	session_closed(ctx, why->text);
}

/* What the user cannot make: the home of the suite's own user, and a maildir outside of any home. Never inside a directory of the user's:
 * there root follows no name. */
static int places_make(const struct account *a, struct err *e)
{
	const struct str maildir = str_c(a->maildir), home = str_c(a->home);
	const bool inside = str_starts(maildir, home) && a->maildir[home.n] == '/';
	struct stat st;

	if ((a->flags & ACCOUNT_F_VIRTUAL) && lstat(a->home, &st) < 0 && dir_make(a->home, 0700, a->uid, a->gid, e) < 0)
		return -1;
	return inside || lstat(a->maildir, &st) == 0 ? 0 : dir_make(a->maildir, 0700, a->uid, a->gid, e);
}

static struct session *session_start(struct monitor *m, const char *service, const char *program, const struct account *a, struct err *e)
{
	static const uint16_t allowed[] = { IPC_sess_ATTACHED, IPC_sess_REFUSED, IPC_sess_DETACHED, IPC_sess_GUEST_OPEN, IPC_sess_SHARES, IPC_sess_SHARERS_ASK };
	const bool is_imap = strcmp(service, "imap") == 0;	/* the last three are not for others */
	int sp[2];

	if (m->sessions->n >= SESSIONS_MAX) {
		err_set(e, ERR_LIMIT, 0, "more than %d sessions", SESSIONS_MAX);
		return NULL;
	}
	if (places_make(a, e) < 0 || sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return NULL;
	const pid_t pid = fork();
	if (pid == 0)
		child_exec(m, a, program, sp[1]);
	close(sp[1]);
	if (pid < 0) {
		close(sp[0]);
		err_set(e, ERR_TEMP, errno, "fork of a session");
		return NULL;
	}
	struct session *s = xzalloc(sizeof *s);
	s->m = m;
	s->service = service;
	s->account = *a;
	s->pid = pid;
	list_init(&s->attaches);
	list_append(&m->sessions->all, &s->node);
	m->sessions->n++;
	s->ch = ipc_chan_new(m->loop, sp[0], &ipc_sess, on_message, on_closed, s);
	ipc_chan_allow(s->ch, (struct ipc_allow){ allowed, is_imap ? ARRAY_LEN(allowed) : 3 });
	s->guests = guests_new(m, s->account.name, on_guest, on_sharers, s);
	log_debug("session of %s (%s) started, pid %d", a->name, service, (int)pid);
	return s;
}

/* --- its end --- */

static void session_forget(struct session *s)
{
	timer_del(&s->kill_timer);
	list_del(&s->node);
	s->m->sessions->n--;
	loop_free_later(s->m->loop, s);
}

static void on_kill(void *ctx)
{
	struct session *s = ctx;

	if (s->pid) {
		log_warning("session of %s (pid %d) does not end, killing it", s->account.name, (int)s->pid);
		(void)kill(s->pid, SIGKILL);	/* not reaped yet, so the number is still its own */
	}
}

/* No more connections go there; those that wait try another. */
static void session_closed(struct session *s, const char *why)
{
	ipc_chan_free(&s->ch);
	guests_free(&s->guests);
	if (!s->ending)
		log_debug("session of %s (%s): %s", s->account.name, s->service, why);
	s->ending = true;
	list_each_safe(it, &s->attaches) {
		struct attach *a = list_of(it, struct attach, node);

		list_del(&a->node);
		a->s = NULL;
		attach_try(a);
	}
	if (s->pid == 0)
		session_forget(s);
}

static void session_end(struct session *s, const char *reason)
{
	struct err e = { 0 };

	if (s->ending)
		return;
	log_info("session of %s (%s) is ended: %s", s->account.name, s->service, reason);
	if (ipc_send(s->ch, IPC_sess_END, &(struct ipc_sess_END){ .reason = str_c(reason) }, 1, -1, &e) < 0)
		log_error("%s", e.text);
	s->ending = true;
	s->kill_timer = loop_timer(s->m->loop, END_MS, on_kill, s);
}

bool sessions_reaped(struct monitor *m, pid_t pid, int status)
{
	list_each_safe(it, &m->sessions->all) {
		struct session *s = list_of(it, struct session, node);

		if (s->pid != pid)
			continue;
		if (WIFSIGNALED(status))
			log_error("session of %s (%s) died of signal %d", s->account.name, s->service, WTERMSIG(status));
		else if (WEXITSTATUS(status))
			log_warning("session of %s (%s) exited with status %d", s->account.name, s->service, WEXITSTATUS(status));
		s->pid = 0;
		session_closed(s, "ended");
		return true;
	}
	return false;
}

size_t sessions_end_user(struct monitor *m, struct str user, const char *reason)
{
	size_t n = 0;

	list_each_safe(it, &m->sessions->all) {
		struct session *s = list_of(it, struct session, node);

		if (!str_case_eq(str_c(s->account.name), user) || s->ending)
			continue;
		n++;
		session_end(s, reason);
	}
	return n;
}

void sessions_check_accounts(struct monitor *m)
{
	list_each_safe(it, &m->sessions->all) {
		struct session *s = list_of(it, struct session, node);
		struct account now;
		struct err e = { 0 };
		const int rc = accounts_find(m, str_c(s->account.name), &now, &e);

		if (rc == 1)
			session_end(s, "account removed");
		else if (rc == 0 && (now.flags & ACCOUNT_F_DISABLED))
			session_end(s, "account disabled");
		else if (rc == 0 && (now.uid != s->account.uid || now.gid != s->account.gid || strcmp(now.maildir, s->account.maildir) != 0))
			session_end(s, "account changed");
	}
}

void sessions_each(struct monitor *m, void (*fn)(void *ctx, const struct session_row *r), void *ctx)
{
	list_each(it, &m->sessions->all) {
		const struct session *s = list_of(it, struct session, node);
		const struct session_row r = { s->account.name, s->service, s->pid, s->conns };

		fn(ctx, &r);
	}
}

/* --- handing a connection over --- */

static void attach_free(struct attach *a)
{
	timer_del(&a->timer);
	close_fd(&a->fd);
	list_del(&a->node);
	free((char *)(uintptr_t)a->tag.p);
	free((char *)(uintptr_t)a->input.p);
	loop_free_later(a->m->loop, a);
}

void attach_cancel(struct attach **a)
{
	if (*a)
		attach_free(*a);
	*a = NULL;
}

static void attach_end(struct attach *a, enum err_code code, const char *text)
{
	a->done(a->ctx, code, text, a->s ? a->s->pid : 0);
	attach_free(a);
}

/* --- folders of others --- */

static void on_guest(void *ctx, uint32_t id, struct str owner, enum err_code code, int fd)
{
	struct session *s = ctx;
	const struct ipc_sess_GUEST_LINK link = { .owner = owner };
	const struct ipc_sess_GUEST_FAIL failed = { .owner = owner, .code = code };
	struct err e = { 0 };
	int r;

	if (!s->ch)
		return;
	r = fd >= 0 ? ipc_send(s->ch, IPC_sess_GUEST_LINK, &link, id, fd, &e) : ipc_send(s->ch, IPC_sess_GUEST_FAIL, &failed, id, -1, &e);
	if (r < 0)
		log_error("session of %s: %s", s->account.name, e.text);
}

static void on_sharers(void *ctx, uint32_t id)
{
	struct session *s = ctx;

	if (!s->ch)
		return;
	struct str v[SHARERS_MAX];
	const struct ipc_sess_SHARERS m = { .owners = { v, shares_with(s->m, s->account.name, v, SHARERS_MAX) } };
	struct err e = { 0 };

	if (ipc_send(s->ch, IPC_sess_SHARERS, &m, id, -1, &e) < 0)
		log_error("session of %s: %s", s->account.name, e.text);
}

/* True: it was one of these. */
static bool guest_message(struct session *s, uint16_t type, uint32_t id, void *msg)
{
	if (type == IPC_sess_SHARES)
		shares_told(s->m, s->account.name, ((const struct ipc_sess_SHARES *)msg)->grantees);
	else if (type == IPC_sess_SHARERS_ASK)
		guests_sharers(s->guests, id);
	else if (type == IPC_sess_GUEST_OPEN)
		guests_open(s->guests, id, ((const struct ipc_sess_GUEST_OPEN *)msg)->owner);
	else
		return false;
	return true;
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct session *s = ctx;

	if (guest_message(s, type, id, msg))
		return;
	/* conn is the first field of all three. */
	const uint64_t conn = type == IPC_sess_ATTACHED ? ((const struct ipc_sess_ATTACHED *)msg)->conn :
			      type == IPC_sess_REFUSED	? ((const struct ipc_sess_REFUSED *)msg)->conn :
							  ((const struct ipc_sess_DETACHED *)msg)->conn;

	if (type == IPC_sess_DETACHED) {
		if (s->conns)
			s->conns--;
		return;
	}
	list_each_safe(it, &s->attaches) {
		struct attach *a = list_of(it, struct attach, node);

		if (a->conn != conn)
			continue;
		if (type == IPC_sess_ATTACHED) {
			s->conns++;
			attach_end(a, ERR_NONE, "");
		} else {
			const struct ipc_sess_REFUSED *r = msg;
			char text[201];

			snprintf(text, sizeof text, "%.*s", STR_ARG(r->text));
			attach_end(a, r->code > ERR_NONE && r->code < ERR_MAX_ ? (enum err_code)r->code : ERR_TEMP, text);
		}
		return;
	}
}

/* It does not answer: it serves nobody else either. */
static void on_attach_timeout(void *ctx)
{
	struct attach *a = ctx;
	struct session *s = a->s;

	if (!s) {
		attach_end(a, ERR_TEMP, "no session could be started");
		return;
	}
	log_error("session of %s (%s, pid %d) took no connection in %d ms, replacing it", s->account.name, s->service, (int)s->pid, ATTACH_MS);
	if (s->pid)
		(void)kill(s->pid, SIGKILL);
	session_closed(s, "stuck");
}

static struct session *session_find(struct monitor *m, const char *service, const char *user)
{
	list_each(it, &m->sessions->all) {
		struct session *s = list_of(it, struct session, node);

		if (!s->ending && s->ch && strcmp(s->service, service) == 0 && strcmp(s->account.name, user) == 0)
			return s;
	}
	return NULL;
}

static const char *program_of(const char *service, const char **name_out)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		if (strcmp(programs[i].service, service) == 0) {
			*name_out = programs[i].service;
			return programs[i].program;
		}
	return NULL;
}

static void on_attach_failed(void *ctx)
{
	attach_end(ctx, ERR_TEMP, "no session could be started");
}

static void attach_fail_later(struct attach *a)
{
	timer_del(&a->timer);
	a->timer = loop_timer(a->m->loop, 0, on_attach_failed, a);
}

static void attach_try(struct attach *a)
{
	const char *service = "", *program = program_of(a->service, &service);
	struct session *s;
	struct err e = { 0 };

	if (!program || a->tries++ >= ATTACH_TRIES) {
		attach_fail_later(a);
		return;
	}
	s = session_find(a->m, service, a->account.name);
	if (!s)
		s = session_start(a->m, service, program, &a->account, &e);
	const struct ipc_sess_ATTACH m = { .conn = a->conn, .tag = a->tag, .input = a->input, .relayed = a->relayed, .client = str_c(a->client),
					   .server = str_c(a->server), .guest = str_c(a->guest) };
	if (!s || ipc_send(s->ch, IPC_sess_ATTACH, &m, 1, a->fd, &e) < 0) {
		log_error("session of %s: %s", a->account.name, e.text);
		attach_fail_later(a);
		return;
	}
	a->s = s;
	list_append(&s->attaches, &a->node);
	timer_del(&a->timer);
	a->timer = loop_timer(a->m->loop, ATTACH_MS, on_attach_timeout, a);
}

static struct str copy(struct str s)
{
	return s.p ? str_n(xstrndup(s.p, s.n), s.n) : (struct str){ 0 };
}

struct attach *session_attach(struct monitor *m, const struct attach_ask *ask, attach_done_fn *done, void *ctx)
{
	struct attach *a = xzalloc(sizeof *a);

	*a = (struct attach){ .m = m, .conn = ask->conn, .relayed = ask->relayed, .service = ask->service, .account = *ask->account,
			      .fd = ask->fd, .tag = copy(ask->tag), .input = copy(ask->input), .done = done, .ctx = ctx };
	list_init(&a->node);
	snprintf(a->client, sizeof a->client, "%s", ask->client);
	snprintf(a->server, sizeof a->server, "%s", ask->server);
	snprintf(a->guest, sizeof a->guest, "%s", ask->guest ? ask->guest : "");
	attach_try(a);
	return a;
}
