/* Numbers that go up and down, in a page ($run_directory/log/gauges) that anybody may map to read: the queue process is its only writer. They say when they were
 * set: what a daemon left that ended is old.
 *
 *	struct gauges *g;
 *	gauges_open(run, true, &g, &e);
 *	gauges_set(g, (uint64_t[GA_MAX_]){ [GA_queue_active] = 3 }, clock_wall());
 */
#ifndef LOG_GAUGES_H
#define LOG_GAUGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

enum gauge {
#define GAUGE(name, what) GA_##name,
#include "log/gauges.def"
#undef GAUGE
	GA_MAX_
};

const char *gauge_name(enum gauge g);
const char *gauge_what(enum gauge g);

struct gauges;
/* Map them; write: as root, the page is made where it is missing or of another version. Returns owned. */
int gauges_open(const char *run_directory, bool write, struct gauges **out, struct err *e) MUST_CHECK;
void gauges_set(struct gauges *g, const uint64_t values[GA_MAX_], int64_t now);
/* All of them, and when they were set; 0: never. */
int64_t gauges_get(const struct gauges *g, uint64_t values_out[GA_MAX_]);

#endif
