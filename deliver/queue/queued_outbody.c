/* The body of a message as other servers get it: smtp_mime_header_checks and smtp_nested_header_checks over the fields of its parts, smtp_body_checks over its lines. First
 * all is asked, a piece at a time, and what is to be changed is noted by its place; then, if anything is, the message is copied with the changes into a file without a
 * name. Neither holds up other mail. The header stays as it is: its changes are edits (queued_outgoing.c). Nothing is kept: each attempt looks anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/queue/queued_outgoing.h"
#include "deliver/resolve/resolve.h"
#include "log/log.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "os/os.h"

enum {
	HEAD_READ_MAX = 1 << 20,
	PIECE_BYTES = 80000,		/* of the body that is asked about at once: with the lengths of its lines one packet */
	PIECE_LINES = 2000,
	LINE_BYTES_MAX = 16384,		/* of a line that patterns see */
	CHANGES_MAX = 100000,
	TEXT_BYTES_MAX = 16 << 20,	/* of all that is put in */
	SLICE_BYTES = 1 << 20,		/* that are copied before others have their turn */
};

struct change {
	uint64_t at, n;		/* the bytes that go */
	struct str text;	/* what comes in their place */
	uint64_t covers;	/* of a part's field: as far as it reaches; no pattern for the body sees that */
};

struct changes {
	struct change *v;
	size_t n, cap, taken;
};

struct outbody {
	struct active *a;
	outbody_fn *fn;
	void *ctx;
	struct arena *arena, *piece_arena;	/* of all changes; of the piece that is asked about */
	struct changes parts, lines;		/* each in the order of its places */
	size_t text_bytes;
	uint64_t body, off;			/* where the body begins; what has been asked about */
	char *piece;
	struct asked {
		uint64_t at;
		struct str line;
		bool ended;			/* by a line end */
	} *asked;
	size_t n_asked, part_at;
	struct timer *timer;
	uint64_t copied, written;
	int wfd, rfd;
};

bool outbody_wanted(const struct conf *c)
{
	return c->smtp_mime_header_checks.n > 0 || c->smtp_nested_header_checks.n > 0 || c->smtp_body_checks.n > 0;
}

/* The last thing that is done with g. */
static void end(struct outbody *g, const char *trouble)
{
	outbody_fn *fn = g->fn;
	void *ctx = g->ctx;

	timer_del(&g->timer);
	close_fd(&g->wfd);
	close_fd(&g->rfd);
	free(g->parts.v);
	free(g->lines.v);
	free(g->piece);
	arena_free(&g->piece_arena);
	arena_free(&g->arena);
	free(g);
	fn(ctx, trouble);
}

static void failed(struct outbody *g, const struct err *e, const char *trouble)
{
	log_error("%.*s: %s", STR_ARG(g->a->msg->qid), e->text);
	end(g, trouble);
}

/* --- changes --- */

static int change_add(struct outbody *g, struct changes *c, uint64_t at, uint64_t n, struct str text, uint64_t covers, struct err *e)
{
	struct change *last = c->n > 0 ? &c->v[c->n - 1] : NULL;

	if (last && text.n == 0 && last->text.n == 0 && covers == 0 && last->covers == 0 && last->at + last->n == at) {
		last->n += n;
		return 0;
	}
	if (c->n == CHANGES_MAX || text.n > TEXT_BYTES_MAX - g->text_bytes)
		return err_set(e, ERR_LIMIT, 0, "more changes of a message than %d, or with more text than %d bytes", CHANGES_MAX, TEXT_BYTES_MAX);
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->v = xrealloc(c->v, c->cap * sizeof(*c->v));
	}
	g->text_bytes += text.n;
	c->v[c->n++] = (struct change){ .at = at, .n = n, .text = arena_str(g->arena, text), .covers = covers };
	return 0;
}

/* What leaves must be lines: no pattern's text may add a field, an end of the header or a bare CR. */
static bool is_lines(struct str text, bool folds)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\r' || text.p[i] == '\0' || (text.p[i] == '\n' && (!folds || i + 1 == text.n || !ch_blank(text.p[i + 1]))))
			return false;
	return true;
}

