/* What a pattern requires (regex.h): sets of literals by composing small exact sets, and windows of byte classes by walking an automaton without choosing a
 * path. Both only widen: a text that the pattern matches always passes. Pure. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "spam/regex.h"

/* --- literals --- */

enum { EXACT_MAX = 64, COPIES_MAX = 4 };

struct strs { struct str *v; size_t n; };
/* Texts of which one is in every match, no further from its beginning than this. */
struct need { struct strs texts; struct rx_reach before; };
/* What is known of a node: all the texts it can match (exact), and/or texts of which one is in every match. partial: all are only the ends of what it
 * matches. */
struct info { bool exact, partial; struct need all, best; };

static size_t shortest(struct strs s)
{
	size_t min = SIZE_MAX;
	for (size_t i = 0; i < s.n; i++)
		min = s.v[i].n < min ? s.v[i].n : min;
	return s.n == 0 ? 0 : min;
}

/* Longer texts are rarer; many of them hit more often. */
static double worth(struct strs s)
{
	size_t n = shortest(s);
	return n < 2 ? 0 : (n > 8 ? 8 + (double)(n - 8) / 4 : (double)n) - log2((double)s.n) / 2;
}

static struct need better(struct need a, struct need b)
{
	return worth(b.texts) > worth(a.texts) ? b : a;
}

/* --- how far it is to somewhere --- */

static const struct rx_reach far = { .bytes = RX_FAR };

static void set_or(struct rx_set *to, const struct rx_set *s)
{
	for (unsigned k = 0; k < 4; k++)
		to->bits[k] |= s->bits[k];
}

static struct rx_reach sum(struct rx_reach a, struct rx_reach b)
{
	if (a.bytes + b.bytes >= RX_FAR)
		return far;
	a.bytes += b.bytes;
	set_or(&a.free, &b.free);
	return a;
}

/* What both can be. */
static struct rx_reach either(struct rx_reach a, struct rx_reach b)
{
	a.bytes = a.bytes > b.bytes ? a.bytes : b.bytes;
	set_or(&a.free, &b.free);
	return a;
}

static struct rx_reach times(struct rx_reach a, unsigned n)
{
	if (n == 0)
		return (struct rx_reach){ 0 };
	if ((uint64_t)a.bytes * n >= RX_FAR)
		return far;
	a.bytes *= n;
	return a;
}

static struct need moved(struct need n, struct rx_reach by)
{
	n.before = sum(n.before, by);
	return n;
}

static void all_bytes(const struct rx *x, struct rx_set *out)
{
	if (x->op == RX_SET)
		set_or(out, &x->set);
	for (const struct rx *k = x->kids; k != NULL; k = k->next)
		all_bytes(k, out);
}

/* The most that x can match. */
static struct rx_reach longest(const struct rx *x)
{
	struct rx_reach n = { 0 };
	switch (x->op) {
	case RX_SET:
		n.bytes = 1;
		return n;
	case RX_CAT:
		for (const struct rx *k = x->kids; k != NULL; k = k->next)
			n = sum(n, longest(k));
		return n;
	case RX_ALT:
		for (const struct rx *k = x->kids; k != NULL; k = k->next)
			n = either(n, longest(k));
		return n;
	case RX_REPEAT:
		if (x->max < UINT_MAX)
			return times(longest(x->kids), x->max);
		all_bytes(x->kids, &n.free);
		return (n.free.bits[0] & n.free.bits[1] & n.free.bits[2] & n.free.bits[3]) == UINT64_MAX ? far : n;
	default:
		return n;
	}
}

/* --- */

static struct strs join(struct arena *a, struct strs x, struct strs y)
{
	struct strs out = { ARENA_ARRAY(a, struct str, x.n + y.n + 1), 0 };
	for (size_t i = 0; i < x.n + y.n; i++) {
		struct str v = i < x.n ? x.v[i] : y.v[i - x.n];
		bool there = false;
		for (size_t k = 0; k < out.n && !there; k++)
			there = str_eq(out.v[k], v);
		if (!there)
			out.v[out.n++] = v;
	}
	return out;
}

static struct strs product(struct arena *a, struct strs x, struct strs y)
{
	struct strs out = { ARENA_ARRAY(a, struct str, x.n * y.n + 1), 0 };
	for (size_t i = 0; i < x.n; i++) {
		for (size_t k = 0; k < y.n; k++) {
			char *p = arena_alloc(a, x.v[i].n + y.v[k].n + 1);
			memcpy(p, x.v[i].p, x.v[i].n);
			memcpy(p + x.v[i].n, y.v[k].p, y.v[k].n);
			out.v[out.n++] = str_n(p, x.v[i].n + y.v[k].n);
		}
	}
	return out;
}

