/* The parent's side of one mailbox: asks the child folder by folder, fetches the content of what no snapshot holds, writes the list. A message is known by folder,
 * UIDVALIDITY and UID, which never mean another one. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/map.h"
#include "base/num.h"
#include "ipc/import.h"
#include "ipc/ipc.h"
#include "os/confine.h"
#include "os/os.h"

enum { BATCH = 256, WAIT_MS = 300000, KEY_MAX = 1100 };

struct pull {
	int chan;
	struct backup_store *store;
	struct arena *a;		/* of the whole run */
	struct map *known;		/* "validity uid folder": its message in the last snapshot */
	struct buf list;
	uint64_t rows;
	struct backup_result *res;
	struct backup_folder folder;
	struct backup_message batch[BATCH];
	uint32_t places[BATCH];
	size_t n;
	uint64_t message_max, sum, sum_max;	/* bytes */
	const char *user;
	bool tty;
};

/* --- the child --- */

static void child(const struct conf *conf, const struct account *acct, int chan, bool unconfined)
{
	const struct confine_path path = { .path = acct->maildir, .write = true };
	struct confine c = { .role = CONFINE_IMPORT, .paths = &path, .unconfined = unconfined };
	struct err e = { 0 };
	struct stat st;

	(void)conf;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(acct->gid, acct->gid, acct->gid) < 0 || setresuid(acct->uid, acct->uid, acct->uid) < 0))
		_exit(75);
	/* Who never had mail has no mailbox yet. */
	c.n_paths = lstat(acct->maildir, &st) == 0 || errno != ENOENT;
	if (geteuid() != acct->uid || setuid(0) == 0 || chdir("/") < 0 || confine_enter(&c, &e) < 0) {
		(void)fprintf(stderr, "postern-backup: %s: %s\n", acct->name, e.text);
		_exit(75);
	}
	backup_serve(chan, c.n_paths ? acct->maildir : NULL);
	_exit(0);
}

static pid_t child_start(const struct conf *conf, const struct account *acct, bool unconfined, int *chan_out, struct err *e)
{
	int sp[2];

	if (sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return -1;
	(void)fflush(NULL);
	const pid_t pid = fork();

	if (pid == 0) {
		close(sp[0]);
		child(conf, acct, sp[1], unconfined);
	}
	close(sp[1]);
	*chan_out = sp[0];
	if (pid < 0)
		close(sp[0]);
	return pid < 0 ? err_set(e, ERR_TEMP, errno, "fork") : pid;
}

/* --- questions --- */

static int ask(struct pull *p, uint16_t type, const void *msg, struct err *e)
{
	return ipc_send_fd(p->chan, &ipc_import, type, msg, 1, -1, e);
}

/* The next answer. 0; 1 END (in *msg); -1. */
static int hear(struct pull *p, struct arena *a, uint16_t *type, void **msg, struct err *e)
{
	uint32_t id;
	int fd = -1;

	if (ipc_recv_fd(p->chan, &ipc_import, WAIT_MS, a, type, &id, msg, &fd, e) < 0)
		return -1;
	close_fd(&fd);
	if (*type == IPC_import_FAILED) {
		const struct ipc_import_FAILED *const f = *msg;
		return err_set(e, f->code == ERR_NOENT ? ERR_NOENT : ERR_TEMP, 0, "%.*s", STR_ARG(f->text));
	}
	return *type == IPC_import_END;
}

/* Left out; the exit status says it. */
static void too_large(struct pull *p, const struct backup_message *m)
{
	if (++p->res->failed <= BACKUP_WARNINGS_MAX)
		(void)fprintf(stderr, "postern-backup: %s: %.*s: message %u has %llu bytes, too many: not saved\n", p->user, STR_ARG(p->folder.name), m->uid,
			      (unsigned long long)m->size);
}

static int nonsense(struct err *e)
{
	return err_set(e, ERR_BUG, 0, "the reader talks nonsense");
}

/* --- what is known --- */

static struct str key_of(uint32_t validity, uint32_t uid, struct str folder, char out[KEY_MAX])
{
	return str_n(out, (size_t)snprintf(out, KEY_MAX, "%u %u %.*s", validity, uid, STR_ARG(folder)));
}

/* No snapshot, or one that cannot be read: everything is fetched. */
static void read_known(struct pull *p)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader r;
	struct err e = { 0 };
	struct buf list;
	char key[KEY_MAX];

	buf_init(&list, (size_t)BACKUP_LIST_MAX + 1);
	int rc = backup_snapshot_read(p->store, NULL, &list, &e);
	if (rc == 0)
		rc = backup_list_open(buf_view(&list), &r, &e);
	while (rc == 0 && row != ROW_END && (rc = backup_list_next(&r, &row, &e)) == 0)
		if (row == ROW_MESSAGE) {
			struct backup_message *m = ARENA_NEW(p->a, struct backup_message);
			*m = r.message;
			m->keywords = STR("");
			(void)map_set(p->known, key_of(r.folder.uidvalidity, m->uid, r.folder.name, key), m);
		}
	buf_fini(&list);
}

