/* Milters: one transaction ("talk") with all of its milters (policy_talk.c), and the conversation with one of them (policy_milter.c). A connection may serve another
 * transaction afterwards (policy_pool.h).
 */
#ifndef DELIVER_POLICY_MILTER_H
#define DELIVER_POLICY_MILTER_H

#include "deliver/policy/milter_wire.h"
#include "deliver/policy/policy_pool.h"
#include "io/conn.h"
#include "io/loop.h"
#include "ipc/policy.h"
#include "mail/edit_view.h"

enum {
	POLICY_TALKS_MAX = 5000,
	POLICY_TALK_BYTES_MAX = 64 << 20,
	POLICY_CHANGES_MAX = 1000,	/* of recipients, in one message */
	POLICY_EDITS_MAX = 256,		/* as many as the spool's records hold */
	POLICY_TEXT_MAX = 400,		/* of a refusal */
	POLICY_STAGE_FACTOR = 4,	/* a milter that says "progress" again and again has this many times its limit in all */
};

/* Steps of a conversation, in their order. */
enum milter_step { TELL_OPTIONS, TELL_CONNECT, TELL_HELO, TELL_MAIL, TELL_RCPT, TELL_DATA, TELL_HEADER, TELL_EOH, TELL_BODY, TELL_EOM, TELL_AFTER };

struct talk;

/* A body in place of the message's, in a file in memory: lines end in LF. */
struct new_body {
	int fd;				/* -1: none */
	uint64_t size;
	bool cr;			/* the last byte that came was one */
};

struct milter {
	struct talk *talk;
	struct milter_setting set;
	const char *name;		/* as it is configured, for the log */
	struct dial *dial;
	struct conn *conn;
	struct milter_options options;
	enum milter_step step, last;	/* of the stage */
	bool waiting;			/* for an answer to step */
	bool blocked;			/* until output has left */
	bool done;			/* it is not asked any more */
	bool broken;			/* it failed: its default action holds */
	bool seen_mail;
	bool went_on;			/* its answer to the end of the message was "continue" */
	bool reused, heard;		/* the connection served a transaction before; something has come in this one */
	size_t at;			/* next header field */
	uint64_t off;			/* next byte of the body */
	struct timer *stage;		/* the end of its patience */
	/* what it wants, until its final answer makes it true */
	struct mail_view view;
	bool edited;
	size_t n_changes;
	struct str sender, quarantine;
	struct new_body body;
};

enum talk_action { TALK_ACCEPT, TALK_REFUSE, TALK_DISCARD };
struct talk_verdict {
	enum talk_action action;
	int code;
	char enhanced[MILTER_ENHANCED_MAX];
	struct str text;
};

struct talk {
	struct loop *loop;
	struct dns_client *dns;
	struct milter_pool *pool;
	struct arena *arena;
	uint64_t id;
	struct milter *v;
	size_t n, at;			/* the one that is asked */
	bool busy;
	enum milter_step first, last;	/* the stage */
	/* facts */
	struct ipc_policy_BEGIN *begin;
	struct ipc_policy_RCPT *rcpt;
	int fd;				/* the message; -1 */
	uint64_t body, size, size_max;	/* where the body begins and ends in it */
	bool replaced;			/* fd is a body alone, of a milter */
	struct mail_view view;		/* its header, as the milters before have made it */
	/* the result */
	bool edited;
	struct str *changes;		/* "+address" "-address" */
	size_t n_changes;
	struct str sender, quarantine;	/* p NULL: none */
	struct talk_verdict verdict;
	void (*fn)(void *ctx, struct talk *t);
	void *ctx;
	uint32_t request;
};

/* --- policy_milter.c --- */
/* Goes through the stage's steps; milter_passed or milter_verdict (of its talk) follow, from the loop or at once. */
void milter_start(struct milter *m, enum milter_step first, enum milter_step last);
void milter_close(struct milter *m);	/* quit */

/* --- policy_milter_ask.c: what is sent at each step --- */
/* 0: sent (*more: this step is not over); 1: it does not want to see it; -1. */
int milter_send(struct milter *m, bool *more, struct err *e) MUST_CHECK;
bool milter_answers(const struct milter *m);	/* is an answer due to what was sent? */

/* --- policy_milter_change.c: what it wants to be changed --- */
int milter_change(struct milter *m, const struct milter_reply *r, struct err *e) MUST_CHECK;	/* -1: a violation of the protocol */
int milter_changes_begin(struct milter *m, struct err *e) MUST_CHECK;
void milter_changes_keep(struct milter *m);	/* its final answer has come */
void milter_changes_forget(struct milter *m);
/* policy_milter_body.c: a piece of a new body. -1: too long, or not lines of text. */
int milter_body_add(struct new_body *b, struct str piece, uint64_t max, struct err *e) MUST_CHECK;
void milter_body_free(struct new_body *b);

/* --- policy_talk.c --- */
typedef void talk_fn(void *ctx, struct talk *t);
/* The verdict is in t when fn is called, from the loop. 0; -1: the milters cannot be parsed. */
int talk_new(struct loop *l, struct dns_client *dns, struct milter_pool *pool, const struct ipc_policy_BEGIN *m, talk_fn *fn, void *ctx, struct talk **out,
	     struct err *e) MUST_CHECK;
void talk_free(struct talk **t);
void talk_begin(struct talk *t);
void talk_rcpt(struct talk *t, const struct ipc_policy_RCPT *m);
int talk_message(struct talk *t, const struct ipc_policy_MESSAGE *m, int fd, struct err *e) MUST_CHECK;	/* takes fd */
void talk_passed(struct talk *t);	/* the milter that is asked has nothing against it */
void talk_refuse(struct talk *t, int code, const char *enhanced, struct str text);
void talk_discard(struct talk *t);
int talk_edits(struct talk *t, struct ipc_strs *out, struct err *e) MUST_CHECK;

#endif
