/* A connection to another user's session process: link.h. Owns the form of what comes back: lines, literals, tags, and what of it may pass. */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "log/log.h"
#include "os/os.h"
#include "named.h"
#include "relay.h"
#include "spaces.h"

struct ask {
	char tag[IMAP_TAG_MAX + 1];
	const struct link_user *user;
	void *ctx;
};

struct link {
	struct list node;	/* of client.links */
	struct client *c;
	char *owner, *prefix;	/* of the owner's folders */
	uint32_t request;	/* of GUEST_OPEN; 0: answered */
	struct conn *conn;	/* NULL: not open yet */
	struct buf before;	/* what waits for it */
	struct timer *timer;
	struct ask asks[LINK_ASKS_MAX];
	unsigned n_asks;
	unsigned enabled;	/* EN_*, as far as it was told */
	unsigned serial;	/* of our own tags */
	bool over, paused;
	bool held;			/* others have to finish first: links_wake() */
	bool resting;			/* nothing is asked */
	bool watches;			/* link_watch() */
	struct ask always;		/* who hears it then */
	/* the response that is being read */
	bool mid, drop;		/* behind a literal; not for anybody */
	bool passing;		/* to the client as it is */
	bool to_data;		/* the literal goes to data() */
	uint64_t left;		/* of the literal */
	struct buf text;	/* when it is taken apart here */
};

enum when { NEVER, ALWAYS, SELECTED, NEWS };
static const struct {
	const char *word;
	enum when when;
} relayed[] = {
#define RELAYED(word, when, shape) { word, when },
#include "relayed.def"
#undef RELAYED
};

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

/* Everybody who waits hears it; a selected mailbox is gone with it. */
static void lose(struct link *l, enum err_code code, const char *why)
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
	lose(l, ERR_LIMIT, why);
}

