/* The lexer: grammar elements that several commands share (RFC 3501 section 9). Owns no policy and no session. */
#include "imap/lex.h"

#include "base/num.h"

const char *const imap_flag_names[IMAP_FLAG_MAX_] = {
#define IMAP_FLAG(name, text) [IMAP_FLAG_##name] = text,
#include "imap/flags.def"
#undef IMAP_FLAG
};

/* Bits of each byte's classes. */
enum { C_ATOM = 1, C_ASTRING = 2, C_LIST = 4 };

static unsigned char_class(char c)
{
	const unsigned char u = (unsigned char)c;

	if (u <= 0x20 || u >= 0x7f)
		return 0;
	switch (c) {
	case '(': case ')': case '{': case '"': case '\\':
		return 0;
	case '%': case '*':
		return C_LIST;
	case ']':
		return C_ASTRING | C_LIST;
	default:
		return C_ATOM | C_ASTRING | C_LIST;
	}
}

bool imap_is_atom_char(char c)
{
	return char_class(c) & C_ATOM;
}

bool imap_is_astring_char(char c)
{
	return char_class(c) & C_ASTRING;
}

bool imap_try(struct imap_lex *l, char c)
{
	if (!imap_at(l, c))
		return false;
	l->p++;
	return true;
}

static struct str take_class(struct imap_lex *l, unsigned class)
{
	const char *start = l->p;

	while (l->p < l->end && (char_class(*l->p) & class))
		l->p++;
	return str_n(start, (size_t)(l->p - start));
}

bool imap_try_word(struct imap_lex *l, const char *word)
{
	const char *start = l->p;

	if (str_case_eq(take_class(l, C_ATOM), str_c(word)))
		return true;
	l->p = start;
	return false;
}

int imap_get_char(struct imap_lex *l, char c, struct err *e)
{
	if (!imap_try(l, c))
		return err_set(e, ERR_INPUT, 0, "expected '%c'", c);
	return 0;
}

int imap_get_sp(struct imap_lex *l, struct err *e)
{
	if (!imap_at(l, ' '))
		return err_set(e, ERR_INPUT, 0, imap_at_end(l) ? "missing argument" : "expected a space");
	while (imap_try(l, ' '))
		;
	return 0;
}

int imap_get_end(struct imap_lex *l, struct err *e)
{
	while (imap_try(l, ' '))
		;
	if (!imap_at_end(l))
		return err_set(e, ERR_INPUT, 0, "unexpected arguments");
	return 0;
}

static int get_class(struct imap_lex *l, unsigned class, struct str *out, struct err *e)
{
	const struct str s = take_class(l, class);

	if (s.n == 0)
		return err_set(e, ERR_INPUT, 0, imap_at_end(l) ? "missing argument" : "invalid character in argument");
	*out = s;
	return 0;
}

int imap_get_atom(struct imap_lex *l, struct str *out, struct err *e)
{
	return get_class(l, C_ATOM, out, e);
}

/* The text between quotes; copied only when something in it is escaped. */
static int get_quoted(struct imap_lex *l, struct str *out, struct err *e)
{
	const char *start = ++l->p;
	size_t escapes = 0;

	for (; l->p < l->end && *l->p != '"'; l->p++) {
		if (*l->p == '\\') {
			if (++l->p == l->end || (*l->p != '"' && *l->p != '\\'))
				return err_set(e, ERR_INPUT, 0, "invalid escape in quoted string");
			escapes++;
		} else if (*l->p == '\r' || *l->p == '\n' || *l->p == '\0') {
			return err_set(e, ERR_INPUT, 0, "line end in quoted string");
		}
	}
	if (l->p == l->end)
		return err_set(e, ERR_INPUT, 0, "quoted string has no end");
	const struct str raw = str_n(start, (size_t)(l->p++ - start));

	if (escapes == 0) {
		*out = raw;
		return 0;
	}
	char *copy = arena_alloc(l->arena, raw.n + 1);
	size_t n = 0;

	if (!copy)
		return err_set(e, ERR_LIMIT, 0, "command needs too much memory");
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\\')
			i++;
		copy[n++] = raw.p[i];
	}
	*out = str_n(copy, n);
	return 0;
}

