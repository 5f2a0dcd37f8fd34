/* Definitions of rules: the forms of header, body, meta … lines, patterns between delimiters, calls of eval functions. */
#include <stdio.h>
#include <stdlib.h>

#include "spam/set.h"

/* --- patterns --- */

static char closing(char open)
{
	return open == '{' ? '}' : open == '(' ? ')' : open == '[' ? ']' : open == '<' ? '>' : open;
}

int pattern_parse(struct str text, struct pattern *out, struct err *e)
{
	struct str t = text;
	if (str_starts(t, STR("qr")))
		t = str_from(t, 2);
	else if (t.n > 0 && t.p[0] == 'm')
		t = str_from(t, 1);
	else if (t.n == 0 || t.p[0] != '/')
		return err_set(e, ERR_CONF, 0, "a pattern has the form /…/ or m{…}");
	if (t.n < 2 || ch_alnum(t.p[0]) || t.p[0] == '_' || t.p[0] == '\\' || ch_space(t.p[0]))
		return err_set(e, ERR_CONF, 0, "a pattern has the form /…/ or m{…}");
	char end = closing(t.p[0]);
	size_t n = t.n;
	while (n > 1 && ch_lower_p(t.p[n - 1]))
		n--;
	if (n < 2 || t.p[n - 1] != end)
		return err_set(e, ERR_CONF, 0, "a pattern lacks its closing %c", end);
	struct pattern p = { .text = str_sub(t, 1, n - 2) };
	size_t k = 0;
	for (size_t i = n; i < t.n; i++)
		if (strchr("imsxn", t.p[i]) != NULL && k + 2 < sizeof(p.flags) && strchr(p.flags, t.p[i]) == NULL)
			p.flags[k++] = t.p[i];	/* a, g, c, o, p: nothing here */
	p.flags[k] = 'J';
	if (str_find(p.text, STR("(?{")) >= 0 || str_find(p.text, STR("(??{")) >= 0)
		return err_set(e, ERR_CONF, 0, "a pattern holds code");
	*out = p;
	return 0;
}

int pattern_compile(struct set *s, struct pattern *p, struct err *e)
{
	if (p->text.n > SPAM_PATTERN_MAX)
		return err_set(e, ERR_CONF, 0, "a pattern has more than %d bytes", SPAM_PATTERN_MAX);
	return pcre_compile(p->text, p->flags, s->opt->jit, &p->code, e);
}

/* --- rules --- */

static struct str word(struct str *rest)
{
	struct str w;
	return str_token(rest, " \t", &w) ? w : STR("");
}

static void rule_reset(struct reader *r, struct rule *rule, enum rule_type type)
{
	rule->type = rule->of = type;
	rule->negated = false;
	rule->if_unset = rule->text = (struct str){ 0 };
	pcre_free(&rule->pattern.code);
	rule->pattern = (struct pattern){ 0 };
	rule->head = NULL;
	rule->detail = NULL;
	rule->n_args = 0;
	rule->file = r->file;
	rule->line = r->line;
}

/* "fn('a', 2, undef)" */
static int parse_call(struct rule *rule, struct str call, struct err *e)
{
	ptrdiff_t open = str_chr(call, '('), close = str_rchr(call, ')');
	if (open <= 0 || close < open)
		return err_set(e, ERR_CONF, 0, "eval:%.*s is no call, as name(arguments)", STR_ARG(call));
	rule->type = RULE_EVAL;
	rule->text = str_trim(str_sub(call, 0, (size_t)open));
	struct str in = str_trim(str_sub(call, (size_t)open + 1, (size_t)(close - open) - 1));
	while (in.n > 0) {
		struct str arg;
		if (rule->n_args == SPAM_ARGS_MAX)
			return err_set(e, ERR_CONF, 0, "more than %d arguments", SPAM_ARGS_MAX);
		if (in.p[0] == '\'' || in.p[0] == '"') {
			ptrdiff_t end = str_chr(str_from(in, 1), in.p[0]);
			if (end < 0)
				return err_set(e, ERR_CONF, 0, "an argument lacks its closing %c", in.p[0]);
			arg = str_sub(in, 1, (size_t)end);
			in = str_trim(str_from(in, (size_t)end + 2));
			if (in.n > 0 && in.p[0] != ',')
				return err_set(e, ERR_CONF, 0, "a comma is missing between arguments");
			in = in.n > 0 ? str_trim(str_from(in, 1)) : in;
		} else {
			arg = str_trim(str_split(&in, ','));
			in = in.p == NULL ? STR("") : str_trim(in);
		}
		rule->args[rule->n_args++] = arg;
	}
	return 0;
}

/* "/re/" or "eval:call()" for texts without a name. */
static int define_text(struct rule *rule, struct str rest, struct err *e)
{
	if (str_starts(rest, STR("eval:")))
		return parse_call(rule, str_from(rest, 5), e);
	return pattern_parse(rest, &rule->pattern, e);
}

