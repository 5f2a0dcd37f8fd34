/* A message as it leaves is the edited header section and the rest, whatever of it is read at once. */
#include <sys/mman.h>

#include "deliver/remote/remote_priv.h"
#include "mail/edit.h"
#include "mail/reencode.h"
#include "os/os.h"
#include "test/tap.h"

static struct str edits[] = { { "+Received: from a by b", 22 } };

/* Lines of 70 bytes, some with a dot first, to n bytes at least. */
static void put_lines(struct buf *b, const char *start, size_t n)
{
	for (const size_t end = b->n + n; b->n < end;) {
		buf_c(b, start);
		for (int i = 0; i < 66; i++)
			buf_ch(b, (char)('a' + (b->n + (size_t)i) % 26));
		buf_c(b, "\n");
	}
}

/* All of the message in memory. */
static void expect(struct str head, struct str rest, bool seven, struct buf *wire)
{
	struct smtp_dot dot = SMTP_DOT_INIT;
	struct err e = { 0 };
	struct buf text, out;

	buf_init(&text, 4 << 20);
	buf_init(&out, 8 << 20);
	(void)!mail_edit_apply(head, edits, 1, &text, &e);
	buf_str(&text, rest);
	if (seven)
		(void)!mail_reencode(buf_view(&text), MAIL_TO_7BIT, mail_sink_buf, &out, &e);
	smtp_dot_encode(&dot, buf_view(seven ? &out : &text), wire);
	smtp_dot_end(&dot, wire);
	buf_fini(&text);
	buf_fini(&out);
}

static int read_all(const struct job *j, bool seven, struct buf *wire, struct err *e)
{
	struct body b;
	bool end = false;
	int r = body_open(&b, j, seven, e);

	while (r == 0 && !end)
		r = body_read(&b, wire, &end, e);
	body_close(&b);
	return r;
}

/* rest: with the empty line, or "". Behind it the queue has its journal. */
static void leaves(struct str head, struct str rest, bool seven, const char *name)
{
	struct job j = { .fd = memfd_create("message", MFD_CLOEXEC), .size = head.n + rest.n, .edits = edits, .n_edits = 1 };
	struct buf got, want;
	struct err e = { 0 };

	buf_init(&got, 8 << 20);
	buf_init(&want, 8 << 20);
	if (j.fd < 0 || write_all(j.fd, head.p, head.n, &e) < 0 || write_all(j.fd, rest.p, rest.n, &e) < 0 || write_all(j.fd, "PoJ1 journal", 12, &e) < 0)
		tap_diag("%s", e.text);
	expect(head, rest, seven, &want);
	const int r = read_all(&j, seven, &got, &e);
	tap_ok(r == 0 && str_eq(buf_view(&got), buf_view(&want)), "a header of %zu bytes, %zu behind it%s: %s%s", head.n, rest.n, seven ? ", to 7 bits" : "", name, e.text);
	buf_fini(&got);
	buf_fini(&want);
	close_fd(&j.fd);
}

static void test_sizes(void)
{
	static const size_t heads[] = { 100, 16300, 16384, 20000, 140000 }, rests[] = { 0, 100, 16300, 40000, 200000 };

	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		for (size_t k = 0; k < ARRAY_LEN(rests); k++) {
			struct buf head, rest;
			buf_init(&head, 1 << 20);
			buf_init(&rest, 1 << 20);
			put_lines(&head, "X: ", heads[i]);
			if (rests[k] > 0)
				buf_c(&rest, "\n");
			put_lines(&rest, ".", rests[k]);
			leaves(buf_view(&head), buf_view(&rest), false, "");
			buf_c(&rest, rests[k] > 0 ? "Gr\xc3\xbc\xc3\x9f" "e\n" : "");
			leaves(buf_view(&head), buf_view(&rest), rests[k] > 0, "");
			buf_fini(&head);
			buf_fini(&rest);
		}
	leaves(STR(""), STR("\nno field\n"), false, "no header");
}

static void test_long(void)
{
	struct job j = { .fd = memfd_create("message", MFD_CLOEXEC), .edits = edits, .n_edits = 1 };
	struct buf head, wire;
	struct err e = { 0 };

	buf_init(&head, REMOTE_HEAD_MAX + 1000);
	buf_init(&wire, 8 << 20);
	put_lines(&head, "X: ", REMOTE_HEAD_MAX);
	buf_c(&head, "\nbody\n");
	j.size = head.n;
	tap_ok(j.fd >= 0 && write_all(j.fd, head.p, head.n, &e) == 0 && read_all(&j, false, &wire, &e) < 0 && e.code == ERR_INPUT,
	       "a header that is too long to be edited: %s", e.text);
	buf_fini(&head);
	buf_fini(&wire);
	close_fd(&j.fd);
}

int main(void)
{
	test_sizes();
	test_long();
	return tap_done();
}
