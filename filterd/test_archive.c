/* What is found inside packed contents: archives of each format that libarchive writes, packed in one another, TNEF, the limits. */
#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#include "archive.h"
#include "base/buf.h"
#include "test/tap.h"
#include "tnef.h"

enum { PACKED_MAX = 64 << 20 };

struct seen {
	struct buf text;	/* "a.zip>b.exe(.exe-unix) " for each member */
	size_t n;
};

static void put_path(struct buf *b, const struct archive_member *m)
{
	if (m->parent != NULL) {
		put_path(b, m->parent);
		buf_ch(b, '>');
	}
	buf_str(b, m->name);
}

static int on_member(void *ctx, struct archive_member *m)
{
	struct seen *s = ctx;
	if (s->n++ < 20) {
		put_path(&s->text, m);
		buf_printf(&s->text, "(%s) ", m->class);
	}
	return 0;
}

struct file {
	const char *name;
	struct str data;
};

typedef int format_fn(struct archive *w);

static void put_file(struct archive *w, const struct file *f)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, f->name);
	archive_entry_set_filetype(e, str_ends(str_c(f->name), STR("/")) ? AE_IFDIR : AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)f->data.n);
	if (archive_write_header(w, e) != ARCHIVE_OK || archive_write_data(w, f->data.p, f->data.n) != (la_ssize_t)f->data.n)
		tap_diag("%s: %s", f->name, archive_error_string(w));
	archive_entry_free(e);
}

/* The archive's bytes in out. */
static bool pack(format_fn *format, format_fn *filter, const char *password, const struct file *files, size_t n, struct buf *out)
{
	size_t used = 0;
	struct archive *w = archive_write_new();
	buf_init(out, PACKED_MAX);
	char *room = buf_room(out, 4 << 20);
	bool ok = format(w) == ARCHIVE_OK && (filter == NULL || filter(w) == ARCHIVE_OK);
	if (password != NULL)
		ok = ok && archive_write_set_options(w, "zip:encryption=aes256") == ARCHIVE_OK && archive_write_set_passphrase(w, password) == ARCHIVE_OK;
	archive_write_set_bytes_per_block(w, 0);
	ok = ok && archive_write_open_memory(w, room, 4 << 20, &used) == ARCHIVE_OK;
	for (size_t i = 0; ok && i < n; i++)
		put_file(w, &files[i]);
	ok = ok && archive_write_close(w) == ARCHIVE_OK;
	archive_write_free(w);
	buf_added(out, used);
	return ok;
}

static unsigned look(struct str data, const char *name, struct seen *s)
{
	struct arena *a = arena_new(0);
	struct archive_walk w;
	buf_init(&s->text, 1 << 20);
	s->n = 0;
	archive_walk_init(&w, a, data.n, on_member, s);
	const int r = archive_walk(&w, data, content_of(str_sub(data, 0, CONTENT_HEAD)), str_c(name));
	tap_ok(r == 0 && !buf_failed(&s->text), "%s is walked to its end", name);
	arena_free(&a);
	return w.found;
}

static void expect(struct str data, const char *name, unsigned found, const char *members)
{
	struct seen s;
	const unsigned f = look(data, name, &s);
	tap_ok(f == found, "%s: found %u, expected %u", name, f, found);
	tap_ok(strcmp(s.text.p, members) == 0, "%s: %s", name, s.text.p);
	buf_fini(&s.text);
}

static const char elf[] = "\x7f" "ELF and what follows";
static const struct file two[] = { { "letter.txt", { "hello", 5 } }, { "tools/run.bin", { elf, sizeof(elf) - 1 } } };

