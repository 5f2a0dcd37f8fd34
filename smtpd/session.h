/* One connection from accept to close: its state, its line loop, its replies, its limits, its log lines. Command handlers get the session and
 * their arguments, check only their own business, and either reply (session_reply) or ask another daemon (peers.h) and reply from
 * the callback. While a reply is outstanding no further line is read, so that answers keep their order.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/conf.h"
#include "front/front.h"
#include "io/conn.h"
#include "io/loop.h"
#include "ipc/ipc.h"
#include "smtp/data.h"

enum session_state {		/* what the client has said; bits, for commands.def */
	ST_START = 1,		/* no EHLO or HELO yet */
	ST_IDLE = 2,		/* greeted, no transaction */
	ST_MAIL = 4,		/* a sender is accepted */
	ST_RCPT = 8,		/* and a recipient */
	ST_BDAT = 16,		/* and some chunks of the message */
	ST_TRANS = ST_MAIL | ST_RCPT | ST_BDAT,
	ST_ANY = 31,
};

enum session_mode {		/* what the next event may be */
	MODE_COMMAND,		/* a command line */
	MODE_UPSTREAM,		/* a proxy's header: there is no conn yet */
	MODE_SASL_LINE,		/* a response line of AUTH */
	MODE_GREET,		/* the pause before the greeting */
	MODE_DATA,		/* message data */
	MODE_BDAT,		/* a chunk of it, or one that is dropped */
	MODE_QUEUE,		/* an answer of queued */
	MODE_AUTH,		/* an answer of authd */
	MODE_TLS,		/* the end of the handshake */
	MODE_SLEEP,		/* a penalty's end */
	MODE_CLOSED,		/* nothing any more */
};

enum command_flag { F_LAST = 1, F_JUNK = 2, F_MAIL = 4, F_NOARG = 8, F_SMTP = 16, F_LMTP = 32 };

enum {
	LINE_MAX_AUTH = 12290,		/* RFC 4954 4: 12288 bytes, and CRLF */
	INPUT_MAX = 65536,		/* buffered input of one connection */
	OUTPUT_HIGH = 65536, OUTPUT_MAX = 262144,
	REPLY_MAX = 32768,		/* replies held back while a pipelined group is worked on */
	FOOTED_MAX = 2048,	/* text of a refusal with its footer */
	DATA_ROOM = 65536,		/* message bytes per write */
	LINGER_MS = 2000,
	TLS_MS = 15000,			/* handshake */
	QUEUE_MS = 120000,		/* queued's answer to MAIL, RCPT, DATA */
	QUEUE_END_MS = 600000,		/* to the end of data: filters and deliveries are in it */
	AUTH_MS = 60000,		/* authd's answer */
	RATE_WINDOW_MS = 120000,	/* during DATA at least RATE_WINDOW_BYTES must come in each window */
	RATE_WINDOW_BYTES = 2048,
	RCPT_OVERSHOOT = 1000,		/* recipients above the limit that are refused without being counted as errors */
	BAD_LINES_MAX = 2,		/* lines with NUL or bare CR before the connection is closed */
	LOG_TEXT_MAX = 200,
};

struct session;
struct ipc_queue_REPLY;
struct ipc_queue_REPLIES;
struct ipc_auth_FAIL;

struct command {
	const char *verb;
	unsigned states, flags;
	void (*run)(struct session *s, struct str args);
	const char *help;
};
enum command_id {
#define CMD(verb, states, flags, handler, help, source) CMD_##verb,
#include "commands.def"
#undef CMD
	CMD_UNKNOWN,
	CMD_MAX_
};
extern const struct command commands[CMD_MAX_];

enum ext_id {
	EXT_NONE = -1,
#define EXT(id, keyword, offer, source) EXT_##id,
#include "extensions.def"
#undef EXT
	EXT_MAX_
};

/* What a kind of listener demands. Rows in profile.c. */
struct profile {
	const char *name;
	bool need_tls, need_auth;	/* before MAIL */
	bool offer_auth;
	bool lmtp;			/* RFC 2033: LHLO, and an answer for each recipient */
	bool local;			/* UNIX socket: the peer's uid is known to queued */
};
const struct profile *profile_find(const char *name);	/* unknown names: the strictest */

/* One mail transaction; on the session's unit arena, dropped whole by trans_reset(). */
struct esmtp;
struct trans {
	bool open;		/* queued knows of it: it has answered MAIL with 250, or the first RCPT, which brought MAIL with it */
	const struct esmtp *params;	/* of MAIL */
	struct str sender;
	struct str first_rcpt;	/* that was accepted */
	uint64_t rcpt_ok, rcpt_bad, rcpt_over;
	char qid[33];
	const char *malformed;	/* what its content held that none may; NULL: nothing so far */
};

