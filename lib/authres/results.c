/* See results.h. */
#include "authres/results.h"

enum { VALUE_MAX = 255 };

static bool token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && (s.p[i] == '\0' || strchr("!#$%&'*+-.^_`{|}~", s.p[i]) == NULL))
			return false;
	return s.n > 0;
}

/* RFC 8601 2.2: value, or [local-part] "@" domain, or quoted. */
static void put_value(struct buf *b, struct str s)
{
	const ptrdiff_t at = str_rchr(s, '@');
	s = str_sub(s, 0, VALUE_MAX);
	const bool address = at >= 0 && (at == 0 || token(str_sub(s, 0, (size_t)at))) && token(str_from(s, (size_t)at + 1));
	if (token(s) || address) {
		buf_str(b, s);
		return;
	}
	buf_ch(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.p[i];
		if (c == '"' || c == '\\')
			buf_ch(b, '\\');
		buf_ch(b, ch_ctl(c) || (unsigned char)c > 0x7e ? '?' : c);
	}
	buf_ch(b, '"');
}

static void put_property(struct buf *b, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	buf_printf(b, " %s=", name);
	put_value(b, value);
}

static void put_reason(struct buf *b, const char *why)
{
	if (why != NULL && why[0] != '\0')
		put_property(b, "reason", str_c(why));
}

static void put_dkim(struct buf *out, const struct dkim_result *d)
{
	buf_printf(out, ";\n\tdkim=%s", auth_result_name(d->result));
	if (d->result != AUTH_PASS)
		put_reason(out, d->why);
	put_property(out, "header.d", d->domain);
	put_property(out, "header.s", d->selector);
	put_property(out, "header.a", d->algorithm);
	put_property(out, "header.b", d->b);
}

/* RFC 8617 10.2 */
static void put_arc(struct buf *out, const struct arc_result *a)
{
	if (a == NULL || a->result == AUTH_NONE)
		return;
	buf_printf(out, ";\n\tarc=%s (i=%u)", auth_result_name(a->result), a->n);
	if (a->result != AUTH_PASS)
		put_reason(out, a->why);
	else
		put_property(out, "header.d", a->sets[a->n - 1].domain);
}

void authres_format(struct buf *out, const struct authres *r)
{
	buf_c(out, r->hostname);
	if (r->spf != NULL) {
		buf_printf(out, ";\n\tspf=%s", auth_result_name(r->spf->result));
		put_property(out, r->spf->helo ? "smtp.helo" : "smtp.mailfrom", r->spf->helo ? r->spf->domain : r->sender);
	}
	if (r->n_dkim == 0)
		buf_c(out, ";\n\tdkim=none");
	for (size_t i = 0; i < r->n_dkim; i++)
		put_dkim(out, &r->dkim[i]);
	put_arc(out, r->arc);
	if (r->dmarc != NULL) {
		buf_printf(out, ";\n\tdmarc=%s", auth_result_name(r->dmarc->result));
		if (r->dmarc->result == AUTH_PASS || r->dmarc->result == AUTH_FAIL)
			buf_printf(out, " (p=%s%s)", dmarc_policy_name(r->dmarc->published), r->dmarc->vouched ? ", a trusted forwarder vouches" : "");
		put_property(out, "header.from", r->dmarc->domain);
	}
}
