/* RFC 3461 section 4: what the parameters may be, and what they must not smuggle. */
#include <string.h>

#include "smtp/dsn.h"
#include "test/tap.h"

static const struct {
	const char *value;
	int r;
	uint64_t bits;
} notify[] = {
	{ "NEVER", 0, SMTP_NOTIFY_NEVER },
	{ "success,failure,delay", 0, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY },
	{ "DELAY", 0, SMTP_NOTIFY_DELAY },
	{ "NEVER,FAILURE", -1, 0 }, { "FAILURE,NEVER", -1, 0 }, { "FAILURE,FAILURE", -1, 0 }, { "", -1, 0 }, { ",", -1, 0 },
	{ "FAILURE,", -1, 0 }, { "SOMETIMES", -1, 0 }, { "FAILURE DELAY", -1, 0 },
};

struct text_case {
	const char *value, *decoded;	/* NULL: refused */
};
static const struct text_case envid[] = {
	{ "QQ314159", "QQ314159" }, { "a+2Bb+3Dc", "a+b=c" }, { "a+20b", "a b" }, { "", NULL }, { "a+00b", NULL }, { "a+0Ab", NULL }, { "a+0Db", NULL },
	{ "a+7Fb", NULL }, { "a+2bb", NULL }, { "a+2", NULL }, { "a=b", NULL }, { "a+FF", NULL },
};
static const struct text_case orcpt[] = {
	{ "rfc822;joe@example.com", "rfc822;joe@example.com" }, { "rfc822;a+2Bb@example.com", "rfc822;a+b@example.com" },
	{ "utf-8;j\\x{F6}@example.com", "utf-8;j\\x{F6}@example.com" }, { "rfc822;", NULL }, { "rfc822", NULL }, { ";joe@example.com", NULL },
	{ "utf-8;j\xc3\xb6@example.com", "utf-8;j\xc3\xb6@example.com" }, { "UTF-8;j\xc3\xb6\\x{2B}a@example.com", "UTF-8;j\xc3\xb6\\x{2B}a@example.com" },
	{ "utf-8;j\xc3\xb6+2Ba@example.com", NULL }, { "utf-8;j\xc3\xb6=a@example.com", NULL }, { "utf-8;j\xc3@example.com", NULL }, { "utf-8;\xc3\xb6 x", NULL },
	{ "utf-8;\xc3\xb6\x7f", NULL }, { "rfc822;j\xc3\xb6@example.com", NULL }, { "utf-8;a+2Bb@example.com", "utf-8;a+b@example.com" },
	{ "rfc822;a+0D+0AX-Evil:+20y", NULL }, { "rfc822;a+00b", NULL }, { "rf c;x", NULL }, { "rfc822;+FF", NULL }, { "r\xc3\xb6;x", NULL },
};

static void text_cases(const char *name, const struct text_case *v, size_t n, int (*parse)(struct str, struct buf *))
{
	for (size_t i = 0; i < n; i++) {
		struct buf b;
		buf_init(&b, 4096);
		const int r = parse(str_c(v[i].value), &b);
		tap_ok(v[i].decoded ? r == 0 && str_eq(buf_view(&b), str_c(v[i].decoded)) : r < 0, "%s=%s", name, v[i].value);
		buf_fini(&b);
	}
}

static void test_orcpt_format(void)
{
	static const struct {
		const char *in, *ascii, *utf8;
	} v[] = { { "rfc822;a+b=c@example.com", "rfc822;a+2Bb+3Dc@example.com", NULL }, { "utf-8;j\\x{F6}@x", "utf-8;j\\x{F6}@x", NULL },
		  { "utf-8;j\xc3\xb6+a@example.com", "utf-8;j\\x{F6}+2Ba@example.com", "utf-8;j\xc3\xb6\\x{2B}a@example.com" },
		  { "utf-8;\xe7\x94\xa8=\xf0\x9f\x90\x88@x", "utf-8;\\x{7528}+3D\\x{1F408}@x", "utf-8;\xe7\x94\xa8\\x{3D}\xf0\x9f\x90\x88@x" },
		  { "rfc822;j\xc3\xb6@x", "rfc822;j+C3+B6@x", NULL } };

	for (size_t i = 0; i < 2 * ARRAY_LEN(v); i++) {
		const bool utf8 = i % 2;
		struct buf b;
		buf_init(&b, 4096);
		const int r = smtp_orcpt_format(str_c(v[i / 2].in), utf8, &b);
		tap_ok(r == 0 && str_eq(buf_view(&b), str_c(utf8 && v[i / 2].utf8 ? v[i / 2].utf8 : v[i / 2].ascii)), "ORCPT on the wire: %s%s", v[i / 2].ascii,
		       utf8 ? ", with SMTPUTF8" : "");
		buf_fini(&b);
	}
}

