/* postern-restore: mail and files of a snapshot, back. Mail is brought in by postern-import, whose writer is confined to the user's mailbox; files are written by
 * root to where they were. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/json.h"
#include "os/os.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 64, EXIT_TEMP = 75, EXIT_CONF = 78 };
enum { O_USER = 256, O_FOLDER, O_JSON, O_ALL, O_SERVER, O_FORCE, O_SNAPSHOT };

struct options {
	const char *conf_file, *dir, *user, *folder, *snapshot;
	bool json, quiet, all, server, force, dry_run;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-restore [-nq] [-c FILE] [--json] [--snapshot NAME] --user USER [--folder FOLDER] DIR\n"
	      "       postern-restore [-nq] [-c FILE] [--json] --all DIR\n"
	      "       postern-restore [-n] [-c FILE] [--json] [--snapshot NAME] [--force] --server DIR\n"
	      "Bring back what postern-backup saved below DIR, from the newest snapshot or the one named.\n"
	      "  --user    that user's mail: what is missing comes back, what is there stays as it is\n"
	      "  --all     the mail of all users that were saved and have an account\n"
	      "  --server  configuration, keys, accounts, maps; --force: also over files that differ\n"
	      "  -n, --dry-run  say what would be done\n",
	      to);
	return status;
}

static int options_get(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "user", required_argument, NULL, O_USER }, { "folder", required_argument, NULL, O_FOLDER }, { "snapshot", required_argument, NULL, O_SNAPSHOT },
		{ "json", no_argument, NULL, O_JSON }, { "all", no_argument, NULL, O_ALL }, { "server", no_argument, NULL, O_SERVER },
		{ "force", no_argument, NULL, O_FORCE }, { "dry-run", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};

	*o = (struct options){ .conf_file = conf_default_file() };
	for (int c; (c = getopt_long(argc, argv, "c:nqhV", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': o->conf_file = optarg; break;
		case 'n': o->dry_run = true; break;
		case 'q': o->quiet = true; break;
		case O_USER: o->user = optarg; break;
		case O_FOLDER: o->folder = optarg; break;
		case O_SNAPSHOT: o->snapshot = optarg; break;
		case O_JSON: o->json = true; break;
		case O_ALL: o->all = true; break;
		case O_SERVER: o->server = true; break;
		case O_FORCE: o->force = true; break;
		case 'h': return usage(stdout, 0);
		case 'V': printf("postern-restore (Postern) %s\n", POSTERN_VERSION); return 0;
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	if (optind + 1 != argc || (o->user != NULL) + o->all + o->server != 1 || (o->folder && !o->user) || (o->force && !o->server) || (o->snapshot && o->all))
		return usage(stderr, EXIT_USAGE);
	o->dir = argv[optind];
	return -1;
}

/* --- mail --- */

static int restore_user(const struct options *o, const char *import, const char *user)
{
	const char *v[20] = { import, "-c", o->conf_file, "backup", "--user", user };
	size_t n = 6;
	int status;

	if (o->dry_run)
		v[n++] = "-n";
	if (o->quiet)
		v[n++] = "-q";
	if (o->json)
		v[n++] = "--json";
	if (o->folder) {
		v[n++] = "--folder";
		v[n++] = o->folder;
	}
	v[n++] = "--";
	v[n++] = o->dir;
	if (o->snapshot)
		v[n++] = o->snapshot;
	(void)fflush(NULL);
	const pid_t pid = fork();

	if (pid == 0) {
		execv(import, (char **)(uintptr_t)v);
		fprintf(stderr, "postern-restore: %s: %s\n", import, strerror(errno));
		_exit(EXIT_TEMP);
	}
	if (pid < 0)
		return EXIT_TEMP;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_TEMP;
}

static int restore_all(const struct options *o, const char *import)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct str *names;
	int worst = 0;
	size_t n;

	if (backup_users(o->dir, a, &names, &n, &e) < 0 || n == 0) {
		fprintf(stderr, "postern-restore: %s\n", e.code ? e.text : access(o->dir, F_OK) < 0 ? "there is no such directory" : "no user's mail is in this backup");
		worst = EXIT_TEMP;
	}
	for (size_t i = 0; worst != EXIT_TEMP && i < n; i++) {
		const int status = restore_user(o, import, names[i].p);
		worst = status ? EXIT_FAILED : worst;	/* the others all the same */
	}
	arena_free(&a);
	return worst;
}

/* --- files --- */

