/* Eval functions over free mail addresses, pictures, links, bounces (FreeMail, ImageInfo, URIEval, HTTPSMismatch, VBounce). */
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "spam/bayes.h"
#include "spam/eval.h"
#include "spam/patterns.h"

/* --- what was learned --- */

int eval_bayes(struct msg *m, const struct rule *r)
{
	const double p = bayes_score(m), min = arg_number(r, 0, 0);
	return p >= 0 && (min <= 0 || p > min) && p <= arg_number(r, 1, 1);
}

bool pattern_hits(struct msg *m, const struct pattern *p, struct str text)
{
	struct err e = { 0 };
	if (p->code == NULL)
		return false;
	int r = pcre_match(p->code, text, NULL, 0, &e);
	m->limited += r < 0;
	return r == 1;
}

/* --- free mail --- */

static bool is_freemail(struct msg *m, struct str address)
{
	const struct set *s = m->s;
	struct str low = str_lower_copy(m->a, address);
	ptrdiff_t sign = str_rchr(low, '@');
	struct str domain = sign < 0 ? low : str_from(low, (size_t)sign + 1);
	if (low.n == 0 || map_get(s->freemail_welcome, low) != NULL || map_get(s->freemail_welcome, domain) != NULL || pat(PAT_FREEMAIL_EXEMPT, low))
		return false;
	if (map_get(s->freemail, domain) != NULL)
		return true;
	for (size_t i = 0; i < s->freemail_wild.n_wild; i++)
		if (glob_match_domain(s->freemail_wild.wild[i], domain))
			return true;
	return false;
}

static bool wanted(struct msg *m, const struct rule *r, struct str address)
{
	return is_freemail(m, address) && (r->arg_pattern.code == NULL || pattern_hits(m, &r->arg_pattern, str_lower_copy(m->a, address)));
}

static int any_freemail(struct msg *m, const struct rule *r, const struct strs *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (wanted(m, r, v->v[i]))
			return 1;
	return 0;
}

int eval_freemail_from(struct msg *m, const struct rule *r)
{
	return any_freemail(m, r, from_addrs(m));
}

int eval_freemail_header(struct msg *m, const struct rule *r)
{
	char spec[120];
	snprintf(spec, sizeof(spec), "%.*s:addr", STR_ARG(arg(r, 0)));
	return any_freemail(m, r, msg_get_all(m, spec));
}

enum { BODY_ADDRESSES_MAX = 40 };

static void add_address(struct msg *m, struct strs *out, struct str address)
{
	struct str low = str_lower_copy(m->a, address);
	if (out->n < BODY_ADDRESSES_MAX && !strs_has(out, low))
		strs_add(m->a, out, low);
}

/* Addresses in URLs, and those of signatures ("a@b.c> ", "a@b.c  icq:") are none. */
static void line_addresses(struct msg *m, struct str line, struct strs *out)
{
	size_t at = 0, start, end, url = 0, url_end = 0, u;
	bool more = pat_find(PAT_MAIL_IN_URL, line, 0, &url, &url_end);
	while (out->n < BODY_ADDRESSES_MAX && pat_find(PAT_MAIL_ADDRESS, line, at, &start, &end)) {
		at = end;
		while (more && url_end <= start)
			more = pat_find(PAT_MAIL_IN_URL, line, url_end, &url, &url_end);
		if (more && start >= url && start < url_end) {
			at = url_end > at ? url_end : at;
			continue;
		}
		struct str address = str_sub(line, start, end - start);
		while (address.n > 0 && !domain_ok(m->s, address)) {
			ptrdiff_t dot = str_rchr(address, '.');
			address.n = dot < 0 ? 0 : (size_t)dot;
		}
		bool mailto = start >= 7 && str_eq(str_sub(line, start - 7, 7), STR("mailto:"));
		u = start + address.n;
		if (address.n == 0 || str_chr(address, '@') < 0 || (!mailto && pat(PAT_MAIL_SIGNED, str_from(line, u))))
			continue;
		add_address(m, out, address);
	}
}

static void link_addresses(struct msg *m, struct strs *out)
{
	msg_uris(m);
	for (size_t i = 0; i < m->n_uris && out->n < 20; i++) {
		const struct uri *u = &m->uris[i];
		size_t start, end;
		if (u->parsed || !strs_has(&u->types, STR("a")) || !str_case_starts(u->raw, STR("mailto:")))
			continue;
		struct str rest = str_from(u->raw, 7);
		if (pat_find(PAT_MAIL_ADDRESS, rest, 0, &start, &end) && start == 0)
			add_address(m, out, str_sub(rest, 0, end));
	}
}

