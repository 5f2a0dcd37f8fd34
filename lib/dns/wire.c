/* Answers come from whoever sits between us and a name server: nothing in them is trusted. Reading is by a cursor that never leaves the packet, names
 * are read backwards only (so that compression ends), records that are malformed make the whole answer malformed. */
#include "dns/wire.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/num.h"

enum form { RD_A, RD_AAAA, RD_NAME, RD_PREF_NAME, RD_TEXT, RD_SRV, RD_TLSA, RD_SOA };
enum { HEAD = 12, CLASS_IN = 1, TYPE_OPT = 41, LABEL_MAX = 63, WIRE_NAME_MAX = 255, SECTION_MAX = 1000, POINTERS_MAX = 128 };
enum { FLAG_RESPONSE = 0x8000, FLAG_TRUNCATED = 0x0200, FLAG_RECURSION = 0x0100, FLAG_AD = 0x0020 };

static const struct {
	const char *name;
	unsigned number;
	enum form form;
} types[] = {
#define DNS_TYPE(name, number, form) { #name, number, form },
#include "dns/types.def"
#undef DNS_TYPE
};

const char *dns_type_name(unsigned type)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].number == type)
			return types[i].name;
	return NULL;
}

static bool form_of(unsigned type, enum form *out)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].number == type) {
			*out = types[i].form;
			return true;
		}
	return false;
}

/* --- names --- */

/* One byte of a name, escapes undone. -1: no sense. */
static int name_byte(struct str *s)
{
	const unsigned char c = (unsigned char)s->p[0];

	*s = str_from(*s, 1);
	if (c != '\\')
		return c;
	if (s->n > 0 && ch_digit(s->p[0])) {
		uint64_t v;
		if (s->n < 3 || num_parse(str_sub(*s, 0, 3), 0, 255, &v) < 0)
			return -1;
		*s = str_from(*s, 3);
		return (int)v;
	}
	if (s->n == 0)
		return -1;
	const int r = (unsigned char)s->p[0];
	*s = str_from(*s, 1);
	return r;
}

int dns_name_put(struct str name, unsigned char *out, size_t *n_out, struct err *e)
{
	size_t at = 1, label = 0;	/* out[label] is the length of the label that is written */

	if (str_eq(name, STR("."))) {
		out[0] = 0;
		*n_out = 1;
		return 0;
	}
	while (name.n > 0) {
		const bool dot = name.p[0] == '.';
		const int c = name_byte(&name);
		if (c < 0 || at >= WIRE_NAME_MAX - 1)
			return err_set(e, ERR_INPUT, 0, "name malformed or too long");
		if (!dot) {
			out[at++] = (unsigned char)c;
			if (at - label - 1 > LABEL_MAX)
				return err_set(e, ERR_INPUT, 0, "name with a label of more than %d bytes", LABEL_MAX);
			continue;
		}
		if (at == label + 1)
			return err_set(e, ERR_INPUT, 0, "name with an empty label");
		out[label] = (unsigned char)(at - label - 1);
		label = at++;
	}
	if (at == 1)
		return err_set(e, ERR_INPUT, 0, "empty name");
	out[label] = (unsigned char)(at - label - 1);
	if (out[label] != 0)
		out[at++] = 0;
	*n_out = at;
	return 0;
}

static void put_label(struct buf *out, const unsigned char *p, size_t n)
{
	if (out->n > 0)
		buf_ch(out, '.');
	for (size_t i = 0; i < n; i++)
		if (ch_alnum(p[i]) || p[i] == '-' || p[i] == '_')
			buf_ch(out, (char)p[i]);
		else if (p[i] == '.' || p[i] == '\\')
			buf_printf(out, "\\%c", p[i]);
		else
			buf_printf(out, "\\%03u", p[i]);
}

/* --- reading --- */

struct cursor {
	const unsigned char *p;
	size_t at, n;
	bool bad;		/* sticks */
};

