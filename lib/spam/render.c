/* From HTML to the text a reader sees, and what rules count on the way (html.h): tags, images, URIs, titles, anchors. The white space rules are those that
 * body rules were written for. */
#include <stdio.h>
#include <stdlib.h>

#include "base/enc.h"
#include "spam/html.h"

/* What an element is to us: rows of words with blanks around each, bits of html_tag.is. */
enum list { ELEMENT, TRICK, STYLED, BREAK, CELL, PARAGRAPH, BACKGROUND, LINK, SOURCE, FORM, BASE, META, FONT, IMG, OBJECT, ANCHOR, TITLE };
static const char *const lists[] = {
	[ELEMENT] = " a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn div dl dt em "
		"fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript object ol optgroup option p param pre q "
		"samp script select small span strong style sub sup table tbody td textarea tfoot th thead title tr tt ul var applet basefont center dir font frame "
		"frameset iframe isindex menu noframes s strike u nobr x-sigsep x-tab ",
	[TRICK] = " bgsound embed listing plaintext xmp ",
	[STYLED] = " body font table tr th td big small basefont marquee span p div a ",
	[BREAK] = " br div ",
	[CELL] = " li th td dt dd embed h1 h2 h3 h4 h5 h6 ",
	[PARAGRAPH] = " p hr blockquote pre listing plaintext xmp title ",
	[BACKGROUND] = " body table tr td ",
	[LINK] = " a area link ",
	[SOURCE] = " img frame iframe embed script bgsound ",
	[FORM] = " form ", [BASE] = " base ", [META] = " meta ", [FONT] = " font ", [IMG] = " img ", [OBJECT] = " object embed ", [ANCHOR] = " a ", [TITLE] = " title ",
};

static bool in(const char *list, struct str word)
{
	char key[40];
	if (word.n == 0 || word.n + 3 > sizeof(key) || memchr(word.p, ' ', word.n) != NULL)
		return false;
	const size_t n = strnlen(word.p, word.n);	/* a name ends at a NUL */
	key[0] = ' ';
	memcpy(key + 1, word.p, n);
	memcpy(key + 1 + n, " ", 2);
	return strstr(list, key) != NULL;
}

static unsigned lists_of(struct str tag)
{
	unsigned is = 0;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		is |= in(lists[i], tag) ? 1u << i : 0;
	return is;
}

static bool on(unsigned is, enum list list)
{
	return is >> list & 1;
}

static bool is_open(const struct html_tag *t)
{
	return t != NULL && t->open > 0;
}

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
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (!text_space(text.p[i]))
			p[n++] = text.p[i];
		else if (i == 0 || !text_space(text.p[i - 1]))
			p[n++] = ' ';
	}
	struct str s = str_n(p, n);
	struct chunk *last = last_chunk(h);
	if (last != NULL && !invisible && last->space && s.n > 0 && s.p[0] == ' ')
		s = str_from(s, 1);
	chunk_add(h, s, false, invisible);
}

/* --- URIs --- */

static struct html_uri *uri_entry(struct html *h, struct str uri)
{
	size_t at = (size_t)(uintptr_t)map_get(h->uri_at, uri);
	if (at > 0)
		return &h->uris[at - 1];
	if (h->n_uris >= MSG_URIS_MAX)
		return NULL;
	if (h->n_uris == h->cap_uris) {
		h->cap_uris = h->cap_uris == 0 ? 16 : h->cap_uris * 2;
		struct html_uri *grown = ARENA_ARRAY(h->a, struct html_uri, h->cap_uris);
		if (h->n_uris > 0)
			memcpy(grown, h->uris, h->n_uris * sizeof(*grown));
		h->uris = grown;
	}
	h->uris[h->n_uris++] = (struct html_uri){ .uri = uri };
	map_set(h->uri_at, uri, (void *)(uintptr_t)h->n_uris);
	return &h->uris[h->n_uris - 1];
}

