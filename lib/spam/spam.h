/* The scoring engine: SpamAssassin's rule language over one message. Rules are read once (spam_load), before confinement, then shared by forked workers;
 * spam_check looks at one message and touches nothing but its arena. No network of its own: DNS lists are asked through the
 * caller (spam_facts.ask), the rest is taken from the facts it gathered.
 *
 *	struct spam *s;
 *	if (spam_load(&options, say, ctx, &s, &e) < 0) …
 *	struct spam_result r;
 *	spam_check(s, arena, message, &facts, 0, &r);
 */
#ifndef SPAM_SPAM_H
#define SPAM_SPAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct spam;

enum spam_num {
#define NUM(name, directive, value, doc) SPAM_NUM_##name,
#include "spam/numbers.def"
#undef NUM
	SPAM_NUM_MAX_
};

struct spam_options {
	const char *rules_dir;	/* "auto": the newest of /var/lib/spamassassin, else /usr/share/spamassassin, else own_dir; "" own_dir only */
	const char *site_dir;	/* *.pre before and *.cf after the rules, as /etc/spamassassin; NULL or "": none */
	const char *own_dir;	/* the shipped rules */
	const char *bayes_file;	/* tokens; NULL or "": no learning */
	bool network;		/* facts of network tests will be given: score sets 1 and 3 */
	bool jit;		/* compile rules to machine code */
	bool all;		/* keep rules without a score: for comparisons */
};

/* Something to tell about rule files; line 0: about no line in particular. */
typedef void spam_say_fn(void *ctx, const char *file, unsigned line, const char *text);

/* Returns owned. Mistakes in rule files are told and the rest still loads; -1 only when there are no rules at all. say may be NULL. */
int spam_load(const struct spam_options *o, spam_say_fn *say, void *ctx, struct spam **out, struct err *e) MUST_CHECK;
void spam_free(struct spam **s);
/* Changes when rule files do: what spam_load would read from these directories. */
uint64_t spam_fingerprint(const char *rules_dir, const char *site_dir);
size_t spam_rule_count(const struct spam *s);
unsigned spam_mistakes(const struct spam *s);	/* told while loading */
const char *spam_rules_from(const struct spam *s);	/* the directory that was read */
struct spam_learned { bool damaged; size_t spam, ham; };
bool spam_learns(const struct spam *s);			/* of itself: bayes_auto_learn */
struct spam_learned spam_learned(const struct spam *s);	/* of bayes_file as it was at load or at the last check */
struct str spam_subject_tag(const struct spam *s);	/* rewrite_header Subject; p NULL: none */
double spam_required(const struct spam *s);

/* A question to the DNS and what came back: records as lib/dns/wire.h writes them; none when there are none, or nobody knows. list: about a list; else its answer lies
 * with name servers that who sent the message has chosen. */
enum { SPAM_QUESTIONS_MAX = 200 };
struct spam_question { struct str name; unsigned type; bool list; const struct str *records; size_t n; };
typedef void spam_ask_fn(void *ctx, struct arena *a, struct spam_question *q, size_t n);

/* What is known about a message beside its bytes. All may be empty. Other checks (SPF, DKIM …) put their results into hits: names of network rules
 * or eval functions that say yes, so that the rules named after them see them.
 */
struct spam_facts {
	struct str client_ip, client_name, helo;	/* of the connection */
	struct str sender;		/* of the envelope; p NULL: unknown */
	const struct str *recipients;
	size_t n_recipients;
	struct str user;		/* authenticated */
	const struct str *hits;		/* "SPF_PASS", "check_dkim_valid", … */
	size_t n_hits;
	spam_ask_fn *ask;		/* answers all n questions, from a; called up to three times for a message. NULL: nobody to ask */
	void *ask_ctx;
};

struct spam_hit {
	struct str name, describe;
	double score;
	struct str matched;	/* text that matched, where a pattern did; p NULL: none */
};

/* Processor time, of a rule alone or of what all rules look at, whose name is in brackets. */
struct spam_cost { struct str name; uint64_t ns; };

struct spam_result {
	double score, required;
	struct spam_hit *hits;	/* rules with a score, by name */
	size_t n_hits;
	struct str *subs;	/* names of the others that hit; only with SPAM_WANT_ALL */
	unsigned *sub_counts;
	size_t n_subs;
	double bayes;		/* 0..1; < 0: no opinion */
	unsigned limited;	/* patterns that ran into their limits */
	struct spam_cost *costs;	/* the dearest first; only with SPAM_WANT_COSTS, which costs time itself */
	size_t n_costs;
	struct str learn;	/* bayes_auto_learn: what is to be learned of it (taught.h); n 0: nothing */
	bool learn_spam;
};

enum { SPAM_WANT_MATCHED = 1, SPAM_WANT_ALL = 2, SPAM_WANT_COSTS = 4, SPAM_WANT_LEARN = 8 };

void spam_check(const struct spam *s, struct arena *a, struct str message, const struct spam_facts *facts, unsigned want, struct spam_result *out);

#endif
