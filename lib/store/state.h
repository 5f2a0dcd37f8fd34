/* A folder in memory: records, names, keyword sets (state.c), and the operations that change it (state_apply.c, ops.c); letters of file names (letters.c). */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "base/buf.h"
#include "base/map.h"
#include "store/store.h"

/* --- a record: one message, 64 bytes, little-endian on disk (index.c) --- */
enum {	/* rec.disk: what the file's name says; the flag letters in the order of the alphabet */
	DISK_D = 1, DISK_F = 2, DISK_P = 4, DISK_R = 8, DISK_S = 16, DISK_T = 32,
	DISK_LETTERS = 63,
	DISK_NOINFO = 64,	/* in cur without ":2," */
};
enum {	/* rec.state */
	REC_GONE = 1,		/* expunged; keeps its place until the state is written anew */
	REC_ZOMBIE = 2,		/* expunged, its file perhaps still there */
	REC_ODD = 4,		/* the name's info part is not just disk's letters: kept behind the base name */
	REC_POP3 = 8,		/* has a saved UIDL or order */
};
struct rec {
	uint32_t uid;
	uint16_t flags;		/* MBOX_* without RECENT */
	uint8_t disk, state;
	uint64_t modseq;
	int64_t internaldate, savedate;	/* internaldate DATE_UNKNOWN: the file's time (message_date) */
	uint64_t size, size_crlf;	/* size_crlf UINT64_MAX: not known yet */
	uint32_t name_lo;	/* 48-bit offset of base name (and odd info) in the names */
	uint16_t name_hi;
	uint8_t name_len, info_len;
	uint32_t kwset;
	uint32_t name_crc;
};
#define DATE_UNKNOWN INT64_MIN
static inline uint64_t rec_name_off(const struct rec *r) { return (uint64_t)r->name_hi << 32 | r->name_lo; }
static inline void rec_name_off_set(struct rec *r, uint64_t off) { r->name_lo = (uint32_t)off; r->name_hi = (uint16_t)(off >> 32); }
_Static_assert(sizeof(struct rec) == 64, "records are 64 bytes");

struct kwset {
	uint16_t n;
	uint16_t *ids;		/* ascending */
};

struct pop3_info {
	uint32_t uid, order;	/* order 0: none */
	char *uidl;		/* NULL: none */
};

struct range {
	uint32_t first, last;
};

/* The log of expunges (RFC 7162): these UIDs went with that mod-sequence. */
struct gone {
	uint64_t modseq;
	struct range uids;
};

/* What an applied operation did to the message at pos; views are told. */
enum applied {
	APPLIED_NEW,
	APPLIED_FLAGS,
	APPLIED_GONE,
	APPLIED_READER,		/* + number of the keyword: that reader's \Seen */
};
typedef void applied_fn(void *ctx, enum applied what, uint32_t pos);

struct state {
	struct rec *map;	/* n_map records of the index, mapped privately */
	struct rec *tail;	/* those after them */
	uint32_t n_map, n_tail, cap_tail;
	void *mapping;		/* all of the index file */
	size_t mapping_n;
	const unsigned char *chunk_crcs;	/* of the mapped records, by STATE_CHUNK */
	uint64_t *chunks_ok;	/* bit per chunk: verified */
	uint32_t unverified;	/* chunks that nobody has looked at yet */
	int (*mend)(void *ctx, uint32_t chunk);	/* make a chunk that does not verify anew; 0 done */
	void *mend_ctx;
	const char *map_names;
	uint64_t map_names_n;
	char *names;		/* offsets from map_names_n on */
	size_t names_n, names_cap;
	char *keywords[STORE_KEYWORDS_MAX + 1];	/* NULL-terminated */
	size_t n_keywords;
	uint64_t hidden[(STORE_KEYWORDS_MAX + 63) / 64];	/* bit per keyword: it is a reader's */
	size_t n_hidden;
	uint64_t keywords_stamp;	/* another one after each keyword that came, in whatever state of this process */
	struct kwset *kwsets;	/* [0] is the empty one */
	size_t n_kwsets, sweep_at;
	uint32_t *free_kwsets;	/* places of those that no record had any more */
	size_t n_free_kwsets;
	uint64_t sweeps;
	struct map *kwset_by_ids;	/* ids -> index */
	struct pop3_info *pop3;	/* by uid */
	size_t n_pop3, cap_pop3;
	uint8_t id[16];		/* of the mailbox, for ever */
	uint32_t uidvalidity, uidnext, reserved;	/* UIDs below reserved may have been shown */
	uint64_t modseq;	/* highest */
	int64_t named_last;	/* the latest time that a name tells: seconds */
	int64_t setback;	/* see state_setback; INT64_MAX: not known */
	uint64_t renames;	/* another after each name that a record got besides its first */
	uint64_t members;	/* another after each message that came or went, and each size that was corrected: not after flags. Of this process alone */
	struct gone *gone;
	size_t n_gone, cap_gone;
	uint64_t gone_floor;	/* expunges above this mod-sequence are all in gone */
	/* counters over records that are not gone */
	uint32_t messages, unseen, deleted, unknown_sizes, zombies, unflushed;
	uint64_t size_crlf;
	bool damaged;		/* the journal had a hole */
	applied_fn *applied;
	void *applied_ctx;
};

