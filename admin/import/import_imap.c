/* IMAP as a client (RFC 3501): log in, list folders, list UIDs, fetch messages whole without marking them as read. Everything is read only: EXAMINE, PEEK. */
#include <stdio.h>
#include <stdlib.h>

#include "base/enc.h"
#include "base/num.h"
#include "admin/import/import_net.h"
#include "imap/out.h"

/* One whole answer, literals inside. */
static int answer(struct fetcher *f, struct buf *out, struct err *e)
{
	struct str line;
	uint64_t n;

	buf_reset(out);
	for (;;) {
		if (net_line(&f->net, &line, e) < 0)
			return -1;
		const bool more = reply_literal(line, &n);
		buf_str(out, line);
		if (!more)
			return buf_check(out, "answer", e);
		buf_c(out, "\r\n");
		if (n > NET_MESSAGE_MAX)
			return err_set(e, ERR_LIMIT, 0, "a message of %llu bytes", (unsigned long long)n);
		if (net_bytes(&f->net, n, out, e) < 0)
			return -1;
	}
}

typedef int untagged_fn(struct fetcher *f, void *ctx, struct str text, struct err *e);

/* Send a command and hand its untagged answers on. 0 OK; 1 NO or BAD (text in e). */
static int command(struct fetcher *f, struct str text, untagged_fn *fn, void *ctx, struct err *e)
{
	char tag[16];
	struct buf b;
	int r = 0;

	buf_init(&b, (size_t)NET_MESSAGE_MAX + NET_LINE_MAX);
	const int len = snprintf(tag, sizeof tag, "p%u ", ++f->tag);
	buf_mem(&b, tag, (size_t)len);
	buf_str(&b, text);
	buf_c(&b, "\r\n");
	r = net_write(&f->net, buf_view(&b), e);
	while (r == 0 && (r = answer(f, &b, e)) == 0) {
		const struct str got = buf_view(&b);
		if (str_starts(got, str_n(tag, (size_t)len))) {
			const struct str rest = str_from(got, (size_t)len);
			if (!str_case_starts(rest, STR("OK"))) {
				err_set(e, ERR_TEMP, 0, "the server says %.*s", (int)(rest.n < 150 ? rest.n : 150), rest.p);
				r = 1;
			}
			break;
		}
		if (str_case_starts(got, STR("* BYE")))
			r = err_set(e, ERR_CLOSED, 0, "the server says %.*s", (int)(got.n < 150 ? got.n : 150), got.p);
		else if (fn && str_starts(got, STR("* ")))
			r = fn(f, ctx, got, e);
	}
	buf_fini(&b);
	return r;
}

static void quote(struct buf *out, struct str s)
{
	buf_ch(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_ch(out, '\\');
		buf_ch(out, s.p[i]);
	}
	buf_ch(out, '"');
}

/* --- login --- */

struct caps {
	bool plain, logindisabled, special_use, starttls;
};

static int on_capability(struct fetcher *f, void *ctx, struct str text, struct err *e)
{
	struct caps *const c = ctx;

	(void)f;
	(void)e;
	if (!str_case_starts(text, STR("* CAPABILITY ")))
		return 0;
	for (struct str rest = str_from(text, 13); rest.p;) {
		const struct str word = str_split(&rest, ' ');
		c->plain |= str_case_eq(word, STR("AUTH=PLAIN"));
		c->logindisabled |= str_case_eq(word, STR("LOGINDISABLED"));
		c->special_use |= str_case_eq(word, STR("SPECIAL-USE"));
		c->starttls |= str_case_eq(word, STR("STARTTLS"));
	}
	return 0;
}

static int capabilities(struct fetcher *f, struct caps *out, struct err *e)
{
	*out = (struct caps){ 0 };
	return command(f, STR("CAPABILITY"), on_capability, out, e) == 0 ? 0 : -1;
}

static const char *login_name(const struct fetcher *f)
{
	return f->o->login ? f->o->login : f->o->user;
}

/* AUTHENTICATE PLAIN (RFC 4616): any bytes can be a password. */
static int auth_plain(struct fetcher *f, struct err *e)
{
	struct buf plain, line;
	struct str got;
	int r;

	buf_init(&plain, 4096);
	buf_init(&line, 8192);
	buf_ch(&plain, '\0');
	buf_c(&plain, login_name(f));
	buf_ch(&plain, '\0');
	buf_str(&plain, buf_view(f->password));
	buf_printf(&line, "p%u AUTHENTICATE PLAIN\r\n", ++f->tag);
	r = net_write(&f->net, buf_view(&line), e);
	while (r == 0 && (r = net_line(&f->net, &got, e)) == 0 && !str_starts(got, STR("+")))
		if (!str_starts(got, STR("* ")))
			r = err_set(e, ERR_AUTH, 0, "the server says %.*s", (int)(got.n < 150 ? got.n : 150), got.p);
	if (r == 0) {
		buf_reset(&line);
		base64_encode(&line, buf_view(&plain));
		buf_c(&line, "\r\n");
		r = net_write(&f->net, buf_view(&line), e);
	}
	while (r == 0 && (r = net_line(&f->net, &got, e)) == 0 && str_starts(got, STR("* ")))
		;
	if (r == 0) {
		(void)str_split(&got, ' ');
		if (!str_case_starts(got, STR("OK")))
			r = err_set(e, ERR_AUTH, 0, "login of %s failed: %.*s", login_name(f), (int)(got.n < 150 ? got.n : 150), got.p);
	}
	buf_wipe(&plain);
	buf_wipe(&line);
	buf_fini(&plain);
	buf_fini(&line);
	return r;
}

