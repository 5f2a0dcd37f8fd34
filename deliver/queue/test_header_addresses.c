/* Addresses of header fields: what is found, completed, and how it is put back. */
#include "base/num.h"
#include "deliver/queue/header_addresses.h"
#include "mail/edit.h"
#include "test/tap.h"

static const struct header_completion none, origin = { { "example.com", 11 }, { "", 0 } }, both = { { "example.com", 11 }, { "example.net", 11 } };

/* In the answer "old@x" becomes "new@y"; the header with the edits applied. */
static const struct {
	const char *head, *want;
	const struct header_completion *c;
} cases[] = {
	{ "From: joe\n", "From: joe@example.com\n", &origin },
	{ "From: joe\n", "From: joe\n", &none },
	{ "From: joe@host\n", "From: joe@host\n", &origin },
	{ "From: joe@host\n", "From: joe@host.example.net\n", &both },
	{ "From: joe@[127.0.0.1]\n", "From: joe@[127.0.0.1]\n", &both },
	{ "From: Joe Doe <joe>\n", "From: Joe Doe <joe@example.com>\n", &origin },
	{ "From:  weird   (kept)   <old.one@x>\n", "From:  weird   (kept)   <old.one@x>\n", &none },
	{ "To: a, b@c.example ,  d\n", "To: a@example.com,\n\tb@c.example,\n\td@example.com\n", &origin },
	{ "To: old@x\nSubject: old@x\nX-To: old@x\n", "To: new@y\nSubject: old@x\nX-To: old@x\n", &none },
	{ "To: a@b.example\nTo: old@x\n", "To: a@b.example\nTo: new@y\n", &none },
	{ "to: old@x\nresent-cc: \"old\"@x\nReply-To: <old@x>\n", "To: new@y\nResent-Cc: new@y\nReply-To: new@y\n", &none },
	{ "To: undisclosed-recipients:;\n", "To: undisclosed-recipients:;\n", &both },
	{ "To: team: old@x, c@d.example;, e@f.example\n", "To: team:new@y,\n\tc@d.example;,\n\te@f.example\n", &none },
	{ "To: =?utf-8?q?J=C3=B6?= <old@x>\n", "To: =?utf-8?q?J=C3=B6?= <new@y>\n", &none },
	{ "To: \"A \\\"B\\\" C\" <old@x>\n", "To: \"A \\\"B\\\" C\" <new@y>\n", &none },
	{ "To: \"a b\"\n", "To: \"a b\"@example.com\n", &origin },
	{ "To: old@x\n\t, a@b.example\n", "To: new@y,\n\ta@b.example\n", &none },
	{ "To: g: a, b;, c: d;\n", "To: g:a@example.com,\n\tb@example.com;,\n\tc:d@example.com;\n", &origin },
	{ "From: <>\nTo: \n", "From: <>\nTo: \n", &both },
	{ "To: a@b@c\n", "To: a@b@c\n", &none },
};

static void fields(void)
{
	static struct header_addresses h;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct str edits[10];
		struct err e = { 0 };
		struct buf out;

		buf_init(&out, 8192);
		h = (struct header_addresses){ 0 };
		header_addresses_find(a, str_c(cases[i].head), cases[i].c, &h);
		for (size_t k = 0; k < h.n; k++)
			header_address_set(&h, k, str_eq(h.addresses[k], STR("old@x")) ? STR("new@y") : h.addresses[k]);
		const size_t n = header_addresses_edits(&h, a, edits, ARRAY_LEN(edits));
		if (mail_edit_apply(str_c(cases[i].head), edits, n, &out, &e) < 0)
			buf_printf(&out, "! %s", e.text);
		(void)tap_is_mem(buf_view(&out), str_c(cases[i].want), "case %zu", i);
		buf_fini(&out);
		arena_free(&a);
	}
}

/* What is too much is left alone, and the rest is not. */
static void limits(void)
{
	static struct header_addresses h;
	const struct header_completion c = origin;
	struct arena *a = arena_new(0);
	struct str edits[HEADER_ADDRESS_FIELDS_MAX];
	struct buf head;

	buf_init(&head, 1 << 20);
	buf_c(&head, "To: ");
	for (int i = 0; i < 3000; i++)
		buf_printf(&head, "%sa%d", i ? ", " : "", i);
	buf_c(&head, "\nFrom: joe\n");
	for (int i = 0; i < 200; i++)
		buf_c(&head, "Cc: x\n");
	header_addresses_find(a, buf_view(&head), &c, &h);
	(void)tap_ok(h.n == HEADER_ADDRESS_FIELDS_MAX && h.n_fields == HEADER_ADDRESS_FIELDS_MAX, "%zu addresses in %zu fields", h.n, h.n_fields);
	(void)tap_ok(str_eq(h.addresses[0], STR("joe@example.com")), "the long field is left alone");
	(void)tap_is_int((int)header_addresses_edits(&h, a, edits, 3), 3, "as many edits as are wanted");
	buf_fini(&head);
	arena_free(&a);
}

/* Memory is for the addresses that are there, not for all that might be. */
static void room(void)
{
	static struct header_addresses h;
	struct arena *a = arena_new(0);
	struct buf head, want;
	size_t right = 0;

	header_addresses_find(a, STR("From: a@b.example\nTo: c@d.example\n"), &none, &h);
	(void)tap_ok(h.n == 2 && arena_used(a) + sizeof(h) < 8192, "two addresses: %zu bytes", arena_used(a) + sizeof(h));
	buf_init(&head, 1 << 20);
	buf_init(&want, 100);
	for (int i = 0; i < HEADER_ADDRESSES_MAX; i++)
		buf_printf(&head, "%sa%d@b.example", i == 0 ? "From: " : i % 100 == 0 ? "\nTo: " : ", ", i);
	buf_c(&head, "\nCc: one@more.example\n");
	header_addresses_find(a, buf_view(&head), &none, &h);
	for (size_t i = 0; i < h.n; i++) {
		buf_reset(&want);
		buf_printf(&want, "a%zu@b.example", i);
		right += str_eq(h.addresses[i], buf_view(&want)) && str_eq(h.classes[i], i < 100 ? STR("sender") : STR("recipient"));
	}
	(void)tap_is_int((int)right, HEADER_ADDRESSES_MAX, "as many as are taken, in their order");
	buf_fini(&head);
	buf_fini(&want);
	arena_free(&a);
}

int main(void)
{
	fields();
	limits();
	room();
	return tap_done();
}
