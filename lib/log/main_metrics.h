/* Counters in Prometheus' text form, over HTTP, for whoever may connect: a UNIX socket, and loopback addresses where they are wanted. */
#ifndef LOG_METRICS_H
#define LOG_METRICS_H

#include "base/buf.h"
#include "conf/conf.h"
#include "log/count.h"
#include "log/gauges.h"

enum { METRICS_LISTENERS_MAX = 8 };

struct metrics_listener {
	int fd;
};

/* As root: the socket log/metrics in run_directory, and metrics_listeners (loopback only). passed_only: these are the service manager's to bind; what it
 * has not passed is said on stderr and not served. */
int metrics_listen(const struct conf *c, bool passed_only, struct metrics_listener out[METRICS_LISTENERS_MAX], size_t *n_out, struct err *e) MUST_CHECK;
/* The process: answers until SIGTERM. */
void metrics_serve(const struct counters *c, const struct gauges *g, const struct metrics_listener *l, size_t n);
/* Exposition format 0.0.4. g: NULL, or gauges, which are left out when they are too old at now. Pure. */
void metrics_text(const struct counters *c, const struct gauges *g, int64_t now, struct buf *out);
/* What a request's head is answered with: 200, 400, 404, 405; 0: it is not complete yet. Pure. */
unsigned metrics_request(struct str head);

#endif
