/* When each application password was last used, and from where. The monitor notes it with each login that a check worker found right (not one that the cache
 * answered: so it is behind by auth_cache_time at most), and writes it down now and then. Pure; the file is the monitor's matter (lastuse.c). */
#ifndef AUTHD_USES_H
#define AUTHD_USES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct uses;

enum { USES_MAX = 20000, USES_FILE_MAX = 4 << 20, USES_CLIENT_MAX = 64 };

struct uses *uses_new(void);
void uses_free(struct uses **u);
/* id: of the application password (apppass.h), no other is taken; client: an address, or "". When there are USES_MAX the one that was longest not used goes. */
bool uses_note(struct uses *u, struct str id, uint64_t when, struct str client);
/* 0: never. client_out: NUL-terminated. */
uint64_t uses_last(const struct uses *u, struct str id, char client_out[USES_CLIENT_MAX + 1]);
/* "1\n", then "ID TIME ADDRESS\n" each, "-" for no address. Lines that are wrong are left out. */
void uses_format(const struct uses *u, struct buf *out);
void uses_parse(struct uses *u, struct str file);

#endif
