/* SORT and THREAD: criteria, base subjects, orders, trees. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/map.h"
#include "imap/lex.h"
#include "imap/order.h"
#include "imap/thread.h"
#include "test/tap.h"

static struct arena *arena;

static void criteria(void)
{
	static const struct {
		const char *text, *want;	/* NULL: refused */
	} cases[] = {
		{ "(DATE)", "2" }, { "(reverse Date from)", "-2 3" }, { "(SUBJECT REVERSE ARRIVAL  DISPLAYTO)", "5 -0 8" }, { "()", NULL }, { "DATE", NULL },
		{ "(FOO)", NULL }, { "(ARRIVAL CC SIZE TO DISPLAYFROM RELEVANCY)", "0 1 4 6 7 9" }, { "(REVERSE)", NULL }, { "(DATE", NULL }, { "(REVERSE REVERSE DATE)", NULL },
		{ "(DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE)", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct imap_lex l = { .p = cases[i].text, .end = cases[i].text + strlen(cases[i].text), .arena = arena };
		struct imap_sort_criterion by[IMAP_SORT_KEYS_MAX];
		char got[200] = "";
		size_t n;
		const int r = imap_get_sort(&l, by, &n, NULL);

		for (size_t k = 0; r == 0 && k < n; k++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s%d", k ? " " : "", by[k].reverse ? "-" : "", (int)by[k].by);
		tap_ok(cases[i].want ? r == 0 && strcmp(got, cases[i].want) == 0 : r < 0, "criteria %s: %s", cases[i].text, got);
	}
}

static void base_subjects(void)
{
	static const struct {
		const char *subject, *base;
		bool reply;
	} cases[] = {
		{ "hello", "hello", false }, { "Re: hello", "hello", true }, { "RE: re: Fwd: FW: hello", "hello", true }, { "  Re:hello  ", "hello", true },
		{ "Re[2]: hello", "hello", true }, { "Re [2] : hello", "hello", true }, { "[list] hello", "hello", false },
		{ "[list] Re: [other] hello", "hello", true }, { "[list]", "[list]", false }, { "[a][b]", "[b]", false }, { "hello (fwd) (FWD) ", "hello", true },
		{ "[fwd: hello]", "hello", true }, { "[Fwd: Re: [x] hello (fwd)]", "hello", true }, { "[fwd: hello", "[fwd: hello", false },
		{ "Re:", "", true }, { "", "", false }, { "a\r\n\tb   c", "a b c", false }, { "Reply: x", "Reply: x", false }, { "re hello", "re hello", false },
		{ "[fwd:]", "", true }, { "fwd [x]: y", "y", true }, { "[[a] b", "[[a] b", false }, { "Re: [fwd: Re: deep]", "deep", true },
	};
	struct buf b;

	buf_init(&b, 10000);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_reset(&b);
		const bool reply = imap_base_subject(str_c(cases[i].subject), &b);

		tap_ok(str_eq(buf_view(&b), str_c(cases[i].base)) && reply == cases[i].reply, "base subject %zu: %.*s", i, STR_ARG(buf_view(&b)));
	}
	/* Time grows with the square of 4000 at most. */
	struct buf big;

	buf_init(&big, 1 << 21);
	for (int i = 0; i < 1 << 19; i++)
		buf_c(&big, "[a]");
	buf_reset(&b);
	(void)imap_base_subject(buf_view(&big), &b);
	tap_ok(b.n <= IMAP_SUBJECT_MAX, "a long subject is cut");
	buf_fini(&big);
	buf_fini(&b);
}

static void sorting(void)
{
	static const struct imap_sort_criterion by[] = { { IMAP_SORT_SUBJECT, false }, { IMAP_SORT_DATE, true } };
	static const struct {
		const char *text;
		int64_t date;
	} rows[] = { { "b", 1 }, { "a", 1 }, { "b", 3 }, { "", 9 }, { "b", 1 }, { "ab", -5 }, { "a", 7 } };
	static const char want[] = "3 6 1 5 2 0 4";

	for (size_t n = 0; n <= ARRAY_LEN(rows); n++) {
		for (size_t piece = 1; piece < 20; piece += 6) {
			union imap_sort_value v[2 * ARRAY_LEN(rows)];
			char got[100] = "";

			for (size_t i = 0; i < n; i++) {
				v[2 * i].text = str_c(rows[i].text);
				v[2 * i + 1].number = rows[i].date;
			}
			struct imap_sort s = { .by = by, .n_by = 2, .values = v, .n = n };

			if (imap_sort_begin(&s, arena, NULL) < 0)
				break;
			while (!imap_sort_step(&s, piece))
				;
			for (size_t i = 0; i < n; i++)
				snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%u", i ? " " : "", s.order[i]);
			if (n == ARRAY_LEN(rows))
				tap_is_str(got, want, "sorted, %zu comparisons at a time", piece);
			else
				tap_ok(strlen(got) == (n ? 2 * n - 1 : 0), "%zu rows", n);
		}
	}
}

