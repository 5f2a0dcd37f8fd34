/* mbox files as a source. The file is mapped, never copied; a shrinking one ends its import, not the process. Its UIDs (X-UID, X-IMAP of UW and mutt) are
 * kept when the folder is fresh. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "admin/import/import.h"
#include "mail/mbox.h"
#include "os/os.h"
#include "store/guard.h"

struct run {
	struct import *im;
	struct import_target *t;
	struct map *times;		/* content -> how often it was seen (value - 1) */
	enum mail_mbox_quote quote;
	bool adopted;
	struct str folder;
};

static enum mail_mbox_quote quote_of(const struct import_options *o)
{
	return o->quote && strcmp(o->quote, "o") == 0 ? MBOX_QUOTE_O : o->quote && strcmp(o->quote, "none") == 0 ? MBOX_QUOTE_NONE : MBOX_QUOTE_RD;
}

static uint32_t flags_of(const struct mail_mbox_meta *m)
{
	return (m->seen ? MBOX_SEEN : 0u) | (m->answered ? MBOX_ANSWERED : 0u) | (m->flagged ? MBOX_FLAGGED : 0u) | (m->deleted ? MBOX_DELETED : 0u) |
	       (m->draft ? MBOX_DRAFT : 0u) | (m->forwarded ? MBOX_FORWARDED : 0u);
}

static int put(void *ctx, struct str piece, struct err *e)
{
	return import_message_data(ctx, piece, e);
}

/* The same bytes at the same place are the same message; a second copy in one file is another. */
static void name_message(struct run *r, const struct mail_mbox_msg *m, char id[IMPORT_ID_LEN + 1])
{
	const struct str parts[] = { STR("mbox"), r->folder, m->body };
	struct str head = m->head;
	char of_head[IMPORT_ID_LEN + 1];

	/* Status fields change while a mail program uses the file: only what is no status counts. */
	import_id(parts, ARRAY_LEN(parts), id);
	for (struct str line; head.n > 0;) {
		line = str_split(&head, '\n');
		if (str_starts(line, STR("Message-I")) || str_starts(line, STR("Date:")) || str_starts(line, STR("Received:")) ||
		    str_starts(line, STR("Subject:")) || str_starts(line, STR("From:")) || str_starts(line, STR("Message-i"))) {
			const struct str two[] = { str_n(id, IMPORT_ID_LEN), str_trim(line) };
			import_id(two, ARRAY_LEN(two), of_head);
			memcpy(id, of_head, sizeof of_head);
		}
	}
	const uintptr_t before = (uintptr_t)map_get(r->times, str_c(id));
	(void)map_set(r->times, str_c(id), (void *)(before + 1));
	import_id_nth(id, (unsigned)before);
}

static int one(struct run *r, const struct mail_mbox_msg *m, struct err *e)
{
	struct import_row *const row = import_row(r->t);
	struct import_message msg = { .date = m->date };
	struct mail_mbox_meta meta;

	mail_mbox_meta(m, &meta);
	if (!r->adopted) {
		r->adopted = true;
		const int a = import_target_adopt(r->t, meta.uidvalidity, e);
		if (a < 0)
			return -1;
		if (a > 0 && meta.uidvalidity > 0)
			(void)snprintf(row->note, sizeof row->note, "the folder had UIDs already: its own are used");
	}
	if (meta.internal)
		return 0;
	row->found++;
	if (meta.removed) {
		row->skipped++;
		return 0;
	}
	name_message(r, m, msg.id);
	if (import_target_known(r->t, msg.id)) {
		row->known++;
		return 0;
	}
	msg.flags = flags_of(&meta);
	msg.uid = meta.uid;
	msg.keywords = meta.keywords;
	msg.n_keywords = meta.n_keywords;
	if (import_message_begin(r->t, &msg, e) < 0 || mail_mbox_text(m, r->quote, put, r->t, e) < 0)
		return -1;
	return import_message_end(r->t, e);
}

static int all(struct run *r, struct str file, struct err *e)
{
	struct import_row *const row = import_row(r->t);
	struct mail_mbox_msg m;
	size_t pos = 0;
	int got = 0, rc = 0;

	while (rc == 0 && (got = mail_mbox_next(file, &pos, &m)) == 0) {
		if (guard_hit((void *)(uintptr_t)file.p))
			return err_set(e, ERR_TEMP, 0, "%s became shorter while it was read", row->source);
		rc = one(r, &m, e);
		import_progress(r->im, pos, file.n, row->folder);
	}
	if (rc == 0 && got < 0) {
		row->failed++;
		(void)snprintf(row->note, sizeof row->note, "byte %zu: no From_ line: not an mbox", pos);
	}
	return rc;
}

static int mapped(struct run *r, int fd, struct err *e)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "mbox");
	if (st.st_size == 0)
		return 0;
	void *const p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_set(e, ERR_TEMP, errno, "mbox");
	if (!guard_add(p, (size_t)st.st_size)) {
		(void)munmap(p, (size_t)st.st_size);
		return err_set(e, ERR_LIMIT, 0, "too many mapped files");
	}
	rc = all(r, str_n(p, (size_t)st.st_size), e);
	guard_del(p);
	(void)munmap(p, (size_t)st.st_size);
	return rc;
}

int import_mbox_file(struct import *im, int fd, struct str folder, struct str special, const char *source, struct err *e)
{
	struct run r = { .im = im, .quote = quote_of(im->o), .folder = folder };
	struct err late = { 0 };
	int rc = import_target_open(im, folder, special, source, &r.t, e);

	if (rc < 0)
		return -1;
	r.times = map_new();
	rc = mapped(&r, fd, e);
	if (rc < 0)
		import_row(r.t)->failed++;
	if (import_target_close(&r.t, rc < 0 ? &late : e) < 0)
		rc = -1;
	map_free(&r.times);
	return rc;
}

int import_word_mbox(struct import *im, struct err *e)
{
	int rc = 0;

	for (int i = 0; i < im->o->n_args; i++) {
		const char *const path = im->o->args[i], *const slash = strrchr(path, '/');
		struct str folder = str_c(im->o->folder ? im->o->folder : slash ? slash + 1 : path);
		struct err one = { 0 };
		CLEANUP_FD int fd = -1;
		bool dir = false;
		int r = import_open(im, (unsigned)i, "", &fd, &dir, &one);

		if (!im->o->folder && (str_case_eq(folder, STR("mbox")) || str_eq(folder, str_c(im->acct->name))))
			folder = STR("INBOX");
		if (r == 0 && dir)
			r = err_set(&one, ERR_INPUT, 0, "a directory: see postern import tree, maildir");
		if (r == 0)
			r = import_mbox_file(im, fd, folder, STR(""), path, &one);
		if (r < 0) {
			*e = one;
			(void)fprintf(stderr, "%s: %s\n", path, one.text);
			rc = -1;
			if (one.code == ERR_QUOTA)
				break;
		}
	}
	return rc;
}
