/* The verdicts on one message, collected as they come (filter.h). */
#include "ipc/filter.h"

bool filter_outcome_has(const struct ipc_filter_VERDICT *v, size_t i)
{
	return v->whose.n == 0 || (i / 8 < v->whose.n && ((unsigned char)v->whose.p[i / 8] >> i % 8 & 1) != 0);
}

/* Somebody who is in none would be forgotten, in two he would get it twice. */
static int check(const struct filter_outcomes *o, size_t recipients, struct err *e)
{
	for (size_t i = 0; i < recipients; i++) {
		size_t n = 0;
		for (size_t k = 0; k < o->n; k++)
			n += filter_outcome_has(o->v[k], i);
		if (n != 1)
			return err_set(e, ERR_INPUT, 0, "a recipient has %zu verdicts", n);
	}
	return 0;
}

int filter_outcomes_add(struct filter_outcomes *o, struct arena *a, size_t recipients, const struct ipc_filter_VERDICT *v, struct err *e)
{
	const bool alone = o->n == 0 && !v->more;
	if (o->n == FILTER_OUTCOMES_MAX || (alone ? v->whose.n > 0 : v->whose.n == 0))
		return err_set(e, ERR_INPUT, 0, "a verdict too many, or nobody's");
	o->v[o->n] = alone ? v : ipc_copy(&ipc_filter, IPC_filter_VERDICT, v, a);
	if (o->v[o->n++] == NULL)
		return err_set(e, ERR_LIMIT, 0, "verdicts are too long");
	if (v->more)
		return 1;
	return alone ? 0 : check(o, recipients, e);
}
