/* Rules from a text, for this library's tests: a directory of its own, removed again. */
#ifndef SPAM_TEST_SPAM_H
#define SPAM_TEST_SPAM_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "spam/msg.h"
#include "spam/spam.h"
#include "test/tap.h"

struct told { char text[4000]; };

static inline void told_say(void *ctx, const char *file, unsigned line, const char *text)
{
	struct told *t = ctx;
	const char *name = file == NULL ? "-" : strrchr(file, '/') + 1;
	size_t n = strlen(t->text);
	snprintf(t->text + n, sizeof(t->text) - n, "%s:%u: %s\n", name, line, text);
}

/* rules_dir of the options is ours. */
static inline struct spam *rules_with(const char *text, const struct spam_options *options, struct told *told)
{
	char dir[] = "/tmp/rules-XXXXXX", file[64];
	struct spam *s = NULL;
	struct err e = { 0 };
	if (mkdtemp(dir) == NULL)
		return NULL;
	snprintf(file, sizeof(file), "%s/t.cf", dir);
	FILE *f = fopen(file, "w");
	if (f != NULL) {
		fputs(text, f);
		fclose(f);
	}
	struct spam_options o = *options;
	o.rules_dir = dir;
	told->text[0] = '\0';
	if (spam_load(&o, told_say, told, &s, &e) < 0)
		tap_diag("%s", e.text);
	unlink(file);
	rmdir(dir);
	return s;
}

static inline struct spam *rules_of(const char *text, bool all, struct told *told)
{
	const struct spam_options o = { .own_dir = "", .all = all, .jit = true };
	return rules_with(text, &o, told);
}

/* "NAME NAME2(3) …" of all hits. */
static inline void hits_of(struct spam *s, const char *message, struct buf *out, double *score)
{
	struct arena *a = arena_new(0);
	struct spam_result r;
	spam_check(s, a, str_c(message), NULL, SPAM_WANT_ALL, &r);
	buf_reset(out);
	for (size_t i = 0; i < r.n_hits; i++)
		buf_printf(out, "%s%.*s", out->n > 0 ? " " : "", STR_ARG(r.hits[i].name));
	for (size_t i = 0; i < r.n_subs; i++) {
		buf_printf(out, "%s%.*s", out->n > 0 ? " " : "", STR_ARG(r.subs[i]));
		if (r.sub_counts[i] > 1)
			buf_printf(out, "(%u)", r.sub_counts[i]);
	}
	*score = r.score;
	arena_free(&a);
}

#endif
