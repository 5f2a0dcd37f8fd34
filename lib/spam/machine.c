/* A pattern's automaton (regex.h): states that take one byte of a set, and empty moves. It matches whatever the pattern does, and more: assertions are left out,
 * and a repetition beyond `copies` has no upper end. */
#include "spam/regex.h"

int rx_state_new(struct rx_machine *m, const struct rx_set *set, int next, int next2)
{
	if (m->n >= m->max)
		return -1;
	m->v[m->n] = (struct rx_state){ set, next, next2 };
	return m->n++;
}

int rx_build_list(struct rx_machine *m, const struct rx *k, int after)
{
	if (k == NULL)
		return after;
	int rest = rx_build_list(m, k->next, after);
	return rest < 0 ? -1 : rx_build(m, k, rest);
}

/* x as often as it likes: wide enough for any upper end. */
static int build_loop(struct rx_machine *m, const struct rx *x, int after)
{
	const int loop = rx_state_new(m, NULL, after, -1);
	const int body = loop < 0 ? -1 : rx_build(m, x, loop);
	if (body < 0)
		return -1;
	m->v[loop].next2 = body;
	return loop;
}

static int build_optional(struct rx_machine *m, const struct rx *x, int after)
{
	const int body = rx_build(m, x, after);
	return body < 0 ? -1 : rx_state_new(m, NULL, after, body);
}

static int build_repeat(struct rx_machine *m, const struct rx *x, int after)
{
	const unsigned copies = x->min > m->copies ? m->copies : x->min;
	int s = after;
	if (x->min == 0 && x->max == 1)
		return build_optional(m, x->kids, after);
	if (x->max > copies)
		s = build_loop(m, x->kids, after);
	for (unsigned i = 0; i < copies && s >= 0; i++)
		s = rx_build(m, x->kids, s);
	return s;
}

int rx_build(struct rx_machine *m, const struct rx *x, int after)
{
	if (after < 0)
		return -1;
	int s = -1;
	switch (x->op) {
	case RX_SET:
		return rx_state_new(m, &x->set, after, -1);
	case RX_CAT:
		return rx_build_list(m, x->kids, after);
	case RX_ALT:
		for (const struct rx *k = x->kids; k != NULL; k = k->next) {
			int one = rx_build(m, k, after);
			s = one < 0 ? -1 : s < 0 ? one : rx_state_new(m, NULL, one, s);
			if (s < 0)
				return -1;
		}
		return s;
	case RX_REPEAT:
		return build_repeat(m, x, after);
	default:
		return after;
	}
}

void rx_follow(const struct rx_machine *m, int s, unsigned *seen, unsigned mark, int *list, int *n)
{
	while (s >= 0 && seen[s] != mark) {
		seen[s] = mark;
		if (m->v[s].set != NULL || m->v[s].next < 0) {
			list[(*n)++] = s;
			return;
		}
		if (m->v[s].next2 >= 0)
			rx_follow(m, m->v[s].next2, seen, mark, list, n);
		s = m->v[s].next;
	}
}
