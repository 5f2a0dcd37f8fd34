/* Unique ids of messages (RFC 1939 7), as pop3_uidl_format says (conf's uidl.c reads it). Pure. */
#include "uidl.h"

#include <string.h>

#include "base/arena.h"
#include "conf/conf.h"

/* Hexadecimal in lower case, as Dovecot's. Not printf: a hundred thousand ids are made before a client's first look. */
static void put_number(struct buf *out, uint32_t v, unsigned base, unsigned width, char pad)
{
	char digits[10];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) > 0);
	for (; width > n; width--)
		buf_ch(out, pad);
	while (n > 0)
		buf_ch(out, digits[--n]);
}

static int format_all(const char *format, uint32_t uid, uint32_t uidvalidity, const char *base, struct buf *out)
{
	struct conf_uidl_part p;

	for (struct str in = str_c(format); in.n > 0;) {
		if (conf_uidl_next(&in, &p) < 0)
			return -1;
		if (p.var == 'u' || p.var == 'v')
			put_number(out, p.var == 'u' ? uid : uidvalidity, p.hex ? 16 : 10, p.width, p.zero ? '0' : ' ');
		else if (p.var)
			buf_c(out, base);
		else
			buf_str(out, p.text);
	}
	return buf_failed(out) || out->n == 0 ? -1 : 0;
}

static bool names_files(const char *format)
{
	struct conf_uidl_part p;

	for (struct str in = str_c(format); in.n > 0;)
		if (conf_uidl_next(&in, &p) < 0 || p.var == 'f' || p.var == 'g')
			return true;
	return false;
}

bool uidl_ok(struct str s)
{
	if (s.n == 0 || s.n > 70)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
			return false;
	return true;
}

/* The format is looked at once for all messages: what it makes of the smallest and the largest UID differs in the places of the UID's digits. */
void uidl_form_make(const char *format, uint32_t uidvalidity, struct uidl_form *out)
{
	struct buf zero, all;
	size_t run = 0;

	*out = (struct uidl_form){ 0 };
	buf_init(&zero, 4096);
	buf_init(&all, 4096);
	bool ok = !names_files(format) && format_all(format, 0, uidvalidity, "", &zero) == 0 &&
		  format_all(format, UINT32_MAX, uidvalidity, "", &all) == 0 && zero.n == all.n && uidl_ok(buf_view(&zero));
	for (size_t i = 0; ok && i < zero.n; i++) {
		if (zero.p[i] == all.p[i])
			continue;
		ok = zero.p[i] == '0' && all.p[i] == 'f' && (run % 8 > 0 || out->n_at < ARRAY_LEN(out->at));
		if (ok && run++ % 8 == 0)
			out->at[out->n_at++] = (unsigned char)i;
	}
	if (ok && run % 8 == 0) {
		memcpy(out->text, zero.p, zero.n);
		out->n = zero.n;
	}
	buf_fini(&zero);
	buf_fini(&all);
}

static void form_fill(const struct uidl_form *form, uint32_t uid, char text[sizeof(form->text)])
{
	memcpy(text, form->text, sizeof(form->text));
	for (size_t k = 0; k < form->n_at; k++)
		for (unsigned d = 0; d < 8; d++)
			text[form->at[k] + d] = "0123456789abcdef"[uid >> (28 - 4 * d) & 15];
}

void uidl_form_put(const struct uidl_form *form, uint32_t uid, struct buf *out)
{
	char text[sizeof(form->text)];

	form_fill(form, uid, text);
	buf_mem(out, text, form->n);
}

void uidl_form_line(const struct uidl_form *form, uint32_t number, uint32_t uid, struct buf *out)
{
	char line[12 + sizeof(form->text) + 2];
	size_t at = 11;

	form_fill(form, uid, line + 12);
	memcpy(line + 12 + form->n, "\r\n", 2);
	line[11] = ' ';
	do
		line[--at] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	buf_mem(out, line + at, 12 - at + form->n + 2);
}

/* A file name may be too long, or hold bytes that no UIDL may; then the plain form. */
void uidl_put(const char *format, uint32_t uid, uint32_t uidvalidity, const char *base, struct buf *out)
{
	const size_t before = out->n;

	if (format_all(format, uid, uidvalidity, base, out) == 0 && uidl_ok(str_from(buf_view(out), before)))
		return;
	buf_cut(out, before);
	buf_printf(out, "%08x%08x", uid, uidvalidity);
}
