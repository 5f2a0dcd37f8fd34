/* URIs of a message (SpamAssassin's get_uri_detail_list): found in the rendered text as mail programs would link them, taken from HTML, from signatures'
 * domains; each in all its spellings (canon.c). */
#include "spam/html.h"
#include "spam/spans.h"

/* --- the list --- */

static struct uri *known(struct msg *m, struct str raw)
{
	for (size_t i = 0; i < m->n_uris; i++)
		if (str_eq(m->uris[i].raw, raw))
			return &m->uris[i];
	return NULL;
}

static struct uri *entry_new(struct msg *m, struct str raw)
{
	if (m->n_uris >= MSG_URIS_MAX)
		return NULL;
	if (m->n_uris == m->cap_uris) {
		m->cap_uris = m->cap_uris == 0 ? 32 : m->cap_uris * 2;
		struct uri *grown = ARENA_ARRAY(m->a, struct uri, m->cap_uris);
		if (m->n_uris > 0)
			memcpy(grown, m->uris, m->n_uris * sizeof(*grown));
		m->uris = grown;
	}
	m->uris[m->n_uris] = (struct uri){ .raw = raw };
	return &m->uris[m->n_uris++];
}

static void add_once(struct msg *m, struct strs *s, struct str v)
{
	if (!strs_has(s, v))
		strs_add(m->a, s, v);
}

static struct uri *add_types(struct msg *m, struct uri *u, const struct strs *types)
{
	for (size_t i = 0; i < types->n; i++)
		add_once(m, &u->types, types->v[i]);
	return u;
}

/* needs_domain: forget it when no form has a real one. */
static struct uri *add_uri(struct msg *m, struct str raw, struct strs *types, bool needs_domain, bool as_is)
{
	struct strs forms = { 0 }, hosts = { 0 }, domains = { 0 };
	struct uri *u = known(m, raw);
	if (u != NULL && u->cleaned.n > 0 && !as_is)	/* a link and its text, mostly: they have the same forms */
		return needs_domain && u->domains.n == 0 ? NULL : add_types(m, u, types);
	if (as_is)
		strs_add(m->a, &forms, raw);
	else
		uri_canonicalize(m->s, m->a, raw, &forms);
	for (size_t i = 0; i < forms.n; i++) {
		struct str domain, host;
		if (forms.v[i].n > MSG_URI_MAX) {
			m->flags |= MSG_URI_CUT;
			forms.v[i].n = MSG_URI_MAX;
		}
		if (uri_to_domain(m->s, m->a, forms.v[i], &domain, &host)) {
			add_once(m, &domains, domain);
			add_once(m, &hosts, host);
		}
	}
	if (forms.n == 0 || (needs_domain && domains.n == 0))
		return NULL;
	u = u == NULL ? entry_new(m, raw) : u;
	for (size_t i = 0; u != NULL && i < forms.n && !as_is; i++)
		add_once(m, &u->cleaned, forms.v[i]);
	for (size_t i = 0; u != NULL && i < domains.n; i++)
		add_once(m, &u->domains, domains.v[i]);
	for (size_t i = 0; u != NULL && i < hosts.n; i++)
		add_once(m, &u->hosts, hosts.v[i]);
	return u == NULL ? NULL : add_types(m, u, types);
}

/* --- in text --- */

static bool in_set(const char *set, char c)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static bool blank(char c)
{
	return sp_char(c) || c == 27 || (unsigned char)c == 0xa0;
}

static bool start_delimiter(char c) { return in_set("><\"'`,{[(|", c) || blank(c); }

/* Asked of every byte. */
static const bool ends[256] = {
	['>'] = true, ['<'] = true, ['"'] = true, ['`'] = true, ['}'] = true, [']'] = true, ['{'] = true, ['['] = true, ['|'] = true, [' '] = true, ['\t'] = true,
	['\n'] = true, ['\v'] = true, ['\f'] = true, ['\r'] = true, [27] = true, [0xa0] = true,
};

