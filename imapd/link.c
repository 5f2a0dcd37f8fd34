/* A connection to another user's session process: link.h. Opened, asked, ended; link_read.c has what comes back. */
#include "link_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "log/log.h"
#include "os/os.h"
#include "relay.h"
#include "spaces.h"

/* --- the end --- */

static void forget(struct link *l)
{
	struct client *c = l->c;

	l->over = true;
	if (c->passing == l)
		c->passing = NULL;
	list_del(&l->node);
	timer_del(&l->timer);
	conn_free(&l->conn);
	buf_fini(&l->before);
	buf_fini(&l->text);
	free(l->owner);
	free(l->prefix);
	l->owner = l->prefix = NULL;
	c->n_links--;
	loop_free_later(c->user->loop, l);
}

void link_end(struct link *l)
{
	l->n_asks = 0;
	if (!l->over)
		forget(l);
}

void links_end(struct client *c)
{
	timer_del(&c->wake);
	list_each_safe(it, &c->links)
		link_end(list_of(it, struct link, node));
}

void link_lose(struct link *l, enum err_code code, const char *why)
{
	struct ask asks[LINK_ASKS_MAX];
	struct client *c = l->c;
	const unsigned n = l->n_asks;
	const bool selected = c->remote == l, halfway = c->passing == l;

	if (l->over)
		return;
	if (code != ERR_NOENT)
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): folders of %s: %s", c->user->name, l->owner, why);
	memcpy(asks, l->asks, n * sizeof(*asks));
	l->n_asks = 0;
	forget(l);
	if (selected) {
		c->remote = NULL;
		client_end(c, "Shared mailbox is gone", "The shared mailbox is no longer served.");
		return;
	}
	if (halfway) {		/* what is said now would be taken for the rest of the response */
		client_end(c, "Shared mailbox is gone within a response", NULL);
		return;
	}
	if (l->watches)
		l->always.user->lost(l->always.ctx, l, code);
	for (unsigned i = 0; i < n && !c->over; i++)
		asks[i].user->lost(asks[i].ctx, l, code);
	transfer_lost(c, l, code);
}

void link_break(struct link *l, const char *why)
{
	link_lose(l, ERR_LIMIT, why);
}

static void on_timer(void *ctx)
{
	struct link *l = ctx;

	if (l->n_asks || l->request) {
		link_lose(l, ERR_TEMP, "no answer");
	} else if (l->watches) {	/* neither end takes it for dead */
		(void)!link_command(l, "NOOP", &link_ignore, NULL);
	} else if (l->c->remote != l && !transfer_uses(l->c, l)) {
		link_end(l);
	} else {
		timer_again(l->timer, LINK_IDLE_MS);
	}
}

static void wait_for(struct link *l, uint64_t ms)
{
	if (l->timer)
		timer_again(l->timer, ms);
	else
		l->timer = loop_timer(l->c->user->loop, ms, on_timer, l);
}

void link_waiting(struct link *l)
{
	const bool rested = l->resting;

	l->resting = !l->request && !l->n_asks;
	if (l->watches && rested && l->resting)	/* what it tells does not put off our sign of life */
		return;
	if (l->request)
		wait_for(l, LINK_OPEN_MS);
	else if (l->n_asks)	/* a search may take long, and says that it goes on */
		wait_for(l, l->asks[0].user->pass || l->asks[0].user->slow ? l->c->user->conf->imap_timeout * 1000 : LINK_ASK_MS);
	else
		wait_for(l, l->watches ? l->c->user->conf->imap_timeout * 500 : LINK_IDLE_MS);
}

/* --- begin --- */

/* Returns owned. */
static char *prefix_of(struct client *c, struct str owner)
{
	struct buf b;

	buf_init(&b, 2048);
	space_prefix(&b, c->user->conf, owner);
	char *const prefix = xstrndup(b.p, b.n);

	buf_fini(&b);
	return prefix;
}

static struct link *link_new(struct client *c, struct str owner)
{
	struct user *u = c->user;
	struct link *l;
	struct err e = { 0 };

	if (c->n_links >= LINKS_MAX || !u->chan)
		return NULL;
	l = xzalloc(sizeof(*l));
	l->c = c;
	l->owner = xstrndup(owner.p, owner.n);
	l->prefix = prefix_of(c, owner);
	buf_init(&l->before, LINK_OUT_MAX);
	buf_init(&l->text, LINK_COLLECT_MAX);
	list_append(&c->links, &l->node);
	c->n_links++;
	l->request = ipc_next_id(u->chan);
	if (ipc_send(u->chan, IPC_sess_GUEST_OPEN, &(struct ipc_sess_GUEST_OPEN){ .owner = owner }, l->request, -1, &e) < 0) {
		link_end(l);
		return NULL;
	}
	link_waiting(l);
	return l;
}

