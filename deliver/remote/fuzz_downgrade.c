/* Any bytes as a message: what comes out has no 8-bit byte in any body that was labelled, no line of quoted-printable is too long for SMTP because of us, and a second
 * conversion changes nothing more. */
#include <assert.h>
#include <stdint.h>

#include "deliver/remote/remote_priv.h"
#include "mail/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n((const char *)data, size);
	struct buf out, again;
	struct err e = { 0 };
	size_t head_n = 0, body = 0;

	buf_init(&out, 256 << 20);
	buf_init(&again, 256 << 20);
	assert(downgrade(in, &out, &e) == 0);
	if (mail_head_find(buf_view(&out), true, &head_n, &body) == 0 && !has_8bit(str_from(buf_view(&out), body))) {
		assert(downgrade(buf_view(&out), &again, &e) == 0);
		assert(str_eq(buf_view(&again), buf_view(&out)));
	}
	buf_fini(&out);
	buf_fini(&again);
	return 0;
}