static struct str random_text(void)
{
	static const char *const parts[] = { "", "a", "b", "aaaaaaaa", "aaaaaaab", "\xc3\xa4", "zz" };
	struct buf b;

	buf_init(&b, 100);
	for (uint64_t k = random_u64() % 4; k > 0; k--)
		buf_c(&b, parts[random_u64() % ARRAY_LEN(parts)]);
	if (random_u64() % 8 == 0)
		buf_ch(&b, '\0');
	const struct str s = arena_str(arena, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* Is the order what the comparison says, equal rows by their index, and each row in it once? */
static bool is_sorted(const struct imap_sort *s)
{
	char *seen = xzalloc(s->n + 1);
	bool right = true;

	for (size_t i = 0; i < s->n; i++) {
		right &= s->order[i] < s->n && !seen[s->order[i]];
		seen[s->order[i] < s->n ? s->order[i] : 0] = 1;
		if (i == 0 || !right)
			continue;
		const uint32_t a = s->order[i - 1], b = s->order[i];
		const int r = imap_sort_cmp(s->by, s->n_by, &s->values[a * s->n_by], &s->values[b * s->n_by]);
		right &= r < 0 || (r == 0 && a < b);
	}
	free(seen);
	return right;
}

static void sorting_at_random(void)
{
	static const enum imap_sort_by kinds[] = { IMAP_SORT_SUBJECT, IMAP_SORT_DATE, IMAP_SORT_FROM, IMAP_SORT_SIZE };

	for (unsigned round = 0; round < 200; round++) {
		const struct arena_mark mark = arena_mark(arena);
		struct imap_sort_criterion by[3];
		const size_t n_by = 1 + random_u64() % ARRAY_LEN(by), n = random_u64() % (round % 10 == 0 ? 3000 : 60), piece = 1 + random_u64() % 500;
		union imap_sort_value *v = ARENA_ARRAY(arena, union imap_sort_value, n * n_by + 1);
		const int64_t span = random_u64() % 2 ? 5 : INT64_MAX;

		for (size_t k = 0; k < n_by; k++)
			by[k] = (struct imap_sort_criterion){ kinds[random_u64() % ARRAY_LEN(kinds)], random_u64() % 2 };
		for (size_t i = 0; i < n * n_by; i++) {
			if (imap_sort_is_text(by[i % n_by].by))
				v[i].text = random_text();
			else
				v[i].number = (int64_t)(random_u64() % (uint64_t)span) * (random_u64() % 2 ? 1 : -1);
		}
		struct imap_sort s = { .by = by, .n_by = n_by, .values = v, .n = n };
		const int begun = imap_sort_begin(&s, arena, NULL);

		while (begun == 0 && !imap_sort_step(&s, piece))
			;
		tap_ok(begun == 0 && is_sorted(&s), "%zu rows by %zu values, %zu at a time", n, n_by, piece);
		arena_release(arena, mark);
	}
}

/* No step takes longer than its work, whatever the number of rows; nothing is done before the first. */
static void sorting_in_pieces(void)
{
	enum { N = 20000, PIECE = 100 };
	static const struct imap_sort_criterion by = { .by = IMAP_SORT_DATE };
	const struct arena_mark mark = arena_mark(arena);
	union imap_sort_value *v = ARENA_ARRAY(arena, union imap_sort_value, N);
	struct imap_sort s = { .by = &by, .n_by = 1, .values = v, .n = N };
	unsigned steps = 1;
	const int begun = imap_sort_begin(&s, arena, NULL);

	for (unsigned i = 0; i < N; i++)
		v[i].number = (int64_t)(random_u64() % 60000);
	while (begun == 0 && !imap_sort_step(&s, PIECE))
		steps++;
	/* Each row is looked at, counted, moved by two bytes, and taken. */
	tap_ok(begun == 0 && is_sorted(&s) && steps >= 5 * N / PIECE, "%u steps of %u for %u rows", steps, PIECE, N);
	arena_release(arena, mark);
}

/* --- rows by numbers --- */

struct numbers {
	const int64_t *v;
	size_t n_by;
	unsigned lie;	/* one of so many answers is another each time; 0: none */
	uint32_t step;	/* between two rows */
};

static int64_t number_of(const void *ctx, uint32_t row, size_t k)
{
	const struct numbers *const x = ctx;

	return x->lie && random_u64() % x->lie == 0 ? (int64_t)random_u64() : x->v[row / x->step * x->n_by + k];
}

static int compare(const struct imap_order *o, const struct numbers *x, uint32_t a, uint32_t b)
{
	for (size_t k = 0; k < o->n_by; k++) {
		const int64_t p = x->v[a / x->step * o->n_by + k], q = x->v[b / x->step * o->n_by + k];

		if (p != q)
			return (p < q) != o->by[k].reverse ? -1 : 1;
	}
	return a < b ? -1 : 1;
}

static bool has_each_row(const struct imap_order *o, uint32_t step)
{
	char *seen = xzalloc(o->n + 1);
	bool right = true;

	for (size_t i = 0; i < o->n; i++) {
		const uint32_t row = imap_order_row(o, i), k = row / step;

		right &= row % step == 0 && k < o->n && !seen[k];
		seen[k < o->n ? k : 0] = 1;
	}
	free(seen);
	return right;
}

static bool is_ordered(const struct imap_order *o, const struct numbers *x)
{
	bool right = has_each_row(o, x->step);

	for (size_t i = 1; right && i < o->n; i++)
		right = compare(o, x, imap_order_row(o, i - 1), imap_order_row(o, i)) < 0;
	return right;
}

/* In all, in less than 32 bits, or near the ends of what there is. */
static int64_t random_number(unsigned kind)
{
	switch (kind) {
	case 0:
		return (int64_t)(random_u64() % 5);
	case 1:
		return 1600000000 + (int64_t)(random_u64() % 100000000);
	case 2:
		return (int64_t)random_u64();
	default:
		return random_u64() % 2 ? INT64_MIN + (int64_t)(random_u64() % 2) : INT64_MAX - (int64_t)(random_u64() % 2);
	}
}

static void rows_by_numbers(void)
{
	struct imap_order o = { 0 };

	for (unsigned round = 0; round < 200; round++) {
		struct imap_sort_criterion by[3] = { 0 };
		const size_t n_by = 1 + random_u64() % ARRAY_LEN(by), n = random_u64() % (round % 10 == 0 ? 3000 : 60), piece = 1 + random_u64() % 500;
		int64_t *const v = xmalloc((n * n_by + 1) * sizeof(*v));
		const struct numbers x = { .v = v, .n_by = n_by, .lie = round % 4 == 3 ? 10 : 0, .step = 1 + round % 3 };

		for (size_t k = 0; k < n_by; k++) {
			const unsigned kind = (unsigned)(random_u64() % 4);

			by[k].reverse = random_u64() % 2;
			for (size_t i = 0; i < n; i++)
				v[i * n_by + k] = random_number(kind);
		}
		o.by = by;
		o.n_by = n_by;
		o.number = number_of;
		o.ctx = &x;
		o.n = n;
		if (imap_order_begin(&o, arena, NULL) < 0)
			break;
		for (uint32_t i = 0; x.step > 1 && i < n; i++)
			imap_order_give(&o, i, i * x.step);
		while (!imap_order_step(&o, piece))
			;
		tap_ok(x.lie ? has_each_row(&o, x.step) : is_ordered(&o, &x), "%zu rows by %zu numbers%s, %zu at a time", n, n_by, x.lie ? " that change" : "", piece);
		free(v);
	}
}

/* No step takes longer than its work; nothing is done before the first. */
static void rows_in_pieces(void)
{
	enum { N = 20000, PIECE = 100 };
	static const struct imap_sort_criterion by = { .by = IMAP_SORT_DATE };
	const struct arena_mark mark = arena_mark(arena);
	int64_t *const v = ARENA_ARRAY(arena, int64_t, N);
	const struct numbers x = { .v = v, .n_by = 1, .step = 1 };
	struct imap_order o = { .by = &by, .n_by = 1, .number = number_of, .ctx = &x, .n = N };
	unsigned steps = 1;
	const int begun = imap_order_begin(&o, arena, NULL);

	for (unsigned i = 0; i < N; i++)
		v[i] = (int64_t)(random_u64() % 60000);
	while (begun == 0 && !imap_order_step(&o, PIECE))
		steps++;
	/* Each row is looked at, and moved by two bytes. */
	tap_ok(begun == 0 && is_ordered(&o, &x) && steps >= 3 * N / PIECE, "%u steps of %u for %u rows", steps, PIECE, N);
	arena_release(arena, mark);
}

/* "number date id refs… subject" */
struct mail {
	int64_t date;
	const char *id, *refs, *subject;
};

static uint64_t id_of(struct str text)
{
	uint64_t h = 1;

	for (size_t i = 0; i < text.n; i++)
		h = h * 257 + (unsigned char)text.p[i];
	return text.n ? h : 0;
}

/* Messages as numbers. */
struct numbered {
	uint32_t id, refs[50], subject;
	size_t n_refs;
	bool reply;
};

static void number_mail(const struct mail *m, size_t n, struct ids *ids, struct map *subjects, struct numbered *out)
{
	for (size_t i = 0; i < n; i++) {
		struct str one, rest = str_c(m[i].refs);
		struct buf base;

		out[i].id = m[i].id[0] ? ids_number(ids, id_of(str_c(m[i].id))) : 0;
		while (out[i].n_refs < 50 && str_token(&rest, " ", &one))
			out[i].refs[out[i].n_refs++] = ids_number(ids, id_of(one));
		buf_init(&base, 1000);
		out[i].reply = imap_base_subject(str_c(m[i].subject), &base);
		if (base.n && !map_get(subjects, buf_view(&base)))
			(void)map_set(subjects, buf_view(&base), (void *)(uintptr_t)(map_count(subjects) + 1));
		out[i].subject = base.n ? (uint32_t)(uintptr_t)map_get(subjects, buf_view(&base)) : 0;
		buf_fini(&base);
	}
}

static char *threads(enum imap_thread_alg alg, const struct mail *m, size_t n, size_t piece)
{
	struct numbered *const v = calloc(n + 1, sizeof(*v));
	struct map *subjects = map_new();
	struct imap_thread *t;
	struct ids ids;
	static struct buf out;

	buf_fini(&out);
	buf_init(&out, 1 << 24);
	ids_init(&ids, 0);
	number_mail(m, n, &ids, subjects, v);
	t = imap_thread_new(arena, alg, n, ids.n, (uint32_t)map_count(subjects));
	for (size_t i = 0; i < n; i++) {
		const struct imap_thread_msg msg = { .number = (uint32_t)i + 1, .date = m[i].date, .id = v[i].id, .refs = v[i].refs, .n_refs = v[i].n_refs,
			.subject = v[i].subject, .reply = v[i].reply };

		if (imap_thread_add(t, &msg, NULL) < 0)
			break;
	}
	while (!imap_thread_step(t, piece))
		;
	while (!imap_thread_put(t, &out, piece))
		;
	imap_thread_free(&t);
	ids_fini(&ids);
	map_free(&subjects);
	free(v);
	return out.p;
}

static void thread(const char *name, enum imap_thread_alg alg, const struct mail *m, size_t n, const char *want)
{
	tap_is_str(threads(alg, m, n, 1), want, "%s", name);
	tap_is_str(threads(alg, m, n, 1000), want, "%s, at once", name);
}

static void threading(void)
{
	static const struct mail chain[] = { { 1, "a", "", "x" }, { 2, "b", "a", "Re: x" }, { 3, "c", "a b", "Re: x" }, { 4, "d", "a", "Re: x" } };
	thread("a chain and a branch", IMAP_THREAD_REFERENCES, chain, 4, " (1 (2 3)(4))");
	thread("the same by REFS", IMAP_THREAD_REFS, chain, 4, " (1 (2 3)(4))");
	thread("the same by subject", IMAP_THREAD_ORDEREDSUBJECT, chain, 4, " (1 (2)(3)(4))");

	static const struct mail dummy[] = { { 5, "b", "a", "x" }, { 3, "c", "a", "y" }, { 1, "z", "", "z" } };
	thread("one that is not here", IMAP_THREAD_REFERENCES, dummy, 3, " (3)((2)(1))");
	static const struct mail lone[] = { { 5, "b", "a q", "x" }, { 6, "c", "n1 n2 b", "y" } };
	thread("one child takes its place", IMAP_THREAD_REFERENCES, lone, 2, " (1 2)");

	static const struct mail loop[] = { { 1, "a", "b", "x" }, { 2, "b", "a", "y" }, { 3, "c", "c", "z" }, { 4, "d", "e f d", "w" } };
	thread("loops are cut", IMAP_THREAD_REFERENCES, loop, 4, " (2 1)(3)(4)");

	static const struct mail same[] = { { 1, "a", "", "x" }, { 2, "a", "", "y" }, { 3, "b", "a", "z" } };
	thread("one id twice", IMAP_THREAD_REFERENCES, same, 3, " (1 3)(2)");

	/* step 5 */
	static const struct mail subjects[] = { { 1, "a", "", "hello" }, { 2, "b", "", "Re: hello" }, { 3, "c", "", "other" }, { 4, "d", "", "hello" } };
	thread("a reply goes below, equals side by side", IMAP_THREAD_REFERENCES, subjects, 4, " ((1 2)(4))(3)");
	thread("REFS does not look at subjects", IMAP_THREAD_REFS, subjects, 4, " (1)(2)(3)(4)");
	thread("by subject", IMAP_THREAD_ORDEREDSUBJECT, subjects, 4, " (1 (2)(4))(3)");
	static const struct mail replies[] = { { 1, "a", "", "Re: hello" }, { 2, "b", "", "Re: hello" }, { 3, "c", "", "" }, { 4, "d", "", "" } };
	thread("two replies are equals; no subject, no thread", IMAP_THREAD_REFERENCES, replies, 4, " ((1)(2))(3)(4)");
	static const struct mail both[] = { { 1, "a", "p", "x" }, { 2, "b", "p", "x" }, { 3, "c", "q", "x" }, { 4, "d", "q", "x" }, { 5, "e", "", "Re: x" } };
	thread("what is not here holds all", IMAP_THREAD_REFERENCES, both, 5, " ((1)(2)(3)(4)(5))");

	/* order */
	static const struct mail order[] = { { 9, "a", "", "x" }, { 1, "b", "", "y" }, { 9, "c", "b", "y" }, { 5, "d", "b", "y" }, { 10, "e", "b", "y" } };
	thread("by date, then by number", IMAP_THREAD_REFERENCES, order, 5, " (2 (4)(3)(5))(1)");
	thread("REFS: the youngest message decides", IMAP_THREAD_REFS, order, 5, " (1)(2 (4)(3)(5))");
	thread("nothing", IMAP_THREAD_REFERENCES, order, 0, "");
	tap_is_str(imap_thread_names[IMAP_THREAD_ORDEREDSUBJECT], "ORDEREDSUBJECT", "names");
}

/* A long chain and a broad tree in good time, and without recursion. */
static void large(void)
{
	enum { N = 20000 };
	struct mail *m = calloc(N, sizeof(*m));
	static char ids[N][12];

	for (size_t i = 0; i < N; i++) {
		snprintf(ids[i], sizeof(ids[i]), "i%zu", i);
		m[i] = (struct mail){ (int64_t)i, ids[i], i ? ids[i - 1] : "", "x" };
	}
	const char *got = threads(IMAP_THREAD_REFERENCES, m, N, 1000);

	tap_ok(strncmp(got, " (1 2 3 4 ", 10) == 0 && strchr(got + 2, '(') == NULL, "a chain of 20000");
	for (size_t i = 0; i < N; i++)
		m[i] = (struct mail){ (int64_t)(N - i), ids[N - 1 - i], i + 1 < N ? ids[N - 2 - i] : "", "x" };
	got = threads(IMAP_THREAD_REFS, m, N, 1000);
	tap_ok(strncmp(got, " (20000 19999 ", 14) == 0, "the same backwards");
	for (size_t i = 1; i < N; i++)
		m[i] = (struct mail){ 5, ids[i], ids[0], "x" };
	got = threads(IMAP_THREAD_REFERENCES, m, N, 1000);
	tap_ok(strncmp(got, " ((2)(3)(4)", 11) == 0, "20000 answers to one");
	free(m);
}

int main(void)
{
	arena = arena_new(0);
	criteria();
	base_subjects();
	sorting();
	sorting_at_random();
	sorting_in_pieces();
	rows_by_numbers();
	rows_in_pieces();
	threading();
	large();
	arena_free(&arena);
	return tap_done();
}
