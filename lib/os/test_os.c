/* Files, sockets, processes, supervision: what their callers rely on. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/tap.h"

static char dir[64], path_buf[2][256];

static const char *in_dir(const char *name)
{
	static int turn;
	turn ^= 1;
	(void)snprintf(path_buf[turn], sizeof(path_buf[turn]), "%s/%s", dir, name);
	return path_buf[turn];
}

static void put(const char *name, const char *text)
{
	const int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct err e = { 0 };
	if (fd < 0 || write_all(fd, text, strlen(text), &e) < 0)
		abort();
	close(fd);
}

/* --- files --- */

static void test_read(void)
{
	static const struct {
		const char *name, *text;
		size_t max, buf_max;
		int want;
		enum err_code code;
	} cases[] = {
		{ "empty", "", 10, 100, 0, ERR_NONE },
		{ "whole", "hello", 10, 100, 0, ERR_NONE },
		{ "exactly the maximum", "hello", 5, 100, 0, ERR_NONE },
		{ "one more than the maximum", "hello!", 5, 100, -1, ERR_TOOBIG },
		{ "fits the buffer exactly", "hello", 100, 5, 0, ERR_NONE },
		{ "more than the buffer holds", "hello!", 100, 5, -1, ERR_TOOBIG },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		struct err e = { 0 };
		buf_init(&b, cases[i].buf_max);
		put("f", cases[i].text);
		const int r = file_read(in_dir("f"), cases[i].max, &b, &e);
		(void)tap_ok(r == cases[i].want && e.code == cases[i].code, "read: %s", cases[i].name);
		(void)tap_is_str(b.p, r == 0 ? cases[i].text : "", "read: %s: content", cases[i].name);
		buf_fini(&b);
	}
	struct buf b;
	struct err e = { 0 };
	buf_init(&b, 100);
	char long_text[3001];
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	put("long", long_text);
	struct buf whole;
	buf_init(&whole, 1 << 20);
	(void)tap_ok(file_read(in_dir("long"), 1 << 20, &whole, &e) == 0 && whole.n == 3000 && whole.cap < 8192, "read: room for the file, at once");
	buf_fini(&whole);
	(void)mkfifo(in_dir("fifo"), 0600);
	(void)tap_ok(file_read(in_dir("fifo"), 10, &b, &e) < 0 && e.code == ERR_DENIED, "read: a FIFO does not hang us");
	(void)tap_ok(file_read(in_dir("none"), 10, &b, &e) < 0 && e.code == ERR_NOENT, "read: a missing file");
	(void)symlink("f", in_dir("link"));
	const int d = open(dir, O_RDONLY | O_DIRECTORY);
	(void)tap_ok(file_read_at(d, "link", 10, &b, &e) < 0 && e.sys == ELOOP, "read at: a link is not followed");
	close(d);
	(void)tap_ok(file_read("/proc/self/stat", 4096, &b, &e) < 0 && e.code == ERR_TOOBIG, "read: the buffer's maximum holds for files without a size");
	buf_fini(&b);
}

static void test_replace(void)
{
	struct err e = { 0 };
	struct stat st;
	struct buf b;
	buf_init(&b, 100);
	put("r", "old");
	(void)tap_ok(file_replace(in_dir("r"), STR("new"), 0640, (uid_t)-1, (gid_t)-1, &e) == 0 && file_read(in_dir("r"), 100, &b, &e) == 0, "replace");
	(void)tap_is_str(b.p, "new", "replace: content");
	(void)tap_ok(stat(in_dir("r"), &st) == 0 && (st.st_mode & 07777) == 0640, "replace: mode, whatever the umask");
	(void)tap_ok(file_replace(in_dir("none/r"), STR("x"), 0640, (uid_t)-1, (gid_t)-1, &e) < 0 && e.code == ERR_NOENT, "replace: no directory");
	(void)mkdir(in_dir("isdir"), 0700);
	(void)tap_ok(file_replace(in_dir("isdir"), STR("x"), 0640, (uid_t)-1, (gid_t)-1, &e) < 0, "replace: a directory is in the place");
	const int d = open(dir, O_RDONLY | O_DIRECTORY);
	(void)tap_ok(file_replace_at(d, "r", STR("third"), 0600, &e) == 0 && file_read_at(d, "r", 100, &b, &e) == 0 && strcmp(b.p, "third") == 0, "replace at");
	close(d);
	buf_fini(&b);
}