/* Free mail addresses in the body; false: so many that it is a list. */
static bool body_freemail(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->freemail_made)
		return !e->freemail.skip;
	e->freemail_made = true;
	struct strs found = { 0 };
	const struct strs *lines = msg_body_lines(m);
	link_addresses(m, &found);
	for (size_t i = 0; i < lines->n; i++)
		if (str_chr(lines->v[i], '@') >= 0)
			line_addresses(m, lines->v[i], &found);
	bool skip = m->s->num[SPAM_NUM_FREEMAIL_SKIP_OVER] > 0;
	size_t free_n = 0;
	for (size_t i = 0; i < found.n && !e->freemail.skip; i++) {
		if ((double)(i + 1) >= m->s->num[SPAM_NUM_FREEMAIL_MAX_EMAILS] && skip)
			e->freemail.skip = true;
		else if (is_freemail(m, found.v[i])) {
			if ((double)++free_n >= m->s->num[SPAM_NUM_FREEMAIL_MAX_FREEMAILS] && skip)
				e->freemail.skip = true;
			else
				strs_add(m->a, &e->freemail.addresses, found.v[i]);
		}
	}
	return !e->freemail.skip;
}

int eval_freemail_body(struct msg *m, const struct rule *r)
{
	return body_freemail(m) && any_freemail(m, r, &evals(m)->freemail.addresses);
}

int eval_freemail_replyto(struct msg *m, const struct rule *r)
{
	struct str env;
	bool reply_only = str_eq(arg(r, 0), STR("reply"));
	if (m->s->num[SPAM_NUM_FREEMAIL_SKIP_BULK] > 0 && msg_envelope_from(m, &env) && pat(PAT_FREEMAIL_BULK, env))
		return 0;
	const struct strs *from = msg_get_all(m, "From:addr"), *reply = msg_get_all(m, "Reply-To:addr");
	bool from_free = false, reply_free = false, same = false;
	for (size_t i = 0; i < from->n; i++) {
		from_free |= is_freemail(m, from->v[i]);
		for (size_t k = 0; k < reply->n; k++)
			same |= str_case_eq(from->v[i], reply->v[k]);
	}
	for (size_t i = 0; i < reply->n; i++)
		reply_free |= is_freemail(m, reply->v[i]);
	if (from_free && reply_free && !same)
		return 1;
	if (reply_only ? (reply->n > 0 && !reply_free) || !from_free : !reply_free)
		return 0;
	if (!body_freemail(m))
		return 0;
	const struct strs *body = &evals(m)->freemail.addresses, *who = !reply_only || reply_free ? reply : from;
	for (size_t i = 0; i < body->n; i++)
		for (size_t k = 0; k < who->n; k++)
			if (!str_case_eq(body->v[i], who->v[k]))
				return 1;
	return 0;
}

/* --- pictures --- */

enum { IMAGE_ALL, IMAGE_GIF, IMAGE_PNG, IMAGE_JPEG };

static bool gif_size(struct str d, unsigned *w, unsigned *h)
{
	const unsigned char *p = (const unsigned char *)d.p;
	if (d.n < 13 || (!str_starts(d, STR("GIF87a")) && !str_starts(d, STR("GIF89a"))))
		return false;
	*w = p[6] | (unsigned)p[7] << 8;
	*h = p[8] | (unsigned)p[9] << 8;
	return true;
}

static bool png_size(struct str d, unsigned *w, unsigned *h)
{
	if (d.n < 24 || !str_starts(d, STR("\x89PNG\r\n\x1a\n")) || !str_eq(str_sub(d, 12, 4), STR("IHDR")))
		return false;
	const unsigned char *p = (const unsigned char *)d.p;
	*w = (unsigned)get_be16(p + 16) << 16 | get_be16(p + 18);
	*h = (unsigned)get_be16(p + 20) << 16 | get_be16(p + 22);
	return true;
}

static bool jpeg_size(struct str d, unsigned *w, unsigned *h)
{
	const unsigned char *p = (const unsigned char *)d.p;
	if (d.n < 4 || p[0] != 0xff || p[1] != 0xd8)
		return false;
	for (size_t at = 2; at + 9 < d.n;) {
		unsigned mark = p[at + 1], len = get_be16(p + at + 2);
		if (p[at] != 0xff || mark == 0xda || mark == 0xd9 || len < 2)
			return false;
		if (mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xc8 && mark != 0xcc) {
			*h = get_be16(p + at + 5);
			*w = get_be16(p + at + 7);
			return true;
		}
		at += 2 + len;
	}
	return false;
}

