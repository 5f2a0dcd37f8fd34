/* Summaries of headers: computed, encoded, decoded, cached.
 *
 *   0 version:8 = 1   1 is a reply:8   2 zone in minutes:16   4 references:32   8 sent:64   16 message id:64
 *   24 bytes of each text:32 (envelope, fields (2^32-1: not kept), base subject, from, to, cc, display from, display to)   56 references:64 each   the texts
 */
#include <stdlib.h>

#include "base/num.h"
#include "imap/fold.h"
#include "imap/sort.h"
#include "imap/structure.h"
#include "mail/head.h"
#include "store/ahead_priv.h"
#include "store/msgfile.h"
#include "store/summary.h"

enum { HEAD = 56, TEXTS = 8, USUAL_BYTES = 4000 };

/* --- which fields are kept --- */

bool summary_keeps(struct str name)
{
	/* By length first: this is asked of each field of each message. */
	static const struct str kept[] = {
		STR("Date"), STR("From"), STR("To"), STR("Cc"), STR("Bcc"), STR("Subject"), STR("Message-ID"), STR("References"), STR("In-Reply-To"), STR("Reply-To"),
		STR("Sender"), STR("Content-Type"), STR("MIME-Version"), STR("Content-Transfer-Encoding"), STR("List-Id"), STR("List-Post"), STR("List-Unsubscribe"),
		STR("List-Help"), STR("Mail-Followup-To"), STR("Mail-Reply-To"), STR("Importance"), STR("Priority"), STR("X-Priority"), STR("X-MSMail-Priority"),
		STR("X-Mailer"), STR("User-Agent"), STR("Return-Receipt-To"), STR("Disposition-Notification-To"), STR("Delivered-To"), STR("Return-Path"),
		STR("Newsgroups"), STR("Resent-To"), STR("X-Label"), STR("Autocrypt"), STR("X-Spam-Status"), STR("X-Spam-Flag"), STR("Organization")
	};

	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (kept[i].n == name.n && ch_lower(kept[i].p[0]) == ch_lower(name.p[0]) && str_case_eq(name, kept[i]))
			return true;
	return false;
}

/* --- message ids --- */

static uint64_t id_hash(struct str id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	/* RFC 5256: quoting does not make another id. */
	for (size_t i = 0; i < id.n; i++) {
		if (id.p[i] == '"' || (id.p[i] == '\\' && i + 1 < id.n && id.p[++i] == '\0'))
			continue;
		h = (h ^ (unsigned char)id.p[i]) * UINT64_C(0x100000001b3);
	}
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	h ^= h >> 32;
	return h ? h : 1;
}

/* The next "<…@…>" of *s, which advances. */
static bool id_next(struct str *s, uint64_t *out)
{
	ptrdiff_t from, to;

	while ((from = str_chr(*s, '<')) >= 0) {
		*s = str_from(*s, (size_t)from + 1);
		if ((to = str_chr(*s, '>')) < 0)
			return false;
		const struct str id = str_sub(*s, 0, (size_t)to);
		*s = str_from(*s, (size_t)to + 1);
		if (str_chr(id, '@') > 0) {
			*out = id_hash(id);
			return true;
		}
	}
	return false;
}

/* The last ones count; each once: a field that names one id twice must not make a loop of one. */
static size_t ids_of(const struct mail_fields *head, const char *name, uint64_t *ids, size_t max)
{
	const struct mail_field *const f = mail_fields_find(head, name);
	struct str rest = f ? f->value : (struct str){ 0 };
	size_t n = 0;
	uint64_t id;

	while (id_next(&rest, &id)) {
		if (n > 0 && ids[n - 1] == id)
			continue;
		if (n == max)
			memmove(ids, ids + 1, --n * sizeof(*ids));
		ids[n++] = id;
	}
	return n;
}

/* --- sort keys --- */

static void key(struct buf *out, struct str text)
{
	const size_t before = out->n;

	imap_fold(text, out);
	if (out->n - before > SUMMARY_KEY_MAX)
		buf_cut(out, before + SUMMARY_KEY_MAX);
}

static void decoded(struct buf *out, struct arena *a, struct str value)
{
	mail_words_decode(mail_unfold(a, value.n > SUMMARY_FIELDS_MAX ? str_sub(value, 0, SUMMARY_FIELDS_MAX) : value), out);
}

static void put_mailbox(struct buf *out, const struct mail_addr *a)
{
	if (a)
		key(out, a->local);
}

