/* Names of folders of others (RFC 2342): "Other/USER/FOLDER", and "Shared/FOLDER" for those of the public user. Pure but for space_on. */
#ifndef IMAPD_SPACES_H
#define IMAPD_SPACES_H

#include "session.h"

#define PUBLIC_USER "_postern_public"

enum space { SPACE_OTHER, SPACE_SHARED, SPACES };

const char *space_name(const struct conf *conf, enum space s);	/* without "/"; "" : there is none */
void space_prefix(struct buf *out, const struct conf *conf, struct str owner);	/* of that owner's folders, with its last "/" */
/* Does the client have that namespace? Not who is a guest, nor who has a folder of that name. */
bool space_on(struct client *c, enum space s);
/* Whose folder is this? 0: the client's own; 1: *owner_out's; 2: a name in a namespace that cannot be a folder ("Other", "Other/joe"). */
int space_owner(struct client *c, struct str utf8, struct str *owner_out);

#endif
