/* Back-off: a message waits about as long as it is old, so tries get rarer by doubling; jitter keeps messages that failed together from returning together. */
#include "deliver/queue/retry.h"

uint64_t retry_delay(uint64_t age_s, uint64_t min_s, uint64_t max_s, uint32_t random)
{
	uint64_t d = age_s < min_s ? min_s : age_s;

	if (d > max_s)
		d = max_s;
	const uint64_t tenth = d / 10;
	return d - tenth + (tenth > 0 ? random % (2 * tenth + 1) : 0);
}

bool retry_expired(uint64_t age_s, uint64_t tries, uint64_t lifetime_s)
{
	/* lifetime 0: one try, then it is returned. */
	return lifetime_s == 0 ? tries > 0 : age_s > lifetime_s && tries >= RETRY_TRIES_MIN;
}

/* --- destinations --- */

/* "12" or "0.25"; at most six digits on either side. */
static int number(struct str s, double *out)
{
	double v = 0, unit = 1;
	bool point = false, any = false;

	if (s.n > 13)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' && !point) {
			point = true;
		} else if (ch_digit(s.p[i])) {
			any = true;
			v = v * 10 + (s.p[i] - '0');
			unit *= point ? 10 : 1;
		} else {
			return -1;
		}
	}
	*out = v / unit;
	return any ? 0 : -1;
}

int retry_feedback_parse(struct str text, struct retry_feedback *out, struct err *e)
{
	struct str rest = str_trim(text);
	const bool divided = str_chr(rest, '/') >= 0;
	const struct str amount = str_trim(str_split(&rest, '/')), below = str_trim(rest);
	struct retry_feedback f = { .form = RETRY_CONSTANT };
	double by = 1;

	if (number(amount, &f.amount) < 0)
		goto bad;
	if (divided && str_eq(below, STR("concurrency")))
		f.form = RETRY_PER_WINDOW;
	else if (divided && str_eq(below, STR("sqrt_concurrency")))
		f.form = RETRY_PER_ROOT;
	else if (divided && (number(below, &by) < 0 || by <= 0))
		goto bad;
	f.amount /= by;
	if (f.amount > 1)
		goto bad;
	*out = f;
	return 0;
bad:
	return err_set(e, ERR_CONF, 0, "\"%.*s\" is no feedback (allowed: number, number/number, number/concurrency, number/sqrt_concurrency, at most 1)", STR_ARG(text));
}

/* Good enough for a step of a window; no mathematics library for one root. */
static double root(double v)
{
	double x = v > 1 ? v / 2 : 1;

	for (int i = 0; i < 20; i++)
		x = (x + v / x) / 2;
	return x;
}

static double step_of(const struct retry_feedback *f, double window)
{
	return f->form == RETRY_PER_WINDOW ? f->amount / window : f->form == RETRY_PER_ROOT ? f->amount / root(window) : f->amount;
}

static double window_of(const struct retry_dest *d, const struct retry_rules *r)
{
	const double w = d->window > 0 ? d->window : (double)r->initial;

	return w > (double)r->limit ? (double)r->limit : w < 1 ? 1 : w;
}

static void died(struct retry_dest *d, const struct retry_rules *r, int64_t now)
{
	uint64_t wait = r->backoff_min_s;

	for (unsigned i = 0; i < d->deaths && wait < r->backoff_max_s; i++)
		wait *= 2;
	d->deaths++;
	d->dead_until = now + (int64_t)(wait < r->backoff_max_s ? wait : r->backoff_max_s);
	d->cohorts = 0;
	d->window = 1;	/* the first one after a death goes alone */
}

void retry_dest_result(struct retry_dest *d, const struct retry_rules *r, bool reached, int64_t now)
{
	const double w = window_of(d, r);

	if (reached) {
		const double wider = w + step_of(&r->positive, w);
		*d = (struct retry_dest){ .window = wider < (double)r->limit ? wider : (double)r->limit };
		return;
	}
	const double narrower = w - step_of(&r->negative, w);
	d->cohorts += 1 / w;
	d->window = narrower > 1 ? narrower : 1;
	/* Sums of fractions fall short of whole numbers by a hair. */
	if (r->cohorts > 0 && d->cohorts > (double)r->cohorts - 1e-6)
		died(d, r, now);
}

bool retry_dest_dead(const struct retry_dest *d, int64_t now)
{
	/* A clock that went back must not keep a destination dead for longer than the longest wait: the caller's messages are tried then anyway. */
	return d->dead_until > now;
}

uint64_t retry_dest_window(const struct retry_dest *d, const struct retry_rules *r)
{
	return (uint64_t)window_of(d, r);
}

bool retry_dest_blank(const struct retry_dest *d, const struct retry_rules *r)
{
	return d->deaths == 0 && d->cohorts <= 0 && window_of(d, r) <= (double)r->initial;
}
