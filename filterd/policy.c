/* See policy.h. The file of recipients' policies:
 *	[NAME]
 *	recipients = bob@example.com, @shop.example, .example.org	may be repeated
 *	spam_kill_level = 12						and what else settings[] has
 */
#include "policy.h"

#include <stdlib.h>
#include <string.h>

#include "addrlist.h"
#include "banned.h"
#include "base/arena.h"
#include "base/buf.h"
#include "os/os.h"

const char *const action_names[ACTIONS] = {
#define ACTION(name, keeps, doc) #name,
#include "actions.def"
#undef ACTION
};

static const char *const stage_names[STAGES] = {
#define STAGE(name, fn, kind, doc) #name,
#include "stages.def"
#undef STAGE
};

static const char *const class_names[CLASSES] = {
#define CLASS(name, word, action, code, enhanced, alert, told) #action,
#include "classes.def"
#undef CLASS
};

/* What a section says; a row that it does not have is that of all. */
struct section {
	const char *name;
	bool has_action[CLASSES], off[STAGES];
	enum action actions[CLASSES];
	const char *tag, *tag2, *kill;	/* NULL: not said */
	const char *subject_tag, *redirect;
	struct addrlist *white, *black;
	struct banned *banned;
	size_t recipients;
};

struct policies {
	struct arena *a;
	struct policy all[ORIGINS];
	struct section *sections;
	struct policy *own;		/* n of each origin */
	size_t n;
	struct addrlist *to;		/* value: number of the section */
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

static int stage_parse(struct str s, bool off[STAGES], struct err *e)
{
	const int i = find(stage_names, STAGES, s);
	if (i < 0)
		return err_set(e, ERR_CONF, 0, "no check is called \"%.*s\"", STR_ARG(s));
	off[i] = true;
	return 0;
}

static int level_read(const char *name, const char *text, const char *empty, double *out, struct err *e)
{
	char *end;
	if (text[0] == '\0')
		text = empty;
	if (strcmp(text, "never") == 0)
		text = "inf";
	else if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return err_set(e, ERR_CONF, 0, "%s: \"%s\" is no number and not \"never\"", name, text);
	*out = strtod(text, &end);
	return *end == '\0' ? 0 : err_set(e, ERR_CONF, 0, "%s: \"%s\" is no number and not \"never\"", name, text);
}

static int levels_read(const char *tag, const char *tag2, const char *kill, struct levels *out, struct err *e)
{
	if (level_read("spam_tag_level", tag, "-1e9", &out->tag, e) < 0 || level_read("spam_tag2_level", tag2, "never", &out->tag2, e) < 0)
		return -1;
	return level_read("spam_kill_level", kill, "never", &out->kill, e);
}

/* --- of an origin --- */

/* "virus_action=quarantine" or "bypass=virus". */
static int setting(struct str one, struct policy *p, struct err *e)
{
	struct str value = one;
	const struct str name = str_split(&value, '=');
	if (str_eq(name, STR("bypass")))
		return stage_parse(value, p->off, e);
	const int i = find(class_names, CLASSES, name);
	if (i < 0 || value.p == NULL)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" is neither bypass=CHECK nor CLASS_action=ACTION", STR_ARG(one));
	return action_parse(value, &p->actions[i], e);
}

static int origins_load(const struct conf *conf, struct policy out[ORIGINS], struct err *e)
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
		struct policy p = { .subject_tag = conf->spam_subject_tag, .redirect = conf->redirect_recipient };
		for (size_t k = 0; k < CLASSES; k++)
			if (action_parse(str_c(actions[k]), &p.actions[k], e) < 0)
				return err_wrap(e, "%s", class_names[k]);
		for (size_t k = 0; k < rows[i].list->n; k++)
			if (setting(str_c(rows[i].list->v[k]), &p, e) < 0)
				return err_wrap(e, "%s", rows[i].name);
		if (conf->spam_check && levels_read(conf->spam_tag_level, conf->spam_tag2_level, conf->spam_kill_level, &p.levels, e) < 0)
			return -1;
		out[rows[i].origin] = p;
	}
	return 0;
}

/* --- of recipients: a line of a section --- */

struct reading {
	struct policies *p;
	struct section *s;
	struct str value;
	unsigned line;
};

typedef int setting_fn(struct reading *r, struct err *e);

static int text_once(struct reading *r, const char **to, struct err *e)
{
	if (*to != NULL)
		return err_set(e, ERR_CONF, 0, "said twice");
	*to = arena_cstr(r->p->a, r->value);
	return 0;
}

