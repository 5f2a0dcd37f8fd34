/* From HTML to the text a reader sees, and what rules count on the way (html.h): chunks of text with the white space that body rules were written for, words that
 * tags cut, elements, lengths. */
#include <stdio.h>
#include <stdlib.h>

#include "base/enc.h"
#include "spam/html.h"
#include "spam/spans.h"

/* --- chunks of text --- */

static void chunk_add(struct html *h, struct str text, bool whitespace, bool invisible)
{
	if (h->n_chunks >= HTML_CHUNKS_MAX)
		return;
	if (h->n_chunks == h->cap_chunks) {
		h->cap_chunks = h->cap_chunks == 0 ? 256 : h->cap_chunks * 2;
		struct chunk *grown = ARENA_ARRAY(h->a, struct chunk, h->cap_chunks);
		if (h->n_chunks > 0)
			memcpy(grown, h->chunks, h->n_chunks * sizeof(*grown));
		h->chunks = grown;
	}
	h->chunks[h->n_chunks++] = (struct chunk){ text, whitespace, invisible };
}

static struct chunk *last_chunk(struct html *h)
{
	return h->n_chunks == 0 ? NULL : &h->chunks[h->n_chunks - 1];
}

static void put_space(struct html *h, const char *text)
{
	struct chunk *last = last_chunk(h);
	if (last != NULL && !last->space && !last->invisible && last->text.n > 0 && last->text.p[last->text.n - 1] == ' ')
		last->text.n--;
	chunk_add(h, str_c(text), true, false);
}

static bool text_space(char c)
{
	return c == ' ' || (c >= 9 && c <= 13);
}

static void put_text(struct html *h, struct str text, bool invisible)
{
	char *p = arena_alloc(h->a, text.n + 1);
	struct str s = str_n(p, span_blanks(text, p));
	struct chunk *last = last_chunk(h);
	if (last != NULL && !invisible && last->space && s.n > 0 && s.p[0] == ' ')
		s = str_from(s, 1);
	chunk_add(h, s, false, invisible);
}

/* --- events --- */

static struct html_tag *tag_entry(struct html *h, struct str name, bool *fresh)
{
	if (h->tag_last > 0 && str_eq(h->tag[h->tag_last - 1].name, name)) {
		*fresh = false;
		return &h->tag[h->tag_last - 1];
	}
	size_t at = (size_t)(uintptr_t)map_get(h->tag_at, name);
	*fresh = at == 0;
	h->tag_last = at;
	if (at > 0)
		return &h->tag[at - 1];
	if (h->n_tag >= HTML_TAGS_MAX)
		return NULL;
	struct html_tag *t = &h->tag[h->n_tag++];
	*t = (struct html_tag){ name, 0, html_lists(name) };
	map_set(h->tag_at, name, (void *)(uintptr_t)h->n_tag);
	const struct { const char *name; const struct html_tag **tag; } asked[] = {
		{ "a", &h->a_tag }, { "script", &h->script_tag }, { "style", &h->style_tag }, { "title", &h->title_tag },
	};
	for (size_t i = 0; i < ARRAY_LEN(asked); i++)
		if (str_eq(name, str_c(asked[i].name)))
			*asked[i].tag = t;
	return t;
}

/* "o:p", "st1:place": what word processors write. */
static bool namespaced(struct str tag)
{
	if (tag.n == 0 || (tag.p[0] != 'o' && tag.p[0] != 's'))
		return false;
	struct str rest = tag, ns = str_split(&rest, ':');
	bool known = str_eq(ns, STR("o")) || (ns.n == 3 && str_starts(ns, STR("st")) && ch_digit(ns.p[2]));
	if (!known || rest.p == NULL || rest.n == 0)
		return false;
	for (size_t i = 0; i < rest.n; i++)
		if (!ch_alnum(rest.p[i]) && rest.p[i] != '_' && rest.p[i] != '-' && !(rest.p[i] == '/' && i + 1 == rest.n))
			return false;
	return true;
}

static void tag_space(struct html *h, unsigned is)
{
	if (html_on(is, HTML_BREAK))
		put_space(h, "\n");
	else if (html_on(is, HTML_CELL))
		put_space(h, " ");
	else if (html_on(is, HTML_PARAGRAPH))
		put_space(h, "\n\n");
}

static void on_tag(void *ctx, struct str tag, struct html_attr *attrs, size_t n, bool end)
{
	struct html *h = ctx;
	bool fresh;
	struct html_tag *t = tag_entry(h, tag, &fresh);
	const unsigned is = t == NULL ? html_lists(tag) : t->is;
	const bool ns = namespaced(tag), element = html_on(is, HTML_ELEMENT);
	h->elements += element || ns;
	h->elements_seen += (element || ns) && fresh;
	h->tags++;
	h->tags_seen += fresh;
	if (t != NULL) {
		t->open += end ? -1 : 1;
		if (t->open < 0) {
			t->open = 0;
			h->closed_extra++;
		}
	}
	if (ns || (!element && !html_on(is, HTML_TRICK)))
		return;
	if (html_on(is, HTML_STYLED) && end)
		html_style_close(h, tag);
	else if (html_on(is, HTML_STYLED))
		html_style_open(h, tag, attrs, n);
	tag_space(h, is);
	if (end)
		return;
	html_tag_says(h, tag, is, attrs, n);
}

