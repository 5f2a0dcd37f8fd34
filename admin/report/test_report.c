/* Times of log lines and of --since; what lines add to a report. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/report/report.h"
#include "test/tap.h"

enum { NOW = 1795953600 };	/* Sun Nov 29 2026, 12:00 UTC */

static const struct {
	const char *stamp;
	int64_t now, want;
} times[] = {
	{ "Nov 29 11:59:59", NOW, NOW - 1 },
	{ "Nov  1 00:00:00", NOW, 1793491200 },
	{ "Dec 31 23:59:59", 1798761600 /* Jan 1 2027 */, 1798761599 },
	{ "2026-11-29T12:00:00+00:00", NOW, NOW },
	{ "2026-11-29T13:00:00.123456+01:00", NOW, NOW },
	{ "2026-11-29T12:00:00Z", NOW, NOW },
	{ "2026-11-29T12:00:00", NOW, NOW },
	{ "Nov 31x12:00:00", NOW, -1 },
	{ "Xxx 29 12:00:00", NOW, -1 },
	{ "Nov 29 25:00:00", NOW, -1 },
	{ "2026-13-29T12:00:00Z", NOW, -1 },
	{ "", NOW, -1 },
};

static const struct {
	const char *text;
	int64_t want;
} spans[] = {
	{ "24h", NOW - 23 * 3600 }, { "1d", NOW - 43200 }, { "7d", NOW - 43200 - 6 * 86400 }, { "1w", NOW - 43200 - 6 * 86400 }, { "today", NOW - 43200 },
	{ "yesterday", NOW - 43200 - 86400 }, { "2026-11-28", NOW - 43200 - 86400 }, { "", -1 }, { "7", -1 }, { "0d", -1 }, { "d", -1 }, { "2026-12-28", -1 }, { "7x", -1 },
};

static const char *const log_lines[] = {
	"Nov 29 10:00:00 vm postern/smtpd[1]: 1M1CJ73ALZV: client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=alice@example.com",
	"Nov 29 10:00:00 vm postern/qmgr[1]: 1M1CJ73ALZV: from=<alice@example.com>, size=1000, nrcpt=1 (queue active)",
	"Nov 29 10:00:01 vm postern/local[1]: 1M1CJ73ALZV: to=<bob@example.com>, relay=local, delay=12.5, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)",
	"Nov 29 11:00:01 vm postern/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <no@example.com>: Recipient address rejected: User unknown; "
	"from=<a@b> to=<no@example.com>",
	"Nov 29 11:00:02 vm postern/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <na@example.com>: Recipient address rejected: User unknown; "
	"from=<a@b> to=<na@example.com>",
	"Nov 29 11:00:03 vm amavis[1]: (1-3) Blocked INFECTED (Eicar <b>), [127.0.0.1] <a@b> -> <c@d>, Queue-ID: 1M1CJ7400K6, Hits: -",
	"Nov 29 11:00:04 vm postern/smtp[1]: 1M1CJ7408LH: to=<z@y.x>, relay=none, delay=3, dsn=4.4.3, status=deferred (Host not found)",
	"Nov 29 11:00:05 vm postern/authd[1]: login failed: service=imap session=1 rip=192.0.2.9 rport=1 lip=127.0.0.1 method=PLAIN reason=password count=0 user=\"bob\"",
	"Nov 29 11:00:06 vm postern/cleanup[1]: 1M1CJ7402RL: reject: header X: [a]; from=<q> [198.51.100.9]; from=<a@b>: >: y "
	"from x[192.0.2.1]; from=<a@b> proto=ESMTP helo=<h>: Recipient address rejected: User unknown",
	"Nov 20 11:00:05 vm postern/qmgr[1]: 1M1CJ7408LH: from=<old@example.com>, size=1, nrcpt=1 (queue active)",
	"no line of a log",
};

static void is_top(const struct report *r, enum report_rank rank, const char *name, uint64_t count)
{
	struct report_name top[REPORT_TOP];
	const size_t n = report_top(r, rank, top, REPORT_TOP);

	tap_ok(n == 1, "%s: one name", report_rank_name(rank));
	tap_is_mem(n ? top[0].name : STR(""), str_c(name), "%s: which", report_rank_name(rank));
	tap_is_int(n ? (long long)top[0].count : 0, (long long)count, "%s: how often", report_rank_name(rank));
}

static void test_sums(void)
{
	struct report r;
	char *page = NULL;
	size_t n = 0;

	report_init(&r, NOW - 43200, NOW);
	r.host = "mail.example.com";
	for (size_t i = 0; i < ARRAY_LEN(log_lines); i++)
		report_line(&r, str_c(log_lines[i]));
	tap_is_int((long long)r.lines, 9, "lines of the time");
	tap_is_int((long long)r.outside, 1, "one of another time");
	tap_is_int((long long)r.bytes, 1000, "volume");
	tap_is_int(r.hours[10].accepted, 1, "the hour of a message");
	tap_is_int(r.hours[11].refused, 3, "the hour of three refusals, one of them by a pattern");
	tap_is_int((long long)r.delays[2], 1, "12.5 s is between 10 s and a minute");
	is_top(&r, RANK_senders, "alice@example.com", 1);
	is_top(&r, RANK_users, "alice@example.com", 1);
	is_top(&r, RANK_recipients, "bob@example.com", 1);
	is_top(&r, RANK_reasons, "Recipient address rejected: User unknown", 3);
	is_top(&r, RANK_clients, "192.0.2.1", 3);
	is_top(&r, RANK_harmful, "Eicar <b>", 1);
	is_top(&r, RANK_deferred, "Host not found", 1);
	is_top(&r, RANK_login_users, "bob", 1);
	is_top(&r, RANK_login_clients, "192.0.2.9", 1);
	FILE *f = open_memstream(&page, &n);

	report_html(&r, f);
	fclose(f);
	tap_ok(strstr(page, "Eicar &#60;b&#62;") && !strstr(page, "Eicar <b>"), "a name of a stranger's is no markup");
	tap_ok(!strstr(page, "http"), "the page asks nobody for anything");
	free(page);
	report_fini(&r);
}

int main(void)
{
	int64_t got;

	setenv("TZ", "UTC", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_LEN(times); i++)
		tap_is_int(report_time(str_c(times[i].stamp), times[i].now), times[i].want, "time of \"%s\"", times[i].stamp);
	for (size_t i = 0; i < ARRAY_LEN(spans); i++)
		tap_is_int(report_since(str_c(spans[i].text), NOW, &got) < 0 ? -1 : got, spans[i].want, "since \"%s\"", spans[i].text);
	test_sums();
	return tap_done();
}
