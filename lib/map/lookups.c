/* See lookups.h. */
#include "map/lookups.h"

#include "base/arena.h"
#include "log/log.h"
#include "map/lookup.h"

struct lookups {
	const char *parameter;
	struct lookup **v;
	size_t n;
};

int lookups_open(const char *parameter, struct conf_list l, struct lookups **out, struct err *e)
{
	struct lookups *t = xzalloc(sizeof(*t));

	t->parameter = parameter;
	t->v = xzalloc((l.n + 1) * sizeof(struct lookup *));
	for (; t->n < l.n; t->n++) {
		const struct str spec = str_c(l.v[t->n]);
		if (lookup_open(spec.p + (str_starts(spec, STR("proxy:")) ? 6 : 0), &t->v[t->n], e) < 0)
			return err_wrap(e, "%s", parameter);
	}
	*out = t;
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

/* 0: found; 1: not; -1. A table in memory was hashed with the key of who opened it, and who was forked has its own: such small ones are walked. */
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

bool lookups_find(const struct lookups *l, struct str key, struct buf *out)
{
	for (size_t i = 0; l && i < l->n; i++) {
		struct err e = { 0 };
		const int r = ask(l->v[i], key, out, &e);
		if (r == 0)
			return true;
		if (r < 0)
			log_warning("%s: %s", l->parameter, e.text);
	}
	return false;
}
