/* The files of a mail tree's root that are no folder's: the counter that UIDVALIDITY comes from, subscriptions, special uses; and the
 * kernel locks (held by descriptors, released by death).
 *
 *   postern.root           "1 <last uidvalidity handed out>\n"
 *   postern.subscriptions  a name per line, UTF-8
 *   postern.special        "<special use> <name>" per line
 *
 * Dovecot's and Courier's subscription files are read when ours does not exist yet, and never written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"
#include "store/takeover.h"

#define ROOT_NAME "postern.root"
#define SUBS_NAME "postern.subscriptions"
#define SPECIAL_NAME "postern.special"

enum {
	ROOT_FILE_MAX = STORE_FOLDERS_MAX * 1100,
	LOCK_STEP_FIRST_US = 100,
	LOCK_STEP_MAX_US = 10000,
};

/* --- quota --- */

void store_quota_limits(struct store *s, const struct quota *limits)
{
	s->limits = *limits;
}

const struct quota *store_quota(const struct store *s)
{
	return &s->limits;
}

int store_quota_use(struct store *s, struct quota *use_out, struct err *e)
{
	return quota_use(s->rootfd, &s->limits, use_out, e);
}

int store_quota_check(struct store *s, uint64_t bytes, uint64_t count, struct err *e)
{
	return quota_check(s->rootfd, &s->limits, &(struct quota){ bytes, count }, e);
}

int store_quota_instead(struct store *s, uint64_t bytes, uint64_t gone, struct err *e)
{
	return bytes <= gone ? 0 : store_quota_check(s, bytes - gone, 0, e);
}

void store_quota_add(struct store *s, int64_t bytes, int64_t count)
{
	quota_add(s->rootfd, &s->limits, bytes, count);
}

void store_quota_forget(struct store *s)
{
	if (quota_is_set(&s->limits))
		quota_forget(s->rootfd);
}

/* --- locks --- */

int lock_try(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? 1 : -1;
}

/* The kernel's own waiting cannot be bounded without a signal; a lock is held for milliseconds, but for that of a folder which is being made whole, so short naps serve. */
int lock_take(int fd, const char *what, struct err *e)
{
	const uint64_t start = clock_mono_ms();
	long step = LOCK_STEP_FIRST_US;
	int r;

	while ((r = lock_try(fd)) == 1) {
		if (clock_mono_ms() - start > LOCK_WAIT_MS)
			return err_set(e, ERR_TEMP, 0, "%s is locked by another process for %d s", what, LOCK_WAIT_MS / 1000);
		nanosleep(&(struct timespec){ .tv_nsec = step * 1000 }, NULL);
		step = step * 2 > LOCK_STEP_MAX_US ? LOCK_STEP_MAX_US : step * 2;
	}
	return r < 0 ? err_set(e, ERR_TEMP, errno, "cannot lock %s", what) : 0;
}

void lock_release(int fd)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	(void)fcntl(fd, F_OFD_SETLK, &l);
}

int root_lock(struct store *s, struct err *e)
{
	if (s->lock_depth == 0) {
		if (s->lockfd < 0)
			s->lockfd = openat(s->rootfd, "postern.rootlock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
		if (s->lockfd < 0)
			return err_set(e, ERR_TEMP, errno, "postern.rootlock");
		if (lock_take(s->lockfd, "the mail tree", e) < 0)
			return -1;
	}
	s->lock_depth++;
	return 0;
}

void root_unlock(struct store *s)
{
	if (--s->lock_depth == 0)
		lock_release(s->lockfd);
}

/* --- UIDVALIDITY --- */

/* Dovecot's counter: the file's eight hex digits, or a higher one in the name of its empty companion. */
static uint32_t dovecot_uidvalidity(int rootfd)
{
	struct err e = { 0 };
	struct buf b;
	uint64_t v = 0, w;
	int fd;
	DIR *d;

	buf_init(&b, 64);
	if (file_read_at(rootfd, "dovecot-uidvalidity", 32, &b, &e) == 0 && num_parse_hex(str_trim(buf_view(&b)), UINT32_MAX, &w) == 0)
		v = w;
	buf_fini(&b);
	fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		close_fd(&fd);
		return (uint32_t)v;
	}
	for (struct dirent *de; (de = readdir(d)) != NULL;) {
		const struct str n = str_c(de->d_name);
		if (str_starts(n, STR("dovecot-uidvalidity.")) && num_parse_hex(str_from(n, 20), UINT32_MAX, &w) == 0 && w > v)
			v = w;
	}
	closedir(d);
	return (uint32_t)v;
}

static int highest_of_folder(void *ctx, const char *dir, struct err *e)
{
	const struct store *const s = ((struct store **)ctx)[0];
	uint32_t *const top = ((uint32_t **)ctx)[1];
	uint32_t uv, bound;
	uint8_t id[16];

	CLEANUP_FD int fd = openat(s->rootfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && ident_read(fd, &uv, id, &bound) == 0 && uv > *top)
		*top = uv;
	return 0;
}

