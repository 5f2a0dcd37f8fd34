/* Mailboxes that connections have selected, or have put messages into a moment ago. Owns: one watch per selected folder for all of them, what is told to whom
 * and when (RFC 3501 sections 5.2, 7.3.1, 7.4.1: no EXPUNGE while numbers are in use). */
#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "store/keys.h"
#include "answers.h"
#include "orders.h"

/* --- shared folders --- */

static void folder_end(struct folder *f, void (*closed)(struct mbox **))
{
	list_del(&f->node);
	timer_del(&f->timer);
	timer_del(&f->flush);
	timer_del(&f->keys);
	timer_del(&f->look);
	watch_del(&f->watch);
	answers_free(f);
	orders_free(f);
	closed(&f->mbox);
	free((void *)(uintptr_t)f->name.p);
	loop_free_later(f->user->loop, f);
}

static void folder_free(struct folder *f)
{
	folder_end(f, mbox_close);
}

/* Deleted under the connections that have it selected: they cannot go on (RFC 2180 section 3). */
static void folder_gone(struct user *u, const struct mbox *mbox)
{
	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		if (c->folder && c->folder->mbox == mbox)
			client_end(c, "Mailbox was deleted", "Mailbox was deleted.");
	}
}

unsigned files_next(const struct user *u)
{
	return u->files ? u->files : FILES_MAX / 4;
}

void files_took(struct user *u, uint64_t us, bool full)
{
	const unsigned n = files_next(u);

	if (us > SLICE_US)
		u->files = n / 2 > FILES_MIN ? n / 2 : FILES_MIN;
	else if (full && us < SLICE_US / 4)
		u->files = n * 2 < FILES_MAX ? n * 2 : FILES_MAX;
}

/* Flags reach the names of files while nothing else is to do. */
static void on_flush(void *ctx)
{
	struct folder *f = ctx;
	struct err e = { 0 };
	const uint64_t since = clock_mono_us();
	bool more = false;

	timer_del(&f->flush);
	f->flush_soon = false;
	f->user->working = "tidying up";
	const int r = mbox_flush(f->mbox, files_next(f->user), &more, &e);

	files_took(f->user, clock_mono_us() - since, more);
	if (r < 0)
		log_debug("imap(%s): %.*s: %s", f->user->name, STR_ARG(f->name), e.text);
	else if (more)
		f->flush = loop_timer(f->user->loop, FOLDER_FLUSH_AGAIN_MS, on_flush, f);
}

static void flush_later(struct folder *f)
{
	const bool soon = mbox_untidy(f->mbox);

	if (!f->flush || (soon && !f->flush_soon)) {
		timer_del(&f->flush);
		f->flush = loop_timer(f->user->loop, soon ? FOLDER_FLUSH_AGAIN_MS : FOLDER_FLUSH_MS, on_flush, f);
		f->flush_soon = soon;
	}
}

/* --- a file of keys --- */

static bool commands_run(const struct user *u)
{
	list_each(it, &u->clients) {
		if (list_of(it, struct client, node)->run.step)
			return true;
	}
	return false;
}

/* A slice at a time; a little of it where commands are in progress. */
static void on_keys(void *ctx)
{
	struct folder *f = ctx;
	const bool busy = commands_run(f->user);
	const uint64_t until = clock_mono_us() + (busy ? 0 : SLICE_US);
	bool more;

	timer_del(&f->keys);
	f->user->working = "keys of a folder";
	do
		more = mbox_keys_step(f->mbox);
	while (more && clock_mono_us() < until);
	if (more)
		f->keys = loop_timer(f->user->loop, busy ? FOLDER_KEYS_MS : 0, on_keys, f);
}

void folder_want_keys(struct folder *f)
{
	mbox_keys_want(f->mbox);
	if (mbox_keys_wanted(f->mbox) && !f->keys)
		f->keys = loop_timer(f->user->loop, FOLDER_KEYS_MS, on_keys, f);
}

bool folders_busy(const struct user *u)
{
	list_each(it, &u->folders) {
		if (list_of(it, struct folder, node)->keys)
			return true;
	}
	return false;
}

/* --- news --- */

static void on_look(void *ctx);

