/* One outgoing connection: greeting, EHLO, STARTTLS, AUTH, then one transaction after the other (RFC 5321, 2920, 1870, 3207, 3461, 4954, 6152, 6531; LMTP: RFC 2033).
 * Everything the server says is hostile text: replies are bounded in lines and bytes, neutralised before they reach a log, a bounce or queued; every step has a
 * time limit. Where the server announces it MAIL, RCPT and DATA are pipelined; a transaction of which no recipient was accepted is then ended by an empty
 * message (RFC 2920 3.1). What is sent as the message is remote_body.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote/remote_priv.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"
#include "smtp/cmd.h"
#include "smtp/reply.h"

enum step {		/* what the next reply answers */
	STEP_CONNECT,
	STEP_GREETING,
	STEP_EHLO,
	STEP_HELO,
	STEP_STARTTLS,
	STEP_TLS,
	STEP_AUTH,
	STEP_ENVELOPE,	/* MAIL, RCPTs and DATA, pipelined */
	STEP_DATA,
	STEP_BODY,	/* no reply is due; one is an error */
	STEP_DOT,
	STEP_EMPTY,	/* the end of a message that nobody was to have */
	STEP_RSET,
	STEP_IDLE,
	STEP_MAX_,
};

#define LIMIT(name) offsetof(struct conf, name)

/* Name in "(in reply to …)", parameter with its time limit, and what a silent server is said to have failed. */
static const struct {
	const char *command;
	size_t limit;
	const char *timeout;
} steps[STEP_MAX_] = {
	[STEP_CONNECT] = { "", LIMIT(smtp_connect_timeout), "connecting" },
	[STEP_GREETING] = { "", LIMIT(smtp_helo_timeout), "receiving the initial server greeting" },
	[STEP_EHLO] = { "EHLO command", LIMIT(smtp_helo_timeout), "performing the EHLO handshake" },
	[STEP_HELO] = { "HELO command", LIMIT(smtp_helo_timeout), "performing the HELO handshake" },
	[STEP_STARTTLS] = { "STARTTLS command", LIMIT(smtp_starttls_timeout), "performing the STARTTLS handshake" },
	[STEP_TLS] = { "", LIMIT(smtp_starttls_timeout), "performing the TLS handshake" },
	[STEP_AUTH] = { "AUTH command", LIMIT(smtp_mail_timeout), "authenticating" },
	[STEP_ENVELOPE] = { "MAIL FROM command", LIMIT(smtp_rcpt_timeout), "sending MAIL FROM or RCPT TO" },
	[STEP_DATA] = { "DATA command", LIMIT(smtp_data_init_timeout), "sending DATA command" },
	[STEP_BODY] = { "", LIMIT(smtp_data_xfer_timeout), "sending message body" },
	[STEP_DOT] = { "end of DATA command", LIMIT(smtp_data_done_timeout), "sending end of data -- message may be sent more than once" },
	[STEP_EMPTY] = { "", LIMIT(smtp_rset_timeout), "ending a refused transaction" },
	[STEP_RSET] = { "RSET command", LIMIT(smtp_rset_timeout), "sending RSET" },
	[STEP_IDLE] = { "", LIMIT(smtp_connection_cache_time_limit), "" },
};

enum { FEAT_PIPELINING = 1, FEAT_SIZE = 2, FEAT_8BITMIME = 4, FEAT_STARTTLS = 8, FEAT_SMTPUTF8 = 16, FEAT_DSN = 32, FEAT_AUTH = 64 };

struct smtp {
	struct list node;		/* on remote.idle */
	struct remote *r;
	struct job *j;			/* NULL when idle */
	struct conn *c;
	struct watch *connecting;
	struct timer *connect_timer;
	int fd;				/* while connecting */
	enum step step;
	struct target target;
	char name[330];			/* "host[ip]" */
	char key[1800];			/* what it may serve again (key_of) */
	uint16_t port;
	unsigned features, mechs, messages;
	uint64_t size_max, born_ms;
	bool lmtp, esmtp, secure_tried, reused;
	enum auth_mech mech;
	unsigned auth_step;
	bool auth_done;
	/* reply being read */
	struct buf text;		/* lines joined by a blank, neutralised */
	char enhanced[16];
	int lines;
	/* transaction */
	bool mail_answered, mail_ok, data_sent;
	size_t rcpt_sent, rcpt_answered, rcpt_ok, dots;
	struct body body;
};

