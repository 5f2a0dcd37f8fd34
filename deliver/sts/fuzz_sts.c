/* Any bytes as a TXT record, as a policy, and as the answer of a web server. */
#include <assert.h>
#include <stdint.h>

#include "deliver/sts/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_policy(struct str in)
{
	struct sts_policy p, again;
	struct err e = { 0 };
	struct buf b;

	if (sts_policy_parse(in, &p, &e) < 0)
		return;
	assert(p.n_mx <= STS_MX_MAX && p.max_age_s <= STS_AGE_MAX_S && (p.mode == STS_NONE || p.n_mx > 0));
	buf_init(&b, 65536);
	sts_policy_format(&p, &b);
	assert(sts_policy_parse(buf_view(&b), &again, &e) == 0 && again.mode == p.mode && again.n_mx == p.n_mx && again.max_age_s == p.max_age_s);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct err e = { 0 };
	struct buf body;
	struct str id;

	if (sts_txt_parse(in, &id, &e) == 0)
		assert(id.n >= 1 && id.n <= STS_ID_MAX && id.p >= in.p && id.p + id.n <= in.p + in.n);
	as_policy(in);
	buf_init(&body, STS_BODY_MAX + 1);
	if (sts_http_parse(in, false, &body, &e) == 0)
		assert(body.n <= STS_BODY_MAX && !body.failed);
	assert(sts_http_parse(in, true, &body, &e) != 1);
	buf_fini(&body);
	return 0;
}
