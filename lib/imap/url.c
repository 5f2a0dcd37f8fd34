/* IMAP URLs. */
#include "imap/url.h"

#include "base/enc.h"
#include "base/num.h"

static int bad(struct err *e)
{
	return err_set(e, ERR_INPUT, 0, "no URL of a message here");
}

/* "%41" and other characters; NUL and what is not UTF-8 are refused. */
static int decode(struct arena *a, struct str in, struct str *out, struct err *e)
{
	struct buf b;
	int r = 0;

	buf_init(&b, in.n + 1);
	for (size_t i = 0; r == 0 && i < in.n; i++) {
		if (in.p[i] != '%') {
			buf_ch(&b, in.p[i]);
			continue;
		}
		const int hi = i + 2 < in.n ? ch_xdigit(in.p[i + 1]) : -1, lo = hi >= 0 ? ch_xdigit(in.p[i + 2]) : -1;

		if (lo < 0 || (hi == 0 && lo == 0))
			r = bad(e);
		else
			buf_ch(&b, (char)(hi << 4 | lo));
		i += 2;
	}
	if (r == 0 && !utf8_valid(buf_view(&b)))
		r = bad(e);
	*out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return r;
}

/* ";NAME=" or "/;NAME=" at the start: over it. */
static bool name_skip(struct str *s, const char *name)
{
	struct str t = *s;

	if (str_starts(t, STR("/")))
		t = str_from(t, 1);
	if (!str_starts(t, STR(";")))
		return false;
	t = str_from(t, 1);
	if (!str_case_starts(t, str_c(name)))
		return false;
	t = str_from(t, strlen(name));
	if (!str_starts(t, STR("=")))
		return false;
	*s = str_from(t, 1);
	return true;
}

static int number(struct str *s, uint64_t min, uint32_t *out, struct err *e)
{
	uint64_t n;

	if (num_take(s, UINT32_MAX, &n) < 0 || n < min)
		return bad(e);
	*out = (uint32_t)n;
	return 0;
}

static int get_section(struct arena *a, struct str *s, struct imap_url *out, struct err *e)
{
	size_t n = 0;
	struct str text;

	while (n < s->n && s->p[n] != ';' && s->p[n] != '/')
		n++;
	if (decode(a, str_sub(*s, 0, n), &text, e) < 0)
		return -1;
	const char *bracketed = arena_printf(a, "%.*s]", STR_ARG(text));

	if (!bracketed || n == 0)
		return bad(e);
	struct imap_lex l = { .p = bracketed, .end = bracketed + text.n + 1, .arena = a };

	if (imap_get_section(&l, &out->section, e) < 0 || !imap_try(&l, ']') || !imap_at_end(&l))
		return bad(e);
	*s = str_from(*s, n);
	return 0;
}

static int get_partial(struct str *s, struct imap_url *out, struct err *e)
{
	out->partial = true;
	if (num_take(s, UINT32_MAX, &out->from) < 0)
		return bad(e);
	if (!str_starts(*s, STR(".")))
		return 0;
	*s = str_from(*s, 1);
	if (num_take(s, UINT32_MAX, &out->count) < 0 || out->count == 0)
		return bad(e);
	return 0;
}

int imap_url_parse(struct arena *a, struct str text, struct imap_url *out, struct err *e)
{
	struct str s = text;
	size_t n = 0;

	*out = (struct imap_url){ 0 };
	if (str_starts(s, STR("//")))		/* of a server */
		return bad(e);
	if (str_starts(s, STR("/")) && !str_starts(s, STR("/;"))) {
		s = str_from(s, 1);
		while (n < s.n && s.p[n] != ';')
			n++;
		/* "box/;UID=": the slash is not the name's. */
		if (n == s.n || decode(a, str_sub(s, 0, n && s.p[n - 1] == '/' ? n - 1 : n), &out->mailbox, e) < 0 || out->mailbox.n == 0)
			return bad(e);
		s = str_from(s, n);
		if (name_skip(&s, "UIDVALIDITY") && number(&s, 1, &out->uidvalidity, e) < 0)
			return -1;
	}
	if (!name_skip(&s, "UID") || number(&s, 1, &out->uid, e) < 0)
		return bad(e);
	if (name_skip(&s, "SECTION") && get_section(a, &s, out, e) < 0)
		return -1;
	if (name_skip(&s, "PARTIAL") && get_partial(&s, out, e) < 0)
		return -1;
	return s.n ? bad(e) : 0;
}