/* RFC 5957 section 3: the name, decoded; else the address; of a group its name. */
static void put_display(struct buf *out, struct arena *a, const struct mail_addr *ad)
{
	struct buf b;

	if (ad == NULL)
		return;
	buf_init(&b, 1 << 17);
	if (ad->name.n > 0) {
		decoded(&b, a, ad->name);
	} else {
		buf_str(&b, ad->local);
		if (ad->domain.p) {
			buf_ch(&b, '@');
			buf_str(&b, ad->domain);
		}
	}
	key(out, buf_view(&b));
	buf_fini(&b);
}

static bool put_subject(struct buf *out, struct arena *a, const struct mail_fields *head)
{
	const struct mail_field *const f = mail_fields_find(head, "Subject");
	struct buf text, base;
	bool reply = false;

	if (!f)
		return false;
	buf_init(&text, 1 << 17);
	buf_init(&base, 1 << 17);
	decoded(&text, a, f->value);
	reply = imap_base_subject(buf_view(&text), &base);
	key(out, buf_view(&base));
	buf_fini(&base);
	buf_fini(&text);
	return reply;
}

/* --- building --- */

/* Those of all that are kept, moved to the front; false: they are too many bytes. */
static bool keep_fields(struct mail_fields *f)
{
	size_t n = 0, bytes = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (!summary_keeps(f->v[i].name))
			continue;
		bytes += f->v[i].whole.n;
		f->v[n++] = f->v[i];
	}
	f->n = n;
	return bytes <= SUMMARY_FIELDS_MAX;
}

static void put_fields(struct buf *out, const struct mail_fields *f)
{
	for (size_t i = 0; i < f->n; i++)
		buf_str(out, f->v[i].whole);
}

static size_t put_refs(struct buf *out, const struct mail_fields *head)
{
	uint64_t ids[SUMMARY_REFS_MAX];
	size_t n = ids_of(head, "References", ids, SUMMARY_REFS_MAX);
	char c[8];

	if (n == 0 && ids_of(head, "In-Reply-To", ids, SUMMARY_REFS_MAX) > 0)
		n = 1;
	for (size_t i = 0; i < n; i++) {
		put_le64(c, ids[i]);
		buf_mem(out, c, sizeof(c));
	}
	return n;
}

static void put_date(unsigned char h[HEAD], const struct mail_fields *head)
{
	const struct mail_field *const f = mail_fields_find(head, "Date");
	int64_t sent = INT64_MIN;
	int zone = 0;

	if (!f || mail_date_parse(f->value, &sent, &zone) < 0) {
		sent = INT64_MIN;
		zone = 0;
	}
	h[2] = (unsigned char)(zone & 0xff);
	h[3] = (unsigned char)(zone >> 8 & 0xff);
	put_le64(h + 8, (uint64_t)sent);
}

void summary_build(struct buf *out, struct arena *scratch, struct str text)
{
	const struct arena_mark mark = arena_mark(scratch);
	struct mail_fields head = mail_fields_of(scratch, text);
	const bool kept = keep_fields(&head);	/* what follows needs no other fields */
	struct envelope_addresses named;
	unsigned char h[HEAD] = { SUMMARY_VERSION };
	const size_t start = out->n;
	size_t at, i = 0;
	uint64_t id = 0;

	buf_mem(out, h, sizeof(h));
	put_le32(h + 4, (uint32_t)put_refs(out, &head));
	put_date(h, &head);
	(void)!ids_of(&head, "Message-ID", &id, 1);
	put_le64(h + 16, id);
#define TEXT(call) do { at = out->n; call; put_le32(h + 24 + 4 * i++, (uint32_t)(out->n - at)); } while (0)
	TEXT(envelope_put_fields(out, scratch, &head, &named));
	TEXT(if (kept) put_fields(out, &head));
	if (!kept)
		put_le32(h + 28, UINT32_MAX);
	TEXT(h[1] = put_subject(out, scratch, &head));
	TEXT(put_mailbox(out, named.from));
	TEXT(put_mailbox(out, named.to));
	TEXT(put_mailbox(out, named.cc));
	TEXT(put_display(out, scratch, named.from));
	TEXT(put_display(out, scratch, named.to));
#undef TEXT
	if (!buf_failed(out))
		memcpy(out->p + start, h, sizeof(h));
	arena_release(scratch, mark);
}

