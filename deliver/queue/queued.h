/* queued, inside: one process, one loop, as _postern_queue, confined to the spool. Files in reading order:
 *	queued_main.c	start, listeners, supervision (root)
 *	queued.c	the loop: wiring of everything below
 *	queued_conn.c	registered connections, their facts, which message when
 *	queued_client.c	who the client is, when its peer speaks for another
 *	queued_limit.c	rates of a client; the greeting's pause
 *	queued_user.c	limits of a login
 *	queued_rules.c	what holds for the connections of a listener
 *	queued_trans.c	MAIL, DATA: the envelope
 *	queued_rcpt.c	RCPT: its recipients
 *	queued_rewrite.c	addresses of a complete message, blind copies
 *	queued_commit.c	scan, local copies, answer
 *	queued_record.c	the queue records that come between
 *	queued_head.c	the header: what is added, what is removed (pure)
 *	queued_agent.c	a delivery agent and the copy it writes
 *	queued_lines.c	copies that wait for one, and who starts it
 *	queued_sched.c	the schedule: which message when
 *	queued_gauges.c	how large the queue is, for scrapers
 *	queued_active.c	one message being tried
 *	queued_local.c	its recipients with mailboxes
 *	queued_routes.c	where its recipients elsewhere go
 *	queued_remote.c	deliveries to them; destinations
 *	queued_outgoing.c	what smtp_generic_maps and smtp_header_checks make of it
 *	queued_outbody.c	the same for its body: smtp_body_checks, and the fields of its parts
 *	queued_sts.c	questions to sts
 *	queued_tlsrpt.c	counts of TLS sessions
 *	queued_tlsreport.c	reports of them
 *	queued_verify.c	is there somebody at an address?
 *	queued_trouble.c	notify_classes: what went wrong
 *	queued_post.c	messages of our own making
 *	queued_bounce.c	notifications
 *	queued_rows.c	whom the filter is asked about
 *	queued_batches.c	what the filter wants done with a message, and where that is not the same for all recipients
 *	queued_ask.c	questions to resolve and policy
 *	queued_filter.c	questions to filterd
 *	queued_known.c	answers of resolve that are remembered
 *	queued_checks.c	header_checks and their like, body_checks
 *	queued_milter.c	what milters hear of a transaction, and want
 *	queued_restrict.c	restriction lists, and the facts that they ask for
 *	queued_sync.c	fsync beside the loop
 *	queued_etrn.c	a client asks for a domain's mail
 *	queued_control.c	administrator's requests
 */
#ifndef DELIVER_QUEUED_H
#define DELIVER_QUEUED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rate.h"
#include "conf/conf.h"
#include "deliver/queue/dsn.h"
#include "deliver/resolve/own.h"
#include "deliver/resolve/resolve.h"
#include "deliver/restrict/restrict.h"
#include "deliver/queue/retry.h"
#include "deliver/queue/tlsrpt_text.h"
#include "dns/client.h"
#include "io/loop.h"
#include "ipc/deliver.h"
#include "ipc/filter.h"
#include "ipc/policy.h"
#include "ipc/queue.h"
#include "ipc/resolve.h"
#include "ipc/sts.h"
#include "spool/spool.h"

enum {
	QUEUED_LMTP_RCPTS_MAX = 500,	/* of one LMTP transaction: their answers are one message */
	QUEUED_CONNS_MAX = 20000,	/* registered connections */
	QUEUED_EARLY_MAX = 1000,	/* logins whose connection is not registered yet */
	QUEUED_EARLY_MS = 2000,
	QUEUED_FINALS_MAX = 10000,	/* final recipients of one transaction, aliases expanded */
	QUEUED_ACTIVE_MAX = 1500,	/* messages being tried at once */
	QUEUED_REMOTE_JOBS_MAX = 512,	/* remote attempts at once: never more than remote may have workers */
	QUEUED_NAMES_MAX = 1000,	/* answers of the dns process that are remembered */
	QUEUED_NAMES_BYTES_MAX = 1 << 20,
	QUEUED_AGENTS_MAX = 128,	/* delivery agents at once */
	QUEUED_AGENTS_PER_USER_MAX = 8,
	QUEUED_AGENT_IDLE_MS = 1200,
	QUEUED_ASK_MS = 30000,		/* resolve */
	QUEUED_SYNC_THREADS = 8,
	QUEUED_INDEX_MAX = 1000000,	/* messages in the queue */
};

