/* Header values as rules ask for them: "Subject", "From:addr", "ALL", "X-Spam-Relays-External", EnvelopeFrom … (SpamAssassin's get()). Each is made once. */
#include "spam/msg.h"

static struct str with_newline(struct msg *m, struct str v)
{
	char *p = arena_alloc(m->a, v.n + 2);
	memcpy(p, v.p, v.n);
	p[v.n] = '\n';
	return str_n(p, v.n + 1);
}

/* Folds of a raw value become one blank. */
static struct str raw_unfolded(struct msg *m, struct str raw)
{
	char *p = arena_alloc(m->a, raw.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] != '\n' || i + 1 >= raw.n || !sp_char(raw.p[i + 1])) {
			p[n++] = raw.p[i];
			continue;
		}
		p[n++] = ' ';
		while (i + 1 < raw.n && sp_char(raw.p[i + 1]))
			i++;
	}
	return str_n(p, n);
}

enum form { DECODED, RAW, RAW_UNFOLDED };

static void add_fields(struct msg *m, struct str key, enum form form, struct strs *out)
{
	for (size_t i = 0; i < m->fields.n; i++) {
		struct field *f = &m->fields.v[i];
		if (f->key.n != key.n || !str_case_eq(f->key, key))
			continue;
		strs_add(m->a, out, form == RAW ? f->raw : form == RAW_UNFOLDED ? raw_unfolded(m, f->raw) : with_newline(m, field_value(m->a, f)));
	}
}

/* --- ALL and its sections --- */

static struct str all_line(struct msg *m, struct field *f)
{
	struct str v = field_value(m->a, f);
	char *p = arena_alloc(m->a, f->name.n + v.n + 4);
	memcpy(p, f->name.p, f->name.n);
	memcpy(p + f->name.n, ": ", 2);
	memcpy(p + f->name.n + 2, v.p, v.n);
	p[f->name.n + 2 + v.n] = '\n';
	return str_n(p, f->name.n + v.n + 3);
}

/* Fields as they came, each with its folds. */
static void raw_lines(struct msg *m, struct strs *out)
{
	struct str in = m->head;
	struct mail_field f;
	while (mail_field_next(&in, &f) == 0)
		strs_add(m->a, out, f.whole);
}

static void all_lines(struct msg *m, bool raw, struct strs *out)
{
	if (raw) {
		raw_lines(m, out);
		return;
	}
	size_t total = 0;
	for (size_t i = 0; i < m->fields.n; i++) {
		struct str line = all_line(m, &m->fields.v[i]);
		total += line.n;
		if (total > MSG_HEAD_MAX) {
			m->flags |= MSG_TRUNCATED_HEAD;
			return;
		}
		strs_add(m->a, out, line);
	}
}

/* The part of the header above (before) or from the Received field of that index on. */
static void all_section(struct msg *m, bool raw, int first, int last, struct strs *out)
{
	struct strs all = { 0 };
	int now = -1;
	if (last == 0 && first < 0)
		return;
	all_lines(m, raw, &all);
	for (size_t i = 0; i < all.n; i++) {
		now += str_case_starts(all.v[i], STR("Received:"));
		if ((first < 0 || first <= now) && (last < 0 || now <= last))
			strs_add(m->a, out, all.v[i]);
		if (last >= 0 && now == last)
			return;
	}
}

static bool get_all(struct msg *m, const struct head_spec *h, struct strs *out)
{
	if (str_eq(h->field, STR("ALL"))) {
		all_lines(m, h->raw, out);
		return true;
	}
	if (!str_starts(h->field, STR("ALL-")))
		return false;
	msg_relays(m);
	struct str which = str_from(h->field, 4);
	int trusted = m->last_trusted + 1, internal = m->last_internal + 1;
	if (str_eq(which, STR("TRUSTED")))
		all_section(m, h->raw, -1, trusted, out);
	else if (str_eq(which, STR("INTERNAL")))
		all_section(m, h->raw, -1, internal, out);
	else if (str_eq(which, STR("UNTRUSTED")))
		all_section(m, h->raw, trusted, -1, out);
	else if (str_eq(which, STR("EXTERNAL")))
		all_section(m, h->raw, internal, -1, out);
	else
		return false;
	return true;
}

