/* Which relays a message came through, and how far they can be believed: trusted_networks, internal_networks, msa_networks or, without them, private
 * addresses and logins (SpamAssassin's Metadata::Received). Makes the texts of X-Spam-Relays-…. */
#include <string.h>

#include "base/buf.h"
#include "spam/msg.h"

bool ip_is_v4(struct str text)
{
	unsigned char ip[16];
	return str_chr(text, ':') < 0 && ip_parse(text, ip) == 0;
}

bool ip_is(struct str text)
{
	unsigned char ip[16];
	return text.n > 0 && text.p[0] != '[' && ip_parse(text, ip) == 0;
}

bool ip_private(struct str text)
{
	unsigned char ip[16];
	if (ip_parse(text, ip) < 0)
		return false;
	if (ip[10] == 0xff && ip[11] == 0xff && ip[0] == 0) {
		unsigned char b = ip[13];
		switch (ip[12]) {
		case 10:
		case 127:
			return true;
		case 169:
			return b == 254;
		case 172:
			return b >= 16 && b <= 31;
		case 192:
			return b == 168;
		case 100:
			return b >= 64 && b <= 127;
		default:
			return false;
		}
	}
	static const unsigned char loopback[16] = { [15] = 1 };
	return memcmp(ip, loopback, 16) == 0 || (ip[0] & 0xfe) == 0xfc || (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
}

struct trust { bool trusted, internal, msa; };

/* What relay r says about itself and all below it. */
static void judge(const struct set *s, struct relay *r, struct trust *t)
{
	bool auth = r->auth.n > 0;
	if (!t->trusted || t->msa)
		return;
	if (!s->trusted.configured && !s->internal.configured) {
		if (!r->private && !auth)
			t->trusted = t->internal = false;
		return;
	}
	const struct nets *trusted = s->trusted.configured ? &s->trusted : &s->internal;
	const struct nets *internal = s->internal.configured ? &s->internal : &s->trusted;
	if (!auth && !nets_match(trusted, r->ip)) {
		t->trusted = t->internal = false;
		return;
	}
	if (t->internal && !auth && !nets_match(internal, r->ip))
		t->internal = false;
	if (s->msa.configured && nets_match(&s->msa, r->ip)) {
		t->msa = true;
		r->msa = true;
	}
}

static void relay_text(struct msg *m, struct relay *r)
{
	r->text = str_c(arena_printf(m->a, "[ ip=%.*s rdns=%.*s helo=%.*s by=%.*s ident=%.*s envfrom=%.*s intl=%d id=%.*s auth=%.*s msa=%d ]",
		STR_ARG(r->ip), STR_ARG(r->rdns), STR_ARG(r->helo), STR_ARG(r->by), STR_ARG(r->ident), STR_ARG(r->envfrom), r->internal,
		STR_ARG(r->id), STR_ARG(r->auth), r->msa));
}

static struct str join(struct msg *m, bool (*wanted)(const struct relay *r))
{
	struct buf b;
	buf_init(&b, 1 << 22);
	for (size_t i = 0; i < m->n_relays; i++) {
		if (!wanted(&m->relays[i]))
			continue;
		if (b.n > 0)
			buf_ch(&b, ' ');
		buf_str(&b, m->relays[i].text);
	}
	struct str s = arena_str(m->a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static bool is_trusted(const struct relay *r) { return r->trusted; }
static bool is_untrusted(const struct relay *r) { return !r->trusted; }
static bool is_internal(const struct relay *r) { return r->internal; }
static bool is_external(const struct relay *r) { return !r->internal; }

/* One Received value (or the like of one) at its place in the chain. */
static void add_line(struct msg *m, struct str line, struct trust *t)
{
	struct relay r = { 0 };
	int got = received_parse(m->s, m->a, line, &r);
	if (got == 2 && t->trusted)
		m->n_relays = 0;	/* fetched by us: what was above is our own way home */
	m->n_unparseable += got < 0;
	if (got != 1) {
		m->last_trusted += t->trusted;
		m->last_internal += t->internal;
		return;
	}
	judge(m->s, &r, t);
	r.trusted = t->trusted;
	r.internal = t->internal;
	m->last_trusted += t->trusted;
	m->last_internal += t->internal;
	if (m->n_relays < m->cap_relays) {
		relay_text(m, &r);
		m->relays[m->n_relays++] = r;
	}
}

/* Our own hop: its Received field is not in the message yet. A name that is not known is none. */
static void add_own(struct msg *m, struct trust *t)
{
	const struct spam_facts *f = m->facts;
	struct relay r = { .ip = f->client_ip, .rdns = f->client_name.p == NULL ? STR("") : f->client_name, .helo = f->helo.p == NULL ? STR("") : f->helo,
		.by = STR("localhost"), .ident = STR(""), .envfrom = f->sender.p == NULL ? STR("") : f->sender, .id = STR(""),
		.auth = f->user.n > 0 ? STR("ESMTPA") : STR(""), .private = ip_private(f->client_ip), .no_rdns = f->client_name.n == 0 };
	judge(m->s, &r, t);
	r.trusted = t->trusted;
	r.internal = t->internal;
	relay_text(m, &r);
	m->relays[m->n_relays++] = r;
}

/* The first address in a value such as X-Originating-IP. */
static bool find_ip(struct str v, struct str *out)
{
	for (size_t at = 0; at < v.n;) {
		size_t n = 0;
		while (at + n < v.n && (ch_xdigit(v.p[at + n]) >= 0 || v.p[at + n] == '.' || v.p[at + n] == ':'))
			n++;
		if (n > 0 && ip_is(str_sub(v, at, n))) {
			*out = str_sub(v, at, n);
			return true;
		}
		at += n + 1;
	}
	return false;
}

void msg_relays(struct msg *m)
{
	if (m->relays != NULL)
		return;
	size_t max = 8;
	for (size_t i = 0; i < m->fields.n; i++)
		max += str_eq(m->fields.v[i].key, STR("received"));
	m->cap_relays = max > MSG_RELAYS_MAX ? MSG_RELAYS_MAX : max;
	m->relays = ARENA_ARRAY(m->a, struct relay, m->cap_relays);
	m->last_trusted = m->last_internal = -1;
	struct trust t = { true, true, false };
	if (m->facts != NULL && ip_is(m->facts->client_ip))
		add_own(m, &t);
	for (size_t i = 0; i < m->fields.n; i++)
		if (str_eq(m->fields.v[i].key, STR("received")))
			add_line(m, field_value(m->a, &m->fields.v[i]), &t);
	for (const struct names *n = m->s->originating; n != NULL; n = n->next) {
		const struct field *f = field_last(m->a, &m->fields, arena_cstr(m->a, str_lower_copy(m->a, n->v)));
		struct str ip;
		if (f != NULL && find_ip(f->value, &ip))
			add_line(m, str_c(arena_printf(m->a, "from X-Originating-IP: %.*s", STR_ARG(ip))), &t);
	}
	bool (*const which[])(const struct relay *) = { is_trusted, is_untrusted, is_internal, is_external };
	for (size_t i = 0; i < ARRAY_LEN(which); i++)
		strs_add(m->a, &m->relay_texts, join(m, which[i]));
}
