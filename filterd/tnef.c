/* TNEF (tnef.h): a stream of attributes, each with level, id, length, data and a checksum, which is not looked at: readers do not either. An attachment
 * begins with its rendering data; its name and content follow, and MAPI properties that may name it again. */
#include "tnef.h"

#include <stdbool.h>

#include "base/buf.h"
#include "base/enc.h"

enum {
	ATTR_RENDERING = 0x9002,
	ATTR_TITLE = 0x8010,
	ATTR_DATA = 0x800f,
	ATTR_MAPI = 0x9005,
	PROP_NAME_LONG = 0x3707,
	PROP_NAME = 0x3704,
	PROP_DISPLAY = 0x3001,
	PROP_OBJECT = 0x3701,
	TYPE_MANY = 0x1000,
	TYPE_STRING8 = 0x1e,
	TYPE_UNICODE = 0x1f,
	TYPE_OBJECT = 0x0d,
	TYPE_BINARY = 0x102,
	NAMED_FROM = 0x8000,
	VALUES_MAX = 4096,
};

struct cursor {
	struct str s;
	bool short_;	/* something was missing */
};

static struct str take(struct cursor *c, size_t n)
{
	if (n > c->s.n) {
		c->short_ = true;
		n = c->s.n;
	}
	struct str v = str_sub(c->s, 0, n);
	c->s = str_from(c->s, n);
	return v;
}

static uint32_t number(struct cursor *c, size_t bytes)
{
	struct str s = take(c, bytes);
	uint32_t v = 0;
	for (size_t i = s.n; i-- > 0;)
		v = v << 8 | (unsigned char)s.p[i];
	return v;
}

static struct str padded(struct cursor *c, size_t n)
{
	struct str v = take(c, n);
	(void)take(c, (4 - n % 4) % 4 < c->s.n ? (4 - n % 4) % 4 : c->s.n);
	return v;
}

static struct str utf16(struct arena *a, struct str s)
{
	struct buf b;
	buf_init(&b, 65536);
	for (size_t i = 0; i + 1 < s.n; i += 2) {
		uint32_t u = (unsigned char)s.p[i] | (uint32_t)(unsigned char)s.p[i + 1] << 8;
		if (u >= 0xd800 && u < 0xdc00 && i + 3 < s.n) {
			const uint32_t low = (unsigned char)s.p[i + 2] | (uint32_t)(unsigned char)s.p[i + 3] << 8;
			if (low >= 0xdc00 && low < 0xe000) {
				u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			}
		}
		if (u == 0)
			break;
		utf8_put(&b, u >= 0xd800 && u < 0xe000 ? 0xfffd : u);
	}
	struct str v = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static void name_add(struct tnef_file *f, struct str name)
{
	ptrdiff_t nul = str_chr(name, '\0');
	if (nul >= 0)
		name.n = (size_t)nul;
	if (f != NULL && name.n > 0 && f->n_names < TNEF_NAMES_MAX)
		f->names[f->n_names++] = name;
}

static size_t fixed_size(uint32_t type)
{
	static const struct { uint32_t type; size_t n; } sizes[] = {
		{ 0x02, 2 }, { 0x03, 4 }, { 0x04, 4 }, { 0x05, 8 }, { 0x06, 8 }, { 0x07, 8 }, { 0x0a, 4 }, { 0x0b, 2 }, { 0x14, 8 }, { 0x40, 8 }, { 0x48, 16 },
	};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (sizes[i].type == type)
			return sizes[i].n;
	return 0;
}

/* A property whose id is a name: a GUID, then a number or a string. */
static void skip_name(struct cursor *c)
{
	(void)take(c, 16);
	if (number(c, 4) == 0)
		(void)take(c, 4);
	else
		(void)padded(c, number(c, 4));
}

static void property(struct arena *a, struct cursor *c, struct tnef_file *f)
{
	const uint32_t type = number(c, 2), id = number(c, 2), plain = type & ~(uint32_t)TYPE_MANY;
	if (id >= NAMED_FROM)
		skip_name(c);
	const bool sized = plain == TYPE_STRING8 || plain == TYPE_UNICODE || plain == TYPE_OBJECT || plain == TYPE_BINARY;
	const size_t fixed = fixed_size(plain);
	if (!sized && fixed == 0) {
		c->short_ = true;
		return;
	}
	const uint32_t n = sized || (type & TYPE_MANY) ? number(c, 4) : 1;
	for (uint32_t i = 0; i < n && i < VALUES_MAX && !c->short_; i++) {
		struct str v = padded(c, sized ? number(c, 4) : fixed);
		if (id == PROP_NAME_LONG || id == PROP_NAME || id == PROP_DISPLAY)
			name_add(f, plain == TYPE_UNICODE ? utf16(a, v) : v);
		else if (id == PROP_OBJECT && f != NULL && f->data.n == 0)
			f->data = plain == TYPE_OBJECT ? str_from(v, 16) : v;	/* behind the interface's GUID: an embedded message */
	}
	if (n > VALUES_MAX)
		c->short_ = true;
}

static void properties(struct arena *a, struct str data, struct tnef_file *f, struct tnef *out)
{
	struct cursor c = { .s = data };
	const uint32_t n = number(&c, 4);
	for (uint32_t i = 0; i < n && !c.short_; i++) {
		if (i == TNEF_PROPS_MAX) {
			out->over = true;
			return;
		}
		property(a, &c, f);
	}
	out->damaged |= c.short_;
}

static struct tnef_file *file_next(struct tnef *out)
{
	if (out->n == TNEF_FILES_MAX) {
		out->over = true;
		return NULL;
	}
	struct tnef_file *f = &out->v[out->n++];
	*f = (struct tnef_file){ .n_names = 0 };
	return f;
}

void tnef_read(struct arena *a, struct str data, struct tnef *out)
{
	struct cursor c = { .s = data };
	struct tnef_file *f = NULL;
	out->n = 0;
	out->damaged = out->over = false;
	(void)take(&c, 6);	/* signature, key */
	while (c.s.n > 0 && !c.short_ && !out->over) {
		(void)number(&c, 1);
		const uint32_t id = number(&c, 4) & 0xffff;
		struct str v = take(&c, number(&c, 4));
		(void)take(&c, 2);
		if (id == ATTR_RENDERING || (f == NULL && (id == ATTR_TITLE || id == ATTR_DATA)))
			f = file_next(out);
		if (f == NULL)
			continue;
		if (id == ATTR_TITLE)
			name_add(f, v);
		else if (id == ATTR_DATA)
			f->data = v;
		else if (id == ATTR_MAPI)
			properties(a, v, f, out);
	}
	out->damaged |= c.short_;
}
