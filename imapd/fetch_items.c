/* What FETCH items hold (RFC 3501 section 7.4.2): flags and dates from the index, ENVELOPE and BODYSTRUCTURE from the cache or the message, sections
 * as pieces of the message's file. */
#include "base/num.h"
#include "emailid.h"
#include "fetch.h"
#include "imap/out.h"
#include "imap/preview.h"
#include "imap/structure.h"
#include "store/summary.h"

static int need_file(struct client *c, struct fetch *f, bool head_only, struct err *e)
{
	if (msgfile_is_open(&f->file) && (head_only || !f->file.head_only))
		return 0;
	msgfile_close(&f->file);
	f->opened = true;
	return msgfile_open(&f->file, c->view, f->seq, head_only && !f->needs_text, e);
}

/* Inline: of names that are known here the compiler makes a move or two. */
static inline __attribute__((always_inline)) struct buf *item(struct client *c, struct fetch *f, const char *name)
{
	struct buf *out = resp(c);

	if (!f->first)
		buf_ch(out, ' ');
	f->first = false;
	buf_c(out, name);
	return out;
}

/* --- the items of fetch.def --- */

static int item_UID(struct client *c, struct fetch *f, struct err *e)
{
	struct buf *out = item(c, f, "UID ");

	(void)e;
	buf_u64(out, f->msg.uid);
	return 0;
}

static int item_FLAGS(struct client *c, struct fetch *f, struct err *e)
{
	(void)e;
	resp_flags(c, item(c, f, "FLAGS "), &f->msg);
	return 0;
}

static int item_INTERNALDATE(struct client *c, struct fetch *f, struct err *e)
{
	(void)e;
	imap_put_internaldate(item(c, f, "INTERNALDATE "), mbox_msg_date(c->view, f->seq));
	return 0;
}

static int item_RFC822_SIZE(struct client *c, struct fetch *f, struct err *e)
{
	uint64_t n = f->msg.size_crlf;

	if (n == UINT64_MAX) {		/* the store does not know: count */
		if (need_file(c, f, false, e) < 0)
			return -1;
		n = crlf_size(f->file.text);
	}
	buf_u64(item(c, f, "RFC822.SIZE "), n);
	return 0;
}

static int item_ENVELOPE(struct client *c, struct fetch *f, struct err *e)
{
	struct mbox_summary sum;
	struct err quiet = { 0 };
	struct buf b;

	if (mbox_summary_peek(c->view, f->seq, &sum) == 0) {
		buf_str(item(c, f, "ENVELOPE "), sum.envelope);
		return 0;
	}
	if (need_file(c, f, true, e) < 0)
		return -1;
	if (mbox_summary_from(c->view, f->seq, msgfile_head(&f->file), &sum, &quiet) == 0) {
		buf_str(item(c, f, "ENVELOPE "), sum.envelope);
		return 0;
	}
	buf_init(&b, 32 << 20);		/* too large to be kept */
	envelope_put(&b, c->arena, msgfile_head(&f->file));
	const int r = buf_check(&b, "envelope", e);

	if (r == 0)
		buf_str(item(c, f, "ENVELOPE "), buf_view(&b));
	buf_fini(&b);
	return r;
}

static int structure(struct client *c, struct fetch *f, bool extended, struct err *e)
{
	const char *name = extended ? "BODYSTRUCTURE " : "BODY ";
	const struct arena_mark mark = arena_mark(c->arena);
	struct str blob, text;
	struct buf b;

	if (mbox_cache_get(c->view, f->seq, MBOX_CACHE_BODYSTRUCTURE, c->arena, &blob) == 0 && structure_unpack(blob, extended, &text) == 0) {
		buf_str(item(c, f, name), text);
		arena_release(c->arena, mark);
		return 0;
	}
	arena_release(c->arena, mark);
	if (need_file(c, f, false, e) < 0)
		return -1;
	buf_init(&b, 64 << 20);
	structure_pack(&b, c->arena, msgfile_mime(&f->file));
	const int r = buf_check(&b, "body structure", e);

	if (r == 0) {
		mbox_cache_put(c->view, f->seq, MBOX_CACHE_BODYSTRUCTURE, buf_view(&b));
		if (structure_unpack(buf_view(&b), extended, &text) == 0)
			buf_str(item(c, f, name), text);
	}
	buf_fini(&b);
	return r;
}

