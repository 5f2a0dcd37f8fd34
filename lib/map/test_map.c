/* Map files: what is written is read, by us and by tinycdb's rules; damage anywhere is an error and nothing else. Accounts, sources, tables. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "map/accounts.h"
#include "map/lookup.h"
#include "map/pcre.h"
#include "map/source.h"
#include "test/tap.h"

static char dir[64];

static const char *path(const char *name)
{
	static char p[2][128];
	static unsigned turn;

	turn ^= 1;
	(void)snprintf(p[turn], sizeof(p[turn]), "%s/%s", dir, name);
	return p[turn];
}

static void put_file(const char *name, struct str text)
{
	const int fd = open(path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		abort();
	close(fd);
}

static void put_cdb(const char *name, const char *const *pairs, size_t n)
{
	struct cdbwrite *w;
	struct err e = { 0 };

	if (cdbwrite_begin(path(name), &w, &e) < 0)
		abort();
	for (size_t i = 0; i < n; i++)
		if (cdbwrite_add(w, str_c(pairs[2 * i]), str_c(pairs[2 * i + 1]), &e) < 0)
			abort();
	if (cdbwrite_commit(&w, 0644, (uid_t)-1, (gid_t)-1, &e) < 0)
		abort();
}

static const char *const pairs[] = { "joe", "boss", "suzan.smith", "susan", "@example.com", "john@example.com", "", "empty key", "empty value", "" };
enum { PAIRS = ARRAY_LEN(pairs) / 2 };

static int get(struct cdbfile *c, struct str key, struct buf *out, struct err *e)
{
	buf_reset(out);
	return cdbfile_get(c, key, 4096, out, e);
}

static int count_pair(void *ctx, struct str key, struct str value)
{
	(*(unsigned *)ctx)++;
	return 0;
}

static void round_trip(void)
{
	struct cdbfile *c = NULL;
	struct cdbwrite *w = NULL, *second = NULL;
	struct err e = { 0 };
	struct buf out;
	unsigned n = 0;

	buf_init(&out, 8192);
	put_cdb("a.cdb", pairs, PAIRS);
	tap_is_int(cdbfile_open(path("a.cdb"), &c, &e), 0, "opens %s", e.text);
	for (size_t i = 0; i < PAIRS; i++)
		tap_ok(get(c, str_c(pairs[2 * i]), &out, &e) == 0 && strcmp(out.p, pairs[2 * i + 1]) == 0, "\"%s\" is found", pairs[2 * i]);
	tap_is_int(get(c, STR("jo"), &out, &e), 1, "a prefix is no key");
	tap_is_int(get(c, STR("joe\0"), &out, &e), 1, "nor is a longer one");
	tap_ok(cdbfile_each(c, count_pair, &n, &e) == 0 && n == PAIRS, "each pair is walked once");
	tap_ok(cdbfile_get(c, STR("suzan.smith"), 3, &out, &e) < 0 && e.code == ERR_TEMP, "a value above the limit is an error (%s)", e.text);
	tap_ok(!cdbfile_changed(c, path("a.cdb")), "an untouched file has not changed");
	if (cdbwrite_begin(path("a.cdb"), &w, &e) < 0)
		abort();
	tap_ok(cdbwrite_begin(path("a.cdb"), &second, &e) < 0, "two writers: the second is refused (%s)", e.text);
	tap_ok(cdbwrite_add(w, STR("k"), STR("1"), &e) == 0 && cdbwrite_add(w, STR("k"), STR("2"), &e) == 1, "the first of two equal keys is kept");
	tap_ok(cdbwrite_commit(&w, 0600, (uid_t)-1, (gid_t)-1, &e) == 0 && cdbfile_changed(c, path("a.cdb")), "a replaced file has changed");
	tap_ok(get(c, STR("joe"), &out, &e) == 0, "an open file survives its replacement");
	cdbfile_close(&c);
	if (cdbwrite_begin(path("a.cdb"), &w, &e) < 0)
		abort();
	cdbwrite_abort(&w);
	tap_ok(access(path("a.cdb.tmp"), F_OK) < 0 && access(path("a.cdb"), F_OK) == 0, "giving up leaves the old file and nothing else");
	/* As Postfix's postmap -N: NUL in key and value. */
	if (cdbwrite_begin(path("n.cdb"), &w, &e) < 0 || cdbwrite_add(w, str_n("k\0", 2), str_n("v\0", 2), &e) < 0 ||
	    cdbwrite_commit(&w, 0600, (uid_t)-1, (gid_t)-1, &e) < 0 || cdbfile_open(path("n.cdb"), &c, &e) < 0)
		abort();
	tap_ok(get(c, STR("k"), &out, &e) == 0 && str_eq(buf_view(&out), STR("v")), "keys with a stored NUL are found");
	cdbfile_close(&c);
	tap_ok(cdbfile_open(path("none.cdb"), &c, &e) < 0 && e.code == ERR_NOENT, "a missing file is told apart");
	buf_fini(&out);
}

