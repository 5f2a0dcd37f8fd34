/* Host names: their form, their top-level domain, the domain that somebody registered (util_rb_tld and its like in the rule files). */
#include "spam/msg.h"

bool fqdn_ok(struct str host)
{
	while (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	if (host.n == 0 || host.n > 253)
		return false;
	unsigned labels = 1, left;
	for (size_t i = 0; i < host.n; i++)
		labels += host.p[i] == '.';
	left = labels;
	for (struct str rest = host; rest.p != NULL; left--) {
		struct str l = str_split(&rest, '.');
		if (l.n == 0 || l.n > 63 || l.p[0] == '-' || l.p[l.n - 1] == '-')
			return false;
		for (size_t i = 0; i < l.n; i++)
			if (!ch_alnum(l.p[i]) && l.p[i] != '-' && (l.p[i] != '_' || left <= 2))
				return false;
	}
	return labels > 1;
}

bool domain_ok(const struct set *s, struct str host)
{
	char low[64];
	ptrdiff_t dot = str_rchr(host, '.');
	struct str tld = dot < 0 ? STR("") : str_from(host, (size_t)dot + 1);
	if (tld.n == 0 || tld.n >= sizeof(low))
		return false;
	for (size_t i = 0; i < host.n; i++)
		if (sp_char(host.p[i]))
			return false;
	for (size_t i = 0; i < tld.n; i++)
		low[i] = ch_lower(tld.p[i]);
	return map_get(s->tlds, str_n(low, tld.n)) != NULL;
}

static const char us_states[] = " ak al ar az ca co ct dc de fl ga gu hi ia id il in ks ky la ma md me mi mn mo ms mt nc nd ne nh nj nm nv ny oh ok or pa pr "
	"ri sc sd tn tx ut va vi vt wa wi wv wy ";

static bool us_state(struct str l)
{
	char key[5] = { ' ', 0, 0, ' ', 0 };
	if (l.n != 2)
		return false;
	key[1] = l.p[0];
	key[2] = l.p[1];
	return strstr(us_states, key) != NULL;
}

/* Is this suffix one below which others register? parts: its labels. */
static bool is_suffix(const struct set *s, struct str suffix, const struct str *l, size_t n)
{
	if (n == 2)
		return map_get(s->tlds2, suffix) != NULL;
	bool us = str_eq(l[n - 1], STR("us"));
	if (n == 3)
		return us ? us_state(l[1]) : map_get(s->tlds3, suffix) != NULL;
	bool school = str_eq(l[0], STR("pvt")) && str_eq(l[1], STR("k12"));
	bool city = l[0].n == 2 && l[0].p[0] == 'c' && (l[0].p[1] == 'i' || l[0].p[1] == 'o');
	return n == 4 && us && (school || city) && us_state(l[2]);
}

struct str domain_trim(const struct set *s, struct arena *a, struct str host)
{
	/* Without doubled, leading and trailing dots. */
	char *p = arena_alloc(a, host.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < host.n; i++)
		if (host.p[i] != '.' || (n > 0 && p[n - 1] != '.'))
			p[n++] = ch_lower(host.p[i]);
	while (n > 0 && p[n - 1] == '.')
		n--;
	struct str name = str_n(p, n), before = name;
	enum { LABELS_MAX = 130 };
	struct str l[LABELS_MAX];
	size_t labels = 0, at = 0;
	for (struct str rest = name; rest.p != NULL && labels < LABELS_MAX; labels++)
		l[labels] = str_split(&rest, '.');
	while (labels - at > 1) {
		struct str suffix = str_from(name, (size_t)(l[at].p - name.p));
		if (labels - at <= 4 && is_suffix(s, suffix, l + at, labels - at))
			break;
		before = suffix;
		at++;
	}
	return at == 0 ? name : before;
}

/* "%2e" and its like in a host. */
static bool has_escape(struct str host)
{
	for (size_t i = 0; i + 2 < host.n; i++) {
		int hi = host.p[i] == '%' ? ch_xdigit(host.p[i + 1]) : -1, lo = hi < 0 ? -1 : ch_xdigit(host.p[i + 2]);
		int c = lo < 0 ? 0 : hi * 16 + lo;
		if (c >= 0x21 && c <= 0x7e)
			return true;
	}
	return false;
}

/* Between the scheme and what follows the host. */
static struct str authority(struct str u)
{
	size_t i = 0;
	while (i < u.n && ch_lower_p(u.p[i]))
		i++;
	if (i > 0 && i < u.n && u.p[i] == ':') {
		u = str_from(u, i + 1);
		for (unsigned k = 0; k < 2 && u.n > 0 && u.p[0] == '/'; k++)
			u = str_from(u, 1);
	}
	size_t n = 0;
	while (n < u.n && strchr("/?#", u.p[n]) == NULL)
		n++;
	u = str_sub(u, 0, n);
	ptrdiff_t sign = str_rchr(u, '@');
	u = sign < 0 ? u : str_from(u, (size_t)sign + 1);
	ptrdiff_t colon = str_rchr(u, ':');
	for (size_t k = colon < 0 ? u.n : (size_t)colon + 1; k < u.n; k++)
		if (!ch_digit(u.p[k]))
			return u;
	return colon < 0 ? u : str_sub(u, 0, (size_t)colon);
}

bool uri_to_domain(const struct set *s, struct arena *a, struct str uri, struct str *domain, struct str *host)
{
	struct str u = str_lower_copy(a, uri);
	if (str_starts(u, STR("javascript:")) || str_starts(u, STR("cid:")) || str_starts(u, STR("file:")))
		return false;
	if (str_starts(u, STR("mailto:"))) {
		u = str_from(u, 7);
		ptrdiff_t q = str_chr(u, '?');
		u = q < 0 ? u : str_sub(u, 0, (size_t)q);
		ptrdiff_t sign = str_rchr(u, '@');
		if (sign < 0 || str_chr(u, '@') != sign)
			return false;
		u = str_from(u, (size_t)sign + 1);
	} else {
		u = authority(u);
	}
	if (has_escape(u))
		return false;
	*host = u;
	*domain = u;
	if (ip_is(u))
		return true;
	if (!fqdn_ok(u) || !domain_ok(s, u))
		return false;
	*domain = domain_trim(s, a, u);
	return true;
}
