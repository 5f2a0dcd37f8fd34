/* postern-backup: snapshots of the whole server, one mailbox or one folder; while everything runs. Root writes the directory; a mailbox is read by a child that has
 * become its user and is confined to it, so a user's links and names lead nowhere. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/json.h"
#include "base/num.h"
#include "os/os.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 64, EXIT_NOUSER = 67, EXIT_TEMP = 75, EXIT_CONF = 78, KEEP_MAX = 100000 };
enum { O_USER = 256, O_FOLDER, O_JSON, O_LIST, O_VERIFY, O_KEEP, O_NO_SANDBOX };

struct options {
	const char *conf_file, *dir, *user, *folder;
	bool json, quiet, list, verify, unconfined;
	uint64_t keep;
};

struct run {
	const struct options *o;
	const struct conf *conf;
	struct arena *a;
	struct str *users;
	size_t n_users, cap;
	unsigned failed;
	bool first;
};

typedef int owner_fn(struct run *r, const char *owner, struct err *e);

static int usage(FILE *to, int status)
{
	fputs("usage: postern-backup [-q] [-c FILE] [--json] [--keep N] [--user USER [--folder FOLDER]] [DIR]\n"
	      "       postern-backup --list | --verify [--json] [--user USER] [DIR]\n"
	      "Save mail and the server's files below DIR; what an earlier snapshot holds is not stored again.\n"
	      "Without DIR: below backup_directory, of which backup_keep snapshots are kept.\n"
	      "  --keep N   afterwards keep the newest N snapshots of each, and what they need\n"
	      "  --list     what snapshots there are\n"
	      "  --verify   read everything that the newest snapshots name, and compare it with its checksums\n"
	      "  --no-sandbox  no confinement (development only)\n",
	      to);
	return status;
}

static int options_get(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "user", required_argument, NULL, O_USER }, { "folder", required_argument, NULL, O_FOLDER }, { "json", no_argument, NULL, O_JSON },
		{ "list", no_argument, NULL, O_LIST }, { "verify", no_argument, NULL, O_VERIFY }, { "keep", required_argument, NULL, O_KEEP },
		{ "no-sandbox", no_argument, NULL, O_NO_SANDBOX }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};

	*o = (struct options){ .conf_file = conf_default_file() };
	for (int c; (c = getopt_long(argc, argv, "c:qhV", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': o->conf_file = optarg; break;
		case 'q': o->quiet = true; break;
		case O_USER: o->user = optarg; break;
		case O_FOLDER: o->folder = optarg; break;
		case O_JSON: o->json = true; break;
		case O_LIST: o->list = true; break;
		case O_VERIFY: o->verify = true; break;
		case O_NO_SANDBOX: o->unconfined = true; break;
		case O_KEEP:
			if (num_parse(str_c(optarg), 1, KEEP_MAX, &o->keep) < 0)
				return usage(stderr, EXIT_USAGE);
			break;
		case 'h': return usage(stdout, 0);
		case 'V': printf("postern-backup (Postern) %s\n", POSTERN_VERSION); return 0;
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	if (optind + 1 < argc || (o->folder && !o->user) || (o->list && o->verify) || ((o->list || o->verify) && (o->folder || o->keep)))
		return usage(stderr, EXIT_USAGE);
	o->dir = argv[optind];
	return -1;
}

/* Without a directory on the command line the configuration says where, and how many snapshots stay. */
static int place(struct options *o, const struct conf *c, struct err *e)
{
	if (o->dir)
		return 0;
	if (c->backup_directory[0] != '/')
		return err_set(e, ERR_CONF, 0, "no directory is named, and backup_directory is %s", c->backup_directory[0] ? "no absolute path" : "not set");
	o->dir = c->backup_directory;
	if (o->keep == 0 && !o->list && !o->verify)
		o->keep = c->backup_keep;
	return 0;
}

/* --- the directory --- */

