/* One mail transaction: from MAIL to the answer to the message. One struct, one arena, one end. */
#ifndef DELIVER_QUEUED_TRANS_H
#define DELIVER_QUEUED_TRANS_H

#include "deliver/queue/queued.h"

enum final_state {
	FINAL_NEW,
	FINAL_COPYING,	/* an agent writes it */
	FINAL_READY,	/* durable in tmp */
	FINAL_SENT,
	FINAL_QUEUED,	/* goes (went) into the queue record */
	FINAL_FAILED,	/* for good */
};

/* Recipients for whom the same is done with the message. Where the filter wants more than one thing each has a message of its own in the queue. */
struct batch {
	struct str *own;	/* edits of its copies alone, behind the transaction's */
	size_t n_own;
	struct str *edits;	/* of its copies, once they are complete (batches_complete) */
	size_t n_edits;
	struct str quarantine;	/* why it is kept from them; p NULL: it is not */
	char qid[SPOOL_QID_MAX + 1];
	struct spool_msg *msg;	/* its record; NULL: none */
	struct spool_msg *making;	/* it, while the content is copied to its file */
	struct spool_fresh file;
};

/* A recipient after expansion. */
struct final {
	struct trans *t;
	struct batch *batch;	/* NULL: the transaction's main */
	size_t row;		/* of the question to the filter */
	bool named;		/* which asks about what its RCPT named, and not about itself */
	struct str kind, address, user, extension, original, folder;
	struct str sender;	/* owner-NAME of a list, or who answers for a redirected copy; empty: the message's */
	struct str instead_of;	/* of a redirected copy: the first whose place it takes; the client hears of no other address */
	enum final_state state;
	struct copy *copy;
	struct str enhanced, text;
	size_t rcpt;		/* number of the RCPT that it comes from */
	const struct str *stands_for;	/* of LMTP, a redirected copy: for each RCPT whose recipient it takes the place of, what that named, else p NULL */
	uint64_t asked_notify;	/* as that said */
	struct str asked_orcpt;
	uint64_t notify;	/* of this one: not SUCCESS where that named several or a list (RFC 3461 5.2.7), of which the sender hears as one */
	struct str orcpt;	/* empty for a list's member: its owner knows it by its own address */
	bool alone;	/* the only recipient, in a mailbox: visible as soon as it is durable */
	bool told;	/* failed with all of its RCPT, and the client of LMTP hears so; else the sender is sent a report */
	bool recorded;	/* in the queue record */
	uint64_t done_us;
};

/* What RCPT k named, if the final is for it; else p NULL. */
static inline struct str final_named(const struct final *f, size_t k)
{
	return f->stands_for ? f->stands_for[k] : f->rcpt == k ? f->original : (struct str){ 0 };
}

/* Do mailboxes or servers take it, whoever sends to that address? Commands and files of an alias have its address. */
static inline bool final_has_address(const struct final *f) { return str_eq(f->kind, STR("mailbox")) || str_eq(f->kind, STR("remote")); }

enum trans_step {
	STEP_ENVELOPE,	/* MAIL, RCPT */
	STEP_DATA,	/* the front writes */
	STEP_SCAN,	/* filterd reads */
	STEP_COPIES,	/* agents write */
	STEP_RECORD,	/* the queue record is being synced */
	STEP_VISIBLE,	/* copies are renamed: no way back */
	STEP_LATE,	/* a second record, for renames that failed, is being synced */
};

