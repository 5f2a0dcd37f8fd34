/* DATA: from the client's bytes to queued's descriptor in one pass, through the one reader of lib/smtp (strict line ends, dots). What the client sent is
 * never kept here. RFC 5321 4.1.1.4, 4.5.2; RFC 1870 6.2. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/format.h"
#include "base/num.h"
#include "log/log.h"
#include "os/os.h"
#include "smtpd/peers.h"

static int sink(void *ctx, const void *p, size_t n)
{
	struct session *s = ctx;
	struct err e = { 0 };

	if (write_all(s->data_fd, p, n, &e) == 0)
		return 0;
	log_error("%s: %s: cannot write the message: %s", s->host, s->t.qid, e.text);
	return -1;
}

void data_refused(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];

	(void)text_format(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	session_log_reject(s, "DATA", (int)r->code, enhanced, r->text, s->t.first_rcpt);
	session_reply_str(s, (int)r->code, enhanced, r->text);
}

void cmd_data(struct session *s, struct str args)
{
	if (s->state == ST_MAIL) {
		session_reply(s, 554, "5.5.1", "Error: no valid recipients");
		return;
	}
	data_ask(s, data_refused);
}

void data_ask(struct session *s, void (*refused)(struct session *, const struct ipc_queue_REPLY *))
{
	const int fd = s->ready_fd;

	s->ready_fd = -1;
	if (fd < 0)
		peers_data(s, refused);
	else
		data_open(s, fd, s->ready_max);	/* came with the answer to a recipient */
}

static void on_rate(void *ctx)
{
	struct session *s = ctx;

	if (!data_too_slow(s)) {
		timer_again(s->timer, RATE_WINDOW_MS);
		return;
	}
	log_info("timeout after %s from %s", session_stage(s), s->host);
	session_abort(s, "4.4.2", "Error: timeout exceeded");
}

bool data_too_slow(struct session *s)
{
	const bool slow = s->data_bytes - s->data_mark < RATE_WINDOW_BYTES;

	s->data_mark = s->data_bytes;
	return (s->mode == MODE_DATA || s->mode == MODE_BDAT) && slow;
}

void data_clock(struct session *s)
{
	const uint64_t now = clock_mono_ms(), max = s->conf->smtpd_data_time_max * 1000;

	/* One limit for all chunks of a message; a chunk that is dropped has its own. */
	if (s->data_fd < 0 || s->state != ST_BDAT)
		s->data_until_ms = now + max;
	conn_deadline(s->c, s->data_until_ms > now ? s->data_until_ms - now : 1);
	conn_idle(s->c, s->conf->smtpd_timeout * 1000);
	s->data_mark = s->data_bytes;
	timer_del(&s->timer);
	s->timer = loop_timer(s->env->loop, RATE_WINDOW_MS, on_rate, s);
}

void data_open(struct session *s, int fd, uint64_t size_max)
{
	struct smtp_data_limits limits = { .size_max = s->conf->message_size_limit, .header_max = s->conf->header_size_limit };

	if (size_max > 0 && size_max < limits.size_max)
		limits.size_max = size_max;
	if (s->data == NULL) {
		s->data = xmalloc(sizeof *s->data);
		s->room = xmalloc(DATA_ROOM);
	}
	s->data_fd = fd;
	s->data_bytes = s->data_mark = 0;
	smtp_data_init(s->data, &limits, sink, s, s->room, DATA_ROOM);
	if (s->cmd == CMD_BDAT) {
		bdat_chunk(s);
		return;
	}
	session_reply_str(s, 354, NULL, STR("End data with <CR><LF>.<CR><LF>"));
	s->mode = MODE_DATA;
	data_clock(s);
}

void data_pause(struct session *s)
{
	timer_del(&s->timer);
	conn_idle(s->c, 0);
	s->mode = MODE_COMMAND;
	s->answered = true;
}

void data_abandon(struct session *s)
{
	close_fd(&s->data_fd);
	close_fd(&s->ready_fd);
}

/* RFC 2033 4.2: after the message LMTP has an answer for each accepted recipient; this is one that is the same for all. */
static void reply_all(struct session *s, uint64_t rcpts, int code, const char *enhanced, struct str text)
{
	for (uint64_t i = 1; s->profile->lmtp && i < rcpts; i++)
		session_reply_part(s, code, enhanced, text);
	session_reply_str(s, code, enhanced, text);
}