/* Three bytes become eight. */
static void test_orcpt_too_long(void)
{
	struct buf in, b;

	buf_init(&in, 4096);
	buf_init(&b, 4096);
	buf_c(&in, "utf-8;xx");
	for (int i = 0; i < 164; i++)
		buf_c(&in, "\xe7\x94\xa8");
	buf_c(&b, "before");
	tap_ok(in.n == SMTP_ORCPT_MAX && smtp_orcpt_format(buf_view(&in), true, &b) == 0 && b.n == 6 + in.n, "an address as long as it may be, in UTF-8");
	buf_cut(&b, 6);
	tap_ok(smtp_orcpt_format(buf_view(&in), false, &b) < 0 && str_eq(buf_view(&b), STR("before")), "in ASCII it is too long, and left out");
	buf_fini(&b);
	buf_fini(&in);
}

static void test_limits(void)
{
	char text[700];
	struct buf b;

	memset(text, 'x', sizeof text);
	buf_init(&b, 4096);
	tap_ok(smtp_envid_parse(str_n(text, SMTP_ENVID_MAX), &b) == 0 && smtp_envid_parse(str_n(text, SMTP_ENVID_MAX + 1), &b) < 0, "ENVID: 100 characters");
	memcpy(text, "rfc822;", 7);
	buf_reset(&b);
	tap_ok(smtp_orcpt_parse(str_n(text, SMTP_ORCPT_MAX), &b) == 0 && smtp_orcpt_parse(str_n(text, SMTP_ORCPT_MAX + 1), &b) < 0, "ORCPT: 500 characters");
	buf_fini(&b);
}

int main(void)
{
	uint64_t v = 0;

	for (size_t i = 0; i < sizeof notify / sizeof notify[0]; i++) {
		uint64_t bits = 99;
		const int r = smtp_notify_parse(str_c(notify[i].value), &bits);
		tap_ok(r == notify[i].r && (r < 0 ? bits == 99 : bits == notify[i].bits), "NOTIFY=%s", notify[i].value);
		if (r < 0)
			continue;
		struct buf b;
		uint64_t again = 0;
		buf_init(&b, 100);
		smtp_notify_format(bits, &b);
		tap_ok(smtp_notify_parse(buf_view(&b), &again) == 0 && again == bits, "and written again");
		buf_fini(&b);
	}
	tap_ok(smtp_notify_valid(0) && !smtp_notify_valid(9) && !smtp_notify_valid(16), "only such bits are valid");
	tap_ok(smtp_notify_without_success(0) == 0 && smtp_notify_without_success(SMTP_NOTIFY_SUCCESS) == SMTP_NOTIFY_NEVER &&
	       smtp_notify_without_success(SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY) == SMTP_NOTIFY_DELAY &&
	       smtp_notify_without_success(SMTP_NOTIFY_NEVER) == SMTP_NOTIFY_NEVER, "without SUCCESS");
	tap_ok(smtp_ret_parse(STR("full"), &v) == 0 && v == SMTP_RET_FULL && smtp_ret_parse(STR("HDRS"), &v) == 0 &&
	       v == SMTP_RET_HDRS && smtp_ret_parse(STR("BODY"), &v) < 0, "RET");
	text_cases("ENVID", envid, sizeof envid / sizeof envid[0], smtp_envid_parse);
	test_orcpt_format();
	test_orcpt_too_long();
	text_cases("ORCPT", orcpt, sizeof orcpt / sizeof orcpt[0], smtp_orcpt_parse);
	test_limits();
	return tap_done();
}
