/* See arc.h: the sets (5.2 step 3), the newest message signature, every seal; then making them (5.1). */
#include "authres/arc.h"

#include "authres/dkim_priv.h"
#include "authres/sigform.h"
#include "base/enc.h"
#include "base/num.h"

enum { RESULTS, MESSAGE, SEAL, KINDS };

static const char *const field_names[KINDS] = { "ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal" };

struct set {
	const struct mail_field *v[KINDS];
};
struct chain {
	struct set sets[ARC_SETS_MAX];
	unsigned n;
};

/* --- the sets --- */

/* "i=1" in front of ARC-Authentication-Results: not a tag list behind it. */
static int instance_of_results(struct str value, uint64_t *out, struct str *rest)
{
	struct str v = value;
	const struct str first = str_split(&v, ';');
	const ptrdiff_t eq = str_chr(first, '=');
	*rest = v;
	if (eq < 0 || v.p == NULL || !str_eq(str_trim(str_sub(first, 0, (size_t)eq)), STR("i")))
		return -1;
	return num_parse(str_trim(str_from(first, (size_t)eq + 1)), 1, ARC_SETS_MAX, out);
}

static int instance_of_tags(struct str value, uint64_t *out)
{
	struct auth_tags t;
	struct str i;
	if (value.n > DKIM_FIELD_MAX || auth_tags_parse(value, &t) < 0 || !auth_tag(&t, "i", &i))
		return -1;
	return num_parse(i, 1, ARC_SETS_MAX, out);
}

static int chain_add(struct chain *c, unsigned kind, const struct mail_field *f, const char **why)
{
	uint64_t i;
	struct str rest;
	*why = "an instance cannot be read";
	if ((kind == RESULTS ? instance_of_results(f->value, &i, &rest) : instance_of_tags(f->value, &i)) < 0)
		return -1;
	*why = "a field of a set is there twice";
	if (c->sets[i - 1].v[kind] != NULL)
		return -1;
	c->sets[i - 1].v[kind] = f;
	if (i > c->n)
		c->n = (unsigned)i;
	return 0;
}

/* 0: c->n whole sets, 1..n (perhaps none). */
static int chain_find(struct chain *c, const struct mail_fields *f, const char **why)
{
	*c = (struct chain){ .n = 0 };
	for (size_t i = 0; i < f->n; i++)
		for (unsigned k = 0; k < KINDS; k++)
			if (str_case_eq(f->v[i].name, str_c(field_names[k])) && chain_add(c, k, &f->v[i], why) < 0)
				return -1;
	*why = "a set is not whole";
	for (unsigned i = 0; i < c->n; i++)
		for (unsigned k = 0; k < KINDS; k++)
			if (c->sets[i].v[k] == NULL)
				return -1;
	return 0;
}

/* --- seals --- */

/* Sets 1..n but for the last one's seal. */
static void digest_sets(struct digest *d, const struct chain *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < KINDS; k++)
			if (i + 1 < n || k != SEAL)
				sigform_field(d, c->sets[i].v[k]->whole, true);
}

/* cv= of set i+1 is what it must be; "fail" never is. h= in a seal makes it void (4.1.3). */
static bool status_good(const struct auth_tags *t, unsigned i, const char **why)
{
	struct str cv, h;
	if (auth_tag(t, "h", &h)) {
		*why = "a seal has h=";
		return false;
	}
	*why = "cv= is not what it must be";
	return auth_tag(t, "cv", &cv) && str_case_eq(cv, i == 0 ? STR("none") : STR("pass"));
}

