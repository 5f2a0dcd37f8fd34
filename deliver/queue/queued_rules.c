/* What holds for the connections of one listener: the configuration with its overrides (conf_for), compiled. One set for the file's own values and one for each
 * "listener.NAME" line; made once at the start. */
#include "deliver/queue/queued.h"

static int read_networks(struct queued *q, struct conf_list l, const char *name, struct networks *out, struct err *e)
{
	out->v = ARENA_ARRAY(q->arena, struct cidr, l.n + 1);
	for (size_t i = 0; i < l.n; i++)
		if (cidr_parse(str_c(l.v[i]), &out->v[out->n++], e) < 0)
			return err_wrap(e, "%s", name);
	return 0;
}

bool networks_have(const struct networks *n, const uint8_t addr[16])
{
	return cidr_match(n->v, n->n, addr);
}

static int compile(struct queued *q, struct rules *r, struct err *e)
{
	if (restrict_compile(r->conf, q->arena, &r->restrictions, e) < 0)
		return -1;
	return read_networks(q, r->conf->mynetworks, "mynetworks", &r->mynetworks, e);
}

int rules_start(struct queued *q, struct err *e)
{
	size_t it = 0, n = 0;
	const char *name;
	const struct conf *c;

	while (conf_variant_next(q->conf, &it, &name, &c))
		n++;
	q->rules = ARENA_ARRAY(q->arena, struct rules, n);
	for (it = 0; conf_variant_next(q->conf, &it, &name, &c);) {
		struct rules *r = &q->rules[q->n_rules++];
		r->name = name;
		r->conf = c;
		if (compile(q, r, e) < 0)
			return -1;
	}
	return 0;
}

const struct rules *rules_of(const struct queued *q, struct str listener)
{
	for (size_t i = 0; i < q->n_rules; i++)
		if (str_eq(str_c(q->rules[i].name), listener))
			return &q->rules[i];
	return NULL;
}
