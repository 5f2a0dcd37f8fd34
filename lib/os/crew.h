/* A crew: a few threads that help the thread of the loop with a batch of work on machines with more than one processor: computing, reading, and writing to files that
 * nobody else knows. The loop's thread is one of the crew: what the others do not get to, or cannot be made for, it does itself, so a crew never fails and never
 * queues.
 *
 * What runs as a crew_fn is pure: it reads what was copied for it before the batch began, and writes what belongs to its item or to its hand. It touches no object
 * that the loop's thread uses meanwhile (folders, views, connections, the crew itself), no static buffer, and reports nothing but what it leaves in its item. What may
 * not run there says so: assert(!crew_inside()).
 *
 *	struct crew_batch b = { .fn = look, .items = v, .size = sizeof(*v), .n = n };
 *	crew_begin(crew, &b);	… something else: v is the crew's until …
 *	crew_finish(crew, &b);	… here
 */
#ifndef OS_CREW_H
#define OS_CREW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum {
	CREW_MAX = 4,			/* that work at once, the loop's thread included: one user's search shall not take a large machine */
	CREW_IDLE_MS = 2000,		/* a thread without work for so long ends: it costs memory, and each call of a process with threads costs a little more */
	CREW_STACK = 256 * 1024,	/* bytes, of which only what is used is there */
};

struct crew;

/* hand: 0 the loop's thread, else below crew_size(): no two that run at once have the same one. */
typedef void crew_fn(void *item, unsigned hand);

struct crew_batch {
	crew_fn *fn;
	void *items;		/* n of them, */
	size_t size;		/* bytes each */
	size_t n;
	/* inside */
	struct crew_batch *after;
	size_t next, left;	/* the first that nobody has begun; how many are not done */
};

/* Returns owned. size: how many work at once; 0: as many as this process has processors; at most CREW_MAX. idle_ms: as CREW_IDLE_MS says. No thread is made before there
 * is work. */
struct crew *crew_new(unsigned size, unsigned idle_ms);
unsigned crew_size(const struct crew *c);
/* Waits until the threads are through. No batch is in progress. Not for a child that fork() made: it has the crew, but not the threads. */
void crew_free(struct crew **c);

/* The others begin; b and its items are theirs until crew_finish, which every batch must see, and which takes part; then, while
 * others are at what they have taken, in an item or two of a later batch of the same fn. Batches may overlap. */
void crew_begin(struct crew *c, struct crew_batch *b);
void crew_finish(struct crew *c, struct crew_batch *b);
/* For a loop that does other things meanwhile: one item that nobody has begun is done here. False: there is none; those that others have begun are crew_finish's to wait
 * for. */
bool crew_help(struct crew *c, struct crew_batch *b);
/* For that loop, when there is nothing left to help with: wait for the others, but no longer than that. True: all of b is done. */
bool crew_wait(struct crew *c, struct crew_batch *b, unsigned ms);

bool crew_inside(void);		/* is this thread one of a crew that is not the loop's? */

/* A detached thread with a small stack that takes no signal. 0, or an errno. What queued has for its disk is made of the same (deliver/queue/queued_sync.c). */
int thread_start(void *(*fn)(void *), void *ctx, size_t stack_bytes) MUST_CHECK;

#endif