/* Every lookup and the walk on a damaged copy must end, with or without an error. */
static bool survives(int fd)
{
	struct cdbfile *c = NULL;
	struct err e = { 0 };
	struct buf out;
	unsigned n = 0;
	bool sane = true;

	if (cdbfile_open_fd(dup(fd), &c, &e) < 0)
		return e.code == ERR_CONF;
	buf_init(&out, 8192);
	for (size_t i = 0; i < PAIRS; i++) {
		const int r = get(c, str_c(pairs[2 * i]), &out, &e);

		sane &= r >= 0 || e.code == ERR_TEMP;
	}
	sane &= cdbfile_each(c, count_pair, &n, &e) == 0 || e.code == ERR_TEMP;
	buf_fini(&out);
	cdbfile_close(&c);
	return sane;
}

static void damage(void)
{
	static const unsigned char values[] = { 0x00, 0xff, 0x01 };
	static unsigned char whole[65536];
	bool ok = true;

	put_cdb("d.cdb", pairs, PAIRS);
	const int fd = open(path("d.cdb"), O_RDONLY), copy = memfd_create("copy", MFD_CLOEXEC);
	const ssize_t n = read(fd, whole, sizeof(whole));

	close(fd);
	if (n < 2048 || write(copy, whole, (size_t)n) != n)
		abort();
	for (ssize_t i = 0; i < n; i++) {
		for (size_t v = 0; v < ARRAY_LEN(values); v++) {
			const unsigned char changed = v == 2 ? whole[i] ^ 0x55 : values[v];

			ok &= pwrite(copy, &changed, 1, i) == 1 && survives(copy);
		}
		ok &= pwrite(copy, whole + i, 1, i) == 1;
	}
	tap_ok(ok, "every byte of a file of %zd changed in three ways", n);
	ok = true;
	for (ssize_t i = n; i-- > 0;)
		ok &= ftruncate(copy, i) == 0 && survives(copy);
	close(copy);
	tap_ok(ok, "cut at every place");
	struct cdbfile *c = NULL;
	struct err e = { 0 };
	struct buf out;

	buf_init(&out, 4096);
	put_file("x.cdb", str_n(whole, (size_t)n));
	if (cdbfile_open(path("x.cdb"), &c, &e) < 0 || truncate(path("x.cdb"), 2048) < 0)
		abort();
	tap_ok(get(c, STR("joe"), &out, &e) < 0 && e.code == ERR_TEMP, "truncated under the reader: an error, no signal (%s)", e.text);
	cdbfile_close(&c);
	buf_fini(&out);
}