void data_each(struct session *s, const struct ipc_queue_REPLIES *m)
{
	bool any = false;

	for (size_t i = 0; i < m->codes.n; i++) {
		uint64_t code = 451;
		char enhanced[16];
		(void)snprintf(enhanced, sizeof enhanced, "%.*s", STR_ARG(m->enhanced.v[i]));
		if (num_parse(m->codes.v[i], 200, 599, &code) < 0)
			code = 451;
		any |= code < 300;
		if (code >= 300)
			session_log_reject(s, "END-OF-MESSAGE", (int)code, enhanced, m->texts.v[i], (struct str){ 0 });
		if (i + 1 < m->codes.n) {
			session_reply_part(s, (int)code, enhanced, m->texts.v[i]);
			continue;
		}
		if (any)
			s->errors = s->junk = 0;
		trans_reset(s, false);
		session_reply_str(s, (int)code, enhanced, m->texts.v[i]);
	}
}

static void answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];

	(void)text_format(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	if (r->code < 300)
		s->errors = s->junk = 0;
	else
		session_log_reject(s, "END-OF-MESSAGE", (int)r->code, enhanced, r->text, s->t.first_rcpt);
	const uint64_t rcpts = s->t.rcpt_ok;
	trans_reset(s, false);
	reply_all(s, rcpts, (int)r->code, enhanced, r->text);
}

/* What is said about a message that never reaches queued. close: what comes behind such a message may be somebody's smuggled commands. */
static const struct {
	int code;
	const char *enhanced, *text;
	bool close;
} faults[] = {
	[SMTP_DATA_BARE_CR] = { 550, "5.5.2", "Error: bare <CR> received", true },
	[SMTP_DATA_BARE_LF] = { 550, "5.5.2", "Error: bare <LF> received", true },
	[SMTP_DATA_NUL] = { 550, "5.5.2", "Error: <NUL> received", true },
	[SMTP_DATA_LONG_LINE] = { 552, "5.6.0", "Error: line longer than 1048576 bytes", false },
	[SMTP_DATA_LONG_HEADER] = { 552, "5.3.4", "Error: message header too big", false },
	[SMTP_DATA_TOO_BIG] = { 552, "5.3.4", "Error: message file too big", false },
	[SMTP_DATA_SINK] = { 452, "4.3.1", "Insufficient system storage", false },
};

static void refuse(struct session *s, int code, const char *enhanced, const char *text)
{
	session_log_reject(s, "END-OF-MESSAGE", code, enhanced, str_c(text), s->t.first_rcpt);
	const uint64_t rcpts = s->cmd == CMD_BDAT && !s->bdat.last ? 1 : s->t.rcpt_ok;
	trans_reset(s, true);
	reply_all(s, rcpts, code, enhanced, str_c(text));
}

void data_ended(struct session *s)
{
	const struct smtp_data *d = s->data;

	data_pause(s);
	close_fd(&s->data_fd);	/* so that queued can prove that nobody writes any more */
	if (d->fault != SMTP_DATA_FINE) {
		s->finish_after = faults[d->fault].close;
		s->t.malformed = faults[d->fault].close ? faults[d->fault].text : NULL;
		refuse(s, faults[d->fault].code, faults[d->fault].enhanced, faults[d->fault].text);
	} else if (d->received > s->conf->hopcount_limit) {
		refuse(s, 554, "5.4.6", "Error: too many hops");
	} else {
		const struct ipc_queue_DATA_END m = {
			.size = d->size,
			.lines = d->lines,
			.received = d->received,
			.message_id = d->message_id[0] ? str_c(d->message_id) : (struct str){ 0 },
			.has_date = d->has_date,
			.has_from = d->has_from,
		};
		peers_data_end(s, &m, answered);
	}
}

void data_input(struct session *s)
{
	size_t used;
	const int r = smtp_data_feed(s->data, conn_input(s->c), &used);

	s->data_bytes += used;
	conn_consume(s->c, used);
	if (r == 0)
		data_ended(s);
}
