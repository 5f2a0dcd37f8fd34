/* See aggregate.h: lines. The report is aggregate_xml.c. */
#include "authres/aggregate.h"

#include "base/enc.h"
#include "base/num.h"

static const struct {
	const char *name;
	size_t max;
} fields[] = {
#define AGGREGATE(id, name, max) { name, max },
#include "authres/aggregate_fields.def"
#undef AGGREGATE
};

static bool plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]) || (unsigned char)s.p[i] > 0x7e)
			return false;
	return true;
}

static int put(struct buf *out, const char *name, struct str value, size_t max)
{
	if (value.n == 0)
		return 0;
	if (value.n > max || !plain(value))
		return -1;
	buf_printf(out, "\t%s=", name);
	buf_str(out, value);
	return 0;
}

int aggregate_put(struct buf *out, const struct aggregate *a)
{
	const size_t before = out->n;
	int r = 0;
	buf_printf(out, "%lld", (long long)a->when);
	for (unsigned i = 0; i < AGG_MAX_; i++)
		r |= put(out, fields[i].name, a->v[i], fields[i].max);
	for (size_t i = 0; i < a->n_dkim; i++)
		r |= put(out, "key", a->dkim[i], 2 * AGGREGATE_VALUE_MAX + 20);
	buf_ch(out, '\n');
	if (r == 0 && !buf_failed(out) && out->n - before <= AGGREGATE_LINE_MAX)
		return 0;
	if (!buf_failed(out))
		buf_cut(out, before);
	return -1;
}

static int take(struct aggregate *a, struct str name, struct str value)
{
	if (str_eq(name, STR("key"))) {
		if (a->n_dkim == AGGREGATE_KEYS_MAX)
			return -1;
		a->dkim[a->n_dkim++] = value;
		return 0;
	}
	for (unsigned i = 0; i < AGG_MAX_; i++) {
		if (!str_eq(name, str_c(fields[i].name)))
			continue;
		if (value.n > fields[i].max || a->v[i].n > 0)
			return -1;
		a->v[i] = value;
		return 0;
	}
	return -1;
}

int aggregate_parse(struct str line, struct aggregate *out)
{
	struct aggregate a = { .n_dkim = 0 };
	uint64_t when;
	if (line.n > AGGREGATE_LINE_MAX || num_parse(str_split(&line, '\t'), 0, INT64_MAX, &when) < 0)
		return -1;
	a.when = (int64_t)when;
	while (line.p != NULL) {
		struct str value = str_split(&line, '\t');
		const struct str name = str_split(&value, '=');
		if (value.p == NULL || !plain(value) || take(&a, name, value) < 0)
			return -1;
	}
	if (a.v[AGG_DOMAIN].n == 0 || a.v[AGG_FROM].n == 0)
		return -1;
	*out = a;
	return 0;
}

/* --- of a message --- */

/* What strangers wrote, so that it fits a value; too long: cut. */
static struct str clean(struct arena *a, struct str s, size_t max)
{
	struct buf b;
	buf_init(&b, max + 8);
	text_neutral(&b, str_sub(s, 0, max), max, true);
	const struct str out = arena_str(a, str_sub(buf_view(&b), 0, max));
	buf_fini(&b);
	return out;
}

bool aggregate_is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return auth_name_valid(s);
}

static struct str yes_no(bool b)
{
	return b ? STR("pass") : STR("fail");
}

static void put_policy(struct arena *a, const struct dmarc_result *d, struct aggregate *out)
{
	const struct dmarc_record *r = &d->record;
	out->v[AGG_DOMAIN] = clean(a, d->organisation, AGGREGATE_VALUE_MAX);
	out->v[AGG_RUA] = clean(a, r->rua, AGGREGATE_RUA_MAX);
	out->v[AGG_ADKIM] = r->strict_dkim ? STR("s") : STR("r");
	out->v[AGG_ASPF] = r->strict_spf ? STR("s") : STR("r");
	out->v[AGG_P] = str_c(dmarc_policy_name(r->policy));
	out->v[AGG_SP] = str_c(dmarc_policy_name(r->sub_policy));
	out->v[AGG_PCT] = str_c(arena_printf(a, "%u", r->percent));
}

static void put_spf(struct arena *a, const struct spf_result *s, struct aggregate *out)
{
	if (s == NULL)
		return;
	out->v[AGG_SPFDOMAIN] = clean(a, s->domain, AGGREGATE_VALUE_MAX);
	out->v[AGG_SPFSCOPE] = s->helo ? STR("helo") : STR("mfrom");
	out->v[AGG_SPFRESULT] = str_c(auth_result_name(s->result));
}

bool aggregate_make(struct arena *a, const struct aggregate_query *q, struct aggregate *out)
{
	const struct dmarc_result *d = q->dmarc;
	*out = (struct aggregate){ .when = q->now };
	if ((d->result != AUTH_PASS && d->result != AUTH_FAIL) || d->record.rua.n == 0 || d->record.rua.n > AGGREGATE_RUA_MAX)
		return false;
	put_policy(a, d, out);
	out->v[AGG_CLIENT] = q->client;
	out->v[AGG_WHAT] = str_c(q->what);
	out->v[AGG_WHY] = str_c(q->why);
	out->v[AGG_COMMENT] = clean(a, str_c(q->comment), AGGREGATE_VALUE_MAX);
	out->v[AGG_DKIM] = yes_no(d->dkim_aligned);
	out->v[AGG_SPF] = yes_no(d->spf_aligned);
	out->v[AGG_FROM] = clean(a, d->domain, AGGREGATE_VALUE_MAX);
	out->v[AGG_ENVELOPE] = clean(a, q->envelope_from, AGGREGATE_VALUE_MAX);
	put_spf(a, q->spf, out);
	for (size_t i = 0; i < q->n_dkim && i < AGGREGATE_KEYS_MAX; i++) {
		const struct str domain = clean(a, q->dkim[i].domain, AGGREGATE_VALUE_MAX), selector = clean(a, q->dkim[i].selector, 60);
		if (aggregate_is_name(domain) && aggregate_is_name(selector))
			out->dkim[out->n_dkim++] = str_c(arena_printf(a, "%.*s %.*s %s", STR_ARG(domain), STR_ARG(selector), auth_result_name(q->dkim[i].result)));
	}
	return true;
}
