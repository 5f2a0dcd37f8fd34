/* The harness of the unit tests: counts checks, prints TAP (version 12) on stdout. Tests only. */
#include "test/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static unsigned tap_count, tap_failed;

static bool report(bool cond, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static bool report(bool cond, const char *fmt, va_list ap)
{
	tap_count++;
	if (!cond)
		tap_failed++;
	printf("%sok %u - ", cond ? "" : "not ", tap_count);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	return cond;
}

static void show(const char *label, struct str s)
{
	printf("#   %s ", label);
	if (!s.p) {
		printf("(none)\n");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < s.n; i++) {
		const unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	printf("\"\n");
}

bool tap_ok(bool cond, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(cond, fmt, ap);
	va_end(ap);
	return cond;
}

bool tap_is_int(long long got, long long want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(got == want, fmt, ap);
	va_end(ap);
	if (got != want)
		printf("#   got %lld, want %lld\n", got, want);
	return got == want;
}

static bool is_mem(struct str got, struct str want, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static bool is_mem(struct str got, struct str want, const char *fmt, va_list ap)
{
	const bool same = !got.p == !want.p && got.n == want.n &&
			  (got.n == 0 || memcmp(got.p, want.p, got.n) == 0);

	report(same, fmt, ap);
	if (!same) {
		show("got ", got);
		show("want", want);
	}
	return same;
}

bool tap_is_str(const char *got, const char *want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const bool same = is_mem(str_c(got), str_c(want), fmt, ap);
	va_end(ap);
	return same;
}

bool tap_is_mem(struct str got, struct str want, const char *fmt, ...)
{
	va_list ap;

	/* An empty view may have any pointer. */
	if (!got.p)
		got.p = "";
	if (!want.p)
		want.p = "";
	va_start(ap, fmt);
	const bool same = is_mem(got, want, fmt, ap);
	va_end(ap);
	return same;
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

void tap_skip(unsigned n, const char *why)
{
	while (n--)
		printf("ok %u # SKIP %s\n", ++tap_count, why);
}

int tap_done(void)
{
	printf("1..%u\n", tap_count);
	if (tap_failed)
		printf("# %u of %u failed\n", tap_failed, tap_count);
	fflush(stdout);
	return tap_failed || tap_count == 0;
}

#ifdef __SANITIZE_THREAD__
/* The C library loads charsets under a lock of its own, which the sanitizer does not see. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:ld-linux\nrace:_dl_\nrace:rtld-malloc\nrace:__gconv\n";
}
#endif
