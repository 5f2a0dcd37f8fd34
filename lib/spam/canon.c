/* All the spellings of a URI that a rule may be written for (SpamAssassin's uri_list_canonicalize), and relative references made absolute (RFC 3986 5.2). Pure. */
#include <stdlib.h>

#include "base/num.h"
#include "spam/html.h"

enum { FORMS_MAX = 60, INNER_MAX = 10 };

/* Percent escapes of printable ASCII are resolved; what must be escaped is. */
struct str url_decode_safe(struct arena *a, struct str u)
{
	struct buf b;
	buf_init(&b, u.n * 3 + 8);
	for (size_t i = 0; i < u.n; i++) {
		unsigned char c = (unsigned char)u.p[i];
		int hi = c == '%' && i + 2 < u.n ? ch_xdigit(u.p[i + 1]) : -1, lo = hi < 0 ? -1 : ch_xdigit(u.p[i + 2]);
		int v = lo < 0 ? -1 : hi * 16 + lo;
		if (v > 0x20 && v < 0x7f) {
			buf_ch(&b, (char)v);
			i += 2;
		} else if (v >= 0) {
			buf_mem(&b, u.p + i, 3);
			i += 2;
		} else if (c <= ' ' || c >= 0x7f || c == '"' || c == '%' || c == '<' || c == '>') {
			buf_printf(&b, "%%%02x", c);
		} else {
			buf_ch(&b, (char)c);
		}
	}
	struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s.p == NULL ? STR("") : s;
}

struct forms { const struct set *s; struct arena *a; struct strs *out, todo; };	/* todo: URIs found inside others */

static void add(struct forms *f, struct str v)
{
	if (f->out->n < FORMS_MAX && !strs_has(f->out, v))
		strs_add(f->a, f->out, v);
}

static struct str cat3(struct arena *a, struct str x, struct str y, struct str z)
{
	return str_cat(a, x, str_cat(a, y, z));
}

/* --- mail addresses --- */

static void mail_forms(struct forms *f, struct str u)
{
	ptrdiff_t sign = str_chr(u, '@');
	if (sign <= 0)
		return;
	struct str host = str_from(u, (size_t)sign + 1);
	const char ends[] = { '?', '&' };
	for (size_t i = 0; i < 2; i++) {
		ptrdiff_t at = str_chr(host, ends[i]);
		if (at > 0 && (i == 0 || str_chr(str_sub(host, 0, (size_t)at), '?') < 0))
			add(f, str_sub(u, 0, (size_t)(sign + 1 + at)));
	}
	if (str_find(u, STR("%20")) >= 0) {
		struct str v = str_case_starts(u, STR("mailto:")) ? str_from(u, 7) : u;
		while (str_starts(v, STR("%20")))
			v = str_from(v, 3);
		ptrdiff_t at = str_chr(v, '@');
		size_t n = at < 0 ? 0 : (size_t)at + 1;
		while (n > 0 && n < v.n && strchr("?&%", v.p[n]) == NULL)
			n++;
		if (at > 0 && n > (size_t)at + 1)
			add(f, str_cat(f->a, STR("mailto:"), str_sub(v, 0, n)));
	}
	ptrdiff_t angle = str_chr(u, '<');
	struct str inner = angle < 0 ? STR("") : str_from(u, (size_t)angle + 1);
	ptrdiff_t close = str_chr(inner, '>');
	if (close > 0 && str_chr(str_sub(inner, 0, (size_t)close), '@') > 0)
		add(f, str_cat(f->a, STR("mailto:"), str_sub(inner, 0, (size_t)close)));
}

/* --- numeric entities in the text of a URI --- */

static size_t entity_at(struct str u, char *c)
{
	if (!str_starts(u, STR("&#")))
		return 0;
	size_t i = 2;
	bool hex = i < u.n && (u.p[i] == 'x' || u.p[i] == 'X');
	i += hex;
	unsigned long v = 0;
	size_t start = i;
	for (; i < u.n && i < 12 && (hex ? ch_xdigit(u.p[i]) >= 0 : ch_digit(u.p[i])); i++)
		v = v * (hex ? 16 : 10) + (unsigned long)ch_xdigit(u.p[i]);
	if (i == start || i >= u.n || u.p[i] != ';')
		return 0;
	if (v == 0x2e || v == 12290 || v == 65294 || v == 65377)
		v = '.';
	if (v <= 0x20 || v >= 0x7f)
		return 0;
	*c = (char)v;
	return i + 1;
}