struct smtp_xattrs;

struct session {
	struct front_env *env;
	const struct conf *conf;
	struct front_conn fc;
	const struct profile *profile;
	struct conn *c;
	enum session_state state;
	enum session_mode mode, mode_after;	/* mode_after: what MODE_SLEEP returns to */
	bool may_xclient, may_xforward;		/* by the address that was accepted, and that of the client it speaks for */
	bool cert_trusted;			/* the client has shown a certificate that smtpd_tls_CAfile's or smtpd_tls_CApath's authorities vouch for */
	struct smtp_xattrs *xclient;		/* being asked of queued; unit arena */
	struct smtp_xattrs *forward;		/* XFORWARD for the next message; in forward_arena */
	struct arena *forward_arena;
	struct watch *upstream;			/* MODE_UPSTREAM */
	struct buf upstream_head;		/* what has come of the header */
	bool early;				/* has talked into the pause before the greeting */
	uint64_t greet_from_ms;
	bool other_client;			/* authd is to be told of fc.client before a login */
	uint32_t discard;			/* bits of enum ext_id: not to be offered (smtpd_discard_ehlo_keywords) */
	bool esmtp, eof, dead, finish_after;	/* finish_after: close when the current reply is out */
	bool quit;				/* the client has said its last word */
	bool running;
	bool answered;				/* since the deadline was set: only an answer starts a new one, not a byte */
	struct buf helo;
	struct buf out;				/* replies not yet given to c */
	uint64_t refuser;			/* of the answer of queued that is being handled, for the log */
	char host[160];				/* "name[address]" for the log */
	struct timer *timer;			/* penalties, data rate */

	enum command_id cmd, last_cmd;		/* being worked on; the last one, for the log */
	struct { uint32_t ok, total; } count[CMD_MAX_];
	uint32_t commands_ok, commands_total;
	uint32_t errors, junk, bad_lines;

	/* the other daemons: peers.c */
	struct ipc_chan *queue, *auth;
	bool auth_gone;
	uint32_t wait_id;
	uint16_t asked;				/* the type of the question to queued */
	bool next_due;				/* the next word to queued has to tell that it is of this connection */
	bool unheard;				/* queued was told something that has no answer, and has answered nothing since */
	void (*on_queue)(struct session *s, const struct ipc_queue_REPLY *r);

	struct arena *unit;
	struct trans t;
	char rcpt[1025];			/* the recipient that queued is asked about */

	/* AUTH: cmd_auth.c */
	char user[256];				/* authenticated; else empty */
	char mech[65];
	bool sasl_started;
	uint64_t auth_ok;

	/* DATA: cmd_data.c */
	struct smtp_data *data;
	char *room;
	int data_fd;
	int ready_fd;				/* what OPEN would bring: came with a recipient's answer; -1: DATA asks for it */
	uint64_t ready_max;
	uint64_t data_mark;			/* bytes at the start of the rate window */
	uint64_t data_bytes;
	uint64_t data_until_ms;			/* when the whole message must be in */
	struct {
		uint64_t left, size;		/* of the chunk */
		bool last, skip;
	} bdat;
};

/* Entry point of the front frame. */
void session_start(struct front_env *env, const struct front_conn *fc);

/* The answer to the current command, made by lib/smtp. A code below 400 counts it as good, 300..399 leaves it open; an error counts against the
 * limits and may delay the answer or end the session. */
