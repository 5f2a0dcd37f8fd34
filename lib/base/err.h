/* Errors. A function that can fail returns 0, or -1 with *e filled (parsers also 1: "need more"). The
 * text is one line for a log or an administrator, without a final full stop; what a protocol answers by
 * default comes from the code's row in err.def.
 *
 *	struct err e = { 0 };
 *	if (smtp_size_parse(p, n, max, &size, &e) < 0)
 *		return err_wrap(&e, "MAIL");
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/attr.h"

enum err_code {
	ERR_NONE,
#define ERR(name, smtp, enhanced, imap, pop3, meaning) ERR_##name,
#include "base/err.def"
#undef ERR
	ERR_MAX_
};

enum { ERR_TEXT_MAX = 240 };

struct err {
	enum err_code code;
	int sys;			/* errno of the failed call, or 0 */
	char text[ERR_TEXT_MAX];	/* one line, printable ASCII, NUL-terminated; cut when too long */
};

/* Fill *e and return -1. sys is an errno (its text is appended as ": No such file …") or 0. e may be NULL.
 * Bytes that are not printable ASCII become '?'. */
int err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Put "context: " before the text of *e; return -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Forget what *e holds. */
void err_clear(struct err *e);

/* One row of err.def; never NULL (an unknown code is BUG). */
struct err_row {
	const char *name;
	int smtp;
	const char *enhanced, *imap, *pop3, *meaning;
};
const struct err_row *err_row(enum err_code code);

#endif
