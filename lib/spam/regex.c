/* The pattern parser (regex.h): recursive descent over PCRE2's syntax to a tree of byte sets. Pure; bounded depth. */
#include "spam/regex.h"

#include <limits.h>
#include <string.h>

enum { CHARS_ASCII = 128, CHARS = 256 };

struct parser {
	struct arena *a;
	struct str in;
	bool caseless, dotall, extended, failed;
	unsigned depth;
};

static struct rx *node(struct parser *p, enum rx_op op)
{
	struct rx *x = ARENA_NEW(p->a, struct rx);
	x->op = op;
	return x;
}

static struct rx *fail(struct parser *p)
{
	p->failed = true;
	return node(p, RX_EMPTY);
}

static void set_add(struct rx_set *s, unsigned c)
{
	s->bits[c >> 6 & 3] |= 1ull << (c & 63);
}

static void set_range(struct rx_set *s, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to && c < 256; c++)
		set_add(s, c);
}

static void set_not(struct rx_set *s)
{
	for (unsigned i = 0; i < 4; i++)
		s->bits[i] = ~s->bits[i];
}

static void set_or(struct rx_set *s, const struct rx_set *other)
{
	for (unsigned i = 0; i < 4; i++)
		s->bits[i] |= other->bits[i];
}

/* chars: of letters up to there. PCRE2's own tables know those of ASCII, and tables of a locale more. */
static void set_both_cases(struct rx_set *s, unsigned chars)
{
	for (unsigned c = 0; c < chars; c++) {
		unsigned low = rx_lower((unsigned char)c);
		if (low != c && (rx_set_has(s, (unsigned char)c) || rx_set_has(s, (unsigned char)low))) {
			set_add(s, c);
			set_add(s, low);
		}
	}
}

static unsigned char other_case(unsigned char c)
{
	const unsigned char low = rx_lower(c), up = c >= 32 ? (unsigned char)(c - 32) : c;
	return low != c ? low : rx_lower(up) == c ? up : c;
}

/* \d \w \s \h \v and their opposites. */
static bool class_escape(char c, struct rx_set *s)
{
	struct rx_set n = { { 0 } };
	switch (ch_lower(c)) {
	case 'd':
		set_range(&n, '0', '9');
		break;
	case 'w':
		set_range(&n, '0', '9');
		set_range(&n, 'a', 'z');
		set_range(&n, 'A', 'Z');
		set_add(&n, '_');
		break;
	case 's':
		set_range(&n, 9, 13);
		set_add(&n, ' ');
		break;
	case 'h':
		set_add(&n, ' ');
		set_add(&n, 9);
		set_add(&n, 0xa0);
		break;
	case 'v':
		set_range(&n, 10, 13);
		set_add(&n, 0x85);
		break;
	default:
		return false;
	}
	if (ch_upper(c))
		set_not(&n);
	set_or(s, &n);
	return true;
}

/* The number after \x, or an octal one; in starts at the letter or digit. */
static unsigned number_escape(struct parser *p)
{
	unsigned v = 0;
	if (p->in.p[0] != 'x') {
		for (unsigned i = 0; i < 3 && p->in.n > 0 && p->in.p[0] >= '0' && p->in.p[0] <= '7'; i++, p->in = str_from(p->in, 1))
			v = v * 8 + (unsigned)(p->in.p[0] - '0');
		return v & 255;
	}
	p->in = str_from(p->in, 1);
	bool braces = p->in.n > 0 && p->in.p[0] == '{';
	if (braces)
		p->in = str_from(p->in, 1);
	for (unsigned i = 0; p->in.n > 0 && ch_xdigit(p->in.p[0]) >= 0 && (braces ? i < 8 : i < 2); i++, p->in = str_from(p->in, 1))
		v = v * 16 + (unsigned)ch_xdigit(p->in.p[0]);
	if (braces) {
		if (p->in.n == 0 || p->in.p[0] != '}' || v > 255)
			fail(p);
		p->in = str_from(p->in, 1);
	}
	return v & 255;
}

static int simple_escape(char c)
{
	static const struct { char c, v; } known[] = { { 'n', '\n' }, { 't', '\t' }, { 'r', '\r' }, { 'f', '\f' }, { 'a', '\a' }, { 'e', 27 } };
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].c == c)
			return known[i].v;
	return -1;
}

/* One byte after a backslash; -1: it is no single byte. p->in at the character after the backslash, which is taken. */
static int byte_escape(struct parser *p)
{
	if (p->in.n == 0)
		return -1;
	char c = p->in.p[0];
	int simple = simple_escape(c);
	if (c == 'x' || c == '0')
		return (int)number_escape(p);
	if (simple < 0 && ch_alnum(c))
		return -1;
	p->in = str_from(p->in, 1);
	return simple >= 0 ? simple : (unsigned char)c;
}

