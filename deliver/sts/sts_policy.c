/* MTA-STS's texts: the TXT record, the policy, and the HTTP answer that carries it (RFC 8461 3.1 to 3.3, RFC 9112). Pure; fuzzed. Names and numbers that a policy
 * cannot mean make it invalid; fields that are not known are skipped, as the RFC wants. */
#include <string.h>

#include "base/num.h"
#include "deliver/sts/sts.h"
#include "smtp/addr.h"

static const char *const modes[] = { [STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce" };

const char *sts_mode_word(enum sts_mode m)
{
	return modes[m];
}

/* --- the TXT record --- */

static bool id_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]))
			return false;
	return s.n >= 1 && s.n <= STS_ID_MAX;
}

int sts_txt_parse(struct str record, struct str *id_out, struct err *e)
{
	struct str rest = record, id = { 0 };

	if (!str_eq(str_trim(str_split(&rest, ';')), STR("v=STSv1")) || str_chr(record, ';') < 0)
		return 1;
	while (rest.n > 0) {
		const struct str field = str_trim(str_split(&rest, ';'));
		if (id.p == NULL && field.n > 3 && memcmp(field.p, "id=", 3) == 0)
			id = str_from(field, 3);
	}
	if (id.p == NULL || !id_valid(id))
		return err_set(e, ERR_INPUT, 0, "MTA-STS record without a usable id");
	*id_out = id;
	return 0;
}

/* --- the policy --- */

static bool pattern_valid(struct str s)
{
	return smtp_domain_valid(str_starts(s, STR("*.")) ? str_from(s, 2) : s);
}

static int take_mode(struct sts_policy *p, struct str value, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (str_eq(value, str_c(modes[i]))) {
			p->mode = (enum sts_mode)i;
			return 0;
		}
	return err_set(e, ERR_INPUT, 0, "MTA-STS policy: no such mode");
}

static int take_age(struct sts_policy *p, struct str value, struct err *e)
{
	if (num_parse(value, 0, UINT64_MAX, &p->max_age_s) < 0)
		return err_set(e, ERR_INPUT, 0, "MTA-STS policy: max_age is no number");
	if (p->max_age_s > STS_AGE_MAX_S)
		p->max_age_s = STS_AGE_MAX_S;
	return 0;
}

static int take_mx(struct sts_policy *p, struct str value, struct err *e)
{
	if (!pattern_valid(value))
		return err_set(e, ERR_INPUT, 0, "MTA-STS policy: an mx that is no name");
	if (p->n_mx == STS_MX_MAX)
		return err_set(e, ERR_LIMIT, 0, "MTA-STS policy: too many mx");
	p->mx[p->n_mx++] = value;
	return 0;
}

enum { SEEN_VERSION = 1, SEEN_MODE = 2, SEEN_AGE = 4 };

/* One "name: value"; the first of a name counts, but for mx. */
static int take_field(struct sts_policy *p, struct str name, struct str value, unsigned *seen, struct err *e)
{
	static const struct { const char *name; unsigned bit; } once[] = { { "version", SEEN_VERSION }, { "mode", SEEN_MODE }, { "max_age", SEEN_AGE } };
	unsigned bit = 0;

	if (str_eq(name, STR("mx")))
		return take_mx(p, value, e);
	for (size_t i = 0; i < ARRAY_LEN(once); i++)
		if (str_eq(name, str_c(once[i].name)))
			bit = once[i].bit;
	if (bit == 0 || (*seen & bit))
		return 0;
	*seen |= bit;
	if (bit == SEEN_MODE)
		return take_mode(p, value, e);
	if (bit == SEEN_AGE)
		return take_age(p, value, e);
	return str_eq(value, STR("STSv1")) ? 0 : err_set(e, ERR_INPUT, 0, "MTA-STS policy: another version");
}

int sts_policy_parse(struct str body, struct sts_policy *out, struct err *e)
{
	struct sts_policy p = { 0 };
	struct str rest = body;
	unsigned seen = 0;

	while (rest.n > 0) {
		struct str value = str_trim(str_split(&rest, '\n'));
		if (value.n == 0)
			continue;
		if (str_chr(value, ':') < 0)
			return err_set(e, ERR_INPUT, 0, "MTA-STS policy: a line without a colon");
		const struct str name = str_trim(str_split(&value, ':'));
		if (take_field(&p, name, str_trim(value), &seen, e) < 0)
			return -1;
	}
	if (seen != (SEEN_VERSION | SEEN_MODE | SEEN_AGE))
		return err_set(e, ERR_INPUT, 0, "MTA-STS policy: version, mode or max_age is missing");
	if (p.mode != STS_NONE && p.n_mx == 0)
		return err_set(e, ERR_INPUT, 0, "MTA-STS policy: no mx");
	*out = p;
	return 0;
}

void sts_policy_format(const struct sts_policy *p, struct buf *out)
{
	buf_printf(out, "version: STSv1\nmode: %s\n", modes[p->mode]);
	for (size_t i = 0; i < p->n_mx; i++)
		buf_printf(out, "mx: %.*s\n", STR_ARG(p->mx[i]));
	buf_printf(out, "max_age: %llu\n", (unsigned long long)p->max_age_s);
}

