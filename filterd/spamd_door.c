/* spamd's protocol, for spamc and what speaks like it: one request a connection, answered from the same verdict that smtpd's clients get. Spam is what would be
 * kept, and what gets X-Spam-Flag: YES. TELL teaches, on listeners where that is allowed: what is told is noted for postern-learn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/enc.h"
#include "door.h"
#include "mail/edit.h"
#include "os/os.h"
#include "spam/bayes.h"
#include "spamd_head.h"

enum { EX_USAGE_CODE = 64, EX_UNAVAILABLE_CODE = 69, EX_TEMPFAIL_CODE = 75, EX_PROTOCOL_CODE = 76, ANSWER_HEAD_MAX = 2 << 20, REPORT_MAX = 16384 };

struct spamd {
	struct spamd_head head;
	char user[SPAMD_USER_MAX + 1];
	bool begun;		/* the head was read, the message follows */
};

static void answer_error(struct door_conn *c, int code, const char *text)
{
	conn_printf(c->conn, "SPAMD/1.0 %d %s\r\n", code, text);
	door_close(c);
}

/* --- the answer --- */

static bool says_spam(const struct ipc_filter_VERDICT *v)
{
	for (size_t i = 0; i < v->edits.n; i++)
		if (str_starts(v->edits.v[i], STR("+X-Spam-Flag: YES")))
			return true;
	return !str_eq(v->action, STR("accept"));
}

struct score {
	bool spam;
	struct str points, required;
};

static struct score score_of(const struct ipc_filter_VERDICT *v)
{
	struct score s = { .spam = says_spam(v), .points = v->hits, .required = v->required.n > 0 ? v->required : STR("5.0") };
	if (s.points.n == 0)
		s.points = s.spam ? s.required : STR("0.0");	/* kept for another reason than its score */
	return s;
}

/* What hit: rules by name, or the class when there are none. */
static struct str symbols(const struct ipc_filter_VERDICT *v)
{
	if (v->tests.n > 0)
		return v->tests;
	const ptrdiff_t space = str_chr(v->log, ' ');
	return str_eq(v->log, STR("CLEAN")) ? STR("") : space < 0 ? v->log : str_sub(v->log, 0, (size_t)space);
}

static void put_report(const struct door_conn *c, const struct ipc_filter_VERDICT *v, const struct score *s, struct buf *out)
{
	buf_printf(out, "Spam detection software, running on the system \"%s\",\nhas %sidentified this incoming email as possible spam.\n\n",
		   c->conf->myhostname, s->spam ? "" : "NOT ");
	buf_printf(out, "Content analysis details:   (%.*s points, %.*s required)\n\n"
			" check     finding\n --------- --------------------------------------------------------------\n", STR_ARG(s->points), STR_ARG(s->required));
	for (struct str rest = v->report; rest.n > 0;) {
		buf_ch(out, ' ');
		text_neutral(out, str_split(&rest, '\n'), 300, false);
		buf_ch(out, '\n');
	}
	buf_printf(out, "\nVerdict: %.*s, %.*s\n", STR_ARG(v->log), STR_ARG(v->action));
}

static void put_head(const struct score *s, int64_t length, struct buf *out)
{
	buf_c(out, "SPAMD/1.1 0 EX_OK\r\n");
	if (length >= 0)
		buf_printf(out, "Content-length: %lld\r\n", (long long)length);
	buf_printf(out, "Spam: %s ; %.*s / %.*s\r\n\r\n", s->spam ? "True" : "False", STR_ARG(s->points), STR_ARG(s->required));
}

static void answer_text(struct door_conn *c, const struct score *s, struct str text)
{
	struct buf b;
	buf_init(&b, REPORT_MAX * 2);
	put_head(s, (int64_t)text.n, &b);
	buf_str(&b, text);
	conn_write(c->conn, buf_view(&b));
	buf_fini(&b);
	door_close(c);
}

