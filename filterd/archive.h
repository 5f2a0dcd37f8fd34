/* What is inside a packed content: every member's name and class, those of archives within archives too. Nothing is written anywhere: all is read from
 * memory, and of a member only as much is unpacked as its class, or what it holds in turn, asks for. Built on libarchive (its formats that read
 * foreign files or start programs are off), TNEF by tnef.h.
 */
#ifndef FILTERD_ARCHIVE_H
#define FILTERD_ARCHIVE_H

#include "base/arena.h"
#include "base/str.h"
#include "content.h"

enum {
	ARCHIVE_DEPTH_MAX = 14,		/* archives in archives */
	ARCHIVE_MEMBERS_MAX = 1500,	/* of one message, in all; directories too */
	ARCHIVE_BYTES_MIN = 1 << 20,	/* unpacked bytes of one message, also those that are inflated only to get behind them: at least so many, */
	ARCHIVE_BYTES_FACTOR = 500,	/* at most so many times its own, */
	ARCHIVE_BYTES_MAX = 300 << 20,	/* and never more than these */
	ARCHIVE_NAME_MAX = 2048,	/* longer names are over the limit */
};
/* What kept us from seeing all. */
enum { ARCHIVE_ENCRYPTED = 1, ARCHIVE_DAMAGED = 2, ARCHIVE_OVER = 4 };

struct archive_member {
	const struct archive_member *parent;	/* NULL: directly in what was handed in */
	struct str name;			/* as stored, in UTF-8 where it says how; path and all */
	const char *class;			/* content_of() */
	struct str data;			/* all its bytes, where the walk wants them; else n is 0 */
	void *mark;				/* NULL; fn's own: it finds it again in the parent of what is inside, and when a file has several names */
};
typedef int archive_fn(void *ctx, struct archive_member *m);

struct archive_walk {
	struct arena *a;
	archive_fn *fn;		/* non-zero ends the walk and is returned */
	void *ctx;
	size_t members;		/* left */
	uint64_t bytes;		/* left */
	unsigned found;		/* ARCHIVE_ bits so far */
	bool strange;		/* set it: fn gets all bytes of members that libclamav does not unpack */
	unsigned missed;	/* ARCHIVE_ bits of those: the bytes are not all */
};
/* Process-wide, once, before the first walk: names in all scripts. */
void archive_init(void);
void archive_walk_init(struct archive_walk *w, struct arena *a, uint64_t message_bytes, archive_fn *fn, void *ctx);
/* Walk data of this kind; stored_name: how it was called (a compressed file without a name of its own is called so, less its suffix). Never fails: what
 * cannot be read is a bit of w->found. */
int archive_walk(struct archive_walk *w, struct str data, struct content is, struct str stored_name);
/* The same; where it is a text, the uuencoded files within. */
int archive_walk_body(struct archive_walk *w, struct str data, struct content is, struct str stored_name, bool is_text);

#endif