static void accounts(void)
{
	static const struct { const char *name; bool valid; } names[] = {
		{ "joe", true }, { "alice@example.com", true }, { "a.b_c-d+e", true }, { "j\xc3\xb6", true }, { "", false }, { "-x", false },
		{ ".x", false }, { "a@b@c", false }, { "a/b", false }, { "a b", false }, { "a\nb", false }, { "\xff", false }, { "a\xc2\x85", false },
	};
	static const struct { const char *name, *value; } bad[] = {
		{ "another version", "2\t1000\t1000\t0\t0\t/h\t/h/m" }, { "a field too few", "1\t1000\t1000\t0\t0\t/h" },
		{ "a field too many", "1\t1000\t1000\t0\t0\t/h\t/h/m\t5\tx" },
		{ "no time", "1\t1000\t1000\t0\t0\t/h\t/h/m\tx" }, { "uid 0", "1\t0\t1000\t0\t0\t/h\t/h/m" },
		{ "gid 0", "1\t1000\t0\t0\t0\t/h\t/h/m" }, { "negative", "1\t-1\t1000\t0\t0\t/h\t/h/m" }, { "uid -1", "1\t4294967295\t1000\t0\t0\t/h\t/h/m" },
		{ "relative home", "1\t1000\t1000\t0\t0\th\t/h/m" }, { "climbing maildir", "1\t1000\t1000\t0\t0\t/h\t/h/../m" },
		{ "home is the root", "1\t1000\t1000\t0\t0\t/\t/m" }, { "control in a path", "1\t1000\t1000\t0\t0\t/h\n\t/m" }, { "empty", "" },
	};
	struct account a = { .name = "joe", .uid = 1000, .gid = 1001, .flags = ACCOUNT_F_VIRTUAL, .quota_bytes = 5,
			     .home = "/home/joe", .maildir = "/home/joe/Maildir/" }, late = a;
	struct account got = { 0 };
	struct cdbfile *c = NULL;
	struct cdbwrite *w;
	struct err e = { 0 };
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		tap_ok(account_name_valid(str_c(names[i].name)) == names[i].valid, "name %zu is %svalid", i, names[i].valid ? "" : "not ");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		tap_ok(account_parse(STR("joe"), str_c(bad[i].value), &got, &e) < 0 && e.code == ERR_TEMP, "record refused: %s", bad[i].name);
	buf_init(&b, 4096);
	account_format(&a, &b);
	tap_ok(account_parse(STR("joe"), buf_view(&b), &got, &e) == 0 && memcmp(&a, &got, sizeof(a)) == 0, "a record comes back the same %s", e.text);
	late.since = 1795000000;
	buf_reset(&b);
	account_format(&late, &b);
	tap_ok(account_parse(STR("joe"), buf_view(&b), &got, &e) == 0 && memcmp(&late, &got, sizeof(late)) == 0, "and one that says since when %s", e.text);
	if (cdbwrite_begin(path("acc.cdb"), &w, &e) < 0 || accounts_put_marker(w, &e) < 0 || cdbwrite_add(w, STR("joe"), buf_view(&b), &e) < 0 ||
	    cdbwrite_commit(&w, 0644, (uid_t)-1, (gid_t)-1, &e) < 0)
		abort();
	tap_is_int(accounts_open(path("acc.cdb"), false, &c, &e), 0, "opens %s", e.text);
	tap_ok(accounts_get(c, STR("JOE"), 1000, &got, &e) == 0 && got.uid == 1000, "names fold");
	tap_ok(accounts_get(c, STR("joe"), 1001, &got, &e) < 0 && e.code == ERR_TEMP, "a uid below the lowest is refused (%s)", e.text);
	tap_ok(accounts_get(c, STR("jo"), 1, &got, &e) < 0 && e.code == ERR_NOENT, "an unknown name is told apart");
	tap_ok(accounts_get(c, STR("../joe"), 1, &got, &e) < 0 && e.code == ERR_NOENT, "so is one that cannot be");
	cdbfile_close(&c);
	tap_ok(accounts_open(path("d.cdb"), false, &c, &e) < 0 && e.code == ERR_CONF, "a map that is no accounts file is refused (%s)", e.text);
	if (chmod(dir, 0777) < 0)
		abort();
	tap_ok(accounts_open(path("acc.cdb"), true, &c, &e) < 0, "a setuid reader wants root's own directories (%s)", e.text);
	if (chmod(dir, 0700) < 0)
		abort();
	buf_fini(&b);
}

