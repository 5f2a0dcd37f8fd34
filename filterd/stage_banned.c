/* Forbidden attachments, the stage: the keys of each part and of what is packed in it, with every file name form that some client would use. What cannot
 * be looked into is class UNCHECKED, what is packed deeper or larger than the limits of archive.h is OVERLIMIT. */
#include "archive.h"
#include "banned.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "ipc/filter.h"
#include "scan.h"

enum { SHOWN_MAX = 100 };

/* The first rule that a thing, or one that it is inside of, meets, and the key that did. */
struct met {
	unsigned rule;
	struct str key;
};

struct judge {
	struct scan *s;
	struct banned_scopes scopes;
	struct banned_keys keys;
	struct archive_walk walk;
	struct met met;		/* of the part that is looked into */
	struct str part;	/* a name of it */
	bool enough;		/* a class that refuses was found */
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

/* The keys against the rules before the one that was met outside. */
static int meet(struct judge *j, struct met outside, struct met *out)
{
	unsigned rule;
	size_t key = 0;
	if (banned_first(j->s->rules->banned, &j->scopes, &j->keys, outside.rule, &rule, &key, j->e) < 0)
		return -1;
	*out = rule == BANNED_NONE ? outside : (struct met){ rule, arena_str(j->s->a, j->keys.v[key].text) };
	return 0;
}

/* 1: it is forbidden, look no further. inside: it is packed in j->part. */
static int judge(struct judge *j, struct met met, bool inside)
{
	struct scan *s = j->s;
	unsigned line;
	if (!banned_rejects(s->rules->banned, met.rule, &line))
		return 0;
	const char *name = shown(s, met.key);
	const char *in = inside && j->part.n > 0 && !str_eq(j->part, met.key) ? arena_printf(s->a, " inside \"%s\"", shown(s, j->part)) : "";
	scan_explain(s, "banned", "\"%s\"%s is forbidden by line %u", name, in, line);
	j->enough = scan_found(s, CLASS_BANNED, name, arena_printf(s->a, "Attachment \"%s\"%s is not allowed here (rule in line %u)", name, in, line)) != 0;
	return 1;
}

/* A packed file. What it is inside of was asked about before it. */
static int on_member(void *ctx, struct archive_member *m)
{
	struct judge *j = ctx;
	struct met met;
	const struct archive_member *from = m->rank > 0 ? m : m->parent;	/* a further name of the same file, else what it is in */
	const struct met outside = from == NULL ? j->met : (struct met){ from->rank - 1, from->why };
	j->keys.n = 0;
	name_keys(j, m->name);
	key_add(&j->keys, BANNED_CLASS, str_c(m->class));
	if (meet(j, outside, &met) < 0)
		return -1;
	m->rank = met.rule + 1;
	m->why = met.key;
	return judge(j, met, true);
}

static int look_inside(struct judge *j, const struct mime_part *p, struct str body, struct content is)
{
	int r = archive_walk(&j->walk, body, is, j->part);
	if (r == 0 && is.kind == CONTENT_OTHER && mime_type_is(p, "text", "*"))
		r = archive_walk_uu(&j->walk, body);
	return r;
}

static int check_leaf(struct judge *j, const struct mime_part *p, struct met outside, struct str names_of)
{
	struct buf body;
	buf_init(&body, p->body.n + 1);
	mime_body_decode(p, &body);
	const struct content is = content_of(str_sub(buf_view(&body), 0, CONTENT_HEAD));
	key_add(&j->keys, BANNED_CLASS, str_c(is.name));
	int r = meet(j, outside, &j->met);
	if (r == 0) {
		j->part = names_of;
		r = judge(j, j->met, false);
	}
	if (r == 0)
		r = look_inside(j, p, buf_view(&body), is);
	buf_fini(&body);
	return r;
}

/* Parts and those inside them; a leaf decides, with the least rule of all around it. */
static int check_parts(struct judge *j, const struct mime_part *p, struct met outside, struct str around)
{
	int r = 0;
	for (; p != NULL && r == 0; p = p->next) {
		struct arena_mark m = arena_mark(j->s->a);
		struct met met;
		j->keys.n = 0;
		const struct str name = part_keys(j, p), called = name.n > 0 ? name : around;
		if (p->children == NULL)
			r = check_leaf(j, p, outside, called);
		else if ((r = meet(j, outside, &met)) == 0)
			r = check_parts(j, p->children, met, called);
		if (r == 0)
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

static struct banned_who who(const struct scan *s)
{
	const char *d = s->rules->conf->recipient_delimiter;
	if (s->facts == NULL)
		return (struct banned_who){ .delimiter = d == NULL ? '\0' : d[0] };
	return (struct banned_who){ .sender = s->facts->sender, .recipients = s->facts->recipients.v, .n_recipients = s->facts->recipients.n,
		.own = s->facts->own != 0, .delimiter = d == NULL ? '\0' : d[0] };
}

int stage_banned(struct scan *s, struct err *e)
{
	struct judge *j = ARENA_NEW(s->a, struct judge);
	const struct banned_who w = who(s);
	j->s = s;
	j->e = e;
	banned_scopes_of(s->rules->banned, &w, &j->scopes);
	archive_walk_init(&j->walk, s->a, s->message.n, on_member, j);
	if (check_parts(j, s->root, (struct met){ .rule = BANNED_NONE }, STR("")) < 0)
		return -1;
	report_unseen(j);
	return j->enough;
}
