/* What resolve.c (tables, classes, accounts) and expand.c (virtual and local aliases) share. */
#ifndef DELIVER_RESOLVE_PRIV_H
#define DELIVER_RESOLVE_PRIV_H

#include "base/map.h"
#include "deliver/resolve/own.h"
#include "deliver/resolve/resolve.h"
#include "map/accounts.h"
#include "map/lookup.h"
#include "smtp/addr.h"

enum {
	ALIAS_DEPTH_MAX = 100,		/* nesting of aliases(5), as Postfix */
	ADDRESS_BYTES_MAX = 1000,
	STEPS_MAX = 1000,
	STEP_BYTES_MAX = 1000,
};

enum addr_class { CLASS_LOCAL, CLASS_VIRTUAL_ALIAS, CLASS_VIRTUAL_MAILBOX, CLASS_RELAY, CLASS_DEFAULT };

/* Tables of one parameter, in its order. */
struct tables {
	const char *parameter;
	struct lookup **v;
	size_t n;
};

/* A list of domains: names, ".parent" forms, and tables that hold domains as keys. */
struct domains {
	const char *parameter;
	struct conf_list names;
	struct tables tables;
};

struct resolver {
	const struct conf *conf;
	struct arena *arena;
	struct lookup **opened;		/* every table once */
	size_t n_opened;
	struct tables transport, sender_relayhost, sender_transport, milters, passwords, tls_policy;
	struct tables aliases, virtual, mailboxes, local_recipients, relay_recipients, relocated, mailbox_transports, fallback_transports;
	struct tables checks[CHECK_WHICH_MAX_];
	struct tables generic, canonical, sender_canonical, recipient_canonical, sender_bcc, recipient_bcc;
	struct domains mydestination, virtual_alias_domains, virtual_mailbox_domains, relay_domains;
	struct own_addresses own;	/* user@[address] is local */
	struct srs srs;
	char *accounts_path;
	struct cdbfile *accounts;	/* NULL: accounts_trouble says why */
	struct err accounts_trouble;
};

struct final {
	struct final *next;
	const char *kind;		/* mailbox remote file command include error */
	struct str address, user, extension, owner;
};

struct step {
	struct step *next;
	struct str text;
};

/* One question while it is being answered. */
struct answer {
	struct resolver *r;
	struct arena *a;
	bool explain;
	struct final *finals, **finals_end;
	size_t n_finals, n_expanded;
	struct step *steps, **steps_end;
	size_t n_steps;
	struct map *state;		/* of addresses and alias names: &state_busy, &state_done */
	struct str owner;		/* owner-NAME of the list that is being expanded: goes to each final */
	int code;			/* of the failure; 0: none */
	bool limited;			/* an account with a quota is among the finals */
	bool bounces;			/* a sender that was rewritten here: only for the null sender */
	const char *enhanced;
	struct str text;
	struct str dead;		/* a recipient of an expansion that does not exist */
};

/* --- resolve.c --- */
int open_table(struct resolver *r, const char *spec, struct lookup **out, struct err *e) MUST_CHECK;	/* the same one for the same spec */
void step(struct answer *an, const char *fmt, ...) PRINTF_LIKE(2, 3);
int fail(struct answer *an, int code, const char *enhanced, const char *fmt, ...) PRINTF_LIKE(4, 5);	/* the answer is this failure; returns -1 */
int trouble(struct answer *an, const struct err *e);	/* 451; returns -1 */
extern const char *const class_words[];	/* by enum addr_class */
bool is_postmaster(struct str local);
int classify(struct answer *an, struct str domain, enum addr_class *out) MUST_CHECK;
/* 0: found, 1: not, -1: trouble (failed). Tries name whole, then without its extension, which *extension_out gets. */
int account_find(struct answer *an, struct str name, struct str domain, struct account *out, struct str *extension_out) MUST_CHECK;
/* Key over all tables. 0: *value_out lives in the answer's arena; 1: none; -1: trouble (failed). Steps tell table, line, key. */
int tables_get(struct answer *an, const struct tables *t, struct str key, bool whole, struct str *value_out) MUST_CHECK;
/* The extension of a local part: *base_out what is before the delimiter. Empty when there is none. */
struct str extension_split(const struct conf *c, struct str local, struct str *base_out);
struct str address_text(struct arena *a, struct str local, struct str domain);	/* local@domain, quoted where needed */
int final_add(struct answer *an, const char *kind, struct str address, struct str user, struct str extension) MUST_CHECK;

/* A value found in a map with the address's keys in the order of virtual(5) and canonical(5). */
struct found {
	struct str value;
	struct str extension;	/* that the key did not hold: goes to each result */
	bool catch_all;		/* the key was @domain */
};
/* 0: found; 1: none; -1: trouble (failed). yields: asked before @domain is tried, 1 says that it must not be; may be NULL. */
int address_find(struct answer *an, const struct tables *t, const struct smtp_addr *addr, int (*yields)(struct answer *an, const struct smtp_addr *addr),
		 struct found *out) MUST_CHECK;
/* Is the address in the maps, in any of the key's forms? 1 yes, 0 no, -1. */
int address_listed(struct answer *an, const struct tables *t, const struct smtp_addr *addr) MUST_CHECK;
/* One address of a result: "@other" swaps the domain, a bare name gets myorigin, the extension is added (with propagate). -1: no address (not told). */
int address_result(struct answer *an, const struct smtp_addr *from, const struct found *f, bool propagate, struct str item, struct smtp_addr *out) MUST_CHECK;
bool conf_lists(struct conf_list l, const char *word);	/* one of its words, case folded */

/* --- rewrite.c --- */
enum rewrite_class { RW_ENVELOPE_SENDER, RW_ENVELOPE_RECIPIENT, RW_HEADER_SENDER, RW_HEADER_RECIPIENT };
/* canonical_maps and its kin, as far as they are for the class. *addr is replaced. */
int rewrite_canonical(struct answer *an, enum rewrite_class class, struct smtp_addr *addr) MUST_CHECK;
/* masquerade_domains. Pure. */
void rewrite_masquerade(const struct conf *c, enum rewrite_class class, struct smtp_addr *addr);

/* --- route.c --- */
/* transport_maps may take finals away from their mailboxes, or give them one. -1: failed. */
int route_finals(struct answer *an) MUST_CHECK;
int route_number(struct answer *an, struct smtp_addr *addr) MUST_CHECK;	/* a domain that is a number; -1: it is no address */

/* --- expand.c --- */
/* Virtual aliases, then the class. depth counts nesting of both kinds of aliases. */
int expand_address(struct answer *an, const struct smtp_addr *addr, unsigned depth) MUST_CHECK;
/* aliases(5), then the account. 0; 1: no such name; -1. */
int expand_local(struct answer *an, struct str local, struct str domain, unsigned depth) MUST_CHECK;
/* Is it an account, or a name in aliases(5), of its class? 1 yes, 0 no, -1. */
int recipient_known(struct answer *an, const struct smtp_addr *addr, enum addr_class class) MUST_CHECK;

/* resolve_access.c. 0: *action_out; 1: none of the tables; -1: trouble, logged. */
int resolver_check_line(const struct tables *t, struct str line, struct arena *a, struct str *action_out) MUST_CHECK;

#endif