static void look_later(struct folder *f, unsigned ms)
{
	if (!f->look)
		f->look = loop_timer(f->user->loop, ms, on_look, f);
}

static void look_again(struct folder *f)
{
	if (mbox_unsure(f->mbox))
		look_later(f, FOLDER_LOOK_MS);
}

static void news(struct folder *f)
{
	const uint64_t until = clock_mono_us() + SLICE_US;
	struct user *u = f->user;
	struct err e = { 0 };
	int r;

	while ((r = mbox_refresh_step(f->mbox, &e)) > 0 && clock_mono_us() < until)
		;
	if (r > 0) {
		look_later(f, 0);
	} else if (r == 0) {
		look_again(f);
		folder_changed(u, f->mbox);
	} else if (e.code == ERR_NOENT) {
		folder_gone(u, f->mbox);
		notify_forget(u, f);
		if (f->refs == 0 && !f->timer)
			folder_free(f);
	} else {
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): %.*s: %s", u->name, STR_ARG(f->name), e.text);
	}
}

static void on_look(void *ctx)
{
	struct folder *f = ctx;

	timer_del(&f->look);
	f->user->working = "a changed folder";
	news(f);
}

static void on_watch(void *ctx, unsigned events)
{
	struct folder *f = ctx;

	(void)events;
	f->user->working = "news of a folder";
	mbox_watch_clear(f->mbox);
	/* Every change of flags writes to the journal, so it comes by here. */
	flush_later(f);
	news(f);
}

static struct folder *folder_find(struct user *u, const struct mbox *m)
{
	list_each(it, &u->folders) {
		struct folder *f = list_of(it, struct folder, node);

		if (f->mbox == m)
			return f;
	}
	return NULL;
}

/* Takes m. */
static struct folder *folder_new(struct user *u, struct mbox *m, struct str name)
{
	struct folder *f = xzalloc(sizeof(*f));

	f->user = u;
	f->mbox = m;
	f->name = str_n(xstrndup(name.p, name.n), name.n);
	list_append(&u->folders, &f->node);
	if (mbox_untidy(m))
		flush_later(f);
	return f;
}

static struct folder *folder_get(struct user *u, struct str name, struct err *e)
{
	struct mbox *m;

	if (mbox_open(u->store, name, &m, e) < 0)
		return NULL;
	struct folder *f = folder_find(u, m);

	if (f)
		mbox_close(&m);		/* counted: the folder holds it */
	else
		f = folder_new(u, m, name);
	f->refs++;
	timer_del(&f->timer);
	const int fd = f->watch ? -1 : mbox_watch_fd(f->mbox);

	if (fd >= 0)
		f->watch = loop_watch(u->loop, fd, LOOP_READ, on_watch, f);
	return f;
}

static void on_unused(void *ctx)
{
	struct folder *f = ctx;

	timer_del(&f->timer);
	f->user->working = "closing a folder";
	if (mbox_leaving(f->mbox, files_next(f->user)))
		f->timer = loop_timer(f->user->loop, FOLDER_FLUSH_AGAIN_MS, on_unused, f);
	else
		folder_free(f);
}

/* A folder stays open for a while: webmail logs in anew for each page, and closing a watch costs the kernel 10 ms. */
static void folder_put(struct folder *f)
{
	if (--f->refs == 0)
		f->timer = loop_timer(f->user->loop, FOLDER_KEEP_MS, on_unused, f);
}

struct folder *folder_hold(struct user *u, struct str name, struct err *e)
{
	return folder_get(u, name, e);
}

void folder_release(struct folder *f)
{
	folder_put(f);
}

/* Those that are open only because messages went there, from the eldest on, until there is room for one more. */
static void targets_limit(struct user *u)
{
	unsigned n = 0;

	list_each(it, &u->folders) {
		const struct folder *f = list_of(it, struct folder, node);

		n += f->refs == 0 && !f->watch;
	}
	list_each_safe(it, &u->folders) {
		struct folder *f = list_of(it, struct folder, node);

		if (n < TARGETS_MAX)
			return;
		if (f->refs > 0 || f->watch)
			continue;
		folder_free(f);
		n--;
	}
}

