/* The sum of a user's mail. First line of maildirsize: the limits ("1000S,50C"); each further line "BYTES COUNT" is a difference, the first one the sum
 * when it was last counted. The file is counted anew (all folders listed) when it is not there, cannot be read, sums up to less than nothing, was made by
 * another program before our first look (postern.quota is missing), or says that something does not fit and was not counted within the last 15
 * minutes. When it has grown to QUOTA_FILE_MAX, or the limits in it are not ours, it is only summed up: nothing is listed. A foreign change of the mail
 * removes the file.
 *
 * Our own writers hold a shared lock on it, who replaces it an exclusive one; a writer that finds its file replaced opens the new one. Replacing waits for
 * nobody while the file is not much too long. Later it does: where there are more processes than processors, one or another always holds its shared lock. A
 * line that another program appends to the old file in the moment of the rename is looked for after it. Overshoot is at most what is being stored at the
 * same time. */
#include "store/quota.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/maildir.h"

enum {
	FRESH_S = 900,
	LINE_MAX = 64,
	ADD_TRIES = 100,
	WAIT_FROM = QUOTA_FILE_MAX * 3 / 2,	/* bytes from which writers wait for their turn to replace the file; at twice the maximum it would be counted anew */
};

static const char FILE_NAME[] = "maildirsize", OURS_NAME[] = "postern.quota";

/* --- text --- */

static int parse_limits(struct str line, struct quota *out)
{
	uint64_t v;

	*out = (struct quota){ 0 };
	while (line.p != NULL) {
		struct str part = str_trim(str_split(&line, ','));
		if (part.n == 0)
			continue;
		if (num_take(&part, UINT64_MAX, &v) < 0 || part.n != 1)
			return -1;
		if (part.p[0] == 'S')
			out->bytes = v;
		else if (part.p[0] == 'C')
			out->count = v;
		else
			return -1;
	}
	return 0;
}

