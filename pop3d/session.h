/* The session program: a user's POP3 connections after login (RFC 1939's TRANSACTION and UPDATE states), in one process, under that user's uid, with the
 * mail tree as its directory. struct user is the process; struct client one connection. Only one client at a time holds the mailbox. */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "conf/conf.h"
#include "io/conn.h"
#include "ipc/sess.h"
#include "store/store.h"
#include "uidl.h"

enum { DROP_DELETED = 1, DROP_READ = 2 };	/* marks of a message */
enum {
	CLIENT_LINE_MAX = 2048,		/* a command; RFC 2449 4 asks for 255 */
	CLIENT_IN_MAX = 65536,		/* input buffered */
	CLIENT_OUT_HIGH = 262144,	/* output above which answers wait */
	CLIENT_OUT_MAX = 16 << 20,	/* output above which the client is taken for dead */
	CLIENT_BAD_MAX = 20,		/* wrong commands in a row before the end */
	CLIENT_ROUND_MAX = 100,		/* commands of one connection before others get their turn */
	MESSAGE_CHUNK = 65536,		/* bytes of a message read at once */
	LOCK_TRIES = 20, LOCK_TRY_MS = 100,	/* a mailbox in use is waited for that long: clients come back faster than their last session ends */
	LINGER_MS = 5000,		/* the process outlives its last connection */
};

struct user {
	struct loop *loop;
	const struct conf *conf;
	const char *name;
	struct store *store;
	struct ipc_chan *chan;		/* to authd; NULL: gone */
	struct list clients;
	unsigned n_clients;
	struct timer *linger;
};

/* A message on its way out: RETR or TOP. */
struct sending {
	int fd;				/* -1: none */
	uint32_t index;
	uint64_t off;			/* of the file */
	uint64_t size, size_crlf;	/* counted */
	uint64_t lines_left;		/* of the body; UINT64_MAX: all */
	bool in_body, line_start, last_cr, empty_line;
};

struct client {
	struct list node;
	struct user *user;
	struct conn *conn;
	uint64_t id;
	char rip[65], lip[65];
	struct buf in;			/* input not used yet, that of ATTACH first */
	struct mbox *m;
	struct mbox_view *v;		/* NULL: the mailbox is not ours yet */
	struct timer *retry, *next;
	unsigned tries, bad;
	bool over, eof;
	/* The maildrop as it was at login (RFC 1939 5): message numbers are 1.., in POP3 order. */
	uint32_t n, left;		/* messages; not marked as deleted */
	uint64_t octets;		/* of those left */
	uint32_t *seqs;			/* index -> sequence number of the view; NULL: one more */
	uint64_t *sizes;		/* with CRLF, and one more; 0: not asked for yet (drop_size) */
	unsigned char *marks;		/* DROP_DELETED, DROP_READ */
	struct sending out;
	/* for the log */
	uint32_t n_top, n_retr;
	uint64_t top_bytes, retr_bytes;
};

/* --- session.c --- */
void client_attach(struct user *u, int fd, const struct ipc_sess_ATTACH *m);
/* why: for the log. */
void client_end(struct client *c, const char *why);
void client_ok(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void client_err(struct client *c, const char *code, const char *text);
void client_goodbye(struct client *c, const char *reason);

/* --- maildrop.c --- */
int drop_open(struct client *c, struct err *e) MUST_CHECK;	/* locks; ERR_LIMIT: in use */
void drop_close(struct client *c);
static inline uint32_t drop_seq(const struct client *c, uint32_t index) { return c->seqs ? c->seqs[index] : index + 1; }
int drop_size(struct client *c, uint32_t index, uint64_t *out, struct err *e) MUST_CHECK;
/* UPDATE: remove what was marked. */
int drop_update(struct client *c, struct err *e) MUST_CHECK;
/* UIDL of message index (0..): at most 70 printable bytes. */
void drop_uidl(struct client *c, const struct uidl_form *form, uint32_t index, struct buf *out);

/* --- cmd.c --- */
void client_command(struct client *c, struct str line);
/* More of the message that is being sent, as far as there is room. True: all of it has been written. */
bool send_more(struct client *c);
void send_end(struct client *c);

#endif
