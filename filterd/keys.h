/* The monitor's half of signatures: a worker asks (it has no connections), authd's key worker answers. Its socket is opened at the first question, and again when it
 * must; questions under way are then answered with "trouble".
 */
#ifndef FILTERD_KEYS_H
#define FILTERD_KEYS_H

#include "base/list.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "ipc/filter.h"

struct keys;
struct keys_ask {		/* part of who asks; zeroed: nothing under way */
	struct list node;
	struct ipc_chan *to;
	uint32_t id, key_id;
	bool waiting;
};
struct keys *keys_new(struct loop *l, const struct conf *conf);
/* Answer m on "to" with the same id, at once when that is not possible. One that is still under way is forgotten. */
void keys_ask(struct keys *k, struct keys_ask *a, struct ipc_chan *to, uint32_t id, const struct ipc_filter_SIGN *m);
void keys_forget(struct keys_ask *a);

#endif