static int auth_login(struct fetcher *f, struct err *e)
{
	struct buf b;
	int r;

	for (size_t i = 0; i < f->password->n; i++)
		if (ch_ctl(f->password->p[i]) || (unsigned char)f->password->p[i] >= 0x80)
			return err_set(e, ERR_AUTH, 0, "the server cannot take this password: it does not offer AUTH=PLAIN");
	buf_init(&b, 8192);
	buf_c(&b, "LOGIN ");
	quote(&b, str_c(login_name(f)));
	buf_ch(&b, ' ');
	quote(&b, buf_view(f->password));
	r = command(f, buf_view(&b), NULL, NULL, e);
	buf_wipe(&b);
	buf_fini(&b);
	return r == 0 ? 0 : -1;
}

static int imap_login(struct fetcher *f, struct err *e)
{
	struct str greeting;
	struct caps c;

	if (net_line(&f->net, &greeting, e) < 0)
		return -1;
	if (!str_case_starts(greeting, STR("* OK")) && !str_case_starts(greeting, STR("* PREAUTH")))
		return err_set(e, ERR_TEMP, 0, "no IMAP server: %.*s", (int)(greeting.n < 100 ? greeting.n : 100), greeting.p);
	if (capabilities(f, &c, e) < 0)
		return -1;
	if (f->o->tls && strcmp(f->o->tls, "starttls") == 0) {
		if (!c.starttls)
			return err_set(e, ERR_DENIED, 0, "the server does not offer STARTTLS");
		if (command(f, STR("STARTTLS"), NULL, NULL, e) != 0 || net_secure(&f->net, f->o->host, e) < 0 || capabilities(f, &c, e) < 0)
			return -1;
	}
	if (c.plain)
		return auth_plain(f, e);
	return c.logindisabled ? err_set(e, ERR_AUTH, 0, "the server takes no password on this connection") : auth_login(f, e);
}

/* --- folders --- */

struct listing {
	bool subscribed;
	char separator;
};

static int on_list(struct fetcher *f, void *ctx, struct str text, struct err *e)
{
	struct listing *const l = ctx;
	struct remote_folder one;
	char separator = '\0';
	bool noselect = false;
	const int r = reply_list(text, l->subscribed ? "LSUB" : "LIST", f->a, &one, &separator, &noselect, e);

	if (r != 0)
		return r < 0 ? -1 : 0;
	if (separator)
		l->separator = separator;
	if (l->subscribed) {
		for (size_t i = 0; i < f->n_folders; i++)
			f->folders[i].subscribed |= str_eq(f->folders[i].raw, one.raw);
		return 0;
	}
	if (noselect || f->n_folders == NET_FOLDERS_MAX)
		return noselect ? 0 : err_set(e, ERR_LIMIT, 0, "more than %d folders", NET_FOLDERS_MAX);
	f->folders = xrealloc(f->folders, (f->n_folders + 1) * sizeof *f->folders);
	f->folders[f->n_folders++] = one;
	return 0;
}

/* Courier and old Cyrus show all folders below INBOX: they are put beside it. */
static void strip_inbox(struct fetcher *f)
{
	for (size_t i = 0; i < f->n_folders; i++)
		if (!str_eq(f->folders[i].name, STR("INBOX")) && !str_starts(f->folders[i].name, STR("INBOX/")))
			return;
	for (size_t i = 0; i < f->n_folders; i++)
		if (!str_eq(f->folders[i].name, STR("INBOX")))
			f->folders[i].name = str_from(f->folders[i].name, 6);
}

static int imap_folders(struct fetcher *f, struct err *e)
{
	struct listing l = { 0 };
	struct caps c;

	f->n_folders = 0;
	if (capabilities(f, &c, e) < 0)
		return -1;
	if (command(f, c.special_use ? STR("LIST \"\" \"*\" RETURN (SPECIAL-USE)") : STR("LIST \"\" \"*\""), on_list, &l, e) != 0) {
		/* SPECIAL-USE without LIST-EXTENDED. */
		f->n_folders = 0;
		if (e->code == ERR_CLOSED || command(f, STR("LIST \"\" \"*\""), on_list, &l, e) != 0)
			return -1;
	}
	l.subscribed = true;
	if (command(f, STR("LSUB \"\" \"*\""), on_list, &l, e) < 0)
		return -1;
	strip_inbox(f);
	return 0;
}

