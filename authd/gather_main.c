/* authd-gather: reads who has mail, as an ordinary user without writable files: the users file (a descriptor that the monitor opened) and
 * passwd(5) with whatever name services the machine uses. What it says is not believed: the monitor checks each account and computes
 * paths and uid ranges itself. One run, one list, exit. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/helper.h"
#include "authd/users.h"
#include "base/arena.h"
#include "base/map.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "map/accounts.h"
#include "os/os.h"

enum { WAIT_MS = 10000, UID_NOBODY = 65534 };

static uint64_t sent;

static int send_account(const struct ipc_helper_ACCOUNT *a, struct err *e)
{
	sent++;
	return ipc_send_fd(HELPER_CHANNEL, &ipc_helper, IPC_helper_ACCOUNT, a, 1, -1, e);
}

static int gather_virtual(const struct users *u, struct err *e)
{
	for (size_t i = 0; i < u->n; i++) {
		const struct user_row *r = &u->v[i];
		const struct ipc_helper_ACCOUNT a = { .name = r->name, .uid = r->uid, .gid = r->uid, .virtual = 1, .disabled = r->disabled,
						      .quota = r->quota_bytes, .quota_count = r->quota_count };

		if (!r->system && send_account(&a, e) < 0)
			return -1;
	}
	return 0;
}

/* getpwent says in the same way that there is no more, and that it cannot go on. What was never there, or is not for this process, is no trouble. */
static bool is_trouble(int why)
{
	return why != 0 && why != ENOENT && why != ESRCH && why != EACCES && why != EPERM;
}

/* *trouble: what name services had. */
static int gather_system(const struct users *u, uint64_t min_uid, const struct conf *c, struct err *trouble, struct err *e)
{
	const uint64_t v_from = c->virtual_uid_base, v_to = v_from + c->virtual_uid_count;
	struct map *notes = map_new();
	const struct passwd *pw;
	int rc = 0;

	for (size_t i = 0; i < u->n; i++)
		(void)map_set(notes, u->v[i].name, &u->v[i]);
	setpwent();
	while (rc == 0 && (errno = 0, pw = getpwent()) != NULL) {
		const struct str name = str_c(pw->pw_name), home = str_c(pw->pw_dir);

		if (pw->pw_uid < min_uid || pw->pw_uid == UID_NOBODY || pw->pw_uid == (uid_t)-1 ||
		    (pw->pw_uid >= v_from && pw->pw_uid < v_to) || !account_name_valid(name) || home.n >= ACCOUNT_PATH_MAX)
			continue;
		const struct user_row *r = map_get(notes, name);
		if (r && !r->system)
			continue;	/* the suite's own user of that name comes first */
		const struct ipc_helper_ACCOUNT a = { .name = name, .uid = pw->pw_uid, .gid = pw->pw_gid, .home = home,
						      .disabled = r ? r->disabled : 0, .quota = r ? r->quota_bytes : 0,
						      .quota_count = r ? r->quota_count : 0 };
		rc = send_account(&a, e);
	}
	if (rc == 0 && is_trouble(errno))
		(void)!err_set(trouble, ERR_TEMP, errno, "passwd(5) could not be read to its end");
	endpwent();
	map_free(&notes);
	return rc;
}

static int read_all(int fd, struct buf *out, struct err *e)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		buf_mem(out, chunk, (size_t)n);
	if (n < 0)
		return err_set(e, ERR_TEMP, 0, "users file: read error");
	return buf_check(out, "users file", e);
}

static int gather(const struct conf *c, const struct ipc_helper_GATHER *g, int fd, struct err *trouble, struct err *e)
{
	struct arena *a = arena_new(0);
	struct users u = { 0 };
	struct buf text;

	buf_init(&text, USERS_FILE_MAX);
	int rc = read_all(fd, &text, e);
	if (rc == 0 && users_parse(buf_view(&text), (uint32_t)c->virtual_uid_base, (uint32_t)c->virtual_uid_count, a, &u, e) < 0)
		rc = err_wrap(e, "users file");
	if (rc == 0)
		rc = gather_virtual(&u, e);
	if (rc == 0 && g->system)
		rc = gather_system(&u, g->min_uid, c, trouble, e);
	buf_fini(&text);
	arena_free(&a);
	return rc;
}

int main(int argc, char **argv)
{
	struct helper h;
	struct arena *a = arena_new(0);
	struct err trouble = { 0 }, e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	helper_init(&h, argc, argv, "gather");
	static const char *const system[] = { "/etc", "/usr", "/lib", "/lib64", "/run", "/var/lib/sss", "/dev/null", "/dev/urandom" };
	struct confine_path paths[ARRAY_LEN(system)];
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(system); i++) {
		struct stat st;

		if (stat(system[i], &st) == 0)
			paths[n++] = (struct confine_path){ .path = system[i] };
	}
	helper_confine(&h, CONFINE_AUTH_GATHER, h.conf->user_map, paths, n);
	helper_setup(&h);
	if (ipc_recv_fd(HELPER_CHANNEL, &ipc_helper, WAIT_MS, a, &type, &id, &msg, &fd, &e) < 0 || type != IPC_helper_GATHER)
		return 0;
	struct ipc_helper_GATHERED done = { 0 };
	if (gather(h.conf, msg, fd, &trouble, &e) < 0)
		done.error = str_c(e.text);
	done.trouble = str_c(trouble.text);
	done.count = sent;
	(void)!ipc_send_fd(HELPER_CHANNEL, &ipc_helper, IPC_helper_GATHERED, &done, 1, -1, &e);
	return 0;
}
