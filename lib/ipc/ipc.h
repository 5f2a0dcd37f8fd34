/* Messages between the suite's processes. Each channel is a .def file here: its messages, for each the typed fields with limits.
 * Struct, encoder, decoder, documentation and fuzz target come from the rows. Transport: SOCK_SEQPACKET UNIX sockets, one message
 * per packet, at most IPC_PACKET_MAX bytes; one descriptor may ride along, or with a message that is for that up to IPC_FDS_MAX.
 * Frame: magic, version, type, request id, field count; each field: tag, length, bytes. Unknown, missing (required) or doubled
 * fields, over-long fields, a wrong descriptor count: the channel is closed. No struct is ever sent as memory.
 *
 *   lib/ipc/auth.def:
 *	IPC_MSG(auth, START, 1, IPC_NO_FD, "front -> authd: begin a SASL exchange")
 *		IPC_STR(auth, START, mech, 1, 64, IPC_REQUIRED)
 *		IPC_STR(auth, START, initial, 2, 16384, IPC_OPTIONAL)
 *	IPC_END(auth, START)
 *
 *   use:	#include "ipc/auth.h"		struct ipc_auth_START, IPC_auth_START (type number), ipc_auth (the table)
 *	struct ipc_auth_START m = { .mech = STR("PLAIN") };
 *	ipc_send(ch, IPC_auth_START, &m, id, -1, &e);
 *
 * A missing optional field decodes as zero / empty with p NULL (an empty present one has p not NULL).
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

enum { IPC_PACKET_MAX = 131072, IPC_STRS_MAX = 2048, IPC_FDS_MAX = 5 };
enum ipc_need { IPC_OPTIONAL, IPC_REQUIRED };
enum ipc_fd { IPC_NO_FD, IPC_WITH_FD, IPC_WITH_FDS };	/* none, one, 1 to IPC_FDS_MAX */

struct ipc_fds {
	int v[IPC_FDS_MAX];
	size_t n;
};

struct ipc_strs {		/* a list of strings */
	struct str *v;
	size_t n;
};

enum ipc_type { IPC_T_STR, IPC_T_U64, IPC_T_STRS };
struct ipc_field {
	const char *name;
	uint8_t type, tag, need;
	uint32_t max;		/* STR: bytes; STRS: bytes of each; U64: unused */
	uint32_t offset;	/* in the message struct */
};
struct ipc_msg {
	const char *name, *doc;
	uint16_t type;
	uint8_t fd;
	uint32_t size;		/* of the struct */
	const struct ipc_field *fields;
	size_t n_fields;
};
struct ipc_proto {
	const char *name;
	const struct ipc_msg *msgs;
	size_t n_msgs;
};

/* Pure codec (fuzzed). decode: the struct and its strings live in a / borrow packet. */
int ipc_encode(const struct ipc_proto *p, uint16_t type, const void *msg, uint32_t id, unsigned char *packet, size_t max, size_t *n_out,
	       struct err *e) MUST_CHECK;
int ipc_decode(const struct ipc_proto *p, struct str packet, size_t n_fds, struct arena *a, uint16_t *type_out, uint32_t *id_out, void **msg_out,
	       struct err *e) MUST_CHECK;

/* What the table says, as a number: another one after any change of a row. Of no use but to be compared. */
uint64_t ipc_version(const struct ipc_proto *p);

/* A copy of a message (of its struct, that is) whose strings live in a. NULL: a's limit, or no such type. */
void *ipc_copy(const struct ipc_proto *p, uint16_t type, const void *msg, struct arena *a);

struct ipc_chan;
/* One message: fd is -1 or owned by the callee; of IPC_WITH_FDS it is the first, ipc_more_fds() gives the others. msg and strings are valid during the call. */
typedef void ipc_fn(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd);
/* The channel has closed (peer gone, malformed record, queue full): why says it. Called once; the callee frees the channel. */
typedef void ipc_closed_fn(void *ctx, struct ipc_chan *ch, const struct err *why);

