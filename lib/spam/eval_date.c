/* Eval functions over dates: how far the Date field is from the Received fields, Outlook's ids that hold a time (SpamAssassin's HeaderEval). Dates are read
 * as loosely as there: any order, missing zones. */
#include <stdlib.h>
#include <time.h>

#include "base/num.h"
#include "spam/eval.h"
#include "spam/patterns.h"

static const struct { const char *name; int minutes; } zones[] = {
#define ZONE(name, minutes) { name, minutes },
#include "spam/zones.def"
#undef ZONE
};

static int month_of(struct str w)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
	for (int i = 0; i < 12 && w.n == 3; i++)
		if (str_case_eq(w, str_n(names + 3 * i, 3)))
			return i + 1;
	return 0;
}

static bool all_digits(struct str w)
{
	for (size_t i = 0; i < w.n; i++)
		if (!ch_digit(w.p[i]))
			return false;
	return w.n > 0 && w.n < 10;
}

static int number(struct str w)
{
	uint64_t v;
	return num_parse(w, 0, 1000000, &v) < 0 ? -1 : (int)v;
}

enum { WORDS_MAX = 500 };
struct words { struct str v[WORDS_MAX]; size_t n; };

static void split_words(struct str text, struct words *w)
{
	struct str rest = text, one;
	w->n = 0;
	while (w->n < WORDS_MAX && str_token(&rest, " ,\t\n\r\f\v", &one))
		w->v[w->n++] = one;
}

static void drop(struct words *w, size_t at, size_t n)
{
	for (size_t i = at; i + n < w->n; i++)
		w->v[i] = w->v[i + n];
	w->n -= n;
}

/* "21 Aug 2002" or "Aug 21 10:46:02 2002" or a short year. */
static bool take_day(struct words *w, int *day, int *month, int *year)
{
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i + 2 < w->n; i++) {
			bool ok = all_digits(w->v[i]) && month_of(w->v[i + 1]) > 0 && all_digits(w->v[i + 2]);
			if (!ok || (pass == 0 ? w->v[i + 2].n != 4 : w->v[i + 2].n != 2 && w->v[i + 2].n != 3))
				continue;
			*day = number(w->v[i]);
			*month = month_of(w->v[i + 1]);
			*year = number(w->v[i + 2]);
			if (w->v[i + 2].n == 2 && *year < 50)
				*year += 2000;
			else if (w->v[i + 2].n != 4)
				*year += 1900;
			drop(w, i, 3);
			return true;
		}
		for (size_t i = 0; pass == 0 && i + 3 < w->n; i++) {
			if (month_of(w->v[i]) == 0 || !all_digits(w->v[i + 1]) || str_chr(w->v[i + 2], ':') < 0 || w->v[i + 3].n != 4 || !all_digits(w->v[i + 3]))
				continue;
			*day = number(w->v[i + 1]);
			*month = month_of(w->v[i]);
			*year = number(w->v[i + 3]);
			drop(w, i, 4);	/* the time goes with it: midnight */
			return true;
		}
	}
	return false;
}

static void take_time(struct words *w, int t[3])
{
	for (size_t i = 0; i < w->n; i++) {
		struct str rest = w->v[i], p[3] = { { 0 } };
		size_t n = 0;
		while (rest.p != NULL && n < 3)
			p[n++] = str_split(&rest, ':');
		if (n < 2 || rest.p != NULL || p[0].n > 2 || p[1].n != 2 || !all_digits(p[0]) || !all_digits(p[1]) || (n == 3 && (p[2].n != 2 || !all_digits(p[2]))))
			continue;
		for (size_t k = 0; k < n; k++)
			t[k] = number(p[k]);
		drop(w, i, 1);
		return;
	}
}

