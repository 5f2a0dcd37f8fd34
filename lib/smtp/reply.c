/* Replies of RFC 5321 section 4.2 with the enhanced codes of RFC 2034 and 3463. */
#include "smtp/reply.h"

#include "base/num.h"

static void put_line(struct buf *out, int code, char mark, struct str enhanced, struct str text)
{
	const char head[4] = { (char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10), mark };
	const size_t start = out->n;

	buf_mem(out, head, sizeof head);
	if (enhanced.n > 0) {
		buf_str(out, enhanced);
		if (text.n > 0)
			buf_ch(out, ' ');
	}
	const size_t used = out->n - start;
	if (used + text.n > SMTP_REPLY_LINE_MAX - 2)
		text.n = used < SMTP_REPLY_LINE_MAX - 2 ? SMTP_REPLY_LINE_MAX - 2 - used : 0;
	const size_t at = out->n;
	buf_str(out, text);
	for (size_t i = at; i < out->n; i++)
		if (out->p[i] < 0x20 || out->p[i] > 0x7e)
			out->p[i] = '?';
	buf_c(out, "\r\n");
}

void smtp_reply_put(struct buf *out, int code, const char *enhanced, struct str text)
{
	const struct str status = str_c(enhanced);

	for (;;) {
		const struct str line = str_split(&text, '\n');
		put_line(out, code, text.p != NULL ? '-' : ' ', status, line);
		if (text.p == NULL)
			return;
	}
}

bool smtp_enhanced_valid(struct str s)
{
	if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
		return false;
	s = str_from(s, 2);
	for (int part = 0; part < 2; part++) {
		uint64_t v;
		const struct str digits = part == 0 ? str_split(&s, '.') : s;
		if (digits.p == NULL || digits.n > 3 || num_parse(digits, 0, 999, &v) < 0)
			return false;
	}
	return true;
}

struct str smtp_enhanced_split(struct str s, const char *code, struct str *text_out)
{
	struct str rest = s;
	const struct str first = str_split(&rest, ' ');
	const bool given = smtp_enhanced_valid(first) && first.p[0] == code[0];
	const struct str text = str_trim(given ? rest : s);

	*text_out = text.n > 0 ? text : STR("no reason given");
	return given ? first : str_c(code);
}

int smtp_reply_line_parse(struct str line, struct smtp_reply_line *out, struct err *e)
{
	struct smtp_reply_line r = { .last = true };
	uint64_t code;

	if (line.n < 3 || num_parse(str_sub(line, 0, 3), 200, 599, &code) < 0)
		return err_set(e, ERR_INPUT, 0, "not an SMTP reply");
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return err_set(e, ERR_INPUT, 0, "not an SMTP reply");
	r.code = (int)code;
	r.last = line.n < 4 || line.p[3] == ' ';
	r.text = str_from(line, line.n < 4 ? 3 : 4);
	struct str rest = r.text;
	const struct str word = str_split(&rest, ' ');
	if (smtp_enhanced_valid(word) && word.p[0] == line.p[0]) {
		r.enhanced = word;
		r.text = rest.p != NULL ? rest : STR("");
	}
	*out = r;
	return 0;
}
