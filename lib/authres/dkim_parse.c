/* Signature fields (RFC 6376 3.5) and key records (3.6.1). */
#include "authres/dkim_priv.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/num.h"

static int bad(struct dkim_result *res, enum auth_result r, const char *why)
{
	res->result = r;
	res->why = why;
	return -1;
}

/* Base64 with folds in it. */
static int decode(struct arena *a, struct str in, struct str *out)
{
	struct buf clean, bytes;
	buf_init(&clean, in.n + 8);
	buf_init(&bytes, in.n + 8);
	for (size_t i = 0; i < in.n; i++)
		if (!ch_space(in.p[i]))
			buf_ch(&clean, in.p[i]);
	const int r = base64_decode(&bytes, buf_view(&clean));
	if (r == 0)
		*out = arena_str(a, buf_view(&bytes));
	buf_fini(&clean);
	buf_fini(&bytes);
	return r;
}

bool dkim_list_has(struct str list, const char *word)
{
	while (list.p != NULL)
		if (str_case_eq(str_trim(str_split(&list, ':')), str_c(word)))
			return true;
	return false;
}

static int read_algorithm(struct str s, struct dkim_sig *out, struct dkim_result *res)
{
	if (str_case_eq(s, STR("rsa-sha256")))
		out->kind = SIG_RSA_SHA256;
	else if (str_case_eq(s, STR("ed25519-sha256")))
		out->kind = SIG_ED25519_SHA256;
	else
		return bad(res, AUTH_PERMERROR, str_case_eq(s, STR("rsa-sha1")) ? "rsa-sha1 is not accepted any more" : "unknown algorithm");
	return 0;
}

static int read_canon(const struct auth_tags *t, struct dkim_sig *out, struct dkim_result *res)
{
	struct str s, *part[2] = { &(struct str){ 0 }, &(struct str){ 0 } };
	bool *const flag[2] = { &out->relaxed_head, &out->relaxed_body };
	if (!auth_tag(t, "c", &s))
		return 0;
	*part[0] = str_split(&s, '/');
	*part[1] = s.p != NULL ? s : STR("simple");
	for (size_t i = 0; i < 2; i++) {
		*flag[i] = str_case_eq(*part[i], STR("relaxed"));
		if (!*flag[i] && !str_case_eq(*part[i], STR("simple")))
			return bad(res, AUTH_PERMERROR, "unknown canonicalisation");
	}
	return 0;
}

static int read_number(const struct auth_tags *t, const char *name, uint64_t *out)
{
	struct str s;
	if (!auth_tag(t, name, &s))
		return 0;
	return num_parse(s, 0, UINT64_MAX - 1, out);
}

static bool below(struct str name, struct str domain)
{
	return str_case_eq(name, domain) || (name.n > domain.n && str_case_ends(name, domain) && name.p[name.n - domain.n - 1] == '.');
}

static int read_identity(const struct auth_tags *t, struct dkim_sig *out, struct dkim_result *res)
{
	struct str s;
	out->identity_domain = out->domain;
	if (!auth_tag(t, "i", &s))
		return 0;
	const ptrdiff_t at = str_rchr(s, '@');
	res->identity = s;
	out->identity_domain = str_from(s, (size_t)(at + 1));
	return at >= 0 && below(out->identity_domain, out->domain) ? 0 : bad(res, AUTH_PERMERROR, "i= is not below d=");
}

int dkim_sig_common(struct arena *a, const struct auth_tags *t, struct dkim_sig *out, struct dkim_result *res)
{
	struct str algo, b;
	if (!auth_tag(t, "d", &out->domain) || !auth_tag(t, "s", &out->selector) || !auth_tag(t, "a", &algo) || !auth_tag(t, "b", &b))
		return bad(res, AUTH_PERMERROR, "a tag is missing");
	res->domain = out->domain;
	res->selector = out->selector;
	res->algorithm = algo;
	res->b = str_sub(b, 0, 8);
	if (!auth_name_valid(out->domain) || !auth_name_valid(out->selector))
		return bad(res, AUTH_PERMERROR, "d= or s= is no name");
	if (decode(a, b, &out->b) < 0)
		return bad(res, AUTH_PERMERROR, "b= cannot be decoded");
	return read_algorithm(algo, out, res);
}

