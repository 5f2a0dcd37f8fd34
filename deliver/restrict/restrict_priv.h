/* What the restriction rules share: restrict.c (lists and their evaluation), restrict_rules.c (what needs no question), restrict_names.c (DNS), restrict_access.c
 * (tables, policy services), restrictions.def (the rows). */
#ifndef DELIVER_RESTRICT_PRIV_H
#define DELIVER_RESTRICT_PRIV_H

#include "deliver/restrict/access.h"
#include "deliver/restrict/restrict.h"
#include "dns/wire.h"

enum verdict { DUNNO, PERMIT, REFUSE, WAIT };
/* LIST: of the list it stands in. */
enum object { CLIENT, REVERSE, HELO, SENDER, RCPT, RELAY, DATA, END, ETRN, LIST };
enum takes { NOTHING, TABLE, DOMAIN_, SERVICE, SECONDS };	/* the word after the name */

struct ev;
struct item;
typedef enum verdict rule_fn(struct ev *ev, const struct item *it);

struct rule {
	const char *name;
	rule_fn *fn;
	int code;
	size_t code_at;		/* offset in struct conf of a NUM parameter, if code is 0 */
	const char *enhanced;
	enum object object;
	const char *text;
	enum takes takes;
};

struct list {
	const char *parameter;
	struct item *v;
	size_t n;
	enum object object;	/* what LIST means here */
};

struct item {
	const struct rule *rule;	/* NULL: class */
	const struct list *class;
	const char *arg;		/* table, domain, service, seconds; NULL */
	enum object object;		/* resolved */
	bool warn;			/* warn_if_reject stands before it */
	unsigned place;			/* number, unique in the set */
};

struct dnsbl_site {
	const char *domain, *filter;	/* filter: NULL or d.d.d.d with sets */
	int weight;
};

struct restrict_set {
	const struct conf *conf;
	struct list client, helo, sender, relay, recipient, data, end, etrn;
	struct list *classes;
	size_t n_classes;
	struct dnsbl_site *sites;
	size_t n_sites;
	const char **tables;
	size_t n_tables, cap_tables;
	unsigned n_items;
};

/* One evaluation. */
struct ev {
	const struct restrict_set *set;
	const struct restrict_facts *f;
	const struct fact_source *src;
	struct arena *a;
	struct restrict_answer *out;
	enum restrict_stage stage;
	unsigned depth, rules;
	bool said;			/* the rule filled in code, enhanced, text by itself */
	bool defer_if_permit, defer_if_reject;
	const char *defer_enhanced;
	struct str permit_text, reject_text;	/* of those two */
	const char *client_name, *reverse_name;
	bool client_trouble, reverse_trouble;	/* not known because of temporary trouble */
};

/* --- restrict.c --- */
int restrict_compile_words(const struct restrict_set *set, struct restrict_set *growing, const char *parameter, const struct str *words, size_t n, enum object object,
			   struct arena *a, struct list *out, struct err *e) MUST_CHECK;
enum verdict list_run(struct ev *ev, const struct list *l);
/* The fact, or NULL: wait. Trouble of the source itself is FACT_TROUBLE. */
const struct fact *want(struct ev *ev, enum fact_kind kind, struct str subject, struct str key, unsigned arg);
static inline const struct fact *want_dns(struct ev *ev, struct str name, enum dns_type type)
{
	return want(ev, FACT_DNS, (struct str){ 0 }, name, type);
}
/* The answer is this refusal; returns REFUSE. enhanced gets the class of code. text is what stands after "<object>: … rejected: ". */
enum verdict refuse(struct ev *ev, enum object object, int code, const char *enhanced, struct str text) MUST_CHECK;
enum verdict refuse_whole(struct ev *ev, int code, const char *enhanced, struct str text) MUST_CHECK;	/* text is all that is said */
enum verdict defer_later(struct ev *ev, const struct item *it, const char *enhanced, struct str text);	/* DEFER_IF_PERMIT; returns DUNNO */
int rule_code(const struct ev *ev, const struct item *it);
struct str object_text(const struct ev *ev, enum object object);	/* the sender, the client's name and address, … */
void note(struct ev *ev, bool warn, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool class_is_ours(struct str class);

/* --- restrict_reply.c --- */
struct listing {
	const char *class;		/* what is listed: "Client host" … */
	struct str what, domain;	/* the address or name, the list */
	struct str reason;		/* as the list says; n 0: it says nothing */
};
enum verdict refuse_listed(struct ev *ev, const struct item *it, const struct listing *l) MUST_CHECK;
int rbl_reply_check(const struct conf *c, struct arena *a, struct err *e) MUST_CHECK;

/* --- restrict_names.c --- */
/* Fills client_name and reverse_name. WAIT, or DUNNO. */
enum verdict client_names(struct ev *ev);
enum verdict dnsbl_score(struct ev *ev);
int dnsbl_compile(struct restrict_set *s, struct arena *a, struct err *e) MUST_CHECK;
int dnsbl_filter_check(const char *domain, struct err *e) MUST_CHECK;	/* "list=127.0.0.[2..9;11]" */
/* The hosts of a domain: MX (else the domain), or NS of it or the next domain above that has some. WAIT, DUNNO: hosts; REFUSE: temporary trouble. */
enum verdict domain_hosts(struct ev *ev, struct str domain, enum dns_type type, struct str *hosts, size_t *n_out);
/* A and AAAA of a host. The same results. */
enum verdict host_addresses(struct ev *ev, struct str host, struct str *addrs, size_t max, size_t *n_out);

/* --- restrict_access.c --- */
enum verdict access_apply(struct ev *ev, const struct item *it, struct str value, const char *from);

#define RESTRICT(name, fn, code, enhanced, object, text, takes, doc) rule_fn rule_##fn;
#define RALIAS(old, name)
#include "deliver/restrict/restrictions.def"
#undef RESTRICT
#undef RALIAS

#endif
