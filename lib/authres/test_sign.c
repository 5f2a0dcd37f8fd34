/* Signing: what dkim_sign makes passes dkim_verify, and passes no longer after changes; chains that arc_seal makes pass arc_verify, and every kind of broken chain
 * fails. Keys are made at each run.
 *
 * With a file: its cases instead, one a line, fields divided by tabs: "zone" NAME TYPE TEXT; "case" RESULT NAME MESSAGE (\xHH for bytes); "seal" CV NAME DOMAIN
 * SELECTOR KEY TIME RESULTS MESSAGE; "---" begins a new zone. A second file gets what was sealed, a line each: "sealed" NAME FIELDS, or "not sealed" NAME WHY. So other
 * implementations judge our seals, and a public suite can be run after conversion. */
#include <stdio.h>

#include "authres/arc.h"
#include "authres/dkim.h"
#include "authres/sigmake.h"
#include "base/enc.h"
#include "base/num.h"
#include "mail/edit.h"
#include "test/tap.h"
#include "test_zone.h"

static const char head[] = "Received: from a (b [192.0.2.1])\n\tby mx.a.test\nFrom: Ann <ann@a.test>\nTo: Bob <bob@b.test>,\n Carol <carol@b.test>\nSubject: about\n"
			   "  money \nDate: Sat, 28 Nov 2026 10:00:00 +0000\nMessage-ID: <1@a.test>\nX-Other: 1\n";
static const char body[] = "Hello,\n\nthis  is a message. \n.\n\n\n";
enum { NOW = 1700000000, KEYS = 2, RSA_BITS = 1024 };

static struct {
	struct sign_key *key;
} env[KEYS];
static struct buf zone_all;

static void make_key(unsigned i, enum sig_kind kind, const char *selector)
{
	struct buf pem, raw, p;
	struct err e = { 0 };
	buf_init(&pem, 10000);
	buf_init(&raw, 10000);
	buf_init(&p, 10000);
	const bool made = sign_key_make(kind, RSA_BITS, &pem, &e) == 0 && sign_key_load(buf_view(&pem), &env[i].key, &e) == 0 && sign_key_public(env[i].key, &raw, &e) == 0;
	tap_ok(made && sign_key_kind(env[i].key) == kind, "keys: %s is made, read back, and has a public half", selector);
	base64_encode(&p, buf_view(&raw));
	for (const char *const *d = (const char *const[]){ "a.test", "l.test", "m.test", NULL }; *d; d++)
		buf_printf(&zone_all, "%s._domainkey.%s TXT v=DKIM1; k=%s; p=%s\n", selector, *d, kind == SIG_RSA_SHA256 ? "rsa" : "ed25519", p.p);
	buf_wipe(&pem);
	buf_fini(&pem);
	buf_fini(&raw);
	buf_fini(&p);
}

static int sign_now(void *ctx, const struct dkim_signer *k, const unsigned char hash[32], struct buf *out, struct err *e)
{
	(void)ctx;
	return sign_hash(env[k->kind == SIG_RSA_SHA256 ? 0 : 1].key, hash, out, e);
}

static struct dkim_signer signer(const char *domain, enum sig_kind kind)
{
	return (struct dkim_signer){ .domain = str_c(domain), .selector = kind == SIG_RSA_SHA256 ? STR("r1") : STR("e1"), .kind = kind, .sign = sign_now };
}

static void replace(struct buf *out, struct str in, struct str from, struct str to)
{
	buf_init(out, 1 << 20);
	const ptrdiff_t at = from.n > 0 ? str_find(in, from) : -1;
	if (at >= 0) {
		buf_str(out, str_sub(in, 0, (size_t)at));
		buf_str(out, to);
		in = str_from(in, (size_t)at + from.n);
	}
	buf_str(out, in);
}

/* --- DKIM --- */

