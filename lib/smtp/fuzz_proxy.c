/* PROXY headers and XCLIENT attributes: what is accepted is used up exactly, does not depend on what follows, and its texts are clean. */
#include "smtp/proxy.h"
#include "smtp/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		__builtin_trap();
}

static void header(struct str in)
{
	struct smtp_proxy p = { 0 }, again = { 0 };
	struct err e = { 0 };
	size_t used = 0, used2 = 0;

	const int r = smtp_proxy_parse(in, &p, &used, &e);
	if (r == 1)
		check(in.n < SMTP_PROXY_V2_HEAD + SMTP_PROXY_V2_MAX);
	if (r != 0)
		return;
	check(used > 0 && used <= in.n);
	check(smtp_proxy_parse(str_sub(in, 0, used), &again, &used2, &e) == 0 && used2 == used && memcmp(&p, &again, sizeof p) == 0);
	check(smtp_proxy_parse(str_sub(in, 0, used - 1), &again, &used2, &e) == 1);
	check(p.local || str_printable(str_c(p.client)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct smtp_xattrs x = { 0 };
	struct arena *a = arena_new(1 << 20);
	struct err e = { 0 };

	header(in);
	if (smtp_xattrs_parse(a, in, size % 2 ? XATTRS_XCLIENT : XATTRS_XFORWARD, &x, &e) == 0)
		for (size_t i = 0; i < XATTR_MAX_; i++)
			check(x.v[i].n == 0 || (str_printable(x.v[i]) && x.v[i].n <= 255));
	arena_free(&a);
	return 0;
}
