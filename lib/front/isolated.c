/* Fronts that are processes (front_mode = isolated), as their template sees them: one is forked for each connection that comes here. Whether it serves others
 * after that is a matter between the parent and it (again.c). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/map.h"
#include "front/front_priv.h"
#include "log/log.h"

enum {
	PROCESSES_MORE = 64,	/* than connections: those that wait for their client's next one */
	EXIT_OS = 71,
};

/* A child that has not yet ended. */
struct child {
	pid_t pid;
	uint64_t conn;		/* its first */
};

struct isolated {
	struct isolated_calls calls;
	struct loop *loop;
	const struct front_run *run;
	struct map *children;	/* pid -> struct child */
};

size_t isolated_count(const struct isolated *iso)
{
	return map_count(iso->children);
}

void isolated_serve(struct isolated *iso, struct front_conn *fc)
{
	/* A front that has been taken over may say that its connection is over, and keep it: the parent's count is wrong then, this one is not. */
	const bool full = map_count(iso->children) >= iso->run->conf->process_limit + PROCESSES_MORE;
	const pid_t pid = full ? -1 : fork();
	if (pid == 0)
		iso->calls.child(fc);
	if (pid < 0) {
		log_error("connection from %s refused: %s %d", fc->client, full ? "more processes than connections:" : "fork: errno",
			  full ? (int)map_count(iso->children) : errno);
		front_busy(iso->run, fc->fd, fc->profile, NULL);
		iso->calls.started();
		iso->calls.ended(fc->conn, EXIT_OS << 8);
		return;
	}
	struct child *c = xzalloc(sizeof(*c));
	*c = (struct child){ .pid = pid, .conn = fc->conn };
	(void)map_set(iso->children, str_n(&c->pid, sizeof(c->pid)), c);
	iso->calls.started();
}

static void on_child(void *ctx, int signo)
{
	struct isolated *iso = ctx;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = map_del(iso->children, str_n(&pid, sizeof(pid)));
		if (!c)
			continue;
		if (WIFSIGNALED(status))
			log_error("front %d died of signal %d", (int)pid, WTERMSIG(status));
		iso->calls.ended(c->conn, status);
		free(c);
	}
	if (map_count(iso->children) == 0)
		iso->calls.none_left();
}

struct isolated *isolated_new(struct loop *l, const struct front_run *run, const struct isolated_calls *calls)
{
	struct isolated *iso = xzalloc(sizeof(*iso));
	*iso = (struct isolated){ .calls = *calls, .loop = l, .run = run, .children = map_new() };
	loop_signal(l, SIGCHLD, on_child, iso);
	return iso;
}
