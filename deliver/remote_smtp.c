/* One outgoing SMTP connection: greeting, EHLO, STARTTLS, then one transaction after the other (RFC 5321, 2920, 1870, 3207). Everything the server says is
 * hostile text: replies are bounded in lines and bytes, neutralised before they reach a log, a bounce or queued; every step has the time limit
 * of RFC 5321 4.5.3.2. MAIL and RCPT are pipelined where the server announces it; DATA waits until a recipient was accepted. Message data is read from
 * the job's descriptor in chunks as the connection takes it, header edits applied, dots stuffed: no bare CR or LF can leave.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote_priv.h"
#include "log/log.h"
#include "mail/edit.h"
#include "os/os.h"
#include "smtp/cmd.h"
#include "smtp/data.h"
#include "smtp/reply.h"

enum step {		/* what the next reply answers */
	STEP_CONNECT,
	STEP_GREETING,
	STEP_EHLO,
	STEP_HELO,
	STEP_STARTTLS,
	STEP_TLS,
	STEP_ENVELOPE,	/* MAIL and RCPTs, pipelined */
	STEP_DATA,
	STEP_BODY,	/* no reply is due; one is an error */
	STEP_DOT,
	STEP_RSET,
	STEP_IDLE,
	STEP_MAX_,
};

/* Name in "(in reply to …)", time limit (RFC 5321 4.5.3.2), and what a silent server is said to have failed. */
static const struct {
	const char *command;
	uint64_t ms;
	const char *timeout;
} steps[STEP_MAX_] = {
	[STEP_CONNECT] = { "", 30000, "connecting" },
	[STEP_GREETING] = { "", 300000, "receiving the initial server greeting" },
	[STEP_EHLO] = { "EHLO command", 300000, "performing the EHLO handshake" },
	[STEP_HELO] = { "HELO command", 300000, "performing the HELO handshake" },
	[STEP_STARTTLS] = { "STARTTLS command", 300000, "performing the STARTTLS handshake" },
	[STEP_TLS] = { "", 60000, "performing the TLS handshake" },
	[STEP_ENVELOPE] = { "MAIL FROM command", 300000, "sending MAIL FROM or RCPT TO" },
	[STEP_DATA] = { "DATA command", 120000, "sending DATA command" },
	[STEP_BODY] = { "", 180000, "sending message body" },
	[STEP_DOT] = { "end of DATA command", 600000, "sending end of data -- message may be sent more than once" },
	[STEP_RSET] = { "RSET command", 20000, "sending RSET" },
	[STEP_IDLE] = { "", REMOTE_IDLE_MS, "" },
};

enum { FEAT_PIPELINING = 1, FEAT_SIZE = 2, FEAT_8BITMIME = 4, FEAT_STARTTLS = 8, FEAT_SMTPUTF8 = 16 };

struct smtp {
	struct list node;		/* on remote.idle */
	struct remote *r;
	struct job *j;			/* NULL when idle */
	struct conn *c;
	struct watch *connecting;
	struct timer *connect_timer;
	int fd;				/* while connecting */
	enum step step;
	struct dns_addr addr;
	char host[256], name[330];	/* "host[ip]" */
	char key[520];			/* next hop it may serve again */
	uint16_t port;
	unsigned features, messages;
	uint64_t size_max;
	bool esmtp, secure_tried, reused;
	/* reply being read */
	struct buf text;		/* lines joined by a blank, neutralised */
	char enhanced[16];
	int lines;
	/* transaction */
	bool mail_answered, mail_ok;
	size_t rcpt_sent, rcpt_answered, rcpt_ok;
	uint64_t off;
	struct smtp_dot dot;
	bool head_done;
};

static void on_event(void *ctx, struct conn *c, enum conn_event ev);
static void begin(struct smtp *s);
static void pump(struct smtp *s);
static void send_envelope(struct smtp *s);

/* --- ends --- */

