/* RFC 3461 section 4: NOTIFY, RET, ENVID, ORCPT. RFC 6533 3: the address type utf-8, as xtext or in UTF-8. */
#include "smtp/dsn.h"

#include "base/enc.h"
#include "smtp/addr.h"

static const struct {
	const char *word;
	uint64_t bit;
} notify_words[] = {
	{ "NEVER", SMTP_NOTIFY_NEVER },
	{ "SUCCESS", SMTP_NOTIFY_SUCCESS },
	{ "FAILURE", SMTP_NOTIFY_FAILURE },
	{ "DELAY", SMTP_NOTIFY_DELAY },
};

uint64_t smtp_notify_without_success(uint64_t bits)
{
	const uint64_t rest = bits & ~(uint64_t)SMTP_NOTIFY_SUCCESS;

	return rest == 0 && bits != 0 ? SMTP_NOTIFY_NEVER : rest;
}

bool smtp_notify_valid(uint64_t bits)
{
	return bits == SMTP_NOTIFY_NEVER || bits < SMTP_NOTIFY_NEVER;
}

int smtp_notify_parse(struct str value, uint64_t *bits_out)
{
	uint64_t bits = 0;

	do {
		const struct str word = str_split(&value, ',');
		uint64_t bit = 0;
		for (size_t i = 0; i < ARRAY_LEN(notify_words); i++)
			if (str_case_eq(word, str_c(notify_words[i].word)))
				bit = notify_words[i].bit;
		if (bit == 0 || bits & bit)
			return -1;
		bits |= bit;
	} while (value.p != NULL);
	if (!smtp_notify_valid(bits))
		return -1;
	*bits_out = bits;
	return 0;
}

void smtp_notify_format(uint64_t bits, struct buf *out)
{
	const char *between = "";

	for (size_t i = 0; i < ARRAY_LEN(notify_words); i++)
		if (bits & notify_words[i].bit) {
			buf_c(out, between);
			buf_c(out, notify_words[i].word);
			between = ",";
		}
}

int smtp_ret_parse(struct str value, uint64_t *ret_out)
{
	if (str_case_eq(value, STR("FULL")))
		*ret_out = SMTP_RET_FULL;
	else if (str_case_eq(value, STR("HDRS")))
		*ret_out = SMTP_RET_HDRS;
	else
		return -1;
	return 0;
}

int smtp_envid_parse(struct str value, struct buf *out)
{
	const size_t before = out->n;

	if (value.n == 0 || smtp_xtext_decode(value, out) < 0)
		return -1;
	const struct str v = str_from(buf_view(out), before);
	return v.n > 0 && v.n <= SMTP_ENVID_MAX && str_printable(v) ? 0 : -1;
}

/* RFC 3461 4.2: addr-type is an atom. */
static bool is_type(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return s.n > 0 && s.n <= 64;
}

/* RFC 6533 3, utf-8-addr-unitext: what xtext escapes is written \x{2B} there. */
static int unitext_take(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++)
		if ((unsigned char)in.p[i] < '!' || in.p[i] == '\x7f' || in.p[i] == '+' || in.p[i] == '=')
			return -1;
	buf_str(out, in);
	return 0;
}

static bool is_utf8_type(struct str type)
{
	return str_case_eq(type, STR("utf-8"));
}

static void put_escaped(struct str *rest, struct buf *out)
{
	buf_printf(out, "\\x{%X}", (unsigned)utf8_next(rest));
}

static void put_unitext(struct str text, struct buf *out)
{
	while (text.n > 0) {
		size_t plain = 0;
		while (plain < text.n && text.p[plain] != ' ' && text.p[plain] != '+' && text.p[plain] != '=')
			plain++;
		buf_str(out, str_sub(text, 0, plain));
		text = str_from(text, plain);
		if (text.n > 0)
			put_escaped(&text, out);
	}
}

static void put_ascii(struct str text, bool is_utf8, struct buf *out)
{
	while (text.n > 0) {
		const size_t plain = is_utf8 ? ascii_plain(text) : text.n;
		smtp_xtext_encode(str_sub(text, 0, plain), out);
		text = str_from(text, plain);
		if (text.n > 0)
			put_escaped(&text, out);
	}
}

int smtp_orcpt_format(struct str orcpt, bool smtputf8, struct buf *out)
{
	struct str rest = orcpt;
	const struct str type = str_split(&rest, ';');
	const bool is_utf8 = is_utf8_type(type);
	const size_t before = out->n;

	buf_str(out, type);
	buf_ch(out, ';');
	if (smtputf8 && is_utf8 && ascii_plain(rest) < rest.n)
		put_unitext(rest, out);
	else
		put_ascii(rest, is_utf8, out);
	if (!buf_failed(out) && out->n - before <= SMTP_ORCPT_MAX)
		return 0;
	buf_cut(out, before);
	return -1;
}

int smtp_orcpt_parse(struct str value, struct buf *out)
{
	const size_t before = out->n;
	struct str rest = value;
	const struct str type = str_split(&rest, ';');

	if (rest.p == NULL || rest.n == 0 || !is_type(type))
		return -1;
	buf_str(out, type);
	buf_ch(out, ';');
	const bool utf8 = is_utf8_type(type) && ascii_plain(rest) < rest.n;
	if ((utf8 ? unitext_take(rest, out) : smtp_xtext_decode(rest, out)) < 0)
		return -1;
	const struct str v = str_from(buf_view(out), before);
	return v.n <= SMTP_ORCPT_MAX && utf8_valid(v) ? 0 : -1;
}
