/* Addresses in header fields, as SpamAssassin's rules expect them: display names and addresses of "Name" <a@b>, a@b (comment) and what is broken in
 * between. Not RFC 5322: lib/mail has that. Pure, linear but for a bounded look back inside angle brackets. */
#include "spam/msg.h"

enum { TRIES_MAX = 50 };	/* places where an entry may end */

/* "…" with escapes at the start of s: its length, or 0. */
static size_t quoted(struct str s)
{
	if (s.n == 0 || s.p[0] != '"')
		return 0;
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* (…) with escapes and without inner ones. */
static size_t commented(struct str s)
{
	if (s.n == 0 || s.p[0] != '(')
		return 0;
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == ')')
			return i + 1;
		else if (s.p[i] == '(')
			return 0;
	}
	return 0;
}

/* Quoted strings and anything but ",;< */
static size_t phrase(struct str s)
{
	size_t i = 0;
	while (i < s.n) {
		size_t q = quoted(str_from(s, i));
		if (q > 0) {
			i += q;
			continue;
		}
		if (strchr("\",;<", s.p[i]) != NULL && s.p[i] != '\0')
			break;
		i++;
	}
	return i;
}

static bool local_char(char c)
{
	return !sp_char(c) && c != '\0' ? strchr("@<>()[],:;", c) == NULL : c == '\0';
}

static bool domain_char(char c)
{
	return !sp_char(c) && c != '\0' ? strchr("\"<>()[],:;", c) == NULL : c == '\0';
}

/* local@domain at the start of s: its length, or 0. */
static size_t mailbox(struct str s)
{
	size_t i = quoted(s);
	if (i == 0)
		while (i < s.n && local_char(s.p[i]))
			i++;
	if (i == 0 || i >= s.n || s.p[i] != '@')
		return 0;
	size_t start = ++i;
	if (i < s.n && s.p[i] == '[') {
		i++;
		while (i < s.n && (ch_digit(s.p[i]) || s.p[i] == '.' || s.p[i] == ':'))
			i++;
		return i < s.n && s.p[i] == ']' && i > start + 1 ? i + 1 : 0;
	}
	while (i < s.n && domain_char(s.p[i]))
		i++;
	return i > start ? i : 0;
}

static size_t blanks(struct str s)
{
	size_t i = 0;
	while (i < s.n && sp_char(s.p[i]))
		i++;
	return i;
}

/* What may follow an address: a comment, a separator or the end. The length, or SIZE_MAX. */
static size_t tail(struct str s, struct str *comment)
{
	size_t at = blanks(s), n = commented(str_from(s, at));
	*comment = (struct str){ 0 };
	if (n > 0) {
		*comment = str_sub(s, at + 1, n - 2);
		at += n;
	} else {
		at = 0;
	}
	at += blanks(str_from(s, at));
	if (at == s.n)
		return at;
	return s.p[at] == ',' || s.p[at] == ';' ? at + 1 : SIZE_MAX;
}

/* Further <…> after the first: skipped. */
static size_t more_angles(struct str s)
{
	size_t at = 0;
	for (;;) {
		size_t k = at + blanks(str_from(s, at));
		if (k >= s.n || s.p[k] != '<')
			return at;
		ptrdiff_t close = str_chr(str_from(s, k), '>');
		if (close < 0)
			return at;
		at = k + (size_t)close + 1;
	}
}

/* "<…>" at the start of s. What is inside holds no blank after its '@'; the last '>' that fits counts. */
static size_t angle(struct str s, struct str *inner, struct str *comment)
{
	size_t p = 1 + blanks(str_from(s, 1)), q = p;
	while (q < s.n && s.p[q] != '>' && s.p[q] != '@')
		q++;
	if (q >= s.n)
		return 0;
	size_t run = q;
	while (run < s.n && !sp_char(s.p[run]))
		run++;
	unsigned tries = 0;
	for (size_t end = run + blanks(str_from(s, run)) + 1; end-- > q && tries < TRIES_MAX;) {
		if (end >= s.n || s.p[end] != '>' || (end > run && sp_trim(str_sub(s, run, end - run)).n > 0))
			continue;
		tries++;
		*inner = sp_trim(str_sub(s, p, end - p));
		size_t after = end + 1 + more_angles(str_from(s, end + 1)), n = tail(str_from(s, after), comment);
		if (n != SIZE_MAX)
			return after + n;
		n = tail(str_from(s, end + 1), comment);
		if (n != SIZE_MAX)
			return end + 1 + n;
	}
	return 0;
}

struct raw_addr { struct str phrase, angle, bare, comment; };

