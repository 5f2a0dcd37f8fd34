/* The writer's end: a folder that messages are put into, a batch at a time. A batch is durable when it is committed; then each message is read again from disk and
 * compared, and its id is noted. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/sha256.h"
#include "admin/import/import.h"
#include "os/os.h"
#include "store/maildir.h"

enum { DONE_FILE_MAX = 512 << 20, LOCK_TRIES = 100 };

static const char DONE_NAME[] = "postern.imported";

struct pending {
	char id[IMPORT_ID_LEN + 1];
	unsigned char sum[SUM_LEN];
	uint64_t bytes;
};

struct import_target {
	struct import *im;
	struct import_row *row;
	struct mbox *m;			/* NULL: a dry run of a folder that is not there */
	struct mbox_view *v;
	struct map *here;		/* ids in the names of its files */
	struct mbox_append *ap;
	struct sha256 sum;		/* of the message that is coming */
	struct pending batch[IMPORT_BATCH_MAX];
	size_t n;
	uint64_t batch_bytes;
};

static char yes;	/* what maps hold */

/* --- ids --- */

void import_id(const struct str *parts, size_t n, char out[IMPORT_ID_LEN + 1])
{
	unsigned char sum[SUM_LEN];
	struct sha256 s;
	struct buf hex;

	sha256_init(&s);
	for (size_t i = 0; i < n; i++) {
		sha256_add(&s, parts[i]);
		sha256_add(&s, str_n("", 1));
	}
	sha256_end(&s, sum);
	buf_init(&hex, IMPORT_ID_LEN + 1);
	hex_encode(&hex, str_n(sum, IMPORT_ID_LEN / 2));
	memcpy(out, hex.p, IMPORT_ID_LEN + 1);
	buf_fini(&hex);
}

void import_id_nth(char id[IMPORT_ID_LEN + 1], unsigned nth)
{
	char number[16];

	if (nth == 0)
		return;
	(void)snprintf(number, sizeof number, "%u", nth);
	const struct str parts[] = { str_n(id, IMPORT_ID_LEN), str_c(number) };
	import_id(parts, ARRAY_LEN(parts), id);
}

/* --- start and end --- */

static int done_read(struct import *im, struct err *e)
{
	struct err one = { 0 };
	struct buf b;

	buf_init(&b, (size_t)DONE_FILE_MAX + 1);
	if (file_read_at(im->rootfd, DONE_NAME, DONE_FILE_MAX, &b, &one) < 0 && one.code != ERR_NOENT) {
		buf_fini(&b);
		return err_set(e, ERR_TEMP, 0, "%s: %s", DONE_NAME, one.text);
	}
	struct str rest = buf_view(&b);
	while (rest.n > 0) {
		const struct str line = str_split(&rest, '\n');
		if (line.n == IMPORT_ID_LEN)	/* what a crash cut short is known by its file's name */
			(void)map_set(im->done, line, &yes);
	}
	buf_fini(&b);
	return 0;
}

/* One import of a user at a time: two would not know of each other's messages. Held until the process ends. */
static int lock(struct import *im, struct err *e)
{
	char path[ACCOUNT_PATH_MAX + 32];

	(void)snprintf(path, sizeof path, "%s/postern.importlock", im->acct->maildir);
	const int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		const struct timespec pause = { .tv_nsec = 20000000L };
		nanosleep(&pause, NULL);
	}
	close(fd);
	return err_set(e, ERR_LIMIT, 0, "another import for this user is running");
}

int import_start(struct import *im, struct err *e)
{
	im->a = arena_new(0);
	im->done = map_new();
	im->tail = &im->rows;
	im->rootfd = -1;
	if (store_open(im->acct->maildir, !im->o->dry_run, &im->s, e) < 0) {
		if (!im->o->dry_run || e->code != ERR_NOENT)
			return -1;
		err_clear(e);
		return 0;
	}
	/* Mail may come before the user does: the folders of a new user are made here, too. */
	store_defaults(im->s, im->conf->default_folders.v, im->conf->default_folders.n);
	if (!im->o->dry_run && lock(im, e) < 0)
		return -1;
	store_quota_limits(im->s, &(struct quota){ im->acct->quota_bytes, im->acct->quota_count });
	return maildir_open(im->acct->maildir, false, &im->rootfd, e) < 0 ? -1 : done_read(im, e);
}

