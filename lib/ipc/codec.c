/* The codec of all channels: struct <-> packet by a message's field table. Pure: no descriptors, no I/O.
 *
 * Packet (all numbers little-endian):
 *	magic 4 "Pst1", version 1, field count 1, type 2, request id 4
 *	each field: tag 1, length 4, bytes
 *		STR: the bytes     U64: 8 bytes     STRS: count 4, then for each length 4 and bytes
 * A packet that says anything else than its table allows is refused whole. */
#include "ipc/ipc.h"

#include <assert.h>

#include "base/num.h"

enum { HEAD_BYTES = 12, FIELD_HEAD_BYTES = 5, VERSION = 1, FIELDS_MAX = 32 };
static const char magic[4] = { 'P', 's', 't', '1' };

/* --- writing --- */

struct out {
	unsigned char *p;
	size_t n, max;
	bool full;
};

static void put(struct out *o, const void *p, size_t n)
{
	if (o->full || n > o->max - o->n) {
		o->full = true;
		return;
	}
	if (n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void put_u8(struct out *o, uint8_t v)
{
	put(o, &v, 1);
}

static void put_u16(struct out *o, uint16_t v)
{
	const unsigned char b[2] = { (unsigned char)v, (unsigned char)(v >> 8) };

	put(o, b, sizeof(b));
}

static void put_u32(struct out *o, uint32_t v)
{
	unsigned char b[4];

	put_le32(b, v);
	put(o, b, sizeof(b));
}

static void put_field_head(struct out *o, const struct ipc_field *f, size_t len)
{
	put_u8(o, f->tag);
	if (len > UINT32_MAX)
		o->full = true;
	put_u32(o, (uint32_t)len);
}

static int too_long(const struct ipc_msg *m, const struct ipc_field *f, size_t n, struct err *e)
{
	return err_set(e, ERR_LIMIT, 0, "%s.%s: %zu bytes, at most %u", m->name, f->name, n,
		       f->max);
}

/* 1: written, 0: left out (optional and absent), -1. */
static int put_str(struct out *o, const struct ipc_msg *m, const struct ipc_field *f,
		   const void *at, struct err *e)
{
	const struct str *s = at;

	if (!s->p && f->need == IPC_OPTIONAL)
		return 0;
	if (s->n > f->max)
		return too_long(m, f, s->n, e);
	put_field_head(o, f, s->n);
	put(o, s->p, s->n);
	return 1;
}

static int put_u64(struct out *o, const struct ipc_field *f, const void *at)
{
	const uint64_t *v = at;
	unsigned char b[8];

	if (*v == 0 && f->need == IPC_OPTIONAL)
		return 0;
	put_le64(b, *v);
	put_field_head(o, f, sizeof(b));
	put(o, b, sizeof(b));
	return 1;
}

static int put_strs(struct out *o, const struct ipc_msg *m, const struct ipc_field *f,
		    const void *at, struct err *e)
{
	const struct ipc_strs *l = at;
	size_t len = 4;

	if (l->n == 0 && f->need == IPC_OPTIONAL)
		return 0;
	if (l->n > IPC_STRS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%s.%s: %zu strings, at most %d", m->name, f->name,
			       l->n, IPC_STRS_MAX);
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].n > f->max)
			return too_long(m, f, l->v[i].n, e);
		len += 4 + l->v[i].n;
	}
	put_field_head(o, f, len);
	put_u32(o, (uint32_t)l->n);
	for (size_t i = 0; i < l->n; i++) {
		put_u32(o, (uint32_t)l->v[i].n);
		put(o, l->v[i].p, l->v[i].n);
	}
	return 1;
}

static int put_field(struct out *o, const struct ipc_msg *m, const struct ipc_field *f,
		     const void *msg, struct err *e)
{
	const void *at = (const char *)msg + f->offset;

	switch (f->type) {
	case IPC_T_STR:
		return put_str(o, m, f, at, e);
	case IPC_T_U64:
		return put_u64(o, f, at);
	default:
		return put_strs(o, m, f, at, e);
	}
}