static void test_formats(void)
{
	static const struct {
		const char *name;
		format_fn *format, *filter;
		const char *members;
	} rows[] = {
		{ "a.zip", archive_write_set_format_zip, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.7z", archive_write_set_format_7zip, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.tar", archive_write_set_format_ustar, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.tar.gz", archive_write_set_format_ustar, archive_write_add_filter_gzip, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.tar.xz", archive_write_set_format_ustar, archive_write_add_filter_xz, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.tar.bz2", archive_write_set_format_ustar, archive_write_add_filter_bzip2, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.tar.zst", archive_write_set_format_ustar, archive_write_add_filter_zstd, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "v7.tar", archive_write_set_format_v7tar, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.cpio", archive_write_set_format_cpio_newc, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
		{ "a.iso", archive_write_set_format_iso9660, NULL, "letter.txt() tools/run.bin(.exe-unix) " },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf b;
		if (tap_ok(pack(rows[i].format, rows[i].filter, NULL, two, 2, &b), "%s is made", rows[i].name))
			expect(buf_view(&b), rows[i].name, 0, rows[i].members);
		if (b.n > 60 && i != 0 && strcmp(rows[i].name, "v7.tar") != 0) {
			struct seen s;
			const unsigned f = look(str_sub(buf_view(&b), 0, b.n / 2), rows[i].name, &s);
			tap_ok(f == ARCHIVE_DAMAGED || s.n > 0, "%s, cut: %u, %zu members", rows[i].name, f, s.n);
			buf_fini(&s.text);
		}
		buf_fini(&b);
	}
}

static void test_nesting(void)
{
	struct buf b, outer;
	struct file in = { "0.tar", { NULL, 0 } };
	if (!tap_ok(pack(archive_write_set_format_ustar, archive_write_add_filter_gzip, NULL, two, 2, &b), "innermost"))
		return;
	in.data = buf_view(&b);
	in.name = "in.tgz";
	tap_ok(pack(archive_write_set_format_7zip, NULL, NULL, &in, 1, &outer), "7z around it");
	expect(buf_view(&outer), "a.7z", 0, "in.tgz(.gz) in.tgz>letter.txt() in.tgz>tools/run.bin(.exe-unix) ");
	buf_fini(&outer);
	for (int depth = 0; depth < ARCHIVE_DEPTH_MAX + 1; depth++) {
		in.name = "n.tar";
		in.data = buf_view(&b);
		tap_ok(pack(archive_write_set_format_ustar, NULL, NULL, &in, 1, &outer), "one more around it");
		buf_fini(&b);
		b = outer;
	}
	struct seen s;
	tap_ok(look(buf_view(&b), "deep.tar", &s) & ARCHIVE_OVER, "too deep is over the limit");
	buf_fini(&s.text);
	buf_fini(&b);
}

static void test_limits(void)
{
	struct buf b;
	struct seen s;
	char *zeros = xzalloc(40 << 20);
	struct file big = { "big.tar", { zeros, 40 << 20 } };
	memcpy(zeros, "7z\xbc\xaf\x27\x1c", 6);	/* looks packed, so it is wanted whole */
	tap_ok(pack(archive_write_set_format_ustar, archive_write_add_filter_gzip, NULL, &big, 1, &b), "a bomb of %zu bytes", b.n);
	tap_ok(look(buf_view(&b), "bomb.tgz", &s) & ARCHIVE_OVER, "more than %d times its size is over the limit", ARCHIVE_BYTES_FACTOR);
	buf_fini(&s.text);
	buf_fini(&b);
	free(zeros);
	struct file *many = xzalloc((ARCHIVE_MEMBERS_MAX + 1) * sizeof(*many));
	for (size_t i = 0; i <= ARCHIVE_MEMBERS_MAX; i++)
		many[i] = (struct file){ "x", STR("") };
	tap_ok(pack(archive_write_set_format_ustar, NULL, NULL, many, ARCHIVE_MEMBERS_MAX + 1, &b), "many members");
	tap_ok(look(buf_view(&b), "many.tar", &s) & ARCHIVE_OVER, "too many members are over the limit");
	buf_fini(&s.text);
	buf_fini(&b);
	free(many);
}

/* A tar header by hand, for members that nobody wants to write. */
static void tar_header(char out[512], const char *name, unsigned long long size)
{
	unsigned sum = 0;
	memset(out, 0, 512);
	snprintf(out, 100, "%s", name);
	memcpy(out + 100, "0000644", 7);
	snprintf(out + 124, 12, "%011llo", size);
	memset(out + 148, ' ', 8);
	out[156] = '0';
	memcpy(out + 257, "ustar\00000", 8);
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)out[i];
	snprintf(out + 148, 7, "%06o", sum);
}

static bool gzip(struct str data, struct buf *out)
{
	const struct file f = { "x", data };
	return pack(archive_write_set_format_raw, archive_write_add_filter_gzip, NULL, &f, 1, out);
}

/* What nobody reads is inflated all the same, to get behind it. */
static void test_passed_over(void)
{
	enum { PIECE = 16 << 20, PIECES = 500 };
	char head[512], *zeros = xzalloc(PIECE);
	struct buf first, piece, last, all;
	struct seen s;
	buf_init(&all, PACKED_MAX);
	tar_header(head, "zeros.txt", (unsigned long long)PIECE * PIECES);
	bool ok = gzip(str_n(head, 512), &first) && gzip(str_n(zeros, PIECE), &piece);
	tar_header(head, "behind.exe", 0);
	ok = gzip(str_n(head, 512), &last) && ok;
	buf_str(&all, buf_view(&first));
	for (size_t i = 0; i < PIECES; i++)
		buf_str(&all, buf_view(&piece));
	buf_str(&all, buf_view(&last));
	tap_ok(ok && !buf_failed(&all), "a member of %llu bytes in %zu", (unsigned long long)PIECE * PIECES, all.n);
	tap_ok(look(buf_view(&all), "zeros.tgz", &s) == ARCHIVE_OVER, "members that are passed over count");
	tap_is_str(s.text.p, "zeros.txt() ", "nothing behind it is unpacked");
	buf_fini(&s.text);
	buf_fini(&all);
	buf_fini(&first);
	buf_fini(&piece);
	buf_fini(&last);
	free(zeros);
}

