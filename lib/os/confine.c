/* Confinement: the roles and the order of giving up. What a role may call is a row of groups here; which calls those are is syscalls.def.
 *
 * Two walls, each of which must hold alone: names are gone (empty root, Landlock), kernel calls are gone (seccomp). The order is that of
 * confine.h; spawn alone is confined as root, without no_new_privs, because both would disable the setuid program that it starts
 * (measured), and because what it sets is inherited by that program its groups are the union with deliver's. */
#include "os/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/confine_priv.h"
#include "os/os.h"

#define CAP_BIT(cap) (1ULL << (cap))
#define FILES_RW (FS_READ | FS_WRITE | FS_LINK)

enum role_flags {
	R_ROOT = 1,		/* stays uid 0, with the listed capabilities alone */
	R_NO_NNP = 2,		/* filter and Landlock by root before the drop; no_new_privs stays off */
	R_EMPTY_ROOT = 4,	/* a chroot must be an empty directory that belongs to root */
	R_ALLOW_EXEC = 8,	/* exec is refused, not deadly (libraries try helpers and go on without) */
};

static const struct confine_row {
	const char *name;
	uint32_t groups;
	uint32_t flags;
	enum landlock_scope scope;
	uint64_t caps;		/* kept by a root role; for R_NO_NNP the bounding set of the program it starts */
} confine_roles[CONFINE_MAX_] = {
	/* Its filter is inherited by template and fronts, so it holds theirs. */
	[CONFINE_PARENT] = { "parent", BASE | RELAY | ACCEPT | UNIX_CONNECT | FS_READ | FD_WRITE | FORK | KILL | SETID | CONFINE, R_ROOT, LANDLOCK_ALL,
		CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SYS_CHROOT) | CAP_BIT(CAP_KILL) },
	[CONFINE_TEMPLATE] = { "template", BASE | RELAY | FD_WRITE | FORK | CONFINE, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	[CONFINE_FRONT] = { "front", BASE | RELAY | FD_WRITE | CONFINE, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	[CONFINE_SESSION_IMAP] = { "imap session", BASE | FILES_RW | THREADS | INOTIFY, 0, LANDLOCK_ALL, 0 },
	[CONFINE_SESSION_POP3] = { "pop3 session", BASE | FILES_RW | THREADS | INOTIFY, 0, LANDLOCK_ALL, 0 },
	/* Starts sessions and the key worker: holds what they need (the latter locks its keys into memory); makes the homes of the suite's own users (CHOWN). Landlock
	 * would be theirs as well and cannot know their mail trees. */
	[CONFINE_AUTH_MONITOR] = { "auth monitor",
		BASE | RELAY | LOCK_MEMORY | MEM_EXEC | ACCEPT | UNIX_CONNECT | FILES_RW | FS_OWN | INOTIFY | FORK | THREADS | EXEC | KILL | SETID | CONFINE, R_ROOT,
		LANDLOCK_NONE,
		CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SYS_CHROOT) | CAP_BIT(CAP_KILL) | CAP_BIT(CAP_DAC_READ_SEARCH) },
	[CONFINE_AUTH_SASL] = { "auth sasl", BASE | FORK | KILL | CONFINE, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	[CONFINE_AUTH_MUX] = { "auth mux", BASE | ACCEPT, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	/* PAM loads its modules late and tries a helper program and the audit socket; it goes on without them. */
	[CONFINE_AUTH_CHECK] = { "auth check", BASE | MEM_EXEC | FS_READ | FORK | KILL | CONFINE, R_ALLOW_EXEC, LANDLOCK_ALL, 0 },
	[CONFINE_AUTH_KEY] = { "auth key", BASE | ACCEPT | LOCK_MEMORY, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	[CONFINE_AUTH_GATHER] = { "auth gather", BASE | MEM_EXEC | FS_READ | UNIX_CONNECT | FORK, R_ALLOW_EXEC, LANDLOCK_ALL, 0 },
	/* Threads: syncs run beside the loop. */
	[CONFINE_QUEUE] = { "queue", BASE | ACCEPT | UNIX_CONNECT | FILES_RW | THREADS, 0, LANDLOCK_ALL, 0 },
	[CONFINE_RESOLVE] = { "resolve", BASE | FS_READ, 0, LANDLOCK_ALL, 0 },
	[CONFINE_SPAWN] = { "spawn", BASE | MEM_EXEC | FILES_RW | FORK | EXEC | KILL | SETID | CONFINE, R_NO_NNP, LANDLOCK_EXEC_ONLY,
		CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SYS_CHROOT) },
	/* What it starts (as others) is not ours and may need anything that an ordinary program does; the agent sets no_new_privs before each. */
	[CONFINE_PROGRAMS] = { "spawn of programs",
		BASE | RELAY | LOCK_MEMORY | MEM_EXEC | ACCEPT | UNIX_CONNECT | NET_OUT | FILES_RW | FS_OWN | FD_WRITE | INOTIFY | FORK | THREADS | EXEC | KILL | SETID |
			CONFINE,
		R_NO_NNP, LANDLOCK_NONE, CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SYS_CHROOT) },
	[CONFINE_DELIVER] = { "deliver", BASE | FILES_RW, 0, LANDLOCK_ALL, 0 },
	/* The dispatcher; its workers inherit the filter, and a limit takes fork from them. */
	[CONFINE_REMOTE] = { "remote", BASE | NET_OUT | NET_SOURCE | FORK | KILL, 0, LANDLOCK_ALL, 0 },
	/* Its filter is inherited by the doors. */
	[CONFINE_FILTER] = { "filter monitor", BASE | ACCEPT | UNIX_CONNECT | MEM_EXEC | FILES_RW | FD_WRITE | MEMFILE | FORK | THREADS | KILL | CONFINE, 0, LANDLOCK_ALL, 0 },
	/* Its filter is inherited by the doors. */
	[CONFINE_DOORS] = { "filter doors", BASE | ACCEPT | FS_READ | FD_WRITE | MEMFILE | FORK | CONFINE, 0, LANDLOCK_ALL, 0 },
	[CONFINE_DOOR] = { "filter door", BASE | ACCEPT | FD_WRITE | MEMFILE, 0, LANDLOCK_ALL, 0 },
	/* libclamav makes, lists and removes directories of its own; links, sockets and other processes are not its business (measured). */
	[CONFINE_SCAN] = { "scan", BASE | FS_READ | FS_WRITE | THREADS, 0, LANDLOCK_ALL, 0 },
	[CONFINE_LOG] = { "log", BASE | FS_READ | FS_WRITE | UNIX_CONNECT, 0, LANDLOCK_ALL, 0 },
	[CONFINE_METRICS] = { "metrics", BASE | ACCEPT, R_EMPTY_ROOT, LANDLOCK_ALL, 0 },
	[CONFINE_DNS] = { "dns", BASE | ACCEPT | NET_OUT | FS_READ, 0, LANDLOCK_ALL, 0 },
	[CONFINE_POLICY] = { "policy", BASE | NET_OUT | UNIX_CONNECT | FD_WRITE | MEMFILE, 0, LANDLOCK_ALL, 0 },
	[CONFINE_STS] = { "sts", BASE | NET_OUT | FILES_RW, 0, LANDLOCK_ALL, 0 },
	[CONFINE_REPORT] = { "report", BASE | FS_READ | FS_WRITE | UNIX_CONNECT, 0, LANDLOCK_ALL, 0 },
	[CONFINE_IMPORT] = { "import", BASE | FILES_RW | INOTIFY, 0, LANDLOCK_ALL, 0 },
};

const char *confine_role_name(enum confine_role role)
{
	return (unsigned)role < CONFINE_MAX_ ? confine_roles[role].name : "?";
}

/* --- who --- */

enum { GROUPS_MAX = 32, USERS_MAX = 32, USER_NAME_MAX = 63 };

struct identity {
	char name[USER_NAME_MAX + 1];
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX];
	size_t n_groups;
};

