/* The policy protocol's text. Lines of name=value, an empty line ends them; CRLF is taken for LF. */
#include "deliver/policy/policy.h"

int policy_answer_parse(struct str in, struct str *action, size_t *used_out, struct err *e)
{
	struct str found = { 0 };
	size_t at = 0;

	for (;;) {
		const ptrdiff_t n = str_chr(str_from(in, at), '\n');
		if (n < 0)
			return in.n > POLICY_ANSWER_MAX ? err_set(e, ERR_LIMIT, 0, "answer longer than %d bytes", POLICY_ANSWER_MAX) : 1;
		struct str line = str_sub(in, at, (size_t)n);
		at += (size_t)n + 1;
		if (at > POLICY_ANSWER_MAX)
			return err_set(e, ERR_LIMIT, 0, "answer longer than %d bytes", POLICY_ANSWER_MAX);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0)
			break;
		if (memchr(line.p, '\0', line.n) || str_chr(line, '=') <= 0)
			return err_set(e, ERR_INPUT, 0, "answer with a line that is not name=value");
		if (!str_case_starts(line, STR("action=")))
			continue;
		if (found.p)
			return err_set(e, ERR_INPUT, 0, "answer with two actions");
		found = str_from(line, 7);
	}
	if (str_trim(found).n == 0)
		return err_set(e, ERR_INPUT, 0, "answer without an action");
	*action = str_trim(found);
	*used_out = at;
	return 0;
}
