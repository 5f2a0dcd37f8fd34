/* Giving a mailbox back to Dovecot: what lets it go on with the same UIDs, keywords, POP3 ids and subscriptions. Its files are replaced by rename under its own
 * lock, file names get the letters of keywords beside those of flags. At most 26 keywords of a folder have a letter; messages with
 * others are counted and said. Coming back is the usual look at a folder that others changed: sync.c honours letters and UIDs that Dovecot gave. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "os/os.h"
#include "store/store_priv.h"

enum { STALE_S = 120, LOCK_TRIES = 50, LOCK_TRY_MS = 100, UIDLIST_MAX = 512 << 20, LETTERS = 26 };

static const char LIST_NAME[] = "dovecot-uidlist", LIST_LOCK[] = "dovecot-uidlist.lock", KEYWORDS_NAME[] = "dovecot-keywords";

/* --- Dovecot's lock --- */

static int dotlock(struct mbox *m, struct err *e)
{
	const struct timespec pause = { .tv_nsec = LOCK_TRY_MS * 1000000L };
	struct stat st;

	for (int i = 0; i < LOCK_TRIES; i++) {
		const int fd = openat(m->dirfd, LIST_LOCK, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (errno != EEXIST)
			return err_set(e, ERR_TEMP, errno, "%s", LIST_LOCK);
		if (fstatat(m->dirfd, LIST_LOCK, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime < clock_wall() - STALE_S)
			(void)unlinkat(m->dirfd, LIST_LOCK, 0);
		else
			nanosleep(&pause, NULL);
	}
	return err_set(e, ERR_TEMP, 0, "%s: Dovecot is at work in this folder", LIST_LOCK);
}

static void dotunlock(struct mbox *m)
{
	(void)unlinkat(m->dirfd, LIST_LOCK, 0);
}

/* --- keywords --- */

/* Letter of each of our keywords: where dovecot-keywords has it already, else the next that is free. 0: none is left. */
static void give_letters(struct mbox *m, struct str names[LETTERS], char *letter_of)
{
	for (size_t k = 0; k < m->st.n_keywords; k++) {
		const struct str name = str_c(m->st.keywords[k]);
		int at = -1;
		letter_of[k] = '\0';
		if (mbox_keyword_hidden(name.p))	/* Dovecot keeps readers' flags elsewhere */
			continue;
		for (int i = 0; i < LETTERS && at < 0; i++)
			if (names[i].n > 0 && str_case_eq(names[i], name))
				at = i;
		for (int i = 0; i < LETTERS && at < 0; i++)
			if (names[i].n == 0)
				at = i;
		if (at >= 0)
			names[at] = name;
		letter_of[k] = at < 0 ? '\0' : (char)('a' + at);
	}
}

static int write_keywords(struct mbox *m, const struct str names[LETTERS], struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, LETTERS * (STORE_KEYWORD_NAME_MAX + 8));
	for (int i = 0; i < LETTERS; i++)
		if (names[i].n > 0)
			buf_printf(&b, "%d %.*s\n", i, STR_ARG(names[i]));
	r = b.n > 0 ? file_replace_at(m->dirfd, KEYWORDS_NAME, buf_view(&b), 0600, e) : 0;
	buf_fini(&b);
	return r;
}

/* The info part that says flags and keywords, with what was odd in it before. -1: too long. */
static int full_name(struct mbox *m, const struct rec *r, const char *letter_of, char to[FILE_NAME_MAX + 1], bool *lost)
{
	const struct kwset *const k = state_kwset_get(&m->st, r);
	const struct str info = state_info(&m->st, r);
	char odd[FILE_NAME_MAX + 1];
	size_t n = 0, i;

	for (i = 0; i < info.n && info.p[i] != ',' && n < 100; i++)
		if (!ch_lower_p(info.p[i]))
			odd[n++] = info.p[i];
	for (size_t x = 0; x < k->n && n < 200; x++) {
		if (letter_of[k->ids[x]])
			odd[n++] = letter_of[k->ids[x]];
		else if (!mbox_keyword_hidden(m->st.keywords[k->ids[x]]))
			*lost = true;
	}
	for (; i < info.n && n < sizeof(odd) - 1; i++)
		odd[n++] = info.p[i];
	return disk_name(to, state_name(&m->st, r), disk_of_flags(r->flags), str_n(odd, n));
}

/* Give one file its full name. Number of directory events. */
static unsigned rename_one(struct mbox *m, const struct rec *r, const char *letter_of, struct buf *ops, unsigned *lost)
{
	char from[FILE_NAME_MAX + 1], to[FILE_NAME_MAX + 1];
	const struct str base = state_name(&m->st, r);
	bool no_letter = false, odd;

	if (full_name(m, r, letter_of, to, &no_letter) < 0 || disk_name(from, base, r->disk, state_info(&m->st, r)) < 0)
		no_letter = true;
	*lost += no_letter;
	if (strcmp(from, to) == 0 || rename_new(m->curfd, from, m->curfd, to) < 0)
		return 0;
	const struct str info = str_c(to + base.n + 3);
	const uint8_t disk = disk_of_info(info, &odd);
	op_named(ops, r->uid, disk, (struct str){ 0 }, odd ? info : (struct str){ 0 });
	return 2;
}

static int rename_all(struct mbox *m, const char *letter_of, unsigned *lost, struct err *e)
{
	size_t events = 0, done = 0;
	struct buf ops;
	int r = 0;

	buf_init(&ops, BATCH_MAX);
	const bool clean = sync_own_begin(m);
	for (uint32_t pos = 0; pos < state_count(&m->st); pos++) {
		const struct rec *const rec = state_rec(&m->st, pos);
		if (rec->state & REC_GONE)
			continue;
		events += rename_one(m, rec, letter_of, &ops, lost);
		sync_own_step(m, ++done);
	}
	if (events > 0)
		sync_own_end(m, clean, events);
	if (ops.n > 0)
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
	if (events > 0)
		sync_record(m);
	buf_fini(&ops);
	return r;
}

/* --- dovecot-uidlist, version 3 --- */

static void put_record(struct mbox *m, const struct rec *r, struct buf *b)
{
	const struct pop3_info *const p = (r->state & REC_POP3) ? state_pop3(&m->st, r->uid) : NULL;
	const struct str base = state_name(&m->st, r);
	struct maildir_name n;

	maildir_name_parse(base, &n);
	buf_printf(b, "%u", r->uid);
	if (n.size == UINT64_MAX)
		buf_printf(b, " S%llu", (unsigned long long)r->size);
	if (n.size_crlf == UINT64_MAX && r->size_crlf != UINT64_MAX)
		buf_printf(b, " W%llu", (unsigned long long)r->size_crlf);
	if (p && p->uidl)
		buf_printf(b, " P%s", p->uidl);
	if (p && p->order)
		buf_printf(b, " O%u", p->order);
	buf_printf(b, " :%.*s\n", STR_ARG(base));
}

static int write_list(struct mbox *m, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, UIDLIST_MAX);
	buf_printf(&b, "3 V%u N%u G", m->st.uidvalidity, m->st.uidnext);
	hex_encode(&b, str_n(m->st.id, sizeof(m->st.id)));
	buf_ch(&b, '\n');
	for (uint32_t pos = 0; pos < state_count(&m->st); pos++)
		if (!(state_rec(&m->st, pos)->state & REC_GONE))
			put_record(m, state_rec(&m->st, pos), &b);
	r = buf_check(&b, LIST_NAME, e);
	if (r == 0)
		r = file_replace_at(m->dirfd, LIST_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

static int handback(struct mbox *m, unsigned *lost, struct err *e)
{
	struct str names[LETTERS] = { { 0 } };
	struct arena *a = arena_new(0);
	char *const letter_of = xzalloc(STORE_KEYWORDS_MAX + 1);
	int r = dotlock(m, e);

	if (r == 0) {
		takeover_keywords(m->dirfd, a, names);
		give_letters(m, names, letter_of);
		/* The names of letters before the letters. */
		r = write_keywords(m, names, e);
		if (r == 0)
			r = rename_all(m, letter_of, lost, e);
		if (r == 0)
			r = write_list(m, e);
		dotunlock(m);
	}
	free(letter_of);
	arena_free(&a);
	return r;
}

int mbox_handback(struct mbox *m, unsigned *lost_out, struct err *e)
{
	unsigned lost = 0;
	int r;

	if (mbox_lock(m, e) < 0)
		return -1;
	m->in_tmp = true;
	(void)together_settle(m, SIZE_MAX, m->st.damaged);
	r = handback(m, &lost, e);
	mbox_unlock_folder(m);
	if (r == 0)
		*lost_out = lost;
	return r;
}

/* --- subscriptions --- */

static int put_subscription(struct buf *out, struct str name)
{
	struct buf level;
	bool first = true;

	buf_init(&level, FILE_NAME_MAX + 1);
	while (name.p != NULL) {
		const struct str part = str_split(&name, '/');
		buf_reset(&level);
		if (level_utf7(part, &level) < 0) {
			buf_fini(&level);
			return -1;
		}
		if (!first)
			buf_ch(out, '\t');
		buf_str(out, buf_view(&level));
		first = false;
	}
	buf_ch(out, '\n');
	buf_fini(&level);
	return 0;
}

int store_handback(struct store *s, struct err *e)
{
	struct arena *a = arena_new(0);
	struct sub_list l;
	struct buf b;
	int r;

	buf_init(&b, 4 << 20);
	r = store_ready(s, e);
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		r = root_subs_read(s, a, &l, e);
		buf_c(&b, "V\t2\n\n");
		for (size_t i = 0; r == 0 && i < l.n; i++) {
			const size_t before = b.n;
			if (put_subscription(&b, l.v[i]) < 0)
				buf_cut(&b, before);
		}
		if (r == 0)
			r = buf_check(&b, "subscriptions", e);
		if (r == 0)
			r = file_replace_at(s->rootfd, "subscriptions", buf_view(&b), 0600, e);
		root_unlock(s);
	}
	buf_fini(&b);
	arena_free(&a);
	return r;
}
