/* Dates of mail: RFC 5322 3.3 and 4.3, read tolerantly, written strictly. Pure. */
#include "base/num.h"
#include "mail/head.h"

static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";

/* Days since 1970-01-01 of a civil date (proleptic Gregorian). */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_of(int64_t days, int64_t *y, int64_t *m, int64_t *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = yoe + era * 400 + (*m <= 2);
}

static void skip(struct str *s)
{
	for (unsigned depth = 0; s->n > 0; *s = str_from(*s, 1)) {
		char c = s->p[0];
		if (c == '(' && depth < MAIL_COMMENT_DEPTH_MAX)
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !ch_space(c) && c != ',')
			return;
	}
}

static struct str word(struct str *s)
{
	skip(s);
	size_t n = 0;
	while (n < s->n && ch_alpha(s->p[n]))
		n++;
	struct str w = str_sub(*s, 0, n);
	*s = str_from(*s, n);
	return w;
}

static int number(struct str *s, uint64_t max, uint64_t *out)
{
	skip(s);
	return num_take(s, max, out);
}

static int month_of(struct str w)
{
	if (w.n < 3)
		return 0;
	for (int i = 0; i < 12; i++)
		if (str_case_eq(str_sub(w, 0, 3), str_n(months + 3 * i, 3)))
			return i + 1;
	return 0;
}

/* Zone in minutes east: +hhmm, obsolete names (RFC 5322 4.3), anything else 0. */
static int zone(struct str s)
{
	static const struct {
		const char *name;
		int minutes;
	} names[] = { { "EDT", -240 }, { "EST", -300 }, { "CDT", -300 }, { "CST", -360 }, { "MDT", -360 },
		      { "MST", -420 }, { "PDT", -420 }, { "PST", -480 } };
	skip(&s);
	if (s.n >= 5 && (s.p[0] == '+' || s.p[0] == '-')) {
		uint64_t v;
		if (num_parse(str_sub(s, 1, 4), 0, 9999, &v) == 0 && v % 100 < 60)
			return (int)(v / 100 * 60 + v % 100) * (s.p[0] == '-' ? -1 : 1);
		return 0;
	}
	struct str w = word(&s);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_case_eq(w, str_c(names[i].name)))
			return names[i].minutes;
	return 0;
}

int mail_date_parse(struct str s, int64_t *unix_out, int *zone_minutes_out)
{
	uint64_t d, y, h, mi, sec = 0;
	skip(&s);
	if (s.n > 0 && ch_alpha(s.p[0]))
		word(&s);
	if (number(&s, 31, &d) < 0 || d == 0)
		return -1;
	if (s.n > 0 && s.p[0] == '-')
		s = str_from(s, 1);
	int m = month_of(word(&s));
	if (m == 0)
		return -1;
	if (s.n > 0 && s.p[0] == '-')
		s = str_from(s, 1);
	if (number(&s, 9999, &y) < 0)
		return -1;
	if (y < 50)
		y += 2000;
	else if (y < 1000)
		y += 1900;
	if (number(&s, 23, &h) < 0 || s.n == 0 || s.p[0] != ':')
		return -1;
	s = str_from(s, 1);
	if (number(&s, 59, &mi) < 0)
		return -1;
	if (s.n > 0 && s.p[0] == ':') {
		s = str_from(s, 1);
		if (number(&s, 60, &sec) < 0)
			return -1;
	}
	int z = zone(s);
	int64_t days = days_of((int64_t)y, m, (int64_t)d), cy, cm, cd;
	civil_of(days, &cy, &cm, &cd);
	if (cm != m || cd != (int64_t)d)
		return -1;	/* 31 February */
	*unix_out = days * 86400 + (int64_t)(h * 3600 + mi * 60 + sec) - (int64_t)z * 60;
	*zone_minutes_out = z;
	return 0;
}

void mail_date_format(int64_t when, int zone_minutes, struct buf *out)
{
	int64_t t = when + (int64_t)zone_minutes * 60;
	int64_t days = t >= 0 ? t / 86400 : -((86399 - t) / 86400), secs = t - days * 86400, y, m, d;
	civil_of(days, &y, &m, &d);
	int64_t wday = ((days % 7) + 11) % 7;	/* 1970-01-01 was a Thursday */
	int z = zone_minutes < 0 ? -zone_minutes : zone_minutes;
	buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d %c%02d%02d", day_names + 3 * wday, (int)d,
		   month_names + 3 * (m - 1), (int)y, (int)(secs / 3600), (int)(secs / 60 % 60), (int)(secs % 60),
		   zone_minutes < 0 ? '-' : '+', z / 60, z % 60);
}
