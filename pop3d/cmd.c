/* The commands after login, one function each; commands.def has the rows. Messages go out with CRLF line ends and dots doubled (RFC 1939 3), in chunks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/num.h"
#include "log/log.h"
#include "os/os.h"
#include "lang.h"
#include "session.h"

#define LOGIN(verb, least, most, source)
#define MAIL(verb, least, most, source) static void mail_##verb(struct client *c, struct str *args, unsigned n);
#include "commands.def"
#undef LOGIN
#undef MAIL

enum { ARGS_MAX = 2 };

static const struct {
	const char *verb;
	unsigned least, most;
	void (*fn)(struct client *c, struct str *args, unsigned n);
} rows[] = {
#define LOGIN(verb, least, most, source)
#define MAIL(verb, least, most, source) { #verb, least, most, mail_##verb },
#include "commands.def"
#undef LOGIN
#undef MAIL
};

static void bad(struct client *c, const char *text)
{
	client_err(c, "", text);
	if (++c->bad >= CLIENT_BAD_MAX) {
		client_err(c, "", "Too many invalid commands.");
		client_end(c, "Too many invalid commands");
	}
}

void client_command(struct client *c, struct str line)
{
	const struct str verb = str_split(&line, ' ');
	struct str args[ARGS_MAX + 1];
	unsigned n = 0;

	while (line.p != NULL && n <= ARGS_MAX) {
		args[n] = str_split(&line, ' ');
		n += args[n].n > 0;	/* blanks at the end do no harm */
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_case_eq(verb, str_c(rows[i].verb)))
			continue;
		if (n < rows[i].least || n > rows[i].most)
			bad(c, "Wrong number of arguments.");
		else
			rows[i].fn(c, args, n);
		return;
	}
	bad(c, "Unknown command.");
}

/* The message that an argument names: 1.. -> 0.. ; UINT32_MAX after -ERR. */
static uint32_t message(struct client *c, struct str arg)
{
	uint64_t n;

	if (num_parse(arg, 1, UINT32_MAX, &n) < 0) {
		bad(c, "Invalid message number.");
		return UINT32_MAX;
	}
	if (n > c->n || (c->marks[n - 1] & DROP_DELETED)) {
		bad(c, n > c->n ? "There is no such message." : "The message is deleted.");
		return UINT32_MAX;
	}
	c->bad = 0;
	return (uint32_t)n - 1;
}

static bool always(const struct client *c)
{
	return true;
}

static bool login_delay(const struct client *c)
{
	return c->user->conf->pop3_login_delay > 0;
}

/* What is shown before login only. */
static bool can_starttls(const struct client *c)
{
	return false;
}

static bool can_login(const struct client *c)
{
	return false;
}

static void mail_CAPA(struct client *c, struct str *args, unsigned n)
{
	enum { B = 1, A = 2 };
	static const struct {
		const char *text;
		unsigned where;
		bool (*now)(const struct client *c);
	} caps[] = {
#define CAP(text, where, condition, source) { text, where, condition },
#include "capabilities.def"
#undef CAP
	};

	struct buf b;

	buf_init(&b, 4096);
	for (size_t i = 0; i < ARRAY_LEN(caps); i++)
		if ((caps[i].where & A) && caps[i].now(c))
			put_capability(&b, caps[i].text, c->user->conf->pop3_login_delay);
	client_ok(c, "Capability list follows");
	conn_write(c->conn, buf_view(&b));
	conn_write(c->conn, STR(".\r\n"));
	buf_fini(&b);
}

static void mail_STAT(struct client *c, struct str *args, unsigned n)
{
	c->bad = 0;
	client_ok(c, "%u %llu", c->left, (unsigned long long)c->octets);
}

static void put_size(struct buf *out, uint32_t number, uint64_t size)
{
	buf_u64(out, number);
	buf_ch(out, ' ');
	buf_u64(out, size);
	buf_c(out, "\r\n");
}

/* -ERR for a size that cannot be told. */
static bool size_of(struct client *c, uint32_t i, uint64_t *out)
{
	struct err e = { 0 };

	if (drop_size(c, i, out, &e) == 0)
		return true;
	log_error("pop3(%s): size: %s", c->user->name, e.text);
	client_err(c, "SYS/TEMP", "The size cannot be told.");
	return false;
}

static void list_one(struct client *c, uint32_t i)
{
	uint64_t size;

	if (size_of(c, i, &size))
		client_ok(c, "%u %llu", i + 1, (unsigned long long)size);
}

