/* What workers found worth learning, or were told to learn: the monitor keeps it in state_directory/filter/queue/taught, appended to, until postern-learn takes
 * the file. Between them: who writes has a shared lock and looks whether the file is still the one of that name; who takes it renames it, then locks it.
 */
#ifndef FILTERD_LEARNDATA_H
#define FILTERD_LEARNDATA_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define LEARN_QUEUE_DIR "filter/queue"
enum { LEARN_QUEUE_MAX = 16 << 20 };	/* bytes; what is more is not kept, and the log says so */

/* The monitor's. record: a worker's, as spam/taught.h has it; told: a person said it, as that class. 0 kept; 1 it was learned so
 * already, and nothing that waits here says otherwise; -1 it is no such record, or there is no room. */
int learn_data_keep(const char *state_dir, struct str record, bool told, struct err *e) MUST_CHECK;

/* postern-learn's. Everything that is kept there, in order, records framed; then, when it has been learned, it is removed. A run that ended in between finds
 * it again. */
bool learn_data_there(const char *state_dir);
int learn_data_take(const char *state_dir, struct buf *out, struct err *e) MUST_CHECK;
int learn_data_taken(const char *state_dir, struct err *e) MUST_CHECK;

#endif
