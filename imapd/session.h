/* The session program: all connections of one user, in one process, under that user's uid. struct user is the process; struct client one
 * connection; struct folder one open mailbox, shared by the connections that have it selected; struct run the command in progress, which
 * lives on the client's arena and is dropped whole.
 *
 * A command's handler parses its arguments and either finishes or leaves a step function that is called again and again, a slice at a time,
 * so that no command keeps the user's other connections waiting and no answer grows beyond the connection's high-water mark.
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "conf/conf.h"
#include "imap/lex.h"
#include "imap/scan.h"
#include "imap/seqset.h"
#include "io/conn.h"
#include "io/loop.h"
#include "ipc/sess.h"
#include "store/acl.h"
#include "store/store.h"

enum {
	CLIENT_IN_MAX = 65536,		/* input buffered */
	CLIENT_OUT_HIGH = 131072,	/* output above which a command waits */
	CLIENT_OUT_MAX = 128 << 20,	/* output above which the client is taken for dead: it does not read */
	CLIENT_LITERALS_MAX = 1 << 20,	/* literals of one command, messages not counted */
	CLIENT_BAD_MAX = 20,		/* wrong commands in a row before BYE */
	CLIENT_ROUND_MAX = 100,		/* commands of one connection before others get their turn */
	NOTIFY_MAILBOXES_MAX = 60,	/* mailboxes that one connection watches: each costs an inotify instance */
	CONTEXTS_MAX = 16,		/* searches of one connection that are kept up to date */
	SLICE_US = 5000,		/* longest work on one command before others get their turn */
	SLICE_MIN_US = 500,		/* and at least, where many have long ones */
	FILES_MIN = 8, FILES_MAX = 100,	/* files renamed or removed in one piece of tidying up: as many as take about SLICE_US, 10 us or 500 us each by the disk */
	HELD_US = 20000,		/* work after which others have waited too long: logged */
	IDLE_LINE_MAX = 8192,
	LINGER_MS = 5000,		/* the process outlives its last connection */
	FOLDER_KEEP_MS = 30000,		/* a folder stays open after it was unselected */
	TARGETS_MAX = 4,		/* folders that stay open because messages went there: seven descriptors each */
	FOLDER_FLUSH_MS = 30000,	/* after a change, flags go into file names */
	FOLDER_FLUSH_AGAIN_MS = 20,	/* the next piece of that work */
	ANSWERS_MAX = 4,		/* answers kept for a folder */
	ORDERS_MAX = 2,			/* orders kept for a folder: 4 bytes a message each */
	FOLDER_LOOK_MS = 1000,		/* until one that was changed while it was looked through is looked through again */
	FOLDER_KEYS_MS = 20,		/* between pieces of the work on a file of keys while commands run */
	GUESTS_MAX = 200,		/* connections of other users, all together */
	GUEST_OUT_MAX = 4 << 20,	/* output above which a guest is taken for dead */
};

struct client;
enum cmd_result {
	CMD_OK,		/* "OK VERB completed." */
	CMD_DONE,	/* answer in run.status, run.code, run.text */
	CMD_MORE,	/* run.step has more to do */
	CMD_NO,		/* *e: NO with its code */
	CMD_BAD,	/* *e: BAD */
	CMD_WAIT,	/* not finished and no steps: something else ends it (IDLE) */
	CMD_AWAY,	/* another process has it: its answer comes from there (relay.c) */
	CMD_HELD,	/* complete, but answered later with others (held.c) */
	CMD_ASIDE,	/* what was said between commands, or while idling, is over (fetch_aside) */
	CMD_CLOSED,	/* the connection is gone: touch nothing */
};
/* What changes the responses of a connection: by ENABLE, or by using it (RFC 7162 3.1). */
enum { EN_CONDSTORE = 1, EN_QRESYNC = 2, EN_UTF8 = 4, EN_REV2 = 8 };
enum { ST_AUTH = 1, ST_SELECTED = 2 };
enum { CF_UID = 1, CF_NOEXPUNGE = 2, CF_REFRESH = 4, CF_NOSYNC = 8, CF_STREAM = 16, CF_GUEST = 32 };

