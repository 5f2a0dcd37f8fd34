/* From lines of the log to sums: events come from the rows that the log's counters use, names from their fields. */
#include "admin/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/postern/logline.h"
#include "base/num.h"
#include "io/gzip.h"

enum { HOUR_S = 3600, DAY_S = 86400, NAME_SHOWN_MAX = 200, RFC3339_MIN = 19 };

const struct report_age report_ages[AGES] = {
	{ 1, "below 1 s" }, { 10, "1 to 10 s" }, { 60, "10 s to 1 min" }, { 3600, "1 min to 1 h" }, { DAY_S, "1 h to 1 day" }, { UINT64_MAX, "more than a day" },
};

void report_init(struct report *r, int64_t since, int64_t until)
{
	*r = (struct report){ .a = arena_new(0), .since = since, .until = until };
	r->n_hours = until > since ? (size_t)((until - since + HOUR_S - 1) / HOUR_S) : 1;
	if (r->n_hours > REPORT_HOURS_MAX)
		r->n_hours = REPORT_HOURS_MAX;
	r->hours = ARENA_ARRAY(r->a, struct report_hour, r->n_hours);
	for (size_t i = 0; i < RANK_MAX_; i++)
		r->ranks[i].names = map_new();
}

void report_fini(struct report *r)
{
	for (size_t i = 0; i < RANK_MAX_; i++)
		map_free(&r->ranks[i].names);
	arena_free(&r->a);
}

/* --- time --- */

static int two(const char *p)
{
	return ch_digit(p[1]) && (ch_digit(p[0]) || p[0] == ' ') ? (p[0] == ' ' ? 0 : (p[0] - '0') * 10) + p[1] - '0' : -1;
}

static bool take_clock(const char *p, struct tm *tm)
{
	tm->tm_hour = two(p);
	tm->tm_min = two(p + 3);
	tm->tm_sec = two(p + 6);
	return tm->tm_hour >= 0 && tm->tm_hour < 24 && tm->tm_min >= 0 && tm->tm_min < 60 && tm->tm_sec >= 0 && tm->tm_sec < 61;
}

static int64_t traditional(struct str s, int64_t now)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const time_t t = (time_t)now;
	struct tm tm = { .tm_isdst = -1 }, today;

	(void)localtime_r(&t, &today);
	const ptrdiff_t at = str_find(STR(months), str_sub(s, 0, 3));

	tm.tm_mon = (int)(at / 3);
	tm.tm_mday = two(s.p + 4);
	if (at < 0 || at % 3 || tm.tm_mday < 1 || tm.tm_mday > 31 || !take_clock(s.p + 7, &tm))
		return -1;
	tm.tm_year = today.tm_year;
	const int64_t here = mktime(&tm);

	if (here <= now + DAY_S)
		return here;
	/* December, read in January. */
	tm.tm_year--;
	tm.tm_isdst = -1;
	return mktime(&tm);
}

/* "+01:00", "Z"; none: local time. */
static int64_t rfc3339(struct str s)
{
	struct tm tm = { .tm_isdst = -1 };
	uint64_t year;

	if (num_parse(str_sub(s, 0, 4), 1970, 9999, &year) < 0 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T')
		return -1;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = two(s.p + 5) - 1;
	tm.tm_mday = two(s.p + 8);
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 || !take_clock(s.p + 11, &tm))
		return -1;
	struct str zone = str_from(s, RFC3339_MIN);

	while (zone.n > 0 && (zone.p[0] == '.' || ch_digit(zone.p[0])))
		zone = str_from(zone, 1);
	if (zone.n == 0)
		return mktime(&tm);
	const int hours = zone.n >= 6 ? two(zone.p + 1) : 0, minutes = zone.n >= 6 ? two(zone.p + 4) : 0;

	return timegm(&tm) - (zone.p[0] == '-' ? -1 : 1) * (hours * HOUR_S + minutes * 60);
}

int64_t report_time(struct str s, int64_t now)
{
	if (s.n == 15 && s.p[3] == ' ' && s.p[6] == ' ')
		return traditional(s, now);
	return s.n >= RFC3339_MIN ? rfc3339(s) : -1;
}

static int64_t midnight(int64_t t, int days)
{
	const time_t at = (time_t)t;
	struct tm tm;

	(void)localtime_r(&at, &tm);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_mday += days;
	tm.tm_isdst = -1;
	return mktime(&tm);
}

int report_since(struct str text, int64_t now, int64_t *out)
{
	uint64_t n;
	const char unit = text.n > 1 ? text.p[text.n - 1] : 0;
	char date[32];

	if (str_eq(text, STR("today")) || str_eq(text, STR("yesterday")))
		return *out = midnight(now, text.n > 5 ? -1 : 0), 0;
	if (num_parse(str_sub(text, 0, text.n ? text.n - 1 : 0), 1, 10000, &n) == 0 && (unit == 'h' || unit == 'd' || unit == 'w')) {
		*out = unit == 'h' ? now / HOUR_S * HOUR_S - (int64_t)(n - 1) * HOUR_S : midnight(now, -(int)(n * (unit == 'w' ? 7 : 1)) + 1);
		return 0;
	}
	if (text.n != 10)
		return -1;
	(void)snprintf(date, sizeof(date), "%.*sT00:00:00", STR_ARG(text));
	*out = report_time(str_c(date), now);
	return *out < 0 || *out > now ? -1 : 0;
}

