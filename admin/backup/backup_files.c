/* The server's own files: the directory of the configuration, keys and certificates, sources of maps, and what state_directory holds beside mail. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/map.h"
#include "map/snimap.h"
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

/* It is not saved, which the exit status says; the rest is. */
static void warn(struct saver *s, const char *path, const char *why)
{
	if (++s->res->failed <= BACKUP_WARNINGS_MAX)
		(void)fprintf(stderr, "postern-backup: %s: %s: not saved\n", path, why);
	else if (s->res->failed == BACKUP_WARNINGS_MAX + 1)
		(void)fprintf(stderr, "postern-backup: server: more than %d files are not saved\n", BACKUP_WARNINGS_MAX);
}

/* 0; 1 not saved, and warned; -1 nothing can be saved any more. */
static int copy_in(struct saver *s, int fd, const char *path, struct backup_file *f, struct err *e)
{
	static char chunk[COPY_BYTES];
	bool fresh;
	ssize_t n;

	if (backup_object_begin(s->store, e) < 0)
		return -1;
	f->size = 0;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0 && f->size + (uint64_t)n <= BACKUP_FILE_MAX) {
		if (backup_object_data(s->store, str_n(chunk, (size_t)n), e) < 0)
			return -1;
		f->size += (uint64_t)n;
	}
	if (n != 0) {
		warn(s, path, n < 0 ? strerror(errno) : "larger than a file may be");
		return 1;
	}
	if (backup_object_end(s->store, f->sum, &fresh, e) < 0)
		return -1;
	s->res->added += fresh;
	s->res->added_bytes += fresh ? f->size : 0;
	return 0;
}

/* What is no regular file is left out. */
static int save_opened(struct saver *s, int fd, const char *path, struct err *e)
{
	struct backup_file f = { .path = str_c(path) };
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || strchr(path, '\n') || map_get(s->seen, f.path))
		return 0;
	if (map_count(s->seen) >= FILES_MAX || st.st_size > BACKUP_FILE_MAX) {
		warn(s, path, st.st_size > BACKUP_FILE_MAX ? "larger than a file may be" : "too many files");
		return 0;
	}
	(void)map_set(s->seen, f.path, s);
	f.mode = st.st_mode & 07777;
	f.uid = st.st_uid;
	f.gid = st.st_gid;
	const int r = copy_in(s, fd, path, &f, e);

	if (r != 0)
		return r < 0 ? -1 : 0;
	backup_put_file(&s->list, &f);
	s->rows++;
	s->res->messages++;
	s->res->bytes += f.size;
	return 0;
}

/* What has gone is left out. */
static int save_at(struct saver *s, int dir, const char *name, const char *path, bool follow, struct err *e)
{
	CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));

	if (fd >= 0)
		return save_opened(s, fd, path, e);
	if (errno != ENOENT)
		warn(s, path, errno == ELOOP ? "a symbolic link, not followed here" : strerror(errno));
	return 0;
}

/* A file by its path; a link only where none but root can have made it. */
static int save_file(struct saver *s, const char *path, struct err *e)
{
	struct err why = { 0 };
	bool trusted;
	CLEANUP_FD int dir = dir_open_trusted(path, false, &trusted, &why);

	if (dir >= 0)
		return save_at(s, dir, strrchr(path, '/') + 1, path, trusted, e);
	if (why.code != ERR_NOENT)
		warn(s, path, why.text);
	return 0;
}

/* Homes of the suite's own users are saved as mail. */
static bool left_out(const struct saver *s, const char *path)
{
	const size_t n = strlen(s->conf->state_directory);

	return strncmp(path, s->conf->state_directory, n) == 0 && strcmp(path + n, "/mail") == 0;
}

/* dir: taken. follow: files that links lead to belong to it. */
static int save_tree(struct saver *s, int dir, const char *path, unsigned depth, bool follow, struct err *e)
{
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	char below[4096];
	int r = 0;

	if (!d && errno != ENOENT)
		warn(s, path, strerror(errno));
	for (struct dirent *ent; r == 0 && d && (ent = readdir(d));) {
		struct stat st;
		if (ent->d_name[0] == '.' || fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if ((size_t)snprintf(below, sizeof(below), "%s/%s", path, ent->d_name) >= sizeof(below) || (S_ISDIR(st.st_mode) && depth + 1 == DEPTH_MAX))
			warn(s, path, "too deep below");
		else if (S_ISDIR(st.st_mode) && !left_out(s, below))
			r = save_tree(s, openat(dirfd(d), ent->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), below, depth + 1, follow, e);
		else if (S_ISLNK(st.st_mode) && follow)
			r = save_file(s, below, e);
		else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
			r = save_at(s, dirfd(d), ent->d_name, below, false, e);
	}
	if (d)
		closedir(d);
	return r;
}

static int save_root(struct saver *s, const char *path, bool follow, struct err *e)
{
	return save_tree(s, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path, 0, follow, e);
}

/* A credential is there while its daemon runs, in the clear even where it is encrypted at its source; it is the source that comes back from a backup. */
static bool is_credential(const char *path)
{
	return str_starts(str_c(path), STR("/run/credentials/"));
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
			if (is_credential(path))
				continue;
			if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && strncmp(path, s->conf->maillog_file, strlen(path) + 1) != 0 && save_file(s, path, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* Chains and keys that tls_alt_cert_files and tls_server_sni_maps name. A table that is not to be read is saved as it is, and names nothing. */
static int save_by_name(struct saver *s, struct arena *a, struct err *e)
{
	struct snimap map;
	struct err why = { 0 };

	if (snimap_conf(s->conf, a, &map, &why) < 0)
		warn(s, "tls_server_sni_maps", why.text);
	for (size_t i = 0; i < map.n_pairs; i++) {
		const char *const files[] = { map.pairs[i].chain, map.pairs[i].key };
		for (size_t k = 0; k < ARRAY_LEN(files); k++)
			if (!is_credential(files[k]) && save_file(s, files[k], e) < 0)
				return -1;
	}
	return 0;
}

static int save_all(struct saver *s, struct err *e)
{
	struct arena *a = arena_new(0);

	backup_list_begin(&s->list);
	/* What the suite's service users can make comes last: it must not take the room of the rest. */
	int r = save_root(s, s->conf->conf_dir, true, e);
	if (r == 0)
		r = save_file(s, s->conf->conf_file, e);
	if (r == 0)
		r = save_named(s, a, e);
	if (r == 0)
		r = save_by_name(s, a, e);
	if (r == 0)
		r = save_root(s, s->conf->state_directory, false, e);
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
