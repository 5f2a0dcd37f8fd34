/* Checking the signatures of a message (RFC 6376 section 6). The body is compared first: a changed one costs no question. */
#include "authres/dkim_priv.h"

#include "authres/sigform.h"
#include "base/enc.h"
#include "mail/edit.h"

static void say(struct dkim_result *res, enum auth_result r, const char *why)
{
	res->result = r;
	res->why = why;
}

static const struct dkim_body *body_hash(struct dkim_run *r, bool relaxed, uint64_t max)
{
	for (size_t i = 0; i < r->n_done; i++)
		if (r->done[i].relaxed == relaxed && r->done[i].max == max)
			return &r->done[i];
	struct dkim_body *h = &r->done[r->n_done++];
	*h = (struct dkim_body){ .relaxed = relaxed, .max = max };
	h->length = sigform_body(r->body, relaxed, max, h->hash);
	return h;
}

static int head_hash(struct dkim_run *r, const struct dkim_sig *s, const struct mail_field *own, unsigned char out[32])
{
	struct digest *d = digest_new();
	const int bad = sigform_fields(d, r->a, &r->fields, s->names, DKIM_NAMES_MAX, own, s->relaxed_head);
	sigform_own(d, r->a, own, s->relaxed_head);
	digest_end(&d, out);
	return bad;
}

int dkim_find_key(struct dkim_run *r, const struct dkim_sig *s, struct dkim_key *key, struct dkim_result *res)
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

static bool times_good(const struct dkim_run *r, const struct dkim_sig *s, struct dkim_result *res)
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

static bool body_good(struct dkim_run *r, const struct dkim_sig *s, uint64_t *length_out, struct dkim_result *res)
{
	const struct dkim_body *h = body_hash(r, s->relaxed_body, s->length);
	*length_out = h->length;
	if (s->length != UINT64_MAX && s->length > h->length)
		say(res, AUTH_PERMERROR, "l= is more than there is");
	else if (!mem_equal_ct(h->hash, s->bh.p, 32))
		say(res, AUTH_FAIL, "the body was changed");
	else
		return true;
	return false;
}

/* The signature against its key. */
static bool key_fits(struct dkim_run *r, const struct dkim_sig *s, struct dkim_key *key, struct dkim_result *res)
{
	if (dkim_find_key(r, s, key, res) < 0)
		return false;
	if (key->kind != s->kind)
		say(res, AUTH_PERMERROR, "the key is of another kind");
	else if (key->strict && !str_case_eq(s->identity_domain, s->domain))
		say(res, AUTH_PERMERROR, "the key is not for subdomains");
	else
		return true;
	return false;
}

void dkim_check_field(struct dkim_run *r, const struct mail_field *own, enum dkim_form form, struct dkim_result *res)
{
	struct dkim_sig s;
	struct dkim_key key;
	unsigned char hash[32];
	uint64_t length;
	if (dkim_sig_parse(r->a, own->value, form, &s, res) < 0 || !times_good(r, &s, res) || !body_good(r, &s, &length, res))
		return;
	if (head_hash(r, &s, own, hash) < 0) {
		say(res, AUTH_PERMERROR, "h= has too many names");
		return;
	}
	if (!key_fits(r, &s, &key, res))
		return;
	const enum sig_check c = sig_verify(s.kind, key.p, hash, s.b, &res->why);
	res->result = c == SIG_GOOD ? AUTH_PASS : c == SIG_BAD ? AUTH_FAIL : AUTH_PERMERROR;
	if (c == SIG_GOOD && s.length < length)
		say(res, AUTH_POLICY, "only the beginning of the body is signed");
	if (key.testing && c == SIG_BAD)
		say(res, AUTH_NEUTRAL, "the signature does not fit, and the key is a test");
}

void dkim_run_start(struct dkim_run *r, struct arena *a, const struct auth_dns *dns, struct str message, int64_t now)
{
	size_t head_n = 0, body_at = message.n;
	*r = (struct dkim_run){ .a = a, .dns = dns, .now = now };
	if (mail_head_find(message, true, &head_n, &body_at) != 0)
		head_n = body_at = message.n;
	r->body = str_from(message, body_at);
	r->fields = mail_fields_of(a, str_sub(message, 0, head_n));
}

size_t dkim_verify(struct arena *a, const struct auth_dns *dns, struct str message, int64_t now, struct dkim_result out[DKIM_SIGNATURES_MAX])
{
	size_t n = 0;
	struct dkim_run *r = ARENA_NEW(a, struct dkim_run);
	dkim_run_start(r, a, dns, message, now);
	for (size_t i = 0; i < r->fields.n && n < DKIM_SIGNATURES_MAX; i++) {
		const struct mail_field *f = &r->fields.v[i];
		if (!str_case_eq(f->name, STR("DKIM-Signature")))
			continue;
		struct dkim_result *res = &out[n++];
		*res = (struct dkim_result){ .why = "" };
		if (r->fields.n > DKIM_FIELDS_MAX)
			say(res, AUTH_PERMERROR, "the message has too many header fields");
		else
			dkim_check_field(r, f, DKIM_FORM_SIGNATURE, res);
	}
	return n;
}