/* --- fields that are made up --- */

static bool get_relays(struct msg *m, struct str key, struct strs *out)
{
	static const char *const names[] = { "x-spam-relays-trusted", "x-spam-relays-untrusted", "x-spam-relays-internal", "x-spam-relays-external" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_case_eq(key, str_c(names[i])))
			continue;
		msg_relays(m);
		strs_add(m->a, out, m->relay_texts.v[i]);
		return true;
	}
	return false;
}

static void get_message_ids(struct msg *m, bool raw, struct strs *out)
{
	static const char *const keys[] = { "x-message-id", "resent-message-id", "x-original-message-id", "message-id" };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct strs one = { 0 };
		add_fields(m, str_c(keys[i]), raw ? RAW_UNFOLDED : DECODED, &one);
		if (one.n > 0 && one.v[one.n - 1].n > 0)
			strs_add(m->a, out, one.v[one.n - 1]);
	}
}

static void get_field(struct msg *m, const struct head_spec *h, struct strs *out)
{
	bool needs_raw = h->raw || h->addr || h->name;
	if (get_relays(m, h->field, out))
		return;
	if (str_case_eq(h->field, STR("EnvelopeFrom"))) {
		struct str v;
		if (msg_envelope_from(m, &v))
			strs_add(m->a, out, v);
	} else if (str_case_eq(h->field, STR("ToCc"))) {
		add_fields(m, STR("to"), h->raw ? RAW_UNFOLDED : DECODED, out);
		add_fields(m, STR("cc"), h->raw ? RAW_UNFOLDED : DECODED, out);
	} else if (str_eq(h->field, STR("MESSAGEID"))) {
		get_message_ids(m, h->raw, out);
	} else {
		add_fields(m, h->field, needs_raw ? RAW : DECODED, out);
	}
}

/* --- modifiers --- */

static struct str clean_name(struct msg *m, struct str phrase)
{
	struct str v = decode_field(m->a, phrase, STR("x"));
	if (sp_trim(v).n == 0)
		return v;
	v = sp_trim(str_squeeze(m->a, v));
	return v.n >= 2 && v.p[0] == '\'' && v.p[v.n - 1] == '\'' ? str_sub(v, 1, v.n - 2) : v;
}

static void to_addresses(struct msg *m, const struct head_spec *h, struct strs *v)
{
	struct strs out = { 0 };
	for (size_t i = 0; i < v->n; i++) {
		size_t max = 2;
		for (size_t k = 0; k < v->v[i].n && max < MSG_ADDRS_MAX; k++)
			max += v->v[i].p[k] == ',' || v->v[i].p[k] == ';' || v->v[i].p[k] == '<';
		struct hdr_addr *list = ARENA_ARRAY(m->a, struct hdr_addr, max);
		size_t n = addrs_parse(m->a, v->v[i], list, max);
		for (size_t k = 0; k < n; k++) {
			if (h->addr && list[k].address.p != NULL)
				strs_add(m->a, &out, list[k].address);
			else if (!h->addr && list[k].phrase.p != NULL)
				strs_add(m->a, &out, h->raw ? list[k].phrase : clean_name(m, list[k].phrase));
		}
	}
	*v = out;
}

/* A name with dots that ends in a known domain, at or after *at. */
static bool next_host(struct msg *m, struct str line, size_t *at, struct str *host)
{
	for (size_t i = *at; i < line.n;) {
		if (!ch_alnum(line.p[i]) || (i > 0 && strchr("._-", line.p[i - 1]) != NULL)) {
			i++;
			continue;
		}
		size_t end = i;
		while (end < line.n && (ch_alnum(line.p[end]) || strchr("._-", line.p[end]) != NULL))
			end++;
		struct str word = str_sub(line, i, end - i);
		if (fqdn_ok(word) && domain_ok(m->s, word)) {
			*host = word;
			*at = end;
			return true;
		}
		i = end;
	}
	return false;
}

