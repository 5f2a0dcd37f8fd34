/* Replies: made and parsed. */
#include "smtp/reply.h"
#include "test/tap.h"

static const struct { const char *name; int code; const char *enhanced, *text, *want; } made[] = {
	{ "one line", 250, "2.1.0", "Ok", "250 2.1.0 Ok\r\n" },
	{ "no enhanced code", 220, "", "x ESMTP", "220 x ESMTP\r\n" },
	{ "several lines", 250, "", "a\nb\nc", "250-a\r\n250-b\r\n250 c\r\n" },
	{ "enhanced code on each line", 550, "5.1.1", "a\nb", "550-5.1.1 a\r\n550 5.1.1 b\r\n" },
	{ "controls and 8-bit are neutralised", 550, "5.1.1", "a\rb\x01\xff", "550 5.1.1 a?b??\r\n" },
	{ "no text", 250, "2.0.0", "", "250 2.0.0\r\n" },
	{ "no text at all", 250, NULL, "", "250 \r\n" },
};

static const struct { const char *line; int r, code; bool last; const char *enhanced, *text; } parsed[] = {
	{ "250 2.1.0 Ok", 0, 250, true, "2.1.0", "Ok" },
	{ "250-SIZE 100", 0, 250, false, "", "SIZE 100" },
	{ "550", 0, 550, true, "", "" },
	{ "550-", 0, 550, false, "", "" },
	{ "550 5.1.1", 0, 550, true, "5.1.1", "" },
	{ "550 4.1.1 wrong class", 0, 550, true, "", "4.1.1 wrong class" },
	{ "550 5.1.1234 x", 0, 550, true, "", "5.1.1234 x" },
	{ "5.1.1", -1, 0, false, "", "" },
	{ "", -1, 0, false, "", "" },
	{ "25", -1, 0, false, "", "" },
	{ "199 x", -1, 0, false, "", "" },
	{ "600 x", -1, 0, false, "", "" },
	{ "250x", -1, 0, false, "", "" },
	{ "HTTP/1.1 400", -1, 0, false, "", "" },
};

static const struct {
	const char *in, *code, *enhanced, *text;
} splits[] = {
	{ "5.7.1 not to them", "5.1.1", "5.7.1", "not to them" }, { "nobody is there", "5.1.1", "5.1.1", "nobody is there" }, { "4.4.1 cable cut", "5.1.1", "5.1.1", "4.4.1 cable cut" },
	{ "5.foo bar", "5.1.1", "5.1.1", "5.foo bar" }, { "5.1.1234 x", "5.0.0", "5.0.0", "5.1.1234 x" }, { "5.7.1", "5.1.1", "5.7.1", "no reason given" },
	{ "", "5.1.1", "5.1.1", "no reason given" }, { " ", "4.3.0", "4.3.0", "no reason given" },
};

static void test_splits(void)
{
	for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
		struct str text;
		const struct str enhanced = smtp_enhanced_split(str_c(splits[i].in), splits[i].code, &text);
		tap_ok(str_eq(enhanced, str_c(splits[i].enhanced)) && str_eq(text, str_c(splits[i].text)), "split \"%s\"", splits[i].in);
	}
}

int main(void)
{
	test_splits();
	struct buf b;
	struct err e = { 0 };

	buf_init(&b, 100000);
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		buf_reset(&b);
		smtp_reply_put(&b, made[i].code, made[i].enhanced, str_c(made[i].text));
		tap_is_mem(buf_view(&b), str_c(made[i].want), "%s", made[i].name);
	}
	char big[2000];
	memset(big, 'x', sizeof big);
	buf_reset(&b);
	smtp_reply_put(&b, 550, "5.0.0", str_n(big, sizeof big));
	tap_is_int((long long)b.n, SMTP_REPLY_LINE_MAX, "a long line is cut to 512 bytes");
	buf_fini(&b);
	for (size_t i = 0; i < ARRAY_LEN(parsed); i++) {
		struct smtp_reply_line l = { 0 };
		const int r = smtp_reply_line_parse(str_c(parsed[i].line), &l, &e);
		tap_ok(r == parsed[i].r && (r < 0 || (l.code == parsed[i].code && l.last == parsed[i].last &&
						     str_eq(l.enhanced, str_c(parsed[i].enhanced)) && str_eq(l.text, str_c(parsed[i].text)))),
		       "parse \"%s\"", parsed[i].line);
	}
	return tap_done();
}