struct command {
	const char *verb;
	unsigned states, flags;
	enum cmd_result (*fn)(struct client *c, struct imap_lex *l, struct err *e);
};
#define CMD(verb, states, flags, source) enum cmd_result cmd_##verb(struct client *c, struct imap_lex *l, struct err *e);
#include "commands.def"
#undef CMD

struct answer_kept;
struct order_kept;
struct folder {
	struct list node;		/* of user.folders */
	struct user *user;
	struct mbox *mbox;
	struct str name;		/* UTF-8, owned */
	struct watch *watch;
	unsigned refs;			/* connections that have it selected */
	struct timer *timer;		/* closes it when refs has been 0 for a while */
	struct answer_kept *answers[ANSWERS_MAX];	/* answers.h: the eldest first */
	struct order_kept *orders[ORDERS_MAX];	/* orders.h: the eldest first */
	struct timer *flush;		/* file names lag behind the flags, or files of expunged messages are still there */
	bool flush_soon;
	struct timer *keys;		/* a file of keys is being made */
	struct timer *look;		/* another program has changed it: it is being looked through */
};

/* The command in progress. */
struct run {
	const struct command *cmd;	/* NULL: none */
	struct str tag;
	bool uid;
	enum cmd_result (*step)(struct client *c, struct err *e);
	void (*cleanup)(struct client *c);	/* descriptors and the like: what the arena does not hold */
	void *data;			/* the command's own */
	const char *status, *code, *text;	/* of CMD_DONE */
	enum cmd_result result;		/* it is over, and is answered when all changes are told */
	struct err *failure;		/* with it */
	bool told;			/* they are */
	uint64_t done, goal;		/* of a long command, for INPROGRESS (RFC 9585); goal 0: not known */
	uint64_t told_ms;		/* when INPROGRESS was told last, or the first slice ended */
	struct imap_seqset own_flags;	/* messages whose new flags the command has told the client itself, by sequence number */
};

struct append;
struct held;
struct notify;
struct link;
struct relay;
struct transfer;
struct listing;
struct others;
struct client {
	struct list node;		/* of user.clients */
	struct user *user;
	struct conn *conn;
	uint64_t id;
	char rip[65], lip[65];
	char *guest;			/* another user, as authd says; NULL: the owner. Owned */
	struct str prefix;		/* of the names that a guest uses, with its last "/"; owned */
	uint32_t rights;		/* ACL_* in the selected mailbox; the owner has all */
	uint64_t in_bytes, out_bytes;
	uint64_t out_at_timeout;	/* out_bytes when the last time-out was let pass */
	struct arena *arena;		/* of the command */
	struct imap_scan scan;
	struct buf before;		/* input that came with ATTACH */
	struct buf text;		/* of the command, as far as it is here */
	struct run run;
	struct append *append;		/* a message is coming in */
	struct held *held;		/* APPENDs that wait for one sync; NULL: none */
	struct folder *folder;		/* selected; NULL: none */
	struct mbox_view *view;
	bool readonly;
	uint32_t recent;		/* as last told */
	bool exists_untold;		/* there are more messages than the client has been told: it did not want to hear of them */
	size_t keywords_told;		/* how many of the mailbox the client has been told of */
	unsigned enabled;		/* EN_* */
	struct imap_seqset saved;	/* UIDs; owned */
	struct list contexts;		/* searches that are kept up to date (RFC 5267) */
	size_t n_contexts;
	struct notify *notify;		/* NULL: the client has not said what it wants to be told */
	struct list links;		/* to the processes of other users, whose folders this client has asked for */
	unsigned n_links;
	struct link *remote;		/* the selected mailbox is there (folder is NULL then) */
	char *remote_name;		/* as the client spelled it */
	struct link *selecting;		/* it is about to be */
	struct timer *wake;		/* they may have something to say */
	struct link *passing;		/* a response from there is on its way to the client, which must not be interrupted */
	struct relay *relay;		/* the command in progress is there */
	struct transfer *transfer;	/* it copies from there or to there */
	struct listing *listing;	/* it asks what is there */
	struct others *others;		/* it searches there */
	bool idling, over, eof;
	bool compress, compressed;	/* compression begins behind this answer; has begun */
	struct timer *timer;		/* the next slice, or the next round of reading */
	struct timer *keepalive;	/* of IDLE */
	unsigned bad;
	const char *why;		/* the connection ends; for the log */
};

