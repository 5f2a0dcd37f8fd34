/* The pure parts of remote: logins, TLS policies. */
#include "deliver/remote/remote_priv.h"
#include "test/tap.h"

/* --- configuration of straw --- */

static struct conf *conf_of(const char *text)
{
	struct conf *c = NULL;
	struct buf problems;
	struct err e = { 0 };

	buf_init(&problems, 10000);
	if (conf_parse(str_c(text), "test", &c, &problems, &e) < 0)
		tap_diag("%s: %.*s", e.text, STR_ARG(buf_view(&problems)));
	buf_fini(&problems);
	return c;
}

/* --- login --- */

static void line_is(enum auth_mech m, unsigned step, const char *challenge, const char *want, const char *name)
{
	struct buf out;

	buf_init(&out, 10000);
	const int r = auth_line(m, STR("tim:tanstaaftanstaaf"), step, str_c(challenge), &out);
	tap_ok(want ? r == 0 && str_eq(buf_view(&out), str_c(want)) : r < 0, "%s", name);
	buf_fini(&out);
}

static void test_auth(void)
{
	struct conf *c = conf_of("myhostname = a.example\n"), *only = conf_of("myhostname = a.example\nsmtp_sasl_mechanism_filter = LOGIN\n");
	const unsigned all = auth_offered(STR("LOGIN plain DIGEST-MD5 CRAM-MD5"));

	line_is(AUTH_PLAIN, 0, "", "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm", "PLAIN in one line");
	line_is(AUTH_LOGIN, 0, "", "AUTH LOGIN", "LOGIN begins");
	line_is(AUTH_LOGIN, 1, "VXNlcm5hbWU6", "dGlt", "LOGIN: the name");
	line_is(AUTH_LOGIN, 2, "UGFzc3dvcmQ6", "dGFuc3RhYWZ0YW5zdGFhZg==", "LOGIN: the password");
	line_is(AUTH_LOGIN, 3, "", NULL, "LOGIN has no third question");
	line_is(AUTH_CRAM_MD5, 1, "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+", "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "CRAM-MD5 (RFC 2195 2)");
	line_is(AUTH_CRAM_MD5, 1, "!!", NULL, "CRAM-MD5: no challenge");
	line_is(AUTH_PLAIN, 1, "", NULL, "PLAIN asks nothing");
	tap_ok(auth_choose(c, all, true) == AUTH_CRAM_MD5, "the first of ours that is offered");
	tap_ok(auth_choose(c, auth_offered(STR("PLAIN LOGIN")), true) == AUTH_PLAIN, "PLAIN under TLS");
	tap_ok(auth_choose(c, auth_offered(STR("PLAIN LOGIN")), false) == AUTH_NONE, "no password in the clear");
	tap_ok(auth_choose(only, all, true) == AUTH_LOGIN, "the filter decides");
	conf_free(&c);
	conf_free(&only);
}

/* --- TLS --- */

static void policy_is(const char *entry, int level, size_t n_match, const char *name)
{
	struct conf *c = conf_of("myhostname = a.example\n");
	struct arena *a = arena_new(0);
	struct tls_policy p = { 0 };
	struct err e = { 0 };
	const int r = tls_policy_parse(c, str_c(entry), a, &p, &e);

	tap_ok(level < 0 ? r < 0 : r == 0 && (int)p.level == level && p.n_match == n_match, "%s", name);
	arena_free(&a);
	conf_free(&c);
}

static void test_tls(void)
{
	static const struct tls_tlsa ee = { .usage = 3, .selector = 1, .matching = 1, .n = 32 }, web = { .usage = 1, .selector = 1, .matching = 1, .n = 32 };
	const struct tls_policy dane = { .level = TLS_DANE }, only = { .level = TLS_DANE_ONLY };
	enum tls_level l = TLS_NONE;

	policy_is("", TLS_MAY, 0, "no entry: the configuration's level");
	policy_is("none", TLS_NONE, 0, "none");
	policy_is("secure", TLS_SECURE, 2, "secure: nexthop and what is below");
	policy_is("verify match=a.example:.b.example", TLS_VERIFY, 2, "names of its own");
	policy_is("encrypt protocols=!SSLv2 ciphers=high", TLS_ENCRYPT, 0, "what is always so is taken");
	policy_is("fingerprint match=aa:bb|cc", TLS_FINGERPRINT, 2, "fingerprints");
	policy_is("fingerprint", -1, 0, "a level fingerprint without any");
	policy_is("sure", -1, 0, "no such level");
	policy_is("may what", -1, 0, "no such attribute");
	tap_ok(tls_level_for(&dane, true, NAMES_FOUND, true, &ee, 1, &l) == 0 && l == TLS_DANE, "records that are vouched for are demanded");
	tap_ok(tls_level_for(&dane, true, NAMES_FOUND, true, &web, 1, &l) == 0 && l == TLS_ENCRYPT, "records that cannot be used demand TLS");
	tap_ok(tls_level_for(&dane, true, NAMES_FOUND, false, &ee, 1, &l) == 0 && l == TLS_MAY, "records that nobody vouches for mean nothing");
	tap_ok(tls_level_for(&dane, true, NAMES_NO_NAME, true, NULL, 0, &l) == 0 && l == TLS_MAY, "no records: as they come");
	tap_ok(tls_level_for(&dane, true, NAMES_TEMPORARY, false, NULL, 0, &l) < 0, "a lookup that failed: not now");
	tap_ok(tls_level_for(&dane, false, NAMES_TEMPORARY, false, NULL, 0, &l) == 0 && l == TLS_MAY, "names that nobody vouches for are not asked about");
	tap_ok(tls_level_for(&only, true, NAMES_NO_DATA, true, NULL, 0, &l) < 0, "dane-only: never without");
}

int main(void)
{
	test_auth();
	test_tls();
	return tap_done();
}
