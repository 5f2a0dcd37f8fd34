/* What a worker does with one message: the stages, in order, until one decides. No I/O but reading the message; the virus stage uses libclamav
 * (clamav.h). Loaded once per template, then shared by its workers through fork.
 */
#ifndef FILTERD_SCAN_H
#define FILTERD_SCAN_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"
#include "mail/mime.h"
#include "policy.h"
#include "spam/spam.h"

struct addrlist;
struct clamav;
struct banned;
struct auth_dns;
struct ipc_filter_SCAN;
struct psl;

/* Workers of two kinds look at a message one after the other: libclamav and the machine code of patterns never share a process. */
enum stage_kind { STAGE_SCAN, STAGE_SCORE, STAGE_KINDS };

enum { FACTS_MAX = 16 };

/* Everything that is loaded. */
struct filter_rules {
	unsigned kinds;			/* 1 << enum stage_kind: which stages run */
	const struct conf *conf;
	struct clamav *clamav;		/* NULL: filter_virus_check = no */
	struct banned *banned;
	struct psl *psl;		/* NULL: there is no public suffix list */
	struct addrlist *whitelist, *blacklist;	/* of senders; NULL: none */
	struct policies *policies;
	struct spam *spam;		/* NULL: spam_check = no */
};
/* kinds: what to load for. jit: patterns to machine code. */
int filter_rules_load(const struct conf *conf, unsigned kinds, bool jit, const char *share_dir, const char *tmp_dir, struct filter_rules *out, struct err *e) MUST_CHECK;
/* The scoring stage's part of it. */
int stage_spam_load(struct filter_rules *r, const char *share_dir, bool jit, struct err *e) MUST_CHECK;
void filter_rules_free(struct filter_rules *r);

enum verdict_action { VERDICT_ACCEPT, VERDICT_REJECT, VERDICT_TEMPFAIL, VERDICT_QUARANTINE, VERDICT_REDIRECT, VERDICT_DISCARD,
		      VERDICT_SCORE /* a scoring worker is to decide */ };
extern const char *const verdict_action_names[];

struct verdict {
	enum verdict_action action;
	int code;
	const char *enhanced;
	const char *text;	/* for the client; in the scan's arena */
	const char *category;	/* amavis' words: CLEAN, or of classes.def */
	const char *detail;	/* name of the virus, the file and rule … */
	const char *folder;	/* accept: into this folder; NULL: where the recipient wants it */
	const char *target;	/* redirect: to this address */
	const char *notify;	/* an address that is to hear of it; "": none */
	struct str edits[40];	/* header edits, lib/mail/edit.h */
	size_t n_edits;
	struct str whose;	/* bits of recipients, as in filter.def; n 0: all */
	const char *hits;	/* the spam score; NULL: none */
	const char *tests;	/* names of the rules that hit, divided by commas; NULL: none */
	struct str learn;	/* what is to be learned of it (spam/taught.h); n 0: nothing */
	const char *required;	/* the score from which mail is called spam; NULL: none */
};

void verdict_edit(struct verdict *v, const char *text);
extern const struct verdict scan_accepts;	/* what a message has when no stage says anything */

struct finding {
	const char *detail, *text;		/* detail NULL: not found */
};

/* Recipients of the same policy. */
struct group {
	const struct policy *policy;
	unsigned char *whose;			/* as in filter.def; NULL: all */
	bool whitelisted, blacklisted;		/* the sender, for them */
	struct finding banned;			/* an attachment, for them */
};

/* One message under check; lives in a. What the stages find is of the message; what follows from it is of each group (outcome.c). */
struct scan {
	struct arena *a;
	const struct filter_rules *rules;
	struct str message;	/* its bytes, which nobody changes meanwhile */
	const struct ipc_filter_SCAN *facts;	/* of the connection and the envelope; NULL: unknown */
	const struct auth_dns *dns;		/* NULL: nobody to ask */
	spam_ask_fn *ask_lists;			/* with the context of dns */
	const struct mime_part *root;
	struct group *groups;			/* n_groups > 0 */
	size_t n_groups;
	enum stage stage;			/* that runs */
	struct finding found[STAGES][CLASSES];
	bool scanned;				/* by the virus engine */
	bool whitelisted, blacklisted;		/* the sender, by the site's lists */
	const struct spam_result *spam;		/* NULL: not scored */
	const char *score;			/* "score 7.1", the detail of who is over a level */
	struct str hits[FACTS_MAX];		/* names of SpamAssassin's rules that the sender's checks found true */
	size_t n_hits;
	struct verdict verdict;			/* when outcomes differ: of none of them, what they have in common */
	struct verdict *outcomes;		/* n_outcomes > 1 */
	size_t n_outcomes;
	const char *author;			/* whom a DKIM signature of his domain vouches for; NULL: nobody */
	const char *dmarc;			/* a line of DMARC data; NULL: none */
	void (*explain)(void *ctx, const char *stage, const char *finding);	/* may be NULL: postern-filter test */
	void *explain_ctx;
};

/* Check the message. Never fails: trouble is a TEMPFAIL verdict. */
void scan_run(struct scan *s);

struct str stage_spam_text(const struct scan *s);	/* as much of the message as the spam stage looks at */
/* What the score means for a group: its class, CLASSES none; its fields, in v. */
enum class stage_spam_class(const struct scan *s, const struct group *g);
void stage_spam_tell(struct scan *s, const struct group *g, struct verdict *v);
/* Who of them wants this sender, and who does not. */
void stage_lists_groups(struct scan *s);

/* A stage: 0 go on, 1 enough was found, -1 trouble (tempfail). What it finds it says by scan_found(). Listed in stages.def. */
typedef int stage_fn(struct scan *s, struct err *e);
#define STAGE(name, fn, kind, doc) stage_fn fn;
#include "stages.def"
#undef STAGE

/* The message is of this class; detail: what was found, for the log; text: for the client. A stage's first finding of a class stands. 1: everybody's action is to
 * refuse, nothing else needs to be looked at. */
int scan_found(struct scan *s, enum class class, const char *detail, const char *text);
/* A forbidden attachment, for the recipients of a group whose policy asks for it. 1: nobody's policy needs anything else to be looked at. */
int scan_found_banned(struct scan *s, struct group *g, struct finding f);
void scan_edit(struct scan *s, const char *text);	/* for everybody: a header edit (lib/mail/edit.h), which the arena keeps */
void scan_explain(struct scan *s, const char *stage, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Walk all parts, parents before children. fn returns non-zero to stop; that value is returned. */
int scan_each_part(const struct mime_part *p, int (*fn)(void *ctx, const struct mime_part *p), void *ctx);

#endif
