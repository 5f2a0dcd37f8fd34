/* Another server as a source, the writer's side: folder by folder, ask what is there, fetch in batches what is not known yet, commit, and only then let the
 * source remove it. A count that does not come out is said in the report. */
#include <stdlib.h>

#include "base/num.h"
#include "admin/import/import.h"
#include "ipc/import.h"
#include "ipc/ipc.h"
#include "os/os.h"

enum {
	/* UIDs that may have been given out between the snapshot and the loss of the mailbox: none of them is ever given to another message. */
	RESTORE_GAP = 100000,
};

struct folder {
	struct str name, special;
	bool subscribed;
};

struct pull {
	struct import *im;
	struct import_target *t;
	struct arena *a;
	struct str *ids;
	size_t n_ids, cap_ids;
	uint32_t uidvalidity, uidnext;
	uint32_t done[IMPORT_BATCH_MAX];	/* places of what was taken in this batch */
	size_t n_done;
	bool imap;
};

static int ask(struct import *im, uint16_t type, const void *msg, struct err *e)
{
	return ipc_send_fd(im->chan, &ipc_import, type, msg, 1, -1, e);
}

/* The next answer. 0; 1 END; -1 (also FAILED). */
static int hear(struct pull *p, struct arena *a, uint16_t *type, void **msg, struct err *e)
{
	uint32_t id;
	int fd = -1;

	if (ipc_recv_fd(p->im->chan, &ipc_import, IMPORT_WAIT_MS, a, type, &id, msg, &fd, e) < 0)
		return -1;
	close_fd(&fd);
	if (*type == IPC_import_FAILED) {
		const struct ipc_import_FAILED *const f = *msg;
		return err_set(e, f->code == ERR_NOENT ? ERR_NOENT : f->code == ERR_AUTH ? ERR_AUTH : ERR_TEMP, 0, "%.*s", STR_ARG(f->text));
	}
	if (*type == IPC_import_END) {
		p->uidvalidity = (uint32_t)((const struct ipc_import_END *)*msg)->uidvalidity;
		p->uidnext = (uint32_t)((const struct ipc_import_END *)*msg)->uidnext;
	}
	return *type == IPC_import_END;
}

/* --- messages --- */

static void message_id(struct pull *p, struct str folder, uint32_t place, char out[IMPORT_ID_LEN + 1])
{
	const struct import_options *const o = p->im->o;
	char validity[16];

	(void)snprintf(validity, sizeof validity, "%u", p->uidvalidity);
	const struct str parts[] = { str_c(o->word), str_c(o->host), str_c(o->login ? o->login : o->user), p->imap ? folder : STR(""), str_c(validity), p->ids[place] };
	import_id(parts, ARRAY_LEN(parts), out);
}

/* Bytes of one message, as CHUNKs. */
static int take_chunks(struct pull *p, uint64_t size, struct err *e)
{
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r = 0;

	while (r == 0 && size > 0) {
		arena_reset(a);
		if ((r = hear(p, a, &type, &msg, e)) != 0 || type != IPC_import_CHUNK || ((const struct ipc_import_CHUNK *)msg)->data.n > size) {
			r = r < 0 ? -1 : err_set(e, ERR_BUG, 0, "the source talks nonsense");
			break;
		}
		const struct str data = ((const struct ipc_import_CHUNK *)msg)->data;
		size -= data.n;
		r = import_message_data(p->t, data, e);
	}
	arena_free(&a);
	return r;
}

static int take_message(struct pull *p, struct str folder, const struct ipc_import_MESSAGE *m, struct err *e)
{
	struct import_message msg = { .flags = (uint32_t)m->flags & 0x7f, .date = (int64_t)(m->date & INT64_MAX), .keywords = m->keywords.v, .n_keywords = m->keywords.n };
	uint64_t uid;

	if (m->place >= p->n_ids || p->n_done == IMPORT_BATCH_MAX || msg.n_keywords > STORE_KEYWORDS_MAX)
		return err_set(e, ERR_BUG, 0, "the source talks nonsense");
	message_id(p, folder, (uint32_t)m->place, msg.id);
	struct str number = p->ids[m->place];
	if (p->imap && num_parse(str_split(&number, ' '), 1, UINT32_MAX - 1, &uid) == 0)
		msg.uid = (uint32_t)uid;
	if (import_message_begin(p->t, &msg, e) < 0 || take_chunks(p, m->size, e) < 0)
		return -1;
	p->done[p->n_done++] = (uint32_t)m->place;
	return import_message_end(p->t, e);
}

