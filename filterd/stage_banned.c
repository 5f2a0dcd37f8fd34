/* Forbidden attachments, the stage: the keys of each part and of what is packed in it, with every file name form that some client would use, against the rules
 * of the site and those that sections of recipients have. What cannot be looked into is class UNCHECKED, what is packed deeper or larger than the limits of
 * archive.h is OVERLIMIT. */
#include "archive.h"
#include "banned.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "ipc/filter.h"
#include "outcome.h"
#include "scan.h"

enum { SHOWN_MAX = 100, VIEWS_MAX = FILTER_LISTS_MAX + FILTER_LISTS_COPIES };

/* The first rule that a thing, or one that it is inside of, meets, and the key that did. */
struct met {
	unsigned rule;
	struct str key;
};

/* Recipients for whom the same rules hold. */
struct view {
	const struct banned *own;
	struct banned_lists lists;
	bool done;		/* something forbidden was found */
};

struct judge {
	struct scan *s;
	struct view *views;
	size_t n, left;		/* left: that are not done */
	struct banned_keys keys;
	struct archive_walk walk;
	struct met *met;	/* of the part that is looked into, one for each view, as everywhere */
	struct str part;	/* a name of it */
	bool enough;		/* nobody needs more to be found */
	struct err *e;
};

static void key_add(struct banned_keys *k, enum banned_key kind, struct str text)
{
	if (text.n == 0 || k->n == BANNED_KEYS_MAX)	/* 16 names in two forms each, a type, a class: it always fits */
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

static void name_keys(struct judge *j, struct str name)
{
	key_add(&j->keys, BANNED_NAME, name);
	struct str w = windows_name(j->s->a, name);
	if (!str_eq(w, name))
		key_add(&j->keys, BANNED_NAME, w);
}

/* Returns a name of it, or n = 0. */
static struct str part_keys(struct judge *j, const struct mime_part *p)
{
	struct scan *s = j->s;
	struct str names[16];
	size_t n = mime_names(s->a, p, names, ARRAY_LEN(names));
	for (size_t i = 0; i < n; i++)
		name_keys(j, names[i]);
	key_add(&j->keys, BANNED_TYPE, str_c(arena_printf(s->a, "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype))));
	return n > 0 ? names[0] : STR("");
}

static const char *shown(struct scan *s, struct str text)
{
	struct buf b;
	buf_init(&b, SHOWN_MAX + 8);
	text_neutral(&b, text, SHOWN_MAX, true);
	const char *v = arena_cstr(s->a, buf_view(&b));
	buf_fini(&b);
	return v;
}

/* The keys against the rules before the one that was met outside. NULL: trouble. */
static struct met *meet(struct judge *j, const struct met *outside)
{
	struct met *out = ARENA_ARRAY(j->s->a, struct met, j->n);
	for (size_t i = 0; i < j->n; i++) {
		unsigned rule = BANNED_NONE;
		size_t key = 0;
		if (!j->views[i].done && banned_first(&j->views[i].lists, &j->keys, outside[i].rule, &rule, &key, j->e) < 0)
			return NULL;
		out[i] = rule == BANNED_NONE ? outside[i] : (struct met){ rule, arena_str(j->s->a, j->keys.v[key].text) };
	}
	return out;
}

static bool is_of(const struct group *g, const struct banned *own)
{
	return g->policy->banned == own && !g->policy->off[STAGE_banned];
}

static void tell(struct judge *j, struct view *v, struct finding f)
{
	for (size_t i = 0; i < j->s->n_groups; i++) {
		struct group *g = &j->s->groups[i];
		if (is_of(g, v->own))
			j->enough = scan_found_banned(j->s, g, f) != 0;
	}
	v->done = true;
	j->left--;
}

/* 1: it is forbidden for all for whom nothing was so far, look no further. inside: it is packed in j->part. */
static int judge(struct judge *j, const struct met *met, bool inside)
{
	struct scan *s = j->s;
	for (size_t i = 0; i < j->n; i++) {
		unsigned line;
		bool own;
		if (j->views[i].done || !banned_rejects(&j->views[i].lists, met[i].rule, &line, &own))
			continue;
		const char *name = shown(s, met[i].key), *rule = arena_printf(s->a, own ? "line %u of recipients' policies" : "line %u", line);
		const char *in = inside && j->part.n > 0 && !str_eq(j->part, met[i].key) ? arena_printf(s->a, " inside \"%s\"", shown(s, j->part)) : "";
		scan_explain(s, "banned", "\"%s\"%s is forbidden by %s", name, in, rule);
		tell(j, &j->views[i], (struct finding){ name, arena_printf(s->a, "Attachment \"%s\"%s is not allowed here (rule in %s)", name, in, rule) });
	}
	return j->left == 0;
}

/* A packed file. What it is inside of was asked about before it. */
static int on_member(void *ctx, struct archive_member *m)
{
	struct judge *j = ctx;
	const struct met *outside = m->mark;	/* a further name of the same file, else what it is in */
	if (outside == NULL)
		outside = m->parent == NULL ? j->met : m->parent->mark;
	j->keys.n = 0;
	name_keys(j, m->name);
	key_add(&j->keys, BANNED_CLASS, str_c(m->class));
	m->mark = meet(j, outside);
	return m->mark == NULL ? -1 : judge(j, m->mark, true);
}

static int check_leaf(struct judge *j, const struct mime_part *p, const struct met *outside, struct str names_of)
{
	struct buf body;
	buf_init(&body, p->body.n + 1);
	mime_body_decode(p, &body);
	const struct content is = content_of(str_sub(buf_view(&body), 0, CONTENT_HEAD));
	key_add(&j->keys, BANNED_CLASS, str_c(is.name));
	j->met = meet(j, outside);
	int r = j->met == NULL ? -1 : 0;
	if (r == 0) {
		j->part = names_of;
		r = judge(j, j->met, false);
	}
	if (r == 0)
		r = archive_walk_body(&j->walk, buf_view(&body), is, j->part, mime_type_is(p, "text", "*"));
	buf_fini(&body);
	return r;
}

/* Parts and those inside them; a leaf decides, with the least rule of all around it. */
static int check_parts(struct judge *j, const struct mime_part *p, const struct met *outside, struct str around)
{
	int r = 0;
	for (; p != NULL && r == 0; p = p->next) {
		const size_t left = j->left;
		struct arena_mark m = arena_mark(j->s->a);
		const struct met *met;
		j->keys.n = 0;
		const struct str name = part_keys(j, p), called = name.n > 0 ? name : around;
		if (p->children == NULL)
			r = check_leaf(j, p, outside, called);
		else if ((met = meet(j, outside)) == NULL)
			r = -1;
		else
			r = check_parts(j, p->children, met, called);
		if (r == 0 && j->left == left)	/* else what was found lies there */
			arena_release(j->s->a, m);
	}
	return r;
}

/* What was not seen. */
static void report_unseen(struct judge *j)
{
	static const struct {
		unsigned bit;
		enum class class;
		const char *detail, *text;
	} rows[] = {
		{ ARCHIVE_OVER, CLASS_OVERLIMIT, "over limits", "An attachment is too deeply packed, or too large unpacked, to be checked" },
		{ ARCHIVE_ENCRYPTED, CLASS_UNCHECKED, "encrypted", "An attachment is encrypted and cannot be checked" },
		{ ARCHIVE_DAMAGED, CLASS_UNCHECKED, "damaged", "An attachment is a damaged archive and cannot be checked" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(j->walk.found & rows[i].bit))
			continue;
		scan_explain(j->s, "banned", "not all could be looked into: %s", rows[i].detail);
		j->enough |= scan_found(j->s, rows[i].class, rows[i].detail, rows[i].text) != 0;
	}
}

/* The recipients of groups that have these rules of their own. */
static struct banned_who who(const struct scan *s, const struct banned *own)
{
	const char *d = s->rules->conf->recipient_delimiter;
	struct banned_who w = { .delimiters = d == NULL ? "" : d };
	if (s->facts == NULL)
		return w;
	w.sender = s->facts->sender;
	w.own = s->facts->own != 0;
	struct str *v = ARENA_ARRAY(s->a, struct str, s->facts->recipients.n + 1);
	for (size_t k = 0; k < s->n_groups; k++) {
		const struct group *g = &s->groups[k];
		if (!is_of(g, own))
			continue;
		for (size_t i = 0; i < s->facts->recipients.n; i++)
			if (g->whose == NULL || (g->whose[i / 8] >> i % 8 & 1))
				v[w.n_recipients++] = s->facts->recipients.v[i];
	}
	w.recipients = v;
	return w;
}

/* Whose rules the groups go by, each once (NULL: the site's alone); no more than max of them. */
static size_t lists_of(const struct scan *s, const struct banned **v, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_groups && n < max; i++) {
		const struct policy *p = s->groups[i].policy;
		size_t k = p->off[STAGE_banned] ? 0 : n;
		while (k > 0 && v[k - 1] != p->banned)
			k--;
		if (!p->off[STAGE_banned] && k == 0)
			v[n++] = p->banned;
	}
	return n;
}

size_t stage_banned_lists(const struct scan *s)
{
	const struct banned *v[VIEWS_MAX + 1];
	return lists_of(s, v, ARRAY_LEN(v));
}

static int views_make(struct judge *j)
{
	struct scan *s = j->s;
	const struct banned *v[VIEWS_MAX + 1];
	const size_t n = lists_of(s, v, ARRAY_LEN(v));
	if (n > VIEWS_MAX)
		return err_set(j->e, ERR_LIMIT, 0, "recipients have more than %d different lists of attachments", VIEWS_MAX);
	j->views = ARENA_ARRAY(s->a, struct view, n);
	for (; j->n < n; j->n++) {
		const struct banned_who w = who(s, v[j->n]);
		j->views[j->n].own = v[j->n];
		banned_lists_for(v[j->n], s->rules->banned, &w, &j->views[j->n].lists);
	}
	j->left = n;
	return 0;
}

int stage_banned(struct scan *s, struct err *e)
{
	struct judge *j = ARENA_NEW(s->a, struct judge);
	j->s = s;
	j->e = e;
	if (views_make(j) < 0)
		return -1;
	struct met *none = ARENA_ARRAY(s->a, struct met, j->n);
	for (size_t i = 0; i < j->n; i++)
		none[i].rule = BANNED_NONE;
	archive_walk_init(&j->walk, s->a, s->message.n, on_member, j);
	if (check_parts(j, s->root, none, STR("")) < 0)
		return -1;
	report_unseen(j);
	return j->enough;
}
