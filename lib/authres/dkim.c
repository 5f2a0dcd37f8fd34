/* Checking the signatures of a message (RFC 6376 section 6). The body is compared first: a changed one costs no question. */
#include "authres/dkim_priv.h"

#include "authres/canon.h"
#include "base/enc.h"
#include "mail/edit.h"
#include "mail/head.h"

struct body_hash {
	bool relaxed;
	uint64_t max, length;
	unsigned char hash[32];
};

struct run {
	struct arena *a;
	const struct auth_dns *dns;
	struct mail_fields fields;
	struct str body;
	int64_t now;
	struct body_hash done[DKIM_SIGNATURES_MAX];	/* the same body is digested once */
	size_t n_done;
};

static void say(struct dkim_result *res, enum auth_result r, const char *why)
{
	res->result = r;
	res->why = why;
}

static void to_digest(void *ctx, struct str s)
{
	digest_add(ctx, s);
}

static const struct body_hash *body_hash(struct run *r, bool relaxed, uint64_t max)
{
	for (size_t i = 0; i < r->n_done; i++)
		if (r->done[i].relaxed == relaxed && r->done[i].max == max)
			return &r->done[i];
	struct body_hash *h = &r->done[r->n_done++];
	struct digest *d = digest_new();
	const struct canon_sink sink = { to_digest, d };
	*h = (struct body_hash){ .relaxed = relaxed, .max = max };
	h->length = canon_body(&sink, r->body, relaxed, max);
	digest_end(&d, h->hash);
	return h;
}

/* The field without what follows b= (3.7), its line end kept. */
static void sig_field(struct digest *d, const struct mail_field *f, bool relaxed, struct arena *a)
{
	const struct canon_sink sink = { to_digest, d };
	const size_t value_at = (size_t)(f->value.p - f->whole.p);
	struct str rest = f->value;
	size_t from = 0, to = 0;
	while (rest.p != NULL) {
		const struct str tag = str_split(&rest, ';');
		const ptrdiff_t eq = str_chr(tag, '=');
		if (eq < 0 || !str_eq(str_trim(str_sub(tag, 0, (size_t)eq)), STR("b")))
			continue;
		from = value_at + (size_t)(tag.p - f->value.p) + (size_t)eq + 1;
		to = from + tag.n - (size_t)eq - 1;
		break;
	}
	const struct str head = str_sub(f->whole, 0, from), tail = str_from(f->whole, to);
	char *copy = arena_alloc(a, head.n + tail.n + 1);
	memcpy(copy, head.p, head.n);
	memcpy(copy + head.n, tail.p, tail.n);
	canon_field(&sink, str_n(copy, head.n + tail.n), relaxed, true);
}

/* The fields that h= names, each name from the bottom up (5.4.2); names without a field are the empty string. */
static int head_hash(struct run *r, const struct dkim_sig *s, const struct mail_field *own, unsigned char out[32])
{
	struct str names = s->names;
	size_t n = 0;
	bool *used = ARENA_ARRAY(r->a, bool, r->fields.n + 1);
	struct digest *d = digest_new();
	const struct canon_sink sink = { to_digest, d };
	while (names.p != NULL && n++ < DKIM_NAMES_MAX) {
		const struct str name = str_trim(str_split(&names, ':'));
		for (size_t i = r->fields.n; i > 0; i--) {
			const struct mail_field *f = &r->fields.v[i - 1];
			if (used[i - 1] || !str_case_eq(f->name, name))
				continue;
			used[i - 1] = true;
			if (f != own)
				canon_field(&sink, f->whole, s->relaxed_head, false);
			break;
		}
	}
	sig_field(d, own, s->relaxed_head, r->a);
	digest_end(&d, out);
	return names.p == NULL ? 0 : -1;
}

