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

void authres_format(struct buf *out, const char *hostname, struct str sender, const struct spf_result *spf, const struct dkim_result *dkim, size_t n_dkim,
		    const struct dmarc_result *dmarc)
{
	buf_c(out, hostname);
	if (spf != NULL) {
		buf_printf(out, ";\n\tspf=%s", auth_result_name(spf->result));
		put_property(out, spf->helo ? "smtp.helo" : "smtp.mailfrom", spf->helo ? spf->domain : sender);
	}
	if (n_dkim == 0)
		buf_c(out, ";\n\tdkim=none");
	for (size_t i = 0; i < n_dkim; i++) {
		buf_printf(out, ";\n\tdkim=%s", auth_result_name(dkim[i].result));
		if (dkim[i].result != AUTH_PASS)
			put_reason(out, dkim[i].why);
		put_property(out, "header.d", dkim[i].domain);
		put_property(out, "header.s", dkim[i].selector);
		put_property(out, "header.a", dkim[i].algorithm);
		put_property(out, "header.b", dkim[i].b);
	}
	if (dmarc != NULL) {
		buf_printf(out, ";\n\tdmarc=%s", auth_result_name(dmarc->result));
		if (dmarc->result == AUTH_PASS || dmarc->result == AUTH_FAIL)
			buf_printf(out, " (p=%s)", dmarc_policy_name(dmarc->published));
		put_property(out, "header.from", dmarc->domain);
	}
}