static void mail_LIST(struct client *c, struct str *args, unsigned n)
{
	bool ok = true;
	uint64_t size;
	struct buf b;

	if (n == 1) {
		const uint32_t i = message(c, args[0]);
		if (i != UINT32_MAX)
			list_one(c, i);
		return;
	}
	c->bad = 0;
	buf_init(&b, ((size_t)c->n + 1) * 40 + 100);
	buf_printf(&b, "+OK %u messages (%llu octets)\r\n", c->left, (unsigned long long)c->octets);
	for (uint32_t i = 0; ok && i < c->n; i++) {
		if (c->marks[i] & DROP_DELETED)
			continue;
		if ((ok = size_of(c, i, &size)))
			put_size(&b, i + 1, size);
	}
	buf_c(&b, ".\r\n");
	if (ok)
		conn_write(c->conn, buf_view(&b));
	buf_fini(&b);
}

static void mail_UIDL(struct client *c, struct str *args, unsigned n)
{
	const uint32_t only = n == 1 ? message(c, args[0]) : 0;
	struct uidl_form form;
	struct buf b;

	if (only == UINT32_MAX)
		return;
	c->bad = 0;
	uidl_form_make(c->user->conf->pop3_uidl_format, mbox_uidvalidity(c->m), &form);
	buf_init(&b, ((size_t)c->n + 2) * 96);
	if (n == 1) {
		buf_printf(&b, "+OK %u ", only + 1);
		drop_uidl(c, &form, only, &b);
		buf_c(&b, "\r\n");
	} else {
		const bool plain = form.n > 0 && !mbox_pop3_any(c->m);
		buf_c(&b, "+OK\r\n");
		for (uint32_t i = 0; i < c->n; i++) {
			if (c->marks[i] & DROP_DELETED)
				continue;
			if (plain) {
				uidl_form_line(&form, i + 1, mbox_view_uid(c->v, drop_seq(c, i)), &b);
				continue;
			}
			buf_u64(&b, i + 1);
			buf_ch(&b, ' ');
			drop_uidl(c, &form, i, &b);
			buf_c(&b, "\r\n");
		}
		buf_c(&b, ".\r\n");
	}
	if (buf_failed(&b))
		client_err(c, "SYS/TEMP", "The ids cannot be told.");
	else
		conn_write(c->conn, buf_view(&b));
	buf_fini(&b);
}

static void mail_DELE(struct client *c, struct str *args, unsigned n)
{
	const uint32_t i = message(c, args[0]);

	uint64_t size;

	if (i == UINT32_MAX || !size_of(c, i, &size))
		return;
	c->marks[i] |= DROP_DELETED;
	c->left--;
	c->octets -= size < c->octets ? size : c->octets;	/* a file may be another size than its name said at login */
	client_ok(c, "Marked to be deleted.");
}

static void mail_NOOP(struct client *c, struct str *args, unsigned n)
{
	client_ok(c, "%s", "");
}

static void mail_RSET(struct client *c, struct str *args, unsigned n)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (!(c->marks[i] & DROP_DELETED))
			continue;
		c->marks[i] &= (unsigned char)~DROP_DELETED;
		c->left++;
		c->octets += c->sizes[i] - 1;	/* asked for by DELE */
	}
	c->bad = 0;
	client_ok(c, "%s", "");
}

static void mail_LANG(struct client *c, struct str *args, unsigned n)
{
	const char *const tag = n > 0 ? lang_pick(args[0]) : NULL;

	c->bad = 0;
	if (n == 0)
		conn_write(c->conn, STR(LANG_LIST));
	else if (tag)
		client_ok(c, "%s Language changed.", tag);
	else
		client_err(c, "", "Language not available.");
}

static void mail_QUIT(struct client *c, struct str *args, unsigned n)
{
	struct err e = { 0 };

	if (drop_update(c, &e) < 0) {
		log_error("pop3(%s): deletion: %s", c->user->name, e.text);
		/* RFC 1939 6: some were not removed; here none was. */
		client_err(c, "SYS/TEMP", "Deleted messages were not removed.");
		client_end(c, "Logged out, deletion failed");
		return;
	}
	client_ok(c, c->n > c->left ? "Logging out, messages deleted." : "Logging out.");
	client_end(c, "Logged out");
}

/* --- a message --- */

static bool start(struct client *c, uint32_t i, uint64_t lines, struct err *e)
{
	int fd;

	if (mbox_msg_open(c->v, drop_seq(c, i), &fd, e) < 0)
		return false;
	c->out = (struct sending){ .fd = fd, .index = i, .lines_left = lines, .line_start = true, .empty_line = true };
	return true;
}

