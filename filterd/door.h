/* The other ways in: processes that take messages by protocols of others (milter, spamc) and ask the monitor as queued does. Each is a loop without files
 * and without a way out: it accepts, keeps a message in memory (a sealed file), hands that to the monitor, and answers in its protocol's words.
 */
#ifndef FILTERD_DOOR_H
#define FILTERD_DOOR_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "io/conn.h"
#include "ipc/filter.h"

enum {
	DOOR_LISTENERS_MAX = 8,		/* of one protocol */
	DOOR_CONNS_MAX = 128,
	DOOR_BYTES_FACTOR = 8,		/* times message_size_limit: content of all connections of one door together */
	DOOR_IDLE_MS = 300000,
	DOOR_RECIPIENTS_MAX = 1024,
	DOOR_OUTCOMES_BYTES_MAX = 16 << 20,
};

/* --- what filterd starts --- */
struct door_protocol;
extern const struct door_protocol milter_door, spamd_door;
struct door_set {
	const struct door_protocol *protocol;
	int fds[DOOR_LISTENERS_MAX];
	bool teach[DOOR_LISTENERS_MAX];	/* its clients may say what is spam */
	size_t n;
};
/* As root: bind what a list names ("host:port", "unix:/path", group gid), besides those that out has. */
int door_listen(struct conf_list where, gid_t gid, struct door_set *out, struct err *e) MUST_CHECK;
/* Those of out that a service manager has bound: to be what the list names. For an address that none is at, missing is called; what is at none is closed and
 * out of the set. */
void door_passed(struct conf_list where, struct door_set *out, void (*missing)(const char *param, const char *where), const char *param);
bool door_is_at(int fd, const char *where);
const char *door_name(const struct door_protocol *p);
/* The process: confined already. sock: to the monitor. Does not return. */
void door_run(const struct conf *conf, const struct door_set *set, int sock) __attribute__((noreturn));

/* --- for the protocols --- */
struct door;
struct door_conn {
	struct door *door;
	const struct conf *conf;
	struct conn *conn;
	char peer[46];
	void *state;			/* protocol->state_size bytes, zeroed */
	int fd;				/* the message; -1: none was begun */
	uint64_t size;
	struct buf head;		/* a copy of its first bytes, for who edits them */
	bool full;			/* it is larger than may be, or there is no room: what is added is dropped */
	bool teach;			/* it may say what is spam */
	uint32_t asked;			/* the request that the monitor has; 0: none */
	bool counting;			/* it is that of door_count() */
	size_t n_asked;			/* recipients in it */
	struct filter_outcomes outcomes;	/* that came so far */
	struct arena *of_outcomes;
};
struct door_protocol {
	const char *name;
	size_t state_size;
	void (*begin)(struct door_conn *c);		/* may be NULL */
	void (*data)(struct door_conn *c);		/* input is there; must not wait for itself while a question is under way */
	void (*verdict)(struct door_conn *c, const struct filter_outcomes *o);	/* NULL: none can be had; else at least one */
	void (*counted)(struct door_conn *c, uint64_t lists);	/* NULL where door_count() is not called */
	void (*closed)(struct door_conn *c);		/* may be NULL: no more input comes, and no question is under way; then it is closed */
	void (*end)(struct door_conn *c);		/* free what state holds */
};

/* The message: forget an old one, add bytes. */
void door_message_reset(struct door_conn *c);
void door_message_add(struct door_conn *c, struct str bytes);
/* Ask about it: m's strings are needed during the call only. The verdict comes later, never within. */
void door_ask(struct door_conn *c, struct ipc_filter_SCAN *m);
/* How many lists of attachments have these recipients? counted() is told later, 0: nobody can say now. false: it cannot be asked. */
bool door_count(struct door_conn *c, const struct ipc_filter_LISTS *m);
void door_close(struct door_conn *c);			/* when what was written has left */

#endif
