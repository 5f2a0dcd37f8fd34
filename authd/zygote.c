/* The zygotes' loop. A zygote never sees a name or a password: they travel over descriptors that it hands to the worker it forks. It
 * blocks in poll(2) and knows nothing but process ids and deadlines. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "authd/helper.h"
#include "base/arena.h"
#include "base/clock.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "os/os.h"

enum { WORKERS_MAX = 4096, REAP_MS = 100 };

struct worker {
	pid_t pid;
	uint64_t deadline;
};

static struct {
	struct worker v[WORKERS_MAX];
	size_t n;
} workers;

static void reap(uint64_t now)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (size_t i = 0; i < workers.n; i++)
			if (workers.v[i].pid == pid)
				workers.v[i--] = workers.v[--workers.n];
	for (size_t i = 0; i < workers.n; i++)
		if (now >= workers.v[i].deadline)
			(void)kill(workers.v[i].pid, SIGKILL);
}

static void worker_start(const struct helper *h, zygote_worker_fn *fn, int channel, uint64_t life_ms)
{
	if (workers.n == WORKERS_MAX) {
		log_warning("more than %d workers at once", WORKERS_MAX);
		return;
	}
	const pid_t pid = fork();
	if (pid < 0) {
		log_warning("fork: errno %d", errno);
		return;
	}
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(HELPER_CHANNEL);
		str_hash_reseed();
		fn(h, channel);
		_exit(0);
	}
	workers.v[workers.n++] = (struct worker){ pid, clock_mono_ms() + life_ms };
}

static void forked(const struct helper *h, zygote_worker_fn *fn, bool *open)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd = -1;

	/* The end of the channel (a reload, or the monitor died), or nonsense: no more workers. */
	if (ipc_recv_fd(HELPER_CHANNEL, &ipc_helper, 1000, a, &type, &id, &msg, &fd, &e) < 0 || type != IPC_helper_FORK)
		*open = false;
	else
		worker_start(h, fn, fd, ((const struct ipc_helper_FORK *)msg)->life_ms);
	close_fd(&fd);
	arena_free(&a);
}

void zygote_run(const struct helper *h, zygote_worker_fn *fn)
{
	bool open = true;

	/* Attempts in progress end by themselves, so a reload interrupts none. */
	while (open || workers.n) {
		struct pollfd p = { .fd = open ? HELPER_CHANNEL : -1, .events = POLLIN };
		const int r = poll(&p, 1, workers.n ? REAP_MS : -1);

		reap(clock_mono_ms());
		if (r > 0)
			forked(h, fn, &open);
	}
	exit(0);
}
