/* The file of keys, and what there is of it in memory: shared by keys_file.c (the file), keys.c (messages), keys_write.c (making it).
 *
 *   postern.keys, disposable, replaced by rename, little-endian:
 *     0 "PSTNKEY1"   8 version:32   12 version of the summaries:32   16 mailbox id[16]   32 uidvalidity:32   36 messages:32   40 ids:32   44 2^this id slots:32
 *     48 references:32   52 distinct texts of each key:32 (6)   76 zero   80 the ids' secret:64 (2)   96 crc32c of each section:32 (14)   … zero
 *     252 crc32c of the first 252 bytes
 *   sections, each padded to 8 bytes, by message in the order of UIDs: KEYS_UID … KEYS_SUBJECTS below
 *
 * Every section is verified when this process first uses it; numbers in it are held against their bounds each time: a file may be changed under us. */
#ifndef STORE_KEYS_PRIV_H
#define STORE_KEYS_PRIV_H

#include "base/ids.h"
#include "store/keys.h"
#include "store/store_priv.h"

#define KEYS_NAME "postern.keys"
#define KEYS_NEW "postern.keys.new"
#define keys_magic "PSTNKEY1"

enum {
	KEYS_VERSION = 1, KEYS_HEAD = 256,
	KEYS_MESSAGES_MAX = 1 << 20,	/* larger folders have no file: making it needs some 100 bytes of memory for each message */
	KEYS_TAIL = 256,		/* messages that a file may be without, and a 64th of the folder */
	KEYS_MEMORY_MAX = 32 << 20,	/* bytes of other messages that are kept after a command */
	KEYS_REPLY = 1 << 30,		/* in KEYS_ID: the message is a reply by its subject */
};
enum keys_section {
	KEYS_UID,		/* :32 */
	KEYS_SENT,		/* :64 */
	KEYS_RANK,		/* :32, of each key; 0: empty */
	KEYS_ID = KEYS_RANK + MBOX_KEYS,	/* :32, number of its message id, and KEYS_REPLY */
	KEYS_REF_AT,		/* :32, where its references begin, and where the last one's end */
	KEYS_REFS,		/* :32, numbers */
	KEYS_IDS,		/* :64 by number from 0 on, hashes of message ids */
	KEYS_SLOTS,		/* :32, base/ids.h */
	KEYS_SUBJECTS,		/* :32 by rank from 0 on, a message that has that subject */
	KEYS_SECTIONS
};
_Static_assert(96 + 4 * KEYS_SECTIONS <= 252, "checksums fit the header");

struct keys_counts {
	uint32_t rows, ids, bits, refs, texts[MBOX_KEYS];
};
struct keys_file {
	unsigned char *p;	/* NULL: none */
	size_t n;
	struct keys_counts has;
	const unsigned char *at[KEYS_SECTIONS];
	size_t bytes[KEYS_SECTIONS];
	unsigned verified;	/* bit per section */
	enum keys_section verifying;
	size_t verified_to;	/* bytes of that one */
	uint32_t crc;		/* of them */
	struct ids ids;		/* in the file: never freed */
};
/* The bytes of each section. */
void keys_sizes(const struct keys_counts *c, size_t bytes[KEYS_SECTIONS]);
bool keys_file_open(struct keys_file *f, struct mbox *m);	/* false: none that could be of use */
void keys_file_close(struct keys_file *f);
/* 1 more is to do; 0 those sections are what was written; -1 they are not. */
int keys_file_verify(struct keys_file *f, unsigned sections);
static inline uint32_t keys_u32(const struct keys_file *f, enum keys_section s, uint32_t i) { return ((const uint32_t *)(const void *)f->at[s])[i]; }

/* Numbers for texts, 0 for the empty one. Nobody can choose two with one hash; should there be two all the same, the second has the number 0. */
struct texts {
	struct ids ids;
	struct str_hash_key key;
	struct str *v;		/* by number */
	size_t cap;
	struct arena *a;
};
void texts_init(struct texts *t);
void texts_fini(struct texts *t);
uint32_t texts_number(struct texts *t, struct str text);

/* A message that is not in the file. */
struct keys_row {
	int64_t sent;
	uint32_t id, subject;
	uint32_t refs_at, n_refs;
	bool reply, unread;	/* unread: it could not be read */
};
struct keys_writer;
struct keys {
	struct keys_file file;
	bool looked;		/* for the file */
	bool off;		/* none can be made: done without */
	uint32_t placed, row;	/* places and rows that were held against each other */
	bool all_placed;
	uint32_t places;	/* below: all in the file */
	uint32_t *row_of;	/* by place: 0 not known; row of the file + 1; behind them, of rows + 1 */
	uint32_t n_row_of;
	struct keys_row *rows;
	uint32_t n_rows, cap_rows;
	uint32_t *refs;
	uint32_t n_refs, cap_refs;
	struct ids ids;		/* those that the file does not have: their numbers go on from its */
	struct texts subjects;	/* the same */
	uint64_t stamp;
	bool wanted;
	struct keys_writer *writer;
};
struct keys *keys_new(void);
void keys_free(struct keys **k);
void keys_drop(struct mbox *m, bool unlink_it);	/* the file is no use, or there is a new one */
void keys_writer_free(struct keys_writer **w);
void keys_look(struct mbox *m);		/* open the file, if that has not been tried */
uint32_t keys_uncovered(const struct mbox *m);	/* messages that the file does not have, about */

#endif
