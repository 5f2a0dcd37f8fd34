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
	struct mbox *opening;	/* it is being opened, in slices; NULL: it is open, or not yet begun */
	bool waits;		/* for that: what the command says from at on is read then */
	struct str name;	/* UTF-8, in the command's arena */
	size_t at;		/* in c->text */
	uint32_t rights;	/* ACL_* in it */
	struct mbox_append *to;
	enum append_where where;
	uint64_t left;		/* bytes of the literal that are still to come */
	uint64_t size, all;	/* of the message so far; of all messages */
	size_t n;		/* messages begun */
	bool literal8;		/* the literal was announced with "~" */
	struct binary *binary;	/* it is the message, which waits to be looked at; NULL: none. Owned */
	bool keywords;		/* any message has some */
	uint32_t *uids;		/* of the messages that are in place */
	bool replace;
	uint32_t replaced;	/* sequence number */
	uint64_t gone, gone_crlf;	/* bytes of its file; as they are sent */
	bool failed;		/* what comes is read over */
	enum cmd_result result;	/* when failed: CMD_BAD, CMD_NO or CMD_DONE (answer in c->run) */
	struct err e;
};

/* "APPENDUID validity uids", in the command's arena. */
const char *append_uid_code(struct client *c, const uint32_t *uids, size_t n, uint32_t validity);

enum advance { ADV_ON, ADV_LITERAL, ADV_END, ADV_FAILED, ADV_WAIT };

/* May the message in progress have size bytes more? ADV_ON, or ADV_FAILED with the answer. */
typedef enum advance append_room(struct client *c, uint64_t size);

/* Add what the URL names to the message in progress, when room() allows so many bytes. ADV_ON, or ADV_FAILED with the answer. */
enum advance append_url(struct client *c, struct str url, append_room *room);

/* --- ext_binary.c: a message that came as a binary literal --- */
int binary_begin(struct append *a, struct err *e) MUST_CHECK;
int binary_data(struct append *a, struct str data, struct err *e) MUST_CHECK;
/* All of it is there: into the mailbox, encoded where it was binary. -1: refused, with *e or, when that says nothing, with the answer made. */
int binary_end(struct client *c, append_room *room, struct err *e) MUST_CHECK;
void binary_free(struct append *a);

#endif