static void test_dirs(void)
{
	struct err e = { 0 };
	struct stat st;
	(void)tap_ok(dir_make(in_dir("a/b/c/"), 0750, (uid_t)-1, (gid_t)-1, &e) == 0 && stat(in_dir("a/b/c"), &st) == 0 && (st.st_mode & 07777) == 0750,
		     "directories: made with their parents");
	(void)tap_ok(stat(in_dir("a/b"), &st) == 0 && (st.st_mode & 07777) == 0755, "directories: parents are 0755");
	(void)tap_ok(dir_make(in_dir("a/b/c"), 0700, (uid_t)-1, (gid_t)-1, &e) == 0 && stat(in_dir("a/b/c"), &st) == 0 && (st.st_mode & 07777) == 0750,
		     "directories: an existing one is left alone without an owner");
	(void)tap_ok(dir_make(in_dir("a/b/c"), 0700, geteuid(), (gid_t)-1, &e) == 0 && stat(in_dir("a/b/c"), &st) == 0 && (st.st_mode & 07777) == 0700,
		     "directories: an existing one gets its mode with an owner");
	put("file", "x");
	(void)tap_ok(dir_make(in_dir("file"), 0700, (uid_t)-1, (gid_t)-1, &e) < 0, "directories: a file is in the place");
	(void)symlink("/tmp", in_dir("tolink"));
	(void)tap_ok(dir_make(in_dir("tolink"), 0700, (uid_t)-1, (gid_t)-1, &e) < 0, "directories: a link is in the place");
	(void)tap_ok(dir_make(in_dir("file/x"), 0700, (uid_t)-1, (gid_t)-1, &e) < 0, "directories: a file among the parents");
}

static void test_trust(void)
{
	static const struct {
		const char *name;
		mode_t dir_mode, file_mode;
		bool want;
	} cases[] = {
		{ "ours alone", 0755, 0644, true },	       { "file writable by the group", 0755, 0664, false },
		{ "file writable by all", 0755, 0646, false }, { "directory writable by the group", 0775, 0644, false },
		{ "directory writable by all", 0757, 0644, false }, { "sticky directory", 01777, 0644, true },
	};
	struct err e = { 0 };
	const uid_t me = geteuid();
	(void)mkdir(in_dir("t"), 0755);
	put("t/f", "x");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)chmod(in_dir("t"), cases[i].dir_mode);
		(void)chmod(in_dir("t/f"), cases[i].file_mode);
		(void)tap_is_int(path_trusted(in_dir("t/f"), me, &e), cases[i].want ? 0 : -1, "trust: %s", cases[i].name);
	}
	(void)chmod(in_dir("t"), 0757);
	(void)chmod(in_dir("t/f"), 0644);
	(void)symlink("t/f", in_dir("lt"));
	(void)tap_is_int(path_trusted(in_dir("lt"), me, &e), -1, "trust: a link into a directory that others may write");
	(void)tap_ok(path_trusted(in_dir("absent"), me, &e) < 0 && e.code == ERR_NOENT, "trust: missing");
	(void)tap_is_int(path_trusted("relative", me, &e), -1, "trust: not an absolute path");
	if (me == 0) {
		(void)chown(in_dir("t/f"), 12345, 0);
		(void)chmod(in_dir("t"), 0755);
		(void)tap_is_int(path_trusted(in_dir("t/f"), 0, &e), -1, "trust: another owner");
		(void)tap_is_int(path_trusted(in_dir("t/f"), 12345, &e), 0, "trust: the named owner");
	} else {
		tap_skip(2, "owners need root");
	}
}