struct queued;
struct conn_entry;
struct trans;
struct agents;
struct asks;
struct known;
struct knowns;
struct filter;
struct syncer;
struct sched;
struct remotes;

/* What the root part hands over. */
struct queued_env {
	const struct conf *conf;
	int resolve_fd, spawn_fd, programs_fd, remote_fd, link_fd, dns_fd, policy_fd, sts_fd;	/* channels of the group; taken */
	int register_fd, auth_fd, control_fd;		/* listeners; taken */
	const uint64_t *generation;	/* shared with the parent: counts changed configurations */
	bool unconfined;
};

struct queued {
	struct loop *loop;
	const struct conf *conf;
	struct arena *arena;		/* of the process */
	struct own_addresses own;
	struct spool *spool;
	struct rules *rules;		/* of listeners; the first is the file's own */
	size_t n_rules;
	struct rate *rates;		/* of clients; NULL: nothing is limited */
	struct rate *user_rates;	/* of logins; NULL: nothing was limited yet */
	struct map *passed;		/* address -> when it must wait again (queued_limit.c) */
	struct list early;		/* struct early of queued_conn.c */
	size_t n_early;
	struct map *conns;		/* 8 bytes of conn -> struct conn_entry */
	struct asks *resolve;
	struct knowns *known;		/* NULL: nothing is remembered */
	struct agents *agents;
	struct filter *filter;
	struct syncer *sync;
	struct sched *sched;
	struct ipc_chan *remote;
	struct dns_client *dns;
	struct remotes *remotes;
	struct troubles *troubles;	/* NULL: none yet */
	struct tlsrpt *tlsrpt;
	struct verify *verify;
	struct srs srs;
	bool reporting;			/* tlsrpt_send is at work */
	struct ipc_chan *sts;
	struct map *sts_asks;		/* id -> question under way */
	struct asks *policy;
	uint64_t last_talk;		/* with milters */
	size_t n_trans;			/* transactions that are open */
	bool draining;			/* SIGTERM: no new ones */
	bool leaving;			/* no new tries of queued messages: the process ends when nothing is under way */
	const uint64_t *generation;
	uint64_t own_generation;
};

/* --- queued_sync.c --- */
typedef void sync_fn(void *ctx, int error);	/* error: errno of what was done, 0 */
struct syncer *sync_new(struct loop *l, unsigned threads);
/* fsync fd in a thread, close it, then fn in the loop. Takes fd. */
void sync_submit(struct syncer *s, int fd, sync_fn *fn, void *ctx);
/* Copy the first size bytes of from to to in a thread, then fn in the loop. Both stay the caller's, and open until then. */
void sync_copy(struct syncer *s, int to, int from, uint64_t size, sync_fn *fn, void *ctx);

