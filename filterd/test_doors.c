/* What MTAs and spamc send: good and bad, whole and cut. */
#include <stdio.h>

#include "milter_in.h"
#include "smtp/milter.h"
#include "spamd_head.h"
#include "test/tap.h"

/* --- spamd --- */

static const struct {
	const char *text;
	int result;
	enum spamd_method method;
	const char *user;
	uint64_t length;
} heads[] = {
	{ "CHECK SPAMC/1.5\r\nUser: bob\r\nContent-length: 12\r\n\r\n", 0, SPAMD_CHECK, "bob", 12 },
	{ "SYMBOLS SPAMC/1.2\nContent-Length: 0\n\n", 0, SPAMD_SYMBOLS, "", 0 },
	{ "REPORT SPAMC/1.5\r\nX-Other: x\r\n\r\n", 0, SPAMD_REPORT, "", 0 },
	{ "REPORT_IFSPAM SPAMC/1.5\r\n\r\n", 0, SPAMD_REPORT_IFSPAM, "", 0 },
	{ "PROCESS SPAMC/1.5\r\n\r\n", 0, SPAMD_PROCESS, "", 0 },
	{ "HEADERS SPAMC/1.5\r\n\r\n", 0, SPAMD_HEADERS, "", 0 },
	{ "TELL SPAMC/1.5\r\n\r\n", 0, SPAMD_TELL, "", 0 },
	{ "SKIP SPAMC/1.5\r\n\r\n", 0, SPAMD_SKIP, "", 0 },
	{ "PING SPAMC/1.5\r\n\r\n", 0, SPAMD_PING, "", 0 },
	{ "PING SPAMC/1.5\r\n", 1, SPAMD_PING, "", 0 },
	{ "", 1, SPAMD_PING, "", 0 },
	{ "GET / HTTP/1.1\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5 more\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5\r\nContent-length: -1\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5\r\nContent-length: 99999999999999999999\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5\r\nContent-length: 1\r\nContent-length: 2\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5\r\nno field\r\n\r\n", -1, SPAMD_PING, "", 0 },
	{ "CHECK SPAMC/1.5\r\nUser: a\x01" "b\r\n\r\n", -1, SPAMD_PING, "", 0 },
};

static void test_heads(void)
{
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		struct spamd_head h = { .length = 0 };
		size_t used = 0;
		struct err e = { 0 };
		const struct str in = str_c(heads[i].text);
		const int r = spamd_head_parse(in, &h, &used, &e);
		tap_ok(r == heads[i].result, "head %zu: %d %s", i, r, e.text);
		if (r != 0)
			continue;
		tap_ok(used == in.n && h.method == heads[i].method && str_eq(h.user, str_c(heads[i].user)) && h.length == heads[i].length, "%s", spamd_method_names[h.method]);
		bool early = false;
		for (size_t n = 0; n < in.n; n++)
			early |= spamd_head_parse(str_sub(in, 0, n), &h, &used, &e) == 0;
		tap_ok(!early, "cut at every place: more is needed");
	}
	char big[SPAMD_HEAD_MAX + 10];
	memset(big, 'a', sizeof(big));
	struct spamd_head h;
	struct err e = { 0 };
	size_t used;
	tap_ok(spamd_head_parse(str_n(big, sizeof(big)), &h, &used, &e) < 0 && e.code == ERR_LIMIT, "a head without end is over the limit");
}

/* --- milter --- */

static const struct {
	const char *name;
	char command;
	struct str data;
	bool good;
	const char *first, *second;
} commands[] = {
	{ "options", 'O', { "\0\0\0\6\0\0\1\xff\0\x1f\xff\xff", 12 }, true, NULL, NULL },
	{ "options, short", 'O', { "\0\0\0\6\0\0\1\xff", 8 }, false, NULL, NULL },
	{ "connect", 'C', { "mx.test\0" "4\x1\xbb" "192.0.2.1\0", 21 }, true, "mx.test", "192.0.2.1" },
	{ "connect, unknown", 'C', { "[x]\0U", 5 }, true, "[x]", NULL },
	{ "connect, no address", 'C', { "mx.test\0" "4\0", 10 }, false, NULL, NULL },
	{ "connect, no end", 'C', { "mx.test", 7 }, false, NULL, NULL },
	{ "helo", 'H', { "me\0", 3 }, true, "me", NULL },
	{ "helo, no end", 'H', { "me", 2 }, false, NULL, NULL },
	{ "mail", 'M', { "<a@b>\0SIZE=1\0", 13 }, true, "<a@b>", "SIZE=1" },
	{ "mail, nothing", 'M', { "", 0 }, false, NULL, NULL },
	{ "rcpt", 'R', { "<c@d>\0", 6 }, true, "<c@d>", NULL },
	{ "header", 'L', { "Subject\0 x\0", 11 }, true, "Subject", " x" },
	{ "header, no value", 'L', { "Subject\0", 8 }, false, NULL, NULL },
	{ "macros", 'D', { "Mi\0Q1\0{auth_authen}\0bob\0", 24 }, true, "i", "Q1" },
	{ "macros, empty", 'D', { "", 0 }, false, NULL, NULL },
	{ "body", 'B', { "any\0thing", 9 }, true, NULL, NULL },
	{ "abort", 'A', { "", 0 }, true, NULL, NULL },
	{ "nonsense", 'z', { "", 0 }, false, NULL, NULL },
};

static void test_commands(void)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		struct milter_command c;
		struct err e = { 0 };
		const int r = milter_command_get(commands[i].command, commands[i].data, &c, &e);
		tap_ok((r == 0) == commands[i].good, "%s: %s", commands[i].name, e.text);
		if (r != 0)
			continue;
		tap_ok(commands[i].first == NULL || (c.n > 0 && str_eq(c.v[0], str_c(commands[i].first))), "%s: first", commands[i].name);
		tap_ok(commands[i].second == NULL || (c.n > 1 && str_eq(c.v[1], str_c(commands[i].second))), "%s: second", commands[i].name);
		size_t read = 0;
		for (size_t n = 0; n < commands[i].data.n; n++)
			read += milter_command_get(commands[i].command, str_sub(commands[i].data, 0, n), &c, &e) == 0;
		tap_ok(read <= commands[i].data.n, "%s: cut at every place", commands[i].name);
	}
	struct milter_command c;
	struct err e = { 0 };
	tap_ok(milter_command_get('D', str_n("Mi\0Q1\0{auth_authen}\0bob\0odd\0", 28), &c, &e) == 0, "macros with one too many");
	tap_ok(str_eq(milter_macro(&c, "i"), STR("Q1")) && str_eq(milter_macro(&c, "auth_authen"), STR("bob")) && milter_macro(&c, "odd").p == NULL, "macros by name");
}

int main(void)
{
	test_heads();
	test_commands();
	return tap_done();
}
