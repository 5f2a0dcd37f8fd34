/* Access tables: which keys are tried for an address, a name, a network (access(5)); patterns over the lines of a message. */
#include <stdio.h>

#include "deliver/resolve/resolve_priv.h"
#include "log/log.h"

struct search {
	struct resolver *r;
	struct lookup *table;
	struct arena *a;
	struct ipc_resolve_VALUE *out;
	bool dotted;	/* domains above are looked for as .domain */
};

int resolver_table_add(struct resolver *r, const char *spec, struct err *e)
{
	struct lookup *l;

	return open_table(r, spec, &l, e);
}

/* true: decided. */
static bool look(struct search *s, struct str key)
{
	struct buf b;
	struct err e = { 0 };

	buf_init(&b, 16384);
	const int r = lookup_get(s->table, key, &b, NULL, &e);
	if (r == 0)
		*s->out = (struct ipc_resolve_VALUE){ .found = 1, .value = arena_str(s->a, buf_view(&b)), .key = arena_str(s->a, key) };
	else if (r < 0)
		*s->out = (struct ipc_resolve_VALUE){ .found = 2, .value = arena_str(s->a, str_c(e.text)) };
	buf_fini(&b);
	return r <= 0;
}

static bool look_above(struct search *s, struct str domain)
{
	for (;;) {
		const ptrdiff_t dot = str_chr(domain, '.');
		if (dot < 0 || (size_t)dot + 1 >= domain.n)
			return false;
		if (look(s, str_from(domain, (size_t)dot + (s->dotted ? 0 : 1))))
			return true;
		domain = str_from(domain, (size_t)dot + 1);
	}
}

static bool look_domain(struct search *s, struct str domain)
{
	return look(s, domain) || look_above(s, domain);
}

/* Without its last part, at sep. false: there is none. */
static bool shorten(struct str *s, char sep)
{
	const ptrdiff_t at = str_rchr(*s, sep);

	if (at <= 0)
		return false;
	s->n = (size_t)at;
	return true;
}

static bool look_network(struct search *s, struct str addr)
{
	const char sep = str_chr(addr, ':') >= 0 ? ':' : '.';

	do {
		if (look(s, addr))
			return true;
	} while (shorten(&addr, sep));
	return false;
}

static bool look_address(struct search *s, struct str address)
{
	const ptrdiff_t at = str_rchr(address, '@');
	const struct str local = at < 0 ? address : str_sub(address, 0, (size_t)at);
	const struct str domain = at < 0 ? str_c(s->r->conf->myorigin) : str_from(address, (size_t)at + 1);
	struct str base;
	const bool extended = extension_split(s->r->conf, local, &base).n > 0;

	if (look(s, str_c(arena_printf(s->a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain)))) ||
	    (extended && look(s, str_c(arena_printf(s->a, "%.*s@%.*s", STR_ARG(base), STR_ARG(domain))))))
		return true;
	return look_domain(s, domain) || look(s, str_c(arena_printf(s->a, "%.*s@", STR_ARG(local)))) ||
	       (extended && look(s, str_c(arena_printf(s->a, "%.*s@", STR_ARG(base)))));
}

static struct lookup *find_table(const struct resolver *r, struct str spec)
{
	if (str_starts(spec, STR("proxy:")))	/* as open_table() does */
		spec = str_from(spec, 6);
	for (size_t i = 0; i < r->n_opened; i++)
		if (str_eq(spec, str_c(lookup_spec(r->opened[i]))))
			return r->opened[i];
	return NULL;
}

static bool has_word(struct conf_list l, const char *word)
{
	for (size_t i = 0; i < l.n; i++)
		if (str_case_eq(str_c(l.v[i]), str_c(word)))
			return true;
	return false;
}

void resolver_lookup(struct resolver *r, struct arena *a, struct str table, struct str key, enum access_how how, struct ipc_resolve_VALUE *out)
{
	struct search s = { .r = r, .a = a, .out = out, .table = find_table(r, table), .dotted = !has_word(r->conf->parent_domain_matches_subdomains, "smtpd_access_maps") };

	*out = (struct ipc_resolve_VALUE){ 0 };
	if (s.table == NULL)
		*out = (struct ipc_resolve_VALUE){ .found = 2, .value = STR("no such table") };
	else if (how == ACCESS_WHOLE || lookup_is_pattern(s.table))
		(void)look(&s, key);
	else if (how == ACCESS_ADDRESS)
		(void)look_address(&s, key);
	else if (how == ACCESS_DOMAIN)
		(void)look_domain(&s, key);
	else
		(void)look_network(&s, key);
}

/* --- header_checks and the like --- */

/* 0: *action_out; 1: none of the tables; -1: trouble. */
int resolver_check_line(const struct tables *t, struct str line, struct arena *a, struct str *action_out)
{
	struct buf b;
	struct err e = { 0 };
	int r = 1;

	buf_init(&b, 4096);
	for (size_t i = 0; i < t->n && r == 1; i++)
		r = lookup_get(t->v[i], line, &b, NULL, &e);
	if (r == 0)
		*action_out = arena_str(a, buf_view(&b));
	else if (r < 0)
		log_error("%s", e.text);
	buf_fini(&b);
	return r;
}

void resolver_check(struct resolver *r, struct arena *a, const struct ipc_resolve_CHECK *m, struct ipc_resolve_MATCHES *out)
{
	const struct tables *t = &r->checks[m->which < CHECK_WHICH_MAX_ ? m->which : CHECK_HEADER];
	struct str *at = ARENA_ARRAY(a, struct str, m->lines.n + 1), *actions = ARENA_ARRAY(a, struct str, m->lines.n + 1);
	size_t n = 0;

	*out = (struct ipc_resolve_MATCHES){ 0 };
	for (size_t i = 0; i < m->lines.n; i++) {
		const int found = resolver_check_line(t, m->lines.v[i], a, &actions[n]);
		if (found == 0)
			at[n++] = str_c(arena_printf(a, "%zu", i));
		if (found < 0)
			out->trouble = 1;
	}
	out->at = (struct ipc_strs){ at, n };
	out->actions = (struct ipc_strs){ actions, n };
}