static int zone_minutes(const struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct str z = w->v[i];
		if (z.n == 5 && (z.p[0] == '+' || z.p[0] == '-') && all_digits(str_from(z, 1))) {
			int v = number(str_from(z, 1)), minutes = v / 100 * 60 + v % 100;
			return z.p[0] == '-' ? -minutes : minutes;
		}
	}
	for (size_t i = 0; i < w->n; i++) {
		struct str z = w->v[i];
		while (z.n > 0 && !ch_alpha(z.p[0]))
			z = str_from(z, 1);
		size_t n = 0;
		while (n < z.n && ch_upper(z.p[n]))
			n++;
		for (size_t k = 0; n >= 2 && k < ARRAY_LEN(zones); k++)
			if (str_eq(str_sub(z, 0, n), str_c(zones[k].name)))
				return zones[k].minutes;
		if (n >= 2 && n <= 4)
			return 0;
	}
	return 0;
}

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days(int y, int m, int d)
{
	y -= m <= 2;
	int64_t era = y / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

bool loose_date(struct str text, int64_t *out)
{
	struct words w;
	int day, month, year, t[3] = { 0, 0, 0 };
	split_words(text, &w);
	if (!take_day(&w, &day, &month, &year))
		return false;
	take_time(&w, t);
	t[0] = t[0] > 23 ? 23 : t[0];
	t[1] = t[1] > 59 ? 59 : t[1];
	t[2] = t[2] > 59 ? 59 : t[2];
	static const int length[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	int max = month == 2 && !leap ? 28 : length[month - 1];
	if (day > max || day < 1) {
		day = 1;
		month++;
		year += month > 12;
		month = month > 12 ? 1 : month;
	}
	year = year > 2037 ? 2037 : year < 1970 ? 1970 : year;
	int64_t v = days(year, month, day) * 86400 + t[0] * 3600 + t[1] * 60 + t[2] - (int64_t)zone_minutes(&w) * 60;
	*out = v < 0 ? 0 : v;
	return true;
}

/* --- Date against Received --- */

static bool header_date(struct msg *m, int64_t *out)
{
	const char *const names[] = { "Resent-Date", "Date" };
	for (size_t n = 0; n < 2; n++) {
		const struct strs *v = msg_get_all(m, names[n]);
		for (size_t i = 0; i < v->n; i++)
			if (loose_date(v->v[i], out))
				return true;
	}
	return false;
}

static bool line_date(struct str line, int64_t *out)
{
	struct str g[2];
	return pat_groups(PAT_RCVD_DATE, line, g, 2) && loose_date(g[1], out);
}

static void received_dates(struct msg *m, struct msg_evals *e)
{
	struct strs lines = { 0 };
	for (struct str all = msg_get(m, "Received"); all.n > 0;) {
		struct str line = str_split(&all, '\n');
		if (sp_trim(line).n > 0)
			strs_add(m->a, &lines, line);
	}
	size_t first = 0, local = 0;
	if (lines.n > 0 && pat(PAT_RCVD_LOCAL, lines.v[0]))
		local = 1;
	if (local < lines.n && pat(PAT_RCVD_FETCHMAIL, lines.v[local]))
		first = local + 1;
	for (size_t i = 0; i < first; i++) {
		int64_t t;
		if (line_date(lines.v[i], &t) && time(NULL) >= t && (!e->dates.fetched || t > e->dates.fetchmail)) {
			e->dates.fetchmail = t;
			e->dates.fetched = true;
		}
	}
	for (size_t i = first; i < lines.n && e->dates.n < MSG_RELAYS_MAX; i++)
		if (line_date(lines.v[i], &e->dates.received[e->dates.n]))
			e->dates.n++;
}

static int64_t magnitude(int64_t v)
{
	return v < 0 ? -v : v;
}

static void dates(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->dates_made)
		return;
	e->dates_made = true;
	e->dates.known = header_date(m, &e->dates.header);
	received_dates(m, e);
	if (!e->dates.known || e->dates.n == 0)
		return;
	size_t n = e->dates.n;
	if (n > 1 && e->dates.header == e->dates.received[n - 1])
		n--;	/* the last server copied it */
	e->dates.diff = e->dates.header - e->dates.received[0];
	for (size_t i = 1; i < n; i++) {
		int64_t d = e->dates.header - e->dates.received[i];
		if (magnitude(d) < magnitude(e->dates.diff))
			e->dates.diff = d;
	}
}

int eval_shifted_date(struct msg *m, const struct rule *r)
{
	dates(m);
	double d = (double)evals(m)->dates.diff;
	return d >= 3600 * arg_number(r, 0, -1e12) && d < 3600 * arg_number(r, 1, 1e12);
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? 1 : x > y ? -1 : 0;
}

int eval_received_months(struct msg *m, const struct rule *r)
{
	dates(m);
	const struct msg_evals *e = evals(m);
	int64_t v[4];
	size_t n = 0;
	if (e->dates.known)
		v[n++] = e->dates.header;
	if (e->dates.n > 0)
		v[n++] = e->dates.received[0];
	if (e->dates.fetched)
		v[n++] = e->dates.fetchmail;
	if (e->dates.known && e->dates.n > 0)
		v[n++] = e->dates.header - e->dates.diff;
	qsort(v, n, sizeof(*v), by_size);
	double age = (double)(time(NULL) - (n == 0 ? 0 : v[(n - 1) / 2])), month = 31556952.0 / 12;
	return age >= month * arg_number(r, 0, -1e12) && age < month * arg_number(r, 1, 1e12);
}

/* Outlook's ids hold the time in the first half of a Windows time stamp. */
static bool outlook_time(double token, int64_t when)
{
	int64_t expected = (int64_t)((double)when * 0.0023283064365387 + 27111902.8329849);
	return magnitude((int64_t)token - expected) < 250;
}

int eval_outlook_id(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str g[2];
	uint64_t token;
	if (!pat_groups(PAT_OUTLOOK_ID, msg_get(m, "MESSAGEID"), g, 2) || num_parse_hex(g[1], UINT32_MAX, &token) < 0)
		return 0;
	int64_t when = 0;
	if (!loose_date(msg_get(m, "Date"), &when))
		when = 0;
	if (outlook_time((double)token, when))
		return 0;
	/* Then the newest date of the way here. */
	struct str rcvd = msg_get(m, "Received");
	if (!loose_date(rcvd, &when))
		when = 0;
	return !outlook_time((double)token, when);
}
