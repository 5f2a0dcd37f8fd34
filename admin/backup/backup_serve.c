/* The child, as the mail user: answers import.def's questions about the user's own mailbox. What is listed is one view of a folder: a message that a session removes
 * meanwhile is left out, none is doubled, and a UID means what it means to the user's clients. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "base/num.h"
#include "ipc/import.h"
#include "ipc/ipc.h"
#include "os/os.h"
#include "store/store.h"

enum { CHUNK = 65536, LISTED_AT_ONCE = 500 };

struct serving {
	int chan;
	uint32_t request;
	struct store *s;
	struct arena *a;
	struct store_folder **folders;
	size_t n_folders;
	struct mbox *m;
	struct mbox_view *v;
	struct mbox_status status;
};

static int say(struct serving *sv, uint16_t type, const void *msg, struct err *e)
{
	return ipc_send_fd(sv->chan, &ipc_import, type, msg, sv->request, -1, e);
}

/* --- folders --- */

static int do_folders(struct serving *sv, struct err *e)
{
	struct store_folder *list;
	size_t n = 0;

	if (store_list(sv->s, sv->a, &list, e) < 0)
		return -1;
	for (const struct store_folder *f = list; f; f = f->next)
		n += f->exists;
	sv->folders = ARENA_ARRAY(sv->a, struct store_folder *, n + 1);
	sv->n_folders = 0;
	for (struct store_folder *f = list; f; f = f->next) {
		const struct ipc_import_FOLDER m = { .name = f->name, .special = f->special_use, .subscribed = f->subscribed };
		if (!f->exists)
			continue;
		sv->folders[sv->n_folders++] = f;
		if (say(sv, IPC_import_FOLDER, &m, e) < 0)
			return -1;
	}
	return 0;
}

static void leave(struct serving *sv)
{
	mbox_view_free(&sv->v);
	mbox_close(&sv->m);
}

static int do_select(struct serving *sv, uint64_t number, struct err *e)
{
	struct str ids[LISTED_AT_ONCE];
	char text[LISTED_AT_ONCE][12];
	size_t n = 0;

	leave(sv);
	if (number >= sv->n_folders)
		return err_set(e, ERR_BUG, 0, "no such folder");
	if (mbox_open(sv->s, sv->folders[number]->name, &sv->m, e) < 0 || mbox_refresh(sv->m, e) < 0 || mbox_status(sv->m, &sv->status, e) < 0)
		return -1;
	sv->v = mbox_view_peek(sv->m);	/* what is new to the user stays so */
	mbox_view_readers(sv->v);
	for (uint32_t seq = 1; seq <= mbox_view_count(sv->v); seq++) {
		(void)snprintf(text[n], sizeof(text[n]), "%u", mbox_view_uid(sv->v, seq));
		ids[n] = str_c(text[n]);
		if (++n < LISTED_AT_ONCE && seq < mbox_view_count(sv->v))
			continue;
		const struct ipc_import_LISTED m = { .ids = { ids, n } };
		if (say(sv, IPC_import_LISTED, &m, e) < 0)
			return -1;
		n = 0;
	}
	return 0;
}

/* --- messages --- */

static size_t keywords_of(struct serving *sv, const struct mbox_msg *m, struct str *out)
{
	size_t n_names, n = 0;
	const char *const *names = mbox_keywords(sv->m, &n_names);

	for (size_t i = 0; i < n_names; i++)
		if (m->keywords[i / 64] & (1ULL << i % 64))
			out[n++] = str_c(names[i]);
	return n;
}

static int say_content(struct serving *sv, int fd, uint64_t size, struct err *e)
{
	static char chunk[CHUNK];

	for (uint64_t at = 0; at < size;) {
		const size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		const struct ipc_import_CHUNK m = { .data = str_n(chunk, n) };
		if (pread_all(fd, chunk, n, at, e) < 0 || say(sv, IPC_import_CHUNK, &m, e) < 0)
			return -1;
		at += n;
	}
	return 0;
}

static int say_message(struct serving *sv, uint32_t place, bool content, struct err *e)
{
	struct str keywords[STORE_KEYWORDS_MAX];
	struct err gone = { 0 };
	struct mbox_msg m;
	struct stat st;
	CLEANUP_FD int fd = -1;

	if (mbox_msg_get(sv->v, place + 1, &m, &gone) < 0 || mbox_msg_open(sv->v, place + 1, &fd, &gone) < 0)
		return gone.code == ERR_NOENT ? 0 : err_set(e, gone.code, 0, "%s", gone.text);
	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "fstat");
	const int64_t date = mbox_msg_date(sv->v, place + 1);
	const struct ipc_import_MESSAGE msg = { .place = place, .size = (uint64_t)st.st_size, .flags = m.flags & ~(uint32_t)MBOX_RECENT,
		.date = date > 0 ? (uint64_t)date : 0, .keywords = { keywords, keywords_of(sv, &m, keywords) } };
	return say(sv, IPC_import_MESSAGE, &msg, e) < 0 || (content && say_content(sv, fd, msg.size, e) < 0) ? -1 : 0;
}

static int do_get(struct serving *sv, const struct ipc_import_GET *get, struct err *e)
{
	for (struct str s = get->places; s.n >= 4; s = str_from(s, 4)) {
		const uint32_t place = get_le32(s.p);
		if (sv->v && place < mbox_view_count(sv->v) && say_message(sv, place, get->head == 0, e) < 0)
			return -1;
	}
	return 0;
}

static int answer(struct serving *sv, uint16_t type, const void *msg, struct err *e)
{
	switch (type) {
	case IPC_import_FOLDERS:
		return do_folders(sv, e);
	case IPC_import_SELECT:
		return do_select(sv, ((const struct ipc_import_SELECT *)msg)->number, e);
	case IPC_import_GET:
		return do_get(sv, msg, e);
	default:
		return err_set(e, ERR_BUG, 0, "unexpected question");
	}
}

void backup_serve(int chan, const char *maildir)
{
	struct serving sv = { .chan = chan, .a = arena_new(0) };
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	int r = maildir ? store_open(maildir, false, &sv.s, &e) : err_set(&e, ERR_NOENT, 0, "no mail yet");
	uint16_t type;
	void *msg;
	int fd;

	for (;;) {
		struct err broken = { 0 };
		arena_reset(a);
		if (ipc_recv_fd(chan, &ipc_import, -1, a, &type, &sv.request, &msg, &fd, &broken) < 0)
			break;
		close_fd(&fd);
		if (r == 0)
			r = answer(&sv, type, msg, &e);
		const struct ipc_import_END end = { .uidvalidity = sv.status.uidvalidity, .uidnext = sv.status.uidnext };
		const struct ipc_import_FAILED failed = { .code = e.code, .text = str_c(e.text) };
		if (say(&sv, r == 0 ? IPC_import_END : IPC_import_FAILED, r == 0 ? (const void *)&end : &failed, &broken) < 0 || r < 0)
			break;
	}
	leave(&sv);
	store_close(&sv.s);
	arena_free(&a);
	arena_free(&sv.a);
}
