/* What Dovecot and Courier left in a folder, read once, when the folder has no journal of ours yet; their files are never written. From
 * dovecot-uidlist (versions 1 and 3) or courierimapuiddb: UIDVALIDITY, UIDs, mailbox id, sizes, POP3 ids and order; from dovecot-keywords the names
 * behind the letters a..z in file names; from courierpop3dsizelist the POP3 ids of Courier's INBOX. Here are the
 * parsers, pure, and the files' precedence. What is wrong in a line costs that line only: its message gets a new UID. */
#include <stdio.h>
#include <stdlib.h>

#include "base/enc.h"
#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"

enum {
	OLD_FILE_MAX = 512 << 20,
	KEYWORDS_FILE_MAX = 1 << 20,
};

struct builder {
	struct old_list *l;
	struct arena *a;
	size_t cap;
	struct map *by_base;	/* base -> index + 1: a later line replaces an earlier one */
	uint32_t last;
};

static void add(struct builder *b, const struct old_msg *msg)
{
	struct old_list *const l = b->l;
	void *const had = map_get(b->by_base, msg->base);

	if (had) {	/* the later UID counts */
		l->v[(uintptr_t)had - 1].uid = 0;
	}
	if (l->n == b->cap) {
		struct old_msg *const before = l->v;
		b->cap = b->cap ? b->cap * 2 : 256;
		l->v = ARENA_ARRAY(b->a, struct old_msg, b->cap);
		if (l->n > 0)
			memcpy(l->v, before, l->n * sizeof(*before));
	}
	l->v[l->n++] = *msg;
	(void)map_set(b->by_base, msg->base, (void *)(uintptr_t)l->n);
	b->last = msg->uid;
}

/* Base part of a stored name, with or without flags; empty: no file name. */
static struct str base_of(struct str name)
{
	const ptrdiff_t colon = str_chr(name, ':');
	const struct str base = colon < 0 ? name : str_sub(name, 0, (size_t)colon);

	if (base.n == 0 || base.n > FILE_NAME_MAX || base.p[0] == '.' || str_chr(base, '/') >= 0 || str_chr(base, '\0') >= 0)
		return (struct str){ 0 };
	return base;
}

static bool uid_ok(const struct builder *b, uint64_t uid)
{
	return uid > b->last && uid <= UID_MAX;	/* they ascend; 0 and 2^32-1 are no UIDs */
}

/* "<uid> <name>" (version 1). */
static void line_v1(struct builder *b, struct str line)
{
	struct old_msg msg = { .size = UINT64_MAX, .size_crlf = UINT64_MAX };
	uint64_t uid;

	if (num_take(&line, UID_MAX, &uid) < 0 || line.n < 2 || line.p[0] != ' ' || !uid_ok(b, uid))
		return;
	msg.base = base_of(str_from(line, 1));
	msg.uid = (uint32_t)uid;
	if (msg.base.n > 0)
		add(b, &msg);
}

static void field_v3(struct old_msg *msg, struct str field)
{
	const struct str value = str_from(field, 1);
	uint64_t v;

	switch (field.p[0]) {
	case 'S':
		if (num_parse(value, 0, INT64_MAX, &v) == 0)
			msg->size = v;
		break;
	case 'W':
		if (num_parse(value, 0, INT64_MAX, &v) == 0)
			msg->size_crlf = v;
		break;
	case 'O':
		if (num_parse(value, 0, UINT32_MAX, &v) == 0)
			msg->order = (uint32_t)v;
		break;
	case 'P':
		if (value.n <= UIDL_MAX && str_printable(value) && str_chr(value, ' ') < 0)
			msg->uidl = value;
		break;
	default:	/* G and what else there may be */
		break;
	}
}

/* "<uid>[ <K><value>]… :<name>" (version 3). */
static void line_v3(struct builder *b, struct str line)
{
	struct old_msg msg = { .size = UINT64_MAX, .size_crlf = UINT64_MAX };
	uint64_t uid;

	if (num_take(&line, UID_MAX, &uid) < 0 || line.n < 2 || line.p[0] != ' ' || !uid_ok(b, uid))
		return;
	line = str_from(line, 1);
	while (line.n > 0 && line.p[0] != ':') {
		const struct str field = str_split(&line, ' ');
		if (field.n > 0)
			field_v3(&msg, field);
	}
	if (line.n < 2)
		return;
	msg.base = base_of(str_from(line, 1));
	msg.uid = (uint32_t)uid;
	if (msg.base.n > 0)
		add(b, &msg);
}

static int head_v1(struct old_list *l, struct str head)
{
	const struct str uv = str_split(&head, ' ');
	uint64_t v, n;

	if (num_parse(uv, 1, UINT32_MAX, &v) < 0 || num_parse(head, 1, UINT32_MAX, &n) < 0)
		return -1;
	l->uidvalidity = (uint32_t)v;
	l->uidnext = (uint32_t)n;
	return 0;
}

