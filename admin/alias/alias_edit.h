/* Changing the source of an aliases file or of a map of addresses, as text: comments, order and the look of all other entries stay. Pure.
 *
 *	alias_edit_add(text, ALIAS_FORM_COLON, STR("sales"), (struct str[]){ STR("carol") }, 1, &out, &n, &e);
 */
#ifndef ADMIN_ALIAS_EDIT_H
#define ADMIN_ALIAS_EDIT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum alias_form {
	ALIAS_FORM_COLON,	/* "name: value" of aliases(5) */
	ALIAS_FORM_PAIR,	/* "key value" of postmap(1) */
};

/* One entry; strings are valid during the call. */
struct alias_entry {
	struct str name, value;
	unsigned line;
};
typedef void alias_entry_fn(void *ctx, const struct alias_entry *entry);

/* Each entry that can be read, from the first line on. */
void alias_edit_each(struct str text, enum alias_form form, alias_entry_fn *fn, void *ctx);

/* Have name lead to these targets too; those that it leads to already are left out (*changed_out says how many were not). A name that is not there
 * gets a line at the end. -1: ERR_INPUT: name or a target cannot stand in such a file. */
int alias_edit_add(struct str text, enum alias_form form, struct str name, const struct str *targets, size_t n, struct buf *out, size_t *changed_out,
		   struct err *e) MUST_CHECK;

/* Take these targets away from name, with n = 0 all of it; what is left without a target goes. *changed_out: how many targets (with n = 0: entries) went.
 * -1: ERR_NOENT: no such name; ERR_INPUT. */
int alias_edit_del(struct str text, enum alias_form form, struct str name, const struct str *targets, size_t n, struct buf *out, size_t *changed_out,
		   struct err *e) MUST_CHECK;

/* The items of a value, as they are written. */
bool alias_edit_item(struct str *value, struct str *item_out);

#endif
