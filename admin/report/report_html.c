/* One HTML page that needs nothing else: style and charts (SVG) are in it. Names come from strangers: each passes one function that escapes. */
#include <string.h>
#include <time.h>

#include "admin/report/report.h"
#include "base/enc.h"

enum { CHART_W = 480, CHART_H = 190, LEFT = 62, BOTTOM = 24, TOP = 10, LABELS_MAX = 7, SHARE_W = 960, SHARE_H = 30 };

/* A series: which number of an hour, its colour (a class of the style sheet), its name. */
struct series {
	const char *name, *class;
	uint64_t (*value)(const struct report_hour *h);
};

static uint64_t v_accepted(const struct report_hour *h) { return h->accepted; }
static uint64_t v_delivered(const struct report_hour *h) { return h->delivered; }
static uint64_t v_refused(const struct report_hour *h) { return h->refused; }
static uint64_t v_spam(const struct report_hour *h) { return h->spam; }
static uint64_t v_harmful(const struct report_hour *h) { return h->harmful; }
static uint64_t v_login(const struct report_hour *h) { return h->login_failed; }
static uint64_t v_bytes(const struct report_hour *h) { return h->bytes; }

static const char style[] =
	":root{--ink:#1d2733;--dim:#5d6b7a;--line:#dfe5ec;--paper:#fff;--back:#f3f6f9;--a:#2f6fb3;--b:#3f9c6b;--c:#d98a2b;--d:#b4453c;--e:#7a5aa6}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--dim:#9aa7b5;--line:#344150;--paper:#1c242d;--back:#12181f;--a:#6aa5e3;--b:#62c08f;--c:#e8a857;--d:#e0776e;"
	"--e:#ac8fd6}}"
	"*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,sans-serif}"
	"main{max-width:1180px;margin:0 auto;padding:20px 16px 40px}h1{font-size:1.5rem;margin:0}h2{font-size:1rem;margin:0 0 8px}p{margin:2px 0 16px;color:var(--dim)}"
	".grid{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}"
	".charts{margin-bottom:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr))}.wide{grid-column:1/-1}"
	"section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:14px;min-width:0}"
	".tiles{display:grid;gap:10px;grid-template-columns:repeat(auto-fit,minmax(104px,1fr));margin-bottom:14px}"
	".tile{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:10px 12px}.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}"
	".tile span{color:var(--dim);font-size:.83rem}svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font:13px system-ui,sans-serif}"
	".rule{stroke:var(--line)}.a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.d{fill:var(--d)}.e{fill:var(--e)}"
	".key{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:.83rem;color:var(--dim);margin-top:6px}.key i{display:inline-block;width:10px;height:10px;border-radius:2px;"
	"margin-right:5px}i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}i.d{background:var(--d)}i.e{background:var(--e)}"
	"table{border-collapse:collapse;width:100%}td:first-child{width:100%}td{padding:3px 0;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}"
	"tr:first-child td{border-top:0}td:nth-child(n+2){padding-left:1em;white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}td:nth-child(3){"
	"color:var(--dim)}@media print{body{background:#fff}}";

static void esc(FILE *to, struct str s)
{
	struct buf b;

	buf_init(&b, 2000);
	text_neutral(&b, s, 200, false);
	for (size_t i = 0; i < b.n; i++) {
		const char c = b.p[i];
		if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
			fprintf(to, "&#%d;", c);
		else
			putc(c, to);
	}
	buf_fini(&b);
}

/* A round number at or above v. */
static uint64_t round_up(uint64_t v)
{
	uint64_t step = 1;

	while (step * 10 < v)
		step *= 10;
	for (uint64_t m = 1; m <= 10; m++)
		if (m != 7 && m != 9 && (step * m % 2 == 0 || step * m == 1) && step * m >= v)	/* the middle is a number, too */
			return step * m;
	return v;
}

static void number(FILE *to, uint64_t v, bool bytes)
{
	char text[24];

	if (bytes)
		report_bytes(v, text);
	else
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	fputs(text, to);
}

static uint64_t column_sum(const struct report_column *c, const struct series *s, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += s[i].value(&c->sum);
	return sum;
}

