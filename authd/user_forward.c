/* See user_forward.h. */
#include "authd/user_forward.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { ADDRESS_MAX = 320 };

static int address_check(const char *to, struct err *e)
{
	const size_t n = strlen(to);
	const char *at = strchr(to, '@');

	if (!at || at == to || !at[1] || strchr(at + 1, '@') || n > ADDRESS_MAX || !str_printable(str_n(to, n)) || strpbrk(to, " ,;:<>()\"\\|/#"))
		return err_set(e, ERR_INPUT, 0, "--forward %.100s: one whole address is wanted", to);
	return 0;
}

/* It says itself what is wrong. */
static int alias(const struct conf *c, const char *word, const char *name, const char *to, struct err *e)
{
	char program[4096];
	int status = -1;

	(void)snprintf(program, sizeof(program), "%s/postern-alias", c->libexec_directory);
	(void)fflush(NULL);
	const pid_t pid = fork();

	if (pid == 0) {
		execl(program, program, "-c", c->conf_file, word, name, to, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : err_set(e, ERR_TEMP, 0, "postern alias %s %s %s has failed", word, name, to);
}

int user_forward_add(const struct conf *c, const char *name, const char *to, struct err *e)
{
	return address_check(to, e) < 0 ? -1 : alias(c, "add", name, to, e);
}

void user_forward_undo(const struct conf *c, const char *name, const char *to)
{
	struct err e = { 0 };

	if (alias(c, "del", name, to, &e) < 0)
		fprintf(stderr, "postern-user: %s\n", e.text);
}