static struct identity users[USERS_MAX];
static size_t n_users;

static bool is_member(const struct group *g, const char *name)
{
	for (char **m = g->gr_mem; m && *m; m++)
		if (strcmp(*m, name) == 0)
			return true;
	return false;
}

static void find_groups(struct identity *id)
{
	id->groups[id->n_groups++] = id->gid;
	FILE *f = fopen("/etc/group", "re");
	if (!f)
		return;
	for (const struct group *g; (g = fgetgrent(f)) && id->n_groups < GROUPS_MAX;)
		if (g->gr_gid != id->gid && is_member(g, id->name))
			id->groups[id->n_groups++] = g->gr_gid;
	(void)fclose(f);
}

/* The suite's users are in the files themselves: no name service module is ever loaded into a root process. */
static const struct identity *find_user(const char *name, struct err *e)
{
	for (size_t i = 0; i < n_users; i++)
		if (strcmp(users[i].name, name) == 0)
			return &users[i];
	if (strlen(name) > USER_NAME_MAX || n_users == USERS_MAX) {
		(void)err_set(e, ERR_CONF, 0, "user %.70s: name too long, or too many users", name);
		return NULL;
	}
	FILE *f = fopen("/etc/passwd", "re");
	if (!f) {
		(void)err_set(e, ERR_TEMP, errno, "/etc/passwd");
		return NULL;
	}
	struct identity *id = NULL;
	for (const struct passwd *pw; !id && (pw = fgetpwent(f));) {
		if (strcmp(pw->pw_name, name) != 0)
			continue;
		id = &users[n_users];
		*id = (struct identity){ .uid = pw->pw_uid, .gid = pw->pw_gid };
		memcpy(id->name, name, strlen(name) + 1);
	}
	(void)fclose(f);
	if (!id) {
		(void)err_set(e, ERR_CONF, 0, "user %s does not exist (in /etc/passwd)", name);
		return NULL;
	}
	find_groups(id);
	n_users++;
	return id;
}

