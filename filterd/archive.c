/* See archive.h. */
#include "archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <stdlib.h>

#include "base/buf.h"
#include "tnef.h"

enum { BLOCK = 16384, UU_FILES_MAX = 64 };

/* The names that one way of reading an archive finds, as hashes. */
struct names {
	uint64_t v[ARCHIVE_MEMBERS_MAX];
	size_t n;
};

struct level {
	struct archive_walk *w;
	const struct archive_member *in;	/* what is unpacked; NULL: what was handed in */
	unsigned depth;
	struct names *names;			/* NULL: nobody wants to know */
};
static int walk(struct level *l, struct str data, struct content is, struct str stored_name);

void archive_init(void)
{
	static locale_t utf8;	/* libarchive converts names to its characters; nothing of ours looks at them */
	if (utf8 == NULL && (utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL)) != NULL)
		(void)uselocale(utf8);
}

void archive_walk_init(struct archive_walk *w, struct arena *a, uint64_t message_bytes, archive_fn *fn, void *ctx)
{
	const uint64_t scaled = message_bytes > ARCHIVE_BYTES_MAX ? ARCHIVE_BYTES_MAX : message_bytes * ARCHIVE_BYTES_FACTOR;
	*w = (struct archive_walk){ .a = a, .fn = fn, .ctx = ctx, .members = ARCHIVE_MEMBERS_MAX };
	w->bytes = scaled < ARCHIVE_BYTES_MIN ? ARCHIVE_BYTES_MIN : scaled > ARCHIVE_BYTES_MAX ? ARCHIVE_BYTES_MAX : scaled;
}

static bool spend(struct archive_walk *w, uint64_t bytes)
{
	if (bytes > w->bytes) {
		w->found |= ARCHIVE_OVER;
		w->bytes = 0;
		return false;
	}
	w->bytes -= bytes;
	return true;
}

/* --- the reader --- */

enum how { AS_ARCHIVE, AS_PACKED, AS_UU, AS_ZIP_STREAM };

/* One reader and what it costs: the members' bytes, or those that its filters inflate on the way, whichever are more. */
struct reading {
	struct archive *r;
	uint64_t data, paid;
};

static struct archive *reader(struct str data, enum how how)
{
	static int (*const formats[])(struct archive *) = {
		archive_read_support_format_zip_seekable, archive_read_support_format_rar, archive_read_support_format_rar5,
		archive_read_support_format_7zip, archive_read_support_format_tar, archive_read_support_format_cab, archive_read_support_format_iso9660,
		archive_read_support_format_lha, archive_read_support_format_cpio, archive_read_support_format_ar, archive_read_support_format_xar,
	};
	static int (*const filters[])(struct archive *) = {
		archive_read_support_filter_gzip, archive_read_support_filter_bzip2, archive_read_support_filter_compress, archive_read_support_filter_xz,
		archive_read_support_filter_lzma, archive_read_support_filter_lzip, archive_read_support_filter_zstd, archive_read_support_filter_lz4,
	};
	struct archive *r = archive_read_new();
	if (r == NULL)
		return NULL;
	if (how == AS_ZIP_STREAM)
		(void)archive_read_support_format_zip_streamable(r);
	for (size_t i = 0; how != AS_ZIP_STREAM && i < ARRAY_LEN(formats); i++)
		(void)formats[i](r);
	for (size_t i = 0; how != AS_ZIP_STREAM && i < ARRAY_LEN(filters); i++)
		(void)filters[i](r);
	if (how == AS_UU)
		(void)archive_read_support_filter_uu(r);
	if (how == AS_UU || how == AS_PACKED)
		(void)archive_read_support_format_raw(r);
	if (archive_read_open_memory(r, data.p, data.n) == ARCHIVE_OK)
		return r;
	archive_read_free(r);
	return NULL;
}

/* Packed in a way that libclamav has no decoder for: it would say clean of what it has not seen. 7z: of some of its methods. bzip2: it says so where
 * there is no memory for the decoder, too. xz: of one that ends too early it says that, and has looked at nothing of it. */
