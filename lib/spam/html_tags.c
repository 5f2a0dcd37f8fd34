/* What tags say (html.h): which lists an element is on, URIs in attributes, images, fonts, and the texts of anchors and titles. */
#include <string.h>

#include "spam/html.h"

/* What an element is to us: rows of words with blanks around each, bits of html_tag.is. */
static const char *const lists[] = {
	[HTML_ELEMENT] = " a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn div dl dt em "
		"fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript object ol optgroup option p param pre q "
		"samp script select small span strong style sub sup table tbody td textarea tfoot th thead title tr tt ul var applet basefont center dir font frame "
		"frameset iframe isindex menu noframes s strike u nobr x-sigsep x-tab ",
	[HTML_TRICK] = " bgsound embed listing plaintext xmp ",
	[HTML_STYLED] = " body font table tr th td big small basefont marquee span p div a ",
	[HTML_BREAK] = " br div ",
	[HTML_CELL] = " li th td dt dd embed h1 h2 h3 h4 h5 h6 ",
	[HTML_PARAGRAPH] = " p hr blockquote pre listing plaintext xmp title ",
	[HTML_BACKGROUND] = " body table tr td ",
	[HTML_LINK] = " a area link ",
	[HTML_SOURCE] = " img frame iframe embed script bgsound ",
	[HTML_FORM] = " form ", [HTML_BASE] = " base ", [HTML_META] = " meta ", [HTML_FONT] = " font ", [HTML_IMG] = " img ",
	[HTML_OBJECT] = " object embed ", [HTML_ANCHOR] = " a ", [HTML_TITLE] = " title ",
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

unsigned html_lists(struct str tag)
{
	unsigned is = 0;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		is |= in(lists[i], tag) ? 1u << i : 0;
	return is;
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
	if (html_on(is, HTML_BACKGROUND)) {
		if (attr(attrs, n, "background", false, &v))
			push_uri(h, tag, v);
	} else if (html_on(is, HTML_LINK)) {
		if (attr(attrs, n, "href", true, &v))
			push_uri(h, tag, v);
		if (attr(attrs, n, "data-saferedirecturl", false, &v))
			push_uri(h, tag, v);
	} else if (html_on(is, HTML_SOURCE)) {
		if (attr(attrs, n, "src", true, &v))
			push_uri(h, tag, v);
	} else if (html_on(is, HTML_FORM)) {
		if (attr(attrs, n, "action", false, &v))
			push_uri(h, tag, v);
	} else if (html_on(is, HTML_BASE)) {
		if (attr(attrs, n, "href", false, &v) && v.n > 0)
			base_uri(h, v);
	} else if (html_on(is, HTML_META) && attr(attrs, n, "http-equiv", false, &v) && attr(attrs, n, "content", false, &v2) &&
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
	if (h->anchors.n > 0 && html_is_open(h->a_tag))
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
	if (html_on(is, HTML_FONT) && attr(attrs, n, "face", false, &v) && !face_ok(v))
		h->flags |= HTML_BAD_FACE;
	if (html_on(is, HTML_IMG))
		image(h, attrs, n);
	if (html_on(is, HTML_FORM) && attr(attrs, n, "action", false, &v) && str_case_find(v, STR("mailto:")) >= 0)
		h->flags |= HTML_FORM_MAILTO;
	if (html_on(is, HTML_OBJECT))
		h->flags |= HTML_EMBEDS;
	if (html_on(is, HTML_ANCHOR))
		open_anchor(h, attrs, n);
	if (html_on(is, HTML_TITLE)) {
		close_text(h->a, &h->title_text, &h->titles, h->titles.n > 0);
		strs_add(h->a, &h->titles, STR(""));
	}
	if (html_on(is, HTML_META) && attr(attrs, n, "http-equiv", false, &v) && attr(attrs, n, "content", false, &v2) &&
	    str_case_find(v, STR("content-type")) >= 0)
		content_charset(h, v2);
}

void html_tag_says(struct html *h, struct str tag, unsigned is, const struct html_attr *attrs, size_t n)
{
	tag_uris(h, tag, is, attrs, n);
	tag_tests(h, is, attrs, n);
}

void html_texts_close(struct html *h)
{
	close_anchor(h);
	close_text(h->a, &h->title_text, &h->titles, h->titles.n > 0);
}