static void smtp_free(struct smtp *s)
{
	list_del(&s->node);
	watch_del(&s->connecting);
	timer_del(&s->connect_timer);
	close_fd(&s->fd);
	conn_free(&s->c);
	buf_fini(&s->text);
	loop_free_later(s->r->loop, s);
}

static void smtp_quit(struct smtp *s)
{
	if (s->c != NULL) {
		conn_write(s->c, STR("QUIT\r\n"));
		conn_finish(&s->c, 2000);
	}
	smtp_free(s);
}

/* This connection is of no use; the job goes on elsewhere or ends. No recipient has been asked for yet. */
static void give_up(struct smtp *s, const char *enhanced, const char *text, bool quit)
{
	struct job *j = s->j;

	s->j = NULL;
	if (quit)
		smtp_quit(s);
	else
		smtp_free(s);
	if (j == NULL)
		return;
	log_info("%s", text);
	job_next(j, enhanced, text);
}

/* The connection broke or stalled in the middle of a transaction: recipients without a result are tried again later. */
static void broken(struct smtp *s, const char *what)
{
	struct job *j = s->j;
	char text[600];

	if (j == NULL) {
		smtp_free(s);
		return;
	}
	if (s->step == STEP_CONNECT)
		(void)snprintf(text, sizeof text, "connect to %s:%u: %s", s->name, s->port, what);
	else
		(void)snprintf(text, sizeof text, "%s while %s", what, steps[s->step].timeout);
	if (s->reused && s->step == STEP_ENVELOPE && !s->mail_answered) {
		/* A kept connection had gone stale: that is not an attempt. */
		s->j = NULL;
		smtp_free(s);
		job_restart(j);
		return;
	}
	if (s->step < STEP_ENVELOPE) {
		give_up(s, s->step == STEP_CONNECT ? "4.4.1" : "4.4.2", text, false);
		return;
	}
	job_close_open(j, RCPT_DEFERRED, "4.4.2", text);
	s->j = NULL;
	smtp_free(s);
	job_done(j);
}

static void lost(struct smtp *s)
{
	char text[500];
	const char *why = s->c ? conn_error(s->c) : "";

	if (s->step == STEP_TLS && s->j != NULL && str_eq(str_c(s->r->conf->smtp_tls_security_level), STR("may"))) {
		/* Opportunistic: once more without TLS, to the same address. */
		struct job *j = s->j;
		const struct dns_addr addr = s->addr;
		log_info("SSL_connect error to %s:%u: %s", s->name, s->port, *why ? why : "lost connection");
		s->j = NULL;
		smtp_free(s);
		j->no_tls = true;
		smtp_open(j, &addr);
		return;
	}
	(void)snprintf(text, sizeof text, "%s with %s", s->step == STEP_TLS ? "Cannot start TLS: handshake failure" : "lost connection", s->name);
	broken(s, text);
}

static void timed_out(struct smtp *s)
{
	char text[500];

	if (s->step == STEP_IDLE) {
		smtp_quit(s);
		return;
	}
	if (s->step == STEP_CONNECT)
		(void)snprintf(text, sizeof text, "Connection timed out");
	else
		(void)snprintf(text, sizeof text, "conversation with %s timed out", s->name);
	broken(s, text);
}

/* --- sending commands --- */

static void enter(struct smtp *s, enum step st)
{
	s->step = st;
	conn_deadline(s->c, steps[st].ms);
}

static void say(struct smtp *s, enum step st, const char *line)
{
	enter(s, st);
	conn_write(s->c, str_c(line));
	conn_write(s->c, STR("\r\n"));
}

static void say_hello(struct smtp *s, const char *verb, enum step st)
{
	enter(s, st);
	conn_printf(s->c, "%s %s\r\n", verb, s->r->conf->myhostname);
}

/* --- a whole reply --- */

struct reply {
	int code;
	char enhanced[16];
	char text[600];		/* "250 2.0.0 Ok" */
};

/* "host x[ip] said: 550 5.1.1 no (in reply to RCPT TO command)" */
static void said(const struct smtp *s, const struct reply *r, const char *command, char out[700])
{
	(void)snprintf(out, 700, "host %s said: %s%s%s%s", s->name, r->text, *command ? " (in reply to " : "", command, *command ? ")" : "");
}