/* --- queued_ask.c, queued_filter.c --- */
struct ask;
typedef void resolved_fn(void *ctx, const struct ipc_resolve_RESULT *r);	/* NULL: no answer; valid during the call */
void asks_start(struct queued *q, int fd);
struct ask *resolve_ask(struct queued *q, struct str address, resolved_fn *fn, void *ctx);	/* may answer later only */
typedef void routed_fn(void *ctx, const struct ipc_resolve_ROUTES *r);	/* as resolved_fn; lists are as long as the question's */
struct ask *route_ask(struct queued *q, struct str sender, struct ipc_strs addresses, routed_fn *fn, void *ctx);
typedef void looked_fn(void *ctx, const struct ipc_resolve_VALUE *v);	/* NULL: no answer; valid during the call */
struct ask *lookup_ask(struct queued *q, const struct ipc_resolve_LOOKUP *m, looked_fn *fn, void *ctx);	/* may answer later only */
void resolve_reload(struct queued *q);
/* The owner that becomes final i's envelope sender, or empty. */
struct str resolved_owner(const struct ipc_resolve_RESULT *r, size_t i);
typedef void rewritten_fn(void *ctx, const struct ipc_resolve_REWRITTEN *r);	/* NULL: no answer */
struct ask *rewrite_ask(struct queued *q, const struct ipc_resolve_REWRITE *m, rewritten_fn *fn, void *ctx);
typedef void matched_fn(void *ctx, const struct ipc_resolve_MATCHES *m);	/* NULL: no answer */
typedef void parts_fn(void *ctx, const struct ipc_resolve_PART_MATCHES *m);	/* NULL: no answer */
struct ask *parts_ask(struct queued *q, const struct ipc_resolve_PARTS *m, int fd, parts_fn *fn, void *ctx);	/* the same; fd stays the caller's */
bool head_may_have_parts(struct str head);	/* queued_checks.c */
struct ask *check_ask(struct queued *q, const struct ipc_resolve_CHECK *m, matched_fn *fn, void *ctx);	/* may answer later only */
void policy_start(struct queued *q, int fd);
typedef void acted_fn(void *ctx, const struct ipc_policy_ACTION *m);	/* NULL: no answer */
void milter_body(void *ctx, int fd, uint64_t size);	/* queued_milter.c: with a milter_ask's ctx; takes fd */
struct ask *policy_ask(struct queued *q, const struct ipc_policy_ASK *m, acted_fn *fn, void *ctx);	/* may answer later only */
typedef void milted_fn(void *ctx, const struct ipc_policy_VERDICT *v);	/* NULL: no answer */
/* m: BEGIN, RCPT or MESSAGE with fd (or -1; borrowed). May answer later only. ms: for a process that hangs. */
struct ask *milter_ask(struct queued *q, uint16_t type, const void *m, int fd, uint64_t ms, milted_fn *fn, void *ctx);
void milter_tell_end(struct queued *q, uint64_t talk);
typedef void scanned_fn(void *ctx, const struct filter_outcomes *o);	/* NULL: no verdict; else at least one, valid during the call */
void filter_start(struct queued *q, int link_fd);
struct ask *filter_ask(struct queued *q, const struct ipc_filter_SCAN *m, int fd, scanned_fn *fn, void *ctx);	/* borrows m's strings and fd until answered */
typedef void counted_fn(void *ctx, uint64_t lists);	/* 0: no answer */
/* How many different lists of attachments have these recipients? Borrows m's until answered; may answer later only. */
struct ask *lists_ask(struct queued *q, const struct ipc_filter_LISTS *m, counted_fn *fn, void *ctx);
void ask_forget(struct ask **a);	/* no call any more; accepts NULL */

/* May mail go to a "command" or "file" named in where ("alias" "forward" "include")? */
bool program_allowed(const struct conf *c, struct str kind, const char *where);

/* --- queued_known.c --- */
/* Before the process is confined, for each file whose contents answers of resolve depend on. None: nothing is remembered. */
void known_watch(struct queued *q, const char *file);
/* The answer that resolve would give now, to be dropped by the caller; NULL: ask it. generation_out: of the question, for known_put. */
struct known *known_get(struct queued *q, struct str address, uint64_t *generation_out);
const struct ipc_resolve_RESULT *known_result(const struct known *k);	/* valid until it is dropped */
/* resolve's answer, which is remembered if it is plain enough, and nothing has happened since the question. */
void known_put(struct queued *q, struct str address, uint64_t generation, const struct ipc_resolve_RESULT *r);
void known_drop(struct known **k);	/* accepts NULL */
void known_forget(struct queued *q);	/* all of them */

/* --- queued_sts.c --- */
typedef void sts_fn(void *ctx, const struct ipc_sts_POLICY *m);	/* NULL: no answer; valid during the call */
void sts_start(struct queued *q, int fd);
/* May a next hop of this transport have an MTA-STS policy that we obey? */
bool sts_wanted(const struct queued *q, const char *transport, struct str nexthop);
void sts_ask(struct queued *q, struct str domain, sts_fn *fn, void *ctx);	/* may answer later only */