/* The message with our edits: the section that is rewritten, then the rest as it came. Line ends stay those of the message. */
static void answer_message(struct door_conn *c, const struct score *s, const struct ipc_filter_VERDICT *v, bool head_only)
{
	struct buf head, lf, b;
	struct err e = { 0 };
	size_t head_n = 0, body = 0;
	buf_init(&head, ANSWER_HEAD_MAX);
	buf_init(&lf, ANSWER_HEAD_MAX);
	buf_init(&b, ANSWER_HEAD_MAX + 1024);
	const struct str in = buf_view(&c->head);
	const bool crlf = str_find(in, STR("\r\n")) >= 0;
	if (mail_head_find(in, c->head.n == c->size, &head_n, &body) != 0)
		head_n = body = 0;
	for (size_t i = 0; i < head_n; i++)
		if (in.p[i] != '\r')
			buf_ch(&lf, in.p[i]);
	if (mail_edit_apply(buf_view(&lf), v->edits.v, v->edits.n, &head, &e) < 0 || buf_failed(&head) || buf_failed(&lf)) {
		buf_fini(&head);
		buf_init(&head, ANSWER_HEAD_MAX);
		buf_str(&head, buf_view(&lf));
	}
	buf_ch(&head, '\n');
	if (crlf) {
		buf_reset(&lf);
		for (size_t i = 0; i < head.n; i++) {
			if (head.p[i] == '\n')
				buf_ch(&lf, '\r');
			buf_ch(&lf, head.p[i]);
		}
	}
	const struct str text = crlf ? buf_view(&lf) : buf_view(&head);
	put_head(s, (int64_t)(text.n + (head_only ? 0 : c->size - body)), &b);
	buf_str(&b, text);
	conn_write(c->conn, buf_view(&b));
	if (!head_only && c->size > body) {
		conn_send_file_own(c->conn, c->fd, body, c->size - body);
		c->fd = -1;
	}
	buf_fini(&head);
	buf_fini(&lf);
	buf_fini(&b);
	door_close(c);
}

/* --- TELL --- */

/* As what; BAYES_NONE: forget. NULL, or why it cannot be done. */
static const char *tell_class(const struct spamd_head *h, enum bayes_class *out)
{
	if ((h->set | h->remove) & SPAMD_REMOTE)
		return "nothing is reported to others, nor revoked there; learn it with -L";
	if (h->set == h->remove || (h->set != 0 && h->class == SPAMD_CLASS_NONE))
		return "TELL wants Set: local with a Message-class, or Remove: local";
	*out = h->set == 0 ? BAYES_NONE : h->class == SPAMD_CLASS_SPAM ? BAYES_SPAM : BAYES_HAM;
	return NULL;
}

/* NULL: it may, and says something that can be done. */
static const char *tell_refused(const struct door_conn *c)
{
	enum bayes_class as;
	if (!c->teach)
		return "TELL is not served on this listener (filter_spamd_tell_listeners)";
	return tell_class(&((const struct spamd *)c->state)->head, &as);
}

/* As spamd: spamc -L fails then (74 with -x). Told to report or revoke, it says "Unable to" when the answer has an end of its header, and would call that
 * "already learned" of -L. */
static void refuse_tell(struct door_conn *c)
{
	const struct spamd *s = c->state;
	const bool remote = c->teach && ((s->head.set | s->head.remove) & SPAMD_REMOTE);
	char text[300];
	snprintf(text, sizeof(text), "Service Unavailable: %s%s", tell_refused(c), remote ? "\r\n" : "");
	answer_error(c, EX_UNAVAILABLE_CODE, text);
}

/* spamc says "successfully un/learned" where DidSet or DidRemove is there, else "was already". */
static void answer_tell(struct door_conn *c, const struct ipc_filter_VERDICT *v)
{
	const struct spamd *s = c->state;
	conn_printf(c->conn, "SPAMD/1.1 0 EX_OK\r\n");
	if (v->learn.n > 0)
		conn_printf(c->conn, s->head.set ? "DidSet: local\r\n" : "DidRemove: local\r\n");
	conn_printf(c->conn, "Content-length: 2\r\n\r\n\r\n");
	door_close(c);
}

/* --- the verdict --- */

