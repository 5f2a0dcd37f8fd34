/* What the admin's tool does with a folder: look at it without changing it, repair it, and make its disposable files anew. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/enc.h"
#include "os/os.h"
#include "store/keys_priv.h"

struct verify {
	struct store *s;
	int dirfd, curfd;
	struct state st;
	struct journal j;
	void (*say)(void *ctx, const char *line);
	void *ctx;
	size_t problems;
	struct map *by_base;	/* base name -> record's position + 1 */
	unsigned char *seen;
};

static void wrong(struct verify *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void wrong(struct verify *v, const char *fmt, ...)
{
	char line[600];
	struct buf b;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	v->problems++;
	buf_init(&b, 2 * sizeof(line));
	text_neutral(&b, str_c(line), sizeof(line), false);	/* names of files are anybody's bytes, and this goes to a terminal */
	v->say(v->ctx, b.n ? b.p : "");
	buf_fini(&b);
}

static int on_batch(void *ctx, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	struct verify *const v = ctx;
	struct err one = { 0 };

	if (state_apply(&v->st, ops, modseq, &one) < 0)
		wrong(v, "journal: %s", one.text);
	if (uidnext > v->st.uidnext)
		v->st.uidnext = uidnext;
	if (reserved > v->st.reserved)
		v->st.reserved = reserved;
	return 0;
}

static int read_journal(struct verify *v, struct err *e)
{
	struct journal_head head;
	struct err one = { 0 };
	uint64_t tail;

	if (journal_open(&v->j, v->dirfd, &head, &one) < 0) {
		wrong(v, "%s", one.text);
		return 1;
	}
	if (v->j.holes)
		wrong(v, "journal: one copy of its header is damaged");
	v->j.holes = false;
	v->st.uidvalidity = head.uidvalidity;
	v->st.uidnext = head.uidnext;
	v->st.modseq = head.modseq;
	memcpy(v->st.id, head.id, sizeof(head.id));
	if (journal_scan(&v->j, on_batch, v, &tail, e) < 0)
		return -1;
	if (v->j.holes)
		wrong(v, "journal: bytes in its middle do not verify");
	if (tail)
		wrong(v, "journal: %llu bytes at its end do not verify", (unsigned long long)tail);
	return 0;
}

static void check_identity(struct verify *v)
{
	uint32_t uv, bound;
	uint8_t id[16];

	if (ident_read(v->dirfd, &uv, id, &bound) != 0)
		wrong(v, IDENT_NAME ": missing or damaged");
	else if (uv != v->st.uidvalidity || memcmp(id, v->st.id, sizeof(id)) != 0)
		wrong(v, IDENT_NAME ": says UIDVALIDITY %u, the journal %u", uv, v->st.uidvalidity);
	else if (bound < v->st.uidnext)
		wrong(v, IDENT_NAME ": UIDs are given out beyond its bound");
}

static int on_index_batch(void *ctx, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	return state_apply(ctx, ops, modseq, e);
}

/* The index, brought up to the journal's end, must say what the journal says. */
static void check_index(struct verify *v)
{
	struct journal j = v->j;
	uint64_t tail;
	struct err e = { 0 };
	struct state ix;

	state_init(&ix);
	const int r = index_load(v->dirfd, &j.generation, v->j.pos, &ix, &j.pos);
	if (r == 2)
		wrong(v, "index: it knows a longer journal");
	if (r == 0)
		state_verify_all(&ix);
	if (r == 0 && ix.damaged)
		wrong(v, "index: records in it do not verify");
	if (r == 0 && (journal_scan(&j, on_index_batch, &ix, &tail, &e) < 0 || ix.messages != v->st.messages || ix.unseen != v->st.unseen ||
		       ix.deleted != v->st.deleted || ix.size_crlf != v->st.size_crlf))
		wrong(v, "index: %u messages, %u unseen; journal: %u, %u", ix.messages, ix.unseen, v->st.messages, v->st.unseen);
	state_fini(&ix);
}

static void check_search(struct verify *v)
{
	static const char *const names[] = { SEARCH_NAME, SEARCHLOG_NAME };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const uint64_t n = search_check(v->dirfd, v->st.id, names[i]);
		if (n > 0)
			wrong(v, "%s: %llu bytes at its end do not verify", names[i], (unsigned long long)n);
	}
}

static void check_file(struct verify *v, const char *name)
{
	struct maildir_name n;
	struct err e = { 0 };
	uint64_t size, crlf;
	bool odd;

	maildir_name_parse(str_c(name), &n);
	const uint32_t at = (uint32_t)(uintptr_t)map_get(v->by_base, n.base);
	if (at == 0) {
		wrong(v, "file cur/%s has no UID yet", name);
		return;
	}
	const struct rec *const r = state_rec(&v->st, at - 1);
	if (v->seen[at - 1]++)
		wrong(v, "file cur/%s is there twice", name);
	if (r->state & REC_GONE)
		return;		/* its file goes at the next opening */
	if ((disk_of_info(n.info, &odd) & DISK_LETTERS) != (r->disk & DISK_LETTERS))
		wrong(v, "message %u: its file's flags were changed by another program", r->uid);
	CLEANUP_FD int fd = openat(v->curfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || message_count(fd, &size, &crlf, &e) < 0)
		wrong(v, "message %u cannot be read: %s", r->uid, fd < 0 ? strerror(errno) : e.text);
	else if (size != r->size || (r->size_crlf != UINT64_MAX && crlf != r->size_crlf))
		wrong(v, "message %u has %llu bytes (%llu with CRLF), not %llu (%llu)", r->uid, (unsigned long long)size, (unsigned long long)crlf,
		      (unsigned long long)r->size, (unsigned long long)r->size_crlf);
}