/* --- queued_agent.c, queued_lines.c --- */
struct copy;
enum copy_event {
	COPY_READY,	/* durable in tmp; copy_commit or copy_abort must follow */
	COPY_DONE,	/* visible; the handle is gone */
	COPY_FAILED,	/* not delivered; the handle is gone */
	COPY_FORWARD,	/* the user's .forward: recipients, keep. With keep READY follows; both end with copy_commit or copy_abort */
};
struct copy_result {
	bool permanent;			/* FAILED */
	struct str enhanced, text;
	struct ipc_strs recipients;	/* FORWARD */
	bool keep;
	bool runner;			/* FORWARD: nothing was done; ask again with r->runner */
};
typedef void copy_fn(void *ctx, enum copy_event ev, const struct copy_result *r);	/* strings valid during the call */
struct copy_request {		/* all borrowed until the handle is gone */
	struct str user, qid, sender, recipient, original, extension, folder;
	struct str kind, item;	/* "command" "file" "include": of alias user; else a mailbox */
	struct ipc_strs edits;
	uint64_t size;
	uint64_t attempt;	/* 1 the first */
	bool commit;		/* the only thing to be done: no READY, DONE at once (but FORWARD as always) */
	bool programs;		/* commands and files may be delivered to: not in a transaction */
	bool runner;		/* an agent that can execute commands is needed */
	bool room;		/* only a question: would size more bytes fit? DONE or FAILED */
	int fd;
};
void agents_start(struct queued *q, int spawn_fd, int programs_fd);
void queued_leave(struct queued *q);	/* end, and with it the group, once what is under way is over; no new transactions */
struct copy *copy_start(struct queued *q, const struct copy_request *r, copy_fn *fn, void *ctx);
void copy_commit(struct copy *c);
void copy_abort(struct copy **c);	/* no call any more; what was written is removed. Accepts NULL */
size_t agents_count(const struct queued *q);

/* --- queued_head.c (pure) --- */
struct head_facts {
	bool submission;	/* authenticated or local: Date, Message-ID are added, Bcc removed */
	bool own;		/* of mynetworks: Bcc is removed */
	bool complete;		/* they are added to others', too */
	bool esmtp, lmtp, utf8;	/* the protocol of Received's "with" */
	bool name_user, hide_client;	/* smtpd_sasl_authenticated_header, smtpd_hide_client_address */
	struct str sender;	/* of the envelope: a submission's From when there is none */
	struct str client_name;	/* verified; empty: unknown */
	struct str client, helo, tls, user, recipient;	/* recipient: only when there is exactly one */
	struct str qid;
	const char *hostname, *mail_name;
	int64_t now;
};
struct head_result {
	struct str *edits;
	size_t n_edits;
	unsigned received;	/* Received fields */
	struct str message_id;	/* with brackets; added one included */
	const char *twice;	/* a submission has this field more than once, which must not be (RFC 5322 3.6); NULL: none */
};
int head_edits(struct arena *a, struct str head, const struct head_facts *f, struct head_result *out, struct err *e) MUST_CHECK;

/* --- queued_rules.c --- */
struct networks {
	struct cidr *v;
	size_t n;
};
bool networks_have(const struct networks *n, const uint8_t addr[16]);
struct rules {
	const char *name;	/* of the "listener.NAME" line; "" */
	const struct conf *conf;
	struct restrict_set *restrictions;
	struct networks mynetworks;
};
int rules_start(struct queued *q, struct err *e) MUST_CHECK;
const struct rules *rules_of(const struct queued *q, struct str listener);	/* NULL: no such listener in our configuration */

/* --- queued_limit.c --- */
struct conn_entry;
/* One more of this kind from c's client; true: too many in the window, and answered. */
bool limit_refuses(struct conn_entry *c, enum rate_kind kind, uint32_t id);
void limit_event(struct conn_entry *c, uint32_t id, const struct ipc_queue_EVENT *m);

