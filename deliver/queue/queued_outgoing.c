/* A message as other servers get it: smtp_header_checks and smtp_mime_header_checks over its header, then smtp_generic_maps over the addresses of header and envelope
 * (Postfix: generic(5)). Nothing is kept: the message and its record stay as they are, and each attempt looks anew. The outcome is a list of edits for this attempt in
 * place of the record's, and an address for each sender and recipient. Its body: queued_outbody.c.
 *
 * outgoing_wanted(); outgoing_make() calls back, also when there is trouble: then nothing of it may be sent.
 */
#include <stdio.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/queue/header_addresses.h"
#include "deliver/queue/queued_outgoing.h"
#include "deliver/resolve/resolve.h"
#include "log/log.h"
#include "mail/edit_view.h"
#include "os/os.h"

enum { HEAD_READ_MAX = 1 << 20, LINE_BYTES_MAX = 16384, BATCH_LINES = 2000, BATCH_BYTES = 100000 };

struct making {
	struct outgoing *out;
	struct active *a;
	outgoing_fn *fn;
	void *ctx;
	struct mail_view view;
	size_t *places, n, asked, sent;	/* places in the view of the lines that are asked about: asked..sent */
	struct header_addresses head;
	size_t shift;			/* fields that PREPEND has put above the one that is looked at */
};

bool outgoing_wanted(const struct conf *c)
{
	return c->smtp_generic_maps.n > 0 || c->smtp_header_checks.n > 0 || c->smtp_mime_header_checks.n > 0;
}

static void done(struct making *g, const char *trouble)
{
	g->out->trouble = trouble;
	g->fn(g->ctx);
}

/* --- the header as it will be sent --- */

static int read_head(struct making *g, struct err *e)
{
	const struct spool_msg *m = g->a->msg;
	const size_t n = (size_t)(m->size < HEAD_READ_MAX ? m->size : HEAD_READ_MAX);
	char *p = arena_alloc(g->a->arena, n + 1);
	size_t head_n = 0, body;

	if (p == NULL || (n > 0 && pread_all(g->a->fd, p, n, 0, e) < 0))
		return p == NULL ? err_set(e, ERR_LIMIT, 0, "header too long") : -1;
	if (mail_head_find(str_n(p, n), n == m->size, &head_n, &body) != 0)
		return err_set(e, ERR_LIMIT, 0, "header too long");
	return mail_view_make(&g->view, g->a->arena, str_n(p, head_n), m->edits, m->n_edits, e);
}

static struct str field_line(struct making *g, size_t at)
{
	const struct mail_view_field *f = &g->view.v[at];
	const bool blank = f->value.n > 0 && ch_blank(f->value.p[0]);

	return str_c(arena_printf(g->a->arena, "%.*s:%s%.*s", STR_ARG(f->name), blank || f->value.n == 0 ? "" : " ", STR_ARG(f->value)));
}

static int take_edits(struct making *g, struct err *e)
{
	return mail_view_edits(&g->view, &g->out->edits.v, &g->out->edits.n, SPOOL_EDITS_MAX, e);
}

static void finish(struct making *g)
{
	struct err e = { 0 };

	if (take_edits(g, &e) == 0) {
		done(g, NULL);
		return;
	}
	log_error("%.*s: %s", STR_ARG(g->a->msg->qid), e.text);
	done(g, "its header cannot be changed as smtp_header_checks and smtp_generic_maps want");
}

/* --- addresses --- */

/* The k-th field of that name, as header_addresses counts. */
static bool find_field(const struct mail_view *w, struct str name, unsigned number, size_t *at)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].name.n > 0 && str_case_eq(w->v[i].name, name) && --number == 0) {
			*at = i;
			return true;
		}
	return false;
}

/* "=Name#K: value" of header_addresses, done to the view. */
static int apply(struct making *g, struct str edit, struct err *e)
{
	struct str rest = str_from(edit, 1), name = str_split(&rest, '#'), number = str_split(&rest, ':');
	uint64_t k;
	size_t at;

	if (num_parse(number, 1, UINT32_MAX, &k) < 0 || !find_field(&g->view, name, (unsigned)k, &at))
		return err_set(e, ERR_BUG, 0, "no such field");
	return mail_view_change(&g->view, at, str_trim(rest), e);
}

