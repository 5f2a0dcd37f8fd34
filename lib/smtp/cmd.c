/* RFC 5321 section 4.1.1: the shape of commands, without their meaning. */
#include "smtp/cmd.h"

#include "base/num.h"

int smtp_cmd_parse(struct str line, struct str *verb_out, struct str *args_out, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < line.n; i++)
		if (ch_ctl(line.p[i]) && line.p[i] != '\t')
			return err_set(e, ERR_INPUT, 0, "control character in command");
	while (n < line.n && !ch_blank(line.p[n]))
		n++;
	if (n == 0)
		return err_set(e, ERR_INPUT, 0, "no command");
	*verb_out = str_sub(line, 0, n);
	*args_out = str_trim(str_from(line, n));
	return 0;
}

bool smtp_cmd_keyword(struct str *args, const char *word, bool strict)
{
	struct str rest = *args;

	if (!str_case_starts(rest, str_c(word)))
		return false;
	rest = str_from(rest, strlen(word));
	while (!strict && rest.n > 0 && ch_blank(rest.p[0]))
		rest = str_from(rest, 1);
	if (rest.n == 0 || rest.p[0] != ':')
		return false;
	*args = str_from(rest, 1);
	return true;
}

int smtp_param_next(struct str *rest, struct smtp_param *out, struct err *e)
{
	struct smtp_param p = { 0 };
	struct str word;

	if (!str_token(rest, " \t", &word))
		return 1;
	if (word.n > SMTP_PARAM_MAX)
		return err_set(e, ERR_INPUT, 0, "parameter longer than %d", SMTP_PARAM_MAX);
	p.key = str_split(&word, '=');
	p.value = word;
	for (size_t i = 0; i < p.key.n; i++)
		if (!ch_alnum(p.key.p[i]) && (i == 0 || p.key.p[i] != '-'))
			return err_set(e, ERR_INPUT, 0, "bad character in a parameter name");
	for (size_t i = 0; i < p.value.n; i++)
		if ((unsigned char)p.value.p[i] < '!' || p.value.p[i] == '\x7f')
			return err_set(e, ERR_INPUT, 0, "bad character in a parameter value");
	if (p.key.n == 0 || (p.value.p != NULL && p.value.n == 0))
		return err_set(e, ERR_INPUT, 0, "empty parameter");
	*out = p;
	return 0;
}

int smtp_size_parse(struct str value, uint64_t max, uint64_t *bytes_out, struct err *e)
{
	uint64_t v;

	if (value.n < 1 || value.n > 20)
		return err_set(e, ERR_INPUT, 0, "SIZE: %zu digits", value.n);
	for (size_t i = 0; i < value.n; i++)
		if (!ch_digit(value.p[i]))
			return err_set(e, ERR_INPUT, 0, "SIZE: not a number");
	if (num_parse(value, 0, max > 0 ? max : UINT64_MAX, &v) < 0)
		return err_set(e, ERR_TOOBIG, 0, "SIZE: above the limit");
	*bytes_out = v;
	return 0;
}

bool smtp_cmd_foreign(struct str line)
{
	static const char *const words[] = { "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI" };
	struct str rest = line;
	const struct str word = str_split(&rest, ' ');

	if (line.n > 1 && line.p[0] == 0x16 && line.p[1] == 0x03)
		return true;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (str_eq(word, str_c(words[i])))
			return true;
	return word.n > 1 && word.p[word.n - 1] == ':' && !ch_digit(word.p[0]);
}