/* --- a batch: first what each is, then the content of those that are new --- */

static void take_head(struct pull *p, struct arena *a, const struct ipc_import_MESSAGE *m, struct backup_message *out)
{
	struct buf words;

	buf_init(&words, 1 << 18);
	for (size_t i = 0; i < m->keywords.n; i++) {
		if (i)
			buf_ch(&words, ' ');
		/* A keyword is an atom (RFC 3501): what is not cannot be listed, and is not one. */
		for (size_t k = 0; k < m->keywords.v[i].n; k++)
			buf_ch(&words, (unsigned char)m->keywords.v[i].p[k] <= ' ' ? '_' : m->keywords.v[i].p[k]);
	}
	out->flags = (uint32_t)m->flags & 0x7f;
	out->date = (int64_t)(m->date & INT64_MAX);
	out->size = m->size;
	out->keywords = arena_str(a, buf_view(&words));
	buf_fini(&words);
}

static int take_content(struct pull *p, struct backup_message *out, struct err *e)
{
	struct arena *a = arena_new(0);
	uint64_t left = out->size;
	uint16_t type;
	void *msg;
	bool fresh;
	/* What was asked for had a size that is saved; a file that has grown since is none of the suite's. */
	int r = left > p->message_max ? nonsense(e) : backup_object_begin(p->store, e);

	while (r == 0 && left > 0) {
		arena_reset(a);
		if ((r = hear(p, a, &type, &msg, e)) != 0 || type != IPC_import_CHUNK || ((const struct ipc_import_CHUNK *)msg)->data.n > left ||
		    ((const struct ipc_import_CHUNK *)msg)->data.n == 0)
			r = r < 0 ? -1 : nonsense(e);
		else {
			left -= ((const struct ipc_import_CHUNK *)msg)->data.n;
			r = backup_object_data(p->store, ((const struct ipc_import_CHUNK *)msg)->data, e);
		}
	}
	if (r == 0 && (r = backup_object_end(p->store, out->sum, &fresh, e)) == 0) {
		p->res->added++;
		p->res->added_bytes += fresh ? out->size : 0;
	}
	arena_free(&a);
	return r;
}

static size_t index_of(const struct pull *p, uint64_t place)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->places[i] == place)
			return i;
	return BATCH;
}

