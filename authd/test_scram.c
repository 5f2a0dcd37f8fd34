/* RFC 7677 section 3's exchange, and everything that must not pass. */
#include "authd/scram.h"

#include "base/enc.h"
#include "test/tap.h"

#define CLIENT_FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define CLIENT_FINAL "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct scram_verifier verifier(void)
{
	struct scram_verifier v;
	struct buf salt;
	struct err e = { 0 };

	buf_init(&salt, 64);
	tap_is_int(base64_decode(&salt, STR("W22ZaJ0SNY7soEsUEjb6gQ==")), 0, "salt");
	tap_is_int(scram_derive(STR("pencil"), (const uint8_t *)salt.p, salt.n, 4096, &v, &e), 0, "derive");
	buf_fini(&salt);
	return v;
}

static enum err_code run(const struct scram_verifier *v, const char *first, const char *final, struct buf *out)
{
	struct scram s;
	struct err e = { 0 };
	struct buf challenge;

	scram_init(&s);
	buf_init(&challenge, SCRAM_MESSAGE_MAX);
	buf_reset(out);
	int rc = scram_server_first(&s, str_c(first), &e);
	if (rc == 0)
		rc = scram_server_challenge(&s, v, STR(SERVER_NONCE), &challenge, &e);
	if (rc == 0)
		rc = scram_server_final(&s, str_c(final), out, &e);
	scram_fini(&s);
	buf_fini(&challenge);
	return rc == 0 ? ERR_NONE : e.code;
}

static void test_vector(const struct scram_verifier *v)
{
	struct scram s;
	struct err e = { 0 };
	struct buf out;

	scram_init(&s);
	buf_init(&out, SCRAM_MESSAGE_MAX);
	tap_is_int(scram_server_first(&s, STR(CLIENT_FIRST), &e), 0, "client-first parses");
	tap_is_str(s.user, "user", "user name");
	tap_is_int(scram_server_challenge(&s, v, STR(SERVER_NONCE), &out, &e), 0, "challenge");
	tap_is_str(out.p, SERVER_FIRST, "server-first is RFC 7677's");
	buf_reset(&out);
	tap_is_int(scram_server_final(&s, STR(CLIENT_FINAL), &out, &e), 0, "the proof is accepted");
	tap_is_str(out.p, SERVER_FINAL, "server-final is RFC 7677's");
	buf_fini(&out);
	scram_fini(&s);
}

