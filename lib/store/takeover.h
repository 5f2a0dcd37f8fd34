/* What other programs keep in a maildir, as values: for the folder that is taken over where it is, and for the import of a copy. Pure parsers (fuzzed). */
#ifndef STORE_TAKEOVER_H
#define STORE_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct old_msg {
	struct str base;
	uint32_t uid, order;
	struct str uidl;
	uint64_t size, size_crlf;	/* UINT64_MAX: not said */
};
struct old_list {
	uint32_t uidvalidity, uidnext;
	uint8_t id[16];
	bool has_id;
	struct old_msg *v;	/* ascending UIDs */
	size_t n;
};
/* dovecot-uidlist (versions 1 and 3), courierimapuiddb. 0, or -1 when there is nothing to use. */
int uidlist_parse(struct arena *a, struct str text, struct old_list *out, struct err *e) MUST_CHECK;
/* dovecot-keywords: the names of the letters a..z ("" unused). */
void keywords_parse(struct arena *a, struct str text, struct str letters_out[26]);
/* Courier's keywords, into a map from base names (courier.c). */
enum { COURIER_WORDS_MAX = 64 };	/* of one message */
struct courier_words {
	struct str v[COURIER_WORDS_MAX];
	size_t n;
	bool changed;		/* from a file of its own; age: that file's */
	uint64_t age;
};
struct map;
void courier_list_parse(struct arena *a, struct str text, struct map *by_base);
void courier_file_parse(struct arena *a, struct str name, struct str text, struct map *by_base);
/* MBOX_* of the letters behind ":2,". */
uint32_t takeover_flags(struct str info);
/* ".Work.Clients" -> "Work/Clients", whether it is modified UTF-7 or UTF-8. -1: no name of a folder. */
int takeover_folder(struct str dir, struct buf *out) MUST_CHECK;
/* Append a level to the directory name of a folder: ".Work" and "Clients" make ".Work.Clients"; a dot within the level is escaped. */
void takeover_level(struct str level, struct buf *dir);
/* Dovecot's subscriptions: fn for each name, as that of a folder. separator: of the list's first version, '.' or, of LAYOUT=fs, '/'. */
typedef void takeover_name_fn(void *ctx, struct str name);
void takeover_subscriptions(struct str text, char separator, takeover_name_fn *fn, void *ctx);

#endif