static int level_once(struct reading *r, const char **to, struct err *e)
{
	double level;
	return text_once(r, to, e) < 0 ? -1 : level_read("the level", *to, "never", &level, e);
}

static int set_tag(struct reading *r, struct err *e) { return level_once(r, &r->s->tag, e); }
static int set_tag2(struct reading *r, struct err *e) { return level_once(r, &r->s->tag2, e); }
static int set_kill(struct reading *r, struct err *e) { return level_once(r, &r->s->kill, e); }
static int set_subject_tag(struct reading *r, struct err *e) { return text_once(r, &r->s->subject_tag, e); }
static int set_redirect(struct reading *r, struct err *e) { return text_once(r, &r->s->redirect, e); }

static int set_bypass(struct reading *r, struct err *e)
{
	struct str one;
	while (str_token(&r->value, " \t,", &one))
		if (stage_parse(one, r->s->off, e) < 0)
			return -1;
	return 0;
}

static int add_all(struct reading *r, struct addrlist **to, unsigned value, size_t *n, struct err *e)
{
	struct str one;
	if (*to == NULL)
		*to = addrlist_new();
	for (; str_token(&r->value, " \t,", &one); ++*n)
		if (addrlist_add(*to, one.n > 1 && one.p[0] == '@' ? str_from(one, 1) : one, value, e) < 0)
			return -1;
	return 0;
}

static int set_recipients(struct reading *r, struct err *e) { return add_all(r, &r->p->to, (unsigned)(r->s - r->p->sections), &r->s->recipients, e); }
static int set_white(struct reading *r, struct err *e) { size_t n = 0; return add_all(r, &r->s->white, 0, &n, e); }
static int set_black(struct reading *r, struct err *e) { size_t n = 0; return add_all(r, &r->s->black, 0, &n, e); }

static int add_banned(struct reading *r, struct err *e)
{
	if (r->s->banned == NULL)
		r->s->banned = banned_new();
	return banned_add(r->s->banned, r->value, r->line, true, e);
}

static const struct {
	const char *name;
	setting_fn *set;
} settings[] = {
	{ "recipients", set_recipients },   { "spam_tag_level", set_tag },            { "spam_tag2_level", set_tag2 },
	{ "spam_kill_level", set_kill },    { "spam_subject_tag", set_subject_tag },  { "redirect_recipient", set_redirect },
	{ "bypass", set_bypass },           { "whitelist_senders", set_white },       { "blacklist_senders", set_black },
	{ "banned_rule", add_banned },
};

static int set_action(struct reading *r, size_t class, struct err *e)
{
	if (r->s->has_action[class])
		return err_set(e, ERR_CONF, 0, "said twice");
	r->s->has_action[class] = true;
	return action_parse(r->value, &r->s->actions[class], e);
}

static int line_parse(struct policies *p, struct str line, unsigned number, struct err *e)
{
	struct str value = line;
	const struct str name = str_trim(str_split(&value, '='));
	if (value.p == NULL)
		return err_set(e, ERR_CONF, 0, "neither [NAME] nor SETTING = VALUE");
	if (p->n == 0)
		return err_set(e, ERR_CONF, 0, "a setting before the first [NAME]");
	struct reading r = { p, &p->sections[p->n - 1], str_trim(value), number };
	const int class = find(class_names, CLASSES, name);
	if (class >= 0)
		return set_action(&r, (size_t)class, e) < 0 ? err_wrap(e, "%.*s", STR_ARG(name)) : 0;
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (str_eq(name, str_c(settings[i].name)))
			return settings[i].set(&r, e) < 0 ? err_wrap(e, "%s", settings[i].name) : 0;
	return err_set(e, ERR_CONF, 0, "no setting is called \"%.*s\"", STR_ARG(name));
}

/* --- of recipients: the file --- */

static int section_end(const struct policies *p, struct err *e)
{
	const struct section *s = p->n == 0 ? NULL : &p->sections[p->n - 1];
	return s == NULL || s->recipients > 0 ? 0 : err_set(e, ERR_CONF, 0, "the section [%s] before it has no recipients", s->name);
}

