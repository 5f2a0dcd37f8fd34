/* THREAD (RFC 5256; REFS of draft-ietf-morg-inthread): messages to trees, in pieces. Pure.
 *
 *	t = imap_thread_new(arena, IMAP_THREAD_REFERENCES, n, ids, subjects);
 *	for each message, ascending numbers: imap_thread_add(t, &m, e);
 *	while (!imap_thread_step(t, 10000)) … others' turn …;
 *	while (!imap_thread_put(t, out, 1000)) … flush …;	" (1 2 (3)(4))(5)": the response's text
 *
 * Message ids and base subjects are numbers, small ones, which the caller gives: the same for the same, 0 for none (base/ids.h). What is beyond the highest that
 * was announced counts as none. */
#ifndef IMAP_THREAD_H
#define IMAP_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

enum imap_thread_alg {
#define THREAD_ALG(id, name, source) IMAP_THREAD_##id,
#include "imap/thread.def"
#undef THREAD_ALG
	IMAP_THREAD_MAX_
};
extern const char *const imap_thread_names[IMAP_THREAD_MAX_];

enum {
	IMAP_THREAD_REFS_MAX = 200,	/* references of one message that count: the last ones */
	IMAP_THREAD_UP_MAX = 10000,	/* ancestors looked at for a loop; deeper trees are cut there */
};

struct imap_thread_msg {
	uint32_t number;	/* sequence number or UID: what is answered */
	int64_t date;		/* sent, else arrival */
	uint32_t id;
	const uint32_t *refs;	/* ids that it refers to, oldest first */
	size_t n_refs;
	uint32_t subject;
	bool reply;
};

struct imap_thread;
struct imap_thread *imap_thread_new(struct arena *a, enum imap_thread_alg alg, size_t messages_max, uint32_t ids, uint32_t subjects);
void imap_thread_free(struct imap_thread **t);	/* what is not the arena's */
int imap_thread_add(struct imap_thread *t, const struct imap_thread_msg *m, struct err *e) MUST_CHECK;
/* After the last message. True: ready. -1 in *e is not possible: memory was taken when messages came. */
bool imap_thread_step(struct imap_thread *t, size_t work);
bool imap_thread_put(struct imap_thread *t, struct buf *out, size_t nodes);	/* true: all was written */

#endif
