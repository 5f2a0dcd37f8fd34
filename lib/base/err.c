/* Error values: see err.h. Owns the table of codes; no I/O, no allocation. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct err_row rows[] = {
	[ERR_NONE] = { "NONE", 250, "2.0.0", "", "", "no error" },
#define ERR(n, s, en, i, p, m) [ERR_##n] = { #n, s, en, i, p, m },
#include "base/err.def"
#undef ERR
};

const struct err_row *err_row(enum err_code code)
{
	if ((unsigned)code >= ERR_MAX_)
		code = ERR_BUG;
	return &rows[code];
}

static void neutralise(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
}

int err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...)
{
	if (e == NULL)
		return -1;
	struct err next = { .code = code, .sys = sys };
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(next.text, sizeof(next.text), fmt, ap);
	va_end(ap);
	if (sys != 0 && n >= 0 && (size_t)n < sizeof(next.text))
		snprintf(next.text + n, sizeof(next.text) - (size_t)n, ": %s", strerror(sys));
	neutralise(next.text);
	*e = next;
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	if (e == NULL)
		return -1;
	char text[ERR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return -1;
	if ((size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", e->text);
	neutralise(text);
	memcpy(e->text, text, sizeof(text));
	return -1;
}

void err_clear(struct err *e)
{
	if (e != NULL)
		*e = (struct err){ 0 };
}