static struct info exactly(struct strs s)
{
	return (struct info){ .exact = true, .all.texts = s };
}

static struct info set_info(struct arena *a, const struct rx_set *set)
{
	struct strs s = { ARENA_ARRAY(a, struct str, 5), 0 };
	bool seen[256] = { false };
	for (unsigned c = 0; c < 256; c++) {
		if (!rx_set_has(set, (unsigned char)c))
			continue;
		const unsigned char low = rx_fold((unsigned char)c);
		if (seen[low])
			continue;
		seen[low] = true;
		if (s.n == 4)
			return (struct info){ .exact = false };
		char *p = arena_alloc(a, 2);
		p[0] = (char)low;
		s.v[s.n++] = str_n(p, 1);
	}
	return exactly(s);
}

static struct need required(struct info i)
{
	return i.exact ? better(i.best, i.all) : i.best;
}

static struct info literal_info(struct arena *a, const struct rx *x);

/* n: the most that left can match. */
static struct info cat_two(struct arena *a, struct info left, struct info right, struct rx_reach n)
{
	size_t most = 0;
	for (size_t i = 0; left.exact && i < left.all.texts.n; i++)
		most = left.all.texts.v[i].n > most ? left.all.texts.v[i].n : most;
	if (left.exact && right.exact && left.all.texts.n * right.all.texts.n <= EXACT_MAX && most < RX_LITERAL_LENGTH_MAX) {
		struct info out = exactly(product(a, left.all.texts, right.all.texts));
		out.all.before = left.all.before;
		out.best = better(left.best, moved(right.best, n));
		out.partial = left.partial;
		return out;
	}
	/* The left side is done with; the right side's texts may grow further. */
	struct info out = right;
	out.all.before = n;
	out.best = better(required(left), moved(right.best, n));
	out.partial = true;
	return out;
}

static struct info settle(struct info i)
{
	if (!i.partial)
		return i;
	return (struct info){ .exact = false, .best = required(i) };
}

/* x, repeated from its min on, after left: so often it stands there as it is, and once more before whatever follows. n: the most that left can match. */
static struct info cat_repeated(struct arena *a, struct info left, const struct rx *x, struct info kid, struct rx_reach n)
{
	struct rx rest = *x;
	rest.min = 0;
	rest.max = x->max == UINT_MAX ? UINT_MAX : x->max - 1;
	for (unsigned i = 0; i < x->min; i++)
		left = cat_two(a, left, kid, sum(n, times(longest(x->kids), i)));
	kid.best = required(left);
	kid.all.before = sum(n, longest(&rest));
	kid.partial = true;
	return kid;
}

static bool is_open(const struct rx *x)
{
	return x->op == RX_REPEAT && x->min >= 1 && x->min <= COPIES_MAX && x->max > x->min;
}

static struct info cat_info(struct arena *a, const struct rx *x)
{
	struct strs empty = { ARENA_ARRAY(a, struct str, 1), 1 };
	empty.v[0] = STR("");
	struct info out = exactly(empty);
	struct rx_reach n = { 0 };
	for (const struct rx *k = x->kids; k != NULL; k = k->next) {
		if (k->op == RX_ZERO)
			continue;
		const struct info i = literal_info(a, is_open(k) ? k->kids : k);
		if (is_open(k) && i.exact)
			out = cat_repeated(a, out, k, i, n);
		else
			out = cat_two(a, out, is_open(k) ? (struct info){ .best = i.best } : i, n);
		n = sum(n, longest(k));
	}
	return settle(out);
}

static struct info alt_info(struct arena *a, const struct rx *x)
{
	struct info out = literal_info(a, x->kids);
	for (const struct rx *k = x->kids->next; k != NULL; k = k->next) {
		struct info i = literal_info(a, k);
		if (out.exact && i.exact && out.all.texts.n + i.all.texts.n <= EXACT_MAX) {
			out = exactly(join(a, out.all.texts, i.all.texts));
			continue;
		}
		struct need l = required(out), r = required(i);
		out = (struct info){ .exact = false };
		if (shortest(l.texts) > 0 && shortest(r.texts) > 0 && l.texts.n + r.texts.n <= RX_LITERALS_MAX)
			out.best = (struct need){ join(a, l.texts, r.texts), either(l.before, r.before) };
	}
	return out;
}

