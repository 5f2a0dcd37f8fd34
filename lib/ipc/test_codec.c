/* Every message of every channel through the codec, and every way in which a packet can be wrong. */
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "ipc/all.h"
#include "test/tap.h"

enum fill { FILL_REQUIRED, FILL_EMPTY, FILL_MAX, FILL_MAX_ };
static const char *const fill_names[] = { "required only", "all fields, empty", "all fields, longest" };
static unsigned char packet[IPC_PACKET_MAX];

static struct str bytes(struct arena *a, size_t n)
{
	char *p = arena_alloc(a, n ? n : 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 7);
	return str_n(p, n);
}

static void fill_field(struct arena *a, const struct ipc_field *f, enum fill how, char *msg)
{
	const size_t n = how == FILL_EMPTY ? 0 : f->max > 9000 ? 9000 : f->max;

	if (how == FILL_REQUIRED && f->need == IPC_OPTIONAL)
		return;
	if (f->type == IPC_T_STR) {
		const struct str s = bytes(a, n);

		memcpy(msg + f->offset, &s, sizeof(s));
	} else if (f->type == IPC_T_U64) {
		const uint64_t v = how == FILL_EMPTY ? 0 : UINT64_MAX - f->tag;

		memcpy(msg + f->offset, &v, sizeof(v));
	} else {
		struct ipc_strs l = { ARENA_ARRAY(a, struct str, 3), how == FILL_EMPTY ? 0 : 3 };

		for (size_t i = 0; i < 3; i++)
			l.v[i] = bytes(a, i == 1 ? 0 : n);
		memcpy(msg + f->offset, &l, sizeof(l));
	}
}

static bool field_same(const struct ipc_field *f, const char *x, const char *y)
{
	const struct str *s = (const void *)(x + f->offset), *t = (const void *)(y + f->offset);
	const struct ipc_strs *l = (const void *)(x + f->offset), *m = (const void *)(y + f->offset);

	if (f->type == IPC_T_STR)
		return str_eq(*s, *t) && !s->p == !t->p;
	if (f->type == IPC_T_U64)
		return memcmp(x + f->offset, y + f->offset, 8) == 0;
	if (l->n != m->n)
		return false;
	for (size_t i = 0; i < l->n; i++)
		if (!str_eq(l->v[i], m->v[i]))
			return false;
	return true;
}

static int decode(const struct ipc_proto *p, const void *pk, size_t n, bool fd, struct arena *a, void **msg, struct err *e)
{
	uint16_t type;
	uint32_t id;

	return ipc_decode(p, str_n(pk, n), fd, a, &type, &id, msg, e);
}

static void round_trip(const struct ipc_proto *p, const struct ipc_msg *m, enum fill how)
{
	struct arena *a = arena_new(0);
	char *msg = arena_alloc(a, m->size);
	struct err e = { 0 };
	bool same = true;
	uint16_t type = 0;
	uint32_t id = 0;
	void *back = NULL;
	size_t n = 0;

	for (size_t i = 0; i < m->n_fields; i++)
		fill_field(a, &m->fields[i], how, msg);
	int r = ipc_encode(p, m->type, msg, 0xdeadbeef, packet, sizeof(packet), &n, &e);

	if (r == 0)
		r = ipc_decode(p, str_n(packet, n), m->fd == IPC_WITH_FD, a, &type, &id, &back, &e);
	for (size_t i = 0; r == 0 && i < m->n_fields; i++)
		same &= field_same(&m->fields[i], msg, back);
	tap_ok(r == 0 && same && type == m->type && id == 0xdeadbeef, "%s.%s comes back the same (%s) %s", p->name, m->name, fill_names[how],
	       e.text);
	tap_ok(r < 0 || decode(p, packet, n, m->fd != IPC_WITH_FD, a, &back, &e) < 0, "%s.%s: wrong descriptor count is refused", p->name, m->name);
	for (size_t cut = 0; r == 0 && cut < n; cut += cut < 200 ? 1 : 97)
		same &= decode(p, packet, cut, m->fd == IPC_WITH_FD, a, &back, &e) < 0 && e.code == ERR_INPUT;
	tap_ok(same, "%s.%s: refused when cut anywhere", p->name, m->name);
	arena_free(&a);
}

