/* What edit.c and edit_view.c share: one edit, parsed. */
#ifndef MAIL_EDIT_PRIV_H
#define MAIL_EDIT_PRIV_H

#include <stdint.h>

#include "mail/edit.h"

struct mail_edit {
	char op;
	struct str name;
	uint64_t index;		/* "-" "=": K of that name; "<": K of all fields */
	struct str value;	/* "+" ">" "=" "<" */
};
int mail_edit_parse(struct str s, struct mail_edit *out, struct err *e) MUST_CHECK;

#endif
