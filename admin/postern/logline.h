/* A line of our mail log, taken apart: "Mon DD HH:MM:SS host ident[pid]: text" (or an RFC 3339 stamp, as some syslogs write), where the text of a message's events
 * starts with its queue id. Pure. */
#ifndef ADMIN_LOGLINE_H
#define ADMIN_LOGLINE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/str.h"

enum { LOGLINE_FIELDS_MAX = 32 };

struct logline {
	struct str time, host, program, pid;	/* program: the whole ident, "postfix/smtpd" */
	struct str id;				/* queue id, or empty (also for NOQUEUE) */
	struct str text;			/* behind the id */
	const char *event;			/* one word: client message-id from to removed reject notification forwarded … */
	struct { struct str name, value; } fields[LOGLINE_FIELDS_MAX];	/* name=value and name=<value> */
	size_t n_fields;
};

/* 0; -1: no line of a log. Strings borrow. */
int logline_parse(struct str line, struct logline *out) MUST_CHECK;
struct str logline_field(const struct logline *l, const char *name);	/* empty: none */
/* The queue id of another message that this line speaks of (a notification, a forwarded copy, a message handed on); empty: none. */
struct str logline_other(const struct logline *l);

#endif
