/* What another user's session process says: lines, literals, tags, who hears it, and what of it may pass to the client. */
#include "base/num.h"
#include "link_priv.h"
#include "named.h"
#include "relay.h"

enum when { NEVER, ALWAYS, TEXT, SELECTED, NEWS };
static const struct {
	const char *word;
	enum when when;
} relayed[] = {
#define RELAYED(word, when, shape) { word, when },
#include "relayed.def"
#undef RELAYED
};

static struct ask *first(struct link *l)
{
	return l->n_asks ? &l->asks[0] : NULL;
}

/* Who hears untagged responses; NULL: the client, as they are. */
static const struct ask *hearer(struct link *l)
{
	return l->watches ? &l->always : first(l);
}

/* Is the selected mailbox there, or about to be? What was said before the answer to SELECT is of another one. */
static bool selected(const struct link *l)
{
	return l->c->remote == l || (l->c->selecting == l && l->n_asks && l->asks[0].user->pass);
}

static bool has_code(struct str rest)
{
	while (rest.n && rest.p[0] == ' ')
		rest = str_from(rest, 1);
	return str_starts(rest, STR("["));
}

/* NEVER: not to be believed, or not now. */
static enum when when_of(const struct link *l, struct str line, bool asked)
{
	struct str rest;
	const struct str word = named_word(line, &rest);
	const char *also = l->n_asks ? l->asks[0].user->also : NULL;

	if (also && str_case_eq(word, str_c(also)))
		return ALWAYS;
	for (size_t i = 0; i < ARRAY_LEN(relayed); i++) {
		const enum when when = relayed[i].when;

		if (!str_case_eq(word, str_c(relayed[i].word)))
			continue;
		return when == ALWAYS || (when == TEXT && (asked || !has_code(rest))) || selected(l) ? when : NEVER;
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
	const bool asked = a && !a->user->pass;
	const enum when when = when_of(l, line, asked);
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
	link_waiting(l);
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
			link_lose(l, ERR_TEMP, "response too long");
		return false;
	}
	const struct str line = str_sub(in, 0, (size_t)(lf - in.p) + 1);

	/* A lone CR would end a line for some clients. */
	if (line.n < 2 || memchr(line.p, '\r', line.n - 1) != lf - 1 || on_line(l, line) < 0) {
		link_lose(l, ERR_TEMP, "malformed response");
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

	link_waiting(l);
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

void link_on_conn(void *ctx, struct conn *conn, enum conn_event ev)
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
		link_lose(l, ERR_TEMP, "its process has gone");
		break;
	case CONN_EV_ERROR:
		link_lose(l, ERR_TEMP, conn_error(conn));
		break;
	case CONN_EV_TIMEOUT:
	case CONN_EV_SECURED:
		break;
	}
}
