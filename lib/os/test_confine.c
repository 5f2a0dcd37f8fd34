/* Each role, entered for real in a child, tries what it must not do. Needs root; without it everything is skipped. */
#include "os/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "os/os.h"
#include "test/tap.h"

enum { NOBODY = 65534 };

static char dir_empty[64], dir_work[64], file_given[128];
static pid_t tester;
static int given_fd = -1;	/* read-only descriptor of a file that the role's user may not write */

/* --- forbidden acts: true when the act worked --- */

static bool act_open_shadow(void) { return open("/etc/shadow", O_RDONLY) >= 0; }
static bool act_open_passwd(void) { return open("/etc/passwd", O_RDONLY) >= 0; }
static bool act_open_proc(void) { return open("/proc/1/status", O_RDONLY) >= 0; }
static bool act_create_tmp(void) { return open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0; }
static bool act_create_root(void) { return open("/x-postern-test", O_CREAT | O_WRONLY, 0600) >= 0; }
static bool act_reopen_fd(void)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", given_fd);
	return open(name, O_RDWR) >= 0;
}
static bool act_mknod(void) { return mknod("x-node", S_IFCHR | 0600, 0x0103) == 0; }
static bool act_link_out(void) { return symlink("/etc/shadow", "/tmp/x-postern-link") == 0; }
static bool act_inet(void) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }
static bool act_unix(void) { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }
static bool act_netlink(void) { return socket(AF_NETLINK, SOCK_RAW, 0) >= 0; }
static bool act_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0) >= 0; }
static bool act_bind(void)
{
	const struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int p[2];
	return socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0 && bind(p[0], (const struct sockaddr *)&sa, 2) == 0;
}
static bool act_exec(void)
{
	char *const argv[] = { strdup("true"), NULL };
	(void)execv("/bin/true", argv);
	return errno == 0;
}
static bool act_fork(void)
{
	const pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid > 0;
}
static bool act_ptrace(void) { return ptrace(PTRACE_ATTACH, tester, NULL, NULL) == 0; }
static bool act_vm_read(void)
{
	char b[8];
	struct iovec local = { b, sizeof(b) }, remote = { &tester, sizeof(b) };
	return process_vm_readv(tester, &local, 1, &remote, 1, 0) > 0;
}
static bool act_kill(void) { return kill(tester, 0) == 0; }
static bool act_tgkill(void) { return syscall(SYS_tgkill, tester, tester, 0) == 0; }
static bool act_setown(void) { return fcntl(given_fd, F_SETOWN, tester) == 0; }
static bool act_prlimit(void)
{
	struct rlimit r;
	return prlimit(tester, RLIMIT_NOFILE, NULL, &r) == 0;
}
static bool act_mount(void) { return mount("none", "/tmp", "tmpfs", 0, NULL) == 0; }
static bool act_unshare(void) { return unshare(CLONE_NEWUSER) == 0; }
static bool act_clone_ns(void)
{
	const long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	return pid > 0;
}
static bool act_keyctl(void) { return syscall(SYS_keyctl, 0, -3, 1) >= 0; }
static bool act_io_uring(void)
{
	char params[256] = { 0 };
	return syscall(SYS_io_uring_setup, 4, params) >= 0;
}
static bool act_bpf(void)
{
	char attr[128] = { 0 };
	return syscall(SYS_bpf, 0, attr, sizeof(attr)) >= 0;
}
static bool act_perf(void)
{
	char attr[128] = { 0 };
	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0) >= 0;
}
static bool act_userfault(void) { return syscall(SYS_userfaultfd, 0) >= 0; }
static bool act_map_exec(void) { return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; }
static bool act_protect_exec(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}
static bool act_setuid(void) { return setuid(0) == 0 || setresuid(0, 0, 0) == 0; }
static bool act_setgroups(void)
{
	const gid_t g = 0;
	return syscall(SYS_setgroups, 1, &g) == 0;
}
static bool act_chroot(void) { return chroot(".") == 0; }
static bool act_handle(void) { return syscall(SYS_open_by_handle_at, 0, NULL, 0) >= 0; }
static bool act_tiocsti(void)
{
	errno = 0;
	return syscall(SYS_ioctl, 0, 0x5412, "x") == 0 || (errno != ENOTTY && errno != EBADF);
}
static bool act_personality(void) { return syscall(SYS_personality, 0x0400000) >= 0; }
static bool act_dump(void) { return prctl(PR_GET_DUMPABLE) != 0; }

