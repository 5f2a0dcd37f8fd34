/* Unit tests that speak TAP on stdout. No plan is announced: tap_done() prints it. The words after the check name
 * the rule that is tested, not the function.
 *
 *	tap_is_int(smtp_size_parse(p, n, max, &size, &e), 0, "%s: parses", cases[i].name);
 *	return tap_done();
 */
#ifndef TEST_TAP_H
#define TEST_TAP_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/str.h"

/* Each prints one "ok" or "not ok" line, with what was got and wanted as a comment, and returns the check. */
bool tap_ok(bool cond, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool tap_is_int(long long got, long long want, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool tap_is_str(const char *got, const char *want, const char *fmt, ...) PRINTF_LIKE(3, 4);	/* NULL equals only NULL */
bool tap_is_mem(struct str got, struct str want, const char *fmt, ...) PRINTF_LIKE(3, 4);
void tap_diag(const char *fmt, ...) PRINTF_LIKE(1, 2);		/* a comment line */
void tap_skip(unsigned n, const char *why);			/* n checks that this machine cannot do */
/* Print the plan. Returns the exit status: 0 when every check held and there was at least one. */
int tap_done(void);

#endif
