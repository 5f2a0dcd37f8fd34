/* Any two messages (split at the first NUL) through the SCRAM server; the proof can only be right by knowing the password. */
#include <assert.h>
#include <stdint.h>

#include "authd/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_n(data, size), first = str_split(&in, 0);
	struct scram_verifier v;
	struct scram s;
	struct err e = { 0 };
	struct buf out;

	scram_verifier_fake(STR("s"), STR("u"), &v);
	buf_init(&out, SCRAM_MESSAGE_MAX);
	scram_init(&s);
	if (scram_server_first(&s, first, &e) == 0 && scram_server_challenge(&s, &v, STR("0123456789abcdef"), &out, &e) == 0)
		assert(scram_server_final(&s, in, &out, &e) < 0);
	scram_fini(&s);
	buf_reset(&out);
	(void)!scram_prepare(str_n(data, size), &out, &e);
	(void)!scram_verifier_parse(str_n(data, size), &v, &e);
	buf_fini(&out);
	return 0;
}