/* --- queued_user.c --- */
/* The same for c's login. */
bool user_limit_refuses(struct conn_entry *c, enum rate_kind kind, uint32_t id);

/* --- queued_client.c --- */
struct forwarded {
	char name[256], addr[64], helo[256], ident[256];
};
struct client_cert {
	char cert[192], key[192], subject[256], issuer[256];
	bool trusted;
};
/* The peer's address as the parent registered it; false: too long. */
bool client_register(struct conn_entry *c, struct str address) MUST_CHECK;
bool client_set(struct conn_entry *c, struct str address) MUST_CHECK;
/* What fronts report. false: not allowed, the channel is to be closed. */
bool client_proxied(struct conn_entry *c, const struct ipc_queue_PROXIED *m) MUST_CHECK;
bool client_xclient(struct conn_entry *c, uint32_t id, const struct ipc_queue_XCLIENT *m) MUST_CHECK;
bool client_xforward(struct conn_entry *c, uint32_t id, const struct ipc_queue_XFORWARD *m) MUST_CHECK;
bool client_cert(struct conn_entry *c, const struct ipc_queue_CCERT *m) MUST_CHECK;
void client_forget_cert(struct conn_entry *c);
void client_forget_forwarded(struct conn_entry *c);
void client_log_text(const struct conn_entry *c, struct buf *out);	/* "client=name[address], orig_client=…" */

/* --- queued_restrict.c --- */
/* The restriction lists with what they ask for. A judge remembers the facts of one transaction. */
struct judge;
struct judge *judge_new(struct queued *q, const struct restrict_set *set);
void *judge_alloc(struct judge *j, size_t n);	/* lives as long as the judge */
void judge_free(struct judge **j);	/* no call any more; accepts NULL */
/* One question at a time; f is copied, with its strings, but for the client's names and certificate: those are the connection's, and must stay until the answer or judge_free().
 * fn may be called before the return, as the last thing; *a lives until the next question. */
typedef void judged_fn(void *ctx, const struct restrict_answer *a);
void judge_ask(struct judge *j, enum restrict_stage stage, const struct restrict_facts *f, judged_fn *fn, void *ctx);

/* --- queued_conn.c --- */
/* MAIL of a connection of which the parent has not told yet. */
struct first_mail {
	struct arena *arena;
	uint32_t id;
	const struct ipc_queue_MAIL *mail;
};

struct conn_entry {
	struct queued *q;
	uint64_t id;
	struct ipc_chan *chan;
	const struct rules *rules;
	const struct conf *conf;	/* with the overrides of its listener: what is asked for a connection is asked here */
	char profile[32], client[64], user[256], rights[65], server[64];
	char name[256], reverse[256];	/* the client's, verified or as XCLIENT gave it, and not verified; empty: not looked up yet */
	bool named;			/* they are final */
	uint64_t client_port, server_port;
	uint8_t addr[16];
	uint8_t peer[16];		/* registered; addr is that of the client it speaks for */
	bool peer_known, proxied_due;	/* proxied_due: it is a proxy and has not said for whom it speaks */
	struct client_cert *cert;	/* that the client has shown; NULL: none */
	struct forwarded *forwarded;	/* XFORWARD; NULL: nothing */
	bool addr_known, mynetworks, local, lmtp, has_user, stress;
	uint64_t uid;			/* local: peer's */
	struct trans *trans;
	struct judge *judge;		/* of ETRN */
	bool between;			/* the parent has told of the next connection on this channel, the front has not yet */
	uint64_t next;			/* the front has, the parent has not: nothing is read meanwhile; 0: no */
	struct first_mail *first;	/* what it has said with that; NULL: nothing */
	struct list siblings;		/* of the same parent; alone when that has gone: then no next one is told of */
};
enum conn_phase { PHASE_IDLE, PHASE_OPEN, PHASE_WAIT, PHASE_DATA, PHASE_READY, PHASE_BETWEEN };	/* OPEN becomes READY by itself when the front can write */
void conns_start(struct queued *q, int register_fd, int auth_fd);
void conn_phase(struct conn_entry *c, enum conn_phase p);
void conn_ready(struct conn_entry *c, uint32_t id, int fd, struct str qid);	/* READY; fd stays the caller's. qid: as conn_reply */
/* qid: of a transaction that this answer opens; else empty. */
void conn_reply(struct conn_entry *c, uint32_t id, uint64_t code, const char *enhanced, struct str text, struct str qid);
void conn_refuse(struct conn_entry *c, uint32_t id, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text, struct str qid);
void conn_facts(const struct conn_entry *c, struct restrict_facts *f);	/* what is known without a transaction */
bool conn_trusted(const struct conn_entry *c);	/* authenticated, or submits locally */
bool conn_completes(const struct conn_entry *c);	/* what its messages lack in their headers is added */

