/* dns: the process that asks name servers for the others (lib/ipc/dns.def; the client's half is lib/dns/client.h). It knows no mail, no map and no key: what a
 * hostile answer could make of it is a liar about names. Questions run in parallel, equal ones are asked once, answers are kept for as long
 * as they say (lib/dns/cache.h). Files: dns.c channels and questions, dns_ares.c (c-ares on the loop).
 */
#ifndef DELIVER_DNS_H
#define DELIVER_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "dns/cache.h"
#include "io/loop.h"
#include "ipc/dns.h"

enum {
	DNS_CLIENTS_MAX = 64,		/* channels */
	DNS_QUESTIONS_MAX = 5000,	/* under way at once */
	DNS_WAITERS_MAX = 4000,		/* unanswered questions of one channel */
	DNS_CACHE_ENTRIES_MAX = 20000,
	DNS_CACHE_BYTES_MAX = 8 << 20,
};

enum { DNS_PAIRS = 4 };		/* members of the group with a channel of their own: queued, remote, policy, sts */

struct dns_env {
	const struct conf *conf;
	int fds[DNS_PAIRS];	/* channels; taken */
	int listen_fd;		/* run_directory/dns/sock; kept by the parent */
	bool unconfined;
};

/* The child of queued's supervisor: reads the resolver's configuration, confines itself, serves until all channels of the group have ended. Does not return. */
void dns_run(void *ctx);

/* --- dns_ares.c --- */
struct resolver_ares;
/* packet.p NULL: nobody answered, why says it. Once; may come before the return. */
typedef void resolver_ares_fn(void *ctx, struct str packet, const char *why);
int resolver_ares_open(const struct conf *conf, struct resolver_ares **out, struct err *e) MUST_CHECK;	/* reads /etc/resolv.conf: before confinement */
void resolver_ares_attach(struct resolver_ares *r, struct loop *l);
void resolver_ares_ask(struct resolver_ares *r, struct str query, resolver_ares_fn *fn, void *ctx);

#endif