static void put_places(const uint32_t *places, size_t n, unsigned char *out)
{
	for (size_t i = 0; i < n; i++)
		put_le32(out + 4 * i, places[i]);
}

static int until_end(struct pull *p, struct str folder, struct err *e)
{
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r;

	while ((r = hear(p, a, &type, &msg, e)) == 0) {
		r = type == IPC_import_MESSAGE ? take_message(p, folder, msg, e) : err_set(e, ERR_BUG, 0, "the source talks nonsense");
		if (r < 0)
			break;
		arena_reset(a);
	}
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

static int batch(struct pull *p, struct str folder, const uint32_t *places, size_t n, struct err *e)
{
	unsigned char packed[4 * IMPORT_BATCH_MAX];
	struct import_row *const row = import_row(p->t);
	const struct ipc_import_GET get = { .places = str_n(packed, 4 * n) };
	const uint32_t uidvalidity = p->uidvalidity;

	put_places(places, n, packed);
	p->n_done = 0;
	if (ask(p->im, IPC_import_GET, &get, e) < 0 || until_end(p, folder, e) < 0 || import_commit(p->t, e) < 0)
		return -1;
	p->uidvalidity = uidvalidity;
	row->skipped += n - p->n_done;	/* gone on the server meanwhile */
	if (!p->im->o->delete || p->im->o->dry_run || p->n_done == 0)
		return 0;
	if (row->failed > 0)
		return err_set(e, ERR_TEMP, 0, "what was written is not what came: nothing more is removed from the server");
	put_places(p->done, p->n_done, packed);
	const struct ipc_import_DELETE del = { .places = str_n(packed, 4 * p->n_done) };
	return ask(p->im, IPC_import_DELETE, &del, e) < 0 ? -1 : until_end(p, folder, e);
}

static int remove_known(struct pull *p, struct str folder, const uint32_t *places, size_t n, struct err *e)
{
	unsigned char packed[4 * IMPORT_BATCH_MAX];
	const struct ipc_import_DELETE del = { .places = str_n(packed, 4 * n) };

	put_places(places, n, packed);
	return n == 0 ? 0 : ask(p->im, IPC_import_DELETE, &del, e) < 0 ? -1 : until_end(p, folder, e);
}

/* A backup's ids are "UID SIZE". */
static bool restored(struct pull *p, uint32_t place)
{
	struct str rest = p->ids[place], uid = str_split(&rest, ' ');
	uint64_t n, size;

	return num_parse(uid, 1, UINT32_MAX, &n) == 0 && num_parse(rest, 0, UINT64_MAX, &size) == 0 &&
	       import_target_has(p->t, p->uidvalidity, (uint32_t)n, size);
}

static int messages(struct pull *p, struct str folder, struct err *e)
{
	struct import_row *const row = import_row(p->t);
	uint32_t places[IMPORT_BATCH_MAX], known[IMPORT_BATCH_MAX];
	const bool remove = p->im->o->delete && !p->im->o->dry_run;
	char id[IMPORT_ID_LEN + 1];
	size_t n = 0, n_known = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_ids; i++) {
		if (p->ids[i].n == 0)
			continue;
		row->found++;
		message_id(p, folder, (uint32_t)i, id);
		if (p->im->restore ? restored(p, (uint32_t)i) : import_target_known(p->t, id)) {
			row->known++;
			known[n_known++] = (uint32_t)i;	/* an import that was cut off after its commit */
		} else {
			places[n++] = (uint32_t)i;
		}
		if (n_known == IMPORT_BATCH_MAX) {
			r = remove ? remove_known(p, folder, known, n_known, e) : 0;
			n_known = 0;
		}
		if (r == 0 && n == IMPORT_BATCH_MAX) {
			r = batch(p, folder, places, n, e);
			n = 0;
		}
		import_progress(p->im, i + 1, p->n_ids, row->folder);
	}
	if (r == 0 && remove)
		r = remove_known(p, folder, known, n_known, e);
	return r == 0 && n > 0 ? batch(p, folder, places, n, e) : r;
}

/* --- folders --- */