/* One entry at the start of s: its length, or 0. */
static size_t entry(struct str s, struct raw_addr *out)
{
	*out = (struct raw_addr){ 0 };
	size_t start = blanks(s), n = phrase(str_from(s, start)), at = start + n;
	at += blanks(str_from(s, at));
	if (at < s.n && s.p[at] == '<') {
		size_t k = angle(str_from(s, at), &out->angle, &out->comment);
		if (k > 0) {
			if (n > 0)
				out->phrase = str_sub(s, start, n);
			return at + k;
		}
	}
	size_t b = mailbox(str_from(s, start));
	if (b > 0) {
		size_t k = tail(str_from(s, start + b), &out->comment);
		if (k != SIZE_MAX) {
			out->bare = str_sub(s, start, b);
			return start + b + k;
		}
	}
	/* A phrase gives back what must be a comment. */
	unsigned tries = 0;
	for (size_t len = n; len > 0 && tries < TRIES_MAX; len--) {
		if (len < n && s.p[start + len] != '(')
			continue;
		tries++;
		size_t k = tail(str_from(s, start + len), &out->comment);
		if (k != SIZE_MAX) {
			out->phrase = str_sub(s, start, len);
			return start + len + k;
		}
	}
	return 0;
}

static bool believable(struct str a)
{
	size_t quotes = 0;
	for (size_t i = 0; i < a.n; i++)
		quotes += a.p[i] == '"';
	return a.n > 0 && !str_starts(a, STR("\"\"@")) && quotes != 1;
}

/* Without (comments) outside of quotes, quotes and their escapes. */
static struct str unquote(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n;) {
		size_t q = quoted(str_from(s, i)), c = commented(str_from(s, i));
		if (q > 0) {
			for (size_t k = i + 1; k + 1 < i + q; k++) {
				if (s.p[k] == '\\' && k + 2 < i + q)
					k++;
				p[n++] = s.p[k];
			}
			i += q;
		} else if (c > 0) {
			i += c;
		} else {
			p[n++] = s.p[i++];
		}
	}
	return str_n(p, n);
}

static struct str without_comments(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n;) {
		size_t c = commented(str_from(s, i));
		if (c > 0)
			i += c;
		else
			p[n++] = s.p[i++];
	}
	return str_n(p, n);
}

/* Cut at a second '@'. */
static struct str one_sign(struct str s)
{
	ptrdiff_t first = str_chr(s, '@');
	ptrdiff_t second = first < 0 ? -1 : str_chr(str_from(s, (size_t)first + 1), '@');
	return second < 0 ? s : str_sub(s, 0, (size_t)(first + 1 + second));
}

static struct hdr_addr finish(struct arena *a, const struct raw_addr *r)
{
	struct hdr_addr out = { r->phrase, r->bare };
	if (r->angle.p != NULL) {
		out.address = without_comments(a, r->angle);
		if (out.address.n == 0 || mailbox(out.address) != out.address.n)
			out.address.p = NULL;
	}
	if (out.address.p != NULL && !believable(out.address))
		out.address.p = NULL;
	if (out.phrase.p != NULL) {
		out.phrase = unquote(a, out.phrase);
		struct str trimmed = out.phrase;
		ptrdiff_t sign = str_rchr(trimmed, '@');
		if (out.address.p == NULL && trimmed.n > 0 && mailbox(trimmed) == trimmed.n && believable(trimmed) &&
		    fqdn_ok(str_from(trimmed, (size_t)sign + 1))) {
			out.address = trimmed;
			out.phrase.p = NULL;
		} else if (out.phrase.n == 0 || (out.address.p != NULL && str_eq(out.phrase, out.address))) {
			out.phrase.p = NULL;
		}
	}
	if (out.phrase.p == NULL)
		out.phrase = r->comment;
	if (out.address.p != NULL)
		out.address = one_sign(out.address);
	return out;
}

/* "Group: a, b;": what stands before the colon goes. */
static struct str skip_group(struct str s)
{
	size_t n = 0;
	while (n < s.n && strchr("\"()<>", s.p[n]) == NULL)
		n++;
	ptrdiff_t colon = str_rchr(str_sub(s, 0, n), ':');
	if (colon <= 0)
		return s;
	s = str_from(s, (size_t)colon + 1);
	s = str_from(s, blanks(s));
	if (s.n > 0 && s.p[0] == ';') {
		ptrdiff_t lf = str_chr(s, '\n');
		s = str_from(s, lf < 0 ? s.n : (size_t)lf);
	}
	return s;
}

/* Double backslashes are nothing. */
static struct str without_slashes(struct arena *a, struct str s)
{
	if (str_find(s, STR("\\\\")) < 0)
		return s;
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n && s.p[i + 1] == '\\')
			i++;
		else
			p[n++] = s.p[i];
	}
	return str_n(p, n);
}

size_t addrs_parse(struct arena *a, struct str text, struct hdr_addr *out, size_t max)
{
	struct str s = skip_group(without_slashes(a, sp_trim(text)));
	size_t n = 0;
	while (s.n > 0 && n < max) {
		struct raw_addr r;
		size_t k = entry(s, &r);
		if (k == 0)
			break;
		out[n++] = finish(a, &r);
		s = str_from(s, k);
	}
	/* What is left holds something that is no list; addresses in angle brackets still show. */
	for (size_t i = 0; i + 1 < s.n && n < max; i++) {
		if (s.p[i] != '<')
			continue;
		size_t k = mailbox(str_from(s, i + 1));
		if (k == 0 || i + 1 + k >= s.n || s.p[i + 1 + k] != '>')
			continue;
		struct str address = str_sub(s, i + 1, k);
		if (believable(address))
			out[n++] = (struct hdr_addr){ .address = one_sign(address) };
		i += k + 1;
	}
	return n;
}