/* "line|line" or "!text of an error": what source_next says. */
static const struct { const char *name, *text, *want; } sources[] = {
	{ "comments and empty lines", "# c\n\na b\n  # inside\n  c\n\td\ne f", "3:a b c d|7:e f|" },
	{ "last line without an end", "a b", "1:a b|" },
	{ "nothing", "", "" },
	{ "comment marks inside", "a b # c\n", "1:a b # c|" },
	{ "continuation of nothing", " a\nb c\n", "1!|2:b c|" },
	{ "CR", "a b\r\nc d\n", "1!|2:c d|" },
	{ "byte order mark", "\xef\xbb\xbf# a\nb c\n", "1!|2:b c|" },
	{ "invalid UTF-8", "a \xff\n", "1!|" },
};

static void lines(void)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct source s;
		struct str line;
		struct buf got;
		struct err e = { 0 };
		int r;

		buf_init(&got, 4096);
		source_init(&s, str_c(sources[i].text));
		while ((r = source_next(&s, &line, &e)) != 0) {
			if (r < 0)
				buf_printf(&got, "%u!|", s.line);
			else
				buf_printf(&got, "%u:%.*s|", s.line, STR_ARG(line));
		}
		tap_is_mem(buf_view(&got), str_c(sources[i].want), "lines: %s", sources[i].name);
		source_fini(&s);
		buf_fini(&got);
	}
	struct source s;
	struct str line;
	struct err e = { 0 };
	struct buf big;

	buf_init(&big, 20 << 20);
	for (int i = 0; i < 10 << 20; i++)
		buf_ch(&big, 'x');
	source_init(&s, buf_view(&big));
	tap_ok(source_next(&s, &line, &e) < 0 && e.code == ERR_CONF, "a line of 10 MiB is refused (%s)", e.text);
	source_fini(&s);
	source_init(&s, STR("a\0b c\n"));
	tap_ok(source_next(&s, &line, &e) < 0, "a NUL is refused (%s)", e.text);
	source_fini(&s);
	buf_fini(&big);
}

static const struct { const char *line; bool alias, colon_ok; const char *want; } pairs_parsed[] = {
	{ "a b", false, false, "a=b" },
	{ "a\t b  c ", false, false, "a=b  c" },
	{ "\"a b\"@x y", false, false, "\"a b\"@x=y" },
	{ "a: b", false, false, NULL },
	{ "a : b", false, false, NULL },
	{ "@example.com: b", false, false, NULL },
	{ "a: b", false, true, "a=b" },
	{ "a : b", false, true, "a=b" },
	{ "a", false, false, NULL },
	{ "::1 x", false, false, "::1=x" },
	{ "a :include:/x", false, false, "a=:include:/x" },
	{ "a: b, c", true, false, "a=b, c" },
	{ "a : b", true, false, "a=b" },
	{ "a:b", true, false, "a=b" },
	{ "\"a b\": c", true, false, "a b=c" },
	{ "\"a\\\"b\" : c", true, false, "a\"b=c" },
	{ "a b", true, false, NULL },
	{ "smith.suzan  suzan", true, false, NULL },
	{ "a b:c", true, false, NULL },
	{ "a :include:/x", true, false, "a=include:/x" },
	{ "a: :include:/x", true, false, "a=:include:/x" },
	{ "a:", true, false, NULL },
	{ ": b", true, false, NULL },
	{ "\"a: b", true, false, NULL },
};

