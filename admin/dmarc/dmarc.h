/* Inside postern-dmarc: the data of a day, as reports. */
#ifndef ADMIN_DMARC_H
#define ADMIN_DMARC_H

#include "authres/aggregate.h"
#include "authres/psl.h"
#include "base/map.h"
#include "conf/conf.h"

enum {
	DAY_BYTES_MAX = 65 << 20,	/* of a file of data */
	DAY_DOMAINS_MAX = 10000,	/* reports of a day; what is more is left out, and told */
	REPORT_ROWS_MAX = 20000,	/* of one report */
	REPORT_BYTES_MAX = 10 << 20,	/* of a report as mail: larger ones are not sent */
	REPORT_ADDRESSES_MAX = 5,	/* of one rua= */
};

/* The messages of one domain under one policy. */
struct domain_rows {
	const char *key;		/* domain, policy, rua */
	struct map *seen;		/* line without its time -> row number + 1 */
	struct aggregate_row *rows;
	size_t n, cap;
};
struct day {
	char name[16];			/* YYYYMMDD */
	int64_t begin;
	struct arena *a;
	struct domain_rows *v;
	size_t n, cap, lines, bad;
};
/* text: of the file, lives as long as the day. */
void day_read(struct day *d, struct arena *a, const char *name, struct str text);
void day_free(struct day *d);
int day_begin(const char *name, int64_t *out) MUST_CHECK;	/* of "YYYYMMDD" */

/* --- dmarc_send.c --- */
struct sender {
	const struct conf *conf;
	const struct psl *psl;
	bool dry;			/* say what would be sent */
	bool print;			/* the XML too */
};
/* All reports of a day that are not in the done file yet. Returns how many could not be sent now. */
size_t day_send(const struct sender *s, const struct day *d, const char *done_path);

#endif
