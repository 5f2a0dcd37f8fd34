/* Does a message match? The evaluation of SEARCH keys (RFC 3501 section 6.4.4), apart from any command: cheap keys first, the message's file only
 * when they leave it open. SORT, THREAD and filters use the same. */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H

#include "base/arena.h"
#include "base/buf.h"
#include "imap/search.h"
#include "imap/text.h"
#include "store/ahead.h"
#include "store/search.h"

enum { MATCH_SCORE_FULL = 100 };

struct matcher {
	struct mbox *mbox;
	struct mbox_view *view;
	struct imap_search_key *keys;
	int64_t now;
	/* the message being looked at */
	uint32_t seq;
	struct mbox_msg msg;
	struct msgfile file;
	bool opened;			/* its file was read */
	bool uses_numbers;		/* sequence numbers are among the keys: their meaning changes */
	unsigned score;			/* of a match, 1 to 100 (RFC 6203): less when a fuzzy key matched loosely */
	bool passing;			/* the time, or what this connection alone knows, is among them: the same search may find others later */
	bool uses_flags;		/* flags, keywords or mod-sequences are among the keys */
	bool all;			/* every message matches: no test is needed */
	bool uses_modseq;		/* a MODSEQ key is among them: the answer says the highest (RFC 7162 3.1.5) */
	bool unreadable;		/* its file cannot be read: keys that need it do not match */
	/* inside */
	struct arena *arena;
	struct imap_text text;
	const struct imap_search_key *key;	/* whose text is looked for */
	struct mbox_candidates *may;	/* messages that may match at all; NULL: all */
	struct matcher_asked *asking;	/* what the index has not answered yet */
	bool asked;
	bool ready;
};

/* Prepare keys: strings are folded, cheap keys put first, sets resolved by resolve()
 * (sequence numbers, or UIDs when uid). Strings live in a. -1 ERR_INPUT: a string is not valid in
 * UTF-8, or a sequence number out of range. */
int matcher_init(struct matcher *m, struct arena *a, struct mbox *mbox, struct mbox_view *v, struct imap_search_key *keys,
		 int (*resolve)(void *ctx, struct imap_seqset *set, bool uid, struct err *e), void *ctx, struct err *e) MUST_CHECK;
void matcher_fini(struct matcher *m);
/* The index is loaded, and asked, a piece at a time: call until true, before the first test. */
bool matcher_ready(struct matcher *m);
/* The first message from seq on that may match: 0 none. */
uint32_t matcher_next(const struct matcher *m, uint32_t seq);
bool matcher_test(struct matcher *m, uint32_t seq);
/* For a walk over all that matcher_next names: an mbox_ahead_fn of MATCHER_AHEAD, ctx the matcher. */
enum { MATCHER_AHEAD = MBOX_AHEAD_SUMMARY | MBOX_AHEAD_HEAD | MBOX_AHEAD_TEXT };
unsigned matcher_ahead(void *ctx, uint32_t *seq);

#endif