/* There is one recipient, so there is one verdict. */
static void on_verdict(struct door_conn *c, const struct filter_outcomes *o)
{
	const struct spamd *s = c->state;
	const struct ipc_filter_VERDICT *v = o == NULL ? NULL : o->v[0];
	if (v == NULL || str_eq(v->action, STR("tempfail"))) {
		answer_error(c, EX_TEMPFAIL_CODE, "the message could not be checked, try again later");
		return;
	}
	if (s->head.method == SPAMD_TELL) {
		answer_tell(c, v);
		return;
	}
	const struct score score = score_of(v);
	struct buf b;
	buf_init(&b, REPORT_MAX);
	switch (s->head.method) {
	case SPAMD_SYMBOLS:
		buf_str(&b, symbols(v));
		buf_c(&b, "\r\n");
		answer_text(c, &score, buf_view(&b));
		break;
	case SPAMD_REPORT:
	case SPAMD_REPORT_IFSPAM:
		if (score.spam || s->head.method == SPAMD_REPORT)
			put_report(c, v, &score, &b);
		answer_text(c, &score, buf_view(&b));
		break;
	case SPAMD_PROCESS:
	case SPAMD_HEADERS:
		answer_message(c, &score, v, s->head.method == SPAMD_HEADERS);
		break;
	default:
		put_head(&score, -1, &b);
		conn_write(c->conn, buf_view(&b));
		door_close(c);
	}
	buf_fini(&b);
}

/* --- the request --- */

static void ask(struct door_conn *c)
{
	struct spamd *s = c->state;
	struct ipc_filter_SCAN m = { .sender = STR(""), .client = STR(""), .helo = STR(""), .want = s->head.method == SPAMD_REPORT || s->head.method == SPAMD_REPORT_IFSPAM };
	struct str to = s->user[0] != '\0' ? str_c(s->user) : STR("spamc");
	enum bayes_class as;
	m.recipients = (struct ipc_strs){ &to, 1 };
	if (s->head.method == SPAMD_TELL && tell_class(&s->head, &as) == NULL)
		m.teach = as + 1;
	if (s->head.method == SPAMD_TELL && tell_refused(c) != NULL) {	/* only now: spamc has to have written all to hear it */
		refuse_tell(c);
		return;
	}
	if (c->full)
		answer_error(c, EX_UNAVAILABLE_CODE, "the message is too large");
	else
		door_ask(c, &m);
}

/* true: a message follows. */
static bool take_head(struct door_conn *c)
{
	struct spamd *s = c->state;
	size_t used = 0;
	struct err e = { 0 };
	char text[300];
	const int r = spamd_head_parse(conn_input(c->conn), &s->head, &used, &e);
	if (r > 0)
		return false;
	if (r < 0) {
		snprintf(text, sizeof(text), "Bad header line: %s", e.text);
		answer_error(c, EX_PROTOCOL_CODE, text);
		return false;
	}
	snprintf(s->user, sizeof(s->user), "%.*s", STR_ARG(s->head.user));
	s->head.user = STR("");
	conn_consume(c->conn, used);
	if (s->head.method == SPAMD_PING) {
		conn_printf(c->conn, "SPAMD/1.5 0 PONG\r\n");
		door_close(c);
	} else if (s->head.method == SPAMD_SKIP) {
		door_close(c);
	} else if (s->head.compressed) {
		answer_error(c, EX_PROTOCOL_CODE, "Bad header line: Compress is not served");
	} else if (!s->head.sized) {
		answer_error(c, EX_PROTOCOL_CODE, "Bad header line: Content-length is missing");
	} else if (s->head.length > c->conf->message_size_limit) {
		answer_error(c, EX_UNAVAILABLE_CODE, "the message is too large");
	} else {
		s->begun = true;
	}
	return s->begun;
}

static void on_data(struct door_conn *c)
{
	struct spamd *s = c->state;
	if (!s->begun && !take_head(c))
		return;
	const struct str in = conn_input(c->conn);
	const uint64_t left = s->head.length - (c->full ? 0 : c->size);
	const size_t n = in.n < left ? in.n : (size_t)left;
	door_message_add(c, str_sub(in, 0, n));
	conn_consume(c->conn, in.n);
	if (c->full)
		answer_error(c, EX_UNAVAILABLE_CODE, "the message is too large");
	else if (in.n > left)
		answer_error(c, EX_PROTOCOL_CODE, "Bad header line: (Content-Length mismatch: more bytes than it says)");
	else if (c->size == s->head.length)
		ask(c);
}

static void on_closed(struct door_conn *c)
{
	answer_error(c, EX_PROTOCOL_CODE, "Bad header line: (Content-Length mismatch: the request ends too early)");
}

static void on_end(struct door_conn *c)
{
	(void)c;
}

const struct door_protocol spamd_door = { .name = "spamd", .state_size = sizeof(struct spamd), .data = on_data, .verdict = on_verdict,
	.closed = on_closed, .end = on_end };