static struct str canon(struct html *h, struct str uri)
{
	uri = sp_trim(uri);
	while (str_starts(uri, STR("\xc2\xa0")))
		uri = sp_trim(str_from(uri, 2));
	while (str_ends(uri, STR("\xc2\xa0")))
		uri = sp_trim(str_sub(uri, 0, uri.n - 2));
	h->uri_cut |= uri.n > MSG_URI_MAX;
	return str_sub(uri, 0, MSG_URI_MAX);
}

static void push_uri(struct html *h, struct str tag, struct str value)
{
	static const char *const whole[] = { "data:", "mailto:", "file:", "cid:", "tel:" };
	struct str uri = canon(h, value);
	bool as_is = false;
	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		as_is |= str_case_starts(uri, str_c(whole[i]));
	if (uri.n == 0)
		return;
	struct str target = as_is ? uri : target_uri(h->a, h->base, uri);
	struct html_uri *u = target.n == 0 ? NULL : uri_entry(h, target);
	if (u != NULL && !strs_has(&u->types, tag))
		strs_add(h->a, &u->types, tag);
}

/* Attribute of that name; in broken HTML also "x/name". */
static bool attr(const struct html_attr *attrs, size_t n, const char *name, bool broken, struct str *out)
{
	struct str want = str_c(name);
	for (size_t i = n; i-- > 0;) {
		struct str at = attrs[i].name;
		bool tail = broken && at.n > want.n + 1 && str_ends(at, want) && at.p[at.n - want.n - 1] == '/';
		if (str_eq(at, want) || tail) {
			*out = attrs[i].value;
			return true;
		}
	}
	return false;
}

static void base_uri(struct html *h, struct str value)
{
	struct str uri = canon(h, value);
	push_uri(h, STR("base"), uri);
	bool http = str_case_starts(uri, STR("http:")) || str_case_starts(uri, STR("https:"));
	if (!http && !str_case_starts(uri, STR("ftp:")))
		return;
	/* Without a file name at the end, with a slash. */
	ptrdiff_t slash = str_rchr(uri, '/');
	struct str file = slash < 0 ? STR("") : str_from(uri, (size_t)slash + 1);
	ptrdiff_t dot = str_rchr(file, '.');
	if (slash > 8 && dot > 0 && file.n - (size_t)dot - 1 >= 2 && file.n - (size_t)dot - 1 <= 4)
		uri.n = (size_t)slash + 1;
	h->base = uri.n > 0 && uri.p[uri.n - 1] == '/' ? uri : str_cat(h->a, uri, STR("/"));
}

/* "5; url=http://…" */
static void refresh_uri(struct html *h, struct str content)
{
	ptrdiff_t at = str_case_find(content, STR("url"));
	if (at < 0)
		return;
	struct str v = sp_trim(str_from(content, (size_t)at + 3));
	if (v.n == 0 || v.p[0] != '=')
		return;
	v = sp_trim(str_from(v, 1));
	ptrdiff_t semi = str_chr(v, ';');
	push_uri(h, STR("meta"), semi < 0 ? v : sp_trim(str_sub(v, 0, (size_t)semi)));
}

static void tag_uris(struct html *h, struct str tag, unsigned is, const struct html_attr *attrs, size_t n)
{
	struct str v, v2;
	if (on(is, BACKGROUND)) {
		if (attr(attrs, n, "background", false, &v))
			push_uri(h, tag, v);
	} else if (on(is, LINK)) {
		if (attr(attrs, n, "href", true, &v))
			push_uri(h, tag, v);
		if (attr(attrs, n, "data-saferedirecturl", false, &v))
			push_uri(h, tag, v);
	} else if (on(is, SOURCE)) {
		if (attr(attrs, n, "src", true, &v))
			push_uri(h, tag, v);
	} else if (on(is, FORM)) {
		if (attr(attrs, n, "action", false, &v))
			push_uri(h, tag, v);
	} else if (on(is, BASE)) {
		if (attr(attrs, n, "href", false, &v) && v.n > 0)
			base_uri(h, v);
	} else if (on(is, META) && attr(attrs, n, "http-equiv", false, &v) && attr(attrs, n, "content", false, &v2) &&
		   str_case_find(v, STR("refresh")) >= 0) {
		refresh_uri(h, v2);
	}
}

