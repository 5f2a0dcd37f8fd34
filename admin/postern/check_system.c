/* The machine around the configuration: users, directories and their rights, the setuid agent. */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "admin/postern/check.h"
#include "os/os.h"

/* --- users --- */

static void check_users(struct check *c)
{
	const struct conf *o = c->conf;
	const struct {
		const char *param, *name;
	} users[] = {
		{ "user_smtp", o->user_smtp },	   { "user_imap", o->user_imap },
		{ "user_pop3", o->user_pop3 },	   { "user_sasl", o->user_sasl },
		{ "user_pam", o->user_pam },	   { "user_key", o->user_key },
		{ "user_queue", o->user_queue },   { "user_map", o->user_map },
		{ "user_mda", o->user_mda },	   { "user_remote", o->user_remote },
		{ "user_filter", o->user_filter }, { "user_log", o->user_log },
		{ "user_dns", o->user_dns },	   { "user_policy", o->user_policy },
		{ "user_milter", o->user_milter },
		{ "user_spamd", o->user_spamd },
		{ "user_sts", o->user_sts },
	};

	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		const struct passwd *pw = getpwnam(users[i].name);

		if (!pw)
			found_param(c, SEV_ERROR, users[i].param,
				    "no user \"%s\" (useradd -r -M -s /usr/sbin/nologin -U %s)",
				    users[i].name, users[i].name);
		else if (pw->pw_uid == 0)
			found_param(c, SEV_ERROR, users[i].param, "\"%s\" is root", users[i].name);
		for (size_t k = 0; pw && k < i; k++)
			if (strcmp(users[k].name, users[i].name) == 0)
				found_param(c, SEV_WARNING, users[i].param,
					    "the same user as %s: the wall between them is gone",
					    users[k].param);
	}
}

/* --- directories and files --- */

static void check_directory(struct check *c, const char *param, const char *path, const char *owner,
			    bool must_be)
{
	const struct passwd *pw = owner ? getpwnam(owner) : NULL;
	const uid_t uid = pw ? pw->pw_uid : 0;
	struct stat st;

	if (stat(path, &st) < 0) {
		if (must_be)
			found_param(c, SEV_WARNING, param, "%s does not exist yet", path);
		return;
	}
	if (!S_ISDIR(st.st_mode))
		found_param(c, SEV_ERROR, param, "%s is not a directory", path);
	if (st.st_uid != uid && st.st_uid != 0)
		found_param(c, SEV_ERROR, param, "%s belongs to uid %u (allowed: %s)", path,
			    (unsigned)st.st_uid, owner ? owner : "root");
	if (st.st_mode & 022)
		found_param(c, SEV_ERROR, param, "%s: mode %04o: group or others may write it",
			    path, (unsigned)st.st_mode & 07777);
}

static void check_space(struct check *c)
{
	struct statvfs vfs;

	if (statvfs(c->conf->queue_directory, &vfs) < 0)
		return;
	const uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize,
		       needed = c->conf->message_size_limit + c->conf->message_size_limit / 2;

	if (free_bytes < needed || free_bytes < c->conf->queue_minfree)
		found_param(c, SEV_ERROR, "queue_directory",
			    "%s has %llu bytes free: mail is refused (1.5 x message_size_limit and "
			    "queue_minfree are kept)",
			    c->conf->queue_directory, (unsigned long long)free_bytes);
}

void check_secret(struct check *c, const char *param, const char *path)
{
	struct stat st;

	if (!path[0])
		return;
	if (stat(path, &st) < 0) {
		found_param(c, SEV_ERROR, param, "%s cannot be read", path);
		return;
	}
	if (st.st_uid != 0 && geteuid() == 0)
		found_param(c, SEV_ERROR, param, "%s belongs to uid %u, must belong to root", path,
			    (unsigned)st.st_uid);
	if (st.st_mode & 077)
		found_param(c, SEV_ERROR, param,
			    "%s: mode %04o: others than root may read it (chmod 600)", path,
			    (unsigned)st.st_mode & 07777);
}

static void check_agent(struct check *c)
{
	const struct group *gr = getgrnam(c->conf->user_mda);
	const char *path = arena_printf(c->a, "%s/deliver", c->conf->libexec_directory);
	struct stat st;

	if (stat(path, &st) < 0) {
		found_param(c, SEV_ERROR, "libexec_directory",
			    "%s is missing: no local mail can be delivered", path);
		return;
	}
	if (geteuid() == 0 &&
	    (st.st_uid != 0 || (st.st_mode & 07777) != 04710 || (gr && st.st_gid != gr->gr_gid)))
		found(c, SEV_ERROR, path, "", "must be 4710 root:%s, is %04o %u:%u",
		      c->conf->user_mda, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid,
		      (unsigned)st.st_gid);
}

void check_system(struct check *c)
{
	check_users(c);
	check_directory(c, "run_directory", c->conf->run_directory, NULL, false);
	check_directory(c, "state_directory", c->conf->state_directory, NULL, true);
	check_directory(c, "queue_directory", c->conf->queue_directory, c->conf->user_queue, true);
	check_space(c);
	check_agent(c);
}
