/* The rules as they were read: what directives fill in (read.c, directives.def) and what a check uses. Everything lives in the set's arena, is built before
 * the first message and never changes after that, so that forked workers share it.
 */
#ifndef SPAM_SET_H
#define SPAM_SET_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "map/pcre.h"
#include "spam/spam.h"

enum {
	SPAM_INCLUDE_DEPTH_MAX = 20,
	SPAM_FILE_MAX = 64 << 20,
	SPAM_RULES_MAX = 100000,
	SPAM_NAME_MAX = 128,
	SPAM_ARGS_MAX = 12,
	SPAM_NETS_MAX = 4096,
	SPAM_REPLACE_ROUNDS = 6,
	SPAM_PATTERN_MAX = 1 << 20,
};

enum rule_type {
	RULE_NONE,		/* named by score or describe only */
	RULE_HEADER,
	RULE_EXISTS,		/* header NAME exists:Field */
	RULE_BODY,
	RULE_RAWBODY,
	RULE_FULL,
	RULE_URI,
	RULE_MIMEHEADER,
	RULE_URI_DETAIL,
	RULE_EVAL,
	RULE_META,
	RULE_OFF,		/* of a kind that asks the network */
};

enum tflag {
#define TFLAG(name, word, doc) TFLAG_##name##_AT,
#include "spam/tflags.def"
#undef TFLAG
};
#define TFLAG_BIT(name) (1u << TFLAG_##name##_AT)

/* Which header value a rule looks at: "From:addr", "Received:raw:first" … */
struct head_spec {
	struct str field;	/* as written, ALL and MESSAGEID keep their case */
	struct str key;		/* the whole spec, lower case: what makes it unique */
	bool raw, addr, name, host, domain, ip, revip, first, last;
	unsigned index;
};

struct pattern {
	struct str text;	/* without delimiters */
	char flags[8];
	struct pcre *code;	/* NULL: could not be compiled, never matches */
};

struct detail_test {		/* one key of a uri_detail rule */
	struct str key;
	bool negated;
	struct pattern p;
	struct detail_test *next;
};

struct rule;
struct set;
struct msg;
/* Evaluate; the number of hits. Listed in evals.def. */
typedef int eval_fn(struct msg *m, const struct rule *r);

/* What is looked at with each message comes first: of the thousands of rules, whose memory has left the cache since the last message, most are only asked. */
struct rule {
	enum rule_type type;
	unsigned index;
	unsigned slot;			/* in the prefilter of its text, 0 none (prefilter.h) */
	unsigned char active;		/* a bit for each set of scores: needed, and with a score in it */
	bool negated;			/* !~ */
	bool on_empty;			/* header: what the pattern says of an absent field */
	bool needed;			/* has a score, or a meta that has asks for it */
	struct expr *meta;
	eval_fn *eval;
	const struct head_spec *head;	/* header, mimeheader */
	struct gate *gate;		/* of patterns that are dear otherwise; NULL: none (gate.h) */
	const struct rx_run *run;	/* of patterns about the whole message: what it must have; NULL: nothing is known (regex.h) */
	unsigned tflags, maxhits;	/* maxhits 0: no limit */
	struct pattern pattern;
	struct str needs;		/* "%{NAME}" in the pattern: what the rule that captures NAME found; p NULL: none */
	struct str name;
	double scores[4];
	enum rule_type of;		/* the directive that defined it: which text an eval rule is about */
	bool scored;			/* by a score line */
	bool replace;			/* named by replace_rules */
	bool counted;			/* a meta compares or adds its number of hits */
	struct str if_unset;		/* p NULL: none */
	struct str describe;
	const char *file;
	unsigned line;
	struct str text;		/* meta: the expression; eval: the call */
	struct str args[SPAM_ARGS_MAX];
	struct pattern arg_pattern;	/* of evals that take one */
	size_t n_args;
	struct detail_test *detail;
	const struct rule *list;	/* check_rbl…: the rule that names the zone; NULL: none (dnslists.h) */
	struct str captures;		/* NAME of (?<NAME>…), when it is the first group */
	unsigned cost;
};

/* Addresses with * and ?: whole ones by hash, the others one by one. */
struct globs {
	struct map *exact;
	struct str *wild;
	size_t n_wild, cap;
	struct rcvd_pair { struct str glob, domain; struct rcvd_pair *next; } *pairs;	/* …_from_rcvd and …_dkim: with a second word */
};

struct net { unsigned char ip[16]; unsigned bits; bool exclude; };
struct nets { struct net *v; size_t n, cap; bool configured; };

struct tags { struct map *tag, *pre, *inter, *post; struct str start, end; };

struct redirector { struct pattern p; struct redirector *next; };
struct names { struct str v; struct names *next; };

