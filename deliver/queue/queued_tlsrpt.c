/* Counts of TLS sessions to other servers by domain, policy, result and server, in the words of RFC 8460 4.3: what a report of the day says. Kept in memory since the
 * start, for at most TLSRPT_ROWS_MAX combinations; the administrator sees them by "postern-queue tls". Reports are not sent. */
#include <stdlib.h>

#include "deliver/queue/queued.h"

enum { TLSRPT_ROWS_MAX = 20000, KEY_MAX = 900 };

struct row {
	struct tlsrpt_row shown;
	char *text;	/* its strings */
};

static struct row *row_new(struct str key)
{
	struct row *r = xzalloc(sizeof(*r));
	struct str *const parts[] = { &r->shown.domain, &r->shown.policy, &r->shown.result, &r->shown.exchanger, &r->shown.address, &r->shown.own };
	struct str rest;

	r->text = xstrndup(key.p, key.n);
	rest = str_c(r->text);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		*parts[i] = str_split(&rest, ' ');
	return r;
}

void tlsrpt_count(struct queued *q, struct str domain, struct str note)
{
	char key[KEY_MAX];

	if (note.n == 0)
		return;		/* no session was begun for this delivery */
	if (q->tlsrpt == NULL)
		q->tlsrpt = map_new();
	const int n = snprintf(key, sizeof(key), "%.*s %.*s", STR_ARG(domain), STR_ARG(note));
	if (n < 0 || (size_t)n >= sizeof(key))
		return;
	struct row *r = map_get(q->tlsrpt, str_c(key));
	if (r == NULL) {
		if (map_count(q->tlsrpt) >= TLSRPT_ROWS_MAX)
			return;
		r = row_new(str_c(key));
		(void)map_set(q->tlsrpt, str_c(key), r);
	}
	r->shown.n++;
}

void tlsrpt_policy_trouble(struct queued *q, struct str domain, struct str result)
{
	char note[64];

	(void)snprintf(note, sizeof(note), "sts %.*s", STR_ARG(result));
	tlsrpt_count(q, domain, str_c(note));
}

const struct tlsrpt_row *tlsrpt_next(const struct queued *q, size_t *it)
{
	struct str key;
	void *v;

	if (q->tlsrpt == NULL || !map_next(q->tlsrpt, it, &key, &v))
		return NULL;
	return &((struct row *)v)->shown;
}