static unsigned take(struct cursor *c, size_t bytes)
{
	unsigned v = 0;

	if (c->bad || c->n - c->at < bytes) {
		c->bad = true;
		return 0;
	}
	while (bytes-- > 0)
		v = v << 8 | c->p[c->at++];
	return v;
}

/* A name at the cursor, which moves behind it. Each pointer must lead to a place before all that was read of this name. */
static struct str take_name(struct cursor *c, struct arena *a)
{
	struct buf b;
	size_t at = c->at, lowest = c->at, wire = 0;
	bool jumped = false;

	buf_init(&b, (size_t)4 * WIRE_NAME_MAX + 16);
	for (int pointers = 0; !c->bad;) {
		if (at >= c->n) {
			c->bad = true;
			break;
		}
		const unsigned len = c->p[at];
		if (len >= 0xc0) {
			const size_t to = at + 1 < c->n ? (size_t)(len & 0x3f) << 8 | c->p[at + 1] : c->n;
			if (!jumped)
				c->at = at + 2;
			c->bad = to >= lowest || ++pointers > POINTERS_MAX || c->at > c->n;
			jumped = true;
			at = lowest = to;
			continue;
		}
		if (len > LABEL_MAX || at + 1 + len > c->n || (wire += len + 1) > WIRE_NAME_MAX) {
			c->bad = true;
			break;
		}
		if (len > 0)
			put_label(&b, c->p + at + 1, len);
		at += 1 + len;
		if (len == 0)
			break;
	}
	if (!c->bad && !jumped)
		c->at = at;
	if (b.n == 0)
		buf_ch(&b, '.');
	c->bad |= buf_failed(&b);
	const struct str r = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return r;
}

struct record {
	struct str owner;
	unsigned type, class;
	uint32_t ttl;
	struct cursor data;	/* over the whole packet, ends with the record's data */
};

static void take_record(struct cursor *c, struct arena *a, struct record *r)
{
	r->owner = take_name(c, a);
	r->type = take(c, 2);
	r->class = take(c, 2);
	r->ttl = take(c, 4);
	if (r->ttl > INT32_MAX)
		r->ttl = 0;	/* RFC 2181 8 */
	const unsigned n = take(c, 2);
	if (c->bad || c->n - c->at < n) {
		c->bad = true;
		return;
	}
	r->data = (struct cursor){ .p = c->p, .at = c->at, .n = c->at + n };
	c->at += n;
}

static void put_addr(struct cursor *d, int family, struct buf *out)
{
	const size_t n = family == AF_INET ? 4 : 16;
	char text[INET6_ADDRSTRLEN];

	if (d->n - d->at != n || inet_ntop(family, d->p + d->at, text, sizeof(text)) == NULL) {
		d->bad = true;
		return;
	}
	d->at += n;
	buf_c(out, text);
}

static void put_strings(struct cursor *d, struct buf *out)
{
	while (!d->bad && d->at < d->n) {
		const size_t n = take(d, 1);
		if (d->n - d->at < n) {
			d->bad = true;
			return;
		}
		buf_mem(out, d->p + d->at, n);
		d->at += n;
	}
}

static void put_numbers_name(struct cursor *d, int numbers, struct arena *a, struct buf *out)
{
	for (; numbers > 0; numbers--)
		buf_printf(out, "%u ", take(d, 2));
	buf_str(out, take_name(d, a));
}

static void put_tlsa(struct cursor *d, struct buf *out)
{
	const unsigned usage = take(d, 1), selector = take(d, 1), matching = take(d, 1);

	if (d->bad)
		return;
	buf_printf(out, "%u %u %u ", usage, selector, matching);
	hex_encode(out, str_n(d->p + d->at, d->n - d->at));
	d->at = d->n;
}

static void put_soa(struct cursor *d, struct arena *a, struct buf *out)
{
	const struct str mname = take_name(d, a);

	(void)take_name(d, a);
	const unsigned serial = take(d, 4);
	d->bad |= d->n - d->at != 16;
	if (d->bad)
		return;
	d->at += 12;
	buf_printf(out, "%.*s %u %u", STR_ARG(mname), serial, take(d, 4));
}

