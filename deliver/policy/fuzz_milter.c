/* Any bytes as a milter's packets, options, replies and refusals, and as a list of milters. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "deliver/policy/milter_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct str part, struct str whole)
{
	assert(part.p == NULL || part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void packet(char command, struct str data)
{
	char enhanced[MILTER_ENHANCED_MAX];
	struct milter_options o;
	struct milter_reply r;
	struct err e = { 0 };
	struct buf text;
	int code;

	if (milter_options_get(data, 6, &o, &e) == 0) {
		assert((o.actions & ~(uint32_t)MA_OURS) == 0 && (o.protocol & ~(uint32_t)MP_OURS) == 0 && o.version <= 6);
		for (size_t i = 0; i < MILTER_STAGES; i++)
			within(o.macros[i], data);
	}
	if (milter_reply_get(command, data, &r, &e) < 0)
		return;
	within(r.a, data);
	within(r.b, data);
	buf_init(&text, 1000);
	if (milter_text_get(r.a, &code, enhanced, &text, &e) == 0)
		assert(code >= 400 && code <= 599 && strlen(enhanced) < sizeof(enhanced) && text.n <= r.a.n);
	buf_fini(&text);
}

static void names(struct str list)
{
	struct milter_setting s = { 0 };
	struct err e = { 0 };
	struct str one;

	while (milter_list_next(&list, &one)) {
		assert(one.n > 0);
		(void)!milter_setting_parse(one, &s, &e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_n(data, size), one;
	struct err e = { 0 };
	size_t used;
	char command;

	names(in);
	while (milter_packet_get(in, &command, &one, &used, &e) == 0) {
		assert(used >= 5 && used <= in.n && one.n == used - 5);
		packet(command, one);
		in = str_from(in, used);
	}
	if (size > 0)
		packet((char)data[0], str_from(str_n(data, size), 1));
	return 0;
}
