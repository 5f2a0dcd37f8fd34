/* The tables that a front asks: opened by the template before it is confined, read through descriptors and memory afterwards; a new template, made at every
 * reload and every front_template_max connections, opens them anew. */
#include "smtpd/tables.h"

#include "base/arena.h"
#include "map/lookups.h"

struct tables {
	struct lookups *discard, *footer;
};

int tables_open(struct front_env *env, struct err *e)
{
	const struct conf *c = env->conf;
	struct tables *t = xzalloc(sizeof(*t));

	if (lookups_open("smtpd_discard_ehlo_keyword_address_maps", c->smtpd_discard_ehlo_keyword_address_maps, &t->discard, e) < 0 ||
	    lookups_open("smtpd_reject_footer_maps", c->smtpd_reject_footer_maps, &t->footer, e) < 0)
		return -1;
	env->service_ctx = t;
	return 0;
}

bool tables_discard(const struct front_env *env, struct str client, struct buf *out)
{
	const struct tables *t = env->service_ctx;

	return t && lookups_find(t->discard, client, out);
}

bool tables_footer(const struct front_env *env, struct str reply, struct buf *out)
{
	const struct tables *t = env->service_ctx;

	return t && lookups_find(t->footer, reply, out);
}
