/* The report as a table for a terminal or a mail, and as JSON. */
#include <string.h>
#include <time.h>

#include "admin/report/report.h"
#include "base/enc.h"
#include "base/json.h"

enum { COLUMNS_BY_HOUR = 49, BAR_WIDTH = 40, HOURS_A_DAY = 24 };

static const struct {
	const char *name, *title;
} ranks[] = {
#define REPORT_RANK(name, title) { #name, title },
#include "admin/report/ranks.def"
#undef REPORT_RANK
};

const char *report_rank_name(enum report_rank rank)
{
	return ranks[rank].name;
}

const char *report_rank_title(enum report_rank rank)
{
	return ranks[rank].title;
}

void report_bytes(uint64_t n, char out[24])
{
	static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
	double v = (double)n;
	size_t i = 0;

	for (; v >= 1000 && i + 1 < ARRAY_LEN(units); i++)
		v /= 1024;
	(void)snprintf(out, 24, i == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[i]);
}

/* --- columns of charts --- */

static void add(struct report_hour *sum, const struct report_hour *h)
{
	sum->accepted += h->accepted;
	sum->delivered += h->delivered;
	sum->refused += h->refused;
	sum->spam += h->spam;
	sum->harmful += h->harmful;
	sum->login_failed += h->login_failed;
	sum->bytes += h->bytes;
}

size_t report_columns(const struct report *r, struct report_column **out)
{
	const bool hourly = r->n_hours < COLUMNS_BY_HOUR;
	char before[24] = "";
	size_t n = 0;

	*out = ARENA_ARRAY(r->a, struct report_column, r->n_hours + 1);
	for (size_t i = 0; i < r->n_hours; i++) {
		const time_t t = (time_t)(r->since + (int64_t)i * 3600);
		char label[24];
		struct tm tm;

		(void)localtime_r(&t, &tm);
		(void)strftime(label, sizeof(label), hourly ? "%a %H:00" : "%d %b", &tm);
		if (n == 0 || hourly || strcmp(label, before) != 0) {
			(void)strftime((*out)[n].title, sizeof((*out)[n].title), hourly ? "%a %d %b, %H:00" : "%a %d %b %Y", &tm);
			memcpy((*out)[n].label, label, sizeof(label));
			memcpy(before, label, sizeof(label));
			n++;
		}
		add(&(*out)[n - 1].sum, &r->hours[i]);
	}
	return n;
}

/* --- text --- */

static void print_name(FILE *to, struct str name)
{
	struct buf b;

	buf_init(&b, 400);
	text_neutral(&b, name, 60, false);
	fprintf(to, "%s", b.n ? b.p : "");
	buf_fini(&b);
}

static void text_head(const struct report *r, FILE *to)
{
	const time_t since = (time_t)r->since, until = (time_t)r->until;
	char from[40], till[40], bytes[24];
	struct tm tm;

	(void)strftime(from, sizeof(from), "%a %d %b %Y %H:%M", localtime_r(&since, &tm));
	(void)strftime(till, sizeof(till), "%a %d %b %Y %H:%M", localtime_r(&until, &tm));
	report_bytes(r->bytes, bytes);
	fprintf(to, "Mail on %s\n%s to %s\n\n", r->host, from, till);
	for (unsigned i = 0; i < EV_MAX_; i++)
		fprintf(to, "%12llu  %s\n", (unsigned long long)r->total[i], event_what((enum event)i));
	fprintf(to, "%12s  in the messages taken over\n", bytes);
}

static void text_columns(const struct report *r, FILE *to)
{
	struct report_column *c;
	const size_t n = report_columns(r, &c);
	uint32_t max = 1;

	for (size_t i = 0; i < n; i++)
		max = c[i].sum.accepted > max ? c[i].sum.accepted : max;
	fprintf(to, "\n%-10s %9s %9s %9s %6s %8s %10s\n", "", "taken", "delivered", "refused", "spam", "harmful", "volume");
	for (size_t i = 0; i < n; i++) {
		const struct report_hour *h = &c[i].sum;
		char bytes[24];

		report_bytes(h->bytes, bytes);
		fprintf(to, "%-10s %9u %9u %9u %6u %8u %10s  %.*s\n", c[i].label, h->accepted, h->delivered, h->refused, h->spam, h->harmful, bytes,
			(int)((uint64_t)h->accepted * BAR_WIDTH / max), "########################################");
	}
}

