/* Text styles of HTML (html.h): a stack of colours, sizes and visibility as tags open and close, only to know which text a reader would not see. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "spam/html.h"

static const struct { const char *name; unsigned rgb; } colours[] = {
#define COLOUR(name, rgb) { name, rgb },
#include "spam/colours.def"
#undef COLOUR
};

static bool named_colour(struct str v, char out[16])
{
	for (size_t i = 0; i < ARRAY_LEN(colours); i++) {
		if (str_eq(v, str_c(colours[i].name))) {
			snprintf(out, 16, "#%06x", colours[i].rgb);
			return true;
		}
	}
	return false;
}

/* Up to three decimal numbers after "rgb(". */
static void rgb_colour(struct str v, char out[16])
{
	unsigned rgb[3] = { 0, 0, 0 }, n = 0;
	bool digit = false, percent = str_chr(v, '%') >= 0;
	for (size_t i = 0; i < v.n && n < 3; i++) {
		if (ch_digit(v.p[i])) {
			rgb[n] = rgb[n] > 1000 ? rgb[n] : rgb[n] * 10 + (unsigned)(v.p[i] - '0');
			digit = true;
		} else if (digit && v.p[i] == ',') {
			n++;
			digit = false;
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		rgb[i] = percent ? rgb[i] * 255 / 100 : rgb[i];
		rgb[i] = rgb[i] > 255 ? 255 : rgb[i];
	}
	snprintf(out, 16, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

/* "#rgb" and what is cut from longer ones. */
static void hex_colour(struct str v, char out[16])
{
	char d[8] = "";
	size_t n = 0;
	for (size_t i = 0; i < v.n && n < 6; i++)
		if (ch_xdigit(v.p[i]) >= 0)
			d[n++] = v.p[i];
	if (n > 3 && n < 6)
		n = 3;
	while (n % 3 != 0)
		d[n++] = '0';
	if (n == 3)
		snprintf(out, 16, "#%c%c%c%c%c%c", d[0], d[0], d[1], d[1], d[2], d[2]);
	else
		snprintf(out, 16, "#%.6s", n == 6 ? d : "");
}

static void colour(struct arena *a, struct str text, char out[16])
{
	struct str v = sp_trim(str_lower_copy(a, text));
	if (named_colour(v, out))
		return;
	if (str_find(v, STR("rgb(")) >= 0)
		rgb_colour(v, out);
	else if (v.n > 0 && v.p[0] == '#')
		hex_colour(v, out);
	else
		snprintf(out, 16, "invalid");
}

static bool in_list(const char *list, struct str word)
{
	struct str rest = str_c(list), w;
	while (str_token(&rest, " ", &w))
		if (str_eq(w, word))
			return true;
	return false;
}

static bool attribute_counts(struct str tag, struct str name)
{
	static const struct { const char *tag, *attrs; } ok[] = {
		{ "basefont", "color face size" }, { "body", "text bgcolor link alink vlink background" }, { "font", "color face size" },
		{ "marquee", "bgcolor background" }, { "table", "bgcolor style" }, { "td", "bgcolor style" }, { "tr", "bgcolor style" },
		{ "span", "style" }, { "p", "style" }, { "div", "style" }, { "a", "style" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ok); i++)
		if (str_eq(tag, str_c(ok[i].tag)))
			return in_list(ok[i].attrs, name);
	return false;
}

/* One "property: value". */
static void css_property(struct html *h, struct html_style *s, struct str property, struct str value)
{
	property = sp_trim(str_lower_copy(h->a, property));
	value = sp_trim(str_lower_copy(h->a, value));
	bool bg = str_eq(property, STR("background-color"));
	if (str_eq(property, STR("display"))) {
		s->hidden_display = str_eq(value, STR("none"));
	} else if (str_eq(property, STR("visibility"))) {
		s->hidden_visibility = str_eq(value, STR("hidden"));
	} else if (bg || str_eq(property, STR("color"))) {
		ptrdiff_t bang = str_chr(value, '!');
		if (bang >= 0 && str_case_ends(value, STR("important")))
			value = sp_trim(str_sub(value, 0, (size_t)bang));
		char *to = bg ? s->bg : s->fg;
		if (str_find(value, STR("rgb")) >= 0)
			rgb_colour(value, to);
		else if (str_eq(value, STR("transparent")))
			snprintf(to, 16, "transparent");
		else if (!str_eq(value, STR("inherit")))
			colour(h->a, value, to);
	} else if (str_eq(property, STR("background"))) {
		struct str w;
		char c[16];
		while (str_token(&value, " ", &w)) {
			colour(h->a, w, c);
			if (strcmp(c, "invalid") != 0) {
				snprintf(s->bg, sizeof(s->bg), "%s", c);
				break;
			}
		}
	}
}

static void css(struct html *h, struct html_style *s, const struct html_style *parent, struct str text)
{
	while (text.p != NULL) {
		struct str value = str_split(&text, ';'), property = str_split(&value, ':');
		if (value.p != NULL && sp_trim(value).n > 0)
			css_property(h, s, property, value);
	}
	if (strcmp(s->bg, "transparent") == 0)
		memcpy(s->bg, parent->bg, sizeof(s->bg));
	if (strcmp(s->fg, "transparent") == 0)
		memcpy(s->fg, s->bg, sizeof(s->fg));
}

static bool font_size(struct str v, int base, int *out)
{
	v = sp_trim(v);
	char sign = v.n > 0 && (v.p[0] == '+' || v.p[0] == '-') ? v.p[0] : '\0';
	int n = 0;
	size_t i = sign != '\0', start = i;
	for (; i < v.n && ch_digit(v.p[i]); i++)
		n = n > 9999 ? n : n * 10 + (v.p[i] - '0');
	if (i == start)
		return false;
	*out = sign == '+' ? base + n : sign == '-' ? base - n : n;
	return true;
}

/* bgcolor does not count: rules were scored without it. */
static void apply(struct html *h, struct html_style *s, const struct html_style *parent, const struct html_attr *at)
{
	if (str_eq(at->name, STR("text")) || str_eq(at->name, STR("color")))
		colour(h->a, at->value, s->fg);
	else if (str_eq(at->name, STR("size")))
		font_size(at->value, h->basefont, &s->size);
	else if (str_eq(at->name, STR("style")))
		css(h, s, parent, at->value);
	if (s->size > h->max_size)
		h->max_size = s->size;
	else if (s->size < h->min_size)
		h->min_size = s->size;
}

static bool is_open(const struct html *h, struct str tag)
{
	for (size_t i = 1; i < h->n_styles; i++)
		if (str_eq(h->styles[i].tag, tag))
			return true;
	return false;
}

/* Cells and rows need no end tags. */
static void close_table(struct html *h, struct str tag)
{
	bool td = str_eq(tag, STR("td"));
	if (!is_open(h, tag))
		return;
	while (h->n_styles > 1) {
		struct str top = h->styles[h->n_styles - 1].tag;
		if (!str_eq(top, STR("font")) && !str_eq(top, STR("td")) && (td || !str_eq(top, STR("tr"))))
			return;
		h->n_styles--;
	}
}

void html_style_open(struct html *h, struct str tag, struct html_attr *attrs, size_t n)
{
	if (str_eq(tag, STR("th")))
		tag = STR("td");
	for (size_t i = 0; str_eq(tag, STR("basefont")) && i < n; i++)
		if (str_eq(attrs[i].name, STR("size")) && font_size(attrs[i].value, 0, &h->basefont))
			return;
	if (str_eq(tag, STR("td")) || str_eq(tag, STR("tr")))
		close_table(h, tag);
	if (h->n_styles >= HTML_STYLES_MAX)
		return;
	const struct html_style *parent = &h->styles[h->n_styles - 1];
	struct html_style *s = &h->styles[h->n_styles];
	*s = *parent;
	s->tag = tag;
	if (str_eq(tag, STR("big")))
		s->size++;
	else if (str_eq(tag, STR("small")))
		s->size--;
	else
		for (size_t i = 0; i < n; i++)
			if (attribute_counts(tag, attrs[i].name))
				apply(h, s, parent, &attrs[i]);
	h->n_styles++;
}

void html_style_close(struct html *h, struct str tag)
{
	if (str_eq(tag, STR("th")))
		tag = STR("td");
	if (str_eq(tag, STR("body")) || !is_open(h, tag))
		return;
	while (h->n_styles > 1)
		if (str_eq(h->styles[--h->n_styles].tag, tag))
			return;
}

static bool rgb_of(const char *c, double out[3])
{
	if (c[0] == '#')
		c++;
	if (strlen(c) != 6)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		int hi = ch_xdigit(c[2 * i]), lo = ch_xdigit(c[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = hi * 16 + lo;
	}
	return true;
}

/* Too near to be told apart: by brightness. */
static bool near(const char *fg, const char *bg)
{
	double a[3], b[3];
	if (strcmp(fg, bg) == 0)
		return true;
	if (!rgb_of(fg, a) || !rgb_of(bg, b))
		return false;
	double r = 0.2126 * (a[0] - b[0]), g = 0.7152 * (a[1] - b[1]), bl = 0.0722 * (a[2] - b[2]);
	return sqrt(r * r + g * g + bl * bl) < 12;
}

bool html_is_invisible(struct html *h)
{
	const struct html_style *s = &h->styles[h->n_styles - 1];
	struct html_colours *c = &h->colours;
	if (!c->known || strcmp(s->fg, c->fg) != 0 || strcmp(s->bg, c->bg) != 0) {
		memcpy(c->fg, s->fg, sizeof(c->fg));
		memcpy(c->bg, s->bg, sizeof(c->bg));
		c->known = true;
		c->near = near(s->fg, s->bg);
	}
	if (c->near) {
		h->flags |= HTML_LOW_CONTRAST;
		return true;
	}
	if (strcmp(s->fg, "invalid") == 0 || strcmp(s->bg, "invalid") == 0) {
		h->flags |= HTML_BAD_COLOUR;
		return true;
	}
	return s->size <= 1 || s->hidden_display || s->hidden_visibility;
}
