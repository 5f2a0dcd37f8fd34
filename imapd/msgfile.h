/* One message's file, for reading: small ones are read into memory, large ones mapped (a file that is cut short meanwhile reads as zeros; lib/store/guard.h).
 * Files have LF line ends, as a rule; the wire has CRLF. A piece of the message is a struct str in file form; crlf_* turn it into wire form, in
 * pieces, and with an exact length that was counted, not believed. */
#ifndef IMAPD_MSGFILE_H
#define IMAPD_MSGFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "mail/mime.h"
#include "store/store.h"

struct msgfile {
	struct str text;		/* the whole message */
	bool mapped;
	bool head_only;			/* text is only the beginning */
	char *own;
	struct arena *arena;		/* of root */
	struct mime_part *root;		/* NULL: not parsed yet */
};

/* -1: ERR_NOENT gone, ERR_TEMP. head_only: at least the header section is there, perhaps no more. */
int msgfile_open(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only, struct err *e) MUST_CHECK;
void msgfile_close(struct msgfile *m);
static inline bool msgfile_is_open(const struct msgfile *m) { return m->text.p != NULL; }
struct mime_part *msgfile_mime(struct msgfile *m);
struct str msgfile_head(const struct msgfile *m);	/* header section with the empty line after it */

/* Bytes in wire form. */
uint64_t crlf_size(struct str s);
/* A place in a piece, in wire form. */
struct crlf {
	const char *p, *end;
	bool after_cr;		/* the last byte taken was CR */
	bool owe_lf;		/* CR was written for a bare LF, the LF not yet */
};
void crlf_start(struct crlf *c, struct str s);
void crlf_skip(struct crlf *c, uint64_t n);
void crlf_read(struct crlf *c, struct buf *out, uint64_t n);	/* at most n wire bytes; NUL becomes 0x80 */

#endif