static int get(struct pull *p, struct arena *keep, const uint32_t *places, size_t n, bool head, struct err *e)
{
	unsigned char packed[4 * BATCH];
	struct arena *a = arena_new(0);
	const struct ipc_import_GET m = { .places = str_n(packed, 4 * n), .head = head };
	size_t answers = 0;
	uint16_t type;
	void *msg;

	for (size_t i = 0; i < n; i++)
		put_le32(packed + 4 * i, places[i]);
	int r = ask(p, IPC_import_GET, &m, e);
	while (r == 0 && (r = hear(p, a, &type, &msg, e)) == 0) {
		const struct ipc_import_MESSAGE *const got = msg;
		const size_t i = type == IPC_import_MESSAGE ? index_of(p, got->place) : BATCH;
		if (i == BATCH || ++answers > n)
			r = nonsense(e);
		else if (take_head(p, keep, got, &p->batch[i]), !head)
			r = take_content(p, &p->batch[i], e);
		arena_reset(a);
	}
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

/* Before anything of it is fetched. */
static int count_in(struct pull *p, uint64_t bytes, struct err *e)
{
	if (bytes > p->sum_max - p->sum)
		return err_set(e, ERR_LIMIT, 0, "the mailbox holds more than backup_user_size_max (%llu bytes): nothing of it was saved", (unsigned long long)p->sum_max);
	p->sum += bytes;
	return 0;
}

static int batch(struct pull *p, struct err *e)
{
	struct arena *a = arena_new(0);
	uint32_t wanted[BATCH];
	char key[KEY_MAX];
	size_t n = 0;

	int r = p->n ? get(p, a, p->places, p->n, true, e) : 0;
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		const struct backup_message *k = map_get(p->known, key_of(p->folder.uidvalidity, p->batch[i].uid, p->folder.name, key));
		if (p->batch[i].keywords.p == NULL)
			continue;	/* gone already */
		if (p->batch[i].size > p->message_max)
			too_large(p, &p->batch[i]);
		else if ((r = count_in(p, p->batch[i].size, e)) < 0)
			;
		else if (k && k->size == p->batch[i].size && backup_object_there(p->store, k->sum, k->size))
			memcpy(p->batch[i].sum, k->sum, sizeof(k->sum));
		else
			wanted[n++] = p->places[i];
	}
	if (r == 0 && n)
		r = get(p, a, wanted, n, false, e);
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		if (p->batch[i].sum[0] == '\0') {
			p->res->vanished += p->batch[i].size <= p->message_max;
			continue;
		}
		backup_put_message(&p->list, &p->batch[i]);
		p->rows++;
		p->res->messages++;
		p->res->bytes += p->batch[i].size;
	}
	p->n = 0;
	arena_free(&a);
	return r;
}

/* --- folders --- */

