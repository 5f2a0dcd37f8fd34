/* Address fields of a header. */
#include "deliver/queue/header_addresses.h"

#include <string.h>

#include "mail/edit.h"
#include "smtp/addr.h"

enum { FIRST_ROOM = 16 };

static const struct {
	const char *name;
	bool sender;
} fields[] = {
	{ "From", true },	 { "Sender", true },	   { "Reply-To", true },     { "Return-Path", true }, { "Errors-To", true }, { "Resent-From", true },
	{ "Resent-Sender", true }, { "Resent-Reply-To", true }, { "To", false },	     { "Cc", false },	      { "Bcc", false },	     { "Apparently-To", false },
	{ "Resent-To", false },	 { "Resent-Cc", false },   { "Resent-Bcc", false },
};

static int field_index(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (str_case_eq(name, str_c(fields[i].name)))
			return (int)i;
	return -1;
}

static bool has_groups(const struct mail_addr *list)
{
	for (const struct mail_addr *m = list; m; m = m->next)
		if (m->local.p == NULL && m->domain.p == NULL)
			return true;
	return false;
}

enum part { PART_ADDRESS, PART_START, PART_END };

/* A bare word is an address without its domain; in a list with groups, only inside of one, where there is no further start. */
static enum part part_of(const struct mail_addr *m, bool groups, bool *in_group)
{
	if (m->local.p == NULL && m->domain.p == NULL) {
		*in_group = false;
		return PART_END;
	}
	if (!groups || *in_group || m->domain.n > 0)
		return PART_ADDRESS;
	*in_group = true;
	return PART_START;
}

static bool complete(struct arena *a, const struct header_completion *c, struct mail_addr *m)
{
	if (m->domain.n == 0) {
		if (c->domain.n == 0)
			return false;
		m->domain = c->domain;
		return true;
	}
	if (c->parent.n == 0 || str_chr(m->domain, '.') >= 0 || m->domain.p[0] == '[')
		return false;
	m->domain = str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(m->domain), STR_ARG(c->parent)));
	return true;
}

static struct str address_text(struct arena *a, const struct mail_addr *m)
{
	const struct smtp_addr addr = { .local = m->local, .domain = m->domain };
	struct buf b;

	buf_init(&b, HEADER_FIELD_MAX);
	smtp_addr_format(&addr, &b);
	const struct str s = buf_failed(&b) ? STR("") : arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* For one more behind n. */
static bool make_room(struct arena *a, size_t n, struct header_addresses *h)
{
	if (n < h->room)
		return true;
	const size_t room = h->room > 0 ? 2 * h->room : FIRST_ROOM;
	struct str *addresses = ARENA_ARRAY(a, struct str, room), *classes = ARENA_ARRAY(a, struct str, room);
	if (addresses == NULL || classes == NULL)
		return false;
	if (n > 0) {
		memcpy(addresses, h->addresses, n * sizeof(*addresses));
		memcpy(classes, h->classes, n * sizeof(*classes));
	}
	h->addresses = addresses;
	h->classes = classes;
	h->room = room;
	return true;
}

static void take_field(struct arena *a, const struct mail_field *f, size_t kind, unsigned number, const struct header_completion *c, struct header_addresses *out)
{
	struct header_field h = { .name = str_c(fields[kind].name), .number = number, .first = out->n };
	size_t n = out->n, bytes = out->bytes;
	struct err e = { 0 };

	if (out->n_fields == HEADER_ADDRESS_FIELDS_MAX || f->value.n > HEADER_FIELD_MAX || mail_addr_parse(a, f->value, &h.list, &e) < 0)
		return;
	const bool groups = has_groups(h.list);
	bool in_group = false;
	for (struct mail_addr *m = h.list; m; m = m->next) {
		if (part_of(m, groups, &in_group) != PART_ADDRESS)
			continue;
		if (m->local.n == 0)
			return;		/* not understood */
		if (n == HEADER_ADDRESSES_MAX || bytes > HEADER_ADDRESS_BYTES_MAX || !make_room(a, n, out))
			return;		/* the field is left alone */
		h.changed |= complete(a, c, m);
		out->classes[n] = fields[kind].sender ? STR("sender") : STR("recipient");
		out->addresses[n] = address_text(a, m);
		bytes += out->addresses[n++].n;
	}
	h.n = n - h.first;
	out->n = n;
	out->bytes = bytes;
	out->fields[out->n_fields++] = h;
}

void header_addresses_find(struct arena *a, struct str head, const struct header_completion *c, struct header_addresses *out)
{
	unsigned counts[ARRAY_LEN(fields)] = { 0 };
	struct mail_field f;

	*out = (struct header_addresses){ 0 };
	while (mail_field_next(&head, &f) == 0) {
		const int kind = field_index(f.name);
		if (kind >= 0)
			take_field(a, &f, (size_t)kind, ++counts[kind], c, out);
	}
}

void header_address_set(struct header_addresses *h, size_t i, struct str address)
{
	if (address.n == 0 || str_eq(h->addresses[i], address))
		return;
	h->addresses[i] = address;
	for (size_t k = 0; k < h->n_fields; k++)
		if (i >= h->fields[k].first && i < h->fields[k].first + h->fields[k].n)
			h->fields[k].changed = true;
}

/* --- putting it back --- */

static bool plain_phrase(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != ' ' && s.p[i] != '-' && s.p[i] != '\'' && s.p[i] != '=' && s.p[i] != '?' && s.p[i] != '_')
			return false;
	return true;
}

