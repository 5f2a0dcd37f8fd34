/* Folders of others: a session asks for a connection to another user's session. Who asks is the user that this process started the session for. The
 * owner's session gets one end of a socket pair with that name, the asking one the other end; what may be done there the owner's process decides
 * (imapd/guest.c). Those who share nothing with the asker are answered like those who do not exist, and none of their processes is started. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "authd/shares.h"
#include "base/arena.h"
#include "log/log.h"
#include "os/os.h"

enum {
	SHARES_SAVE_MS = 2000,
	AGAIN_MS = 1,		/* a round of the loop, at least */
};

struct guests {
	struct monitor *m;
	const char *asker;
	guest_answer_fn *fn;
	sharers_answer_fn *sharers;
	void *ctx;
	struct list all;
	unsigned n;
	uint32_t asks[SHARERS_ASKS_MAX];	/* who shares with the asker is to be answered, */
	unsigned n_asks;
	struct timer *again;			/* then */
};

struct opening {
	struct list node;
	struct guests *g;	/* NULL: nobody waits any more */
	struct monitor *m;
	struct timer *again;	/* until the owner's session was heard */
	uint32_t id;
	int fd;			/* the asker's end; -1: not yet made */
	char owner[ACCOUNT_NAME_MAX + 1];
};

static uint64_t serial;		/* of these connections; the names of others are random */

struct guests *guests_new(struct monitor *m, const char *asker, guest_answer_fn *fn, sharers_answer_fn *sharers, void *ctx)
{
	struct guests *g = xzalloc(sizeof *g);

	*g = (struct guests){ .m = m, .asker = asker, .fn = fn, .sharers = sharers, .ctx = ctx };
	list_init(&g->all);
	return g;
}

void guests_free(struct guests **g)
{
	if (!*g)
		return;
	list_each_safe(it, &(*g)->all) {
		list_of(it, struct opening, node)->g = NULL;
		list_del(it);
	}
	timer_del(&(*g)->again);
	free(*g);
	*g = NULL;
}

static void opening_end(struct opening *o, enum err_code code)
{
	if (o->g) {
		o->g->n--;
		list_del(&o->node);
		o->g->fn(o->g->ctx, o->id, str_c(o->owner), code, code == ERR_NONE ? o->fd : -1);
	}
	timer_del(&o->again);
	close_fd(&o->fd);
	loop_free_later(o->m->loop, o);
}

static void on_attached(void *ctx, enum err_code code, const char *text, pid_t pid)
{
	struct opening *o = ctx;

	(void)pid;
	if (code != ERR_NONE)
		log_warning("session of %s takes no guest: %s", o->owner, text);
	opening_end(o, code);
}

static int owner_find(struct guests *g, struct str owner, struct account *a, struct err *e)
{
	const int rc = accounts_find(g->m, owner, a, e);

	if (rc < 0)
		return -1;
	if (rc > 0 || !str_case_eq(str_c(a->name), owner) || (a->flags & ACCOUNT_F_DISABLED) || !shares_open(g->m->shares, owner, str_c(g->asker)))
		return err_set(e, ERR_NOENT, 0, "nothing is shared");
	return 0;
}

static void attach(struct opening *o, const struct account *account)
{
	struct err e = { 0 };
	int sp[2];

	if (sock_pair(SOCK_STREAM, sp, &e) < 0) {
		opening_end(o, e.code);
		return;
	}
	o->fd = sp[0];
	snprintf(o->owner, sizeof o->owner, "%s", account->name);
	const struct attach_ask ask = { .conn = ++serial, .service = "imap", .client = "shared", .server = "", .account = account, .guest = o->g->asker,
					.fd = sp[1] };

	log_debug("%s asks for the folders of %s", o->g->asker, account->name);
	(void)session_attach(o->m, &ask, on_attached, o);
}

static void on_again(void *ctx)
{
	struct opening *o = ctx;
	struct account account;
	struct err e = { 0 };

	timer_del(&o->again);
	if (!o->g || owner_find(o->g, str_c(o->owner), &account, &e) < 0)
		opening_end(o, e.code);
	else
		attach(o, &account);
}