static void head_id(struct old_list *l, struct str hex)
{
	struct buf b;

	buf_init(&b, 16);
	if (hex.n == 32 && hex_decode(&b, hex) == 0 && b.n == 16) {
		memcpy(l->id, b.p, 16);
		l->has_id = true;
	}
	buf_fini(&b);
}

static int head_v3(struct old_list *l, struct str head)
{
	uint64_t v;

	while (head.p != NULL) {
		const struct str field = str_split(&head, ' ');
		if (field.n < 2)
			continue;
		const struct str value = str_from(field, 1);
		if (field.p[0] == 'V' && num_parse(value, 1, UINT32_MAX, &v) == 0)
			l->uidvalidity = (uint32_t)v;
		else if (field.p[0] == 'N' && num_parse(value, 1, UINT32_MAX, &v) == 0)
			l->uidnext = (uint32_t)v;
		else if (field.p[0] == 'G')
			head_id(l, value);
	}
	return l->uidvalidity == 0 || l->uidnext == 0 ? -1 : 0;
}

static void drop_replaced(struct old_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].uid != 0)
			l->v[n++] = l->v[i];
	l->n = n;
}

int uidlist_parse(struct arena *a, struct str text, struct old_list *out, struct err *e)
{
	struct old_list l = { 0 };
	struct builder b = { .l = &l, .a = a };
	struct str head = str_split(&text, '\n');
	const struct str version = str_split(&head, ' ');
	const bool v1 = str_eq(version, STR("1")), v3 = str_eq(version, STR("3"));

	if ((!v1 && !v3) || (v1 ? head_v1(&l, head) : head_v3(&l, head)) < 0)
		return err_set(e, ERR_INPUT, 0, "uidlist: the first line is none of version 1 or 3");
	b.by_base = map_new();
	while (text.p != NULL) {
		const struct str line = str_split(&text, '\n');
		if (text.p == NULL && line.n > 0)	/* no line end: cut short */
			break;
		if (v1)
			line_v1(&b, line);
		else
			line_v3(&b, line);
	}
	map_free(&b.by_base);
	drop_replaced(&l);
	/* N of the header is not kept up to date when lines are appended. */
	if (b.last >= l.uidnext)
		l.uidnext = b.last + 1;
	*out = l;
	return 0;
}

/* --- names --- */

uint32_t takeover_flags(struct str info)
{
	bool odd;

	return flags_of_disk(disk_of_info(info, &odd));
}

int takeover_folder(struct str dir, struct buf *out)
{
	const size_t before = out->n;

	for (int utf8 = 0; utf8 < 2; utf8++) {
		if (name_from_dir(dir, utf8, out) == 0)
			return 0;
		buf_cut(out, before);
	}
	return -1;
}

void takeover_level(struct str level, struct buf *dir)
{
	buf_ch(dir, '.');
	for (size_t i = 0; i < level.n; i++)
		if (level.p[i] == '.')
			buf_c(dir, DOT_ESCAPE);
		else
			buf_ch(dir, level.p[i]);
}

/* --- subscriptions --- */

/* Dovecot's TAB-escaping: 0x01 and a digit. */
static void untab(struct str level, struct buf *out)
{
	for (size_t i = 0; i < level.n; i++) {
		const char c = level.p[i];
		if (c != 1 || i + 1 == level.n) {
			buf_ch(out, c);
			continue;
		}
		const char k = level.p[++i];
		buf_ch(out, k == '1' ? 1 : k == 't' ? '\t' : k == 'n' ? '\n' : k == 'r' ? '\r' : k == '0' ? 0 : k);
	}
}

/* Levels in the storage's encoding. */
static void subscription(struct str line, char separator, bool escaped, takeover_name_fn *fn, void *ctx)
{
	struct buf level, dir, name;

	if (str_case_eq(line, STR("INBOX"))) {
		fn(ctx, STR("INBOX"));
		return;
	}
	buf_init(&level, FILE_NAME_MAX + 2);
	buf_init(&dir, 2 * FILE_NAME_MAX);
	buf_init(&name, STORE_FOLDER_NAME_MAX + 1);
	for (struct str rest = line; rest.p != NULL;) {
		const struct str one = str_split(&rest, separator);
		buf_reset(&level);
		if (escaped)
			untab(one, &level);
		else
			buf_str(&level, one);
		takeover_level(buf_view(&level), &dir);
	}
	if (!buf_failed(&level) && !buf_failed(&dir) && name_from_dir(buf_view(&dir), false, &name) == 0)
		fn(ctx, buf_view(&name));
	buf_fini(&name);
	buf_fini(&dir);
	buf_fini(&level);
}

/* Version 2 has TAB between levels, the old form the storage's separator. */
void takeover_subscriptions(struct str text, char separator, takeover_name_fn *fn, void *ctx)
{
	const bool v2 = str_starts(text, STR("V\t2\n"));

	for (struct str rest = v2 ? str_from(text, 4) : text; rest.p != NULL;) {
		const struct str line = str_split(&rest, '\n');
		if (line.n > 0 && line.p[0] != '#')
			subscription(line, v2 ? '\t' : separator, v2, fn, ctx);
	}
}

