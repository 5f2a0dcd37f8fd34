/* DSN parameters: whatever is accepted holds no control, and NOTIFY is the same when it is written again. */
#include "base/enc.h"
#include "smtp/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]))
			__builtin_trap();
}

/* What is sent on is ASCII where it must be, and no less an address to the next server. */
static void on_the_wire(struct str orcpt)
{
	struct buf b, again;

	clean(orcpt);
	buf_init(&b, 1 << 16);
	buf_init(&again, 1 << 16);
	for (int smtputf8 = 0; smtputf8 <= 1; smtputf8++) {
		buf_reset(&b);
		buf_reset(&again);
		if (smtp_orcpt_format(orcpt, smtputf8, &b) < 0)
			continue;
		if ((!smtputf8 && ascii_plain(buf_view(&b)) < b.n) || str_chr(buf_view(&b), ' ') >= 0)
			__builtin_trap();
		if (smtp_orcpt_parse(buf_view(&b), &again) < 0)
			__builtin_trap();
	}
	buf_fini(&again);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	uint64_t bits, again = 0;
	struct buf b;

	buf_init(&b, 1 << 16);
	if (smtp_envid_parse(in, &b) == 0)
		clean(buf_view(&b));
	buf_reset(&b);
	if (smtp_orcpt_parse(in, &b) == 0)
		on_the_wire(buf_view(&b));
	buf_reset(&b);
	if (smtp_notify_parse(in, &bits) == 0) {
		smtp_notify_format(bits, &b);
		if (smtp_notify_parse(buf_view(&b), &again) < 0 || again != bits)
			__builtin_trap();
	}
	(void)!smtp_ret_parse(in, &bits);
	buf_fini(&b);
	return 0;
}
