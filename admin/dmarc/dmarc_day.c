/* Lines of DMARC data to rows: messages that differ in nothing but the time are counted. What is no line is counted too, and left out: the file is only data. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/dmarc/dmarc.h"
#include "base/num.h"

enum { DAY_SECONDS = 86400 };

/* Days since 1970, in the Gregorian calendar; years begin in March here, so that leap days come last. */
static int64_t days_from(int64_t year, unsigned month, unsigned day)
{
	year -= month <= 2;
	const int64_t era = year / 400;
	const int64_t year_of_era = year - era * 400;
	const int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int64_t)day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

int day_begin(const char *name, int64_t *out)
{
	uint64_t year, month, day;
	if (strlen(name) != 8 || num_parse(str_n(name, 4), 1970, 9999, &year) < 0 || num_parse(str_n(name + 4, 2), 1, 12, &month) < 0 ||
	    num_parse(str_n(name + 6, 2), 1, 31, &day) < 0)
		return -1;
	*out = days_from((int64_t)year, (unsigned)month, (unsigned)day) * DAY_SECONDS;
	return 0;
}

/* What a report is about: one domain whose policy and addresses stayed the same. */
static const char *key_of(struct arena *a, const struct aggregate *g)
{
	static const enum aggregate_field parts[] = { AGG_DOMAIN, AGG_ADKIM, AGG_ASPF, AGG_P, AGG_SP, AGG_PCT, AGG_RUA };
	struct buf b;
	buf_init(&b, AGGREGATE_LINE_MAX);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		buf_str(&b, g->v[parts[i]]);
		buf_ch(&b, '\t');
	}
	const char *key = arena_cstr(a, buf_view(&b));
	buf_fini(&b);
	return key;
}

static struct domain_rows *domain_of(struct day *d, struct map *keys, const struct aggregate *g)
{
	const char *key = key_of(d->a, g);
	const size_t at = (size_t)map_get(keys, str_c(key));
	if (at > 0)
		return &d->v[at - 1];
	if (d->n == DAY_DOMAINS_MAX)
		return NULL;
	if (d->n == d->cap) {
		d->cap = d->cap * 2 + 16;
		d->v = xrealloc(d->v, d->cap * sizeof(*d->v));
	}
	d->v[d->n++] = (struct domain_rows){ .key = key, .seen = map_new() };
	(void)map_set(keys, str_c(key), (void *)d->n);
	return &d->v[d->n - 1];
}

static bool add(struct domain_rows *w, struct str rest, const struct aggregate *g)
{
	const size_t at = (size_t)map_get(w->seen, rest);
	if (at > 0) {
		w->rows[at - 1].count++;
		return true;
	}
	if (w->n == REPORT_ROWS_MAX)
		return false;
	if (w->n == w->cap) {
		w->cap = w->cap * 2 + 16;
		w->rows = xrealloc(w->rows, w->cap * sizeof(*w->rows));
	}
	w->rows[w->n++] = (struct aggregate_row){ *g, 1 };
	(void)map_set(w->seen, rest, (void *)w->n);
	return true;
}

void day_read(struct day *d, struct arena *a, const char *name, struct str text)
{
	struct map *keys = map_new();
	*d = (struct day){ .a = a };
	snprintf(d->name, sizeof(d->name), "%s", name);
	if (day_begin(name, &d->begin) < 0)
		d->begin = 0;
	while (text.p != NULL) {
		const struct str line = str_split(&text, '\n');
		struct aggregate g;
		if (line.n == 0)
			continue;
		d->lines++;
		struct domain_rows *w = aggregate_parse(line, &g) < 0 ? NULL : domain_of(d, keys, &g);
		if (w == NULL || !add(w, str_from(line, (size_t)(str_chr(line, '\t') + 1)), &g))
			d->bad++;
	}
	map_free(&keys);
}

void day_free(struct day *d)
{
	for (size_t i = 0; i < d->n; i++) {
		map_free(&d->v[i].seen);
		free(d->v[i].rows);
	}
	free(d->v);
	d->v = NULL;
	d->n = 0;
}
