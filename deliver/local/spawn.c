/* The process that may execute one file. It is confined by root before its uid is dropped, and without no_new_privs: both no_new_privs and a Landlock
 * domain set later would disable the setuid agent, and filter and domain are inherited by it. Whose mail an
 * agent may touch is decided by the agent itself from accounts.cdb; here a user is only a word.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "deliver/local/spawn.h"
#include "io/loop.h"
#include "ipc/spawn.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

void spawn_env_init(struct spawn_env *env, const struct conf *c, bool programs, bool unconfined)
{
	*env = (struct spawn_env){ .conf = c, .queue_fd = -1, .programs = programs, .unconfined = unconfined };
	snprintf(env->agent, sizeof(env->agent), "%s/deliver", c->libexec_directory[0] ? c->libexec_directory : POSTERN_LIBEXECDIR);
	snprintf(env->accounts, sizeof(env->accounts), "%s/accounts.cdb", c->state_directory);
	snprintf(env->policy, sizeof(env->policy), "%s/%s", c->run_directory, programs ? "deliver-programs.policy" : "deliver.policy");
	env->idle = programs && c->allow_mail_to_commands.n == 0 && c->mailbox_command[0] == '\0' && c->mailbox_command_maps.n == 0;
}

int spawn_check_agent(const struct conf *c, bool unconfined, struct err *e)
{
	struct spawn_env env;
	struct stat st;
	uid_t uid;
	gid_t gid;

	spawn_env_init(&env, c, false, unconfined);
	if (stat(env.agent, &st) < 0)
		return err_set(e, ERR_CONF, 0, "%s is missing", env.agent);
	if (confine_user(c->user_mda, &uid, &gid, e) < 0)
		return -1;
	if (st.st_uid != 0 || !(st.st_mode & S_ISUID) || (st.st_mode & 027) != 0 || st.st_gid != gid || !(st.st_mode & 010))
		return err_set(e, ERR_CONF, 0, "%s must be owned by root:%s with mode 4710", env.agent, c->user_mda);
	return unconfined ? 0 : path_trusted(env.agent, 0, e);
}

struct agent {
	pid_t pid;	/* 0: free */
	uint32_t id;	/* of the START */
};

struct spawn {
	struct loop *loop;
	struct ipc_chan *queue;
	const struct spawn_env *env;
	struct agent agents[SPAWN_AGENTS_MAX];
};

static void report(struct spawn *s, uint32_t id, int status)
{
	struct ipc_spawn_EXITED m = { .status = (uint64_t)(unsigned)status };
	struct err e = { 0 };

	if (ipc_send(s->queue, IPC_spawn_EXITED, &m, id, -1, &e) < 0)
		log_warning("spawn: %s", e.text);
}

static struct agent *free_slot(struct spawn *s)
{
	for (size_t i = 0; i < SPAWN_AGENTS_MAX; i++)
		if (s->agents[i].pid == 0)
			return &s->agents[i];
	return NULL;
}

enum { ARGS_MAX = 5 };

/* deliver ACCOUNTS POLICY USER [alias] */
static void arguments(const struct spawn *s, char *user, bool alias, char *argv[ARGS_MAX + 1])
{
	const char *const words[ARGS_MAX] = { "deliver", s->env->accounts, s->env->policy, user, alias ? "alias" : NULL };

	for (size_t i = 0; i < ARGS_MAX; i++)
		argv[i] = words[i] ? xstrdup(words[i]) : NULL;
	argv[ARGS_MAX] = NULL;
}

/* Descriptor 0 is the agent's channel; all others of ours are close-on-exec. Signals as at birth, no environment. */
static int start(const struct spawn *s, char *user, bool alias, int fd, pid_t *pid_out)
{
	char *argv[ARGS_MAX + 1];
	char *const envp[] = { NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;

	arguments(s, user, alias, argv);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fd, 0);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	const int r = s->env->idle ? EPERM : posix_spawn(pid_out, s->env->agent, &files, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	return r;
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct spawn *s = ctx;
	const struct ipc_spawn_START *m = msg;
	struct agent *a = free_slot(s);
	char user[256];
	int r = EAGAIN;

	if (a != NULL && m->user.n < sizeof(user)) {
		memcpy(user, m->user.p, m->user.n);
		user[m->user.n] = '\0';
		r = start(s, user, m->alias != 0, fd, &a->pid);
	}
	if (r == 0) {
		a->id = id;
	} else {
		log_warning("spawn: agent not started (errno %d)", r);
		if (a)
			a->pid = 0;
		report(s, id, EX_TEMPFAIL << 8);
	}
	close_fd(&fd);
}

static void on_child(void *ctx, int signo)
{
	struct spawn *s = ctx;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < SPAWN_AGENTS_MAX; i++)
			if (s->agents[i].pid == pid) {
				s->agents[i].pid = 0;
				report(s, s->agents[i].id, status);
				break;
			}
}

/* Agents end by themselves: their channels are queued's, and it is gone. */
static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	_exit(0);
}

static void on_term(void *ctx, int signo)
{
	_exit(0);
}

static void ignore(void *ctx, int signo)
{
}

static void confine(const struct spawn_env *env)
{
	struct err e = { 0 };
	const struct confine_path paths[] = {
		{ .path = env->agent, .exec = true },
#ifdef __SANITIZE_ADDRESS__
		{ .path = "/lib64/ld-linux-x86-64.so.2", .exec = true },	/* elsewhere the agent is static */
#endif
	};
	const bool any = env->programs && !env->idle;
	const struct confine c = {
		.role = any ? CONFINE_PROGRAMS : CONFINE_SPAWN, .user = env->conf->user_mda, .paths = paths,
		.n_paths = any || env->idle ? 0 : ARRAY_LEN(paths), .unconfined = env->unconfined,
	};

	if (confine_enter(&c, &e) < 0) {
		log_error("spawn: %s", e.text);
		_exit(EX_CONFIG);
	}
}

void spawn_run(void *ctx)
{
	static struct spawn s;
	static const uint16_t types[] = { IPC_spawn_START };

	s.env = ctx;
	proc_title("spawn", s.env->programs ? "spawn: programs" : "spawn");
	const int keep[] = { 0, 1, 2, s.env->queue_fd, log_fd() };
	close_all_but(keep, ARRAY_LEN(keep));
	confine(s.env);
	s.loop = loop_new();
	loop_signal(s.loop, SIGCHLD, on_child, &s);
	loop_signal(s.loop, SIGTERM, on_term, &s);
	loop_signal(s.loop, SIGHUP, ignore, &s);
	s.queue = ipc_chan_new(s.loop, s.env->queue_fd, &ipc_spawn, on_message, on_closed, &s);
	ipc_chan_waiting_max(s.queue, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(s.queue, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(s.loop);
	_exit(0);
}
