/* A FETCH in progress: shared by cmd_fetch.c (the walk over messages) and fetch_items.c (what each item says). */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H

#include "imap/crlf.h"
#include "imap/fetch.h"
#include "session.h"
#include "store/msgfile.h"

struct fetch {
	struct imap_fetch what;
	struct imap_seqset set;		/* resolved: sequence numbers */
	size_t range;			/* of set; next message is set.v[range].lo + at */
	uint32_t at;
	struct imap_seqset seen_now;	/* messages that this FETCH has marked \Seen: their flags are told */
	bool light;			/* nothing is asked for that takes of the arena or reads a file */
	bool needs_head, needs_text;	/* some section reads the file's header, the whole message */
	bool lost;			/* a message was gone */
	bool opened;			/* a file was read since the last look */
	/* the message in progress */
	uint32_t seq;			/* 0: none */
	struct mbox_msg msg;
	struct err e;			/* why it is lost: nobody is told */
	struct msgfile file;
	const struct imap_section *section;	/* the next one to begin */
	struct crlf cursor;		/* of the one being sent */
	struct str raw;			/* or these bytes as they are (BINARY); p NULL: cursor */
	uint64_t left;			/* wire bytes of it */
	bool unknown_cte;		/* a part could not be decoded */
	bool first;			/* nothing was written after "(" yet */
	struct arena_mark mark;		/* what the message took of the arena goes with it */
	struct arena_mark before;	/* fetch_aside: and what all of them took */
};

/* Items other than sections, in the order of fetch.def. -1: the message cannot be read. */
int fetch_items(struct client *c, struct fetch *f, struct err *e) MUST_CHECK;
bool fetch_from_summary(const struct imap_section *s);	/* needs no file, as a rule */
/* Begin a section: its label and either all of it, or the announcement of f->left bytes that follow from f->cursor. */
int fetch_section(struct client *c, struct fetch *f, const struct imap_section *s, struct err *e) MUST_CHECK;

/* One message's FETCH response at once, for who is to be told of it (NOTIFY). */
void fetch_now(struct client *c, const struct imap_fetch *what, uint32_t seq);
/* The same for messages from one to another, a slice at a time, while the client is not in a command (it may idle). Until then it reads nothing. */
void fetch_aside(struct client *c, const struct imap_fetch *what, uint32_t from, uint32_t to);
/* The piece of a message that a section names, in file form. False: there is no such part. */
bool section_piece(struct arena *a, struct msgfile *file, const struct imap_section *s, struct str *out);

#endif
