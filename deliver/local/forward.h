/* The text of a .forward file, or of a list that :include: names. */
#ifndef DELIVER_FORWARD_H
#define DELIVER_FORWARD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "deliver/resolve/aliases.h"

enum { FORWARD_FILE_MAX = 65536, LIST_FILE_MAX = 1 << 20, FORWARD_ITEMS_MAX = 2000, FORWARD_ADDRESS_MAX = 320 };

struct forward {
	struct alias_item *v;
	size_t n;
};

/* Items of aliases(5), separated by commas or line ends; '#' comments at a line's start. An address holds no blank and no control byte outside of quotes. An
 * empty file: n = 0. Everything lives in a. */
int forward_parse(struct str text, struct arena *a, struct forward *out, struct err *e) MUST_CHECK;

#endif
