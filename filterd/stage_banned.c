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

struct judge {
	struct scan *s;
	struct banned_scopes scopes;
	struct banned_keys keys;
	struct archive_walk walk;
	struct str part;	/* a name of the part that is looked into */
	bool enough;		/* a class that refuses was found */
	struct err *e;
};

static void key_add(struct banned_keys *k, enum banned_key kind, struct str text)
{
	if (text.n == 0)
		return;
	if (k->n == BANNED_KEYS_MAX) {
		k->full = true;
		return;
	}
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

static void part_keys(struct judge *j, const struct mime_part *p)
{
	struct scan *s = j->s;
	struct str names[16];
	size_t n = mime_names(s->a, p, names, ARRAY_LEN(names));
	for (size_t i = 0; i < n; i++)
		name_keys(j, names[i]);
	if (n > 0 && j->part.n == 0)
		j->part = names[0];
	key_add(&j->keys, BANNED_TYPE, str_c(arena_printf(s->a, "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype))));
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

/* The keys against the rules. 1: look no further. inside: it is packed in j->part. */
static int judge(struct judge *j, bool inside)
{
	struct scan *s = j->s;
	unsigned line;
	struct str key;
	int r = banned_match(s->rules->banned, &j->scopes, &j->keys, &line, &key, j->e);
	if (r == 0 && j->keys.full) {
		j->walk.found |= ARCHIVE_OVER;
		return 0;
	}
	if (r <= 0)
		return r;
	const char *name = shown(s, key), *in = inside && j->part.n > 0 && !str_eq(j->part, key) ? arena_printf(s->a, " inside \"%s\"", shown(s, j->part)) : "";
	scan_explain(s, "banned", "\"%s\"%s is forbidden by line %u", name, in, line);
	j->enough = scan_found(s, CLASS_BANNED, name, arena_printf(s->a, "Attachment \"%s\"%s is not allowed here (rule in line %u)", name, in, line)) != 0;
	return 1;
}

/* A packed file, with the keys of all that it is packed in. */
static int on_member(void *ctx, const struct archive_member *m)
{
	struct judge *j = ctx;
	const size_t n = j->keys.n;
	for (const struct archive_member *q = m; q != NULL; q = q->parent) {
		name_keys(j, q->name);
		key_add(&j->keys, BANNED_CLASS, str_c(q->class));
	}
	int r = judge(j, true);
	j->keys.n = n;
	return r;
}

static int look_inside(struct judge *j, const struct mime_part *p, struct str body, struct content is)
{
	int r = archive_walk(&j->walk, body, is, j->part);
	if (r == 0 && is.kind == CONTENT_OTHER && mime_type_is(p, "text", "*"))
		r = archive_walk_uu(&j->walk, body);
	return r;
}

static int check_part(void *ctx, const struct mime_part *p)
{
	struct judge *j = ctx;
	if (p->children != NULL)
		return 0;
	struct arena_mark m = arena_mark(j->s->a);
	j->keys.n = 0;
	j->keys.full = false;
	j->part = STR("");
	for (const struct mime_part *q = p; q != NULL; q = q->parent)
		part_keys(j, q);
	struct buf body;
	buf_init(&body, p->body.n + 1);
	mime_body_decode(p, &body);
	const struct content is = content_of(str_sub(buf_view(&body), 0, CONTENT_HEAD));
	key_add(&j->keys, BANNED_CLASS, str_c(is.name));
	int r = judge(j, false);
	if (r == 0)
		r = look_inside(j, p, buf_view(&body), is);
	buf_fini(&body);
	if (r == 0)
		arena_release(j->s->a, m);
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
	if (scan_each_part(s->root, check_part, j) < 0)
		return -1;
	report_unseen(j);
	return j->enough;
}
