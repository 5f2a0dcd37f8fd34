/* Restriction lists: from words to items, and their evaluation. A list is an array of items (rule, argument); inside a list the first decisive item wins; permit ends its
 * own list only, a refusal ends all. What a rule is stands in restrictions.def; what it does in restrict_rules.c, restrict_names.c, restrict_access.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "base/num.h"
#include "deliver/policy/policy_settings.h"
#include "deliver/restrict/restrict_priv.h"

#define FIX(code) (code), SIZE_MAX
#define AT(parameter) 0, offsetof(struct conf, parameter)
static const struct rule rules[] = {
#define RESTRICT(name, fn, code, enhanced, object, text, takes, doc) { #name, rule_##fn, code, enhanced, object, text, takes },
#define RALIAS(old, name)
#include "deliver/restrict/restrictions.def"
#undef RESTRICT
#undef RALIAS
};

static const struct {
	const char *old, *name;
} aliases[] = {
#define RESTRICT(name, fn, code, enhanced, object, text, takes, doc)
#define RALIAS(old, name) { #old, #name },
#include "deliver/restrict/restrictions.def"
#undef RESTRICT
#undef RALIAS
};

/* --- words to items --- */

struct words {
	const struct str *v;
	size_t n, at;
	const char *parameter;
	enum object object;
	struct arena *a;
	const struct restrict_set *set;
	struct restrict_set *growing;	/* while the configuration is compiled: tables are noted, classes may come later; else NULL */
};

static const struct rule *rule_find(struct str word)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (str_case_eq(word, str_c(aliases[i].old)))
			word = str_c(aliases[i].name);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (str_case_eq(word, str_c(rules[i].name)))
			return &rules[i];
	return NULL;
}

static const struct list *class_find(const struct restrict_set *s, struct str word)
{
	for (size_t i = 0; i < s->n_classes; i++)
		if (str_eq(word, str_c(s->classes[i].parameter)))
			return &s->classes[i];
	return NULL;
}

static bool is_table(struct str word)
{
	const ptrdiff_t colon = str_chr(word, ':');

	return colon > 0 && word.p[0] != '{';
}

static bool table_known(const struct restrict_set *s, const char *spec)
{
	for (size_t i = 0; i < s->n_tables; i++)
		if (strcmp(s->tables[i], spec) == 0)
			return true;
	return false;
}

static int table_note(struct words *w, const char *spec, struct err *e)
{
	struct restrict_set *s = w->growing;

	if (table_known(w->set, spec))
		return 0;
	if (s == NULL)
		return err_set(e, ERR_CONF, 0, "%s: %s is named by no list of the configuration", w->parameter, spec);
	if (s->n_tables == s->cap_tables)
		return err_set(e, ERR_CONF, 0, "more than %zu access tables", s->cap_tables);
	s->tables[s->n_tables++] = spec;
	return 0;
}

static int take_argument(struct words *w, const struct rule *r, struct item *out, struct err *e)
{
	struct policy_settings set;
	uint64_t seconds;

	if (w->at == w->n)
		return err_set(e, ERR_CONF, 0, "%s: %s needs a word after it", w->parameter, r->name);
	const struct str word = w->v[w->at++];
	out->arg = arena_cstr(w->a, word);
	switch (r->takes) {
	case TABLE:
		return !is_table(word) ? err_set(e, ERR_CONF, 0, "%s: %s: \"%s\" is no table (allowed: type:name)", w->parameter, r->name, out->arg)
				       : table_note(w, out->arg, e);
	case DOMAIN_:
		return dnsbl_filter_check(out->arg, e) < 0 ? err_wrap(e, "%s: %s", w->parameter, r->name) : 0;
	case SERVICE:
		return policy_settings_parse(w->set->conf, str_c(out->arg), &set, e) < 0 ? err_wrap(e, "%s: %s", w->parameter, r->name) : 0;
	case SECONDS:
		return num_parse(word, 0, 600, &seconds) < 0 ? err_set(e, ERR_CONF, 0, "%s: sleep: \"%s\" (allowed: 0 to 600)", w->parameter, out->arg) : 0;
	default:
		return 0;
	}
}

static const char *access_rule(enum object object)
{
	switch (object) {
	case CLIENT: return "check_client_access";
	case HELO: return "check_helo_access";
	case SENDER: return "check_sender_access";
	case ETRN: return "check_etrn_access";
	default: return "check_recipient_access";
	}
}

