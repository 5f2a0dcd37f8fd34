/* postern-report: what the mail log says of a span of time, and what waits and lies there now; as a table, JSON, or one HTML page. */
#ifndef ADMIN_REPORT_H
#define ADMIN_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "conf/conf.h"
#include "log/count.h"

enum {
	REPORT_HOURS_MAX = 24 * 400,
	REPORT_NAMES_MAX = 100000,	/* distinct names of one kind that are counted; the rest are "others" */
	REPORT_TOP = 10,
	REPORT_MAILBOXES_MAX = 10000,
};

/* The kinds of names that are ranked: REPORT_RANK(name, title, unit). */
enum report_rank {
#define REPORT_RANK(name, title) RANK_##name,
#include "admin/report/ranks.def"
#undef REPORT_RANK
	RANK_MAX_
};

struct report_name {
	struct str name;
	uint64_t count, bytes;
};
struct report_table {
	struct map *names;		/* to struct report_name */
	uint64_t others;
};

struct report_hour {
	uint32_t accepted, delivered, refused, spam, harmful /* infected or banned */, login_failed;
	uint64_t bytes;
};

/* How long deliveries took, and how long messages have waited: below so many seconds. */
enum { AGES = 6 };
extern const struct report_age {
	uint64_t below_s;
	const char *name;
} report_ages[AGES];

struct report {
	struct arena *a;
	int64_t since, until;		/* wall clock; since is at a full hour of local time */
	struct report_hour *hours;
	size_t n_hours;
	uint64_t total[EV_MAX_];
	uint64_t bytes, lines, outside;	/* outside: lines of another time */
	uint64_t delays[AGES], waiting[AGES];
	uint64_t queue, queue_bytes;
	bool queue_known;
	struct report_table ranks[RANK_MAX_];
	struct report_name *mailboxes;	/* count: messages */
	size_t n_mailboxes;
	const char *host;
};

/* --- report_read.c --- */
void report_init(struct report *r, int64_t since, int64_t until);
void report_fini(struct report *r);
void report_line(struct report *r, struct str line);
/* Wall clock of a stamp "Nov 28 17:06:05" (of the year that makes it not later than now + a day) or RFC 3339; -1: none. Pure but for the time zone. */
int64_t report_time(struct str stamp, int64_t now);
/* 24h 7d 4w, today, yesterday, 2026-11-28. */
int report_since(struct str text, int64_t now, int64_t *out) MUST_CHECK;
int report_file(struct report *r, const char *path, struct err *e) MUST_CHECK;	/* plain or gzip; "-" standard input */
/* The names with the highest counts; at most max. */
size_t report_top(const struct report *r, enum report_rank rank, struct report_name *out, size_t max);

/* --- report_now.c --- */
void report_queue(struct report *r, const struct conf *conf);		/* unknown without queued, or without root */
void report_mailboxes(struct report *r, const struct conf *conf, bool unconfined);	/* as root: each read by a child that is its user */

/* --- what is written --- */
const char *report_rank_name(enum report_rank rank);
const char *report_rank_title(enum report_rank rank);
void report_text(const struct report *r, FILE *to);
void report_json(const struct report *r, FILE *to);
void report_html(const struct report *r, FILE *to);
/* A chart's columns: by the hour, or by the day when there are many hours. */
struct report_column {
	char label[24], title[40];
	struct report_hour sum;
};
size_t report_columns(const struct report *r, struct report_column **out);	/* on r's arena */
void report_bytes(uint64_t n, char out[24]);	/* "1.2 MB" */

#endif