static const struct conn_limits conn_bounds = { .in_max = 65536, .out_high = 131072, .out_max = 8u << 20 };

static void on_event(void *ctx, struct conn *c, enum conn_event ev);
static void begin(struct smtp *s);
static void pump(struct smtp *s);
static void send_envelope(struct smtp *s);

static uint64_t limit_ms(const struct smtp *s, enum step st)
{
	const void *at = (const char *)s->r->conf + steps[st].limit;

	return *(const uint64_t *)at * 1000;
}

/* --- ends --- */

static void smtp_free(struct smtp *s)
{
	list_del(&s->node);
	watch_del(&s->connecting);
	timer_del(&s->connect_timer);
	close_fd(&s->fd);
	conn_free(&s->c);
	body_close(&s->body);
	buf_fini(&s->text);
	loop_free_later(s->r->loop, s);
}

static void smtp_quit(struct smtp *s)
{
	if (s->c != NULL) {
		conn_write(s->c, STR("QUIT\r\n"));
		conn_finish(&s->c, s->r->conf->smtp_quit_timeout * 1000);
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

static void tls_note(struct smtp *s, const char *result)
{
	uint8_t addr[16];
	uint16_t port;
	char own[64] = "";

	if (s->c == NULL || sock_own_addr(conn_fd(s->c), addr, own, &port) < 0)
		own[0] = '\0';
	job_tls_note(s->j, result, &s->target, own);
}

static void lost(struct smtp *s)
{
	char text[500];
	const char *why = s->c ? conn_error(s->c) : "";

	if (s->step == STEP_TLS && s->j != NULL && s->c && conn_tls_own_fault(s->c)) {
		/* The server speaks TLS: mail does not leave in the clear because we cannot sign. */
		(void)snprintf(text, sizeof text, "Cannot start TLS with %s: no signature for smtp_tls_cert_file: %s", s->name, why);
		give_up(s, "4.3.0", text, false);
		return;
	}
	if (s->step == STEP_TLS && s->j != NULL && s->j->effective == TLS_MAY) {
		/* Opportunistic: once more without TLS, to the same address. */
		struct job *j = s->j;
		const struct target target = s->target;
		log_info("SSL_connect error to %s:%u: %s", s->name, s->port, *why ? why : "lost connection");
		s->j = NULL;
		smtp_free(s);
		j->no_tls = true;
		smtp_open(j, &target);
		return;
	}
	if (s->step == STEP_TLS && s->j != NULL) {
		(void)snprintf(text, sizeof text, "Cannot start TLS with %s: %s", s->name, *why ? why : "handshake failure");
		tls_note(s, tls_failure_word(why));
		give_up(s, "4.7.5", text, false);
		return;
	}
	(void)snprintf(text, sizeof text, "lost connection with %s", s->name);
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
	conn_deadline(s->c, limit_ms(s, st));
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
	conn_printf(s->c, "%s %s\r\n", verb, s->r->conf->smtp_helo_name);
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

static void go_idle(struct smtp *s)
{
	const struct conf *c = s->r->conf;

	if (s->port == 0 || !c->smtp_connection_cache_on_demand || (c->smtp_connection_reuse_count_limit > 0 && s->messages >= c->smtp_connection_reuse_count_limit) ||
	    clock_mono_ms() - s->born_ms >= c->smtp_connection_reuse_time_limit * 1000) {
		smtp_quit(s);
		return;
	}
	enter(s, STEP_IDLE);
	list_append(&s->r->idle, &s->node);
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

/* --- before the first transaction --- */

static void start_auth(struct smtp *s, struct str challenge)
{
	struct buf line;
	char text[500];

	buf_init(&line, 8192);
	if (auth_line(s->mech, s->j->login, s->auth_step++, challenge, &line) == 0) {
		enter(s, STEP_AUTH);
		conn_write(s->c, buf_view(&line));
		conn_write(s->c, STR("\r\n"));
		buf_wipe(&line);
	} else {
		(void)snprintf(text, sizeof text, "SASL authentication failed; server %s asks what was not understood", s->name);
		give_up(s, "4.7.0", text, true);
	}
	buf_fini(&line);
}

static void authenticate_or_begin(struct smtp *s)
{
	char text[500];

	if (s->auth_done || s->j->login.n == 0 || !(s->features & FEAT_AUTH)) {
		begin(s);
		return;
	}
	s->mech = auth_choose(s->r->conf, s->mechs, conn_secure(s->c));
	s->auth_step = 0;
	if (s->mech == AUTH_NONE) {
		(void)snprintf(text, sizeof text, "SASL authentication failed; cannot authenticate to server %s: no mechanism available", s->name);
		give_up(s, "4.7.0", text, true);
		return;
	}
	start_auth(s, STR(""));
}

static void on_auth(struct smtp *s, const struct reply *r)
{
	char text[800];

	if (r->code == 334) {
		const struct str challenge = str_c(r->text);
		start_auth(s, challenge.n > 4 ? str_from(challenge, 4) : STR(""));
	} else if (r->code == 235) {
		s->auth_done = true;
		begin(s);
	} else {
		(void)snprintf(text, sizeof text, "SASL authentication failed; server %s said: %s", s->name, r->text);
		give_up(s, "4.7.8", text, true);
	}
}

static void start_or_tls(struct smtp *s)
{
	const enum tls_level level = s->j->effective;
	const bool wants = level != TLS_NONE && !s->j->no_tls && !conn_secure(s->c);
	char text[500];

	if (wants && (s->features & FEAT_STARTTLS) && !s->secure_tried) {
		s->secure_tried = true;
		say(s, STEP_STARTTLS, "STARTTLS");
	} else if (level >= TLS_ENCRYPT && !conn_secure(s->c)) {
		(void)snprintf(text, sizeof text, s->secure_tried ? "TLS is required, but host %s refused to start TLS" : "TLS is required, but was not offered by host %s",
			       s->name);
		tls_note(s, "starttls-not-supported");
		give_up(s, "4.7.4", text, true);
	} else {
		if (wants)
			tls_note(s, "starttls-not-supported");
		authenticate_or_begin(s);
	}
}

static void on_greeting(struct smtp *s, const struct reply *r)
{
	if (r->code != 220)
		refused_early(s, r);
	else
		say_hello(s, s->lmtp ? "LHLO" : "EHLO", STEP_EHLO);
}

static void on_ehlo(struct smtp *s, const struct reply *r)
{
	s->esmtp = r->code < 300;
	if (s->esmtp)
		start_or_tls(s);
	else if (r->code >= 500 && !s->lmtp)
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

/* Its end has come: a handshake would fail, and mail leave in the clear where it may. A worker with nothing to do ends soon; the next one has a new channel. */
static bool key_lost(const struct remote *r)
{
	struct pollfd p = { .fd = r->key_fd, .events = POLLIN };

	return r->key_fd >= 0 && poll(&p, 1, 0) > 0;
}

static void on_starttls(struct smtp *s, const struct reply *r)
{
	struct str names[8];
	char text[500];

	if (r->code != 220) {
		start_or_tls(s);
		return;
	}
	/* Text behind the answer would be read as if it had come through TLS (CVE-2021-38371). */
	if (conn_input(s->c).n > 0) {
		(void)snprintf(text, sizeof text, "host %s sent text behind its answer to STARTTLS", s->name);
		give_up(s, "4.7.0", text, false);
		return;
	}
	if (key_lost(s->r)) {
		give_up(s, "4.3.0", "the key worker, which signs for smtp_tls_cert_file, was restarted", false);
		return;
	}
	enter(s, STEP_TLS);
	/* Nothing that was said before TLS counts (RFC 3207 4.2). */
	s->features = s->mechs = 0;
	s->size_max = 0;
	struct tls_peer p = { .sni = s->target.host };
	const enum tls_level level = s->j->effective;
	const struct str both[] = { str_c(s->target.host), str_c(s->j->domain) };
	if (level == TLS_VERIFY || level == TLS_SECURE) {
		p.verify = true;
		p.names = names;
		p.n_names = tls_names(s->j, s->target.host, names);
	} else if (level == TLS_STS) {		/* RFC 8461 4.1 */
		p.verify = true;
		p.names = both;
		p.n_names = 1;
	} else if (level == TLS_DANE) {		/* RFC 7672 3.2.2: usage 2 may name the exchanger or the domain */
		p.names = both;
		p.n_names = ARRAY_LEN(both);
		p.tlsa = s->j->tlsa;
		p.n_tlsa = s->j->n_tlsa;
	}
	conn_starttls_client_peer(s->c, s->r->tls, &p);
}

static void on_secured(struct smtp *s)
{
	const enum tls_level level = s->j->effective;
	const bool proven = level == TLS_VERIFY || level == TLS_SECURE || level == TLS_DANE || level == TLS_FINGERPRINT || level == TLS_STS;
	const char *trust = conn_tls_trust(s->c);
	char text[500];

	if (level == TLS_FINGERPRINT && !tls_fingerprint_ok(&s->j->tls, s->c)) {
		(void)snprintf(text, sizeof text, "Server certificate not verified: no fingerprint of %s matches", s->name);
		give_up(s, "4.7.5", text, true);
		return;
	}
	if (level == TLS_MAY && tls_obeys_sts(s->j) && strcmp(trust, "Verified") != 0)	/* testing: it is told, and goes on (RFC 8461 5) */
		tls_note(s, strcmp(trust, "Trusted") == 0 ? "certificate-host-mismatch" : "certificate-not-trusted");
	else
		tls_note(s, s->j->sts_miss ? "validation-failure" : "success");
	log_info("%s TLS connection established to %s:%u: %s with cipher %s (%d/%d bits)", proven ? "Verified" : trust, s->name, s->port,
		 conn_tls_version(s->c), conn_tls_cipher(s->c), conn_tls_bits(s->c), conn_tls_bits(s->c));
	say_hello(s, s->lmtp ? "LHLO" : "EHLO", STEP_EHLO);
}

/* --- answers to a transaction --- */

static bool envelope_answered(const struct smtp *s)
{
	return s->mail_answered && s->rcpt_answered == s->rcpt_sent && (!s->mail_ok || s->rcpt_sent == s->j->n_rcpts);
}

static void transaction_over(struct smtp *s)
{
	struct job *j = s->j;

	s->j = NULL;
	job_done(j);
}

static void after_envelope(struct smtp *s)
{
	if (s->data_sent) {
		enter(s, STEP_DATA);
	} else if (s->rcpt_ok > 0 && !s->j->probe) {
		say(s, STEP_DATA, "DATA");
	} else {
		transaction_over(s);
		say(s, STEP_RSET, "RSET");
	}
}

static void on_mail(struct smtp *s, const struct reply *r)
{
	char text[700];

	s->mail_answered = true;
	s->mail_ok = r->code < 300;
	if (s->mail_ok)
		return;
	said(s, r, steps[STEP_ENVELOPE].command, text);
	job_close_open(s->j, final_status(r->code), r->enhanced, text);
}

static void on_rcpt(struct smtp *s, const struct reply *r)
{
	struct rcpt *to = &s->j->rcpts[s->rcpt_answered++];
	char text[700];

	to->accepted = s->mail_ok && r->code < 300;
	s->rcpt_ok += to->accepted;
	if (to->accepted && s->j->probe)
		rcpt_close(s->j, to, RCPT_SENT, r->enhanced, r->text);
	if (to->accepted || !s->mail_ok)
		return;
	said(s, r, "RCPT TO command", text);
	rcpt_close(s->j, to, final_status(r->code), r->enhanced, text);
}

static void on_envelope(struct smtp *s, const struct reply *r)
{
	if (r->code == 421) {
		transaction_failed(s, r, steps[STEP_ENVELOPE].command);
		return;
	}
	if (!s->mail_answered)
		on_mail(s, r);
	else
		on_rcpt(s, r);
	send_envelope(s);
	if (envelope_answered(s))
		after_envelope(s);
	else
		conn_deadline(s->c, limit_ms(s, STEP_ENVELOPE));
}

/* The message could not be opened, or read: the connection must break, or the server would take half a message for a whole one. */
static void body_failed(struct smtp *s, const struct err *e)
{
	struct job *j = s->j;

	log_error("%.*s: cannot read the message: %s", STR_ARG(j->qid), e->text);
	job_close_open(j, RCPT_DEFERRED, "4.3.0", "the message could not be read");
	s->j = NULL;
	smtp_free(s);
	job_done(j);
}

static void on_data(struct smtp *s, const struct reply *r)
{
	struct err e = { 0 };
	char text[500];

	if (s->rcpt_ok == 0) {		/* RFC 2920 3.1: DATA was pipelined, and nobody was accepted */
		transaction_over(s);
		if (r->code == 354)
			say(s, STEP_EMPTY, ".");
		else if (r->code == 421)
			smtp_quit(s);
		else
			say(s, STEP_RSET, "RSET");
		return;
	}
	if (r->code != 354) {
		transaction_failed(s, r, steps[STEP_DATA].command);
		return;
	}
	/* Text behind the answer would pass for the one to the message, before a byte of it has left. */
	if (conn_input(s->c).n > 0) {
		(void)snprintf(text, sizeof text, "host %s sent text behind its answer to DATA", s->name);
		broken(s, text);
		return;
	}
	enter(s, STEP_BODY);
	if (body_open(&s->body, s->j, !(s->features & FEAT_8BITMIME) && !s->j->utf8, &e) < 0)
		body_failed(s, &e);
	else
		pump(s);
}

/* RFC 2033 4.2: one answer for each accepted recipient. */
static void on_lmtp_dot(struct smtp *s, const struct reply *r)
{
	struct job *j = s->j;
	size_t k = s->dots++;
	char text[700];

	for (size_t i = 0; i < j->n_rcpts; i++) {
		if (!j->rcpts[i].accepted || k-- > 0)
			continue;
		if (r->code < 300) {
			rcpt_close(j, &j->rcpts[i], RCPT_SENT, r->enhanced, r->text);
		} else {
			said(s, r, steps[STEP_DOT].command, text);
			rcpt_close(j, &j->rcpts[i], final_status(r->code), r->enhanced, text);
		}
		break;
	}
}

static void on_dot(struct smtp *s, const struct reply *r)
{
	body_close(&s->body);
	if (s->lmtp && r->code != 421) {
		on_lmtp_dot(s, r);
		if (s->dots < s->rcpt_ok)
			return;
	} else if (r->code >= 300) {
		transaction_failed(s, r, steps[STEP_DOT].command);
		return;
	} else {
		job_close_open(s->j, RCPT_SENT, r->enhanced, r->text);
	}
	transaction_over(s);
	go_idle(s);
}

/* Somebody got a message without recipients, or refused it: in either case the next transaction may begin. */
static void on_empty(struct smtp *s, const struct reply *r)
{
	if (r->code == 421)
		smtp_quit(s);
	else
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
	[STEP_DATA] = on_data, [STEP_DOT] = on_dot, [STEP_EMPTY] = on_empty, [STEP_RSET] = on_rset, [STEP_AUTH] = on_auth,
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
		{ "SMTPUTF8", FEAT_SMTPUTF8 }, { "DSN", FEAT_DSN }, { "AUTH", FEAT_AUTH },
	};
	const struct str word = str_split(&text, ' ');
	uint64_t size;

	for (size_t i = 0; i < s->r->conf->smtp_discard_ehlo_keywords.n; i++)
		if (str_case_eq(word, str_c(s->r->conf->smtp_discard_ehlo_keywords.v[i])))
			return;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_case_eq(word, str_c(words[i].word)))
			s->features |= words[i].bit;
	if (str_case_eq(word, STR("AUTH")))
		s->mechs |= auth_offered(text);
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

static void put_xtext(struct smtp *s, const char *word, struct str value)
{
	struct buf b;

	buf_init(&b, 8192);
	smtp_xtext_encode(value, &b);
	conn_printf(s->c, "%s%.*s", word, STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

static void send_mail(struct smtp *s)
{
	const struct job *j = s->j;

	conn_printf(s->c, "MAIL FROM:<%.*s>", STR_ARG(j->sender));
	if (s->features & FEAT_SIZE)
		conn_printf(s->c, " SIZE=%llu", (unsigned long long)j->size);
	if ((s->features & FEAT_8BITMIME) && str_case_eq(j->body, STR("8BITMIME")))
		conn_write(s->c, STR(" BODY=8BITMIME"));
	if (j->utf8)
		conn_write(s->c, STR(" SMTPUTF8"));
	if ((s->features & FEAT_DSN) && j->ret.n > 0)
		conn_printf(s->c, " RET=%.*s", STR_ARG(j->ret));
	if ((s->features & FEAT_DSN) && j->envid.n > 0)
		put_xtext(s, " ENVID=", j->envid);
	conn_write(s->c, STR("\r\n"));
}

static void send_rcpt(struct smtp *s, const struct rcpt *to)
{
	conn_printf(s->c, "RCPT TO:<%.*s>", STR_ARG(to->addr));
	if ((s->features & FEAT_DSN) && to->notify.n > 0)
		conn_printf(s->c, " NOTIFY=%.*s", STR_ARG(to->notify));
	const ptrdiff_t type_end = str_chr(to->orcpt, ';');
	if ((s->features & FEAT_DSN) && type_end > 0) {
		conn_printf(s->c, " ORCPT=%.*s;", STR_ARG(str_sub(to->orcpt, 0, (size_t)type_end)));
		put_xtext(s, "", str_from(to->orcpt, (size_t)type_end + 1));
	}
	conn_write(s->c, STR("\r\n"));
}

static void begin(struct smtp *s)
{
	struct job *j = s->j;

	s->mail_answered = s->mail_ok = s->data_sent = false;
	s->rcpt_sent = s->rcpt_answered = s->rcpt_ok = s->dots = 0;
	s->messages++;
	j->uses = s->messages;
	j->reached = true;
	j->begun_us = clock_mono_us();
	j->dsn = (s->features & FEAT_DSN) != 0;
	if (s->port > 0)
		(void)snprintf(j->relay, sizeof j->relay, "%.270s:%u", s->name, s->port);
	else
		(void)snprintf(j->relay, sizeof j->relay, "%.290s", s->name);
	if (!envelope_possible(s)) {
		s->j = NULL;
		job_done(j);
		go_idle(s);
		return;
	}
	enter(s, STEP_ENVELOPE);
	send_mail(s);
	send_envelope(s);
}

/* As many RCPTs as may be under way, then DATA if it may be pipelined. */
static void send_envelope(struct smtp *s)
{
	const struct job *j = s->j;
	const bool pipe = s->features & FEAT_PIPELINING;

	if ((!pipe && !s->mail_answered) || (s->mail_answered && !s->mail_ok))
		return;
	while (s->rcpt_sent < j->n_rcpts && s->rcpt_sent - s->rcpt_answered < (pipe ? REMOTE_WINDOW : 1))
		send_rcpt(s, &j->rcpts[s->rcpt_sent++]);
	if (pipe && !j->probe && s->rcpt_sent == j->n_rcpts && !s->data_sent && s->rcpt_answered == 0) {
		s->data_sent = true;
		conn_write(s->c, STR("DATA\r\n"));
	}
}

static void pump(struct smtp *s)
{
	struct buf wire;
	struct err e = { 0 };
	bool end = false;

	buf_init(&wire, REMOTE_CHUNK * 4 + 16);
	while (!end && conn_out_room(s->c) > 0) {
		if (body_read(&s->body, &wire, &end, &e) < 0 || buf_check(&wire, "message", &e) < 0) {
			buf_fini(&wire);
			body_failed(s, &e);
			return;
		}
		conn_write(s->c, buf_view(&wire));
		buf_reset(&wire);
	}
	if (end)
		enter(s, STEP_DOT);
	else
		conn_deadline(s->c, limit_ms(s, STEP_BODY));
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
		on_secured(s);
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
	s->c = conn_new(s->r->loop, fd, &conn_bounds, on_event, s);
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

/* smtp_bind_address, smtp_bind_address6. */
static int bind_source(const struct smtp *s, int fd)
{
	const bool v6 = s->target.addr.sa.ss_family == AF_INET6;
	const char *source = v6 ? s->r->conf->smtp_bind_address6 : s->r->conf->smtp_bind_address;
	struct address a;

	if (*source == '\0')
		return 0;
	if (names_numeric(source, 0, &a) < 0 || a.sa.ss_family != s->target.addr.sa.ss_family) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	return bind(fd, (const struct sockaddr *)&a.sa, a.len);
}

/* A kept connection serves what it would have been made for: the same next hop under the same demands. */
static void key_of(const struct job *j, char out[1800])
{
	(void)snprintf(out, 1800, "%.*s\n%d\n%.*s", STR_ARG(j->hop), (int)j->sts, STR_ARG(j->policy_text));
}

void smtp_open(struct job *j, const struct target *t)
{
	struct smtp *s = xzalloc(sizeof *s);
	const struct address *addr = &t->addr;

	s->r = j->r;
	s->j = j;
	s->target = *t;
	s->port = j->port;
	s->lmtp = j->lmtp;
	s->born_ms = clock_mono_ms();
	s->body.fd = -1;
	list_init(&s->node);
	buf_init(&s->text, 4096);
	(void)snprintf(s->name, sizeof s->name, "%s[%s]", t->host, addr->text);
	key_of(j, s->key);
	s->fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd >= 0 && bind_source(s, s->fd) == 0 && (connect(s->fd, (const struct sockaddr *)&addr->sa, addr->len) == 0 || errno == EINPROGRESS)) {
		s->connecting = loop_watch(s->r->loop, s->fd, LOOP_WRITE, connected, s);
		s->connect_timer = loop_timer(s->r->loop, limit_ms(s, STEP_CONNECT), connect_timeout, s);
		return;
	}
	/* Tell it from the loop: no recursion through the list of addresses. */
	buf_c(&s->text, strerror(errno));
	s->connect_timer = loop_timer(s->r->loop, 0, connect_later, s);
}

void smtp_adopt(struct job *j)
{
	struct smtp *s = xzalloc(sizeof *s);

	s->r = j->r;
	s->j = j;
	s->lmtp = true;
	s->fd = -1;
	s->born_ms = clock_mono_ms();
	s->body.fd = -1;
	list_init(&s->node);
	buf_init(&s->text, 4096);
	j->effective = TLS_NONE;
	(void)snprintf(s->target.host, sizeof s->target.host, "%s", j->r->conf->myhostname);
	(void)snprintf(s->name, sizeof s->name, "%.200s[%.*s]", j->r->conf->myhostname, STR_ARG(str_sub(str_from(j->hop, 5), 0, 107)));
	s->c = conn_new(s->r->loop, j->given, &conn_bounds, on_event, s);
	j->given = -1;
	enter(s, STEP_GREETING);
}

bool smtp_reuse(struct job *j)
{
	char key[1800];

	if (j->fresh)
		return false;
	key_of(j, key);
	list_each(it, &j->r->idle) {
		struct smtp *s = list_of(it, struct smtp, node);
		if (strcmp(s->key, key) != 0 || s->step != STEP_IDLE || s->lmtp != j->lmtp)
			continue;
		list_del(&s->node);
		s->j = j;
		s->reused = true;
		begin(s);
		return true;
	}
	return false;
}
