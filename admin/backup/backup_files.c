/* The server's own files: the directory of the configuration, keys and certificates, sources of maps, and what state_directory holds beside mail. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/map.h"
#include "os/os.h"

enum { COPY_BYTES = 65536, DEPTH_MAX = 8, FILES_MAX = 100000 };

struct saver {
	const struct conf *conf;
	struct backup_store *store;
	struct map *seen;
	struct buf list;
	uint64_t rows;
	struct backup_result *res;
};

static int copy_in(struct saver *s, int fd, struct backup_file *f, struct err *e)
{
	static char chunk[COPY_BYTES];
	bool fresh;
	ssize_t n;

	if (backup_object_begin(s->store, e) < 0)
		return -1;
	f->size = 0;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		if (backup_object_data(s->store, str_n(chunk, (size_t)n), e) < 0)
			return -1;
		f->size += (uint64_t)n;
	}
	if (n < 0)
		return err_set(e, ERR_TEMP, errno, "%.*s", STR_ARG(f->path));
	if (backup_object_end(s->store, f->sum, &fresh, e) < 0)
		return -1;
	s->res->added += fresh;
	s->res->added_bytes += fresh ? f->size : 0;
	return 0;
}

/* What is no regular file, or has gone, is left out. */
static int save_file(struct saver *s, const char *path, struct err *e)
{
	struct backup_file f = { .path = str_c(path) };
	struct stat st;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || strchr(path, '\n') || map_set(s->seen, f.path, s))
		return fd < 0 && errno != ENOENT ? err_set(e, ERR_TEMP, errno, "%s", path) : 0;
	if (map_count(s->seen) > FILES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d files", FILES_MAX);
	f.mode = st.st_mode & 07777;
	f.uid = st.st_uid;
	f.gid = st.st_gid;
	if (copy_in(s, fd, &f, e) < 0)
		return -1;
	backup_put_file(&s->list, &f);
	s->rows++;
	s->res->messages++;
	s->res->bytes += f.size;
	return 0;
}

/* Homes of the suite's own users are saved as mail. */
static bool left_out(const struct saver *s, const char *path)
{
	const size_t n = strlen(s->conf->state_directory);

	return strncmp(path, s->conf->state_directory, n) == 0 && strcmp(path + n, "/mail") == 0;
}

static int save_tree(struct saver *s, const char *path, unsigned depth, struct err *e)
{
	DIR *d = depth < DEPTH_MAX && !left_out(s, path) ? opendir(path) : NULL;
	char below[4096];
	int r = 0;

	for (struct dirent *ent; r == 0 && d && (ent = readdir(d));) {
		struct stat st;
		if (ent->d_name[0] == '.' || (size_t)snprintf(below, sizeof(below), "%s/%s", path, ent->d_name) >= sizeof(below) ||
		    fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			r = save_tree(s, below, depth + 1, e);
		else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
			r = save_file(s, below, e);
	}
	if (d)
		closedir(d);
	return r;
}

/* Whatever a parameter names by an absolute path, alone or behind a type ("cdb:/etc/aliases"), if it is a file. */
static int save_named(struct saver *s, struct arena *a, struct err *e)
{
	const char *name;
	size_t it = 0;

	while (conf_param_next(&it, &name)) {
		struct str rest, word;
		struct err ignored = { 0 };
		if (conf_param_value(s->conf, name, a, &rest, &ignored) < 0)
			continue;
		while (str_token(&rest, ", \t\n", &word)) {
			const ptrdiff_t slash = str_chr(word, '/');
			struct stat st;
			if (slash != 0 && (slash < 0 || word.p[slash - 1] != ':'))
				continue;
			const char *path = arena_printf(a, "%.*s", STR_ARG(str_from(word, (size_t)slash)));
			if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && strncmp(path, s->conf->maillog_file, strlen(path) + 1) != 0 && save_file(s, path, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int save_all(struct saver *s, struct err *e)
{
	struct arena *a = arena_new(0);

	backup_list_begin(&s->list);
	int r = save_tree(s, s->conf->conf_dir, 0, e) < 0 || save_tree(s, s->conf->state_directory, 0, e) < 0 || save_file(s, s->conf->conf_file, e) < 0 ||
				save_named(s, a, e) < 0
			? -1
			: 0;
	arena_free(&a);
	backup_list_end(&s->list, s->rows);
	return r == 0 ? buf_check(&s->list, "the list", e) : -1;
}

int backup_files(const struct conf *conf, const char *dir, struct backup_result *out, struct err *e)
{
	struct saver s = { .conf = conf, .seen = map_new(), .res = out };

	*out = (struct backup_result){ 0 };
	buf_init(&s.list, BACKUP_LIST_MAX);
	int r = backup_store_open(dir, "server", true, &s.store, e);
	if (r == 0)
		r = save_all(&s, e);
	if (r == 0)
		r = backup_snapshot_write(s.store, buf_view(&s.list), out->snapshot, e);
	backup_store_close(&s.store);
	buf_fini(&s.list);
	map_free(&s.seen);
	return r;
}
