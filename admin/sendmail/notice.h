/* A mail of a tool's own, through the sendmail program of this installation: null sender, not answered.
 *
 *	struct notice n;
 *	if (notice_open(&n, conf, "postmaster", &e) == 0) {
 *		fprintf(n.to, "To: postmaster\nSubject: …\n\n…");
 *		rc = notice_close(&n, &e);
 *	}
 */
#ifndef ADMIN_NOTICE_H
#define ADMIN_NOTICE_H

#include <stdio.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

struct notice {
	FILE *to;		/* header and text, LF */
	pid_t pid;
};
int notice_open(struct notice *n, const struct conf *conf, const char *address, struct err *e) MUST_CHECK;
int notice_close(struct notice *n, struct err *e) MUST_CHECK;	/* 0: it is in the queue */

#endif
