/* The fixed patterns of eval functions, compiled once (patterns.def). */
#ifndef SPAM_PATTERNS_H
#define SPAM_PATTERNS_H

#include "base/err.h"
#include "base/str.h"

enum pattern_name {
#define PATTERN(name, text) PAT_##name,
#include "spam/patterns.def"
#undef PATTERN
	PAT_MAX_
};

int patterns_load(bool jit, struct err *e) MUST_CHECK;
bool pat(enum pattern_name name, struct str text);
bool pat_groups(enum pattern_name name, struct str text, struct str *groups, size_t n);
bool pat_find(enum pattern_name name, struct str text, size_t from, size_t *start, size_t *end);

#endif
