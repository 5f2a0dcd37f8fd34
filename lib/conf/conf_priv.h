/* What the files of lib/conf share. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H

#include <stddef.h>

#include "base/map.h"
#include "conf/conf.h"

enum {
	CONF_FILE_MAX = 1 << 20,
	CONF_VALUE_MAX = 1 << 16,	/* bytes of one value after expansion */
	CONF_DEPTH_MAX = 20,		/* $name within $name */
	CONF_PROBLEMS_MAX = 1 << 17,	/* bytes of problem lines */
};

enum param_type { PARAM_T_SECTION, PARAM_T_TEXT, PARAM_T_BOOL, PARAM_T_NUM, PARAM_T_SIZE, PARAM_T_SECS, PARAM_T_LIST, PARAM_T_ENUM };

struct param {
	enum param_type type;
	const char *name;	/* of a section: its title */
	const char *def;	/* default, as text */
	uint64_t min, max;
	const char *values;	/* ENUM: the words */
	unsigned flags;
	const char *doc;
	size_t offset;		/* in struct conf */
};
extern const struct param conf_params[];
extern const size_t conf_n_params;
const struct param *param_find(struct str name);	/* NULL: no such parameter */
bool param_is_postfix(struct str name);			/* Postfix documents it (or it is one of its per-transport names) */
const char *param_instead(struct str name);		/* of such a name: what there is instead, or why there is nothing; NULL: not said */
/* The known name that is nearest to a mistyped one; NULL when none is near. */
const char *param_suggest(struct str name);

int conf_check_protocols(const struct conf *c, struct err *e) MUST_CHECK;	/* listen.c: inet_protocols */

/* A setting: of a parameter, or of a name that the administrator made up. */
struct setting {
	const char *name;
	struct str text;	/* unexpanded; lines joined by blanks */
	unsigned line;		/* 0: not in the file */
	bool derived;		/* computed (host name, networks) */
};

struct conf_private {
	struct arena *arena;
	struct setting *params;	/* parallel to conf_params */
	struct conf_variant *variants;	/* of listeners: variant.c; the first is the file's own */
	size_t n_variants;
	struct map *own;	/* name -> struct setting, for names that are no parameter */
};

/* Problems of one load. */
struct trouble {
	const char *file;
	struct buf *out;	/* may be NULL */
	unsigned errors, warnings;
};
void trouble_error(struct trouble *t, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void trouble_warning(struct trouble *t, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* file.c: text to settings. */
void conf_scan(struct conf *c, struct str text, struct trouble *t);
/* expand.c: replace $name, ${name}, $(name), ${name?text}, ${name:text}, $$. The result lives in the conf's arena. */
int conf_expand(const struct conf *c, struct str text, struct str *out, struct err *e) MUST_CHECK;
/* The same for a value of p (NULL: no parameter): names that only a delivery knows stay. */
int conf_value(const struct conf *c, const struct param *p, struct str text, struct str *out, struct err *e) MUST_CHECK;
/* Calls fn for each name that text refers to. */
void conf_references(struct str text, void (*fn)(void *ctx, struct str name), void *ctx);
/* value.c: store expanded text in the field of p. */
int conf_store(struct conf *c, const struct param *p, struct str text, struct err *e) MUST_CHECK;
void param_allowed(const struct param *p, struct buf *out);	/* "yes, no", "1 .. 1000", … */
/* conf.c: every field from its setting; what holds between the parameters that a listener may override. */
void conf_store_all(struct conf *c, struct trouble *t);
void conf_check_connection(const struct conf *c, struct trouble *t);
/* variant.c */
void conf_variants(struct conf *c, struct trouble *t);
bool conf_is_listener(struct str name);		/* "listener.…": no parameter, but known */
bool conf_variant_row(const struct conf *c, size_t i, const char **name_out, struct str *row_out, unsigned *line_out);
/* listen.c: the rows of "listener.NAME" lines are listeners. */
void conf_check_rows(const struct conf *c, struct trouble *t);
/* place.c: what is no variable of a text with %: up to the next %, or the % of "%%". *in advances. False: a variable follows, behind the % that was taken. */
bool conf_percent_text(struct str *in, struct str *text_out);
/* derive.c: defaults that depend on the machine. */
void conf_derive_names(struct conf *c, struct trouble *t);
void conf_derive_networks(struct conf *c, struct trouble *t);

static inline struct setting *conf_setting(const struct conf *c, const struct param *p)
{
	return &c->priv->params[p - conf_params];
}

#endif
