/* See policy.h. */
#include "policy.h"

#include <string.h>

#include "base/str.h"

const char *const action_names[ACTIONS] = {
#define ACTION(name, keeps, doc) #name,
#include "actions.def"
#undef ACTION
};

static const char *const stage_names[] = {
#define STAGE(name, fn, kind, doc) #name,
#include "stages.def"
#undef STAGE
};

static const char *const class_names[CLASSES] = {
#define CLASS(name, word, action, code, enhanced, alert, told) #action,
#include "classes.def"
#undef CLASS
};

bool action_keeps(enum action a)
{
	static const bool keeps[ACTIONS] = {
#define ACTION(name, keeps, doc) keeps,
#include "actions.def"
#undef ACTION
	};
	return keeps[a];
}

static int find(const char *const *names, size_t n, struct str s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s, str_c(names[i])))
			return (int)i;
	return -1;
}

static int action_parse(struct str s, enum action *out, struct err *e)
{
	const int i = str_eq(s, STR("none")) ? (int)ACTION_accept : find(action_names, ACTIONS, s);	/* none: the word of dmarc_*_action */
	if (i < 0)
		return err_set(e, ERR_CONF, 0, "no action is called \"%.*s\"", STR_ARG(s));
	*out = (enum action)i;
	return 0;
}

/* "virus_action=quarantine" or "bypass=virus". */
static int setting(struct str one, struct policy *p, struct err *e)
{
	struct str value = one;
	const struct str name = str_split(&value, '=');
	if (str_eq(name, STR("bypass"))) {
		const int i = find(stage_names, ARRAY_LEN(stage_names), value);
		if (i < 0)
			return err_set(e, ERR_CONF, 0, "no check is called \"%.*s\"", STR_ARG(value));
		p->off[i] = true;
		return 0;
	}
	const int i = find(class_names, CLASSES, name);
	if (i < 0 || value.p == NULL)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" is neither bypass=CHECK nor CLASS_action=ACTION", STR_ARG(one));
	return action_parse(value, &p->actions[i], e);
}

int policy_load(const struct conf *conf, struct policy out[ORIGINS], struct err *e)
{
	const struct {
		enum origin origin;
		const char *name;
		const struct conf_list *list;
	} rows[] = {
		{ ORIGIN_INBOUND, "filter_policy_inbound", &conf->filter_policy_inbound },
		{ ORIGIN_MYNETS, "filter_policy_mynetworks", &conf->filter_policy_mynetworks },
		{ ORIGIN_AUTHENTICATED, "filter_policy_authenticated", &conf->filter_policy_authenticated },
	};
	const char *const actions[CLASSES] = {
#define CLASS(name, word, action, code, enhanced, alert, told) conf->action,
#include "classes.def"
#undef CLASS
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct policy p = { .off = { false } };
		for (size_t k = 0; k < CLASSES; k++)
			if (action_parse(str_c(actions[k]), &p.actions[k], e) < 0)
				return err_wrap(e, "%s", class_names[k]);
		for (size_t k = 0; k < rows[i].list->n; k++)
			if (setting(str_c(rows[i].list->v[k]), &p, e) < 0)
				return err_wrap(e, "%s", rows[i].name);
		out[rows[i].origin] = p;
	}
	return 0;
}
