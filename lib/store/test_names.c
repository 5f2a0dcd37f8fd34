/* Folder names: what is refused, what becomes of the rest on disk, and back. */
#include "base/enc.h"
#include "store/store_priv.h"
#include "test/tap.h"

static const struct {
	const char *name, *dir;		/* dir NULL: refused */
} good[] = {
	{ "INBOX", "" },
	{ "inbox", "" },
	{ "InBoX/Sub", ".INBOX.Sub" },
	{ "Work", ".Work" },
	{ "Work/", ".Work" },
	{ "Work/Clients", ".Work.Clients" },
	{ "a.b", ".a&AC4-b" },
	{ "a..b/c.", ".a&AC4-&AC4-b.c&AC4-" },
	{ "...", ".&AC4-&AC4-&AC4-" },
	{ "R\xc3\xa9union/Sous", ".R&AOk-union.Sous" },
	{ "A&B", ".A&-B" },
	{ "&AC4-", ".&-AC4-" },
	{ "\xe2\x82\xac", ".&IKw-" },
	{ "\xf0\x9f\x98\x80", ".&2D3eAA-" },
	{ "\xc3\xa9.\xc3\xa9", ".&AOk-&AC4-&AOk-" },
	{ "cur", ".cur" },
	{ "new/tmp", ".new.tmp" },
	{ "~root", ".~root" },
	{ "etc passwd", ".etc passwd" },
	{ "%2e", ".%2e" },
	{ "", NULL },
	{ "/", NULL },
	{ "/etc/passwd", NULL },
	{ "..", NULL },
	{ "../../etc", NULL },
	{ "INBOX/../x", NULL },
	{ "a/./b", NULL },
	{ "a//b", NULL },
	{ "a\r\nb", NULL },
	{ "a\tb", NULL },
	{ "a\x7f", NULL },
	{ "\xc2\x85", NULL },
	{ "\xff", NULL },
	{ "\xc0\xaf", NULL },
	{ "\xed\xa0\x80", NULL },
};

static void test_to_dir(void)
{
	struct buf dir, back, normal;

	buf_init(&dir, 1000);
	buf_init(&back, 4000);
	buf_init(&normal, 4000);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct err e = { 0 };
		const int r = name_to_dir(str_c(good[i].name), false, &dir, &e);
		if (good[i].dir == NULL) {
			tap_ok(r < 0 && e.code == ERR_INPUT, "refused: case %zu", i);
			continue;
		}
		tap_is_str(r == 0 ? dir.p ? dir.p : "" : e.text, good[i].dir, "%s", good[i].name);
		buf_reset(&normal);
		tap_ok(name_normal(str_c(good[i].name), &normal, &e) == 0 && name_from_dir(buf_view(&dir), false, &back) == 0 &&
			       str_eq(buf_view(&normal), buf_view(&back)), "%s: and back", good[i].name);
	}
	buf_fini(&dir);
	buf_fini(&back);
	buf_fini(&normal);
}

static void test_limits(void)
{
	struct buf dir;
	struct err e = { 0 };
	char name[2000];

	buf_init(&dir, 1000);
	memset(name, 'a', sizeof(name));
	tap_is_int(name_to_dir(str_n("\0", 1), false, &dir, &e), -1, "NUL");
	tap_is_int(name_to_dir(str_n(name, 254), false, &dir, &e), 0, "as long as a file name may be");
	tap_is_int(name_to_dir(str_n(name, 255), false, &dir, &e), -1, "longer");
	tap_is_int(name_to_dir(str_n(name, 1999), false, &dir, &e), -1, "far longer");
	for (size_t i = 1; i < sizeof(name); i += 2)
		name[i] = '/';
	tap_is_int(name_to_dir(str_n(name, 59), false, &dir, &e), 0, "30 levels");
	tap_is_int(name_to_dir(str_n(name, 61), false, &dir, &e), -1, "31 levels");
	buf_fini(&dir);
}

static const struct {
	const char *dir, *name;		/* name NULL: no folder of ours */
	bool utf8;
} dirs[] = {
	{ "", "INBOX", false },
	{ ".R\xc3\xa9union", "R\xc3\xa9union", false },
	{ ".R\xc3\xa9union", "R\xc3\xa9union", true },
	{ ".A&B", "A&B", false },		/* no valid run: as it stands */
	{ ".A&-B", "A&-B", true },
	{ ".A&AC4-B", "A.B", true },
	{ ".&AGE-", "&AGE-", false },		/* what can stand for itself must */
	{ ".&AC8-", "&AC8-", false },		/* an encoded slash is no slash */
	{ ".&AOkA6Q-", "\xc3\xa9\xc3\xa9", false },
	{ ".&AOk-&AOk-", "&AOk-&AOk-", false },	/* two runs that must be one */
	{ ".&2D0-", "&2D0-", false },
	{ ".&AOl-", "&AOl-", false },		/* padding is not zero */
	{ ".&AOk", "&AOk", false },
	{ "..", NULL, false },
	{ ".", NULL, false },
	{ ".a..b", NULL, false },
	{ ".a.", NULL, false },
	{ "..postern.gone.1", NULL, false },
	{ ".inbox", NULL, false },
	{ ".INBOX", NULL, false },
	{ "Work", NULL, false },
	{ ".a\nb", NULL, false },
};

static void test_from_dir(void)
{
	struct buf name;

	buf_init(&name, 4000);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		const int r = name_from_dir(str_c(dirs[i].dir), dirs[i].utf8, &name);
		if (dirs[i].name)
			tap_is_str(r == 0 ? name.p : "(refused)", dirs[i].name, "directory %s", dirs[i].dir);
		else
			tap_ok(r < 0, "directory %zu is not shown", i);
	}
	buf_fini(&name);
}

static void test_letters(void)
{
	char name[FILE_NAME_MAX + 1];
	bool odd;

	tap_is_int(disk_of_info(STR("FRS"), &odd), DISK_F | DISK_R | DISK_S, "letters");
	tap_ok(!odd, "plain");
	tap_is_int(disk_of_info(STR("SF"), &odd), DISK_F | DISK_S, "unsorted");
	tap_ok(odd, "is odd");
	tap_is_int(disk_of_info(STR("SaZ,x=S"), &odd), DISK_S, "letters of others");
	tap_ok(odd, "are odd");
	tap_is_int(disk_name(name, STR("b"), DISK_T | DISK_D, STR("SaZ,x:2,S")), 0, "kept");
	tap_is_str(name, "b:2,DTZa,x:2,S", "when the name is written anew");
	tap_is_int(disk_name(name, STR("b"), DISK_NOINFO, (struct str){ 0 }), 0, "no info");
	tap_is_str(name, "b", "is the base name");
	for (unsigned f = 0; f < 128; f++) {
		const unsigned known = f & ~(unsigned)MBOX_RECENT;
		if (flags_of_disk(disk_of_flags(known)) != known) {
			tap_ok(false, "flags %x", known);
			return;
		}
	}
	tap_ok(true, "flags to letters and back");
}

int main(void)
{
	test_to_dir();
	test_limits();
	test_from_dir();
	test_letters();
	return tap_done();
}
