/* Any bytes as the right side of an access table or the answer of a policy service: parsed or refused; what is parsed has what its action needs; and an evaluation with
 * it ends. */
#include <assert.h>

#include "deliver/restrict/access.h"
#include "deliver/restrict/restrict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str value;

static const struct fact *answer(void *ctx, const struct fact_key *k)
{
	static const struct fact none = { .state = FACT_NONE };
	static struct fact has = { .state = FACT_HAS, .v = &value, .n = 1 };

	return k->kind == FACT_MAP ? &has : &none;
}

static void evaluate(void)
{
	static struct restrict_set *set;
	static struct conf *conf;
	static struct arena *kept;
	const struct fact_source src = { answer, NULL };
	const struct restrict_facts f = { .client = STR("192.0.2.1"), .sender = STR("a@b.test"), .recipient = STR("c@d.test"), .class = STR("local"), .helo = STR("b.test") };
	struct arena *a = arena_new(0);
	struct restrict_answer out;
	struct err e = { 0 };

	if (set == NULL) {
		kept = arena_new(0);
		const int r = conf_parse(STR("smtpd_sender_restrictions = check_sender_access static:x\nsmtpd_restriction_classes = again\n"
					     "again = check_sender_access static:x, again\n"),
					 "x", &conf, NULL, &e);
		assert(r == 0 && restrict_compile(conf, kept, &set, &e) == 0);
	}
	restrict_evaluate(set, RESTRICT_RCPT, &f, &src, a, &out);
	assert(out.result != RESTRICT_WAIT && (out.result != RESTRICT_REFUSED || (out.code >= 400 && out.code < 600 && out.text.n <= RESTRICT_TEXT_MAX)));
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct access_action act;
	struct err e = { 0 };

	if (size > 4096)
		return 0;
	value = str_n(data, size);
	if (access_parse(value, 450, 554, &act, &e) == 0) {
		assert(act.kind != ACCESS_REFUSE || (act.code >= 400 && act.code < 600));
		assert((act.kind != ACCESS_BCC && act.kind != ACCESS_REDIRECT && act.kind != ACCESS_PREPEND) || act.text.n > 0);
	}
	evaluate();
	return 0;
}