/* It gets into cur at the next opening (together.c). */
static bool stands_in_tmp(const struct verify *v, const struct rec *r)
{
	char path[TOGETHER_PATH_MAX];

	return together_path(&v->st, r, path) == 0 && faccessat(v->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int check_files(struct verify *v, struct err *e)
{
	struct stat st;
	int fd = openat(v->curfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		close_fd(&fd);
		return err_set(e, ERR_TEMP, errno, "cur");
	}
	v->by_base = map_new();
	v->seen = xzalloc((size_t)state_count(&v->st) + 1);
	for (uint32_t pos = 0; pos < state_count(&v->st); pos++) {
		const struct rec *const r = state_rec(&v->st, pos);
		if (!(r->state & REC_GONE) || (r->state & REC_ZOMBIE))
			(void)map_set(v->by_base, state_name(&v->st, r), (void *)(uintptr_t)(pos + 1));
	}
	for (struct dirent *de; (de = readdir(d)) != NULL;)
		if (de->d_name[0] != '.' && fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			check_file(v, de->d_name);
	closedir(d);
	for (uint32_t pos = 0; pos < state_count(&v->st); pos++)
		if (!v->seen[pos] && !(state_rec(&v->st, pos)->state & REC_GONE) && !stands_in_tmp(v, state_rec(&v->st, pos)))
			wrong(v, "message %u has no file", state_rec(&v->st, pos)->uid);
	return 0;
}

/* Nobody has looked into it since its mail came, from deliver or another program: there is nothing yet that could be wrong. */
static bool never_opened(int dirfd)
{
	static const char *const names[] = { JOURNAL_NAME, IDENT_NAME, INDEX_NAME };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (fstatat(dirfd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			return false;
	return true;
}

int mbox_verify(struct store *s, struct str name, void (*say)(void *ctx, const char *line), void *ctx, size_t *problems_out, struct err *e)
{
	struct verify v = { .s = s, .dirfd = -1, .curfd = -1, .say = say, .ctx = ctx, .j = { .fd = -1 } };
	struct buf dir;
	int r;

	buf_init(&dir, FILE_NAME_MAX + 8);
	r = store_dir_of(s, name, &dir, e);
	buf_ch(&dir, '\0');
	if (r == 0)
		r = maildir_open_at(s->rootfd, dir.p, false, &v.dirfd, e);
	buf_fini(&dir);
	if (r < 0)
		return -1;
	if (never_opened(v.dirfd)) {
		close_fd(&v.dirfd);
		*problems_out = 0;
		return 0;
	}
	state_init(&v.st);
	v.curfd = openat(v.dirfd, "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FD int lock = openat(v.dirfd, LOCK_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	r = lock >= 0 ? lock_take(lock, "the folder", e) : 0;
	if (r == 0)
		r = read_journal(&v, e);
	if (r == 0) {
		check_identity(&v);
		check_index(&v);
		check_search(&v);
		r = check_files(&v, e);
	}
	map_free(&v.by_base);
	free(v.seen);
	journal_close(&v.j);
	state_fini(&v.st);
	close_fd(&v.curfd);
	close_fd(&v.dirfd);
	*problems_out = v.problems;
	return r < 0 ? -1 : 0;
}

/* --- repair --- */

int mbox_repair(struct mbox *m, struct err *e)
{
	int r;

	if (mbox_lock(m, e) < 0)
		return -1;
	r = sync_folder(m, true, e);
	for (uint32_t pos = 0; r == 0 && pos < state_count(&m->st); pos++) {
		const struct rec *const rec = state_rec(&m->st, pos);
		struct err one = { 0 };
		if (!(rec->state & REC_GONE) && message_sizes(m, rec->uid, &one) < 0 && one.code != ERR_NOENT) {
			*e = one;
			r = -1;
		}
	}
	if (r == 0)
		r = ident_write(m, e);
	if (r == 0)
		r = mbox_replace_journal(m, false, e);
	mbox_unlock_folder(m);
	return r < 0 ? -1 : mbox_rebuild(m, e);
}

int mbox_rebuild(struct mbox *m, struct err *e)
{
	static const char *const names[] = { INDEX_NAME, CACHE_NAME, CACHEMAP_NAME, SYNC_NAME, KEYS_NAME };
	int r;

	if (mbox_lock(m, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlinkat(m->dirfd, names[i], 0);
	cache_close(&m->cache);
	search_drop(m);
	keys_drop(m, true);
	r = index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, e);
	if (r == 0)
		m->index_pos = m->j.pos;
	sync_record(m);
	mbox_unlock_folder(m);
	return r;
}
