/* mime_header_checks and nested_header_checks, and those of mail that leaves: the fields of a message's parts (RFC 2045, 2046), found by lib/mail's parser over the
 * whole message. They are looked for here and not in queued, which has the spool, and in slices, between which others are answered. Only the start of a long message is
 * looked at; too many parts or fields in it are said, never passed over.
 */
#include "base/clock.h"
#include "deliver/resolve/resolve_priv.h"
#include "log/log.h"
#include "mail/mime.h"
#include "os/os.h"

enum { FIELDS_MAX = 20000, MATCHES_MAX = 20, OUTGOING_MAX = 1000, OUTGOING_BYTES_MAX = 90000, SHOWN_MAX = 200, READ_BYTES = 1 << 20 };

struct parts_walk {
	struct resolver *r;
	struct arena *a;
	char *text;
	size_t size, got;		/* of the message; read */
	const struct mime_part *part;	/* NULL: not parsed yet */
	struct str head;		/* of part: fields that are still to be looked at */
	bool nested;
	struct str *lines, *actions, *places;
	size_t n, fields, bytes;
	unsigned trouble;
	bool outgoing;
	uint64_t from, more;		/* of outgoing */
};

static void matched(struct parts_walk *w, struct str line, struct str action)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->actions[i], action))
			return;		/* it is taken once */
	if (w->n == MATCHES_MAX) {
		w->trouble = 2;
		return;
	}
	w->lines[w->n] = str_sub(line, 0, SHOWN_MAX);
	w->actions[w->n++] = action;
}

/* Each counts, for each is changed where it stands. What the answer has no room for comes with the next one. */
static void matched_at(struct parts_walk *w, struct str line, struct str action, const struct mail_field *f)
{
	const uint64_t at = (uint64_t)(f->whole.p - w->text);

	if (w->n == OUTGOING_MAX || w->bytes > OUTGOING_BYTES_MAX) {
		w->more = at;
		return;
	}
	w->lines[w->n] = str_sub(line, 0, SHOWN_MAX);
	w->actions[w->n] = action;
	w->places[w->n] = str_c(arena_printf(w->a, "%llu %zu", (unsigned long long)at, f->whole.n));
	w->bytes += w->lines[w->n].n + action.n + w->places[w->n].n + 12;
	w->n++;
}

static enum check_which tables_for(const struct parts_walk *w, struct str name, bool nested)
{
	if (nested && !resolver_mime_field(name))
		return w->outgoing ? CHECK_SMTP_NESTED : CHECK_NESTED;
	return w->outgoing ? CHECK_SMTP_MIME : CHECK_MIME;
}

static void check_field(struct parts_walk *w, const struct mail_field *f, bool nested)
{
	const enum check_which which = tables_for(w, f->name, nested);
	const struct str line = str_sub(str_trim(f->whole), 0, RESOLVER_FIELD_BYTES_MAX);
	struct str action;

	if (f->name.n == 0 || w->r->checks[which].n == 0)
		return;
	if (++w->fields > FIELDS_MAX || (f->whole.n > RESOLVER_FIELD_BYTES_MAX && !w->outgoing)) {
		w->trouble = 2;
		return;
	}
	if ((uint64_t)(f->whole.p - w->text) < w->from)
		return;
	const int r = resolver_check_line(&w->r->checks[which], line, w->a, &action);
	if (r < 0)
		w->trouble = 1;
	else if (r == 0 && w->outgoing)
		matched_at(w, line, action, f);
	else if (r == 0)
		matched(w, line, action);
}

/* The part behind p: what is inside of it first. NULL: it was the last. */
static const struct mime_part *part_after(const struct mime_part *p)
{
	if (p->children)
		return p->children;
	while (p && p->next == NULL)
		p = p->parent;
	return p ? p->next : NULL;
}

/* Goes to the next part. false: there is none, or it need not be looked at. The message's own header section is not a part's. */
static bool next_part(struct parts_walk *w)
{
	if (w->part->limited)
		w->trouble = 2;
	w->part = w->trouble == 0 ? part_after(w->part) : NULL;
	if (w->part == NULL)
		return false;
	w->head = w->part->head;
	w->nested = w->part->parent && mime_type_is(w->part->parent, "message", "*");
	return true;
}

/* One field. false: that was all. */
static bool check_next(struct parts_walk *w)
{
	struct mail_field f;

	while (mail_field_next(&w->head, &f) != 0)
		if (!next_part(w))
			return false;
	check_field(w, &f, w->nested);
	return w->trouble == 0 && w->more == 0;
}

/* --- in slices --- */

struct parts_walk *resolver_parts_begin(struct resolver *r, struct arena *a, const struct ipc_resolve_PARTS *m)
{
	const size_t cap = m->outgoing ? OUTGOING_MAX : MATCHES_MAX;
	struct parts_walk *w = ARENA_NEW(a, struct parts_walk);

	w->r = r;
	w->a = a;
	w->outgoing = m->outgoing != 0;
	w->from = m->from;
	w->size = (size_t)(m->size < RESOLVER_PARTS_BYTES_MAX ? m->size : RESOLVER_PARTS_BYTES_MAX);
	w->text = arena_alloc(a, w->size + 1);
	w->lines = ARENA_ARRAY(a, struct str, 3 * cap);
	w->actions = w->lines + cap;
	w->places = w->actions + cap;
	w->trouble = w->text == NULL || w->lines == NULL;
	return w;
}

static bool failed(struct parts_walk *w, const struct err *e)
{
	log_error("parts of a message: %s", e->text);
	w->trouble = 1;
	return false;
}

bool resolver_parts_step(struct parts_walk *w, int fd, uint64_t us)
{
	const uint64_t end = clock_mono_us() + us;
	struct err e = { 0 };

	if (w->trouble)
		return false;
	if (w->got < w->size) {
		const size_t n = w->size - w->got < READ_BYTES ? w->size - w->got : READ_BYTES;
		if (pread_all(fd, w->text + w->got, n, w->got, &e) < 0)
			return failed(w, &e);
		w->got += n;
		return true;
	}
	if (w->part == NULL) {
		w->part = mime_parse(w->a, str_n(w->text, w->size));
		return true;
	}
	do {
		if (!check_next(w))
			return false;
	} while (clock_mono_us() < end);
	return true;
}

void resolver_parts_answer(const struct parts_walk *w, struct ipc_resolve_PART_MATCHES *out)
{
	*out = (struct ipc_resolve_PART_MATCHES){ .trouble = w->trouble };
	if (w->trouble == 1)
		return;
	out->lines = (struct ipc_strs){ w->lines, w->n };
	out->actions = (struct ipc_strs){ w->actions, w->n };
	out->more = w->more;
	if (w->outgoing)
		out->places = (struct ipc_strs){ w->places, w->n };
}
