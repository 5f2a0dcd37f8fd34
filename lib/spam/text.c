/* The texts that body and rawbody rules look at: rendered parts joined, white space squeezed, paragraphs as lines with the subject in front; decoded parts in
 * pieces (SpamAssassin's get_body_text_array and get_decoded_body_text_array). */
#include "spam/html.h"
#include "spam/spans.h"

static bool is_html_name(struct str name)
{
	return fold_ends(name, ".html") || fold_ends(name, ".htm") || fold_ends(name, ".shtml") || fold_ends(name, ".shtm");
}

static struct str effective_type(const struct part *p)
{
	return p->name.n > 0 && is_html_name(p->name) ? STR("text/html") : p->type;
}

static struct str part_utf8(struct msg *m, struct part *p)
{
	struct str bytes = part_decoded(m->a, p);
	if (m->s->num[SPAM_NUM_NORMALIZE] > 0 || !str_has_8bit(bytes))
		return charset_to_utf8(m->a, bytes, p->charset.n > 0 ? p->charset : STR("us-ascii"), false);
	return bytes;
}

void part_render(struct msg *m, struct part *p)
{
	if (p->is_rendered)
		return;
	p->is_rendered = true;
	struct str type = effective_type(p);
	bool html = str_eq(type, STR("text/html"));
	if (!p->leaf || (!html && !str_eq(type, STR("text/plain"))))
		return;
	struct str text = part_utf8(m, p);
	if (!html || text.n == 0) {
		p->rendered = p->visible = text.p == NULL ? STR("") : text;
		p->invisible = STR("");
		return;
	}
	p->html = html_render(m->a, text);
	p->rendered_html = true;
	p->rendered = html_text(p->html, true, true);
	p->invisible = html_text(p->html, false, true);
	p->visible = p->invisible.n == 0 ? p->rendered : html_text(p->html, true, false);
	size_t source = part_decoded(m->a, p).n;
	p->html->ratio = ((double)source - (double)p->html->rendered_length) / (double)source;
	p->html->has_ratio = true;
}

/* --- rendered lines --- */

/* Characters below 256 as bytes: what a text without any other character looks like to rules. */
static void narrow(struct buf *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++) {
		unsigned char c = (unsigned char)b->p[i];
		if ((c == 0xc2 || c == 0xc3) && i + 1 < b->n)
			b->p[n++] = (char)((c & 3) << 6 | ((unsigned char)b->p[++i] & 0x3f));
		else
			b->p[n++] = b->p[i];
	}
	buf_cut(b, n);
}

/* At most max bytes, cut at a line end or a blank nearby. */
static struct str cut_near(struct str s, size_t max, const char *ends)
{
	if (max == 0 || s.n <= max)
		return s;
	for (; *ends != '\0'; ends++) {
		ptrdiff_t at = str_chr(str_sub(s, max, 1025), *ends);
		if (at >= 0)
			return str_sub(s, 0, max + (size_t)at + 1);
	}
	return str_sub(s, 0, max);
}

static void split_lines(struct arena *a, struct str text, struct strs *out)
{
	while (text.n > 0) {
		const char *lf = memchr(text.p, '\n', text.n);
		size_t n = lf == NULL ? text.n : (size_t)(lf - text.p) + 1;
		while (n > MSG_LINE_MAX) {
			ptrdiff_t blank = str_rchr(str_sub(text, 0, MSG_LINE_MAX + 1), ' ');
			size_t k = blank < 0 ? MSG_LINE_MAX : (size_t)blank + 1;
			strs_add(a, out, str_sub(text, 0, k));
			text = str_from(text, k);
			n -= k;
		}
		strs_add(a, out, str_sub(text, 0, n));
		text = str_from(text, n);
	}
}

