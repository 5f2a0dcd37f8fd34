/* See proc_files.h. */
#include "admin/postern/proc_files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

struct str proc_file(pid_t pid, const char *name, struct buf *b)
{
	char path[64];
	FILE *f;

	buf_reset(b);
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	f = fopen(path, "re");
	if (!f)
		return STR("");
	char *room = buf_room(b, PROC_FILE_MAX);
	const size_t n = room ? fread(room, 1, PROC_FILE_MAX, f) : 0;

	buf_added(b, n);
	fclose(f);
	return buf_view(b);
}

const char *proc_program(pid_t pid, char *out, size_t size)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	const ssize_t n = readlink(path, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	return out;
}

bool proc_stands_in(pid_t pid, const char *dir)
{
	char exe[PATH_MAX];
	const char *slash = strrchr(proc_program(pid, exe, sizeof(exe)), '/');

	return slash && strlen(dir) == (size_t)(slash - exe) && strncmp(exe, dir, (size_t)(slash - exe)) == 0;
}

void proc_each(proc_fn *fn, void *ctx)
{
	DIR *d = opendir("/proc");

	for (struct dirent *ent; d && (ent = readdir(d));) {
		uint64_t pid;
		if (num_parse(str_c(ent->d_name), 1, INT_MAX, &pid) == 0)
			fn(ctx, (pid_t)pid);
	}
	if (d)
		closedir(d);
}
