/* smtpd_reject_footer, smtpd_reject_footer_maps: what an administrator wants to be said with a refusal. */
#include "base/clock.h"
#include "log/log.h"
#include "smtpd/session.h"
#include "smtpd/tables.h"

#include <stdio.h>
#include <time.h>

enum { FOOTER_MAX = 4096 };

struct words {
	const struct session *s;
	char time[64], port[8];
};

static bool word(void *ctx, struct str name, struct str *out)
{
	struct words *w = ctx;
	const struct session *s = w->s;
	const ptrdiff_t bracket = str_chr(str_c(s->host), '[');
	const struct {
		const char *name;
		struct str value;
	} rows[] = {
		{ "client", str_c(s->host) },
		{ "client_address", str_c(s->fc.client) },
		{ "client_name", str_sub(str_c(s->host), 0, bracket < 0 ? 0 : (size_t)bracket) },
		{ "client_port", str_c(w->port) },
		{ "server_name", str_c(s->conf->myhostname) },
		{ "localtime", str_c(w->time) },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq(name, str_c(rows[i].name))) {
			*out = rows[i].value;
			return true;
		}
	return false;
}

static void words_init(const struct session *s, struct words *w)
{
	const time_t now = (time_t)clock_wall();
	struct tm tm;

	*w = (struct words){ .s = s };
	snprintf(w->port, sizeof(w->port), "%u", s->fc.client_port);
	if (localtime_r(&now, &tm) == NULL || strftime(w->time, sizeof(w->time), "%b %d %H:%M:%S", &tm) == 0)
		w->time[0] = '\0';
}

/* Two characters \n are a line's end. */
static void put_lines(struct str text, struct buf *out)
{
	for (ptrdiff_t at; (at = str_find(text, STR("\\n"))) >= 0; text = str_from(text, (size_t)at + 2)) {
		buf_str(out, str_sub(text, 0, (size_t)at));
		buf_ch(out, '\n');
	}
	buf_str(out, text);
}

static void put(const struct session *s, struct str template, struct buf *out)
{
	const bool same_line = str_starts(template, STR("\\c"));
	const size_t before = out->n;
	struct err e = { 0 };
	struct buf lines;
	struct words w;

	words_init(s, &w);
	buf_init(&lines, FOOTER_MAX);
	put_lines(str_from(template, same_line ? 2 : 0), &lines);
	if (!same_line)
		buf_ch(out, '\n');
	if (buf_check(&lines, "footer", &e) < 0 || conf_late(buf_view(&lines), word, &w, out, &e) < 0) {
		log_warning("smtpd_reject_footer: %s", e.text);
		buf_cut(out, before);
	}
	buf_fini(&lines);
}

bool session_has_footer(const struct session *s)
{
	return s->conf->smtpd_reject_footer[0] != '\0' || s->conf->smtpd_reject_footer_maps.n > 0;
}

void session_footer(const struct session *s, int code, const char *enhanced, struct buf *text)
{
	struct buf key, own;

	buf_init(&key, FOOTER_MAX);
	buf_init(&own, FOOTER_MAX);
	buf_printf(&key, "%d %s%s", code, enhanced ? enhanced : "", enhanced ? " " : "");
	buf_str(&key, buf_view(text));
	if (!buf_failed(&key) && tables_footer(s->env, buf_view(&key), &own) && !buf_failed(&own))
		put(s, buf_view(&own), text);
	else if (s->conf->smtpd_reject_footer[0] != '\0')
		put(s, str_c(s->conf->smtpd_reject_footer), text);
	buf_fini(&own);
	buf_fini(&key);
}
