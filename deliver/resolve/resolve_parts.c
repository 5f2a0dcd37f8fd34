/* mime_header_checks and nested_header_checks, and those of mail that leaves: the fields of a message's parts (RFC 2045, 2046), found by lib/mail's parser over the
 * whole message. They are looked for here and not in queued, which has the spool. Only the start of a long message is looked at, as everybody's recipients wait
 * meanwhile; too many parts or fields in it are said, never passed over.
 */
#include <string.h>

#include "deliver/resolve/resolve_priv.h"
#include "log/log.h"
#include "mail/mime.h"
#include "os/os.h"

enum { FIELDS_MAX = 20000, MATCHES_MAX = 20, OUTGOING_MAX = 1000, OUTGOING_BYTES_MAX = 90000, FIELD_BYTES_MAX = 16384, SHOWN_MAX = 200 };

struct walk {
	struct resolver *r;
	struct arena *a;
	struct str *lines, *actions, *places;
	size_t n, fields, bytes;
	unsigned trouble;
	const char *start;		/* of the message */
	bool outgoing;
	uint64_t from, more;		/* of outgoing */
};

static void matched(struct walk *w, struct str line, struct str action)
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
static void matched_at(struct walk *w, struct str line, struct str action, const struct mail_field *f)
{
	const uint64_t at = (uint64_t)(f->whole.p - w->start);

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

static enum check_which tables_for(const struct walk *w, struct str name, bool nested)
{
	if (nested && !resolver_mime_field(name))
		return w->outgoing ? CHECK_SMTP_NESTED : CHECK_NESTED;
	return w->outgoing ? CHECK_SMTP_MIME : CHECK_MIME;
}

static void check_field(struct walk *w, const struct mail_field *f, bool nested)
{
	const enum check_which which = tables_for(w, f->name, nested);
	const struct str line = str_sub(str_trim(f->whole), 0, FIELD_BYTES_MAX);
	struct str action;

	if (f->name.n == 0 || w->r->checks[which].n == 0)
		return;
	if (++w->fields > FIELDS_MAX) {
		w->trouble = 2;
		return;
	}
	if ((uint64_t)(f->whole.p - w->start) < w->from)
		return;
	const int r = resolver_check_line(&w->r->checks[which], line, w->a, &action);
	if (r < 0)
		w->trouble = 1;
	else if (r == 0 && w->outgoing)
		matched_at(w, line, action, f);
	else if (r == 0)
		matched(w, line, action);
}

static void check_part(struct walk *w, const struct mime_part *p)
{
	const bool nested = p->parent && mime_type_is(p->parent, "message", "*");
	struct str rest = p->head;
	struct mail_field f;

	while (w->trouble == 0 && w->more == 0 && mail_field_next(&rest, &f) == 0)
		check_field(w, &f, nested);
}

/* Depth is bounded by the parser. The message's own header section is not a part's. */
static void check_below(struct walk *w, const struct mime_part *p)
{
	if (p->limited)
		w->trouble = 2;
	for (const struct mime_part *c = p->children; c && w->trouble == 0 && w->more == 0; c = c->next) {
		check_part(w, c);
		check_below(w, c);
	}
}

void resolver_parts(struct resolver *r, struct arena *a, const struct ipc_resolve_PARTS *m, int fd, struct ipc_resolve_PART_MATCHES *out)
{
	const size_t cap = m->outgoing ? OUTGOING_MAX : MATCHES_MAX;
	struct walk w = { .r = r, .a = a, .outgoing = m->outgoing != 0, .from = m->from };
	struct err e = { 0 };
	const size_t n = (size_t)(m->size < RESOLVER_PARTS_BYTES_MAX ? m->size : RESOLVER_PARTS_BYTES_MAX);
	char *p = arena_alloc(a, n + 1);

	*out = (struct ipc_resolve_PART_MATCHES){ .trouble = 1 };
	w.lines = ARENA_ARRAY(a, struct str, 3 * cap);
	if (p == NULL || w.lines == NULL || fd < 0 || (n > 0 && pread_all(fd, p, n, 0, &e) < 0)) {
		log_error("parts of a message: %s", e.code ? e.text : "no memory");
		return;
	}
	w.actions = w.lines + cap;
	w.places = w.actions + cap;
	w.start = p;
	check_below(&w, mime_parse(a, str_n(p, n)));
	*out = (struct ipc_resolve_PART_MATCHES){ .lines = { w.lines, w.n }, .actions = { w.actions, w.n }, .trouble = w.trouble, .more = w.more };
	if (w.outgoing)
		out->places = (struct ipc_strs){ w.places, w.n };
}
