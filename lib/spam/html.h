/* HTML as rules need it: a tolerant tokenizer (html.c), the text that a reader sees and what rules count on the way (render.c), what tags say (html_tags.c),
 * styles (style.c). Input and output are UTF-8.
 */
#ifndef SPAM_HTML_H
#define SPAM_HTML_H

#include "base/buf.h"
#include "base/map.h"
#include "spam/msg.h"

enum { HTML_STYLES_MAX = 500, HTML_CHUNKS_MAX = 200000, HTML_ATTRS_MAX = 200, HTML_TAGS_MAX = 2000 };

struct html_attr { struct str name, value; };	/* lower case; entities decoded */

/* What the tokenizer tells. */
struct html_events {
	void (*tag)(void *ctx, struct str name, struct html_attr *attrs, size_t n, bool end);
	void (*text)(void *ctx, struct str text);	/* entities decoded */
	void (*comment)(void *ctx, struct str whole);
	void (*declaration)(void *ctx, struct str whole);
	void *ctx;
};
void html_tokenize(struct arena *a, struct str text, const struct html_events *ev);
struct str html_entities(struct arena *a, struct str text, bool prefixes);	/* &amp; …; prefixes: "&ampx" too */

struct html_tag { struct str name; int open; unsigned is; };	/* is: bits of the lists that it is on (html_list) */
struct html_uri { struct str uri; struct strs types, texts; };

struct html_style {
	struct str tag;
	char fg[16], bg[16];
	int size;
	bool hidden_display, hidden_visibility;
};

enum html_list {
	HTML_ELEMENT, HTML_TRICK, HTML_STYLED, HTML_BREAK, HTML_CELL, HTML_PARAGRAPH, HTML_BACKGROUND, HTML_LINK, HTML_SOURCE,
	HTML_FORM, HTML_BASE, HTML_META, HTML_FONT, HTML_IMG, HTML_OBJECT, HTML_ANCHOR, HTML_TITLE,
};
static inline bool html_on(unsigned is, enum html_list list) { return is >> list & 1; }
static inline bool html_is_open(const struct html_tag *t) { return t != NULL && t->open > 0; }

enum html_flag { HTML_LOW_CONTRAST = 1, HTML_BAD_COLOUR = 2, HTML_BAD_FACE = 4, HTML_FORM_MAILTO = 8, HTML_EMBEDS = 16 };

struct html {
	struct arena *a;
	unsigned flags;
	size_t length;			/* characters of the source */
	size_t rendered_length, non_space;
	double ratio;			/* of markup in the source */
	bool has_ratio, wide;		/* wide: the text holds more than one-byte characters */
	size_t tags, elements, tags_seen, elements_seen, closed_extra, obfuscation;
	double image_area;
	int max_size, min_size;
	bool backhair_seen[8][8];
	size_t backhair;
	struct html_tag tag[HTML_TAGS_MAX];
	size_t n_tag;
	struct map *tag_at;		/* name -> index + 1; while rendering */
	size_t tag_last;		/* the same of the last one: <br> follows <br> */
	const struct html_tag *a_tag, *script_tag, *style_tag, *title_tag;	/* asked for with each text; NULL: not seen yet */
	struct strs comments, scripts, titles, anchors;
	struct html_uri *uris;
	size_t n_uris, cap_uris;
	struct map *uri_at;
	bool uri_cut;
	struct str charsets;
	struct str base, anchor_last;
	bool anchor_known;
	struct buf anchor_text, title_text;	/* growing; the last of anchors and titles */
	struct html_style *styles;
	size_t n_styles;
	struct html_colours { char fg[16], bg[16]; bool known, near; } colours;	/* of the last text */
	int basefont;
	struct chunk { struct str text; bool space, invisible; } *chunks;
	size_t n_chunks, cap_chunks;
};

struct html *html_render(struct arena *a, struct str text);
struct str html_text(const struct html *h, bool visible, bool invisible);	/* of the chunks wanted */
int html_tag_open(const struct html *h, struct str name);	/* how many are open; -1: never seen */
/* A number by the name rules use: "length", "ratio", "max_size" …; false: not known for this text. */
bool html_number(const struct html *h, struct str name, double *out);
const struct strs *html_list(const struct html *h, struct str name);	/* "comment" "script" "title" "anchor" */
struct str target_uri(struct arena *a, struct str base, struct str uri);

/* --- html_tags.c --- */
unsigned html_lists(struct str tag);
void html_tag_says(struct html *h, struct str tag, unsigned is, const struct html_attr *attrs, size_t n);	/* of a tag that opens */
void html_texts_close(struct html *h);	/* those of anchors and titles that are open at the end */

/* --- style.c --- */
void html_style_open(struct html *h, struct str tag, struct html_attr *attrs, size_t n);
void html_style_close(struct html *h, struct str tag);
bool html_is_invisible(struct html *h);

#endif
