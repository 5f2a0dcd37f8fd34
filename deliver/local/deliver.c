/* deliver: the setuid agent (4710 root:_postern_mda) that becomes the recipient before it opens anything of theirs. This file is all that runs as root:
 *
 *	deliver ACCOUNTS_CDB POLICY USER		descriptor 0: channel to queued (lib/ipc/deliver.def)
 *	deliver ACCOUNTS_CDB POLICY ALIAS alias		for the commands, files and include lists of an alias
 *
 * Nothing the caller left behind is used: descriptors, environment, signals, timers, limits, umask, directory. uid, gid and paths come
 * from the root-owned accounts.cdb alone; for an alias, from the first compiled map that has it: its owner, and where that is root the unprivileged
 * default_privs. What may be run is read from that map here, and what is allowed at all, the lowest uid, and the maps from the root-owned POLICY that queued's
 * parent writes: nothing is believed from a caller. No heap, no NSS, no PAM, no TLS before the drop; what follows it is
 * deliver_user.c. Exit statuses are those of sysexits.h; whatever is not said otherwise is EX_TEMPFAIL.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/num.h"
#include "deliver/local/deliver_priv.h"
#include "os/confine.h"
#include "os/os.h"

extern char **environ;

enum { FILES_MAX = 64, LIFE_S = 900, VALUE_MAX = 4096, ALIAS_VALUE_MAX = 1 << 18, CDB_HEAD = 2048, PATH_BYTES_MAX = 1100 };

/* --- the world we were born into --- */

static void reset_signals(void)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL }, ign = { .sa_handler = SIG_IGN };
	const struct itimerval off = { 0 }, life = { .it_value.tv_sec = LIFE_S };
	sigset_t none;

	(void)setitimer(ITIMER_REAL, &life, NULL);	/* SIGALRM ends one that hangs in a file system of the user's own */
	(void)setitimer(ITIMER_VIRTUAL, &off, NULL);
	(void)setitimer(ITIMER_PROF, &off, NULL);
	for (int s = 1; s < NSIG; s++) {
		(void)sigaction(s, &ign, NULL);		/* drops one that waits to be let through */
		(void)sigaction(s, &dfl, NULL);
	}
	(void)sigaction(SIGPIPE, &ign, NULL);
	(void)sigaction(SIGXFSZ, &ign, NULL);	/* a file size limit is EFBIG: temporary */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit(int what, rlim_t soft)
{
	struct rlimit r;

	if (getrlimit((__rlimit_resource_t)what, &r) < 0)
		return;
	r.rlim_cur = soft == RLIM_INFINITY || soft > r.rlim_max ? r.rlim_max : soft;
	if (what == RLIMIT_CORE)
		r.rlim_max = 0;
	(void)setrlimit((__rlimit_resource_t)what, &r);
}

static int reset_files(void)
{
	int null;

	(void)syscall(SYS_close_range, 1u, ~0u, 0);
	null = open("/dev/null", O_RDWR);
	if (null < 0)
		return -1;
	for (int fd = 1; fd <= 2; fd++)
		if (null != fd && dup2(null, fd) != fd)
			return -1;
	if (null > 2)
		(void)close(null);
	return 0;
}

static int is_channel(int fd)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(domain), m = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m) == 0 && domain == AF_UNIX &&
	       type == SOCK_SEQPACKET;
}

static int reset_world(void)
{
	static char *nothing[] = { NULL };

	environ = nothing;
	if (reset_files() < 0 || !is_channel(DELIVER_CHANNEL))
		return -1;
	reset_signals();
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, RLIM_INFINITY);
	limit(RLIMIT_CPU, RLIM_INFINITY);
	limit(RLIMIT_STACK, 8 << 20);
	limit(RLIMIT_NOFILE, FILES_MAX);
	(void)umask(077);
	(void)prctl(PR_SET_DUMPABLE, 0);
	return chdir("/");
}

/* --- who the user is: a read of a constant database without heap (format: cr.yp.to/cdb; lib/map/cdbfile.c is the one for everybody else) --- */

static int read_at(int fd, void *p, size_t n, uint64_t off)
{
	ssize_t k;

	do
		k = pread(fd, p, n, (off_t)off);
	while (k < 0 && errno == EINTR);
	return k == (ssize_t)n ? 0 : -1;
}

static uint32_t cdb_hash(struct str key)
{
	uint32_t h = 5381;

	for (size_t i = 0; i < key.n; i++)
		h = (h + (h << 5)) ^ (unsigned char)key.p[i];
	return h;
}