static struct str without_entities(struct arena *a, struct str u)
{
	if (str_find(u, STR("&#")) < 0)
		return u;
	char *p = arena_alloc(a, u.n + 1), c;
	size_t n = 0;
	for (size_t i = 0; i < u.n;) {
		size_t k = entity_at(str_from(u, i), &c);
		p[n++] = k > 0 ? c : u.p[i];
		i += k > 0 ? k : 1;
	}
	return str_n(p, n);
}

/* --- hosts that are numbers --- */

static bool number(struct str v, unsigned long long *out)
{
	bool hex = str_case_starts(v, STR("0x"));
	bool oct = !hex && v.n > 1 && v.p[0] == '0';
	unsigned long long n = 0;
	v = hex ? str_from(v, 2) : v;
	if (v.n == 0 || v.n > 16)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		int d = ch_xdigit(v.p[i]);
		if (d < 0 || (!hex && d > 9))
			return false;
		oct = oct && d < 8;
	}
	for (size_t i = 0; i < v.n; i++)
		n = n * (hex ? 16 : oct ? 8 : 10) + (unsigned long long)ch_xdigit(v.p[i]);
	*out = n;
	return true;
}

/* "0x7f.1.1.1", "2130706433": as dotted numbers. */
static bool numeric_host(struct arena *a, struct str host, struct str *out)
{
	unsigned long long v[4];
	size_t n = 0;
	for (struct str rest = host; rest.p != NULL; n++)
		if (n == 4 || !number(str_split(&rest, '.'), &v[n]))
			return false;
	if (n == 1) {
		unsigned ip = (unsigned)v[0];
		*out = str_c(arena_printf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255));
		return true;
	}
	if (n != 4)
		return false;
	*out = str_c(arena_printf(a, "%llu.%llu.%llu.%llu", v[0], v[1], v[2], v[3]));
	return true;
}

/* --- http and https --- */

struct http { struct str proto, auth, host, port, rest; };

static bool http_parse(struct str u, struct http *h)
{
	size_t n = str_case_starts(u, STR("http://")) ? 7 : str_case_starts(u, STR("https://")) ? 8 : 0;
	if (n == 0)
		return false;
	h->proto = str_sub(u, 0, n);
	struct str v = str_from(u, n);
	size_t i = 0;
	while (i < v.n && strchr("@/?#", v.p[i]) == NULL)
		i++;
	h->auth = i < v.n && v.p[i] == '@' ? str_sub(v, 0, i + 1) : STR("");
	v = str_from(v, h->auth.n);
	for (i = 0; i < v.n && strchr("/?#:", v.p[i]) == NULL; i++)
		;
	h->host = str_sub(v, 0, i);
	h->rest = str_from(v, i);
	h->port = STR("");
	if (h->rest.n > 0 && h->rest.p[0] == ':') {
		size_t k = 1;
		while (k < h->rest.n && ch_digit(h->rest.p[k]))
			k++;
		h->port = str_sub(h->rest, 1, k - 1);
	}
	return h->host.n > 0;
}

static bool is_http(struct str proto) { return proto.n == 7; }

/* Where a redirector sends the reader: by the patterns of redirector_pattern, else any URI inside. */
static void redirects(struct forms *f, const struct http *h, struct str host)
{
	struct str whole = cat3(f->a, h->proto, host, h->rest), g[2];
	struct err e = { 0 };
	for (const struct redirector *r = f->s->redirectors; r != NULL; r = r->next) {
		if (r->p.code != NULL && pcre_match(r->p.code, whole, g, 2, &e) == 1 && str_chr(g[1], '.') >= 0) {
			strs_add(f->a, &f->todo, g[1]);
			return;
		}
	}
	for (size_t i = 0; i + 5 < h->rest.n; i++) {
		struct str v = str_from(h->rest, i);
		if (!str_case_starts(v, STR("http:")) && !str_case_starts(v, STR("https:")))
			continue;
		size_t n = 0;
		while (n < v.n && v.p[n] != '&' && v.p[n] != '#')
			n++;
		if (n > 6 && str_chr(str_sub(v, 0, n), '.') >= 0)
			strs_add(f->a, &f->todo, str_sub(v, 0, n));
		return;
	}
}

static void port_forms(struct forms *f, const struct http *h)
{
	if (str_eq(h->port, is_http(h->proto) ? STR("80") : STR("443")))
		add(f, cat3(f->a, h->proto, h->host, str_from(h->rest, 1 + h->port.n)));
}