/* --- keywords --- */

void keywords_parse(struct arena *a, struct str text, struct str letters_out[26])
{
	uint64_t i;

	while (text.p != NULL) {
		struct str line = str_split(&text, '\n');
		if (num_take(&line, 25, &i) < 0 || line.n < 2 || line.p[0] != ' ')
			continue;
		line = str_from(line, 1);
		if (line.n <= STORE_KEYWORD_NAME_MAX && str_printable(line) && str_chr(line, ' ') < 0)
			letters_out[i] = arena_str(a, line);
	}
}

void takeover_keywords(int dirfd, struct arena *a, struct str letters_out[26])
{
	struct err quiet = { 0 };
	struct buf b;

	buf_init(&b, KEYWORDS_FILE_MAX + 1);
	if (file_read_at(dirfd, "dovecot-keywords", KEYWORDS_FILE_MAX, &b, &quiet) == 0)
		keywords_parse(a, buf_view(&b), letters_out);
	buf_fini(&b);
}

/* --- Courier's POP3 ids --- */

/* Courier shows the base name when a message has no number: odd characters as +XX. */
static struct str courier_name_uidl(struct arena *a, struct str base)
{
	struct buf b;
	struct str out = { 0 };

	buf_init(&b, UIDL_MAX);
	for (size_t i = 0; i < base.n; i++) {
		const unsigned char c = (unsigned char)base.p[i];
		if (c <= 0x20 || c >= 0x7f || c == '+')
			buf_printf(&b, "+%02X", c);
		else
			buf_ch(&b, (char)c);
	}
	if (!buf_failed(&b))
		out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void sizelist_line(struct arena *a, struct old_list *l, const struct map *by_base, struct str line, uint32_t order)
{
	const struct str base = base_of(str_split(&line, ' '));
	uint64_t size, uid, uv;
	void *at;

	if (base.n == 0 || (at = map_get(by_base, base)) == NULL || num_take(&line, INT64_MAX, &size) < 0 || line.n == 0 || line.p[0] != ' ')
		return;
	line = str_from(line, 1);
	if (num_take(&line, UINT64_MAX, &uid) < 0 || line.n == 0 || line.p[0] != ':')
		return;
	line = str_from(line, 1);
	if (num_take(&line, UINT64_MAX, &uv) < 0)
		return;
	struct old_msg *const msg = &l->v[(uintptr_t)at - 1];
	msg->order = order;
	if (uid == 0)
		msg->uidl = courier_name_uidl(a, base);
	else if (uv == 0)
		msg->uidl = str_c(arena_printf(a, "UID%llu", (unsigned long long)uid));
	else
		msg->uidl = str_c(arena_printf(a, "UID%llu-%llu", (unsigned long long)uid, (unsigned long long)uv));
}

static void sizelist_parse(struct arena *a, struct str text, struct old_list *l)
{
	const struct str head = str_split(&text, '\n');
	struct map *by_base;
	uint32_t order = 0;

	if (!str_starts(head, STR("/2 ")) && !str_starts(head, STR("/3 ")))
		return;
	by_base = map_new();
	for (size_t i = 0; i < l->n; i++)
		(void)map_set(by_base, l->v[i].base, (void *)(uintptr_t)(i + 1));
	while (text.p != NULL)
		sizelist_line(a, l, by_base, str_split(&text, '\n'), ++order);
	map_free(&by_base);
}

/* --- files --- */

static int read_list(struct mbox *m, const char *name, struct arena *a, struct old_list *out, struct err *e)
{
	struct err one = { 0 };
	struct buf b;
	int r = 1;

	buf_init(&b, (size_t)OLD_FILE_MAX + 1);
	if (file_read_at(m->dirfd, name, OLD_FILE_MAX, &b, &one) == 0) {
		/* The bytes must outlive the buffer. */
		r = uidlist_parse(a, arena_str(a, buf_view(&b)), out, &one) == 0 ? 0 : 1;
	} else if (one.code != ERR_NOENT) {
		/* There, but it cannot be read: taking the folder over without it would lose all UIDs. */
		r = err_set(e, ERR_TEMP, 0, "%s", one.text);
	}
	buf_fini(&b);
	return r;
}

int takeover_read(struct mbox *m, struct arena *a, struct old_list *out, struct err *e)
{
	struct err quiet = { 0 };
	struct buf b;
	int r = read_list(m, "dovecot-uidlist", a, out, e);

	if (r != 1)
		return r;
	r = read_list(m, "courierimapuiddb", a, out, e);
	if (r != 0 || *m->dir)
		return r;
	buf_init(&b, KEYWORDS_FILE_MAX * 64);
	if (file_read_at(m->dirfd, "courierpop3dsizelist", KEYWORDS_FILE_MAX * 64 - 1, &b, &quiet) == 0)
		sizelist_parse(a, arena_str(a, buf_view(&b)), out);
	buf_fini(&b);
	return 0;
}