/* Held until the process ends: one backup at a time. */
static int lock(const char *dir, bool create, struct err *e)
{
	static const char form[] = "1\n";
	char path[4096];
	char is[8] = "";

	if (create && dir_make(dir, 0700, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	if (path_trusted(dir, geteuid(), e) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/postern-backup", dir);
	const int fd = open(path, O_RDWR | (create ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, ERR_TEMP, 0, "%s holds no backup", dir);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_LIMIT, 0, "%s: another backup is running", dir);
	const ssize_t n = pread(fd, is, sizeof(is) - 1, 0);

	if (n > 0 && strcmp(is, form) != 0)
		return err_set(e, ERR_CONF, 0, "%s: a backup of another form", dir);
	return n == 0 ? write_all(fd, form, sizeof(form) - 1, e) : 0;
}

/* --- what is said --- */

static void said(struct run *r, const char *owner, const struct backup_result *res, const struct err *e)
{
	if (r->o->json) {
		putchar('{');
		json_field(stdout, "owner", str_c(owner), true);
		json_field(stdout, "snapshot", str_c(res->snapshot), false);
		json_number(stdout, "folders", (long long)res->folders, false);
		json_number(stdout, "items", (long long)res->messages, false);
		json_number(stdout, "bytes", (long long)res->bytes, false);
		json_number(stdout, "added", (long long)res->added, false);
		json_number(stdout, "added_bytes", (long long)res->added_bytes, false);
		json_number(stdout, "vanished", (long long)res->vanished, false);
		json_number(stdout, "failed", (long long)res->failed, false);
		if (e->code)
			json_field(stdout, "error", str_c(e->text), false);
		puts("}");
	} else if (e->code) {
		fprintf(stderr, "postern-backup: %s: %s\n", owner, e->text);
	} else if (!r->o->quiet) {
		if (!r->first)
			printf("%-32s %-16s %8s %10s %12s %8s %12s\n", "", "snapshot", "folders", "items", "bytes", "new", "new bytes");
		r->first = true;
		printf("%-32s %-16s %8llu %10llu %12llu %8llu %12llu\n", owner, res->snapshot, (unsigned long long)res->folders, (unsigned long long)res->messages,
		       (unsigned long long)res->bytes, (unsigned long long)res->added, (unsigned long long)res->added_bytes);
	}
}

/* --- backup --- */

static int prune(struct run *r, const char *owner, struct err *e)
{
	struct backup_store *s = NULL;
	unsigned snapshots, objects;

	if (r->o->keep == 0)
		return 0;
	int rc = backup_store_open(r->o->dir, owner, false, &s, e);
	if (rc == 0)
		rc = backup_prune(s, (unsigned)r->o->keep, &snapshots, &objects, e);
	backup_store_close(&s);
	return rc;
}

static void save_user(struct run *r, const char *name)
{
	struct backup_result res = { 0 };
	struct account acct;
	struct err e = { 0 };
	char owner[ACCOUNT_NAME_MAX + 8];

	(void)snprintf(owner, sizeof(owner), "users/%s", name);
	int rc = account_load(r->conf->state_directory, str_c(name), (uid_t)r->conf->auth_min_uid, &acct, &e);
	if (rc == 0) {
		(void)snprintf(owner, sizeof(owner), "users/%s", acct.name);
		rc = backup_mail(r->conf, r->o->dir, &acct, r->o->folder, r->o->unconfined, !r->o->json && !r->o->quiet && isatty(STDERR_FILENO), &res, &e);
	}
	if (rc == 0)
		rc = prune(r, owner, &e);
	if (rc < 0 && e.code == ERR_NOENT && !r->o->user)
		return;		/* has no mail yet */
	said(r, owner, &res, &e);
	r->failed += rc < 0 || res.failed > 0;
}

static int on_account(void *ctx, struct str key, struct str value)
{
	struct run *r = ctx;

	if (!account_name_valid(key))
		return 0;	/* the marker */
	if (r->n_users == r->cap) {
		struct str *more = ARENA_ARRAY(r->a, struct str, r->cap * 2 + 64);
		if (r->cap)
			memcpy(more, r->users, r->cap * sizeof(*more));
		r->users = more;
		r->cap = r->cap * 2 + 64;
	}
	r->users[r->n_users++] = arena_str(r->a, key);
	return 0;
}

static int save_server(struct run *r, struct err *e)
{
	struct backup_result res = { 0 };
	struct cdbfile *c;
	char path[4096];

	int rc = backup_files(r->conf, r->o->dir, &res, e);
	if (rc == 0)
		rc = prune(r, "server", e);
	said(r, "server", &res, e);
	r->failed += res.failed > 0;
	if (rc < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/accounts.cdb", r->conf->state_directory);
	if (accounts_open(path, false, &c, e) < 0)
		return -1;
	rc = cdbfile_each(c, on_account, r, e);
	cdbfile_close(&c);
	if (r->n_users)
		qsort(r->users, r->n_users, sizeof(*r->users), backup_by_name);
	return rc;
}

static int save(struct run *r, struct err *e)
{
	if (r->o->user) {
		save_user(r, r->o->user);
		return 0;
	}
	if (save_server(r, e) < 0)
		return -1;
	for (size_t i = 0; i < r->n_users; i++)
		save_user(r, r->users[i].p);
	return 0;
}

/* --- looking at a backup --- */

static int list_one(struct run *r, const char *owner, struct err *e)
{
	struct backup_store *s = NULL;
	struct str *names;
	size_t n;

	if (backup_store_open(r->o->dir, owner, false, &s, e) < 0)
		return -1;
	int rc = backup_snapshots(s, r->a, &names, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (!r->o->json) {
			printf("%.*s  %s\n", STR_ARG(names[i]), owner);
			continue;
		}
		putchar('{');
		json_field(stdout, "owner", str_c(owner), true);
		json_field(stdout, "snapshot", names[i], false);
		puts("}");
	}
	backup_store_close(&s);
	return rc;
}

static int verify_rows(struct backup_store *s, struct backup_result *res, struct err *e)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader rd;
	struct buf list;

	buf_init(&list, (size_t)BACKUP_LIST_MAX + 1);
	int rc = backup_snapshot_read(s, NULL, &list, e);
	if (rc == 0)
		rc = backup_list_open(buf_view(&list), &rd, e);
	while (rc == 0 && row != ROW_END && (rc = backup_list_next(&rd, &row, e)) == 0) {
		res->folders += row == ROW_FOLDER;
		if (row != ROW_MESSAGE && row != ROW_FILE)
			continue;
		res->messages++;
		res->bytes += row == ROW_FILE ? rd.file.size : rd.message.size;
		rc = backup_object_verify(s, row == ROW_FILE ? rd.file.sum : rd.message.sum, e);
	}
	buf_fini(&list);
	return rc;
}

static int verify_one(struct run *r, const char *owner, struct err *e)
{
	struct backup_result res = { 0 };
	struct backup_store *s = NULL;
	struct str *names;
	size_t n = 0;

	if (backup_store_open(r->o->dir, owner, false, &s, e) < 0)
		return -1;
	int rc = backup_snapshots(s, r->a, &names, &n, e);
	if (rc == 0 && n > 0) {
		(void)snprintf(res.snapshot, sizeof(res.snapshot), "%s", names[n - 1].p);
		rc = verify_rows(s, &res, e);
	}
	backup_store_close(&s);
	said(r, owner, &res, e);
	r->failed += rc < 0;
	return 0;
}

/* server, then each name of users/. */
static int each_owner(struct run *r, owner_fn *fn, struct err *e)
{
	char owner[ACCOUNT_NAME_MAX + 8];
	struct err one = { 0 };
	int rc = 0;

	if (r->o->user) {
		(void)snprintf(owner, sizeof(owner), "users/%s", r->o->user);
		return account_name_valid(str_c(r->o->user)) ? fn(r, owner, e) : err_set(e, ERR_INPUT, 0, "not the name of a user");
	}
	if (fn(r, "server", &one) < 0 && one.code != ERR_NOENT)
		return err_set(e, one.code, 0, "%s", one.text);
	struct str *names;
	size_t n;

	if (backup_users(r->o->dir, r->a, &names, &n, e) < 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		(void)snprintf(owner, sizeof(owner), "users/%s", names[i].p);
		err_clear(&one);
		if (fn(r, owner, &one) < 0)
			rc = err_set(e, one.code, 0, "%s", one.text);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct options o;
	struct conf *conf;
	struct err e = { 0 };

	proc_init(argc, argv);
	const int status = options_get(argc, argv, &o);
	if (status >= 0)
		return status;
	if (conf_load_told("postern-backup", o.conf_file, false, &conf) < 0)
		return EXIT_CONF;
	struct run r = { .o = &o, .conf = conf, .a = arena_new(0) };

	umask(077);
	if (place(&o, conf, &e) < 0) {
		fprintf(stderr, "postern-backup: %s\n", e.text);
		return EXIT_USAGE;
	}
	int rc = lock(o.dir, !o.list && !o.verify, &e);
	if (rc == 0)
		rc = o.list ? each_owner(&r, list_one, &e) : o.verify ? each_owner(&r, verify_one, &e) : save(&r, &e);
	if (rc < 0)
		fprintf(stderr, "postern-backup: %s\n", e.text);
	arena_free(&r.a);
	conf_free(&conf);
	return rc < 0 ? EXIT_TEMP : r.failed ? EXIT_FAILED : 0;
}