static const struct ipc_msg *find_msg(const struct ipc_proto *p, uint16_t type)
{
	for (size_t i = 0; i < p->n_msgs; i++)
		if (p->msgs[i].type == type)
			return &p->msgs[i];
	return NULL;
}

int ipc_encode(const struct ipc_proto *p, uint16_t type, const void *msg, uint32_t id,
	       unsigned char *packet, size_t max, size_t *n_out, struct err *e)
{
	const struct ipc_msg *m = find_msg(p, type);
	struct out o = { .p = packet, .max = max };
	uint8_t fields = 0;

	if (!m)
		return err_set(e, ERR_BUG, 0, "%s: no message of type %u", p->name, type);
	put(&o, magic, sizeof(magic));
	put_u8(&o, VERSION);
	put_u8(&o, 0); /* field count, set below */
	put_u16(&o, type);
	put_u32(&o, id);
	for (size_t i = 0; i < m->n_fields; i++) {
		const int r = put_field(&o, m, &m->fields[i], msg, e);

		if (r < 0)
			return err_wrap(e, "%s", p->name);
		fields = (uint8_t)(fields + r);
	}
	if (o.full)
		return err_set(e, ERR_LIMIT, 0, "%s.%s: more than %zu bytes", p->name, m->name,
			       max);
	packet[5] = fields;
	*n_out = o.n;
	return 0;
}

/* --- reading --- */

struct in {
	const unsigned char *p;
	size_t n;
};

static bool take(struct in *in, size_t n, const unsigned char **out)
{
	if (n > in->n)
		return false;
	*out = in->p;
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_u32(struct in *in, uint32_t *out)
{
	const unsigned char *p;

	if (!take(in, 4, &p))
		return false;
	*out = get_le32(p);
	return true;
}

static int get_str(struct str body, const struct ipc_field *f, struct str *out, struct err *e)
{
	if (body.n > f->max)
		return err_set(e, ERR_INPUT, 0, "%s: %zu bytes, at most %u", f->name, body.n,
			       f->max);
	*out = body;
	return 0;
}

static int get_strs(struct str body, const struct ipc_field *f, struct arena *a,
		    struct ipc_strs *out, struct err *e)
{
	struct in in = { (const unsigned char *)body.p, body.n };
	uint32_t count;

	if (!take_u32(&in, &count) || count > IPC_STRS_MAX || count > in.n / 4)
		return err_set(e, ERR_INPUT, 0, "%s: bad list", f->name);
	struct str *v = ARENA_ARRAY(a, struct str, count ? count : 1);

	if (!v)
		return err_set(e, ERR_LIMIT, 0, "%s: no room", f->name);
	for (uint32_t i = 0; i < count; i++) {
		const unsigned char *p;
		uint32_t len;

		if (!take_u32(&in, &len) || !take(&in, len, &p))
			return err_set(e, ERR_INPUT, 0, "%s: list cut short", f->name);
		if (get_str(str_n(p, len), f, &v[i], e) < 0)
			return -1;
	}
	if (in.n != 0)
		return err_set(e, ERR_INPUT, 0, "%s: %zu bytes after the list", f->name, in.n);
	*out = (struct ipc_strs){ v, count };
	return 0;
}

static int get_field(struct str body, const struct ipc_field *f, struct arena *a, void *at,
		     struct err *e)
{
	switch (f->type) {
	case IPC_T_STR:
		return get_str(body, f, at, e);
	case IPC_T_U64:
		if (body.n != 8)
			return err_set(e, ERR_INPUT, 0, "%s: %zu bytes for a number", f->name,
				       body.n);
		*(uint64_t *)at = get_le64(body.p);
		return 0;
	default:
		return get_strs(body, f, a, at, e);
	}
}

static int get_fields(struct in *in, unsigned count, const struct ipc_msg *m, struct arena *a,
		      void *msg, struct err *e)
{
	uint32_t seen = 0;

	static_assert(FIELDS_MAX <= 32, "seen is 32 bits");
	while (count-- > 0) {
		const unsigned char *tag, *body;
		uint32_t len;
		size_t i = 0;

		if (!take(in, 1, &tag) || !take_u32(in, &len) || !take(in, len, &body))
			return err_set(e, ERR_INPUT, 0, "cut short");
		while (i < m->n_fields && m->fields[i].tag != *tag)
			i++;
		if (i == m->n_fields || i >= FIELDS_MAX)
			return err_set(e, ERR_INPUT, 0, "unknown field %u", *tag);
		if (seen & (1u << i))
			return err_set(e, ERR_INPUT, 0, "%s: given twice", m->fields[i].name);
		seen |= 1u << i;
		if (get_field(str_n(body, len), &m->fields[i], a, (char *)msg + m->fields[i].offset,
			      e) < 0)
			return -1;
	}
	if (in->n != 0)
		return err_set(e, ERR_INPUT, 0, "%zu bytes after the last field", in->n);
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i].need == IPC_REQUIRED && !(seen & (1u << i)))
			return err_set(e, ERR_INPUT, 0, "%s: missing", m->fields[i].name);
	return 0;
}

