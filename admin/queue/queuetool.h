/* The queue tool, inside: one request to queued and what is printed of its answer. */
#ifndef ADMIN_QUEUETOOL_H
#define ADMIN_QUEUETOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"
#include "conf/conf.h"
#include "ipc/ask.h"

/* Only messages for which all that are set hold: parts of the text, case folded. */
struct queue_filter {
	const char *sender, *recipient, *reason;
};

struct queue_rcpt {
	struct queue_rcpt *next;
	struct str address, reason, state;
};
struct queue_message {
	struct str id, queue, sender;
	uint64_t arrived, size;
	bool expired;
	struct queue_rcpt *rcpts, **end;
};

/* queuetool_ask.c. An exit status of sysexits.h; what went wrong was said on stderr, and what queued says at the end on to (NULL: nowhere). */
int queue_ask(const struct conf *c, const char *word, const struct str *args, size_t n, control_line_fn *fn, void *ctx, FILE *to) MUST_CHECK;

/* queuetool_list.c */
int queue_list(const struct conf *c, const struct queue_filter *f, bool json) MUST_CHECK;
/* Ids of all that match, in a. */
int queue_select(const struct conf *c, const struct queue_filter *f, struct arena *a, struct str **ids_out, size_t *n_out) MUST_CHECK;

/* queuetool_show.c: one message. parts: 'e' envelope, 'h' header, 'b' body; classic: as postcat prints it. */
int queue_show(const struct conf *c, const char *id, const char *parts, bool classic) MUST_CHECK;

#endif