static void text_ranks(const struct report *r, FILE *to)
{
	struct report_name top[REPORT_TOP];
	char bytes[24];

	for (int k = 0; k < RANK_MAX_; k++) {
		const size_t n = report_top(r, (enum report_rank)k, top, REPORT_TOP);
		if (n == 0)
			continue;
		fprintf(to, "\n%s\n", ranks[k].title);
		for (size_t i = 0; i < n; i++) {
			fprintf(to, "%12llu  ", (unsigned long long)top[i].count);
			print_name(to, top[i].name);
			report_bytes(top[i].bytes, bytes);
			fprintf(to, top[i].bytes ? "  (%s)\n" : "\n", bytes);
		}
	}
}

static void text_ages(const char *title, const uint64_t *ages, FILE *to)
{
	fprintf(to, "\n%s\n", title);
	for (size_t i = 0; i < AGES; i++)
		fprintf(to, "%12llu  %s\n", (unsigned long long)ages[i], report_ages[i].name);
}

void report_text(const struct report *r, FILE *to)
{
	char bytes[24];

	text_head(r, to);
	text_columns(r, to);
	text_ranks(r, to);
	text_ages("How long deliveries took", r->delays, to);
	if (r->queue_known)
		text_ages("How long the messages have waited that are in the queue now", r->waiting, to);
	if (r->n_mailboxes)
		fputs("\nLargest mailboxes\n", to);
	for (size_t i = 0; i < r->n_mailboxes && i < REPORT_TOP; i++) {
		report_bytes(r->mailboxes[i].bytes, bytes);
		fprintf(to, "%12s  ", bytes);
		print_name(to, r->mailboxes[i].name);
		fprintf(to, "  (%llu messages)\n", (unsigned long long)r->mailboxes[i].count);
	}
	if (r->lines == 0)
		fputs("\nThe log says nothing of this time.\n", to);
}

/* --- JSON --- */

static void json_columns(const struct report *r, FILE *to)
{
	json_name(to, "hours", false);
	putc('[', to);
	for (size_t i = 0; i < r->n_hours; i++) {
		const struct report_hour *h = &r->hours[i];

		fputs(i ? ", {" : "{", to);
		json_number(to, "from", r->since + (int64_t)i * 3600, true);
		json_number(to, "taken", h->accepted, false);
		json_number(to, "delivered", h->delivered, false);
		json_number(to, "refused", h->refused, false);
		json_number(to, "spam", h->spam, false);
		json_number(to, "harmful", h->harmful, false);
		json_number(to, "login_failed", h->login_failed, false);
		json_number(to, "bytes", (long long)h->bytes, false);
		putc('}', to);
	}
	putc(']', to);
}

static void json_names(FILE *to, const char *name, const struct report_name *v, size_t n, bool first)
{
	json_name(to, name, first);
	putc('[', to);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", {" : "{", to);
		json_field(to, "name", v[i].name, true);
		json_number(to, "count", (long long)v[i].count, false);
		json_number(to, "bytes", (long long)v[i].bytes, false);
		putc('}', to);
	}
	putc(']', to);
}

static void json_ages(FILE *to, const char *name, const uint64_t *ages)
{
	json_name(to, name, false);
	putc('{', to);
	for (size_t i = 0; i < AGES; i++)
		json_number(to, report_ages[i].name, (long long)ages[i], i == 0);
	putc('}', to);
}

void report_json(const struct report *r, FILE *to)
{
	struct report_name top[REPORT_TOP];

	putc('{', to);
	json_field(to, "host", str_c(r->host), true);
	json_number(to, "since", r->since, false);
	json_number(to, "until", r->until, false);
	json_number(to, "lines", (long long)r->lines, false);
	json_number(to, "bytes", (long long)r->bytes, false);
	json_name(to, "events", false);
	putc('{', to);
	for (unsigned i = 0; i < EV_MAX_; i++)
		json_number(to, event_name((enum event)i), (long long)r->total[i], i == 0);
	putc('}', to);
	json_columns(r, to);
	json_name(to, "top", false);
	putc('{', to);
	for (int k = 0; k < RANK_MAX_; k++) {
		const size_t n = report_top(r, (enum report_rank)k, top, REPORT_TOP);
		json_names(to, ranks[k].name, top, n, k == 0);
	}
	putc('}', to);
	json_ages(to, "delays", r->delays);
	json_bool(to, "queue_known", r->queue_known, false);
	json_number(to, "queue", (long long)r->queue, false);
	json_ages(to, "queue_ages", r->waiting);
	json_names(to, "mailboxes", r->mailboxes, r->n_mailboxes, false);
	fputs("}\n", to);
}
