/* printf's text without printf, where a format holds nothing but what nearly all of ours do: "%s", "%.*s", "%c", "%d", "%u", "%lu", "%llu", "%zu" and "%%".
 * Any other conversion, with a width, a flag or a precision, leaves the whole text to the C library, so a caller cannot tell but by the time it takes:
 *
 *	char host[300];
 *	text_format(host, sizeof(host), "%s[%s]", name, address);
 */
#ifndef BASE_FORMAT_H
#define BASE_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

#include "base/attr.h"

/* As vsnprintf() and snprintf(): at most max bytes with the NUL, which is there unless max is 0; out may be NULL then. Returns the length that the text has without a
 * limit, or a negative number where the C library does. */
int text_vformat(char *out, size_t max, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
int text_format(char *out, size_t max, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