static bool is_strange(struct archive *r)
{
	static const char *const zip_methods[] = { "(uncompressed)", "(deflation)", "(deflation-64-bit)" };
	const int format = archive_format(r) & ARCHIVE_FORMAT_BASE_MASK;
	for (int i = 0; i < archive_filter_count(r); i++) {
		const int code = archive_filter_code(r, i);
		if (code != ARCHIVE_FILTER_NONE && code != ARCHIVE_FILTER_GZIP && code != ARCHIVE_FILTER_UU)
			return true;
	}
	if (format != ARCHIVE_FORMAT_ZIP)
		return format == ARCHIVE_FORMAT_7ZIP || format == ARCHIVE_FORMAT_RAR || format == ARCHIVE_FORMAT_RAR_V5 || format == ARCHIVE_FORMAT_LHA;
	const struct str name = str_c(archive_format_name(r));
	for (size_t i = 0; i < ARRAY_LEN(zip_methods); i++)
		if (str_ends(name, str_c(zip_methods[i])))
			return false;
	return true;
}

/* The library says "encrypted" in words only where even the names are. */
static void trouble(struct archive_walk *w, struct archive *r)
{
	const char *why = archive_error_string(r);
	const bool locked = archive_read_has_encrypted_entries(r) > 0 || (why != NULL && str_case_find(str_c(why), STR("encrypt")) >= 0);
	w->found |= locked ? ARCHIVE_ENCRYPTED : ARCHIVE_DAMAGED;
	if (w->strange && !locked && is_strange(r))
		w->missed |= ARCHIVE_DAMAGED;
}

static bool pay(struct archive_walk *w, struct reading *g, size_t data)
{
	const int inflating = archive_filter_count(g->r) - 1;	/* the last hands on what it got */
	uint64_t due = g->data += data;
	for (int i = 0; i < inflating; i++) {
		const la_int64_t n = archive_filter_bytes(g->r, i);
		if (n > 0 && (uint64_t)n > due)
			due = (uint64_t)n;
	}
	const uint64_t more = due > g->paid ? due - g->paid : 0;
	g->paid += more;
	return spend(w, more);
}

/* Where a filter inflates, the library would inflate all that it passes over, in one go. */
static void pass_over(struct archive_walk *w, struct reading *g)
{
	const void *block;
	size_t n;
	la_int64_t offset;
	if (archive_filter_count(g->r) < 2 || archive_format(g->r) == ARCHIVE_FORMAT_RAW)
		return;
	while (!(w->found & ARCHIVE_OVER) && archive_read_data_block(g->r, &block, &n, &offset) == ARCHIVE_OK)
		(void)pay(w, g, n);
}

/* --- a member --- */

static struct str entry_name(struct archive_walk *w, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname_utf8(entry);
	if (name == NULL)
		name = archive_entry_pathname(entry);
	if (name == NULL) {
		w->found |= ARCHIVE_DAMAGED;
		return STR("");
	}
	struct str s = str_c(name);
	if (s.n > ARCHIVE_NAME_MAX)
		w->found |= ARCHIVE_OVER;
	return arena_str(w->a, str_sub(s, 0, ARCHIVE_NAME_MAX));
}

/* The member's bytes: as many as tell its class, all when it is packed itself, or when all are wanted. */
static struct content member_read(struct archive_walk *w, struct reading *g, bool all, struct buf *out)
{
	size_t want = CONTENT_HEAD;
	struct content is = { "", CONTENT_OTHER };
	for (;;) {
		char *room = buf_room(out, BLOCK);
		la_ssize_t n = room == NULL ? 0 : archive_read_data(g->r, room, BLOCK);
		if (n < 0)
			trouble(w, g->r);
		if (n > 0) {
			buf_added(out, (size_t)n);
			if (!pay(w, g, (size_t)n))
				return content_of(buf_view(out));
		}
		if (n > 0 && out->n < want)
			continue;
		if (want == CONTENT_HEAD)
			is = content_of(buf_view(out));
		if (n <= 0 || (is.kind == CONTENT_OTHER && !all))
			return is;
		want = SIZE_MAX;
	}
}

static int member(struct level *l, struct reading *g, struct archive_member *m, bool whole)
{
	struct archive_walk *w = l->w;
	struct buf data;
	buf_init(&data, ARCHIVE_BYTES_MAX + 1);
	const bool all = w->strange && is_strange(g->r);
	const unsigned before = w->found;
	w->found = 0;
	const struct content is = member_read(w, g, all, &data);
	w->missed |= all ? w->found : 0;
	w->found |= before;
	m->class = is.name;
	m->data = all ? buf_view(&data) : STR("");
	int found = w->fn(w->ctx, m);
	m->data = STR("");
	if (found == 0 && whole && is.kind != CONTENT_OTHER) {
		struct level below = { .w = w, .in = m, .depth = l->depth + 1 };
		found = walk(&below, buf_view(&data), is, m->name);
	}
	buf_fini(&data);
	return found;
}

