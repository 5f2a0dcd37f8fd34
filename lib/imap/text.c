/* The walk over a message's text. Only text and message parts are looked into; others by their headers. */
#include "imap/text.h"

#include "imap/fold.h"

enum {
	TEXT_MAX = 64 << 20,		/* decoded text of one part that is looked at */
	FIELD_MAX = 1 << 20,
};

void imap_text_init(struct imap_text *t, bool (*piece)(void *ctx, struct str folded), void *ctx)
{
	*t = (struct imap_text){ .piece = piece, .ctx = ctx, .a = arena_new(FIELD_MAX * 2) };
	buf_init(&t->decoded, TEXT_MAX);
	buf_init(&t->utf8, TEXT_MAX);
	buf_init(&t->folded, 2 * (size_t)TEXT_MAX);
}

void imap_text_fini(struct imap_text *t)
{
	arena_free(&t->a);
	buf_fini(&t->decoded);
	buf_fini(&t->utf8);
	buf_fini(&t->folded);
}

static bool folded(struct imap_text *t, struct str text)
{
	buf_reset(&t->folded);
	imap_fold(text, &t->folded);
	return t->piece(t->ctx, buf_view(&t->folded));
}

bool imap_text_value(struct imap_text *t, struct str value)
{
	const struct arena_mark mark = arena_mark(t->a);
	const struct str flat = mail_unfold(t->a, str_sub(value, 0, FIELD_MAX));

	buf_reset(&t->decoded);
	mail_words_decode(flat, &t->decoded);
	arena_release(t->a, mark);
	return folded(t, buf_view(&t->decoded));
}

bool imap_text_field(struct imap_text *t, struct str head, struct str name)
{
	struct mail_field f;

	while (head.n && mail_field_next(&head, &f) == 0)
		if (f.name.n && str_case_eq(str_trim(f.name), name) && imap_text_value(t, f.value))
			return true;
	return false;
}

bool imap_text_head(struct imap_text *t, struct str head)
{
	struct mail_field f;

	while (head.n && mail_field_next(&head, &f) == 0)
		if (f.name.n && (folded(t, f.name) || imap_text_value(t, f.value)))
			return true;
	return false;
}

static struct str charset_of(const struct mime_part *p)
{
	for (const struct mail_param *q = p->params; q; q = q->next)
		if (str_case_eq(q->name, STR("charset")))
			return q->value;
	return (struct str){ 0 };
}

static bool plain_utf8(struct str charset)
{
	return charset.n == 0 || str_case_eq(charset, STR("us-ascii")) || str_case_eq(charset, STR("utf-8"));
}

static bool leaf(struct imap_text *t, const struct mime_part *p)
{
	const struct str charset = charset_of(p);
	struct str text = p->body;

	if (str_case_eq(p->encoding, STR("base64")) || str_case_eq(p->encoding, STR("quoted-printable"))) {
		buf_reset(&t->decoded);
		mime_body_decode(p, &t->decoded);
		text = buf_view(&t->decoded);
	}
	if (plain_utf8(charset))
		return folded(t, text);
	buf_reset(&t->utf8);
	(void)!mail_charset_utf8(charset, text, &t->utf8);
	return folded(t, buf_view(&t->utf8));
}

bool imap_text_part(struct imap_text *t, const struct mime_part *p, bool heads)
{
	if (heads && imap_text_head(t, p->head))
		return true;
	for (const struct mime_part *q = p->children; q; q = q->next)
		if (imap_text_part(t, q, true))
			return true;
	return !p->children && (mime_type_is(p, "text", "*") || mime_type_is(p, "message", "*")) && leaf(t, p);
}
