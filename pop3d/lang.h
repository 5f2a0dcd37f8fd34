/* What front and session say alike: LANG (RFC 6856 section 3; our texts have one language) and lines of CAPA. */
#ifndef POP3D_LANG_H
#define POP3D_LANG_H

#include <string.h>

#include "base/buf.h"
#include "base/str.h"

#define LANG_LIST "+OK Language listing follows:\r\nen English\r\ni-default Default language\r\n.\r\n"

/* The tag to answer with; NULL: not spoken. "*" is the client's wish for what the server likes best. */
static inline const char *lang_pick(struct str range)
{
	if (str_case_eq(range, STR("i-default")))
		return "i-default";
	return str_eq(range, STR("*")) || str_case_eq(range, STR("en")) || str_case_starts(range, STR("en-")) ? "en" : NULL;
}

/* One line of CAPA; a text that ends in a blank is followed by the delay between logins. */
static inline void put_capability(struct buf *out, const char *text, unsigned long long delay)
{
	const size_t n = strlen(text);

	buf_mem(out, text, n);
	if (text[n - 1] == ' ')
		buf_printf(out, "%llu", delay);
	buf_c(out, "\r\n");
}

#endif