static enum rcpt_status final_status(int code)
{
	return code >= 500 ? RCPT_BOUNCED : RCPT_DEFERRED;
}

/* A refusal before the transaction: greeting, EHLO, STARTTLS. Another host may be in a better mood; at the end it is temporary. */
static void refused_early(struct smtp *s, const struct reply *r)
{
	char text[700];

	(void)snprintf(text, sizeof text, "host %s refused to talk to me: %s", s->name, r->text);
	give_up(s, "4.4.2", text, true);
}

/* The answer ends the transaction for all recipients that have none. */
static void transaction_failed(struct smtp *s, const struct reply *r, const char *command)
{
	struct job *j = s->j;
	char text[700];

	said(s, r, command, text);
	job_close_open(j, final_status(r->code), r->enhanced, text);
	s->j = NULL;
	job_done(j);
	if (r->code == 421)
		smtp_quit(s);
	else
		say(s, STEP_RSET, "RSET");
}

static void go_idle(struct smtp *s)
{
	if (++s->messages >= REMOTE_REUSE_MAX) {
		smtp_quit(s);
		return;
	}
	enter(s, STEP_IDLE);
	list_append(&s->r->idle, &s->node);
}

static void start_or_tls(struct smtp *s)
{
	const char *level = s->r->conf->smtp_tls_security_level;
	const bool wants = s->r->tls != NULL && !s->j->no_tls && !conn_secure(s->c);

	if (wants && (s->features & FEAT_STARTTLS) && !s->secure_tried) {
		s->secure_tried = true;
		say(s, STEP_STARTTLS, "STARTTLS");
	} else if (str_eq(str_c(level), STR("encrypt")) && !conn_secure(s->c)) {
		char text[500];
		(void)snprintf(text, sizeof text, "TLS is required, but was not offered by host %s", s->name);
		give_up(s, "4.7.4", text, true);
	} else {
		begin(s);
	}
}

static void on_greeting(struct smtp *s, const struct reply *r)
{
	if (r->code != 220)
		refused_early(s, r);
	else
		say_hello(s, "EHLO", STEP_EHLO);
}

static void on_ehlo(struct smtp *s, const struct reply *r)
{
	s->esmtp = r->code < 300;
	if (s->esmtp)
		start_or_tls(s);
	else if (r->code >= 500)
		say_hello(s, "HELO", STEP_HELO);
	else
		refused_early(s, r);
}

static void on_helo(struct smtp *s, const struct reply *r)
{
	if (r->code >= 300)
		refused_early(s, r);
	else
		start_or_tls(s);
}

static void on_starttls(struct smtp *s, const struct reply *r)
{
	if (r->code != 220) {
		start_or_tls(s);
		return;
	}
	/* Text behind the answer would be read as if it had come through TLS (CVE-2021-38371). */
	if (conn_input(s->c).n > 0) {
		char text[500];
		(void)snprintf(text, sizeof text, "host %s sent text behind its answer to STARTTLS", s->name);
		give_up(s, "4.7.0", text, false);
		return;
	}
	enter(s, STEP_TLS);
	s->features = 0;
	conn_starttls_client(s->c, s->r->tls, s->host);
}

static void after_envelope(struct smtp *s)
{
	struct job *j = s->j;

	if (s->rcpt_ok > 0) {
		say(s, STEP_DATA, "DATA");
		return;
	}
	s->j = NULL;
	job_done(j);
	say(s, STEP_RSET, "RSET");
}