/* A queue.REPLY by hand: code 250, enhanced, text. */
static size_t reply_packet(unsigned char *out)
{
	const struct ipc_queue_REPLY m = { .code = 250, .enhanced = STR("2.1.0"), .text = STR("Ok") };
	size_t n = 0;

	if (ipc_encode(&ipc_queue, IPC_queue_REPLY, &m, 1, out, IPC_PACKET_MAX, &n, NULL) < 0)
		abort();
	return n;
}

/* Offsets in that packet: header 12; code: tag 12, length 13, body 17; enhanced: tag 25, length 26, body 30; text: tag 35, length 36, body 40. */
static const struct {
	const char *name;
	size_t at;
	unsigned char value;
} damages[] = {
	{ "another magic", 0, 'X' }, { "another version", 4, 2 }, { "too few fields announced", 5, 2 },
	{ "too many fields announced", 5, 4 }, { "no fields announced", 5, 0 }, { "unknown message", 6, 99 },
	{ "unknown message (high byte)", 7, 1 }, { "unknown field", 12, 77 }, { "field given twice", 25, 1 },
	{ "number of 7 bytes", 13, 7 }, { "number of 9 bytes", 13, 9 }, { "length beyond the packet", 36, 3 },
	{ "length of 4 GiB", 39, 0xff }, { "another field twice", 35, 2 }, { "required field replaced", 35, 4 },
};

static void malformed(void)
{
	struct arena *a = arena_new(0);
	struct err e;
	void *msg;

	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		const size_t n = reply_packet(packet);

		packet[damages[i].at] = damages[i].value;
		err_clear(&e);
		tap_ok(decode(&ipc_queue, packet, n, false, a, &msg, &e) < 0 && e.code == ERR_INPUT, "refused: %s (%s)", damages[i].name, e.text);
	}
	const size_t n = reply_packet(packet);

	tap_is_int(decode(&ipc_queue, packet, n, false, a, &msg, &e), 0, "the undamaged packet is accepted");
	tap_ok(decode(&ipc_queue, packet, n + 1, false, a, &msg, &e) < 0, "refused: a byte after the last field");
	arena_free(&a);
}

/* A field longer than its limit: built with a channel whose limit is larger, then read with the right one. */
static void limits(void)
{
	static const char big[2000] = { 0 };
	const struct ipc_queue_REPLY m = { .code = 1, .enhanced = str_n(big, 13), .text = STR("x") };
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	void *msg;
	size_t n;

	tap_ok(ipc_encode(&ipc_queue, IPC_queue_REPLY, &m, 1, packet, sizeof(packet), &n, &e) < 0 && e.code == ERR_LIMIT,
	       "an over-long field is not sent (%s)", e.text);
	tap_ok(ipc_encode(&ipc_queue, 999, &m, 1, packet, sizeof(packet), &n, &e) < 0 && e.code == ERR_BUG, "an unknown type is not sent");
	n = reply_packet(packet);
	memmove(packet + 48, packet + 35, n - 35);	/* enhanced grows from 5 to 18 bytes: more than 12 */
	packet[26] = 18;
	tap_ok(decode(&ipc_queue, packet, n + 13, false, a, &msg, &e) < 0 && e.code == ERR_INPUT, "an over-long field is refused (%s)", e.text);
	arena_free(&a);
}

