/* The right side of an alias: comma-separated addresses, |commands, /files, :include: lists, \names; quotes protect commas and blanks, comments
 * in parentheses are dropped, "Name <address>" is the address. Pure. Also used for the results of virtual aliases and for .forward. */
#ifndef DELIVER_ALIASES_H
#define DELIVER_ALIASES_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum alias_kind { ALIAS_ADDRESS, ALIAS_FILE, ALIAS_COMMAND, ALIAS_INCLUDE };
extern const char *const alias_kind_words[];	/* "address" "file" "command" "include": as in resolve.def */

struct alias_item {
	enum alias_kind kind;
	bool plain;		/* \name: no further expansion */
	struct str text;	/* address, path, or command; without \ | :include: and outer quotes */
};

struct alias_reader {
	struct str rest;
};

void alias_reader_init(struct alias_reader *rd, struct str value);
/* 1: *out, strings in a; 0: the end; -1: ERR_INPUT: a quote, bracket or comment is not closed, or an item is empty of meaning. */
int alias_next(struct alias_reader *rd, struct arena *a, struct alias_item *out, struct err *e) MUST_CHECK;

#endif
