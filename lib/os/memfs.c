/* A file system in memory for one process and its children: bounded, gone with the last of them, and never seen by anybody else. */
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "os/os.h"

int memfs_private(const char *dir, const struct memfs *m, struct err *e)
{
	char how[128];
	struct statfs fs;

	if (statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		return 0;

	if (unshare(CLONE_NEWNS) < 0)
		return err_set(e, ERR_TEMP, errno, "a mount namespace of its own");
	/* What others mount later is seen here, what is mounted here stays here. */
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_set(e, ERR_TEMP, errno, "mounts of its own");
	(void)snprintf(how, sizeof(how), "size=%llu,nr_inodes=%llu,mode=0700,uid=%u,gid=%u", (unsigned long long)m->bytes,
		       (unsigned long long)m->files, (unsigned)m->uid, (unsigned)m->gid);
	if (mount("postern", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, how) < 0)
		return err_set(e, ERR_TEMP, errno, "mount %s", dir);
	return 0;
}
