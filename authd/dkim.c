/* Signing keys: the monitor reads the table and each key's file as root and hands them to the key worker, at its start, at a reload, and when `postern dkim` says
 * that something changed. The files are root's: others' are not taken. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "authd/monitor.h"
#include "authres/dkim_table.h"
#include "base/arena.h"
#include "log/log.h"
#include "os/os.h"

enum { TELL_MS = 5000 };

struct load {
	struct list node;
	struct monitor *m;
	uint32_t id;
	struct timer *timer;
	dkim_loaded_fn *fn;
	void *ctx;
	bool ok;
	char text[320];
};

static struct {
	struct list loads;
	bool started;
	uint64_t generation;
} dkim;

static void on_end(void *ctx)
{
	struct load *l = ctx;

	timer_del(&l->timer);
	list_del(&l->node);
	if (l->fn)
		l->fn(l->ctx, l->ok, l->text);
	loop_free_later(l->m->loop, l);
}

static void end_soon(struct load *l, bool ok, const char *text)
{
	l->ok = ok;
	l->id = 0;
	snprintf(l->text, sizeof l->text, "%s", text);
	timer_del(&l->timer);
	l->timer = loop_timer(l->m->loop, 0, on_end, l);
}

static void on_timeout(void *ctx)
{
	end_soon(ctx, false, "the key worker does not answer");
}

/* ENOENT is no error: nobody made a key. */
static int table_read(const struct monitor *m, struct arena *a, struct dkim_table *out, struct err *e)
{
	struct buf text;

	*out = (struct dkim_table){ .n = 0 };
	const char *path = arena_printf(a, "%s/" DKIM_TABLE_FILE, m->conf->state_directory);
	struct stat st;
	if (stat(path, &st) < 0)
		return 0;
	if (st.st_uid != 0 || (st.st_mode & 022))
		return err_set(e, ERR_CONF, 0, "%s must belong to root and be writable by nobody else", path);
	buf_init(&text, DKIM_TABLE_BYTES_MAX);
	int r = file_read(path, DKIM_TABLE_BYTES_MAX, &text, e);
	if (r == 0 && dkim_table_parse(a, buf_view(&text), out, e) < 0)
		r = err_wrap(e, "%s", path);
	buf_fini(&text);
	return r;
}

static int key_read(const char *path, struct buf *out, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) == 0 && (st.st_uid != 0 || (st.st_mode & 077)))
		return err_set(e, ERR_CONF, 0, "%s must be root's alone (mode 0600)", path);
	return file_read(path, DKIM_KEY_FILE_MAX, out, e);
}

/* All keys of the table. What cannot be read is told and left out: the others serve. */
static int send_keys(struct monitor *m, struct ipc_chan *ch, struct arena *a, const struct dkim_table *t, struct err *e)
{
	struct err first = { 0 };

	for (size_t i = 0; i < t->n; i++) {
		const struct dkim_row *row = &t->v[i];
		const char *path = dkim_key_path(a, m->conf->state_directory, m->conf->dkim_credentials_directory, row->domain, row->selector);
		struct buf key;
		struct err one = { 0 };

		buf_init(&key, DKIM_KEY_FILE_MAX);
		if (key_read(path, &key, &one) < 0 ||
		    ipc_send(ch, IPC_helper_DKIM_KEY,
			     &(struct ipc_helper_DKIM_KEY){ .generation = dkim.generation,
							    .domain = row->domain, .selector = row->selector, .key = buf_view(&key) }, 1, -1, &one) < 0) {
			log_error("DKIM key: %s", one.text);
			if (first.code == ERR_NONE)
				first = one;
		}
		buf_wipe(&key);
		buf_fini(&key);
	}
	if (first.code != ERR_NONE)
		*e = first;
	return first.code == ERR_NONE ? 0 : -1;
}

static void load(struct load *l)
{
	struct monitor *m = l->m;
	struct ipc_chan *ch = helpers_chan(m, HELPER_KEY);
	struct arena *a = arena_new(0);
	struct dkim_table t;
	struct err e = { 0 };

	dkim.generation++;
	if (ch == NULL) {
		end_soon(l, true, "the key worker is being started; it gets the keys then");
	} else if (table_read(m, a, &t, &e) < 0) {
		log_error("DKIM keys: %s; those that were loaded stay in use", e.text);
		end_soon(l, false, e.text);
	} else {
		const int sent = send_keys(m, ch, a, &t, &e);
		struct err done = { 0 };
		l->id = ipc_next_id(ch);
		if (ipc_send(ch, IPC_helper_DKIM_DONE, &(struct ipc_helper_DKIM_DONE){ .generation = dkim.generation }, l->id, -1, &done) < 0)
			end_soon(l, false, done.text);
		else if (sent < 0)
			end_soon(l, false, e.text);
	}
	arena_free(&a);
}

void dkim_load(struct monitor *m, dkim_loaded_fn *fn, void *ctx)
{
	struct load *l = xzalloc(sizeof *l);

	if (!dkim.started)
		list_init(&dkim.loads);
	dkim.started = true;
	*l = (struct load){ .m = m, .fn = fn, .ctx = ctx };
	list_append(&dkim.loads, &l->node);
	l->timer = loop_timer(m->loop, TELL_MS, on_timeout, l);
	load(l);
}

void dkim_result(struct monitor *m, uint32_t id, const struct ipc_helper_KEYS_RESULT *r)
{
	char text[320];

	snprintf(text, sizeof text, "%.*s", STR_ARG(r->text));
	if (!r->ok)
		log_error("DKIM key %s", text);
	else if (r->count > 0)
		log_info("%llu DKIM keys loaded", (unsigned long long)r->count);
	list_each(it, &dkim.loads) {
		struct load *l = list_of(it, struct load, node);

		if (l->id == id) {
			end_soon(l, r->ok, text);
			return;
		}
	}
}