#define ROLE(r) (1U << CONFINE_##r)
enum {
	READS = ROLE(PARENT) | ROLE(AUTH_MONITOR) | ROLE(AUTH_CHECK) | ROLE(AUTH_GATHER) | ROLE(SPAWN) | ROLE(PROGRAMS),	/* given the whole tree below */
	ROOTS = ROLE(PARENT) | ROLE(AUTH_MONITOR),
	FORKS = ROOTS | ROLE(TEMPLATE) | ROLE(AUTH_SASL) | ROLE(AUTH_CHECK) | ROLE(AUTH_GATHER) | ROLE(SPAWN) | ROLE(PROGRAMS) | ROLE(REMOTE) | ROLE(FILTER) |
		ROLE(DOORS),
	EXEC_MEMORY = ROLE(AUTH_MONITOR) | ROLE(AUTH_CHECK) | ROLE(AUTH_GATHER) | ROLE(SPAWN) | ROLE(PROGRAMS) | ROLE(FILTER),
};

static const struct act {
	const char *name;
	bool (*run)(void);
	unsigned may;	/* roles for which it is no offence */
} acts[] = {
	{ "open /etc/shadow", act_open_shadow, ROOTS },
	{ "open /etc/passwd", act_open_passwd, READS },
	{ "open another's /proc", act_open_proc, READS },
	{ "create in /tmp", act_create_tmp, ROLE(AUTH_MONITOR) | ROLE(SPAWN) | ROLE(PROGRAMS) },
	{ "create in the root directory", act_create_root, ROLE(AUTH_MONITOR) | ROLE(QUEUE) },	/* queue: its root is the spool */
	{ "reopen a read-only descriptor", act_reopen_fd, ROLE(AUTH_MONITOR) },
	{ "make a device", act_mknod, 0 },
	{ "link out of its tree", act_link_out, ROLE(AUTH_MONITOR) | ROLE(SPAWN) | ROLE(PROGRAMS) },
	{ "make an internet socket", act_inet, ROLE(REMOTE) | ROLE(DNS) | ROLE(POLICY) | ROLE(STS) | ROLE(PROGRAMS) },
	{ "make a UNIX socket", act_unix, ROOTS | ROLE(FILTER) | ROLE(AUTH_GATHER) | ROLE(QUEUE) | ROLE(LOG) | ROLE(POLICY) | ROLE(REPORT) | ROLE(PROGRAMS) },
	{ "make a netlink socket", act_netlink, 0 },
	{ "make a packet socket", act_packet, 0 },
	{ "bind", act_bind, ROLE(REMOTE) },
	{ "exec", act_exec, ROLE(AUTH_MONITOR) | ROLE(PROGRAMS) },
	{ "fork", act_fork, FORKS },
	{ "ptrace", act_ptrace, 0 },
	{ "read another's memory", act_vm_read, 0 },
	{ "signal its parent", act_kill, ROOTS },
	{ "signal a thread of its parent", act_tgkill, ROOTS },
	{ "signal by a descriptor's owner", act_setown, 0 },
	{ "look at another's limits", act_prlimit, 0 },
	{ "mount", act_mount, 0 },
	{ "unshare", act_unshare, 0 },
	{ "clone a namespace", act_clone_ns, 0 },
	{ "keyctl", act_keyctl, 0 },
	{ "io_uring", act_io_uring, 0 },
	{ "bpf", act_bpf, 0 },
	{ "perf events", act_perf, 0 },
	{ "userfaultfd", act_userfault, 0 },
	{ "map executable memory", act_map_exec, EXEC_MEMORY },
	{ "make memory executable", act_protect_exec, EXEC_MEMORY },
	{ "become root", act_setuid, ROOTS },
	{ "take groups", act_setgroups, ROOTS },
	{ "chroot", act_chroot, ROOTS },
	{ "open by handle", act_handle, 0 },
	{ "type into a terminal", act_tiocsti, 0 },
	{ "change personality", act_personality, 0 },
	{ "be dumpable", act_dump, 0 },
};