static void on_envelope(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;
	char text[700];

	if (!s->mail_answered) {
		s->mail_answered = true;
		s->mail_ok = r->code < 300;
		if (!s->mail_ok) {
			said(s, r, steps[STEP_ENVELOPE].command, text);
			job_close_open(j, final_status(r->code), r->enhanced, text);
		}
	} else {
		struct rcpt *to = &j->rcpts[s->rcpt_answered++];
		to->accepted = s->mail_ok && r->code < 300;
		s->rcpt_ok += to->accepted;
		if (!to->accepted && s->mail_ok) {
			said(s, r, "RCPT TO command", text);
			rcpt_close(j, to, final_status(r->code), r->enhanced, text);
		}
	}
	if (r->code == 421) {
		transaction_failed(s, r, steps[STEP_ENVELOPE].command);
		return;
	}
	send_envelope(s);
	if (s->mail_answered && s->rcpt_answered == s->rcpt_sent && (!s->mail_ok || s->rcpt_sent == j->n_rcpts))
		after_envelope(s);
	else
		conn_deadline(s->c, steps[STEP_ENVELOPE].ms);
}

static void on_data(struct smtp *s, const struct reply *r)
{
	if (r->code != 354) {
		transaction_failed(s, r, steps[STEP_DATA].command);
		return;
	}
	enter(s, STEP_BODY);
	s->off = 0;
	s->dot = (struct smtp_dot)SMTP_DOT_INIT;
	s->head_done = false;
	pump(s);
}

static void on_dot(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;

	if (r->code >= 300) {
		transaction_failed(s, r, steps[STEP_DOT].command);
		return;
	}
	job_close_open(j, RCPT_SENT, r->enhanced, r->text);
	s->j = NULL;
	job_done(j);
	go_idle(s);
}

static void on_rset(struct smtp *s, const struct reply *r)
{
	if (r->code < 300)
		go_idle(s);
	else
		smtp_quit(s);
}

static void on_unasked(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;
	char text[700];

	if (j == NULL) {		/* idle: the server says good-bye */
		smtp_quit(s);
		return;
	}
	/* In the middle of the data: only the end of the connection makes sure that no part is taken for a message. */
	said(s, r, "message data", text);
	job_close_open(j, r->code >= 400 ? final_status(r->code) : RCPT_DEFERRED, r->code >= 400 ? r->enhanced : "4.5.0", text);
	s->j = NULL;
	smtp_free(s);
	job_done(j);
}

static void (*const handlers[STEP_MAX_])(struct smtp *s, const struct reply *r) = {
	[STEP_GREETING] = on_greeting, [STEP_EHLO] = on_ehlo, [STEP_HELO] = on_helo, [STEP_STARTTLS] = on_starttls, [STEP_ENVELOPE] = on_envelope,
	[STEP_DATA] = on_data, [STEP_DOT] = on_dot, [STEP_RSET] = on_rset,
};

static void whole_reply(struct smtp *s, int code)
{
	struct reply r = { .code = code };
	struct buf b;

	if (s->enhanced[0] != '\0')
		(void)snprintf(r.enhanced, sizeof r.enhanced, "%s", s->enhanced);
	else
		(void)snprintf(r.enhanced, sizeof r.enhanced, "%d.0.0", code / 100 == 3 ? 5 : code / 100);
	buf_init(&b, 4096);
	text_neutral(&b, buf_view(&s->text), REMOTE_TEXT_MAX, true);
	(void)snprintf(r.text, sizeof r.text, "%d %.*s", code, STR_ARG(buf_view(&b)));
	buf_fini(&b);
	buf_reset(&s->text);
	s->enhanced[0] = '\0';
	s->lines = 0;
	if (handlers[s->step] != NULL)
		handlers[s->step](s, &r);
	else
		on_unasked(s, &r);
}

static void take_feature(struct smtp *s, struct str text)
{
	static const struct { const char *word; unsigned bit; } words[] = {
		{ "PIPELINING", FEAT_PIPELINING }, { "SIZE", FEAT_SIZE }, { "8BITMIME", FEAT_8BITMIME }, { "STARTTLS", FEAT_STARTTLS },
		{ "SMTPUTF8", FEAT_SMTPUTF8 },
	};
	const struct str word = str_split(&text, ' ');
	uint64_t size;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_case_eq(word, str_c(words[i].word)))
			s->features |= words[i].bit;
	if (str_case_eq(word, STR("SIZE")) && num_parse(str_trim(text), 1, UINT64_MAX, &size) == 0)
		s->size_max = size;
}