static void take_if_unset(struct rule *rule, struct str *rest)
{
	ptrdiff_t at = str_find(*rest, STR("[if-unset:"));
	if (at <= 0 || rest->p[rest->n - 1] != ']')
		return;
	rule->if_unset = str_trim(str_sub(*rest, (size_t)at + 10, rest->n - (size_t)at - 11));
	*rest = str_trim(str_sub(*rest, 0, (size_t)at));
}

/* "Field:modifier =~ /re/ [if-unset: x]" */
static int define_header(struct reader *r, struct rule *rule, struct str rest, struct err *e)
{
	if (str_starts(rest, STR("eval:")) || str_starts(rest, STR("rbleval:")))
		return parse_call(rule, str_from(rest, (size_t)str_chr(rest, ':') + 1), e);
	if (str_starts(rest, STR("exists:"))) {
		rule->type = RULE_EXISTS;
		rule->head = set_head(r->s, str_from(rest, 7), e);
		return rule->head == NULL ? -1 : 0;
	}
	size_t n = 0;
	while (n + 1 < rest.n && !((rest.p[n] == '=' || rest.p[n] == '!') && rest.p[n + 1] == '~'))
		n++;
	if (n + 1 >= rest.n)
		return err_set(e, ERR_CONF, 0, "a header rule has the form Field =~ /…/");
	struct str field = str_trim(str_sub(rest, 0, n));
	if (field.n > 0 && field.p[field.n - 1] == ':')
		field.n--;
	rule->negated = rest.p[n] == '!';
	rest = str_trim(str_from(rest, n + 2));
	take_if_unset(rule, &rest);
	for (size_t i = 0; i < field.n; i++)
		if (!ch_alnum(field.p[i]) && strchr("_.-:", field.p[i]) == NULL)
			return err_set(e, ERR_CONF, 0, "'%.*s' is no header field", STR_ARG(field));
	if (field.n == 0)
		return err_set(e, ERR_CONF, 0, "a header rule without a field");
	rule->head = set_head(r->s, field, e);
	if (rule->head == NULL)
		return -1;
	return pattern_parse(rest, &rule->pattern, e);
}

/* The end of a pattern that starts at in: the delimiter that a blank or the end follows. */
static size_t pattern_length(struct str in)
{
	size_t i = in.n > 0 && in.p[0] == 'm' ? 1 : 0;
	char end = i < in.n ? closing(in.p[i]) : '/';
	for (i++; i < in.n; i++) {
		if (in.p[i] == '\\')
			i++;
		else if (in.p[i] == end) {
			for (i++; i < in.n && ch_lower_p(in.p[i]); i++)
				;
			if (i >= in.n || ch_blank(in.p[i]))
				return i;
		}
	}
	return in.n;
}

/* "key =~ /re/  key2 !~ /re/" */
static int define_detail(struct reader *r, struct rule *rule, struct str rest, struct err *e)
{
	static const char *const keys[] = { "raw", "type", "cleaned", "text", "domain", "host" };
	while (rest.n > 0) {
		struct detail_test *d = ARENA_NEW(r->s->a, struct detail_test);
		size_t n = 0, k = 0;
		while (n < rest.n && ch_alpha(rest.p[n]))
			n++;
		d->key = str_sub(rest, 0, n);
		while (k < ARRAY_LEN(keys) && !str_eq(d->key, str_c(keys[k])))
			k++;
		rest = str_trim(str_from(rest, n));
		if (k == ARRAY_LEN(keys) || rest.n < 3 || rest.p[1] != '~')
			return err_set(e, ERR_CONF, 0, "uri_detail has the form key =~ /…/ with raw, type, cleaned, text, domain or host");
		d->negated = rest.p[0] == '!';
		rest = str_trim(str_from(rest, 2));
		n = pattern_length(rest);
		if (pattern_parse(str_sub(rest, 0, n), &d->p, e) < 0)
			return -1;
		rest = str_trim(str_from(rest, n));
		d->next = rule->detail;
		rule->detail = d;
	}
	return rule->detail == NULL ? err_set(e, ERR_CONF, 0, "uri_detail without a test") : 0;
}

int rule_define(struct reader *r, enum rule_type type, struct str value, struct err *e)
{
	struct str rest = value, name = word(&rest);
	rest = str_trim(rest);
	struct rule *rule = set_rule(r->s, name);
	if (rule == NULL)
		return err_set(e, ERR_CONF, 0, "'%.*s' is no name of a rule, or one too many", STR_ARG(name));
	if (rest.n == 0)
		return err_set(e, ERR_CONF, 0, "%.*s: the test is missing", STR_ARG(name));
	rule_reset(r, rule, type);
	int result = 0;
	if (type == RULE_HEADER || type == RULE_MIMEHEADER)
		result = define_header(r, rule, rest, e);
	else if (type == RULE_META)
		rule->text = rest;
	else if (type == RULE_URI_DETAIL)
		result = define_detail(r, rule, rest, e);
	else if (type == RULE_OFF)
		rule->tflags |= TFLAG_BIT(NET);
	else
		result = define_text(rule, rest, e);
	if (result < 0) {
		rule->type = RULE_NONE;
		return err_wrap(e, "%.*s", STR_ARG(name));
	}
	return 0;
}