static void lists(void)
{
	struct str v[] = { STR("a"), STR("bc") };
	const struct ipc_deliver_FORWARD m = { .recipients = { v, 2 }, .keep = 1 };
	static const struct { const char *name; size_t at; unsigned char value; } bad[] = {
		{ "count too large", 17, 3 }, { "count of 4 GiB", 20, 0xff }, { "count too small", 17, 1 },
		{ "element beyond the list", 26, 9 }, { "element shorter", 26, 1 },
	};
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	void *msg;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (ipc_encode(&ipc_deliver, IPC_deliver_FORWARD, &m, 1, packet, sizeof(packet), &n, &e) < 0)
			abort();
		packet[bad[i].at] = bad[i].value;
		tap_ok(decode(&ipc_deliver, packet, n, false, a, &msg, &e) < 0 && e.code == ERR_INPUT, "list refused: %s (%s)", bad[i].name, e.text);
	}
	arena_free(&a);
}

static void tables(void)
{
	bool unique = true;

	for (size_t c = 0; c < ARRAY_LEN(ipc_all); c++)
		for (size_t i = 0; i < ipc_all[c]->n_msgs; i++) {
			const struct ipc_msg *m = &ipc_all[c]->msgs[i];

			for (size_t j = 0; j < i; j++)
				unique &= ipc_all[c]->msgs[j].type != m->type;
			for (size_t x = 0; x < m->n_fields; x++)
				for (size_t y = 0; y < x; y++)
					unique &= m->fields[x].tag != m->fields[y].tag;
			unique &= m->n_fields <= 32;
		}
	tap_ok(unique, "types are unique in a channel, tags in a message, at most 32 fields");
}

static void versions(void)
{
	const struct ipc_field f = { "field", IPC_T_STR, 1, IPC_REQUIRED, 64, 0 };
	const struct ipc_msg m = { "MSG", "what it is for", 1, IPC_NO_FD, 8, &f, 1 };
	const struct ipc_field fields[] = {
		{ "other", IPC_T_STR, 1, IPC_REQUIRED, 64, 0 }, { "field", IPC_T_STRS, 1, IPC_REQUIRED, 64, 0 }, { "field", IPC_T_STR, 2, IPC_REQUIRED, 64, 0 },
		{ "field", IPC_T_STR, 1, IPC_OPTIONAL, 64, 0 }, { "field", IPC_T_STR, 1, IPC_REQUIRED, 65, 0 },
	};
	const struct ipc_msg msgs[] = {
		{ "OTHER", "", 1, IPC_NO_FD, 8, &f, 1 }, { "MSG", "", 2, IPC_NO_FD, 8, &f, 1 }, { "MSG", "", 1, IPC_WITH_FD, 8, &f, 1 }, { "MSG", "", 1, IPC_NO_FD, 8, &f, 0 },
	};
	const struct ipc_msg two[] = { m, msgs[1] }, moved = { "MSG", "in other words", 1, IPC_NO_FD, 16, &f, 1 };
	const uint64_t v = ipc_version(&(struct ipc_proto){ "chan", &m, 1 });
	bool differ = ipc_version(&(struct ipc_proto){ "other", &m, 1 }) != v && ipc_version(&(struct ipc_proto){ "chan", two, 2 }) != v;

	for (size_t i = 0; i < ARRAY_LEN(msgs); i++)
		differ &= ipc_version(&(struct ipc_proto){ "chan", &msgs[i], 1 }) != v;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct ipc_msg changed = { "MSG", "", 1, IPC_NO_FD, 8, &fields[i], 1 };

		differ &= ipc_version(&(struct ipc_proto){ "chan", &changed, 1 }) != v;
	}
	tap_ok(differ, "a table with anything changed has another version");
	tap_ok(ipc_version(&(struct ipc_proto){ "chan", &moved, 1 }) == v, "but what both sides need not agree on");
}

int main(void)
{
	tables();
	versions();
	for (size_t c = 0; c < ARRAY_LEN(ipc_all); c++)
		for (size_t i = 0; i < ipc_all[c]->n_msgs; i++)
			for (enum fill how = 0; how < FILL_MAX_; how++)
				round_trip(ipc_all[c], &ipc_all[c]->msgs[i], how);
	malformed();
	limits();
	lists();
	return tap_done();
}