/* PASS, FAIL, TEMPERROR. */
static enum auth_result seal_check(struct dkim_run *r, const struct chain *c, unsigned i, struct arc_set *set, const char **why)
{
	const struct mail_field *f = c->sets[i].v[SEAL];
	struct auth_tags t;
	struct dkim_sig s = { .length = UINT64_MAX };
	struct dkim_result res = { .why = "" };
	struct dkim_key key;
	unsigned char hash[32];
	*why = "a seal cannot be read";
	if (auth_tags_parse(f->value, &t) < 0 || !status_good(&t, i, why))
		return AUTH_FAIL;
	if (dkim_sig_common(r->a, &t, &s, &res) < 0 || dkim_find_key(r, &s, &key, &res) < 0) {
		*why = res.why;
		return res.result == AUTH_TEMPERROR ? AUTH_TEMPERROR : AUTH_FAIL;
	}
	*why = "the key of a seal is of another kind";
	if (key.kind != s.kind)
		return AUTH_FAIL;
	struct digest *d = digest_new();
	digest_sets(d, c, i + 1);
	sigform_own(d, r->a, f, true);
	digest_end(&d, hash);
	*set = (struct arc_set){ .domain = s.domain, .selector = s.selector };
	return sig_verify(s.kind, key.p, hash, s.b, why) == SIG_GOOD ? AUTH_PASS : AUTH_FAIL;
}

static bool says_fail(const struct mail_field *seal)
{
	struct auth_tags t;
	struct str cv;
	return auth_tags_parse(seal->value, &t) == 0 && auth_tag(&t, "cv", &cv) && str_case_eq(cv, STR("fail"));
}

static enum auth_result chain_check(struct dkim_run *r, const struct chain *c, struct arc_set *sets, const char **why)
{
	struct dkim_result res = { .why = "" };
	*why = "the newest seal says that the chain is broken";
	if (says_fail(c->sets[c->n - 1].v[SEAL]))
		return AUTH_FAIL;
	dkim_check_field(r, c->sets[c->n - 1].v[MESSAGE], DKIM_FORM_ARC, &res);
	*why = res.why;
	if (res.result != AUTH_PASS)
		return res.result == AUTH_TEMPERROR ? AUTH_TEMPERROR : AUTH_FAIL;
	for (unsigned i = c->n; i > 0; i--) {
		uint64_t number;
		const enum auth_result one = seal_check(r, c, i - 1, &sets[i - 1], why);
		if (one != AUTH_PASS)
			return one;
		if (instance_of_results(c->sets[i - 1].v[RESULTS]->value, &number, &sets[i - 1].results) < 0)
			return AUTH_FAIL;
	}
	*why = "";
	return AUTH_PASS;
}

struct arc_result arc_verify(struct arena *a, const struct auth_dns *dns, struct str message, int64_t now)
{
	struct arc_result out = { .result = AUTH_NONE, .why = "" };
	struct dkim_run *r = ARENA_NEW(a, struct dkim_run);
	struct chain *c = ARENA_NEW(a, struct chain);
	dkim_run_start(r, a, dns, message, now);
	if (r->fields.n > DKIM_FIELDS_MAX || chain_find(c, &r->fields, &out.why) < 0) {
		out.result = AUTH_FAIL;
		return out;
	}
	if (c->n == 0)
		return out;
	struct arc_set *sets = ARENA_ARRAY(a, struct arc_set, c->n);
	out.n = c->n;
	out.ended = says_fail(c->sets[c->n - 1].v[SEAL]);
	out.result = chain_check(r, c, sets, &out.why);
	if (out.result == AUTH_PASS)
		out.sets = sets;
	return out;
}

/* --- whom it vouches for --- */

static bool is_trusted(struct str domain, const char *const *trusted, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_case_eq(domain, str_c(trusted[i])))
			return true;
	return false;
}

/* "dmarc=pass …" with header.from=domain among the results. */
static bool says_dmarc_pass(struct arena *a, struct str results, struct str from)
{
	while (results.p != NULL) {
		struct str one = mail_unfold(a, str_split(&results, ';')), word;
		bool pass = str_token(&one, " \t", &word) && str_case_eq(word, STR("dmarc=pass"));
		while (pass && str_token(&one, " \t", &word))
			if (str_case_starts(word, STR("header.from=")) && str_case_eq(str_from(word, 12), from))
				return true;
	}
	return false;
}

bool arc_vouches(struct arena *a, const struct arc_result *r, struct str from, const char *const *trusted, size_t n_trusted)
{
	if (r->result != AUTH_PASS || from.n == 0)
		return false;
	for (unsigned i = 0; i < r->n; i++)
		if (!is_trusted(r->sets[i].domain, trusted, n_trusted))
			return false;
	return says_dmarc_pass(a, r->sets[0].results, from);
}

/* --- sealing --- */