static bool is_field(struct str text)
{
	const ptrdiff_t colon = str_chr(text, ':');

	return colon > 0 && str_printable(str_sub(text, 0, (size_t)colon)) && str_chr(str_sub(text, 0, (size_t)colon), ' ') < 0 && is_lines(text, true);
}

/* What an action does to the line, or field, of n bytes at this place; line_end: bytes of these that end it. */
static int take_action(struct outbody *g, bool field, struct str line, uint64_t at, uint64_t n, uint64_t line_end, struct str action, struct err *e)
{
	struct changes *c = field ? &g->parts : &g->lines;
	const uint64_t covers = field ? n : 0;
	enum outgoing_action what;
	struct str text;

	if (outgoing_action(g->a, field ? "header" : "body", line, action, &what, &text, e) < 0)
		return -1;
	if (what == OUTGOING_KEEP)
		return 0;
	if (what == OUTGOING_REMOVE)
		return change_add(g, c, at, n, STR(""), covers, e);
	if (!(field ? is_field(text) : is_lines(text, false)))
		return err_set(e, ERR_CONF, 0, "%s", field ? "no header field" : "no line");
	if (what == OUTGOING_REPLACE)
		return change_add(g, c, at, n - line_end, text, covers, e);
	return change_add(g, c, at, 0, str_c(arena_printf(g->piece_arena, "%.*s\n", STR_ARG(text))), covers, e);
}

/* --- copying --- */

/* The next change of both lists; NULL: none is left. */
static struct changes *next_change(struct outbody *g)
{
	struct changes *p = g->parts.taken < g->parts.n ? &g->parts : NULL, *l = g->lines.taken < g->lines.n ? &g->lines : NULL;

	return p == NULL ? l : l == NULL || p->v[p->taken].at <= l->v[l->taken].at ? p : l;
}

static int put(struct outbody *g, const char *p, size_t n, struct err *e)
{
	g->written += n;
	return write_all(g->wfd, p, n, e);
}

static int copy(struct outbody *g, uint64_t end, struct err *e)
{
	const size_t n = (size_t)(end - g->copied < PIECE_BYTES ? end - g->copied : PIECE_BYTES);

	if (pread_all(g->a->fd, g->piece, n, g->copied, e) < 0)
		return -1;
	g->copied += n;
	return put(g, g->piece, n, e);
}

/* Up to a slice. 1: there is more. */
static int copy_slice(struct outbody *g, struct err *e)
{
	const uint64_t size = g->a->msg->size, enough = g->written + SLICE_BYTES;

	while (g->written < enough) {
		struct changes *c = next_change(g);
		const struct change *x = c ? &c->v[c->taken] : NULL;
		const uint64_t to = x ? x->at : size;
		if (g->copied < to) {
			if (copy(g, to, e) < 0)
				return -1;
		} else if (x == NULL) {
			return 0;
		} else {
			if (put(g, x->text.p, x->text.n, e) < 0)
				return -1;
			g->copied = x->at + x->n;
			c->taken++;
		}
	}
	return 1;
}

static void on_copy(void *ctx)
{
	struct outbody *g = ctx;
	struct err e = { 0 };
	const int r = copy_slice(g, &e);

	if (r < 0) {
		failed(g, &e, "the changed message cannot be written");
		return;
	}
	if (r > 0) {
		timer_again(g->timer, 0);
		return;
	}
	close_fd(&g->wfd);
	g->a->out_fd = g->rfd;
	g->a->out_size = g->written;
	g->rfd = -1;
	end(g, NULL);
}

static void copy_all(struct outbody *g)
{
	const struct spool_msg *m = g->a->msg;
	struct err e = { 0 };

	if (g->parts.n + g->lines.n == 0) {
		end(g, NULL);
		return;
	}
	if (spool_receive(g->a->q->spool, m->qid, m->size + g->text_bytes, &g->wfd, &g->rfd, &e) < 0) {
		failed(g, &e, "the changed message cannot be written");
		return;
	}
	spool_discard(g->a->q->spool, m->qid);	/* its name: the file goes with its last descriptor */
	g->timer = loop_timer(g->a->q->loop, 0, on_copy, g);
}