static void axes(FILE *to, uint64_t top, bool bytes)
{
	for (int i = 0; i <= 2; i++) {
		const int y = TOP + (CHART_H - TOP - BOTTOM) * i / 2;

		if (i == 1 && top < 2)
			continue;
		fprintf(to, "<line class=rule x1=%d y1=%d x2=%d y2=%d /><text x=%d y=%d text-anchor=end>", LEFT, y, CHART_W, y, LEFT - 5, y + 4);
		number(to, top * (uint64_t)(2 - i) / 2, bytes);
		fputs("</text>", to);
	}
}

static void stack(FILE *to, const struct report_column *c, const struct series *s, size_t n_series, double x, double w, uint64_t top, bool bytes)
{
	double y = CHART_H - BOTTOM;

	fprintf(to, "<g><title>%s:", c->title);
	for (size_t k = 0; k < n_series; k++) {
		fprintf(to, "%s %s ", k ? "," : "", s[k].name);
		number(to, s[k].value(&c->sum), bytes);
	}
	fprintf(to, "</title><rect x=%.2f y=%d width=%.2f height=%d fill-opacity=0 />", x, TOP, w, CHART_H - TOP - BOTTOM);
	for (size_t k = 0; k < n_series; k++) {
		const double h = (double)s[k].value(&c->sum) * (CHART_H - TOP - BOTTOM) / (double)top;

		if (h <= 0)
			continue;
		y -= h;
		fprintf(to, "<rect class=%s x=%.2f y=%.2f width=%.2f height=%.2f />", s[k].class, x + w * 0.12, y, w * 0.76, h);
	}
	fputs("</g>", to);
}

static void key(FILE *to, const struct series *s, size_t n)
{
	if (n < 2)
		return;
	fputs("<div class=key>", to);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "<span><i class=%s></i>%s</span>", s[i].class, s[i].name);
	fputs("</div>", to);
}

static void chart(FILE *to, const char *title, const struct report_column *c, size_t n, const struct series *s, size_t n_series, bool bytes)
{
	const double w = (double)(CHART_W - LEFT) / (double)n;
	const size_t each = (n + LABELS_MAX - 1) / LABELS_MAX;
	uint64_t max = 1;

	for (size_t i = 0; i < n; i++)
		max = column_sum(&c[i], s, n_series) > max ? column_sum(&c[i], s, n_series) : max;
	if (!bytes)
		max = round_up(max);
	fprintf(to, "<section><h2>%s</h2><svg viewBox=\"0 0 %d %d\" role=img aria-label=\"%s\">", title, CHART_W, CHART_H, title);
	axes(to, max, bytes);
	for (size_t i = 0; i < n; i++) {
		stack(to, &c[i], s, n_series, LEFT + w * (double)i, w, max, bytes);
		if (i % each == 0)
			fprintf(to, "<text x=%.2f y=%d text-anchor=middle>%s</text>", LEFT + w * ((double)i + 0.5), CHART_H - 6, c[i].label);
	}
	fputs("</svg>", to);
	key(to, s, n_series);
	fputs("</section>\n", to);
}

/* Parts of a whole, as one bar. */
struct share {
	const char *name, *class;
	uint64_t value;
};

static void shares(FILE *to, const char *title, const struct share *s, size_t n)
{
	uint64_t sum = 0;
	double x = 0;

	for (size_t i = 0; i < n; i++)
		sum += s[i].value;
	fprintf(to, "<section><h2>%s</h2><svg viewBox=\"0 0 %d %d\" role=img aria-label=\"%s\">", title, SHARE_W, SHARE_H, title);
	for (size_t i = 0; sum && i < n; i++) {
		const double w = (double)s[i].value * SHARE_W / (double)sum;
		fprintf(to, "<rect class=%s x=%.2f y=0 width=%.2f height=%d><title>%s: %llu</title></rect>", s[i].class, x, w, SHARE_H, s[i].name,
			(unsigned long long)s[i].value);
		x += w;
	}
	fputs("</svg><div class=key>", to);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "<span><i class=%s></i>%s %llu (%.1f %%)</span>", s[i].class, s[i].name, (unsigned long long)s[i].value,
			sum ? (double)s[i].value * 100 / (double)sum : 0.0);
	fputs("</div></section>\n", to);
}

static void names(FILE *to, const char *title, const struct report_name *v, size_t n)
{
	char bytes[24];

	if (n == 0)
		return;
	fprintf(to, "<section><h2>%s</h2><table>", title);
	for (size_t i = 0; i < n; i++) {
		fputs("<tr><td>", to);
		esc(to, v[i].name);
		fprintf(to, "<td>%llu", (unsigned long long)v[i].count);
		report_bytes(v[i].bytes, bytes);
		fprintf(to, v[i].bytes ? "<td>%s\n" : "\n", bytes);
	}
	fputs("</table></section>\n", to);
}

