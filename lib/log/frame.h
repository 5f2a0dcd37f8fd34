/* From a datagram to a line: who may say what, how much, and in which form. Pure but for the caller's clock; the log process's
 * worker and the tests use it. */
#ifndef LOG_FRAME_H
#define LOG_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"
#include "log/count.h"

struct frame;

struct frame_user {	/* a user of the suite: may use any ident */
	uid_t uid;
	bool bulk;	/* its processes speak for thousands of messages a second */
};
/* host: name in each line (cut at the first dot, other bytes than letters digits - become '_'). users are borrowed. Returns owned. */
struct frame *frame_new(const char *host, const struct frame_user *users, size_t n_users);
void frame_free(struct frame **f);
/* Count the events of the lines from now on; c is borrowed, NULL: none. */
void frame_count(struct frame *f, struct counters *c);

struct frame_sender {
	pid_t pid;
	uid_t uid;
};

/* Append the line(s) that this datagram makes: its own, or none when the sender is above its rate or the datagram is malformed. now: wall
 * clock seconds, second: monotonic seconds. Each line is "Mon DD HH:MM:SS host ident[pid]: text\n". *level_out: the line's level, untouched when
 * malformed. */
void frame_line(struct frame *f, struct str datagram, struct frame_sender from, int64_t now, uint64_t second, struct buf *out, int *level_out);
/* Lines "N lines suppressed" for senders that were cut in a second that has passed. */
void frame_tick(struct frame *f, int64_t now, uint64_t second, struct buf *out);
/* A line of the log process itself. */
void frame_own(struct frame *f, const char *ident, const char *text, int64_t now, struct buf *out);

#endif
