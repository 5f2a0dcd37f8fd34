/* One connection from accept to login: the front's half of imapd. It parses the few commands that come before login, carries SASL
 * steps to authd, and then either gives the client's socket away (plain) or becomes a relay (TLS). It holds no right of its own. */
#ifndef IMAPD_LOGIN_H
#define IMAPD_LOGIN_H

#include "base/arena.h"
#include "base/buf.h"
#include "front/front.h"
#include "imap/lex.h"
#include "imap/scan.h"
#include "ipc/auth.h"

enum {
	LOGIN_LINE_MAX = 8192,		/* one command, literals not counted */
	LOGIN_LITERALS_MAX = 65536,	/* literals of one command together */
	LOGIN_SASL_LINE_MAX = 22000,	/* 16384 bytes in base64, and CRLF */
	LOGIN_BAD_MAX = 3,		/* wrong commands before BYE */
	LOGIN_ATTEMPTS_MAX = 10,	/* failed logins before BYE */
	LOGIN_IN_MAX = 65536,		/* input buffered; what is left goes to the session */
	LOGIN_ID_MAX = 1024,
};

enum login_state {
	LOGIN_ST_START,		/* implicit TLS: handshake not done */
	LOGIN_ST_COMMAND,	/* reading commands */
	LOGIN_ST_RESPONSE,	/* the next line is a SASL response */
	LOGIN_ST_AUTHD,		/* authd has the exchange */
	LOGIN_ST_DELAY,		/* refused; the answer waits */
	LOGIN_ST_HANDOVER,	/* authd is finding the user's session */
	LOGIN_ST_RELAY,		/* logged in */
	LOGIN_ST_OVER,
};

struct login {
	struct front_env *env;
	struct front_conn fc;
	struct conn *conn;
	struct ipc_chan *chan;		/* to authd; NULL: gone */
	enum login_state state;
	struct arena *arena;		/* of the command */
	struct imap_scan scan;
	struct buf cmd;			/* text of the command so far; wiped */
	struct str tag;			/* in arena */
	struct timer *timer;
	unsigned bad, attempts;
	uint64_t started_ms;
	bool plain_ok;			/* may log in without TLS */
	bool initial_due;		/* the mechanism was named without initial response, and the next line may be it */
	char mech[65];
	char user[256];			/* as given at the last attempt (neutral), or logged in */
	char client_id[LOGIN_ID_MAX + 1];
	enum err_code fail_code;
	char fail_text[201];
	int relay_fd;			/* our end towards the session; -1 */
	uint32_t request;
};

/* --- login.c --- */
void login_session(struct front_env *env, const struct front_conn *fc);
void login_enter(struct login *s, enum login_state state);
void login_untagged(struct login *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "tag OK [CODE] text"; status "OK", "NO", "BAD"; code may be "". */
void login_tagged(struct login *s, const char *status, const char *code, const char *text);
/* Say BYE (text NULL: say nothing), log why, and end. */
void login_end(struct login *s, const char *why, const char *bye);
unsigned login_caps(const struct login *s);
void login_put_caps(struct login *s, struct buf *out);
/* End of a command: forget it (secrets are wiped). */
void login_reset(struct login *s);

/* --- front_cmd.c --- */
/* The command in s->cmd is complete. */
void front_command(struct login *s);

/* --- front_auth.c (the only file that talks to authd) --- */
void auth_open(struct login *s);
void auth_close(struct login *s);
/* Begin an exchange; initial p NULL: none. */
void auth_start(struct login *s, const char *mech, struct str initial);
/* A line of the client during the exchange. */
void auth_response(struct login *s, struct str line);
void auth_client(struct login *s, struct str address);
void auth_cancel(struct login *s);

#endif