static struct info repeat_info(struct arena *a, const struct rx *x)
{
	struct info kid = literal_info(a, x->kids);
	if (x->min == 0 && x->max == 1 && kid.exact && kid.all.texts.n < EXACT_MAX) {
		struct strs empty = { ARENA_ARRAY(a, struct str, 1), 1 };
		empty.v[0] = STR("");
		return exactly(join(a, kid.all.texts, empty));
	}
	if (x->min == 0)
		return (struct info){ .exact = false };
	if (x->min == x->max && x->min <= COPIES_MAX) {
		struct info out = kid;
		for (unsigned i = 1; i < x->min; i++)
			out = cat_two(a, out, kid, times(longest(x->kids), i));
		return settle(out);
	}
	return (struct info){ .exact = false, .best = required(kid) };
}

static struct info literal_info(struct arena *a, const struct rx *x)
{
	struct strs empty = { NULL, 0 };
	switch (x->op) {
	case RX_SET:
		return set_info(a, &x->set);
	case RX_CAT:
		return cat_info(a, x);
	case RX_ALT:
		return alt_info(a, x);
	case RX_REPEAT:
		return repeat_info(a, x);
	default:
		empty.v = ARENA_ARRAY(a, struct str, 1);
		empty.v[0] = STR("");
		empty.n = 1;
		return exactly(empty);
	}
}

/* Through groups that hold one thing only. */
static const struct rx *unwrapped(const struct rx *x)
{
	while ((x->op == RX_CAT || x->op == RX_ALT) && x->kids != NULL && x->kids->next == NULL)
		x = x->kids;
	return x;
}

/* Without those that begin with another of them. */
static struct strs shortened(struct strs s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		bool needed = true;
		for (size_t k = 0; k < s.n && needed; k++)
			needed = k == i || s.v[k].n > s.v[i].n || !str_starts(s.v[i], s.v[k]) || (s.v[k].n == s.v[i].n && k > i);
		if (needed)
			s.v[n++] = s.v[i];
	}
	s.n = n;
	return s;
}

size_t rx_literals(struct arena *a, const struct rx *x, struct str **out, unsigned *times_out, struct rx_reach *before_out)
{
	const struct rx *inner = unwrapped(x);
	bool repeated = inner->op == RX_REPEAT && inner->min > 1;
	struct need need = required(literal_info(a, repeated ? inner->kids : x));
	*times_out = repeated ? inner->min : 1;
	*before_out = repeated ? far : need.before;
	if (shortest(need.texts) < 3 || need.texts.n > RX_LITERALS_MAX)
		return 0;
	need.texts = shortened(need.texts);
	*out = need.texts.v;
	return need.texts.n;
}

/* --- runs --- */

bool rx_run(const struct rx *x, struct rx_run *out)
{
	const struct rx *inner = unwrapped(x);
	size_t best = RX_RUN_MIN - 1;
	for (const struct rx *k = inner->op == RX_CAT ? inner->kids : inner; k != NULL; k = inner->op == RX_CAT ? k->next : NULL) {
		const struct rx *one = k->op == RX_REPEAT ? unwrapped(k->kids) : NULL;
		if (one == NULL || one->op != RX_SET || k->min <= best)
			continue;
		best = k->min;
		*out = (struct rx_run){ one->set, best };
	}
	return best >= RX_RUN_MIN;
}

/* A byte of another class near the end of where a run might be spares all before it. */
bool rx_run_in(const struct rx_run *r, struct str text)
{
	size_t start = 0, known = 0;	/* from start to known all are of the class */
	while (text.n - start >= r->n) {
		size_t i = start + r->n;
		while (i > known && rx_set_has(&r->set, (unsigned char)text.p[i - 1]))
			i--;
		if (i <= known)
			return true;
		known = start + r->n;
		start = i;
	}
	return false;
}

/* --- windows --- */

/* How often a byte stands in mail, roughly: letters by their rank, everything else evenly. */
double rx_rarity(unsigned char c)
{
	static const unsigned short letters[26] = { 65, 12, 25, 32, 98, 18, 17, 38, 58, 2, 7, 35, 22, 55, 62, 18, 1, 52, 54, 75, 24, 9, 14, 3, 15, 2 };
	if (c >= 'a' && c <= 'z')
		return letters[c - 'a'] * 0.00075;
	if (c >= 'A' && c <= 'Z')
		return letters[c - 'A'] * 0.00006;
	return c == ' ' ? 0.16 : c >= '0' && c <= '9' ? 0.005 : c >= 0x80 ? 0.0001 : c == '.' || c == ',' || c == '-' ? 0.01 :
	       c < ' ' && c != '\n' ? 0.0002 : 0.002;
}

