/* CAPABILITY, from extensions.def: shared by the front (before login) and the session (after it). */
#ifndef IMAPD_CAPS_H
#define IMAPD_CAPS_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/conf.h"

enum {
	CAP_PRE = 1, CAP_POST = 2, CAP_CANTLS = 4, CAP_NOLOGIN = 8,
	CAP_CANCOMPRESS = 16,	/* after login, not compressed yet */
	CAP_SIZE = 32,		/* never on its own: the largest message follows the name */
};

/* Is it none of imap_discard_capabilities? */
bool caps_offered(const struct conf *conf, const char *name);
/* The next word of it that is no capability, from *at on, which starts at 0; NULL: none. Borrows from conf. */
const char *caps_unknown(const struct conf *conf, size_t *at);
/* "IMAP4rev1 LITERAL+ …" for the conditions that hold now. mechs: AUTH= words are added. */
void caps_put(struct buf *out, unsigned now, const struct conf *conf, bool mechs);

#endif