static int counter_write(struct store *s, uint32_t last, struct err *e)
{
	char text[32];
	const int n = snprintf(text, sizeof(text), "1 %u\n", last);

	return file_replace_at(s->rootfd, ROOT_NAME, str_n(text, (size_t)n), 0600, e);
}

/* The last value handed out. Our file; when it is lost: what all folders and Dovecot's counter say. */
static int counter_read(struct store *s, uint32_t *last_out, struct err *e)
{
	struct err quiet = { 0 };
	struct buf b;
	uint64_t v = 0;
	bool good;

	buf_init(&b, 64);
	good = file_read_at(s->rootfd, ROOT_NAME, 63, &b, &quiet) == 0 && str_starts(buf_view(&b), STR("1 ")) &&
	       num_parse(str_trim(str_from(buf_view(&b), 2)), 1, UINT32_MAX, &v) == 0;
	buf_fini(&b);
	if (!good && quiet.code != ERR_NONE && quiet.code != ERR_NOENT)
		return err_set(e, ERR_TEMP, 0, "%s", quiet.text);
	*last_out = (uint32_t)v;
	if (good)
		return 0;
	*last_out = dovecot_uidvalidity(s->rootfd);
	void *ctx[] = { s, last_out };
	return root_each_dir(s, highest_of_folder, ctx, e);
}

int root_uidvalidity(struct store *s, uint32_t *out, struct err *e)
{
	const int64_t now = clock_wall();
	uint32_t last;
	int r;

	if (root_lock(s, e) < 0)
		return -1;
	r = counter_read(s, &last, e);
	if (r == 0 && last == UINT32_MAX)
		r = err_set(e, ERR_LIMIT, 0, "no UIDVALIDITY is left");
	if (r == 0) {
		/* The clock gives a start far above other servers' values; the counter alone keeps it ascending. */
		last = now > 0 && now < UINT32_MAX && (uint32_t)now > last ? (uint32_t)now : last + 1;
		r = counter_write(s, last, e);
	}
	root_unlock(s);
	if (r == 0)
		*out = last;
	return r;
}

int root_uidvalidity_seen(struct store *s, uint32_t used, struct err *e)
{
	uint32_t last;
	int r;

	if (root_lock(s, e) < 0)
		return -1;
	r = counter_read(s, &last, e);
	if (r == 0 && used > last)
		r = counter_write(s, used, e);
	root_unlock(s);
	return r;
}

/* --- directories --- */

int root_each_dir(struct store *s, int (*fn)(void *ctx, const char *dir, struct err *e), void *ctx, struct err *e)
{
	struct stat st;
	size_t n = 0;
	int r = 0;
	int fd = openat(s->rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		close_fd(&fd);
		return err_set(e, ERR_TEMP, errno, "cannot list the mail tree");
	}
	r = fn(ctx, "", e);
	for (struct dirent *de; r == 0 && (de = readdir(d)) != NULL;) {
		if (de->d_name[0] != '.' || de->d_name[1] == '\0' || de->d_name[1] == '.') {
			s->gone_left |= str_starts(str_c(de->d_name), STR(GONE_PREFIX));
			continue;
		}
		if (de->d_type == DT_UNKNOWN && (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)))
			continue;
		if (de->d_type != DT_UNKNOWN && de->d_type != DT_DIR)
			continue;
		if (++n > STORE_FOLDERS_MAX)
			r = err_set(e, ERR_LIMIT, 0, "more than %d folders", STORE_FOLDERS_MAX);
		else
			r = fn(ctx, de->d_name, e);
	}
	closedir(d);
	return r;
}

/* --- subscriptions --- */

static void sub_add(struct arena *a, struct sub_list *l, size_t *cap, struct str name)
{
	struct err quiet = { 0 };
	struct buf b;

	buf_init(&b, STORE_FOLDER_NAME_MAX + 1);
	if (l->n < STORE_FOLDERS_MAX && name_normal(name, &b, &quiet) == 0) {
		if (l->n == *cap) {
			struct str *const old = l->v;
			*cap = *cap ? *cap * 2 : 32;
			l->v = ARENA_ARRAY(a, struct str, *cap);
			if (l->n > 0)
				memcpy(l->v, old, l->n * sizeof(*old));
		}
		l->v[l->n++] = arena_str(a, buf_view(&b));
	}
	buf_fini(&b);
}

static void own_line(struct arena *a, struct sub_list *l, size_t *cap, struct str line)
{
	sub_add(a, l, cap, line);
}