static double class_rarity(const struct rx_set *s)
{
	double sum = 0;
	for (unsigned c = 0; c < 256; c++)
		if (rx_set_has(s, (unsigned char)c))
			sum += rx_rarity((unsigned char)c);
	return sum > 1 ? 1 : sum;
}

static size_t walk(const struct rx_machine *m, int start, int end, struct arena *a, struct rx_set out[RX_WINDOW])
{
	size_t n = 0;
	int *now = ARENA_ARRAY(a, int, (size_t)m->n + 1), *next = ARENA_ARRAY(a, int, (size_t)m->n + 1), n_now = 0;
	unsigned *seen = ARENA_ARRAY(a, unsigned, (size_t)m->n + 1), mark = 1;
	rx_follow(m, start, seen, mark, now, &n_now);
	for (; n < RX_WINDOW; n++) {
		int n_next = 0;
		memset(&out[n], 0, sizeof(out[n]));
		mark++;
		for (int i = 0; i < n_now; i++) {
			const struct rx_state *s = &m->v[now[i]];
			if (now[i] == end)
				return n;	/* it may have ended here */
			set_or(&out[n], s->set);
			rx_follow(m, s->next, seen, mark, next, &n_next);
		}
		int *t = now;
		now = next;
		next = t;
		n_now = n_next;
	}
	return n;
}

/* The windows at the start of the list k: one, or one for each alternative when it begins with some. */
static size_t windows_at(struct rx_machine *m, const struct rx *k, struct arena *a, struct rx_window out[RX_WINDOWS_MAX], double *rarity)
{
	while (k != NULL && k->op == RX_ZERO)
		k = k->next;
	size_t n = 0, alternatives = 0;
	const struct rx *first = k == NULL ? NULL : k->op == RX_CAT ? unwrapped(k) : k;
	bool split = first != NULL && first->op == RX_ALT;
	for (const struct rx *x = split ? first->kids : NULL; x != NULL; x = x->next)
		alternatives++;
	split &= alternatives <= RX_WINDOWS_MAX;
	*rarity = 0;
	for (const struct rx *x = split ? first->kids : k; x != NULL; x = x->next) {
		m->n = 0;
		int end = rx_state_new(m, NULL, -1, -1), rest = split ? rx_build_list(m, k->next, end) : end;
		int start = rest < 0 ? -1 : split ? rx_build(m, x, rest) : rx_build_list(m, k, end);
		out[n].n = start < 0 ? 0 : walk(m, start, end, a, out[n].set);
		double one = 1;
		for (size_t i = 0; i < out[n].n; i++)
			one *= class_rarity(&out[n].set[i]);
		*rarity += out[n].n == 0 ? 1 : one;
		n++;
		if (!split)
			break;
	}
	return n;
}

size_t rx_windows(struct arena *a, const struct rx *x, struct rx_window out[RX_WINDOWS_MAX], double *rarity_out, struct rx_reach *before_out)
{
	struct arena_mark mark = arena_mark(a);
	struct rx_machine m = { ARENA_ARRAY(a, struct rx_state, RX_STATES_MAX), 0, RX_STATES_MAX, RX_WINDOW };
	struct rx_window *w = ARENA_ARRAY(a, struct rx_window, RX_WINDOWS_MAX);
	size_t best_n = 0;
	double best = 1;
	struct rx_reach before = { 0 };
	x = unwrapped(x);
	/* Any tail of a concatenation is in every match. */
	struct rx alone = *x;
	alone.next = NULL;
	const struct rx *k = x->op == RX_CAT ? x->kids : &alone;
	for (unsigned tries = 0; tries < 12 && k != NULL; tries++, before = sum(before, longest(k)), k = k->next) {
		double rarity;
		size_t n = windows_at(&m, k, a, w, &rarity);
		if (n > 0 && rarity < best) {
			best = rarity;
			best_n = n;
			*before_out = before;
			memcpy(out, w, n * sizeof(*w));
		}
	}
	arena_release(a, mark);
	*rarity_out = best;
	return best_n;
}
