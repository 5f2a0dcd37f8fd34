/* Paths of homes and maildirs from the configuration. */
#include "authd/place.h"

#include <stdio.h>

static void expand(const struct account *a, char letter, struct buf *out)
{
	const struct str name = str_c(a->name);
	const ptrdiff_t at = str_rchr(name, '@');

	switch (letter) {
	case 'u': buf_str(out, name); break;
	case 'n': buf_str(out, at < 0 ? name : str_sub(name, 0, (size_t)at)); break;
	case 'd': buf_str(out, at < 0 ? STR("") : str_from(name, (size_t)at + 1)); break;
	case 'h': buf_c(out, a->home); break;
	default: buf_ch(out, letter);
	}
}

static void maildir_put(const struct conf *c, const struct account *a, struct buf *out)
{
	struct str t = str_c(c->mail_location);

	if (str_starts(t, STR("maildir:")))
		t = str_from(t, 8);
	if (t.n == 0) {
		buf_printf(out, "%s/%s", a->home, c->home_mailbox[0] ? c->home_mailbox : "Maildir");
	} else if (str_starts(t, STR("~/"))) {
		buf_c(out, a->home);
		t = str_from(t, 1);
	}
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] == '%' && i + 1 < t.n)
			expand(a, t.p[++i], out);
		else
			buf_ch(out, t.p[i]);
	}
	while (out->n > 1 && out->p[out->n - 1] == '/')
		buf_cut(out, out->n - 1);
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
	maildir_put(c, a, &b);
	if (!buf_failed(&b) && b.n) {
		memcpy(a->maildir, b.p, b.n + 1);
		rc = 0;
	}
	buf_fini(&b);
	return rc;
}
