/* Unique ids: what formats make, and that the short way makes the same. */
#include <string.h>

#include "base/arena.h"
#include "test/tap.h"
#include "uidl.h"

static const struct {
	const char *format, *id;	/* of UID 0x1a2b and UIDVALIDITY 0x6a0b1c2d, file "17.M1P1.h" */
	size_t n_at;			/* places of the UID's digits; 0: no short way */
} cases[] = {
	{ "%08Xu%08Xv", "00001a2b6a0b1c2d", 1 },
	{ "%08Xv%08Xu", "6a0b1c2d00001a2b", 1 },
	{ "a-%08Xu.%08Xu-b", "a-00001a2b.00001a2b-b", 2 },
	{ "%08Xu%08Xu", "00001a2b00001a2b", 2 },
	{ "%012Xu", "000000001a2b", 1 },
	{ "%v.%08Xu", "1779113005.00001a2b", 1 },
	{ "%%%08Xu", "%00001a2b", 1 },
	{ "%v.%u", "1779113005.6699", 0 },
	{ "%010u", "0000006699", 0 },
	{ "%Xu", "1a2b", 0 },
	{ "%06Xu", "001a2b", 0 },
	{ "%f", "17.M1P1.h", 0 },
	{ "%g", "17.M1P1.h", 0 },
	{ "%g.%08Xu", "17.M1P1.h.00001a2b", 0 },
	{ "f%08Xu", "f00001a2b", 1 },
	{ "%08Xu%08Xu%08Xu%08Xu%08Xu%08Xu%08Xu%08Xu", "00001a2b00001a2b00001a2b00001a2b00001a2b00001a2b00001a2b00001a2b", 8 },
	/* No ids: the plain form. */
	{ "%8Xu", "00001a2b6a0b1c2d", 0 },
	{ "%x", "00001a2b6a0b1c2d", 0 },
	{ "%08Xu ", "00001a2b6a0b1c2d", 0 },
	{ "%80u", "00001a2b6a0b1c2d", 0 },
	{ "%080Xu", "00001a2b6a0b1c2d", 0 },
	{ "", "00001a2b6a0b1c2d", 0 },
};

static void test_formats(void)
{
	struct uidl_form form;
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_init(&b, 1000);
		uidl_put(cases[i].format, 0x1a2b, 0x6a0b1c2d, "17.M1P1.h", &b);
		tap_is_str(b.p, cases[i].id, "%s", cases[i].format);
		uidl_form_make(cases[i].format, 0x6a0b1c2d, &form);
		tap_is_int((long long)form.n_at * (form.n > 0), (long long)cases[i].n_at, "its short way");
		buf_fini(&b);
	}
}

static void test_both_ways(void)
{
	static const uint32_t uids[] = { 1, 9, 10, 15, 16, 255, 256, 4095, 65535, 65536, 0x89abcdef, 0xfedcba98, 0x7fffffff, 0x80000000, 0xfffffffe };
	struct uidl_form form;
	struct buf a, b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uidl_form_make(cases[i].format, 4000000000, &form);
		for (size_t k = 0; form.n > 0 && k < ARRAY_LEN(uids); k++) {
			buf_init(&a, 1000);
			buf_init(&b, 1000);
			uidl_put(cases[i].format, uids[k], 4000000000, "", &a);
			uidl_form_put(&form, uids[k], &b);
			tap_is_str(b.p, a.p, "%s", cases[i].format);
			buf_reset(&b);
			uidl_form_line(&form, 1000000000 + (uint32_t)k, uids[k], &b);
			tap_ok(b.n == a.n + 13 && strncmp(b.p, "10000000", 8) == 0 && strncmp(b.p + 11, a.p, a.n) == 0 && strcmp(b.p + 11 + a.n, "\r\n") == 0, "a line");
			buf_reset(&b);
			uidl_form_line(&form, 7, uids[k], &b);
			tap_ok(b.n == a.n + 4 && strncmp(b.p, "7 ", 2) == 0 && strncmp(b.p + 2, a.p, a.n) == 0, "a short one");
			buf_fini(&a);
			buf_fini(&b);
		}
	}
}

int main(void)
{
	test_formats();
	test_both_ways();
	return tap_done();
}
