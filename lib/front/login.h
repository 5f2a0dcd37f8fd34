/* A connection of imapd or pop3d until its user is known: what both protocols have in common. The protocol's file embeds struct login as its first
 * member and gives the words (struct login_protocol); this one carries SASL steps to authd, waits as authd says after a failure, and after a success
 * gives the client's socket away (plain) or becomes a relay (TLS). It holds no right of its own and never sees a mailbox.
 *
 * All functions run in the connection's loop and never block. After login_end() the object is dead; it is freed after the dispatch round. */
#ifndef FRONT_LOGIN_H
#define FRONT_LOGIN_H

#include "base/buf.h"
#include "front/front.h"
#include "ipc/auth.h"

enum {
	LOGIN_SASL_LINE_MAX = 22000,	/* 16384 bytes in base64, and CRLF */
	LOGIN_IN_MAX = 65536,		/* input buffered; what is left goes to the session */
	LOGIN_ATTEMPTS_MAX = 10,	/* failed logins before the end */
	LOGIN_ID_MAX = 1024,
	LOGIN_MECH_MAX = 64,
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

struct login;

/* What a protocol says, and how it reads. */
struct login_protocol {
	const char *log_name;		/* "imap-login" */
	bool bye_follows;		/* an end has its own words also after an answer (IMAP's BYE) */
	void (*greet)(struct login *s);
	void (*read)(struct login *s);	/* there may be input: called while login_reading() */
	/* The answer to the command that logs in: it failed. code ERR_NONE: for a reason that has no code. The command is over. */
	void (*refuse)(struct login *s, enum err_code code, const char *text);
	/* An exchange that the client ended or spoilt: answered and counted as a wrong command; the connection may end. */
	void (*bad)(struct login *s, const char *text);
	void (*bye)(struct login *s, const char *text);		/* last words */
	void (*forget)(struct login *s);			/* release what the protocol holds; no command follows. May be NULL */
};

struct login {
	const struct login_protocol *p;
	struct front_env *env;
	struct front_conn fc;
	struct conn *conn;
	struct ipc_chan *chan;		/* to authd; NULL: gone */
	enum login_state state;
	struct timer *timer;
	unsigned bad, attempts;
	uint64_t started_ms;
	bool plain_ok;			/* may log in without TLS */
	char mech[LOGIN_MECH_MAX + 1];
	char user[256];			/* for the log: as last given (neutral), or logged in */
	struct str tag;			/* IMAP: of the command; owned by the protocol */
	char client_id[LOGIN_ID_MAX + 1];	/* IMAP: what ID said */
	enum err_code fail_code;
	char fail_text[201];
	int relay_fd;			/* our end towards the session; -1 */
	uint32_t request;
};

/* s: zeroed, from the heap; owned by the loop from now on. */
void login_begin(struct login *s, const struct login_protocol *p, struct front_env *env, const struct front_conn *fc);
void login_enter(struct login *s, enum login_state state);
bool login_reading(const struct login *s);	/* input is wanted now */
/* Say bye (NULL: nothing), log why, and end. */
void login_end(struct login *s, const char *why, const char *bye);
bool login_can_starttls(const struct login *s);
bool login_can_login(const struct login *s);
/* The client asked for TLS and was told to begin. What came in the clear after that is dropped, what was learned in the clear is forgotten. */
void login_starttls(struct login *s);
bool login_offers(const struct login *s, struct str mech);

/* Begin an exchange; mech: one that login_offers(). initial: in base64, "=" an empty one, p NULL none (RFC 4954, 4959, 5034). -1: ERR_INPUT, and nothing has begun. */
int login_auth(struct login *s, struct str mech, struct str initial, struct err *e) MUST_CHECK;
/* The same for a name and a password that came in commands of their own. -1: ERR_LIMIT. */
int login_plain(struct login *s, struct str user, struct str password, struct err *e) MUST_CHECK;
void login_response(struct login *s, struct str line);	/* the client's line of the exchange, without its end */
void login_cancel(struct login *s);			/* the exchange is of no interest any more */
void login_client(struct login *s, struct str address);	/* a webmail says for whom it speaks; authd decides whether to believe it */
void login_name(struct login *s, struct str name);	/* for log lines */

#endif
