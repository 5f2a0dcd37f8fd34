/* The files of a directory of a maildir, as its listing tells them, in the order of their arrival: what sync.c compares with the state.
 *
 *	struct listing l = { 0 };
 *	if (listing_read(&l, dirfd, SIZE_MAX, crew, e) == 0) { listing_sort(&l); … entry_base(l.v[i]) … }
 *	listing_fini(&l);
 */
#ifndef STORE_LISTING_H
#define STORE_LISTING_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/radix.h"
#include "os/crew.h"
#include "store/maildir.h"

/* 64 bytes: there are as many as messages, and each is looked at in an order of its own. */
struct entry {
	char *name;
	uint64_t size;			/* of the file */
	uint64_t told, told_crlf;	/* ,S= ,W=; UINT64_MAX: absent */
	int64_t secs;			/* of arrival, as the name has it; and usecs */
	int64_t mtime;			/* DATE_UNKNOWN: nobody has looked */
	uint32_t usecs;
	uint32_t uid;			/* known from another server; 0: none */
	uint8_t base_n, info_n, id_n;	/* bytes of these pieces of the name */
	uint8_t disk;			/* DISK_*: what its letters say */
	bool odd;			/* the name's info part is not just those letters */
};
static inline struct str entry_base(const struct entry *en) { return str_n(en->name, en->base_n); }
static inline struct str entry_info(const struct entry *en) { return str_n(en->name + en->base_n + 3, en->info_n); }	/* behind ":2,"; empty without */
struct listing_part;
struct listing_order;
struct listing {
	struct arena *a;	/* for whoever adds to it */
	struct entry **v;	/* as long as the listing */
	size_t n, cap;
	bool more;		/* stopped at the limit */
	size_t name_bytes;	/* of all base names and odd info parts */
	/* inside */
	int fd;
	size_t max;
	struct crew *crew;
	struct crew_batch work;
	struct listing_part **parts;
	char *room;		/* of parts that are shared out */
	size_t n_parts, cap_parts, joined;	/* joined: nobody works on those before it */
	bool whole;		/* no more parts will come */
	bool shared;		/* its parts are read by all, where they lie in the directory is known */
	struct radix_item *keys;	/* of v as it was gathered; NULL: to be made */
	struct listing_order *order;	/* being sorted */
	bool sorted;
};

/* Plain files whose names do not begin with a dot, at most max. crew: helps with a large directory, without a limit; NULL: nobody does. */
int listing_read(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e) MUST_CHECK;
/* The same in pieces of a few milliseconds. step: 1 more is left, 0 all is there. Between them the crew goes on. */
int listing_begin(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e) MUST_CHECK;
int listing_step(struct listing *l, struct err *e) MUST_CHECK;
/* Known UIDs first, ascending; then by arrival: seconds, microseconds, name. Those that sort alike by the first two are neighbours. */
void listing_sort(struct listing *l);
bool listing_sort_step(struct listing *l);	/* the same in pieces; true: more is left */
void listing_changed(struct listing *l);	/* UIDs or v were: it is sorted anew when that is asked for */
void listing_fini(struct listing *l);		/* also in the midst of a reading, or of one that failed */
/* What the directory does not say of the file, asked of the file. False: it is none that we take. */
bool entry_look(struct entry *en, int dirfd);
/* The same where the name tells the size: it is believed, and the time waits until somebody asks (message_date). */
bool entry_believe(struct entry *en, int dirfd);
/* en->name is another one. */
void entry_parse(struct entry *en);
uint64_t entry_key(const struct entry *en);	/* what it is sorted by, before its name */

#endif
