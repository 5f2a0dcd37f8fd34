/* First byte chooses the parser: fields, addresses, dates, encoded words, parameters, edits. */
#include <stddef.h>
#include <stdint.h>

#include "base/enc.h"
#include "mail/edit.h"
#include "mail/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void edits(struct str in)
{
	struct str edit = str_split(&in, '\0'), list[2] = { edit, edit };
	struct buf out;
	struct err e;
	buf_init(&out, 1 << 20);
	if (mail_edit_apply(in.p == NULL ? STR("") : in, list, 2, &out, &e) < 0)
		err_clear(&e);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct arena *a = arena_new(0);
	struct str in = str_n(data + 1, size - 1), token;
	struct mail_addr *addrs;
	struct mail_param *params;
	struct mail_field f;
	struct err e;
	struct buf out;
	int64_t when;
	int zone;
	buf_init(&out, 1 << 20);
	switch (data[0] % 6) {
	case 0:
		while (mail_field_next(&in, &f) == 0)
			mail_unfold(a, f.value);
		break;
	case 1:
		if (mail_addr_parse(a, in, &addrs, &e) < 0)
			err_clear(&e);
		break;
	case 2:
		if (mail_date_parse(in, &when, &zone) == 0)
			mail_date_format(when, zone, &out);
		break;
	case 3:
		mail_words_decode(in, &out);
		break;
	case 4:
		if (mail_params_parse(a, in, &token, &params) < 0)
			params = NULL;
		break;
	default:
		edits(in);
	}
	buf_fini(&out);
	arena_free(&a);
	return 0;
}
