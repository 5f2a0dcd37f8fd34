/* The right side of an access(5) table and the answer of a policy service: what is to be done. Pure.
 *
 *	struct access_action act;
 *	if (access_parse(STR("554 5.7.1 Go away"), 450, 554, &act, &e) == 0 && act.kind == ACCESS_REFUSE) …
 */
#ifndef DELIVER_ACCESS_H
#define DELIVER_ACCESS_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum access_kind {
	ACCESS_OK,
	ACCESS_DUNNO,
	ACCESS_REFUSE,		/* code, enhanced, text */
	ACCESS_DEFER_IF_REJECT,	/* text */
	ACCESS_DEFER_IF_PERMIT,
	ACCESS_BCC,		/* text: address */
	ACCESS_DISCARD,		/* text: what is logged */
	ACCESS_FILTER,		/* text: transport:nexthop */
	ACCESS_HOLD,
	ACCESS_PREPEND,		/* text: "Name: value" */
	ACCESS_REDIRECT,	/* text: address */
	ACCESS_INFO,
	ACCESS_WARN,
	ACCESS_RESTRICTIONS,	/* text: words, to be taken as a list */
};

struct access_action {
	enum access_kind kind;
	int code;
	char enhanced[10];	/* of the code's class; empty: none was given */
	char given_class;	/* the class that it was written with */
	struct str text;	/* borrows */
};

/* defer_code, reject_code: of DEFER and REJECT. ERR_CONF: an action without what it needs, or a malformed code. */
int access_parse(struct str value, int defer_code, int reject_code, struct access_action *out, struct err *e) MUST_CHECK;

#endif