int confine_user(const char *name, uid_t *uid_out, gid_t *gid_out, struct err *e)
{
	const struct identity *id = find_user(name, e);
	if (!id)
		return -1;
	*uid_out = id->uid;
	*gid_out = id->gid;
	return 0;
}

/* What confine asks for; *change_out false: keep what we are. */
static int wanted_identity(const struct confine *c, struct identity *out, bool *change_out, struct err *e)
{
	*change_out = c->user || c->uid != 0;
	*out = (struct identity){ .uid = c->uid, .gid = c->gid, .groups = { c->gid }, .n_groups = 1 };
	if (c->user) {
		const struct identity *id = find_user(c->user, e);
		if (!id)
			return -1;
		*out = *id;
	}
	if (*change_out && out->uid == 0)
		return err_set(e, ERR_CONF, 0, "user %s has uid 0", c->user ? c->user : "");
	return 0;
}

static int become(const struct identity *id, struct err *e)
{
	if (geteuid() != 0) {	/* an ordinary user may only stay what he is */
		if (getuid() == id->uid && geteuid() == id->uid)
			return 0;
		return err_set(e, ERR_DENIED, 0, "only root can become uid %u", (unsigned)id->uid);
	}
	if (setgroups(id->n_groups, id->groups) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot become uid %u", (unsigned)id->uid);
	return 0;
}

/* Nothing may lead back to root. */
static int check_dropped(const struct identity *id, struct err *e)
{
	uid_t r, f, s;
	gid_t gr, gf, gs;
	if (getresuid(&r, &f, &s) < 0 || r != id->uid || f != id->uid || s != id->uid || getresgid(&gr, &gf, &gs) < 0 || gr != id->gid || gf != id->gid ||
	    gs != id->gid)
		return err_set(e, ERR_BUG, 0, "identity is not what it should be");
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setuid(0) == 0)
		return err_set(e, ERR_BUG, 0, "root could be regained");
	return 0;
}

/* --- capabilities --- */

static int caps_set(uint64_t caps, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		const uint32_t word = (uint32_t)(caps >> (32 * i));
		data[i] = (struct __user_cap_data_struct){ .effective = word, .permitted = word };
	}
	if (syscall(__NR_capset, &head, data) < 0)
		return err_set(e, ERR_BUG, errno, "capabilities");
	return 0;
}

