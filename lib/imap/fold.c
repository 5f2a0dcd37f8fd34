/* i;unicode-casemap (RFC 5051) by a table of UTF-8 pieces. */
#include "imap/fold.h"

#include "base/attr.h"
#include "base/enc.h"

struct row {
	uint32_t cp;
	char utf8[12];
};
struct long_row {
	uint32_t cp;
	char utf8[60];
};

#define CASEMAP(cp, utf8) { cp, utf8 },
#define CASEMAP_LONG(cp, utf8)
static const struct row rows[] = {
#include "imap/casemap.tab"
};
#undef CASEMAP
#undef CASEMAP_LONG
#define CASEMAP(cp, utf8)
#define CASEMAP_LONG(cp, utf8) { cp, utf8 },
static const struct long_row long_rows[] = {
#include "imap/casemap.tab"
};
#undef CASEMAP
#undef CASEMAP_LONG

/* Latin, Greek, Cyrillic and so on are looked up at once. The last place takes what is not among them. */
enum { DIRECT = 0x600 };
#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
#define CASEMAP(cp, utf8) [(cp) < DIRECT ? (cp) : DIRECT] = utf8,
#define CASEMAP_LONG(cp, utf8)
static const char *const direct[DIRECT + 1] = {
#include "imap/casemap.tab"
};
#undef CASEMAP
#undef CASEMAP_LONG
#pragma GCC diagnostic pop

static const char *row_find(uint32_t cp)
{
	size_t lo = 0, hi = ARRAY_LEN(rows);

	if (cp < DIRECT)
		return direct[cp];

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (rows[mid].cp < cp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < ARRAY_LEN(rows) && rows[lo].cp == cp ? rows[lo].utf8 : NULL;
}

static const char *long_find(uint32_t cp)
{
	for (size_t i = 0; i < ARRAY_LEN(long_rows); i++) {
		if (long_rows[i].cp == cp)
			return long_rows[i].utf8;
	}
	return NULL;
}

static void fold_char(uint32_t cp, struct buf *out)
{
	/* Han, Hangul and what lies between have no case and are not in the table. */
	const bool plain = cp >= 0x3400 && cp <= 0xa63f;
	const char *to = plain ? NULL : row_find(cp);

	if (!to && !plain && cp >= long_rows[0].cp)
		to = long_find(cp);
	if (to)
		buf_c(out, to);
	else
		utf8_put(out, cp);
}

/* Bytes of ASCII at the start of s, in upper case at to; eight at a time. */
static size_t fold_ascii(struct str s, char *to)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	size_t n = 0;

	for (; n + 8 <= s.n; n += 8) {
		uint64_t w;
		memcpy(&w, s.p + n, 8);
		if (w & high)
			break;
		/* Its high bit: the byte is at least 'a'; is above 'z'. */
		const uint64_t from_a = w + UINT64_C(0x1f1f1f1f1f1f1f1f), above_z = w + UINT64_C(0x0505050505050505);
		w -= (from_a & ~above_z & high) >> 2;
		memcpy(to + n, &w, 8);
	}
	for (; n < s.n && (unsigned char)s.p[n] < 0x80; n++)
		to[n] = ch_up(s.p[n]);
	return n;
}

void imap_fold(struct str utf8, struct buf *out)
{
	while (utf8.n) {
		char *room = buf_room(out, utf8.n);

		if (!room)
			return;
		const size_t n = fold_ascii(utf8, room);

		buf_added(out, n);
		utf8 = str_from(utf8, n);
		if (utf8.n)
			fold_char(utf8_next(&utf8), out);
	}
}