void session_reply(struct session *s, int code, const char *enhanced, const char *fmt, ...) PRINTF_LIKE(4, 5);
void session_reply_str(struct session *s, int code, const char *enhanced, struct str text);
/* One of several answers to a command, but the last (LMTP); it counts for nothing. */
void session_reply_part(struct session *s, int code, const char *enhanced, struct str text);
/* The same after a delay of authd's or ours. */
void session_reply_after(struct session *s, uint64_t delay_ms, int code, const char *enhanced, struct str text);
/* Replies that wait are given to the connection; the session ends when they have left; nothing of the client is read for so long. */
void session_flush(struct session *s);
void session_end_after_flush(struct session *s);
void session_sleep(struct session *s, uint64_t ms);
/* An error more. true: that is one too many, and the log says so. */
bool session_too_many_errors(struct session *s);
/* The 220 line. */
void session_greet(struct session *s);
/* Read on; called when an answer of another daemon has been turned into a reply. */
void session_run(struct session *s);
/* After the replies that wait: close. */
void session_finish(struct session *s);
/* Close now, saying nothing (peer gone or broken). */
void session_drop(struct session *s);
/* 421 and close. */
void session_abort(struct session *s, const char *enhanced, const char *text);
void session_set_state(struct session *s, enum session_state st);
void session_wait(struct session *s, enum session_mode mode, uint64_t ms);	/* for another daemon */
/* Forget the transaction; queued is told when it knows of one. */
void trans_reset(struct session *s, bool tell_queued);
bool session_secure(const struct session *s);
bool session_may_offer_auth(const struct session *s);
bool session_offers(const struct session *s, enum ext_id id);
/* RFC 4954 6, RFC 3207 4: what the listener demands before mail and has not got; NULL: nothing. */
struct refusal {
	int code;
	const char *enhanced, *text;
};
const struct refusal *session_demands(const struct session *s);
/* Where a verb stands now: "MAIL", "DATA (123 bytes)", "CONNECT". */
const char *session_stage(const struct session *s);
/* "NOQUEUE: reject: RCPT from host[ip]: 554 5.7.1 text; from=<a> to=<b> proto=ESMTP helo=<h>" */
void session_host(struct session *s, struct str name);	/* the client has this name; empty: nothing new */
bool session_has_footer(const struct session *s);
void session_footer(const struct session *s, int code, const char *enhanced, struct buf *text);	/* what is to be said with a refusal, appended to its text */
void session_log_reject(struct session *s, const char *stage, int code, const char *enhanced, struct str text, struct str to);
void session_log_disconnect(struct session *s);
struct str session_neutral(struct buf *b, struct str s);	/* a client's text for a log line; b is begun, and the caller's to end */

/* Handlers: one prototype per row. */
#define CMD(verb, states, flags, handler, help, source) void handler(struct session *s, struct str args);	/* some stand in two rows */
#include "commands.def"
#undef CMD
/* Extensions: false: not usable now. out gets the EHLO argument. */
typedef bool ext_fn(const struct session *s, struct buf *out);
#define EXT(id, keyword, offer, source) bool offer(const struct session *s, struct buf *out);
#include "extensions.def"
#undef EXT

/* Another client than the one that was accepted (PROXY, XCLIENT): name may be empty, address is numeric or "unknown". */
void session_client(struct session *s, struct str name, struct str address);
/* The first act of the SMTP session: TLS or the greeting. */
void session_begin(struct session *s);
/* upstream.c: does a PROXY header come first? Wait for it, then session_begin. */
bool upstream_expected(const struct session *s);
void upstream_start(struct session *s);
/* greet.c: is there a pause before the greeting? Begin it; something has come; are recipients refused because of it? */
bool greet_waits(const struct session *s);
void greet_start(struct session *s);
void greet_early(struct session *s);
bool greet_refuses(const struct session *s);
/* cmd_xclient.c */
void xforward_forget(struct session *s);
/* cmd_hello.c: the words of smtpd_discard_ehlo_keywords, for this client. */
void hello_discard(struct session *s);
/* cmd_data.c: message data has come; the client has gone in the middle; the rate window has passed. */
void data_input(struct session *s);
/* The limits of time for the rest of a message, or of a chunk; an end of reading for now, and for good: judge it and give it to queued. */
void data_clock(struct session *s);
void data_pause(struct session *s);
void data_ended(struct session *s);
void data_each(struct session *s, const struct ipc_queue_REPLIES *m);	/* LMTP: queued's answers */
void data_refused(struct session *s, const struct ipc_queue_REPLY *r);
void data_ask(struct session *s, void (*refused)(struct session *, const struct ipc_queue_REPLY *));	/* then data_open, or refused */
/* cmd_bdat.c: a chunk begins, with queued's descriptor at hand; bytes have come. */
void bdat_chunk(struct session *s);
void bdat_input(struct session *s);
void data_abandon(struct session *s);
bool data_too_slow(struct session *s);
/* cmd_auth.c: a response line; authd's answers. */
void auth_line(struct session *s, struct str line);
void auth_challenge(struct session *s, struct str data);
void auth_done(struct session *s, struct str user);
void auth_failed(struct session *s, const struct ipc_auth_FAIL *f);
/* ccert.c: smtpd_tls_CAfile, smtpd_tls_CApath, before a process is confined; are clients asked for a certificate? One was asked for: tell of it. */
int ccert_open(struct front_env *env, struct err *e) MUST_CHECK;
bool ccert_asked(const struct session *s);
void ccert_seen(struct session *s);
/* cmd_starttls.c */
void tls_start(struct session *s);
void tls_counted(struct session *s);	/* the same, after asking queued when handshakes are limited */
void tls_done(struct session *s);

#endif