/* One line of a reply; -1: the connection has been given up. */
static int take_line(struct smtp *s, struct str line)
{
	struct smtp_reply_line l;
	struct err e = { 0 };
	char text[500];

	if (smtp_reply_line_parse(line, &l, &e) < 0 || ++s->lines > SMTP_REPLY_LINES_MAX) {
		(void)snprintf(text, sizeof text, "host %s broke the SMTP protocol", s->name);
		broken(s, text);
		return -1;
	}
	if (s->step == STEP_EHLO && l.code == 250 && s->lines > 1)
		take_feature(s, str_from(line, 4));
	if (s->lines == 1 && l.enhanced.n > 0 && l.enhanced.n < sizeof s->enhanced)
		(void)snprintf(s->enhanced, sizeof s->enhanced, "%.*s", STR_ARG(l.enhanced));
	if (s->text.n < REMOTE_TEXT_MAX) {
		if (s->text.n > 0)
			buf_ch(&s->text, ' ');
		if (l.enhanced.n > 0) {
			buf_str(&s->text, l.enhanced);
			buf_ch(&s->text, ' ');
		}
		buf_str(&s->text, str_sub(l.text, 0, REMOTE_TEXT_MAX));
	}
	if (l.last)
		whole_reply(s, l.code);
	return 0;
}

static void on_input(struct smtp *s)
{
	struct str line;
	struct err e = { 0 };
	char text[500];

	while (s->c != NULL) {
		const int r = conn_line(s->c, 4096, &line, &e);
		if (r == 1)
			return;
		if (r < 0) {
			(void)snprintf(text, sizeof text, "host %s broke the SMTP protocol (%s)", s->name, e.text);
			broken(s, text);
			return;
		}
		if (take_line(s, line) < 0)
			return;
	}
}

/* --- the transaction --- */

/* The envelope in the wire's form; queued holds addresses unquoted-or-quoted as a path needs them, so they go out as they are. Controls cannot be in
 * them, and are refused here all the same: they would be commands. */
static bool clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]) || s.p[i] == '<' || s.p[i] == '>')
			return false;
	return true;
}

static bool envelope_possible(struct smtp *s)
{
	struct job *j = s->j;
	char text[500];

	if (!clean(j->sender)) {
		job_close_open(j, RCPT_BOUNCED, "5.1.7", "bad sender address");
		return false;
	}
	for (size_t i = 0; i < j->n_rcpts; i++)
		if (!clean(j->rcpts[i].addr) || j->rcpts[i].addr.n == 0) {
			job_close_open(j, RCPT_BOUNCED, "5.1.3", "bad recipient address");
			return false;
		}
	if ((s->features & FEAT_SIZE) && s->size_max > 0 && j->size > s->size_max) {
		(void)snprintf(text, sizeof text, "message size %llu exceeds size limit %llu of server %s", (unsigned long long)j->size,
			       (unsigned long long)s->size_max, s->name);
		job_close_open(j, RCPT_BOUNCED, "5.3.4", text);
		return false;
	}
	if (j->utf8 && !(s->features & FEAT_SMTPUTF8)) {
		(void)snprintf(text, sizeof text, "SMTPUTF8 is required, but was not offered by host %s", s->name);
		job_close_open(j, RCPT_BOUNCED, "5.6.7", text);
		return false;
	}
	return true;
}

static void begin(struct smtp *s)
{
	struct job *j = s->j;

	s->mail_answered = s->mail_ok = false;
	s->rcpt_sent = s->rcpt_answered = s->rcpt_ok = 0;
	(void)snprintf(j->relay, sizeof j->relay, "%.270s:%u", s->name, s->port);
	if (!envelope_possible(s)) {
		s->j = NULL;
		job_done(j);
		go_idle(s);
		return;
	}
	enter(s, STEP_ENVELOPE);
	conn_printf(s->c, "MAIL FROM:<%.*s>", STR_ARG(j->sender));
	if (s->features & FEAT_SIZE)
		conn_printf(s->c, " SIZE=%llu", (unsigned long long)j->size);
	if ((s->features & FEAT_8BITMIME) && str_case_eq(j->body, STR("8BITMIME")))
		conn_write(s->c, STR(" BODY=8BITMIME"));
	if (j->utf8)
		conn_write(s->c, STR(" SMTPUTF8"));
	conn_write(s->c, STR("\r\n"));
	send_envelope(s);
}

