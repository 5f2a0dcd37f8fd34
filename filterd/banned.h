/* The list of forbidden attachments: see etc/share/filter/banned_names for the file's form. */
#ifndef FILTERD_BANNED_H
#define FILTERD_BANNED_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct banned;

enum banned_key { BANNED_NAME, BANNED_TYPE, BANNED_CLASS };
struct banned_keys {
	struct { enum banned_key kind; struct str text; } v[256];
	size_t n;
};

/* Errors name file and line. Returns owned. */
int banned_load(const char *file, struct banned **out, struct err *e) MUST_CHECK;
void banned_free(struct banned **b);
/* 1 rejected: *line_out the file's line, *key_out which key matched; 0 allowed; -1 a pattern exceeded its limits. */
int banned_match(const struct banned *b, const struct banned_keys *keys, unsigned *line_out, struct str *key_out, struct err *e) MUST_CHECK;
/* Class of a content by its first bytes: ".exe-ms", ".zip" … or "" when unknown. */
const char *content_class(struct str head);

#endif
