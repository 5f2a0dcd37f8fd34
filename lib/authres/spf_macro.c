/* Macros of SPF (RFC 7208 section 7): letters to values, transformers, URL escaping. Syntax was checked by spf_parse.c. */
#include "authres/spf_priv.h"

#include <arpa/inet.h>

#include "base/buf.h"

enum { LABELS_MAX = 300, EXPANDED_MAX = 8192 };

/* "1.2.3.4", or 32 nibbles with dots (7.3, %{i}); readable: as people write it (%{c}). */
static struct str addr_text(struct arena *a, const uint8_t addr[16], bool readable)
{
	char text[INET6_ADDRSTRLEN + 1];
	if (spf_is_v4(addr)) {
		inet_ntop(AF_INET, addr + 12, text, sizeof(text));
		return str_c(arena_strdup(a, text));
	}
	if (readable) {
		inet_ntop(AF_INET6, addr, text, sizeof(text));
		return str_c(arena_strdup(a, text));
	}
	char *out = arena_alloc(a, 64);
	for (size_t i = 0; i < 32; i++) {
		out[2 * i] = "0123456789ABCDEF"[(addr[i / 2] >> (i % 2 ? 0 : 4)) & 15];
		out[2 * i + 1] = i < 31 ? '.' : '\0';
	}
	return str_n(out, 63);
}

static bool under(struct str name, struct str domain)
{
	return str_case_eq(name, domain) ||
	       (name.n > domain.n && str_case_ends(name, domain) && name.p[name.n - domain.n - 1] == '.');
}

/* %{p}: the domain itself, else a name below it, else any, else "unknown" (7.3). */
static struct str validated(struct spf_run *r, struct str domain)
{
	struct str v[SPF_NAMES_MAX], best = STR("unknown");
	size_t n;
	if (r->validated.p != NULL)
		return r->validated;
	spf_validated_names(r, v, &n);
	unsigned rank = 0;
	for (size_t i = 0; i < n; i++) {
		const unsigned k = str_case_eq(v[i], domain) ? 3 : under(v[i], domain) ? 2 : 1;
		if (k > rank) {
			rank = k;
			best = v[i];
		}
	}
	return r->validated = best;
}

static struct str letter(struct spf_run *r, char c, struct str domain)
{
	struct arena *a = r->a;
	switch (ch_lower(c)) {
	case 's':
		return str_c(arena_printf(a, "%.*s@%.*s", STR_ARG(r->local), STR_ARG(r->sender_domain)));
	case 'l':
		return r->local;
	case 'o':
		return r->sender_domain;
	case 'd':
		return domain;
	case 'i':
		return addr_text(a, r->q->addr, false);
	case 'c':
		return addr_text(a, r->q->addr, true);
	case 'p':
		return validated(r, domain);
	case 'h':
		return r->q->helo;
	case 'r':
		return r->q->receiver.n > 0 ? r->q->receiver : STR("unknown");
	case 't':
		return str_c(arena_printf(a, "%lld", (long long)r->q->now));
	default:
		return spf_is_v4(r->q->addr) ? STR("in-addr") : STR("ip6");
	}
}

static void put_escaped(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.p[i];
		if (ch_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
			buf_ch(out, c);
		else
			buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

/* Split at the delimiters, reverse, keep the right-hand parts, join with dots. */
static struct str transform(struct arena *a, struct str value, struct str delims, size_t keep, bool reverse)
{
	struct str part[LABELS_MAX];
	size_t n = 0, from = 0;
	struct buf b;
	for (size_t i = 0; i <= value.n && n < LABELS_MAX; i++) {
		if (i < value.n && (value.p[i] == '\0' || str_chr(delims, value.p[i]) < 0))
			continue;
		part[n++] = str_sub(value, from, i - from);
		from = i + 1;
	}
	const size_t skip = keep > 0 && keep < n ? n - keep : 0;
	buf_init(&b, EXPANDED_MAX);
	for (size_t i = skip; i < n; i++) {
		if (i > skip)
			buf_ch(&b, '.');
		buf_str(&b, part[reverse ? n - 1 - i : i]);
	}
	const struct str out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

/* body: between "%{" and "}". */
static void put_macro(struct spf_run *r, struct buf *out, struct str body, struct str domain)
{
	struct str value = letter(r, body.p[0], domain), s = str_from(body, 1);
	size_t keep = 0;
	bool reverse = false;
	const bool transformed = s.n > 0;
	for (; s.n > 0 && ch_digit(s.p[0]); s = str_from(s, 1))
		keep = keep * 10 + (size_t)(s.p[0] - '0');	/* at most 128: checked */
	if (s.n > 0 && ch_lower(s.p[0]) == 'r') {
		reverse = true;
		s = str_from(s, 1);
	}
	if (transformed)
		value = transform(r->a, value, s.n > 0 ? s : STR("."), keep, reverse);
	if (ch_upper(body.p[0]))
		put_escaped(out, value);
	else
		buf_str(out, value);
}

struct str spf_expand(struct spf_run *r, struct str s, struct str domain)
{
	struct buf b;
	buf_init(&b, EXPANDED_MAX);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%' || i + 1 >= s.n) {
			buf_ch(&b, s.p[i]);
			continue;
		}
		const char c = s.p[++i];
		if (c == '{') {
			const size_t n = (size_t)str_chr(str_from(s, i), '}');
			put_macro(r, &b, str_sub(s, i + 1, n - 1), domain);
			i += n;
		} else {
			buf_c(&b, c == '%' ? "%" : c == '_' ? " " : "%20");
		}
	}
	const struct str out = buf_failed(&b) ? STR("") : arena_str(r->a, buf_view(&b));
	buf_fini(&b);
	return out;
}

struct str spf_expand_name(struct spf_run *r, struct str spec, struct str domain)
{
	if (spec.n == 0)
		return domain;
	struct str s = spf_expand(r, spec, domain);
	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	while (s.n > DNS_NAME_MAX) {
		const ptrdiff_t dot = str_chr(s, '.');
		if (dot < 0)
			return s;
		s = str_from(s, (size_t)dot + 1);
	}
	return s;
}
