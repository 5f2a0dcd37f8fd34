/* Tests of what libclamav is given: the stage without the rest of the pipeline (test_found.h). */
#include "test_found.h"

#include <stdio.h>

#include "base/arena.h"
#include "outcome.h"
#include "test/tap.h"

static void on_finding(void *ctx, const char *stage, const char *text)
{
	(void)stage;
	snprintf(ctx, sizeof(struct found), "%s", text);
}

int virus_found(const struct filter_rules *rules, struct str message, struct found *found)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct scan s = { .a = a, .rules = rules, .message = message, .explain = on_finding, .explain_ctx = found };
	found->name[0] = '\0';
	s.root = mime_parse(a, message);
	outcome_groups(&s);
	const int r = stage_virus(&s, &e);
	if (r < 0)
		tap_diag("%s", e.text);
	arena_free(&a);
	return r;
}
