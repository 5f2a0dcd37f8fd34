/* The client of another server: a connection that is read and written in order, as a tool may. It runs as user_remote, without files; import_imap.c and
 * import_pop3.c are its languages, import_parse.c what is read of IMAP's answers (pure, fuzzed). */
#ifndef ADMIN_IMPORT_NET_H
#define ADMIN_IMPORT_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "admin/import/import.h"
#include "io/conn.h"
#include "io/tls.h"

enum {
	NET_LINE_MAX = 16 << 20,	/* one line of an answer: the UIDs of a large folder come in one */
	NET_MESSAGE_MAX = 512 << 20,	/* one message */
	NET_FOLDERS_MAX = 10000,
	NET_MESSAGES_MAX = 10000000,
	NET_WAIT_MS = 120000,		/* without a byte */
};

struct net {
	struct loop *l;
	struct conn *c;
	struct tls_ctx *tls;
	struct buf in;
	size_t used;		/* bytes of in that are consumed */
	bool secured, closed;
	char why[200];
};
/* Names, connection, certificates: everything that needs files or more than this one socket. */
int net_open(struct net *n, const struct import_options *o, const char *port, struct err *e) MUST_CHECK;
int net_secure(struct net *n, const char *host, struct err *e) MUST_CHECK;
void net_close(struct net *n);
/* A line without its CRLF; valid until the next call. */
int net_line(struct net *n, struct str *line, struct err *e) MUST_CHECK;
int net_bytes(struct net *n, uint64_t want, struct buf *out, struct err *e) MUST_CHECK;	/* exactly so many, appended */
int net_write(struct net *n, struct str s, struct err *e) MUST_CHECK;

/* --- what is fetched --- */
struct remote_folder {
	struct str raw, name, special;	/* as the server names it; UTF-8 with '/' */
	bool subscribed;
};
struct fetcher {
	const struct import_options *o;
	struct buf *password;
	struct net net;
	struct arena *a;
	struct remote_folder *folders;
	size_t n_folders;
	struct str *ids;		/* of the selected folder */
	size_t n_ids;
	uint32_t uidvalidity;
	int chan;
	uint32_t request;
	unsigned tag;
	uint32_t place;			/* of what is fetched first, to find others by their id */
};
/* One message to the writer. */
int fetched(struct fetcher *f, uint32_t place, uint32_t flags, int64_t date, struct str *keywords, size_t n_keywords, struct str text, struct err *e) MUST_CHECK;
/* A language. -1 with ERR_NOENT: this folder only; else the connection is of no use any more. */
struct language {
	const char *word, *port_tls, *port;
	int (*login)(struct fetcher *f, struct err *e);
	int (*folders)(struct fetcher *f, struct err *e);
	int (*select)(struct fetcher *f, size_t number, struct err *e);
	int (*get)(struct fetcher *f, const uint32_t *places, size_t n, struct err *e);
	int (*remove)(struct fetcher *f, const uint32_t *places, size_t n, struct err *e);
	void (*logout)(struct fetcher *f);
};
extern const struct language language_imap, language_pop3;

/* --- import_parse.c --- */
enum reply_kind { REPLY_ATOM, REPLY_STRING, REPLY_OPEN, REPLY_CLOSE, REPLY_END };
struct reply_token {
	enum reply_kind kind;
	struct str s;		/* string: unescaped (in a), literal: its bytes */
};
/* Next token of an answer that is whole, literals inside. -1: not IMAP. */
int reply_next(struct str *in, struct arena *a, struct reply_token *out, struct err *e) MUST_CHECK;
int reply_skip(struct str *in, const struct reply_token *first, struct arena *a, struct err *e) MUST_CHECK;	/* the rest of a list, if it is one */
bool reply_literal(struct str line, uint64_t *n_out);	/* does the line end in "{n}"? */
struct reply_fetch {
	uint32_t uid, flags;
	int64_t date;
	struct str keywords[64];
	size_t n_keywords;
	struct str body;
	bool has_body;
};
/* "* 12 FETCH (…)". 1: something else. */
int reply_fetch(struct str in, struct arena *a, struct reply_fetch *out, struct err *e) MUST_CHECK;
/* "* LIST (…) "/" name". 1: something else. word: LIST or LSUB. */
int reply_list(struct str in, const char *word, struct arena *a, struct remote_folder *out, char *separator_out, bool *noselect_out, struct err *e) MUST_CHECK;

#endif
