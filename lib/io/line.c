/* The one line reader, as a pure function. Owns the suite's policy on line ends: CRLF and nothing else, so that no two
 * programs can disagree where a line ends (SMTP smuggling, CVE-2023-51764). RFC 5321 2.3.8, RFC 3501 2.2, RFC 1939 3.
 */
#include <string.h>

#include "io/conn.h"

static const char *find(struct str s, size_t from, size_t to, int c)
{
	return from < to ? memchr(s.p + from, c, to - from) : NULL;
}

int line_parse(struct str in, size_t max, struct str *line, size_t *used_out, struct err *e)
{
	size_t look = in.n < max ? in.n : max;
	const char *lf = find(in, 0, look, '\n');

	if (!lf && in.n < max)
		return 1;
	if (!lf) {
		lf = find(in, look, in.n, '\n');
		*used_out = lf ? (size_t)(lf - in.p) + 1 : in.n;
		return err_set(e, ERR_LIMIT, 0, "line longer than %zu bytes", max);
	}
	size_t n = (size_t)(lf - in.p);
	const char *cr = find(in, 0, n, '\r');
	*used_out = n + 1;
	if (find(in, 0, n, '\0'))
		return err_set(e, ERR_INPUT, 0, "NUL in a line");
	if (!cr)
		return err_set(e, ERR_INPUT, 0, "bare LF");
	if (cr + 1 != lf)
		return err_set(e, ERR_INPUT, 0, "bare CR");
	*line = str_n(in.p, n - 1);
	return 0;
}