static void test_close(void)
{
	int fds[6];
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = fcntl(0, F_DUPFD, 100 + 10 * (int)i);
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		const int keep[] = { 1, fds[4], -1, fds[1], 2, fds[1] };
		close_all_but(keep, ARRAY_LEN(keep));
		const bool ok = fcntl(fds[4], F_GETFD) >= 0 && fcntl(fds[1], F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(0, F_GETFD) < 0 &&
				fcntl(fds[0], F_GETFD) < 0 && fcntl(fds[2], F_GETFD) < 0 && fcntl(fds[5], F_GETFD) < 0;
		_exit(ok ? 0 : 1);
	}
	int status = 1;
	(void)waitpid(pid, &status, 0);
	(void)tap_is_int(status, 0, "close: all but the listed, in any order");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* --- sockets --- */

static void test_unix(void)
{
	char name[256], deep[256] = "";
	struct err e = { 0 };
	struct stat st;
	struct peer_cred cred;
	(void)snprintf(name, sizeof(name), "%s/sock", dir);
	int l = sock_unix_listen(name, SOCK_SEQPACKET, 0620, (uid_t)-1, (gid_t)-1, &e);
	(void)tap_ok(l >= 0 && stat(name, &st) == 0 && (st.st_mode & 07777) == 0620, "UNIX: listens with its mode");
	int c = sock_unix_connect(name, SOCK_SEQPACKET, &e);
	(void)tap_ok(c >= 0 && sock_peer_cred(c, &cred, &e) == 0 && cred.uid == geteuid() && cred.pid == getpid(), "UNIX: peer's credentials");
	(void)tap_ok(sock_unix_listen(name, SOCK_SEQPACKET, 0600, (uid_t)-1, (gid_t)-1, &e) < 0 && e.code == ERR_EXISTS, "UNIX: a second listener is refused");
	close_fd(&c);
	close_fd(&l);
	(void)tap_ok(sock_unix_connect(name, SOCK_SEQPACKET, &e) < 0 && e.code == ERR_CLOSED, "UNIX: nobody serves it");
	l = sock_unix_listen(name, SOCK_SEQPACKET, 0600, (uid_t)-1, (gid_t)-1, &e);
	(void)tap_ok(l >= 0, "UNIX: a stale socket is replaced");
	close_fd(&l);
	put("plain", "x");
	(void)tap_ok(sock_unix_listen(in_dir("plain"), SOCK_STREAM, 0600, (uid_t)-1, (gid_t)-1, &e) < 0 && e.code == ERR_DENIED,
		     "UNIX: a file is not replaced");
	(void)snprintf(deep, sizeof(deep), "%s/%0100d", dir, 0);
	(void)mkdir(deep, 0755);
	(void)snprintf(deep, sizeof(deep), "%s/%0100d/sock", dir, 0);
	l = sock_unix_listen(deep, SOCK_STREAM, 0600, (uid_t)-1, (gid_t)-1, &e);
	c = sock_unix_connect(deep, SOCK_STREAM, &e);
	(void)tap_ok(l >= 0 && c >= 0, "UNIX: names longer than sun_path");
	close_fd(&c);
	close_fd(&l);
}

static void test_tcp(void)
{
	static const struct {
		const char *host, *client, *text;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", "127.0.0.1" },
		{ "::1", "::1", "::1" },
		{ "", "127.0.0.1", "127.0.0.1" },	/* through the IPv6 socket: shown as IPv4 */
	};
	struct err e = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t addr[16];
		char text[46];
		uint16_t port = 0;
		int l = -1, r;
		r = sock_tcp_listen(cases[i].host, 0, &l, &e);
		if (r < 0) {
			tap_skip(1, e.text);
			continue;
		}
		struct sockaddr_storage ss = { 0 };
		socklen_t n = sizeof(ss);
		if (sock_own_addr(l, addr, text, &port) < 0)
			abort();
		int c = socket(strchr(cases[i].client, ':') ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		(void)getsockname(l, (struct sockaddr *)&ss, &n);
		struct sockaddr_storage to = { 0 };
		if (strchr(cases[i].client, ':')) {
			memcpy(&to, &ss, n);
		} else {
			uint8_t *b = (uint8_t *)&to;
			to.ss_family = AF_INET;
			b[2] = (uint8_t)(port >> 8);
			b[3] = (uint8_t)port;
			b[4] = 127;
			b[7] = 1;
			n = 16;
		}
		int a = -1;
		if (connect(c, (struct sockaddr *)&to, n) == 0)
			a = accept(l, NULL, NULL);
		r = a < 0 ? -1 : sock_peer_addr(a, addr, text, &port);
		(void)tap_ok(r == 0 && strcmp(text, cases[i].text) == 0, "TCP: peer of \"%s\" from %s", cases[i].host, cases[i].client);
		close_fd(&a);
		close_fd(&c);
		close_fd(&l);
	}
	int l = -1;
	(void)tap_ok(sock_tcp_listen("localhost", 0, &l, &e) < 0 && e.code == ERR_CONF, "TCP: names are not looked up");
}

/* --- processes --- */

static void test_pidfile(void)
{
	struct err e = { 0 };
	pid_t holder = 0;
	char name[256];
	(void)snprintf(name, sizeof(name), "%s/pid", dir);
	(void)tap_is_int(pidfile_write(name, &e), 0, "pid file: written");
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		const bool refused = pidfile_write(name, &e) < 0 && e.code == ERR_EXISTS;
		_exit(refused && pidfile_holder(name, &holder, &e) == 0 && holder == getppid() ? 0 : 1);
	}
	int status = 1;
	(void)waitpid(pid, &status, 0);
	(void)tap_is_int(status, 0, "pid file: a second process is refused and learns who holds it");
	put("pid2", "1\n");
	(void)tap_ok(pidfile_holder(in_dir("pid2"), &holder, &e) < 0 && e.code == ERR_NOENT, "pid file: a stale one is held by nobody");
}

