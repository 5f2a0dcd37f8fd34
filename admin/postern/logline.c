/* Lines of the mail log. */
#include "admin/postern/logline.h"

#include "log/count.h"

enum { STAMP_BYTES = 15 };

/* "Nov 28 17:06:05" or one word. */
static bool take_time(struct str *s, struct str *out)
{
	if (s->n > STAMP_BYTES && !ch_digit(s->p[0]) && s->p[3] == ' ' && s->p[6] == ' ' && s->p[9] == ':' && s->p[STAMP_BYTES] == ' ') {
		*out = str_sub(*s, 0, STAMP_BYTES);
		*s = str_from(*s, STAMP_BYTES + 1);
		return true;
	}
	*out = str_split(s, ' ');
	return out->n >= 19 && ch_digit(out->p[0]) && str_chr(*out, 'T') == 10;
}

/* "program[pid]:" */
static bool take_ident(struct str *s, struct logline *l)
{
	struct str ident = str_split(s, ' ');

	if (ident.n < 2 || ident.p[ident.n - 1] != ':')
		return false;
	ident.n--;
	const ptrdiff_t open = str_chr(ident, '[');
	l->program = open < 0 ? ident : str_sub(ident, 0, (size_t)open);
	if (open >= 0 && ident.p[ident.n - 1] == ']')
		l->pid = str_sub(ident, (size_t)open + 1, ident.n - (size_t)open - 2);
	return true;
}

static bool name_char(char c)
{
	return ch_alnum(c) || c == '_' || c == '-';
}

/* name=value, name=<value> at s, which advances. A value without brackets ends at a comma or blank. */
static bool take_field(struct str *s, struct str *name, struct str *value)
{
	size_t n = 0;

	while (n < s->n && name_char(s->p[n]))
		n++;
	if (n == 0 || n == s->n || s->p[n] != '=')
		return false;
	*name = str_sub(*s, 0, n);
	*s = str_from(*s, n + 1);
	if (s->n > 0 && s->p[0] == '<') {
		const ptrdiff_t close = str_chr(*s, '>');
		if (close > 0) {
			*value = str_sub(*s, 1, (size_t)close - 1);
			*s = str_from(*s, (size_t)close + 1);
			return true;
		}
	}
	for (n = 0; n < s->n && s->p[n] != ',' && s->p[n] != ' ' && s->p[n] != ';'; n++)
		;
	*value = str_sub(*s, 0, n);
	*s = str_from(*s, n);
	return true;
}

/* Fields stand at the start, and after blanks; what is in parentheses at the end is what somebody else said. */
static void take_fields(struct logline *l)
{
	struct str s = l->text;

	while (s.n > 0 && l->n_fields < LOGLINE_FIELDS_MAX && s.p[0] != '(') {
		struct str name, value;
		if (take_field(&s, &name, &value)) {
			l->fields[l->n_fields].name = name;
			l->fields[l->n_fields++].value = value;
			continue;
		}
		while (s.n > 0 && s.p[0] != ' ')
			s = str_from(s, 1);
		while (s.n > 0 && s.p[0] == ' ')
			s = str_from(s, 1);
	}
}

static const struct {
	const char *start, *event;
} events[] = {
	{ "client=", "client" },     { "uid=", "pickup" },	      { "message-id=", "message-id" }, { "from=", "from" },
	{ "to=", "to" },	     { "removed", "removed" },	      { "reject: ", "reject" },	       { "reject_warning: ", "reject_warning" },
	{ "milter-reject: ", "reject" }, { "hold: ", "hold" },	      { "placed on hold", "hold" },    { "released from hold", "release" },
	{ "requeued", "requeue" },   { "sender non-delivery notification: ", "notification" },
	{ "sender delay notification: ", "notification" }, { "sender delivery status notification: ", "notification" },
	{ "postmaster non-delivery notification: ", "notification" }, { "postmaster delay notification: ", "notification" }, { "login ok: ", "login" }, { "login failed: ", "login-failed" }, { "warning: ", "warning" }, { "error: ", "error" },
};

static void name_event(struct logline *l)
{
	l->event = "other";
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (str_starts(l->text, str_c(events[i].start))) {
			l->event = events[i].event;
			return;
		}
}

/* amavis-like lines name the message in a field. */
static void find_id(struct logline *l)
{
	const ptrdiff_t at = str_find(l->text, STR("Queue-ID: "));
	struct str rest = at < 0 ? STR("") : str_from(l->text, (size_t)at + 10), word;

	if (str_token(&rest, ", ", &word) && event_is_id(word)) {
		l->id = word;
		l->event = "filter";
	}
}

int logline_parse(struct str line, struct logline *out)
{
	struct logline l = { 0 };
	struct str s = line;

	while (s.n > 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	if (!take_time(&s, &l.time))
		return -1;
	l.host = str_split(&s, ' ');
	if (l.host.n == 0 || !take_ident(&s, &l))
		return -1;
	l.text = event_behind_id(s, &l.id);
	name_event(&l);
	if (l.id.n == 0)
		find_id(&l);
	take_fields(&l);
	*out = l;
	return 0;
}

struct str logline_field(const struct logline *l, const char *name)
{
	for (size_t i = 0; i < l->n_fields; i++)
		if (str_eq(l->fields[i].name, str_c(name)))
			return l->fields[i].value;
	return STR("");
}

struct str logline_other(const struct logline *l)
{
	static const char *const before[] = { "(forwarded as ", "notification: ", "queued as ", "queued_as: " };

	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		const ptrdiff_t at = str_find(l->text, str_c(before[i]));
		struct str rest = at < 0 ? STR("") : str_from(l->text, (size_t)at + str_c(before[i]).n), word;
		if (str_token(&rest, " );,", &word) && event_is_id(word))
			return word;
	}
	return STR("");
}
