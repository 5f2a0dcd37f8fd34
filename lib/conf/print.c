/* The rows as text: `postern config`, etc/postern.conf.sample, the section of postern.conf(5). */
#include "conf/conf_priv.h"

static const char mask[] = "********";

/* What stands in the file, or the default; what the machine's derived value is. Lines are joined. */
void conf_print(const struct conf *c, bool only_changed, FILE *to)
{
	for (size_t i = 0; i < conf_n_params; i++) {
		const struct param *p = &conf_params[i];
		const struct setting *s = &c->priv->params[i];

		if (p->type == PARAM_T_SECTION ||
		    (only_changed && (!s->line || str_eq(s->text, str_c(p->def)))))
			continue;
		if ((p->flags & PARAM_F_SECRET) && s->text.n)
			fprintf(to, "%s = %s\n", p->name, mask);
		else
			fprintf(to, "%s =%s%.*s\n", p->name, s->text.n ? " " : "", (int)s->text.n,
				s->text.n ? s->text.p : "");
	}
}

bool conf_param_info(const char *name, struct conf_param_info *out)
{
	const struct param *p = param_find(str_c(name));

	if (!p)
		return false;
	*out = (struct conf_param_info){ p->name, p->def, p->doc, p->flags };
	return true;
}

bool conf_param_next(size_t *it, const char **name)
{
	while (*it < conf_n_params) {
		const struct param *p = &conf_params[(*it)++];

		if (p->type != PARAM_T_SECTION) {
			*name = p->name;
			return true;
		}
	}
	return false;
}

bool conf_param_changed(const struct conf *c, const char *name)
{
	const struct param *p = param_find(str_c(name));

	return p && conf_setting(c, p)->line && !str_eq(conf_setting(c, p)->text, str_c(p->def));
}

unsigned conf_param_line(const struct conf *c, const char *name)
{
	const struct param *p = param_find(str_c(name));
	const struct setting *s = p ? conf_setting(c, p) : map_get(c->priv->own, str_c(name));

	return s ? s->line : 0;
}

int conf_param_value(const struct conf *c, const char *name, struct arena *a, struct str *out,
		     struct err *e)
{
	const struct param *p = param_find(str_c(name));
	struct str text, value;

	if (!conf_lookup(c, name, &text)) {
		const char *const near = param_suggest(str_c(name));

		return err_set(e, ERR_NOENT, 0, "%s: no such parameter%s%s", name, near ? "; meant is perhaps " : "", near ? near : "");
	}
	if (p && (p->flags & PARAM_F_SECRET)) {
		*out = text.n ? str_c(mask) : STR("");
		return 0;
	}
	if (conf_value(c, p, text, &value, e) < 0)
		return -1;
	*out = arena_str(a, value);
	return 0;
}

/* Text in lines of at most 78 columns, each after "# ". */
static void sample_comment(const char *text, FILE *to)
{
	struct str rest = str_c(text), word;
	size_t column = 0;

	while (str_token(&rest, " ", &word)) {
		if (column == 0 || column + 1 + word.n > 78) {
			fprintf(to, "%s# ", column ? "\n" : "");
			column = 2;
		} else {
			fputc(' ', to);
			column++;
		}
		fprintf(to, "%.*s", (int)word.n, word.p);
		column += word.n;
	}
	fputc('\n', to);
}

void conf_print_sample(FILE *to)
{
	struct buf allowed;

	buf_init(&allowed, 512);
	fputs("# postern.conf: every parameter with its default. Take the mark away where another "
	      "value is wanted.\n"
	      "# A line that starts with a blank continues the one before it. $name stands for the "
	      "value of name.\n"
	      "# \"postern check\" reports every mistake. Parameters that Postfix has keep "
	      "Postfix's meaning.\n",
	      to);
	for (size_t i = 0; i < conf_n_params; i++) {
		const struct param *p = &conf_params[i];

		if (p->type == PARAM_T_SECTION) {
			fprintf(to, "\n# --- %s ---\n", p->name);
			continue;
		}
		fputc('\n', to);
		sample_comment(p->doc, to);
		buf_reset(&allowed);
		param_allowed(p, &allowed);
		if (p->type != PARAM_T_TEXT && p->type != PARAM_T_LIST)
			fprintf(to, "# Allowed: %s.\n", allowed.p);
		fprintf(to, "#%s =%s%s\n", p->name, p->def[0] ? " " : "", p->def);
	}
	buf_fini(&allowed);
}

/* mdoc: backslashes mean something everywhere, points and quotes at a line's start, and a sentence starts a line. */
static void mdoc_text(const char *s, FILE *to)
{
	for (bool line_start = true; *s; s++) {
		if (line_start && (*s == '.' || *s == '\''))
			fputs("\\&", to);
		line_start = s[0] == '.' && s[1] == ' ' && ch_upper(s[2]);
		if (*s == '\\')
			fputs("\\e", to);
		else
			fputc(*s, to);
		if (line_start) {
			fputc('\n', to);
			s++;
		}
	}
}

/* An argument of a macro: in quotes, where quotes are doubled. */
static void mdoc_quoted(const char *s, FILE *to)
{
	fputc('"', to);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", to);
		else if (*s == '"')
			fputs("\\(dq", to);
		else
			fputc(*s, to);
	}
	fputc('"', to);
}

static void mdoc_param(const struct param *p, struct buf *allowed, FILE *to)
{
	fprintf(to, ".It Ic %s\n", p->name);
	mdoc_text(p->doc, to);
	fputc('\n', to);
	if (p->type != PARAM_T_TEXT && p->type != PARAM_T_LIST) {
		buf_reset(allowed);
		param_allowed(p, allowed);
		fprintf(to, "Allowed: %s.\n", allowed->p);
	}
	if (p->def[0]) {
		fputs("Default:\n.Li ", to);
		mdoc_quoted(p->def, to);
		fputs(" .\n", to);
	} else {
		fputs("Default: empty.\n", to);
	}
	if (p->flags & PARAM_F_POSTFIX)
		fputs("Known from Postfix.\n", to);
	if (p->flags & PARAM_F_RESTART)
		fputs("A change needs a restart.\n", to);
}

void conf_print_mdoc(FILE *to)
{
	struct buf allowed;
	bool open = false;

	buf_init(&allowed, 512);
	for (size_t i = 0; i < conf_n_params; i++) {
		const struct param *p = &conf_params[i];

		if (p->type != PARAM_T_SECTION) {
			mdoc_param(p, &allowed, to);
			continue;
		}
		fprintf(to, "%s.Ss Parameters: %s\n.Bl -tag -width Ds\n", open ? ".El\n" : "",
			p->name);
		open = true;
	}
	fputs(".El\n", to);
	buf_fini(&allowed);
}