static void test_directories(void)
{
	struct buf b;
	struct seen s;
	struct file *many = xzalloc((ARCHIVE_MEMBERS_MAX + 1) * sizeof(*many));
	for (size_t i = 0; i <= ARCHIVE_MEMBERS_MAX; i++)
		many[i] = (struct file){ "d/", STR("") };
	tap_ok(pack(archive_write_set_format_ustar, NULL, NULL, many, ARCHIVE_MEMBERS_MAX + 1, &b), "many directories");
	tap_ok(look(buf_view(&b), "dirs.tar", &s) == ARCHIVE_OVER && s.n == 0, "directories count, unnamed");
	buf_fini(&s.text);
	buf_fini(&b);
	free(many);
}

static void test_locked(void)
{
	struct buf b;
	if (pack(archive_write_set_format_zip, NULL, "secret", two, 2, &b))
		expect(buf_view(&b), "locked.zip", ARCHIVE_ENCRYPTED, "letter.txt() tools/run.bin() letter.txt() ");
	else
		tap_ok(true, "SKIP libarchive writes no encrypted zip here");
	buf_fini(&b);
	expect(STR("PK\x03\x04 is not all that a zip needs"), "broken.zip", ARCHIVE_DAMAGED, "");
	expect(STR("\x1f\x8b\x08\x08....\x02\x03setup.exe\0garbage"), "x.gz", ARCHIVE_DAMAGED, "setup.exe() ");
	/* Beginnings that no filter takes are not packed in themselves. */
	expect(STR("\x1f\x8b\x08\0...."), "x.exe.gz", ARCHIVE_DAMAGED, "x.exe() ");
	expect(STR("BZh9....."), "x.exe.bz2", ARCHIVE_DAMAGED, "x.exe() ");
}

/* A gzip file that stores a name: what is inside is called so. */
static void test_names(void)
{
	struct buf b;
	buf_init(&b, 1000);
	buf_mem(&b, "\x1f\x8b\x08\x08\0\0\0\0\x02\x03" "evil.exe\0", 19);
	buf_mem(&b, "\x4b\x04\0", 3);		/* deflate: "a" */
	buf_mem(&b, "\x43\xbe\xb7\xe8\x01\0\0\0", 8);
	expect(buf_view(&b), "note.txt.gz", 0, "evil.exe() ");
	buf_fini(&b);
	buf_init(&b, 1000);
	buf_mem(&b, "\x1f\x8b\x08\0\0\0\0\0\x02\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0", 21);
	expect(buf_view(&b), "setup.exe.gz", 0, "setup.exe() ");
	buf_fini(&b);
}

static void test_contents(void)
{
	char *disk = xzalloc(CONTENT_HEAD);
	memcpy(disk + 32769, "CD001", 5);
	tap_is_str(content_of(str_n(disk, CONTENT_HEAD)).name, ".iso", "a CD image says so at 32769");
	tap_is_str(content_of(str_n(disk, 32770)).name, "", "cut before it: unknown");
	tap_is_str(content_of(STR("MZ is how a text may begin, and it goes on for more than 64 bytes without a NUL")).name, "", "MZ alone is text");
	free(disk);
}

/* --- TNEF --- */

static void le(struct buf *b, uint32_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		buf_ch(b, (char)(v >> (8 * i)));
}

static void attr(struct buf *b, uint32_t id, struct str data)
{
	le(b, 2, 1);
	le(b, id, 4);
	le(b, (uint32_t)data.n, 4);
	buf_str(b, data);
	le(b, 0, 2);
}

static void test_tnef(void)
{
	struct buf b, props;
	buf_init(&b, 10000);
	buf_init(&props, 1000);
	le(&props, 2, 4);
	le(&props, 0x0003, 2);		/* a number, to be passed over */
	le(&props, 0x3705, 2);
	le(&props, 1, 4);
	le(&props, 0x001f, 2);		/* the long name */
	le(&props, 0x3707, 2);
	le(&props, 1, 4);
	le(&props, 18, 4);
	buf_mem(&props, "g\0r\0\xfc\0n\0.\0s\0c\0r\0\0\0\0\0", 20);
	le(&b, 0x223e9f78, 4);
	le(&b, 1, 2);
	attr(&b, 0x00069002, STR("rendering"));
	attr(&b, 0x00018010, STR("SHORT.TXT\0"));
	attr(&b, 0x0006800f, str_n(elf, sizeof(elf) - 1));
	attr(&b, 0x00069005, buf_view(&props));
	attr(&b, 0x00069002, STR("rendering"));
	attr(&b, 0x00018010, STR("second.js\0"));
	expect(buf_view(&b), "winmail.dat", 0, "SHORT.TXT(.exe-unix) gr\xc3\xbcn.scr(.exe-unix) second.js() ");
	struct arena *a = arena_new(0);
	struct tnef *t = ARENA_NEW(a, struct tnef);
	for (size_t n = 6; n < b.n; n++)	/* cut at every place: what came before stands, nothing is read behind the end */
		tnef_read(a, str_sub(buf_view(&b), 0, n), t);
	tap_ok(t->damaged && t->n == 2, "cut at its end: damaged, both files seen");
	arena_free(&a);
	buf_fini(&b);
	buf_fini(&props);
}

int main(void)
{
	archive_init();
	test_formats();
	test_nesting();
	test_limits();
	test_passed_over();
	test_directories();
	test_locked();
	test_names();
	test_contents();
	test_tnef();
	return tap_done();
}
