/* Removal of a home. */
#include "authd/user_remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/confine.h"

enum { DEPTH_MAX = 64, REMOVE_TRIES = 50, REMOVE_PAUSE_NS = 100000000 };

/* Remove what is in the open directory; nothing is followed. Runs as the user, so a name moved meanwhile harms nobody else. */
static int tree_remove(int dir, unsigned depth)
{
	DIR *d = fdopendir(dir);
	int rc = 0;

	if (!d)
		return -1;
	for (const struct dirent *de; (de = readdir(d));) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), de->d_name, 0) == 0)
			continue;
		const int sub = openat(dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || depth == DEPTH_MAX || tree_remove(sub, depth + 1) < 0 || unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR) < 0)
			rc = -1;
	}
	closedir(d);
	return rc;
}

int user_home_remove(const struct account *a, struct err *e)
{
	int status = 0;
	const pid_t pid = fork();

	if (pid < 0)
		return err_set(e, ERR_TEMP, errno, "fork");
	if (pid == 0) {
		const struct confine c = { .role = CONFINE_DELIVER, .uid = a->uid, .gid = a->gid, .unconfined = true };
		struct err why = { 0 };
		int dir = -1;

		if (confine_enter(&c, &why) == 0)
			dir = open(a->home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int left = -1;
		/* A session that ends writes its last meanwhile. */
		for (int i = 0; dir >= 0 && left < 0 && i < REMOVE_TRIES; i++) {
			const struct timespec pause = { .tv_nsec = i ? REMOVE_PAUSE_NS : 0 };
			(void)nanosleep(&pause, NULL);
			left = tree_remove(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
		}
		_exit(left == 0 ? 0 : 1);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0 || rmdir(a->home) < 0)
		return err_set(e, ERR_TEMP, 0, "%s could not be removed completely", a->home);
	return 0;
}
