/* Eval functions over the text: alternatives that differ, blank lines, lengths (SpamAssassin's BodyEval). */
#include <stdlib.h>

#include "base/ids.h"
#include "base/num.h"
#include "base/vec.h"
#include "spam/eval.h"
#include "spam/patterns.h"

/* --- alternatives that do not say the same --- */

/* How often each word is in the HTML and in the text, by the number of its hash; how many different ones there are. */
struct words { struct ids ids; struct arena *a; struct word { size_t html, text; } *v; size_t cap, html, text; };

/* A short word is its own number. */
static struct word *word_of(struct words *w, struct str text, uint64_t bytes)
{
	const uint32_t n = ids_number(&w->ids, text.n < sizeof(bytes) ? (uint64_t)text.n << 56 | bytes : str_hash(text));
	if (n >= w->cap) {
		struct word *grown = ARENA_ARRAY(w->a, struct word, (size_t)n * 2 + 500);
		if (w->cap > 0)
			memcpy(grown, w->v, w->cap * sizeof(*grown));
		w->v = grown;
		w->cap = (size_t)n * 2 + 500;
	}
	return &w->v[n];
}

enum { SPACE = 1, LETTER = 2 };
static const unsigned char kinds[256] = {	/* the same by vectors in short_word() */
	[' '] = SPACE, [9 ... 13] = SPACE, ['0' ... '9'] = LETTER, ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, ['_'] = LETTER, [0xc3 ... 255] = LETTER,
};

/* The length of the word that text begins with, what kinds of bytes it has, and, when it is shorter than these, its bytes. */
static size_t any_word(struct str text, unsigned *seen, uint64_t *bytes)
{
	size_t n = 0;
	for (unsigned char c; n < text.n && kinds[c = (unsigned char)text.p[n]] != SPACE; n++) {
		*seen |= kinds[c];
		*bytes = *bytes | (uint64_t)c << n % sizeof(*bytes) * 8;
	}
	return n;
}

/* The same of a word that ends within a vector; VEC: it does not. */
static size_t short_word(struct str text, unsigned *seen, uint64_t *bytes)
{
	const vec v = vec_at(text.p), low = v | 32;
	const size_t n = vec_first(vec_space(v));
	const vec letters = (vec)(low - 'a' < 26) | (vec)(v - '0' < 10) | (vec)(v == '_') | (vec)(v >= 0xc3);
	*seen = (vec_bits(letters) & ((1u << n) - 1)) != 0 ? LETTER : 0;
	*bytes = n >= sizeof(*bytes) ? 0 : get_le64(text.p) & ((1ull << n * 8) - 1);
	return n;
}

/* Words with a letter. */
static void count_words(struct words *words, struct str text, bool html)
{
	while (text.n > 0) {
		uint64_t bytes = 0;
		unsigned seen = 0;
		size_t n = text.n < VEC ? VEC : short_word(text, &seen, &bytes);
		if (n == VEC)
			n = any_word(text, &seen, &bytes);
		if (seen & LETTER) {
			struct word *w = word_of(words, str_sub(text, 0, n), bytes);
			size_t *times = html ? &w->html : &w->text, *different = html ? &words->html : &words->text;
			*different += (*times)++ == 0;
		}
		text = str_from(text, n + 1);
	}
}

static bool below(const struct part *p, const struct part *top)
{
	for (; p != NULL; p = p->parent)
		if (p == top)
			return true;
	return false;
}

static void compare_part(struct msg *m, struct msg_evals *e, size_t top)
{
	struct words w = { .a = m->a };
	size_t images = 0, same = 0;
	ids_init(&w.ids, 2000);
	for (size_t i = top; i < m->n_parts; i++) {
		struct part *p = &m->parts[i];
		if (!p->leaf || !below(p, &m->parts[top]) || !str_starts(p->type, STR("text")))
			continue;
		part_render(m, p);
		if (p->rendered.p == NULL)
			continue;
		count_words(&w, p->rendered, p->rendered_html);
		if (p->rendered_html && w.html == 0 && p->html != NULL && html_tag_open(p->html, STR("img")) >= 0)
			images = 1;	/* counts as a word that is in no text */
	}
	for (size_t i = 0; i < w.cap; i++)
		same += w.v[i].html > 0 && w.v[i].html <= w.v[i].text;
	const size_t all = w.html + images;
	if (all > 0) {
		e->ma.html = all;
		e->ma.text = w.text;
		double diff = (double)(all - same) / (double)all * 100;
		e->ma.diff = diff > e->ma.diff ? diff : e->ma.diff;
	}
	ids_fini(&w.ids);
}

static const struct msg_evals *alternatives(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->ma_made)
		return e;
	e->ma_made = true;
	msg_parts(m);
	/* An invitation is not compared. */
	if (m->n_parts == 3 && str_eq(m->parts[0].type, STR("multipart/alternative")) && str_eq(m->parts[1].type, STR("text/html")) &&
	    str_eq(m->parts[2].type, STR("text/calendar")))
		return e;
	for (size_t i = 0; i < m->n_parts; i++)
		if (str_eq(m->parts[i].type, STR("multipart/alternative")))
			compare_part(m, e, i);
	return e;
}

int eval_ma_difference(struct msg *m, const struct rule *r)
{
	double v = alternatives(m)->ma.diff, min = arg_number(r, 0, 0);
	return (min <= 0 || v > min) && v <= arg_number(r, 1, 1e300);
}

