/* Commands and files that an alias or the user's .forward names, delivered to as the user that this process is. A command gets the message on its standard input, a small
 * environment, the user's home and a time limit; its exit status (sysexits.h) and first output say what became of it. No shell is started for a command
 * without anything that is a shell's. A file gets the message in mbox form, locked, and is cut back if it could not be written whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/local/deliver_priv.h"
#include "ipc/deliver.h"
#include "os/os.h"
#include "store/maildir.h"

enum { OUTPUT_MAX = 4096, ENV_MAX = 16, WORDS_MAX = 64, LOCK_TRIES = 50, LOCK_WAIT_MS = 100, CHUNK = 65536 };

/* --- outcomes --- */

static int put_outcome(struct outcome *out, bool permanent, const char *enhanced, const char *text)
{
	out->permanent = permanent;
	snprintf(out->enhanced, sizeof(out->enhanced), "%s", enhanced);
	snprintf(out->text, sizeof(out->text), "%s", text);
	return -1;
}

static const struct {
	int status;
	bool permanent;
	const char *enhanced, *text;
} sys_exits[] = {
	{ EX_USAGE, true, "5.3.0", "command line usage error" },
	{ EX_DATAERR, true, "5.6.0", "data format error" },
	{ EX_NOINPUT, true, "5.3.0", "cannot open input" },
	{ EX_NOUSER, true, "5.1.1", "user unknown" },
	{ EX_NOHOST, true, "5.1.2", "host name unknown" },
	{ EX_UNAVAILABLE, true, "5.3.0", "service unavailable" },
	{ EX_SOFTWARE, true, "5.3.0", "internal software error" },
	{ EX_OSERR, false, "4.3.0", "system resource problem" },
	{ EX_OSFILE, true, "5.3.0", "critical OS file missing" },
	{ EX_CANTCREAT, true, "5.2.0", "can't create user output file" },
	{ EX_IOERR, true, "5.3.0", "input/output error" },
	{ EX_TEMPFAIL, false, "4.3.0", "temporary failure" },
	{ EX_PROTOCOL, true, "5.5.0", "remote error in protocol" },
	{ EX_NOPERM, true, "5.7.0", "permission denied" },
	{ EX_CONFIG, true, "5.3.5", "local configuration error" },
};

/* "X.Y.Z text" at the start of the output gives the status code, as far as its class agrees with the exit status. */
static struct str take_enhanced(struct str output, struct outcome *out)
{
	size_t n = 0, dots = 0;

	while (n < output.n && n < sizeof(out->enhanced) - 1 && (ch_digit(output.p[n]) || output.p[n] == '.'))
		dots += output.p[n++] == '.';
	if (n < 5 || dots != 2 || output.p[1] != '.' || !ch_digit(output.p[n - 1]) || (n < output.n && !ch_blank(output.p[n])) || output.p[0] != out->enhanced[0])
		return output;
	snprintf(out->enhanced, sizeof(out->enhanced), "%.*s", (int)n, output.p);
	return str_trim(str_from(output, n));
}

