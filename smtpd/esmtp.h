/* What the parameters of MAIL and RCPT said. */
#ifndef SMTPD_ESMTP_H
#define SMTPD_ESMTP_H

#include "base/attr.h"
#include "smtpd/session.h"

struct esmtp {		/* strings live in the session's unit arena, or are literals */
	uint64_t size, ret, notify;	/* ret: enum smtp_ret; notify: bits of enum smtp_notify */
	struct str body, envid, orcpt;
	bool utf8;
};

/* Read what follows the path. 0, or -1: it has been answered. */
int esmtp_mail(struct session *s, struct str rest, struct esmtp *out) MUST_CHECK;
int esmtp_rcpt(struct session *s, struct str rest, struct esmtp *out) MUST_CHECK;

#endif
