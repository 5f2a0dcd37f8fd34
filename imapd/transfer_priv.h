/* What transfer.c (the command, where messages come from) and transfer_target.c (where they go) share. */
#ifndef IMAPD_TRANSFER_PRIV_H
#define IMAPD_TRANSFER_PRIV_H

#include "session.h"

enum {
	TRANSFER_MAX = 10000,	/* messages of one command, as of one APPEND */
	TRANSFER_PIECE = 256,	/* of those that are put or taken away at once: some milliseconds */
};

struct transfer {
	struct client *c;
	struct link *from, *to;		/* NULL: the client's own */
	bool move, failed;
	struct str set, name;		/* as the client spelled them; in the command's arena */
	uint32_t *uids;			/* of the originals, in order */
	size_t n;
	/* source of our own */
	uint32_t *seqs;
	size_t n_seqs, at;
	bool sent;
	struct timer *timer;		/* begins it, or goes on */
	size_t expunged;		/* of the originals, in pieces */
	/* target of our own */
	struct mbox *mbox;
	struct mbox_append *append;
	uint32_t *new_uids;
	uint64_t bytes;			/* so far, for the quota */
	/* target elsewhere */
	bool begun;
	const char *code;		/* COPYUID */
};

/* The command's answer; t is gone. */
void transfer_answer(struct transfer *t, const char *status, const char *code, const char *text);
void transfer_fail(struct transfer *t, const char *code, const char *text);	/* once */
void transfer_fail_err(struct transfer *t, const struct err *e);
void transfer_fail_busy(struct transfer *t);	/* too much is unanswered on a link */
void transfer_pass_on(struct transfer *t, struct str rest);	/* what the other process says, as it says it */
void transfer_on_lost(void *ctx, struct link *l, enum err_code code);	/* of a link_user */
void transfer_push(struct transfer *t);		/* from a source of our own, until the other side has enough for now */

/* The next message begins: size bytes of data are to follow. flags without \Recent. */
int transfer_target_message(struct transfer *t, struct str flags, struct str date, uint64_t size);
int transfer_target_data(struct transfer *t, struct str bytes);
void transfer_target_finish(struct transfer *t);	/* all are there */

#endif
