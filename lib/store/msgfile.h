/* One message's file, for reading: small ones are read into memory, large ones mapped (a file that is cut short meanwhile reads as zeros; guard.h). */
#ifndef STORE_MSGFILE_H
#define STORE_MSGFILE_H

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
	size_t head_n;			/* of the header section with the empty line after it; 0: nobody has looked (msgfile_head) */
	char *own;
	struct arena *arena;		/* of root */
	struct mime_part *root;		/* NULL: not parsed yet */
};

/* -1: ERR_NOENT gone, ERR_TEMP. head_only: at least the header section is there, perhaps no more. */
int msgfile_open(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only, struct err *e) MUST_CHECK;
/* The same for who reads many and wants no more than their text: a file that is as long as it is known to be is not asked for anything else, and one that was read
 * ahead (ahead.h) not even that: its text is valid until the walk's next message. */
int msgfile_read(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only, struct err *e) MUST_CHECK;
void msgfile_close(struct msgfile *m);
static inline bool msgfile_is_open(const struct msgfile *m) { return m->text.p != NULL; }
struct mime_part *msgfile_mime(struct msgfile *m);
struct str msgfile_head(const struct msgfile *m);	/* header section with the empty line after it */

#endif
