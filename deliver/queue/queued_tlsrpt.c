/* Counts of TLS sessions to other servers by domain, policy and result, in the words of RFC 8460 4.3: what a report of the day would say. Kept in memory since the start, for
 * at most TLSRPT_ROWS_MAX combinations; the administrator asks for them ("postern-queue tls"). Reports are not sent. */
#include <stdlib.h>

#include "deliver/queue/queued.h"

enum { TLSRPT_ROWS_MAX = 20000, KEY_MAX = 700 };

struct tlsrpt_row {
	uint64_t n;
};

void tlsrpt_count(struct queued *q, struct str domain, struct str note)
{
	char key[KEY_MAX];
	struct str result = note;
	const struct str policy = str_split(&result, ' ');

	if (note.n == 0 || result.n == 0)
		return;		/* no session was begun for this delivery */
	if (q->tlsrpt == NULL)
		q->tlsrpt = map_new();
	const int n = snprintf(key, sizeof(key), "%.*s %.*s %.*s", STR_ARG(domain), STR_ARG(policy), STR_ARG(result));
	if (n < 0 || (size_t)n >= sizeof(key))
		return;
	struct tlsrpt_row *r = map_get(q->tlsrpt, str_c(key));
	if (r == NULL) {
		if (map_count(q->tlsrpt) >= TLSRPT_ROWS_MAX)
			return;
		r = xzalloc(sizeof(*r));
		(void)map_set(q->tlsrpt, str_c(key), r);
	}
	r->n++;
}

bool tlsrpt_each(const struct queued *q, size_t *it, struct str *domain, struct str *policy, struct str *result, uint64_t *n_out)
{
	struct str key;
	void *v;

	if (q->tlsrpt == NULL || !map_next(q->tlsrpt, it, &key, &v))
		return false;
	const struct tlsrpt_row *r = v;
	*domain = str_split(&key, ' ');
	*policy = str_split(&key, ' ');
	*result = key;
	*n_out = r->n;
	return true;
}
