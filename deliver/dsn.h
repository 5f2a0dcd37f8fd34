/* Delivery status notifications (RFC 3464, 3462): the text of a bounce or of a delay warning. Pure. */
#ifndef DELIVER_DSN_H
#define DELIVER_DSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { DSN_ORIGINAL_MAX = 50000 };	/* bytes of the original that are returned; a longer one: its header only */

enum dsn_kind { DSN_FAILED, DSN_DELAYED };

struct dsn_rcpt {
	struct str address, original;	/* original: as given, or empty */
	struct str enhanced, text, relay;	/* relay: "host[ip]:25", "local" or empty */
};

struct dsn {
	enum dsn_kind kind;
	const char *hostname, *mail_name;
	struct str qid;			/* of the original */
	struct str bounce_qid;		/* of this notification: boundary and message id */
	struct str sender;		/* who is told */
	int64_t arrived, now, retry_until;	/* wall seconds */
	const struct dsn_rcpt *rcpts;
	size_t n_rcpts;
	struct str original;		/* content as far as it was read */
	bool original_whole;		/* that is all of it */
};

/* Appends the message (LF line ends). */
int dsn_format(const struct dsn *d, struct buf *out, struct err *e) MUST_CHECK;

#endif
