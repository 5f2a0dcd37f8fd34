/* DKIM: the example of RFC 8463 appendix A (one message, an Ed25519 and an RSA signature), and what becomes of it when something is changed; key records;
 * the canonical forms of RFC 6376 3.4.5. Signatures of another implementation are checked in t/filterd. */
#include "authres/canon.h"
#include "authres/dkim.h"
#include "base/buf.h"
#include "test/tap.h"
#include "test_zone.h"

#define RSA_P \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC" \
	"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
#define ED_P "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const char zone_text[] =
	"brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; p=" ED_P "\n"
	"test._domainkey.football.example.com TXT v=DKIM1; k=rsa; p=" RSA_P "\n";

static const char message[] =
	"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\n"
	" d=football.example.com; i=@football.example.com;\n"
	" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n"
	" subject : date : message-id : from : subject : date;\n"
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n"
	" b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\n"
	" Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\n"
	"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\n"
	" d=football.example.com; i=@football.example.com;\n"
	" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\n"
	" date : message-id : from : subject : date;\n"
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n"
	" b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\n"
	" DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\n"
	" dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\n"
	"From: Joe SixPack <joe@football.example.com>\n"
	"To: Suzie Q <suzie@shopping.example.net>\n"
	"Subject: Is dinner ready?\n"
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n"
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\n"
	"\n"
	"Hi.\n"
	"\n"
	"We lost the game.  Are you hungry yet?\n"
	"\n"
	"Joe.\n";

static const char same[] = "";

/* All of "from" become "to" in the message (zone: in the zone); the results are those of the two signatures. */
static const struct {
	const char *from, *to;
	bool zone;
	const char *ed, *rsa, *name;
} cases[] = {
	{ same, same, false, "pass", "pass", "as it is" },
	{ "\n", "\r\n", false, "pass", "pass", "with CRLF" },
	{ "game.  Are", "game. Are", false, "pass", "pass", "blanks in the body do not count when relaxed" },
	{ "Joe.\n", "Joe. \n\n\n", false, "pass", "pass", "nor do blanks and empty lines at the end" },
	{ "Subject: Is ", "SUBJECT:   Is\n ", false, "pass", "pass", "nor case and folds of a field" },
	{ "lost", "won", false, "fail", "fail", "another body" },
	{ "Is dinner", "Was dinner", false, "fail", "fail", "another subject" },
	{ "To: Suzie", "To: Bob", false, "fail", "fail", "another recipient" },
	{ "\nSubject: Is", "\nSubject: extra\nSubject: Is", false, "fail", "fail", "one more Subject, which was signed as missing" },
	{ "\nDate:", "\nX-More: 1\nDate:", false, "pass", "pass", "a field that is not signed" },
	{ "; t=1528637909", "; t=1528637908", false, "fail", "fail", "the signature's own field changed" },
	{ "; t=1528637909", "; t=1528637909; x=1528637910", false, "fail", "fail", "expired" },
	{ "; t=1528637909", "; t=1528637909; x=1528637900", false, "permerror", "permerror", "expired before it was made" },
	{ "; t=1528637909", "; t=9928637909", false, "policy", "policy", "from the future" },
	{ "v=1; a", "v=2; a", false, "permerror", "permerror", "version" },
	{ "v=1; a", "a", false, "permerror", "permerror", "no version" },
	{ "a=rsa-sha256", "a=rsa-sha1", false, "pass", "permerror", "rsa-sha1" },
	{ "h=from : to", "h=x-from : to", false, "fail", "fail", "From signed once less" },
	{ "from :", "x :", false, "permerror", "permerror", "From is not signed" },
	{ "i=@football", "i=@hockey", false, "permerror", "permerror", "i= of another domain" },
	{ "q=dns/txt", "q=dns/other", false, "permerror", "permerror", "query method" },
	{ "c=relaxed/relaxed", "c=loose", false, "permerror", "permerror", "canonicalisation" },
	{ "; s=", "; l=9999; s=", false, "permerror", "permerror", "l= beyond the body" },
	{ "; s=", "; s=a; s=", false, "permerror", "permerror", "a tag twice" },
	{ " bh=2j", " bh=!j", false, "permerror", "permerror", "bh= is no base64" },
	{ "test._domainkey", "tset._domainkey", true, "pass", "permerror", "no key" },
	{ "test._domainkey.football.example.com TXT", "test._domainkey.football.example.com TIMEOUT", true, "pass", "temperror", "nobody answers for the key" },
	{ "p=" ED_P, "p=", true, "permerror", "pass", "a revoked key" },
	{ "k=ed25519", "k=rsa", true, "permerror", "pass", "a key of another kind" },
	{ "k=rsa", "k=rsa; h=sha1", true, "pass", "permerror", "a key for sha1 only" },
	{ "k=rsa", "k=rsa; s=tlsrpt", true, "pass", "permerror", "a key not for mail" },
	{ "k=rsa", "k=rsa; s=* ; t=s", true, "pass", "pass", "a strict key, i= is d=" },
	{ "v=DKIM1", "v=DKIM2", true, "permerror", "permerror", "version of the key" },
	{ "p=" RSA_P, "p=MEgCQQDzKVhvSXBmkqAV3hAPo1MRz4LOoB2tjcOHkCNbMNYzOlOFSKcSS8aTVlsqE0E5ULqkC6ZLlf8LDG7gxkmcuQrzAgMBAAE=", true, "pass", "permerror", "an RSA key of 512 bits" },
	{ "p=" ED_P, "p=AAAA", true, "permerror", "pass", "a key of three bytes" },
};

