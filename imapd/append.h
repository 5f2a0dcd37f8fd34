/* An APPEND or REPLACE in progress: shared by cmd_append.c (the command) and ext_catenate.c (parts of other messages). */
#ifndef IMAPD_APPEND_H
#define IMAPD_APPEND_H

#include "session.h"

enum append_where {
	IN_COMMAND,		/* between messages */
	IN_UTF8,		/* "UTF8 (": a ")" is due */
	IN_CATENATE_FIRST,	/* "CATENATE (" */
	IN_CATENATE,		/* behind a part */
};
struct append {
	struct mbox *mbox;
	uint32_t rights;	/* ACL_* in it */
	struct mbox_append *to;
	enum append_where where;
	uint64_t left;		/* bytes of the literal that are still to come */
	uint64_t size, all;	/* of the message so far; of all messages */
	size_t n;		/* messages begun */
	bool binary;		/* the literal was announced with "~" */
	bool replace;
	uint32_t replaced;	/* sequence number */
	bool failed;		/* what comes is read over */
	enum cmd_result result;	/* when failed: CMD_BAD, CMD_NO or CMD_DONE (answer in c->run) */
	struct err e;
};

enum advance { ADV_ON, ADV_LITERAL, ADV_END, ADV_FAILED };

/* Add what the URL names to the message in progress, when room() allows so many bytes. ADV_ON, or ADV_FAILED with the answer. */
enum advance append_url(struct client *c, struct str url, enum advance (*room)(struct client *c, uint64_t size));

#endif