/* As many RCPTs as may be under way. */
static void send_envelope(struct smtp *s)
{
	const struct job *j = s->j;
	const bool pipe = s->features & FEAT_PIPELINING;

	if ((!pipe && !s->mail_answered) || (s->mail_answered && !s->mail_ok))
		return;
	while (s->rcpt_sent < j->n_rcpts && s->rcpt_sent - s->rcpt_answered < (pipe ? REMOTE_WINDOW : 1)) {
		conn_printf(s->c, "RCPT TO:<%.*s>\r\n", STR_ARG(j->rcpts[s->rcpt_sent].addr));
		s->rcpt_sent++;
	}
}

/* The header section with its edits, if there are any. -1: the job cannot be sent. */
static int send_head(struct smtp *s, struct buf *wire, struct err *e)
{
	struct job *j = s->j;
	struct stat st;
	struct buf raw, edited;
	size_t head_n, body;
	int r = -1;

	if (j->n_edits == 0)
		return 0;
	/* The message is the first size bytes: behind them the queue keeps its journal. */
	if (fstat(j->fd, &st) < 0 || (uint64_t)st.st_size < j->size)
		return err_set(e, ERR_TEMP, errno, "the message is shorter than said");
	const size_t n = j->size < REMOTE_HEAD_MAX ? (size_t)j->size : REMOTE_HEAD_MAX;
	buf_init(&raw, REMOTE_HEAD_MAX + 1);
	buf_init(&edited, REMOTE_HEAD_MAX * 2);
	char *p = buf_room(&raw, n);
	if (p == NULL || pread_all(j->fd, p, n, 0, e) < 0)
		goto out;
	buf_added(&raw, n);
	if (mail_head_find(buf_view(&raw), n == j->size, &head_n, &body) != 0) {
		err_set(e, ERR_INPUT, 0, "message header too long");
		goto out;
	}
	if (mail_edit_apply(str_sub(buf_view(&raw), 0, head_n), j->edits, j->n_edits, &edited, e) < 0)
		goto out;
	if (body == head_n && head_n < n)	/* a body without header: the new fields need the empty line */
		buf_ch(&edited, '\n');
	smtp_dot_encode(&s->dot, buf_view(&edited), wire);
	s->off = head_n;
	r = buf_check(wire, "header", e);
out:
	buf_fini(&raw);
	buf_fini(&edited);
	return r;
}

/* Our own side failed in the middle of the data: the connection must break, or the server would take half a message for a whole one. */
static void body_failed(struct smtp *s, const struct err *e)
{
	struct job *j = s->j;

	log_error("%.*s: cannot read the message: %s", STR_ARG(j->qid), e->text);
	job_close_open(j, RCPT_DEFERRED, "4.3.0", "the message could not be read");
	s->j = NULL;
	smtp_free(s);
	job_done(j);
}

static void pump(struct smtp *s)
{
	static char chunk[REMOTE_CHUNK];
	struct buf wire;
	struct err e = { 0 };
	bool end = false;

	buf_init(&wire, REMOTE_HEAD_MAX * 4);
	if (!s->head_done && send_head(s, &wire, &e) < 0) {
		buf_fini(&wire);
		body_failed(s, &e);
		return;
	}
	s->head_done = true;
	while (!end && conn_out_room(s->c) > 0) {
		const uint64_t left = s->j->size > s->off ? s->j->size - s->off : 0;
		const ssize_t n = pread(s->j->fd, chunk, left < sizeof chunk ? (size_t)left : sizeof chunk, (off_t)s->off);
		if (n < 0 || (n == 0 && left > 0)) {
			err_set(&e, ERR_TEMP, n < 0 ? errno : 0, "read");
			buf_fini(&wire);
			body_failed(s, &e);
			return;
		}
		smtp_dot_encode(&s->dot, str_n(chunk, (size_t)n), &wire);
		s->off += (uint64_t)n;
		end = n == 0;
		if (end)
			smtp_dot_end(&s->dot, &wire);
		conn_write(s->c, buf_view(&wire));
		buf_reset(&wire);
	}
	if (end)
		enter(s, STEP_DOT);
	else
		conn_deadline(s->c, steps[STEP_BODY].ms);
	buf_fini(&wire);
}