/* The record's data as text. -1: malformed, or longer than the limit. */
static int record_text(struct record *r, enum form form, struct arena *a, struct str *out)
{
	struct cursor *d = &r->data;
	struct buf b;

	buf_init(&b, DNS_TEXT_MAX);
	switch (form) {
	case RD_A: put_addr(d, AF_INET, &b); break;
	case RD_AAAA: put_addr(d, AF_INET6, &b); break;
	case RD_NAME: buf_str(&b, take_name(d, a)); break;
	case RD_PREF_NAME: put_numbers_name(d, 1, a, &b); break;
	case RD_TEXT: put_strings(d, &b); break;
	case RD_SRV: put_numbers_name(d, 3, a, &b); break;
	case RD_TLSA: put_tlsa(d, &b); break;
	case RD_SOA: put_soa(d, a, &b); break;
	}
	const bool ok = !d->bad && d->at == d->n && !buf_failed(&b);
	*out = ok ? arena_str(a, buf_view(&b)) : (struct str){ 0 };
	buf_fini(&b);
	return ok ? 0 : -1;
}

/* --- an answer --- */

struct section {
	struct record *v;
	size_t n;
};

static int malformed(struct err *e)
{
	return err_set(e, ERR_INPUT, 0, "Malformed DNS server reply");
}

static int take_section(struct cursor *c, unsigned count, struct arena *a, struct section *out, struct err *e)
{
	if (count > SECTION_MAX)
		return err_set(e, ERR_LIMIT, 0, "DNS server reply with %u records", count);
	out->v = ARENA_ARRAY(a, struct record, count + 1);
	for (out->n = 0; out->n < count; out->n++) {
		take_record(c, a, &out->v[out->n]);
		if (c->bad)
			return malformed(e);
	}
	return 0;
}

static void lower_ttl(struct dns_records *out, bool *any, uint32_t ttl)
{
	if (!*any || ttl < out->ttl)
		out->ttl = ttl;
	*any = true;
}

/* The alias of out->canonical in the section; false: none, or one too many. */
static bool follow(const struct section *s, struct arena *a, struct dns_records *out, bool *any, bool *bad)
{
	for (size_t i = 0; i < s->n; i++) {
		struct record *r = &s->v[i];
		struct str target;
		if (r->type != DNS_CNAME || r->class != CLASS_IN || !str_case_eq(r->owner, out->canonical))
			continue;
		struct record copy = *r;
		if (record_text(&copy, RD_NAME, a, &target) < 0) {
			*bad = true;
			return false;
		}
		lower_ttl(out, any, r->ttl);
		out->canonical = target;
		return true;
	}
	return false;
}

static int collect(struct section *s, unsigned type, enum form form, struct arena *a, struct dns_records *out, bool *any, struct err *e)
{
	size_t total = 0;

	out->v = ARENA_ARRAY(a, struct str, DNS_RECORDS_MAX);
	for (size_t i = 0; i < s->n && out->n < DNS_RECORDS_MAX; i++) {
		struct record *r = &s->v[i];
		struct str text;
		if (r->type != type || r->class != CLASS_IN || !str_case_eq(r->owner, out->canonical))
			continue;
		if (record_text(r, form, a, &text) < 0)
			return malformed(e);
		if ((total += text.n) > DNS_TEXTS_MAX)
			break;
		lower_ttl(out, any, r->ttl);
		out->v[out->n++] = text;
	}
	return 0;
}

/* RFC 2308: how long "no such name" or "no such record" may be remembered. */
static void negative_ttl(const struct section *s, struct arena *a, struct dns_records *out, bool *any)
{
	for (size_t i = 0; i < s->n; i++) {
		struct record r = s->v[i];
		struct str text;
		uint64_t minimum;
		if (r.type != DNS_SOA || record_text(&r, RD_SOA, a, &text) < 0)
			continue;
		const struct str last = str_from(text, (size_t)(str_rchr(text, ' ') + 1));
		if (num_parse(last, 0, UINT32_MAX, &minimum) == 0)
			lower_ttl(out, any, r.ttl < minimum ? r.ttl : (uint32_t)minimum);
	}
}

