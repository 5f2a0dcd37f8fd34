/* Questions to the dns process, on a loop. Many may be under way; each is answered once by its callback, never from inside dns_ask(), or never
 * after dns_forget(). A channel that closes answers all with DNS_TROUBLE; the next question opens a new one if there is a way to (dns_open_fn).
 *
 *	struct dns_client *d = dns_client_new(loop, fd, NULL, NULL);
 *	struct dns_ask *q = dns_ask(d, STR("example.com"), DNS_MX, on_mx, ctx);
 *	static void on_mx(void *ctx, const struct dns_answer *a) { if (a->result == DNS_HAS) …
 */
#ifndef DNS_CLIENT_H
#define DNS_CLIENT_H

#include "dns/wire.h"
#include "io/loop.h"

enum dns_result {
	DNS_HAS,	/* records are there */
	DNS_HAS_NONE,	/* the name exists, or may, but has no such record */
	DNS_NO_SUCH,	/* there is no such name */
	DNS_TROUBLE,	/* nobody knows now: temporary */
};

struct dns_answer {		/* valid during the call */
	enum dns_result result;
	bool ad;		/* authentic, says the name server; believe it only if the way to it is safe (loopback) */
	uint32_t ttl;
	struct str canonical;
	const struct str *v;	/* as lib/dns/wire.h writes them */
	size_t n;
	struct str why;		/* of DNS_TROUBLE */
};

enum { DNS_ASK_MS = 20000, DNS_ASKS_MAX = 4000 };	/* no answer of the process itself; questions of one client at once */

struct dns_client;
struct dns_ask;
typedef void dns_fn(void *ctx, const struct dns_answer *a);
/* Open a channel, or begin to: 0 and *fd_out (owned by the client; -1: it comes later by dns_client_attach), -1: not possible now. */
typedef int dns_open_fn(void *ctx, int *fd_out);

struct dns_client *dns_client_new(struct loop *l, int fd, dns_open_fn *open, void *ctx);	/* takes fd; -1: at the first question */
void dns_client_attach(struct dns_client *d, int fd);	/* takes fd; -1: there will be none: what waits is answered */
void dns_client_free(struct dns_client **d);		/* answers nothing any more */
/* Remember answers from now on, so many and so much; dns_known() finds them. For who asks the same again and again: each question is two wake-ups. */
void dns_client_remember(struct dns_client *d, size_t entries_max, size_t bytes_max);
bool dns_known(struct dns_client *d, struct str name, unsigned type, struct dns_answer *out);	/* true: *out, valid until the loop runs; else ask */
struct dns_ask *dns_ask(struct dns_client *d, struct str name, unsigned type, dns_fn *fn, void *ctx);
void dns_forget(struct dns_ask **q);			/* accepts NULL */

#endif