int summary_parse(struct str in, struct mbox_summary *out)
{
	const unsigned char *const h = (const unsigned char *)in.p;
	struct str *const texts[TEXTS] = { &out->envelope, &out->fields, &out->base_subject, &out->from, &out->to, &out->cc, &out->display_from, &out->display_to };

	if (in.n < HEAD || h[0] != SUMMARY_VERSION || get_le32(h + 4) > SUMMARY_REFS_MAX || in.n - HEAD < (size_t)get_le32(h + 4) * 8)
		return -1;
	*out = (struct mbox_summary){ .reply = h[1] != 0, .zone = (int16_t)(h[2] | h[3] << 8), .sent = (int64_t)get_le64(h + 8), .msgid = get_le64(h + 16),
		.refs = h + HEAD, .n_refs = get_le32(h + 4) };
	struct str rest = str_from(in, HEAD + out->n_refs * 8);
	for (size_t i = 0; i < TEXTS; i++) {
		const uint32_t n = get_le32(h + 24 + 4 * i);
		if (texts[i] == &out->fields && n == UINT32_MAX)
			continue;
		if (n > rest.n)
			return -1;
		*texts[i] = str_sub(rest, 0, n);
		rest = str_from(rest, n);
	}
	return 0;
}

/* --- of a message --- */

static int cached(struct mbox *m, uint32_t uid, struct mbox_summary *out)
{
	struct str blob;

	return cache_peek(m, uid, MBOX_CACHE_SUMMARY, &blob) == 0 && summary_parse(blob, out) == 0 ? 0 : 1;
}

int mbox_summary_cached(struct mbox_view *v, uint32_t seq, struct mbox_summary *out)
{
	return cached(v->m, mbox_view_uid(v, seq), out);
}

int mbox_summary_peek(struct mbox_view *v, uint32_t seq, struct mbox_summary *out)
{
	const uint32_t uid = mbox_view_uid(v, seq);
	const struct ahead_item *it;

	if (cached(v->m, uid, out) == 0)
		return 0;
	if ((it = ahead_get(v, seq, MBOX_AHEAD_SUMMARY)) == NULL)
		return 1;
	cache_put(v->m, uid, MBOX_CACHE_SUMMARY, buf_view(&it->summary));
	return cached(v->m, uid, out);
}

void summary_make(struct buf *out, struct arena *scratch, struct str head)
{
	buf_init(out, SUMMARY_BYTES_MAX);
	(void)buf_room(out, USUAL_BYTES);
	summary_build(out, scratch, head);
}

static int build_and_put(struct mbox *m, uint32_t uid, struct str head, struct err *e)
{
	struct arena *a = arena_new(0);
	struct buf b;

	summary_make(&b, a, head);
	const int r = buf_check(&b, "envelope", e);
	if (r == 0)
		cache_put(m, uid, MBOX_CACHE_SUMMARY, buf_view(&b));
	buf_fini(&b);
	arena_free(&a);
	return r;
}

int mbox_summary_from(struct mbox_view *v, uint32_t seq, struct str head, struct mbox_summary *out, struct err *e)
{
	const uint32_t uid = mbox_view_uid(v, seq);

	if (build_and_put(v->m, uid, head, e) < 0)
		return -1;
	if (cached(v->m, uid, out) == 0)
		return 0;
	return err_set(e, ERR_TEMP, 0, "no cache");
}

int mbox_summary_get(struct mbox_view *v, uint32_t seq, struct mbox_summary *out, struct err *e)
{
	struct msgfile f;

	if (mbox_summary_peek(v, seq, out) == 0)
		return 0;
	if (msgfile_read(&f, v, seq, true, e) < 0)
		return -1;
	const int r = mbox_summary_from(v, seq, msgfile_head(&f), out, e);
	msgfile_close(&f);
	return r;
}

/* --- the column of dates --- */

#define SENT_UNKNOWN INT64_MAX

static int64_t *sent_slot(struct mbox *m, uint32_t pos)
{
	struct cache *const c = &m->cache;

	if (pos >= c->n_sent) {
		const size_t n = (size_t)state_count(&m->st) * 9 / 8 + 64;

		c->sent = xrealloc(c->sent, n * sizeof(*c->sent));
		while (c->n_sent < n)
			c->sent[c->n_sent++] = SENT_UNKNOWN;
	}
	return &c->sent[pos];
}

int mbox_sent_get(struct mbox_view *v, uint32_t seq, int64_t *out, struct err *e)
{
	const uint32_t pos = view_pos(v, seq);
	struct mbox_summary s;

	if (pos == UINT32_MAX)
		return err_set(e, ERR_NOENT, 0, "no message %u", seq);
	if (*sent_slot(v->m, pos) == SENT_UNKNOWN) {
		if (mbox_summary_get(v, seq, &s, e) < 0)
			return -1;
		*sent_slot(v->m, pos) = s.sent;
	}
	*out = *sent_slot(v->m, pos);
	return 0;
}