struct user {
	struct loop *loop;
	const struct conf *conf;
	const char *name;
	struct store *store;
	struct ipc_chan *chan;		/* to authd */
	struct list clients, folders;
	bool spaces_known, space_hidden[2];	/* spaces.c */
	unsigned n_clients;		/* guests included */
	unsigned n_guests;
	struct timer *linger;
	struct buf out;			/* responses on their way to a connection; empty between steps */
	struct client *out_client;	/* to which one */
	const char *working;		/* what was begun last, for the log */
	struct timer *purge;		/* files of deleted folders are being removed */
	unsigned files;			/* in the next piece of tidying up; 0: nobody has tried */
};

/* How many files the next piece of tidying up takes; and, when it is over, how long that took. full: it left some, so that its time tells what a file takes. */
unsigned files_next(const struct user *u);
void files_took(struct user *u, uint64_t us, bool full);

/* --- client.c: a connection --- */
int client_attach(struct user *u, int fd, const struct ipc_sess_ATTACH *m, struct err *e) MUST_CHECK;
void client_end(struct client *c, const char *why, const char *bye);	/* bye NULL: say nothing. c is gone after the round */
void client_continue(struct client *c);	/* a command has ended: read on */
struct str client_input(struct client *c);	/* borrows until client_consume or the end of the callback */
void client_consume(struct client *c, size_t n);

/* --- session_main.c --- */
void user_idle(struct user *u);		/* a connection has ended */

/* --- command.c: dispatch and slices --- */
enum cmd_result command_start(struct client *c);	/* c->text is complete */
void command_step(struct client *c);			/* go on with the command in progress, if any */
void command_step_later(struct client *c);		/* the same, when others had their turn */
void command_aside(struct client *c);			/* run.step is set though no command asks for it: begin, when others had their turn */
void command_finish(struct client *c, enum cmd_result r, struct err *e);
/* Updates, as many as one call of folder_sync tells, and the tagged answer of c->run, which goes on to be there. */
void command_reply(struct client *c, enum cmd_result r, struct err *e);
void command_drop(struct client *c);			/* forget it: arena, text, cleanup */
enum cmd_result command_answer(struct client *c, const char *status, const char *code, const char *text);	/* CMD_DONE */
const struct command *command_find(struct str verb);
bool command_scan_error(struct client *c);		/* answers; false: the connection has ended */

/* --- resp.c: responses --- */
struct buf *resp(struct client *c);			/* where responses are written */
void resp_flush(struct client *c);			/* hand them to the connection */
bool resp_full(struct client *c);			/* the client should read first */
void resp_untagged(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);	/* "* " text CRLF */
void resp_tagged(struct client *c, const char *status, const char *code, const char *text);
/* FLAGS and PERMANENTFLAGS of the selected mailbox; the second only when it has keywords that the client has not been told of: before an
 * answer that may name them (RFC 3501 section 7.2.6). */
void resp_known_flags(struct client *c);
void resp_new_keywords(struct client *c);
void resp_flags(struct client *c, struct buf *out, const struct mbox_msg *m);	/* "(\Seen …)" */
/* "* 5 FETCH (…)" with flags, and UID and MODSEQ where the client wants them. */
void resp_flags_response(struct client *c, uint32_t seq, const struct mbox_msg *m);
/* Bits and keyword names of a parsed flag list; $Forwarded is a bit of the store. */
uint32_t flags_of(struct imap_flags *f);