/* An owner may have been told OK for a new share although its session's word for it was not read yet: that of the asker's can come first, for they have different
 * sockets. So nobody is refused before another round was read. */
void guests_open(struct guests *g, uint32_t id, struct str owner)
{
	struct account account;
	struct err e = { 0 };

	if (g->n >= GUEST_OPENS_MAX || owner.n > ACCOUNT_NAME_MAX) {
		g->fn(g->ctx, id, owner, g->n >= GUEST_OPENS_MAX ? ERR_LIMIT : ERR_NOENT, -1);
		return;
	}
	const int found = owner_find(g, owner, &account, &e);

	if (found < 0 && e.code != ERR_NOENT) {
		g->fn(g->ctx, id, owner, e.code, -1);
		return;
	}
	struct opening *o = xzalloc(sizeof *o);
	*o = (struct opening){ .g = g, .m = g->m, .id = id, .fd = -1 };
	snprintf(o->owner, sizeof o->owner, "%.*s", STR_ARG(owner));
	list_append(&g->all, &o->node);
	g->n++;
	if (found < 0)
		o->again = loop_timer(g->m->loop, AGAIN_MS, on_again, o);
	else
		attach(o, &account);
}

static void on_sharers_again(void *ctx)
{
	struct guests *g = ctx;
	const unsigned n = g->n_asks;

	timer_del(&g->again);
	g->n_asks = 0;
	for (unsigned i = 0; i < n; i++)
		g->sharers(g->ctx, g->asks[i]);
}

/* Likewise none is left out before another round was read. Who asks for more than that at once is answered as of now. */
void guests_sharers(struct guests *g, uint32_t id)
{
	if (g->n_asks == SHARERS_ASKS_MAX) {
		g->sharers(g->ctx, id);
		return;
	}
	g->asks[g->n_asks++] = id;
	timer_del(&g->again);
	g->again = loop_timer(g->m->loop, AGAIN_MS, on_sharers_again, g);
}

/* --- the table and its file --- */

static void path_of(const struct monitor *m, char *path, size_t n)
{
	snprintf(path, n, "%s/shares", m->conf->state_directory);
}

void shares_load(struct monitor *m)
{
	struct err e = { 0 };
	char path[1100];
	struct buf b;

	m->shares = shares_new();
	path_of(m, path, sizeof path);
	buf_init(&b, SHARES_FILE_MAX);
	if (file_read(path, SHARES_FILE_MAX, &b, &e) == 0)
		shares_parse(m->shares, buf_view(&b));
	else if (e.code != ERR_NOENT && e.sys != ENOENT)
		log_error("%s", e.text);
	buf_fini(&b);
}

void shares_save(struct monitor *m)
{
	struct err e = { 0 };
	char path[1100];
	struct buf b;

	if (!m->shares_dirty)
		return;
	m->shares_dirty = false;
	path_of(m, path, sizeof path);
	buf_init(&b, SHARES_FILE_MAX);
	shares_format(m->shares, &b);
	if (buf_check(&b, path, &e) < 0 || file_replace(path, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, &e) < 0)
		log_error("%s", e.text);
	buf_fini(&b);
}

static void on_save(void *ctx)
{
	struct monitor *m = ctx;

	timer_del(&m->shares_timer);
	shares_save(m);
}

/* A sync makes all logins wait, and a user can change lists as fast as commands go: the file follows later. It is a hint; what a power cut in
 * between takes away the owner's next login makes good. */
void shares_told(struct monitor *m, const char *owner, struct str grantees)
{
	if (!shares_set(m->shares, str_c(owner), grantees))
		return;
	m->shares_dirty = true;
	if (!m->shares_timer)
		m->shares_timer = loop_timer(m->loop, SHARES_SAVE_MS, on_save, m);
}

size_t shares_with(const struct monitor *m, const char *user, struct str *v, size_t max)
{
	return shares_owners(m->shares, str_c(user), v, max);
}