/* Letters, digits and everything beyond ASCII. */
static bool word_byte(char c)
{
	unsigned char u = (unsigned char)c;
	return ch_alnum(c) || u >= 0x80 || (u < 0x20 && !text_space(c)) || u == 0x7f;
}

static size_t chars(struct str s)
{
	if (!str_has_8bit(s))
		return s.n;
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

/* Words that a tag cuts in two. */
static void seam(struct html *h, struct str before, struct str after)
{
	size_t left = 0, right = 0;
	if (before.n == 0 || after.n == 0 || !word_byte(before.p[before.n - 1]) || !word_byte(after.p[0]))
		return;
	h->obfuscation++;
	while (left < before.n && word_byte(before.p[before.n - left - 1]))
		left++;
	while (right < after.n && word_byte(after.p[right]))
		right++;
	bool bound = (left == before.n || before.p[before.n - left - 1] != '_') && (right == after.n || after.p[right] != '_');
	size_t l = chars(str_from(before, before.n - left)), r = chars(str_sub(after, 0, right));
	if (!bound || l > 7 || r > 7 || l == 0 || r == 0 || h->backhair_seen[l][r])
		return;
	h->backhair_seen[l][r] = true;
	h->backhair++;
}

static bool only_space(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_space(s.p[i]))
			return false;
	return true;
}

static void on_text(void *ctx, struct str text)
{
	struct html *h = ctx;
	if (html_is_open(h->script_tag)) {
		strs_add(h->a, &h->scripts, text);
		return;
	}
	if (html_is_open(h->style_tag))
		return;
	if (h->anchors.n > 0 && html_is_open(h->a_tag))
		buf_str(&h->anchor_text, text);
	if (h->titles.n > 0 && html_is_open(h->title_tag))
		buf_str(&h->title_text, text);
	bool invisible = !only_space(text) && html_is_invisible(h);
	if (h->n_chunks > 0)
		seam(h, last_chunk(h)->text, text);
	put_text(h, text, invisible);
}

static void on_comment(void *ctx, struct str whole)
{
	struct html *h = ctx;
	strs_add(h->a, &h->comments, whole);
}

static void on_declaration(void *ctx, struct str whole)
{
	struct html *h = ctx;
	bool fresh;
	if (!str_case_starts(whole, STR("<!doctype")))
		return;
	h->elements++;
	h->tags++;
	struct html_tag *t = tag_entry(h, STR("!doctype"), &fresh);
	if (t != NULL)
		t->open = 0;
}

/* &nbsp; is a blank, <br/> is <br>, typographic quotes are quotes. */
static struct str prepare(struct arena *a, struct str text)
{
	char *out = arena_alloc(a, text.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < text.n;) {
		const size_t plain = span_text(str_from(text, i), out + n);
		const struct str s = str_from(text, i + plain);
		n += plain;
		i += plain;
		if (s.n == 0)
			break;
		size_t name = 1, end;
		if (s.p[0] == '&' && str_starts(s, STR("&nbsp;"))) {
			out[n++] = ' ';
			i += 6;
			continue;
		}
		if (s.p[0] == '\xe2' && (str_starts(s, STR("\xe2\x80\x9c")) || str_starts(s, STR("\xe2\x80\x9d")))) {
			out[n++] = '"';
			i += 3;
			continue;
		}
		out[n++] = s.p[0];
		i++;
		if (s.p[0] != '<')
			continue;
		while (name < s.n && (ch_alnum(s.p[name]) || s.p[name] == '_'))
			name++;
		for (end = name; end < s.n && sp_char(s.p[end]); end++)
			;
		if (name == 1 || end + 1 >= s.n || s.p[end] != '/' || s.p[end + 1] != '>')
			continue;
		memcpy(out + n, s.p + 1, name - 1);
		n += name - 1;
		out[n++] = '>';
		i += end + 1;
	}
	return str_n(out, n);
}

/* Characters, and those that are no blanks. */
static void count_text(struct html *h, struct str s)
{
	for (size_t n; s.n > 0; s = str_from(s, n)) {
		size_t blanks;
		n = span_ascii(s, &blanks);
		h->non_space += n - blanks;
		h->rendered_length += n;
		for (struct str rest = str_from(s, n); rest.n > 0 && (unsigned char)rest.p[0] >= 0x80; n = s.n - rest.n) {
			const uint32_t cp = utf8_next(&rest);
			const bool blank = h->wide && (cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
						       cp == 0x202f || cp == 0x205f || cp == 0x3000);
			h->rendered_length++;
			h->non_space += !blank;
		}
	}
}