struct trans {
	struct queued *q;
	struct conn_entry *conn;	/* NULL: the client has gone */
	const struct conf *conf;	/* its listener's */
	struct arena *arena;
	char qid[SPOOL_QID_MAX + 1];
	enum trans_step step;
	uint32_t reply_id;
	uint64_t start_us, data_us;
	/* envelope */
	struct str sender, helo, tls, auth_method, body;
	struct str envid;
	uint64_t ret;
	bool esmtp, smtputf8, announced;
	size_t n_accepted;		/* RCPT commands accepted */
	struct str first_rcpt;
	struct final *finals;
	size_t n_finals, cap_finals;
	struct map *seen;		/* keys of finals, once there are many */
	struct ask *ask;		/* resolve, or filterd */
	void (*listed)(struct trans *t, bool full);	/* what follows a question about lists */
	struct copy *room;		/* an agent is asked whether a mailbox is full */
	size_t n_rows, row_bytes;	/* of the question to the filter, as far as recipients are known */
	size_t n_lists, list_rows;	/* the first list_rows of them have n_lists lists of attachments at most */
	size_t before, before_rows, before_bytes;	/* finals, and of the question, before the recipient that is asked about */
	uint64_t size_said;		/* SIZE= */
	struct str asked;		/* address being resolved */
	struct arena *asking;		/* of the recipient that is asked about alone: an alias may be large, and named often */
	struct ipc_resolve_RESULT *resolved;	/* what it is, while the restrictions are evaluated */
	struct judge *judge;
	const char *milters;		/* as smtpd_milter_maps has them for the client; NULL: nothing */
	struct milting *milting;	/* what follows when the milters have nothing against MAIL */
	uint64_t talk;			/* with the milters; 0: there are none, or they are done */
	bool milted;			/* they have seen the message */
	struct str head_text;		/* the message's header section */
	struct batch main;		/* of most recipients, mostly of all; its qid is the transaction's */
	struct batch **batches;		/* of the others */
	size_t n_batches;
	bool sorted;			/* the filter had more than one verdict: it has signed nothing */
	struct restrict_effects effects;	/* what the restrictions want done with the message */
	uint64_t asked_notify;		/* and what its RCPT said */
	struct str asked_orcpt;
	/* message */
	int fd;				/* read only; -1 */
	int new_body;			/* a milter's, to take the place of the message's; -1: none */
	uint64_t new_body_size;
	bool incoming;			/* spool holds it in incoming/ */
	struct ipc_queue_RCPT *first;	/* came with MAIL, and is to be looked at when nobody has anything against that; NULL: did not */
	bool mail_due;			/* the answer to RCPT is MAIL's, too */
	bool ready_wanted;		/* the RCPT that is asked about may be answered by READY */
	uint64_t declared;		/* SIZE=; 0: not given */
	uint64_t size;			/* once sealed */
	bool sealed;			/* nobody can write it any more */
	struct head_result head;
	struct str *edits;
	size_t n_edits;
	/* commit */
	struct timer *deadline;
	size_t n_copying, n_committing;
	bool ours;			/* the sender is one of us */
	bool tells;			/* the client hears of each recipient itself (LMTP) */
	bool *discarded;		/* for LMTP: RCPTs some of whose recipients are left out in silence */
	size_t signing;			/* the batch that is signed */
	size_t recording;		/* the batch whose record is being written */
	bool dropped;			/* the client went away while the record was being synced */
};

static inline struct str trans_qid(const struct trans *t) { return str_c(t->qid); }
struct str trans_due_qid(struct trans *t);	/* for the first answer of a transaction, which names it; to others nothing */
void trans_reply(struct trans *t, uint64_t code, const char *enhanced, struct str text);
void trans_say(struct trans *t, uint64_t code, const char *enhanced, struct str text);	/* the answer to the message; trans_free() follows */
/* Answer and end. refuse: with a note for the log on who refuses; an answer is ours. */
void trans_answer(struct trans *t, uint64_t code, const char *enhanced, struct str text);
void trans_refuse(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text);
struct str trans_discarded(const struct trans *t);	/* the words for who is left out in silence */
void trans_left_out(struct trans *t, const struct final *f);	/* that is done with this one, who leaves the list */
void trans_free(struct trans *t);
int trans_receive(struct trans *t, int *wfd_out, struct err *e) MUST_CHECK;	/* a file for the message; *wfd_out is its only writable descriptor */
int trans_final(struct trans *t, const struct final *f);	/* adds it unless it is there; -1: too many */
void trans_rcpt_undo(struct trans *t);			/* the recipient that is asked about is refused */

