/* See canon.h. Nothing is copied but single blanks: pieces of the message go to the sink as they lie. */
#include "authres/canon.h"

/* Next line without its end; *s advances. */
static struct str line_next(struct str *s)
{
	const ptrdiff_t nl = str_chr(*s, '\n');
	struct str line = nl < 0 ? *s : str_sub(*s, 0, (size_t)nl);
	*s = str_from(*s, nl < 0 ? s->n : (size_t)nl + 1);
	if (nl >= 0 && line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static void put(const struct canon_sink *to, struct str s)
{
	if (s.n > 0)
		to->put(to->ctx, s);
}

/* Runs of blanks become one; started: something is before it. */
static void put_collapsed(const struct canon_sink *to, struct str line, bool *started, bool *blank)
{
	while (line.n > 0) {
		size_t n = 0;
		while (n < line.n && ch_blank(line.p[n]))
			n++;
		*blank = *blank || n > 0;
		line = str_from(line, n);
		for (n = 0; n < line.n && !ch_blank(line.p[n]); n++)
			;
		if (n == 0)
			break;
		if (*blank && *started)
			put(to, STR(" "));
		put(to, str_sub(line, 0, n));
		*started = true;
		*blank = false;
		line = str_from(line, n);
	}
}

static void field_relaxed(const struct canon_sink *to, struct str field)
{
	const ptrdiff_t colon = str_chr(field, ':');
	const struct str name = str_trim(str_sub(field, 0, colon < 0 ? field.n : (size_t)colon));
	struct str value = str_from(field, colon < 0 ? field.n : (size_t)colon + 1);
	bool started = false, blank = false;
	for (size_t i = 0; i < name.n; i++) {
		const char c = ch_lower(name.p[i]);
		put(to, str_n(&c, 1));
	}
	put(to, STR(":"));
	while (value.n > 0)
		put_collapsed(to, line_next(&value), &started, &blank);
}

void canon_field(const struct canon_sink *to, struct str field, bool relaxed, bool bare)
{
	if (relaxed) {
		field_relaxed(to, field);
	} else {
		for (bool first = true; field.n > 0; first = false) {
			if (!first)
				put(to, STR("\r\n"));
			put(to, line_next(&field));
		}
	}
	if (!bare)
		put(to, STR("\r\n"));
}

struct limited {
	const struct canon_sink *to;
	uint64_t done, max;
};

static void put_limited(void *ctx, struct str s)
{
	struct limited *l = ctx;
	const uint64_t left = l->done < l->max ? l->max - l->done : 0;
	put(l->to, str_sub(s, 0, left < s.n ? (size_t)left : s.n));
	l->done += s.n;
}

/* A line of the body; true: it is empty in its canonical form. */
static bool line_is_empty(struct str line, bool relaxed)
{
	for (size_t i = 0; i < line.n; i++)
		if (!relaxed || !ch_blank(line.p[i]))
			return false;
	return true;
}

static void body_line(const struct canon_sink *to, struct str line, bool relaxed)
{
	bool started = false, blank = false;
	if (relaxed) {
		if (line.n > 0 && ch_blank(line.p[0]))
			put(to, STR(" "));	/* a run at the start is kept as one */
		put_collapsed(to, line, &started, &blank);
	} else {
		put(to, line);
	}
	put(to, STR("\r\n"));
}

uint64_t canon_body(const struct canon_sink *to, struct str body, bool relaxed, uint64_t max)
{
	struct limited l = { .to = to, .max = max };
	const struct canon_sink out = { put_limited, &l };
	uint64_t empty = 0;
	while (body.n > 0) {
		const struct str line = line_next(&body);
		if (line_is_empty(line, relaxed)) {
			empty++;
			continue;
		}
		for (; empty > 0; empty--)
			put(&out, STR("\r\n"));
		body_line(&out, line, relaxed);
	}
	if (l.done == 0 && !relaxed)
		put(&out, STR("\r\n"));
	return l.done;
}