/* --- names --- */

static void rank(struct report *r, enum report_rank kind, struct str name, uint64_t bytes)
{
	struct report_table *t = &r->ranks[kind];

	name = str_sub(name, 0, NAME_SHOWN_MAX);
	struct report_name *n = map_get(t->names, name);

	if (!n && map_count(t->names) >= REPORT_NAMES_MAX) {
		t->others++;
		return;
	}
	if (!n) {
		n = ARENA_NEW(r->a, struct report_name);
		n->name = arena_str(r->a, name);
		(void)map_set(t->names, n->name, n);
	}
	n->count++;
	n->bytes += bytes;
}

/* "450 4.2.0 <a@b>: Recipient address rejected: Greylisted; from=<…": the words, without addresses and codes. */
static void rank_words(struct report *r, enum report_rank kind, struct str s)
{
	struct buf out;

	buf_init(&out, 1000);
	for (size_t i = 0; i < s.n && s.p[i] != ';'; i++) {
		if (s.p[i] == '<') {
			while (i < s.n && s.p[i] != '>')
				i++;
			while (i + 1 < s.n && (s.p[i + 1] == ':' || s.p[i + 1] == ' '))
				i++;
			continue;
		}
		buf_ch(&out, s.p[i]);
	}
	struct str words = str_trim(buf_view(&out));

	if (words.n)
		rank(r, kind, words, 0);
	buf_fini(&out);
}

/* "reject: RCPT from name[192.0.2.1]: 550 5.1.1 …" */
static void take_refusal(struct report *r, struct str text)
{
	const ptrdiff_t from = str_find(text, STR(" from ")), open = str_chr(text, '[');
	struct str rest = open < 0 ? STR("") : str_from(text, (size_t)open + 1);
	const struct str client = str_split(&rest, ']');

	if (from > 0 && client.n)
		rank(r, RANK_clients, client, 0);
	const ptrdiff_t colon = str_find(rest, STR(": "));
	struct str why = colon < 0 ? STR("") : str_from(rest, (size_t)colon + 2);

	/* Reply code and enhanced code say the same as the words. */
	while (why.n && (ch_digit(why.p[0]) || why.p[0] == '.'))
		if (str_split(&why, ' ').n > 6)
			break;
	rank_words(r, RANK_reasons, why);
}

/* "reject: header Subject: x from name[192.0.2.1]; from=<a> proto=ESMTP helo=<h>: reason". The header is the sender's: what it says before the last facts is
 * his invention. */
static void take_pattern(struct report *r, struct str text)
{
	ptrdiff_t facts = str_find(text, STR("; from=<"));
	for (ptrdiff_t next = facts; next >= 0; facts += next >= 0 ? next + 1 : 0)
		next = str_find(str_from(text, (size_t)facts + 1), STR("; from=<"));
	const struct str head = facts < 0 ? STR("") : str_sub(text, 0, (size_t)facts);
	const ptrdiff_t open = str_rchr(head, '[');
	struct str rest = open < 0 ? STR("") : str_from(head, (size_t)open + 1), why = text;
	const struct str client = str_split(&rest, ']');

	if (client.n)
		rank(r, RANK_clients, client, 0);
	for (ptrdiff_t at; (at = str_find(why, STR(">: "))) >= 0;)
		why = str_from(why, (size_t)at + 3);
	rank_words(r, RANK_reasons, facts < 0 ? STR("") : why);
}

/* "Blocked INFECTED (Name), …" */
static void take_found(struct report *r, struct str text, const char *word)
{
	const ptrdiff_t at = str_find(text, str_c(word));
	struct str rest = at < 0 ? STR("") : str_from(text, (size_t)at + strlen(word));

	if (rest.n > 2 && str_starts(rest, STR(" (")))
		rest = str_from(rest, 2);
	else
		return;
	rank(r, RANK_harmful, str_split(&rest, ')'), 0);
}

/* "Tests: [NAME=1.2,OTHER=0.1]" */
static void take_rules(struct report *r, struct str text)
{
	const ptrdiff_t at = str_find(text, STR("Tests: ["));
	struct str rest = at < 0 ? STR("") : str_from(text, (size_t)at + 8), list = str_split(&rest, ']'), word;

	while (str_token(&list, ", ", &word))
		rank(r, RANK_rules, str_split(&word, '='), 0);
}

static void take_delay(struct report *r, struct str delay)
{
	uint64_t s;
	size_t i = 0;

	if (num_parse(str_split(&delay, '.'), 0, UINT64_MAX - 1, &s) < 0)
		return;
	while (s >= report_ages[i].below_s)
		i++;
	r->delays[i]++;
}