/* --- connecting --- */

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct smtp *s = ctx;

	if (s->c == NULL)
		return;
	switch (ev) {
	case CONN_EV_DATA:
		on_input(s);
		break;
	case CONN_EV_DRAINED:
		if (s->step == STEP_BODY)
			pump(s);
		break;
	case CONN_EV_SECURED:
		log_info("%s TLS connection established to %s:%u: %s with cipher %s (%d/%d bits)", "Untrusted", s->name, s->port, conn_tls_version(c),
			 conn_tls_cipher(c), conn_tls_bits(c), conn_tls_bits(c));
		say_hello(s, "EHLO", STEP_EHLO);
		break;
	case CONN_EV_TIMEOUT:
		timed_out(s);
		break;
	case CONN_EV_CLOSED:
		on_input(s);
		if (s->c != NULL)
			lost(s);
		break;
	case CONN_EV_ERROR:
		lost(s);
		break;
	}
}

static void connected(void *ctx, unsigned events)
{
	static const struct conn_limits limits = { .in_max = 65536, .out_high = 131072, .out_max = 8u << 20 };
	struct smtp *s = ctx;
	int error = 0;
	socklen_t n = sizeof error;

	watch_del(&s->connecting);
	timer_del(&s->connect_timer);
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error != 0) {
		broken(s, strerror(error));
		return;
	}
	const int fd = s->fd;
	s->fd = -1;
	s->c = conn_new(s->r->loop, fd, &limits, on_event, s);
	enter(s, STEP_GREETING);
}

static void connect_timeout(void *ctx)
{
	timed_out(ctx);
}

static void connect_later(void *ctx)
{
	struct smtp *s = ctx;

	timer_del(&s->connect_timer);
	broken(s, s->text.p && s->text.n ? s->text.p : "connect failed");
}

void smtp_open(struct job *j, const struct dns_addr *addr)
{
	struct smtp *s = xzalloc(sizeof *s);

	s->r = j->r;
	s->j = j;
	s->addr = *addr;
	s->port = j->port;
	list_init(&s->node);
	buf_init(&s->text, 4096);
	(void)snprintf(s->host, sizeof s->host, "%s", j->host);
	(void)snprintf(s->name, sizeof s->name, "%s[%s]", j->host, addr->text);
	(void)snprintf(s->key, sizeof s->key, "%.*s", STR_ARG(j->nexthop));
	s->fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd >= 0 && (connect(s->fd, (const struct sockaddr *)&addr->sa, addr->len) == 0 || errno == EINPROGRESS)) {
		s->connecting = loop_watch(s->r->loop, s->fd, LOOP_WRITE, connected, s);
		s->connect_timer = loop_timer(s->r->loop, steps[STEP_CONNECT].ms, connect_timeout, s);
		return;
	}
	/* Tell it from the loop: no recursion through the list of addresses. */
	buf_c(&s->text, strerror(errno));
	s->connect_timer = loop_timer(s->r->loop, 0, connect_later, s);
}

bool smtp_reuse(struct job *j)
{
	if (j->fresh)
		return false;
	list_each(it, &j->r->idle) {
		struct smtp *s = list_of(it, struct smtp, node);
		if (!str_eq(str_c(s->key), j->nexthop) || s->step != STEP_IDLE)
			continue;
		list_del(&s->node);
		s->j = j;
		s->reused = true;
		begin(s);
		return true;
	}
	return false;
}
