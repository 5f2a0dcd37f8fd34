/* Command lines with their parameters, and reply lines. */
#include "smtp/cmd.h"
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct str verb, args;
	struct smtp_param p;
	struct smtp_reply_line l;
	struct err e = { 0 };
	uint64_t v;

	(void)smtp_cmd_foreign(in);
	if (smtp_reply_line_parse(in, &l, &e) == 0) {
		struct buf b;
		buf_init(&b, 1 << 20);
		smtp_reply_put(&b, l.code, "", l.text);
		buf_fini(&b);
	}
	if (smtp_cmd_parse(in, &verb, &args, &e) < 0)
		return 0;
	if (!smtp_cmd_keyword(&args, "FROM", false))
		(void)smtp_cmd_keyword(&args, "TO", true);
	while (smtp_param_next(&args, &p, &e) == 0)
		if (p.value.p != NULL && smtp_size_parse(p.value, 1000, &v, &e) == 0 && v > 1000)
			__builtin_trap();
	return 0;
}