/* queued_effects.c: the restriction lists of this transaction. fn is called with the answer when it is no refusal; a refusal is told here and ends nothing but, at
 * RESTRICT_END, the transaction. */
typedef void trans_passed_fn(struct trans *t);
void trans_judge(struct trans *t, enum restrict_stage stage, trans_passed_fn *fn);
/* Headers, blind copies, redirection: fn goes on when the recipients are as they are to be. */
void effects_apply(struct trans *t, trans_passed_fn *fn);
void effects_filter(struct trans *t);	/* FILTER: everybody's copy goes there */
/* queued_checks.c: header_checks, body_checks; fn goes on unless they refuse. */
void checks_run(struct trans *t, trans_passed_fn *fn);
/* queued_notice.c: to whom the verdict says, if anybody. kept: the message in quarantine; n 0: it is not kept. */
void notice_send(struct trans *t, const struct ipc_filter_VERDICT *v, struct str kept);

/* queued_milter.c: fn goes on unless a milter refuses. */
void milter_mail(struct trans *t, trans_passed_fn *fn);
void milter_rcpt(struct trans *t, trans_passed_fn *fn);	/* t->asked; finals from t->before on are its */
void milter_message(struct trans *t);			/* then commit_milted */
void milter_end(struct trans *t);

/* queued_rewrite.c: addresses are rewritten, blind copies added; then commit_message. head: the message's header section. */
void rewrite_message(struct trans *t, struct str head);

/* queued_rows.c */
bool batches_room(struct trans *t, size_t from);	/* does the question have room for the finals from there on, which are one RCPT's? */
struct ipc_strs batches_rows(struct trans *t, struct arena *a, struct ipc_strs *before_out);	/* whom the filter is asked about; n 0: too many */
/* True: recipients may have more lists of attachments than a message can be checked against; it is asked, and fn is called later. False: they have not. */
typedef void listed_fn(struct trans *t, bool full);
bool batches_lists(struct trans *t, listed_fn *fn);

/* queued_batches.c */
int trans_edits(struct trans *t, const struct str *edits, size_t n, struct err *e) MUST_CHECK;	/* adds them to the envelope */
static inline struct batch *batch_of(struct trans *t, const struct final *f) { return f->batch ? f->batch : &t->main; }
struct batch *batch_at(struct trans *t, size_t i);	/* 0: the main; NULL: no more */
/* What is done with whom; then commit_scanned, commit_kept, or the answer. */
void batches_sort(struct trans *t, const struct filter_outcomes *o);
int batches_complete(struct trans *t, struct err *e) MUST_CHECK;	/* their edits, from the transaction's and their own */
int batch_edits(struct trans *t, struct batch *b, const struct ipc_strs *more, struct err *e) MUST_CHECK;	/* after batches_complete() */

/* queued_commit.c: the message is complete and sealed. */
void commit_message(struct trans *t);
void commit_scanned(struct trans *t);	/* the filter is content */
void commit_kept(struct trans *t);	/* nobody is to get it now: no milter sees it, nothing is signed */
void commit_milted(struct trans *t);	/* milters are content */
void commit_drop(struct trans *t);	/* the client has gone */
void commit_fail(struct trans *t, const struct err *e);	/* told, for now */
void commit_visible(struct trans *t);	/* the records are there: rename the copies */
void commit_done(struct trans *t);	/* they are visible */

/* queued_record.c */
void records_write(struct trans *t);	/* what is to go on record and is not; then commit_visible, after STEP_LATE commit_done, or the answer */
/* Those that could not be renamed. 0: done; 1: a record is written for them, then commit_done; -1. */
int records_late(struct trans *t, struct err *e) MUST_CHECK;
void records_schedule(struct trans *t, bool logged);	/* logged: their lines about the envelope were written */
struct spool_msg *record_envelope(struct trans *t, const struct batch *b);	/* without recipients; NULL: no memory */

#endif