/* The name of a restriction that is near to word, behind what is said of it; else "". */
static const char *meant(struct arena *a, struct str word)
{
	struct near n;

	near_init(&n, word);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		near_try(&n, rules[i].name);
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		near_try(&n, aliases[i].old);
	return near_best(&n) ? arena_printf(a, "; meant is perhaps %s", near_best(&n)) : "";
}

static int take_item(struct words *w, struct item *out, struct err *e)
{
	struct str word = w->v[w->at++];

	*out = (struct item){ .object = w->object };
	if (w->growing)
		out->place = ++w->growing->n_items;
	if (str_case_eq(word, STR("warn_if_reject"))) {
		if (w->at == w->n)
			return err_set(e, ERR_CONF, 0, "%s: warn_if_reject needs a restriction after it", w->parameter);
		out->warn = true;
		word = w->v[w->at++];
	}
	out->class = class_find(w->set, word);
	if (out->class)
		return 0;
	out->rule = rule_find(is_table(word) ? str_c(access_rule(w->object)) : word);
	if (out->rule == NULL)
		return err_set(e, ERR_CONF, 0, "%s: unknown restriction %.*s%s", w->parameter, STR_ARG(str_sub(word, 0, 60)), meant(w->a, word));
	if (out->rule->object != LIST)
		out->object = out->rule->object;
	if (is_table(word))
		w->at--;	/* the table itself */
	return out->rule->takes == NOTHING ? 0 : take_argument(w, out->rule, out, e);
}

int restrict_compile_words(const struct restrict_set *set, struct restrict_set *growing, const char *parameter, const struct str *words, size_t n, enum object object,
			   struct arena *a, struct list *out, struct err *e)
{
	struct words w = { .v = words, .n = n, .parameter = parameter, .object = object, .a = a, .set = set, .growing = growing };

	*out = (struct list){ .parameter = parameter, .v = ARENA_ARRAY(a, struct item, n + 1), .object = object };
	while (w.at < w.n)
		if (take_item(&w, &out->v[out->n++], e) < 0)
			return -1;
	return 0;
}

/* --- the configuration's lists --- */

static int compile(struct restrict_set *s, const char *parameter, struct conf_list words, enum object object, struct arena *a, struct list *out, struct err *e)
{
	struct str *v = ARENA_ARRAY(a, struct str, words.n + 1);

	for (size_t i = 0; i < words.n; i++)
		v[i] = str_c(words.v[i]);
	return restrict_compile_words(s, s, parameter, v, words.n, object, a, out, e);
}

/* The words of a class: the value of a name that the administrator chose. */
static int class_words(const struct conf *c, const char *name, struct arena *a, struct str **v_out, size_t *n_out, struct err *e)
{
	struct str text, rest, word;
	size_t n = 0;

	if (conf_param_value(c, name, a, &text, e) < 0)
		return err_set(e, ERR_CONF, 0, "smtpd_restriction_classes: %s is set nowhere", name);
	for (rest = text; str_token(&rest, ", \t\r\n", &word);)
		n++;
	*v_out = ARENA_ARRAY(a, struct str, n + 1);
	*n_out = 0;
	for (rest = text; str_token(&rest, ", \t\r\n", &word);)
		(*v_out)[(*n_out)++] = word;
	return 0;
}

/* Two rounds: a class may name one that stands after it. What it says of its object is that of the list that uses it: in a class LIST is the recipient. */
static int compile_classes(struct restrict_set *s, struct arena *a, struct err *e)
{
	const struct conf_list names = s->conf->smtpd_restriction_classes;

	s->classes = ARENA_ARRAY(a, struct list, names.n + 1);
	for (s->n_classes = 0; s->n_classes < names.n; s->n_classes++) {
		if (rule_find(str_c(names.v[s->n_classes])))
			return err_set(e, ERR_CONF, 0, "smtpd_restriction_classes: %s is a restriction's name", names.v[s->n_classes]);
		s->classes[s->n_classes].parameter = names.v[s->n_classes];
	}
	for (size_t i = 0; i < names.n; i++) {
		struct str *v;
		struct list l;
		size_t n;
		if (class_words(s->conf, names.v[i], a, &v, &n, e) < 0 || restrict_compile_words(s, s, names.v[i], v, n, RCPT, a, &l, e) < 0)
			return -1;
		s->classes[i] = l;
	}
	return 0;
}

