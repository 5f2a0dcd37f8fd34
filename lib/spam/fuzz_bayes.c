/* Any bytes as a file of tokens: readers find something or nothing, the learner reads it or refuses. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "spam/bayes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz-bayes-XXXXXX";

static void clean_up(void)
{
	static const char *const names[] = { "tokens", "tokens.tmp" };
	char file[64];
	for (size_t i = 0; i < 2; i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, names[i]);
		unlink(file);
	}
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool made;
	char file[64];
	struct err e = { 0 };
	if (!made && mkdtemp(dir) != NULL)
		atexit(clean_up);
	made = true;
	snprintf(file, sizeof(file), "%s/tokens", dir);
	FILE *f = fopen(file, "w");
	if (f == NULL)
		return 0;
	fwrite(data, 1, size, f);
	fclose(f);
	struct bayes *b = bayes_new(file);
	uint64_t tokens[64];
	for (size_t i = 0; i < 64; i++)
		tokens[i] = i < 8 ? i : 0x9e3779b97f4a7c15u * i;
	const double p = bayes_messages(b).spam > 0 && bayes_messages(b).ham > 0 ? bayes_combine(b, tokens, 64) : 0.5;
	if (!(p >= 0 && p <= 1))
		abort();
	bayes_free(&b);
	struct learner *l;
	struct learn_stats stats;
	if (learner_open(file, 1000, &l, &e) == 0)
		learner_look(&l, &stats);
	return 0;
}