static void on_generic(void *ctx, const struct ipc_resolve_REWRITTEN *r)
{
	struct making *g = ctx;
	struct outgoing *o = g->out;
	struct str *edits = ARENA_ARRAY(g->a->arena, struct str, HEADER_ADDRESS_FIELDS_MAX);
	struct err e = { 0 };

	if (r == NULL || r->code != 0 || r->addresses.n != 2 * o->n + g->head.n || edits == NULL) {
		done(g, "temporary lookup failure in smtp_generic_maps");
		return;
	}
	for (size_t i = 0; i < o->n; i++) {
		o->senders[i] = arena_str(g->a->arena, r->addresses.v[2 * i]);
		o->recipients[i] = arena_str(g->a->arena, r->addresses.v[2 * i + 1]);
	}
	for (size_t i = 0; i < g->head.n; i++)
		header_address_set(&g->head, i, arena_str(g->a->arena, r->addresses.v[2 * o->n + i]));
	const size_t n = header_addresses_edits(&g->head, g->a->arena, edits, HEADER_ADDRESS_FIELDS_MAX);
	for (size_t i = 0; i < n; i++)
		if (apply(g, edits[i], &e) < 0)
			log_warning("%.*s: smtp_generic_maps: a field stays: %s", STR_ARG(g->a->msg->qid), e.text);
	finish(g);
}

static struct str view_text(struct making *g)
{
	struct buf b;

	buf_init(&b, 2 * HEAD_READ_MAX);
	for (size_t i = 0; i < g->view.n; i++)
		if (g->view.v[i].name.n > 0)
			buf_printf(&b, "%.*s\n", STR_ARG(field_line(g, i)));
	const struct str r = arena_str(g->a->arena, buf_view(&b));
	buf_fini(&b);
	return r;
}

static void ask_generic(struct making *g)
{
	struct outgoing *o = g->out;
	struct str *v;

	if (g->a->q->conf->smtp_generic_maps.n == 0) {
		finish(g);
		return;
	}
	header_addresses_find(g->a->arena, view_text(g), &(struct header_completion){ 0 }, &g->head);
	v = ARENA_ARRAY(g->a->arena, struct str, 2 * o->n + g->head.n + 1);
	if (v == NULL) {
		done(g, "too many addresses for smtp_generic_maps");
		return;
	}
	for (size_t i = 0; i < o->n; i++) {
		v[2 * i] = o->senders[i];
		v[2 * i + 1] = o->recipients[i];
	}
	if (g->head.n > 0)
		memcpy(v + 2 * o->n, g->head.addresses, g->head.n * sizeof(*v));
	const struct ipc_resolve_REWRITE m = { .sender = STR(""), .generic = 1, .addresses = { v, 2 * o->n + g->head.n } };
	(void)rewrite_ask(g->a->q, &m, on_generic, g);
}

/* --- header checks --- */

static void tell(const struct active *a, const char *where, bool warn, struct str line, const char *what, struct str text)
{
	struct buf b;

	buf_init(&b, 2048);
	text_neutral(&b, line, 200, false);
	log_as(log_ident("smtp"), warn ? LOG_LV_WARNING : LOG_LV_INFO, "%.*s: %s: %s %s%s%.*s", STR_ARG(a->msg->qid), what, where, b.p ? b.p : "", text.n ? ": " : "",
	       STR_ARG(text));
	buf_fini(&b);
}

int outgoing_action(const struct active *a, const char *where, struct str line, struct str action, enum outgoing_action *out, struct str *text_out, struct err *e)
{
	static const struct {
		const char *word, *told;	/* told NULL: not */
		enum outgoing_action action;
		bool needs_text;
	} rows[] = {
		{ "DUNNO", NULL, OUTGOING_KEEP, false }, { "PASS", NULL, OUTGOING_KEEP, false }, { "OK", NULL, OUTGOING_KEEP, false },
		{ "INFO", "info", OUTGOING_KEEP, false }, { "WARN", "warning", OUTGOING_KEEP, false }, { "IGNORE", NULL, OUTGOING_REMOVE, false },
		{ "STRIP", "strip", OUTGOING_REMOVE, false }, { "REPLACE", "replace", OUTGOING_REPLACE, true }, { "PREPEND", "prepend", OUTGOING_PREPEND, true },
	};
	struct str text = action;
	const struct str word = str_split(&text, ' ');

	*text_out = text.p ? str_trim(text) : STR("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_case_eq(word, str_c(rows[i].word)))
			continue;
		if (rows[i].needs_text && text_out->n == 0)
			return err_set(e, ERR_CONF, 0, "%s without text", rows[i].word);
		if (rows[i].told)
			tell(a, where, strcmp(rows[i].told, "warning") == 0, line, rows[i].told, *text_out);
		*out = rows[i].action;
		return 0;
	}
	return err_set(e, ERR_CONF, 0, "%.*s is not possible when mail leaves", STR_ARG(str_sub(word, 0, 40)));
}

