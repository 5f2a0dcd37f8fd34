/* "pattern\nflags\ntext": when PCRE2 finds the pattern in the text, the prefilter had reported it for that place and the gate was open. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "map/pcre.h"
#include "spam/gate.h"
#include "spam/prefilter.h"
#include "spam/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct where { bool may; size_t from, to; const struct prefilter *f; struct str text; };

static void on_hit(void *ctx, unsigned number, size_t at)
{
	struct where *w = ctx;
	size_t from = at, to = at;
	if (!prefilter_place(w->f, number, w->text, 0, &from, &to))
		return;
	w->from = !w->may || from < w->from ? from : w->from;
	w->to = !w->may || to > w->to ? to : w->to;
	w->may = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size }, pattern = str_split(&text, '\n'), letters = text.p == NULL ? STR("") : str_split(&text, '\n');
	char flags[8] = "";
	struct pcre *code;
	struct err e = { 0 };
	size_t n = 0;
	for (size_t i = 0; i < letters.n && n + 1 < sizeof(flags); i++)
		if (strchr("imsx", letters.p[i]) != NULL && strchr(flags, letters.p[i]) == NULL)
			flags[n++] = letters.p[i];
	if (text.p == NULL || pattern.n > 400 || text.n > 4000 || pcre_compile(pattern, flags, false, &code, &e) < 0)
		return 0;
	struct arena *a = arena_new(0);
	struct prefilter *f = prefilter_new(a);
	prefilter_add(f, pattern, flags);
	prefilter_finish(f);
	struct buf folded;
	struct where w = { .f = f, .text = text };
	buf_init(&folded, 10000);
	prefilter_fold(text, &folded);
	prefilter_scan(f, text, folded.n == 0 ? STR("") : buf_view(&folded), on_hit, &w);
	struct gates *gates = gates_new();
	struct gate *g = gate_new(gates, pattern, flags);
	size_t start, end;
	const struct str texts[] = { text, text, STR(""), text, str_from(text, w.from), text };
	bool may[ARRAY_LEN(texts)] = { true, true, true, true, true, true };
	if (g != NULL)
		gate_each(g, texts, ARRAY_LEN(texts), may);
	const bool open = g == NULL || gate_may(g, str_from(text, w.from)), found = pcre_find(code, text, 0, SIZE_MAX, &start, &end, &e) == 1;
	if (found && !prefilter_always(f, 0))
		assert(w.may && start >= w.from && start <= w.to);
	assert(open || !found);
	size_t from = 0, to = 0, s2 = 0;
	bool there = false;
	const bool tells = g != NULL;
	for (; tells && !there && gate_next(g, text, &from, text.n, &to); from = to + 1)
		there = pcre_find(code, text, from, to, &s2, &end, &e) == 1;
	assert(!tells || (there == found && (!found || s2 == start)));
	/* The same about the place only that the prefilter told. */
	const bool placed = tells && w.may;
	for (there = false, from = w.from; placed && !there && gate_next(g, text, &from, w.to, &to); from = to + 1)
		there = pcre_find(code, text, from, to < w.to ? to : w.to, &s2, &end, &e) == 1;
	assert(!placed || (there == found && (!found || s2 == start)));
	struct rx_run run;
	const struct rx *x = rx_parse(a, pattern, flags);
	assert(x == NULL || !found || !rx_run(x, &run) || rx_run_in(&run, text));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert(may[i] || !found || texts[i].n == 0);
	gates_free(&gates);
	buf_fini(&folded);
	arena_free(&a);
	pcre_free(&code);
	return 0;
}
