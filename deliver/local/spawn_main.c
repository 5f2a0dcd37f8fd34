/* spawn as a service of its own, for managers that put walls around each service: what queued may do then need not be what delivery agents may. Its root part
 * takes connections of root (queued's parent) and reads nothing from them; each gets a process that is confined as in queued's group and ends with it. So a
 * queued that starts again, with a new configuration perhaps, has a new one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/daemon.h"
#include "deliver/local/spawn.h"
#include "io/loop.h"
#include "log/log.h"
#include "os/os.h"

struct service {
	struct loop *loop;
	struct conf *conf;
	const struct daemon_options *options;
};

struct door {
	struct service *service;
	int fd;
	bool programs;
};

/* --- a connection --- */

/* The configuration of now: who connects has just read it. A bad one changes nothing. */
static void refresh(struct service *s)
{
	struct conf *fresh = NULL;

	if (conf_load_told("spawn", s->options->conf_file, true, &fresh) < 0) {
		log_error("the configuration has mistakes (\"spawn -t\" tells them): the one before stays");
		return;
	}
	conf_free(&s->conf);
	s->conf = fresh;
}

static void serve(struct door *d, int fd)
{
	struct spawn_env env;

	spawn_env_init(&env, d->service->conf, d->programs, d->service->options->unconfined);
	env.queue_fd = fd;
	spawn_run(&env);
}

static bool from_root(int fd)
{
	struct peer_cred who;
	struct err e = { 0 };

	if (sock_peer_cred(fd, &who, &e) == 0 && who.uid == 0)
		return true;
	log_warning("spawn: a connection that is not root's");
	return false;
}

static void on_door(void *ctx, unsigned events)
{
	struct door *d = ctx;
	int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (from_root(fd)) {
		refresh(d->service);
		const pid_t pid = fork();
		if (pid == 0) {
			struct loop *fresh = loop_after_fork(&d->service->loop);
			loop_free(&fresh);	/* it makes its own, once it is confined */
			serve(d, fd);
		}
		if (pid < 0)
			log_error("spawn: fork failed (errno %d)", errno);
	}
	close_fd(&fd);
}

/* --- the service --- */

static void on_child(void *ctx, int signo)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0)
		if (status != 0)
			log_error("spawn: a process ended with status %d (signal %d)", WEXITSTATUS(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* What serves queued goes on until queued has gone. */
static void on_term(void *ctx, int signo)
{
	const struct service *s = ctx;

	loop_stop(s->loop);
}

static void ignore(void *ctx, int signo)
{
}

static int open_door(struct door *d, const char *name, struct err *e)
{
	char path[1100];

	snprintf(path, sizeof(path), "%s/%s", d->service->conf->run_directory, name);
	d->fd = sock_unix_listen(path, SOCK_SEQPACKET, 0600, 0, 0, e);
	if (d->fd < 0)
		return -1;
	(void)loop_watch(d->service->loop, d->fd, LOOP_READ, on_door, d);
	return 0;
}

static int start(struct service *s, struct err *e)
{
	const char *const run = s->conf->run_directory;
	char path[1100];

	snprintf(path, sizeof(path), "%s/spawn", run);
	if (dir_make(run, 0755, 0, 0, e) < 0 || dir_make(path, 0700, 0, 0, e) < 0)
		return -1;
	if (!s->options->foreground && proc_daemonize(e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/spawn.pid", run);
	if (pidfile_write(path, e) < 0)
		return -1;
	log_verbose(s->options->verbose);
	snprintf(path, sizeof(path), "%s/log/sock", run);
	if (log_open(s->conf->syslog_name, "master", path, e) < 0) {
		log_warning("%s; lines go to stderr", e->text);
		err_clear(e);
		if (log_open(s->conf->syslog_name, "master", NULL, e) < 0)
			return -1;
	}
	return spawn_check_agent(s->conf, s->options->unconfined, e);
}

static int run(struct service *s, struct err *e)
{
	struct door agents = { .service = s }, programs = { .service = s, .programs = true };

	s->loop = loop_new();
	loop_signal(s->loop, SIGCHLD, on_child, s);
	loop_signal(s->loop, SIGTERM, on_term, s);
	loop_signal(s->loop, SIGHUP, ignore, s);
	if (open_door(&agents, SPAWN_DOOR_AGENTS, e) < 0 || open_door(&programs, SPAWN_DOOR_PROGRAMS, e) < 0)
		return -1;
	loop_watchdog(s->loop);
	proc_ready();
	loop_run(s->loop);
	(void)sd_notify_send("STOPPING=1");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct daemon_usage usage = { .program = "spawn" };
	struct daemon_options o;
	struct service s = { .options = &o };
	struct err e = { 0 };

	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &o);
	if (done >= 0)
		return done;
	if (conf_load_told("spawn", o.conf_file, true, &s.conf) < 0)
		return EX_CONFIG;
	if (o.test)
		return 0;
	if (geteuid() != 0) {
		fprintf(stderr, "spawn must be started as root: its parts become other users\n");
		return EX_NOPERM;
	}
	proc_title("spawn", "spawn: parent");
	if (start(&s, &e) < 0 || run(&s, &e) < 0) {
		fprintf(stderr, "spawn: %s\n", e.text);
		log_error("%s", e.text);
		return EX_OSERR;
	}
	return 0;
}
