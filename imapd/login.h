/* One connection of imapd from accept to login: what is IMAP of it. lib/front/login.h has the rest. */
#ifndef IMAPD_LOGIN_H
#define IMAPD_LOGIN_H

#include "base/arena.h"
#include "front/login.h"
#include "imap/lex.h"
#include "imap/scan.h"

enum {
	LOGIN_LINE_MAX = 40960,		/* one command, literals not counted: ID may have 30 fields of 30 and 1,024 bytes (RFC 2971 section 3.3) */
	LOGIN_LITERALS_MAX = 65536,	/* literals of one command together */
	LOGIN_BAD_MAX = 3,		/* wrong commands before BYE */
};

struct imap_login {
	struct login l;			/* first */
	struct arena *arena;		/* of the command; l.tag is in it */
	struct imap_scan scan;
	struct buf cmd;			/* text of the command so far; wiped */
};

/* --- login.c --- */
void login_session(struct front_env *env, const struct front_conn *fc);
void login_untagged(struct login *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "tag OK [CODE] text"; status "OK", "NO", "BAD"; code may be "". */
void login_tagged(struct login *s, const char *status, const char *code, const char *text);
/* A wrong command: answered, forgotten, counted; may end the connection. */
void login_bad(struct login *s, const char *text);
unsigned login_caps(const struct login *s);
void login_put_caps(struct login *s, struct buf *out);
/* End of a command: forget it (secrets are wiped). */
void login_reset(struct imap_login *s);

/* --- front_cmd.c --- */
/* The command in s->cmd is complete. */
void front_command(struct imap_login *s);

#endif