static struct rx *byte_node(struct parser *p, unsigned c)
{
	struct rx *x = node(p, RX_SET);
	set_add(&x->set, c);
	if (p->caseless)
		set_add(&x->set, other_case((unsigned char)c));
	return x;
}

/* "[:alpha:]", "[:^alpha:]"; p->in at the bracket, which is taken with all of it. Collating elements, and names that are none, make the class unknown. */
static bool named_class(struct parser *p, struct rx_set *out)
{
	static const struct { const char *name, *ranges; } names[] = {
		{ "alpha", "AZaz" }, { "digit", "09" }, { "alnum", "09AZaz" }, { "upper", "AZ" }, { "lower", "az" }, { "space", "\t\r  " }, { "blank", "\t\t  " },
		{ "punct", "!/:@[`{~" }, { "print", " ~" }, { "graph", "!~" }, { "cntrl", "\1\37\177\177" }, { "xdigit", "09AFaf" }, { "word", "09AZ__az" },
	};
	struct str s = str_from(p->in, 2);
	const ptrdiff_t end = p->in.p[1] == ':' ? str_find(s, STR(":]")) : -1;
	if (end < 0)
		return false;
	const bool negated = s.p[0] == '^';
	const struct str name = str_sub(s, negated, (size_t)end - negated);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_eq(name, str_c(names[i].name)))
			continue;
		struct rx_set set = { { 0 } };
		for (const char *r = names[i].ranges; *r != '\0'; r += 2)
			set_range(&set, (unsigned char)r[0], (unsigned char)r[1]);
		if (str_eq(name, STR("cntrl")))
			set_add(&set, 0);
		if (p->caseless)
			set_both_cases(&set, CHARS_ASCII);
		if (negated)
			set_not(&set);
		set_or(out, &set);
		p->in = str_from(s, (size_t)end + 2);
		return true;
	}
	return false;
}

static struct rx *parse_class(struct parser *p)
{
	struct rx *x = node(p, RX_SET);
	bool negated = p->in.n > 0 && p->in.p[0] == '^', first = true;
	if (negated)
		p->in = str_from(p->in, 1);
	int last = -1;
	bool range = false;
	for (; p->in.n > 0 && (first || p->in.p[0] != ']'); first = false) {
		char c = p->in.p[0];
		int byte = (unsigned char)c;
		if (c == '[' && p->in.n > 1 && strchr(":.=", p->in.p[1]) != NULL) {
			if (range || !named_class(p, &x->set))
				return fail(p);
			last = -1;
			continue;
		}
		p->in = str_from(p->in, 1);
		if (c == '-' && last >= 0 && !range && p->in.n > 0 && p->in.p[0] != ']') {
			range = true;
			continue;
		}
		if (c == '\\') {
			if (p->in.n > 0 && class_escape(p->in.p[0], &x->set)) {
				p->in = str_from(p->in, 1);
				if (range)
					set_add(&x->set, '-');
				range = false;
				last = -1;
				continue;
			}
			if (p->in.n > 0 && p->in.p[0] == 'b') {
				byte = '\b';
				p->in = str_from(p->in, 1);
			} else if (p->in.n > 0 && (p->in.p[0] == '8' || p->in.p[0] == '9')) {
				byte = p->in.p[0];
				p->in = str_from(p->in, 1);
			} else if (p->in.n > 0 && ch_digit(p->in.p[0])) {
				byte = (int)number_escape(p);
			} else {
				byte = byte_escape(p);
			}
			if (byte < 0)
				return fail(p);
		}
		set_range(&x->set, range ? (unsigned)last : (unsigned)byte, (unsigned)byte);
		last = range ? -1 : byte;
		range = false;
	}
	if (p->in.n == 0)
		return fail(p);
	p->in = str_from(p->in, 1);
	if (p->caseless)
		set_both_cases(&x->set, negated ? CHARS_ASCII : CHARS);	/* what it may match, with either tables */
	if (negated)
		set_not(&x->set);
	return x;
}

static struct rx *parse_alt(struct parser *p);

/* What a group matched: anything. So is the byte that \12 may be. */
static struct rx *parse_reference(struct parser *p)
{
	struct rx *any = node(p, RX_SET), *x = node(p, RX_REPEAT);
	while (p->in.n > 0 && ch_digit(p->in.p[0]))
		p->in = str_from(p->in, 1);
	set_not(&any->set);
	x->max = UINT_MAX;
	x->kids = any;
	return x;
}

