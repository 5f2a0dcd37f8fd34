/* What signature files are taken to hold. */
#include "signatures.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "test/tap.h"

static char dir[] = "/tmp/test_signatures.XXXXXX";

static int write_file(const char *name, const char *text)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	return f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ? -1 : 0;
}

static void remove_file(const char *name)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

static void test_kinds(void)
{
	static const struct {
		const char *name, *text;
		bool any, links, mail;
	} files[] = {
		{ "a.ndb", "A:0:*:6161\nB:3:*:6161\n", true, false, false }, { "a.ndb", "A:0:*:6161\nB:4:*:6161\n", true, false, true },
		{ "a.ndb", "A:04:*:6161\n", true, false, true }, { "a.ndb", "A:40:*:6161\n", true, false, false }, { "a.ndb", "A:any:*:6161\n", true, false, true },
		{ "a.NDB", "A:4:*:6161\n", true, false, true }, { "a.sdb", "A:4:*:6161", true, false, true }, { "a.ndb", "\n# A:4:\n", true, false, false },
		{ "a.ldb", "A;Engine:51-255,Target:0;0;6161\n", true, false, false }, { "a.ldb", "A;Engine:51-255,Target:4;0;6161\n", true, false, true },
		{ "a.ldb", "A;Container:CL_TYPE_MAIL,Target:0;0;6161\n", true, false, true }, { "a.ldb", "A;Intermediates:CL_TYPE_MAIL>CL_TYPE_ZIP,Target:0;0;6161\n", true, false, true },
		{ "a.ldb", "A;Container:CL_TYPE_ZIP,Target:0;0;6161\n", true, false, false }, { "a.ldb", "A;Target:0,Target:4;0;6161\n", true, false, true },
		{ "a.ldb", "A;Intermediates:CL_TYPE_ANY>CL_TYPE_ZIP,Target:0;0;6161\n", true, false, true }, { "a.ndb", " #A:4:*:6161\n", true, false, true },
		{ "a.cdb", "A:CL_TYPE_ZIP:*:a:*:*:*:*:*:*\n", true, false, false }, { "a.cdb", "A:CL_TYPE_MAIL:*:a:*:*:*:*:*:*\n", true, false, true },
		{ "a.cdb", "A:*:*:a:*:*:*:*:*:*\n", true, false, true }, { "a.cdb", "A:CL_TYPE_ANY:*:a:*:*:*:*:*:*\n", true, false, true },
		{ "a.hdb", "", true, false, false }, { "a.cvd", "", true, true, true }, { "a.pdb", "", true, true, true }, { "a.cbc", "", false, false, true },
		{ "a.ftm", "", false, false, true }, { "a.wdb", "", false, false, false }, { "a.yara", "", true, false, true }, { "a.txt", "A:4:*:6161\n", false, false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		const bool written = write_file(files[i].name, files[i].text) == 0;
		const struct signatures s = signatures_in(dir);
		tap_ok(written && s.any == files[i].any && s.links == files[i].links && s.mail == files[i].mail, "file %zu, %s", i, files[i].name);
		remove_file(files[i].name);
	}
	tap_ok(!signatures_in("/nowhere").any, "a directory that is not there");
}

/* One file that wants a mail among those that do not. */
static void test_several(void)
{
	tap_ok(write_file("a.ndb", "A:0:*:6161\n") == 0 && write_file("b.ldb", "A;Target:0;0;6161\n") == 0 && !signatures_in(dir).mail, "two files without");
	tap_ok(write_file("c.ndb", "A:0:*:6161\nB:4:*:6161\n") == 0 && signatures_in(dir).mail, "and one with a signature for mail");
	remove_file("a.ndb");
	remove_file("b.ldb");
	remove_file("c.ndb");
}

int main(void)
{
	if (!tap_ok(mkdtemp(dir) != NULL, "a directory"))
		return tap_done();
	test_kinds();
	test_several();
	tap_ok(rmdir(dir) == 0, "nothing is left");
	return tap_done();
}
