/* The tables of one parameter, for a process that opens them and then forks confined ones that ask: through descriptors and memory. Asked in order, until one
 * has an answer.
 */
#ifndef MAP_LOOKUPS_H
#define MAP_LOOKUPS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"

struct lookups;

/* parameter: for errors, borrowed. Returns owned, for as long as the process lives. ERR_CONF. */
int lookups_open(const char *parameter, struct conf_list l, struct lookups **out, struct err *e) MUST_CHECK;
/* Append the value; false: none has the key. A table that cannot be read is told of, and passed over. NULL has nothing. */
bool lookups_find(const struct lookups *l, struct str key, struct buf *out);

#endif
