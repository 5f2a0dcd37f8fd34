/* One connection, inside. remote_smtp.c makes it, keeps it and ends it; remote_reply.c reads what the server says and gives each whole reply to the handler of
 * the step it answers; remote_hello.c has the handlers up to the first transaction, remote_trans.c those of a transaction. A handler may end the connection or
 * its job: nothing of s is looked at after it. */
#ifndef DELIVER_REMOTE_SMTP_PRIV_H
#define DELIVER_REMOTE_SMTP_PRIV_H

#include "deliver/remote/remote_priv.h"

enum step {		/* what the next reply answers */
	STEP_CONNECT,
	STEP_GREETING,
	STEP_EHLO,
	STEP_HELO,
	STEP_STARTTLS,
	STEP_TLS,
	STEP_AUTH,
	STEP_ENVELOPE,	/* MAIL, RCPTs and DATA, pipelined */
	STEP_DATA,
	STEP_BODY,	/* no reply is due; one is an error */
	STEP_DOT,
	STEP_EMPTY,	/* the end of a message that nobody was to have */
	STEP_RSET,
	STEP_IDLE,
	STEP_MAX_,
};

enum { FEAT_PIPELINING = 1, FEAT_SIZE = 2, FEAT_8BITMIME = 4, FEAT_STARTTLS = 8, FEAT_SMTPUTF8 = 16, FEAT_DSN = 32, FEAT_AUTH = 64 };

struct smtp {
	struct list node;		/* on remote.idle */
	struct remote *r;
	struct job *j;			/* NULL when idle */
	struct conn *c;
	struct watch *connecting;
	struct timer *connect_timer;
	int fd;				/* while connecting */
	enum step step;
	struct target target;
	char name[330];			/* "host[ip]" */
	char key[1800];			/* what it may serve again (key_of) */
	uint16_t port;
	unsigned features, mechs, messages;
	char discard[512];		/* of this server, by smtp_discard_ehlo_keyword_address_maps */
	bool discard_own;
	uint64_t size_max, born_ms;
	bool lmtp, esmtp, secure_tried, reused;
	enum auth_mech mech;
	unsigned auth_step;
	bool auth_done;
	/* reply being read */
	struct buf text;		/* lines joined by a blank, neutralised */
	char enhanced[16];
	int lines;
	/* transaction */
	bool mail_answered, mail_ok, data_sent;
	size_t rcpt_sent, rcpt_answered, rcpt_ok, dots;
	struct body body;
};

/* --- the connection (remote_smtp.c) --- */
uint64_t smtp_limit_ms(const struct smtp *s, enum step st);
const char *smtp_step_command(enum step st);	/* as in "in reply to …" */
/* The next reply answers st, and its time begins. say: a command with it, without CRLF. */
void smtp_enter(struct smtp *s, enum step st);
void smtp_say(struct smtp *s, enum step st, const char *line);
/* Wait for another message, or quit where the connection has served enough. */
void smtp_go_idle(struct smtp *s);
/* The end of the connection: at once, or with a QUIT. The job is not told. */
void smtp_drop(struct smtp *s);
void smtp_quit(struct smtp *s);
/* This connection is of no use; the job goes on elsewhere or ends. No recipient has been asked for yet. */
void smtp_give_up(struct smtp *s, const char *enhanced, const char *text, bool quit);
/* The connection broke or stalled ("what while …"): recipients without a result are tried again later. */
void smtp_broken(struct smtp *s, const char *what);

/* --- replies (remote_reply.c) --- */
struct reply {
	int code;
	char enhanced[16];
	char text[600];		/* "250 2.0.0 Ok" */
};
typedef void reply_fn(struct smtp *s, const struct reply *r);
/* Take all whole lines that have come. */
void smtp_input(struct smtp *s);
/* "host x[ip] said: 550 5.1.1 no (in reply to RCPT TO command)" */
void reply_said(const struct smtp *s, const struct reply *r, const char *command, char out[700]);
enum rcpt_status reply_status(int code);	/* of a refusal */

/* --- before the first transaction (remote_hello.c) --- */
reply_fn smtp_on_greeting, smtp_on_ehlo, smtp_on_helo, smtp_on_starttls, smtp_on_auth;
void smtp_secured(struct smtp *s);		/* the handshake has succeeded */
void smtp_tls_note(struct smtp *s, const char *result);

/* --- a transaction (remote_trans.c) --- */
void smtp_begin(struct smtp *s);		/* s->j is new */
void smtp_pump(struct smtp *s);		/* more of the message, as much as there is room for */
reply_fn smtp_on_envelope, smtp_on_data, smtp_on_dot, smtp_on_empty, smtp_on_rset;

#endif