static bool end_delimiter(char c) { return ends[(unsigned char)c]; }

static bool mail_end(char c) { return end_delimiter(c) || c == ',' || c == '(' || c == '\'' || (unsigned char)c >= 0x80; }
static bool bare_start(char c) { return in_set("!\"#$&'()*+,/:;<=>?@[\\]^`{|}~", c) || blank(c); }
static bool word_char(char c) { return ch_alnum(c) || c == '_'; }

static bool may_start(struct str s, size_t i)
{
	if (i == 0)
		return s.n > 0 && word_char(s.p[0]);
	if (word_char(s.p[i - 1]) != (i < s.n && word_char(s.p[i])))
		return true;
	return start_delimiter(s.p[i - 1]) || (i >= 3 && s.p[i - 2] == '(' && s.p[i - 3] == 27);
}

static size_t run(struct str s, size_t i, bool (*stop)(char c))
{
	size_t n = i;
	while (n < s.n && !stop(s.p[n]))
		n++;
	return n;
}

/* "http://…", "www.…": the end, or 0. */
static size_t known_scheme(struct str s, size_t i)
{
	static const char *const starts[] = { "http://", "https://", "ftp://", "ftp." };
	struct str t = str_from(s, i);
	size_t n = 0;
	if (t.n == 0 || !in_set("hfwHFW", t.p[0]))
		return 0;
	for (size_t k = 0; k < ARRAY_LEN(starts) && n == 0; k++)
		n = str_case_starts(t, str_c(starts[k])) ? strlen(starts[k]) : 0;
	if (n == 0 && str_case_starts(t, STR("www"))) {
		n = 3;
		while (n < 5 && n < t.n && ch_digit(t.p[n]))
			n++;
		n = n < t.n && t.p[n] == '.' ? n + 1 : 0;
	}
	if (n == 0)
		return 0;
	size_t end = run(s, i + n, end_delimiter);
	return end > i + n && end - i - n <= 2048 ? end : 0;
}

static size_t mail_address(struct str s, size_t i)
{
	if (str_case_starts(str_from(s, i), STR("mailto:"))) {
		size_t end = run(s, i + 7, mail_end);
		if (end > i + 7 && end - i - 7 <= 2048)
			return end;
	}
	size_t sign = i;
	while (sign < s.n && s.p[sign] != '@' && !mail_end(s.p[sign]) && sign - i <= 251)
		sign++;
	if (sign == i || sign >= s.n || s.p[sign] != '@')
		return 0;
	size_t end = run(s, sign + 1, mail_end);
	return end > sign + 1 && end - sign - 1 <= 251 ? end : 0;
}

/* "example.com/x" without a scheme. */
static size_t bare_host(const struct set *set, struct str s, size_t i, struct str *host)
{
	if (!ch_alnum(s.p[i]) || (i > 0 && !bare_start(s.p[i - 1])))
		return 0;
	size_t h = i;
	while (h < s.n && (ch_alnum(s.p[h]) || in_set("._-", s.p[h])))
		h++;
	size_t end = h;
	if (h > i && s.p[h - 1] == '.')
		h--;
	*host = str_sub(s, i, h - i);
	if (host->n > 260 || !domain_ok(set, *host))
		return 0;
	if (end < s.n && s.p[end] == ':') {
		size_t k = end + 1;
		while (k < s.n && k - end <= 5 && ch_digit(s.p[k]))
			k++;
		end = k > end + 1 ? k : end;
	}
	if (end < s.n && s.p[end] == '/') {
		size_t k = run(s, end + 1, end_delimiter);
		if (k == end + 1 || k - end > 2048)
			return 0;
		end = k;
	}
	return end == s.n || end_delimiter(s.p[end]) ? end : 0;
}