static bool host_of(struct msg *m, const struct head_spec *h, struct str line, struct str *host)
{
	ptrdiff_t sign = str_rchr(line, '@');
	size_t at = 0;
	if (sign >= 0) {
		struct str rest = str_from(line, (size_t)sign + 1);
		size_t n = 0;
		while (n < rest.n && !sp_char(rest.p[n]))
			n++;
		*host = str_sub(rest, 0, n);
		if (n > 0 && (h->addr || fqdn_ok(*host)))
			return true;
	}
	return !h->addr && next_host(m, line, &at, host);
}

static void to_hosts(struct msg *m, const struct head_spec *h, struct strs *v)
{
	struct strs out = { 0 };
	for (size_t i = 0; i < v->n; i++) {
		struct str host;
		if (host_of(m, h, v->v[i], &host))
			strs_add(m->a, &out, h->domain ? domain_trim(m->s, m->a, host) : host);
	}
	*v = out;
}

static struct str reversed_ip(struct msg *m, struct str ip)
{
	struct str p[4], rest = ip;
	for (unsigned i = 0; i < 4; i++)
		p[i] = str_split(&rest, '.');
	return str_c(arena_printf(m->a, "%.*s.%.*s.%.*s.%.*s", STR_ARG(p[3]), STR_ARG(p[2]), STR_ARG(p[1]), STR_ARG(p[0])));
}

static void to_ips(struct msg *m, const struct head_spec *h, struct strs *v)
{
	struct strs out = { 0 };
	for (size_t i = 0; i < v->n; i++) {
		struct str line = v->v[i];
		for (size_t at = 0; at < line.n;) {
			size_t n = 0;
			while (at + n < line.n && (ch_xdigit(line.p[at + n]) >= 0 || line.p[at + n] == '.' || line.p[at + n] == ':'))
				n++;
			struct str word = str_sub(line, at, n);
			if (n > 0 && ip_is(word)) {
				strs_add(m->a, &out, h->revip && ip_is_v4(word) ? reversed_ip(m, word) : word);
				break;
			}
			at += n + 1;
		}
	}
	*v = out;
}

static void head_make(struct msg *m, const struct head_spec *h, struct head_value *v)
{
	bool sections = get_all(m, h, &v->v);
	if (!sections)
		get_field(m, h, &v->v);
	if (!sections && v->v.n > 1 && (h->first || h->last)) {
		v->v.v += h->first ? 0 : v->v.n - 1;
		v->v.n = 1;
	}
	if (!sections && (h->addr || h->name))
		to_addresses(m, h, &v->v);
	if (!sections && (h->host || h->domain))
		to_hosts(m, h, &v->v);
	else if (!sections && (h->ip || h->revip))
		to_ips(m, h, &v->v);
	v->defined = v->v.n > 0;
	bool lines = v->v.n > 0 && v->v.v[0].n > 0 && v->v.v[0].p[v->v.v[0].n - 1] == '\n';
	struct buf b;
	buf_init(&b, (size_t)1 << 24);
	for (size_t i = 0; i < v->v.n; i++) {
		if (i > 0 && !lines)
			buf_ch(&b, '\n');
		buf_str(&b, v->v.v[i]);
	}
	v->joined = v->v.n == 1 ? v->v.v[0] : arena_str(m->a, buf_view(&b));
	buf_fini(&b);
	v->made = true;
}

const struct head_value *msg_head(struct msg *m, const struct head_spec *spec)
{
	struct head_value *v = &m->heads[spec->index];
	if (!v->made)
		head_make(m, spec, v);
	return v;
}

/* Of rules' and eval_heads.def's specifications the values are kept; others are made anew. */
static const struct head_value *value_named(struct msg *m, const char *name, const struct head_spec **spec)
{
	struct head_spec *h = ARENA_NEW(m->a, struct head_spec);
	struct err e = { 0 };
	if (head_spec_parse(m->a, str_c(name), h, &e) < 0)
		return NULL;
	*spec = map_get(m->s->head_by_key, h->key);
	if (*spec != NULL)
		return msg_head(m, *spec);
	struct head_value *v = ARENA_NEW(m->a, struct head_value);
	head_make(m, h, v);
	*spec = h;
	return v;
}