static bool is_question(struct cursor *c, struct arena *a, struct str name, unsigned type)
{
	const struct str asked = take_name(c, a);
	const unsigned t = take(c, 2), class = take(c, 2);

	return !c->bad && t == type && class == CLASS_IN && str_case_eq(asked, name);
}

int dns_answer_get(struct str packet, struct str name, unsigned type, struct arena *a, struct dns_records *out, struct err *e)
{
	struct cursor c = { .p = (const unsigned char *)packet.p, .n = packet.n };
	struct section answer, authority;
	unsigned char wire[WIRE_NAME_MAX];
	struct cursor own = { .p = wire };
	enum form form;
	bool any = false, bad = false;

	if (!form_of(type, &form))
		return err_set(e, ERR_INPUT, 0, "record type %u is not known here", type);
	if (dns_name_put(name, wire, &own.n, e) < 0)
		return -1;
	name = take_name(&own, a);	/* in one form, to be compared with what comes */
	(void)take(&c, 2);
	const unsigned flags = take(&c, 2), questions = take(&c, 2), answers = take(&c, 2), authorities = take(&c, 2);
	(void)take(&c, 2);
	if (c.bad || !(flags & FLAG_RESPONSE) || questions != 1 || !is_question(&c, a, name, type))
		return malformed(e);
	*out = (struct dns_records){ .rcode = flags & 15, .ad = flags & FLAG_AD, .truncated = flags & FLAG_TRUNCATED, .canonical = name };
	if (take_section(&c, answers, a, &answer, e) < 0 || take_section(&c, authorities, a, &authority, e) < 0)
		return -1;
	if (type != DNS_CNAME)
		for (int i = 0; follow(&answer, a, out, &any, &bad); i++)
			if (i == DNS_ALIASES_MAX)
				return err_set(e, ERR_INPUT, 0, "too many aliases (CNAME)");
	if (bad)
		return malformed(e);
	if (collect(&answer, type, form, a, out, &any, e) < 0)
		return -1;
	if (out->n == 0)
		negative_ttl(&authority, a, out, &any);
	return 0;
}

/* --- asking --- */

int dns_query_put(uint16_t id, struct str name, unsigned type, unsigned char out[DNS_QUERY_MAX], size_t *n_out, struct err *e)
{
	static const unsigned char opt[11] = { 0, 0, TYPE_OPT, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff };
	size_t n;

	memset(out, 0, HEAD);
	if (dns_name_put(name, out + HEAD, &n, e) < 0)
		return -1;
	n += HEAD;
	put_be16(out, id);
	put_be16(out + 2, FLAG_RECURSION | FLAG_AD);
	put_be16(out + 4, 1);
	put_be16(out + 10, 1);
	put_be16(out + n, (uint16_t)type);
	put_be16(out + n + 2, CLASS_IN);
	memcpy(out + n + 4, opt, sizeof(opt));
	*n_out = n + 4 + sizeof(opt);
	return 0;
}

const char *dns_reverse_name(struct arena *a, const uint8_t addr[16], struct str suffix)
{
	char nibbles[65];

	if (ip_is_v4(addr)) {
		if (suffix.n == 0)
			suffix = STR("in-addr.arpa");
		return arena_printf(a, "%u.%u.%u.%u.%.*s", addr[15], addr[14], addr[13], addr[12], STR_ARG(suffix));
	}
	if (suffix.n == 0)
		suffix = STR("ip6.arpa");
	for (size_t i = 0; i < 32; i++) {
		const unsigned byte = addr[15 - i / 2];
		nibbles[2 * i] = "0123456789abcdef"[i % 2 ? byte >> 4 : byte & 15];
		nibbles[2 * i + 1] = '.';
	}
	nibbles[64] = '\0';
	return arena_printf(a, "%s%.*s", nibbles, STR_ARG(suffix));
}