static struct rx *parse_escape(struct parser *p)
{
	if (p->in.n == 0)
		return fail(p);
	char c = p->in.p[0];
	struct rx *x = node(p, RX_SET);
	if (class_escape(c, &x->set)) {
		p->in = str_from(p->in, 1);
		return x;
	}
	if (str_chr(STR("bBAzZ"), c) >= 0) {	/* not \G: it is where the search begins, which depends on what was seen before */
		p->in = str_from(p->in, 1);
		return node(p, RX_ZERO);
	}
	if (c >= '1' && c <= '9')
		return parse_reference(p);
	int byte = byte_escape(p);
	return byte < 0 ? fail(p) : byte_node(p, (unsigned)byte);
}

/* (?i-s) and (?i-s: and (?^i: — false when it is something else, as (?xx), which changes classes. */
static bool parse_flags(struct parser *p)
{
	struct parser was = *p;
	bool on = true;
	for (; p->in.n > 0; p->in = str_from(p->in, 1)) {
		char c = p->in.p[0];
		if (c == '-')
			on = false;
		else if (c == '^')
			p->caseless = p->dotall = p->extended = false;
		else if (c == 'x' && p->in.n > 1 && p->in.p[1] == 'x')
			break;
		else if (c == 'i')
			p->caseless = on;
		else if (c == 's')
			p->dotall = on;
		else if (c == 'x')
			p->extended = on;
		else if (c == ')' || c == ':')
			return true;
		else if (strchr("mnaJU", c) == NULL)
			break;
	}
	*p = was;
	return false;
}

static struct rx *group_end(struct parser *p, struct rx *x)
{
	if (p->in.n == 0 || p->in.p[0] != ')')
		return fail(p);
	p->in = str_from(p->in, 1);
	return x;
}

/* After "(?". Flags set inside a group end with it. */
static struct rx *parse_special(struct parser *p, bool *flags_only)
{
	static const char *const looks[] = { "=", "!", "<=", "<!" };
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		if (!str_starts(p->in, str_c(looks[i])))
			continue;
		p->in = str_from(p->in, strlen(looks[i]));
		parse_alt(p);
		return group_end(p, node(p, RX_ZERO));
	}
	if (str_starts(p->in, STR("#"))) {
		ptrdiff_t close = str_chr(p->in, ')');
		if (close < 0)
			return fail(p);
		p->in = str_from(p->in, (size_t)close + 1);
		return node(p, RX_EMPTY);
	}
	bool named = str_starts(p->in, STR("<")) || str_starts(p->in, STR("P<")) || str_starts(p->in, STR("'"));
	if (named) {
		size_t n = 1;
		while (n < p->in.n && p->in.p[n] != '>' && p->in.p[n] != '\'')
			n++;
		p->in = str_from(p->in, n + 1);
	} else if (str_starts(p->in, STR(">")) || str_starts(p->in, STR("|"))) {
		p->in = str_from(p->in, 1);
	} else {
		if (p->in.n == 0 || !parse_flags(p) || p->in.n == 0)
			return fail(p);
		*flags_only = p->in.p[0] == ')';
		p->in = str_from(p->in, 1);
		if (*flags_only)
			return node(p, RX_EMPTY);
	}
	return group_end(p, parse_alt(p));
}

static struct rx *parse_group(struct parser *p)
{
	bool flags_only = false, caseless = p->caseless, dotall = p->dotall, extended = p->extended;
	struct rx *x;
	if (p->depth >= RX_DEPTH_MAX)
		return fail(p);
	p->depth++;
	if (str_starts(p->in, STR("*"))) {
		x = fail(p);
	} else if (str_starts(p->in, STR("?"))) {
		p->in = str_from(p->in, 1);
		x = parse_special(p, &flags_only);
	} else {
		x = group_end(p, parse_alt(p));
	}
	p->depth--;
	if (!flags_only) {
		p->caseless = caseless;
		p->dotall = dotall;
		p->extended = extended;
	}
	return x;
}

static struct rx *parse_atom(struct parser *p)
{
	char c = p->in.p[0];
	p->in = str_from(p->in, 1);
	struct rx *x;
	switch (c) {
	case '(':
		return parse_group(p);
	case '[':
		return parse_class(p);
	case '\\':
		return parse_escape(p);
	case '^':
	case '$':
		return node(p, RX_ZERO);
	case '.':
		x = node(p, RX_SET);
		set_not(&x->set);
		if (!p->dotall)
			x->set.bits[0] &= ~(1ull << '\n');
		return x;
	default:
		return byte_node(p, (unsigned char)c);
	}
}

