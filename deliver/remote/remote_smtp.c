/* One outgoing connection (SMTP: RFC 5321; LMTP: RFC 2033) from connect to QUIT: its socket, its steps with their time limits, what a broken or silent one means for
 * its job, and the wait for another message. What is said on it is remote_reply.c's, remote_hello.c's and remote_trans.c's; what is sent as the message
 * remote_body.c's.
 */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "deliver/remote/remote_smtp_priv.h"
#include "log/log.h"
#include "os/os.h"

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

static const struct conn_limits conn_bounds = { .in_max = 65536, .out_high = 131072, .out_max = 8u << 20 };

const char *smtp_step_command(enum step st)
{
	return steps[st].command;
}

uint64_t smtp_limit_ms(const struct smtp *s, enum step st)
{
	const void *at = (const char *)s->r->conf + steps[st].limit;

	return *(const uint64_t *)at * 1000;
}

void smtp_drop(struct smtp *s)
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

void smtp_quit(struct smtp *s)
{
	if (s->c != NULL) {
		conn_write(s->c, STR("QUIT\r\n"));
		conn_finish(&s->c, s->r->conf->smtp_quit_timeout * 1000);
	}
	smtp_drop(s);
}

void smtp_give_up(struct smtp *s, const char *enhanced, const char *text, bool quit)
{
	struct job *j = s->j;

	s->j = NULL;
	if (quit)
		smtp_quit(s);
	else
		smtp_drop(s);
	if (j == NULL)
		return;
	log_info("%s", text);
	job_next(j, enhanced, text);
}

void smtp_broken(struct smtp *s, const char *what)
{
	struct job *j = s->j;
	char text[600];

	if (j == NULL) {
		smtp_drop(s);
		return;
	}
	if (s->step == STEP_CONNECT)
		(void)snprintf(text, sizeof text, "connect to %s:%u: %s", s->name, s->port, what);
	else
		(void)snprintf(text, sizeof text, "%s while %s", what, steps[s->step].timeout);
	if (s->reused && s->step == STEP_ENVELOPE && !s->mail_answered) {
		/* A kept connection had gone stale: that is not an attempt. */
		s->j = NULL;
		smtp_drop(s);
		job_restart(j);
		return;
	}
	if (s->step < STEP_ENVELOPE) {
		smtp_give_up(s, s->step == STEP_CONNECT ? "4.4.1" : "4.4.2", text, false);
		return;
	}
	job_close_open(j, RCPT_DEFERRED, "4.4.2", text);
	s->j = NULL;
	smtp_drop(s);
	job_done(j);
}

static void lost(struct smtp *s)
{
	char text[500];
	const char *why = s->c ? conn_error(s->c) : "";

	if (s->step == STEP_TLS && s->j != NULL && s->c && conn_tls_own_fault(s->c)) {
		/* The server speaks TLS: mail does not leave in the clear because we cannot sign. */
		(void)snprintf(text, sizeof text, "Cannot start TLS with %s: no signature for smtp_tls_cert_file: %s", s->name, why);
		smtp_give_up(s, "4.3.0", text, false);
		return;
	}
	if (s->step == STEP_TLS && s->j != NULL && s->j->effective == TLS_MAY) {
		/* Opportunistic: once more without TLS, to the same address. */
		struct job *j = s->j;
		const struct target target = s->target;
		log_info("SSL_connect error to %s:%u: %s", s->name, s->port, *why ? why : "lost connection");
		s->j = NULL;
		smtp_drop(s);
		j->no_tls = true;
		smtp_open(j, &target);
		return;
	}
	if (s->step == STEP_TLS && s->j != NULL) {
		(void)snprintf(text, sizeof text, "Cannot start TLS with %s: %s", s->name, *why ? why : "handshake failure");
		smtp_tls_note(s, tls_failure_word(why));
		smtp_give_up(s, "4.7.5", text, false);
		return;
	}
	(void)snprintf(text, sizeof text, "lost connection with %s", s->name);
	smtp_broken(s, text);
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
	smtp_broken(s, text);
}

void smtp_enter(struct smtp *s, enum step st)
{
	s->step = st;
	conn_deadline(s->c, smtp_limit_ms(s, st));
}

void smtp_say(struct smtp *s, enum step st, const char *line)
{
	smtp_enter(s, st);
	conn_write(s->c, str_c(line));
	conn_write(s->c, STR("\r\n"));
}

void smtp_go_idle(struct smtp *s)
{
	const struct conf *c = s->r->conf;

	if (s->port == 0 || !c->smtp_connection_cache_on_demand || (c->smtp_connection_reuse_count_limit > 0 && s->messages >= c->smtp_connection_reuse_count_limit) ||
	    clock_mono_ms() - s->born_ms >= c->smtp_connection_reuse_time_limit * 1000) {
		smtp_quit(s);
		return;
	}
	smtp_enter(s, STEP_IDLE);
	list_append(&s->r->idle, &s->node);
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct smtp *s = ctx;

	if (s->c == NULL)
		return;
	switch (ev) {
	case CONN_EV_DATA:
		smtp_input(s);
		break;
	case CONN_EV_DRAINED:
		if (s->step == STEP_BODY)
			smtp_pump(s);
		break;
	case CONN_EV_SECURED:
		smtp_secured(s);
		break;
	case CONN_EV_TIMEOUT:
		timed_out(s);
		break;
	case CONN_EV_CLOSED:
		smtp_input(s);
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
		smtp_broken(s, strerror(error));
		return;
	}
	const int fd = s->fd;
	s->fd = -1;
	s->c = conn_new(s->r->loop, fd, &conn_bounds, on_event, s);
	smtp_enter(s, STEP_GREETING);
}

static void connect_timeout(void *ctx)
{
	timed_out(ctx);
}

static void connect_later(void *ctx)
{
	struct smtp *s = ctx;

	timer_del(&s->connect_timer);
	smtp_broken(s, s->text.p && s->text.n ? s->text.p : "connect failed");
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
		s->connect_timer = loop_timer(s->r->loop, smtp_limit_ms(s, STEP_CONNECT), connect_timeout, s);
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
	smtp_enter(s, STEP_GREETING);
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
		smtp_begin(s);
		return true;
	}
	return false;
}
