/* Folder names. Outside: UTF-8, levels separated by '/', INBOX in any case. On disk (Maildir++): one directory below the root per
 * folder, ".Work.Clients", each level in modified UTF-7 (RFC 3501 5.1.3), or plain UTF-8 in a tree that has it so (Courier 5).
 *
 * A dot inside a level would be a separator on disk. It is written "&AC4-": modified UTF-7 for U+002E, which no other program generates,
 * because printable ASCII must stand for itself; so nothing that exists is reinterpreted, and programs that decode it show the dot.
 * Since each directory name begins with a dot and holds neither '/' nor another way to say "..", nothing outside the root can be named. */
#include "base/enc.h"
#include "imap/utf7.h"
#include "store/store_priv.h"


int level_utf7(struct str utf8, struct buf *out)
{
	if (!utf8_valid(utf8))
		return -1;
	imap_utf7_encode(utf8, out);
	return buf_failed(out) ? -1 : 0;
}

static int level_check(struct str level, struct err *e)
{
	if (level.n == 0)
		return err_set(e, ERR_INPUT, 0, "folder name has an empty level");
	if (str_eq(level, STR(".")) || str_eq(level, STR("..")))
		return err_set(e, ERR_INPUT, 0, "folder level may not be a dot or two");
	return 0;
}

static int bytes_check(struct str name, struct err *e)
{
	if (name.n == 0)
		return err_set(e, ERR_INPUT, 0, "folder name is empty");
	if (name.n > STORE_FOLDER_NAME_MAX)
		return err_set(e, ERR_INPUT, 0, "folder name is longer than %d bytes", STORE_FOLDER_NAME_MAX);
	if (!utf8_valid(name))
		return err_set(e, ERR_INPUT, 0, "folder name is not UTF-8");
	for (struct str s = name; s.n > 0;) {
		const uint32_t cp = utf8_next(&s);
		if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029)
			return err_set(e, ERR_INPUT, 0, "folder name holds a control character");
	}
	return 0;
}

int name_normal(struct str name, struct buf *out, struct err *e)
{
	size_t depth = 0;

	if (name.n > 1 && name.p[name.n - 1] == '/')	/* CREATE "a/" (RFC 3501 6.3.3) */
		name.n--;
	if (bytes_check(name, e) < 0)
		return -1;
	for (struct str rest = name; rest.p != NULL;) {
		struct str level = str_split(&rest, '/');
		if (level_check(level, e) < 0)
			return -1;
		if (++depth > STORE_FOLDER_DEPTH_MAX)
			return err_set(e, ERR_INPUT, 0, "folder name has more than %d levels", STORE_FOLDER_DEPTH_MAX);
		if (depth == 1 && str_case_eq(level, STR("INBOX")))
			level = STR("INBOX");
		if (depth > 1)
			buf_ch(out, '/');
		buf_str(out, level);
	}
	return buf_check(out, "folder name", e);
}

/* Text of a level between dots. */
static int level_encode(struct str part, bool utf8_tree, struct buf *out)
{
	if (!utf8_tree)
		return level_utf7(part, out);
	buf_str(out, part);
	return 0;
}

int name_to_dir(struct str name, bool utf8_tree, struct buf *out, struct err *e)
{
	struct buf normal;
	int r;

	buf_reset(out);
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	struct str rest = str_eq(buf_view(&normal), STR("INBOX")) ? (struct str){ 0 } : buf_view(&normal);
	while (r == 0 && rest.p != NULL) {
		struct str level = str_split(&rest, '/');
		buf_ch(out, '.');
		while (r == 0 && level.p != NULL) {
			const bool dot = str_chr(level, '.') >= 0;
			r = level_encode(str_split(&level, '.'), utf8_tree, out);
			if (dot)
				buf_c(out, DOT_ESCAPE);
		}
	}
	if (r == 0 && (buf_failed(out) || out->n > FILE_NAME_MAX))
		r = err_set(e, ERR_INPUT, 0, "folder name is too long for the file system");
	else if (r < 0 && e && e->code == ERR_NONE)
		r = err_set(e, ERR_INPUT, 0, "folder name cannot be stored");
	buf_fini(&normal);
	return r;
}

static bool has_high(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return true;
	return false;
}

/* A level as it stands, but for escaped dots. */
static void level_raw(struct str level, struct buf *out)
{
	for (ptrdiff_t at; (at = str_find(level, STR(DOT_ESCAPE))) >= 0;) {
		buf_str(out, str_sub(level, 0, (size_t)at));
		buf_ch(out, '.');
		level = str_from(level, (size_t)at + sizeof(DOT_ESCAPE) - 1);
	}
	buf_str(out, level);
}

static void level_decode(struct str level, bool raw, struct buf *out)
{
	const size_t before = out->n;

	/* "a&AC4-&AOk-" may come of a dot before a run: decode piece by piece around the escapes. */
	if (!raw) {
		struct str rest = level;
		int r = 0;
		for (ptrdiff_t at; r == 0 && (at = str_find(rest, STR(DOT_ESCAPE))) >= 0;) {
			r = imap_utf7_decode_level(str_sub(rest, 0, (size_t)at), out);
			buf_ch(out, '.');
			rest = str_from(rest, (size_t)at + sizeof(DOT_ESCAPE) - 1);
		}
		if (r == 0 && imap_utf7_decode_level(rest, out) == 0)
			return;
		buf_cut(out, before);
	}
	level_raw(level, out);
}

int name_from_dir(struct str dir, bool utf8_tree, struct buf *out)
{
	struct err e = { 0 };
	struct buf normal;
	const bool raw = utf8_tree || has_high(dir);

	buf_reset(out);
	if (dir.n == 0) {
		buf_c(out, "INBOX");
		return 0;
	}
	if (dir.n < 2 || dir.p[0] != '.' || dir.p[1] == '.' || dir.n > FILE_NAME_MAX)
		return -1;
	for (struct str rest = str_from(dir, 1); rest.p != NULL;) {
		level_decode(str_split(&rest, '.'), raw, out);
		if (rest.p != NULL)
			buf_ch(out, '/');
	}
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	int r = buf_failed(out) ? -1 : name_normal(buf_view(out), &normal, &e);
	/* A directory ".inbox" must not pass for INBOX itself. */
	if (r == 0 && (!str_eq(buf_view(&normal), buf_view(out)) || str_eq(buf_view(out), STR("INBOX"))))
		r = -1;
	buf_fini(&normal);
	return r;
}