/* Children write their name into a pipe when they start. */
static int starts[2];

static void run_worker(void *ctx)
{
	const char c = *(const char *)ctx;
	if (write(starts[1], &c, 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

/* Ends only after a while, and says so; the others say so too. */
static void run_ending(void *ctx)
{
	sigset_t end;
	int signo;
	const char c = *(const char *)ctx;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &end, NULL);
	if (write(starts[1], "s", 1) != 1 || sigwait(&end, &signo) != 0)
		_exit(1);
	if (c == 'l')
		(void)usleep(300000);
	_exit(write(starts[1], &c, 1) == 1 ? 0 : 1);
}

static void run_ending_supervisor(void)
{
	static char a[] = "a", l[] = "l";
	static struct super_child kids[] = {
		{ .name = "a", .run = run_ending, .ctx = a, .with_group = true },
		{ .name = "l", .run = run_ending, .ctx = l, .with_group = true, .leads = true },
	};
	static struct super s = { .children = kids, .n = 2 };
	struct err e = { 0 };
	_exit(super_run(&s, &e) == 0 ? 0 : 1);
}

static void note_group(void *ctx)
{
	(void)!write(starts[1], "g", 1);
}

static void run_supervisor(void)
{
	static char a[] = "a", b[] = "b", x[] = "x";
	static struct super_child kids[] = {
		{ .name = "a", .run = run_worker, .ctx = a, .with_group = true },
		{ .name = "b", .run = run_worker, .ctx = b, .with_group = true },
		{ .name = "x", .run = run_worker, .ctx = x },
	};
	static struct super s = { .children = kids, .n = 3, .before_start = note_group };
	struct err e = { 0 };
	_exit(super_run(&s, &e) == 0 ? 0 : 1);
}

/* n letters from the pipe, within 30 s, sorted. */
static void letters(char *out, size_t n)
{
	size_t got = 0;
	const uint64_t until = clock_mono_ms() + 30000;
	while (got < n && clock_mono_ms() < until) {
		if (read(starts[0], out + got, 1) == 1)
			got++;
		else
			(void)usleep(2000);
	}
	out[got] = 0;
	for (size_t i = 1; i < got; i++)
		for (size_t j = i; j > 0 && out[j - 1] > out[j]; j--) {
			const char c = out[j];
			out[j] = out[j - 1];
			out[j - 1] = c;
		}
}

/* The child of parent whose start was the nth; found by its parent in /proc. */
static pid_t child_of(pid_t parent, int nth)
{
	char name[64];
	struct buf b;
	struct err e = { 0 };
	struct str t;
	pid_t out = 0;
	buf_init(&b, 4096);
	(void)snprintf(name, sizeof(name), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	if (file_read(name, 4000, &b, &e) == 0) {
		struct str rest = buf_view(&b);
		for (int i = 0; str_token(&rest, " \n", &t); i++)
			if (i == nth)
				out = (pid_t)strtol(t.p, NULL, 10);
	}
	buf_fini(&b);
	return out;
}

static void test_super(void)
{
	char got[16];
	if (pipe2(starts, O_NONBLOCK) < 0)
		return;
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(open("/dev/null", O_WRONLY), 2);	/* its log lines */
		run_supervisor();
	}
	letters(got, 4);
	(void)tap_is_str(got, "abgx", "supervision: all are started, the group once prepared");
	const pid_t a = child_of(pid, 0), x = child_of(pid, 2);
	if (a > 0 && x > 0) {
		(void)kill(x, SIGKILL);
		letters(got, 1);
		(void)tap_is_str(got, "x", "supervision: one outside the group starts again alone");
		(void)kill(a, SIGKILL);
		letters(got, 3);
		(void)tap_is_str(got, "abg", "supervision: the group starts again together");
	} else {
		tap_skip(2, "no list of children in /proc");
	}
	(void)kill(pid, SIGTERM);
	int status = 1;
	(void)waitpid(pid, &status, 0);
	(void)tap_is_int(status, 0, "supervision: ends with its children");
	close(starts[0]);
	close(starts[1]);
}

static void test_super_leads(void)
{
	char got[16];
	int status = 1;
	if (pipe2(starts, O_NONBLOCK) < 0)
		return;
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0)
		run_ending_supervisor();
	letters(got, 2);
	(void)kill(pid, SIGTERM);
	letters(got, 1);
	(void)tap_is_str(got, "l", "supervision: who leads ends first");
	letters(got, 1);
	(void)tap_is_str(got, "a", "supervision: then the others");
	(void)waitpid(pid, &status, 0);
	(void)tap_is_int(status, 0, "supervision: and all is ended");
	close(starts[0]);
	close(starts[1]);
}

static void remove_dir(void)
{
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		(void)execl("/bin/rm", "rm", "-rf", dir, (char *)NULL);
		_exit(1);
	}
	(void)waitpid(pid, NULL, 0);
}