/* {,m} and { n, m }: what repeats to newer versions of PCRE2, and is only a brace and what follows to others. */
static bool is_new_braces(struct str s)
{
	bool digits = false;
	size_t i = 1;
	for (; i < s.n && (ch_digit(s.p[i]) || ch_blank(s.p[i]) || s.p[i] == ','); i++)
		digits |= ch_digit(s.p[i]);
	return digits && i < s.n && s.p[i] == '}';
}

/* {n} {n,} {n,m}; false: a brace that is only a brace. */
static bool braces(struct parser *p, unsigned *min, unsigned *max)
{
	struct str s = str_from(p->in, 1);
	unsigned v[2] = { 0, UINT_MAX };
	bool comma = false, any = false;
	for (; s.n > 0 && s.p[0] != '}'; s = str_from(s, 1)) {
		if (s.p[0] == ',' && !comma && any) {
			comma = true;
			any = false;
			continue;
		}
		if (!ch_digit(s.p[0]))
			return false;
		if (comma && !any)
			v[1] = 0;
		any = true;
		unsigned *to = &v[comma];
		*to = *to > 100000 ? *to : *to * 10 + (unsigned)(s.p[0] - '0');
	}
	if (s.n == 0 || (!any && !comma))
		return false;
	*min = v[0];
	*max = comma ? v[1] : v[0];
	p->in = str_from(s, 1);
	return true;
}

static void skip_extended(struct parser *p)
{
	while (p->extended && p->in.n > 0) {
		if (p->in.p[0] == ' ' || (p->in.p[0] >= '\t' && p->in.p[0] <= '\r')) {
			p->in = str_from(p->in, 1);
		} else if (p->in.p[0] == '#') {
			ptrdiff_t lf = str_chr(p->in, '\n');
			p->in = str_from(p->in, lf < 0 ? p->in.n : (size_t)lf);
		} else {
			return;
		}
	}
}

static struct rx *parse_quantified(struct parser *p)
{
	struct rx *x = parse_atom(p);
	for (skip_extended(p); p->in.n > 0 && !p->failed; skip_extended(p)) {
		unsigned min = 0, max = UINT_MAX;
		char c = p->in.p[0];
		if (x->op == RX_EMPTY && strchr("{*+?", c) != NULL)
			return fail(p);		/* of what stands before a comment */
		if (c == '{') {
			if (!braces(p, &min, &max))
				return is_new_braces(p->in) ? fail(p) : x;
		} else if (c == '*' || c == '+' || c == '?') {
			min = c == '+';
			max = c == '?' ? 1 : UINT_MAX;
			p->in = str_from(p->in, 1);
		} else {
			return x;
		}
		if (p->in.n > 0 && (p->in.p[0] == '?' || p->in.p[0] == '+'))
			p->in = str_from(p->in, 1);
		struct rx *r = node(p, RX_REPEAT);
		r->min = min;
		r->max = max;
		r->kids = x;
		x = r;
	}
	return x;
}

static struct rx *parse_cat(struct parser *p)
{
	struct rx *x = node(p, RX_CAT), **tail = &x->kids;
	for (skip_extended(p); p->in.n > 0 && p->in.p[0] != '|' && p->in.p[0] != ')' && !p->failed; skip_extended(p)) {
		*tail = parse_quantified(p);
		tail = &(*tail)->next;
	}
	return x;
}

static struct rx *parse_alt(struct parser *p)
{
	struct rx *first = parse_cat(p);
	if (p->in.n == 0 || p->in.p[0] != '|')
		return first;
	struct rx *x = node(p, RX_ALT), **tail = &first->next;
	x->kids = first;
	while (p->in.n > 0 && p->in.p[0] == '|' && !p->failed) {
		p->in = str_from(p->in, 1);
		*tail = parse_cat(p);
		tail = &(*tail)->next;
	}
	return x;
}

struct rx *rx_parse(struct arena *a, struct str pattern, const char *flags)
{
	struct parser p = { .a = a, .in = pattern, .caseless = strchr(flags, 'i') != NULL, .dotall = strchr(flags, 's') != NULL,
			    .extended = strchr(flags, 'x') != NULL };
	struct rx *x = parse_alt(&p);
	return p.failed || p.in.n > 0 ? NULL : x;
}

enum rx_begin rx_begins(struct str pattern, const char *flags, const struct rx *x)
{
	if (!str_starts(pattern, STR("^")) || x->op != RX_CAT || x->kids == NULL || x->kids->op != RX_ZERO)
		return RX_ANYWHERE;
	return strchr(flags, 'm') != NULL ? RX_LINES : RX_TEXT;
}
