/* The smtpd_*_restrictions lists: compiled once from the configuration, evaluated at each RCPT in the order client, helo, sender, relay, recipient (as
 * Postfix does with smtpd_delay_reject). Facts come from the acceptor, from authd and from resolve; nothing of the front's but what it
 * read from the client: HELO name, sender, recipient. Pure.
 */
#ifndef DELIVER_RESTRICT_H
#define DELIVER_RESTRICT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

struct restrict_set;

struct restrict_facts {
	bool mynetworks;	/* client is in mynetworks, or submits locally */
	bool user;		/* authenticated */
	struct str client, helo, sender, recipient;
	struct str class;	/* resolve's: local virtual relay default unknown routed error */
};

struct restrict_answer {
	int code;
	const char *enhanced;
	struct str text;	/* in the arena given */
};

/* Compile all lists. Errors (ERR_CONF): unknown names, names that need what is not built, and lists that would make an open relay. */
int restrict_compile(const struct conf *c, struct arena *a, struct restrict_set **out, struct err *e) MUST_CHECK;
/* true: refused, *out says how. */
bool restrict_refuses(const struct restrict_set *set, const struct restrict_facts *f, struct arena *a, struct restrict_answer *out);

#endif