/* A compressed file: the name that gzip stored, else its own less the suffix. */
static struct str packed_name(struct str data, struct str stored_name)
{
	if (data.n > 10 && data.p[0] == '\x1f' && data.p[1] == '\x8b' && (data.p[3] & 0x0c) == 0x08) {
		struct str rest = str_sub(data, 10, ARCHIVE_NAME_MAX);
		ptrdiff_t nul = str_chr(rest, '\0');
		if (nul > 0)
			return str_sub(rest, 0, (size_t)nul);
	}
	ptrdiff_t dot = str_rchr(stored_name, '.');
	return dot > 0 ? str_sub(stored_name, 0, (size_t)dot) : stored_name;
}

/* --- walks --- */

static int entries(struct level *l, struct str data, enum how how, struct str raw_name)
{
	struct archive_walk *w = l->w;
	struct archive_member unread = { .parent = l->in, .name = raw_name, .class = "" };	/* its name may be known all the same */
	struct archive *r = reader(data, how);
	struct reading g = { .r = r };
	if (r == NULL) {
		w->found |= ARCHIVE_DAMAGED;
		w->missed |= how == AS_PACKED ? ARCHIVE_DAMAGED : 0;
		return how == AS_PACKED ? w->fn(w->ctx, &unread) : 0;
	}
	int found = 0;
	bool any = false;
	for (; found == 0 && !(w->found & ARCHIVE_OVER); any = true) {
		struct archive_entry *entry;
		if (any)
			pass_over(w, &g);
		if (w->found & ARCHIVE_OVER)
			break;
		const int got = archive_read_next_header(r, &entry);
		if (got == ARCHIVE_EOF)
			break;
		if (got < ARCHIVE_WARN) {
			if (how != AS_ZIP_STREAM)
				trouble(w, r);
			if (how == AS_PACKED && !any)
				found = w->fn(w->ctx, &unread);
			break;
		}
		if (!pay(w, &g, 0) || w->members == 0) {
			w->found |= ARCHIVE_OVER;
			break;
		}
		w->members--;
		if (archive_entry_filetype(entry) == AE_IFDIR)
			continue;
		const bool raw = archive_format(r) == ARCHIVE_FORMAT_RAW;
		if (raw && how == AS_PACKED && archive_filter_count(r) < 2) {	/* no filter takes it: what comes out is what went in */
			w->found |= ARCHIVE_DAMAGED;
			found = w->fn(w->ctx, &unread);
			break;
		}
		struct archive_member m = { .parent = l->in, .name = raw ? raw_name : entry_name(w, entry), .class = "" };
		if (l->names != NULL && l->names->n < ARCHIVE_MEMBERS_MAX)
			l->names->v[l->names->n++] = str_hash(m.name);
		if (archive_entry_is_encrypted(entry)) {
			w->found |= ARCHIVE_ENCRYPTED;
			found = w->fn(w->ctx, &m);
		} else {
			found = member(l, &g, &m, how != AS_ZIP_STREAM);
		}
	}
	archive_read_free(r);
	return found;
}

static int walk_tnef(struct level *l, struct str data)
{
	struct archive_walk *w = l->w;
	struct tnef *t = ARENA_NEW(w->a, struct tnef);
	int found = 0;
	tnef_read(w->a, data, t);
	w->found |= (t->damaged ? ARCHIVE_DAMAGED : 0u) | (t->over ? ARCHIVE_OVER : 0u);
	for (size_t i = 0; i < t->n && found == 0; i++) {
		const struct tnef_file *f = &t->v[i];
		const struct content is = content_of(f->data);
		struct archive_member m = { .parent = l->in, .class = is.name };
		for (size_t k = 0; k < f->n_names && found == 0; k++) {
			m.name = f->names[k];
			found = w->fn(w->ctx, &m);
		}
		if (found == 0 && f->n_names == 0)
			found = w->fn(w->ctx, &m);
		struct level below = { .w = w, .in = &m, .depth = l->depth + 1 };
		if (found == 0 && is.kind != CONTENT_OTHER)
			found = walk(&below, f->data, is, m.name);
	}
	return found;
}

