/* mbox files in memory: where messages begin and end, what their status fields say, and their text without what the format added. Pure (fuzzed).
 *
 *	size_t pos = 0;
 *	while (mail_mbox_next(file, &pos, &m) == 0) { mail_mbox_meta(&m, &meta, arena); mail_mbox_text(&m, MBOX_QUOTE_RD, put, ctx); }
 */
#ifndef MAIL_MBOX_H
#define MAIL_MBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct mail_mbox_msg {
	struct str head;	/* without the From_ line and the empty line */
	struct str body;	/* without the empty line that separates messages */
	int64_t date;		/* of the From_ line; 0: it has none that can be read */
	bool counted;		/* Content-Length was right: the body holds From_ lines that are text */
};

/* How ">From " came to be: RD one '>' was put before each /^>*From /, O only before /^From /, NONE never. */
enum mail_mbox_quote { MBOX_QUOTE_RD, MBOX_QUOTE_O, MBOX_QUOTE_NONE };

enum { MBOX_KEYWORDS_MAX = 64, MBOX_UID_KEYWORDS_MAX = 1000 };
struct mail_mbox_meta {
	bool seen, old, answered, flagged, deleted, draft, forwarded;
	bool removed;		/* Mozilla's "expunged": not there any more */
	bool internal;		/* UW's or mutt's folder data, no message */
	uint32_t uid;		/* X-UID; 0: none */
	uint32_t uidvalidity, uidlast;	/* X-IMAP, X-IMAPbase: of the first message; 0: none */
	struct str keywords[MBOX_KEYWORDS_MAX];
	size_t n_keywords;
};

bool mail_mbox_is(struct str file);	/* does it begin like an mbox? An empty file does not */
/* Is this line (without its end) a From_ line? *date_out: seconds since 1970, 0 when its date cannot be read. */
bool mail_mbox_from(struct str line, int64_t *date_out);
/* The message at *pos, which advances. 0; 1: the end; -1: what stands at *pos is no From_ line. */
int mail_mbox_next(struct str file, size_t *pos, struct mail_mbox_msg *out) MUST_CHECK;
void mail_mbox_meta(const struct mail_mbox_msg *m, struct mail_mbox_meta *out);
/* The message as it was before it was put into the file: status fields left out, quoting undone. put is called with pieces; -1 of it ends it. */
typedef int mail_mbox_put(void *ctx, struct str piece, struct err *e);
int mail_mbox_text(const struct mail_mbox_msg *m, enum mail_mbox_quote quote, mail_mbox_put *put, void *ctx, struct err *e) MUST_CHECK;

#endif