/* What each role is given, as its program would. */
static struct confine setting(enum confine_role role, struct confine_path path[1])
{
	struct confine c = { .role = role, .uid = NOBODY, .gid = NOBODY, .paths = path };
	switch (role) {
	case CONFINE_PARENT:
	case CONFINE_AUTH_MONITOR:
		c.uid = 0;
		c.gid = 0;
		/* fall through */
	case CONFINE_AUTH_CHECK:
	case CONFINE_AUTH_GATHER:
		*path = (struct confine_path){ .path = "/" };
		c.n_paths = 1;
		break;
	case CONFINE_TEMPLATE:
	case CONFINE_FRONT:
	case CONFINE_AUTH_SASL:
	case CONFINE_AUTH_KEY:
	case CONFINE_REMOTE:
		c.root = dir_empty;
		break;
	case CONFINE_SPAWN:
	case CONFINE_PROGRAMS:
		break;
	case CONFINE_QUEUE:
		c.root = dir_work;
		/* fall through */
	default:
		*path = (struct confine_path){ .path = dir_work, .write = role != CONFINE_RESOLVE && role != CONFINE_DNS };
		c.n_paths = 1;
	}
	return c;
}

enum { ST_REFUSED = 0, ST_WORKED = 1, ST_NOT_ENTERED = 2 };

/* In a child: enter the role, act. Exit status as above. */
static int run_confined(enum confine_role role, bool (*act)(void))
{
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		struct confine_path path;
		struct err e = { 0 };
		const struct confine c = setting(role, &path);
		if (confine_enter(&c, &e) < 0) {
			(void)fprintf(stderr, "# %s: %s\n", confine_role_name(role), e.text);
			_exit(ST_NOT_ENTERED);
		}
		_exit(act() ? ST_WORKED : ST_REFUSED);
	}
	int status = 0;
	(void)waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? ST_REFUSED : 100 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* What every role must be able to do. */
static bool act_live(void)
{
	int p[2];
	char b[4096];
	struct timespec ts;
	if (pipe(p) < 0 || write(p[1], "x", 1) != 1 || read(p[0], b, 1) != 1)
		return false;
	for (size_t n = 16; n < 1 << 22; n *= 4) {
		char *m = malloc(n);
		if (!m)
			return false;
		memset(m, 1, n);
		free(m);
	}
	struct stat st;
	return syscall(SYS_getrandom, b, 16, 0) == 16 && clock_gettime(CLOCK_MONOTONIC, &ts) == 0 && fstat(p[0], &st) == 0 &&
	       prctl(PR_SET_NAME, "live") == 0 && signal(SIGTERM, SIG_DFL) != SIG_ERR;
}

static bool act_use_tree(void)
{
	const int at = open(chdir(dir_work) == 0 ? "." : "/", O_RDONLY | O_DIRECTORY);
	struct err e = { 0 };
	if (at < 0 || mkdirat(at, "sub", 0700) < 0 || file_replace_at(at, "a", STR("hello"), 0600, &e) < 0 || renameat(at, "a", at, "sub/b") < 0 ||
	    unlinkat(at, "sub/b", 0) < 0 || unlinkat(at, "sub", AT_REMOVEDIR) < 0)
		return false;
	DIR *d = fdopendir(at);
	return d && readdir(d) != NULL;
}

static bool act_list_tree(void)
{
	DIR *d = opendir(chdir(dir_work) == 0 ? "." : "/");
	return d && readdir(d) != NULL;
}

static bool act_no_fork(void)
{
	struct err e = { 0 };
	const struct rlimit more = { 10, 10 };
	return confine_no_fork(&e) == 0 && fork() < 0 && setrlimit(RLIMIT_NPROC, &more) < 0 && fork() < 0;
}

static bool act_narrow_relay(void)
{
	struct err e = { 0 };
	int p[2];
	if (pipe(p) < 0 || confine_narrow_relay(&e) < 0 || write(p[1], "x", 1) != 1)
		return false;
	struct msghdr none = { 0 };
	return recvmsg(p[0], &none, 0) < 0 && errno == EPERM && fork() < 0 && dup(0) < 0;
}

