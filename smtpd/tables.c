/* The tables that a front asks: opened by the template before it is confined, read through descriptors and memory afterwards; a new template, made at every
 * reload and every front_template_max connections, opens them anew. */
#include "smtpd/tables.h"

#include "base/arena.h"
#include "log/log.h"
#include "map/lookup.h"

struct tables {
	struct lookup **discard;
	size_t n_discard;
};

int tables_open(struct front_env *env, struct err *e)
{
	const struct conf_list l = env->conf->smtpd_discard_ehlo_keyword_address_maps;
	struct tables *t = xzalloc(sizeof(*t));

	t->discard = xzalloc((l.n + 1) * sizeof(*t->discard));
	for (; t->n_discard < l.n; t->n_discard++)
		if (lookup_open(l.v[t->n_discard], &t->discard[t->n_discard], e) < 0)
			return err_wrap(e, "smtpd_discard_ehlo_keyword_address_maps");
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

bool tables_discard(const struct front_env *env, struct str client, struct buf *out)
{
	const struct tables *t = env->service_ctx;

	for (size_t i = 0; t && i < t->n_discard; i++) {
		struct err e = { 0 };
		const int r = ask(t->discard[i], client, out, &e);
		if (r == 0)
			return true;
		if (r < 0)
			log_warning("smtpd_discard_ehlo_keyword_address_maps: %s", e.text);
	}
	return false;
}
