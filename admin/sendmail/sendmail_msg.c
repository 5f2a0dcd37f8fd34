/* The message of a posting: line ends, recipients, the fields that a poster may leave out. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "admin/sendmail/sendmail.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "smtp/addr.h"

struct str post_complete(struct post *p, struct str text)
{
	struct smtp_addr addr;
	struct err e = { 0 };
	struct buf b;

	if (smtp_addr_parse(p->a, text, &addr, &e) < 0) {
		(void)fprintf(stderr, "sendmail: %.*s: %s\n", STR_ARG(text), e.text);
		return (struct str){ 0 };
	}
	if (addr.domain.n == 0)
		addr.domain = str_c(p->conf->myorigin);
	buf_init(&b, 2048);
	smtp_addr_format(&addr, &b);
	const struct str full = buf_failed(&b) ? (struct str){ 0 } : arena_str(p->a, buf_view(&b));
	buf_fini(&b);
	return full;
}

static int add_recipient(struct post *p, struct str addr)
{
	const struct str full = post_complete(p, addr);

	if (full.p == NULL)
		return EX_USAGE;
	for (size_t i = 0; i < p->n_rcpts; i++)
		if (str_eq(p->rcpts[i], full))
			return 0;
	if (p->n_rcpts == POST_RCPTS_MAX) {
		(void)fprintf(stderr, "sendmail: more than %d recipients\n", POST_RCPTS_MAX);
		return EX_DATAERR;
	}
	p->rcpts = xrealloc(p->rcpts, (p->n_rcpts + 1) * sizeof p->rcpts[0]);
	p->rcpts[p->n_rcpts++] = full;
	return 0;
}

/* The addresses of a header value or of an argument. */
static int add_list(struct post *p, struct str value)
{
	struct mail_addr *list;
	struct err e = { 0 };
	struct buf b;
	int r = 0;

	if (mail_addr_parse(p->a, value, &list, &e) < 0) {
		(void)fprintf(stderr, "sendmail: %.*s: %s\n", STR_ARG(value), e.text);
		return EX_DATAERR;
	}
	for (const struct mail_addr *m = list; m != NULL && r == 0; m = m->next) {
		if (m->doubtful) {
			(void)fprintf(stderr, "sendmail: %.*s: no list of addresses\n", STR_ARG(value));
			return EX_DATAERR;
		}
		if (m->local.p == NULL || m->domain.p == NULL || m->local.n == 0) {
			/* A bare word is a local user; a group's start and end are nobody. */
			if (m->local.p != NULL && m->local.n > 0 && m->domain.p == NULL && str_chr(value, ':') < 0)
				r = add_recipient(p, m->local);
			continue;
		}
		const struct smtp_addr addr = { .local = m->local, .domain = m->domain };
		buf_init(&b, 2048);
		smtp_addr_format(&addr, &b);
		r = add_recipient(p, buf_view(&b));
		buf_fini(&b);
	}
	return r;
}

int post_recipient(struct post *p, struct str text)
{
	text = str_trim(text);
	if (str_chr(text, '@') < 0 && str_chr(text, ',') < 0 && str_chr(text, '<') < 0)
		return add_recipient(p, text);
	return add_list(p, text);
}

/* CRLF (with more CR before it, too) becomes LF, NUL becomes '?': smtpd refuses what is ambiguous, and a poster's output must arrive. A CR elsewhere becomes a blank: as the
 * end of a line it would begin a header field, or an end of data, that who checked the text for line ends has not seen. */
static void normalise(struct buf *out, const char *p, size_t n, bool *cr)
{
	for (size_t i = 0; i < n; i++) {
		if (*cr && p[i] != '\n' && p[i] != '\r')
			buf_ch(out, ' ');
		*cr = p[i] == '\r';
		if (!*cr)
			buf_ch(out, p[i] == '\0' ? '?' : p[i]);
	}
}

int post_read(struct post *p, FILE *from)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	bool cr = false;

	while ((n = getline(&line, &room, from)) > 0) {
		if (!p->dot_is_text && line[0] == '.' && (n == 1 || line[1] == '\n' || (line[1] == '\r' && n == 3 && line[2] == '\n')))
			break;
		normalise(&p->message, line, (size_t)n, &cr);
	}
	if (cr || (p->message.n > 0 && p->message.p[p->message.n - 1] != '\n'))
		buf_ch(&p->message, '\n');
	free(line);
	if (ferror(from)) {
		(void)fprintf(stderr, "sendmail: the message could not be read\n");
		return EX_IOERR;
	}
	if (buf_failed(&p->message) || (p->conf->message_size_limit > 0 && p->message.n > p->conf->message_size_limit)) {
		(void)fprintf(stderr, "sendmail: the message is larger than message_size_limit\n");
		return EX_DATAERR;
	}
	return 0;
}

static bool is_field(struct str name, const char *a, const char *b, const char *c)
{
	return str_case_eq(name, str_c(a)) || str_case_eq(name, str_c(b)) || str_case_eq(name, str_c(c));
}

static void put_from(struct post *p, struct buf *out)
{
	buf_c(out, "From: ");
	if (p->full_name.n > 0) {
		buf_ch(out, '"');
		for (size_t i = 0; i < p->full_name.n; i++) {
			const char c = p->full_name.p[i];
			if (c == '"' || c == '\\')
				buf_ch(out, '\\');
			buf_ch(out, ch_ctl(c) ? ' ' : c);
		}
		buf_c(out, "\" ");
	}
	buf_ch(out, '<');
	buf_str(out, p->author.n > 0 ? p->author : STR("MAILER-DAEMON"));
	buf_c(out, ">\n");
}

/* A message that is sent again: the Resent- recipients count, and the old ones do not (RFC 5322 3.6.6). */
static bool is_resent(struct str head)
{
	struct mail_field f;

	while (mail_field_next(&head, &f) == 0)
		if (is_field(f.name, "Resent-To", "Resent-Cc", "Resent-Bcc"))
			return true;
	return false;
}

int post_headers(struct post *p)
{
	const struct str all = buf_view(&p->message);
	struct str in = all;
	struct mail_field f;
	struct buf out;
	bool from = false, field = true;
	int r = 0;

	buf_init(&out, POST_MESSAGE_MAX);
	if (str_starts(in, STR("From ")))	/* a mailbox's separator */
		(void)str_split(&in, '\n');
	const bool resent = p->from_header && is_resent(in);
	while (in.n > 0 && r == 0) {
		const struct str rest = in;
		if (mail_field_next(&in, &f) != 0 || f.name.n == 0) {
			field = mail_field_next(&(struct str){ rest.p, rest.n }, &f) != 0;
			in = rest;
			break;
		}
		from = from || str_case_eq(f.name, STR("From"));
		if (p->from_header && (resent ? is_field(f.name, "Resent-To", "Resent-Cc", "Resent-Bcc") : is_field(f.name, "To", "Cc", "Bcc")))
			r = add_list(p, f.value);
		if (!is_field(f.name, "Bcc", "Resent-Bcc", "Resent-Bcc"))
			buf_str(&out, f.whole);
	}
	if (r == 0 && p->n_rcpts == 0) {
		(void)fprintf(stderr, "sendmail: no recipient in To, Cc or Bcc\n");
		r = EX_DATAERR;
	}
	if (r == 0) {
		if (!from)
			put_from(p, &out);
		if (!field || in.n == 0)	/* the empty line, where the poster left it out */
			buf_ch(&out, '\n');
		buf_str(&out, in);
		buf_fini(&p->message);
		p->message = out;
	} else {
		buf_fini(&out);
	}
	return r;
}
