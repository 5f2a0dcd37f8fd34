/* Actions of access(5), as a table: word, kind, and whether a text must follow. */
#include "deliver/restrict/access.h"

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

/* The enhanced code at the start of *text, if it is one of class; *text is what follows. */
static struct str take_enhanced(struct str *text, char class)
{
	struct str rest = *text;
	const struct str word = str_split(&rest, ' ');

	if (!smtp_enhanced_valid(word) || word.p[0] != class)
		return (struct str){ 0 };
	*text = rest.p ? str_trim(rest) : (struct str){ 0 };
	return word;
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
	case ADDRESS: return str_chr(text, '@') > 0 && str_chr(text, ' ') < 0;
	case FIELD: return colon > 0 && str_chr(str_sub(text, 0, (size_t)colon), ' ') < 0;
	case ROUTE: return is_route(text);
	default: return true;
	}
}

/* "4NN text", "5NN text"; other numbers are OK, as in access(5). */
static int parse_number(struct str word, struct str text, struct access_action *out, struct err *e)
{
	uint64_t code;

	*out = (struct access_action){ .kind = ACCESS_OK };
	if (word.n != 3 || (word.p[0] != '4' && word.p[0] != '5'))
		return 0;
	if (num_parse(word, 400, 599, &code) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" is no SMTP code", STR_ARG(word));
	out->kind = ACCESS_REFUSE;
	out->code = (int)code;
	out->enhanced = take_enhanced(&text, word.p[0]);
	out->text = text;
	return 0;
}

static bool all_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_digit(s.p[i]))
			return false;
	return s.n > 0;
}

static int parse_word(size_t row, struct str text, int code, struct access_action *out, struct err *e)
{
	if (!text_fits(actions[row].need, text))
		return err_set(e, ERR_CONF, 0, "%s \"%.*s\": not what this action needs", actions[row].word, STR_ARG(str_sub(text, 0, 60)));
	*out = (struct access_action){ .kind = actions[row].kind, .text = text };
	if (out->kind == ACCESS_REFUSE) {
		out->code = code;
		out->enhanced = take_enhanced(&out->text, code < 500 ? '4' : '5');
	} else if (out->kind == ACCESS_DEFER_IF_PERMIT || out->kind == ACCESS_DEFER_IF_REJECT) {
		out->enhanced = take_enhanced(&out->text, '4');
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