int program_outcome(int status, bool overran, struct str command, struct str output, struct outcome *out)
{
	char what[80];
	const char *text = what;
	struct buf b;
	int r = -1;

	*out = (struct outcome){ .permanent = true, .enhanced = "5.3.0" };
	if (overran) {
		snprintf(what, sizeof(what), "Command time limit exceeded");
	} else if (WIFSIGNALED(status)) {
		out->permanent = false;
		snprintf(out->enhanced, sizeof(out->enhanced), "4.3.0");
		snprintf(what, sizeof(what), "Command died with signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status) == 0) {
		out->permanent = false;
		snprintf(out->enhanced, sizeof(out->enhanced), "2.0.0");
		text = "delivered to command";
		r = 0;
	} else {
		snprintf(what, sizeof(what), "Command died with status %d", WEXITSTATUS(status));
		for (size_t i = 0; i < ARRAY_LEN(sys_exits); i++)
			if (sys_exits[i].status == WEXITSTATUS(status)) {
				out->permanent = sys_exits[i].permanent;
				snprintf(out->enhanced, sizeof(out->enhanced), "%s", sys_exits[i].enhanced);
				text = sys_exits[i].text;
			}
	}
	buf_init(&b, 2048);
	const bool named = text != what;	/* sysexits' words need no command */
	const struct str rest = r < 0 ? take_enhanced(str_trim(output), out) : (struct str){ 0 };
	buf_c(&b, text);
	if (r == 0) {
		buf_c(&b, ": ");
		text_neutral(&b, command, 200, false);
	} else if (!named) {
		buf_c(&b, ": \"");
		text_neutral(&b, command, 100, false);
		buf_c(&b, "\"");
	}
	if (rest.n > 0) {
		buf_c(&b, ". Command output: ");
		text_neutral(&b, rest, 200, false);
	}
	snprintf(out->text, sizeof(out->text), "%s", b.p);
	buf_fini(&b);
	return r;
}

/* --- the command's world --- */

struct world {
	const struct sources *s;
	const struct ipc_deliver_COPY *m;
	struct arena *a;
	char *env[ENV_MAX + 1];
	size_t n_env;
};

/* What comes from the net keeps only what means nothing to a shell. */
static void add_env(struct world *w, const char *name, struct str value)
{
	static const char good[] = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char *text = arena_printf(w->a, "%s=%.*s", name, STR_ARG(str_sub(value, 0, 1024)));

	for (char *p = text + strlen(name) + 1; *p; p++)
		if (!strchr(good, *p))
			*p = '_';
	if (w->n_env < ENV_MAX)
		w->env[w->n_env++] = text;
}

static void make_env(struct world *w)
{
	const struct account *acct = w->s->acct;
	const ptrdiff_t at = str_rchr(w->m->recipient, '@');
	const struct str local = at < 0 ? w->m->recipient : str_sub(w->m->recipient, 0, (size_t)at);

	add_env(w, "PATH", STR("/usr/bin:/bin"));
	add_env(w, "SHELL", STR("/bin/sh"));
	add_env(w, "HOME", str_c(acct->home));
	add_env(w, "USER", str_c(acct->name));
	add_env(w, "LOGNAME", str_c(acct->name));
	add_env(w, "LOCAL", local);
	add_env(w, "DOMAIN", at < 0 ? STR("") : str_from(w->m->recipient, (size_t)at + 1));
	add_env(w, "EXTENSION", w->m->extension);
	add_env(w, "RECIPIENT", w->m->recipient);
	add_env(w, "ORIGINAL_RECIPIENT", w->m->original.n ? w->m->original : w->m->recipient);
	add_env(w, "SENDER", w->m->sender);
	w->env[w->n_env] = NULL;
}

/* Nothing in it that a shell would see differently from a list of words? */
static bool plain_words(struct str command)
{
	static const char good[] = "1234567890@%-_=+:,./ \tabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char *const builtins[] = { "cd", "exec", "exit", "set", "export", "ulimit", "umask", "eval", "if", "for", "while", "case", "test", "." };
	struct str rest = command, word = { 0 };

	for (size_t i = 0; i < command.n; i++)
		if (command.p[i] == '\0' || !strchr(good, command.p[i]))
			return false;
	if (!str_token(&rest, " \t", &word) || str_chr(word, '=') >= 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(builtins); i++)
		if (str_eq(word, str_c(builtins[i])))
			return false;
	return true;
}

/* In the child. Does not return. */
static void execute(struct world *w, struct str command, int in, int out)
{
	char sh[] = "/bin/sh", c[] = "-c", *words[WORDS_MAX + 1], *shell[] = { sh, c, arena_cstr(w->a, command), NULL };
	const struct rlimit none = { 0, 0 };
	struct str rest = command, word;
	size_t n = 0;

	(void)setpgid(0, 0);
	if (chdir(w->s->acct->home) < 0 && chdir("/") < 0)
		_exit(EX_OSERR);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(EX_OSERR);
	const int keep[] = { 0, 1, 2 };
	close_all_but(keep, ARRAY_LEN(keep));
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	if (plain_words(command)) {
		while (n < WORDS_MAX && str_token(&rest, " \t", &word))
			words[n++] = arena_cstr(w->a, word);
		words[n] = NULL;
		if (rest.n == 0)
			(void)execvpe(words[0], words, w->env);
	}
	(void)execve(shell[0], shell, w->env);
	_exit(EX_OSERR);
}

/* --- feeding it --- */

struct feed {
	const struct content *c;
	uint64_t at;		/* of head and body together */
	char chunk[CHUNK];
	size_t n, off;		/* bytes of chunk, and how many were written */
};

static uint64_t feed_size(const struct feed *f)
{
	return f->c->head.n + (f->c->end - f->c->body);
}

/* The next bytes into chunk. -1: the message cannot be read. */
static int feed_more(struct feed *f)
{
	struct err e = { 0 };
	const uint64_t left = feed_size(f) - f->at;

	f->off = 0;
	f->n = left < CHUNK ? (size_t)left : CHUNK;
	if (f->at < f->c->head.n) {
		f->n = f->c->head.n - f->at < CHUNK ? (size_t)(f->c->head.n - f->at) : CHUNK;
		memcpy(f->chunk, f->c->head.p + f->at, f->n);
	} else if (pread_all(f->c->fd, f->chunk, f->n, f->c->body + f->at - f->c->head.n, &e) < 0) {
		return -1;
	}
	f->at += f->n;
	return 0;
}

/* Some bytes to the command. False: it wants no more, or has all. */
static bool feed_write(struct feed *f, int fd)
{
	if (f->off == f->n && (f->at == feed_size(f) || feed_more(f) < 0))
		return false;
	const ssize_t k = write(fd, f->chunk + f->off, f->n - f->off);
	if (k < 0)
		return errno == EAGAIN || errno == EINTR;
	f->off += (size_t)k;
	return f->off < f->n || f->at < feed_size(f);
}

/* Until it has closed its output, or runs too long (true). */
static bool converse(struct feed *f, int *to, int *from, uint64_t limit_s, struct buf *output)
{
	const uint64_t end = clock_mono_ms() + limit_s * 1000;
	char waste[4096];

	while (*from >= 0) {
		struct pollfd p[2] = { { .fd = *from, .events = POLLIN }, { .fd = *to, .events = POLLOUT } };
		const uint64_t now = clock_mono_ms();
		if (now >= end)
			return true;
		if (poll(p, 2, (int)(end - now < 10000 ? end - now : 10000)) < 0 && errno != EINTR)
			return false;
		if (*to >= 0 && p[1].revents && !feed_write(f, *to))
			close_fd(to);
		if (p[0].revents) {
			const ssize_t k = read(*from, waste, sizeof(waste));
			if (k <= 0 && !(k < 0 && (errno == EAGAIN || errno == EINTR)))
				close_fd(from);
			else if (k > 0 && output->n < OUTPUT_MAX)
				buf_mem(output, waste, (size_t)k < OUTPUT_MAX - output->n ? (size_t)k : OUTPUT_MAX - output->n);
		}
	}
	return false;
}

/* It closed its output, and has the rest of its time to end. */
static int reap(pid_t pid, bool *overran, uint64_t limit_s)
{
	const uint64_t end = clock_mono_ms() + (*overran ? 0 : limit_s * 1000);
	int status = 0;

	for (unsigned ms = 1; waitpid(pid, &status, WNOHANG) == 0; ms = ms < 50 ? ms * 2 : ms) {
		if (clock_mono_ms() >= end) {
			*overran = true;
			(void)kill(-pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			break;
		}
		(void)poll(NULL, 0, (int)ms);
	}
	return status;
}

static int run_command(const struct sources *s, const struct ipc_deliver_COPY *m, struct str command, const struct content *c, struct outcome *out)
{
	struct world w = { .s = s, .m = m, .a = arena_new(0) };
	struct feed *f = xzalloc(sizeof(*f));
	struct buf output;
	int in[2] = { -1, -1 }, from[2] = { -1, -1 }, r = -1;
	bool overran = false;

	f->c = c;
	make_env(&w);
	buf_init(&output, OUTPUT_MAX + 1);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0 || fcntl(in[1], F_SETFL, O_NONBLOCK) < 0) {
		(void)put_outcome(out, false, "4.3.0", "no pipe for the command");
	} else {
		const pid_t pid = fork();
		if (pid == 0)
			execute(&w, command, in[0], from[1]);
		close_fd(&in[0]);
		close_fd(&from[1]);
		if (pid < 0) {
			(void)put_outcome(out, false, "4.3.0", "the command cannot be started");
		} else {
			overran = converse(f, &in[1], &from[0], s->policy.limit_s, &output);
			const int status = reap(pid, &overran, s->policy.limit_s);
			r = program_outcome(status, overran, command, buf_view(&output), out);
		}
	}
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&from[i]);
	}
	buf_fini(&output);
	free(f);
	arena_free(&w.a);
	return r;
}