/* --- folder.c: selected mailboxes and what changes in them --- */
int folder_select(struct client *c, struct str name, bool readonly, struct err *e) MUST_CHECK;
void folder_unselect(struct client *c);
/* Tell the client what has changed (RFC 3501 7.3, 7.4), some hundred changes at a time: 1 more is left, which is told by the next call, without refresh. -1: the folder is
 * unusable. */
int folder_sync(struct client *c, bool refresh, bool allow_expunge, struct err *e) MUST_CHECK;
/* Something was changed through mbox: connections that idle on it hear of it now. mbox NULL: any. */
void folder_changed(struct user *u, const struct mbox *mbox);
void folder_push(struct client *c);	/* the same for one connection */
void folder_push_later(struct client *c);	/* what a call of folder_sync has left is told in slices, to a client that idles */

/* Keep a folder open and watched; NULL with *e. Given back with folder_release. */
struct folder *folder_hold(struct user *u, struct str name, struct err *e);
void folder_release(struct folder *f);

/* Open a mailbox that messages are put into. It stays open for a while: more will follow, and opening it again and again would be most of the work. The caller
 * closes *out. */
int folder_target(struct user *u, struct str name, struct mbox **out, struct err *e) MUST_CHECK;
int folder_target_opened(struct user *u, struct str name, struct mbox *m, struct mbox **out, struct err *e) MUST_CHECK;	/* takes m, that mailbox */

/* The whole folder was sorted or threaded: a file of keys is made for the next time (store/keys.h), if it needs one, while nothing else is to do. */
void folder_want_keys(struct folder *f);
bool folders_busy(const struct user *u);	/* some are being made */

/* Close what nobody has selected (before folders are deleted or renamed). */
void folder_forget_unused(struct user *u);
/* The same of that one and those below, and quickly: before it is deleted or renamed. True: it is left with files that are to be removed, or named anew. */
bool folder_forget(struct user *u, struct str name);
/* That one and those below have other names, also where they are selected, or watched. */
void folder_renamed(struct user *u, struct str from, struct str to);

/* --- sets.c: from sets to messages --- */
/* Messages of a set, as sequence numbers. For UIDs those that exist. -1 with ERR_INPUT: a sequence number out of range. */
int set_resolve(struct client *c, struct imap_seqset *set, bool uid, struct err *e) MUST_CHECK;
/* A set of UIDs of a view, "*" and "$" put in place; those without a message stay. */
int set_uids(struct client *c, const struct mbox_view *v, struct imap_seqset *set, struct err *e) MUST_CHECK;
/* The result that "$" stands for (RFC 5182): UIDs in any order; copied. n 0: empty. */
void saved_put(struct client *c, const uint32_t *uids, size_t n);
/* The set's members as an array in the command's arena; expunged ones are left out, *gone_out says whether there were any. */
int set_array(struct client *c, const struct imap_seqset *set, uint32_t **out, size_t *n_out, bool *gone_out, struct err *e) MUST_CHECK;

/* --- ext_qresync.c: mod-sequences and what vanished (RFC 7162) --- */
void condstore_enable(struct client *c);
/* "* VANISHED (EARLIER) …" of the UIDs that have gone after since; known (resolved UIDs) NULL: all. -1 ERR_LIMIT. */
int vanished_earlier(struct client *c, uint64_t since, const struct imap_seqset *known, struct err *e) MUST_CHECK;
struct select_params {
	bool condstore, qresync;
	uint64_t uidvalidity, modseq;
	struct imap_seqset known;	/* UIDs; has_known false: all */
	bool has_known;
};
/* [SP "(" param *(SP param) ")"] (RFC 7162 3.1.8, 3.2.5). -1 ERR_INPUT. */
int select_params_get(struct client *c, struct imap_lex *l, struct select_params *p, struct err *e) MUST_CHECK;
/* The answer to QRESYNC, in steps, after the folder was described. */
enum cmd_result qresync_start(struct client *c, struct select_params *p, struct err *e);

/* --- ext_context.c: searches that are kept up to date (RFC 5267) --- */
/* text: the search program; items: FETCH items of messages that come later, or nothing; both copied. found: numbers as answered. False: not kept, and the client
 * is told NOUPDATE. */
