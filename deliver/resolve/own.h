/* The addresses of this machine: those of its interfaces that mail is received on, and proxy_interfaces. Asked of the kernel, so before confinement. */
#ifndef DELIVER_OWN_H
#define DELIVER_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "conf/conf.h"

struct own_addresses {
	uint8_t (*v)[16];
	size_t n;
	bool loopback;			/* all of 127.0.0.0/8: a listener without address takes port 25 of each */
};

void own_load(const struct conf *c, struct arena *a, struct own_addresses *out);
bool own_has(const struct own_addresses *own, const uint8_t addr[16]);	/* NULL: no */

#endif