/* --- files --- */

static int lock_file(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (fcntl(fd, F_SETLK, &l) == 0)
			return 0;
		(void)poll(NULL, 0, LOCK_WAIT_MS);
	}
	return -1;
}

/* Quoted as mbox needs it: a line that starts with "From " (after any '>') gets another '>'. */
static void quote_from(struct buf *out, struct str in, bool *line_start, size_t *marks)
{
	for (size_t i = 0; i < in.n; i++) {
		if (*line_start && in.p[i] == '>') {
			++*marks;
			buf_ch(out, '>');
			continue;
		}
		if (*line_start && str_starts(str_from(in, i), STR("From ")))
			buf_ch(out, '>');
		*line_start = in.p[i] == '\n';
		*marks = 0;
		buf_ch(out, in.p[i]);
	}
}

/* The content without its first line (the separator), quoted, into b. */
static int mbox_text(const struct content *c, struct buf *b, struct err *e)
{
	const ptrdiff_t lf = str_chr(c->head, '\n');
	const size_t n = (size_t)(c->end - c->body);
	char *p = xzalloc(n + 1);
	bool start = true;
	size_t marks = 0;
	int r = 0;

	buf_str(b, str_sub(c->head, 0, (size_t)lf + 1));
	quote_from(b, str_from(c->head, (size_t)lf + 1), &start, &marks);
	if (n > 0)
		r = pread_all(c->fd, p, n, c->body, e);
	if (r == 0)
		quote_from(b, str_n(p, n), &start, &marks);
	free(p);
	buf_c(b, start ? "\n" : "\n\n");
	return r < 0 ? -1 : buf_check(b, "message", e);
}

