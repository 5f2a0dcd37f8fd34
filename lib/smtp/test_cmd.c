/* Command lines, parameters, SIZE, foreign protocols. */
#include "smtp/cmd.h"
#include "test/tap.h"

static const struct { const char *line, *verb, *args; } lines[] = {
	{ "NOOP", "NOOP", "" }, { "MAIL FROM:<a@b>  ", "MAIL", "FROM:<a@b>" }, { "rcpt\tto:<a>", "rcpt", "to:<a>" }, { "", NULL, NULL }, { " NOOP", NULL, NULL },
	{ "NO\001OP", NULL, NULL }, { "NOOP \033[2J", NULL, NULL },
};
static const struct { const char *in, *key, *value; int r; } params[] = {
	{ " SIZE=100 BODY=7BIT", "SIZE", "100", 0 }, { "", "", NULL, 1 }, { "  ", "", NULL, 1 }, { "SMTPUTF8", "SMTPUTF8", NULL, 0 }, { "SIZE=", "", NULL, -1 },
	{ "=5", "", NULL, -1 }, { "A_B=1", "", NULL, -1 }, { "X-Y=1=2", "X-Y", "1=2", 0 }, { "A=\xff", "A", "\xff", 0 }, { "A=\x7f", "", NULL, -1 }, { "A\xff=1", "", NULL, -1 },
};
static const struct { const char *in; uint64_t max; int r; uint64_t want; } sizes[] = {
	{ "0", 100, 0, 0 }, { "100", 100, 0, 100 }, { "101", 100, ERR_TOOBIG, 0 }, { "-1", 100, ERR_INPUT, 0 }, { "99999999999999999999", 100, ERR_TOOBIG, 0 },
	{ "999999999999999999999", 100, ERR_INPUT, 0 }, { "", 100, ERR_INPUT, 0 }, { "1x", 100, ERR_INPUT, 0 }, { "18446744073709551615", 0, 0, UINT64_MAX },
	{ "18446744073709551616", 0, ERR_TOOBIG, 0 },
};
static const struct { const char *line; bool foreign; } foreigns[] = {
	{ "GET / HTTP/1.1", true }, { "POST /x HTTP/1.0", true }, { "Host: a", true }, { "CONNECT a:25", true }, { "\x16\x03\x01", true }, { "MAIL FROM:<a>", false },
	{ "EHLO x", false }, { "", false }, { "NOOP GET", false },
};

int main(void)
{
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct str verb = { 0 }, args = { 0 };
		const int r = smtp_cmd_parse(str_c(lines[i].line), &verb, &args, &e);
		tap_ok(r == (lines[i].verb ? 0 : -1) && (r < 0 || (str_eq(verb, str_c(lines[i].verb)) && str_eq(args, str_c(lines[i].args)))), "line %zu", i);
	}
	for (size_t i = 0; i < ARRAY_LEN(params); i++) {
		struct str rest = str_c(params[i].in);
		struct smtp_param p = { 0 };
		const int r = smtp_param_next(&rest, &p, &e);
		tap_ok(r == params[i].r && (r != 0 || (str_eq(p.key, str_c(params[i].key)) && (p.value.p == NULL) == (params[i].value == NULL) &&
						       str_eq(p.value, str_c(params[i].value)))),
		       "parameter \"%s\"", params[i].in);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t v = 0;
		e.code = ERR_NONE;
		const int r = smtp_size_parse(str_c(sizes[i].in), sizes[i].max, &v, &e);
		tap_ok((r < 0 ? (int)e.code : 0) == sizes[i].r && v == sizes[i].want, "SIZE=%s", sizes[i].in);
	}
	for (size_t i = 0; i < ARRAY_LEN(foreigns); i++)
		tap_is_int(smtp_cmd_foreign(str_c(foreigns[i].line)), foreigns[i].foreign, "foreign %zu", i);
	struct str args = str_c("from : <a>");
	tap_ok(smtp_cmd_keyword(&args, "FROM", false) && str_eq(args, STR(" <a>")), "FROM with blanks");
	args = str_c("from :<a>");
	tap_ok(!smtp_cmd_keyword(&args, "FROM", true), "FROM with blanks, strict");
	return tap_done();
}