static const struct {
	const char *from, *to, *want, *name;
} dkim_cases[] = {
	{ "", "", "pass", "as it is" },
	{ "X-Other: 1", "X-Other: 2", "pass", "a field that is not signed" },
	{ "Received:", "Received: one more\nReceived:", "pass", "a trace field more" },
	{ "about\n  money", "about money", "pass", "another fold" },
	{ "this  is", "this is", "pass", "blanks in the body" },
	{ "a message", "no message", "fail", "another body" },
	{ "\n.\n\n\n", "\n.\nmore\n", "fail", "more body" },
	{ "ann@a.test>", "eve@a.test>", "fail", "another From" },
	{ "From:", "From: Eve <eve@e.test>\nFrom:", "fail", "a second From above" },
	{ "X-Other: 1\n", "From: Eve <eve@e.test>\n", "fail", "a second From below" },
	{ "X-Other: 1\n", "Subject: more\n", "fail", "a second Subject" },
	{ "X-Other: 1\n", "Reply-To: eve@e.test\n", "fail", "a Reply-To where there was none" },
	{ "X-Other: 1\n", "Content-Type: text/html\n", "fail", "a Content-Type where there was none" },
	{ "X-Other: 1\n", "Cc: eve@e.test\n", "fail", "a Cc where there was none" },
};

static struct str signed_message(struct arena *a, enum sig_kind kind)
{
	const struct dkim_letter l = dkim_letter(a, STR(head), STR(body));
	const struct dkim_signer k = signer("a.test", kind);
	struct str field = { 0 };
	struct err e = { 0 };
	tap_is_int(dkim_sign(a, &l, &k, NOW, &field, &e), 0, "dkim: %s signs", dkim_algorithm(kind));
	tap_is_int(mail_edit_check(str_c(arena_printf(a, "+%.*s", STR_ARG(field))), &e), 0, "dkim: %s: the field is a header edit", dkim_algorithm(kind));
	tap_ok(str_find(field, STR(" l=")) < 0, "dkim: no l=");
	return str_c(arena_printf(a, "%.*s\n%s\n%s", STR_ARG(field), head, body));
}

static void dkim_checks(enum sig_kind kind)
{
	struct arena *a = arena_new(0);
	const struct str m = signed_message(a, kind);
	for (size_t i = 0; i < ARRAY_LEN(dkim_cases); i++) {
		struct buf changed;
		struct zone z = { .text = buf_view(&zone_all) };
		const struct auth_dns dns = { zone_ask, &z };
		struct dkim_result r[DKIM_SIGNATURES_MAX];
		/* The signature's own field is above: only what follows it is changed. */
		const size_t own = (size_t)str_find(m, STR("\nReceived:")) + 1;
		struct buf tail;
		replace(&tail, str_from(m, own), str_c(dkim_cases[i].from), str_c(dkim_cases[i].to));
		buf_init(&changed, 1 << 20);
		buf_str(&changed, str_sub(m, 0, own));
		buf_str(&changed, buf_view(&tail));
		const size_t n = dkim_verify(a, &dns, buf_view(&changed), NOW, r);
		tap_is_str(n == 1 ? auth_result_name(r[0].result) : "?", dkim_cases[i].want, "dkim: %s: %s", dkim_algorithm(kind), dkim_cases[i].name);
		buf_fini(&changed);
		buf_fini(&tail);
	}
	arena_free(&a);
}