static void ages(FILE *to, const char *title, const uint64_t *v)
{
	fprintf(to, "<section><h2>%s</h2><table>", title);
	for (size_t i = 0; i < AGES; i++)
		fprintf(to, "<tr><td>%s<td>%llu\n", report_ages[i].name, (unsigned long long)v[i]);
	fputs("</table></section>\n", to);
}

static void tile(FILE *to, const char *what, uint64_t v, bool bytes)
{
	fputs("<div class=tile><b>", to);
	number(to, v, bytes);
	fprintf(to, "</b><span>%s</span></div>", what);
}

static void head(const struct report *r, FILE *to)
{
	const time_t since = (time_t)r->since, until = (time_t)r->until;
	char from[40], till[40];
	struct tm tm;

	(void)strftime(from, sizeof(from), "%a %d %b %Y, %H:%M", localtime_r(&since, &tm));
	(void)strftime(till, sizeof(till), "%a %d %b %Y, %H:%M", localtime_r(&until, &tm));
	fprintf(to, "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><title>Mail on ");
	esc(to, str_c(r->host));
	fprintf(to, "</title><style>%s</style>\n<main><h1>Mail on ", style);
	esc(to, str_c(r->host));
	fprintf(to, "</h1><p>%s to %s</p>\n<div class=tiles>", from, till);
	tile(to, "messages taken over", r->total[EV_mail_accepted], false);
	tile(to, "in these messages", r->bytes, true);
	tile(to, "deliveries here", r->total[EV_delivered_local], false);
	tile(to, "deliveries elsewhere", r->total[EV_delivered_remote], false);
	tile(to, "refused", r->total[EV_smtp_rejected] + r->total[EV_smtp_milter_rejected] + r->total[EV_mail_refused] + r->total[EV_mail_pattern], false);
	tile(to, "bounced", r->total[EV_delivery_bounced], false);
	tile(to, "logins", r->total[EV_login_ok], false);
	tile(to, "logins that failed", r->total[EV_login_failed], false);
	if (r->queue_known)
		tile(to, "waiting now", r->queue, false);
	fputs("</div>\n<div class=\"grid charts\">\n", to);
}

static void charts(const struct report *r, FILE *to)
{
	static const struct series in_out[] = { { "delivered", "b", v_delivered }, { "refused", "c", v_refused } };
	static const struct series taken[] = { { "taken over", "a", v_accepted } }, volume[] = { { "volume", "a", v_bytes } };
	static const struct series bad[] = { { "spam", "c", v_spam }, { "viruses and forbidden attachments", "d", v_harmful } };
	static const struct series logins[] = { { "failed logins", "e", v_login } };
	const struct share found[] = { { "clean", "b", r->total[EV_filter_clean] }, { "against the rules of headers", "e", r->total[EV_filter_bad_header] },
				       { "spam", "c", r->total[EV_filter_spam] }, { "infected", "d", r->total[EV_filter_infected] },
				       { "forbidden attachments", "a", r->total[EV_filter_banned] } };
	struct report_column *c;
	const size_t n = report_columns(r, &c);

	chart(to, "Messages taken over", c, n, taken, 1, false);
	chart(to, "Delivered and refused", c, n, in_out, 2, false);
	chart(to, "Volume", c, n, volume, 1, true);
	chart(to, "Failed logins", c, n, logins, 1, false);
	chart(to, "Bad mail", c, n, bad, 2, false);
	shares(to, "What the filter found", found, ARRAY_LEN(found));
}

void report_html(const struct report *r, FILE *to)
{
	struct report_name top[REPORT_TOP];

	head(r, to);
	charts(r, to);
	fputs("</div><div class=grid>\n", to);
	for (int k = 0; k < RANK_MAX_; k++)
		names(to, report_rank_title((enum report_rank)k), top, report_top(r, (enum report_rank)k, top, REPORT_TOP));
	ages(to, "How long deliveries took", r->delays);
	if (r->queue_known)
		ages(to, "How long what waits now has waited", r->waiting);
	names(to, "Largest mailboxes (messages, size)", r->mailboxes, r->n_mailboxes < REPORT_TOP ? r->n_mailboxes : REPORT_TOP);
	fputs("</div></main></html>\n", to);
}
