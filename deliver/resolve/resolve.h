/* resolve: what is this envelope recipient, and where does it end? Reads compiled maps and accounts.cdb, nothing else, as
 * user_map. One question at a time over lib/ipc/resolve.def; `postern why` asks the same code in its own process. Trouble with a map is
 * an answer of its own (451), never "unknown".
 *
 *	resolver_new(conf, &r, &e);
 *	resolver_answer(r, arena, STR("joe@example.com"), true, &result);
 */
#ifndef DELIVER_RESOLVE_H
#define DELIVER_RESOLVE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "ipc/resolve.h"
#include "smtp/srs.h"

struct resolver;

/* Opens every table that the configuration names. ERR_CONF: a table's name is malformed. Borrows conf. Returns owned. */
int resolver_new(const struct conf *conf, struct resolver **out, struct err *e) MUST_CHECK;
void resolver_free(struct resolver **r);
/* Open again what was replaced since. Cheap: some stat(2). */
void resolver_refresh(struct resolver *r);
/* Open every table and accounts.cdb again, changed or not: after a change of identity, so that what it may not read shows at once. */
void resolver_reload(struct resolver *r);
/* address: local@domain or local alone. The answer's strings live in a. explain: fill steps. Never fails: trouble is class "error". */
void resolver_answer(struct resolver *r, struct arena *a, struct str address, bool explain, struct ipc_resolve_RESULT *out);
/* The same. Of an expansion that reaches somebody *dead_out is a recipient who does not exist: who gets nothing, while the sender hears of nothing; "": none. */
void resolver_answer_dead(struct resolver *r, struct arena *a, struct str address, bool explain, struct ipc_resolve_RESULT *out, struct str *dead_out);
/* Rewriting of one message's addresses, and its blind copies: lib/ipc/resolve.def. Strings live in a. A map in trouble: m->code. */
void resolver_rewrite(struct resolver *r, struct arena *a, const struct ipc_resolve_REWRITE *m, struct ipc_resolve_REWRITTEN *out);
/* Every parameter that names tables for resolve. */
void resolver_lists(const struct conf *c, void (*fn)(void *ctx, const char *parameter, struct conf_list list), void *ctx);
/* Tables that cannot be used now: fn for each, with the parameter that names it. */
void resolver_troubles(struct resolver *r, void (*fn)(void *ctx, const char *parameter, const char *spec, const struct err *why), void *ctx);

/* Where mail of sender for address, which is no mailbox of ours, goes now. Never fails: trouble is transport "retry". */
struct route {
	struct str transport;	/* smtp lmtp error retry discard */
	struct str nexthop;	/* "[host]:port", "domain", "unix:/path", "inet:host:port"; of error, retry, discard: status and text */
	struct str login;	/* "user:password" for the next hop, or empty */
	struct str policy;	/* entry of smtp_tls_policy_maps, or empty */
};
void resolver_route(struct resolver *r, struct arena *a, struct str sender, struct str address, struct route *out);
bool route_transport_known(struct str transport);

/* --- srs_key.c --- */
int srs_key_make(const struct conf *c, struct err *e) MUST_CHECK;	/* as root; nothing to do without srs_domain */
int srs_key_load(const struct conf *c, struct srs *out, struct err *e) MUST_CHECK;

/* Access tables (access(5)): opened beside the configuration's other tables; only such can be asked. */
int resolver_table_add(struct resolver *r, const char *spec, struct err *e) MUST_CHECK;
enum access_how {	/* which keys are tried, the first that is there decides. A table of patterns is asked once, for the whole */
	ACCESS_WHOLE,
	ACCESS_ADDRESS,	/* user+ext@domain, user@domain, domain and what is above it, user+ext@, user@ */
	ACCESS_DOMAIN,	/* the name, and what is above it */
	ACCESS_NETWORK,	/* the address, and its leading parts: 1.2.3.4, 1.2.3, 1.2, 1; IPv6 at each colon */
	ACCESS_HOW_MAX_
};
void resolver_lookup(struct resolver *r, struct arena *a, struct str table, struct str key, enum access_how how, struct ipc_resolve_VALUE *out);

/* header_checks and the like: the lines that match, and what is to be done. */
enum check_which { CHECK_HEADER, CHECK_BODY, CHECK_MIME, CHECK_NESTED, CHECK_SMTP_HEADER, CHECK_SMTP_MIME, CHECK_SMTP_NESTED, CHECK_SMTP_BODY, CHECK_WHICH_MAX_ };
void resolver_check(struct resolver *r, struct arena *a, const struct ipc_resolve_CHECK *m, struct ipc_resolve_MATCHES *out);
/* The same for the fields of the parts of a message, as far as they begin in its first RESOLVER_PARTS_BYTES_MAX bytes (message_size_limit's default): resolve_parts.c.
 * In slices: resolver_parts_step as long as it says true, then the answer, which is valid as long as a. A step ends with the field (or, at first, with the piece of the
 * message) during which so many microseconds have passed; fd stays the caller's. */
enum { RESOLVER_PARTS_BYTES_MAX = 20971520, RESOLVER_FIELD_BYTES_MAX = 102400 };	/* a longer field is refused: what no pattern sees could hold anything */
struct parts_walk;
struct parts_walk *resolver_parts_begin(struct resolver *r, struct arena *a, const struct ipc_resolve_PARTS *m);
bool resolver_parts_step(struct parts_walk *w, int fd, uint64_t us);
void resolver_parts_answer(const struct parts_walk *w, struct ipc_resolve_PART_MATCHES *out);
/* One that mime_header_checks are asked for. */
static inline bool resolver_mime_field(struct str name)
{
	return str_case_starts(name, STR("Content-")) || str_case_eq(name, STR("MIME-Version"));
}

struct resolve_env {
	const struct conf *conf;
	int fd;			/* its channel; taken */
	bool unconfined;
};
/* The child of queued's supervisor: confines itself, serves until the channel ends. Does not return. */
void resolve_run(struct resolve_env *env);

#endif
