/* smtpd_reject_footer: what an administrator wants to be said with every refusal. */
#include "base/clock.h"
#include "smtpd/session.h"

#include <time.h>

static void put_time(struct buf *out)
{
	const time_t now = (time_t)clock_wall();
	struct tm tm;
	char text[64];

	if (localtime_r(&now, &tm) && strftime(text, sizeof text, "%b %d %H:%M:%S", &tm) > 0)
		buf_c(out, text);
}

static void put_name(const struct session *s, struct str name, struct buf *out)
{
	const ptrdiff_t bracket = str_chr(str_c(s->host), '[');

	if (str_eq(name, STR("client")))
		buf_c(out, s->host);
	else if (str_eq(name, STR("client_address")))
		buf_c(out, s->fc.client);
	else if (str_eq(name, STR("client_name")))
		buf_str(out, str_sub(str_c(s->host), 0, bracket < 0 ? 0 : (size_t)bracket));
	else if (str_eq(name, STR("server_name")))
		buf_c(out, s->conf->myhostname);
	else if (str_eq(name, STR("localtime")))
		put_time(out);
}

/* The name after a dollar sign; braces and brackets around it are taken too. */
static struct str take_name(struct str *rest)
{
	const char close = rest->n && rest->p[0] == '{' ? '}' : rest->n && rest->p[0] == '(' ? ')' : '\0';
	size_t n = 0;

	if (close)
		*rest = str_from(*rest, 1);
	while (n < rest->n && (ch_alnum(rest->p[n]) || rest->p[n] == '_'))
		n++;
	const struct str name = str_sub(*rest, 0, n);
	if (close && n < rest->n && rest->p[n] == close)
		n++;
	*rest = str_from(*rest, n);
	return name;
}

void session_footer(const struct session *s, struct buf *out)
{
	struct str rest = str_c(s->conf->smtpd_reject_footer);
	const bool same_line = str_starts(rest, STR("\\c"));

	if (rest.n == 0)
		return;
	if (same_line)
		rest = str_from(rest, 2);
	else
		buf_ch(out, '\n');
	while (rest.n > 0) {
		const char c = rest.p[0];
		rest = str_from(rest, 1);
		if (c == '\\' && rest.n > 0 && rest.p[0] == 'n') {
			buf_ch(out, '\n');
			rest = str_from(rest, 1);
		} else if (c == '$' && rest.n > 0 && rest.p[0] == '$') {
			buf_ch(out, '$');
			rest = str_from(rest, 1);
		} else if (c == '$') {
			put_name(s, take_name(&rest), out);
		} else {
			buf_ch(out, c);
		}
	}
}
