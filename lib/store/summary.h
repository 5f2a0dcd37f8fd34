/* What is kept of a message's header so that its file need not be opened again: envelope, sort and thread keys (RFC 5256, 5957), and the fields that clients
 * ask for. Made once per message, when it arrives or is first looked at, and cached.
 *
 *	struct mbox_summary s;
 *	if (mbox_summary_get(view, seq, &s, &e) < 0) …;		s is valid until the next store call about the folder
 */
#ifndef STORE_SUMMARY_H
#define STORE_SUMMARY_H

#include "base/num.h"
#include "store/store.h"

enum {
	SUMMARY_REFS_MAX = 200,		/* references that are kept: the last ones */
	SUMMARY_FIELDS_MAX = 16384,	/* bytes of fields that are kept; a message with more has none kept */
	SUMMARY_KEY_MAX = 1024,		/* bytes of a sort key */
	SUMMARY_BYTES_MAX = (2 << 20) + SUMMARY_FIELDS_MAX + 65536,	/* of a summary */
	SUMMARY_VERSION = 1,		/* another one whenever anything of it is computed otherwise */
};

struct mbox_summary {
	int64_t sent;			/* Date: in seconds since 1970, UTC; INT64_MIN: there is none that can be read */
	int zone;			/* its zone, minutes east */
	bool reply;			/* by its subject a reply or a forward */
	struct str envelope;		/* as FETCH shows it */
	struct str fields;		/* the fields that summary_keeps(), whole, as in the file; p NULL: not kept */
	/* Sort keys in the collation's form (imap/fold.h). */
	struct str base_subject;
	struct str from, to, cc;		/* addr-mailbox of the first address */
	struct str display_from, display_to;	/* RFC 5957 */
	/* Hashes of normalised message ids; 0: none. */
	uint64_t msgid;
	const unsigned char *refs;	/* n_refs times 8 bytes: References, else In-Reply-To's first id; oldest first */
	size_t n_refs;
};
static inline uint64_t summary_ref(const struct mbox_summary *s, size_t i) { return get_le64(s->refs + 8 * i); }

/* 0, or -1: the message cannot be read (ERR_NOENT: it has gone). */
/* The date alone (INT64_MIN: none), from memory after the first time: SORT and THREAD of a whole folder ask for all. */
int mbox_sent_get(struct mbox_view *v, uint32_t seq, int64_t *out, struct err *e) MUST_CHECK;
int mbox_summary_get(struct mbox_view *v, uint32_t seq, struct mbox_summary *out, struct err *e) MUST_CHECK;
/* Only if it is cached already, or was computed ahead (ahead.h): 0, else 1. */
int mbox_summary_peek(struct mbox_view *v, uint32_t seq, struct mbox_summary *out) MUST_CHECK;
int mbox_summary_cached(struct mbox_view *v, uint32_t seq, struct mbox_summary *out) MUST_CHECK;	/* only if it is cached */
/* From the header section in hand. */
int mbox_summary_from(struct mbox_view *v, uint32_t seq, struct str head, struct mbox_summary *out, struct err *e) MUST_CHECK;
bool summary_keeps(struct str field_name);

/* Pure: bytes of the cache from a header, and back. summary_parse: 0, or -1 when in is none. */
void summary_build(struct buf *out, struct arena *scratch, struct str head);
int summary_parse(struct str in, struct mbox_summary *out) MUST_CHECK;

#endif
