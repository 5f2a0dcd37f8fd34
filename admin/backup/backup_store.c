/* Objects and snapshots of one owner, as files. All relative to one directory descriptor, nothing followed. */
#include "admin/backup/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/map.h"
#include "os/os.h"

enum { COPY_BYTES = 65536, FANOUT = 256, SNAPSHOT_TRIES = 70, SUM_BYTES = 32 };
static const char SUFFIX[] = ".list", TEMP[] = "objects/new";

struct backup_store {
	int dir;
	int fd;			/* the object that is written; -1 */
	struct sha256 sum;
};

static void object_path(const char *sum, char out[SUM_HEX + 32])
{
	(void)snprintf(out, SUM_HEX + 32, "objects/%.2s/%s", sum, sum + 2);
}

/* --- open --- */

static int make_fanout(int dir, struct err *e)
{
	char name[16];

	if (mkdirat(dir, "objects", 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_TEMP, errno, "objects");
	for (unsigned i = 0; i < FANOUT; i++) {
		(void)snprintf(name, sizeof(name), "objects/%02x", i);
		if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
			return err_set(e, ERR_TEMP, errno, "%s", name);
	}
	return 0;
}

int backup_store_open(const char *dir, const char *owner, bool create, struct backup_store **out, struct err *e)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, owner) >= sizeof(path))
		return err_set(e, ERR_LIMIT, 0, "%s: the path is too long", dir);
	if (create && dir_make(path, 0700, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	if (create && make_fanout(fd, e) < 0) {
		close(fd);
		return -1;
	}
	*out = xzalloc(sizeof(**out));
	**out = (struct backup_store){ .dir = fd, .fd = -1 };
	return 0;
}

void backup_store_close(struct backup_store **s)
{
	if (*s == NULL)
		return;
	if ((*s)->fd >= 0)
		(void)unlinkat((*s)->dir, TEMP, 0);
	close_fd(&(*s)->fd);
	close_fd(&(*s)->dir);
	free(*s);
	*s = NULL;
}

/* --- objects --- */

int backup_object_begin(struct backup_store *s, struct err *e)
{
	close_fd(&s->fd);
	s->fd = openat(s->dir, TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	sha256_init(&s->sum);
	return s->fd < 0 ? err_set(e, ERR_TEMP, errno, "a new object") : 0;
}

int backup_object_data(struct backup_store *s, struct str data, struct err *e)
{
	sha256_add(&s->sum, data);
	return write_all(s->fd, data.p, data.n, e);
}

static void sum_hex(struct sha256 *sum, char out[SUM_HEX + 1])
{
	unsigned char raw[SUM_BYTES];
	struct buf b;

	sha256_end(sum, raw);
	buf_init(&b, SUM_HEX + 1);
	hex_encode(&b, str_n(raw, sizeof(raw)));
	memcpy(out, b.p, SUM_HEX + 1);
	buf_fini(&b);
}

int backup_object_end(struct backup_store *s, char sum_out[SUM_HEX + 1], bool *new_out, struct err *e)
{
	char path[SUM_HEX + 32];
	struct stat st;

	sum_hex(&s->sum, sum_out);
	object_path(sum_out, path);
	close_fd(&s->fd);
	*new_out = fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0;
	if (renameat(s->dir, TEMP, s->dir, path) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	return 0;
}

bool backup_object_there(struct backup_store *s, const char *sum, uint64_t size)
{
	char path[SUM_HEX + 32];
	struct stat st;

	object_path(sum, path);
	return fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

int backup_object_open(struct backup_store *s, const char *sum, int *fd_out, struct err *e)
{
	char path[SUM_HEX + 32];

	object_path(sum, path);
	*fd_out = openat(s->dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return *fd_out < 0 ? err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "object %s", sum) : 0;
}

int backup_object_verify(struct backup_store *s, const char *sum, struct err *e)
{
	static char chunk[COPY_BYTES];
	char is[SUM_HEX + 1];
	struct sha256 got;
	ssize_t n;
	CLEANUP_FD int fd = -1;

	if (backup_object_open(s, sum, &fd, e) < 0)
		return -1;
	sha256_init(&got);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		sha256_add(&got, str_n(chunk, (size_t)n));
	sum_hex(&got, is);
	return n == 0 && strcmp(is, sum) == 0 ? 0 : err_set(e, ERR_INPUT, 0, "object %s is damaged", sum);
}

/* --- snapshots --- */

static void name_of(time_t t, char out[SNAPSHOT_NAME + 1])
{
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(out, SNAPSHOT_NAME + 1, "%Y%m%dT%H%M%SZ", &tm);
}

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (i == 8 ? s.p[i] != 'T' : i == 15 ? s.p[i] != 'Z' : !ch_digit(s.p[i]))
			return false;
	return s.n == SNAPSHOT_NAME;
}

int backup_snapshot_write(struct backup_store *s, struct str list, char name_out[SNAPSHOT_NAME + 1], struct err *e)
{
	char file[SNAPSHOT_NAME + sizeof(SUFFIX)];
	time_t t = (time_t)clock_wall();
	struct stat st;

	if (syncfs(s->dir) < 0)
		return err_set(e, ERR_TEMP, errno, "syncfs");
	/* Two in one second: the later one is of the next. */
	for (int i = 0; i < SNAPSHOT_TRIES; i++, t++) {
		name_of(t, name_out);
		(void)snprintf(file, sizeof(file), "%s%s", name_out, SUFFIX);
		if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return file_replace_at(s->dir, file, list, 0600, e);
	}
	return err_set(e, ERR_LIMIT, 0, "too many snapshots in one minute");
}

int backup_by_name(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Names in a directory of which fn makes something, sorted. */
static void names_in(DIR *d, struct str (*fn)(struct str name), struct arena *a, struct str **out, size_t *n_out)
{
	size_t cap = 0;

	*out = NULL;
	*n_out = 0;
	for (struct dirent *ent; (ent = readdir(d));) {
		const struct str name = fn(str_c(ent->d_name));
		if (name.n == 0)
			continue;
		if (*n_out == cap) {
			struct str *more = ARENA_ARRAY(a, struct str, cap * 2 + 16);
			if (cap)
				memcpy(more, *out, cap * sizeof(*more));
			*out = more;
			cap = cap * 2 + 16;
		}
		(*out)[(*n_out)++] = arena_str(a, name);
	}
	if (*n_out)
		qsort(*out, *n_out, sizeof(**out), backup_by_name);
}

static struct str snapshot_of(struct str file)
{
	const struct str name = str_sub(file, 0, SNAPSHOT_NAME);

	return is_name(name) && str_eq(str_from(file, SNAPSHOT_NAME), str_c(SUFFIX)) ? name : STR("");
}

static struct str user_of(struct str file)
{
	return account_name_valid(file) ? file : STR("");
}

int backup_snapshots(struct backup_store *s, struct arena *a, struct str **out, size_t *n_out, struct err *e)
{
	const int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		return err_set(e, ERR_TEMP, errno, "the backup");
	names_in(d, snapshot_of, a, out, n_out);
	closedir(d);
	return 0;
}

int backup_users(const char *dir, struct arena *a, struct str **out, size_t *n_out, struct err *e)
{
	char path[4096];
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/users", dir);
	*n_out = 0;
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : err_set(e, ERR_TEMP, errno, "%s", path);
	names_in(d, user_of, a, out, n_out);
	closedir(d);
	return 0;
}

static int check_whole(struct str list, struct err *e)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader r;

	if (backup_list_open(list, &r, e) < 0)
		return -1;
	while (row != ROW_END)
		if (backup_list_next(&r, &row, e) < 0)
			return -1;
	return 0;
}

int backup_snapshot_read(struct backup_store *s, const char *name, struct buf *out, struct err *e)
{
	char file[SNAPSHOT_NAME + sizeof(SUFFIX)];
	struct arena *a = arena_new(0);
	struct str *names;
	size_t n;
	int r = 0;

	if (!name && (r = backup_snapshots(s, a, &names, &n, e)) == 0) {
		if (n == 0)
			r = err_set(e, ERR_NOENT, 0, "no snapshot");
		else
			name = names[n - 1].p;
	}
	if (r == 0 && !is_name(str_sub(str_c(name), 0, SNAPSHOT_NAME)))
		r = err_set(e, ERR_INPUT, 0, "%s: not the name of a snapshot (20261128T204512Z)", name);
	if (r == 0) {
		(void)snprintf(file, sizeof(file), "%.*s%s", SNAPSHOT_NAME, name, SUFFIX);
		r = file_read_at(s->dir, file, BACKUP_LIST_MAX, out, e);
	}
	if (r == 0)
		r = check_whole(buf_view(out), e);
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

/* --- what is no longer wanted --- */

static int note_sums(struct backup_store *s, const char *name, struct map *wanted, struct err *e)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader r;
	struct buf list;

	buf_init(&list, (size_t)BACKUP_LIST_MAX + 1);
	int rc = backup_snapshot_read(s, name, &list, e);
	if (rc == 0)
		rc = backup_list_open(buf_view(&list), &r, e);
	while (rc == 0 && row != ROW_END && (rc = backup_list_next(&r, &row, e)) == 0)
		if (row == ROW_MESSAGE || row == ROW_FILE)
			(void)map_set(wanted, str_n(row == ROW_FILE ? r.file.sum : r.message.sum, SUM_HEX), wanted);
	buf_fini(&list);
	return rc;
}

static unsigned sweep(struct backup_store *s, unsigned fan, const struct map *wanted)
{
	char path[16];
	unsigned gone = 0;

	(void)snprintf(path, sizeof(path), "objects/%02x", fan);
	const int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *ent; d && (ent = readdir(d));) {
		char sum[SUM_HEX + 1];
		if (strlen(ent->d_name) != SUM_HEX - 2)
			continue;
		(void)snprintf(sum, sizeof(sum), "%02x%s", fan, ent->d_name);
		if (!map_get(wanted, str_n(sum, SUM_HEX)) && unlinkat(dirfd(d), ent->d_name, 0) == 0)
			gone++;
	}
	if (d)
		closedir(d);
	return gone;
}

int backup_prune(struct backup_store *s, unsigned keep, unsigned *snapshots_out, unsigned *objects_out, struct err *e)
{
	struct arena *a = arena_new(0);
	struct map *wanted = map_new();
	struct str *names;
	size_t n;
	int r = backup_snapshots(s, a, &names, &n, e);

	*snapshots_out = *objects_out = 0;
	/* The objects of what stays are known before anything goes: a list that cannot be read ends it here. */
	for (size_t i = n > keep ? n - keep : 0; r == 0 && i < n; i++)
		r = note_sums(s, names[i].p, wanted, e);
	for (size_t i = 0; r == 0 && i + keep < n; i++) {
		char file[SNAPSHOT_NAME + sizeof(SUFFIX)];
		(void)snprintf(file, sizeof(file), "%.*s%s", STR_ARG(names[i]), SUFFIX);
		*snapshots_out += unlinkat(s->dir, file, 0) == 0;
	}
	for (unsigned fan = 0; r == 0 && *snapshots_out > 0 && fan < FANOUT; fan++)
		*objects_out += sweep(s, fan, wanted);
	map_free(&wanted);
	arena_free(&a);
	return r;
}
