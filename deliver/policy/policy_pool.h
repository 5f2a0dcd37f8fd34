/* Connections to milters between transactions: told that another client comes (SMFIC_QUIT_NC), with what was agreed upon. One that says something meanwhile, or ends, is
 * forgotten, as is one that waits too long.
 */
#ifndef DELIVER_POLICY_POOL_H
#define DELIVER_POLICY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "io/loop.h"
#include "smtp/milter.h"

enum { POLICY_POOL_MAX = 100 };	/* of all milters */

struct milter_pool;
struct milter_pool *pool_new(struct loop *l, uint64_t idle_ms);	/* 0: it keeps nothing */
bool pool_keeps(const struct milter_pool *p);
/* fd is taken. key: milter and protocol. */
void pool_put(struct milter_pool *p, const char *key, int fd, const struct milter_options *options);
/* The one that was used last: fewer stay busy. *options_out's texts live in a. -1: there is none. */
int pool_take(struct milter_pool *p, const char *key, struct arena *a, struct milter_options *options_out);

#endif
