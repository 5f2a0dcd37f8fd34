/* What the monitor does with a verdict that lets a suspect in: see grey.h. */
#ifndef FILTERD_SUSPECTS_H
#define FILTERD_SUSPECTS_H

#include "base/arena.h"
#include "conf/conf.h"
#include "ipc/filter.h"

struct suspects;
/* *s NULL: there were none. Made, changed (who is known stays so) or, when greylist_level is not set, freed and NULL. */
void suspects_set(struct suspects **s, const struct conf *conf);
/* Is greylist_level empty, or a score? To be asked before anything else. */
int suspects_check(const struct conf *conf, struct err *e) MUST_CHECK;
/* May turn *o into a temporary refusal for all, which lives in a. */
void suspects_look(struct suspects *s, struct arena *a, const struct ipc_filter_SCAN *m, struct filter_outcomes *o);

#endif
