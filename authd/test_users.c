/* The users file: what parses, what is refused with its line, and that a uid is never given twice. Password records too. */
#include "authd/users.h"

#include "authd/passfile.h"
#include "test/tap.h"

#define HEAD "postern-users 1 next 200003\n"

static const struct { const char *name, *in; int want; long long rows; } cases[] = {
	{ "empty text", "", 0, 0 },
	{ "header only", HEAD, 0, 0 },
	{ "rows, comment, blank line", HEAD "# note\n\nalice@example.com:200000:active:0\njoe:-:disabled:1000\n", 0, 2 },
	{ "no header", "alice:200000:active:0\n", -1, 0 },
	{ "next below the range", "postern-users 1 next 5\n", -1, 0 },
	{ "next behind the range", "postern-users 1 next 300001\n", -1, 0 },
	{ "cut short", HEAD "alice:200000:active:0", -1, 0 },
	{ "uid not yet given", HEAD "alice:200003:active:0\n", -1, 0 },
	{ "uid 0", HEAD "alice:0:active:0\n", -1, 0 },
	{ "uid below the range", HEAD "alice:1000:active:0\n", -1, 0 },
	{ "uid twice", HEAD "alice:200000:active:0\nbob:200000:active:0\n", -1, 0 },
	{ "name twice", HEAD "alice:200000:active:0\nalice:200001:active:0\n", -1, 0 },
	{ "unknown state", HEAD "alice:200000:on:0\n", -1, 0 },
	{ "bad quota", HEAD "alice:200000:active:-1\n", -1, 0 },
	{ "five fields", HEAD "alice:200000:active:0:x\n", -1, 0 },
	{ "path as name", HEAD "../alice:200000:active:0\n", -1, 0 },
};

static void test_parse(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct users u = { 0 };
		struct err e = { 0 };

		tap_is_int(users_parse(str_c(cases[i].in), 200000, 100000, a, &u, &e), cases[i].want, "%s", cases[i].name);
		tap_is_int((long long)u.n, cases[i].rows, "%s: rows", cases[i].name);
		arena_free(&a);
	}
}

static void test_edit(void)
{
	struct arena *a = arena_new(0);
	struct users u = { 0 };
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 4096);
	tap_is_int(users_parse(STR(HEAD "a:200000:active:0\nb:200001:active:7\nc:-:disabled:0\n"), 200000, 100000, a, &u, &e), 0, "parses");
	tap_ok(users_find(&u, STR("B")) == &u.v[1], "names are found in any case");
	users_remove(&u, users_find(&u, STR("a")));
	*users_append(&u, a) = (struct user_row){ .name = STR("d"), .uid = u.next_uid++ };
	users_format(&u, &b);
	tap_is_str(b.p, "postern-users 1 next 200004\nb:200001:active:7\nc:-:disabled:0\nd:200003:active:0\n",
		   "a removed user's uid stays used");
	buf_fini(&b);
	arena_free(&a);
}

static void test_passwords(void)
{
	static const char *const schemes[] = { "yescrypt", "sha512", "plain" };
	static const char odd[] = "it's \\ \"qu\xc3\xb6ted\" ";

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		struct pass_record r = { 0 };
		struct err e = { 0 };
		struct buf b;
		bool scram = false;

		buf_init(&b, PASS_RECORD_MAX);
		tap_is_int(pass_record_make(STR(odd), schemes[i], &b, &scram, &e), 0, "%s: makes a record", schemes[i]);
		tap_ok(scram, "%s: with a SCRAM verifier", schemes[i]);
		tap_is_int(pass_record_parse(buf_view(&b), &r, &e), 0, "%s: parses", schemes[i]);
		tap_is_int(pass_verify(r.hash, STR(odd), &e), 1, "%s: the password is right", schemes[i]);
		tap_is_int(pass_verify(r.hash, STR("it's"), &e), 0, "%s: another is wrong", schemes[i]);
		tap_is_int(pass_verify(r.hash, STR(""), &e), 0, "%s: an empty one is wrong", schemes[i]);
		buf_fini(&b);
	}
	struct err e = { 0 };
	struct buf b;
	bool scram;
	char too_long[PASSWORD_MAX + 2];
	memset(too_long, 'x', sizeof too_long);
	buf_init(&b, PASS_RECORD_MAX);
	tap_ok(pass_record_make(str_n(too_long, PASSWORD_MAX + 1), "plain", &b, &scram, &e) < 0, "1,025 bytes are refused");
	buf_reset(&b);
	struct pass_record r = { 0 };
	tap_is_int(pass_record_make(str_n(too_long, PASSWORD_MAX), "yescrypt", &b, &scram, &e), 0, "1,024 bytes are taken");
	tap_is_int(pass_record_parse(buf_view(&b), &r, &e), 0, "and parse");
	tap_is_int(pass_verify(r.hash, str_n(too_long, PASSWORD_MAX), &e), 1, "and are right");
	tap_is_int(pass_verify(r.hash, str_n(too_long, PASSWORD_MAX - 1), &e), 0, "one less is wrong");
	tap_is_int(pass_verify(r.hash, str_n(too_long, 511), &e), 0, "crypt's own limit is wrong");
	buf_reset(&b);
	tap_is_int(pass_record_make(STR("x"), "sha512", &b, &scram, &e), 0, "a short one");
	tap_is_int(pass_record_parse(buf_view(&b), &r, &e), 0, "parses");
	tap_is_int(pass_verify(r.hash, str_n(too_long, PASSWORD_MAX), &e), 0, "and no long one is right");
	tap_ok(pass_record_make(STR(""), "plain", &b, &scram, &e) < 0, "an empty password is refused");
	tap_ok(pass_record_make(STR("a\0b"), "yescrypt", &b, &scram, &e) < 0, "a NUL is refused");
	tap_ok(pass_record_make(STR("x"), "md5", &b, &scram, &e) < 0, "an unknown scheme is refused");
	tap_ok(pass_verify(STR("$nonsense$"), STR("x"), &e) < 0, "an unknown method is no verdict");
	buf_fini(&b);
}

int main(void)
{
	test_parse();
	test_edit();
	test_passwords();
	return tap_done();
}