const struct strs *msg_get_all(struct msg *m, const char *name)
{
	static const struct strs none;
	const struct head_spec *h;
	const struct head_value *v = value_named(m, name, &h);
	return v == NULL ? &none : &v->v;
}

struct str msg_get(struct msg *m, const char *name)
{
	const struct head_spec *h;
	const struct head_value *v = value_named(m, name, &h);
	if (v == NULL || !v->defined)
		return STR("");
	if (!(h->addr || h->name || h->host || h->domain || h->ip || h->revip || str_case_eq(h->field, STR("EnvelopeFrom"))))
		return v->joined;
	struct str one = v->v.v[0];
	if (one.n > 0 && one.p[one.n - 1] == '\n')
		one.n--;
	return one;
}

bool msg_has(struct msg *m, const char *name)
{
	return msg_get_all(m, name)->n > 0;
}

/* --- EnvelopeFrom --- */

/* Is one of them below a Received? Then it is not from the last delivery. */
static bool below_received(struct msg *m, const char *key)
{
	bool received = false;
	for (size_t i = 0; i < m->fields.n; i++) {
		if (received && str_eq(m->fields.v[i].key, str_c(key)))
			return true;
		received |= str_eq(m->fields.v[i].key, STR("received"));
	}
	return false;
}

static bool first_address(struct msg *m, const char *key, struct str *out)
{
	struct strs v = { 0 };
	struct hdr_addr list[8];
	add_fields(m, str_c(key), RAW, &v);
	size_t n = v.n == 0 ? 0 : addrs_parse(m->a, v.v[0], list, ARRAY_LEN(list));
	for (size_t i = 0; i < n; i++) {
		if (list[i].address.p != NULL) {
			*out = list[i].address;
			return true;
		}
	}
	return false;
}

static bool has_sign(struct str v)
{
	return v.n == 0 || str_chr(v, '@') > 0;
}

static bool envelope_of_relay(struct msg *m, struct str *out)
{
	msg_relays(m);
	const struct relay *r = NULL;
	for (size_t i = 0; i < m->n_relays && (r == NULL || r->trusted); i++)
		r = &m->relays[i];
	if (r == NULL || !r->has_envfrom || !has_sign(r->envfrom))
		return false;
	*out = r->envfrom;
	return true;
}

static bool by_fetchmail(struct msg *m)
{
	struct str sender;
	if (!first_address(m, "x-sender", &sender) || str_chr(sender, '@') < 0)
		return false;
	struct strs received = { 0 };
	add_fields(m, STR("received"), DECODED, &received);
	for (size_t i = 0; i < received.n; i++)
		if (str_find(received.v[i], STR("(fetchmail")) >= 0)
			return true;
	return false;
}

static bool envelope_find(struct msg *m, struct str *out)
{
	if (m->facts->sender.p != NULL) {
		*out = m->facts->sender;
		return true;
	}
	if (m->s->envelope_header.p != NULL)
		return first_address(m, arena_cstr(m->a, str_lower_copy(m->a, m->s->envelope_header)), out) && has_sign(*out);
	if (envelope_of_relay(m, out))
		return true;
	if (by_fetchmail(m))
		return false;
	if (first_address(m, "x-envelope-from", out))
		return !below_received(m, "x-envelope-from");
	if (first_address(m, "envelope-sender", out) && !below_received(m, "envelope-sender"))
		return true;
	return first_address(m, "return-path", out) && !below_received(m, "return-path");
}

bool msg_envelope_from(struct msg *m, struct str *out)
{
	if (!m->envelope_made) {
		m->envelope_made = true;
		m->envelope_known = envelope_find(m, &m->envelope_from);
	}
	*out = m->envelope_from;
	return m->envelope_known;
}