/* A ')' without a '(' before it ends it; punctuation at the end is not part of it. */
static struct str trim_found(struct str u)
{
	ptrdiff_t close = str_chr(u, ')'), open = str_chr(u, '(');
	if (close >= 0 && (open < 0 || open > close))
		u.n = (size_t)close;
	while (u.n > 0 && in_set("-~!@#^&*()_+=:;'?,.", u.p[u.n - 1]))
		u.n--;
	return u;
}

static bool mailto_ok(struct msg *m, struct str *uri)
{
	if (str_chr(*uri, '%') >= 0)
		*uri = url_decode_safe(m->a, *uri);
	ptrdiff_t sign = str_chr(*uri, '@');
	if (sign < 0)
		return false;
	struct str host = str_from(*uri, (size_t)sign + 1);
	size_t n = 0;
	while (n < host.n && !in_set("?&>", host.p[n]))
		n++;
	host = str_sub(host, 0, n);
	while (str_ends(host, STR("%20")))
		host.n -= 3;
	return domain_ok(m->s, host);
}

static struct str without_label(struct str u)
{
	static const char *const labels[] = { "skype:", "email:", "e-mail:", "mail:", "emai:", ":" };
	for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
		if (!str_case_starts(u, str_c(labels[i])))
			continue;
		u = str_from(u, strlen(labels[i]));
		while (u.n > 0 && u.p[0] == ':')
			u = str_from(u, 1);
		return u;
	}
	return u;
}

static bool has_scheme(struct str u)
{
	return str_case_starts(u, STR("http:")) || str_case_starts(u, STR("https:")) || str_case_starts(u, STR("ftp:")) || str_case_starts(u, STR("mailto:"));
}

/* A scheme for what has none; false: it is nothing after all. */
static bool complete(struct msg *m, struct str raw, struct str *uri, struct strs *types)
{
	ptrdiff_t sign = str_rchr(raw, '@'), slash = str_chr(raw, '/');
	*uri = raw;
	if (!has_scheme(raw)) {
		if (str_case_starts(raw, STR("ftp."))) {
			*uri = str_cat(m->a, STR("ftp://"), raw);
		} else if ((str_case_starts(raw, STR("www")) && known_scheme(raw, 0) > 0) || (slash >= 0 && sign > slash + 1)) {
			*uri = str_cat(m->a, STR("http://"), raw);
		} else if (sign >= 0) {
			struct str host = str_from(raw, (size_t)str_chr(raw, '@') + 1);
			if (str_chr(str_from(host, 1), '.') < 0 || str_find(raw, STR("&nbsp;")) >= 0)
				return false;
			*uri = str_cat(m->a, STR("mailto:"), without_label(raw));
		} else {
			if (str_chr(raw, '.') < 0)
				return false;
			*uri = str_cat(m->a, STR("http://"), raw);
			strs_add(m->a, types, STR("unlinked"));
		}
		strs_add(m->a, types, STR("schemeless"));
	}
	return !str_case_starts(*uri, STR("mailto:")) || mailto_ok(m, uri);
}

static bool only_scheme(struct str u)
{
	size_t i = 0;
	while (i < u.n && word_char(u.p[i]))
		i++;
	return i > 0 && i < u.n && u.p[i] == ':' && (i + 1 == u.n || (i + 3 >= u.n && u.p[u.n - 1] == '/'));
}

static void found(struct msg *m, struct str raw, bool mail, struct str host, struct map *seen)
{
	struct strs types = { 0 };
	struct str uri;
	raw = trim_found(raw);
	if (map_set(seen, raw, (void *)1) != NULL || (mail && str_chr(raw, '@') < 0) || (host.p != NULL && !fqdn_ok(host)))
		return;
	if (str_case_starts(raw, STR("cid:")) || str_case_starts(raw, STR("mid:")) || only_scheme(raw))
		return;
	strs_add(m->a, &types, STR("parsed"));
	if (complete(m, raw, &uri, &types)) {
		struct uri *u = add_uri(m, uri, &types, true, false);
		if (u != NULL)
			u->parsed = true;
	}
}

