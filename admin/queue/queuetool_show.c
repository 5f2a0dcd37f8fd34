/* One message of the queue: its envelope as queued says it, its content from the spool, which root may read. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "admin/queue/queuetool.h"
#include "mail/edit.h"
#include "os/os.h"
#include "spool/spool.h"

struct shower {
	bool envelope, classic;
	char qid[SPOOL_QID_MAX + 1], queue[16];
	uint64_t size;
};

static void print_pairs(const struct ipc_control_LINE *l)
{
	for (size_t i = 0; i < l->keys.n && i < l->values.n; i++)
		printf("%.*s: %.*s\n", STR_ARG(l->keys.v[i]), STR_ARG(l->values.v[i]));
	printf("\n");
}

/* In postcat's words. */
static void print_record(const struct shower *s, const struct ipc_control_LINE *l)
{
	const time_t when = (time_t)control_number(l, "arrival_time");
	char stamp[64] = "";
	struct tm tm;

	if (control_value(l, "queue_id").n > 0) {
		if (localtime_r(&when, &tm))
			strftime(stamp, sizeof(stamp), "%a %b %e %H:%M:%S %Y", &tm);
		printf("*** ENVELOPE RECORDS %s/%s ***\nmessage_size: %llu\nmessage_arrival_time: %s\nsender: %.*s\n", s->queue, s->qid, (unsigned long long)s->size, stamp,
		       STR_ARG(control_value(l, "sender")));
		return;
	}
	const bool done = !str_eq(control_value(l, "state"), STR("pending"));
	printf("original_recipient: %.*s\n%srecipient: %.*s\n", STR_ARG(control_value(l, "original")), done ? "done_" : "", STR_ARG(control_value(l, "recipient")));
}

static void on_line(void *ctx, const struct ipc_control_LINE *l)
{
	struct shower *s = ctx;

	if (control_value(l, "queue_id").n > 0) {
		snprintf(s->qid, sizeof(s->qid), "%.*s", STR_ARG(control_value(l, "queue_id")));
		snprintf(s->queue, sizeof(s->queue), "%.*s", STR_ARG(control_value(l, "queue_name")));
		s->size = control_number(l, "message_size");
	}
	if (s->envelope && s->classic)
		print_record(s, l);
	else if (s->envelope)
		print_pairs(l);
}

/* Where the body starts: behind the header section and its empty line. */
static uint64_t body_start(int fd, uint64_t size)
{
	enum { HEAD_MAX = 1 << 20 };
	const size_t n = size < HEAD_MAX ? (size_t)size : HEAD_MAX;
	char *p = xzalloc(n + 1);
	struct err e = { 0 };
	size_t head_n = 0, body = n;

	if (pread_all(fd, p, n, 0, &e) < 0 || mail_head_find(str_n(p, n), true, &head_n, &body) < 0)
		body = n;
	free(p);
	return body;
}

static int print_range(int fd, uint64_t from, uint64_t to)
{
	char chunk[65536];

	while (from < to) {
		const ssize_t k = pread(fd, chunk, to - from < sizeof(chunk) ? (size_t)(to - from) : sizeof(chunk), (off_t)from);
		if (k <= 0 || fwrite(chunk, 1, (size_t)k, stdout) != (size_t)k)
			return EX_IOERR;
		from += (uint64_t)k;
	}
	return 0;
}

static int print_content(const struct conf *c, const struct shower *s, bool head, bool body)
{
	struct spool *sp = NULL;
	struct err e = { 0 };
	CLEANUP_FD int fd = -1;
	int r = EX_NOINPUT;

	if (spool_open(c->queue_directory, &sp, &e) < 0 || spool_read_fd(sp, str_c(s->qid), s->size, &fd, &e) < 0) {
		fprintf(stderr, "postern-queue: %s\n", e.text);
	} else {
		const uint64_t start = body_start(fd, s->size);
		r = print_range(fd, head ? 0 : start, body ? s->size : start);
	}
	spool_close(&sp);
	return r;
}

int queue_show(const struct conf *c, const char *id, const char *parts, bool classic)
{
	struct shower s = { .envelope = strchr(parts, 'e') != NULL, .classic = classic };
	const bool head = strchr(parts, 'h') != NULL, body = strchr(parts, 'b') != NULL;
	const struct str arg = str_c(id);
	int r = queue_ask(c, "show", &arg, 1, on_line, &s, NULL);

	if (r != 0 || s.qid[0] == '\0')
		return r ? r : EX_NOINPUT;
	if (!head && !body)
		return 0;
	if (classic && s.envelope)
		printf("*** MESSAGE CONTENTS %s/%s ***\n", s.queue, s.qid);
	r = print_content(c, &s, head, body);
	if (classic && s.envelope)
		printf("*** HEADER EXTRACTED %s/%s ***\n*** MESSAGE FILE END %s/%s ***\n", s.queue, s.qid, s.queue, s.qid);
	return r;
}
