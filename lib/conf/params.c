/* The table of all parameters, from params.def; and what is known of other names. */
#include "conf/conf_priv.h"

#include "base/near.h"

#define TEXT_(x) #x
#define ROW(type, name, def, min, max, values, flags, doc)                                         \
	{ PARAM_T_##type, #name, def,                                                              \
	  (min),	  (max), values,                                                           \
	  (flags),	  doc,	 offsetof(struct conf, name) },
const struct param conf_params[] = {
#define PARAM_SECTION(title) { PARAM_T_SECTION, title, "", 0, 0, "", 0, "", 0 },
#define PARAM_TEXT(name, def, flags, doc) ROW(TEXT, name, def, 0, 0, "", flags, doc)
#define PARAM_DIGIT(name, def, flags, doc) { PARAM_T_TEXT, #name, def, 0, 0, "", (flags), doc, offsetof(struct conf, x##name) },
#define PARAM_BOOL(name, def, flags, doc)                                                          \
	ROW(BOOL, name, (def) ? "yes" : "no", 0, 1, "", flags, doc)
#define PARAM_NUM(name, def, min, max, flags, doc)                                                 \
	ROW(NUM, name, TEXT_(def), min, max, "", flags, doc)
#define PARAM_SIZE(name, def, min, max, flags, doc)                                                \
	ROW(SIZE, name, TEXT_(def), min, max, "", flags, doc)
#define PARAM_SECS(name, def, min, max, flags, doc)                                                \
	ROW(SECS, name, TEXT_(def), min, max, "", flags, doc)
#define PARAM_LIST(name, def, flags, doc) ROW(LIST, name, def, 0, 0, "", flags, doc)
#define PARAM_ENUM(name, def, values, flags, doc) ROW(ENUM, name, def, 0, 0, values, flags, doc)
#include "conf/params.def"
};
const size_t conf_n_params = ARRAY_LEN(conf_params);

static const struct { const char *name, *instead; } postfix_names[] = {
#define NAME(name) { name, NULL },
#define NAME_BUT(name, instead) { name, instead },
#include "conf/postfix_names.def"
#undef NAME
#undef NAME_BUT
};

/* Postfix's per-transport parameters: any transport's name before these. */
static const char *const transport_suffixes[] = {
	"_delivery_slot_cost",
	"_delivery_slot_discount",
	"_delivery_slot_loan",
	"_destination_concurrency_failed_cohort_limit",
	"_destination_concurrency_limit",
	"_destination_concurrency_negative_feedback",
	"_destination_concurrency_positive_feedback",
	"_destination_rate_delay",
	"_destination_recipient_limit",
	"_extra_recipient_limit",
	"_initial_destination_concurrency",
	"_minimum_delivery_slots",
	"_recipient_limit",
	"_recipient_refill_delay",
	"_recipient_refill_limit",
	"_time_limit",
	"_transport_rate_delay",
};

const struct param *param_find(struct str name)
{
	for (size_t i = 0; i < conf_n_params; i++)
		if (conf_params[i].type != PARAM_T_SECTION &&
		    str_eq(str_c(conf_params[i].name), name))
			return &conf_params[i];
	return NULL;
}

const char *param_instead(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(postfix_names); i++)
		if (str_eq(str_c(postfix_names[i].name), name))
			return postfix_names[i].instead;
	return NULL;
}

bool param_is_postfix(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(postfix_names); i++)
		if (str_eq(str_c(postfix_names[i].name), name))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(transport_suffixes); i++)
		if (str_ends(name, str_c(transport_suffixes[i])))
			return true;
	return false;
}

const char *param_suggest(struct str name)
{
	struct near n;

	near_init(&n, name);
	for (size_t i = 0; i < conf_n_params; i++)
		if (conf_params[i].type != PARAM_T_SECTION)
			near_try(&n, conf_params[i].name);
	return near_best(&n);
}