static int item_MODSEQ(struct client *c, struct fetch *f, struct err *e)
{
	(void)e;
	buf_printf(item(c, f, "MODSEQ ("), "%llu)", (unsigned long long)f->msg.modseq);
	return 0;
}

static int item_EMAILID(struct client *c, struct fetch *f, struct err *e)
{
	char id[EMAILID_SIZE];

	f->opened = true;
	if (emailid_get(c->view, f->seq, mbox_msg_date(c->view, f->seq), id, e) < 0)
		return -1;
	buf_printf(item(c, f, "EMAILID ("), "%s)", id);
	return 0;
}

/* No conversation has a name here (RFC 8474 5.2). */
static int item_THREADID(struct client *c, struct fetch *f, struct err *e)
{
	(void)e;
	buf_c(item(c, f, "THREADID "), "NIL");
	return 0;
}

/* Nothing to show is an empty string; NIL is a preview that LAZY did not find (RFC 8970 3.1). */
static int item_PREVIEW(struct client *c, struct fetch *f, struct err *e)
{
	const struct arena_mark mark = arena_mark(c->arena);
	struct str blob;
	struct buf b;

	if (mbox_cache_get(c->view, f->seq, MBOX_CACHE_PREVIEW, c->arena, &blob) == 0) {
		imap_put_string(item(c, f, "PREVIEW "), blob);
		arena_release(c->arena, mark);
		return 0;
	}
	arena_release(c->arena, mark);
	if (f->what.lazy) {
		buf_c(item(c, f, "PREVIEW "), "NIL");
		return 0;
	}
	if (need_file(c, f, false, e) < 0)
		return -1;
	buf_init(&b, 8 * IMAP_PREVIEW_MAX);
	imap_preview(msgfile_mime(&f->file), &b);
	mbox_cache_put(c->view, f->seq, MBOX_CACHE_PREVIEW, buf_view(&b));
	imap_put_string(item(c, f, "PREVIEW "), buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int item_SAVEDATE(struct client *c, struct fetch *f, struct err *e)
{
	(void)e;
	imap_put_internaldate(item(c, f, "SAVEDATE "), f->msg.savedate);
	return 0;
}

static int item_BODY(struct client *c, struct fetch *f, struct err *e)
{
	return structure(c, f, false, e);
}

static int item_BODYSTRUCTURE(struct client *c, struct fetch *f, struct err *e)
{
	return structure(c, f, true, e);
}

int fetch_items(struct client *c, struct fetch *f, struct err *e)
{
	static int (*const fns[])(struct client *, struct fetch *, struct err *) = {
#define FETCH_ITEM(id, name, source) [IMAP_FETCH_##id] = item_##id,
#define FETCH_WHOLE(name, answer, kind, peek)
#define FETCH_BRACKET(name, answer, peek)
#define FETCH_MACRO(name, items)
#include "imap/fetch.def"
#undef FETCH_ITEM
#undef FETCH_WHOLE
#undef FETCH_BRACKET
#undef FETCH_MACRO
	};
	uint32_t items = f->what.items;

	/* The command has changed the flags: the client is told in the same response. */
	if (imap_seqset_has(&f->seen_now, f->seq))
		items |= FETCH_BIT(FLAGS) | (c->enabled & EN_CONDSTORE ? FETCH_BIT(MODSEQ) : 0);
	for (; items; items &= items - 1) {
		if (fns[__builtin_ctz(items)](c, f, e) < 0)
			return -1;
	}
	return 0;
}

/* --- sections --- */

/* Part 1.2.3 (RFC 3501 6.4.5): NULL when there is none. */
static struct mime_part *part_find(struct mime_part *root, const struct imap_section *s)
{
	struct mime_part *container = root, *part = root;

	for (size_t i = 0; i < s->depth; i++) {
		if (!container)
			return NULL;
		if (mime_type_is(container, "multipart", "*")) {
			part = container->children;
			for (uint32_t k = 1; part && k < s->path[i]; k++)
				part = part->next;
		} else {
			part = s->path[i] == 1 ? container : NULL;
		}
		if (!part)
			return NULL;
		if (mime_type_is(part, "message", "rfc822"))
			container = part->children;
		else
			container = part != container && mime_type_is(part, "multipart", "*") ? part : NULL;
	}
	return part;
}

/* A header section with the empty line that ends it. */
static struct str head_whole(const struct mime_part *p)
{
	const char *end = p->head.p ? p->head.p + p->head.n : NULL;

	if (end && p->body.p && p->body.p >= end && p->body.p - end <= 2)
		return str_n(p->head.p, (size_t)(p->body.p - p->head.p));
	return p->head;
}

static bool wanted(const struct imap_section *s, struct str name)
{
	bool found = false;

	for (size_t i = 0; i < s->n_fields && !found; i++)
		found = str_case_eq(s->fields[i], name);
	return found == (s->kind == IMAP_SECTION_FIELDS);
}

static struct str some_fields(struct arena *a, const struct imap_section *s, struct str head)
{
	struct mail_field field;
	struct buf b;

	buf_init(&b, head.n + 16);
	while (head.n && mail_field_next(&head, &field) == 0) {
		if (field.name.n && wanted(s, str_trim(field.name)))
			buf_str(&b, field.whole);
	}
	buf_c(&b, "\r\n");
	const struct str out = arena_str(a, buf_view(&b));

	buf_fini(&b);
	return out;
}

bool section_piece(struct arena *a, struct msgfile *file, const struct imap_section *s, struct str *out)
{
	struct str head, body;

	if (s->depth == 0) {
		head = msgfile_head(file);
		body = str_from(file->text, head.n);
		if (s->kind == IMAP_SECTION_ALL) {
			*out = file->text;
			return true;
		}
	} else {
		struct mime_part *p = part_find(msgfile_mime(file), s);

		if (!p)
			return false;
		if (s->kind == IMAP_SECTION_ALL) {
			*out = p->body;
			return true;
		}
		if (s->kind != IMAP_SECTION_MIME) {
			if (!mime_type_is(p, "message", "rfc822") || !p->children)
				return false;
			p = p->children;
		}
		head = head_whole(p);
		body = p->body;
	}
	if (s->kind == IMAP_SECTION_TEXT)
		*out = body;
	else if (s->kind == IMAP_SECTION_FIELDS || s->kind == IMAP_SECTION_FIELDS_NOT)
		*out = some_fields(a, s, head);
	else
		*out = head;
	return true;
}

bool fetch_from_summary(const struct imap_section *s)
{
	if (s->depth || s->kind != IMAP_SECTION_FIELDS)
		return false;
	for (size_t i = 0; i < s->n_fields; i++) {
		if (!summary_keeps(s->fields[i]))
			return false;
	}
	return true;
}

/* Fields that most clients ask for need no file. */
static bool kept_fields(struct client *c, struct fetch *f, const struct imap_section *s, struct str *out)
{
	struct mbox_summary sum;

	if (msgfile_is_open(&f->file) || !fetch_from_summary(s) || mbox_summary_get(c->view, f->seq, &sum, NULL) < 0 || !sum.fields.p)
		return false;
	*out = some_fields(c->arena, s, sum.fields);
	return true;
}

static void put_label(struct client *c, struct fetch *f, const struct imap_section *s)
{
	struct buf *out = item(c, f, s->answer);

	if (s->bracket) {
		buf_ch(out, '[');
		buf_str(out, s->label);
		buf_ch(out, ']');
	}
	if (s->partial)
		buf_printf(out, "<%llu>", (unsigned long long)s->from);
	buf_ch(out, ' ');
}

static bool head_enough(const struct imap_section *s)
{
	return s->depth == 0 && s->kind != IMAP_SECTION_ALL && s->kind != IMAP_SECTION_TEXT;
}

/* Sizes in file names may lie: what was counted is true from now on (a failure to note it harms nobody). */
static void correct_size(struct client *c, struct fetch *f, uint64_t n)
{
	if (n == f->msg.size_crlf || f->file.head_only)
		return;
	(void)!mbox_msg_size_fix(c->view, f->seq, f->file.text.n, n, NULL);
	f->msg.size_crlf = n;
}

/* RFC 3516 section 4.3: NUL may be in it, or not in a literal of the old kind. */
static void announce(struct client *c, const struct fetch *f)
{
	/* An empty literal makes iOS wait: nothing is an empty quoted string. */
	if (f->left == 0)
		buf_c(resp(c), "\"\"");
	else
		buf_printf(resp(c), "%s{%llu}\r\n", f->raw.p && memchr(f->raw.p, 0, f->raw.n) ? "~" : "", (unsigned long long)f->left);
}

/* <from.count> of what is f->left bytes long: bytes before it. */
static uint64_t take_partial(struct fetch *f, const struct imap_section *s)
{
	const uint64_t from = s->from < f->left ? s->from : f->left;

	f->left -= from;
	if (f->left > s->count)
		f->left = s->count;
	return from;
}

/* --- BINARY (RFC 3516) --- */

static bool decodable(struct str encoding)
{
	static const char *const known[] = { "7bit", "8bit", "binary", "base64", "quoted-printable" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eq(encoding, str_c(known[i])))
			return true;
	}
	return false;
}

/* The part without its transfer encoding, with CRLF line ends where it has lines. False: its encoding is unknown. */
static bool decode(struct client *c, const struct mime_part *p, struct str body, struct str *out)
{
	struct mime_part wire;
	struct crlf cursor;
	struct buf b, lines;

	buf_init(&lines, crlf_size(body) + 1);
	crlf_start(&cursor, body);
	crlf_read(&cursor, &lines, crlf_size(body));
	if (!p || !(str_eq(p->encoding, STR("base64")) || str_eq(p->encoding, STR("quoted-printable")))) {
		*out = arena_str(c->arena, buf_view(&lines));
	} else {
		wire = *p;
		wire.body = buf_view(&lines);
		buf_init(&b, lines.n + 1);
		mime_body_decode(&wire, &b);
		*out = arena_str(c->arena, buf_view(&b));
		buf_fini(&b);
	}
	buf_fini(&lines);
	return !p || mime_type_is(p, "multipart", "*") || decodable(p->encoding);
}

static int binary_section(struct client *c, struct fetch *f, const struct imap_section *s, struct str body)
{
	const struct mime_part *p = s->depth ? part_find(msgfile_mime(&f->file), s) : NULL;

	if (!decode(c, p, body, &f->raw)) {
		f->unknown_cte = true;
		buf_c(resp(c), s->size ? "0" : "NIL");
		f->raw = (struct str){ 0 };
		return 0;
	}
	if (s->size) {
		buf_u64(resp(c), f->raw.n);
		return 0;
	}
	f->left = f->raw.n;
	if (s->partial) {
		const uint64_t from = take_partial(f, s);

		f->raw = str_sub(f->raw, from, f->left);
	}
	announce(c, f);
	return 0;
}

int fetch_section(struct client *c, struct fetch *f, const struct imap_section *s, struct err *e)
{
	struct str text;
	bool exists = true;

	if (!kept_fields(c, f, s, &text)) {
		if (need_file(c, f, head_enough(s), e) < 0)
			return -1;
		exists = section_piece(c->arena, &f->file, s, &text);
	}

	put_label(c, f, s);
	f->left = 0;
	f->raw = (struct str){ 0 };
	if (!exists) {
		buf_c(resp(c), s->size ? "0" : "NIL");
		return 0;
	}
	if (s->binary)
		return binary_section(c, f, s, text);
	f->left = crlf_size(text);
	if (s->depth == 0 && s->kind == IMAP_SECTION_ALL)
		correct_size(c, f, f->left);
	crlf_start(&f->cursor, text);
	if (s->partial) {
		const uint64_t from = take_partial(f, s);

		if (f->left)
			crlf_skip(&f->cursor, from);
	}
	announce(c, f);
	return 0;
}
