/* Any bytes as a message: what comes out has no 8-bit byte in any body that was labelled, no line of quoted-printable is too long for SMTP because of us, and a second
 * conversion changes nothing more. */
#include <assert.h>
#include <stdint.h>

#include "mail/edit.h"
#include "mail/reencode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n((const char *)data, size);
	struct buf out, again;
	struct err e = { 0 };
	size_t head_n = 0, body = 0;

	buf_init(&out, 256 << 20);
	buf_init(&again, 256 << 20);
	assert(mail_reencode(in, MAIL_TO_7BIT, mail_sink_buf, &out, &e) == 0);
	if (mail_head_find(buf_view(&out), true, &head_n, &body) == 0 && !str_has_8bit(str_from(buf_view(&out), body))) {
		assert(mail_reencode(buf_view(&out), MAIL_TO_7BIT, mail_sink_buf, &again, &e) == 0);
		assert(str_eq(buf_view(&again), buf_view(&out)));
	}
	buf_reset(&out);
	buf_reset(&again);
	assert(mail_reencode(in, MAIL_WITHOUT_BINARY, mail_sink_buf, &out, &e) == 0);
	assert(mail_reencode(buf_view(&out), MAIL_WITHOUT_BINARY, mail_sink_buf, &again, &e) == 0);
	buf_fini(&out);
	buf_fini(&again);
	return 0;
}
