/* ENVELOPE and BODYSTRUCTURE (RFC 3501 section 7.4.2). Owns their form; the parsing is lib/mail. Values stay as the message has them (encoded words
 * are the client's matter); parameters that lib/mail has decoded are written as RFC 2231 extended ones when they are not ASCII. */
#include "imap/structure.h"

#include "base/num.h"
#include "imap/crlf.h"
#include "imap/out.h"

/* --- envelope --- */

static void put_address(struct buf *out, const struct mail_addr *a)
{
	buf_ch(out, '(');
	imap_put_nstring(out, a->name);
	buf_ch(out, ' ');
	imap_put_nstring(out, a->route);
	buf_ch(out, ' ');
	imap_put_nstring(out, a->local);
	buf_ch(out, ' ');
	imap_put_nstring(out, a->domain);
	buf_ch(out, ')');
}

/* NULL: no such field, or no address in it; then nothing was written. */
static const struct mail_addr *put_addresses(struct buf *out, struct arena *scratch, const struct mail_fields *fields, const char *name)
{
	const struct mail_field *const f = mail_fields_find(fields, name);
	struct mail_addr *list = NULL;

	if (!f || mail_addr_parse(scratch, f->value, &list, NULL) < 0 || !list)
		return NULL;
	buf_ch(out, '(');
	for (const struct mail_addr *m = list; m; m = m->next)
		put_address(out, m);
	buf_ch(out, ')');
	return list;
}

static const struct mail_addr *put_addresses_or(struct buf *out, struct arena *scratch, const struct mail_fields *fields, const char *name, struct str other)
{
	buf_ch(out, ' ');
	const struct mail_addr *const list = put_addresses(out, scratch, fields, name);
	if (!list)
		buf_str(out, other);
	return list;
}

static void put_text(struct buf *out, struct arena *scratch, const struct mail_fields *fields, const char *name)
{
	const struct mail_field *const f = mail_fields_find(fields, name);

	if (f)
		imap_put_nstring(out, mail_unfold(scratch, f->value));
	else
		buf_c(out, "NIL");
}

void envelope_put_fields(struct buf *out, struct arena *scratch, const struct mail_fields *fields, struct envelope_addresses *addresses)
{
	const struct arena_mark mark = arena_mark(scratch);
	struct envelope_addresses named;
	const struct str nil = STR("NIL");

	buf_ch(out, '(');
	put_text(out, scratch, fields, "Date");
	buf_ch(out, ' ');
	put_text(out, scratch, fields, "Subject");
	/* Sender and Reply-To are From's, when they are missing. */
	const size_t at = out->n + 1;
	named.from = put_addresses_or(out, scratch, fields, "From", nil);
	const struct str from = arena_str(scratch, at <= out->n ? str_n(out->p + at, out->n - at) : nil);
	put_addresses_or(out, scratch, fields, "Sender", from);
	put_addresses_or(out, scratch, fields, "Reply-To", from);
	named.to = put_addresses_or(out, scratch, fields, "To", nil);
	named.cc = put_addresses_or(out, scratch, fields, "Cc", nil);
	put_addresses_or(out, scratch, fields, "Bcc", nil);
	buf_ch(out, ' ');
	put_text(out, scratch, fields, "In-Reply-To");
	buf_ch(out, ' ');
	put_text(out, scratch, fields, "Message-ID");
	buf_ch(out, ')');
	if (addresses)
		*addresses = named;
	else
		arena_release(scratch, mark);
}

void envelope_put(struct buf *out, struct arena *scratch, struct str head)
{
	const struct arena_mark mark = arena_mark(scratch);
	const struct mail_fields fields = mail_fields_of(scratch, head);

	envelope_put_fields(out, scratch, &fields, NULL);
	arena_release(scratch, mark);
}

/* --- body structure --- */

static bool ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= 0x80 || ch_ctl(s.p[i]))
			return false;
	}
	return true;
}

static void put_param(struct buf *out, const struct mail_param *p)
{
	static const char hex[] = "0123456789ABCDEF";
	struct buf b;

	if (ascii(p->value)) {
		imap_put_string(out, p->name);
		buf_ch(out, ' ');
		imap_put_string(out, p->value.p ? p->value : STR(""));
		return;
	}
	buf_init(&b, p->name.n + p->value.n * 3 + 64);
	buf_str(&b, p->name);
	buf_ch(&b, '*');
	imap_put_string(out, buf_view(&b));
	buf_ch(out, ' ');
	buf_reset(&b);
	buf_c(&b, "UTF-8''");
	for (size_t i = 0; i < p->value.n; i++) {
		const unsigned char c = (unsigned char)p->value.p[i];

		if (ch_alnum(c) || c == '.' || c == '-' || c == '_') {
			buf_ch(&b, (char)c);
		} else {
			buf_ch(&b, '%');
			buf_ch(&b, hex[c >> 4]);
			buf_ch(&b, hex[c & 15]);
		}
	}
	imap_put_string(out, buf_view(&b));
	buf_fini(&b);
}

