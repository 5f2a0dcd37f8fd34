/* pop3_uidl_format, as Dovecot writes it: text and %u UID, %v UIDVALIDITY, %f and %g base file name (which is the GUID in a Maildir), %% itself; before u and v a
 * 0 for zeros, a width, X for hexadecimal. Pure. What is not understood is an error: with other ids every client would download all mail again. */
#include "conf/conf_priv.h"

#include "base/num.h"

enum { ID_MAX = 70 };	/* RFC 1939 7: bytes of an id, and so of a width */

/* Behind a '%'. */
static int item(struct str *in, struct conf_uidl_part *p)
{
	uint64_t width;

	if (in->n > 0 && in->p[0] == '0') {
		p->zero = true;
		*in = str_from(*in, 1);
	}
	if (in->n > 0 && ch_digit(in->p[0])) {
		if (num_take(in, ID_MAX, &width) < 0)
			return -1;
		p->width = (unsigned)width;
	}
	if (in->n > 0 && in->p[0] == 'X') {
		p->hex = true;
		*in = str_from(*in, 1);
	}
	if (in->n == 0 || in->p[0] == '\0' || !strchr("uvfg", in->p[0]))
		return -1;
	p->var = in->p[0];
	*in = str_from(*in, 1);
	return (p->zero || p->width || p->hex) && (p->var == 'f' || p->var == 'g') ? -1 : 0;
}

int conf_uidl_next(struct str *in, struct conf_uidl_part *out)
{
	*out = (struct conf_uidl_part){ 0 };
	return conf_percent_text(in, &out->text) ? 0 : item(in, out);
}

/* A file's name is as long as it is: where it is too long uidl.c of pop3d has another id for that message. */
static size_t longest_number(const struct conf_uidl_part *p)
{
	const size_t digits = p->var == 'u' || p->var == 'v' ? (p->hex ? 8 : 10) : 0;

	return p->width > digits ? p->width : digits;
}

const char *conf_uidl_wrong(struct str format)
{
	struct conf_uidl_part p;
	bool unique = false;
	size_t longest = 0;

	for (struct str in = format; in.n > 0;) {
		if (conf_uidl_next(&in, &p) < 0)
			return "after % is allowed: f g u v, before u and v 0, a width to 70, X; %% for itself";
		for (size_t i = 0; i < p.text.n; i++)
			if (p.text.p[i] <= 0x20 || p.text.p[i] >= 0x7f)
				return "blanks and other than ASCII characters cannot stand in an id (RFC 1939)";
		if (p.width && !p.zero && p.var)
			return "a width is filled up with blanks, which cannot stand in an id: %0 and the width are wanted";
		longest += p.text.n + longest_number(&p);
		unique |= p.var == 'u' || p.var == 'f' || p.var == 'g';
	}
	if (longest > ID_MAX)
		return "it can be longer than the 70 bytes of an id (RFC 1939)";
	return unique ? NULL : "without %u, %f or %g all messages would have the same id";
}