static int by_hash(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Does who reads the zip from file to file see the files that its directory lists, each once? Headers alone are read. */
static bool zip_is_plain(struct archive_walk *w, struct str data, struct names *listed)
{
	struct names *seen = ARENA_NEW(w->a, struct names);
	struct archive *r = reader(data, AS_ZIP_STREAM);
	struct archive_entry *entry;
	bool plain = r != NULL;
	for (int got; plain && (got = archive_read_next_header(r, &entry)) != ARCHIVE_EOF && got >= ARCHIVE_WARN;) {
		if (archive_entry_filetype(entry) == AE_IFDIR)
			continue;
		plain = seen->n < listed->n;
		if (plain)
			seen->v[seen->n++] = str_hash(entry_name(w, entry));
	}
	archive_read_free(r);
	if (!plain || seen->n != listed->n)
		return false;
	qsort(listed->v, listed->n, sizeof(listed->v[0]), by_hash);
	qsort(seen->v, seen->n, sizeof(seen->v[0]), by_hash);
	for (size_t i = 0; i < seen->n; i++)
		if (seen->v[i] != listed->v[i] || (i > 0 && seen->v[i] == seen->v[i - 1]))
			return false;
	return true;
}

/* What a zip's directory does not list, a reader that goes from file to file finds all the same. */
static int walk_zip(struct level *l, struct str data, struct str stored_name)
{
	struct archive_walk *w = l->w;
	struct arena_mark m = arena_mark(w->a);
	struct level listing = { .w = w, .in = l->in, .depth = l->depth, .names = ARENA_NEW(w->a, struct names) };
	int found = entries(&listing, data, AS_ARCHIVE, stored_name);
	if (found == 0 && !zip_is_plain(w, data, listing.names))
		found = entries(l, data, AS_ZIP_STREAM, stored_name);
	if (found == 0)
		arena_release(w->a, m);
	return found;
}

static int walk(struct level *l, struct str data, struct content is, struct str stored_name)
{
	if (l->depth >= ARCHIVE_DEPTH_MAX) {
		l->w->found |= ARCHIVE_OVER;
		return 0;
	}
	if (is.kind == CONTENT_OTHER)
		return 0;
	if (is.kind == CONTENT_TNEF)
		return walk_tnef(l, data);
	if (strcmp(is.name, ".zip") == 0)
		return walk_zip(l, data, stored_name);
	return entries(l, data, is.kind == CONTENT_PACKED ? AS_PACKED : AS_ARCHIVE, packed_name(data, stored_name));
}

int archive_walk(struct archive_walk *w, struct str data, struct content is, struct str stored_name)
{
	struct level top = { .w = w };
	return walk(&top, data, is, stored_name);
}

/* "begin 644 name": the name, or n = 0. */
static struct str uu_begin(struct str line)
{
	struct str mode, rest = line;
	if (line.n == 0 || line.p[0] != 'b' || (!str_starts(line, STR("begin ")) && !str_starts(line, STR("begin-base64 "))))
		return STR("");
	(void)str_split(&rest, ' ');
	mode = str_split(&rest, ' ');
	if (mode.n < 3 || mode.n > 4 || rest.p == NULL)
		return STR("");
	for (size_t i = 0; i < mode.n; i++)
		if (mode.p[i] < '0' || mode.p[i] > '7')
			return STR("");
	return str_trim(rest);
}

static int walk_uu(struct archive_walk *w, struct str text)
{
	struct level top = { .w = w };
	struct str rest = text;
	int found = 0;
	for (unsigned files = 0; rest.n > 0 && found == 0 && !(w->found & ARCHIVE_OVER);) {
		const struct str here = rest, name = uu_begin(str_split(&rest, '\n'));
		if (name.n == 0)
			continue;
		if (++files > UU_FILES_MAX)
			w->found |= ARCHIVE_OVER;
		const unsigned before = w->found, missed = w->missed;
		struct archive_member m = { .name = name, .class = "" };
		found = w->fn(w->ctx, &m);
		if (found == 0)
			found = entries(&top, here, AS_UU, name);
		w->found = before | (w->found & ~(unsigned)ARCHIVE_DAMAGED);	/* prose may begin so */
		w->missed = missed | (w->missed & ~(unsigned)ARCHIVE_DAMAGED);
	}
	return found;
}

int archive_walk_body(struct archive_walk *w, struct str data, struct content is, struct str stored_name, bool is_text)
{
	const int r = archive_walk(w, data, is, stored_name);
	return r == 0 && is.kind == CONTENT_OTHER && is_text ? walk_uu(w, data) : r;
}