void import_end(struct import *im)
{
	store_close(&im->s);
	close_fd(&im->rootfd);
	map_free(&im->done);
	arena_free(&im->a);
}

/* --- a folder --- */

/* The user's own folder of that use. */
static struct str own_special(struct import *im, struct str name, struct str special)
{
	struct store_folder *f;
	struct err ignored = { 0 };

	if (special.n == 0 || im->s == NULL || store_list(im->s, im->a, &f, &ignored) < 0)
		return name;
	for (; f; f = f->next)
		if (str_case_eq(f->special_use, special))
			return f->name;
	return name;
}

static bool folder_there(struct import *im, struct str name)
{
	struct store_folder *f;
	struct err ignored = { 0 };

	if (im->s == NULL || store_list(im->s, im->a, &f, &ignored) < 0)
		return false;
	for (; f; f = f->next)
		if (f->exists && str_eq(f->name, name))
			return true;
	return false;
}

static void ids_of_names(struct import_target *t)
{
	for (uint32_t seq = 1; seq <= mbox_view_count(t->v); seq++) {
		struct maildir_name n;
		maildir_name_parse(str_c(mbox_msg_basename(t->v, seq)), &n);
		if (n.id.n == IMPORT_ID_LEN)
			(void)map_set(t->here, n.id, &yes);
	}
}

static int folder_open(struct import_target *t, struct str name, struct str special, struct err *e)
{
	struct import *const im = t->im;

	if (!folder_there(im, name)) {
		if (im->o->dry_run)
			return 0;
		if (!str_case_eq(name, STR("INBOX")) && store_create(im->s, name, special, e) < 0 && e->code != ERR_EXISTS)
			return -1;
		err_clear(e);
		if ((!im->subscribed || map_get(im->subscribed, name)) && store_subscribe(im->s, name, true, e) < 0)
			return -1;
	}
	if (mbox_open(im->s, name, &t->m, e) < 0 || (!im->o->dry_run && mbox_settle(t->m, IMPORT_ID_LEN, e) < 0))
		return -1;
	t->v = mbox_view_new(t->m);
	ids_of_names(t);
	return 0;
}

int import_target_open(struct import *im, struct str name, struct str special, const char *source, struct import_target **out, struct err *e)
{
	struct import_target *const t = xzalloc(sizeof *t);

	/* A restored folder is that one, whatever is used in its place now. */
	name = arena_str(im->a, im->restore ? name : own_special(im, name, special));
	t->im = im;
	t->here = map_new();
	t->row = ARENA_NEW(im->a, struct import_row);
	(void)snprintf(t->row->folder, sizeof t->row->folder, "%.*s", STR_ARG(name));
	(void)snprintf(t->row->source, sizeof t->row->source, "%s", source);
	*im->tail = t->row;
	im->tail = &t->row->next;
	if (folder_open(t, name, special, e) < 0) {
		(void)snprintf(t->row->note, sizeof t->row->note, "%s", e->text);
		t->row->failed++;
		struct err ignored = { 0 };
		(void)!import_target_close(&(struct import_target *){ t }, &ignored);
		return -1;
	}
	*out = t;
	return 0;
}

bool import_target_is_at(const struct import_target *t, int dirfd)
{
	return t->m && mbox_is_at(t->m, dirfd);
}

struct import_row *import_row(struct import_target *t)
{
	return t->row;
}

int import_target_adopt(struct import_target *t, uint32_t uidvalidity, struct err *e)
{
	return t->m && !t->im->o->dry_run ? mbox_adopt_uidvalidity(t->m, uidvalidity, e) : 0;
}

bool import_target_known(const struct import_target *t, const char *id)
{
	return map_get(t->im->done, str_c(id)) || map_get(t->here, str_c(id));
}

bool import_target_has(struct import_target *t, uint32_t uidvalidity, uint32_t uid, uint64_t size)
{
	const uint32_t seq = t->v ? mbox_view_seq(t->v, uid) : 0;
	struct mbox_status st;
	struct mbox_msg m;
	struct err ignored = { 0 };

	return seq != 0 && mbox_status(t->m, &st, &ignored) == 0 && st.uidvalidity == uidvalidity && mbox_msg_get(t->v, seq, &m, &ignored) == 0 && m.size == size;
}

int import_target_reserve(struct import_target *t, uint32_t next, struct err *e)
{
	return t->m && !t->im->o->dry_run ? mbox_reserve_uids(t->m, next, e) : 0;
}

/* --- messages --- */