static void one_image(struct msg *m, struct msg_evals *e, struct part *p, int kind)
{
	unsigned w = 0, h = 0;
	struct str d = part_decoded(m->a, p);
	bool ok = kind == IMAGE_GIF ? gif_size(d, &w, &h) : kind == IMAGE_PNG ? png_size(d, &w, &h) : jpeg_size(d, &w, &h);
	int kinds[] = { IMAGE_ALL, kind };
	for (unsigned i = 0; i < 2; i++) {
		e->images.count[kinds[i]]++;
		if (!ok || w == 0 || h == 0)
			continue;
		e->images.area[kinds[i]] += (double)w * h;
		strs_add(m->a, &e->images.sizes[kinds[i]], str_c(arena_printf(m->a, "%ux%u", h, w)));
	}
	if (ok && p->name.n > 0)
		strs_add(m->a, &e->images.names, p->name);
}

static const struct msg_evals *images(struct msg *m)
{
	static const struct { const char *type; int kind; } types[] = {
		{ "image/gif", IMAGE_GIF }, { "image/png", IMAGE_PNG }, { "image/jpeg", IMAGE_JPEG }, { "image/jpg", IMAGE_JPEG },
	};
	struct msg_evals *e = evals(m);
	if (e->images_made)
		return e;
	e->images_made = true;
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct field *cte = field_last(m->a, &m->parts[i].fields, "content-transfer-encoding");
		for (size_t k = 0; k < ARRAY_LEN(types); k++)
			if (m->parts[i].leaf && str_eq(m->parts[i].type, str_c(types[k].type)) && cte != NULL && str_case_eq(cte->value, STR("base64")))
				one_image(m, e, &m->parts[i], types[k].kind);
	}
	return e;
}

static int image_kind(struct str name)
{
	return str_eq(name, STR("gif")) ? IMAGE_GIF : str_eq(name, STR("png")) ? IMAGE_PNG : str_eq(name, STR("jpeg")) ? IMAGE_JPEG : IMAGE_ALL;
}

static int between(const struct rule *r, double v)
{
	return v >= arg_number(r, 1, 0) && v <= arg_number(r, 2, 1e300);
}

int eval_image_count(struct msg *m, const struct rule *r)
{
	return between(r, (double)images(m)->images.count[image_kind(arg(r, 0))]);
}

int eval_pixel_coverage(struct msg *m, const struct rule *r)
{
	return between(r, images(m)->images.area[image_kind(arg(r, 0))]);
}

int eval_image_text_ratio(struct msg *m, const struct rule *r)
{
	double area = images(m)->images.area[image_kind(arg(r, 0))], text = 0;
	const struct strs *lines = msg_body_lines(m);
	for (size_t i = 0; i < lines->n; i++)
		text += (double)lines->v[i].n;
	return area > 0 && text > 0 && text / area >= arg_number(r, 1, 0) && text / area < arg_number(r, 2, 1e300);
}

int eval_image_exact(struct msg *m, const struct rule *r)
{
	char size[40];
	snprintf(size, sizeof(size), "%.*sx%.*s", STR_ARG(str_sub(arg(r, 1), 0, 15)), STR_ARG(str_sub(arg(r, 2), 0, 15)));
	return strs_has(&images(m)->images.sizes[image_kind(arg(r, 0))], str_c(size));
}

int eval_image_range(struct msg *m, const struct rule *r)
{
	const struct strs *v = &images(m)->images.sizes[image_kind(arg(r, 0))];
	for (size_t i = 0; i < v->n; i++) {
		struct str w = v->v[i], h = str_split(&w, 'x');
		uint64_t high, wide;
		if (num_parse(h, 0, UINT32_MAX, &high) == 0 && num_parse(w, 0, UINT32_MAX, &wide) == 0 && (double)high >= arg_number(r, 1, 0) &&
		    (double)wide >= arg_number(r, 2, 0) && (double)high <= arg_number(r, 3, 1e300) && (double)wide <= arg_number(r, 4, 1e300))
			return 1;
	}
	return 0;
}

int eval_image_named(struct msg *m, const struct rule *r)
{
	return strs_has(&images(m)->images.names, arg(r, 0));
}