static void lines_of(struct msg *m, struct strs *out)
{
	struct buf text, lines;
	bool wide = false, html = false;
	buf_init(&text, m->whole.n * 8 + 65536);
	buf_init(&lines, m->whole.n * 8 + 131072);
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts; i++) {
		struct part *p = &m->parts[i];
		if (!p->leaf)
			continue;
		part_render(m, p);
		if (text.n > 0)
			buf_ch(&text, '\n');
		const struct str s = p->rendered;
		if (s.p == NULL)
			continue;
		html |= p->html != NULL;
		wide |= p->html != NULL ? p->html->wide : str_has_8bit(s);
		buf_str(&text, cut_near(s, (size_t)m->s->num[SPAM_NUM_BODY_SIZE], "\n "));
	}
	if (!wide && html && str_has_8bit(buf_view(&text)))
		narrow(&text);
	const struct field *subject = field_last(m->a, &m->fields, "subject");
	buf_str(&lines, subject == NULL ? STR("") : subject->value);
	buf_ch(&lines, '\n');
	char *room = buf_room(&lines, text.n);
	if (room != NULL)
		buf_added(&lines, span_paragraphs(buf_view(&text), wide, room));
	split_lines(m->a, arena_str(m->a, buf_view(&lines)), out);
	buf_fini(&text);
	buf_fini(&lines);
}

/* The subject, the first line, is one by itself: some rules leave it out. */
static void count_same(struct arena *a, struct area *area)
{
	struct map *first = map_new();
	area->times = ARENA_ARRAY(a, unsigned, area->pieces.n + 1);
	for (size_t i = 0; i < area->pieces.n; i++) {
		const size_t at = i == 0 ? 0 : (size_t)(uintptr_t)map_get(first, area->pieces.v[i]);
		if (i > 0 && at == 0)
			map_set(first, area->pieces.v[i], (void *)(uintptr_t)i);
		area->times[at == 0 ? i : at]++;
	}
	map_free(&first);
}

const struct strs *msg_body_lines(struct msg *m)
{
	if (m->body_lines.made)
		return &m->body_lines.pieces;
	m->body_lines.made = true;
	lines_of(m, &m->body_lines.pieces);
	count_same(m->a, &m->body_lines);
	m->htmls = ARENA_ARRAY(m->a, struct html *, m->n_parts + 1);
	for (size_t i = 0; i < m->n_parts; i++)
		if (m->parts[i].html != NULL)
			m->htmls[m->n_htmls++] = m->parts[i].html;
	return &m->body_lines.pieces;
}

/* --- raw pieces --- */

/* Between one and two line maxima each, cut after a line end, a '>' or a blank. */
static void split_pieces(struct arena *a, struct str text, struct strs *out)
{
	while (text.n > 2 * MSG_LINE_MAX) {
		size_t n = MSG_LINE_MAX + 1;
		for (const char *end = "\n> "; *end != '\0'; end++) {
			ptrdiff_t at = str_chr(str_sub(text, MSG_LINE_MAX, MSG_LINE_MAX), *end);
			if (at >= 0) {
				n = MSG_LINE_MAX + (size_t)at + 1;
				break;
			}
		}
		strs_add(a, out, str_sub(text, 0, n));
		text = str_from(text, n);
	}
	strs_add(a, out, text);
}

const struct strs *msg_raw_pieces(struct msg *m)
{
	struct area *area = &m->raw_pieces;
	if (area->made)
		return &area->pieces;
	area->made = true;
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts; i++) {
		struct part *p = &m->parts[i];
		struct str type = effective_type(p);
		bool text = str_starts(type, STR("text")) || str_starts(type, STR("message"));
		if (!p->leaf || !text || str_eq(p->type, STR("text/calendar")))
			continue;
		struct str body = cut_near(part_decoded(m->a, p), (size_t)m->s->num[SPAM_NUM_RAWBODY_SIZE], "\n> ");
		if (body.n <= MSG_LINE_MAX)
			strs_add(m->a, &area->pieces, body);
		else
			split_pieces(m->a, body, &area->pieces);
	}
	return &area->pieces;
}
