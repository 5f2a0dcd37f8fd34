/* Templates in patterns (SpamAssassin's ReplaceTags): <A> stands for a replace_tag, <pre X>, <inter X>, <post X> say what stands before, between and after
 * tags. Tags in a replacement are replaced in further rounds. */
#include <stdio.h>

#include "spam/msg.h"

struct frame { struct str pre, inter, post; };

static bool tag_at(const struct tags *t, struct str in, struct str *name)
{
	if (!str_starts(in, t->start))
		return false;
	ptrdiff_t end = str_find(str_from(in, t->start.n), t->end);
	if (end <= 0)
		return false;
	*name = str_sub(in, t->start.n, (size_t)end);
	for (size_t i = 0; i < name->n; i++)
		if (name->p[i] == '<' || name->p[i] == '>')
			return false;
	return true;
}

static struct str lookup(const struct map *m, struct str name)
{
	const struct str *v = map_get(m, name);
	return v == NULL ? (struct str){ 0 } : *v;
}

/* Take the first "<kind NAME>" out of *text. */
static struct str take_frame(struct set *s, struct str *text, const char *kind, const struct map *m)
{
	char head[40];
	snprintf(head, sizeof(head), "%.*s%s ", STR_ARG(s->tags.start), kind);
	ptrdiff_t at = str_find(*text, str_c(head));
	ptrdiff_t end = at < 0 ? -1 : str_find(str_from(*text, (size_t)at + strlen(head)), s->tags.end);
	if (end < 0)
		return (struct str){ 0 };
	size_t name_at = (size_t)at + strlen(head), after = name_at + (size_t)end + s->tags.end.n;
	struct str value = lookup(m, str_sub(*text, name_at, (size_t)end));
	*text = str_c(arena_printf(s->a, "%.*s%.*s", (int)at, text->p, (int)(text->n - after), text->p + after));
	return value;
}

/* What is written for a tag: its text, or a call of the group that holds it. */
struct style { bool calls; struct strs used; };

/* One round; true when a replacement brought tags of its own. */
static bool expand_once(struct set *s, struct str in, const struct frame *f, struct style *style, struct buf *out)
{
	bool again = false, after_tag = false;
	while (in.n > 0 && !buf_failed(out)) {
		struct str name;
		if (!tag_at(&s->tags, in, &name)) {
			buf_ch(out, in.p[0]);
			in = str_from(in, 1);
			after_tag = false;
			continue;
		}
		size_t whole = s->tags.start.n + name.n + s->tags.end.n;
		struct str value = lookup(s->tags.tag, name), inner;
		if (after_tag)
			buf_str(out, f->inter);
		buf_str(out, f->pre);
		if (value.p != NULL && style->calls) {
			if (!strs_has(&style->used, name))
				strs_add(s->a, &style->used, name);
			buf_printf(out, "(?&T%.*s)", STR_ARG(name));
		} else {
			buf_str(out, value.p == NULL ? str_sub(in, 0, whole) : value);
		}
		buf_str(out, f->post);
		for (size_t i = 0; i < value.n && !again; i++)
			again = tag_at(&s->tags, str_from(value, i), &inner);
		after_tag = true;
		in = str_from(in, whole);
	}
	return again;
}

static struct frame take_frames(struct set *s, struct str *text)
{
	struct frame f;
	f.pre = take_frame(s, text, "pre", s->tags.pre);
	f.post = take_frame(s, text, "post", s->tags.post);
	f.inter = take_frame(s, text, "inter", s->tags.inter);
	return f;
}

struct str tags_expand(struct set *s, struct str text)
{
	struct buf out;
	struct style plain = { 0 };
	buf_init(&out, SPAM_PATTERN_MAX);
	for (unsigned round = 0; round < SPAM_REPLACE_ROUNDS; round++) {
		struct frame f = take_frames(s, &text);
		buf_reset(&out);
		bool again = expand_once(s, text, &f, &plain, &out);
		text = arena_str(s->a, buf_view(&out));
		if (!again)
			break;
	}
	buf_fini(&out);
	return text;
}

/* The same language with each tag once, in a group that is only defined, and called where the tag stands: patterns that would grow too large. */
struct str tags_define(struct set *s, struct str text)
{
	struct buf out, define;
	struct style calls = { .calls = true };
	struct frame f = take_frames(s, &text);
	const struct frame none = { { 0 }, { 0 }, { 0 } };
	buf_init(&out, SPAM_PATTERN_MAX);
	buf_init(&define, SPAM_PATTERN_MAX);
	expand_once(s, text, &f, &calls, &out);
	buf_c(&define, "(?(DEFINE)");
	for (size_t i = 0; i < calls.used.n; i++) {
		buf_printf(&define, "(?<T%.*s>", STR_ARG(calls.used.v[i]));
		expand_once(s, lookup(s->tags.tag, calls.used.v[i]), &none, &calls, &define);
		buf_c(&define, ")");
	}
	buf_c(&define, ")");
	buf_str(&define, buf_view(&out));
	struct str all = buf_failed(&define) ? (struct str){ 0 } : arena_str(s->a, buf_view(&define));
	buf_fini(&out);
	buf_fini(&define);
	return all;
}
