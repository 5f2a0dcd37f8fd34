/* Quota of one account, as Maildir++ does it: the sum of all messages' sizes is kept in the file maildirsize of the INBOX (first line "NS", then one "BYTES COUNT"
 * line per change), appended to at each delivery, and counted anew when it is old, long, or says that the mailbox is full (expunges by others are not
 * written there). Overshoot is at most what is being delivered at the same time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "deliver/deliver_priv.h"
#include "os/os.h"
#include "store/maildir.h"

enum { FILE_BYTES_MAX = 5120, FILE_AGE_S = 900 };

static const char FILE_NAME[] = "maildirsize";

/* Sum over INBOX and every folder. */
static int count_all(int rootfd, uint64_t *bytes_out, uint64_t *count_out, struct err *e)
{
	uint64_t bytes = 0, count = 0, b, n;
	const int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		return err_set(e, ERR_TEMP, errno, "quota");
	for (struct dirent *de; (de = readdir(d)) != NULL;) {
		CLEANUP_FD int folder = -1;
		const char *name = de->d_name;
		if (name[0] != '.' || strcmp(name, "..") == 0)
			continue;
		if (maildir_open_at(rootfd, strcmp(name, ".") == 0 ? "" : name, false, &folder, e) < 0 || maildir_usage(folder, &b, &n, e) < 0) {
			err_clear(e);	/* not a folder, or not a sane one */
			continue;
		}
		if (num_add(bytes, b, &bytes))
			bytes = UINT64_MAX;
		count += n;
	}
	closedir(d);
	*bytes_out = bytes;
	*count_out = count;
	return 0;
}

/* 0: *bytes_out from the file; 1: absent, old, long or odd. */
static int read_sum(int rootfd, uint64_t quota_bytes, uint64_t *bytes_out)
{
	char text[FILE_BYTES_MAX + 1];
	struct stat st;
	int64_t sum = 0;

	CLEANUP_FD int fd = openat(rootfd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX || st.st_mtime > clock_wall() ||
	    st.st_mtime < clock_wall() - FILE_AGE_S)
		return 1;
	const ssize_t k = read(fd, text, FILE_BYTES_MAX);
	if (k <= 0)
		return 1;
	struct str rest = str_n(text, (size_t)k), head = str_split(&rest, '\n');
	uint64_t v;
	if (num_take(&head, UINT64_MAX, &v) < 0 || v != quota_bytes || !str_eq(head, STR("S")))
		return 1;
	while (rest.n > 0) {
		struct str line = str_split(&rest, '\n');
		const bool minus = line.n > 0 && line.p[0] == '-';
		if (minus)
			line = str_from(line, 1);
		if (num_take(&line, INT64_MAX / 4, &v) < 0 || __builtin_add_overflow(sum, minus ? -(int64_t)v : (int64_t)v, &sum))
			return 1;
	}
	*bytes_out = sum < 0 ? 0 : (uint64_t)sum;
	return 0;
}

static int recount(int rootfd, uint64_t quota_bytes, uint64_t *bytes_out, struct err *e)
{
	char text[100];
	uint64_t count;

	if (count_all(rootfd, bytes_out, &count, e) < 0)
		return -1;
	snprintf(text, sizeof(text), "%lluS\n%llu %llu\n", (unsigned long long)quota_bytes, (unsigned long long)*bytes_out, (unsigned long long)count);
	struct err ignored = { 0 };
	if (file_replace_at(rootfd, FILE_NAME, str_c(text), 0600, &ignored) < 0)
		return 0;	/* counted again next time */
	return 0;
}

int quota_check(int rootfd, uint64_t quota_bytes, uint64_t size, struct err *e)
{
	uint64_t used;

	if (quota_bytes == 0)
		return 0;
	const bool known = read_sum(rootfd, quota_bytes, &used) == 0;
	if (known && used <= quota_bytes && size <= quota_bytes - used)
		return 0;
	if (recount(rootfd, quota_bytes, &used, e) < 0)
		return -1;
	return used <= quota_bytes && size <= quota_bytes - used ? 0 : err_set(e, ERR_QUOTA, 0, "mailbox is full");
}

void quota_add(int rootfd, uint64_t size)
{
	char line[40];
	CLEANUP_FD int fd = openat(rootfd, FILE_NAME, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const int n = snprintf(line, sizeof(line), "%llu 1\n", (unsigned long long)size);
	struct err e = { 0 };

	if (fd >= 0 && write_all(fd, line, (size_t)n, &e) < 0)
		(void)unlinkat(rootfd, FILE_NAME, 0);
}