int eval_ma_count(struct msg *m, const struct rule *r)
{
	const struct msg_evals *e = alternatives(m);
	if ((double)e->ma.html <= arg_number(r, 1, 0))
		return 0;
	return (double)e->ma.text / (double)e->ma.html > arg_number(r, 0, 1e300);
}

/* --- lines --- */

int eval_blank_lines(struct msg *m, const struct rule *r)
{
	const struct strs *pieces = msg_raw_pieces(m);
	size_t blank = 0, lines = 0;
	for (size_t i = 0; i < pieces->n; i++) {
		for (struct str rest = pieces->v[i]; rest.n > 0;) {
			struct str line = str_split(&rest, '\n');
			lines++;
			blank += sp_trim(line).n == 0;
			if (rest.p == NULL)
				break;
		}
	}
	double least = arg_number(r, 2, 1), share = (double)lines < least || lines == 0 ? -1 : 100 * (double)blank / (double)lines;
	double min = arg_number(r, 0, 0);
	return share <= arg_number(r, 1, 1e300) && (min <= 0 || share > min);
}

int eval_vertical_words(struct msg *m, const struct rule *r)
{
	struct msg_evals *e = evals(m);
	if (!e->vertical_made) {
		e->vertical_made = true;
		e->vertical = -1;
		const struct strs *lines = msg_body_lines(m);
		for (size_t i = 0; i < lines->n; i++) {
			const struct str l = area_times(&m->body_lines, i) == 0 ? STR("") : lines->v[i];
			size_t spaces = 0;
			for (size_t k = 0; k < l.n; k++)
				spaces += l.p[k] == ' ';
			size_t other = l.n - spaces;
			int share = spaces > other || other == 0 ? 100 : (int)(100 * spaces / other);
			if (l.n > 5 && share > e->vertical)
				e->vertical = share;
		}
	}
	double max = arg_number(r, 1, 101);
	return e->vertical >= arg_number(r, 0, 0) && e->vertical < (max >= 100 ? 101 : max);
}

int eval_stock_info(struct msg *m, const struct rule *r)
{
	struct map *hits = map_new();
	msg_parts(m);
	struct part *p = NULL;
	for (size_t i = 0; i < m->n_parts && p == NULL; i++)
		if (str_eq(m->parts[i].type, STR("text/plain")))
			p = &m->parts[i];
	if (p != NULL)
		part_render(m, p);
	for (struct str rest = p == NULL || p->rendered.p == NULL ? STR("") : p->rendered; rest.n > 0;) {
		struct str line = str_split(&rest, '\n'), g[2], low;
		char word[64];
		size_t n = 0;
		if (!pat_groups(PAT_STOCK_LINE, line, g, 2))
			continue;
		low = str_lower_copy(m->a, g[1]);
		for (size_t i = 0; i < low.n && n + 1 < sizeof(word); i++)
			if (ch_lower_p(low.p[i]))
				word[n++] = low.p[i];
		if (pat_groups(PAT_STOCK_WORD, str_n(word, n), g, 2))
			map_set(hits, g[1], (void *)1);
	}
	double n = (double)map_count(hits), min = arg_number(r, 0, 0);
	map_free(&hits);
	return min <= 0 || n >= min;
}

int eval_body_length(struct msg *m, const struct rule *r)
{
	return (double)m->body_length <= arg_number(r, 0, 0);
}

/* --- body and signature --- */

static const struct msg_evals *plain(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->plain_made)
		return e;
	e->plain_made = true;
	msg_parts(m);
	struct part *p = NULL;
	for (size_t i = 0; i < m->n_parts && p == NULL; i++)
		if (str_eq(m->parts[i].type, STR("text/plain")))
			p = &m->parts[i];
	if (p == NULL)
		return e;
	struct str text = part_decoded(m->a, p);
	size_t body = text.n, sig = 0;
	for (size_t at = 0; at < text.n;) {
		const char *lf = memchr(text.p + at, '\n', text.n - at);
		size_t end = lf == NULL ? text.n : (size_t)(lf - text.p);
		struct str line = str_sub(text, at, end - at);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if ((str_eq(line, STR("--")) || str_eq(line, STR("-- "))) && text.n - end > 4) {
			body = at;
			sig = text.n - end;
		}
		at = end + 1;
	}
	e->plain.known = true;
	e->plain.body = (double)body;
	e->plain.sig = (double)sig;
	e->plain.ratio = sig > 0 ? (double)body / (double)sig : 1e6;
	return e;
}

static int in_range(const struct rule *r, bool known, double v, double max)
{
	return known && v >= arg_number(r, 0, 0) && v <= arg_number(r, 1, max);
}

int eval_plain_length(struct msg *m, const struct rule *r)
{
	const struct msg_evals *e = plain(m);
	return in_range(r, e->plain.known, e->plain.body, 1e300);
}

int eval_plain_sig(struct msg *m, const struct rule *r)
{
	const struct msg_evals *e = plain(m);
	return in_range(r, e->plain.known, e->plain.sig, 1e300);
}

int eval_plain_ratio(struct msg *m, const struct rule *r)
{
	const struct msg_evals *e = plain(m);
	return in_range(r, e->plain.known, e->plain.ratio, 1e6);
}