/* What is there now? 1 the same, 0 something else, -1 nothing. A link is followed only where none but root can have made it. */
static int compare(int dir, const char *path, bool trusted, struct str was)
{
	const char *name = strrchr(path, '/') + 1;
	struct err none = { 0 };
	struct stat st;
	struct buf is;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	buf_init(&is, (size_t)BACKUP_FILE_MAX + 1);
	const int rc = trusted ? file_read(path, BACKUP_FILE_MAX, &is, &none) : file_read_at(dir, name, BACKUP_FILE_MAX, &is, &none);
	const bool same = rc == 0 && str_eq(buf_view(&is), was);

	buf_wipe(&is);
	buf_fini(&is);
	return same;
}

/* Some of the directories belong to service users, who must not be able to lead this elsewhere. */
static const char *put_back(const struct options *o, const char *path, const struct backup_file *f, struct str was, struct err *e)
{
	bool trusted;
	CLEANUP_FD int dir = dir_open_trusted(path, !o->dry_run, &trusted, e);

	if (dir < 0) {
		const bool missing = o->dry_run && e->code == ERR_NOENT;
		return missing ? "would be restored" : NULL;
	}
	const int same = compare(dir, path, trusted, was);

	if (same == 1)
		return "is the same";
	if (same == 0 && !o->force)
		return "differs, kept (--force)";
	if (o->dry_run)
		return "would be restored";
	return file_replace_own_at(dir, strrchr(path, '/') + 1, was, f->mode & 0777, f->uid, f->gid, e) == 0 ? "restored" : NULL;
}

/* What became of one file. */
static const char *restore_file(const struct options *o, struct backup_store *s, struct arena *a, const struct backup_file *f, struct err *e)
{
	const char *path = arena_printf(a, "%.*s", STR_ARG(f->path));
	const char *done = NULL;
	struct buf was;
	CLEANUP_FD int fd = -1;

	buf_init(&was, (size_t)BACKUP_FILE_MAX + 1);
	char *room = f->size <= BACKUP_FILE_MAX ? buf_room(&was, f->size) : NULL;

	if (!room)
		(void)err_set(e, ERR_LIMIT, 0, "%s is larger than %d bytes", path, BACKUP_FILE_MAX);
	else if (backup_object_verify(s, f->sum, e) == 0 && backup_object_open(s, f->sum, &fd, e) == 0 && pread_all(fd, room, f->size, 0, e) == 0) {
		buf_added(&was, f->size);
		done = put_back(o, path, f, buf_view(&was), e);
	}
	buf_wipe(&was);
	buf_fini(&was);
	return done;
}

static void said(const struct options *o, struct str path, const char *what)
{
	if (o->json) {
		putchar('{');
		json_field(stdout, "file", path, true);
		json_field(stdout, "state", str_c(what), false);
		puts("}");
	} else if (!o->quiet) {
		printf("%.*s: %s\n", STR_ARG(path), what);
	}
}

static int restore_files(const struct options *o, struct backup_store *s, struct str list, struct err *e)
{
	enum backup_row row = ROW_FILE;
	struct backup_reader r;
	int failed = 0;

	if (backup_list_open(list, &r, e) < 0)
		return -1;
	while (row != ROW_END) {
		struct arena *a = arena_new(0);
		if (backup_list_next(&r, &row, e) < 0)
			return -1;
		if (row == ROW_FILE) {
			const char *what = restore_file(o, s, a, &r.file, e);
			said(o, r.file.path, what ? what : e->text);
			failed += what == NULL || strstr(what, "differs") != NULL;
			err_clear(e);
		}
		arena_free(&a);
	}
	return failed ? 1 : 0;
}

static int restore_server(const struct options *o)
{
	struct backup_store *s = NULL;
	struct err e = { 0 };
	struct buf list;

	buf_init(&list, (size_t)BACKUP_LIST_MAX + 1);
	int rc = backup_store_open(o->dir, "server", false, &s, &e);
	if (rc == 0)
		rc = backup_snapshot_read(s, o->snapshot, &list, &e);
	if (rc == 0)
		rc = restore_files(o, s, buf_view(&list), &e);
	if (rc < 0)
		fprintf(stderr, "postern-restore: %s\n", e.text);
	backup_store_close(&s);
	buf_fini(&list);
	return rc < 0 ? EXIT_TEMP : rc;
}

int main(int argc, char **argv)
{
	struct options o;
	struct conf *conf;
	char import[4096];

	proc_init(argc, argv);
	int status = options_get(argc, argv, &o);
	if (status >= 0)
		return status;
	umask(077);
	/* The configuration may be what is to be restored. */
	if (o.server)
		return restore_server(&o);
	if (conf_load_told("postern-restore", o.conf_file, false, &conf) < 0)
		return EXIT_CONF;
	(void)snprintf(import, sizeof(import), "%s/postern-import", conf->libexec_directory);
	status = o.all ? restore_all(&o, import) : restore_user(&o, import, o.user);
	conf_free(&conf);
	return status;
}