bool sts_mx_matches(struct str pattern, struct str host)
{
	if (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	if (!str_starts(pattern, STR("*.")))
		return str_case_eq(pattern, host);
	const ptrdiff_t dot = str_chr(host, '.');
	return dot > 0 && str_case_eq(str_from(pattern, 1), str_from(host, (size_t)dot));
}

/* --- HTTP --- */

struct answer {
	struct str head, rest;		/* lines of the header; what is behind it */
	bool chunked, sized;
	uint64_t size;
};

static struct str take_line(struct str *rest)
{
	struct str line = str_split(rest, '\n');

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static int take_header(struct answer *a, struct str line, struct err *e)
{
	uint64_t size;
	const struct str name = str_split(&line, ':'), value = str_trim(line);

	if (str_case_eq(name, STR("transfer-encoding"))) {
		if (!str_case_eq(value, STR("chunked")))
			return err_set(e, ERR_INPUT, 0, "HTTP: a transfer encoding that was not asked for");
		a->chunked = true;
	} else if (str_case_eq(name, STR("content-length"))) {
		if (num_parse(value, 0, STS_BODY_MAX, &size) < 0 || (a->sized && size != a->size))
			return err_set(e, ERR_INPUT, 0, "HTTP: too long, or an odd length");
		a->sized = true;
		a->size = size;
	} else if (str_case_eq(name, STR("content-type"))) {
		struct str type = value;
		if (!str_case_eq(str_trim(str_split(&type, ';')), STR("text/plain")))
			return err_set(e, ERR_INPUT, 0, "HTTP: not text/plain");
	} else if (str_case_eq(name, STR("content-encoding")) && !str_case_eq(value, STR("identity"))) {
		return err_set(e, ERR_INPUT, 0, "HTTP: a content encoding that was not asked for");
	}
	return 0;
}

/* The header's end: an empty line. 1: it has not come. */
static int take_head(struct str in, struct answer *a, struct err *e)
{
	for (size_t i = 0; i + 1 < in.n && i < STS_HEAD_MAX; i++) {
		const bool strict = in.p[i] == '\n' && in.p[i + 1] == '\r' && i + 2 < in.n && in.p[i + 2] == '\n';
		if (!strict && !(in.p[i] == '\n' && in.p[i + 1] == '\n'))
			continue;
		a->head = str_sub(in, 0, i + 1);
		a->rest = str_from(in, i + (strict ? 3 : 2));
		return 0;
	}
	return in.n >= STS_HEAD_MAX ? err_set(e, ERR_LIMIT, 0, "HTTP: header too long") : 1;
}

static int check_head(struct answer *a, struct err *e)
{
	struct str rest = a->head, line = take_line(&rest);

	if (!str_starts(line, STR("HTTP/1.")) || line.n < 12 || line.p[8] != ' ')
		return err_set(e, ERR_INPUT, 0, "HTTP: not an answer");
	if (memcmp(line.p + 9, "200", 3) != 0)
		return err_set(e, ERR_NOENT, 0, "HTTP status %.3s", line.p + 9);
	while (rest.n > 0)
		if (take_header(a, take_line(&rest), e) < 0)
			return -1;
	return 0;
}

/* RFC 9112 7.1; extensions and trailers are skipped. */
static int take_chunks(struct str in, struct buf *body, struct err *e)
{
	for (;;) {
		const ptrdiff_t end = str_chr(in, '\n');
		uint64_t n = 0;
		if (end < 0)
			return in.n > 1000 ? err_set(e, ERR_INPUT, 0, "HTTP: endless chunk size") : 1;
		struct str line = take_line(&in);
		const struct str digits = str_trim(str_split(&line, ';'));
		if (num_parse_hex(digits, STS_BODY_MAX - body->n, &n) < 0)
			return err_set(e, ERR_INPUT, 0, "HTTP: bad chunk size, or too long");
		if (n == 0)
			return 0;
		if (in.n < n + 2)
			return 1;
		if (memcmp(in.p + n, "\r\n", 2) != 0)
			return err_set(e, ERR_INPUT, 0, "HTTP: a chunk without end");
		buf_mem(body, in.p, n);
		in = str_from(in, n + 2);
	}
}

static int take_body(const struct answer *a, bool ended, struct buf *body, struct err *e)
{
	if (a->chunked)
		return take_chunks(a->rest, body, e);
	if (a->rest.n > STS_BODY_MAX)
		return err_set(e, ERR_LIMIT, 0, "HTTP: too long");
	if (a->sized ? a->rest.n < a->size : !ended)
		return 1;
	buf_mem(body, a->rest.p, a->sized ? a->size : a->rest.n);
	return 0;
}

int sts_http_parse(struct str in, bool ended, struct buf *body, struct err *e)
{
	struct answer a = { 0 };
	int r = take_head(in, &a, e);

	buf_reset(body);
	if (r == 0 && check_head(&a, e) < 0)
		r = -1;
	if (r == 0)
		r = take_body(&a, ended, body, e);
	return r == 1 && ended ? err_set(e, ERR_INPUT, 0, "HTTP: the answer breaks off") : r;
}