static int append_mbox(int fd, const struct content *c, struct err *e)
{
	struct stat st;
	struct buf b;
	int r = -1;

	if (lock_file(fd) < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, 0, "cannot be locked");
	buf_init(&b, (size_t)(c->end - c->body + c->head.n) * 2 + 4096);
	if (mbox_text(c, &b, e) == 0 && write_all(fd, b.p, b.n, e) == 0 && fsync_fd(fd, "mailbox", e) == 0)
		r = 0;
	else
		(void)!ftruncate(fd, st.st_size);
	buf_fini(&b);
	return r;
}

static int to_mbox(const char *path, const struct content *c, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) || st.st_nlink != 1)
		return err_set(e, ERR_DENIED, 0, "%s is no plain file", path);
	return append_mbox(fd, c, e) < 0 ? err_wrap(e, "%s", path) : 0;
}

static int to_maildir(const char *path, const struct content *c, struct err *e)
{
	const ptrdiff_t lf = str_chr(c->head, '\n');	/* a maildir needs no separator */
	struct maildir_copy *copy = NULL;
	CLEANUP_FD int dir = -1;

	if (maildir_open(path, true, &dir, e) == 0 && maildir_copy_begin(dir, "", &copy, e) == 0 && maildir_copy_write(copy, str_from(c->head, (size_t)lf + 1), e) == 0 &&
	    maildir_copy_range(copy, c->fd, c->body, c->end - c->body, UINT64_MAX, e) == 0 && maildir_copy_sync(copy, e) == 0)
		return maildir_copy_commit(&copy, NULL, e);
	maildir_copy_abort(&copy);
	return -1;
}

static int to_file(struct str path, const struct content *c, struct outcome *out)
{
	struct arena *a = arena_new(0);
	const char *name = arena_cstr(a, path);
	struct err e = { 0 };
	int r;

	if (strcmp(name, "/dev/null") == 0)
		r = 0;
	else
		r = name[path.n - 1] == '/' ? to_maildir(name, c, &e) : to_mbox(name, c, &e);
	if (r < 0)
		(void)put_outcome(out, e.code == ERR_DENIED, e.code == ERR_DENIED ? "5.2.0" : "4.2.0", e.text);
	else
		(void)put_outcome(out, false, "2.0.0", arena_printf(a, "delivered to file: %s", name));
	arena_free(&a);
	return r;
}

int program_deliver(const struct sources *s, const struct ipc_deliver_COPY *m, const struct program *p, const struct content *c, struct outcome *out)
{
	return p->command ? run_command(s, m, p->text, c, out) : to_file(p->text, c, out);
}
