/* Any bytes as zone, message and results: an outcome with few questions, and a field that is one header field whatever the names are. */
#include <assert.h>

#include "authres/results.h"
#include "mail/edit.h"
#include "test_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str rest = str_n(data, size > 8192 ? 8192 : size);
	const struct str name = str_split(&rest, '\n'), sender = str_split(&rest, '\n');
	const ptrdiff_t cut = str_find(rest, STR("\n====\n"));
	struct zone z = { .text = str_sub(rest, 0, cut < 0 ? 0 : (size_t)cut) };
	const struct auth_dns dns = { zone_ask, &z };
	const struct spf_result spf = { .result = AUTH_PASS, .domain = name };
	const struct dkim_result dkim = { .result = AUTH_FAIL, .domain = name, .selector = sender, .algorithm = name, .b = sender, .why = "why" };
	const struct dmarc_query q = { .message = cut < 0 ? rest : str_from(rest, (size_t)cut + 6), .spf = &spf, .dkim = &dkim, .n_dkim = 1 };
	const struct dmarc_result r = dmarc_check(a, &dns, &q);
	struct buf b;
	struct err e = { 0 };
	assert(z.asked <= 2 * DMARC_FROMS_MAX && (r.policy == DMARC_NOTHING || r.result == AUTH_FAIL));
	buf_init(&b, 20000);
	buf_c(&b, "+Authentication-Results: ");
	const struct authres all = { "mx.test", sender, &spf, &dkim, 1, NULL, &r };
	authres_format(&b, &all);
	assert(!buf_failed(&b) && mail_edit_check(buf_view(&b), &e) == 0);
	buf_fini(&b);
	arena_free(&a);
	return 0;
}
