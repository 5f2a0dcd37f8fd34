/* The stage of viruses: libclamav over the message as it came, over each part as our parser decoded it, and over members of archives that it has no decoder for. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "clamav.h"
#include "content.h"
#include "plain.h"
#include "scan.h"

enum {
	INNER_MAX = 256,		/* parts that libclamav is expected to come upon by itself, and */
	INNER_BYTES_MAX = 256 << 20,	/* their encoded bytes; more is looked at twice */
	INNER_MAILS_MAX = 16,		/* mails in texts of mails, one in another, and */
	INNER_MAIL_BYTES_MAX = 1 << 20,	/* the largest of them; what is beyond is left to libclamav's parser, which has a limit of its own */
};

/* A part whose decoded form differs from its bytes in the message is scanned by itself: libclamav recognises mail by its first lines only, and its parser
 * of mail is not ours. Where both come to the same bytes these were scanned with the message. */
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

/* As the library's own parser of mail writes it: it has then scanned this very file within the message. */
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

/* A part as it is handed over. */
struct file {
	const struct mime_part *part;
	struct buf body, text;	/* text: of a body text, in the library's form; else empty */
};

static void file_init(struct arena *a, const struct mime_part *p, struct file *f)
{
	f->part = p;
	buf_init(&f->body, p->body.n + 1);
	mime_body_decode(p, &f->body);
	buf_init(&f->text, f->body.n + 1);
	if (f->body.n > 0 && is_body_text(a, p) && plain_is_lines(buf_view(&f->body)) && content_of(buf_view(&f->body)).name[0] == '\0')
		as_the_library_has_it(buf_view(&f->body), &f->text);
}

static void file_fini(struct file *f)
{
	buf_fini(&f->text);
	buf_fini(&f->body);
}

static struct str file_bytes(const struct file *f)
{
	return buf_view(f->text.n > 0 ? &f->text : &f->body);
}

struct walk {
	struct scan *s;
	struct archive_walk unpacked;
	struct file files[INNER_MAX];	/* decoded before the message is scanned, in the order of parts; n, next of them is expected next */
	struct clamav_inner inner[INNER_MAX];
	size_t n, next, bytes;
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

static int decode_part(void *ctx, const struct mime_part *p)
{
	struct walk *w = ctx;
	if (!needs_decoding(p) || p->body.n > INNER_BYTES_MAX - w->bytes)
		return 0;
	file_init(w->s->a, p, &w->files[w->n]);
	w->inner[w->n].data = file_bytes(&w->files[w->n]);
	w->bytes += p->body.n;
	return ++w->n == INNER_MAX;
}

static int scan_file(struct walk *w, const struct file *f, bool met)
{
	int r = met || !needs_decoding(f->part) ? 0 : clamav_scan_mem(w->s->rules->clamav, file_bytes(f), &w->name, w->e);
	return r == 0 ? scan_unpacked(w, f->part, buf_view(&f->body)) : r;
}

static int scan_part(void *ctx, const struct mime_part *p)
{
	struct walk *w = ctx;
	if (p->children != NULL)
		return 0;
	if (w->next < w->n && w->files[w->next].part == p) {
		const size_t i = w->next++;
		return scan_file(w, &w->files[i], w->inner[i].met);
	}
	struct file f;
	file_init(w->s->a, p, &f);
	int r = scan_file(w, &f, false);
	file_fini(&f);
	return r;
}

/* --- a message whose parts are the same to libclamav's parser: it is not asked for them --- */

static int scan_mail(struct walk *w, struct str message, unsigned depth);

/* Never the beginning of a file alone. */
static int scan_whole(struct walk *w, const struct buf *file)
{
	return buf_check(file, "a file as libclamav writes it", w->e) < 0 ? -1 : clamav_scan_mem(w->s->rules->clamav, buf_view(file), &w->name, w->e);
}

/* What its parser would write of the part. own: ours, that is scanned by itself; it may be the same. */
static int scan_plain_files(struct walk *w, const struct mime_part *p, struct str own, unsigned depth)
{
	struct buf file;
	int r = 0;
	buf_init(&file, plain_file_max(p));
	if ((own.n == 0 || !plain_file_is_ours(p, own)) && plain_file(p, &file) && !str_eq(buf_view(&file), own))
		r = scan_whole(w, &file);
	buf_reset(&file);
	if (r == 0 && plain_file_of_base64(p, &file))
		r = scan_whole(w, &file);
	buf_reset(&file);
	if (r == 0 && plain_mail(p, &file))
		r = buf_check(&file, "a mail in a text", w->e) < 0 ? -1 : scan_mail(w, buf_view(&file), depth + 1);
	buf_fini(&file);
	return r;
}

static int scan_plain_part(void *ctx, const struct mime_part *p)
{
	struct walk *w = ctx;
	struct file f;
	if (p->children != NULL)
		return 0;
	file_init(w->s->a, p, &f);
	int r = scan_file(w, &f, false);
	if (r == 0)
		r = scan_plain_files(w, p, needs_decoding(p) ? file_bytes(&f) : STR(""), 0);
	file_fini(&f);
	return r;
}

struct inner_mail {
	struct walk *w;
	unsigned depth;
};

static int scan_inner_part(void *ctx, const struct mime_part *p)
{
	const struct inner_mail *m = ctx;
	return p->children != NULL ? 0 : scan_plain_files(m->w, p, STR(""), m->depth);
}

/* A mail that begins in a text, with perhaps another in its own. */
static int scan_mail(struct walk *w, struct str message, unsigned depth)
{
	struct clamav *c = w->s->rules->clamav;
	const struct arena_mark mark = arena_mark(w->s->a);
	const struct mime_part *root = mime_parse(w->s->a, message);
	int r;
	if (depth <= INNER_MAILS_MAX && message.n <= INNER_MAIL_BYTES_MAX && mail_is_plain(message, root)) {
		r = clamav_scan_plain(c, message, &w->name, w->e);
		if (r == 0)
			r = scan_each_part(root, scan_inner_part, &(struct inner_mail){ w, depth });
	} else {
		r = clamav_scan_mem(c, message, &w->name, w->e);
	}
	arena_release(w->s->a, mark);
	return r;
}

static int scan_plain(struct walk *w)
{
	const int r = clamav_scan_plain(w->s->rules->clamav, w->s->message, &w->name, w->e);
	return r == 0 ? scan_each_part(w->s->root, scan_plain_part, w) : r;
}

static int scan_all(struct walk *w)
{
	if (!clamav_wants_mail(w->s->rules->clamav) && mail_is_plain(w->s->message, w->s->root))
		return scan_plain(w);
	scan_each_part(w->s->root, decode_part, w);
	int r = clamav_scan_outer(w->s->rules->clamav, w->s->message, w->inner, w->n, &w->name, w->e);
	if (r == 0)
		r = scan_each_part(w->s->root, scan_part, w);
	for (size_t i = 0; i < w->n; i++)
		file_fini(&w->files[i]);
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
	const int r = scan_all(&w);
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