static int list_uids(struct pull *p, uint64_t number, uint32_t **uids, size_t *n_out, struct err *e)
{
	const struct ipc_import_SELECT sel = { .number = number };
	struct arena *a = arena_new(0);
	size_t n = 0, cap = 0;
	uint16_t type;
	uint64_t uid;
	void *msg;
	int r = ask(p, IPC_import_SELECT, &sel, e);

	*uids = NULL;
	while (r == 0 && (r = hear(p, a, &type, &msg, e)) == 0) {
		const struct ipc_import_LISTED *const l = msg;
		if (type != IPC_import_LISTED || l->ids.n == 0)
			r = nonsense(e);
		else if (p->rows + n + l->ids.n >= BACKUP_ROWS_MAX)
			r = err_set(e, ERR_LIMIT, 0, "more than %d messages", BACKUP_ROWS_MAX);
		for (size_t i = 0; r == 0 && i < l->ids.n; i++) {
			if (n == cap)
				*uids = xrealloc(*uids, (cap = cap * 2 + 1024) * sizeof(**uids));
			r = num_parse(l->ids.v[i], 1, UINT32_MAX, &uid) < 0 ? nonsense(e) : 0;
			(*uids)[n++] = (uint32_t)uid;
		}
		arena_reset(a);
	}
	if (r == 1) {
		p->folder.uidvalidity = (uint32_t)((const struct ipc_import_END *)msg)->uidvalidity;
		p->folder.uidnext = (uint32_t)((const struct ipc_import_END *)msg)->uidnext;
	}
	*n_out = n;
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

static int one_folder(struct pull *p, uint64_t number, struct err *e)
{
	uint32_t *uids;
	size_t n;
	int r = list_uids(p, number, &uids, &n, e);

	if (r == 0) {
		backup_put_folder(&p->list, &p->folder);
		p->rows++;
		p->res->folders++;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		p->places[p->n] = (uint32_t)i;
		p->batch[p->n++] = (struct backup_message){ .uid = uids[i] };
		if (p->n == BATCH || i + 1 == n)
			r = batch(p, e);
		if (p->tty && p->n == 0)
			(void)fprintf(stderr, "\r%.60s: %zu of %zu\033[K", p->folder.name.p, i + 1, n);
	}
	free(uids);
	return r < 0 ? err_wrap(e, "%.*s", STR_ARG(p->folder.name)) : 0;
}

static int list_folders(struct pull *p, struct backup_folder **v, size_t *n_out, struct err *e)
{
	const struct ipc_import_FOLDERS none = { 0 };
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r = ask(p, IPC_import_FOLDERS, &none, e);

	*v = NULL;
	*n_out = 0;
	while (r == 0 && (r = hear(p, a, &type, &msg, e)) == 0) {
		const struct ipc_import_FOLDER *const f = msg;
		if (type != IPC_import_FOLDER || memchr(f->name.p, '\n', f->name.n) || memchr(f->name.p, 0, f->name.n)) {
			r = nonsense(e);
			break;
		}
		if (*n_out == BACKUP_FOLDERS_MAX) {
			r = err_set(e, ERR_LIMIT, 0, "more than %d folders", BACKUP_FOLDERS_MAX);
			break;
		}
		*v = xrealloc(*v, (*n_out + 1) * sizeof(**v));
		(*v)[(*n_out)++] = (struct backup_folder){ .name = arena_str(p->a, f->name), .special = arena_str(p->a, f->special), .subscribed = f->subscribed };
		arena_reset(a);
	}
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

static int all_folders(struct pull *p, const char *dir, const char *owner, const char *only, struct err *e)
{
	struct backup_folder *v;
	size_t n;
	bool seen = false;
	int r = list_folders(p, &v, &n, e);

	if (r == 0 && (r = backup_store_open(dir, owner, true, &p->store, e)) == 0)
		read_known(p);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (only && !str_eq(v[i].name, str_c(only)))
			continue;
		seen = true;
		p->folder = v[i];
		r = one_folder(p, i, e);
	}
	free(v);
	return r == 0 && only && !seen ? err_set(e, ERR_NOENT, 0, "there is no folder %s", only) : r;
}

static int run(struct pull *p, const char *dir, const char *owner, const char *only, struct err *e)
{
	backup_list_begin(&p->list);
	if (all_folders(p, dir, owner, only, e) < 0)
		return -1;
	backup_list_end(&p->list, p->rows);
	return buf_check(&p->list, "the list", e) < 0 ? -1 : backup_snapshot_write(p->store, buf_view(&p->list), p->res->snapshot, e);
}

int backup_mail(const struct conf *conf, const char *dir, const struct account *acct, const char *folder, bool unconfined, bool tty, struct backup_result *out,
		struct err *e)
{
	struct pull *p = xzalloc(sizeof(*p));
	char owner[ACCOUNT_NAME_MAX + 8];
	int status;

	*out = (struct backup_result){ 0 };
	p->a = arena_new(0);
	p->known = map_new();
	p->res = out;
	p->tty = tty;
	p->user = acct->name;
	p->message_max = (uint64_t)conf->message_size_limit > BACKUP_MESSAGE_MAX ? (uint64_t)conf->message_size_limit : BACKUP_MESSAGE_MAX;
	p->sum_max = conf->backup_user_size_max;
	buf_init(&p->list, BACKUP_LIST_MAX);
	(void)snprintf(owner, sizeof(owner), "users/%s", acct->name);
	int r = -1;
	const pid_t pid = child_start(conf, acct, unconfined, &p->chan, e);

	if (pid > 0) {
		r = run(p, dir, owner, folder, e);
		close(p->chan);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (tty)
		(void)fputs("\r\033[K", stderr);
	backup_store_close(&p->store);
	buf_fini(&p->list);
	map_free(&p->known);
	arena_free(&p->a);
	free(p);
	return r;
}
