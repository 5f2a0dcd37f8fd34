/* Loops by vectors (spans.h) do what the same loops do byte by byte: texts of all lengths around a vector's, of what each stops at and of what it does not. */
#include "spam/test_spans.h"
#include "test/tap.h"

static unsigned seed = 4711;

static unsigned next(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static bool agree(const char *const *pieces, unsigned n)
{
	char text[80];
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = 0;
		const size_t want = next(sizeof(text) - 8);
		while (len < want) {
			const char *p = pieces[next(n)];
			const size_t k = *p == '\0' ? 1 : strlen(p);
			memcpy(text + len, p, k);
			len += k;
		}
		if (!spans_agree(str_n(text, len)))
			return false;
	}
	return true;
}

int main(void)
{
	static const char *const mixed[] = { "a", "word", " ", " ", "\n", "\t", "\r\n", "<", "&", ".", "@", ":", "\xe2\x80\x9c", "\xc2\xa0", "\xe3\x80\x80", "\xff", "",
					     "\x7f", "!", "~" };
	static const char *const prose[] = { "some", "longer", "words", "and", "letters", " ", " ", " ", " ", ", ", "  ", "\n", "\n\n" };
	static const char *const blank[] = { " ", "\n", "\t", "\v", "\f", "\r", "x", "\xc2\x85" };
	char each[64];
	bool good = true;
	tap_ok(agree(mixed, ARRAY_LEN(mixed)), "bytes of all kinds");
	tap_ok(agree(prose, ARRAY_LEN(prose)), "prose");
	tap_ok(agree(blank, ARRAY_LEN(blank)), "white space");
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned at = 0; at < sizeof(each); at++) {
			memset(each, 'x', sizeof(each));
			each[at] = (char)c;
			good &= spans_agree(str_n(each, sizeof(each)));
		}
	}
	tap_ok(good, "each byte at each place");
	return tap_done();
}