/* Courier: "INBOX.Work", modified UTF-7. */
static void courier_line(struct arena *a, struct sub_list *l, size_t *cap, struct str line)
{
	struct buf dir, name;

	buf_init(&dir, FILE_NAME_MAX + 2);
	buf_init(&name, STORE_FOLDER_NAME_MAX + 1);
	if (str_eq(line, STR("INBOX"))) {
		sub_add(a, l, cap, line);
	} else if (str_starts(line, STR("INBOX."))) {
		buf_str(&dir, str_from(line, 5));
		if (!buf_failed(&dir) && name_from_dir(buf_view(&dir), false, &name) == 0)
			sub_add(a, l, cap, buf_view(&name));
	}
	buf_fini(&name);
	buf_fini(&dir);
}

struct adding {
	struct arena *a;
	struct sub_list *out;
	size_t *cap;
};

static void dovecot_name(void *ctx, struct str name)
{
	const struct adding *g = ctx;

	sub_add(g->a, g->out, g->cap, name);
}

static void subs_parse(struct arena *a, struct str text, int kind, struct sub_list *out)
{
	size_t cap = 0;

	if (kind == 1) {
		takeover_subscriptions(text, '.', dovecot_name, &(struct adding){ a, out, &cap });
		return;
	}
	for (struct str rest = text; rest.p != NULL;) {
		const struct str line = str_split(&rest, '\n');
		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (kind == 0)
			own_line(a, out, &cap, line);
		else
			courier_line(a, out, &cap, line);
	}
}

int root_subs_read(struct store *s, struct arena *a, struct sub_list *out, struct err *e)
{
	static const char *const names[] = { SUBS_NAME, "subscriptions", "courierimapsubscribed" };
	struct buf b;
	int r = 0;

	*out = (struct sub_list){ 0 };
	buf_init(&b, ROOT_FILE_MAX + 1);
	for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
		struct err one = { 0 };
		if (file_read_at(s->rootfd, names[i], ROOT_FILE_MAX, &b, &one) == 0) {
			subs_parse(a, buf_view(&b), i, out);
			break;
		}
		if (one.code != ERR_NOENT && i == 0) {
			r = err_set(e, ERR_TEMP, 0, "%s", one.text);
			break;
		}
	}
	buf_fini(&b);
	return r;
}

int root_subs_write(struct store *s, const struct sub_list *l, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, ROOT_FILE_MAX + 64);
	buf_c(&b, "# subscribed folders\n");
	for (size_t i = 0; i < l->n; i++) {
		buf_str(&b, l->v[i]);
		buf_ch(&b, '\n');
	}
	r = buf_check(&b, "subscriptions", e);
	if (r == 0)
		r = file_replace_at(s->rootfd, SUBS_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

/* --- special uses --- */

const char *special_of_name(struct str name)
{
	static const struct { const char *name, *use; } rows[] = {	/* the first that exists has the use */
		{ "Drafts", "\\Drafts" }, { "Draft", "\\Drafts" },
		{ "Sent", "\\Sent" }, { "Sent Messages", "\\Sent" }, { "Sent Items", "\\Sent" },
		{ "Junk", "\\Junk" }, { "Spam", "\\Junk" }, { "Junk E-mail", "\\Junk" },
		{ "Trash", "\\Trash" }, { "Deleted Messages", "\\Trash" }, { "Deleted Items", "\\Trash" },
		{ "Archive", "\\Archive" }, { "Archives", "\\Archive" },
	};

	if (str_starts(name, STR("INBOX/")))	/* where old Courier clients keep them */
		name = str_from(name, 6);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(name, str_c(rows[i].name)))
			return rows[i].use;
	return NULL;
}

int root_special_read(struct store *s, struct arena *a, struct special **out, bool *exists_out, struct err *e)
{
	struct err quiet = { 0 };
	struct buf b;
	int r = 0;

	*out = NULL;
	*exists_out = false;
	buf_init(&b, ROOT_FILE_MAX + 1);
	if (file_read_at(s->rootfd, SPECIAL_NAME, ROOT_FILE_MAX, &b, &quiet) == 0) {
		*exists_out = true;
		for (struct str rest = buf_view(&b); rest.p != NULL;) {
			struct str line = str_split(&rest, '\n');
			const struct str use = str_split(&line, ' ');
			if (use.n < 2 || use.p[0] != '\\' || line.n == 0)
				continue;
			struct special *sp = ARENA_NEW(a, struct special);
			*sp = (struct special){ .use = arena_str(a, use), .name = arena_str(a, line), .next = *out };
			*out = sp;
		}
	} else if (quiet.code != ERR_NOENT) {
		r = err_set(e, ERR_TEMP, 0, "%s", quiet.text);
	}
	buf_fini(&b);
	return r;
}

int root_special_write(struct store *s, const struct special *l, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, ROOT_FILE_MAX);
	for (; l; l = l->next) {
		buf_str(&b, l->use);
		buf_ch(&b, ' ');
		buf_str(&b, l->name);
		buf_ch(&b, '\n');
	}
	r = buf_check(&b, "special uses", e);
	if (r == 0)
		r = file_replace_at(s->rootfd, SPECIAL_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}