int ipc_decode(const struct ipc_proto *p, struct str packet, size_t n_fds, struct arena *a,
	       uint16_t *type_out, uint32_t *id_out, void **msg_out, struct err *e)
{
	static const size_t fds_max[] = {
		[IPC_NO_FD] = 0, [IPC_WITH_FD] = 1, [IPC_WITH_FDS] = IPC_FDS_MAX
	};
	struct in in = { (const unsigned char *)packet.p, packet.n };
	const unsigned char *h;

	if (!take(&in, HEAD_BYTES, &h))
		return err_set(e, ERR_INPUT, 0, "%s: packet of %zu bytes", p->name, packet.n);
	if (memcmp(h, magic, sizeof(magic)) != 0)
		return err_set(e, ERR_INPUT, 0, "%s: not a packet of the suite", p->name);
	if (h[4] != VERSION)
		return err_set(e, ERR_INPUT, 0, "%s: version %u, not %d", p->name, h[4], VERSION);
	const uint16_t type = (uint16_t)(h[6] | h[7] << 8);
	const struct ipc_msg *m = find_msg(p, type);

	if (!m)
		return err_set(e, ERR_INPUT, 0, "%s: unknown message %u", p->name, type);
	if (n_fds < (m->fd == IPC_NO_FD ? 0 : 1) || n_fds > fds_max[m->fd])
		return err_set(e, ERR_INPUT, 0, "%s.%s: %s descriptor", p->name, m->name,
			       n_fds ? "unexpected" : "missing");
	void *msg = arena_alloc(a, m->size);

	if (!msg)
		return err_set(e, ERR_LIMIT, 0, "%s.%s: no room", p->name, m->name);
	if (get_fields(&in, h[5], m, a, msg, e) < 0)
		return err_wrap(e, "%s.%s", p->name, m->name);
	*type_out = type;
	*id_out = get_le32(h + 8);
	*msg_out = msg;
	return 0;
}

static void copy_strs(struct ipc_strs *l, struct arena *a)
{
	struct str *v = ARENA_ARRAY(a, struct str, l->n + 1);

	for (size_t i = 0; v && i < l->n; i++)
		v[i] = arena_str(a, l->v[i]);
	*l = (struct ipc_strs){ v, v ? l->n : 0 };
}

void *ipc_copy(const struct ipc_proto *p, uint16_t type, const void *msg, struct arena *a)
{
	const struct ipc_msg *m = find_msg(p, type);
	char *to = m ? arena_alloc(a, m->size) : NULL;

	if (!to)
		return NULL;
	memcpy(to, msg, m->size);
	for (size_t i = 0; i < m->n_fields; i++) {
		void *at = to + m->fields[i].offset;
		struct str *s = at;

		if (m->fields[i].type == IPC_T_STR && s->p)
			*s = arena_str(a, *s);
		else if (m->fields[i].type == IPC_T_STRS)
			copy_strs(at, a);
	}
	return to;
}
