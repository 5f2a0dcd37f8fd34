/* The stage of viruses: libclamav over the message as it came, over each part as our parser decoded it, and over members of archives that it has no decoder for. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "clamav.h"
#include "content.h"
#include "scan.h"

/* A part whose decoded form differs from its bytes in the message is scanned by itself: libclamav recognises mail by its first lines only, and its parser
 * of mail is not ours. The same bytes it knows by their digest. */
static bool needs_decoding(const struct mime_part *p)
{
	return p->children == NULL && (str_eq(p->encoding, STR("base64")) || str_eq(p->encoding, STR("quoted-printable")) || p->parent != NULL);
}

/* What a reader shows, and nothing saves: no part with a name. In base64 libclamav keeps line ends as they are. */
static bool is_body_text(struct arena *a, const struct mime_part *p)
{
	struct str name;
	return (mime_type_is(p, "text", "plain") || mime_type_is(p, "text", "html")) && !str_eq(p->encoding, STR("base64")) &&
	       (p->disposition.p == NULL || str_case_eq(p->disposition, STR("inline"))) && mime_names(a, p, &name, 1) == 0;
}

/* Bytes of lines that end with LF or CRLF. */
static bool is_lines(struct str s)
{
	if (memchr(s.p, '\0', s.n) != NULL)
		return false;
	for (const char *at = s.p, *end = s.p + s.n; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++)
		if (at + 1 == end || at[1] != '\n')
			return false;
	return true;
}

/* As the library's own parser of mail writes it: it has then scanned this very file within the message, and remembers its digest. */
static void as_the_library_has_it(struct str text, struct buf *out)
{
	while (text.n > 0) {
		const char *cr = memchr(text.p, '\r', text.n);
		const size_t n = cr == NULL ? text.n : (size_t)(cr - text.p);
		buf_mem(out, text.p, n);
		text = str_from(text, cr == NULL ? n : n + 1);
	}
	buf_ch(out, '\n');
}

struct walk {
	struct scan *s;
	struct archive_walk unpacked;
	const char *name;
	struct err *e;
};

/* Of an archive that the library cannot unpack: a file. */
static int on_member(void *ctx, struct archive_member *m)
{
	struct walk *w = ctx;
	return clamav_scan_mem(w->s->rules->clamav, m->data, &w->name, w->e);
}

static int scan_unpacked(struct walk *w, const struct mime_part *p, struct str body)
{
	const struct arena_mark mark = arena_mark(w->s->a);
	const int r = archive_walk_body(&w->unpacked, body, content_of(str_sub(body, 0, CONTENT_HEAD)), STR(""), mime_type_is(p, "text", "*"));
	arena_release(w->s->a, mark);
	return r;
}

static int scan_part(void *ctx, const struct mime_part *p)
{
	struct walk *w = ctx;
	if (p->children != NULL)
		return 0;
	struct buf body;
	buf_init(&body, p->body.n + 1);
	mime_body_decode(p, &body);
	struct buf text;
	buf_init(&text, body.n + 1);
	if (body.n > 0 && is_body_text(w->s->a, p) && is_lines(buf_view(&body)) && content_of(buf_view(&body)).name[0] == '\0')
		as_the_library_has_it(buf_view(&body), &text);
	int r = !needs_decoding(p) ? 0 : clamav_scan_mem(w->s->rules->clamav, buf_view(text.n > 0 ? &text : &body), &w->name, w->e);
	if (r == 0)
		r = scan_unpacked(w, p, buf_view(&body));
	buf_fini(&text);
	buf_fini(&body);
	return r;
}

/* Nothing was found, but not all was looked through. missed: of what the library does not unpack. */
static int report_unseen(struct scan *s, unsigned missed)
{
	int enough = 0;
	const char *damage = clamav_damage(s->rules->clamav);
	if (damage != NULL) {
		scan_explain(s, "virus", "not all could be looked into: %s", damage);
		enough |= scan_found(s, CLASS_UNCHECKED, "damaged", "An attachment is damaged and cannot be checked");
	} else if (missed & ARCHIVE_DAMAGED) {
		scan_explain(s, "virus", "not all of an archive could be unpacked");
		enough |= scan_found(s, CLASS_UNCHECKED, "damaged", "An attachment is a damaged archive and cannot be checked");
	}
	if (missed & ARCHIVE_OVER) {
		scan_explain(s, "virus", "an archive is over the limits");
		enough |= scan_found(s, CLASS_OVERLIMIT, "over limits", "An attachment is too deeply packed, or too large unpacked, to be checked");
	}
	return enough;
}

int stage_virus(struct scan *s, struct err *e)
{
	if (s->rules->clamav == NULL)
		return 0;
	struct walk w = { .s = s, .e = e };
	clamav_begin(s->rules->clamav);
	archive_walk_init(&w.unpacked, s->a, s->message.n, on_member, &w);
	w.unpacked.strange = true;
	int r = clamav_scan_mem(s->rules->clamav, s->message, &w.name, e);
	if (r == 0)
		r = scan_each_part(s->root, scan_part, &w);
	s->scanned = r >= 0;
	if (r == 0)
		return report_unseen(s, w.unpacked.missed);
	if (r < 0)
		return r;
	/* Over a limit: the library says so as a "virus" of such a name. It is not proof of one, but nothing says the message is clean. */
	const char *name = arena_strdup(s->a, w.name);
	scan_explain(s, "virus", "%s", name);
	if (str_case_find(str_c(w.name), STR("Limits.Exceeded")) >= 0 || str_case_find(str_c(w.name), STR("XZ.DicSizeLimit")) >= 0)
		return scan_found(s, CLASS_OVERLIMIT, name, arena_printf(s->a, "The message is too deeply packed to be checked (%s)", name));
	return scan_found(s, CLASS_VIRUS, name, arena_printf(s->a, "The message is infected: %s", name));
}
