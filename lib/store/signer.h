/* From a message to its signatures (trigram.h): one of the header fields that people search most, one of all its text. Pure: what it needs is the signer's own, so
 * each thread has one (os/crew.h).
 *
 *	struct signer *s = signer_new();
 *	t = signer_head(s, head);	… trigram_sign(t, …): t is valid until the signer's next message
 *	signer_free(&s);
 */
#ifndef STORE_SIGNER_H
#define STORE_SIGNER_H

#include "base/str.h"
#include "mail/mime.h"
#include "store/trigram.h"

struct signer;
struct signer *signer_new(void);	/* returns owned; 140 KB */
void signer_free(struct signer **s);
/* Of the fields of mbox_search_in_head; head may hold no others. */
const struct trigrams *signer_head(struct signer *s, struct str head);
/* head: the message's header section with the empty line after it; root: all of the message. Borrows both. */
const struct trigrams *signer_text(struct signer *s, struct str head, const struct mime_part *root);
void signer_rest(struct signer *s);	/* between messages: gives back what only a long one needed */

#endif