static void replace(struct buf *out, struct str in, struct str from, struct str to)
{
	buf_init(out, 100000);
	for (ptrdiff_t at; from.n > 0 && (at = str_find(in, from)) >= 0; in = str_from(in, (size_t)at + from.n)) {
		buf_str(out, str_sub(in, 0, (size_t)at));
		buf_str(out, to);
	}
	buf_str(out, in);
}

static void one(size_t i)
{
	struct arena *a = arena_new(0);
	struct buf m, z;
	const struct str from = str_c(cases[i].from), to = str_c(cases[i].to);
	replace(&m, STR(message), cases[i].zone ? STR("") : from, to);
	replace(&z, STR(zone_text), cases[i].zone ? from : STR(""), to);
	struct zone zone = { .text = buf_view(&z) };
	const struct auth_dns dns = { zone_ask, &zone };
	struct dkim_result r[DKIM_SIGNATURES_MAX];
	const size_t n = dkim_verify(a, &dns, buf_view(&m), 1600000000, r);
	if (tap_is_int((long long)n, 2, "dkim: %s: two signatures", cases[i].name)) {
		if (!tap_is_str(auth_result_name(r[0].result), cases[i].ed, "dkim: %s: ed25519", cases[i].name))
			tap_diag("%s", r[0].why);
		if (!tap_is_str(auth_result_name(r[1].result), cases[i].rsa, "dkim: %s: rsa", cases[i].name))
			tap_diag("%s", r[1].why);
	}
	tap_ok(zone.asked <= n, "dkim: %s: one question a signature", cases[i].name);
	buf_fini(&m);
	buf_fini(&z);
	arena_free(&a);
}

static void to_buf(void *ctx, struct str s)
{
	buf_str(ctx, s);
}

static void canonical_forms(void)
{
	static const struct { const char *in; bool relaxed; uint64_t max; const char *want; } body[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", true, UINT64_MAX, " C\r\nD E\r\n" },
		{ " C \r\nD \t E\r\n\r\n\r\n", false, UINT64_MAX, " C \r\nD \t E\r\n" },
		{ "", true, UINT64_MAX, "" },
		{ "", false, UINT64_MAX, "\r\n" },
		{ "\n\n \n", true, UINT64_MAX, "" },
		{ "\n\n", false, UINT64_MAX, "\r\n" },
		{ "a\n\n\nb", true, UINT64_MAX, "a\r\n\r\n\r\nb\r\n" },
		{ "hello\nworld\n", false, 7, "hello\r\n" },
	};
	static const struct { const char *in; bool relaxed; const char *want; } field[] = {
		{ "A: X\r\n", true, "a:X\r\n" },
		{ "B : Y\t\r\n\tZ  \r\n", true, "b:Y Z\r\n" },
		{ "B : Y\t\r\n\tZ  \r\n", false, "B : Y\t\r\n\tZ  \r\n" },
		{ "B : Y\n Z\n", false, "B : Y\r\n Z\r\n" },
		{ "Empty:\n", true, "empty:\r\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(body); i++) {
		struct buf b;
		buf_init(&b, 1000);
		const struct canon_sink sink = { to_buf, &b };
		(void)canon_body(&sink, str_c(body[i].in), body[i].relaxed, body[i].max);
		tap_is_mem(buf_view(&b), str_c(body[i].want), "canon: body %zu", i);
		buf_fini(&b);
	}
	for (size_t i = 0; i < ARRAY_LEN(field); i++) {
		struct buf b;
		buf_init(&b, 1000);
		const struct canon_sink sink = { to_buf, &b };
		canon_field(&sink, str_c(field[i].in), field[i].relaxed, false);
		tap_is_mem(buf_view(&b), str_c(field[i].want), "canon: field %zu", i);
		buf_fini(&b);
	}
}

static void many_signatures(void)
{
	struct arena *a = arena_new(0);
	struct buf m;
	struct zone zone = { .text = STR(zone_text) };
	const struct auth_dns dns = { zone_ask, &zone };
	struct dkim_result r[DKIM_SIGNATURES_MAX];
	buf_init(&m, 2000000);
	for (int i = 0; i < 1000; i++)
		buf_str(&m, str_sub(STR(message), 0, (size_t)str_find(STR(message), STR("DKIM-Signature: v=1; a=rsa"))));
	buf_str(&m, STR(message));
	tap_is_int((long long)dkim_verify(a, &dns, buf_view(&m), 1600000000, r), DKIM_SIGNATURES_MAX, "dkim: of a thousand signatures ten are checked");
	tap_ok(zone.asked <= DKIM_SIGNATURES_MAX, "dkim: ten questions at most");
	buf_fini(&m);
	arena_free(&a);
}

int main(void)
{
	sigcheck_start();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		one(i);
	canonical_forms();
	many_signatures();
	return tap_done();
}