static void line_uris(struct msg *m, struct str line, struct map *seen)
{
	for (size_t i = 0; i < line.n;) {
		/* Words without a dot, an '@' or a colon hold nothing. */
		const size_t sign = i + span_until(str_from(line, i), '.', '@', ':'), word = run(line, sign, end_delimiter), from = i;
		if (sign == line.n)
			return;
		for (i = sign; i > from && !end_delimiter(line.p[i - 1]);)
			i--;
		const struct str all = str_sub(line, i, word - i);
		const bool mails = str_chr(all, '@') >= 0 || str_chr(all, ':') >= 0;	/* an address, or "mailto:", may be in it */
		for (size_t end; i < word; i = end > i ? end : i + 1) {
			struct str host = { 0 };
			bool mail = false;
			end = 0;
			if (!may_start(line, i))
				continue;
			if ((end = known_scheme(line, i)) == 0 && mails && (end = mail_address(line, i)) > 0)
				mail = true;
			if (end == 0)
				end = bare_host(m->s, line, i, &host);
			if (end > 0)
				found(m, str_sub(line, i, end - i), mail, host, seen);
		}
		i = i > word ? i : word + 1;
	}
}

static void html_uris(struct msg *m)
{
	for (size_t i = 0; i < m->n_htmls; i++) {
		const struct html *h = m->htmls[i];
		m->flags |= h->uri_cut ? MSG_URI_CUT : 0;
		for (size_t k = 0; k < h->n_uris; k++) {
			struct strs types = h->uris[k].types;
			if (types.n == 0)
				strs_add(m->a, &types, STR("parsed"));
			struct uri *u = add_uri(m, h->uris[k].uri, &types, false, false);
			if (u == NULL)
				continue;
			u->html = true;
			for (size_t t = 0; t < h->uris[k].texts.n; t++)
				add_once(m, &u->texts, h->uris[k].texts.v[t]);
		}
	}
}

/* "d=example.com" of a signature. */
static void signature_uris(struct msg *m, const char *key)
{
	struct strs types = { 0 };
	strs_add(m->a, &types, STR("domainkeys"));
	for (size_t i = 0; i < m->fields.n; i++) {
		if (!str_eq(m->fields.v[i].key, str_c(key)))
			continue;
		for (struct str rest = field_value(m->a, &m->fields.v[i]); rest.p != NULL;) {
			struct str v = str_split(&rest, ';'), name = sp_trim(str_split(&v, '='));
			if (str_eq(name, STR("d")) && v.p != NULL)
				add_uri(m, str_c(arena_printf(m->a, "domainkeys:%.*s", STR_ARG(sp_trim(v)))), &types, true, true);
		}
	}
}

void msg_uris(struct msg *m)
{
	if (m->uris_made)
		return;
	m->uris_made = true;
	struct map *seen = map_new();
	const struct strs *lines = msg_body_lines(m);
	for (size_t i = 0; i < lines->n; i++)
		if (area_times(&m->body_lines, i) > 0)
			line_uris(m, lines->v[i], seen);
	map_free(&seen);
	html_uris(m);
	if (m->s->num[SPAM_NUM_DKIM_URIS] > 0) {
		signature_uris(m, "domainkey-signature");
		signature_uris(m, "dkim-signature");
	}
}

const struct strs *msg_uri_list(struct msg *m)
{
	struct area *area = &m->uri_list;
	if (area->made)
		return &area->pieces;
	area->made = true;
	msg_uris(m);
	struct map *seen = map_new();
	for (size_t i = 0; i < m->n_uris; i++)
		for (size_t k = 0; k < m->uris[i].cleaned.n; k++)
			if (map_set(seen, m->uris[i].cleaned.v[k], (void *)1) == NULL)
				strs_add(m->a, &area->pieces, m->uris[i].cleaned.v[k]);
	map_free(&seen);
	return &area->pieces;
}
