/* Bytes of the milter protocol. What a filter sends is as foreign as what a client sends: filters are other people's programs and may be on other machines. */
#include "smtp/milter.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "smtp/reply.h"

static uint32_t get_be32(const char *p)
{
	return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static void put_be32(struct buf *out, uint32_t v)
{
	const char b[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	buf_mem(out, b, sizeof(b));
}

int milter_packet_get(struct str in, char *command, struct str *data, size_t *used, struct err *e)
{
	if (in.n < 4)
		return 1;
	const uint32_t n = get_be32(in.p);
	if (n == 0 || n > MILTER_PACKET_MAX)
		return err_set(e, ERR_INPUT, 0, "packet of %u bytes", n);
	if (in.n - 4 < n)
		return 1;
	*command = in.p[4];
	*data = str_sub(in, 5, n - 1);
	*used = 4 + (size_t)n;
	return 0;
}

/* A string with its NUL at the start of *s, which moves behind it. */
static int take_string(struct str *s, struct str *out)
{
	const ptrdiff_t nul = str_chr(*s, '\0');

	if (nul < 0)
		return -1;
	*out = str_sub(*s, 0, (size_t)nul);
	*s = str_from(*s, (size_t)nul + 1);
	return 0;
}

static int options_macros(struct str rest, struct milter_options *o, struct err *e)
{
	while (rest.n > 0) {
		if (rest.n < 5)
			return err_set(e, ERR_INPUT, 0, "options with something behind them");
		const uint32_t stage = get_be32(rest.p);
		rest = str_from(rest, 4);
		if (stage >= MILTER_STAGES || take_string(&rest, &o->macros[stage]) < 0)
			return err_set(e, ERR_INPUT, 0, "malformed list of macros");
	}
	return 0;
}

int milter_options_get(struct str data, uint32_t version, struct milter_options *out, struct err *e)
{
	struct milter_options o = { 0 };
	const uint32_t offered = version == 2 ? MP_VERSION_2 : MP_OURS;

	if (data.n < 12)
		return err_set(e, ERR_INPUT, 0, "options too short");
	o.version = get_be32(data.p);
	o.actions = get_be32(data.p + 4) & (uint32_t)MA_OURS;
	o.protocol = get_be32(data.p + 8);
	if (o.version < MILTER_VERSION_MIN || o.version > version)
		return err_set(e, ERR_INPUT, 0, "speaks version %u of the protocol", o.version);
	if (o.protocol & ~offered)
		return err_set(e, ERR_INPUT, 0, "wants protocol steps 0x%x, which were not offered", o.protocol & ~offered);
	if (options_macros(str_from(data, 12), &o, e) < 0)
		return -1;
	*out = o;
	return 0;
}

static int reply_strings(struct str data, struct milter_reply *r, bool second, struct err *e)
{
	if (take_string(&data, &r->a) < 0 || (second && data.n > 0 && take_string(&data, &r->b) < 0) || data.n > 0)
		return err_set(e, ERR_INPUT, 0, "malformed reply %c", ch_alnum(r->command) ? r->command : '?');
	return 0;
}

int milter_reply_get(char command, struct str data, struct milter_reply *out, struct err *e)
{
	struct milter_reply r = { .command = command };
	int ok = 0;

	switch (command) {
	case 'c': case 'a': case 'r': case 't': case 'd': case 'p': case 's': case '4': case 'f':
		break;
	case 'i': case 'm':
		if (data.n < 4)
			return err_set(e, ERR_INPUT, 0, "malformed reply %c", command);
		r.index = get_be32(data.p);
		ok = reply_strings(str_from(data, 4), &r, true, e);
		break;
	case 'b':
		r.a = data;
		break;
	case 'h': case '2': case 'e':
		ok = reply_strings(data, &r, true, e);
		break;
	case '+': case '-': case 'q': case 'y':
		ok = reply_strings(data, &r, false, e);
		break;
	default:
		return err_set(e, ERR_INPUT, 0, "unknown reply 0x%02x", (unsigned char)command);
	}
	if (ok == 0)
		*out = r;
	return ok;
}

/* libmilter doubles the percent sign. */
static void put_text(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		buf_ch(out, text.p[i]);
		i += text.p[i] == '%' && i + 1 < text.n && text.p[i + 1] == '%';
	}
}

int milter_text_get(struct str s, int *code_out, char enhanced[MILTER_ENHANCED_MAX], struct buf *text, struct err *e)
{
	struct smtp_reply_line line;
	int code = 0;

	enhanced[0] = '\0';
	while (s.p && s.n > 0) {
		struct str one = str_split(&s, '\n');
		if (one.n > 0 && one.p[one.n - 1] == '\r')
			one.n--;
		if (smtp_reply_line_parse(one, &line, e) < 0 || line.code < 400 || (code != 0 && line.code != code))
			return err_set(e, ERR_INPUT, 0, "a reply text without one SMTP code, 400 to 599");
		if (code == 0 && line.enhanced.n > 0 && line.enhanced.n < MILTER_ENHANCED_MAX)
			snprintf(enhanced, MILTER_ENHANCED_MAX, "%.*s", STR_ARG(line.enhanced));
		if (code != 0)
			buf_ch(text, '\n');
		code = line.code;
		put_text(text, line.text);
	}
	if (code == 0)
		return err_set(e, ERR_INPUT, 0, "an empty reply text");
	*code_out = code;
	return buf_check(text, "reply text", e);
}

void milter_put(struct buf *out, char command, struct str data)
{
	put_be32(out, (uint32_t)data.n + 1);
	buf_ch(out, command);
	buf_str(out, data);
}

void milter_put_options(struct buf *out, uint32_t version)
{
	put_be32(out, 13);
	buf_ch(out, 'O');
	put_be32(out, version);
	put_be32(out, version == 2 ? MA_OURS & 0x3f : MA_OURS);
	put_be32(out, version == 2 ? MP_VERSION_2 : MP_OURS);
}

void milter_put_strings(struct buf *out, char command, const struct str *v, size_t n)
{
	size_t total = 1;

	for (size_t i = 0; i < n; i++)
		total += v[i].n + 1;
	put_be32(out, (uint32_t)total);
	buf_ch(out, command);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < v[i].n; k++)
			buf_ch(out, v[i].p[k] ? v[i].p[k] : '?');
		buf_ch(out, '\0');
	}
}
