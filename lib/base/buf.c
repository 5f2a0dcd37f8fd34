/* Growing buffers with a maximum and a sticky failure: see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/enc.h"
#include "base/format.h"

enum { U64_DIGITS = 20 };

static char empty[1];	/* what p points to while nothing is allocated; never written */

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .p = empty, .max = max };
}

void buf_fini(struct buf *b)
{
	if (b->p != empty)
		free(b->p);
	buf_init(b, b->max);
}

void buf_wipe(struct buf *b)
{
	if (b->p != empty && b->p != NULL)
		mem_wipe(b->p, b->cap);
	buf_reset(b);
}

void buf_reset(struct buf *b)
{
	b->n = 0;
	b->failed = false;
	if (b->p != NULL && b->p != empty)
		b->p[0] = '\0';
}

bool buf_failed(const struct buf *b)
{
	return b->failed;
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
	return b->failed ? err_set(e, ERR_LIMIT, 0, "%s is longer than %zu bytes", what, b->max) : 0;
}

static bool grow(struct buf *b, size_t n)
{
	if (b->failed)
		return false;
	if (n > b->max || b->n > b->max - n) {
		b->failed = true;
		return false;
	}
	size_t need = b->n + n + 1;
	if (need <= b->cap)
		return true;
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap > b->max + 1)
		cap = b->max + 1;
	b->p = xrealloc(b->p == empty ? NULL : b->p, cap);
	b->cap = cap;
	b->p[b->n] = '\0';	/* also when nothing is added after buf_room */
	return true;
}

char *buf_room(struct buf *b, size_t n)
{
	return grow(b, n) ? b->p + b->n : NULL;
}

void buf_mem_slow(struct buf *b, const void *p, size_t n)
{
	char *to = n == 0 ? NULL : buf_room(b, n);
	if (to == NULL)
		return;
	memcpy(to, p, n);
	buf_added(b, n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	size_t left = b->cap > b->n ? b->cap - b->n : 0;
	char *at = left > 0 ? b->p + b->n : NULL;
	int n = text_vformat(at, left, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
	} else if (n > 0 && grow(b, (size_t)n)) {
		if ((size_t)n >= left)
			text_vformat(b->p + b->n, (size_t)n + 1, fmt, again);
		buf_added(b, (size_t)n);
	}
	if (b->failed && b->p != NULL && b->cap > b->n)
		b->p[b->n] = '\0';
	va_end(again);
}

static size_t digits_of(unsigned long long v)
{
	size_t n = 1;

	for (unsigned long long power = 10; v >= power; power *= 10) {
		n++;
		if (n == U64_DIGITS)	/* the next power is none of 64 bits */
			break;
	}
	return n;
}

/* Where they will stand: an answer may be hundreds of thousands of numbers, and copying each took as long as making it. */
void buf_u64(struct buf *b, unsigned long long v)
{
	static const char pairs[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
				    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
	const size_t n = digits_of(v);
	char *const to = buf_room(b, n);
	size_t i = n;

	if (!to)
		return;
	for (; v >= 10; v /= 100)
		memcpy(to + (i -= 2), pairs + 2 * (v % 100), 2);
	if (i > 0)
		to[0] = (char)('0' + v);
	buf_added(b, n);
}

/* Zeros before v, to so many places; those at its end are left out. */
static void put_fraction(struct buf *b, uint64_t v, int places)
{
	char digits[20];
	int n = places;

	for (int i = places; i-- > 0; v /= 10)
		digits[i] = (char)('0' + v % 10);
	while (n > 0 && digits[n - 1] == '0')
		n--;
	buf_mem(b, digits, (size_t)n);
}

void buf_seconds(struct buf *b, uint64_t us)
{
	uint64_t step = 1;

	if (us >= 10000000) {
		buf_u64(b, us / 1000000 + (us % 1000000 >= 500000));
		return;
	}
	if (us >= 1000000) {
		const uint64_t tenths = (us + 50000) / 100000;
		buf_u64(b, tenths / 10);
		buf_ch(b, '.');
		buf_u64(b, tenths % 10);
		return;
	}
	if (us < 500) {
		buf_ch(b, '0');
		return;
	}
	while (us / step >= (us < 10000 ? 10 : 100))
		step *= 10;
	us = (us + step / 2) / step * step;
	if (us >= 1000000) {
		buf_ch(b, '1');
		return;
	}
	buf_c(b, "0.");
	put_fraction(b, us, 6);
}

void buf_cut(struct buf *b, size_t n)
{
	if (n < b->n) {
		b->n = n;
		b->p[n] = '\0';
	}
}

void buf_shift(struct buf *b, size_t n)
{
	if (n == 0)
		return;
	if (n >= b->n) {
		buf_cut(b, 0);
		return;
	}
	memmove(b->p, b->p + n, b->n - n);
	buf_cut(b, b->n - n);
}
