/* A file system in memory for one process and its children: bounded, gone with the last of them, and never seen by anybody else. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "os/os.h"

enum { FILES_MAX = 4096 };

int memfs_private(const char *dir, uint64_t bytes, uid_t uid, gid_t gid, struct err *e)
{
	char how[128];

	if (unshare(CLONE_NEWNS) < 0)
		return err_set(e, ERR_TEMP, errno, "a mount namespace of its own");
	/* What others mount later is seen here, what is mounted here stays here. */
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_set(e, ERR_TEMP, errno, "mounts of its own");
	(void)snprintf(how, sizeof(how), "size=%llu,nr_inodes=%d,mode=0700,uid=%u,gid=%u", (unsigned long long)bytes, FILES_MAX, (unsigned)uid, (unsigned)gid);
	if (mount("postern", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, how) < 0)
		return err_set(e, ERR_TEMP, errno, "mount %s", dir);
	return 0;
}
