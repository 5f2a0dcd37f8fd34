/* POP3 as a client (RFC 1939): what fetchmail did. Messages are known by their unique ids; nothing is removed unless it is asked for, and then only what the
 * writer has on its disk. */
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "admin/import/import_net.h"

/* One command, its first line. 0 +OK; -1. */
static int command(struct fetcher *f, const char *verb, struct str arg, struct str *rest_out, struct err *e)
{
	struct buf b;
	struct str line;
	int r;

	buf_init(&b, 4096);
	buf_c(&b, verb);
	if (arg.n > 0) {
		buf_ch(&b, ' ');
		buf_str(&b, arg);
	}
	buf_c(&b, "\r\n");
	r = net_write(&f->net, buf_view(&b), e);
	buf_wipe(&b);
	buf_fini(&b);
	if (r < 0 || net_line(&f->net, &line, e) < 0)
		return -1;
	if (!str_case_starts(line, STR("+OK")))
		return err_set(e, ERR_TEMP, 0, "%.10s: the server says %.*s", verb, (int)(line.n < 150 ? line.n : 150), line.p);
	*rest_out = str_from(line, 3);
	return 0;
}

static int command_number(struct fetcher *f, const char *verb, uint32_t place, struct err *e)
{
	char number[16];
	struct str rest;
	const int n = snprintf(number, sizeof number, "%u", place + 1);

	return command(f, verb, str_n(number, (size_t)n), &rest, e);
}

static bool fits_line(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]))
			return false;
	return s.n > 0 && s.n < 512;
}

static int pop3_login(struct fetcher *f, struct err *e)
{
	const struct str name = str_c(f->o->login ? f->o->login : f->o->user);
	struct str line, rest;

	if (net_line(&f->net, &line, e) < 0)
		return -1;
	if (!str_case_starts(line, STR("+OK")))
		return err_set(e, ERR_TEMP, 0, "no POP3 server: %.*s", (int)(line.n < 100 ? line.n : 100), line.p);
	if (f->o->tls && strcmp(f->o->tls, "starttls") == 0 && (command(f, "STLS", STR(""), &rest, e) < 0 || net_secure(&f->net, f->o->host, e) < 0))
		return -1;
	if (!fits_line(name) || !fits_line(buf_view(f->password)))
		return err_set(e, ERR_AUTH, 0, "name or password cannot be said in POP3");
	if (command(f, "USER", name, &rest, e) < 0 || command(f, "PASS", buf_view(f->password), &rest, e) < 0) {
		e->code = ERR_AUTH;
		return -1;
	}
	return 0;
}

static int pop3_folders(struct fetcher *f, struct err *e)
{
	(void)e;
	free(f->folders);
	f->folders = xzalloc(sizeof *f->folders);
	f->folders[0] = (struct remote_folder){ .raw = STR("INBOX"), .name = STR("INBOX"), .subscribed = true };
	f->n_folders = 1;
	return 0;
}

/* "1 id", in order; a message that the server leaves out has an empty id. */
static int pop3_select(struct fetcher *f, size_t number, struct err *e)
{
	struct str line, rest;
	uint64_t n;

	(void)number;
	f->n_ids = 0;
	if (command(f, "UIDL", STR(""), &rest, e) < 0)
		return -1;
	for (;;) {
		if (net_line(&f->net, &line, e) < 0)
			return -1;
		if (str_eq(line, STR(".")))
			return 0;
		if (num_take(&line, NET_MESSAGES_MAX, &n) < 0 || n == 0 || n < f->n_ids + 1 || line.n < 2 || line.p[0] != ' ')
			return err_set(e, ERR_INPUT, 0, "the server's list of unique ids");
		while (f->n_ids < n) {
			if (f->n_ids % 1024 == 0)
				f->ids = xrealloc(f->ids, (f->n_ids + 1024) * sizeof *f->ids);
			f->ids[f->n_ids++] = STR("");
		}
		f->ids[n - 1] = arena_str(f->a, str_sub(str_trim(line), 0, 100));
	}
}

static int retrieve(struct fetcher *f, uint32_t place, struct err *e)
{
	struct str line;
	struct buf b;
	int r = command_number(f, "RETR", place, e);

	if (r < 0)
		return e->code == ERR_TEMP ? 0 : -1;	/* gone meanwhile: the others all the same */
	buf_init(&b, NET_MESSAGE_MAX);
	while ((r = net_line(&f->net, &line, e)) == 0 && !str_eq(line, STR("."))) {
		buf_str(&b, line.n > 0 && line.p[0] == '.' ? str_from(line, 1) : line);
		buf_c(&b, "\n");
	}
	if (r == 0)
		r = buf_check(&b, "message", e);
	if (r == 0)
		r = fetched(f, place, 0, 0, NULL, 0, buf_view(&b), e);
	buf_fini(&b);
	return r;
}

static int pop3_get(struct fetcher *f, const uint32_t *places, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (retrieve(f, places[i], e) < 0)
			return -1;
	return 0;
}

static int pop3_remove(struct fetcher *f, const uint32_t *places, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (command_number(f, "DELE", places[i], e) < 0)
			return -1;
	return 0;
}

static void pop3_logout(struct fetcher *f)
{
	struct str rest;
	struct err ignored = { 0 };

	/* Only QUIT removes what was marked. */
	(void)!command(f, "QUIT", STR(""), &rest, &ignored);
}

const struct language language_pop3 = {
	"pop3", "995", "110", pop3_login, pop3_folders, pop3_select, pop3_get, pop3_remove, pop3_logout,
};