struct set {
	struct arena *a;
	const struct spam_options *opt;
	spam_say_fn *say;
	void *say_ctx;
	unsigned n_said;
	struct map *by_name;
	struct rule **rules;
	size_t n, cap;
	struct rule **results;		/* those that a result is made of */
	size_t n_results;
	struct head_spec **heads;
	size_t n_heads, cap_heads;
	struct map *head_by_key;
	struct map *lists;		/* name -> struct globs */
	struct map *uri_lists;		/* name -> struct map of host -> (void *)1, or (void *)2 for "!host" */
	struct map *plugins;		/* loaded */
	struct map *freemail, *freemail_welcome;
	struct globs freemail_wild;
	struct map *tlds, *tlds2, *tlds3;
	struct tags tags;
	struct nets trusted, internal, msa;
	struct redirector *redirectors, **redirectors_tail;
	struct names *originating, *bayes_ignore;
	struct str subject_tag;		/* rewrite_header Subject */
	struct str envelope_header;
	struct str ok_locales;
	double num[SPAM_NUM_MAX_];	/* numbers.def */
	struct map *captures;		/* NAME -> struct rule */
	struct gates *gates;		/* of all rules (gate.h) */
	struct prefilter *body_filter, *rawbody_filter, *uri_filter, **head_filters;	/* by index of the head, NULL: few rules look at it */
	struct uri_list *uri_lists_dns;	/* urirhssub and its like (dnslists.h) */
	size_t n_uri_lists_dns;
	struct map *dns_skip;		/* uridnsbl_skip_domain */
	struct bayes *bayes;
};

/* --- set.c --- */
struct set *set_new(const struct spam_options *opt, spam_say_fn *say, void *ctx);
void set_free(struct set **s);
/* The rule of that name, made when there is none. NULL: not a name, or too many. */
struct rule *set_rule(struct set *s, struct str name);
struct rule *set_find(const struct set *s, struct str name);	/* NULL: none */
bool set_learns(const struct set *s);				/* of itself: bayes_auto_learn */
bool set_name_ok(struct str name);
const struct head_spec *set_head(struct set *s, struct str text, struct err *e);
int head_spec_parse(struct arena *a, struct str text, struct head_spec *out, struct err *e) MUST_CHECK;	/* without an index */
struct globs *set_list(struct set *s, struct str name);		/* made when there is none */
const struct globs *set_list_find(const struct set *s, struct str name);
/* Tell something about a rule file; file NULL: about no line. */
void set_say(struct set *s, const char *file, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);
struct str str_lower_copy(struct arena *a, struct str s);
static inline bool rule_is_sub(const struct rule *r) { return str_starts(r->name, STR("__")); }

/* --- globs.c --- */
void globs_add(struct arena *a, struct globs *g, struct str address);
void globs_remove(struct globs *g, struct str address);
bool globs_match(const struct globs *g, struct str lower_address);
bool glob_match(struct str glob, struct str text);
bool glob_match_domain(struct str glob, struct str text);	/* a star is within one label */

/* --- nets.c --- */
int nets_add(struct arena *a, struct nets *n, struct str text, struct err *e) MUST_CHECK;
bool nets_match(const struct nets *n, struct str ip);
int ip_parse(struct str text, unsigned char out[16]) MUST_CHECK;	/* IPv4 as ::ffff:a.b.c.d */

/* --- read.c, cond.c, rule.c, tags.c, finish.c --- */
struct reader {
	struct set *s;
	const char *file;
	unsigned line, depth;
	bool skip;
	struct cond { bool skip; unsigned line; } stack[64];
	size_t n_stack;
};
int read_file(struct set *s, const char *path, unsigned depth, struct err *e) MUST_CHECK;
int read_dir(struct set *s, const char *path, const char *suffix, struct err *e) MUST_CHECK;
int cond_eval(const struct set *s, struct str text, bool *out, struct err *e) MUST_CHECK;
bool plugin_has(const struct set *s, struct str name);
int rule_define(struct reader *r, enum rule_type type, struct str value, struct err *e) MUST_CHECK;
/* "/re/flags", "m{re}flags" …: text and flags, not yet compiled. */
int pattern_parse(struct str text, struct pattern *out, struct err *e) MUST_CHECK;
int pattern_compile(struct set *s, struct pattern *p, struct err *e) MUST_CHECK;
struct str tags_expand(struct set *s, struct str pattern);
struct str tags_define(struct set *s, struct str pattern);	/* p NULL: too long */
int set_finish(struct set *s, struct err *e) MUST_CHECK;

/* --- directives.c --- */
int directive_run(struct reader *r, struct str key, struct str value, struct err *e) MUST_CHECK;

#endif
