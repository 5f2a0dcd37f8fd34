/* Eval functions over the relays (SpamAssassin's RelayEval). */
#include "spam/eval.h"
#include "spam/patterns.h"

/* Relays of which something is not believed, newest first. */
static const struct relay *untrusted(struct msg *m, size_t i)
{
	msg_relays(m);
	for (size_t k = 0; k < m->n_relays; k++)
		if (!m->relays[k].trusted && i-- == 0)
			return &m->relays[k];
	return NULL;
}

static size_t count(struct msg *m, bool trusted)
{
	size_t n = 0;
	msg_relays(m);
	for (size_t i = 0; i < m->n_relays; i++)
		n += m->relays[i].trusted == trusted;
	return n;
}

int eval_numeric_helo(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str g[2];
	msg_relays(m);
	return pat_groups(PAT_NUMERIC_HELO, m->relay_texts.v[1], g, 2) && !ip_private(g[1]);
}

int eval_all_trusted(struct msg *m, const struct rule *r)
{
	(void)r;
	return count(m, true) > 0 && count(m, false) == 0 && m->n_unparseable == 0;
}

int eval_no_relays(struct msg *m, const struct rule *r)
{
	(void)r;
	msg_relays(m);
	return m->n_relays == 0 && m->n_unparseable == 0;
}

int eval_unparseable(struct msg *m, const struct rule *r)
{
	(void)r;
	msg_relays(m);
	return m->n_unparseable > 0;
}

int eval_sender_reverse(struct msg *m, const struct rule *r)
{
	(void)r;
	size_t n = count(m, false);
	const struct relay *last = n == 0 ? NULL : untrusted(m, n - 1);
	return last != NULL && str_chr(last->rdns, '.') >= 0 && !last->private;
}

int eval_from_in_received(struct msg *m, const struct rule *r)
{
	struct str domain = arg(r, 0), from = msg_get(m, "From:addr");
	bool wanted = str_eq(arg(r, 1), STR("true"));
	if (domain.n == 0 || str_case_find(from, domain) < 0)
		return 0;
	msg_relays(m);
	for (size_t i = 0; i < m->n_relays; i++)
		if (str_find(m->relays[i].rdns, domain) >= 0 && str_find(m->relays[i].by, domain) >= 0)
			return wanted;
	return !wanted;
}

static bool first_three(struct str a, struct str b)
{
	size_t dots = 0, n = 0;
	while (n < a.n && dots < 3)
		dots += a.p[n++] == '.';
	return dots == 3 && str_starts(b, str_sub(a, 0, n));
}

int eval_helo_mismatch(struct msg *m, const struct rule *r)
{
	(void)r;
	const struct relay *u;
	for (size_t i = 0; (u = untrusted(m, i)) != NULL; i++)
		if (ip_is_v4(u->helo) && !ip_private(u->helo) && ip_is_v4(u->ip) && !u->private && !str_eq(u->helo, u->ip) && !first_three(u->helo, u->ip))
			return 1;
	return 0;
}

/* The oldest public relay decides. */
int eval_dotcom_helo(struct msg *m, const struct rule *r)
{
	(void)r;
	const struct relay *u;
	int hit = 0;
	for (size_t i = 0; (u = untrusted(m, i)) != NULL; i++)
		if (!u->private)
			hit = pat(PAT_DOTCOM_HELO, u->helo) && u->no_rdns;
	return hit;
}

/* --- forged trails --- */

/* "mail.example.com" to "example.com": two labels, three where the last is short. */
static struct str organisation(struct arena *a, struct str host)
{
	struct str low = str_lower_copy(a, host), l[64];
	size_t n = 0;
	bool letters = false;
	for (size_t i = 0; i < low.n; i++)
		letters |= ch_alpha(low.p[i]);
	if (!letters)
		return low;
	for (struct str rest = low; rest.p != NULL && n < ARRAY_LEN(l); n++)
		l[n] = str_split(&rest, '.');
	while (n > 0 && l[n - 1].n == 0)
		n--;	/* dots at the end */
	if (n == 0)
		return low;
	struct str last = l[n - 1];
	bool long_tld = last.n >= 3 || str_find(last, STR("ie")) >= 0 || str_find(last, STR("fr")) >= 0 || str_find(last, STR("de")) >= 0;
	size_t keep = n > 1 && long_tld ? 2 : n > 2 ? 3 : 0;
	if (keep == 0)
		return low;
	const char *start = l[n - keep].p;
	return str_n(start, (size_t)(last.p + last.n - start));
}

static bool first_two_differ(struct str a, struct str b)
{
	ptrdiff_t dot = str_chr(a, '.');
	ptrdiff_t dot2 = dot < 0 ? -1 : str_chr(str_from(a, (size_t)dot + 1), '.');
	return dot2 >= 0 && !str_starts(b, str_sub(a, 0, (size_t)(dot + 1 + dot2 + 1)));
}

static void trail(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->trail_made)
		return;
	e->trail_made = true;
	const struct relay *u;
	struct str before = { 0 };
	for (size_t i = 0; (u = untrusted(m, i)) != NULL; i++) {
		struct str by = organisation(m->a, u->by), from = organisation(m->a, u->rdns), prev = before;
		before = from;
		if (!pat(PAT_HOST_OK, by))
			continue;
		if ((str_eq(from, STR("localhost")) || str_eq(from, STR("localhost.localdomain"))) && str_eq(u->ip, STR("127.0.0.1")))
			before = (struct str){ 0 };
		if (ip_is_v4(u->helo) && ip_is_v4(u->ip) && !str_eq(u->helo, u->ip) && first_two_differ(u->helo, u->ip) && !ip_private(u->helo))
			e->trail.ip_helo++;
		bool msn = str_eq(by, STR("msn.com")) && str_eq(prev, STR("hotmail.com"));
		if (i > 0 && prev.p != NULL && pat(PAT_HOST_OK, prev) && !str_eq(by, prev) && !msn)
			e->trail.from++;
	}
}

int eval_forged_trail(struct msg *m, const struct rule *r)
{
	(void)r;
	trail(m);
	return evals(m)->trail.from > 1;
}

int eval_forged_ip_helo(struct msg *m, const struct rule *r)
{
	(void)r;
	trail(m);
	return evals(m)->trail.ip_helo > 0;
}