bool context_begin(struct client *c, struct str text, struct str items, const uint32_t *found, size_t n);
void contexts_expunged(struct client *c, uint32_t seq, uint32_t uid);	/* before the client is told */
void contexts_changed(struct client *c, uint32_t uid);			/* flags, or a new message: looked at by contexts_update */
void contexts_update(struct client *c);
void contexts_aside(struct client *c);	/* what contexts_update has left, unless a command is under way */
void contexts_end(struct client *c);
void no_update(struct client *c);	/* "NO [NOUPDATE tag]": this search is not kept up to date */

/* --- ext_notify.c --- */
enum notify_tree { TREE_MADE, TREE_GONE, TREE_SUBSCRIBED, TREE_UNSUBSCRIBED };
bool notify_immediate(const struct client *c);	/* changes of the selected mailbox are told at once */
bool notify_expunges(const struct client *c);	/* expunges, too */
bool notify_hears(const struct client *c, bool flags);	/* of flags, or of new messages, in the selected mailbox */
void notify_new(struct client *c, uint32_t from, uint32_t to);	/* these messages were announced */
void notify_fetch(struct client *c);		/* what is to be told of them, unless a command is under way */
void notify_unselected(struct client *c);
void notify_flush(struct client *c);		/* with the answer of a command */
void notify_changed(struct user *u);		/* some folder has changed */
void notify_tree(struct client *by, enum notify_tree what, struct str name, struct str old);
void notify_forget(struct user *u, const struct folder *f);	/* it was deleted */
struct mbox_meta;
void notify_metadata(struct client *by, struct str name, const struct mbox_meta *changes);	/* of a mailbox, or with no name the account's */
void notify_end(struct client *c);
bool notify_waits(const struct client *c);	/* NOTIFY's answer waits for processes of others */
void notify_answered(struct client *c);		/* one of them has answered */
void notify_later(struct client *c);		/* what had to wait, unless a command is under way */
void notify_aside(struct client *c, struct str responses);	/* whole ones, told when nothing else is being said */
void notify_overflow(struct client *c);
/* The next command there selects a mailbox: it is told of from the first message on. False: too much is unanswered there. */
bool notify_abroad(struct client *c, struct link *l) MUST_CHECK;
void notify_rights(struct user *u);		/* some access list has changed: guests are told of what they may read now */

/* --- mboxes.c: what mailbox filters stand for --- */
struct imap_mboxes;
struct mbox_names {
	struct str *v;		/* UTF-8, in the arena */
	size_t n, cap;
	bool selected;		/* the selected mailbox is meant */
};
bool mboxes_mean(struct client *c, const struct imap_mboxes *f, struct str name);	/* is that mailbox (existing or not) among them? */
/* Adds what the filter means now. CMD_OK, or NO (a name is invalid). */
enum cmd_result mboxes_expand(struct client *c, const struct imap_mboxes *f, struct mbox_names *out, struct err *e);
/* Takes the names of folders of others out of a filter, each with a call. What is left is on a. CMD_OK, or NO. */
typedef enum cmd_result mboxes_foreign_fn(void *ctx, const struct imap_mboxes *f, struct str owner, struct str name);
enum cmd_result mboxes_split(struct client *c, struct arena *a, struct imap_mboxes *f, mboxes_foreign_fn *fn, void *ctx, struct err *e);

/* --- names.c: mailbox names of clients --- */
/* Modified UTF-7 to UTF-8, in the arena; checks what the store would misunderstand. CMD_OK, or CMD_NO with [CANNOT]. */
enum cmd_result name_take(struct client *c, struct str wire, struct str *out, struct err *e);
enum cmd_result no_cannot(struct client *c, const char *text);
/* A name in a response, as this client wants names. */
void client_put_mailbox(struct client *c, struct buf *out, struct str utf8);
/* The answer to a failed store call about a folder: NO with the code of *e; ERR_INPUT becomes CANNOT; missing folders TRYCREATE if wanted. */
enum cmd_result store_no(struct client *c, const struct err *e, bool trycreate);

