/* A new password: read or asked for. */
#include "authd/user_password.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "authd/passfile.h"
#include "base/enc.h"
#include "os/os.h"

static int password_stdin(struct buf *out, struct err *e)
{
	char chunk[512];
	ssize_t n;

	while ((n = read(0, chunk, sizeof chunk)) > 0)
		buf_mem(out, chunk, (size_t)n);
	mem_wipe(chunk, sizeof chunk);
	if (n < 0 || buf_failed(out))
		return err_set(e, ERR_INPUT, n < 0 ? errno : 0, "password from standard input%s", n < 0 ? "" : ": too long");
	if (out->n && out->p[out->n - 1] == '\n')
		buf_cut(out, out->n - 1);
	return 0;
}

static int prompt_once(int tty, const char *text, struct buf *out, struct err *e)
{
	char c;
	ssize_t n;

	if (write(tty, text, strlen(text)) < 0)
		return err_set(e, ERR_TEMP, errno, "terminal");
	while ((n = read(tty, &c, 1)) == 1 && c != '\n')
		buf_ch(out, c);
	(void)!write(tty, "\n", 1);
	return n < 1 || buf_failed(out) ? err_set(e, ERR_INPUT, 0, "no password") : 0;
}

static int password_prompt(struct buf *out, struct err *e)
{
	struct termios old, quiet;
	struct buf again;
	CLEANUP_FD int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (tty < 0 || tcgetattr(tty, &old) < 0)
		return err_set(e, ERR_INPUT, errno, "no terminal to ask on: use --password-stdin");
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(tty, TCSAFLUSH, &quiet);
	buf_init(&again, PASSWORD_MAX + 2);
	int rc = prompt_once(tty, "New password: ", out, e);
	if (rc == 0)
		rc = prompt_once(tty, "Again: ", &again, e);
	if (rc == 0 && !str_eq(buf_view(out), buf_view(&again)))
		rc = err_set(e, ERR_INPUT, 0, "the two differ");
	(void)tcsetattr(tty, TCSAFLUSH, &old);
	buf_wipe(&again);
	buf_fini(&again);
	return rc;
}

int user_password_take(bool from_stdin, struct buf *out, struct err *e)
{
	return from_stdin ? password_stdin(out, e) : password_prompt(out, e);
}