bool notify_wanted(const struct conf *c, const char *class);	/* queued_bounce.c: is it among notify_classes? */

/* --- queued_trouble.c --- */
void trouble_refused(const struct conn_entry *c, uint64_t code, const char *enhanced, struct str text);	/* any answer: it is looked at */
void trouble_data(const struct conn_entry *c, struct str what);	/* what its message held that none may; empty: nothing of the kind */
void trouble_protocol(struct queued *q, struct str text);	/* another server broke it */

/* --- queued_trans.c, queued_rcpt.c, queued_commit.c --- */
void trans_mail(struct conn_entry *c, uint32_t id, const struct ipc_queue_MAIL *m);
void trans_rcpt(struct trans *t, uint32_t id, const struct ipc_queue_RCPT *m);
void trans_data(struct trans *t, uint32_t id);
void trans_data_end(struct trans *t, uint32_t id, const struct ipc_queue_DATA_END *m);
bool trans_ready(const struct trans *t);	/* its front can write before DATA. NULL: no */
bool trans_written(struct trans *t);	/* somebody can still write to its message; else it is sealed. NULL: no */
const char *trans_id(const struct trans *t);
void trans_drop(struct trans **t);	/* client gone or RESET: undo all, unless it is being made visible (then it goes on alone) */

/* --- queued_sched.c --- */
void sched_start(struct queued *q, int remote_fd);
/* A durable record: schedule it now. logged: its "queue active" line was written. Takes nothing. */
void sched_add(struct queued *q, const struct spool_msg *m, bool logged);
size_t sched_count(const struct queued *q);
size_t sched_active(const struct queued *q);	/* being tried */

/* --- queued_quarantine.c: mail that filterd wants kept from its recipients: held in the queue, with a reason --- */
struct qmsg;
void quarantine_start(struct queued *q);	/* what is older than quarantine_lifetime goes */
void quarantine_release(struct queued *q, struct qmsg *m);
size_t quarantine_expire(struct queued *q, uint64_t age_s);

/* A message in the queue, in memory: there may be very many. */
struct active;
struct lane;
struct qmsg {
	char qid[SPOOL_QID_MAX + 1];
	uint64_t size;
	int64_t arrived, next_try;
	struct lane *lane;
	struct list due;		/* of its lane, when its time has come and no place was free yet */
	struct list peer;		/* of its lane, always */
	struct active *active;
	size_t heap_at;
	uint32_t tries;
	bool held, expired, logged, recovered;	/* recovered: found at start, may have been tried before the crash */
	bool quarantined;		/* held by the filter: the queue's own words leave it alone */
	bool doomed;			/* to be deleted as soon as it is not active */
	bool mixed;			/* recipients of more than one lane */
};
struct qmsg *sched_find(struct queued *q, struct str qid);
/* Walk: *it starts at 0; false at the end. The queue must not change meanwhile. */
bool sched_each(struct queued *q, size_t *it, struct qmsg **out);
/* Has it pending recipients in that domain? 1 yes, -1 no, 0: its record must be looked at. */
int sched_may_be_for(const struct qmsg *m, struct str domain);
void sched_when(struct queued *q, struct qmsg *m, int64_t next_try);	/* move in the schedule */
void sched_forget(struct queued *q, struct qmsg **m);
void sched_active_done(struct queued *q, struct qmsg *m);	/* one place is free */
void sched_window(struct queued *q, struct qmsg *m, uint64_t window);	/* what the destination of m's lane takes at once */