int folder_target(struct user *u, struct str name, struct mbox **out, struct err *e)
{
	struct mbox *m;

	return mbox_open_target(u->store, name, &m, e) < 0 ? -1 : folder_target_opened(u, name, m, out, e);
}

int folder_target_opened(struct user *u, struct str name, struct mbox *m, struct mbox **out, struct err *e)
{
	struct folder *f = folder_find(u, m);

	if (!f) {
		targets_limit(u);
		f = folder_new(u, m, name);
		if (mbox_open_target(u->store, name, &m, e) < 0) {
			folder_free(f);
			return -1;
		}
	}
	if (f->refs == 0) {
		timer_del(&f->timer);
		f->timer = loop_timer(u->loop, FOLDER_KEEP_MS, on_unused, f);
		list_del(&f->node);
		list_append(&u->folders, &f->node);
	}
	*out = m;
	return 0;
}

void folder_forget_unused(struct user *u)
{
	list_each_safe(it, &u->folders) {
		struct folder *f = list_of(it, struct folder, node);

		if (f->refs == 0)
			folder_free(f);
	}
}

static bool is_within(struct str name, struct str folder)
{
	return str_starts(name, folder) && (name.n == folder.n || name.p[folder.n] == '/');
}

bool folder_forget(struct user *u, struct str name)
{
	bool untidy = false;

	list_each_safe(it, &u->folders) {
		struct folder *f = list_of(it, struct folder, node);

		if (f->refs > 0 || !is_within(f->name, name))
			continue;
		untidy |= f->name.n == name.n && mbox_untidy(f->mbox);
		folder_end(f, mbox_leave);
	}
	return untidy;
}

void folder_renamed(struct user *u, struct str from, struct str to)
{
	list_each(it, &u->folders) {
		struct folder *f = list_of(it, struct folder, node);
		struct buf name;

		if (!is_within(f->name, from))
			continue;
		buf_init(&name, to.n + f->name.n + 1);
		buf_str(&name, to);
		buf_str(&name, str_from(f->name, from.n));
		free((void *)(uintptr_t)f->name.p);
		f->name = str_n(xstrndup(name.p, name.n), name.n);
		buf_fini(&name);
	}
}

int folder_select(struct client *c, struct str name, bool readonly, struct err *e)
{
	struct folder *f = folder_get(c->user, name, e);

	if (!f)
		return -1;
	if (mbox_refresh(f->mbox, e) < 0) {
		folder_put(f);
		return -1;
	}
	look_again(f);
	c->folder = f;
	c->view = readonly ? mbox_view_examine(f->mbox) : mbox_view_new(f->mbox);	/* RFC 3501 section 6.3.2 */
	mbox_view_reader(c->view, client_reader(c));
	c->readonly = readonly;
	c->exists_untold = false;
	/* What the refresh found is news to the others. */
	folder_changed(c->user, f->mbox);
	return 0;
}

void folder_unselect(struct client *c)
{
	if (!c->folder)
		return;
	contexts_end(c);
	notify_unselected(c);
	saved_put(c, NULL, 0);
	mbox_view_free(&c->view);
	folder_put(c->folder);
	c->folder = NULL;
	c->readonly = false;
}

/* --- telling changes --- */

struct telling {
	struct client *c;
	bool exists;
	uint32_t before;	/* messages before the new ones */
	uint32_t *gone;		/* UIDs, highest first, for VANISHED (RFC 7162 3.2.10) */
	size_t n_gone, cap_gone;
};

static void tell_gone(struct telling *t)
{
	struct buf *out;

	if (t->n_gone == 0)
		return;
	for (size_t i = 0, k = t->n_gone - 1; i < k; i++, k--) {
		const uint32_t swap = t->gone[i];

		t->gone[i] = t->gone[k];
		t->gone[k] = swap;
	}
	out = resp(t->c);
	buf_c(out, "* VANISHED ");
	imap_numbers_format(t->gone, t->n_gone, out);
	buf_c(out, "\r\n");
	t->n_gone = 0;
}

