/* A channel's version: a hash (FNV-1a) of all that its table says. So it changes with each row, and nobody has to remember it. */
#include <stdio.h>

#include "ipc/ipc.h"

static uint64_t add(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return h;
}

uint64_t ipc_version(const struct ipc_proto *p)
{
	uint64_t h = add(UINT64_C(0xcbf29ce484222325), p->name);
	char row[256];

	for (const struct ipc_msg *m = p->msgs; m < p->msgs + p->n_msgs; m++) {
		(void)snprintf(row, sizeof(row), "\n%s %u %u", m->name, m->type, m->fd);
		h = add(h, row);
		for (const struct ipc_field *f = m->fields; f < m->fields + m->n_fields; f++) {
			(void)snprintf(row, sizeof(row), "\n\t%s %u %u %u %u", f->name, f->type, f->tag, f->need, f->max);
			h = add(h, row);
		}
	}
	return h;
}