static void pairs_cut(void)
{
	struct buf space, got;

	buf_init(&space, SOURCE_KEY_MAX);
	buf_init(&got, 4096);
	for (size_t i = 0; i < ARRAY_LEN(pairs_parsed); i++) {
		const struct str line = str_c(pairs_parsed[i].line);
		struct err e = { 0 };
		struct str key, value;
		const int r = pairs_parsed[i].alias ? source_alias(line, &space, &key, &value, &e) :
						      source_pair(line, pairs_parsed[i].colon_ok, &key, &value, &e);

		buf_reset(&got);
		if (r == 0)
			buf_printf(&got, "%.*s=%.*s", STR_ARG(key), STR_ARG(value));
		tap_is_str(r == 0 ? got.p : NULL, pairs_parsed[i].want, "%s \"%s\" %s", pairs_parsed[i].alias ? "alias" : "pair", line.p, e.text);
	}
	buf_fini(&space);
	buf_fini(&got);
}

static const char *look(struct lookup *l, const char *key, struct buf *out, unsigned *line)
{
	struct err e = { 0 };

	buf_reset(out);
	*line = 0;
	const int r = lookup_get(l, str_c(key), out, line, &e);

	return r == 0 ? out->p : r == 1 ? NULL : "TEMP";
}

/* pcre_table(5)'s conditions. */
static void test_conditions(void)
{
	static const struct { const char *table, *key, *want; unsigned line; } cases[] = {
		{ "if /^a/\n/b/ ab\nendif\n/b/ b\n", "ab", "ab", 2 },
		{ "if /^a/\n/b/ ab\nendif\n/b/ b\n", "xb", "b", 4 },
		{ "if /^a/\n/b/ ab\nendif\n/a/ a\n", "ac", "a", 4 },
		{ "IF !/^a/i\n/(b)/ not $1\nENDIF\n", "Ab", "not b", 2 },
		{ "if !/^a/\n/b/ not\nendif\n", "Ab", NULL, 0 },
		{ "if /a/\nif /b/\n/./ both\nendif\n/./ a\nendif\n/./ none\n", "ab", "both", 3 },
		{ "if /a/\nif /b/\n/./ both\nendif\n/./ a\nendif\n/./ none\n", "a", "a", 5 },
		{ "if /a/\nif /b/\n/./ both\nendif\n/./ a\nendif\n/./ none\n", "b", "none", 7 },
		{ "!/a/ other\n/a/ a\n", "b", "other", 1 },
		{ "!/a/ other\n/a/ a\n", "a", "a", 2 },
		{ "!!/a/ a\n", "a", "a", 1 },
		{ "if /a/\nendif\n", "a", NULL, 0 },
		{ "/a$/E end\n", "a\n", NULL, 0 },
		{ "/a/A start\n", "ba", NULL, 0 },
		{ "if /a/\n/b/ x\n", "b", "TEMP", 0 },
		{ "endif\n", "b", "TEMP", 0 },
		{ "if /a/ value\nendif\n", "b", "TEMP", 0 },
		{ "!/(a)/ $1\n", "b", "TEMP", 0 },
		{ "if\nendif\n", "b", "TEMP", 0 },
		{ "!\n", "b", "TEMP", 0 },
	};
	char spec[600];
	struct buf out;

	buf_init(&out, 4096);
	(void)snprintf(spec, sizeof(spec), "pcre:%s", path("p"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lookup *l;
		struct err e = { 0 };
		unsigned line;
		put_file("p", str_c(cases[i].table));
		if (lookup_open(spec, &l, &e) < 0)
			abort();
		tap_is_str(look(l, cases[i].key, &out, &line), cases[i].want, "conditions %zu (%s)", i, lookup_trouble(l) ? lookup_trouble(l)->text : "");
		tap_is_int(line, cases[i].line, "and the line");
		lookup_close(&l);
	}
	buf_fini(&out);
}

/* Lines of mail are asked about, too, and no table of keys has such a one. */
static void test_long_keys(void)
{
	char key[5003], spec[600];
	struct lookup *l;
	struct err e = { 0 };
	struct buf out;
	unsigned line;

	buf_init(&out, 4096);
	memset(key, 'x', 5000);
	memcpy(key + 5000, "/y", 3);
	put_file("long", STR("/\\/y$/ found\n"));
	(void)snprintf(spec, sizeof(spec), "pcre:%s", path("long"));
	if (lookup_open(spec, &l, &e) < 0)
		abort();
	tap_is_str(look(l, key, &out, &line), "found", "a pattern sees all of a long line");
	lookup_close(&l);
	if (lookup_open("inline:{x=y}", &l, &e) < 0)
		abort();
	tap_ok(look(l, key, &out, &line) == NULL, "a key that is too long is none");
	lookup_close(&l);
	buf_fini(&out);
}

static void tables(void)
{
	static const struct { const char *type, *key, *want; unsigned line; } cases[] = {
		{ "hash", "JOE", "boss", 0 },
		{ "cdb", "jim", NULL, 0 },
		{ "texthash", "Alice", "one, two", 2 },
		{ "texthash", "bob", NULL, 0 },
		{ "pcre", "info@a.example", "a.example-box", 2 },
		{ "pcre", "INFO@b.example", "b.example-box", 2 },
		{ "pcre", "x", NULL, 0 },
		{ "static", "anything", "all", 0 },
		{ "inline", "k2", "v2", 2 },
		{ "inline", "k3", NULL, 0 },
		{ "gone", "x", "TEMP", 0 },
		{ "broken", "x", "TEMP", 0 },
	};
	static const char *const bad[] = { "ldap:/x", "/etc/aliases", "hash:relative", "", "inline:x", "inline:{a}", "btree:/x" };
	struct lookup *l;
	struct err e = { 0 };
	struct buf out, spec;

	buf_init(&out, LOOKUP_VALUE_MAX);
	buf_init(&spec, 4096);
	put_file("t", STR("# c\nAlice one,\n  two\n"));
	put_file("p", STR("# c\n/^info@(.*)$/ $1-box\n"));
	put_file("bad", STR("a: b\n"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *type = cases[i].type;
		unsigned line = 0;

		buf_reset(&spec);
		if (strcmp(type, "hash") == 0 || strcmp(type, "cdb") == 0)
			buf_printf(&spec, "%s:%s", type, path("d"));
		else if (strcmp(type, "texthash") == 0)
			buf_printf(&spec, "texthash:%s", path("t"));
		else if (strcmp(type, "pcre") == 0)
			buf_printf(&spec, "pcre:%s", path("p"));
		else if (strcmp(type, "static") == 0)
			buf_c(&spec, "static:all");
		else if (strcmp(type, "inline") == 0)
			buf_c(&spec, "inline:{k1=v1, k2=v2}");
		else
			buf_printf(&spec, "texthash:%s", path(strcmp(type, "gone") == 0 ? "gone" : "bad"));
		if (lookup_open(spec.p, &l, &e) < 0) {
			tap_ok(false, "%s: %s", spec.p, e.text);
			continue;
		}
		tap_is_str(look(l, cases[i].key, &out, &line), cases[i].want, "%s: %s", type, cases[i].key);
		tap_is_int(line, cases[i].line, "and its line");
		lookup_close(&l);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		tap_ok(lookup_open(bad[i], &l, &e) < 0 && e.code == ERR_CONF, "\"%s\" is no table (%s)", bad[i], e.text);
	buf_fini(&out);
	buf_fini(&spec);
}

static void refresh(void)
{
	char spec[128];
	struct lookup *l;
	struct buf out;
	struct err e = { 0 };
	unsigned line;
	static const char *const other[] = { "joe", "other" };

	buf_init(&out, 4096);
	(void)snprintf(spec, sizeof(spec), "hash:%s", path("r"));
	if (lookup_open(spec, &l, &e) < 0)
		abort();
	tap_is_str(look(l, "joe", &out, &line), "TEMP", "a map that was never compiled is trouble, not \"no such key\" (%s)", lookup_trouble(l)->text);
	tap_ok(!lookup_refresh(l), "and stays so");
	put_cdb("r.cdb", pairs, PAIRS);
	tap_ok(lookup_refresh(l) && !lookup_trouble(l), "until it is there");
	tap_is_str(look(l, "joe", &out, &line), "boss", "then it answers");
	tap_ok(!lookup_refresh(l), "nothing new");
	put_cdb("r.cdb", other, 1);
	tap_is_str(look(l, "joe", &out, &line), "boss", "a replaced file is seen at the next refresh");
	tap_ok(lookup_refresh(l), "which tells so");
	tap_is_str(look(l, "joe", &out, &line), "other", "and the new value");
	lookup_close(&l);
	put_file("rt", STR("a b\n"));
	(void)snprintf(spec, sizeof(spec), "texthash:%s", path("rt"));
	if (lookup_open(spec, &l, &e) < 0)
		abort();
	put_file("rt", STR("a bc\nd\n"));
	tap_ok(lookup_refresh(l), "a text file that went bad is noticed");
	tap_is_str(look(l, "a", &out, &line), "TEMP", "and is trouble (%s)", lookup_trouble(l) ? lookup_trouble(l)->text : "");
	lookup_close(&l);
	buf_fini(&out);
}

static void patterns(void)
{
	struct pcre *p;
	struct err e = { 0 };
	struct str rest;

	tap_ok(pcre_compile(STR("(a+)+$"), "", false, &p, &e) == 0, "compiles");
	tap_ok(pcre_match(p, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), NULL, 0, &e) <= 0, "a pattern that explodes ends (%s)", e.text);
	pcre_free(&p);
	size_t start = 0, end = 0;
	tap_ok(pcre_compile(STR("\\ba(?<n>b)|(?<n>c)"), "iJ", true, &p, &e) == 0 && pcre_seal(&e) == 0, "names may repeat; machine code is sealed (%s)", e.text);
	tap_ok(pcre_find(p, STR("ab AB xab c"), 1, SIZE_MAX, &start, &end, &e) == 1 && start == 3 && end == 5, "found from an offset, what is before it seen");
	tap_ok(pcre_find(p, STR("ab AB xab c"), 1, 2, &start, &end, &e) == 0 && pcre_find(p, STR("ab AB xab c"), 1, 3, &start, &end, &e) == 1,
	       "a match begins where it may, and reaches beyond");
	tap_ok(pcre_find(p, STR("ab AB xab c"), 5, SIZE_MAX, &start, &end, &e) == 1 && start == 10 &&
	       pcre_find(p, STR("ab"), 3, SIZE_MAX, &start, &end, &e) == 0, "the next one; none beyond the end");
	pcre_free(&p);
	tap_ok(pcre_compile(STR("("), "", false, &p, &e) < 0 && e.code == ERR_CONF, "a bad one is told (%s)", e.text);
	tap_ok(pcre_parse(STR("/a\\/b/ rest"), false, &p, &rest, &e) == 0 && pcre_match(p, STR("xa/b"), NULL, 0, &e) == 1, "an escaped delimiter %s", e.text);
	tap_ok(str_eq(str_trim(rest), STR("rest")), "and what follows");
	pcre_free(&p);
}

int main(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test_map.%d", (int)getpid());
	if (mkdir(dir, 0700) < 0)
		return 1;
	round_trip();
	damage();
	accounts();
	lines();
	pairs_cut();
	test_long_keys();
	test_conditions();
	tables();
	refresh();
	patterns();
	static const char *const names[] = { "a.cdb", "n.cdb", "d.cdb", "x.cdb", "acc.cdb", "t", "p", "bad", "r.cdb", "rt", "long", "a.cdb.tmp", "none.cdb" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlink(path(names[i]));
	tap_is_int(rmdir(dir), 0, "nothing else was left behind");
	return tap_done();
}