/* --- the lines of the body --- */

static void next_piece(void *ctx);

static void on_matches(void *ctx, const struct ipc_resolve_MATCHES *m)
{
	struct outbody *g = ctx;
	struct err e = { 0 };
	uint64_t k;

	if (m == NULL || m->trouble) {
		end(g, "temporary lookup failure in smtp_body_checks");
		return;
	}
	for (size_t i = 0; i < m->at.n; i++) {
		const struct asked *x = num_parse(m->at.v[i], 0, g->n_asked - 1, &k) == 0 ? &g->asked[k] : NULL;
		if (x == NULL || take_action(g, false, x->line, x->at, x->line.n + x->ended, x->ended, m->actions.v[i], &e) < 0) {
			log_error("%.*s: smtp_body_checks: %s", STR_ARG(g->a->msg->qid), e.text);
			end(g, "a mistake in smtp_body_checks");
			return;
		}
	}
	next_piece(g);
}

/* Is it of a part's field that is changed? */
static bool is_covered(struct outbody *g, uint64_t at, uint64_t n)
{
	const struct changes *p = &g->parts;

	while (g->part_at < p->n && p->v[g->part_at].at + p->v[g->part_at].covers <= at)
		g->part_at++;
	return g->part_at < p->n && p->v[g->part_at].at < at + n;
}

/* The next piece, up to a line's end; a line that is longer than a piece is looked at in several. How much of it there is. */
static size_t read_piece(struct outbody *g, struct err *e)
{
	const uint64_t left = g->a->msg->size - g->off;
	size_t n = (size_t)(left < PIECE_BYTES ? left : PIECE_BYTES);

	if (pread_all(g->a->fd, g->piece, n, g->off, e) < 0)
		return 0;
	const ptrdiff_t last = n < left ? str_rchr(str_n(g->piece, n), '\n') : -1;
	return last >= 0 ? (size_t)last + 1 : n;
}

static void take_lines(struct outbody *g, struct str piece)
{
	size_t i = 0;

	g->n_asked = 0;
	while (i < piece.n && g->n_asked < PIECE_LINES) {
		const ptrdiff_t end_at = str_chr(str_from(piece, i), '\n');
		const size_t n = end_at < 0 ? piece.n - i : (size_t)end_at;
		if (n > 0 && !is_covered(g, g->off + i, n))
			g->asked[g->n_asked++] = (struct asked){ .at = g->off + i, .line = str_sub(piece, i, n), .ended = end_at >= 0 };
		i += n + (end_at >= 0);
	}
	g->off += i;
}

static void next_piece(void *ctx)
{
	struct outbody *g = ctx;
	struct ipc_resolve_CHECK m = { .which = CHECK_SMTP_BODY };
	struct err e = { 0 };

	if (g->off == g->a->msg->size) {
		copy_all(g);
		return;
	}
	const size_t n = read_piece(g, &e);
	if (n == 0) {
		failed(g, &e, "its body cannot be read");
		return;
	}
	arena_reset(g->piece_arena);
	take_lines(g, str_n(g->piece, n));
	m.lines.v = ARENA_ARRAY(g->piece_arena, struct str, g->n_asked + 1);
	for (; m.lines.n < g->n_asked; m.lines.n++)
		m.lines.v[m.lines.n] = str_sub(g->asked[m.lines.n].line, 0, LINE_BYTES_MAX);
	if (m.lines.n > 0) {
		(void)check_ask(g->a->q, &m, on_matches, g);
		return;
	}
	timer_del(&g->timer);
	g->timer = loop_timer(g->a->q->loop, 0, next_piece, g);
}

static void start_lines(struct outbody *g)
{
	if (g->a->q->conf->smtp_body_checks.n == 0)
		copy_all(g);
	else
		next_piece(g);
}

/* --- the fields of its parts --- */

static void ask_parts(struct outbody *g, uint64_t from);

/* "offset size" of a field behind what came before, inside of the body. */
static int take_place(const struct outbody *g, struct str place, uint64_t *at, uint64_t *n)
{
	const struct changes *p = &g->parts;
	const uint64_t least = p->n > 0 ? p->v[p->n - 1].at + p->v[p->n - 1].covers : g->body, size = g->a->msg->size;
	struct str rest = place;

	return least < size && num_parse(str_split(&rest, ' '), least, size - 1, at) == 0 && num_parse(rest, 1, size - *at, n) == 0 ? 0 : -1;
}