/* --- cmd_append.c --- */
enum append_literal { APPEND_INLINE, APPEND_STREAM, APPEND_REFUSED, APPEND_OPENING };
enum append_literal append_literal(struct client *c);	/* the literal announced in a CF_STREAM command; APPEND_OPENING: ask again when append_waited */
bool append_waited(const struct client *c);		/* its mailbox has been opened */
bool append_streaming(const struct client *c);		/* the next input is message data */
bool append_data(struct client *c);			/* takes input; false: more is needed */
void append_abort(struct client *c);
/* Its answer is known, but left bytes of a literal and the command's rest are still to come: they are read over. */
void append_swallow(struct client *c, uint64_t left, const char *status, const char *code, const char *text);
enum cmd_result append_finish(struct client *c, struct imap_lex *l, struct err *e);	/* the command is complete */

/* --- cmd_expunge.c --- */
/* Messages with \Deleted go, of within when it is not NULL, in pieces: the command's last act. told false: without a word to this client, which then has nothing
 * selected any more. */
enum cmd_result expunge_deleted(struct client *c, const struct imap_seqset *within, bool told, struct err *e);
/* "HIGHESTMODSEQ n" for a client that follows mod-sequences, else "" (RFC 7162 3.2.7). */
const char *highestmodseq_code(struct client *c);

/* --- cmd_mailbox.c --- */
/* A deleted folder has gone when its directory has another name; its files follow in pieces, also those that an earlier process left. */
void purge_later(struct user *u);
bool special_use_known(struct str *use);	/* as RFC 6154 spells it */
/* before, "F" and the folder's id in hexadecimal (RFC 8474), after */
void mailboxid_put(struct buf *out, const char *before, const struct mbox *m, const char *after);
/* "* STATUS name (…)" for LIST … RETURN (STATUS …) */
int status_items_get(struct imap_lex *l, uint32_t *items_out, struct err *e) MUST_CHECK;
void status_items_format(struct buf *out, uint32_t items);
int status_put(struct client *c, struct str name, uint32_t items, struct err *e) MUST_CHECK;

/* --- guest.c: connections of other users, and what they may (RFC 4314) --- */
/* Of a new connection. ERR_LIMIT: there are too many. */
int guest_begin(struct client *c, struct str guest, struct err *e) MUST_CHECK;
void guest_end(struct client *c);
/* Look again at the rights in the selected mailbox. False: it may not be read any more. */
bool guest_still(struct client *c);
void guest_bye(struct client *c);	/* it may not: the connection ends */
void guests_check(struct user *u);	/* a list has changed: those who may not read any more are sent away */
/* The client's rights in a mailbox: all for the owner, whether it exists or not. -1 with ERR_NOENT: not there, or the guest may not know. */
int rights_in(struct client *c, struct str name, uint32_t *rights_out, struct err *e) MUST_CHECK;
/* CMD_OK: the client has all rights of need. Else the answer: the same for what is hidden as for what is not there. */
enum cmd_result may(struct client *c, struct str name, uint32_t need, bool trycreate, struct err *e);
enum cmd_result may_create(struct client *c, struct str name, struct err *e);
enum cmd_result no_perm(struct client *c);
/* Whose \Seen the client sees: NULL: the owner's. */
const char *client_reader(const struct client *c);
uint32_t flags_allowed(uint32_t rights);	/* MBOX_*: those that these rights allow to change */
int guest_list(struct client *c, struct store_folder **list, struct err *e) MUST_CHECK;	/* leave what the guest may see */

/* --- ext_acl.c --- */
void myrights_put(struct client *c, struct str name, uint32_t rights);
bool shares_any(struct user *u);		/* anything at all */
void shares_tell(struct user *u);	/* authd hears to whom anything here is open */

/* --- ext_compress.c --- */
void compress_begin(struct client *c);	/* the answer has been written */

/* --- ext_idle.c --- */
void idle_stop(struct client *c);	/* no more keep-alives */
void idle_line(struct client *c, struct str line);	/* what the client sent while idling */

#endif
