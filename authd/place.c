/* Paths of homes and maildirs from the configuration. */
#include "authd/place.h"

#include <stdio.h>

static struct str value(const struct account *a, char var)
{
	const struct str name = str_c(a->name);
	const ptrdiff_t at = str_rchr(name, '@');

	switch (var) {
	case 'n': return at < 0 ? name : str_sub(name, 0, (size_t)at);
	case 'd': return at < 0 ? STR("") : str_from(name, (size_t)at + 1);
	case 'h': return str_c(a->home);
	default: return name;
	}
}

static void expand(const struct account *a, const struct conf_place_part *p, struct buf *out)
{
	const struct str whole = value(a, p->var), piece = str_sub(whole, p->offset < whole.n ? p->offset : whole.n, p->width);

	for (size_t i = 0; i < piece.n; i++) {
		const char ch = piece.p[i];
		buf_ch(out, p->letters == 'L' ? ch_lower(ch) : p->letters == 'U' && ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : ch);
	}
}

/* -1: mail_location makes no sense, which the check of the configuration refuses. */
static int maildir_put(const struct conf *c, const struct account *a, struct buf *out)
{
	struct conf_place_part p;
	bool below_home;
	struct str in = conf_place_start(str_c(c->mail_location), &below_home);

	if (in.n == 0)
		buf_printf(out, "%s/%s", a->home, c->home_mailbox[0] ? c->home_mailbox : "Maildir");
	else if (below_home)
		buf_c(out, a->home);
	while (in.n > 0) {
		if (conf_place_next(&in, &p) < 0)
			return -1;
		if (p.var)
			expand(a, &p, out);
		else
			buf_str(out, p.text);
	}
	while (out->n > 1 && out->p[out->n - 1] == '/')
		buf_cut(out, out->n - 1);
	return 0;
}

int place_account(const struct conf *c, struct account *a)
{
	struct buf b;
	int rc = -1;

	if (a->flags & ACCOUNT_F_VIRTUAL) {
		const int n = snprintf(a->home, sizeof a->home, "%s/%s", c->virtual_mail_directory, a->name);

		if (n < 0 || (size_t)n >= sizeof a->home)
			return -1;
	}
	buf_init(&b, ACCOUNT_PATH_MAX - 1);
	if (maildir_put(c, a, &b) == 0 && !buf_failed(&b) && b.n) {
		memcpy(a->maildir, b.p, b.n + 1);
		rc = 0;
	}
	buf_fini(&b);
	return rc;
}
