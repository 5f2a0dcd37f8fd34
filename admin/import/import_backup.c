/* A backup as a source: root reads the list and the objects, the writer gets messages as it would from another server. */
#include <stdlib.h>
#include <unistd.h>

#include "admin/backup/backup.h"
#include "admin/import/import.h"
#include "base/num.h"
#include "ipc/import.h"
#include "ipc/ipc.h"
#include "os/os.h"

enum { CHUNK = 65536, LISTED_AT_ONCE = 500, FOLDERS_MAX = 10000 };

struct source {
	int chan;
	uint32_t request;
	struct backup_store *store;
	struct buf list;
	struct backup_reader *folders;	/* each stands behind its folder's row */
	size_t n_folders;
	struct backup_message *messages;	/* of the selected folder */
	size_t n_messages;
	struct backup_folder folder;
};

static int say(struct source *s, uint16_t type, const void *msg, struct err *e)
{
	return ipc_send_fd(s->chan, &ipc_import, type, msg, s->request, -1, e);
}

/* --- folders --- */

static int do_folders(struct source *s, struct err *e)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader r;

	if (backup_list_open(buf_view(&s->list), &r, e) < 0)
		return -1;
	while (row != ROW_END) {
		if (backup_list_next(&r, &row, e) < 0)
			return -1;
		if (row != ROW_FOLDER)
			continue;
		const struct ipc_import_FOLDER m = { .name = r.folder.name, .special = r.folder.special, .subscribed = r.folder.subscribed };
		if (s->n_folders == FOLDERS_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d folders", FOLDERS_MAX);
		s->folders = xrealloc(s->folders, (s->n_folders + 1) * sizeof(*s->folders));
		s->folders[s->n_folders++] = r;
		if (say(s, IPC_import_FOLDER, &m, e) < 0)
			return -1;
	}
	return 0;
}

static int read_messages(struct source *s, struct backup_reader r, struct err *e)
{
	enum backup_row row = ROW_MESSAGE;
	size_t cap = 0;

	free(s->messages);
	s->messages = NULL;
	s->n_messages = 0;
	s->folder = r.folder;
	for (;;) {
		if (backup_list_next(&r, &row, e) < 0)
			return -1;
		if (row != ROW_MESSAGE)
			return 0;
		if (s->n_messages == cap)
			s->messages = xrealloc(s->messages, (cap = cap * 2 + 1024) * sizeof(*s->messages));
		s->messages[s->n_messages++] = r.message;
	}
}

/* Ids are "UID SIZE". */
static int do_select(struct source *s, uint64_t number, struct err *e)
{
	struct str ids[LISTED_AT_ONCE];
	char text[LISTED_AT_ONCE][36];
	size_t n = 0;

	if (number >= s->n_folders)
		return err_set(e, ERR_BUG, 0, "no such folder");
	if (read_messages(s, s->folders[number], e) < 0)
		return -1;
	for (size_t i = 0; i < s->n_messages; i++) {
		(void)snprintf(text[n], sizeof(text[n]), "%u %llu", s->messages[i].uid, (unsigned long long)s->messages[i].size);
		ids[n] = str_c(text[n]);
		if (++n < LISTED_AT_ONCE && i + 1 < s->n_messages)
			continue;
		const struct ipc_import_LISTED m = { .ids = { ids, n } };
		if (say(s, IPC_import_LISTED, &m, e) < 0)
			return -1;
		n = 0;
	}
	return 0;
}

/* --- messages --- */

static int say_content(struct source *s, int fd, uint64_t size, struct err *e)
{
	static char chunk[CHUNK];

	for (uint64_t at = 0; at < size;) {
		const size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		const struct ipc_import_CHUNK m = { .data = str_n(chunk, n) };
		if (pread_all(fd, chunk, n, at, e) < 0 || say(s, IPC_import_CHUNK, &m, e) < 0)
			return -1;
		at += n;
	}
	return 0;
}

/* A damaged object is not given out as somebody's mail. */
static int say_message(struct source *s, uint32_t place, struct err *e)
{
	const struct backup_message *m = &s->messages[place];
	struct str rest = m->keywords, keywords[BACKUP_KEYWORDS_MAX];
	CLEANUP_FD int fd = -1;
	size_t n = 0;

	while (n < BACKUP_KEYWORDS_MAX && str_token(&rest, " ", &keywords[n]))
		n++;
	if (!backup_object_there(s->store, m->sum, m->size))
		return err_set(e, ERR_INPUT, 0, "object %s is missing or cut short (postern backup --verify)", m->sum);
	if (backup_object_verify(s->store, m->sum, e) < 0 || backup_object_open(s->store, m->sum, &fd, e) < 0)
		return -1;
	const struct ipc_import_MESSAGE msg = { .place = place, .size = m->size, .flags = m->flags, .date = m->date > 0 ? (uint64_t)m->date : 0,
		.keywords = { keywords, n } };
	return say(s, IPC_import_MESSAGE, &msg, e) < 0 || say_content(s, fd, m->size, e) < 0 ? -1 : 0;
}

static int do_get(struct source *s, struct str places, struct err *e)
{
	for (; places.n >= 4; places = str_from(places, 4)) {
		const uint32_t place = get_le32(places.p);
		if (place < s->n_messages && say_message(s, place, e) < 0)
			return -1;
	}
	return 0;
}

static int answer(struct source *s, uint16_t type, const void *msg, struct err *e)
{
	switch (type) {
	case IPC_import_FOLDERS:
		return do_folders(s, e);
	case IPC_import_SELECT:
		return do_select(s, ((const struct ipc_import_SELECT *)msg)->number, e);
	case IPC_import_GET:
		return do_get(s, ((const struct ipc_import_GET *)msg)->places, e);
	default:
		return err_set(e, ERR_BUG, 0, "unexpected question");
	}
}

static int serve(struct source *s, struct err *e)
{
	struct arena *a = arena_new(0);
	int r = e->code ? -1 : 0;
	uint16_t type;
	void *msg;
	int fd;

	for (;;) {
		struct err gone = { 0 };
		arena_reset(a);
		if (ipc_recv_fd(s->chan, &ipc_import, -1, a, &type, &s->request, &msg, &fd, &gone) < 0)
			break;
		close_fd(&fd);
		if (r == 0)
			r = answer(s, type, msg, e);
		const struct ipc_import_END end = { .uidvalidity = s->folder.uidvalidity, .uidnext = s->folder.uidnext };
		const struct ipc_import_FAILED failed = { .code = e->code, .text = str_c(e->text) };
		if (say(s, r == 0 ? IPC_import_END : IPC_import_FAILED, r == 0 ? (const void *)&end : &failed, &gone) < 0)
			break;
	}
	arena_free(&a);
	return r;
}

int import_backup(const char *dir, const char *user, const char *snapshot, int chan)
{
	struct source s = { .chan = chan };
	char owner[ACCOUNT_NAME_MAX + 8];
	struct err e = { 0 };

	buf_init(&s.list, (size_t)BACKUP_LIST_MAX + 1);
	(void)snprintf(owner, sizeof owner, "users/%s", user);
	if (backup_store_open(dir, owner, false, &s.store, &e) == 0)
		(void)!backup_snapshot_read(s.store, snapshot, &s.list, &e);
	const int r = serve(&s, &e);
	backup_store_close(&s.store);
	buf_fini(&s.list);
	free(s.folders);
	free(s.messages);
	return r < 0 ? EXIT_TEMP : 0;
}
