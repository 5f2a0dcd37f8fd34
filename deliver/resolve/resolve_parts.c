/* mime_header_checks and nested_header_checks: the fields of a message's parts (RFC 2045, 2046), found by lib/mail's parser over the whole message. They are looked for
 * here and not in queued, which has the spool. Only the start of a long message is looked at, as everybody's recipients wait meanwhile; too many parts or fields in it are
 * said, never passed over.
 */
#include <string.h>

#include "deliver/resolve/resolve_priv.h"
#include "log/log.h"
#include "mail/mime.h"
#include "os/os.h"

enum { FIELDS_MAX = 20000, MATCHES_MAX = 20, FIELD_BYTES_MAX = 16384, SHOWN_MAX = 200 };

struct walk {
	struct resolver *r;
	struct arena *a;
	struct str lines[MATCHES_MAX], actions[MATCHES_MAX];
	size_t n, fields;
	unsigned trouble;
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

static void check_field(struct walk *w, const struct mail_field *f, bool nested)
{
	const enum check_which which = nested && !resolver_mime_field(f->name) ? CHECK_NESTED : CHECK_MIME;
	const struct str line = str_sub(str_trim(f->whole), 0, FIELD_BYTES_MAX);
	struct str action;

	if (f->name.n == 0 || w->r->checks[which].n == 0)
		return;
	if (++w->fields > FIELDS_MAX) {
		w->trouble = 2;
		return;
	}
	const int r = resolver_check_line(&w->r->checks[which], line, w->a, &action);
	if (r < 0)
		w->trouble = 1;
	else if (r == 0)
		matched(w, line, action);
}

static void check_part(struct walk *w, const struct mime_part *p)
{
	const bool nested = p->parent && mime_type_is(p->parent, "message", "*");
	struct str rest = p->head;
	struct mail_field f;

	while (w->trouble == 0 && mail_field_next(&rest, &f) == 0)
		check_field(w, &f, nested);
}

/* Depth is bounded by the parser. The message's own header section is not a part's. */
static void check_below(struct walk *w, const struct mime_part *p)
{
	if (p->limited)
		w->trouble = 2;
	for (const struct mime_part *c = p->children; c && w->trouble == 0; c = c->next) {
		check_part(w, c);
		check_below(w, c);
	}
}

void resolver_parts(struct resolver *r, struct arena *a, const struct ipc_resolve_PARTS *m, int fd, struct ipc_resolve_PART_MATCHES *out)
{
	struct walk w = { .r = r, .a = a };
	struct err e = { 0 };
	const size_t n = (size_t)(m->size < RESOLVER_PARTS_BYTES_MAX ? m->size : RESOLVER_PARTS_BYTES_MAX);
	char *p = arena_alloc(a, n + 1);

	*out = (struct ipc_resolve_PART_MATCHES){ .trouble = 1 };
	if (p == NULL || fd < 0 || (n > 0 && pread_all(fd, p, n, 0, &e) < 0)) {
		log_error("parts of a message: %s", e.code ? e.text : "no memory");
		return;
	}
	check_below(&w, mime_parse(a, str_n(p, n)));
	struct str *v = ARENA_ARRAY(a, struct str, 2 * MATCHES_MAX);
	memcpy(v, w.lines, w.n * sizeof(*v));
	memcpy(v + MATCHES_MAX, w.actions, w.n * sizeof(*v));
	*out = (struct ipc_resolve_PART_MATCHES){ .lines = { v, w.n }, .actions = { v + MATCHES_MAX, w.n }, .trouble = w.trouble };
}
