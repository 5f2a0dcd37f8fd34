/* The DKIM keys of the key worker. They come from the monitor in generations; filterd's connections ask for signatures of hashes by domain and selector. These keys
 * serve nothing but DKIM and ARC, so a hash is all that needs to be seen: whoever may ask can sign mail of our domains and nothing else.
 */
#ifndef AUTHD_KEY_DKIM_H
#define AUTHD_KEY_DKIM_H

#include "io/loop.h"
#include "ipc/helper.h"

void key_dkim_take(const struct ipc_helper_DKIM_KEY *m);	/* what is wrong with one is told at key_dkim_done */
void key_dkim_done(const struct ipc_helper_DKIM_DONE *m, struct ipc_helper_KEYS_RESULT *out);
/* A connection of filterd's user: takes fd. At most KEY_DKIM_PEERS_MAX, KEY_DKIM_PER_SECOND signatures a second in all. */
enum { KEY_DKIM_PEERS_MAX = 4, KEY_DKIM_KEYS_MAX = 4000, KEY_DKIM_PER_SECOND = 2000 };
void key_dkim_peer(struct loop *l, int fd);

#endif