static bool says(const struct list *l, rule_fn *fn, unsigned depth);

/* Does the item keep strangers from relaying? A table may, but nobody can know. */
static bool item_says(const struct item *it, rule_fn *fn, unsigned depth)
{
	if (it->warn)
		return false;
	return it->rule ? it->rule->fn == fn : depth < RESTRICT_DEPTH_MAX && says(it->class, fn, depth + 1);
}

static bool says(const struct list *l, rule_fn *fn, unsigned depth)
{
	for (size_t i = 0; i < l->n; i++)
		if (item_says(&l->v[i], fn, depth))
			return true;
	return false;
}

/* Somewhere it must be said that not everybody may send everywhere. */
static bool is_relay_safe(const struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (item_says(&l->v[i], rule_reject_foreign, 0) || item_says(&l->v[i], rule_reject, 0) || item_says(&l->v[i], rule_defer_permit, 0))
			return true;
		else if (item_says(&l->v[i], rule_permit, 0))
			return false;
	return false;
}

static int compile_lists(struct restrict_set *s, struct arena *a, struct err *e)
{
	const struct conf *c = s->conf;
	const struct {
		const char *parameter;
		struct conf_list words;
		enum object object;
		struct list *out;
	} t[] = {
		{ "smtpd_client_restrictions", c->smtpd_client_restrictions, CLIENT, &s->client },
		{ "smtpd_helo_restrictions", c->smtpd_helo_restrictions, HELO, &s->helo },
		{ "smtpd_sender_restrictions", c->smtpd_sender_restrictions, SENDER, &s->sender },
		{ "smtpd_relay_restrictions", c->smtpd_relay_restrictions, RCPT, &s->relay },
		{ "smtpd_recipient_restrictions", c->smtpd_recipient_restrictions, RCPT, &s->recipient },
		{ "smtpd_data_restrictions", c->smtpd_data_restrictions, DATA, &s->data },
		{ "smtpd_end_of_data_restrictions", c->smtpd_end_of_data_restrictions, END, &s->end },
		{ "smtpd_etrn_restrictions", c->smtpd_etrn_restrictions, ETRN, &s->etrn },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (compile(s, t[i].parameter, t[i].words, t[i].object, a, t[i].out, e) < 0)
			return -1;
	return 0;
}

static int note_tables(struct restrict_set *s, const char *parameter, struct conf_list l, struct err *e)
{
	struct words w = { .parameter = parameter, .set = s, .growing = s };

	for (size_t i = 0; i < l.n; i++)
		if (!is_table(str_c(l.v[i])))
			return err_set(e, ERR_CONF, 0, "%s: \"%s\" is no table (allowed: type:name)", parameter, l.v[i]);
		else if (table_note(&w, l.v[i], e) < 0)
			return -1;
	return 0;
}

enum { TABLES_MAX = 200 };

int restrict_compile(const struct conf *c, struct arena *a, struct restrict_set **out, struct err *e)
{
	struct restrict_set *s = ARENA_NEW(a, struct restrict_set);

	s->conf = c;
	s->cap_tables = TABLES_MAX;
	s->tables = ARENA_ARRAY(a, const char *, TABLES_MAX);
	if (compile_classes(s, a, e) < 0 || compile_lists(s, a, e) < 0 || dnsbl_compile(s, a, e) < 0 ||
	    note_tables(s, "smtpd_sender_login_maps", c->smtpd_sender_login_maps, e) < 0 || note_tables(s, "relay_clientcerts", c->relay_clientcerts, e) < 0 ||
	    note_tables(s, "rbl_reply_maps", c->rbl_reply_maps, e) < 0 || rbl_reply_check(c, a, e) < 0)
		return -1;
	if (!is_relay_safe(&s->relay) && !is_relay_safe(&s->recipient))
		return err_set(e, ERR_CONF, 0, "smtpd_relay_restrictions or smtpd_recipient_restrictions: one must hold reject_unauth_destination (or reject, defer, "
			       "defer_unauth_destination), else this is an open relay");
	*out = s;
	return 0;
}

bool restrict_table_next(const struct restrict_set *s, size_t *it, const char **spec_out)
{
	if (*it >= s->n_tables)
		return false;
	*spec_out = s->tables[(*it)++];
	return true;
}

bool restrict_has(const struct restrict_set *s, enum restrict_stage stage)
{
	switch (stage) {
	case RESTRICT_MAIL: return !s->conf->smtpd_delay_reject;
	case RESTRICT_RCPT: return true;
	case RESTRICT_DATA: return s->data.n > 0;
	case RESTRICT_END: return s->end.n > 0;
	case RESTRICT_ETRN: return s->etrn.n > 0;
	case RESTRICT_NAMES: return false;
	}
	return true;
}

/* --- helpers of rules --- */

static const struct fact too_many = { .state = FACT_TROUBLE, .why = { "too many questions", 18 } };

const struct fact *want(struct ev *ev, enum fact_kind kind, struct str subject, struct str key, unsigned arg)
{
	const struct fact_key k = { kind, subject, key, arg };
	const struct fact *f = ev->src->get(ev->src->ctx, &k);

	if (f == NULL)
		return &too_many;
	return f->state == FACT_PENDING ? NULL : f;
}

void note(struct ev *ev, bool warn, const char *fmt, ...)
{
	struct restrict_effects *x = &ev->out->effects;
	char text[RESTRICT_TEXT_MAX + 1];
	va_list ap;

	if (x->n_log == RESTRICT_EFFECTS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->warn[x->n_log] = warn;
	x->log[x->n_log++] = str_c(arena_strdup(ev->a, text));
}

bool class_is_ours(struct str class)
{
	return str_eq(class, STR("local")) || str_eq(class, STR("virtual")) || str_eq(class, STR("relay")) || str_eq(class, STR("unknown"));
}

int rule_code(const struct ev *ev, const struct item *it)
{
	const struct rule *r = it->rule;

	return r->code_at == SIZE_MAX ? r->code : (int)*(const uint64_t *)(const void *)((const char *)ev->set->conf + r->code_at);
}

struct str object_text(const struct ev *ev, enum object object)
{
	switch (object) {
	case CLIENT: return str_c(arena_printf(ev->a, "%s[%.*s]", ev->client_name, STR_ARG(ev->f->client)));
	case REVERSE: return str_c(ev->reverse_name);
	case HELO: return ev->f->helo;
	case SENDER: return ev->f->sender;
	case DATA: return STR("DATA");
	case END: return STR("END-OF-MESSAGE");
	case ETRN: return ev->f->etrn;
	default: return ev->f->recipient;
	}
}

enum verdict refuse_whole(struct ev *ev, int code, const char *enhanced, struct str text)
{
	char *copy = arena_strdup(ev->a, enhanced);

	copy[0] = (char)('0' + code / 100);	/* the administrator may have chosen another class than the row */
	ev->out->code = code;
	ev->out->enhanced = copy;
	ev->out->text = str_sub(text, 0, RESTRICT_TEXT_MAX);
	ev->said = true;
	return REFUSE;
}

enum verdict refuse(struct ev *ev, enum object object, int code, const char *enhanced, struct str text)
{
	static const char *const what[] = {
		[CLIENT] = "Client host", [REVERSE] = "Unverified Client host", [HELO] = "Helo command", [SENDER] = "Sender address", [RCPT] = "Recipient address",
		[RELAY] = "Recipient address", [DATA] = "Data command", [END] = "End-of-data", [ETRN] = "Etrn command", [LIST] = "Recipient address",
	};
	const struct str on = object_text(ev, object);

	if (object == RELAY)
		return refuse_whole(ev, code, enhanced, str_c(arena_printf(ev->a, "<%.*s>: %.*s", STR_ARG(on), STR_ARG(text))));
	return refuse_whole(ev, code, enhanced, str_c(arena_printf(ev->a, "<%.*s>: %s rejected: %.*s", STR_ARG(on), what[object], STR_ARG(text))));
}

/* Remembered until the end: if all else would accept, this is said instead. */
enum verdict defer_later(struct ev *ev, const struct item *it, const char *enhanced, struct str text)
{
	if (ev->defer_if_permit)
		return DUNNO;
	(void)!refuse(ev, it->object, 450, enhanced, text);
	ev->said = false;
	ev->defer_if_permit = true;
	ev->defer_enhanced = ev->out->enhanced;
	ev->permit_text = ev->out->text;
	return DUNNO;
}

/* --- evaluation --- */

static enum verdict item_run(struct ev *ev, const struct item *it)
{
	ev->said = false;
	if (it->class)
		return list_run(ev, it->class);
	const enum verdict v = it->rule->fn(ev, it);
	if (v == REFUSE && !ev->said)
		return refuse(ev, it->object, rule_code(ev, it), it->rule->enhanced, str_c(it->rule->text));
	return v;
}

enum verdict list_run(struct ev *ev, const struct list *l)
{
	enum verdict v = DUNNO;

	if (ev->depth++ >= RESTRICT_DEPTH_MAX)
		return refuse_whole(ev, 451, "4.3.5", STR("Server configuration error"));
	for (size_t i = 0; i < l->n && v == DUNNO; i++) {
		const bool if_permit = ev->defer_if_permit;
		if (ev->rules++ >= RESTRICT_RULES_MAX)
			return refuse_whole(ev, 451, "4.3.5", STR("Server configuration error"));
		v = item_run(ev, &l->v[i]);
		if (!l->v[i].warn)
			continue;
		if (v == REFUSE) {
			note(ev, false, "reject_warning: %d %s %.*s", ev->out->code, ev->out->enhanced, STR_ARG(ev->out->text));
			v = DUNNO;
		}
		ev->defer_if_permit = if_permit;
	}
	ev->depth--;
	return v;
}

/* Who is refused must be able to ask somebody why (RFC 5321 4.5.1): no list says anything of a recipient that is "postmaster" and nothing else. */
static bool always_taken(const struct ev *ev)
{
	return ev->stage == RESTRICT_RCPT && str_case_eq(ev->f->recipient, STR("postmaster"));
}

static enum verdict run_lists(struct ev *ev)
{
	const struct restrict_set *s = ev->set;
	const bool early = ev->stage == RESTRICT_MAIL || (ev->stage == RESTRICT_RCPT && s->conf->smtpd_delay_reject);
	const struct list *const all[] = {
		early ? &s->client : NULL, early ? &s->helo : NULL, early ? &s->sender : NULL,
		ev->stage == RESTRICT_RCPT ? &s->relay : NULL, ev->stage == RESTRICT_RCPT ? &s->recipient : NULL,
		ev->stage == RESTRICT_DATA ? &s->data : NULL, ev->stage == RESTRICT_END ? &s->end : NULL, ev->stage == RESTRICT_ETRN ? &s->etrn : NULL,
	};
	enum verdict v = client_names(ev);

	if (v == DUNNO && always_taken(ev))
		return PERMIT;
	if (v == DUNNO && early)
		v = dnsbl_score(ev);
	for (size_t i = 0; i < ARRAY_LEN(all) && (v == DUNNO || v == PERMIT); i++)
		if (all[i])
			v = list_run(ev, all[i]);
	if ((v == DUNNO || v == PERMIT) && early && s->conf->smtpd_reject_unlisted_sender) {
		static const struct item unlisted = { .object = SENDER };
		v = rule_reject_unlisted_sender(ev, &unlisted);
	}
	return v;
}

/* What was put off: a permit, or a refusal for good, becomes one for now. */
static enum verdict settle(struct ev *ev, enum verdict v)
{
	if (v == REFUSE && ev->defer_if_reject && ev->out->code >= 500)
		return refuse_whole(ev, 450, "4.7.1", ev->reject_text);
	if ((v == DUNNO || v == PERMIT) && ev->defer_if_permit)
		return refuse_whole(ev, 450, ev->defer_enhanced, ev->permit_text);
	return v;
}

void restrict_evaluate(const struct restrict_set *set, enum restrict_stage stage, const struct restrict_facts *f, const struct fact_source *src, struct arena *a,
		       struct restrict_answer *out)
{
	struct ev ev = { .set = set, .f = f, .src = src, .a = a, .out = out, .stage = stage, .client_name = "unknown", .reverse_name = "unknown" };

	*out = (struct restrict_answer){ .enhanced = "" };
	const enum verdict v = settle(&ev, run_lists(&ev));
	out->result = v == WAIT ? RESTRICT_WAIT : v == REFUSE ? RESTRICT_REFUSED : RESTRICT_PASS;
	out->name_trouble = ev.client_trouble || ev.reverse_trouble;
	out->client_name = ev.client_name;
	out->reverse_name = ev.reverse_name;
}
