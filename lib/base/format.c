/* The few conversions that texts of ours are made of. A printf of the C library sets up a stream for each call, which takes longer than to write a name or two; a
 * message from accept to mailbox is some forty of them. */
#include "base/format.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS_MAX = 20 };

struct text {
	char *out;
	size_t max, n;	/* n: written, or what would have been */
};

static void put(struct text *t, const char *p, size_t n)
{
	if (t->n < t->max) {
		const size_t room = t->max - t->n;
		memcpy(t->out + t->n, p, n < room ? n : room);
	}
	t->n += n;
}

static void put_number(struct text *t, unsigned long long v, bool minus)
{
	char digits[DIGITS_MAX + 1];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	if (minus)
		digits[--at] = '-';
	put(t, digits + at, sizeof(digits) - at);
}

/* The conversion at p, behind its "%". Returns what follows it; NULL: none of ours. */
static const char *convert(struct text *t, const char *p, va_list *ap)
{
	if (p[0] == '%') {
		put(t, "%", 1);
		return p + 1;
	}
	if (p[0] == 'c') {
		const char c = (char)va_arg(*ap, int);
		put(t, &c, 1);
		return p + 1;
	}
	if (p[0] == 'd') {
		const long long v = va_arg(*ap, int);
		put_number(t, (unsigned long long)(v < 0 ? -v : v), v < 0);
		return p + 1;
	}
	if (p[0] == 'u') {
		put_number(t, va_arg(*ap, unsigned), false);
		return p + 1;
	}
	if (p[0] == 'z' && p[1] == 'u') {
		put_number(t, va_arg(*ap, size_t), false);
		return p + 2;
	}
	if (p[0] == 'l' && p[1] == 'u') {
		put_number(t, va_arg(*ap, unsigned long), false);
		return p + 2;
	}
	if (p[0] == 'l' && p[1] == 'l' && p[2] == 'u') {
		put_number(t, va_arg(*ap, unsigned long long), false);
		return p + 3;
	}
	const bool cut = p[0] == '.' && p[1] == '*' && p[2] == 's';
	if (!cut && p[0] != 's')
		return NULL;
	const int most = cut ? va_arg(*ap, int) : -1;
	const char *s = va_arg(*ap, const char *);
	if (s == NULL && most != 0)
		return NULL;
	if (most != 0)
		put(t, s, most < 0 ? strlen(s) : strnlen(s, (size_t)most));
	return p + (cut ? 3 : 1);
}

static bool simple(struct text *t, const char *fmt, va_list *ap)
{
	while (fmt) {
		const char *mark = strchrnul(fmt, '%');
		put(t, fmt, (size_t)(mark - fmt));
		if (*mark == '\0')
			return t->n <= INT_MAX;
		fmt = convert(t, mark + 1, ap);
	}
	return false;
}

int text_vformat(char *out, size_t max, const char *fmt, va_list ap)
{
	struct text t = { .out = out, .max = max > 0 ? max - 1 : 0 };
	va_list mine;

	va_copy(mine, ap);
	const bool done = simple(&t, fmt, &mine);
	va_end(mine);
	if (!done)
		return vsnprintf(out, max, fmt, ap);
	if (max > 0)
		out[t.n < t.max ? t.n : t.max] = '\0';
	return (int)t.n;
}

int text_format(char *out, size_t max, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const int n = text_vformat(out, max, fmt, ap);
	va_end(ap);
	return n;
}
