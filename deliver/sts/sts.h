/* sts: which mail exchangers a domain wants to be spoken to by, and that their certificates be checked (MTA-STS, RFC 8461). One process asks the DNS whether a
 * domain has a policy, fetches it over HTTPS, keeps it on disk for as long as the domain says, and answers queued (lib/ipc/sts.def). It may open connections and
 * write below its own directory, which is its root; it sees no message. Files: sts.c the process, sts_fetch.c one request, sts_cache.c what is kept,
 * sts_policy.c the texts (pure, also linked into queued).
 */
#ifndef DELIVER_STS_H
#define DELIVER_STS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"
#include "dns/client.h"
#include "io/loop.h"
#include "io/tls.h"

enum {
	STS_ID_MAX = 32,		/* RFC 8461 3.1 */
	STS_MX_MAX = 32,		/* patterns of one policy */
	STS_BODY_MAX = 65536,		/* RFC 8461 3.3: 64 KB is a good limit */
	STS_HEAD_MAX = 16384,		/* the answer's header */
	STS_AGE_MAX_S = 31557600,	/* RFC 8461 3.2 */
	STS_KEEP_MAX = 4096,		/* bytes of a policy as it is kept */
	STS_ENTRIES_MAX = 10000,	/* domains with a policy that is kept */
	STS_ORGANISATION_MAX = 100,	/* of these, of one organisation */
	STS_PROVEN_S = 86400,		/* a policy that was fetched anew after this time is in use */
	STS_UNUSED_S = 30 * 86400,	/* and may go when nobody has asked for it so long */
	STS_FETCHES_MAX = 64,		/* at once */
	STS_FETCH_MS = 20000,		/* a whole one; mail for the domain waits (RFC 8461 3.3 allows a minute) */
	STS_BACKOFF_S = 300,		/* after a failed one */
	STS_REFRESH_S = 86400,		/* a policy in use is fetched again at this age (RFC 8461 5.1) */
};

struct sts_env {
	const struct conf *conf;
	int queue_fd, dns_fd;	/* channels; taken */
	bool unconfined;
};
/* The directory of policies, made before the start (by root, for user_sts). */
void sts_directory(const struct conf *c, char *out, size_t max);
/* The child of queued's supervisor. Does not return. */
void sts_run(void *ctx);

/* --- sts_policy.c (pure) --- */
enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
struct sts_policy {
	enum sts_mode mode;
	uint64_t max_age_s;
	struct str mx[STS_MX_MAX];
	size_t n_mx;
};
const char *sts_mode_word(enum sts_mode m);
/* One TXT record of _mta-sts.DOMAIN. 0: *id_out borrows it; 1: it is something else; -1: ERR_INPUT. */
int sts_txt_parse(struct str record, struct str *id_out, struct err *e) MUST_CHECK;
/* RFC 8461 3.2. Names borrow body. */
int sts_policy_parse(struct str body, struct sts_policy *out, struct err *e) MUST_CHECK;
/* A policy as it is kept and reported: only what we know. */
void sts_policy_format(const struct sts_policy *p, struct buf *out);
/* RFC 8461 4.1: "*." stands for exactly one label. */
bool sts_mx_matches(struct str pattern, struct str host);
/* The answer to our GET so far; ended: nothing more comes. 0: body holds all of it (at most STS_BODY_MAX); 1: need more; -1: no policy is here (ERR_INPUT: broken or
 * too long; ERR_NOENT: another status than 200, which is no policy either: RFC 8461 3.3). */
int sts_http_parse(struct str in, bool ended, struct buf *body, struct err *e) MUST_CHECK;

/* --- sts_fetch.c --- */
struct sts_fetch;
/* result NULL: text is the policy's. Else a result type of RFC 8460 4.3.2, and text says why. */
typedef void sts_fetched_fn(void *ctx, struct str text, const char *result);
/* Calls from the loop. */
struct sts_fetch *sts_fetch(struct loop *l, struct dns_client *dns, struct tls_ctx *tls, struct str domain, sts_fetched_fn *fn, void *ctx);

/* --- sts_cache.c --- */
struct sts_entry {
	char *text;		/* sts_policy_format's; NULL: there is none */
	struct sts_policy policy;	/* borrows text */
	char id[STS_ID_MAX + 1];
	int64_t fetched;	/* wall clock */
	int64_t first;		/* when the first policy of this domain was fetched */
	int64_t used;		/* when one was last asked for, since the start */
	char *organisation;
	uint64_t not_before_ms;	/* monotonic: no fetch until then */
};
struct sts_cache;
struct psl;
/* Reads what is in the working directory; what is damaged or too old is removed. suffixes (lib/authres/psl.h) tell which domains are one organisation, and may be
 * NULL; borrowed. At most max domains, at most of_one of one organisation.
 *
 * Who can make us send mail can make us fetch policies, and one that is pushed out protects its domain no more (RFC 8461 10.2). So what goes first is what is too old;
 * then what is only known to have failed; then policies of which nothing shows that they are in use, the longest unused first; and those that were fetched anew
 * after STS_PROVEN_S only when nobody has asked for them in STS_UNUSED_S. An organisation that has its share pays with its own. */
struct sts_cache *sts_cache_open(size_t max, size_t of_one, const struct psl *suffixes);
void sts_cache_close(struct sts_cache **c);
struct sts_entry *sts_cache_get(struct sts_cache *c, struct str domain);	/* NULL: nothing known */
/* A new policy, on disk when this returns (or, where that fails, in memory: logged). */
int sts_cache_put(struct sts_cache *c, struct str domain, struct str id, const struct sts_policy *p, struct err *e) MUST_CHECK;
/* No fetch of this domain until then. */
void sts_cache_back_off(struct sts_cache *c, struct str domain, uint64_t until_ms);
bool sts_entry_usable(const struct sts_entry *x);	/* there, and not too old */

#endif
