/* What SORT and THREAD need of a folder's messages, as numbers in columns: dates, ranks of sort keys, message ids and references. The columns are a file that is
 * made of the summaries when a folder was first sorted or threaded as a whole, and mapped from then on: a new process compares no text and looks nothing
 * up by hash but of the messages that came since.
 *
 *	while (mbox_keys_load(m, MBOX_KEYS_SENT)) … others' turn …;
 *	for (place = 0; place < mbox_keys_places(m); place++) … mbox_keys_sent(m, place) …;
 *	if (!mbox_keys_intact(m)) … it was none of that …
 */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "store/store.h"

enum mbox_key { MBOX_KEY_SUBJECT, MBOX_KEY_FROM, MBOX_KEY_TO, MBOX_KEY_CC, MBOX_KEY_DISPLAYFROM, MBOX_KEY_DISPLAYTO, MBOX_KEYS };
/* What is to be loaded: 1 << key, and */
enum { MBOX_KEYS_SENT = 1 << MBOX_KEYS, MBOX_KEYS_THREAD = 2 << MBOX_KEYS };

/* A piece of opening the file and making sure of what is asked for. True: more is left. Before each use of what follows, in the same step. */
bool mbox_keys_load(struct mbox *m, unsigned what);
/* The file has all messages at places (store.h) below; 0: there is none that is of use. */
uint32_t mbox_keys_places(const struct mbox *m);
/* Of a message at a place below: the date (INT64_MIN: none); the place of its sort key among all (0: it is empty), the same for the same. */
int64_t mbox_keys_sent(const struct mbox *m, uint32_t place);
uint32_t mbox_keys_rank(const struct mbox *m, uint32_t place, enum mbox_key key);
/* What was read since it was loaded is what the file held. */
bool mbox_keys_intact(struct mbox *m);

/* What THREAD needs of one message, whether the file has it or not. Ids and subjects are numbers from 1 on, the same for the same; 0: none. */
struct mbox_thread_keys {
	int64_t sent;		/* INT64_MIN: none */
	uint32_t id, subject;
	const uint32_t *refs;	/* oldest first; valid until the next call of look, or of load */
	size_t n_refs;
	bool reply;
};
/* See to it that they are there: made of the summary where need be. -1: the message cannot be read; then it has none. */
int mbox_thread_look(struct mbox_view *v, uint32_t seq, struct err *e) MUST_CHECK;
/* Of a message that was looked at. */
void mbox_thread_get(struct mbox_view *v, uint32_t seq, struct mbox_thread_keys *out);
struct mbox_thread_numbers {
	uint32_t ids, subjects;	/* the highest */
	uint64_t stamp;		/* when it changes, all have other numbers: look at all again */
};
struct mbox_thread_numbers mbox_thread_numbers(struct mbox *m);
void mbox_thread_done(struct mbox *m);	/* memory for many messages is given back */

/* The whole folder was looked at, its summaries are cached: a file is to be made, if many messages are in none. */
void mbox_keys_want(struct mbox *m);
bool mbox_keys_wanted(const struct mbox *m);
/* A piece of making it, a fraction of a millisecond; true: more is left. */
bool mbox_keys_step(struct mbox *m);

#endif
