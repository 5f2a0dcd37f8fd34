/* Counted strings. Limits: a field above MUX_FIELD_MAX is refused before it is read; NUL in any field, an empty login or password, and a
 * service name that could leave /etc/pam.d are malformed. */
#include "authd/muxproto.h"

#include "base/num.h"

static bool service_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return s.n > 0 && s.n <= 64 && s.p[0] != '.';
}

int mux_request_parse(struct str in, struct mux_request *out, struct err *e)
{
	struct str f[MUX_FIELDS];

	for (int i = 0; i < MUX_FIELDS; i++) {
		if (in.n < 2)
			return 1;
		size_t n = get_be16(in.p);
		if (n > MUX_FIELD_MAX)
			return err_set(e, ERR_INPUT, 0, "field %d has %zu bytes", i + 1, n);
		if (in.n - 2 < n)
			return 1;
		f[i] = str_sub(in, 2, n);
		if (n && memchr(f[i].p, 0, n))
			return err_set(e, ERR_INPUT, 0, "NUL in field %d", i + 1);
		in = str_from(in, 2 + n);
	}
	if (f[0].n == 0 || f[1].n == 0)
		return err_set(e, ERR_INPUT, 0, "empty login or password");
	if (!service_valid(f[2]))
		return err_set(e, ERR_INPUT, 0, "bad service name");
	*out = (struct mux_request){ .login = f[0], .password = f[1], .service = f[2], .realm = f[3] };
	return 0;
}

void mux_reply_put(struct buf *out, const char *text)
{
	unsigned char count[2];

	put_be16(count, (uint16_t)strlen(text));
	buf_mem(out, count, 2);
	buf_c(out, text);
}