/* How often h= names a field that is there once. */
static const struct {
	const char *name;
	unsigned times;
} names[] = {
	{ "From", 2 },
	{ "To", 2 },
	{ "Cc", 2 },
	{ "Subject", 2 },
	{ "Date", 2 },
	{ "Message-ID", 2 },
	{ "Reply-To", 2 },
	{ "Sender", 2 },
	{ "In-Reply-To", 2 },
	{ "References", 2 },
	{ "MIME-Version", 2 },
	{ "Content-Type", 2 },
	{ "Content-Transfer-Encoding", 2 },
	{ "Content-ID", 1 },
	{ "Content-Description", 1 },
	{ "Resent-Date", 1 },
	{ "Resent-From", 1 },
	{ "Resent-To", 1 },
	{ "Resent-Cc", 1 },
	{ "Resent-Message-ID", 1 },
	{ "List-Id", 1 },
	{ "List-Help", 1 },
	{ "List-Unsubscribe", 1 },
	{ "List-Unsubscribe-Post", 1 },
	{ "List-Subscribe", 1 },
	{ "List-Post", 1 },
	{ "List-Owner", 1 },
	{ "List-Archive", 1 },
	{ "Auto-Submitted", 1 },
	{ "Received", 0 },
	{ "Return-Path", 0 },
	{ "Authentication-Results", 0 },
	{ "DKIM-Signature", 0 },
};

static void names_check(void)
{
	struct arena *a = arena_new(0);
	struct buf h;
	struct str field = { 0 };
	struct err e = { 0 };
	buf_init(&h, 10000);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_printf(&h, "%s: x\n", names[i].name);
	const struct dkim_letter l = dkim_letter(a, buf_view(&h), STR(""));
	const struct dkim_signer k = signer("a.test", SIG_ED25519_SHA256);
	tap_is_int(dkim_sign(a, &l, &k, NOW, &field, &e), 0, "dkim: a message with all fields");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str list = str_from(field, (size_t)str_find(field, STR("\th=")) + 3);
		unsigned n = 0;
		for (list = str_split(&list, ';'); list.p != NULL;)
			n += str_case_eq(str_trim(str_split(&list, ':')), str_c(names[i].name));
		tap_is_int(n, names[i].times, "dkim: %s is signed so often", names[i].name);
	}
	buf_fini(&h);
	arena_free(&a);
}

/* --- ARC --- */

/* Each sealer puts its set above, as a mailing list would also change the Subject. */
static struct str sealed(struct arena *a, struct str m, const char *domain, enum sig_kind kind, enum auth_result cv, const char *results)
{
	size_t head_n = 0, body_at = 0;
	struct str out[3];
	struct err e = { 0 };
	if (mail_head_find(m, true, &head_n, &body_at) != 0)
		tap_ok(false, "no header");
	const struct dkim_letter l = dkim_letter(a, str_sub(m, 0, head_n), str_from(m, body_at));
	const struct dkim_signer k = signer(domain, kind);
	const struct arc_seal s = { &l, &k, str_c(results), cv, NOW };
	if (arc_seal(a, &s, out, &e) < 0) {
		tap_ok(false, "arc: seal: %s", e.text);
		return m;
	}
	struct buf b;
	buf_init(&b, 1 << 20);
	for (int i = 2; i >= 0; i--) {
		buf_str(&b, out[i]);
		buf_ch(&b, '\n');
	}
	buf_str(&b, m);
	m = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return m;
}

static struct arc_result check(struct arena *a, struct str m)
{
	struct zone z = { .text = buf_view(&zone_all) };
	const struct auth_dns dns = { zone_ask, &z };
	return arc_verify(a, &dns, m, NOW);
}