static int get_literal(struct imap_lex *l, struct str *out, struct err *e)
{
	uint64_t n;
	struct str rest;

	(void)imap_try(l, '~');
	if (!imap_try(l, '{'))
		return err_set(e, ERR_INPUT, 0, "invalid literal");
	rest = str_n(l->p, (size_t)(l->end - l->p));
	if (num_take(&rest, INT64_MAX, &n) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid literal size");
	l->p = rest.p;
	(void)imap_try(l, '+');
	if (!imap_try(l, '}'))
		return err_set(e, ERR_INPUT, 0, "invalid literal size");
	(void)imap_try(l, '\r');
	if (!imap_try(l, '\n') || n > (size_t)(l->end - l->p))
		return err_set(e, ERR_INPUT, 0, "literal without its data");
	if (n && memchr(l->p, 0, (size_t)n))
		return err_set(e, ERR_INPUT, 0, "NUL in literal");
	*out = str_n(l->p, (size_t)n);
	l->p += n;
	return 0;
}

int imap_get_string(struct imap_lex *l, struct str *out, struct err *e)
{
	if (imap_at(l, '"'))
		return get_quoted(l, out, e);
	if (imap_at(l, '{') || imap_at(l, '~'))
		return get_literal(l, out, e);
	return err_set(e, ERR_INPUT, 0, imap_at_end(l) ? "missing argument" : "expected a string");
}

static int get_string_or(struct imap_lex *l, unsigned class, struct str *out, struct err *e)
{
	if (imap_at(l, '"') || imap_at(l, '{'))
		return imap_get_string(l, out, e);
	return get_class(l, class, out, e);
}

int imap_get_astring(struct imap_lex *l, struct str *out, struct err *e)
{
	return get_string_or(l, C_ASTRING, out, e);
}

int imap_get_list_mailbox(struct imap_lex *l, struct str *out, struct err *e)
{
	return get_string_or(l, C_LIST, out, e);
}

int imap_get_nstring(struct imap_lex *l, struct str *out, struct err *e)
{
	if (imap_try_word(l, "NIL")) {
		*out = (struct str){ 0 };
		return 0;
	}
	return imap_get_string(l, out, e);
}

int imap_get_mailbox(struct imap_lex *l, struct str *out, struct err *e)
{
	struct str s;

	if (imap_get_astring(l, &s, e) < 0)
		return -1;
	if (s.n > IMAP_MAILBOX_MAX)
		return err_set(e, ERR_LIMIT, 0, "mailbox name too long");
	*out = s;
	return 0;
}

int imap_get_number(struct imap_lex *l, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
	struct str rest = str_n(l->p, (size_t)(l->end - l->p));
	uint64_t n;

	if (num_take(&rest, max, &n) < 0 || n < min)
		return err_set(e, ERR_INPUT, 0, "invalid number");
	l->p = rest.p;
	*out = n;
	return 0;
}

/* Grow an array of str in the arena: doubling, old blocks stay until the command ends. */
static int push_str(struct arena *a, struct str **v, size_t *n, size_t *cap, struct str s, struct err *e)
{
	if (*n == *cap) {
		const size_t want = *cap ? *cap * 2 : 8;
		struct str *grown = ARENA_ARRAY(a, struct str, want);

		if (!grown)
			return err_set(e, ERR_LIMIT, 0, "command needs too much memory");
		if (*n)
			memcpy(grown, *v, *n * sizeof(**v));
		*v = grown;
		*cap = want;
	}
	(*v)[(*n)++] = s;
	return 0;
}

int imap_get_astring_list(struct imap_lex *l, bool empty_ok, struct str **out, size_t *n_out, struct err *e)
{
	struct str *v = NULL, s;
	size_t n = 0, cap = 0;

	if (imap_get_char(l, '(', e) < 0)
		return -1;
	while (imap_try(l, ' '))
		;
	while (!imap_try(l, ')')) {
		if (n == IMAP_LIST_MAX)
			return err_set(e, ERR_LIMIT, 0, "list too long");
		if (imap_get_astring(l, &s, e) < 0 || push_str(l->arena, &v, &n, &cap, s, e) < 0)
			return -1;
		if (!imap_at(l, ')') && imap_get_sp(l, e) < 0)
			return -1;
	}
	if (n == 0 && !empty_ok)
		return err_set(e, ERR_INPUT, 0, "empty list");
	*out = v;
	*n_out = n;
	return 0;
}

int imap_get_tag(struct imap_lex *l, struct str *out, struct err *e)
{
	const char *start = l->p;

	while (l->p < l->end && imap_is_astring_char(*l->p) && *l->p != '+')
		l->p++;
	const struct str tag = str_n(start, (size_t)(l->p - start));

	if (tag.n == 0 || (!imap_at_end(l) && !imap_at(l, ' ')))
		return err_set(e, ERR_INPUT, 0, "invalid tag");
	if (tag.n > IMAP_TAG_MAX)
		return err_set(e, ERR_LIMIT, 0, "tag too long");
	*out = tag;
	return 0;
}

int imap_get_verb(struct imap_lex *l, struct str *out, struct err *e)
{
	struct str verb;

	if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &verb, e) < 0)
		return err_set(e, ERR_INPUT, 0, "missing command");
	if (verb.n > IMAP_VERB_MAX || (!imap_at_end(l) && !imap_at(l, ' ')))
		return err_set(e, ERR_INPUT, 0, "invalid command");
	*out = verb;
	return 0;
}

static int flag_system(struct str name, uint32_t *bit_out)
{
	for (unsigned i = 0; i < IMAP_FLAG_MAX_; i++) {
		if (str_case_eq(name, str_c(imap_flag_names[i]))) {
			*bit_out = 1u << i;
			return 0;
		}
	}
	return -1;
}