static void on_timer(void *ctx)
{
	struct link *l = ctx;

	if (l->n_asks || l->request) {
		lose(l, ERR_TEMP, "no answer");
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

static void waiting(struct link *l)
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

/* --- reading --- */

static struct ask *first(struct link *l)
{
	return l->n_asks ? &l->asks[0] : NULL;
}

/* Who hears untagged responses; NULL: the client, as they are. */
static const struct ask *hearer(struct link *l)
{
	return l->watches ? &l->always : first(l);
}

/* NEVER: not to be believed, or not now. */
static enum when when_of(const struct link *l, struct str line)
{
	struct str rest;
	const struct str word = named_word(line, &rest);
	const char *also = l->n_asks ? l->asks[0].user->also : NULL;

	if (also && str_case_eq(word, str_c(also)))
		return ALWAYS;
	for (size_t i = 0; i < ARRAY_LEN(relayed); i++) {
		if (str_case_eq(word, str_c(relayed[i].word)))
			return relayed[i].when == ALWAYS || l->c->remote == l || l->c->selecting == l ? relayed[i].when : NEVER;
	}
	return NEVER;
}

/* Does a response that passes as it is name the owner's folders only? */
static bool may_name(struct link *l, struct str line)
{
	struct client *c = l->c;
	const struct arena_mark mark = arena_mark(c->arena);
	struct named n;
	const bool ok = named_parse(c, line, &n) == 0 && (n.name.n == 0 || named_below(&n, str_c(l->prefix)));

	arena_release(c->arena, mark);
	return ok;
}

/* A response begins: whose is it? */
static void response_begin(struct link *l, const struct ask *a, struct str line)
{
	const enum when when = when_of(l, line);
	const bool asked = a && !a->user->pass;
	struct str rest;

	/* FETCH is what the one who copies messages waits for. */
	l->passing = when != NEVER && (!asked || (when == NEWS && !(a->user->literal && str_case_eq(named_word(line, &rest), STR("FETCH")))));
	l->drop = when == NEVER || (asked && !l->passing && !a->user->untagged && !a->user->literal);
	buf_reset(&l->text);
}

/* Bytes that the line announces at its end: "{5}" or "~{5}", before the line end. */
static bool announces(struct str line, uint64_t *n)
{
	struct str s = str_sub(line, 0, line.n - 2);
	const ptrdiff_t open = str_rchr(s, '{');

	return s.n && s.p[s.n - 1] == '}' && open >= 0 && num_parse(str_sub(s, (size_t)open + 1, s.n - (size_t)open - 2), 0, INT64_MAX, n) == 0;
}

static void tagged(struct link *l, struct str line)
{
	struct ask a = *first(l);
	const struct str rest = str_sub(line, strlen(a.tag) + 1, line.n - strlen(a.tag) - 3);

	memmove(l->asks, l->asks + 1, --l->n_asks * sizeof(*l->asks));
	waiting(l);
	a.user->tagged(a.ctx, l, rest);
}

/* A line, or the piece of one between literals. -1: this is no IMAP. */
static int on_line(struct link *l, struct str line)
{
	const struct ask *const first_ask = first(l), *const a = hearer(l);
	uint64_t n = 0;

	if (!l->mid && first_ask && str_starts(line, str_c(first_ask->tag)) && line.p[strlen(first_ask->tag)] == ' ') {
		tagged(l, line);
		return 0;
	}
	if (!l->mid && line.p[0] == '+') {
		if (a && a->user->plus)
			a->user->plus(a->ctx, l, line);
		return 0;
	}
	if (!l->mid && !str_starts(line, STR("* ")))
		return -1;
	if (!l->mid) {
		response_begin(l, a, line);
		if (l->passing && !may_name(l, line)) {
			link_break(l, "names what is not in them");
			return 0;
		}
	}
	l->mid = announces(line, &n);
	l->left = l->mid ? n : 0;
	l->to_data = false;
	if (l->drop)
		return 0;
	if (l->passing) {
		l->c->passing = l->mid ? l : NULL;
		buf_str(resp(l->c), line);
		return 0;
	}
	buf_str(&l->text, line);
	if (l->mid && a->user->literal)
		l->to_data = a->user->literal(a->ctx, l, buf_view(&l->text), n);
	else if (!l->mid && a->user->untagged && !buf_failed(&l->text))
		a->user->untagged(a->ctx, l, buf_view(&l->text));
	return buf_failed(&l->text) ? -1 : 0;
}

static void on_literal(struct link *l, struct str bytes)
{
	const struct ask *a = hearer(l);

	l->left -= bytes.n;
	if (l->drop)
		return;
	if (l->passing)
		buf_str(resp(l->c), bytes);
	else if (l->to_data && a->user->data)
		a->user->data(a->ctx, l, bytes);
	else if (!l->to_data)
		buf_str(&l->text, bytes);
}

/* One piece of input. False: no more now. */
static bool read_some(struct link *l)
{
	const struct str in = conn_input(l->conn);
	const char *lf;

	if (in.n == 0 || l->over || l->paused)
		return false;
	if (l->mid && l->left) {
		const struct str bytes = str_sub(in, 0, l->left < in.n ? (size_t)l->left : in.n);

		on_literal(l, bytes);
		if (!l->over)
			conn_consume(l->conn, bytes.n);
		return !l->over;
	}
	if (!(lf = memchr(in.p, '\n', in.n))) {
		if (in.n >= LINK_LINE_MAX - 1)
			lose(l, ERR_TEMP, "response too long");
		return false;
	}
	const struct str line = str_sub(in, 0, (size_t)(lf - in.p) + 1);

	if (line.n < 2 || lf[-1] != '\r' || on_line(l, line) < 0) {
		lose(l, ERR_TEMP, "malformed response");
		return false;
	}
	if (!l->over)
		conn_consume(l->conn, line.n);
	return !l->over;
}

/* Its process speaks unasked where the selected mailbox is told of at once (NOTIFY): not into a response of another one, nor into an answer that is given in
 * steps. */
static bool may_speak(const struct link *l)
{
	const struct client *c = l->c;

	if (c->passing)
		return c->passing == l;
	return l->n_asks || l->watches || !c->run.step;
}

static void read_all(struct link *l);

static void on_wake(void *ctx)
{
	struct client *c = ctx;

	timer_del(&c->wake);
	list_each_safe(it, &c->links) {
		struct link *l = list_of(it, struct link, node);

		if (l->held && !l->paused)
			read_all(l);
		if (c->over)
			return;
	}
}

void links_wake(struct client *c)
{
	if (c->n_links && !c->wake)
		c->wake = loop_timer(c->user->loop, 0, on_wake, c);
}

static void read_all(struct link *l)
{
	struct client *c = l->c;
	const bool passing = c->passing;

	waiting(l);
	/* What the client does not take stays here, and then with the owner's process. */
	while (!l->over && !resp_full(c) && may_speak(l) && read_some(l))
		;
	if (!l->over) {
		l->held = !may_speak(l);
		conn_pause(l->conn, l->paused || l->held || resp_full(c));
	}
	if (!c->over && passing && !c->passing)
		links_wake(c);
	if (!c->over)
		resp_flush(c);
	if (!c->over && !c->passing)
		notify_later(c);
}

void links_resume(struct client *c)
{
	list_each_safe(it, &c->links) {
		struct link *l = list_of(it, struct link, node);

		if (l->conn && !l->paused)
			read_all(l);
		if (c->over)
			return;
	}
}

void link_pause(struct link *l, bool on)
{
	l->paused = on;
	if (l->conn)
		conn_pause(l->conn, on);
}

static void on_conn(void *ctx, struct conn *conn, enum conn_event ev)
{
	struct link *l = ctx;
	const struct ask *a = first(l);

	switch (ev) {
	case CONN_EV_DATA:
		read_all(l);
		break;
	case CONN_EV_DRAINED:
		if (a && a->user->drained)
			a->user->drained(a->ctx, l);
		break;
	case CONN_EV_CLOSED:
		read_all(l);
		lose(l, ERR_TEMP, "its process has gone");
		break;
	case CONN_EV_ERROR:
		lose(l, ERR_TEMP, conn_error(conn));
		break;
	case CONN_EV_TIMEOUT:
	case CONN_EV_SECURED:
		break;
	}
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
	waiting(l);
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
				lose(l, code, err_row(code)->imap);
				return;
			}
			l->conn = conn_new(u->loop, fd, &limits, on_conn, l);
			conn_write(l->conn, buf_view(&l->before));
			buf_fini(&l->before);
			waiting(l);
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
		waiting(l);
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
