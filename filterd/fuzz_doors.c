/* Any bytes as packets to a milter, and as the head of a request to spamd. */
#include <assert.h>

#include "milter_in.h"
#include "smtp/milter.h"
#include "spamd_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct str rest = in, payload;
	struct milter_command x;
	struct spamd_head h;
	struct err e = { 0 };
	char command;
	size_t used = 0;
	while (milter_packet_get(rest, &command, &payload, &used, &e) == 0) {
		assert(used > 4 && used <= rest.n);
		if (milter_command_get(command, payload, &x, &e) == 0) {
			assert(x.n <= MILTER_STRINGS_MAX && (command != 'L' || x.n >= 2) && (command != 'M' || x.n >= 1));
			(void)milter_macro(&x, "i");
		}
		rest = str_from(rest, used);
	}
	if (spamd_head_parse(in, &h, &used, &e) == 0)
		assert(used <= in.n && used <= SPAMD_HEAD_MAX + 2 && h.method < SPAMD_METHODS && h.user.n <= SPAMD_USER_MAX);
	return 0;
}
