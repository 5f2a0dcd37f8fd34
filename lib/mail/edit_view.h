/* A header section as it will be: the fields of a message with the edits of its envelope applied, each with its origin, so that it can be changed by place and
 * turned back into edits of the same message.
 *
 *	mail_view_make(&view, arena, head, edits, n, &e);
 *	mail_view_insert(&view, 1, name, value, &e);		below the first field
 *	mail_view_edits(&view, &edits, &n, max, &e);
 */
#ifndef MAIL_EDIT_VIEW_H
#define MAIL_EDIT_VIEW_H

#include <stdbool.h>

#include "base/arena.h"
#include "mail/edit.h"

struct mail_view_field {
	struct str name;	/* empty: a line that is no field; it cannot be changed */
	struct str value;	/* as mail_field's: raw, folds inside, leading blank kept */
	size_t origin;		/* 0: added; else the origin-th field of the message */
	bool changed;
	bool own;		/* the trace field that this server adds */
};
struct mail_view_origin {
	struct str name;
	unsigned number;	/* the K-th of its name */
	bool gone;
};
enum { MAIL_VIEW_FIELDS_MAX = 20000 };
struct mail_view {
	struct arena *a;
	struct mail_view_field *v;
	size_t n, cap;
	struct mail_view_origin *origins;
	size_t n_origins;
};

/* head as for mail_edit_apply; must live as long as the view. ERR_LIMIT: more fields than MAIL_VIEW_FIELDS_MAX, or the arena's limit. */
int mail_view_make(struct mail_view *out, struct arena *a, struct str head, const struct str *edits, size_t n, struct err *e) MUST_CHECK;
/* at: places 0..n-1 (insert: n: at the end). ERR_INPUT: another place, or a name or value that no edit may have. Strings are copied. value: without leading blank. */
int mail_view_insert(struct mail_view *w, size_t at, struct str name, struct str value, struct err *e) MUST_CHECK;
int mail_view_change(struct mail_view *w, size_t at, struct str value, struct err *e) MUST_CHECK;
int mail_view_remove(struct mail_view *w, size_t at, struct err *e) MUST_CHECK;
/* A copy whose changes do not touch w. */
int mail_view_copy(struct mail_view *out, const struct mail_view *w, struct err *e) MUST_CHECK;
/* The edits, all of them: mail_edit_apply makes this view of the message. ERR_LIMIT: more than max. */
int mail_view_edits(const struct mail_view *w, struct str **out, size_t *n_out, size_t max, struct err *e) MUST_CHECK;

#endif