static bool act_no_processes(void)
{
	struct err e = { 0 };
	int status = 0;
	const pid_t pid = fork();
	if (pid == 0)
		_exit(kill(getppid(), 0) == 0 && confine_no_processes(&e) == 0 && fork() < 0 && errno == EPERM && vfork() < 0 && kill(getppid(), 0) < 0 &&
				      errno == EPERM && syscall(SYS_tgkill, getppid(), getppid(), 0) < 0 ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool act_no_exec(void)
{
	struct err e = { 0 };
	return confine_no_processes(&e) == 0 && syscall(SYS_execve, "/bin/true", NULL, NULL) < 0 && errno == EPERM;
}

/* What deliver does after spawn: becomes narrower, in the domain that it inherited. */
static bool act_deliver_below_spawn(void)
{
	struct confine_path path;
	struct err e = { 0 };
	struct confine c = setting(CONFINE_DELIVER, &path);
	c.uid = c.gid = 0;	/* it is the user already */
	if (confine_enter(&c, &e) < 0)
		(void)fprintf(stderr, "# %s\n", e.text);
	return e.code == ERR_NONE && act_use_tree() && !act_create_tmp();
}

static void test_forbidden(void)
{
	for (int role = 0; role < CONFINE_MAX_; role++)
		for (size_t i = 0; i < ARRAY_LEN(acts); i++)
			if (!(acts[i].may & (1U << role)))
				(void)tap_is_int(run_confined((enum confine_role)role, acts[i].run), ST_REFUSED, "%s cannot: %s",
						 confine_role_name((enum confine_role)role), acts[i].name);
}

static void test_allowed(void)
{
	static const enum confine_role trees[] = { CONFINE_SESSION_IMAP, CONFINE_SESSION_POP3, CONFINE_QUEUE, CONFINE_DELIVER, CONFINE_SCAN,
						   CONFINE_FILTER, CONFINE_LOG };
	static const enum confine_role readers[] = { CONFINE_PARENT, CONFINE_AUTH_CHECK, CONFINE_AUTH_GATHER, CONFINE_RESOLVE, CONFINE_DNS };
	for (int role = 0; role < CONFINE_MAX_; role++)
		(void)tap_is_int(run_confined((enum confine_role)role, act_live), ST_WORKED, "%s lives", confine_role_name((enum confine_role)role));
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		(void)tap_is_int(run_confined(trees[i], act_use_tree), ST_WORKED, "%s uses its tree", confine_role_name(trees[i]));
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		(void)tap_is_int(run_confined(readers[i], act_list_tree), ST_WORKED, "%s lists its tree", confine_role_name(readers[i]));
	(void)tap_is_int(run_confined(CONFINE_SPAWN, act_use_tree), ST_WORKED, "spawn's domain lets deliver rename between directories");
	(void)tap_is_int(run_confined(CONFINE_SPAWN, act_deliver_below_spawn), ST_WORKED, "deliver confines itself below spawn");
	(void)tap_is_int(run_confined(CONFINE_AUTH_CHECK, act_no_processes), ST_WORKED, "a check worker gives up processes and signals");
	(void)tap_is_int(run_confined(CONFINE_AUTH_CHECK, act_no_exec), ST_WORKED, "nor does it execute anything");
	(void)tap_is_int(run_confined(CONFINE_AUTH_SASL, act_no_processes), ST_WORKED, "a sasl worker has given up processes and signals");
	(void)tap_is_int(run_confined(CONFINE_TEMPLATE, act_no_fork), ST_WORKED, "a front has no way back from the limit that takes fork away");
	(void)tap_is_int(run_confined(CONFINE_FRONT, act_narrow_relay), ST_WORKED, "a front narrows itself to relaying");
}

/* --- spawn: the setuid program must keep its right --- */

static char setuid_copy[128];

static bool act_exec_setuid(void)
{
	int p[2], status;
	char b[16] = { 0 };
	if (pipe(p) < 0)
		return false;
	const pid_t pid = fork();
	if (pid == 0) {
		char *const argv[] = { strdup("id"), strdup("-u"), NULL };
		(void)dup2(p[1], 1);
		(void)execv(setuid_copy, argv);
		_exit(99);
	}
	close(p[1]);
	return pid > 0 && read(p[0], b, sizeof(b) - 1) > 0 && waitpid(pid, &status, 0) == pid && status == 0 && strcmp(b, "0\n") == 0 && getuid() == NOBODY;
}

static bool copy_file(const char *from, const char *to)
{
	struct err e = { 0 };
	struct buf b;
	buf_init(&b, 16 << 20);
	const bool ok = file_read(from, 16 << 20, &b, &e) == 0 && file_replace(to, buf_view(&b), 04755, 0, 0, &e) == 0;
	buf_fini(&b);
	return ok;
}

static void test_spawn(void)
{
	(void)snprintf(setuid_copy, sizeof(setuid_copy), "%s/id", dir_work);
	if (!copy_file("/usr/bin/id", setuid_copy)) {
		tap_skip(2, "no /usr/bin/id to copy");
		return;
	}
#ifdef __x86_64__
	const char *loader = "/lib64/ld-linux-x86-64.so.2";
#else
	const char *loader = "/lib/ld-linux-aarch64.so.1";
#endif
	(void)fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		const struct confine_path paths[] = { { .path = setuid_copy, .exec = true }, { .path = loader, .exec = true } };
		const struct confine c = { .role = CONFINE_SPAWN, .uid = NOBODY, .gid = NOBODY, .paths = paths, .n_paths = 2 };
		struct err e = { 0 };
		if (confine_enter(&c, &e) < 0)
			_exit(ST_NOT_ENTERED);
		if (act_exec())
			_exit(3);
		_exit(act_exec_setuid() ? ST_WORKED : ST_REFUSED);
	}
	int status = 0;
	(void)waitpid(pid, &status, 0);
	(void)tap_is_int(WEXITSTATUS(status), ST_WORKED, "spawn starts its setuid program with its right, and no other program");
	(void)unlink(setuid_copy);
}

static void test_refusals(void)
{
	static const struct {
		const char *name;
		struct confine c;
	} cases[] = {
		{ "a user that does not exist", { .role = CONFINE_FRONT, .user = "_no_such_user" } },
		{ "root as user", { .role = CONFINE_FRONT, .user = "root" } },
		{ "a root directory that does not exist", { .role = CONFINE_FRONT, .uid = NOBODY, .gid = NOBODY, .root = "/no/such" } },
		{ "an empty root that is not empty", { .role = CONFINE_FRONT, .uid = NOBODY, .gid = NOBODY, .root = "/etc" } },
		{ "an empty root that others may write", { .role = CONFINE_FRONT, .uid = NOBODY, .gid = NOBODY, .root = "/tmp" } },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)fflush(stdout);
		const pid_t pid = fork();
		struct err e = { 0 };
		if (pid == 0)
			_exit(confine_enter(&cases[i].c, &e) < 0 && e.text[0] ? 0 : 1);
		int status = 0;
		(void)waitpid(pid, &status, 0);
		(void)tap_is_int(status, 0, "refused: %s", cases[i].name);
	}
}

int main(void)
{
	if (geteuid() != 0) {
		tap_skip(1, "confinement is tested as root");
		return tap_done();
	}
	tester = getpid();
	(void)snprintf(dir_empty, sizeof(dir_empty), "/tmp/postern-empty.%d", (int)tester);
	(void)snprintf(dir_work, sizeof(dir_work), "/tmp/postern-work.%d", (int)tester);
	(void)snprintf(file_given, sizeof(file_given), "/tmp/postern-given.%d", (int)tester);
	struct err e = { 0 };
	if (dir_make(dir_empty, 0755, 0, 0, &e) < 0 || dir_make(dir_work, 0777, NOBODY, NOBODY, &e) < 0 ||
	    file_replace(file_given, STR("given"), 0644, 0, 0, &e) < 0)
		return 1;
	given_fd = open(file_given, O_RDONLY | O_CLOEXEC);
	tap_diag("Landlock version %d", confine_landlock_abi());
	test_forbidden();
	test_allowed();
	test_spawn();
	test_refusals();
	(void)unlink(file_given);
	(void)rmdir(dir_empty);
	(void)rmdir(dir_work);
	return tap_done();
}