static int insert(struct making *g, size_t at, struct str text, struct err *e)
{
	const ptrdiff_t colon = str_chr(text, ':');

	if (colon <= 0)
		return err_set(e, ERR_CONF, 0, "no header field");
	return mail_view_insert(&g->view, at, str_trim(str_sub(text, 0, (size_t)colon)), str_trim(str_from(text, (size_t)colon + 1)), e);
}

static int replace(struct making *g, size_t at, struct str text, struct err *e)
{
	const ptrdiff_t colon = str_chr(text, ':');

	if (colon > 0 && str_case_eq(str_trim(str_sub(text, 0, (size_t)colon)), g->view.v[at].name))
		return mail_view_change(&g->view, at, str_trim(str_from(text, (size_t)colon + 1)), e);
	return insert(g, at, text, e) < 0 ? -1 : mail_view_remove(&g->view, at + 1, e);
}

/* What a table says of the field at this place. A removed field takes the places behind it along. */
static int act(struct making *g, size_t at, struct str action, struct err *e)
{
	enum outgoing_action what;
	struct str text;

	if (at >= g->view.n)
		return err_set(e, ERR_INPUT, 0, "a match of a field that is not there");
	if (outgoing_action(g->a, "header", field_line(g, at), action, &what, &text, e) < 0)
		return -1;
	switch (what) {
	case OUTGOING_REMOVE:
		g->shift--;
		return mail_view_remove(&g->view, at, e);
	case OUTGOING_REPLACE:
		return replace(g, at, text, e);
	case OUTGOING_PREPEND:
		g->shift++;
		return insert(g, at, text, e);
	default:
		return 0;
	}
}

static void next_batch(struct making *g);

static void on_matches(void *ctx, const struct ipc_resolve_MATCHES *m)
{
	struct making *g = ctx;
	struct err e = { 0 };
	uint64_t at;

	if (m == NULL || m->trouble || m->at.n != m->actions.n) {
		done(g, "temporary lookup failure in smtp_header_checks");
		return;
	}
	for (size_t i = 0; i < m->at.n; i++) {
		if (num_parse(m->at.v[i], 0, g->sent - g->asked - 1, &at) < 0 || act(g, g->places[g->asked + at] + g->shift, m->actions.v[i], &e) < 0) {
			log_error("%.*s: smtp_header_checks: %s", STR_ARG(g->a->msg->qid), e.text);
			done(g, "a mistake in smtp_header_checks");
			return;
		}
	}
	next_batch(g);
}

static enum check_which kind_of(const struct making *g, size_t i)
{
	return resolver_mime_field(g->view.v[g->places[i] + g->shift].name) ? CHECK_SMTP_MIME : CHECK_SMTP_HEADER;
}

/* Fields of one kind together, in their order. */
static void next_batch(struct making *g)
{
	struct str *lines = ARENA_ARRAY(g->a->arena, struct str, BATCH_LINES);
	struct ipc_resolve_CHECK m = { .which = g->sent < g->n ? kind_of(g, g->sent) : CHECK_SMTP_HEADER, .lines = { lines, 0 } };
	size_t bytes = 0;

	g->asked = g->sent;
	if (lines == NULL) {
		done(g, "header too long for smtp_header_checks");
		return;
	}
	while (g->sent < g->n && kind_of(g, g->sent) == m.which && m.lines.n < BATCH_LINES && bytes < BATCH_BYTES - LINE_BYTES_MAX) {
		lines[m.lines.n] = str_sub(field_line(g, g->places[g->sent++] + g->shift), 0, LINE_BYTES_MAX);
		bytes += 4 + lines[m.lines.n++].n;
	}
	if (m.lines.n > 0)
		(void)check_ask(g->a->q, &m, on_matches, g);
	else
		ask_generic(g);
}

void outgoing_make(struct active *a, struct outgoing *out, outgoing_fn *fn, void *ctx)
{
	struct making *g = ARENA_NEW(a->arena, struct making);
	struct err e = { 0 };

	if (g == NULL) {
		out->trouble = "no memory";
		fn(ctx);
		return;
	}
	*g = (struct making){ .out = out, .a = a, .fn = fn, .ctx = ctx };
	if (read_head(g, &e) < 0) {
		log_error("%.*s: %s", STR_ARG(a->msg->qid), e.text);
		done(g, "its header cannot be read");
		return;
	}
	g->places = ARENA_ARRAY(a->arena, size_t, g->view.n + 1);
	if (g->places == NULL) {
		done(g, "no memory");
		return;
	}
	for (size_t i = 0; i < g->view.n; i++) {
		const struct str name = g->view.v[i].name;
		const struct conf_list *tables = resolver_mime_field(name) ? &a->q->conf->smtp_mime_header_checks : &a->q->conf->smtp_header_checks;
		if (name.n > 0 && tables->n > 0)
			g->places[g->n++] = i;
	}
	next_batch(g);
}