/* Rows: which message types the peer may send now. The receiver states it in data; phases switch the set. Anything else closes the channel. */
struct ipc_allow {
	const uint16_t *types;
	size_t n;
};

/* Takes fd. */
struct ipc_chan *ipc_chan_new(struct loop *l, int fd, const struct ipc_proto *p, ipc_fn *fn, ipc_closed_fn *closed, void *ctx);
void ipc_chan_free(struct ipc_chan **ch);	/* closes; deferred while in its own callback */
void ipc_chan_allow(struct ipc_chan *ch, struct ipc_allow allow);	/* borrows types; default: every message of the table */
/* How many packets may wait for a peer that does not take them: 256, or so many. For channels within a group, whose users bound what they ask. */
void ipc_chan_waiting_max(struct ipc_chan *ch, size_t packets);
enum { IPC_GROUP_WAITING_MAX = 4096 };
size_t ipc_chan_waiting(const struct ipc_chan *ch);	/* packets that the socket has not taken yet */
int ipc_chan_fd(const struct ipc_chan *ch);
/* Messages come several at a time: all that are there are taken in a round of the loop, up to a limit, and not one with what has no descriptor. */
void ipc_chan_bursts(struct ipc_chan *ch);
/* The opposite, for who is answered, or given something, once at a time: one in a round, with a descriptor too. */
void ipc_chan_alone(struct ipc_chan *ch);
/* Read nothing from it for now (false: go on). That the peer has gone is still seen. */
void ipc_chan_hold(struct ipc_chan *ch, bool hold);
/* Read now what is there, from one that is held as well: for who looks when it matters, and need not be woken before. */
void ipc_chan_take(struct ipc_chan *ch);
/* Others hear of it from now on, and nothing that was said before is with it. false, and nothing is done: it has failed, or packets wait to be sent. */
bool ipc_chan_pass(struct ipc_chan *ch, ipc_fn *fn, ipc_closed_fn *closed, void *ctx) MUST_CHECK;
/* Queue and send; fd (or -1) is duplicated into the message, the caller keeps its own. Never blocks: up to 256 packets (ipc_chan_waiting_max) are queued, then the
 * channel closes with ERR_LIMIT. -1 only for a message that cannot be encoded. */
int ipc_send(struct ipc_chan *ch, uint16_t type, const void *msg, uint32_t id, int fd, struct err *e) MUST_CHECK;
/* The same with several, for IPC_WITH_FDS. */
int ipc_send_fds(struct ipc_chan *ch, uint16_t type, const void *msg, uint32_t id, const struct ipc_fds *fds, struct err *e) MUST_CHECK;
/* During the callback, once: the descriptors after the first, owned by the caller. Those that nobody takes are closed. */
struct ipc_fds ipc_more_fds(struct ipc_chan *ch);
uint32_t ipc_next_id(struct ipc_chan *ch);	/* 1, 2, … for requests; answers carry the request's id */

/* Blocking forms over a bare descriptor (tools, the key provider, deliver): timeout_ms per call. recv: *fd_out -1 or owned; when nothing came in that
 * time ERR_TEMP with sys 0 (other trouble has an errno, or another code), and nothing is lost. */
int ipc_send_fd(int sock, const struct ipc_proto *p, uint16_t type, const void *msg, uint32_t id, int fd, struct err *e) MUST_CHECK;
int ipc_recv_fd(int sock, const struct ipc_proto *p, int timeout_ms, struct arena *a, uint16_t *type_out, uint32_t *id_out, void **msg_out, int *fd_out,
		struct err *e) MUST_CHECK;
/* Who always waits for the same time says it once: with IPC_PATIENCE for timeout_ms one system call waits and receives, where it else takes two. */
enum { IPC_PATIENCE = -2 };
int ipc_patience(int sock, int timeout_ms, struct err *e) MUST_CHECK;

#endif