void state_init(struct state *st);
void state_fini(struct state *st);
static inline uint32_t state_count(const struct state *st) { return st->n_map + st->n_tail; }
enum { STATE_CHUNK = 64 };	/* records */
void state_verify(const struct state *st, uint32_t chunk);
void state_verify_all(const struct state *st);
/* Records of the index are verified when they are first looked at: opening costs nothing per message. */
static inline struct rec *state_rec(const struct state *st, uint32_t pos)
{
	if (pos >= st->n_map)
		return &st->tail[pos - st->n_map];
	if (st->unverified > 0 && !(st->chunks_ok[pos / STATE_CHUNK / 64] >> (pos / STATE_CHUNK % 64) & 1))
		state_verify(st, pos / STATE_CHUNK);
	return &st->map[pos];
}
/* The record at pos of st becomes r of another state, name and keywords included (mending). */
int state_take(struct state *st, uint32_t pos, const struct state *from, const struct rec *r, struct err *e) MUST_CHECK;
uint32_t state_lower(const struct state *st, uint32_t uid);	/* first position with a UID of at least that */
struct rec *state_find(const struct state *st, uint32_t uid);	/* NULL: none, or gone */
/* Base name and odd info; empty when the names are damaged. */
struct str state_name(const struct state *st, const struct rec *r);
struct str state_info(const struct state *st, const struct rec *r);
bool state_name_is(const struct state *st, const struct rec *r, struct str base);	/* that base name: what is damaged is none */
/* No message was numbered by a clock that was further behind the names of it and of those before it: seconds. None from before a savedate has a later name than that and this. */
int64_t state_setback(struct state *st);
void state_keyword_add(struct state *st, struct str name);	/* fewer than STORE_KEYWORDS_MAX are there */
static inline bool state_is_hidden(const struct state *st, size_t id) { return st->hidden[id / 64] >> (id % 64) & 1; }
int state_kwset(struct state *st, const uint16_t *ids, size_t n, uint32_t *out, struct err *e) MUST_CHECK;
const struct kwset *state_kwset_get(const struct state *st, const struct rec *r);
int state_keyword(const struct state *st, struct str name);	/* its number, or -1 */
const struct pop3_info *state_pop3(const struct state *st, uint32_t uid);
/* For state_apply.c. */
void state_name_set(struct state *st, struct rec *r, struct str base, struct str info);
size_t state_pop3_lower(const struct state *st, uint32_t uid);	/* where it is or would be */
/* Each change of a keyword makes a set; those that no record has any more give their places to new ones. The numbers of the others hold. */
void state_kwsets_sweep(struct state *st);
void state_gone_add(struct state *st, uint64_t modseq, struct range uids);
/* Apply the operations of one batch. -1: they make no sense (nothing after the senseless one is applied). */
int state_apply(struct state *st, struct str ops, uint64_t modseq, struct err *e) MUST_CHECK;
/* The one operation of which there are as many as messages, without its bytes. a->kw: numbers of keywords that are there. */
struct assign;
int state_assign(struct state *st, const struct assign *a, uint64_t modseq, struct err *e) MUST_CHECK;
void state_room(struct state *st, uint32_t records, size_t names);	/* so many will come, and bytes of their names; more or fewer may */
bool state_unflushed(const struct rec *r);	/* its file's name does not carry its flags */

/* --- letters of a file name --- */
uint8_t disk_of_flags(unsigned flags);
unsigned flags_of_disk(uint8_t disk);
/* Letters of an info part; odd when it holds more than them, sorted. */
uint8_t disk_of_info(struct str info, bool *odd_out);
/* The file's name: base, ":2,", letters; the odd letters of info are kept. out at least FILE_NAME_MAX + 1; 0, or -1 too long. */
int disk_name(char *out, struct str base, uint8_t disk, struct str info) MUST_CHECK;

/* --- operations (ops.c says their bytes) --- */
struct assign {
	uint32_t uid;
	unsigned flags;
	uint8_t disk;
	struct str base, info;	/* info: only when odd */
	const uint16_t *kw;
	size_t n_kw;
	uint64_t modseq;	/* 0: the batch's */
	int64_t internaldate, savedate;
	uint64_t size, size_crlf;
};
enum { OP_ASSIGN = 1, OP_FLAGS, OP_EXPUNGE, OP_KEYWORD, OP_NAMED, OP_SIZES, OP_RESERVE, OP_POP3, OP_DONE, OP_VANISHED };
void op_assign(struct buf *b, const struct assign *a);
void op_flags(struct buf *b, enum mbox_flag_op mode, unsigned flags, const uint16_t *kw, size_t n_kw, const struct range *r, size_t n);
void op_ranges(struct buf *b, int op, const struct range *r, size_t n);	/* OP_EXPUNGE, OP_DONE */
void op_keyword(struct buf *b, unsigned id, struct str name);
void op_named(struct buf *b, uint32_t uid, uint8_t disk, struct str base /* p NULL: unchanged */, struct str info);
void op_sizes(struct buf *b, uint32_t uid, uint64_t size, uint64_t size_crlf);
void op_reserve(struct buf *b, uint32_t limit);
void op_pop3(struct buf *b, uint32_t uid, uint32_t order, struct str uidl);
void op_vanished(struct buf *b, uint64_t modseq, const struct range *r, size_t n);	/* n 0: the log reaches back to modseq */
/* Decoded operation: fields point into the batch. */
struct op {
	int kind;
	struct assign assign;	/* kw unused: see ids */
	enum mbox_flag_op mode;
	unsigned flags, number;		/* number: keyword's, or POP3 order */
	uint32_t uid;
	uint64_t size, size_crlf, modseq;	/* modseq: of VANISHED */
	struct str text;		/* keyword, UIDL */
	const unsigned char *ids;	/* n_ids little-endian 16-bit numbers */
	size_t n_ids;
	const unsigned char *ranges;	/* n_ranges pairs of little-endian 32-bit numbers */
	size_t n_ranges;
};
/* Next operation of *in, which advances. 0, or -1. */
int op_next(struct str *in, struct op *out, struct err *e) MUST_CHECK;

#endif
