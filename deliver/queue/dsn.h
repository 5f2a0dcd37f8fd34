/* Delivery status notifications (RFC 3464, 6522, 6533, 3461): the text of a bounce, of a delay warning, of a report of success. Pure. */
#ifndef DELIVER_DSN_H
#define DELIVER_DSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum dsn_kind { DSN_FAILED, DSN_DELAYED, DSN_SUCCESS };

struct dsn_rcpt {
	struct str address, original;	/* original: as given, or empty */
	struct str orcpt;		/* ORCPT=, "rfc822;joe@x", or empty */
	const char *action;		/* DSN_SUCCESS: delivered relayed expanded */
	struct str enhanced, text, relay;	/* relay: "host[ip]:25", "local" or empty */
};

struct dsn {
	enum dsn_kind kind;
	const char *hostname, *mail_name;
	struct str qid;			/* of the original */
	struct str bounce_qid;		/* of this notification: boundary and message id */
	struct str sender;		/* who sent the message */
	struct str to;			/* who is told */
	struct str envid;		/* ENVID=, or empty */
	bool utf8;			/* the message was sent with SMTPUTF8: its header and addresses may be beyond ASCII (RFC 6533) */
	bool postmaster;		/* a copy for the administrator: not an answer */
	bool head_only;			/* RET=HDRS, or a copy */
	uint64_t original_max;		/* bytes of an original that are returned; of a longer one its header */
	int64_t arrived, now, retry_until;	/* wall seconds */
	const struct dsn_rcpt *rcpts;
	size_t n_rcpts;
	struct str original;		/* content as far as it was read */
	bool original_whole;		/* that is all of it */
};

/* The sentence for a person. status may be empty. */
const char *dsn_reason(struct str status, bool failed);
/* Appends the message (LF line ends). */
int dsn_format(const struct dsn *d, struct buf *out, struct err *e) MUST_CHECK;

#endif
