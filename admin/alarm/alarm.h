/* postern-alarm: what an administrator must know before users do, told once when it begins and once when it is over. */
#ifndef ADMIN_ALARM_H
#define ADMIN_ALARM_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"

enum alarm_level { ALARM_OK, ALARM_WARNING, ALARM_URGENT };

/* ALARM(name, function): each looks, and writes one line about the worst that it found. */
struct alarm_row {
	const char *name;
	enum alarm_level (*look)(const struct conf *c, struct arena *a, struct buf *text);
};
extern const struct alarm_row alarm_rows[];
extern const size_t n_alarm_rows;

/* alarm_units.c */
enum alarm_level look_timers(const struct conf *c, struct arena *a, struct buf *text);
enum alarm_level look_restarts(const struct conf *c, struct arena *a, struct buf *text);
/* before, now: lines "unit N", how often systemd has started it again. Writes one line about those with more. Pure. */
void alarm_restarts_compare(struct str before, struct str now, struct buf *text);
/* The counts that look_restarts saw are those that the next look compares with. To be called once what was found is told. */
int alarm_restarts_remember(const struct conf *c, struct arena *a, struct err *e) MUST_CHECK;

#endif
