/* Where the time of a check goes (SPAM_WANT_COSTS): the processor time of each rule without that of the rules it asked for, and of the texts that all of them look
 * at, which are made first so that no rule pays for them. */
#include <stdlib.h>
#include <time.h>

#include "spam/bayes.h"
#include "spam/eval.h"

static uint64_t now_ns(void)
{
	struct timespec t = { 0 };
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct cost_mark cost_begin(struct msg *m)
{
	const struct cost_mark mark = { now_ns(), m->costs->inner };
	m->costs->inner = 0;
	return mark;
}

static uint64_t cost_end(struct msg *m, struct cost_mark mark)
{
	const uint64_t all = now_ns() - mark.start, own = all - m->costs->inner;
	m->costs->inner = mark.outer + all;
	return own;
}

void cost_of_rule(struct msg *m, const struct rule *r, struct cost_mark mark)
{
	m->costs->rules[r->index] += cost_end(m, mark);
}

static void prefilters(struct msg *m)
{
	run_prefilters(m);
}

static void bayes(struct msg *m)
{
	m->bayes = bayes_score(m);
}

static void bodies(struct msg *m)
{
	msg_body_lines(m);
}

static void pieces(struct msg *m)
{
	msg_raw_pieces(m);
}

static void links(struct msg *m)
{
	msg_uri_list(m);
}

static const struct {
	const char *name;
	void (*make)(struct msg *m);
} texts[] = {
	{ "(parts)", msg_parts }, { "(relays)", msg_relays }, { "(rendered text)", bodies }, { "(decoded text)", pieces }, { "(links)", links },
	{ "(learned words)", bayes }, { "(prefilters)", prefilters },
};

void costs_new(struct msg *m)
{
	m->costs = ARENA_NEW(m->a, struct costs);
	m->costs->rules = ARENA_ARRAY(m->a, uint64_t, m->s->n + 1);
	m->costs->texts = ARENA_ARRAY(m->a, uint64_t, ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const struct cost_mark mark = cost_begin(m);
		texts[i].make(m);
		m->costs->texts[i] = cost_end(m, mark);
	}
}

static int by_cost(const void *a, const void *b)
{
	const uint64_t x = ((const struct spam_cost *)a)->ns, y = ((const struct spam_cost *)b)->ns;
	return x < y ? 1 : x > y ? -1 : 0;
}

void costs_collect(struct msg *m, struct spam_result *out)
{
	out->costs = ARENA_ARRAY(m->a, struct spam_cost, m->s->n + ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		out->costs[out->n_costs++] = (struct spam_cost){ str_c(texts[i].name), m->costs->texts[i] };
	for (size_t i = 0; i < m->s->n; i++)
		if (m->costs->rules[i] > 0)
			out->costs[out->n_costs++] = (struct spam_cost){ m->s->rules[i]->name, m->costs->rules[i] };
	qsort(out->costs, out->n_costs, sizeof(*out->costs), by_cost);
}
