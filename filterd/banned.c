/* Forbidden attachments: the rule file, the keys of a part, the stage. Semantics are amavisd-new's banned_filename_re (keys of a part and of all
 * parts around it, the first rule that matches any key decides), with every file name form that some client would use. */
#include "banned.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "map/pcre.h"
#include "os/os.h"
#include "scan.h"

enum { RULES_MAX = 1000, FILE_MAX = 1 << 20, CLASS_HEAD = 4096 };

struct rule {
	bool reject;
	enum banned_key kind;
	struct pcre *pattern;
	unsigned line;
};

struct banned {
	struct rule rules[RULES_MAX];
	size_t n;
};

static int rule_parse(struct str line, unsigned number, struct banned *b, struct err *e)
{
	struct str word, rest = line;
	if (!str_token(&rest, " \t", &word))
		return err_set(e, ERR_CONF, 0, "empty rule");
	struct rule r = { .line = number, .reject = str_eq(word, STR("reject")) };
	if (!r.reject && !str_eq(word, STR("allow")))
		return err_set(e, ERR_CONF, 0, "a rule begins with reject or allow");
	rest = str_trim(rest);
	if (str_starts(rest, STR("type:"))) {
		r.kind = BANNED_TYPE;
		rest = str_from(rest, 5);
	} else if (str_starts(rest, STR("class:"))) {
		r.kind = BANNED_CLASS;
		rest = str_from(rest, 6);
	}
	if (b->n == RULES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d rules", RULES_MAX);
	if (pcre_parse(rest, false, &r.pattern, &rest, e) < 0)
		return -1;
	b->rules[b->n++] = r;
	if (str_trim(rest).n > 0)
		return err_set(e, ERR_CONF, 0, "text after the pattern");
	return 0;
}

int banned_load(const char *file, struct banned **out, struct err *e)
{
	struct buf text;
	buf_init(&text, FILE_MAX);
	if (file_read(file, FILE_MAX, &text, e) < 0) {
		buf_fini(&text);
		return err_wrap(e, "filter_banned_names");
	}
	struct banned *b = xzalloc(sizeof(*b));
	struct str rest = buf_view(&text);
	int r = 0;
	for (unsigned number = 1; rest.p != NULL && r == 0; number++) {
		struct str line = str_trim(str_split(&rest, '\n'));
		if (line.n == 0 || line.p[0] == '#')
			continue;
		r = rule_parse(line, number, b, e);
		if (r < 0)
			err_wrap(e, "%s:%u", file, number);
	}
	buf_fini(&text);
	if (r < 0)
		banned_free(&b);
	else
		*out = b;
	return r;
}

void banned_free(struct banned **b)
{
	if (*b == NULL)
		return;
	for (size_t i = 0; i < (*b)->n; i++)
		pcre_free(&(*b)->rules[i].pattern);
	free(*b);
	*b = NULL;
}

int banned_match(const struct banned *b, const struct banned_keys *keys, unsigned *line_out, struct str *key_out, struct err *e)
{
	for (size_t i = 0; i < b->n; i++) {
		for (size_t k = 0; k < keys->n; k++) {
			if (keys->v[k].kind != b->rules[i].kind)
				continue;
			int r = pcre_match(b->rules[i].pattern, keys->v[k].text, NULL, 0, e);
			if (r < 0)
				return err_wrap(e, "rule of line %u", b->rules[i].line);
			if (r == 0)
				continue;
			*line_out = b->rules[i].line;
			*key_out = keys->v[k].text;
			return b->rules[i].reject;
		}
	}
	return 0;
}

const char *content_class(struct str h)
{
	static const struct {
		size_t at;
		const char *magic;
		size_t n;
		const char *name;
	} known[] = {
		{ 0, "\x7f" "ELF", 4, ".exe-unix" },
		{ 0, "\xcf\xfa\xed\xfe", 4, ".exe-mac" },
		{ 0, "\xce\xfa\xed\xfe", 4, ".exe-mac" },
		{ 0, "\x4c\x00\x00\x00\x01\x14\x02\x00", 8, ".lnk" },
		{ 0, "PK\x03\x04", 4, ".zip" },
		{ 0, "PK\x05\x06", 4, ".zip" },
		{ 0, "Rar!\x1a\x07", 6, ".rar" },
		{ 0, "7z\xbc\xaf\x27\x1c", 6, ".7z" },
		{ 0, "\x60\xea", 2, ".arj" },
		{ 0, "\x1f\x8b", 2, ".gz" },
		{ 0, "BZh", 3, ".bz2" },
		{ 0, "\xfd" "7zXZ", 5, ".xz" },
		{ 257, "ustar", 5, ".tar" },
		{ 0, "\xed\xab\xee\xdb", 4, ".rpm" },
		{ 0, "%PDF-", 5, ".pdf" },
		{ 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, ".doc" },
		{ 0, "\x89PNG", 4, ".png" },
		{ 0, "\xff\xd8\xff", 3, ".jpg" },
		{ 0, "GIF8", 4, ".gif" },
	};
	/* A DOS program: "MZ" alone is two letters of text, so the header's shape must follow. */
	if (h.n >= 64 && h.p[0] == 'M' && h.p[1] == 'Z') {
		const unsigned char *p = (const unsigned char *)h.p;
		uint32_t pe = (uint32_t)p[60] | (uint32_t)p[61] << 8 | (uint32_t)p[62] << 16 | (uint32_t)p[63] << 24;
		bool binary = memchr(h.p, 0, 64) != NULL;
		if (binary || (pe + 4 <= h.n && memcmp(h.p + pe, "PE\0\0", 4) == 0))
			return ".exe-ms";
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (h.n >= known[i].at + known[i].n && memcmp(h.p + known[i].at, known[i].magic, known[i].n) == 0)
			return known[i].name;
	return "";
}

/* --- the stage --- */

static void key_add(struct banned_keys *k, enum banned_key kind, struct str text)
{
	if (text.n == 0 || k->n >= ARRAY_LEN(k->v))
		return;
	k->v[k->n].kind = kind;
	k->v[k->n++].text = text;
}

/* The name as Windows would store it: without control characters, direction overrides and zero-width marks, a stream name cut, final dots and blanks
 * cut. */
static struct str windows_name(struct arena *a, struct str name)
{
	struct buf b;
	buf_init(&b, 65536);
	struct str s = name;
	while (s.n > 0) {
		uint32_t cp = utf8_next(&s);
		bool invisible = cp < 0x20 || cp == 0x7f || cp == 0xad || (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x202a && cp <= 0x202e) ||
				 (cp >= 0x2060 && cp <= 0x2069) || cp == 0xfeff;
		if (cp >= 0xff01 && cp <= 0xff5e)	/* full-width forms */
			cp -= 0xfee0;
		if (cp == 0x2024 || cp == 0x3002)	/* one dot leader, ideographic full stop */
			cp = '.';
		if (!invisible)
			utf8_put(&b, cp);
	}
	struct str v = arena_str(a, buf_view(&b));
	buf_fini(&b);
	ptrdiff_t colon = str_rchr(v, ':');
	if (colon > 1)
		v.n = (size_t)colon;
	while (v.n > 0 && (v.p[v.n - 1] == '.' || v.p[v.n - 1] == ' '))
		v.n--;
	return v;
}

static void part_keys(struct scan *s, const struct mime_part *p, struct banned_keys *k)
{
	struct str names[16];
	size_t n = mime_names(s->a, p, names, ARRAY_LEN(names));
	for (size_t i = 0; i < n; i++) {
		key_add(k, BANNED_NAME, names[i]);
		struct str w = windows_name(s->a, names[i]);
		if (!str_eq(w, names[i]))
			key_add(k, BANNED_NAME, w);
	}
	const char *type = arena_printf(s->a, "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype));
	key_add(k, BANNED_TYPE, str_c(type));
	if (p->children != NULL)
		return;
	struct buf head;
	buf_init(&head, CLASS_HEAD);
	struct mime_part start = *p;
	start.body = str_sub(p->body, 0, CLASS_HEAD);	/* decoded forms are never longer */
	mime_body_decode(&start, &head);
	key_add(k, BANNED_CLASS, str_c(content_class(buf_view(&head))));
	buf_fini(&head);
}

static int check_part(void *ctx, const struct mime_part *p)
{
	struct scan *s = ctx;
	if (p->children != NULL)
		return 0;
	struct arena_mark m = arena_mark(s->a);
	struct banned_keys *keys = ARENA_NEW(s->a, struct banned_keys);
	for (const struct mime_part *q = p; q != NULL; q = q->parent)
		part_keys(s, q, keys);
	unsigned line;
	struct str key;
	struct err e = { 0 };
	int r = banned_match(s->rules->banned, keys, &line, &key, &e);
	if (r == 0) {
		arena_release(s->a, m);
		return 0;
	}
	if (r < 0) {
		scan_explain(s, "banned", "%s", e.text);
		return -1;
	}
	struct buf shown;
	buf_init(&shown, 300);
	text_neutral(&shown, key, 100, true);
	s->verdict.detail = arena_strdup(s->a, shown.p);
	buf_fini(&shown);
	s->verdict.text = arena_printf(s->a, "Attachment \"%s\" is not allowed here (rule in line %u)", s->verdict.detail, line);
	scan_explain(s, "banned", "\"%s\" is forbidden by line %u", s->verdict.detail, line);
	return 1;
}

int stage_banned(struct scan *s, struct err *e)
{
	int r = scan_each_part(s->root, check_part, s);
	if (r < 0)
		return err_set(e, ERR_LIMIT, 0, "a pattern exceeded its limits");
	if (r == 0)
		return 0;
	bool quarantine = strcmp(s->rules->conf->banned_action, "quarantine") == 0;
	s->verdict.action = quarantine ? VERDICT_QUARANTINE : VERDICT_REJECT;
	s->verdict.code = 550;
	s->verdict.enhanced = "5.7.1";
	s->verdict.category = "BANNED";
	return 1;
}