/* "status=deferred (why)" */
static void take_reason(struct report *r, struct str text)
{
	const ptrdiff_t open = str_find(text, STR(" ("));

	if (open > 0)
		rank_words(r, RANK_deferred, str_trim(str_sub(text, (size_t)open + 2, text.n - (size_t)open - 3)));
}

#define IS(found, name) ((found) & (1ULL << EV_##name))

/* By whomever: in the session, for a reply with these words. */
static bool is_refusal(uint64_t found)
{
	return IS(found, smtp_rejected) || IS(found, smtp_milter_rejected) || IS(found, mail_refused);
}

static void take_names(struct report *r, const struct logline *l, uint64_t found)
{
	uint64_t size = 0;
	const struct str user = logline_field(l, "sasl_username");

	if (IS(found, mail_accepted)) {
		(void)!num_parse(logline_field(l, "size"), 0, UINT64_MAX, &size);
		const struct str from = logline_field(l, "from");
		rank(r, RANK_senders, from.n ? from : STR("<> (notifications)"), size);
		r->bytes += size;
	}
	if (IS(found, mail_submitted) && user.n)
		rank(r, RANK_users, user, 0);
	if (IS(found, delivered_local) || IS(found, delivered_remote)) {
		rank(r, RANK_recipients, logline_field(l, "to"), 0);
		take_delay(r, logline_field(l, "delay"));
	}
	if (is_refusal(found))
		take_refusal(r, l->text);
	if (IS(found, mail_pattern))
		take_pattern(r, l->text);
	if (IS(found, filter_infected))
		take_found(r, l->text, " INFECTED");
	if (IS(found, filter_banned))
		take_found(r, l->text, " BANNED");
	if (IS(found, filter_clean) || IS(found, filter_spam))
		take_rules(r, l->text);
	if (IS(found, delivery_deferred))
		take_reason(r, l->text);
	if (IS(found, login_failed)) {
		const ptrdiff_t at = str_find(l->text, STR("user=\""));
		struct str rest = at < 0 ? STR("") : str_from(l->text, (size_t)at + 6), name = str_split(&rest, '"');
		rank(r, RANK_login_users, name.n ? name : STR("(none)"), 0);
		rank(r, RANK_login_clients, logline_field(l, "rip"), 0);
	}
}

static void take_hour(struct report *r, const struct logline *l, struct report_hour *h, uint64_t found)
{
	uint64_t size = 0;

	if (IS(found, mail_accepted)) {
		h->accepted++;
		(void)!num_parse(logline_field(l, "size"), 0, UINT64_MAX, &size);
		h->bytes += size;
	}
	h->delivered += IS(found, delivered_local) || IS(found, delivered_remote);
	h->refused += is_refusal(found) || IS(found, mail_pattern);
	h->spam += IS(found, filter_spam) != 0;
	h->harmful += IS(found, filter_infected) || IS(found, filter_banned);
	h->login_failed += IS(found, login_failed) != 0;
}

void report_line(struct report *r, struct str line)
{
	struct logline l;
	uint64_t found;

	if (logline_parse(line, &l) < 0 || (found = event_find(l.program, l.text)) == 0)
		return;
	const int64_t t = report_time(l.time, r->until);

	if (t < r->since || t >= r->until || (size_t)((t - r->since) / HOUR_S) >= r->n_hours) {
		r->outside++;
		return;
	}
	r->lines++;
	for (uint64_t bits = found; bits; bits &= bits - 1)
		r->total[__builtin_ctzll(bits)]++;
	take_hour(r, &l, &r->hours[(t - r->since) / HOUR_S], found);
	take_names(r, &l, found);
}

int report_file(struct report *r, const char *path, struct err *e)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : gzip_fopen(path, e);
	char *text = NULL;
	size_t room = 0;

	if (!f)
		return -1;
	for (ssize_t n; (n = getline(&text, &room, f)) > 0;)
		report_line(r, str_trim(str_n(text, (size_t)n)));
	bool bad = ferror(f) != 0;

	free(text);
	if (f != stdin)
		bad |= fclose(f) != 0;	/* which knows of a packed file that was cut short */
	return bad ? err_set(e, ERR_INPUT, 0, "%s: cannot be read to its end", path) : 0;
}

static int by_count(const void *a, const void *b)
{
	const struct report_name *x = a, *y = b;

	return x->count != y->count ? (x->count < y->count ? 1 : -1) : str_cmp(x->name, y->name);
}

size_t report_top(const struct report *r, enum report_rank kind, struct report_name *out, size_t max)
{
	const struct map *names = r->ranks[kind].names;
	struct report_name *all = xzalloc((map_count(names) + 1) * sizeof(*all));
	size_t n = 0, it = 0;
	struct str key;
	void *v;

	while (map_next(names, &it, &key, &v))
		all[n++] = *(const struct report_name *)v;
	qsort(all, n, sizeof(*all), by_count);
	n = n < max ? n : max;
	memcpy(out, all, n * sizeof(*out));
	free(all);
	return n;
}