static void host_forms(struct forms *f, const struct http *h, struct str host)
{
	struct str plain = host, ip;
	while (plain.n > 0 && !ch_alnum(plain.p[plain.n - 1]))
		plain.n--;
	if (plain.n != host.n)
		add(f, cat3(f->a, h->proto, plain, h->rest));
	if (numeric_host(f->a, plain, &ip)) {
		add(f, cat3(f->a, h->proto, ip, h->rest));
		return;
	}
	struct str low = str_lower_copy(f->a, h->host), name = str_starts(low, STR("www.")) ? str_from(low, 4) : low;
	bool port80 = h->port.n == 0 || str_eq(h->port, STR("80"));
	if (is_http(h->proto) && h->auth.n == 0 && port80 && !str_eq(low, STR("localhost")) && name.n > 0 && str_chr(name, '.') < 0 && !domain_ok(f->s, low))
		add(f, cat3(f->a, h->proto, cat3(f->a, STR("www."), name, STR(".com")), h->rest));
}

static void http_forms(struct forms *f, struct str u)
{
	struct http h;
	if (!http_parse(u, &h))
		return;
	port_forms(f, &h);
	/* Controls and blanks in a host are dropped by browsers. */
	char *p = arena_alloc(f->a, h.host.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < h.host.n; i++)
		if ((unsigned char)h.host.p[i] > ' ')
			p[n++] = h.host.p[i];
	struct str host = str_n(p, n);
	if (n != h.host.n)
		add(f, cat3(f->a, h.proto, host, h.rest));
	redirects(f, &h, host);
	host_forms(f, &h, host);
}

/* One slash after another: "http:/x", "http:\\x". */
static struct str slashes(struct arena *a, struct str u)
{
	char *p = arena_alloc(a, u.n + 1);
	for (size_t i = 0; i < u.n; i++)
		p[i] = u.p[i] == '\\' ? '/' : u.p[i];
	u = str_n(p, u.n);
	size_t n = str_case_starts(u, STR("http:")) ? 5 : str_case_starts(u, STR("https:")) ? 6 : 0;
	if (n == 0)
		return u;
	size_t k = n;
	while (k < n + 2 && k < u.n && u.p[k] == '/')
		k++;
	return cat3(a, str_sub(u, 0, n), STR("//"), str_from(u, k));
}

static bool has_scheme(struct str u)
{
	size_t i = 0;
	while (i < u.n && (ch_alnum(u.p[i]) || u.p[i] == '-' || u.p[i] == '_'))
		i++;
	return i > 0 && i < u.n && u.p[i] == ':';
}

static bool has_escape(struct str u)
{
	for (size_t i = 0; i + 2 < u.n; i++)
		if (u.p[i] == '%' && ch_xdigit(u.p[i + 1]) >= 0 && ch_xdigit(u.p[i + 2]) >= 0)
			return true;
	return false;
}

/* A slash before a query that follows the host at once. */
static struct str query_slash(struct arena *a, struct str u)
{
	size_t n = str_case_starts(u, STR("http://")) ? 7 : str_case_starts(u, STR("https://")) ? 8 : 0, i = n;
	while (n > 0 && i < u.n && strchr("/?#", u.p[i]) == NULL)
		i++;
	if (n == 0 || i == n || i >= u.n || u.p[i] == '/')
		return u;
	return cat3(a, str_sub(u, 0, i), STR("/"), str_from(u, i));
}

static struct str one_line(struct arena *a, struct str u)
{
	char *p = arena_alloc(a, u.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < u.n; i++)
		if (u.p[i] != '\n' && u.p[i] != '\r')
			p[n++] = u.p[i];
	return sp_trim(str_n(p, n));
}

static void forms_of(struct forms *f, struct str u)
{
	if (u.n <= 1 || strchr("#?&", u.p[0]) != NULL || (u.p[0] == '/' && u.p[1] != '/'))
		return;
	ptrdiff_t sign = str_chr(u, '@'), colon = str_chr(u, ':');
	if (str_case_starts(u, STR("mailto:")) || (sign >= 0 && (colon < 0 || sign < colon))) {
		mail_forms(f, u);
		return;
	}
	struct str v = slashes(f->a, u);
	if (has_escape(v))
		v = url_decode_safe(f->a, v);
	if (!has_scheme(v))
		v = str_cat(f->a, str_starts(v, STR("ftp.")) ? STR("ftp://") : STR("http://"), v);
	v = without_entities(f->a, query_slash(f->a, v));
	add(f, v);
	http_forms(f, v);
}

void uri_canonicalize(const struct set *s, struct arena *a, struct str uri, struct strs *out)
{
	struct forms f = { s, a, out, { 0 } };
	strs_add(a, &f.todo, uri);
	for (size_t i = 0; i < f.todo.n && i < INNER_MAX; i++) {
		struct str u = one_line(a, f.todo.v[i]);
		add(&f, u);
		forms_of(&f, u);
	}
}