static void tell_expunge(struct telling *t, uint32_t seq, uint32_t uid)
{
	struct client *c = t->c;

	t->before--;
	contexts_expunged(c, seq, uid);
	/* Numbers have moved: what the command has told by number is no longer known. */
	c->run.own_flags.n = 0;
	if (!(c->enabled & EN_QRESYNC)) {
		resp_untagged(c, "%u EXPUNGE", seq);
		return;
	}
	if (t->n_gone == t->cap_gone) {
		t->cap_gone = t->cap_gone * 2 + 64;
		t->gone = xrealloc(t->gone, t->cap_gone * sizeof(*t->gone));
	}
	t->gone[t->n_gone++] = uid;
}

static void tell(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	struct telling *t = ctx;
	struct client *c = t->c;
	struct mbox_msg m;

	if (what != MBOX_CH_EXPUNGE)
		tell_gone(t);
	switch (what) {
	case MBOX_CH_EXPUNGE:
		tell_expunge(t, seq, uid);
		break;
	case MBOX_CH_EXISTS:
		t->exists = true;
		if ((c->exists_untold = !notify_hears(c, false)))
			break;
		resp_untagged(c, "%u EXISTS", seq ? seq : mbox_view_count(c->view));
		break;
	case MBOX_CH_FLAGS:
		contexts_changed(c, uid);
		if (notify_hears(c, true) && !imap_seqset_has(&c->run.own_flags, seq) && mbox_msg_get(c->view, seq, &m, NULL) == 0)
			resp_flags_response(c, seq, &m);
		break;
	}
}

/* Changes that are told at once: a tenth of a millisecond, but each of them moves what was found by searches that are kept up to date. */
enum { TELL_PIECE = 512, TELL_PIECE_FOUND = 16 };

int folder_sync(struct client *c, bool refresh, bool allow_expunge, struct err *e)
{
	struct telling t = { .c = c };
	const int more = refresh ? mbox_refresh_step(c->folder->mbox, e) : 0;

	if (more < 0)
		return -1;
	/* Of a large folder that another program has changed all is told when it has been looked through. */
	if (more > 0)
		look_later(c->folder, 0);
	else
		look_again(c->folder);
	t.before = mbox_view_count(c->view);
	if (c->exists_untold && notify_hears(c, false)) {
		c->exists_untold = false;
		resp_untagged(c, "%u EXISTS", t.before);
	}
	const int r = mbox_view_sync_step(c->view, allow_expunge, c->n_contexts ? TELL_PIECE_FOUND : TELL_PIECE, tell, &t, e);

	tell_gone(&t);
	free(t.gone);
	if (r < 0)
		return -1;
	if (t.exists)
		notify_new(c, t.before + 1, mbox_view_count(c->view));
	if (r == 0)
		contexts_update(c);
	if (!notify_hears(c, false))
		return r;
	const uint32_t recent = t.exists ? mbox_view_recent(c->view) : c->recent;

	if (recent != c->recent && !(c->enabled & EN_REV2))
		resp_untagged(c, "%u RECENT", recent);
	c->recent = recent;
	return r;
}

/* What folder_push has left. The client is not heard meanwhile, so that it is still in IDLE, or in no command. */
static enum cmd_result push_step(struct client *c, struct err *e)
{
	const int r = folder_sync(c, false, c->idling || notify_expunges(c), e);

	if (r < 0) {
		client_end(c, e->text, "Mailbox is no longer usable.");
		return CMD_CLOSED;
	}
	return r > 0 ? CMD_MORE : CMD_ASIDE;
}

void folder_push_later(struct client *c)
{
	c->run.step = push_step;
	command_aside(c);
}

void folder_push(struct client *c)
{
	const bool pushed = c->idling || (notify_immediate(c) && !c->run.cmd && !c->append);
	struct err e = { 0 };

	if (!pushed || c->run.step || c->over || !c->folder)
		return;
	if (!guest_still(c)) {		/* the list may be another program's work */
		guest_bye(c);
		return;
	}
	const int r = folder_sync(c, false, c->idling || notify_expunges(c), &e);

	if (r < 0) {
		client_end(c, e.text, "Mailbox is no longer usable.");
		return;
	}
	if (r > 0)
		folder_push_later(c);
	notify_fetch(c);
	contexts_aside(c);
	resp_flush(c);
}

void folder_changed(struct user *u, const struct mbox *mbox)
{
	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		if (!mbox || (c->folder && c->folder->mbox == mbox))
			folder_push(c);
	}
	notify_changed(u);
}