/* CR is left out: the store keeps lines as LF. */
static void sum_text(struct sha256 *sum, struct str s)
{
	while (s.n > 0) {
		const char *const cr = memchr(s.p, '\r', s.n);
		const size_t n = cr ? (size_t)(cr - s.p) : s.n;
		sha256_add(sum, str_sub(s, 0, n));
		s = str_from(s, cr ? n + 1 : n);
	}
}

int import_message_begin(struct import_target *t, const struct import_message *m, struct err *e)
{
	const struct mbox_origin from = { .id = m->id, .uid = m->uid, .pop3_uidl = m->pop3_uidl, .pop3_order = m->pop3_order };

	memcpy(t->batch[t->n].id, m->id, sizeof t->batch[t->n].id);
	t->batch[t->n].bytes = 0;
	sha256_init(&t->sum);
	if (t->im->o->dry_run)
		return 0;
	if (t->ap == NULL && mbox_append_begin(t->m, &t->ap, e) < 0)
		return -1;
	return mbox_append_import(t->ap, &from, m->flags, m->keywords, m->n_keywords, m->date, e);
}

int import_message_data(struct import_target *t, struct str data, struct err *e)
{
	t->batch[t->n].bytes += data.n;
	t->batch_bytes += data.n;
	sum_text(&t->sum, data);
	return t->ap ? mbox_append_data(t->ap, data, e) : 0;
}

int import_message_end(struct import_target *t, struct err *e)
{
	sha256_end(&t->sum, t->batch[t->n].sum);
	(void)map_set(t->here, str_c(t->batch[t->n].id), &yes);
	t->n++;
	return t->n == IMPORT_BATCH_MAX || t->batch_bytes >= IMPORT_BATCH_BYTES ? import_commit(t, e) : 0;
}

/* Is what stands on the disk what came? */
static bool verify(struct import_target *t, uint32_t uid, const struct pending *p)
{
	static char chunk[65536];
	unsigned char sum[SUM_LEN];
	struct err ignored = { 0 };
	CLEANUP_FD int fd = -1;
	ssize_t n;
	const uint32_t seq = mbox_view_seq(t->v, uid);

	if (seq == 0 || mbox_msg_open(t->v, seq, &fd, &ignored) < 0)
		return false;
	sha256_init(&t->sum);
	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		sum_text(&t->sum, str_n(chunk, (size_t)n));
	sha256_end(&t->sum, sum);
	return n == 0 && memcmp(sum, p->sum, SUM_LEN) == 0;
}

static int note_ids(struct import_target *t, struct err *e)
{
	char lines[IMPORT_BATCH_MAX * (IMPORT_ID_LEN + 1)];
	size_t n = 0;
	CLEANUP_FD int fd = openat(t->im->rootfd, DONE_NAME, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "%s", DONE_NAME);
	for (size_t i = 0; i < t->n; i++) {
		memcpy(lines + n, t->batch[i].id, IMPORT_ID_LEN);
		n += IMPORT_ID_LEN;
		lines[n++] = '\n';
		(void)map_set(t->im->done, str_c(t->batch[i].id), &yes);
	}
	return write_all(fd, lines, n, e);
}

int import_commit(struct import_target *t, struct err *e)
{
	uint32_t uids[IMPORT_BATCH_MAX];
	size_t n = 0;

	if (t->ap && (mbox_append_commit(&t->ap, uids, &n, e) < 0 || mbox_view_sync(t->v, true, NULL, NULL, e) < 0)) {
		t->row->failed += t->n;
		t->n = 0;
		return -1;
	}
	for (size_t i = 0; i < t->n; i++) {
		t->row->imported++;
		t->row->bytes += t->batch[i].bytes;
		if (t->im->o->dry_run)
			continue;
		if (verify(t, uids[i], &t->batch[i]))
			t->row->verified++;
		else
			t->row->failed++;
	}
	const int r = t->n > 0 && !t->im->o->dry_run ? note_ids(t, e) : 0;
	t->n = 0;
	t->batch_bytes = 0;
	return r;
}

int import_target_close(struct import_target **tp, struct err *e)
{
	struct import_target *const t = *tp;
	int r = 0;

	*tp = NULL;
	if (t == NULL)
		return 0;
	r = import_commit(t, e);
	mbox_append_abort(&t->ap);
	mbox_view_free(&t->v);
	mbox_close(&t->m);
	map_free(&t->here);
	free(t);
	return r;
}
