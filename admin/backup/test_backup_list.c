/* A snapshot's list: rows as they were put, and what is no list. */
#include "admin/backup/backup.h"
#include "test/tap.h"

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD "postern backup list 1\n"

static int read_all(struct str list, unsigned *rows, struct err *e)
{
	enum backup_row row = ROW_FOLDER;
	struct backup_reader r;

	if (backup_list_open(list, &r, e) < 0)
		return -1;
	for (*rows = 0; row != ROW_END; ++*rows)
		if (backup_list_next(&r, &row, e) < 0)
			return -1;
	return 0;
}

static const struct {
	const char *name, *list;
	bool good;
} cases[] = {
	{ "an empty list", HEAD "E\t0\n", true },
	{ "a folder", HEAD "F\t7\t9\t1\t\\Sent\tGesendet \303\244\nE\t1\n", true },
	{ "a message", HEAD "M\t7\t9\t1700000000\t1000\t" SUM "\tone $two\nE\t1\n", true },
	{ "a file", HEAD "S\t640\t0\t12\t5\t" SUM "\t/etc/x y\nE\t1\n", true },
	{ "nothing", "", false },
	{ "another form", "postern backup list 2\nE\t0\n", false },
	{ "no end", HEAD "F\t7\t9\t1\t\tINBOX\n", false },
	{ "an end that counts otherwise", HEAD "F\t7\t9\t1\t\tINBOX\nE\t2\n", false },
	{ "something behind the end", HEAD "E\t0\nE\t0\n", false },
	{ "a folder without a name", HEAD "F\t7\t9\t1\t\t\nE\t1\n", false },
	{ "UID 0", HEAD "M\t0\t9\t1\t1\t" SUM "\t\nE\t1\n", false },
	{ "flags that there are not", HEAD "M\t1\t128\t1\t1\t" SUM "\t\nE\t1\n", false },
	{ "a sum that leads elsewhere", HEAD "M\t1\t1\t1\t1\t../../../../../../../../../../../../../../../../../../../../../../../etc\t\nE\t1\n", false },
	{ "a relative path", HEAD "S\t640\t0\t12\t5\t" SUM "\tetc/x\nE\t1\n", false },
	{ "a path that climbs", HEAD "S\t640\t0\t12\t5\t" SUM "\t/etc/../x\nE\t1\n", false },
	{ "a mode that is none", HEAD "S\t99\t0\t12\t5\t" SUM "\t/etc/x\nE\t1\n", false },
};

int main(void)
{
	struct backup_message m = { .uid = 4000000000u, .flags = 9, .date = 1700000000, .size = 1ULL << 40, .sum = SUM, .keywords = STR("a b") };
	struct backup_reader r;
	enum backup_row row;
	struct err e = { 0 };
	unsigned rows;
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_int(read_all(str_c(cases[i].list), &rows, &e), cases[i].good ? 0 : -1, "%s: %s", cases[i].name, cases[i].good ? "is read" : "is refused");
	buf_init(&b, 4096);
	backup_list_begin(&b);
	backup_put_message(&b, &m);
	backup_list_end(&b, 1);
	tap_ok(backup_list_open(buf_view(&b), &r, &e) == 0 && backup_list_next(&r, &row, &e) == 0 && row == ROW_MESSAGE, "what was put is read");
	tap_ok(r.message.uid == m.uid && r.message.flags == 9 && r.message.size == m.size && str_eq(r.message.keywords, m.keywords), "the same");
	for (size_t n = 0; n < b.n; n++)
		if (read_all(str_n(b.p, n), &rows, &e) == 0)
			tap_ok(false, "cut at %zu: taken for whole", n);
	tap_ok(true, "cut anywhere it is no list");
	buf_fini(&b);
	return tap_done();
}