/* --- queued_gauges.c --- */
void queue_gauges_open(const struct conf *c);		/* before the process is confined */
void queue_gauges_start(struct queued *q);

/* --- queued_active.c --- */
/* A message being tried, and one of its recipients. */
struct arcpt {
	struct active *a;
	size_t at;			/* index in msg->rcpts */
	struct copy *copy;
	const char *program;		/* for the log: smtp lmtp local error retry discard */
	uint64_t start_us, setup_us, uses;	/* 0: no try was made */
	const struct outgoing *out;	/* queued_outgoing.h; NULL: it is sent as it is kept */
	size_t out_at;			/* its place there */
	const char *success;		/* in this try: delivered relayed expanded; NULL: no, or somebody else tells of it */
	bool warned;			/* in this try: of its delay */
	/* .forward */
	bool forwarding, ready, posted;
	char forwarded_as[SPOOL_QID_MAX + 1];
};
struct active {
	struct queued *q;
	struct qmsg *m;
	struct arena *arena;
	struct spool_msg *msg;
	struct arcpt *rcpts;
	int fd;
	int out_fd;			/* what other servers get in place of it, of out_size bytes; -1: it itself */
	uint64_t out_size;
	size_t outstanding;
	struct buf journal;
	uint64_t start_us;
	bool *pick;
	bool warned_all;		/* every sender could be told of the delay */
};
void active_start(struct queued *q, struct qmsg *m);
/* Who gets to hear of recipient r's failure, and whose mail it is to a server. */
static inline struct str active_sender_of(const struct spool_msg *m, const struct spool_rcpt *r)
{
	return r->sender.n > 0 ? r->sender : m->sender;
}
/* soft_bounce: a failure for good is one for now. */
static inline struct str softened(const struct conf *c, struct arena *a, struct str enhanced)
{
	return c->soft_bounce && enhanced.n > 0 && enhanced.p[0] == '5' ? str_c(arena_printf(a, "4%.*s", STR_ARG(str_from(enhanced, 1)))) : arena_str(a, enhanced);
}
void active_result(struct arcpt *x, enum spool_state state, struct str enhanced, struct str text, struct str relay);	/* of one recipient; logged */
void active_one_done(struct active *a);	/* one of outstanding; may be the end of a */

/* --- queued_local.c --- */
void local_start(struct arcpt *x);

/* --- queued_routes.c --- */
/* Route and send these recipients of a; each round trip counts as one outstanding. */
void remote_send(struct active *a, const size_t *at, size_t n);

/* --- queued_remote.c --- */
void remotes_start(struct queued *q, int fd);
/* Recipient at of a into its destination's job among *jobs, which a holds until they go. */
bool routes_need_maps(const struct conf *c);	/* not all routes are known without a question to resolve */
enum { ROUTES_MAX = 100 };	/* addresses of one question */
void remote_job_add(struct active *a, size_t at, const char *transport, struct str nexthop, struct str login, struct str policy, struct list *jobs);
void remote_jobs_go(struct active *a, struct list *jobs);
void remote_flush(struct queued *q);	/* forget what is known of dead destinations */

/* --- queued_tlsrpt.c --- */
void tlsrpt_start(struct queued *q);
void tlsrpt_count(struct queued *q, struct str domain, struct str note);	/* note: as RESULT.tls of lib/ipc/remote.def, or "": no session was begun */
void tlsrpt_policy_trouble(struct queued *q, struct str domain, struct str result);	/* its MTA-STS policy could not be had */
/* Walk: *it starts at 0; NULL at the end. Valid until the next count. */
const struct tlsrpt_row *tlsrpt_next(const struct queued *q, size_t *it);
void tlsrpt_forget(struct queued *q, int64_t day, struct str domain);
void tlsrpt_save(struct queued *q);	/* what is not on disk yet */