static int section_begin(struct policies *p, struct str line, struct err *e)
{
	const struct str name = str_trim(str_sub(line, 1, line.n - 2));
	if (line.p[line.n - 1] != ']' || name.n == 0)
		return err_set(e, ERR_CONF, 0, "a section begins with [NAME]");
	if (section_end(p, e) < 0)
		return -1;
	if (p->n == POLICIES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d sections", POLICIES_MAX);
	p->sections = xrealloc(p->sections, (p->n + 1) * sizeof(*p->sections));
	p->sections[p->n++] = (struct section){ .name = arena_cstr(p->a, name) };
	return 0;
}

static int file_parse(struct policies *p, const char *file, struct str text, struct err *e)
{
	unsigned number = 1;
	int r = 0;
	for (; text.p != NULL && r == 0; number++) {
		const struct str line = str_trim(str_split(&text, '\n'));
		if (line.n > 0 && line.p[0] != '#')
			r = line.p[0] == '[' && line.n > 1 ? section_begin(p, line, e) : line_parse(p, line, number, e);
		if (r < 0)
			return err_wrap(e, "%s:%u", file, number);
	}
	if (section_end(p, e) < 0)
		return err_wrap(e, "%s:%u", file, number - 1);
	if (p->to == NULL)
		return 0;
	addrlist_ready(p->to);
	const struct str twice = addrlist_twice(p->to);
	return twice.n > 0 ? err_set(e, ERR_CONF, 0, "%s: %.*s is a recipient of two sections", file, STR_ARG(twice)) : 0;
}

/* That of all with what the section says. */
static int combine(const struct conf *conf, const struct policy *all, const struct section *s, struct policy *out, struct err *e)
{
	*out = *all;
	out->section = s->name;
	for (size_t i = 0; i < CLASSES; i++)
		if (s->has_action[i])
			out->actions[i] = s->actions[i];
	for (size_t i = 0; i < STAGES; i++)
		out->off[i] |= s->off[i];
	if (s->subject_tag != NULL)
		out->subject_tag = s->subject_tag;
	if (s->redirect != NULL)
		out->redirect = s->redirect;
	out->white = s->white;
	out->black = s->black;
	out->banned = s->banned;
	if (!conf->spam_check)
		return 0;
	return levels_read(s->tag != NULL ? s->tag : conf->spam_tag_level, s->tag2 != NULL ? s->tag2 : conf->spam_tag2_level,
			   s->kill != NULL ? s->kill : conf->spam_kill_level, &out->levels, e);
}

static int own_load(const struct conf *conf, struct policies *p, struct err *e)
{
	const char *file = conf->filter_recipient_policies;
	struct buf text;
	if (file[0] == '\0')
		return 0;
	buf_init(&text, POLICY_FILE_MAX);
	int r = file_read(file, POLICY_FILE_MAX, &text, e);
	if (r == 0)
		r = file_parse(p, file, buf_view(&text), e);
	buf_fini(&text);
	p->own = p->n == 0 ? NULL : xzalloc(p->n * ORIGINS * sizeof(*p->own));
	for (size_t i = 0; r == 0 && i < p->n * ORIGINS; i++)
		r = combine(conf, &p->all[i % ORIGINS], &p->sections[i / ORIGINS], &p->own[i], e);
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		if (p->sections[i].white != NULL)
			addrlist_ready(p->sections[i].white);
		if (p->sections[i].black != NULL)
			addrlist_ready(p->sections[i].black);
	}
	return r < 0 ? err_wrap(e, "filter_recipient_policies") : 0;
}

int policies_load(const struct conf *conf, struct policies **out, struct err *e)
{
	struct policies *p = xzalloc(sizeof(*p));
	p->a = arena_new(0);
	if (origins_load(conf, p->all, e) < 0 || own_load(conf, p, e) < 0) {
		policies_free(&p);
		return -1;
	}
	*out = p;
	return 0;
}

void policies_free(struct policies **p)
{
	if (*p == NULL)
		return;
	for (size_t i = 0; i < (*p)->n; i++) {
		addrlist_free(&(*p)->sections[i].white);
		addrlist_free(&(*p)->sections[i].black);
		banned_free(&(*p)->sections[i].banned);
	}
	addrlist_free(&(*p)->to);
	free((*p)->sections);
	free((*p)->own);
	arena_free(&(*p)->a);
	free(*p);
	*p = NULL;
}

bool policies_differ(const struct policies *p)
{
	return p->n > 0;
}

const struct policy *policy_of_all(const struct policies *p, enum origin o)
{
	return &p->all[o];
}

const struct policy *policy_of(const struct policies *p, enum origin o, struct str address, struct str before, const char *delimiters)
{
	unsigned i;
	if (addrlist_find(p->to, address, delimiters, &i) || (before.n > 0 && addrlist_find(p->to, before, delimiters, &i)))
		return &p->own[i * ORIGINS + o];
	return &p->all[o];
}