static int put_results(struct arena *a, const struct arc_seal *s, unsigned i, struct str *out, struct err *e)
{
	struct buf b;
	buf_init(&b, DKIM_SIGNED_FIELD_MAX);
	buf_printf(&b, "%s: i=%u; ", field_names[RESULTS], i);
	buf_str(&b, s->results);
	*out = arena_str(a, buf_view(&b));
	const int r = buf_check(&b, "results", e);
	buf_fini(&b);
	return r;
}

static int put_message_signature(struct arena *a, const struct arc_seal *s, unsigned i, struct str *out, struct err *e)
{
	static const char *const more[] = { "DKIM-Signature" };
	const struct dkim_signer *k = s->signer;
	struct buf b;
	struct digest *d = digest_new();
	buf_init(&b, DKIM_SIGNED_FIELD_MAX);
	buf_printf(&b, "ARC-Message-Signature: i=%u; a=%s; c=relaxed/relaxed;\n\td=%.*s; s=%.*s; t=%lld;\n\th=", i, dkim_algorithm(k->kind), STR_ARG(k->domain),
		   STR_ARG(k->selector), (long long)s->now);
	const size_t from = b.n;
	dkim_put_names(&b, &s->letter->fields, more, ARRAY_LEN(more));
	const struct str names = arena_str(a, str_from(buf_view(&b), from));
	buf_c(&b, ";\n\tbh=");
	base64_encode(&b, str_n(s->letter->body, sizeof(s->letter->body)));
	buf_c(&b, ";\n\tb=");
	int r = buf_check(&b, "message signature", e);
	if (r == 0 && sigform_fields(d, a, &s->letter->fields, names, DKIM_NAMES_MAX, NULL, true) < 0)
		r = err_set(e, ERR_LIMIT, 0, "too many fields to sign");
	if (r == 0)
		r = dkim_finish(a, &b, &d, k, e);
	digest_free(&d);
	if (r == 0)
		*out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return r;
}

/* 5.1.2: of a broken chain only our own set is covered. */
static int put_seal(struct arena *a, const struct arc_seal *s, const struct chain *c, struct str out[KINDS], struct err *e)
{
	const struct dkim_signer *k = s->signer;
	struct buf b;
	struct digest *d = digest_new();
	buf_init(&b, DKIM_SIGNED_FIELD_MAX);
	buf_printf(&b, "ARC-Seal: i=%u; a=%s; t=%lld; cv=%s;\n\td=%.*s; s=%.*s;\n\tb=", c->n + 1, dkim_algorithm(k->kind), (long long)s->now,
		   c->n == 0 ? "none" : auth_result_name(s->cv), STR_ARG(k->domain), STR_ARG(k->selector));
	for (unsigned i = 0; i < (s->cv == AUTH_PASS ? c->n : 0); i++)
		for (unsigned f = 0; f < KINDS; f++)
			sigform_field(d, c->sets[i].v[f]->whole, true);
	sigform_field(d, out[RESULTS], true);
	sigform_field(d, out[MESSAGE], true);
	const int r = dkim_finish(a, &b, &d, k, e);
	if (r == 0)
		out[SEAL] = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return r;
}

int arc_seal(struct arena *a, const struct arc_seal *s, struct str out[3], struct err *e)
{
	struct chain *c = ARENA_NEW(a, struct chain);
	struct str made[KINDS];
	const char *why;
	if (chain_find(c, &s->letter->fields, &why) < 0)
		return err_set(e, ERR_INPUT, 0, "%s", why);
	if (c->n == ARC_SETS_MAX)
		return err_set(e, ERR_LIMIT, 0, "the chain has %d sets", ARC_SETS_MAX);
	if (c->n > 0 && (says_fail(c->sets[c->n - 1].v[SEAL]) || (s->cv != AUTH_PASS && s->cv != AUTH_FAIL)))
		return err_set(e, ERR_INPUT, 0, "the chain is broken already, or was not checked");
	if (put_results(a, s, c->n + 1, &made[RESULTS], e) < 0 || put_message_signature(a, s, c->n + 1, &made[MESSAGE], e) < 0 || put_seal(a, s, c, made, e) < 0)
		return -1;
	for (unsigned k = 0; k < KINDS; k++)
		out[k] = made[k];
	return 0;
}
