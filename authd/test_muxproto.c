/* saslauthd's requests: whole, cut anywhere, and hostile. */
#include "authd/muxproto.h"

#include "test/tap.h"

#define GOOD "\0\3joe\0\6secret\0\4imap\0\0"

static const struct { const char *name; struct str in; int want; } cases[] = {
	{ "four fields", { GOOD, sizeof GOOD - 1 }, 0 },
	{ "with realm", { "\0\3joe\0\1x\0\4smtp\0\7example", 23 }, 0 },
	{ "fifth field is not looked at", { GOOD "\0\x0b" "1.2.3.4;500", sizeof GOOD - 1 + 13 }, 0 },
	{ "part of a fifth field", { GOOD "\0", sizeof GOOD }, 0 },
	{ "empty login", { "\0\0\0\1x\0\4smtp\0\0", 13 }, -1 },
	{ "empty password", { "\0\1x\0\0\0\4smtp\0\0", 13 }, -1 },
	{ "count 0xffff", { "\xff\xff" "aaaa", 6 }, -1 },
	{ "count 1025", { "\x04\x01" "aaaa", 6 }, -1 },
	{ "NUL in the login", { "\0\3j\0e\0\1x\0\4smtp\0\0", 16 }, -1 },
	{ "service with a slash", { "\0\1j\0\1x\0\7../smtp\0\0", 17 }, -1 },
	{ "service with a leading dot", { "\0\1j\0\1x\0\2.s\0\0", 12 }, -1 },
	{ "no service", { "\0\1j\0\1x\0\0\0\0", 10 }, -1 },
	{ "nothing", { "", 0 }, 1 },
};

int main(void)
{
	struct mux_request r;
	struct err e = { 0 };
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_int(mux_request_parse(cases[i].in, &r, &e), cases[i].want, "%s", cases[i].name);
	tap_is_int(mux_request_parse(STR(GOOD), &r, &e), 0, "good");
	tap_is_mem(r.login, STR("joe"), "login");
	tap_is_mem(r.password, STR("secret"), "password");
	tap_is_mem(r.service, STR("imap"), "service");
	tap_is_int((long long)r.realm.n, 0, "realm");
	for (size_t cut = 0; cut < sizeof GOOD - 1; cut++)
		tap_is_int(mux_request_parse(str_n(GOOD, cut), &r, &e), 1, "cut at %zu needs more", cut);
	buf_init(&b, 100);
	mux_reply_put(&b, "OK Success.");
	tap_is_mem(buf_view(&b), STR("\0\x0bOK Success."), "reply");
	buf_fini(&b);
	return tap_done();
}