static void put_params(struct buf *out, const struct mail_param *p)
{
	if (!p) {
		buf_c(out, "NIL");
		return;
	}
	buf_ch(out, '(');
	for (const struct mail_param *q = p; q; q = q->next) {
		if (q != p)
			buf_ch(out, ' ');
		put_param(out, q);
	}
	buf_ch(out, ')');
}

static void put_field(struct buf *out, struct str value)
{
	struct str v = str_trim(value);

	buf_ch(out, ' ');
	if (!value.p)
		v = (struct str){ 0 };
	imap_put_nstring(out, v);
}

static void put_disposition(struct buf *out, const struct mime_part *p)
{
	if (!p->disposition.p) {
		buf_c(out, " NIL");
		return;
	}
	buf_c(out, " (");
	imap_put_string(out, p->disposition);
	buf_ch(out, ' ');
	put_params(out, p->disposition_params);
	buf_ch(out, ')');
}

/* "de, en" is a list of two. */
static void put_language(struct buf *out, struct str value)
{
	struct str word;
	bool first = true;

	if (!value.p || str_trim(value).n == 0) {
		buf_c(out, " NIL");
		return;
	}
	buf_c(out, " (");
	while (str_token(&value, ", \t\r\n", &word)) {
		if (!first)
			buf_ch(out, ' ');
		first = false;
		imap_put_string(out, word);
	}
	if (first)
		buf_c(out, "\"\"");
	buf_ch(out, ')');
}

static void put_tail(struct buf *out, const struct mime_part *p)
{
	put_disposition(out, p);
	put_language(out, p->language);
	put_field(out, p->location);
}

static void put_multipart(struct buf *out, struct arena *scratch, const struct mime_part *p, bool extended)
{
	if (!p->children)	/* the grammar wants at least one part */
		buf_c(out, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
	for (const struct mime_part *q = p->children; q; q = q->next)
		body_put(out, scratch, q, extended);
	buf_ch(out, ' ');
	imap_put_string(out, p->subtype);
	if (extended) {
		buf_ch(out, ' ');
		put_params(out, p->params);
		put_tail(out, p);
	}
}

static void put_single(struct buf *out, struct arena *scratch, const struct mime_part *p, bool extended)
{
	const bool message = mime_type_is(p, "message", "rfc822") && p->children;
	/* Without its embedded message (a limit was reached) it must not look like one: the grammar would want its envelope. */
	const bool opaque = mime_type_is(p, "message", "rfc822") && !p->children;

	imap_put_string(out, opaque ? STR("application") : p->type);
	buf_ch(out, ' ');
	imap_put_string(out, opaque ? STR("octet-stream") : p->subtype);
	buf_ch(out, ' ');
	put_params(out, p->params);
	put_field(out, p->id);
	put_field(out, p->description);
	buf_ch(out, ' ');
	imap_put_string(out, p->encoding.n ? p->encoding : STR("7bit"));
	buf_printf(out, " %llu", (unsigned long long)crlf_size(p->body));
	if (message) {
		buf_ch(out, ' ');
		envelope_put(out, scratch, p->children->head);
		buf_ch(out, ' ');
		body_put(out, scratch, p->children, extended);
	}
	if (message || mime_type_is(p, "text", "*"))
		buf_printf(out, " %llu", (unsigned long long)p->body_lines);
	if (extended) {
		put_field(out, p->md5);
		put_tail(out, p);
	}
}

void body_put(struct buf *out, struct arena *scratch, const struct mime_part *p, bool extended)
{
	buf_ch(out, '(');
	if (mime_type_is(p, "multipart", "*"))
		put_multipart(out, scratch, p, extended);
	else
		put_single(out, scratch, p, extended);
	buf_ch(out, ')');
}

void structure_pack(struct buf *out, struct arena *scratch, const struct mime_part *p)
{
	const size_t at = out->n;

	buf_mem(out, "\0\0\0\0", 4);
	body_put(out, scratch, p, false);
	if (out->n >= at + 4)
		put_le32(out->p + at, (uint32_t)(out->n - at - 4));
	body_put(out, scratch, p, true);
}

int structure_unpack(struct str blob, bool extended, struct str *out)
{
	if (blob.n < 4 || get_le32(blob.p) > blob.n - 4)
		return -1;
	const size_t n = get_le32(blob.p);

	*out = extended ? str_from(blob, 4 + n) : str_sub(blob, 4, n);
	return 0;
}