static int get_flag(struct imap_lex *l, struct imap_flags *f, size_t *cap, struct err *e)
{
	const char *start = l->p;
	const bool system = imap_try(l, '\\');
	struct str name;
	uint32_t bit;

	if (imap_get_atom(l, &name, e) < 0)
		return -1;
	name = str_n(start, (size_t)(l->p - start));
	if (system) {
		if (flag_system(name, &bit) < 0)
			return err_set(e, ERR_INPUT, 0, "unknown system flag");
		f->system |= bit;
		return 0;
	}
	if (name.n > IMAP_KEYWORD_MAX)
		return err_set(e, ERR_LIMIT, 0, "keyword too long");
	if (f->n == IMAP_FLAGS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many keywords");
	return push_str(l->arena, &f->keywords, &f->n, cap, name, e);
}

int imap_get_flags(struct imap_lex *l, bool bare_ok, struct imap_flags *out, struct err *e)
{
	struct imap_flags f = { 0 };
	size_t cap = 0;
	const bool paren = imap_try(l, '(');

	if (!paren && !bare_ok)
		return err_set(e, ERR_INPUT, 0, "expected a flag list");
	if (!paren && imap_at_end(l))
		return err_set(e, ERR_INPUT, 0, "missing flags");
	while (paren ? !imap_try(l, ')') : !imap_at_end(l)) {
		if (get_flag(l, &f, &cap, e) < 0)
			return -1;
		if (!imap_at(l, ')') && !imap_at_end(l) && imap_get_sp(l, e) < 0)
			return -1;
	}
	*out = f;
	return 0;
}

/* --- dates --- */

static int month_parse(struct str s, unsigned *out)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	for (unsigned m = 0; m < 12; m++) {
		if (str_case_eq(s, str_n(names + m * 3, 3))) {
			*out = m + 1;
			return 0;
		}
	}
	return -1;
}

static bool leap(unsigned y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

static unsigned month_days(unsigned y, unsigned m)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return m == 2 && leap(y) ? 29 : days[m - 1];
}

/* Days since 1970-01-01 of a Gregorian date. */
static int64_t days_from(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	const int64_t era = (y >= 0 ? y : y - 399) / 400;
	const int64_t yoe = y - era * 400;
	const int64_t doy = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	const int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

/* Day and month name and year, separated by "-". */
int imap_date_parse(struct str s, int64_t *days_out)
{
	const struct str day = str_split(&s, '-');
	struct str month = s.p ? str_split(&s, '-') : (struct str){ 0 };
	uint64_t d, y;
	unsigned m;

	if (day.n > 2 || num_parse(day, 1, 31, &d) < 0 || month_parse(month, &m) < 0 || s.n != 4 ||
	    num_parse(s, 1, 9999, &y) < 0 || d > month_days((unsigned)y, m))
		return -1;
	*days_out = days_from((int64_t)y, m, (unsigned)d);
	return 0;
}

static int two(const char *p, unsigned max, int64_t *out)
{
	uint64_t n;

	if (num_parse(str_n(p, 2), 0, max, &n) < 0)
		return -1;
	*out = (int64_t)n;
	return 0;
}

/* " 1-Jan-2020 01:02:03 +0100" (26 bytes; a client that leaves the first blank out is understood). */
int imap_date_time_parse(struct str s, int64_t *unix_out)
{
	int64_t days, hh, mm, ss, zh, zm;

	if (s.n == 26 && s.p[0] == ' ')
		s = str_from(s, 1);
	const ptrdiff_t sp = str_chr(s, ' ');

	if (sp < 0 || s.n - (size_t)sp != 15 || imap_date_parse(str_sub(s, 0, (size_t)sp), &days) < 0)
		return -1;
	const char *t = s.p + sp + 1;	/* hh:mm:ss +zzzz */

	if (two(t, 23, &hh) < 0 || t[2] != ':' || two(t + 3, 59, &mm) < 0 || t[5] != ':' || two(t + 6, 60, &ss) < 0 ||
	    t[8] != ' ' || (t[9] != '+' && t[9] != '-') || two(t + 10, 23, &zh) < 0 || two(t + 12, 59, &zm) < 0)
		return -1;
	const int64_t zone = (zh * 60 + zm) * 60;

	*unix_out = ((days * 24 + hh) * 60 + mm) * 60 + ss - (t[9] == '-' ? -zone : zone);
	return 0;
}

int imap_get_date(struct imap_lex *l, int64_t *days_out, struct err *e)
{
	struct str s;

	if (imap_get_astring(l, &s, e) < 0)
		return -1;
	if (imap_date_parse(s, days_out) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid date");
	return 0;
}

int imap_get_date_time(struct imap_lex *l, int64_t *unix_out, struct err *e)
{
	struct str s;

	if (!imap_at(l, '"'))
		return err_set(e, ERR_INPUT, 0, "expected a quoted date and time");
	if (imap_get_string(l, &s, e) < 0)
		return -1;
	if (imap_date_time_parse(s, unix_out) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid date and time");
	return 0;
}