/* --- one folder --- */

static int on_select(struct fetcher *f, void *ctx, struct str text, struct err *e)
{
	const ptrdiff_t at = str_find(text, STR("[UIDVALIDITY "));
	uint64_t v;

	(void)ctx;
	(void)e;
	if (at >= 0) {
		struct str rest = str_from(text, (size_t)at + 13);
		if (num_take(&rest, UINT32_MAX, &v) == 0)
			f->uidvalidity = (uint32_t)v;
	}
	return 0;
}

static int on_search(struct fetcher *f, void *ctx, struct str text, struct err *e)
{
	uint64_t last = 0, v;

	(void)ctx;
	if (!str_case_starts(text, STR("* SEARCH")))
		return 0;
	for (struct str rest = str_from(text, 8); rest.p;) {
		const struct str word = str_split(&rest, ' ');
		if (word.n == 0)
			continue;
		if (num_parse(word, 1, UINT32_MAX - 1, &v) < 0 || f->n_ids == NET_MESSAGES_MAX)
			return err_set(e, ERR_INPUT, 0, "the server's list of UIDs");
		if (f->n_ids % 1024 == 0)
			f->ids = xrealloc(f->ids, (f->n_ids + 1024) * sizeof *f->ids);
		f->ids[f->n_ids++] = arena_str(f->a, word);
		last = v;
	}
	(void)last;
	return 0;
}

static int id_cmp(const void *pa, const void *pb)
{
	const struct str *const a = pa, *const b = pb;

	return a->n != b->n ? (a->n < b->n ? -1 : 1) : str_cmp(*a, *b);	/* decimal numbers without leading zeros */
}

static int imap_select(struct fetcher *f, size_t number, struct err *e)
{
	struct buf b;
	int r;

	f->n_ids = 0;
	f->uidvalidity = 0;
	buf_init(&b, 2 * STORE_FOLDER_NAME_MAX + 16);
	buf_c(&b, "EXAMINE ");
	quote(&b, f->folders[number].raw);
	r = command(f, buf_view(&b), on_select, NULL, e);
	buf_fini(&b);
	if (r == 0)
		r = command(f, STR("UID SEARCH ALL"), on_search, NULL, e);
	if (r > 0)	/* that folder only */
		e->code = ERR_NOENT;
	if (f->n_ids > 0)
		qsort(f->ids, f->n_ids, sizeof *f->ids, id_cmp);
	return r == 0 ? 0 : -1;
}

struct wanted {
	const uint32_t *places;
	size_t n;
};

static int on_fetch(struct fetcher *f, void *ctx, struct str text, struct err *e)
{
	const struct wanted *const w = ctx;
	struct arena *a = arena_new(0);
	struct reply_fetch m;
	uint64_t uid;
	int r = reply_fetch(text, a, &m, e);

	if (r == 0 && m.has_body)
		for (size_t i = 0; i < w->n; i++)
			if (num_parse(f->ids[w->places[i]], 1, UINT32_MAX, &uid) == 0 && uid == m.uid) {
				r = fetched(f, w->places[i], m.flags, m.date, m.keywords, m.n_keywords, m.body, e);
				break;
			}
	arena_free(&a);
	return r < 0 ? -1 : 0;
}

static int imap_get(struct fetcher *f, const uint32_t *places, size_t n, struct err *e)
{
	struct wanted w = { places, n };
	struct buf b;
	int r;

	if (n == 0)
		return 0;
	buf_init(&b, 65536);
	buf_c(&b, "UID FETCH ");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_ch(&b, ',');
		buf_str(&b, f->ids[places[i]]);
	}
	buf_c(&b, " (UID FLAGS INTERNALDATE BODY.PEEK[])");
	r = command(f, buf_view(&b), on_fetch, &w, e);
	buf_fini(&b);
	return r == 0 ? 0 : -1;
}

static int imap_remove(struct fetcher *f, const uint32_t *places, size_t n, struct err *e)
{
	(void)f;
	(void)places;
	(void)n;
	return err_set(e, ERR_BUG, 0, "nothing is removed from an IMAP server");
}

static void imap_logout(struct fetcher *f)
{
	struct err ignored = { 0 };

	(void)!command(f, STR("LOGOUT"), NULL, NULL, &ignored);
}

const struct language language_imap = {
	"imap", "993", "143", imap_login, imap_folders, imap_select, imap_get, imap_remove, imap_logout,
};