static int take_signed(struct str *s, int64_t *out)
{
	const bool minus = s->n > 0 && s->p[0] == '-';
	uint64_t v;

	if (minus)
		*s = str_from(*s, 1);
	if (num_take(s, INT64_MAX, &v) < 0)
		return -1;
	*out = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

static int add_line(struct str line, struct quota_file *f)
{
	int64_t bytes, count;

	line = str_trim(line);	/* Courier pads its lines */
	if (line.n == 0)
		return 0;
	if (take_signed(&line, &bytes) < 0 || line.n == 0 || !ch_blank(line.p[0]))
		return -1;
	line = str_trim(line);
	if (take_signed(&line, &count) < 0 || line.n > 0)
		return -1;
	f->lines++;
	return num_add(f->bytes, bytes, &f->bytes) || num_add(f->count, count, &f->count) ? -1 : 0;
}

int quota_parse(struct str text, struct quota_file *out)
{
	struct quota_file f = { 0 };

	if (text.n == 0 || text.p[text.n - 1] != '\n' || parse_limits(str_split(&text, '\n'), &f.limits) < 0)
		return -1;
	while (text.p != NULL)
		if (add_line(str_split(&text, '\n'), &f) < 0)
			return -1;
	if (f.lines == 0)
		return -1;
	*out = f;
	return 0;
}

static void put_limits(struct buf *b, const struct quota *limits)
{
	if (limits->bytes > 0 || limits->count == 0)
		buf_printf(b, "%lluS", (unsigned long long)limits->bytes);
	if (limits->count > 0)
		buf_printf(b, "%s%lluC", limits->bytes > 0 ? "," : "", (unsigned long long)limits->count);
	buf_ch(b, '\n');
}

/* --- the file --- */

/* Open, and what it says. 0; 1: it is not there or cannot be believed (fd_out is -1). */
static int read_file(int rootfd, int *fd_out, struct stat *st, struct quota_file *out)
{
	char text[QUOTA_FILE_MAX * 2];
	CLEANUP_FD int fd = openat(rootfd, FILE_NAME, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_size > (off_t)sizeof(text) || faccessat(rootfd, OURS_NAME, F_OK, 0) < 0)
		return 1;
	const ssize_t k = pread(fd, text, sizeof(text), 0);
	if (k <= 0 || quota_parse(str_n(text, (size_t)k), out) < 0 || out->bytes < 0 || out->count < 0)
		return 1;
	*fd_out = fd;
	fd = -1;
	return 0;
}

static int write_file(int rootfd, const struct quota *limits, const struct quota *use, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, 256);
	put_limits(&b, limits);
	buf_printf(&b, "%llu %llu\n", (unsigned long long)use->bytes, (unsigned long long)use->count);
	r = file_replace_at(rootfd, FILE_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

/* Replace a believed file by its sum. What came into the old one meanwhile goes into the new one. */
static void sum_up(int rootfd, const struct quota *limits)
{
	struct quota_file f, after;
	struct stat st, now;
	struct err ignored = { 0 };
	int fd = -1;

	if (read_file(rootfd, &fd, &st, &f) != 0)
		return;
	CLEANUP_FD int mine = fd;
	char text[QUOTA_FILE_MAX * 2];
	if (flock(mine, LOCK_EX | (st.st_size < WAIT_FROM ? LOCK_NB : 0)) < 0 || fstat(mine, &st) < 0 || st.st_nlink == 0)
		return;		/* others write, or another is at it */
	ssize_t k = pread(mine, text, sizeof(text), 0);
	if (k <= 0 || quota_parse(str_n(text, (size_t)k), &f) < 0 || f.bytes < 0 || f.count < 0)
		return;
	const struct quota use = { (uint64_t)f.bytes, (uint64_t)f.count };
	if (write_file(rootfd, limits, &use, &ignored) < 0 || fstat(mine, &now) < 0 || now.st_size == st.st_size)
		return;
	k = pread(mine, text, sizeof(text), 0);
	if (k > 0 && quota_parse(str_n(text, (size_t)k), &after) == 0)
		quota_add(rootfd, limits, after.bytes - f.bytes, after.count - f.count);
}

void quota_forget(int rootfd)
{
	(void)unlinkat(rootfd, FILE_NAME, 0);
}

static bool same_limits(const struct quota *a, const struct quota *b)
{
	return a->bytes == b->bytes && a->count == b->count;
}

void quota_add(int rootfd, const struct quota *limits, int64_t bytes, int64_t count)
{
	char line[LINE_MAX];
	const int n = snprintf(line, sizeof(line), "%lld %lld\n", (long long)bytes, (long long)count);
	struct err ignored = { 0 };
	struct stat st;

	if (!quota_is_set(limits) || (bytes == 0 && count == 0))
		return;
	for (int tries = 0; tries < ADD_TRIES; tries++) {
		CLEANUP_FD int fd = openat(rootfd, FILE_NAME, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return;		/* counted at the next question */
		if (flock(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0)
			break;
		if (st.st_nlink == 0)
			continue;	/* replaced while we waited */
		if (write_all(fd, line, (size_t)n, &ignored) < 0)
			break;
		(void)flock(fd, LOCK_UN);
		if (st.st_size + n >= QUOTA_FILE_MAX)
			sum_up(rootfd, limits);
		return;
	}
	quota_forget(rootfd);
}

/* --- counting --- */

static void times(int fd, struct timespec out[2])
{
	static const char *const subs[] = { "cur", "new" };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		out[i] = fstatat(fd, subs[i], &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

/* One folder. *moving: somebody changed it meanwhile. */
static void count_folder(int rootfd, const char *dir, struct quota *sum, bool *moving)
{
	CLEANUP_FD int fd = -1;
	struct timespec before[2], after[2];
	struct err ignored = { 0 };
	uint64_t bytes, count;
	bool written;

	/* Not a folder, or not a sane one: no mail of ours. */
	if (maildir_open_at(rootfd, dir, false, &fd, &ignored) < 0)
		return;
	times(fd, before);
	if (maildir_usage(fd, &bytes, &count, &written, &ignored) < 0)
		return;
	times(fd, after);
	if (num_add(sum->bytes, bytes, &sum->bytes))
		sum->bytes = INT64_MAX;
	sum->count += count;
	*moving |= written || memcmp(before, after, sizeof(before)) != 0;
}

static int count_all(int rootfd, struct quota *sum_out, bool *moving_out, struct err *e)
{
	struct quota sum = { 0 };
	bool moving = false;
	const int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *const d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		return err_set(e, ERR_TEMP, errno, "quota: mail tree");
	for (const struct dirent *de; (de = readdir(d)) != NULL;)
		if (de->d_name[0] == '.' && de->d_name[1] != '.')	/* "..": a deleted folder whose files are still being removed */
			count_folder(rootfd, strcmp(de->d_name, ".") == 0 ? "" : de->d_name, &sum, &moving);
	closedir(d);
	*sum_out = sum;
	*moving_out = moving;
	return 0;
}

static int recount(int rootfd, const struct quota *limits, struct quota *use_out, struct err *e)
{
	struct err ignored = { 0 };
	bool moving;

	if (count_all(rootfd, use_out, &moving, e) < 0)
		return -1;
	if (faccessat(rootfd, OURS_NAME, F_OK, 0) < 0 && file_replace_at(rootfd, OURS_NAME, STR("1 0\n"), 0600, &ignored) < 0)
		return 0;	/* no room even for that: counted again next time */
	/* A sum that somebody changed meanwhile is good for this answer only. */
	if (moving || write_file(rootfd, limits, use_out, &ignored) < 0)
		quota_forget(rootfd);
	return 0;
}

/* *fresh_out: counted just now, or not long ago and nothing has come since. */
static int use_now(int rootfd, const struct quota *limits, struct quota *use_out, bool *fresh_out, struct err *e)
{
	struct quota_file f;
	struct stat st;
	int fd = -1;

	*fresh_out = true;
	if (read_file(rootfd, &fd, &st, &f) != 0)
		return recount(rootfd, limits, use_out, e);
	close_fd(&fd);
	*use_out = (struct quota){ (uint64_t)f.bytes, (uint64_t)f.count };
	const int64_t now = clock_wall();
	*fresh_out = f.lines == 1 && st.st_mtime <= now && st.st_mtime > now - FRESH_S;
	if (!same_limits(&f.limits, limits))
		sum_up(rootfd, limits);
	return 0;
}

int quota_use(int rootfd, const struct quota *limits, struct quota *use_out, struct err *e)
{
	bool fresh;

	return use_now(rootfd, limits, use_out, &fresh, e);
}

static bool part_fits(uint64_t limit, uint64_t used, uint64_t more)
{
	return limit == 0 || more == 0 || (used <= limit && more <= limit - used);
}

static bool fits(const struct quota *limits, const struct quota *use, const struct quota *more)
{
	return part_fits(limits->bytes, use->bytes, more->bytes) && part_fits(limits->count, use->count, more->count);
}

int quota_check(int rootfd, const struct quota *limits, const struct quota *more, struct err *e)
{
	struct quota use;
	bool fresh;

	if (!quota_is_set(limits))
		return 0;
	if (use_now(rootfd, limits, &use, &fresh, e) < 0)
		return -1;
	if (!fits(limits, &use, more) && !fresh && recount(rootfd, limits, &use, e) < 0)
		return -1;
	return fits(limits, &use, more) ? 0 : err_set(e, ERR_QUOTA, 0, "mailbox is full");
}

/* --- warnings --- */

static unsigned percent(uint64_t used, uint64_t limit)
{
	if (limit == 0)
		return 0;
	const long double p = (long double)used * 100 / (long double)limit;
	return p > 1000 ? 1000 : (unsigned)p;
}

static unsigned warned_of(int rootfd)
{
	struct err ignored = { 0 };
	struct buf b;
	uint64_t v = 0;

	buf_init(&b, 64);
	if (file_read_at(rootfd, OURS_NAME, 60, &b, &ignored) == 0) {
		struct str s = buf_view(&b);
		if (!str_starts(s, STR("1 ")) || num_parse(str_trim(str_from(s, 2)), 0, 1000, &v) < 0)
			v = 0;
	}
	buf_fini(&b);
	return (unsigned)v;
}

int quota_warn_level(int rootfd, const struct quota *limits, const unsigned *levels, unsigned n_levels, unsigned *level_out, struct err *e)
{
	unsigned reached = 0, most;
	struct quota use;
	char text[32];
	int n;

	*level_out = 0;
	if (!quota_is_set(limits) || n_levels == 0)
		return 0;
	if (quota_use(rootfd, limits, &use, e) < 0)
		return -1;
	most = percent(use.bytes, limits->bytes);
	if (percent(use.count, limits->count) > most)
		most = percent(use.count, limits->count);
	for (unsigned i = 0; i < n_levels; i++)
		if (levels[i] <= most && levels[i] > reached)
			reached = levels[i];
	const unsigned before = warned_of(rootfd);
	if (reached == before)
		return 0;
	n = snprintf(text, sizeof(text), "1 %u\n", reached);
	if (file_replace_at(rootfd, OURS_NAME, str_n(text, (size_t)n), 0600, e) < 0)
		return -1;
	*level_out = reached > before ? reached : 0;
	return 0;
}
