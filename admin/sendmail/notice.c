/* See notice.h. */
#include "admin/sendmail/notice.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int notice_open(struct notice *n, const struct conf *conf, const char *address, struct err *e)
{
	char program[4096];
	int fds[2];

	(void)snprintf(program, sizeof(program), "%s/sendmail", conf->libexec_directory);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, ERR_TEMP, errno, "pipe");
	(void)fflush(NULL);
	n->pid = fork();
	if (n->pid == 0) {
		if (dup2(fds[0], 0) == 0)
			execl(program, program, "-C", conf->conf_file, "-i", "-f", "<>", "--", address, (char *)NULL);
		fprintf(stderr, "%s: %s\n", program, strerror(errno));
		_exit(75);
	}
	close(fds[0]);
	n->to = n->pid > 0 ? fdopen(fds[1], "w") : NULL;
	if (!n->to)
		close(fds[1]);
	return n->to ? 0 : err_set(e, ERR_TEMP, errno, "fork");
}

int notice_close(struct notice *n, struct err *e)
{
	int status = -1;
	const bool whole = fclose(n->to) == 0;

	n->to = NULL;
	while (waitpid(n->pid, &status, 0) < 0 && errno == EINTR)
		;
	return whole && status == 0 ? 0 : err_set(e, ERR_TEMP, 0, "the mail could not be sent");
}