/* 1: is the record at pos that of key; 0: no; -1: the file is damaged. On 1, *value_n bytes of value. */
static int cdb_record(int fd, uint64_t size, uint32_t pos, struct str key, char *value, size_t room, size_t *value_n)
{
	unsigned char head[8];
	char name[ACCOUNT_NAME_MAX + 64];

	if (pos < CDB_HEAD || (uint64_t)pos + 8 > size || read_at(fd, head, 8, pos) < 0)
		return -1;
	const uint32_t kn = get_le32(head), vn = get_le32(head + 4);
	if ((uint64_t)pos + 8 + kn + vn > size)
		return -1;
	if (kn != key.n || kn > sizeof(name))
		return 0;
	if (read_at(fd, name, kn, (uint64_t)pos + 8) < 0)
		return -1;
	if (memcmp(name, key.p, kn) != 0)
		return 0;
	if (vn > room || (vn > 0 && read_at(fd, value, vn, (uint64_t)pos + 8 + kn) < 0))
		return -1;
	*value_n = vn;
	return 1;
}

static int cdb_get(int fd, uint64_t size, struct str key, char *value, size_t room, size_t *value_n)
{
	const uint32_t h = cdb_hash(key);
	unsigned char b[8];

	if (read_at(fd, b, 8, (uint64_t)(h & 255) * 8) < 0)
		return -1;
	const uint32_t table = get_le32(b), slots = get_le32(b + 4);
	if (slots == 0)
		return 0;
	if (table < CDB_HEAD || (uint64_t)table + (uint64_t)slots * 8 > size)
		return -1;
	for (uint32_t i = 0; i < slots; i++) {
		const uint32_t slot = (uint32_t)(((uint64_t)(h >> 8) + i) % slots);
		if (read_at(fd, b, 8, (uint64_t)table + (uint64_t)slot * 8) < 0)
			return -1;
		if (get_le32(b + 4) == 0)
			return 0;
		if (get_le32(b) != h)
			continue;
		const int r = cdb_record(fd, size, get_le32(b + 4), key, value, room, value_n);
		if (r != 0)
			return r;
	}
	return 0;
}

/* A file that root alone can write, of min to max bytes. */
static int open_roots(const char *path, uint64_t min, uint64_t max, uint64_t *size_out)
{
	struct err e = { 0 };
	struct stat st;

	if (path_trusted(path, 0, &e) < 0)
		return -1;
	const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) || (uint64_t)st.st_size < min || (uint64_t)st.st_size > max) {
		(void)close(fd);
		return -1;
	}
	*size_out = (uint64_t)st.st_size;
	return fd;
}

/* --- what is allowed --- */

static int read_policy(const char *path, char out[DELIVER_POLICY_MAX + 1])
{
	uint64_t n = 0;
	const int fd = open_roots(path, sizeof(DELIVER_POLICY_MARK) - 1, DELIVER_POLICY_MAX, &n);
	const int r = fd < 0 ? -1 : read_at(fd, out, (size_t)n, 0);

	if (fd >= 0)
		(void)close(fd);
	out[r < 0 ? 0 : n] = '\0';
	return r == 0 && str_starts(str_n(out, (size_t)n), STR(DELIVER_POLICY_MARK)) ? 0 : -1;
}

/* The next value of this name ("name="); *rest goes on behind it. */
static bool policy_next(struct str *rest, const char *name, struct str *value_out)
{
	while (rest->n > 0) {
		const struct str line = str_split(rest, '\n');
		if (!str_starts(line, str_c(name)))
			continue;
		*value_out = str_from(line, strlen(name));
		return true;
	}
	return false;
}

static int policy_min_uid(const char *policy, uid_t *out)
{
	struct str rest = str_c(policy), value;
	uint64_t n;

	if (!policy_next(&rest, "min_uid=", &value) || num_parse(value, 1, UINT32_MAX - 1, &n) < 0)
		return -1;
	*out = (uid_t)n;
	return 0;
}

/* --- whose right an alias gives --- */

struct alias_map {
	uid_t owner;
	uint64_t size;
	int fd;
};

/* A map that its owner and root alone can write. */
static int open_map(const char *path, struct alias_map *out)
{
	struct err e = { 0 };
	struct stat st;

	out->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (out->fd < 0)
		return -1;
	if (fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 022) == 0 && st.st_size >= CDB_HEAD && st.st_size <= UINT32_MAX &&
	    path_trusted(path, st.st_uid, &e) == 0) {
		out->owner = st.st_uid;
		out->size = (uint64_t)st.st_size;
		return 0;
	}
	(void)close(out->fd);
	return -1;
}

/* "uid:gid" of default_privs. */
static int default_privs(const char *policy, uid_t *uid_out, gid_t *gid_out)
{
	struct str rest = str_c(policy), s;
	uint64_t uid, gid;

	if (!policy_next(&rest, "privs=", &s) || num_take(&s, UINT32_MAX - 1, &uid) < 0 || s.n == 0 || s.p[0] != ':')
		return -1;
	s = str_from(s, 1);
	if (num_take(&s, UINT32_MAX - 1, &gid) < 0 || uid == 0 || gid == 0)
		return -1;
	*uid_out = (uid_t)uid;
	*gid_out = (gid_t)gid;
	return 0;
}