static void refuse(struct client *c, const struct err *e)
{
	if (e->code != ERR_NOENT)
		log_error("pop3(%s): %s", c->user->name, e->text);
	client_err(c, e->code == ERR_NOENT ? "" : "SYS/TEMP", e->code == ERR_NOENT ? "The message was removed by another session." : "The message cannot be read.");
}

static void mail_RETR(struct client *c, struct str *args, unsigned n)
{
	const uint32_t i = message(c, args[0]);
	struct err e = { 0 };

	uint64_t size;

	if (i == UINT32_MAX)
		return;
	if (drop_size(c, i, &size, &e) < 0 || !start(c, i, UINT64_MAX, &e)) {
		refuse(c, &e);
		return;
	}
	c->n_retr++;
	client_ok(c, "%llu octets", (unsigned long long)size);
}

static void mail_TOP(struct client *c, struct str *args, unsigned n)
{
	uint64_t lines;
	struct err e = { 0 };

	/* More lines than any message has: all of them. */
	if (num_parse(args[1], 0, UINT64_MAX - 1, &lines) < 0) {
		bad(c, "Invalid number of lines.");
		return;
	}
	const uint32_t i = message(c, args[0]);
	if (i == UINT32_MAX)
		return;
	if (!start(c, i, lines, &e)) {
		refuse(c, &e);
		return;
	}
	c->n_top++;
	client_ok(c, "%s", "");
}

/* A line's end has been passed: is the header over, are there lines left? False: nothing more is wanted. */
static bool line_done(struct sending *s)
{
	if (s->in_body) {
		if (s->lines_left != UINT64_MAX)
			s->lines_left--;
	} else if (s->empty_line) {
		s->in_body = true;
	}
	s->line_start = s->empty_line = true;
	return !s->in_body || s->lines_left > 0;
}

/* n bytes of the file, as they go over the wire. Returns how many bytes of them count; fewer than n: the end is reached. */
static size_t stuff(struct sending *s, const char *p, size_t n, struct buf *out)
{
	size_t i = 0;

	while (i < n) {
		const char *const nl = memchr(p + i, '\n', n - i);
		const size_t end = nl ? (size_t)(nl - p) : n;
		if (s->line_start && p[i] == '.')
			buf_ch(out, '.');
		if (end > i) {
			buf_mem(out, p + i, end - i);
			/* A CR alone before the LF is the line end of a message that came with CRLF. */
			if (end - i > 1 || p[i] != '\r')
				s->empty_line = false;
			s->line_start = false;
			s->last_cr = p[end - 1] == '\r';
		}
		s->size += end - i;
		s->size_crlf += end - i;
		i = end;
		if (!nl)
			break;
		if (!s->last_cr) {
			buf_ch(out, '\r');
			s->size_crlf++;
		}
		buf_ch(out, '\n');
		s->last_cr = false;
		s->size++;
		s->size_crlf++;
		i++;
		if (!line_done(s))
			return i;
	}
	return n;
}

void send_end(struct client *c)
{
	close_fd(&c->out.fd);
}

static void finish(struct client *c, bool whole)
{
	struct sending *const s = &c->out;
	struct err e = { 0 };

	if (!s->line_start)	/* the last line has no end */
		conn_write(c->conn, STR("\r\n"));
	conn_write(c->conn, STR(".\r\n"));
	if (whole)
		c->marks[s->index] |= DROP_READ;
	if (whole && mbox_msg_size_fix(c->v, drop_seq(c, s->index), s->size, s->size_crlf, &e) < 0)
		log_debug("pop3(%s): %s", c->user->name, e.text);
	send_end(c);
}

bool send_more(struct client *c)
{
	struct sending *const s = &c->out;
	static char chunk[MESSAGE_CHUNK];
	struct buf b;

	while (conn_out_room(c->conn) > 0) {
		const ssize_t n = s->in_body && s->lines_left == 0 ? 0 : pread(s->fd, chunk, sizeof(chunk), (off_t)s->off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {	/* never a message cut short that looks whole */
			log_error("pop3(%s): read of a message: errno %d", c->user->name, errno);
			client_end(c, "Message cannot be read");
			return false;
		}
		if (n == 0) {
			finish(c, s->lines_left == UINT64_MAX);
			return true;
		}
		buf_init(&b, 3 * sizeof(chunk));
		const size_t used = stuff(s, chunk, (size_t)n, &b);
		s->off += used;
		conn_write(c->conn, buf_view(&b));
		*(s->lines_left == UINT64_MAX ? &c->retr_bytes : &c->top_bytes) += b.n;
		buf_fini(&b);
		if (used < (size_t)n || (s->in_body && s->lines_left == 0)) {
			finish(c, false);
			return true;
		}
	}
	return false;
}