/* What a directory's owner plants must not lead a root process elsewhere. */
static void test_open_trusted(void)
{
	static const struct {
		const char *path;
		bool make, trusted;
		enum err_code code;
	} cases[] = {
		{ "o/f", false, true, ERR_NONE },	    { "o/link/f", false, true, ERR_NONE },	{ "o/open/f", false, false, ERR_NONE },
		{ "o/open/own/f", false, false, ERR_NONE }, { "o/open/link/f", false, false, ERR_DENIED }, { "o/open/link/x/f", true, false, ERR_DENIED },
		{ "o/open/own/link/f", true, false, ERR_DENIED }, { "o/open/file/f", true, false, ERR_DENIED }, { "o/open/no/f", false, false, ERR_NOENT },
		{ "o/open/made/deep/f", true, false, ERR_NONE }, { "o/open/../f", true, false, ERR_INPUT }, { "o/open//own/f", false, false, ERR_NONE },
	};
	struct stat st;

	(void)mkdir(in_dir("o"), 0755);
	(void)mkdir(in_dir("o/there"), 0755);
	(void)symlink("there", in_dir("o/link"));
	(void)mkdir(in_dir("o/open"), 0755);
	(void)mkdir(in_dir("o/open/own"), 0755);
	(void)symlink("../there", in_dir("o/open/link"));
	(void)symlink("/", in_dir("o/open/own/link"));
	put("o/open/file", "x");
	(void)chmod(in_dir("o/open"), 0777);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };
		bool trusted = false;
		const int fd = dir_open_trusted(in_dir(cases[i].path), cases[i].make, &trusted, &e);
		(void)tap_ok((fd >= 0) == (cases[i].code == ERR_NONE) && e.code == cases[i].code, "open trusted: %s: %s", cases[i].path, e.text);
		(void)tap_is_int(trusted, cases[i].trusted, "open trusted: %s: trusted", cases[i].path);
		if (fd >= 0)
			close(fd);
	}
	(void)tap_ok(stat(in_dir("o/there/x"), &st) < 0, "open trusted: nothing was made behind a link");
	(void)tap_ok(stat(in_dir("o/open/made/deep"), &st) == 0 && (st.st_mode & 07777) == 0755, "open trusted: directories were made");
}

