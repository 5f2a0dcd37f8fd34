/* Inside the sendmail tool: one posting, from options and stdin to the suite's submit socket. */
#ifndef ADMIN_SENDMAIL_H
#define ADMIN_SENDMAIL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

enum { POST_RCPTS_MAX = 10000, POST_MESSAGE_MAX = 1 << 30 };

struct post {
	const struct conf *conf;
	struct arena *a;
	struct str sender;		/* complete address, or "" */
	struct str author;		/* the poster's own address, for a From field that is missing */
	struct str full_name;		/* for a From field that is missing */
	bool from_header;		/* -t: recipients from To, Cc, Bcc */
	bool dot_is_text;		/* -i: a lone dot does not end the message */
	bool eight_bit;
	const char *notify, *ret, *envid;	/* -N -R -V (RFC 3461); NULL: not given */
	struct str *rcpts;
	size_t n_rcpts;
	struct buf message;		/* LF line ends, no NUL, no bare CR */
};

/* sendmail_msg.c. Each returns 0, or an exit status of sysexits.h after saying why on stderr. */
int post_read(struct post *p, FILE *from) MUST_CHECK;		/* the message, normalised */
int post_recipient(struct post *p, struct str text) MUST_CHECK;	/* one argument: addresses divided by commas */
int post_headers(struct post *p) MUST_CHECK;			/* -t, Bcc, From */
struct str post_complete(struct post *p, struct str addr);	/* myorigin appended where there is no domain */

/* sendmail_smtp.c: the dialog. saved to dead.letter by the caller when it is not 0. */
int post_send(struct post *p) MUST_CHECK;
int post_relay_stdio(const struct conf *conf) MUST_CHECK;	/* -bs */

#endif
