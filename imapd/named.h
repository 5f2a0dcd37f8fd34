/* Which folder a response of another user's process is about. It is believed about that user's folders and no others: what names one that is not below the
 * owner's prefix (spaces.h), or cannot be read, is for nobody. */
#ifndef IMAPD_NAMED_H
#define IMAPD_NAMED_H

#include "session.h"

/* The word that says what an untagged response is: "* 12 EXISTS" and "* SEARCH 1 2". *rest: what is behind it. */
struct str named_word(struct str text, struct str *rest);

struct named {
	struct str name, old;	/* UTF-8, in the client's arena; n 0: none. old: OLDNAME of LIST */
	bool exists;		/* LIST: it is a folder, no mere parent */
	const char *behind;	/* ESEARCH: in text, behind the tag */
};
/* Read the names in text, which begins with "* " and ends with a line end (where a literal begins at the latest). -1: malformed. Kinds of responses that
 * name no folder have none. */
int named_parse(struct client *c, struct str text, struct named *out) MUST_CHECK;
/* Is it about a folder, and all that it names below the prefix? */
bool named_below(const struct named *n, struct str prefix);

#endif