static const struct {
	const char *from, *to, *want, *name;
} arc_cases[] = {
	{ "", "", "pass", "as it is" },
	{ "X-Other: 1", "X-Other: 2", "pass", "a field that is not signed" },
	{ "about\n", "About\n", "fail", "another Subject" },
	{ "a message", "no message", "fail", "another body" },
	{ "dmarc=pass", "dmarc=fail", "fail", "other results in the oldest set" },
	{ "cv=none", "cv=pass", "fail", "cv= of the first seal" },
	{ "cv=pass", "cv=none", "fail", "cv= of the second seal" },
	{ "cv=pass", "cv=fail", "fail", "a seal that says fail" },
	{ "ARC-Seal: i=1;", "ARC-Seal: i=3;", "fail", "a gap" },
	{ "ARC-Seal: i=1;", "X-Seal: i=1;", "fail", "a missing seal" },
	{ "ARC-Message-Signature: i=1;", "X-Signature: i=1;", "fail", "a missing message signature" },
	{ "ARC-Authentication-Results: i=1;", "X-Results: i=1;", "fail", "missing results" },
	{ "ARC-Authentication-Results: i=1;", "ARC-Authentication-Results: i=1; x\nARC-Authentication-Results: i=1;", "fail", "results twice" },
	{ "ARC-Seal: i=2; ", "ARC-Seal: i=2; h=from; ", "fail", "a seal with h=" },
	{ "ARC-Seal: i=2; ", "ARC-Seal: i=0; ", "fail", "an instance of 0" },
	{ "ARC-Seal: i=2; ", "ARC-Seal: i=51; ", "fail", "an instance of 51" },
	{ "ARC-Seal: i=2; ", "ARC-Seal: i=2; i=2; ", "fail", "a tag twice" },
	{ "ARC-Seal: i=2; ", "ARC-Seal: ", "fail", "no instance" },
	{ "s=e1", "s=e2", "fail", "a key that is not there" },
	{ "a=ed25519-sha256", "a=rsa-sha1", "fail", "an algorithm that is not accepted" },
	{ "h=from:", "h=arc-seal:from:", "fail", "a message signature over a seal" },
	{ "; c=relaxed/relaxed;\n\td=m", ";\n\td=m", "fail", "a message signature without c=, changed" },
	{ "\n\td=l.test", "\n\td=m.test", "fail", "another sealer" },
};

static void arc_checks(void)
{
	struct arena *a = arena_new(0);
	const struct str plain = str_c(arena_printf(a, "%s\n%s", head, body));
	const struct str one = sealed(a, plain, "l.test", SIG_RSA_SHA256, AUTH_NONE, "mx.l.test;\n\tdmarc=pass (p=reject)\n\theader.from=a.test");
	const struct str two = sealed(a, one, "m.test", SIG_ED25519_SHA256, AUTH_PASS, "mx.m.test;\n\tarc=pass");
	tap_is_str(auth_result_name(check(a, plain).result), "none", "arc: without sets");
	tap_is_str(auth_result_name(check(a, one).result), "pass", "arc: one set");
	for (size_t i = 0; i < ARRAY_LEN(arc_cases); i++) {
		struct buf m;
		replace(&m, two, str_c(arc_cases[i].from), str_c(arc_cases[i].to));
		const struct arc_result r = check(a, buf_view(&m));
		if (!tap_is_str(auth_result_name(r.result), arc_cases[i].want, "arc: two sets: %s", arc_cases[i].name))
			tap_diag("%s", r.why);
		buf_fini(&m);
	}
	/* A chain that is broken gets a seal that says so and covers itself; after that nobody adds one. */
	struct buf broken;
	replace(&broken, one, STR("a message"), STR("no message"));
	const struct str failed = sealed(a, buf_view(&broken), "m.test", SIG_RSA_SHA256, AUTH_FAIL, "mx.m.test; arc=fail");
	const struct arc_result r = check(a, failed);
	tap_ok(r.result == AUTH_FAIL && r.ended && r.n == 2, "arc: a seal of a broken chain");
	const struct dkim_letter l = dkim_letter(a, failed, STR(""));
	const struct dkim_signer k = signer("m.test", SIG_RSA_SHA256);
	struct str out[3];
	struct err e = { 0 };
	tap_is_int(arc_seal(a, &(struct arc_seal){ &l, &k, STR("mx; arc=fail"), AUTH_FAIL, NOW }, out, &e), -1, "arc: nothing is added to a chain that ended");
	buf_fini(&broken);
	arena_free(&a);
}

