/* Loops over all bytes of a text (spans.h): what most of it is goes sixteen bytes at a time, by vectors, the rest as it is written. */
#include "spam/spans.h"

#include "base/enc.h"
#include "base/vec.h"
#include "spam/msg.h"

size_t span_blanks(struct str in, char *out)
{
	size_t n = 0, i = 0;
	bool after = false;	/* white space */
	while (i + VEC <= in.n) {
		const vec v = vec_at(in.p + i), space = vec_space(v);
		const unsigned spaces = vec_bits(space), again = spaces & (spaces << 1 | after);
		const unsigned k = (unsigned)__builtin_ctz(again | 1u << VEC);
		vec_put(out + n, (v & ~space) | (space & ' '));	/* n is never above i */
		n += k;
		i += k;
		after = again != 0 || spaces >> (VEC - 1) != 0;
		for (; again != 0 && i < in.n && sp_char(in.p[i]); i++)
			;
	}
	for (; i < in.n; i++) {
		const bool space = sp_char(in.p[i]);
		if (!space || !after)
			out[n++] = space ? ' ' : in.p[i];
		after = space;
	}
	return n;
}

/* Length of the white space character at s, 0: none. wide: Unicode's too. */
static size_t space_at(struct str s, bool wide)
{
	if (sp_char(s.p[0]))
		return 1;
	if (!wide || (unsigned char)s.p[0] < 0xc2)
		return 0;
	struct str rest = s;
	uint32_t cp = utf8_next(&rest);
	bool blank = cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
		     cp == 0x205f || cp == 0x3000;
	return blank ? s.n - rest.n : 0;
}

static bool is_visible(char c)
{
	return (unsigned char)(c - '!') < 0x80 - '!';
}

/* Most of all text: visible ASCII, and blanks before it. */
static size_t words(struct str in, char *out)
{
	size_t i = 0;
	for (unsigned k = VEC; k == VEC && i + VEC < in.n; i += k) {
		const vec v = vec_at(in.p + i), visible = (vec)(v - '!' < 0x80 - '!'), next = (vec)(vec_at(in.p + i + 1) - '!' < 0x80 - '!');
		vec_put(out + i, v);
		k = vec_first(~(visible | ((vec)(v == ' ') & next)));
	}
	for (; i < in.n && (is_visible(in.p[i]) || (in.p[i] == ' ' && i + 1 < in.n && is_visible(in.p[i + 1]))); i++)
		out[i] = in.p[i];
	return i;
}

size_t span_paragraphs(struct str in, bool wide, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n;) {
		size_t first = SIZE_MAX, last = 0, one, k = words(str_from(in, i), out + n);
		i += k;
		n += k;
		for (k = i; k < in.n && (one = space_at(str_from(in, k), wide)) > 0; k += one) {
			if (in.p[k] != '\n')
				continue;
			first = first == SIZE_MAX ? k : first;
			last = k;
		}
		if (first != SIZE_MAX && first < last) {
			if (first > i)
				out[n++] = ' ';
			out[n++] = '\n';
			if (last + 1 < k)
				out[n++] = ' ';
		} else if (k > i) {
			out[n++] = ' ';
		} else if (i < in.n) {
			out[n++] = in.p[i] == '\0' ? '\n' : in.p[i];
			k++;
		}
		i = k;
	}
	return n;
}

size_t span_text(struct str in, char *out)
{
	size_t i = 0;
	for (unsigned k; i + VEC <= in.n; i += VEC) {
		const vec v = vec_at(in.p + i);
		vec_put(out + i, v);
		if ((k = vec_first((vec)(v == '&') | (vec)(v == '<') | (vec)(v == 0xe2))) < VEC)
			return i + k;
	}
	for (; i < in.n && in.p[i] != '&' && in.p[i] != '<' && in.p[i] != '\xe2'; i++)
		out[i] = in.p[i];
	return i;
}

size_t span_until(struct str in, char a, char b, char c)
{
	const unsigned char x = (unsigned char)a, y = (unsigned char)b, z = (unsigned char)c;
	size_t i = 0;
	for (unsigned k; i + VEC <= in.n; i += VEC) {
		const vec v = vec_at(in.p + i);
		if ((k = vec_first((vec)(v == x) | (vec)(v == y) | (vec)(v == z))) < VEC)
			return i + k;
	}
	while (i < in.n && in.p[i] != a && in.p[i] != b && in.p[i] != c)
		i++;
	return i;
}

size_t span_ascii(struct str in, size_t *blanks_out)
{
	size_t i = 0, blanks = 0;
	for (; i + VEC <= in.n; i += VEC) {
		const vec v = vec_at(in.p + i);
		if (vec_bits((vec)(v >= 0x80)) != 0)
			break;
		blanks += (unsigned)__builtin_popcount(vec_bits(vec_space(v)));
	}
	for (; i < in.n && (unsigned char)in.p[i] < 0x80; i++)
		blanks += sp_char(in.p[i]);
	*blanks_out = blanks;
	return i;
}