void link_opened(struct user *u, uint32_t id, int fd, enum err_code code)
{
	const struct conn_limits limits = { .in_max = LINK_LINE_MAX, .out_high = LINK_OUT_HIGH, .out_max = LINK_OUT_MAX };

	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		list_each(k, &c->links) {
			struct link *l = list_of(k, struct link, node);

			if (l->request != id)
				continue;
			l->request = 0;
			if (fd < 0) {
				link_lose(l, code, err_row(code)->imap);
				return;
			}
			l->conn = conn_new(u->loop, fd, &limits, link_on_conn, l);
			conn_write(l->conn, buf_view(&l->before));
			buf_fini(&l->before);
			link_waiting(l);
			return;
		}
	}
	close_fd(&fd);	/* who asked has gone */
}

/* --- writing --- */

void link_write(struct link *l, struct str bytes)
{
	if (l->conn)
		conn_write(l->conn, bytes);
	else
		buf_str(&l->before, bytes);
}

bool link_full(const struct link *l)
{
	return l->conn ? conn_out_pending(l->conn) >= LINK_OUT_HIGH : l->before.n >= LINK_OUT_HIGH;
}

bool link_ask(struct link *l, struct str tag, const struct link_user *user, void *ctx)
{
	struct ask *a = &l->asks[l->n_asks];

	if (l->n_asks == LINK_ASKS_MAX)
		return false;
	snprintf(a->tag, sizeof(a->tag), "%.*s", STR_ARG(tag));
	a->user = user;
	a->ctx = ctx;
	if (l->n_asks++ == 0)
		link_waiting(l);
	return true;
}

void link_forget(struct link *l, const void *ctx)
{
	for (unsigned i = 0; i < l->n_asks; i++) {
		if (l->asks[i].ctx == ctx)
			l->asks[i].user = &link_ignore;
	}
}

bool link_command_begin(struct link *l, const char *text, const struct link_user *user, void *ctx)
{
	char tag[40];

	snprintf(tag, sizeof(tag), "postern.%u", ++l->serial);
	if (!link_ask(l, str_c(tag), user, ctx))
		return false;
	link_write(l, str_c(tag));
	link_write(l, STR(" "));
	link_write(l, str_c(text));
	return true;
}

bool link_command(struct link *l, const char *text, const struct link_user *user, void *ctx)
{
	if (!link_command_begin(l, text, user, ctx))
		return false;
	link_write(l, STR("\r\n"));
	return true;
}

static void no_tagged(void *ctx, struct link *l, struct str rest)
{
}

static void no_lost(void *ctx, struct link *l, enum err_code code)
{
}

const struct link_user link_ignore = { .tagged = no_tagged, .lost = no_lost };

/* What the client has enabled changes the responses that pass. */
static void enable(struct link *l)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { EN_CONDSTORE, " CONDSTORE" }, { EN_UTF8, " UTF8=ACCEPT" }, { EN_REV2, " IMAP4rev2" }, { EN_QRESYNC, " QRESYNC" } };
	const unsigned now = l->c->enabled & ~l->enabled;
	char text[100] = "ENABLE";

	if (!now)
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (now & names[i].bit)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", names[i].name);
	}
	/* Where nothing can be asked now, the command that this is for is not sent either. */
	if (link_command(l, text, &link_ignore, NULL))
		l->enabled = l->c->enabled;
}

struct link *link_get(struct client *c, struct str owner)
{
	list_each(it, &c->links) {
		struct link *l = list_of(it, struct link, node);

		if (!l->watches && str_eq(str_c(l->owner), owner)) {
			enable(l);
			return l;
		}
	}
	struct link *l = link_new(c, owner);

	if (l)
		enable(l);
	return l;
}

struct link *link_watch(struct client *c, struct str owner, const struct link_user *user, void *ctx)
{
	struct link *l = link_new(c, owner);

	if (!l)
		return NULL;
	l->watches = true;
	l->always = (struct ask){ .user = user, .ctx = ctx };
	enable(l);
	return l;
}

void links_enable(struct client *c)
{
	list_each(it, &c->links) {
		struct link *l = list_of(it, struct link, node);

		if (l->watches)
			enable(l);
	}
}
