/* Access lists: letters, identifiers, whose rights come out, files that are damaged, what folders inherit, the summary. */
#include <stdio.h>

#include "store/acl.h"
#include "store/store.h"
#include "store/test_store.h"
#include "test/tap.h"

static struct arena *a;

static const char *rights(uint32_t r, bool obsolete)
{
	struct buf b;

	buf_init(&b, 100);
	acl_rights_format(&b, r, obsolete);
	const char *text = arena_cstr(a, buf_view(&b));

	buf_fini(&b);
	return text;
}

static void test_letters(void)
{
	static const struct {
		const char *given, *plain, *old;	/* plain NULL: refused */
	} cases[] = {
		{ "", "", "" },
		{ "lrswipkxtea", "lrswipkxtea", "lrswipkxteacd" },
		{ "aetxkpiwsrl", "lrswipkxtea", "lrswipkxteacd" },
		{ "lrsd", "lrste", "lrsted" },
		{ "lc", "lkx", "lkxc" },
		{ "x", "x", "xc" },
		{ "n", NULL, NULL },
		{ "lrR", NULL, NULL },
		{ "l r", NULL, NULL },
		{ "0", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t r = 4711;
		const int rc = acl_rights_parse(str_c(cases[i].given), &r, NULL);

		tap_is_int(rc, cases[i].plain ? 0 : -1, "letters \"%s\"", cases[i].given);
		if (rc < 0) {
			tap_is_int(r, 4711, "\"%s\" leaves the result alone", cases[i].given);
			continue;
		}
		tap_is_str(rights(r, false), cases[i].plain, "\"%s\" in order", cases[i].given);
		tap_is_str(rights(r, true), cases[i].old, "\"%s\" with those of RFC 2086", cases[i].given);
	}
}

static void test_identifiers(void)
{
	static const struct {
		const char *text, *id;	/* id NULL: refused */
		bool negative;
	} cases[] = {
		{ "bob", "bob", false },	  { "Bob@Example.COM", "bob@example.com", false }, { "-bob", "bob", true }, { "anyone", "anyone", false },
		{ "-anyone", "anyone", true },	  { "caf\xc3\xa9", "caf\xc3\xa9", false },	   { "", NULL, false },	    { "-", NULL, false },
		{ "--bob", NULL, false },	  { "$group", NULL, false },			   { "a b", NULL, false },  { "a\nb", NULL, false },
		{ "group=staff", NULL, false },	  { "../x", NULL, false },			   { "a/b", NULL, false },  { "\xff", NULL, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct acl_entry x = { 0 };
		const int rc = acl_id_parse(a, str_c(cases[i].text), &x, NULL);

		tap_is_int(rc, cases[i].id ? 0 : -1, "identifier \"%s\"", cases[i].text);
		if (rc == 0)
			tap_ok(str_eq(x.id, str_c(cases[i].id)) && x.negative == cases[i].negative, "\"%s\" is taken as it is meant", cases[i].text);
	}
}

static void test_who(void)
{
	static const struct {
		const char *file, *user, *rights;
	} cases[] = {
		{ "1\n", "bob", "" },
		{ "1\nbob lr\n", "bob", "lr" },
		{ "1\nbob lr\n", "BOB", "lr" },
		{ "1\nbob lr\n", "bobby", "" },
		{ "1\nbob lr\n", "", "" },
		{ "1\nanyone l\nbob ri\n", "bob", "lri" },
		{ "1\nanyone l\nbob ri\n", "eve", "l" },
		{ "1\nanyone lrs\n-bob s\n", "bob", "lr" },
		{ "1\n-bob lrswipkxtea\nbob lrswipkxtea\nanyone lr\n", "bob", "" },
		{ "1\nauthenticated l\n-anyone r\nbob lr\n", "bob", "l" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct acl_entry *list = NULL;

		tap_is_int(acl_parse(a, str_c(cases[i].file), &list, NULL), 0, "list %zu is read", i);
		tap_is_str(rights(acl_rights_of(list, str_c(cases[i].user)), false), cases[i].rights, "list %zu: rights of %s", i, cases[i].user);
	}
}

static void test_damaged(void)
{
	static const char *const files[] = { "", "1", "2\nbob lr\n", "1\nbob lr", "1\nbob\n", "1\nbob \n", "1\nbob lz\n", "1\n\n", "1\na b lr\n", "1\n$x lr\n" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct acl_entry *list;
		struct err e = { 0 };

		tap_is_int(acl_parse(a, str_c(files[i]), &list, &e), -1, "damaged file %zu", i);
		tap_is_int(e.code, ERR_TEMP, "damaged file %zu is trouble of ours", i);
	}
}

static const char *file_of(struct store *s, const char *folder)
{
	struct acl_entry *list;
	struct err e = { 0 };
	struct buf b;

	if (store_acl_get(s, str_c(folder), a, &list, &e) < 0)
		return e.code == ERR_NOENT ? "none" : "damaged";
	buf_init(&b, ACL_FILE_MAX);
	acl_format(&b, list);
	const char *text = arena_cstr(a, buf_view(&b));

	buf_fini(&b);
	return text;
}

static int change(struct store *s, const char *folder, const char *who, enum acl_op op, uint32_t r)
{
	struct acl_entry x;

	return acl_id_parse(a, str_c(who), &x, NULL) < 0 ? -1 : store_acl_change(s, str_c(folder), a, &x, op, r, &(struct err){ 0 });
}

static const char *grantees(struct store *s)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 1 << 20);
	const char *text = store_acl_grantees(s, &b, &e) < 0 ? e.text : arena_cstr(a, buf_view(&b));
	const char *kept = arena_strdup(a, text ? text : "");

	buf_fini(&b);
	return kept;
}

static void test_tree(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };

	tap_is_int(store_create(s, STR("Work"), STR(""), &e), 0, "a folder");
	tap_is_str(file_of(s, "Work"), "1\n", "no list at first");
	tap_is_str(file_of(s, "Nothing"), "none", "no folder");
	tap_is_str(file_of(s, "../x"), "damaged", "no name of a folder");
	tap_is_int(change(s, "Work", "bob", ACL_SET, ACL_L | ACL_R), 0, "set");
	tap_is_int(change(s, "Work", "bob", ACL_ADD, ACL_S), 0, "add");
	tap_is_int(change(s, "Work", "bob", ACL_REMOVE, ACL_R), 0, "remove");
	tap_is_int(change(s, "Work", "-bob", ACL_SET, ACL_W), 0, "a negative entry");
	tap_is_int(change(s, "INBOX", "anyone", ACL_SET, ACL_P), 0, "on INBOX");
	tap_is_str(file_of(s, "Work"), "1\nbob ls\n-bob w\n", "the list");
	tap_is_str(grantees(s), "anyone\nbob\n", "the summary");
	tap_is_int(store_acl_create(s, STR("Work/Sub/Deep"), STR(""), &e), 0, "a folder below inherits");
	tap_is_str(file_of(s, "Work/Sub"), "1\nbob ls\n-bob w\n", "and what is made between them");
	tap_is_str(file_of(s, "Work/Sub/Deep"), "1\nbob ls\n-bob w\n", "its parent's list");
	tap_is_int(store_rename(s, STR("Work/Sub/Deep"), STR("Moved"), &e), 0, "renamed");
	tap_is_str(file_of(s, "Moved"), "1\nbob ls\n-bob w\n", "the list moves along");
	tap_is_int(store_delete(s, STR("Work/Sub"), &e), 0, "deleted");
	tap_is_int(change(s, "Work", "bob", ACL_SET, 0), 0, "no rights left");
	tap_is_int(change(s, "Work", "-bob", ACL_REMOVE, ACL_ALL), 0, "no rights left");
	tap_is_str(file_of(s, "Work"), "1\n", "the list is gone");
	tap_is_int(store_delete(s, STR("Moved"), &e), 0, "deleted");
	tap_is_int(store_acl_summary(s, &e), 0, "summed up");
	tap_is_str(grantees(s), "anyone\n", "what is gone is shared with nobody");
	put_file(root, ".Work/postern.acl", "1\nbob lrs\ngarbage");
	tap_is_str(file_of(s, "Work"), "damaged", "a damaged list");
	tap_is_int(change(s, "Work", "bob", ACL_SET, ACL_L), -1, "is not overwritten");
	tap_is_int(store_acl_create(s, STR("Work/New"), STR(""), &e), -1, "nor guessed for a folder below");
	store_close(&s);
}

int main(void)
{
	a = arena_new(0);
	test_letters();
	test_identifiers();
	test_who();
	test_damaged();
	test_tree();
	scratch_remove();
	arena_free(&a);
	return tap_done();
}