static int list_ids(struct pull *p, size_t number, struct err *e)
{
	const struct ipc_import_SELECT sel = { .number = number };
	struct arena *a = arena_new(0);
	uint16_t type;
	void *msg;
	int r = ask(p->im, IPC_import_SELECT, &sel, e);

	arena_reset(p->a);
	p->n_ids = 0;
	while (r == 0 && (r = hear(p, a, &type, &msg, e)) == 0) {
		const struct ipc_import_LISTED *const l = msg;
		if (type != IPC_import_LISTED) {
			r = err_set(e, ERR_BUG, 0, "the source talks nonsense");
			break;
		}
		if (p->n_ids + l->ids.n > p->cap_ids) {
			p->cap_ids = (p->n_ids + l->ids.n) * 2;
			p->ids = xrealloc(p->ids, p->cap_ids * sizeof *p->ids);
		}
		for (size_t i = 0; i < l->ids.n; i++)
			p->ids[p->n_ids++] = arena_str(p->a, l->ids.v[i]);
		arena_reset(a);
	}
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

static int one_folder(struct pull *p, size_t number, const struct folder *f, struct str local, struct err *e)
{
	struct err late = { 0 };
	char source[256];
	bool adopted = false;
	int r;

	const struct import_options *const o = p->im->o;
	(void)snprintf(source, sizeof source, "%s:%s%s/%.*s", o->word, p->im->restore ? "" : "//", p->im->restore ? o->args[0] : o->host,
		       STR_ARG(str_sub(f->name, 0, 150)));
	if (import_target_open(p->im, local, f->special, source, &p->t, e) < 0)
		return -1;
	r = list_ids(p, number, e);
	if (r == 0 && p->imap) {
		r = import_target_adopt(p->t, p->uidvalidity, e);
		adopted = r == 0;
		r = r > 0 ? 0 : r;
	}
	const uint32_t uidnext = p->uidnext;
	if (r == 0)
		r = messages(p, f->name, e);
	if (r == 0 && adopted && p->im->restore)
		r = import_target_reserve(p->t, uidnext < UINT32_MAX / 2 ? uidnext + RESTORE_GAP : uidnext, e);
	if (r == 0 && p->im->restore && p->im->s && !p->im->o->dry_run)
		r = store_subscribe(p->im->s, local, f->subscribed, e);
	if (r < 0) {
		import_row(p->t)->failed++;
		(void)snprintf(import_row(p->t)->note, sizeof import_row(p->t)->note, "%.199s", e->text);
	}
	if (import_target_close(&p->t, r < 0 ? &late : e) < 0)
		r = -1;
	return r;
}

static int list_folders(struct pull *p, struct folder **v, size_t *n_out, struct err *e)
{
	const struct ipc_import_FOLDERS none = { 0 };
	struct arena *a = arena_new(0);
	size_t n = 0;
	uint16_t type;
	void *msg;
	int r = ask(p->im, IPC_import_FOLDERS, &none, e);

	*v = NULL;
	while (r == 0 && (r = hear(p, a, &type, &msg, e)) == 0) {
		const struct ipc_import_FOLDER *const f = msg;
		if (type != IPC_import_FOLDER) {
			r = err_set(e, ERR_BUG, 0, "the source talks nonsense");
			break;
		}
		*v = xrealloc(*v, (n + 1) * sizeof **v);
		(*v)[n++] = (struct folder){ arena_str(p->im->a, f->name), arena_str(p->im->a, f->special), f->subscribed };
		arena_reset(a);
	}
	*n_out = n;
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

int import_word_server(struct import *im, struct err *e)
{
	struct pull p = { .im = im, .a = arena_new(0), .imap = strcmp(im->o->word, "pop3") != 0 };
	const char *const only = im->o->folder;
	struct folder *v = NULL;
	size_t n = 0;
	bool seen = false;
	int rc = list_folders(&p, &v, &n, e);

	for (size_t i = 0; (rc == 0 || e->code == ERR_NOENT || e->code == ERR_INPUT) && i < n; i++) {
		struct err one = { 0 };
		if (p.imap && only && !str_eq(v[i].name, str_c(only)))
			continue;
		seen = true;
		if (one_folder(&p, i, &v[i], !p.imap && only ? str_c(only) : v[i].name, &one) < 0) {
			rc = -1;
			*e = one;
		}
	}
	if (rc == 0 && !seen)
		rc = err_set(e, ERR_NOENT, 0, "the source has no folder %s", only ? only : "at all");
	free(v);
	free(p.ids);
	arena_free(&p.a);
	return rc;
}