/* Encoded words mean something outside of quotes only. */
static void put_phrase(struct buf *b, struct str name)
{
	const bool encoded = str_find(name, STR("=?")) >= 0;

	if (!encoded && !plain_phrase(name))
		buf_ch(b, '"');
	for (size_t i = 0; i < name.n; i++) {
		const char ch = ch_ctl(name.p[i]) ? ' ' : name.p[i];
		if (!encoded && (ch == '"' || ch == '\\'))
			buf_ch(b, '\\');
		buf_ch(b, ch);
	}
	if (!encoded && !plain_phrase(name))
		buf_ch(b, '"');
}

static void put_address(struct buf *b, const struct mail_addr *m, struct str address)
{
	if (m->name.n > 0) {
		put_phrase(b, m->name);
		buf_ch(b, ' ');
	}
	buf_c(b, m->name.n > 0 ? "<" : "");
	buf_str(b, address);
	buf_c(b, m->name.n > 0 ? ">" : "");
}

/* "=Name#K: a, b, group: c;". Each address on a line of its own once there are several. */
static void put_field(const struct header_addresses *h, const struct header_field *f, struct buf *b)
{
	const bool groups = has_groups(f->list);
	bool in_group = false, first = true;
	size_t at = f->first;

	buf_printf(b, "=%.*s#%u: ", STR_ARG(f->name), f->number);
	for (const struct mail_addr *m = f->list; m; m = m->next) {
		const enum part part = part_of(m, groups, &in_group);
		if (part == PART_END) {
			buf_ch(b, ';');
			continue;
		}
		if (!first && b->n > 0 && b->p[b->n - 1] != ':')
			buf_c(b, ",\n\t");
		first = false;
		if (part == PART_ADDRESS) {
			put_address(b, m, h->addresses[at++]);
		} else {
			put_phrase(b, m->local);
			buf_ch(b, ':');
		}
	}
}

size_t header_addresses_edits(const struct header_addresses *h, struct arena *a, struct str *edits, size_t max)
{
	struct err e = { 0 };
	struct buf b;
	size_t n = 0;

	buf_init(&b, HEADER_FIELD_MAX + 1000);
	for (size_t i = 0; i < h->n_fields && n < max; i++) {
		if (!h->fields[i].changed)
			continue;
		buf_reset(&b);
		put_field(h, &h->fields[i], &b);
		if (!buf_failed(&b) && mail_edit_check(buf_view(&b), &e) == 0)
			edits[n++] = arena_str(a, buf_view(&b));
	}
	buf_fini(&b);
	return n;
}