/* A chain that cannot be checked now is neither good nor broken, and gets no set. */
static void mute(void)
{
	struct arena *a = arena_new(0);
	const struct str plain = str_c(arena_printf(a, "%s\n%s", head, body));
	const struct str one = sealed(a, plain, "l.test", SIG_RSA_SHA256, AUTH_NONE, "mx.l.test; spf=pass");
	struct zone z = { .text = STR("r1._domainkey.l.test TIMEOUT\n") };
	const struct auth_dns dns = { zone_ask, &z };
	tap_is_str(auth_result_name(arc_verify(a, &dns, one, NOW).result), "temperror", "arc: nobody answers for the key");
	const struct dkim_letter l = dkim_letter(a, one, STR(body));
	const struct dkim_signer k = signer("m.test", SIG_RSA_SHA256);
	struct str out[3];
	struct err e = { 0 };
	tap_is_int(arc_seal(a, &(struct arc_seal){ &l, &k, STR("mx; arc=temperror"), AUTH_NONE, NOW }, out, &e), -1, "arc: and no set is added then");
	arena_free(&a);
}

static void vouches(void)
{
	static const char *const both[] = { "M.test", "l.test" }, *const newest[] = { "m.test" };
	struct arena *a = arena_new(0);
	const struct str plain = str_c(arena_printf(a, "%s\n%s", head, body));
	const struct str one = sealed(a, plain, "l.test", SIG_RSA_SHA256, AUTH_NONE, "mx.l.test;\n\tdmarc=pass (p=reject)\n\theader.from=a.test");
	const struct arc_result r = check(a, sealed(a, one, "m.test", SIG_RSA_SHA256, AUTH_PASS, "mx.m.test; dmarc=fail header.from=a.test"));
	tap_ok(arc_vouches(a, &r, STR("a.test"), both, 2), "arc: all sealers are trusted and the oldest says dmarc=pass");
	tap_ok(!arc_vouches(a, &r, STR("a.test"), newest, 1), "arc: one sealer is not trusted");
	tap_ok(!arc_vouches(a, &r, STR("b.test"), both, 2), "arc: dmarc=pass of another domain");
	tap_ok(!arc_vouches(a, &r, STR("a.test"), NULL, 0), "arc: nobody is trusted by default");
	arena_free(&a);
}

static void long_chain(void)
{
	struct arena *a = arena_new(0);
	struct str m = str_c(arena_printf(a, "%s\n%s", head, body));
	for (int i = 0; i < ARC_SETS_MAX; i++)
		m = sealed(a, m, "l.test", SIG_ED25519_SHA256, i == 0 ? AUTH_NONE : AUTH_PASS, "mx.l.test; spf=pass");
	const struct arc_result r = check(a, m);
	tap_ok(r.result == AUTH_PASS && r.n == ARC_SETS_MAX, "arc: the longest chain passes");
	const struct dkim_letter l = dkim_letter(a, m, STR(""));
	const struct dkim_signer k = signer("m.test", SIG_RSA_SHA256);
	struct str out[3];
	struct err e = { 0 };
	tap_ok(arc_seal(a, &(struct arc_seal){ &l, &k, STR("mx; arc=pass"), AUTH_PASS, NOW }, out, &e) < 0 && e.code == ERR_LIMIT, "arc: and gets no further set");
	arena_free(&a);
}

/* --- cases of a file --- */

static void put_escaped(FILE *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		const unsigned char c = (unsigned char)s.p[i];
		if (c < ' ' || c > '~' || c == '\\')
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
}

static int sign_by(void *ctx, const struct dkim_signer *k, const unsigned char hash[32], struct buf *out, struct err *e)
{
	(void)k;
	return sign_hash(ctx, hash, out, e);
}

