/* XCLIENT and XFORWARD attributes. A value that does not pass its check refuses the whole command: half an identity is worse than none. */
#include "smtp/xclient.h"

#include <arpa/inet.h>

#include "base/enc.h"
#include "base/num.h"
#include "smtp/addr.h"

enum { VALUE_MAX = 255 };

/* Each: is the decoded text such a value? They may replace *v by another form of it. */
static bool is_text(struct arena *a, struct str *v)
{
	return str_printable(*v);
}

static bool is_name(struct arena *a, struct str *v)
{
	return smtp_domain_valid(*v) && str_printable(*v);
}

static bool is_addr(struct arena *a, struct str *v)
{
	const bool six = str_case_starts(*v, STR("IPV6:"));
	const char *text = arena_cstr(a, str_from(*v, six ? 5 : 0));
	unsigned char raw[16];
	char back[64];

	if (text == NULL || inet_pton(six ? AF_INET6 : AF_INET, text, raw) != 1 || inet_ntop(six ? AF_INET6 : AF_INET, raw, back, sizeof back) == NULL)
		return false;
	*v = arena_str(a, str_c(back));
	return v->p != NULL;
}

static bool is_port(struct arena *a, struct str *v)
{
	uint64_t port;

	return v->n <= 5 && num_parse(*v, 0, 65535, &port) == 0;
}

static bool is_proto(struct arena *a, struct str *v)
{
	return str_case_eq(*v, STR("SMTP")) || str_case_eq(*v, STR("ESMTP"));
}

static bool is_ident(struct arena *a, struct str *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (!ch_alnum(v->p[i]) && v->p[i] != '-' && v->p[i] != '.')
			return false;
	return true;
}

static bool is_source(struct arena *a, struct str *v)
{
	return str_case_eq(*v, STR("LOCAL")) || str_case_eq(*v, STR("REMOTE"));
}

static const struct {
	const char *name;
	bool (*is)(struct arena *a, struct str *v);
} rows[XATTR_MAX_] = {
	[XATTR_NAME] = { "NAME", is_name },	    [XATTR_ADDR] = { "ADDR", is_addr },		[XATTR_PORT] = { "PORT", is_port },
	[XATTR_PROTO] = { "PROTO", is_proto },	    [XATTR_HELO] = { "HELO", is_text },		[XATTR_LOGIN] = { "LOGIN", is_text },
	[XATTR_DESTADDR] = { "DESTADDR", is_addr }, [XATTR_DESTPORT] = { "DESTPORT", is_port }, [XATTR_IDENT] = { "IDENT", is_ident },
	[XATTR_SOURCE] = { "SOURCE", is_source },
};

static int bad(struct err *e, const char *what, struct str name)
{
	return err_set(e, ERR_INPUT, 0, "%s: %.*s", what, STR_ARG(str_sub(name, 0, 60)));
}

static int take(struct arena *a, enum smtp_xattr id, struct str value, struct smtp_xattrs *io, struct err *e)
{
	const struct str name = str_c(rows[id].name);
	struct buf text;

	if (str_case_eq(value, STR("[UNAVAILABLE]")) || str_case_eq(value, STR("[TEMPUNAVAIL]"))) {
		io->v[id] = STR("");
		return 0;
	}
	buf_init(&text, 4 * VALUE_MAX);
	struct str v = { 0 };
	if (smtp_xtext_decode(value, &text) == 0)
		v = arena_str(a, buf_view(&text));
	buf_fini(&text);
	if (v.n == 0 || v.n > VALUE_MAX || !rows[id].is(a, &v))
		return bad(e, "bad value of attribute", name);
	io->v[id] = v;
	return 0;
}

int smtp_xattrs_parse(struct arena *a, struct str args, unsigned allowed, struct smtp_xattrs *io, struct err *e)
{
	struct smtp_xattrs got = *io;
	struct str word;
	unsigned seen = 0;

	while (str_token(&args, " \t", &word)) {
		const struct str name = str_split(&word, '=');
		size_t id = 0;
		while (id < XATTR_MAX_ && !(allowed & 1u << id && str_case_eq(name, str_c(rows[id].name))))
			id++;
		if (id == XATTR_MAX_)
			return bad(e, "unknown attribute", name);
		if (word.p == NULL || seen & 1u << id)
			return bad(e, "attribute without value, or given twice", name);
		seen |= 1u << id;
		if (take(a, (enum smtp_xattr)id, word, &got, e) < 0)
			return -1;
	}
	if (seen == 0)
		return err_set(e, ERR_INPUT, 0, "no attribute");
	*io = got;
	return 0;
}

void smtp_xattrs_names(unsigned allowed, struct buf *out)
{
	for (size_t id = 0; id < XATTR_MAX_; id++)
		if (allowed & 1u << id) {
			buf_ch(out, ' ');
			buf_c(out, rows[id].name);
		}
}