/* --- anchors and titles: texts that grow until the next one begins --- */

static void close_text(struct arena *a, struct buf *b, struct strs *list, bool open)
{
	if (open)
		list->v[list->n - 1] = arena_str(a, buf_view(b));
	if (open && b->n == 0)
		list->v[list->n - 1] = STR("");
	buf_reset(b);
}

static void close_anchor(struct html *h)
{
	close_text(h->a, &h->anchor_text, &h->anchors, h->anchors.n > 0);
	struct html_uri *u = h->anchors.n > 0 && h->anchor_known ? uri_entry(h, h->anchor_last) : NULL;
	if (u != NULL && u->texts.n > 0)
		u->texts.v[u->texts.n - 1] = h->anchors.v[h->anchors.n - 1];
}

static void open_anchor(struct html *h, const struct html_attr *attrs, size_t n)
{
	struct str href = STR("");
	close_anchor(h);
	attr(attrs, n, "href", true, &href);
	h->anchor_last = canon(h, href);
	h->anchor_known = true;
	struct html_uri *u = uri_entry(h, h->anchor_last);
	if (u != NULL)
		strs_add(h->a, &u->texts, STR(""));
	strs_add(h->a, &h->anchors, STR(""));
}

static void image(struct html *h, const struct html_attr *attrs, size_t n)
{
	struct str v[2];
	const char *const names[] = { "width", "height" };
	double size[2];
	if (h->anchors.n > 0 && is_open(h->a_tag))
		buf_c(&h->anchor_text, "<img>\n");
	if (!attr(attrs, n, names[0], false, &v[0]) || !attr(attrs, n, names[1], false, &v[1]))
		return;
	for (unsigned i = 0; i < 2; i++) {
		size_t k = 0;
		double px = 0;
		for (; k < v[i].n && ch_digit(v[i].p[k]); k++)
			px = px > 1e8 ? px : px * 10 + (v[i].p[k] - '0');
		bool percent = k + 1 == v[i].n && v[i].p[k] == '%';
		px = k > 0 && (k == v[i].n || percent) ? px * (percent ? (i == 0 ? 8 : 6) : 1) : 0;
		size[i] = px <= 0 ? 200 : px;
	}
	h->image_area += size[0] * size[1];
}

/* Names of fonts: words, blanks, commas, quotes. */
static bool face_ok(struct str v)
{
	v = sp_trim(v);
	if (v.n > 0 && v.p[v.n - 1] == ';')
		v.n--;
	bool first = true;
	while (v.p != NULL) {
		struct str one = str_split(&v, ',');
		while (one.n > 0 && (sp_char(one.p[0]) || strchr("\"'", one.p[0]) != NULL || (first && one.p[0] == '.')))
			one = str_from(one, 1);
		if (one.n > 0 && strchr("\"'", one.p[one.n - 1]) != NULL)
			one.n--;
		if (one.n > 2 && ch_digit(one.p[one.n - 1]))
			one.n--;
		if (one.n < 2 || !ch_alpha(one.p[one.n - 1]) || !ch_alpha(one.p[0]))
			return false;
		for (size_t i = 0; i < one.n; i++)
			if (!ch_alpha(one.p[i]) && one.p[i] != ' ' && one.p[i] != '-')
				return false;
		first = false;
	}
	return true;
}

static void content_charset(struct html *h, struct str content)
{
	ptrdiff_t at = str_case_find(content, STR("charset"));
	struct str v = at < 0 ? STR("") : sp_trim(str_from(content, (size_t)at + 7));
	if (v.n < 2 || v.p[0] != '=')
		return;
	v = sp_trim(str_from(v, 1));
	if (v.n > 0 && (v.p[0] == '"' || v.p[0] == '\''))
		v = str_from(v, 1);
	size_t n = 0;
	while (n < v.n && v.p[n] != '"' && v.p[n] != '\'')
		n++;
	h->charsets = str_c(arena_printf(h->a, "%.*s%s%.*s", STR_ARG(h->charsets), h->charsets.n > 0 ? " " : "", STR_ARG(str_sub(v, 0, n))));
}

