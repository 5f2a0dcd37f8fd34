/* See milter_wire.h. */
#include "deliver/policy/milter_wire.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

bool milter_list_next(struct str *list, struct str *one)
{
	size_t start = 0, n = 0;

	while (start < list->n && (ch_space(list->p[start]) || list->p[start] == ','))
		start++;
	*list = str_from(*list, start);
	if (list->n == 0)
		return false;
	if (list->p[0] == '{') {
		const ptrdiff_t close = str_chr(*list, '}');
		n = close < 0 ? list->n : (size_t)close + 1;
	} else {
		while (n < list->n && !ch_space(list->p[n]) && list->p[n] != ',')
			n++;
	}
	*one = str_sub(*list, 0, n);
	*list = str_from(*list, n);
	return true;
}

int milter_fallback_parse(struct str s, enum milter_fallback *out, struct err *e)
{
	static const char *const words[] = { [MILTER_TEMPFAIL] = "tempfail", [MILTER_REJECT] = "reject", [MILTER_ACCEPT] = "accept", [MILTER_QUARANTINE] = "quarantine" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(s, str_c(words[i]))) {
			*out = (enum milter_fallback)i;
			return 0;
		}
	return err_set(e, ERR_CONF, 0, "default_action=%.*s (allowed: accept reject tempfail quarantine)", STR_ARG(str_sub(s, 0, 60)));
}

static int take_time(struct str v, uint64_t *ms_out, struct err *e)
{
	const char unit = v.n > 1 && !ch_digit(v.p[v.n - 1]) ? v.p[--v.n] : 's';
	const uint64_t one = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
	uint64_t n;

	if (one == 0 || num_parse(v, 1, 86400, &n) < 0)
		return err_set(e, ERR_CONF, 0, "a milter's time limit is a number with s, m or h");
	*ms_out = n * one * 1000;
	return 0;
}

static int take_setting(struct milter_setting *s, const struct service_setting *x, struct err *e)
{
	uint64_t version;

	if (str_eq(x->name, STR("default_action")))
		return milter_fallback_parse(x->value, &s->fallback, e);
	if (str_eq(x->name, STR("connect_timeout")))
		return take_time(x->value, &s->connect_ms, e);
	if (str_eq(x->name, STR("command_timeout")))
		return take_time(x->value, &s->command_ms, e);
	if (str_eq(x->name, STR("content_timeout")))
		return take_time(x->value, &s->content_ms, e);
	if (!str_eq(x->name, STR("protocol")))
		return err_set(e, ERR_CONF, 0, "%.*s: no such setting of a milter", STR_ARG(str_sub(x->name, 0, 60)));
	if (num_parse(x->value, MILTER_VERSION_MIN, MILTER_VERSION, &version) < 0)
		return err_set(e, ERR_CONF, 0, "protocol (allowed: 2 to 6)");
	s->protocol = (uint32_t)version;
	return 0;
}

int milter_setting_parse(struct str one, struct milter_setting *s, struct err *e)
{
	struct service_text t;
	char target[400];

	if (service_parse(one, &t, e) < 0)
		return -1;
	if (str_starts(t.target, STR("inet6:")) && t.target.n < sizeof(target)) {
		snprintf(target, sizeof(target), "inet:%.*s", STR_ARG(str_from(t.target, 6)));
		t.target = str_c(target);
	}
	if (dial_parse(t.target, &s->target, e) < 0)
		return -1;
	for (size_t i = 0; i < t.n; i++)
		if (take_setting(s, &t.v[i], e) < 0)
			return -1;
	return 0;
}
