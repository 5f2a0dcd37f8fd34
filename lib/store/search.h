/* The search index of a folder: which messages may hold a text. Built of signatures (trigram.h), one per message for all of its text and one for the header
 * fields that people search most; kept up when messages arrive, are appended or are first looked at; disposable. Its answers err on one side only: a
 * message that is not a candidate does not hold the text; a message that is one must be looked at. Messages that it does not know are always candidates.
 *
 *	while (!mbox_search_load(v)) … others' turn …;
 *	c = mbox_search_ask_begin(v, MBOX_SEARCH_TEXT, &needle, 1, arena);
 *	while (c && mbox_search_ask_step(v, c)) … others' turn …;
 *	for (seq = mbox_search_next(c, v, 1); seq != 0; seq = mbox_search_next(c, v, seq + 1)) {
 *		… read the message, test it …
 *		mbox_search_learn(v, seq, &file);
 *	}
 *	mbox_search_flush(mbox);
 */
#ifndef STORE_SEARCH_H
#define STORE_SEARCH_H

#include "store/msgfile.h"
#include "store/store.h"

enum mbox_search_kind {
	MBOX_SEARCH_HEAD,	/* values of Subject, From, To, Cc, Bcc, Sender, Reply-To (mbox_search_in_head) */
	MBOX_SEARCH_TEXT,	/* all that imap/text.h shows of a message */
	MBOX_SEARCH_KINDS,
};
struct mbox_candidates;

bool mbox_search_in_head(struct str field);
/* What other processes and earlier ones know, a piece at a time; true: all of it. */
bool mbox_search_load(struct mbox_view *v);
/* Which messages may hold all n needles, each a substring in the collation's form (imap/fold.h)? In a; valid while the view's numbers do not
 * move. NULL: the index cannot tell (needles too short, nothing is indexed). In pieces of a millisecond: what begin returns is to be used when step has returned false.
 * Between them the index may change, and be replaced. */
struct mbox_candidates *mbox_search_ask_begin(struct mbox_view *v, enum mbox_search_kind kind, const struct str *needles, size_t n, struct arena *a);
bool mbox_search_ask_step(struct mbox_view *v, struct mbox_candidates *c);	/* true: more is left */
bool mbox_search_may(const struct mbox_candidates *c, const struct mbox_view *v, uint32_t seq);
uint32_t mbox_search_next(const struct mbox_candidates *c, const struct mbox_view *v, uint32_t seq);	/* the first candidate from seq on; 0: none */
/* c becomes what is in both. */
void mbox_search_and(struct mbox_candidates *c, const struct mbox_candidates *other);
bool mbox_search_knows(const struct mbox_view *v, uint32_t seq, enum mbox_search_kind kind);
/* The message's file is in hand: what the index does not know of it yet, it learns (with head_only: of the header). */
void mbox_search_learn(struct mbox_view *v, uint32_t seq, struct msgfile *f);
/* Just learned: may it hold all needles? */
bool mbox_search_learned(struct mbox_view *v, uint32_t seq, enum mbox_search_kind kind, const struct str *needles, size_t n);
void mbox_search_learn_head(struct mbox_view *v, uint32_t seq, struct str head);	/* or only those fields of it that mbox_search_in_head */
void mbox_search_flush(struct mbox *m);
/* The same in pieces of some milliseconds: what was learned is written, then what else there is to do. True: more is left, which is done by further calls, as more is learned,
 * or never: it only makes the files smaller. */
bool mbox_search_flush_step(struct mbox *m);

#endif