static int take_part(struct outbody *g, const struct ipc_resolve_PART_MATCHES *m, size_t i, struct err *e)
{
	uint64_t at, n;
	char last;

	if (take_place(g, m->places.v[i], &at, &n) < 0)
		return err_set(e, ERR_INPUT, 0, "a match of a field that is not there");
	if (pread_all(g->a->fd, &last, 1, at + n - 1, e) < 0)
		return -1;
	return take_action(g, true, m->lines.v[i], at, n, last == '\n', m->actions.v[i], e);
}

static void on_parts(void *ctx, const struct ipc_resolve_PART_MATCHES *m)
{
	struct outbody *g = ctx;
	struct err e = { 0 };

	if (m == NULL || m->trouble == 1 || m->lines.n != m->actions.n || m->places.n != m->lines.n) {
		end(g, "temporary lookup failure in smtp_mime_header_checks or smtp_nested_header_checks");
		return;
	}
	if (m->trouble) {
		end(g, "5.6.0 too many parts, or fields in them, to be checked");
		return;
	}
	for (size_t i = 0; i < m->lines.n; i++)
		if (take_part(g, m, i, &e) < 0) {
			log_error("%.*s: smtp_mime_header_checks, smtp_nested_header_checks: %s", STR_ARG(g->a->msg->qid), e.text);
			end(g, "a mistake in smtp_mime_header_checks or smtp_nested_header_checks");
			return;
		}
	if (m->more > 0)
		ask_parts(g, m->more);
	else
		start_lines(g);
}

static void ask_parts(struct outbody *g, uint64_t from)
{
	const struct ipc_resolve_PARTS m = { .size = g->a->msg->size, .outgoing = 1, .from = from };

	(void)parts_ask(g->a->q, &m, g->a->fd, on_parts, g);
}

/* --- start --- */

static int find_body(struct outbody *g, bool *parts_out, struct err *e)
{
	const struct spool_msg *m = g->a->msg;
	const size_t n = (size_t)(m->size < HEAD_READ_MAX ? m->size : HEAD_READ_MAX);
	char *p = arena_alloc(g->piece_arena, n + 1);
	size_t head, body;

	if (p == NULL || (n > 0 && pread_all(g->a->fd, p, n, 0, e) < 0))
		return p == NULL ? err_set(e, ERR_LIMIT, 0, "header too long") : -1;
	if (mail_head_find(str_n(p, n), n == m->size, &head, &body) != 0)
		return err_set(e, ERR_LIMIT, 0, "header too long");
	g->body = g->off = body;
	*parts_out = head_may_have_parts(str_n(p, head));
	return 0;
}

void outbody_make(struct active *a, outbody_fn *fn, void *ctx)
{
	const struct conf *c = a->q->conf;
	struct outbody *g = xzalloc(sizeof(*g));
	struct err e = { 0 };
	bool parts;

	*g = (struct outbody){ .a = a, .fn = fn, .ctx = ctx, .arena = arena_new(0), .piece_arena = arena_new(0), .wfd = -1, .rfd = -1 };
	g->piece = xzalloc(PIECE_BYTES);
	g->asked = ARENA_ARRAY(g->arena, struct asked, PIECE_LINES);
	if (find_body(g, &parts, &e) < 0) {
		failed(g, &e, "its header cannot be read");
		return;
	}
	if (!parts || c->smtp_mime_header_checks.n + c->smtp_nested_header_checks.n == 0) {
		start_lines(g);
		return;
	}
	if (a->msg->size > RESOLVER_PARTS_BYTES_MAX)
		log_as(log_ident("smtp"), LOG_LV_WARNING, "%.*s: of %llu bytes, smtp_mime_header_checks and smtp_nested_header_checks see the first %d", STR_ARG(a->msg->qid),
		       (unsigned long long)a->msg->size, RESOLVER_PARTS_BYTES_MAX);
	ask_parts(g, 0);
}
