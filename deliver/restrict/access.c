/* Actions of access(5), as a table: word, kind, and whether a text must follow. */
#include "deliver/restrict/access.h"

#include <string.h>

#include "base/num.h"
#include "smtp/reply.h"

enum need { NO_TEXT, MAY_TEXT, ADDRESS, FIELD, ROUTE };

static const struct {
	const char *word;
	enum access_kind kind;
	enum need need;
} actions[] = {
	{ "OK", ACCESS_OK, MAY_TEXT },
	{ "PERMIT", ACCESS_OK, NO_TEXT },
	{ "RELAY", ACCESS_OK, NO_TEXT },
	{ "DUNNO", ACCESS_DUNNO, MAY_TEXT },
	{ "REJECT", ACCESS_REFUSE, MAY_TEXT },
	{ "DEFER", ACCESS_REFUSE, MAY_TEXT },
	{ "DEFER_IF_REJECT", ACCESS_DEFER_IF_REJECT, MAY_TEXT },
	{ "DEFER_IF_PERMIT", ACCESS_DEFER_IF_PERMIT, MAY_TEXT },
	{ "BCC", ACCESS_BCC, ADDRESS },
	{ "DISCARD", ACCESS_DISCARD, MAY_TEXT },
	{ "FILTER", ACCESS_FILTER, ROUTE },
	{ "HOLD", ACCESS_HOLD, MAY_TEXT },
	{ "PREPEND", ACCESS_PREPEND, FIELD },
	{ "REDIRECT", ACCESS_REDIRECT, ADDRESS },
	{ "INFO", ACCESS_INFO, MAY_TEXT },
	{ "WARN", ACCESS_WARN, MAY_TEXT },
};

/* The enhanced code at the start of *text, made one of class: an answer has one meaning. *text is what follows. */
static void take_enhanced(struct str *text, char class, struct access_action *out)
{
	struct str rest = *text;
	const struct str word = str_split(&rest, ' ');

	if (!smtp_enhanced_valid(word) || word.n >= sizeof(out->enhanced))
		return;
	memcpy(out->enhanced, word.p, word.n);
	out->given_class = word.p[0];
	out->enhanced[0] = class;
	*text = rest.p ? str_trim(rest) : (struct str){ 0 };
}

/* The transports that mail may be sent by (route.c has all): "smtp:[host]:port". */
static bool is_route(struct str text)
{
	static const char *const transports[] = { "smtp", "lmtp", "relay" };
	const struct str transport = str_split(&text, ':');

	for (size_t i = 0; i < ARRAY_LEN(transports); i++)
		if (str_eq(transport, str_c(transports[i])))
			return text.n > 0 && str_chr(text, ' ') < 0;
	return false;
}

static bool text_fits(enum need need, struct str text)
{
	const ptrdiff_t colon = str_chr(text, ':');

	switch (need) {
	case ADDRESS: return str_chr(text, '@') > 0 && str_chr(text, ' ') < 0 && str_chr(text, '<') < 0 && str_chr(text, '>') < 0;
	case FIELD: return colon > 0 && str_chr(str_sub(text, 0, (size_t)colon), ' ') < 0;
	case ROUTE: return is_route(text);
	default: return true;
	}
}

static bool all_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_digit(s.p[i]))
			return false;
	return s.n > 0;
}

/* "4NN text", "5NN text"; a number alone is OK otherwise, as in access(5). A number that only looks like a code must not let anybody in. */
static int parse_number(struct str word, struct str text, struct access_action *out, struct err *e)
{
	uint64_t code;

	*out = (struct access_action){ .kind = ACCESS_OK };
	if (text.n == 0 && (word.n != 3 || (word.p[0] != '4' && word.p[0] != '5')))
		return 0;
	if (word.n != 3 || num_parse(word, 400, 599, &code) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" is no SMTP code (allowed: 4NN, 5NN)", STR_ARG(str_sub(word, 0, 20)));
	out->kind = ACCESS_REFUSE;
	out->code = (int)code;
	take_enhanced(&text, word.p[0], out);
	out->text = text;
	return 0;
}

/* "<joe@example.com>" is the address in it. */
static struct str without_brackets(struct str text)
{
	return text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>' ? str_sub(text, 1, text.n - 2) : text;
}

static int parse_word(size_t row, struct str text, int code, struct access_action *out, struct err *e)
{
	if (actions[row].need == ADDRESS)
		text = without_brackets(text);
	if (!text_fits(actions[row].need, text))
		return err_set(e, ERR_CONF, 0, "%s \"%.*s\": not what this action needs", actions[row].word, STR_ARG(str_sub(text, 0, 60)));
	*out = (struct access_action){ .kind = actions[row].kind, .text = text };
	if (out->kind == ACCESS_REFUSE) {
		out->code = code;
		take_enhanced(&out->text, code < 500 ? '4' : '5', out);
	} else if (out->kind == ACCESS_DEFER_IF_PERMIT || out->kind == ACCESS_DEFER_IF_REJECT) {
		take_enhanced(&out->text, '4', out);
	}
	return 0;
}

int access_parse(struct str value, int defer_code, int reject_code, struct access_action *out, struct err *e)
{
	struct str rest = str_trim(value), word;
	const struct str whole = rest;
	size_t n = 0;

	while (n < rest.n && !ch_space(rest.p[n]))
		n++;
	word = str_sub(rest, 0, n);
	rest = str_trim(str_from(rest, n));
	if (word.n == 0)
		return err_set(e, ERR_CONF, 0, "no action");
	if (all_digits(word))
		return parse_number(word, rest, out, e);
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (str_case_eq(word, str_c(actions[i].word)))
			return parse_word(i, rest, str_case_eq(word, STR("DEFER")) ? defer_code : reject_code, out, e);
	*out = (struct access_action){ .kind = ACCESS_RESTRICTIONS, .text = whole };
	return 0;
}
