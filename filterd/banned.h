/* Lists of forbidden attachments: that of the site (etc/share/filter/banned_names has its form), and rules that a section of recipients has before it. */
#ifndef FILTERD_BANNED_H
#define FILTERD_BANNED_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct banned;

enum { BANNED_KEYS_MAX = 64, BANNED_SCOPES_MAX = 100, BANNED_RULES_MAX = 1000, BANNED_NONE = 2 * BANNED_RULES_MAX };

enum banned_key { BANNED_NAME, BANNED_TYPE, BANNED_CLASS };
struct banned_keys {
	struct { enum banned_key kind; struct str text; } v[BANNED_KEYS_MAX];
	size_t n;
};

/* Whose message it is, for the sections of a list. */
struct banned_who {
	struct str sender;
	const struct str *recipients;	/* none: unknown, then only sections for all hold */
	size_t n_recipients;
	bool own;			/* of our users, networks or programs */
	const char *delimiters;
};
/* What decides for some recipients: their own rules, then the site's, and which sections of both hold for whom. Made once per message. */
struct banned_lists {
	const struct banned *own, *site;	/* own NULL: none */
	struct { bool any[BANNED_SCOPES_MAX], all[BANNED_SCOPES_MAX]; } own_scopes, site_scopes;
};

/* Errors name file and line. Returns owned. */
int banned_load(const char *file, struct banned **out, struct err *e) MUST_CHECK;
struct banned *banned_new(void);	/* owned */
/* A section or a rule; number: of its line. Recipients' own rules have no [to]. */
int banned_add(struct banned *b, struct str line, unsigned number, bool own, struct err *e) MUST_CHECK;
void banned_free(struct banned **b);
void banned_lists_for(const struct banned *own, const struct banned *site, const struct banned_who *who, struct banned_lists *out);
/* The number of the first rule that matches any of the keys, *key_out which (an index); BANNED_NONE: none, or none before the rule `before`. Of a part and
 * those around it the least number decides, so each is asked about once. A rule that rejects holds when its section is that of any recipient, one that
 * allows when it is that of all. -1: a pattern exceeded its limits. */
int banned_first(const struct banned_lists *l, const struct banned_keys *keys, unsigned before, unsigned *rule_out, size_t *key_out, struct err *e) MUST_CHECK;
/* *line_out: of the site's file, or where *own_out of that of recipients' policies. */
bool banned_rejects(const struct banned_lists *l, unsigned rule, unsigned *line_out, bool *own_out);

#endif