int eval_image_regex(struct msg *m, const struct rule *r)
{
	const struct strs *v = &images(m)->images.names;
	for (size_t i = 0; i < v->n; i++)
		if (pattern_hits(m, &r->arg_pattern, v->v[i]))
			return 1;
	return 0;
}

/* --- links --- */

int eval_redirector(struct msg *m, const struct rule *r)
{
	(void)r;
	const struct strs *v = msg_uri_list(m);
	for (size_t i = 0; i < v->n; i++) {
		struct str u = v->v[i], g[4], a, b, host;
		for (unsigned rounds = 0; rounds < 10 && pat_groups(PAT_REDIRECTOR, u, g, 4); rounds++) {
			if (!uri_to_domain(m->s, m->a, g[1], &a, &host))
				a = g[1];
			if (!uri_to_domain(m->s, m->a, g[3], &b, &host))
				b = g[3];
			if (!str_eq(a, b))
				return 1;
			u = g[2];
		}
	}
	return 0;
}

int eval_https_ip(struct msg *m, const struct rule *r)
{
	(void)r;
	msg_body_lines(m);
	for (size_t i = 0; i < m->n_htmls; i++) {
		const struct html *h = m->htmls[i];
		for (size_t k = 0; k < h->n_uris; k++) {
			if (!pat(PAT_HTTPS_IP, h->uris[k].uri))
				continue;
			for (size_t t = 0; t < h->uris[k].texts.n; t++)
				if (str_case_find(h->uris[k].texts.v[t], STR("https:")) >= 0 && !pat(PAT_HTTPS_IP, h->uris[k].texts.v[t]))
					return 1;
		}
	}
	return 0;
}

int eval_uri_cut(struct msg *m, const struct rule *r)
{
	(void)r;
	msg_uris(m);
	return (m->flags & MSG_URI_CUT) != 0;
}

/* The domain that a link leads to; p NULL: an address, or none that counts. */
static struct str link_domain(struct msg *m, struct str uri)
{
	struct str g[2];
	if (!pat_groups(PAT_HTTP_HOST, uri, g, 2) || ip_is(g[1]))
		return (struct str){ 0 };
	struct str d = domain_trim(m->s, m->a, g[1]);
	return domain_ok(m->s, d) && fqdn_ok(d) ? d : (struct str){ 0 };
}

static bool other_https(struct msg *m, const struct html_uri *u, struct str domain)
{
	for (size_t t = 0; t < u->texts.n; t++) {
		struct str rest = u->texts.v[t], g[2];
		if (!pat_groups(PAT_HTTPS_HOST, rest, g, 2))
			continue;
		struct str shown = g[1];
		if (!ip_is(shown)) {
			shown = domain_trim(m->s, m->a, shown);
			if (!domain_ok(m->s, shown))
				continue;
		}
		if (!str_eq(shown, domain))
			return true;
	}
	return false;
}

int eval_https_http(struct msg *m, const struct rule *r)
{
	double min = arg_number(r, 0, 1), max = arg_number(r, 1, 1e300);
	msg_body_lines(m);
	for (size_t i = 0; i < m->n_htmls; i++) {
		const struct html *h = m->htmls[i];
		double anchors = 0;
		bool hit = false;
		for (size_t k = 0; k < h->n_uris; k++) {
			struct str domain = h->uris[k].texts.n == 0 ? (struct str){ 0 } : link_domain(m, h->uris[k].uri);
			if (domain.p == NULL)
				continue;
			anchors++;
			hit |= other_https(m, &h->uris[k], domain);
		}
		if (hit && anchors >= (min <= 0 ? 1 : min) && anchors < max)
			return 1;
	}
	return 0;
}

/* --- bounces --- */

int eval_any_bounce_relays(struct msg *m, const struct rule *r)
{
	(void)r;
	return set_list_find(m->s, STR("welcomelist_bounce_relays")) != NULL;
}

int eval_bounce_relays(struct msg *m, const struct rule *r)
{
	const struct globs *g = set_list_find(m->s, STR("welcomelist_bounce_relays"));
	if (!eval_any_bounce_relays(m, r) || !pat(PAT_BOUNCE_RECEIVED, m->body))
		return 0;
	for (struct str rest = m->body, w; str_token(&rest, " \t\r\n", &w);)
		if (str_chr(w, '.') > 0 && globs_match(g, str_lower_copy(m->a, w)))
			return 1;
	return 0;
}
