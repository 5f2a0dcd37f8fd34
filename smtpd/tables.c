/* The tables that a front asks: opened by the template before it is confined, read through descriptors and memory afterwards; a new template, made at every
 * reload and every front_template_max connections, opens them anew. */
#include "smtpd/tables.h"

#include "base/arena.h"
#include "log/log.h"
#include "map/lookup.h"

struct table_list {
	const char *parameter;
	struct lookup **v;
	size_t n;
};

struct tables {
	struct table_list discard, footer;
};

static int list_open(const char *parameter, struct conf_list l, struct table_list *out, struct err *e)
{
	out->parameter = parameter;
	out->v = xzalloc((l.n + 1) * sizeof(struct lookup *));
	for (; out->n < l.n; out->n++)
		if (lookup_open(l.v[out->n], &out->v[out->n], e) < 0)
			return err_wrap(e, "%s", parameter);
	return 0;
}

int tables_open(struct front_env *env, struct err *e)
{
	const struct conf *c = env->conf;
	struct tables *t = xzalloc(sizeof(*t));

	if (list_open("smtpd_discard_ehlo_keyword_address_maps", c->smtpd_discard_ehlo_keyword_address_maps, &t->discard, e) < 0 ||
	    list_open("smtpd_reject_footer_maps", c->smtpd_reject_footer_maps, &t->footer, e) < 0)
		return -1;
	env->service_ctx = t;
	return 0;
}

struct wanted {
	struct str key;
	struct buf *out;
};

static int is_it(void *ctx, struct str key, struct str value, unsigned line)
{
	const struct wanted *w = ctx;

	if (!str_case_eq(key, w->key))
		return 0;
	buf_str(w->out, value);
	return 1;
}

/* 0: found; 1: not; -1. A table in memory was hashed with the template's key, and a front has its own: such small ones are walked. */
static int ask(struct lookup *l, struct str key, struct buf *out, struct err *e)
{
	const struct str spec = str_c(lookup_spec(l));

	if (!str_starts(spec, STR("texthash:")) && !str_starts(spec, STR("inline:")))
		return lookup_get(l, key, out, NULL, e);
	const size_t before = out->n;
	struct wanted w = { key, out };
	if (lookup_each(l, is_it, &w, e) < 0)
		return -1;
	return out->n > before ? 0 : 1;
}

static bool find(const struct table_list *l, struct str key, struct buf *out)
{
	for (size_t i = 0; i < l->n; i++) {
		struct err e = { 0 };
		const int r = ask(l->v[i], key, out, &e);
		if (r == 0)
			return true;
		if (r < 0)
			log_warning("%s: %s", l->parameter, e.text);
	}
	return false;
}

bool tables_discard(const struct front_env *env, struct str client, struct buf *out)
{
	const struct tables *t = env->service_ctx;

	return t && find(&t->discard, client, out);
}

bool tables_footer(const struct front_env *env, struct str reply, struct buf *out)
{
	const struct tables *t = env->service_ctx;

	return t && find(&t->footer, reply, out);
}
