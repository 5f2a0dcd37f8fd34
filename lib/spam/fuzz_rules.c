/* Any bytes as a rule file: it is read or its mistakes are told; what loaded can check a message. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "spam/spam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz-rules-XXXXXX";

static void clean_up(void)
{
	char file[64];
	snprintf(file, sizeof(file), "%s/t.cf", dir);
	unlink(file);
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool made;
	char file[64];
	struct spam *s;
	struct err e = { 0 };
	if (!made && mkdtemp(dir) != NULL)
		atexit(clean_up);
	made = true;
	snprintf(file, sizeof(file), "%s/t.cf", dir);
	FILE *f = fopen(file, "w");
	if (f == NULL)
		return 0;
	fwrite(data, 1, size, f);
	fclose(f);
	const struct spam_options o = { .rules_dir = dir, .own_dir = "", .all = true };
	if (spam_load(&o, NULL, NULL, &s, &e) < 0)
		return 0;
	struct arena *a = arena_new(0);
	struct spam_result r;
	spam_check(s, a, STR("From: a@b.com\nTo: c@d.net\nSubject: x\n\nbody text http://e.com/\n"), NULL, SPAM_WANT_ALL | SPAM_WANT_MATCHED, &r);
	arena_free(&a);
	spam_free(&s);
	return 0;
}