static void test_refused(const struct scram_verifier *v)
{
#define NONCE "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define PROOF "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	static const struct { const char *name, *first, *final; enum err_code code; } cases[] = {
		{ "right", CLIENT_FIRST, CLIENT_FINAL, ERR_NONE },
		{ "y flag changes the header", "y,,n=user,r=rOprNGfwEbeRWgbNEkqO", CLIENT_FINAL, ERR_INPUT },
		{ "channel binding asked", "p=tls-unique,,n=user,r=abc", CLIENT_FINAL, ERR_INPUT },
		{ "other identity", "n,a=root,n=user,r=rOprNGfwEbeRWgbNEkqO", CLIENT_FINAL, ERR_INPUT },
		{ "mandatory extension", "n,,m=x,n=user,r=abc", CLIENT_FINAL, ERR_INPUT },
		{ "no user", "n,,n=,r=abc", CLIENT_FINAL, ERR_INPUT },
		{ "no nonce", "n,,n=user,r=", CLIENT_FINAL, ERR_INPUT },
		{ "nothing", "", CLIENT_FINAL, ERR_INPUT },
		{ "header only", "n,,", CLIENT_FINAL, ERR_INPUT },
		{ "bad escape", "n,,n=us=2Der,r=abc", CLIENT_FINAL, ERR_INPUT },
		{ "no proof", CLIENT_FIRST, "c=biws," NONCE, ERR_INPUT },
		{ "empty final", CLIENT_FIRST, "", ERR_INPUT },
		{ "proof of 31 bytes", CLIENT_FIRST, "c=biws," NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndQ==", ERR_INPUT },
		{ "wrong proof", CLIENT_FIRST, "c=biws," NONCE ",p=AHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ERR_AUTH },
		{ "client's nonce only", CLIENT_FIRST, "c=biws,r=rOprNGfwEbeRWgbNEkqO," PROOF, ERR_INPUT },
		{ "wrong nonce", CLIENT_FIRST, "c=biws,r=rOprNGfwEbeRWgbNEkqX," PROOF, ERR_INPUT },
		{ "header changed", CLIENT_FIRST, "c=eSws," NONCE "," PROOF, ERR_INPUT },
		{ "extension breaks the signature", CLIENT_FIRST, "c=biws," NONCE ",x=1," PROOF, ERR_AUTH },
	};
	struct buf out;

	buf_init(&out, SCRAM_MESSAGE_MAX);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_int(run(v, cases[i].first, cases[i].final, &out), cases[i].code, "%s", cases[i].name);
	for (size_t cut = 0; cut < sizeof CLIENT_FINAL - 1; cut++) {
		char final[sizeof CLIENT_FINAL];

		memcpy(final, CLIENT_FINAL, cut);
		final[cut] = 0;
		if (run(v, CLIENT_FIRST, final, &out) == ERR_NONE)
			tap_ok(false, "a final message cut at %zu is refused", cut);
	}
	buf_fini(&out);
}

static void test_text(const struct scram_verifier *v)
{
	struct buf a, b;
	struct scram_verifier w = { 0 }, f1 = { 0 }, f2 = { 0 };
	struct err e = { 0 };
	struct scram s;

	buf_init(&a, 1024);
	buf_init(&b, 1024);
	scram_verifier_format(v, &a);
	tap_is_int(scram_verifier_parse(buf_view(&a), &w, &e), 0, "a verifier parses");
	scram_verifier_format(&w, &b);
	tap_is_str(b.p, a.p, "format, parse, format");
	for (size_t cut = 0; cut < a.n; cut++)
		if (scram_verifier_parse(str_n(a.p, cut), &w, &e) == 0)
			tap_ok(false, "a verifier cut at %zu is refused", cut);
	scram_verifier_fake(STR("secret"), STR("nobody"), &f1);
	scram_verifier_fake(STR("secret"), STR("nobody"), &f2);
	tap_ok(memcmp(&f1, &f2, sizeof f1) == 0, "the salt of an unknown name is stable");
	scram_verifier_fake(STR("secret"), STR("nobody2"), &f2);
	tap_ok(memcmp(f1.salt, f2.salt, f1.salt_n) != 0, "and differs between names");
	scram_init(&s);
	tap_is_int(scram_server_first(&s, STR("n,a=a=2Cb=3Dc,n=a=2cb=3dc,r=x"), &e), 0, "escaped names parse");
	tap_is_str(s.user, "a,b=c", "and are decoded");
	scram_fini(&s);
	buf_fini(&a);
	buf_fini(&b);
}

static void test_prepare(void)
{
	static const struct { const char *name, *in, *want; } cases[] = {
		{ "ASCII stays", "pass word\"\\", "pass word\"\\" },
		{ "soft hyphen vanishes (RFC 4013 3)", "I\xc2\xadX", "IX" },
		{ "no-break space becomes a blank", "a\xc2\xa0" "b", "a b" },
		{ "umlauts stay", "p\xc3\xa4ssw\xc3\xb6rt", "p\xc3\xa4ssw\xc3\xb6rt" },
		{ "control characters are refused", "a\x07", NULL },
		{ "invalid UTF-8 is refused", "a\xff", NULL },
		{ "private use is refused", "\xee\x80\x80", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		struct err e = { 0 };

		buf_init(&b, 1024);
		int rc = scram_prepare(str_c(cases[i].in), &b, &e);
		tap_is_str(rc == 0 ? b.p : NULL, cases[i].want, "%s", cases[i].name);
		buf_fini(&b);
	}
}

int main(void)
{
	struct scram_verifier v = verifier();

	test_vector(&v);
	test_refused(&v);
	test_text(&v);
	test_prepare();
	return tap_done();
}