static void tag_tests(struct html *h, unsigned is, const struct html_attr *attrs, size_t n)
{
	struct str v, v2;
	if (on(is, FONT) && attr(attrs, n, "face", false, &v) && !face_ok(v))
		h->flags |= HTML_BAD_FACE;
	if (on(is, IMG))
		image(h, attrs, n);
	if (on(is, FORM) && attr(attrs, n, "action", false, &v) && str_case_find(v, STR("mailto:")) >= 0)
		h->flags |= HTML_FORM_MAILTO;
	if (on(is, OBJECT))
		h->flags |= HTML_EMBEDS;
	if (on(is, ANCHOR))
		open_anchor(h, attrs, n);
	if (on(is, TITLE)) {
		close_text(h->a, &h->title_text, &h->titles, h->titles.n > 0);
		strs_add(h->a, &h->titles, STR(""));
	}
	if (on(is, META) && attr(attrs, n, "http-equiv", false, &v) && attr(attrs, n, "content", false, &v2) &&
	    str_case_find(v, STR("content-type")) >= 0)
		content_charset(h, v2);
}

/* --- events --- */

static struct html_tag *tag_entry(struct html *h, struct str name, bool *fresh)
{
	size_t at = (size_t)(uintptr_t)map_get(h->tag_at, name);
	*fresh = at == 0;
	if (at > 0)
		return &h->tag[at - 1];
	if (h->n_tag >= HTML_TAGS_MAX)
		return NULL;
	struct html_tag *t = &h->tag[h->n_tag++];
	*t = (struct html_tag){ name, 0, lists_of(name) };
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
	if (on(is, BREAK))
		put_space(h, "\n");
	else if (on(is, CELL))
		put_space(h, " ");
	else if (on(is, PARAGRAPH))
		put_space(h, "\n\n");
}

static void on_tag(void *ctx, struct str tag, struct html_attr *attrs, size_t n, bool end)
{
	struct html *h = ctx;
	bool fresh;
	struct html_tag *t = tag_entry(h, tag, &fresh);
	const unsigned is = t == NULL ? lists_of(tag) : t->is;
	const bool ns = namespaced(tag), element = on(is, ELEMENT);
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
	if (ns || (!element && !on(is, TRICK)))
		return;
	if (on(is, STYLED) && end)
		html_style_close(h, tag);
	else if (on(is, STYLED))
		html_style_open(h, tag, attrs, n);
	tag_space(h, is);
	if (end)
		return;
	tag_uris(h, tag, is, attrs, n);
	tag_tests(h, is, attrs, n);
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
	if (is_open(h->script_tag)) {
		strs_add(h->a, &h->scripts, text);
		return;
	}
	if (is_open(h->style_tag))
		return;
	if (h->anchors.n > 0 && is_open(h->a_tag))
		buf_str(&h->anchor_text, text);
	if (h->titles.n > 0 && is_open(h->title_tag))
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
		for (; i < text.n && text.p[i] != '&' && text.p[i] != '<' && text.p[i] != '\xe2'; i++)
			out[n++] = text.p[i];
		const struct str s = str_from(text, i);
		if (s.n == 0)
			break;
		size_t name = 1, end;
		if (str_starts(s, STR("&nbsp;"))) {
			out[n++] = ' ';
			i += 6;
			continue;
		}
		if (str_starts(s, STR("\xe2\x80\x9c")) || str_starts(s, STR("\xe2\x80\x9d"))) {
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
		size_t blanks = 0;
		n = str_span7(s);
		for (size_t i = 0; i < n; i++)
			blanks += text_space(s.p[i]);
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
	close_anchor(h);
	close_text(a, &h->title_text, &h->titles, h->titles.n > 0);
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
		n += h->chunks[i].text.n;
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