/* The value of the alias in the first of policy's maps that has it. 1: found; 0; -1. */
static int look_up(const char *policy, struct str name, char *value, size_t *n_out, uid_t *owner_out)
{
	struct alias_map m = { .fd = -1 };
	struct str rest = str_c(policy), map;
	char path[PATH_BYTES_MAX];
	int r = 0;

	while (r == 0 && policy_next(&rest, "map=", &map)) {
		if (map.n >= sizeof(path))
			return -1;
		memcpy(path, map.p, map.n);
		path[map.n] = '\0';
		if (open_map(path, &m) < 0)
			return -1;	/* the alias may be in there */
		r = cdb_get(m.fd, m.size, name, value, ALIAS_VALUE_MAX, n_out);
		(void)close(m.fd);
	}
	*owner_out = m.owner;
	return r;
}

/* 0, or an exit status. */
static int find_alias(struct str name, const char *policy, uid_t min_uid, struct account *out, struct str *value_out)
{
	static char value[ALIAS_VALUE_MAX], folded[ACCOUNT_NAME_MAX + 1];
	uid_t uid, owner;
	gid_t gid;
	size_t n = 0;

	if (name.n == 0 || name.n > ACCOUNT_NAME_MAX)
		return EX_NOUSER;
	for (size_t i = 0; i < name.n; i++)
		folded[i] = ch_lower(name.p[i]);
	const int r = look_up(policy, str_n(folded, name.n), value, &n, &owner);
	if (r <= 0)
		return r == 0 ? EX_NOUSER : EX_TEMPFAIL;
	if (default_privs(policy, &uid, &gid) < 0)
		return EX_TEMPFAIL;
	if (owner != 0 && owner < min_uid)
		return EX_NOPERM;
	*out = (struct account){ .uid = owner ? owner : uid, .gid = gid, .home = "/" };
	memcpy(out->name, folded, name.n);
	*value_out = str_n(value, n);
	return 0;
}

/* 0, or an exit status. */
static int find_account(const char *path, struct str name, uid_t min_uid, struct account *out)
{
	static const struct str marker = { "\0postern-accounts", 17 };
	char value[VALUE_MAX], folded[ACCOUNT_NAME_MAX + 1];
	struct err e = { 0 };
	uint64_t size = 0;
	size_t n = 0;

	if (!account_name_valid(name))
		return EX_NOUSER;
	for (size_t i = 0; i < name.n; i++)
		folded[i] = ch_lower(name.p[i]);
	folded[name.n] = '\0';
	const int fd = open_roots(path, CDB_HEAD, UINT32_MAX, &size);
	if (fd < 0)
		return EX_TEMPFAIL;
	int r = cdb_get(fd, size, marker, value, sizeof(value), &n);
	if (r == 1)
		r = cdb_get(fd, size, str_n(folded, name.n), value, sizeof(value), &n);
	else
		r = -1;		/* not a file that the monitor installed */
	(void)close(fd);
	if (r <= 0)
		return r == 0 ? EX_NOUSER : EX_TEMPFAIL;
	if (account_parse(str_n(folded, name.n), str_n(value, n), out, &e) < 0)
		return EX_TEMPFAIL;
	if (out->uid == 0 || out->gid == 0 || out->uid < min_uid || (out->flags & ACCOUNT_F_DISABLED))
		return EX_NOPERM;
	return 0;
}

/* --- the drop --- */

static bool is_only(uid_t uid, gid_t gid)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	return getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0 && r == uid && e == uid && s == uid && rg == gid && eg == gid && sg == gid;
}

static int become(uid_t uid, gid_t gid)
{
	(void)prctl(PR_SET_KEEPCAPS, 0);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setuid(0) == 0 || setresgid((gid_t)-1, 0, (gid_t)-1) == 0 || setgid(0) == 0 || !is_only(uid, gid) ||
	    getgroups(0, NULL) != 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0);
}

int main(int argc, char **argv)
{
	static struct account acct;
	static char policy[DELIVER_POLICY_MAX + 1];
	struct str alias = { 0 };
	uid_t min_uid;
	int r;

	if (argc < 4 || argc > 5 || argv[0] == NULL || (argc == 5 && strcmp(argv[4], "alias") != 0))
		return EX_USAGE;
	if (geteuid() != 0 || reset_world() < 0 || read_policy(argv[2], policy) < 0 || policy_min_uid(policy, &min_uid) < 0)
		return EX_TEMPFAIL;
	r = argc == 5 ? find_alias(str_c(argv[3]), policy, min_uid, &acct, &alias) : find_account(argv[1], str_c(argv[3]), min_uid, &acct);
	if (r != 0)
		return r;
	if (become(acct.uid, acct.gid) < 0)
		return EX_TEMPFAIL;
	return deliver_serve(&acct, policy, alias);
}
