/* What another program says, for a tool that is not confined. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void become(const char *const argv[], int to, bool errors_too)
{
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0 && dup2(null, 0) == 0 && dup2(to, 1) == 1 && (!errors_too || dup2(to, 2) == 2))
		(void)execvp(argv[0], (char **)(uintptr_t)argv);
	_exit(PROC_NOT_STARTED);
}

/* All of it is read, so that it ends, however much out takes. */
static void take(int fd, struct buf *out)
{
	char chunk[4096];

	for (;;) {
		const ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		buf_mem(out, chunk, (size_t)n);
	}
}

int proc_output(const char *const argv[], bool errors_too, struct buf *out, int *status_out, struct err *e)
{
	int fds[2], status;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", argv[0]);
	const pid_t pid = fork();
	if (pid == 0)
		become(argv, fds[1], errors_too);
	const int why = errno;
	close(fds[1]);
	if (pid > 0)
		take(fds[0], out);
	close(fds[0]);
	if (pid < 0)
		return err_set(e, ERR_TEMP, why, "%s", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, ERR_TEMP, errno, "%s", argv[0]);
	*status_out = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}