/* --- other programs --- */

static void test_output(void)
{
	static const struct {
		const char *name, *argv[4];
		bool errors_too;
		int status;
		const char *text;
	} cases[] = {
		{ "what it prints", { "printf", "a b" }, false, 0, "a b" },
		{ "errors are apart", { "sh", "-c", "echo out; echo err >&2; exit 3" }, false, 3, "out\n" },
		{ "errors too", { "sh", "-c", "echo out; echo err >&2; exit 3" }, true, 3, "out\nerr\n" },
		{ "no input", { "cat" }, false, 0, "" },
		{ "a signal", { "sh", "-c", "kill -KILL $$" }, false, 128 + SIGKILL, "" },
		{ "no such program", { "/nonexistent/program" }, false, PROC_NOT_STARTED, "" },
	};
	struct err e = { 0 };
	struct buf out;
	int status;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_init(&out, 100);
		status = -1;
		(void)tap_is_int(proc_output(cases[i].argv, cases[i].errors_too, &out, &status, &e), 0, "output: %s", cases[i].name);
		(void)tap_ok(status == cases[i].status && str_eq(buf_view(&out), str_c(cases[i].text)), "output: %s: %d \"%.*s\"", cases[i].name, status,
			     STR_ARG(buf_view(&out)));
		buf_fini(&out);
	}
	static const char *const endless[] = { "sh", "-c", "head -c 1000000 /dev/zero; exit 5", NULL };
	buf_init(&out, 100);
	(void)tap_ok(proc_output(endless, false, &out, &status, &e) == 0 && status == 5 && buf_failed(&out), "output: too much of it, and it still ends");
	buf_fini(&out);
}

int main(int argc, char **argv)
{
	proc_init(argc, argv);
	(void)snprintf(dir, sizeof(dir), "/tmp/postern-os.%d", (int)getpid());
	if (mkdir(dir, 0755) < 0)
		return 1;
	test_read();
	test_replace();
	test_dirs();
	test_trust();
	test_open_trusted();
	test_close();
	test_unix();
	test_tcp();
	test_pidfile();
	test_super();
	test_super_leads();
	test_output();
	remove_dir();
	return tap_done();
}
