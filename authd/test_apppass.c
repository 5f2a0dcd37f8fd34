/* Application passwords: records that parse and do not, what is made is matched and how it may be typed, and that services and time bound it. */
#include "authd/apppass.h"

#include <stdio.h>

#include "base/arena.h"
#include "test/tap.h"

#define SALT "00112233445566778899aabbccddeeff"
#define HASH "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ROW(services, name) "0123456789abcdef 1000 0 " services " " SALT " " HASH " " name "\n"

static const struct { const char *name, *in; int want; long long rows; bool webmail; } records[] = {
	{ "none", "1 any\n", 0, 0, false },
	{ "none, and the main password for the webmail", "1 webmail\n", 0, 0, true },
	{ "one", "1 any\n" ROW("all", "phone"), 0, 1, false },
	{ "two", "1 webmail\n" ROW("imap,smtp", "phone") ROW("pop3", "laptop@home"), 0, 2, true },
	{ "another version", "2 any\n", -1, 0, false },
	{ "no version", "", -1, 0, false },
	{ "an unknown use of the main password", "1 none\n", -1, 0, false },
	{ "an unknown service", "1 any\n" ROW("imap,ftp", "phone"), -1, 0, false },
	{ "an empty service", "1 any\n" ROW("imap,", "phone"), -1, 0, false },
	{ "no name", "1 any\n" ROW("all", ""), -1, 0, false },
	{ "a name with a blank", "1 any\n" ROW("all", "my phone"), -1, 0, false },
	{ "a name too long", "1 any\n" ROW("all", "a2345678901234567890123456789012345678901"), -1, 0, false },
	{ "an id cut short", "1 any\n0123456789abcde 1 0 all " SALT " " HASH " x\n", -1, 0, false },
	{ "a salt cut short", "1 any\n0123456789abcdef 1 0 all 00 " HASH " x\n", -1, 0, false },
	{ "a hash that is none", "1 any\n0123456789abcdef 1 0 all " SALT " " SALT " x\n", -1, 0, false },
	{ "a time that is none", "1 any\n0123456789abcdef x 0 all " SALT " " HASH " x\n", -1, 0, false },
	{ "fields missing", "1 any\n0123456789abcdef 1\n", -1, 0, false },
};

static void test_records(void)
{
	struct app_passwords p, again;
	struct err e = { 0 };
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		tap_is_int(app_parse(str_c(records[i].in), &p, &e), records[i].want, "%s", records[i].name);
		if (records[i].want < 0)
			continue;
		tap_is_int((long long)p.n, records[i].rows, "%s: rows", records[i].name);
		tap_is_int(p.main_for_webmail, records[i].webmail, "%s: the main password", records[i].name);
		buf_init(&b, APP_RECORD_MAX);
		app_format(&p, &b);
		tap_is_str(b.p, records[i].in, "%s: formatted it is the same", records[i].name);
		tap_is_int(app_parse(buf_view(&b), &again, &e), 0, "%s: and parses", records[i].name);
		buf_fini(&b);
	}
	buf_init(&b, 2 * APP_RECORD_MAX);
	buf_c(&b, "1 any\n");
	for (unsigned i = 0; i < APP_PASSWORDS_MAX; i++)
		buf_c(&b, ROW("imap,pop3,smtp", "a234567890123456789012345678901234567890"));
	tap_is_int(app_parse(buf_view(&b), &p, &e), 0, "as many as there may be");
	tap_ok(b.n <= APP_RECORD_MAX, "fit into a record");
	buf_c(&b, ROW("all", "one-more"));
	tap_is_int(app_parse(buf_view(&b), &p, &e), -1, "one more does not parse");
	buf_fini(&b);
}

/* The same password, as people and keyboards write it. %s: as it was shown. */
static const struct { const char *name; char between; bool upper, more, less; int want; } typed[] = {
	{ "as shown", '-', false, false, false, 1 },
	{ "with blanks", ' ', false, false, false, 1 },
	{ "in capitals", '-', true, false, false, 1 },
	{ "without anything between", 0, false, false, false, 1 },
	{ "with a letter more", '-', false, true, false, 0 },
	{ "with a letter less", '-', false, false, true, 0 },
	{ "with other punctuation", '.', false, false, false, 0 },
};

static void type(char out[64], const char *shown, size_t i)
{
	size_t n = 0;

	for (const char *c = shown; *c; c++) {
		if (*c != '-')
			out[n++] = typed[i].upper ? ch_up(*c) : *c;
		else if (typed[i].between)
			out[n++] = typed[i].between;
	}
	if (typed[i].more)
		out[n++] = 'a';
	out[typed[i].less ? n - 1 : n] = 0;
}

static int match(const struct app_passwords *p, const char *given, unsigned service, uint64_t now)
{
	const struct app_password *which = NULL;
	struct err e = { 0 };
	const int rc = app_match(p, str_c(given), service, now, &which, &e);

	return rc == 1 && which != &p->v[1] ? -2 : rc;
}

static void test_match(void)
{
	struct app_passwords p = { .n = 2 };
	char ids[2][APP_ID + 1], shown[2][APP_SHOWN], text[64];
	struct err e = { 0 };

	for (int i = 0; i < 2; i++) {
		p.v[i] = (struct app_password){ .name = STR("x"), .services = APP_IMAP | APP_SMTP, .expires = 2000 };
		tap_is_int(app_make(&p.v[i], ids[i], shown[i], &e), 0, "one is made");
	}
	tap_is_int((long long)strlen(shown[1]), APP_LETTERS + 5, "six groups of four letters");
	tap_ok(app_id_valid(str_c(ids[1])) && strcmp(ids[0], ids[1]) != 0 && strcmp(shown[0], shown[1]) != 0, "each is another");
	for (size_t i = 0; i < ARRAY_LEN(typed); i++) {
		type(text, shown[1], i);
		tap_is_int(match(&p, text, APP_IMAP, 1999), typed[i].want, "%s", typed[i].name);
	}
	tap_is_int(match(&p, shown[1], APP_SMTP, 1999), 1, "another service of it");
	tap_is_int(match(&p, shown[1], APP_POP3, 1999), 0, "a service that it is not for");
	tap_is_int(match(&p, shown[1], APP_OTHER, 1999), 0, "nor for others'");
	tap_is_int(match(&p, shown[1], APP_IMAP, 2000), 0, "its time is over");
	p.v[1].services = APP_ALL;
	p.v[1].expires = 0;
	tap_is_int(match(&p, shown[1], APP_OTHER, UINT64_MAX), 1, "one for all services, for ever");
	p.n = 1;
	tap_is_int(match(&p, shown[1], APP_IMAP, 1), 0, "taken away");
	p = (struct app_passwords){ 0 };
	tap_is_int(match(&p, "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa", APP_IMAP, 1), 0, "no record is matched by nothing");
	tap_is_int(match(&p, "", APP_IMAP, 1), 0, "nor by an empty password");
}

static const struct { const char *name; unsigned want; } services[] = {
	{ "imap", APP_IMAP }, { "pop3", APP_POP3 }, { "pop", APP_POP3 }, { "smtp", APP_SMTP }, { "ldap", APP_OTHER }, { "", APP_OTHER }, { "IMAP", APP_OTHER },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		tap_is_int(app_service(str_c(services[i].name)), services[i].want, "service \"%s\"", services[i].name);
	test_records();
	test_match();
	return tap_done();
}
