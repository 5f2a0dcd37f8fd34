/* Counters of events. The log process sees the lines of all daemons, so it counts: one writer, no memory that fronts could write. The counters lie in a page
 * ($run_directory/log/counters) that anybody may map to read; they begin when that file is made (the machine's start) and survive restarts of the suite.
 *
 *	struct counters *c;
 *	counters_open(run, false, &c, &e);
 *	uint64_t n = counter_total(c, EV_login_ok);
 *	counters_close(&c);
 */
#ifndef LOG_COUNT_H
#define LOG_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum event {
#define EVENT(name, program, start, within, what) EV_##name,
#include "log/events.def"
#undef EVENT
	EV_MAX_
};

/* Which events a line is: bit i for enum event i. ident as in the log ("postern/smtpd"). Pure. */
uint64_t event_find(struct str ident, struct str text);
const char *event_name(enum event ev);
const char *event_what(enum event ev);
/* Is s a queue id? If so text may start with it, a colon and a blank. */
bool event_is_id(struct str s);
struct str event_behind_id(struct str text, struct str *id_out);	/* id_out: empty for none and for NOQUEUE */

struct counters;
/* Map them; write: make the file where it is missing or of another version. ERR_NOENT: nothing counts. Returns owned. */
int counters_open(const char *run_directory, bool write, struct counters **out, struct err *e) MUST_CHECK;
void counters_close(struct counters **c);
void counters_add(struct counters *c, uint64_t events);		/* the writer */
/* The writer, once a second: when a minute has passed, its counts become counter_minute's. */
void counters_tick(struct counters *c, int64_t now);
uint64_t counter_total(const struct counters *c, enum event ev);
uint64_t counter_minute(const struct counters *c, enum event ev);	/* in the last full minute */
int64_t counters_since(const struct counters *c);			/* wall clock: when they were zero */

#endif
