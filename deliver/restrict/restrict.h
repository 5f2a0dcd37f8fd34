/* The smtpd_*_restrictions lists: compiled once from the configuration, evaluated at each step of a transaction. With smtpd_delay_reject the lists client, helo,
 * sender, relay and recipient are all evaluated at each RCPT, in this order. Who the client is comes from the acceptor, who is logged in from authd,
 * what a recipient is from resolve; of the front only what it read from the client.
 *
 * Rules ask for further facts (names, table entries, policy services) through a source that may answer "not known yet". Then the evaluation ends with
 * RESTRICT_WAIT, and is begun anew, with the same facts and what has come meanwhile, until it ends otherwise. So rules read as if everything were
 * known, nothing is kept between two evaluations, and a test's source is a table. Pure.
 */
#ifndef DELIVER_RESTRICT_H
#define DELIVER_RESTRICT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

struct restrict_set;

enum {
	RESTRICT_DEPTH_MAX = 20,	/* lists inside lists */
	RESTRICT_RULES_MAX = 2000,	/* rules of one evaluation */
	RESTRICT_EFFECTS_MAX = 50,	/* headers, blind copies, log lines of one evaluation */
	RESTRICT_HOSTS_MAX = 20,	/* MX or NS of a domain that are looked at */
	RESTRICT_TEXT_MAX = 380,	/* of an answer */
};

enum restrict_stage { RESTRICT_MAIL, RESTRICT_RCPT, RESTRICT_DATA, RESTRICT_END, RESTRICT_ETRN, RESTRICT_NAMES /* no list: only the client's names */ };

struct restrict_facts {
	bool mynetworks;	/* client is in mynetworks, or submits locally */
	bool local;		/* submits locally */
	bool user;		/* authenticated */
	bool secure;		/* the conversation is encrypted */
	bool esmtp;
	bool addr_known;
	bool stress;		/* it was taken while there were many connections */
	uint8_t addr[16];
	struct str client, helo, sender, recipient, login, method, etrn;
	struct str server, qid, instance, tls;
	uint64_t client_port, server_port, size, recipients;
	struct str ccert, ccert_key, ccert_subject, ccert_issuer;	/* of the client's certificate: fingerprints (p NULL: it showed none), names as it says */
	bool ccert_trusted;
	const char *client_name, *reverse_name;	/* as an evaluation before has found them; NULL: to be looked up */
	struct str class;	/* resolve's, of the recipient: local virtual relay default unknown routed error */
};

/* --- facts that must be asked for --- */
enum fact_kind {
	FACT_DNS,	/* key: name, arg: type; values as lib/dns/wire.h */
	FACT_MAP,	/* subject: table, key, arg: enum access_how (deliver/resolve/resolve.h); one value */
	FACT_CLASS,	/* key: address; values: class, then the accounts that it leads to */
	FACT_POLICY,	/* subject: service, key: the attributes; one value: the action */
	FACT_VERIFY,	/* key: address; values: "good", or "bad" and why. Trouble: it is not known yet */
	FACT_SLEEP,	/* arg: seconds; key: makes it unique */
};
enum fact_state { FACT_PENDING, FACT_HAS, FACT_NONE, FACT_NO_NAME, FACT_TROUBLE };
struct fact_key {
	enum fact_kind kind;
	struct str subject, key;
	unsigned arg;
};
struct fact {
	enum fact_state state;
	const struct str *v;
	size_t n;
	struct str why;		/* of FACT_TROUBLE */
};
/* The same key gives the same fact for as long as the evaluation goes on. NULL: too many questions (taken for trouble). */
struct fact_source {
	const struct fact *(*get)(void *ctx, const struct fact_key *k);
	void *ctx;
};

/* --- the outcome --- */
enum restrict_result { RESTRICT_WAIT, RESTRICT_PASS, RESTRICT_REFUSED };

struct restrict_effects {	/* for the message, if it is accepted */
	struct str hold, redirect, discard, filter;	/* p NULL: no; filter: transport:nexthop */
	struct str bcc[RESTRICT_EFFECTS_MAX], prepend[RESTRICT_EFFECTS_MAX];
	size_t n_bcc, n_prepend;
	struct str log[RESTRICT_EFFECTS_MAX];		/* lines for the log, without the "from=<…" part; those with warn[i] are warnings */
	bool warn[RESTRICT_EFFECTS_MAX];
	size_t n_log;
};

struct restrict_answer {
	enum restrict_result result;
	int code;		/* of RESTRICT_REFUSED; 421 and 521 end the connection */
	const char *enhanced;
	struct str text;
	struct restrict_effects effects;
	const char *client_name, *reverse_name;	/* "unknown" when not known; verified forward and backward; only backward */
	bool name_trouble;	/* they could not be looked up: try again next time */
};

/* Compile all lists. Errors (ERR_CONF): unknown names, names that need what is not built, and lists that would make an open relay. Borrows c. */
int restrict_compile(const struct conf *c, struct arena *a, struct restrict_set **out, struct err *e) MUST_CHECK;
/* Tables that the lists name: *it from 0; false at the end. */
bool restrict_table_next(const struct restrict_set *s, size_t *it, const char **spec_out);
/* Does this stage have anything to evaluate? */
bool restrict_has(const struct restrict_set *set, enum restrict_stage stage);
/* Strings live in a or are the facts'. */
void restrict_evaluate(const struct restrict_set *set, enum restrict_stage stage, const struct restrict_facts *f, const struct fact_source *src, struct arena *a,
		       struct restrict_answer *out);

#endif
