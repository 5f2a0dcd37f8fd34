/* What a scanning worker found, told to the worker that scores the message next: classes, what is known of the sender, names of rules. */
#ifndef FILTERD_FINDINGS_H
#define FILTERD_FINDINGS_H

#include "banned.h"
#include "ipc/filter.h"
#include "scan.h"

enum { FINDINGS_MAX = STAGES * CLASSES + FILTER_LISTS_MAX + FILTER_LISTS_COPIES + FACTS_MAX + 4 };

/* One text each, in s->a. */
struct ipc_strs findings_put(struct scan *s);
/* From s->facts->found. What is not understood is left out. */
void findings_take(struct scan *s);
/* A rule of SpamAssassin's that a check found true. */
void findings_hit(struct scan *s, const char *rule);

#endif
