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

#endif