/* What the chain is found to be is what the new seal says of it. */
static void seal_case(struct arena *a, const struct auth_dns *dns, struct str rest, FILE *out)
{
	const char *want = arena_cstr(a, str_split(&rest, '\t')), *name = arena_cstr(a, str_split(&rest, '\t'));
	struct dkim_signer k = { .sign = sign_by };
	k.domain = str_split(&rest, '\t');
	k.selector = str_split(&rest, '\t');
	const struct str pem = zone_unescape(a, str_split(&rest, '\t')), at = str_split(&rest, '\t');
	const struct str results = zone_unescape(a, str_split(&rest, '\t')), m = zone_unescape(a, rest);
	struct sign_key *key = NULL;
	struct err e = { 0 };
	size_t head_n = 0, body_at = 0;
	struct str made[3];
	uint64_t now = 0;
	if (!tap_ok(num_parse(at, 0, INT64_MAX, &now) == 0 && sign_key_load(pem, &key, &e) == 0 && mail_head_find(m, true, &head_n, &body_at) == 0, "%s: what is given", name))
		return;
	const struct arc_result r = arc_verify(a, dns, m, (int64_t)now);
	tap_is_str(auth_result_name(r.result), want, "%s: the chain so far", name);
	const struct dkim_letter l = dkim_letter(a, str_sub(m, 0, head_n), str_from(m, body_at));
	k.ctx = key;
	k.kind = sign_key_kind(key);
	if (arc_seal(a, &(struct arc_seal){ &l, &k, results, r.result, (int64_t)now }, made, &e) < 0) {
		fprintf(out, "not sealed\t%s\t%s\n", name, e.text);
	} else {
		fprintf(out, "sealed\t%s\t", name);
		for (int i = 2; i >= 0; i--) {
			put_escaped(out, made[i]);
			put_escaped(out, STR("\n"));
		}
		fputc('\n', out);
	}
	sign_key_free(&key);
}

static void from_file(const char *path, const char *sealed_path)
{
	struct buf zone;
	static char line[400000];
	FILE *f = fopen(path, "r"), *out = fopen(sealed_path != NULL ? sealed_path : "/dev/null", "w");
	if (!tap_ok(out != NULL, "a file for what is sealed"))
		return;
	buf_init(&zone, 1 << 20);
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		struct str rest = str_n(line, strcspn(line, "\n")), kind = str_split(&rest, '\t');
		if (str_eq(kind, STR("---"))) {
			buf_reset(&zone);
		} else if (str_eq(kind, STR("zone"))) {
			buf_str(&zone, rest);
			buf_ch(&zone, '\n');
		} else if (str_eq(kind, STR("case")) || str_eq(kind, STR("seal"))) {
			struct arena *a = arena_new(0);
			struct zone z = { .text = buf_view(&zone) };
			const struct auth_dns dns = { zone_ask, &z };
			if (str_eq(kind, STR("seal"))) {
				seal_case(a, &dns, rest, out);
				arena_free(&a);
				continue;
			}
			const char *want = arena_cstr(a, str_split(&rest, '\t')), *name = arena_cstr(a, str_split(&rest, '\t'));
			const struct arc_result r = arc_verify(a, &dns, zone_unescape(a, rest), NOW);
			if (!tap_is_str(auth_result_name(r.result), want, "%s", name))
				tap_diag("%s", r.why);
			arena_free(&a);
		}
	}
	if (f == NULL)
		tap_ok(false, "%s: cannot be read", path);
	else
		fclose(f);
	fclose(out);
	buf_fini(&zone);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		from_file(argv[1], argv[2]);
		return tap_done();
	}
	buf_init(&zone_all, 100000);
	make_key(0, SIG_RSA_SHA256, "r1");
	make_key(1, SIG_ED25519_SHA256, "e1");
	dkim_checks(SIG_RSA_SHA256);
	dkim_checks(SIG_ED25519_SHA256);
	names_check();
	arc_checks();
	vouches();
	mute();
	long_chain();
	for (unsigned i = 0; i < KEYS; i++)
		sign_key_free(&env[i].key);
	buf_fini(&zone_all);
	return tap_done();
}
