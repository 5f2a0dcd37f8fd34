/* The report of one domain as XML (RFC 7489 appendix C), and where it goes (6.3 rua=, 7.1). */
#include "authres/aggregate.h"
#include "base/num.h"

static void put_text(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.p[i];
		switch (c) {
		case '<': buf_c(out, "&lt;"); break;
		case '>': buf_c(out, "&gt;"); break;
		case '&': buf_c(out, "&amp;"); break;
		case '"': buf_c(out, "&quot;"); break;
		default: buf_ch(out, ch_ctl(c) || (unsigned char)c > 0x7e ? '?' : c);
		}
	}
}

static void put_element(struct buf *out, const char *indent, const char *name, struct str value)
{
	buf_printf(out, "%s<%s>", indent, name);
	put_text(out, value);
	buf_printf(out, "</%s>\n", name);
}

static void put_metadata(const struct aggregate_report *r, struct buf *out)
{
	buf_c(out, "  <report_metadata>\n");
	put_element(out, "    ", "org_name", r->organisation);
	put_element(out, "    ", "email", r->email);
	put_element(out, "    ", "report_id", r->id);
	buf_printf(out, "    <date_range>\n      <begin>%lld</begin>\n      <end>%lld</end>\n    </date_range>\n  </report_metadata>\n", (long long)r->begin,
		   (long long)r->end);
}

static void put_policy(const struct aggregate_report *r, struct buf *out)
{
	static const struct {
		const char *name;
		enum aggregate_field f;
	} rows[] = { { "domain", AGG_DOMAIN }, { "adkim", AGG_ADKIM }, { "aspf", AGG_ASPF }, { "p", AGG_P }, { "sp", AGG_SP }, { "pct", AGG_PCT } };
	buf_c(out, "  <policy_published>\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		put_element(out, "    ", rows[i].name, r->rows[0].a.v[rows[i].f]);
	buf_c(out, "  </policy_published>\n");
}

static void put_evaluated(const struct aggregate_row *w, struct buf *out)
{
	buf_c(out, "    <row>\n");
	put_element(out, "      ", "source_ip", w->a.v[AGG_CLIENT]);
	buf_printf(out, "      <count>%llu</count>\n      <policy_evaluated>\n", (unsigned long long)w->count);
	put_element(out, "        ", "disposition", w->a.v[AGG_WHAT]);
	put_element(out, "        ", "dkim", w->a.v[AGG_DKIM]);
	put_element(out, "        ", "spf", w->a.v[AGG_SPF]);
	if (w->a.v[AGG_WHY].n > 0) {
		buf_c(out, "        <reason>\n");
		put_element(out, "          ", "type", w->a.v[AGG_WHY]);
		put_element(out, "          ", "comment", w->a.v[AGG_COMMENT]);
		buf_c(out, "        </reason>\n");
	}
	buf_c(out, "      </policy_evaluated>\n    </row>\n");
}

static void put_results(const struct aggregate_row *w, struct buf *out)
{
	buf_c(out, "    <auth_results>\n");
	for (size_t i = 0; i < w->a.n_dkim; i++) {
		struct str rest = w->a.dkim[i];
		buf_c(out, "      <dkim>\n");
		put_element(out, "        ", "domain", str_split(&rest, ' '));
		put_element(out, "        ", "selector", str_split(&rest, ' '));
		put_element(out, "        ", "result", rest);
		buf_c(out, "      </dkim>\n");
	}
	buf_c(out, "      <spf>\n");
	put_element(out, "        ", "domain", w->a.v[AGG_SPFDOMAIN]);
	put_element(out, "        ", "scope", w->a.v[AGG_SPFSCOPE]);
	put_element(out, "        ", "result", w->a.v[AGG_SPFRESULT]);
	buf_c(out, "      </spf>\n    </auth_results>\n");
}

void aggregate_xml(const struct aggregate_report *r, struct buf *out)
{
	buf_c(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback>\n  <version>1.0</version>\n");
	put_metadata(r, out);
	put_policy(r, out);
	for (size_t i = 0; i < r->n_rows; i++) {
		buf_c(out, "  <record>\n");
		put_evaluated(&r->rows[i], out);
		buf_c(out, "    <identifiers>\n");
		if (r->rows[i].a.v[AGG_ENVELOPE].n > 0)
			put_element(out, "      ", "envelope_from", r->rows[i].a.v[AGG_ENVELOPE]);
		put_element(out, "      ", "header_from", r->rows[i].a.v[AGG_FROM]);
		buf_c(out, "    </identifiers>\n");
		put_results(&r->rows[i], out);
		buf_c(out, "  </record>\n");
	}
	buf_c(out, "</feedback>\n");
}

/* --- where to --- */

/* "10m": bytes. */
static int read_size(struct str s, uint64_t *out)
{
	static const char units[] = "kmgt";
	unsigned shift = 0;
	uint64_t n;
	const char *const u = s.n > 0 ? strchr(units, ch_lower(s.p[s.n - 1])) : NULL;
	if (u != NULL && *u != '\0') {
		shift = 10 * (unsigned)(u - units + 1);
		s.n--;
	}
	if (num_parse(s, 1, UINT64_MAX >> 40, &n) < 0 || n > UINT64_MAX >> shift)
		return -1;
	*out = n << shift;
	return 0;
}

/* local@domain of characters that need no quoting, percent-decoding not done: such an address is passed over. */
static bool is_address(struct str s)
{
	const ptrdiff_t at = str_rchr(s, '@');
	if (at <= 0 || at > 64 || !aggregate_is_name(str_from(s, (size_t)at + 1)))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && strchr("@!#$&'*+-/=?^_`{|}~.", s.p[i]) == NULL)
			return false;
	return str_chr(s, '@') == at && s.p[0] != '.' && s.p[at - 1] != '.';
}

bool aggregate_rua_next(struct str *list, struct arena *a, struct str *address_out, uint64_t *max_out)
{
	while (list->p != NULL) {
		struct str rest = str_trim(str_split(list, ','));
		if (!str_case_starts(rest, STR("mailto:")))
			continue;
		rest = str_from(rest, 7);
		/* "!" may be in a local part: a size limit is what follows the last one and can be read as a size. */
		const ptrdiff_t mark = str_rchr(rest, '!');
		*max_out = 0;
		if (mark > 0 && read_size(str_from(rest, (size_t)mark + 1), max_out) == 0)
			rest = str_sub(rest, 0, (size_t)mark);
		if (!is_address(rest))
			continue;
		*address_out = arena_str(a, rest);
		return true;
	}
	return false;
}

struct str aggregate_permission(struct arena *a, const struct psl *psl, struct str domain, struct str address)
{
	const struct str host = str_from(address, (size_t)(str_rchr(address, '@') + 1));
	if (str_case_eq(psl_organisation(psl, a, host), psl_organisation(psl, a, domain)))
		return STR("");
	return str_c(arena_printf(a, "%.*s._report._dmarc.%.*s", STR_ARG(domain), STR_ARG(host)));
}