/* Present, in any order; then each by its own rule. */
static int read_needed(struct arena *a, const struct auth_tags *t, enum dkim_form form, struct dkim_sig *out, struct dkim_result *res)
{
	struct str v, bh;
	if (form == DKIM_FORM_SIGNATURE && (!auth_tag(t, "v", &v) || !str_eq(v, STR("1"))))
		return bad(res, AUTH_PERMERROR, "no version, or an unknown one");
	if (!auth_tag(t, "h", &out->names) || !auth_tag(t, "bh", &bh))
		return bad(res, AUTH_PERMERROR, "a tag is missing");
	if (decode(a, bh, &out->bh) < 0 || out->bh.n != 32)
		return bad(res, AUTH_PERMERROR, "bh= cannot be decoded");
	return dkim_sig_common(a, t, out, res);
}

/* Which fields it covers. */
static int names_good(enum dkim_form form, const struct dkim_sig *s, struct dkim_result *res)
{
	if (form == DKIM_FORM_SIGNATURE && !dkim_list_has(s->names, "from"))
		return bad(res, AUTH_PERMERROR, "From is not signed");
	if (form == DKIM_FORM_ARC && dkim_list_has(s->names, "arc-seal"))
		return bad(res, AUTH_PERMERROR, "ARC-Seal is signed");
	return 0;
}

int dkim_sig_parse(struct arena *a, struct str value, enum dkim_form form, struct dkim_sig *out, struct dkim_result *res)
{
	struct auth_tags t;
	struct str q;
	/* Without c=: the public ARC test suite and other verifiers take "relaxed" there. */
	*out = (struct dkim_sig){ .length = UINT64_MAX, .relaxed_head = form == DKIM_FORM_ARC, .relaxed_body = form == DKIM_FORM_ARC };
	if (value.n > DKIM_FIELD_MAX || auth_tags_parse(value, &t) < 0)
		return bad(res, AUTH_PERMERROR, "the field cannot be read");
	if (read_needed(a, &t, form, out, res) < 0 || read_canon(&t, out, res) < 0)
		return -1;
	out->identity_domain = out->domain;
	if (form == DKIM_FORM_SIGNATURE && read_identity(&t, out, res) < 0)
		return -1;
	if (auth_tag(&t, "q", &q) && !dkim_list_has(q, "dns/txt"))
		return bad(res, AUTH_PERMERROR, "unknown query method");
	if (read_number(&t, "l", &out->length) < 0 || read_number(&t, "t", &out->signed_at) < 0 || read_number(&t, "x", &out->expires) < 0)
		return bad(res, AUTH_PERMERROR, "l=, t= or x= is no number");
	if (out->expires != 0 && out->expires <= out->signed_at)
		return bad(res, AUTH_PERMERROR, "it expired before it was made");
	return names_good(form, out, res);
}

/* --- keys --- */

static int key_bad(const char **why, const char *text)
{
	*why = text;
	return -1;
}

int dkim_key_parse(struct arena *a, struct str record, struct dkim_key *out, const char **why)
{
	struct auth_tags t;
	struct str s;
	*out = (struct dkim_key){ .kind = SIG_RSA_SHA256 };
	if (auth_tags_parse(record, &t) < 0)
		return key_bad(why, "the key record cannot be read");
	if (auth_tag(&t, "v", &s) && (!str_eq(s, STR("DKIM1")) || !str_eq(t.v[0].name, STR("v"))))
		return key_bad(why, "the key record is of another version");
	if (auth_tag(&t, "k", &s)) {
		if (str_case_eq(s, STR("ed25519")))
			out->kind = SIG_ED25519_SHA256;
		else if (!str_case_eq(s, STR("rsa")))
			return key_bad(why, "the key is of an unknown kind");
	}
	if (auth_tag(&t, "h", &s) && !dkim_list_has(s, "sha256"))
		return key_bad(why, "the key is not for sha256");
	if (auth_tag(&t, "s", &s) && !dkim_list_has(s, "*") && !dkim_list_has(s, "email"))
		return key_bad(why, "the key is not for mail");
	if (auth_tag(&t, "t", &s)) {
		out->testing = dkim_list_has(s, "y");
		out->strict = dkim_list_has(s, "s");
	}
	if (!auth_tag(&t, "p", &s) || (s.n > 0 && decode(a, s, &out->p) < 0))
		return key_bad(why, "the key record holds no key");
	return 0;
}
