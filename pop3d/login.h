/* One connection from accept to login: the front's half of pop3d (RFC 1939's AUTHORIZATION state). It parses the few commands that come before
 * login, carries SASL steps to authd, and then either gives the client's socket away (plain) or becomes a relay (TLS). It holds no right of
 * its own and never sees a mailbox. */
#ifndef POP3D_LOGIN_H
#define POP3D_LOGIN_H

#include "base/buf.h"
#include "front/front.h"
#include "ipc/auth.h"

enum {
	LOGIN_LINE_MAX = 2048,		/* a command; RFC 2449 4 asks for 255 */
	LOGIN_SASL_LINE_MAX = 22000,	/* 16384 bytes in base64, and CRLF */
	LOGIN_IN_MAX = 65536,		/* input buffered; what is left goes to the session */
	LOGIN_BAD_MAX = 10,		/* wrong commands before the end */
	LOGIN_COMMANDS_MAX = 100,	/* commands before login altogether */
	LOGIN_ATTEMPTS_MAX = 10,	/* failed logins before the end */
	LOGIN_PASSWORD_MAX = 1024,
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
	struct timer *timer;
	unsigned bad, commands, attempts;
	uint64_t started_ms;
	bool plain_ok;			/* may log in without TLS */
	bool utf8;			/* UTF8 was said */
	bool has_user;			/* USER was given */
	char name[256];			/* of USER, as given */
	char user[256];			/* for the log: as last given (neutral), or logged in */
	char mech[65];
	enum err_code fail_code;
	char fail_text[201];
	int relay_fd;			/* our end towards the session; -1 */
	uint32_t request;
};

/* --- login.c --- */
void login_session(struct front_env *env, const struct front_conn *fc);
void login_enter(struct login *s, enum login_state state);
void login_ok(struct login *s, const char *text);
/* "-ERR [code] text"; code "" none. */
void login_err(struct login *s, const char *code, const char *text);
/* Log why, and end. */
void login_end(struct login *s, const char *why);
bool login_can_starttls(const struct login *s);
bool login_can_login(const struct login *s);
/* Wrong command: counts, may end the connection. */
void login_bad(struct login *s, const char *text);

/* --- login_cmd.c --- */
void login_command(struct login *s, struct str line);

/* --- login_auth.c (the only file that talks to authd) --- */
void auth_open(struct login *s);
void auth_close(struct login *s);
void auth_start(struct login *s, const char *mech, struct str initial);	/* initial p NULL: none */
void auth_response(struct login *s, struct str line);
void auth_cancel(struct login *s);
void auth_name(struct login *s, struct str name);	/* for our log lines */

#endif
