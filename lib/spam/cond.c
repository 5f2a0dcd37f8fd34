/* Conditions of rule files: if (version >= 4.000000), ifplugin X, if can(X::feature_y) (SpamAssassin's Conf). We answer as version 4.0.1 with the plugins of
 * plugins.def. */
#include <stdio.h>

#include "spam/expr.h"
#include "spam/set.h"

static const double version = 4.000001, perl_version = 5.036;

static const struct { const char *name; bool available, on; } plugins[] = {
#define PLUGIN(name, available, on) { name, available, on },
#include "spam/plugins.def"
#undef PLUGIN
};

static const char *const features[] = {
#define FEATURE(name) name,
#include "spam/features.def"
#undef FEATURE
};

/* "Mail::SpamAssassin::Plugin::X" to X. Older spellings of names are known. */
static struct str plugin_name(struct str full)
{
	const struct str prefix = STR("Mail::SpamAssassin::Plugin::");
	struct str name = str_starts(full, prefix) ? str_from(full, prefix.n) : full;
	if (str_eq(name, STR("WhiteListSubject")))
		return STR("WelcomeListSubject");
	return str_eq(name, STR("Dmarc")) ? STR("DMARC") : name;
}

bool plugin_has(const struct set *s, struct str full)
{
	struct str name = plugin_name(full);
	if (str_eq(name, STR("RaciallyCharged")))	/* "the new words are in force" */
		return true;
	bool listed = map_count(s->plugins) > 0;
	for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
		if (str_eq(name, str_c(plugins[i].name)))
			return plugins[i].available && (listed ? map_get(s->plugins, name) != NULL : plugins[i].on);
	return false;
}

static bool feature_has(const struct set *s, struct str full)
{
	const struct str prefix = STR("Mail::SpamAssassin::"), compat = STR("Conf::compat_");
	if (!str_starts(full, prefix))
		return false;
	struct str name = str_from(full, prefix.n);
	if (str_starts(name, compat)) {
		char key[80];
		snprintf(key, sizeof(key), "compat_%.*s", STR_ARG(str_from(name, compat.n)));
		return map_get(s->plugins, str_c(key)) != NULL;
	}
	bool known = false;
	for (size_t i = 0; i < ARRAY_LEN(features) && !known; i++)
		known = str_eq(name, str_c(features[i]));
	if (!known || !str_starts(name, STR("Plugin::")))
		return known;
	struct str rest = str_from(name, 8);
	ptrdiff_t colon = str_chr(rest, ':');
	return plugin_has(s, str_sub(rest, 0, colon < 0 ? rest.n : (size_t)colon));
}

static int on_name(void *ctx, struct str name, struct expr *out, struct err *e)
{
	const struct set *s = ctx;
	out->op = EXPR_CONST;
	if (str_eq(name, STR("version")))
		out->value = version;
	else if (str_eq(name, STR("perl_version")))
		out->value = perl_version;
	else if (str_eq(name, STR("local_tests_only")))
		out->value = !s->opt->network;
	else
		return err_set(e, ERR_CONF, 0, "unknown name %.*s in a condition", STR_ARG(name));
	return 0;
}

static int on_call(void *ctx, struct str call, struct str arg, struct expr *out, struct err *e)
{
	const struct set *s = ctx;
	out->op = EXPR_CONST;
	if (str_eq(call, STR("plugin")))
		out->value = plugin_has(s, arg);
	else if (str_eq(call, STR("can")) || str_eq(call, STR("has")))
		out->value = feature_has(s, arg);
	else
		return err_set(e, ERR_CONF, 0, "unknown function %.*s in a condition", STR_ARG(call));
	return 0;
}

int cond_eval(const struct set *s, struct str text, bool *out, struct err *e)
{
	void *ctx = NULL;
	memcpy(&ctx, &s, sizeof(ctx));	/* the callbacks only read it */
	const struct expr_env env = { on_name, on_call, ctx };
	struct arena *a = arena_new(0);
	struct expr *x;
	const struct expr_values none = { NULL, NULL, NULL };
	int r = expr_parse(a, text, &env, &x, e);
	if (r == 0)
		*out = expr_eval(x, &none) != 0;
	arena_free(&a);
	return r;
}
