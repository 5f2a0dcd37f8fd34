/* What rules of SpamAssassin's ask DNS lists (check_rbl… and urirhsbl, urirhssub, uridnsbl, uridnssub): which names a message has to be looked up under, and what
 * the answers say. Nobody is asked here: whoever checks the message is handed the questions (spam_facts.ask).
 */
#ifndef SPAM_DNSLISTS_H
#define SPAM_DNSLISTS_H

#include "spam/msg.h"

enum { URI_LISTS_MAX = 500, LIST_DOMAINS_MAX = 20, LIST_RELAYS_MAX = 9, LIST_SERVERS_MAX = 24 };

/* A line "urirhssub NAME zone type subtest" and its like: of the rule NAME. */
struct uri_list {
	struct rule *rule;
	struct str zone, subtest;	/* subtest p NULL: any answer in 127/8 */
	unsigned type;
	bool by_address;		/* uridns…: the addresses of a domain's name servers are listed */
	struct uri_list *next;
};

/* "NAME zone type [subtest]" of a directive. */
int uri_list_add(struct set *s, struct rule *rule, struct str rest, bool by_address, bool subtest, struct err *e) MUST_CHECK;
/* After reading: which check_rbl names the zone of a check_rbl_sub. */
void dns_lists_bind(struct set *s);
/* Ask what active rules need to know, and keep which of them are true. */
void msg_ask_lists(struct msg *m);
int eval_dns_list(struct msg *m, const struct rule *r);

#endif
