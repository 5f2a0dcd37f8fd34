/* The last step of a scan (scan.h): what is done with a message in which the stages found this, for each group of recipients. */
#ifndef FILTERD_OUTCOME_H
#define FILTERD_OUTCOME_H

#include "policy.h"
#include "scan.h"

enum origin scan_origin(const struct scan *s);
/* s->groups, of the recipients in s->facts: at least one. */
void outcome_groups(struct scan *s);
size_t stage_banned_lists(const struct scan *s);	/* how many different ones the groups have; no more are counted than a message may have, and one */
/* Before the stages: fields that only we may write go. */
void outcome_begin(struct scan *s);
/* What was found so far keeps the message from all recipients. */
bool outcome_keeps(const struct scan *s);
/* What was found to s->verdict; where it is not the same for all groups, to s->outcomes. */
void outcome(struct scan *s);

#endif
