/* The line about each message, and each outcome where recipients have policies of their own, in the form of amavisd-new, which log parsers know. */
#ifndef FILTERD_JOBLOG_H
#define FILTERD_JOBLOG_H

#include "base/buf.h"
#include "ipc/filter.h"

void job_log(const struct ipc_filter_SCAN *m, const struct ipc_filter_VERDICT *v, unsigned long long seq, uint64_t ms);
/* The line without its number and time. */
void job_log_format(const struct ipc_filter_SCAN *m, const struct ipc_filter_VERDICT *v, struct buf *out);

#endif