/* What no program that is executed from here on can have. */
static int caps_bound(uint64_t caps, struct err *e)
{
	for (int cap = 0; cap < 64; cap++) {
		const int has = prctl(PR_CAPBSET_READ, cap);
		if (has < 0)
			break;		/* the kernel's last one was before */
		if (has > 0 && !(caps & CAP_BIT(cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
			return err_set(e, ERR_BUG, errno, "capability bounding set");
	}
	return 0;
}

/* --- root directory --- */

static int check_empty_root(const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_CONF, errno, "%s: no such directory", path);
	if (st.st_uid != 0 || (st.st_mode & 022))
		return err_set(e, ERR_CONF, 0, "%s must belong to root and be writable by nobody else", path);
	DIR *d = opendir(path);
	if (!d)
		return err_set(e, ERR_CONF, errno, "%s", path);
	size_t n = 0;
	for (const struct dirent *de; (de = readdir(d));)
		n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	(void)closedir(d);
	return n ? err_set(e, ERR_CONF, 0, "%s must be empty", path) : 0;
}

static int enter_root(const struct confine_row *row, const char *path, struct err *e)
{
	if (!path || geteuid() != 0)	/* without root there is none to leave: Landlock holds alone */
		return 0;
	if ((row->flags & R_EMPTY_ROOT) && check_empty_root(path, e) < 0)
		return -1;
	if (chroot(path) < 0 || chdir("/") < 0)
		return err_set(e, ERR_CONF, errno, "chroot %s", path);
	return 0;
}

/* --- the walls --- */

static void limits_set(void)
{
	const struct rlimit none = { 0, 0 };
	(void)setrlimit(RLIMIT_CORE, &none);
}

static int no_dump(struct err *e)
{
	return prctl(PR_SET_DUMPABLE, 0) < 0 ? err_set(e, ERR_BUG, errno, "dumpable") : 0;
}

static int calls_enter(const struct confine_row *row, struct err *e)
{
	const bool exec_deadly = !(row->groups & EXEC) && !(row->flags & R_ALLOW_EXEC);
	return seccomp_enter(row->groups, exec_deadly ? EXEC : 0, e);
}

static int walls_enter(const struct confine_row *row, int *landlock_fd, struct err *e)
{
	if (!(row->flags & R_NO_NNP) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, ERR_BUG, errno, "no_new_privs");
	if (landlock_enter(landlock_fd, e) < 0)
		return -1;
	return calls_enter(row, e);
}

/* What the root directory is to us: it may be among the listed paths (under a chroot by another name). */
static int test_names(const struct confine_row *row, const struct confine *c, struct err *e)
{
	bool readable = false, writable = false;
	for (size_t i = 0; i < c->n_paths; i++) {
		const bool covers = c->root || strcmp(c->paths[i].path, "/") == 0;
		readable = readable || covers;
		writable = writable || (covers && c->paths[i].write);
	}
	if (!(readable && (row->groups & FS_READ)) && open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0)
		return err_set(e, ERR_BUG, 0, "the root directory could be opened");
	if (!(writable && (row->groups & FS_WRITE)) && open("/.postern-confined", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0)
		return err_set(e, ERR_BUG, 0, "a file could be made in the root directory");
	return 0;
}

/* A forbidden act must be refused. */
static int self_test(const struct confine_row *row, const struct confine *c, struct err *e)
{
	if (seccomp_check(e) < 0)
		return -1;
	if (!(row->groups & (UNIX_CONNECT | NET_OUT)) && socket(AF_INET, SOCK_STREAM, 0) >= 0)
		return err_set(e, ERR_BUG, 0, "a socket could be made");
	return row->scope == LANDLOCK_ALL ? test_names(row, c, e) : 0;
}

static int enter_confined(const struct confine_row *row, const struct confine *c, const struct identity *id, bool change, int *landlock_fd,
			  struct err *e)
{
	const bool early = row->flags & R_NO_NNP;
	const bool as_root = geteuid() == 0;
	if (as_root && caps_bound(row->caps, e) < 0 && early)
		return -1;	/* under no_new_privs it is one belt more: a process that was started without CAP_SETPCAP goes on */
	if (enter_root(row, c->root, e) < 0 || (early && walls_enter(row, landlock_fd, e) < 0))
		return -1;
	if (change && (become(id, e) < 0 || check_dropped(id, e) < 0))
		return -1;
	if ((row->flags & R_ROOT) && as_root && caps_set(row->caps, e) < 0)
		return -1;
	if (no_dump(e) < 0 || (!early && walls_enter(row, landlock_fd, e) < 0))
		return -1;
	return self_test(row, c, e);
}

static int enter(const struct confine *c, struct err *e)
{
	const struct confine_row *row = &confine_roles[c->role];
	struct identity id;
	bool change;
	int death = 0, landlock_fd = -1;
	if (wanted_identity(c, &id, &change, e) < 0)
		return -1;
	(void)prctl(PR_GET_PDEATHSIG, &death);	/* a change of identity clears it */
	limits_set();
	if (c->unconfined) {
		if (enter_root(row, c->root, e) < 0 || (change && (become(&id, e) < 0 || check_dropped(&id, e) < 0)))
			return -1;
	} else {
		if (landlock_prepare(row->scope, row->groups, c->paths, c->n_paths, &landlock_fd, e) < 0)
			return -1;
		if (enter_confined(row, c, &id, change, &landlock_fd, e) < 0) {
			close_fd(&landlock_fd);
			return -1;
		}
	}
	if (death)
		(void)prctl(PR_SET_PDEATHSIG, death);
	return 0;
}

#if defined(__SANITIZE_ADDRESS__)
/* The leak checker stops the process with ptrace at its end: it would hang in a confined one, and may not
 * look at one that has changed its identity. */
static bool confined;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return confined;
}
#endif

int confine_enter(const struct confine *c, struct err *e)
{
#if defined(__SANITIZE_ADDRESS__)
	confined = true;
#endif
	if ((unsigned)c->role >= CONFINE_MAX_)
		return err_set(e, ERR_BUG, 0, "no such role");
	return enter(c, e) < 0 ? err_wrap(e, "confinement of %s", confine_roles[c->role].name) : 0;
}

int confine_no_processes(struct err *e)
{
	return seccomp_refuse(FORK | KILL | EXEC | CONFINE, e) < 0 ? err_wrap(e, "confinement of a worker") : 0;
}

int confine_no_fork(struct err *e)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_NPROC, &none) < 0)
		return err_set(e, ERR_TEMP, errno, "RLIMIT_NPROC");
	return 0;
}

int confine_narrow_relay(struct err *e)
{
	return seccomp_only(RELAY, e);
}