static void count_rendered(struct html *h, bool source_wide)
{
	h->wide = source_wide;
	for (size_t i = 0; i < h->n_chunks && !h->wide; i++) {
		struct str s = h->chunks[i].text;
		for (size_t k = str_span7(s); k < s.n; k++)
			h->wide |= (unsigned char)s.p[k] > 0xc3;
	}
	for (size_t i = 0; i < h->n_chunks; i++)
		count_text(h, h->chunks[i].text);
}

struct html *html_render(struct arena *a, struct str text)
{
	struct html *h = ARENA_NEW(a, struct html);
	*h = (struct html){ .a = a, .max_size = 3, .min_size = 3, .basefont = 3, .tag_at = map_new(), .uri_at = map_new(), .base = STR(""), .charsets = STR("") };
	buf_init(&h->anchor_text, 1 << 20);
	buf_init(&h->title_text, 1 << 20);
	h->styles = ARENA_ARRAY(a, struct html_style, HTML_STYLES_MAX + 1);
	h->styles[0] = (struct html_style){ .tag = STR("default"), .fg = "#000000", .bg = "#ffffff", .size = 3 };
	h->n_styles = 1;
	h->length = chars(text);
	bool wide = h->length != text.n;
	const struct html_events ev = { on_tag, on_text, on_comment, on_declaration, h };
	html_tokenize(a, prepare(a, text), &ev);
	html_texts_close(h);
	count_rendered(h, wide);
	buf_fini(&h->anchor_text);
	buf_fini(&h->title_text);
	map_free(&h->uri_at);
	map_free(&h->tag_at);
	return h;
}

struct str html_text(const struct html *h, bool visible, bool invisible)
{
	size_t n = 0;
	for (size_t i = 0; i < h->n_chunks; i++)
		n += (h->chunks[i].invisible ? invisible : visible) ? h->chunks[i].text.n : 0;
	char *p = arena_alloc(h->a, n + 1);
	n = 0;
	for (size_t i = 0; i < h->n_chunks; i++) {
		const struct chunk *c = &h->chunks[i];
		if (c->text.n == 0 || !(c->invisible ? invisible : visible))
			continue;
		memcpy(p + n, c->text.p, c->text.n);
		n += c->text.n;
	}
	return str_n(p, n);
}

int html_tag_open(const struct html *h, struct str name)
{
	if (h->tag_at != NULL) {
		size_t at = (size_t)(uintptr_t)map_get(h->tag_at, name);
		return at == 0 ? -1 : h->tag[at - 1].open;
	}
	for (size_t i = 0; i < h->n_tag; i++)
		if (str_eq(h->tag[i].name, name))
			return h->tag[i].open;
	return -1;
}

bool html_number(const struct html *h, struct str name, double *out)
{
	const double tags = (double)h->tags;
	const struct { const char *name; bool known; double value; } all[] = {
		{ "html", true, 1 },
		{ "length", true, (double)h->length },
		{ "html_length", true, (double)h->rendered_length },
		{ "non_space_len", true, (double)h->non_space },
		{ "ratio", h->has_ratio, h->ratio },
		{ "max_size", true, h->max_size },
		{ "min_size", true, h->min_size },
		{ "image_area", true, h->image_area },
		{ "closed_extra_ratio", h->tags > 0, (double)h->closed_extra / tags },
		{ "backhair_count", h->backhair > 0, (double)h->backhair },
		{ "bad_tag_ratio", h->tags > 0 && h->elements > 0, (tags - (double)h->elements) / tags },
		{ "non_element_ratio", h->tags_seen > 0 && h->elements_seen > 0, (double)(h->tags_seen - h->elements_seen) / (double)h->tags_seen },
		{ "obfuscation_ratio", h->tags > 0 && h->obfuscation > 0, (double)h->obfuscation / tags },
		{ "font_low_contrast", (h->flags & HTML_LOW_CONTRAST) != 0, 1 },
		{ "font_invalid_color", (h->flags & HTML_BAD_COLOUR) != 0, 1 },
		{ "font_face_bad", (h->flags & HTML_BAD_FACE) != 0, 1 },
		{ "form_action_mailto", (h->flags & HTML_FORM_MAILTO) != 0, 1 },
		{ "embeds", (h->flags & HTML_EMBEDS) != 0, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (!str_eq(name, str_c(all[i].name)))
			continue;
		*out = all[i].value;
		return all[i].known;
	}
	return false;
}

const struct strs *html_list(const struct html *h, struct str name)
{
	return str_eq(name, STR("comment")) ? &h->comments : str_eq(name, STR("script")) ? &h->scripts : str_eq(name, STR("title")) ? &h->titles :
	       str_eq(name, STR("anchor")) ? &h->anchors : NULL;
}