/* --- relative references --- */

struct ref { struct str scheme, authority, path, query, fragment; };	/* p NULL: absent */

static struct ref ref_parse(struct str u)
{
	struct ref r = { 0 };
	size_t i = 0;
	while (i < u.n && strchr(":/?#", u.p[i]) == NULL)
		i++;
	if (i > 0 && i < u.n && u.p[i] == ':') {
		r.scheme = str_sub(u, 0, i);
		u = str_from(u, i + 1);
	}
	if (str_starts(u, STR("//"))) {
		u = str_from(u, 2);
		for (i = 0; i < u.n && strchr("/?#", u.p[i]) == NULL; i++)
			;
		r.authority = str_sub(u, 0, i);
		u = str_from(u, i);
	}
	ptrdiff_t hash = str_chr(u, '#');
	if (hash >= 0) {
		r.fragment = str_from(u, (size_t)hash + 1);
		u = str_sub(u, 0, (size_t)hash);
	}
	ptrdiff_t q = str_chr(u, '?');
	if (q >= 0)
		r.query = str_from(u, (size_t)q + 1);
	r.path = q < 0 ? u : str_sub(u, 0, (size_t)q);
	return r;
}

/* "." and ".." go. */
static struct str path_clean(struct arena *a, struct str p)
{
	char *out = arena_alloc(a, p.n + 1);
	size_t n = 0;
	if (str_starts(p, STR("./")))
		p = str_from(p, 1);
	else if (str_starts(p, STR("../")))
		p = str_from(p, 2);
	while (p.n > 0) {
		if (str_starts(p, STR("/./")) || str_eq(p, STR("/."))) {
			p = p.n == 2 ? STR("/") : str_from(p, 2);
			continue;
		}
		if (str_starts(p, STR("/../")) || str_eq(p, STR("/.."))) {
			p = p.n == 3 ? STR("/") : str_from(p, 3);
			while (n > 0 && out[n - 1] != '/')
				n--;
			n -= n > 0;
			continue;
		}
		do {
			out[n++] = p.p[0];
			p = str_from(p, 1);
		} while (p.n > 0 && p.p[0] != '/');
	}
	return str_n(out, n);
}

static struct str merge(struct arena *a, const struct ref *base, struct str path)
{
	if (base->authority.p != NULL && base->path.n == 0)
		return str_cat(a, STR("/"), path);
	ptrdiff_t slash = str_rchr(base->path, '/');
	return str_cat(a, slash < 0 ? STR("") : str_sub(base->path, 0, (size_t)slash + 1), path);
}

static struct ref resolve(struct arena *a, const struct ref *base, struct ref r)
{
	struct ref t = r;
	if (r.scheme.p != NULL && base->scheme.p != NULL && str_eq(r.scheme, base->scheme))
		r.scheme.p = NULL;
	t.path = path_clean(a, r.path);
	if (r.scheme.p != NULL)
		return t;
	t.scheme = base->scheme;
	if (r.authority.p != NULL)
		return t;
	t.authority = base->authority;
	if (r.path.n == 0) {
		t.path = base->path;
		t.query = r.query.p != NULL ? r.query : base->query;
	} else if (r.path.p[0] != '/') {
		t.path = path_clean(a, merge(a, base, r.path));
	}
	return t;
}

static bool host_begins(struct str host, const char *name)
{
	size_t n = strlen(name);
	if (!str_case_starts(host, str_c(name)))
		return false;
	while (n < host.n && ch_digit(host.p[n]))
		n++;
	return n < host.n && host.p[n] == '.';
}

struct str target_uri(struct arena *a, struct str base_text, struct str uri)
{
	struct ref base = ref_parse(base_text), t = resolve(a, &base, ref_parse(uri));
	struct buf b;
	buf_init(&b, base_text.n + uri.n + 64);
	if (t.scheme.n > 0) {
		buf_str(&b, t.scheme);
		buf_ch(&b, ':');
	} else if (t.authority.p != NULL && host_begins(t.authority, "www")) {
		buf_c(&b, "http:");
	} else if (t.authority.p != NULL && host_begins(t.authority, "ftp")) {
		buf_c(&b, "ftp:");
	}
	const struct { const char *mark; struct str v; } tail[] = { { "//", t.authority }, { "", t.path }, { "?", t.query }, { "#", t.fragment } };
	for (size_t i = 0; i < ARRAY_LEN(tail); i++) {
		if (tail[i].v.p == NULL)
			continue;
		buf_c(&b, tail[i].mark);
		buf_str(&b, tail[i].v);
	}
	struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s.p == NULL ? STR("") : s;
}
