/* Arenas: memory that is dropped whole. Three lifetimes (STYLE): process, session, unit (a mail transaction,
 * an IMAP command). What an arena returns is zeroed, aligned for any type and valid until the arena is reset,
 * released below it, or freed. Out of memory: a log line on stderr and _exit(71): the process is restarted.
 * Under BUILD=asan the rest of each block is poisoned.
 *
 *	struct arena *a = arena_new(0);
 *	struct arena_mark m = arena_mark(a);	scratch: … arena_release(a, m);
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"
#include "base/str.h"

struct arena;
struct arena_mark {
	void *block;
	size_t used;
	size_t total;
};

/* Returns owned. max: most bytes it may ever hold, 0 = no limit of its own. Over the max, allocations return
 * NULL (then the caller reports ERR_LIMIT); with max 0 they never return NULL. */
struct arena *arena_new(size_t max);
/* The same without a limit, for the arrays of a large folder: from 384 KB on they lie in pages of 2 MB, where the machine has them, which spares page faults.
 * They may cost twice what was handed out, and more of a limit on addresses: not for what is counted in messages or clients, nor under RLIMIT_DATA. */
struct arena *arena_new_large(void);
void arena_free(struct arena **a);
void arena_reset(struct arena *a);		/* empty; keeps the first block, if that is a small one */
void arena_wipe(struct arena *a);		/* the same, and what it held is overwritten */
size_t arena_used(const struct arena *a);

void *arena_alloc(struct arena *a, size_t n);
void *arena_array(struct arena *a, size_t count, size_t size);	/* checked product */
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_array((a), (count), sizeof(type)))
/* Copies, NUL-terminated after the copied bytes. */
char *arena_strdup(struct arena *a, const char *s);
struct str arena_str(struct arena *a, struct str s);
char *arena_cstr(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct arena_mark arena_mark(struct arena *a);
void arena_release(struct arena *a, struct arena_mark m);

/* malloc family that never returns NULL (exits as above). For long-lived objects only. */
void *xmalloc(size_t n);
void *xzalloc(size_t n);
void *xrealloc(void *p, size_t n);
void memory_large(void *p, size_t n);	/* of what was allocated just now, and will be used: whole pages of 2 MB in it become such, where the machine has them */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
void xfree_p(void *pointer_to_pointer);	/* for CLEANUP(xfree_p): frees what the annotated pointer holds */

#endif