static int find_key(struct run *r, const struct dkim_sig *s, struct dkim_key *key, struct dkim_result *res)
{
	const struct str name = str_c(arena_printf(r->a, "%.*s._domainkey.%.*s", STR_ARG(s->selector), STR_ARG(s->domain)));
	const struct auth_answer got = auth_ask(r->dns, r->a, name, DNS_TXT);
	const char *why = "there is no key";
	if (got.known == AUTH_TROUBLE) {
		say(res, AUTH_TEMPERROR, "nobody answers for the key");
		return -1;
	}
	for (size_t i = 0; got.known == AUTH_HAS && i < got.n; i++) {
		if (dkim_key_parse(r->a, got.v[i], key, &why) < 0)
			continue;
		if (key->p.n > 0)
			return 0;
		why = "the key was revoked";
	}
	say(res, AUTH_PERMERROR, why);
	return -1;
}

static bool times_good(const struct run *r, const struct dkim_sig *s, struct dkim_result *res)
{
	if (s->expires != 0 && (int64_t)s->expires < r->now && s->expires <= INT64_MAX) {
		say(res, AUTH_FAIL, "the signature has expired");
		return false;
	}
	if (s->signed_at > (uint64_t)r->now + DKIM_FUTURE_SECONDS) {
		say(res, AUTH_POLICY, "the signature is from the future");
		return false;
	}
	return true;
}

static bool body_good(struct run *r, const struct dkim_sig *s, uint64_t *length_out, struct dkim_result *res)
{
	const struct body_hash *h = body_hash(r, s->relaxed_body, s->length);
	*length_out = h->length;
	if (s->length != UINT64_MAX && s->length > h->length)
		say(res, AUTH_PERMERROR, "l= is more than there is");
	else if (!mem_equal_ct(h->hash, s->bh.p, 32))
		say(res, AUTH_FAIL, "the body was changed");
	else
		return true;
	return false;
}

static void check_one(struct run *r, const struct mail_field *own, struct dkim_result *res)
{
	struct dkim_sig s;
	struct dkim_key key;
	unsigned char hash[32];
	uint64_t length;
	if (dkim_sig_parse(r->a, own->value, &s, res) < 0 || !times_good(r, &s, res) || !body_good(r, &s, &length, res))
		return;
	if (head_hash(r, &s, own, hash) < 0) {
		say(res, AUTH_PERMERROR, "h= has too many names");
		return;
	}
	if (find_key(r, &s, &key, res) < 0)
		return;
	if (key.kind != s.kind) {
		say(res, AUTH_PERMERROR, "the key is of another kind");
		return;
	}
	if (key.strict && !str_case_eq(s.identity_domain, s.domain)) {
		say(res, AUTH_PERMERROR, "the key is not for subdomains");
		return;
	}
	const enum sig_check c = sig_verify(s.kind, key.p, hash, s.b, &res->why);
	res->result = c == SIG_GOOD ? AUTH_PASS : c == SIG_BAD ? AUTH_FAIL : AUTH_PERMERROR;
	if (c == SIG_GOOD && s.length < length)
		say(res, AUTH_POLICY, "only the beginning of the body is signed");
	if (key.testing && c == SIG_BAD)
		say(res, AUTH_NEUTRAL, "the signature does not fit, and the key is a test");
}

size_t dkim_verify(struct arena *a, const struct auth_dns *dns, struct str message, int64_t now, struct dkim_result out[DKIM_SIGNATURES_MAX])
{
	size_t head_n = 0, body_at = message.n, n = 0;
	struct run *r = ARENA_NEW(a, struct run);
	*r = (struct run){ .a = a, .dns = dns, .now = now };
	if (mail_head_find(message, true, &head_n, &body_at) != 0)
		head_n = body_at = message.n;
	r->body = str_from(message, body_at);
	r->fields = mail_fields_of(a, str_sub(message, 0, head_n));
	for (size_t i = 0; i < r->fields.n && n < DKIM_SIGNATURES_MAX; i++) {
		const struct mail_field *f = &r->fields.v[i];
		if (!str_case_eq(f->name, STR("DKIM-Signature")))
			continue;
		struct dkim_result *res = &out[n++];
		*res = (struct dkim_result){ .why = "" };
		if (r->fields.n > DKIM_FIELDS_MAX)
			say(res, AUTH_PERMERROR, "the message has too many header fields");
		else
			check_one(r, f, res);
	}
	return n;
}
