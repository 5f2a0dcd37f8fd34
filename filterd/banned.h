/* The list of forbidden attachments: see etc/share/filter/banned_names for the file's form. */
#ifndef FILTERD_BANNED_H
#define FILTERD_BANNED_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct banned;

enum { BANNED_KEYS_MAX = 64, BANNED_SCOPES_MAX = 100, BANNED_NONE = 1000 };

enum banned_key { BANNED_NAME, BANNED_TYPE, BANNED_CLASS };
struct banned_keys {
	struct { enum banned_key kind; struct str text; } v[BANNED_KEYS_MAX];
	size_t n;
};

/* Whose message it is, for the sections of the file. */
struct banned_who {
	struct str sender;
	const struct str *recipients;	/* none: unknown, then only sections for all hold */
	size_t n_recipients;
	bool own;			/* of our users, networks or programs */
	char delimiter;
};
/* Which sections hold for whom; made once per message. */
struct banned_scopes {
	bool any[BANNED_SCOPES_MAX], all[BANNED_SCOPES_MAX];
};

/* Errors name file and line. Returns owned. */
int banned_load(const char *file, struct banned **out, struct err *e) MUST_CHECK;
void banned_free(struct banned **b);
void banned_scopes_of(const struct banned *b, const struct banned_who *who, struct banned_scopes *out);
/* The number of the first rule that matches any of the keys, *key_out which (an index); BANNED_NONE: none, or none before the rule `before`. Of a part and
 * those around it the least number decides, so each is asked about once. A rule that rejects holds when its section is that of any recipient, one that
 * allows when it is that of all. -1: a pattern exceeded its limits. */
int banned_first(const struct banned *b, const struct banned_scopes *s, const struct banned_keys *keys, unsigned before, unsigned *rule_out, size_t *key_out,
		 struct err *e) MUST_CHECK;
bool banned_rejects(const struct banned *b, unsigned rule, unsigned *line_out);	/* *line_out: the file's line */

#endif
