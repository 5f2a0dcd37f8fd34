/* Mapped files that another process cuts short must not end us: reads behind the new end give zeros, and guard_hit tells. For this library's own
 * files and for messages that a session maps. */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

bool guard_add(void *p, size_t n);	/* false: no room for more, do not map */
void guard_del(void *p);
bool guard_hit(void *p);

#endif
