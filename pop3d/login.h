/* One connection of pop3d from accept to login (RFC 1939's AUTHORIZATION state): what is POP3 of it. lib/front/login.h has the rest. */
#ifndef POP3D_LOGIN_H
#define POP3D_LOGIN_H

#include "front/login.h"

enum {
	LOGIN_LINE_MAX = 2048,		/* a command; RFC 2449 4 asks for 255 */
	LOGIN_BAD_MAX = 10,		/* wrong commands before the end */
	LOGIN_COMMANDS_MAX = 100,	/* commands before login altogether */
	LOGIN_PASSWORD_MAX = 1024,
};

struct pop3_login {
	struct login l;			/* first */
	unsigned commands;
	bool utf8;			/* UTF8 was said */
	bool has_user;			/* USER was given */
	char name[256];			/* of USER, as given */
};

/* --- login.c --- */
void login_session(struct front_env *env, const struct front_conn *fc);
void login_ok(struct login *s, const char *text);
/* "-ERR [code] text"; code "" none. */
void login_err(struct login *s, const char *code, const char *text);
/* Wrong command: counts, may end the connection. */
void login_bad(struct login *s, const char *text);

/* --- login_cmd.c --- */
void login_command(struct pop3_login *s, struct str line);

#endif