/* --- queued_tlsreport.c --- */
/* Begin to send the reports of all days before this one, which are then forgotten. How many domains there are; 0 also while it is at work. */
size_t tlsrpt_send(struct queued *q, int64_t before_day);

/* --- queued_verify.c --- */
struct verify_answer {
	bool known, good;
	struct str text;	/* why it is known to be bad */
};
typedef void verify_fn(void *ctx, const struct verify_answer *a);
int verify_start(struct queued *q, struct err *e) MUST_CHECK;
struct verify_wait *verify_ask(struct queued *q, struct str address, verify_fn *fn, void *ctx);	/* calls from the loop */
void verify_forget(struct verify_wait **w);	/* no call any more; accepts NULL */
struct ipc_remote_RESULT;
bool verify_result(struct queued *q, uint32_t id, const struct ipc_remote_RESULT *m);	/* NULL: remote has gone. false: it is not of a verification */
void verify_fail_all(struct queued *q);		/* remote has gone */
void verify_save(struct queued *q);

/* --- queued_post.c --- */
/* A message of our own making (notification, forwarded copy): recipients are resolved, the message is written and synced, then scheduled. fn: qid of the new
 * message, or empty: not now (permanent false) or never (none of the recipients exists). */
typedef void posted_fn(void *ctx, struct str qid, bool permanent);
struct post_request {		/* strings are copied, content is taken */
	struct str sender, qid /* or empty */, message_id, body;
	struct str envid, orcpt;	/* a forwarded copy's, as the message had them; ret and notify too */
	uint64_t ret, notify;
	const struct str *to;
	size_t n_to;
	const struct str *edits;
	size_t n_edits;
	uint64_t flags;
	struct buf content;
};
void post(struct queued *q, struct post_request *r, posted_fn *fn, void *ctx);

/* --- queued_bounce.c --- */
typedef void bounced_fn(void *ctx, bool ok);
struct bounce_request {		/* nothing is borrowed after the call */
	enum dsn_kind kind;
	const struct spool_msg *m;
	const bool *pick;		/* of m's recipients */
	const char *const *actions;	/* DSN_SUCCESS: of each, delivered relayed expanded; NULL: delivered */
	int fd;				/* of the message */
};
/* Tell m's sender about the recipients that were picked, as far as they asked for it. Durable when fn (may be NULL) says ok, which may be before the return. */
void bounce_send(struct queued *q, const struct bounce_request *r, bounced_fn *fn, void *ctx);

/* --- queued_etrn.c --- */
void etrn_ask(struct conn_entry *c, uint32_t id, struct str name);	/* answers at once */
/* Begin to try what waits for domain ("@domain": and below). -1: too many such requests are under way. */
int flush_domain(struct queued *q, struct str domain) MUST_CHECK;

/* --- queued_control.c --- */
void control_start(struct queued *q, int fd);
void control_delete(struct queued *q, struct qmsg *m);		/* or as soon as it is not active */
void control_journal(struct queued *q, const struct qmsg *m);	/* what the index says of m (held, expired, tries) into its record, durable */

/* --- log lines that log parsers know --- */
struct log_delivery {
	struct str qid, address, original, relay, text;
	const char *program, *status;
	struct str enhanced;
	uint64_t uses;				/* of the connection; 0 or 1: not said */
	double before, queued, setup, transfer;	/* seconds */
};
void qlog_delivery(const struct log_delivery *d);
void qlog_from(struct str qid, struct str sender, uint64_t size, size_t rcpts);
void qlog_removed(struct str qid);

/* In the child: confine, recover, serve. Does not return. ctx: struct queued_env. */
void queued_run(void *ctx);
/* In the child: opens $run/filter/scan on request, or for remote the socket that is asked for. ctx: struct connector_env. */
struct connector_env {
	bool for_remote;
	const struct conf *conf;
	int link_fd;
	bool unconfined;
};
void connector_run(void *ctx);

#endif
