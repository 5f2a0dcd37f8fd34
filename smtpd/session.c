/* The life of a connection: greeting, line loop, dispatch, limits, good-bye. Owns struct session; leaves what commands mean to cmd_*.c and
 * what other daemons say to peers.c. RFC 5321 sections 3.1, 4.2, 4.3, 4.5.3; RFC 2920.
 *
 * One read may hold many commands (pipelining): their replies are collected in s->out and given to the connection when the next thing to happen
 * is the client's turn, so that a group costs one read and one write.
 */
#include "smtp/addr.h"
#include "smtpd/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/enc.h"
#include "base/format.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/cmd.h"
#include "smtp/reply.h"
#include "smtpd/peers.h"

const struct command commands[CMD_MAX_] = {
#define CMD(verb, states, flags, handler, help, source) [CMD_##verb] = { #verb, states, flags, handler, help },
#include "commands.def"
#undef CMD
	[CMD_UNKNOWN] = { "UNKNOWN", ST_ANY, 0, NULL, "" },
};

static void on_event(void *ctx, struct conn *c, enum conn_event ev);
static void lost(struct session *s);
static void on_timer(void *ctx);

/* --- small facts --- */

void session_set_state(struct session *s, enum session_state st)
{
	if (s->state != st)
		log_debug("%s: state %d -> %d", s->host, (int)s->state, (int)st);
	s->state = st;
}

bool session_secure(const struct session *s)
{
	return conn_secure(s->c);
}

static bool peer_in(const struct session *s, struct conf_list networks)
{
	uint8_t addr[16];

	return networks.n > 0 && addr_parse(str_c(s->fc.client), addr) == 0 && conf_networks_have(networks, addr);
}

bool session_may_offer_auth(const struct session *s)
{
	return s->profile->offer_auth && !(s->discard & 1u << EXT_AUTH) && s->conf->smtpd_sasl_auth_enable &&
	       !peer_in(s, s->conf->smtpd_sasl_exceptions_networks) && s->fc.auth_fd >= 0 && s->fc.client_known;
}

/* --- the transaction --- */

void trans_reset(struct session *s, bool tell_queued)
{
	close_fd(&s->data_fd);	/* before queued hears of it: nobody may write any more */
	close_fd(&s->ready_fd);
	if (tell_queued && s->t.open)
		peers_reset(s, s->t.malformed);
	s->t = (struct trans){ 0 };
	arena_reset(s->unit);
	if (s->state & ST_TRANS) {
		xforward_forget(s);
		session_set_state(s, ST_IDLE);
	}
}

void session_sleep(struct session *s, uint64_t ms)
{
	s->mode_after = s->mode;
	s->mode = MODE_SLEEP;
	timer_del(&s->timer);
	s->timer = loop_timer(s->env->loop, ms, on_timer, s);
	conn_deadline(s->c, 0);
}

/* --- the end --- */

static void release(struct session *s)
{
	if (s->dead)
		return;
	const bool begun = s->mode != MODE_UPSTREAM;
	s->dead = true;
	s->mode = MODE_CLOSED;
	data_abandon(s);
	if (begun)
		session_log_disconnect(s);
	peers_close(s);
	timer_del(&s->timer);
	watch_del(&s->upstream);
	buf_fini(&s->upstream_head);
	xforward_forget(s);
	arena_free(&s->unit);
	buf_fini(&s->helo);
	buf_wipe(&s->out);
	buf_fini(&s->out);
	free(s->room);
	free(s->data);
	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

/* After QUIT a client says nothing more (RFC 5321 4.1.1.10), so nothing comes that the kernel would answer with a reset. Its own end need not be waited
 * for then, which is a wake-up less for each connection. With TLS a close_notify may follow. */
static bool all_is_said(const struct session *s)
{
	return s->quit && !session_secure(s) && conn_input(s->c).n == 0 && conn_out_pending(s->c) == 0;
}

void session_finish(struct session *s)
{
	if (s->dead)
		return;
	const uint64_t linger_ms = all_is_said(s) ? 0 : LINGER_MS;
	session_flush(s);
	conn_finish(&s->c, linger_ms);
	release(s);
}

void session_drop(struct session *s)
{
	if (s->dead)
		return;
	if (s->c == NULL)	/* it has not begun */
		close_fd(&s->fc.fd);
	conn_free(&s->c);
	release(s);
}

void session_abort(struct session *s, const char *enhanced, const char *text)
{
	char line[512];

	if (s->dead)
		return;
	(void)snprintf(line, sizeof line, "%s %s", s->conf->myhostname, text);
	smtp_reply_put(&s->out, 421, enhanced, str_c(line));
	session_finish(s);
}

void session_wait(struct session *s, enum session_mode mode, uint64_t ms)
{
	s->mode = mode;
	conn_deadline(s->c, ms);
}

/* --- lines --- */

static enum command_id find_command(const struct session *s, struct str verb)
{
	const unsigned foreign = s->profile->lmtp ? F_SMTP : F_LMTP;

	for (enum command_id i = 0; i < CMD_UNKNOWN; i++)
		if (!(commands[i].flags & foreign) && str_case_eq(verb, str_c(commands[i].verb)))
			return i;
	return CMD_UNKNOWN;
}

/* Bytes behind a command that must end its group: the client does not wait for the answer, so what follows may be meant for another state (or
 * was put there by somebody else). */
static bool out_of_sync(struct session *s)
{
	const struct str more = conn_input(s->c);
	const bool script = s->profile->local && s->cmd != CMD_DATA;	/* "sendmail -bs < file" */
	struct str rest = more, verb = { 0 };

	if (more.n == 0 || script)
		return false;
	/* The verb alone: what follows may be a password. */
	(void)str_token(&rest, " \t\r\n", &verb);
	log_info("improper command pipelining after %s from %s: %s", session_stage(s), s->host, commands[find_command(s, verb)].verb);
	session_reply(s, 554, "5.5.0", "Error: SMTP protocol synchronization");
	session_end_after_flush(s);
	return true;
}

static void wrong_state(struct session *s, enum command_id id)
{
	if (id == CMD_MAIL)
		session_reply(s, 503, "5.5.1", "Error: nested MAIL command");
	else if (id == CMD_RCPT)
		session_reply(s, 503, "5.5.1", "Error: need MAIL command");
	else
		session_reply(s, 503, "5.5.1", "Error: need %s command", s->state == ST_START ? "MAIL" : "RCPT");
}

const struct refusal *session_demands(const struct session *s)
{
	static const struct refusal no_tls = { 530, "5.7.0", "Must issue a STARTTLS command first" }, no_auth = { 530, "5.7.0", "Authentication required" };
	static const struct refusal no_cert = { 530, "5.7.0", "A client certificate of an authority that is trusted here is required" };
	const bool tls_possible = s->env->tls != NULL || s->conf->smtpd_tls_auth_only;

	const bool need_cert = s->conf->smtpd_tls_req_ccert && !s->profile->local;

	if ((s->profile->need_tls || need_cert) && tls_possible && !session_secure(s))
		return &no_tls;
	if (need_cert && !s->cert_trusted)
		return &no_cert;
	return s->profile->need_auth && s->user[0] == '\0' ? &no_auth : NULL;
}

static void dispatch(struct session *s, enum command_id id, struct str args)
{
	const struct command *const cmd = &commands[id];
	const struct refusal *no;

	s->count[id].total++;
	s->commands_total++;
	s->cmd = s->last_cmd = id;
	if ((cmd->flags & F_JUNK) && ++s->junk > s->conf->smtpd_junk_command_limit && session_too_many_errors(s)) {
		session_reply(s, 421, "4.7.0", "%s Error: too many errors", s->conf->myhostname);
		return;
	}
	if ((cmd->flags & F_LAST) && out_of_sync(s))
		return;
	if ((cmd->flags & F_NOARG) && args.n > 0)
		session_reply(s, 501, "5.5.4", "Syntax: %s", cmd->help);
	else if (!(cmd->states & s->state))
		wrong_state(s, id);
	else if ((cmd->flags & F_MAIL) && (no = session_demands(s)) != NULL)
		session_reply(s, no->code, no->enhanced, "%s", no->text);
	else
		cmd->run(s, args);
}

static void unknown_command(struct session *s, struct str line)
{
	struct buf b;

	s->count[CMD_UNKNOWN].total++;
	s->commands_total++;
	s->cmd = s->last_cmd = CMD_UNKNOWN;
	if (!smtp_cmd_foreign(line)) {
		session_reply(s, 500, "5.5.2", "Error: command not recognized");
		return;
	}
	session_neutral(&b, line);
	log_warning("non-SMTP command from %s: %s", s->host, b.p);
	buf_fini(&b);
	smtp_reply_put(&s->out, 221, "2.7.0", STR("Error: I can break rules, too. Goodbye."));
	session_end_after_flush(s);
}

static void command_line(struct session *s, struct str line)
{
	struct str verb, args;
	struct err e = { 0 };

	if (smtp_cmd_parse(line, &verb, &args, &e) < 0) {
		if (smtp_cmd_foreign(line)) {
			unknown_command(s, line);
			return;
		}
		s->cmd = s->last_cmd = CMD_UNKNOWN;
		s->count[CMD_UNKNOWN].total++;
		s->commands_total++;
		session_reply(s, line.n == 0 ? 500 : 501, "5.5.2", "Error: %s", line.n == 0 ? "bad syntax" : e.text);
		return;
	}
	const enum command_id id = find_command(s, verb);
	if (id == CMD_UNKNOWN) {
		unknown_command(s, line);
	} else if (id != CMD_AUTH && line.n + 2 > s->conf->line_length_limit) {
		s->cmd = s->last_cmd = id;
		s->count[id].total++;
		s->commands_total++;
		session_reply(s, 500, "5.5.6", "Error: command line too long");
	} else {
		dispatch(s, id, args);
	}
}

/* A line that is none: too long, or with a bare CR, a bare LF or a NUL. The connection ends after a bare LF, and after the second of the others: no
 * client does this, and what follows may be anything. */
static void bad_line(struct session *s, const struct err *e)
{
	const bool sasl = s->mode == MODE_SASL_LINE;

	if (sasl) {
		peers_auth_cancel(s);
		s->mode = MODE_COMMAND;
	} else {
		s->cmd = s->last_cmd = CMD_UNKNOWN;
		s->count[CMD_UNKNOWN].total++;
		s->commands_total++;
	}
	if (e->code == ERR_LIMIT) {
		session_reply(s, 500, "5.5.6", "Error: line too long");
		return;
	}
	const bool bare_lf = str_eq(str_c(e->text), STR("bare LF"));
	session_reply(s, bare_lf ? 500 : 501, "5.5.2", "Error: %s received", e->text);
	/* A client that begins with such a line speaks another protocol (a TLS hello, a binary one). */
	if (bare_lf || ++s->bad_lines >= BAD_LINES_MAX || s->commands_total == 1)
		session_end_after_flush(s);
}

static bool client_turn(const struct session *s)
{
	return s->mode == MODE_COMMAND || s->mode == MODE_SASL_LINE || s->mode == MODE_DATA || s->mode == MODE_BDAT;
}

/* Take what is buffered while it is the client's turn. */
static void take_input(struct session *s)
{
	struct str line;
	struct err e = { 0 };

	while (!s->dead && !s->finish_after && client_turn(s)) {
		if (s->mode == MODE_DATA || s->mode == MODE_BDAT) {
			if (conn_input(s->c).n == 0)
				return;
			if (s->mode == MODE_DATA)
				data_input(s);
			else
				bdat_input(s);
			continue;
		}
		const int r = conn_line(s->c, LINE_MAX_AUTH, &line, &e);
		if (r == 1)
			return;
		if (r < 0)
			bad_line(s, &e);
		else if (s->mode == MODE_SASL_LINE)
			auth_line(s, line);
		else
			command_line(s, line);
	}
}

void session_run(struct session *s)
{
	if (s->running || s->dead)
		return;
	s->running = true;
	if (s->mode == MODE_GREET)
		greet_early(s);
	take_input(s);
	s->running = false;
	if (s->dead || s->mode == MODE_SLEEP)
		return;
	if (s->finish_after) {
		session_finish(s);
		return;
	}
	if (s->mode == MODE_TLS) {
		session_flush(s);
		return;
	}
	if (s->mode == MODE_GREET) {
		if (s->eof)
			lost(s);
		return;
	}
	/* Another daemon has the word: hold the replies of a group back while more of it is there. */
	if (!client_turn(s)) {
		if (conn_input(s->c).n == 0)
			session_flush(s);
		return;
	}
	session_flush(s);
	if (s->eof) {
		log_info("lost connection after %s from %s", session_stage(s), s->host);
		session_drop(s);
		return;
	}
	if (s->mode != MODE_DATA && s->mode != MODE_BDAT && s->answered)
		conn_deadline(s->c, s->conf->smtpd_timeout * 1000);
	s->answered = false;
}

/* --- events --- */

static void on_timer(void *ctx)
{
	struct session *s = ctx;

	if (s->mode == MODE_SLEEP) {
		s->mode = s->mode_after;
		if (s->mode == MODE_BDAT)	/* a chunk that is dropped */
			data_clock(s);
		session_run(s);
	}
}

static void timed_out(struct session *s)
{
	switch (s->mode) {
	case MODE_QUEUE:
		log_warning("%s: no answer from queued after %s", s->host, session_stage(s));
		session_abort(s, "4.3.0", "Error: queue service does not answer");
		return;
	case MODE_AUTH:
		log_warning("%s: SASL %s authentication failed: Connection lost to authentication server", s->host, s->mech);
		session_abort(s, "4.7.0", "Error: authentication service does not answer");
		return;
	case MODE_TLS:
		log_info("SSL_accept error from %s: timeout", s->host);
		session_drop(s);
		return;
	default:
		log_info("timeout after %s from %s", session_stage(s), s->host);
		session_abort(s, "4.4.2", "Error: timeout exceeded");
	}
}

static void lost(struct session *s)
{
	if (s->mode == MODE_TLS) {
		log_info("SSL_accept error from %s: %s", s->host, *conn_error(s->c) ? conn_error(s->c) : "lost connection");
		log_info("lost connection after %s from %s", session_stage(s), s->host);
	} else {
		log_info("lost connection after %s from %s", session_stage(s), s->host);
	}
	session_drop(s);
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct session *s = ctx;

	if (s->dead)
		return;
	switch (ev) {
	case CONN_EV_DATA:
		session_run(s);
		break;
	case CONN_EV_DRAINED:
		break;
	case CONN_EV_SECURED:
		tls_done(s);
		break;
	case CONN_EV_TIMEOUT:
		timed_out(s);
		break;
	case CONN_EV_CLOSED:
		s->eof = true;
		if (s->mode == MODE_TLS)
			lost(s);
		else if ((s->mode == MODE_DATA || s->mode == MODE_BDAT) && conn_input(c).n == 0)
			lost(s);
		else
			session_run(s);
		break;
	case CONN_EV_ERROR:
		lost(s);
		break;
	}
}

/* --- the beginning --- */

void session_host(struct session *s, struct str name)
{
	if (name.n > 0 && smtp_domain_valid(name) && !s->profile->local)
		(void)text_format(s->host, sizeof s->host, "%.*s[%s]", STR_ARG(name), s->fc.client);
}

static void name_host(struct session *s)
{
	/* queued looks the name up and tells it with an answer; until then "unknown", as log parsers expect. */
	if (s->profile->local)
		(void)text_format(s->host, sizeof s->host, "localhost[127.0.0.1]");
	else
		(void)text_format(s->host, sizeof s->host, "unknown[%s]", s->fc.client);
}

void session_greet(struct session *s)
{
	if (s->profile->lmtp) {	/* RFC 2033: no client must take it for ESMTP */
		struct buf b;
		buf_init(&b, 1024);
		buf_printf(&b, "%s LMTP %s", s->conf->myhostname, s->conf->mail_name);
		smtp_reply_put(&s->out, 220, NULL, buf_view(&b));
		buf_fini(&b);
	} else {
		smtp_reply_put(&s->out, 220, NULL, str_c(s->conf->smtpd_banner));
	}
	s->answered = true;
}

void session_client(struct session *s, struct str name, struct str address)
{
	const struct str shown = name.n > 0 ? str_sub(name, 0, 90) : STR("unknown");

	(void)snprintf(s->fc.client, sizeof s->fc.client, "%.*s", STR_ARG(address));
	(void)text_format(s->host, sizeof s->host, "%.*s[%s]", STR_ARG(shown), s->fc.client);
	s->other_client = true;
	/* What the other client says comes through its proxy, too: that one may not speak for anybody. */
	s->may_xclient = s->may_xclient && peer_in(s, s->conf->smtpd_authorized_xclient_hosts);
	s->may_xforward = s->may_xforward && peer_in(s, s->conf->smtpd_authorized_xforward_hosts);
}

void session_begin(struct session *s)
{
	static const struct conn_limits limits = { .in_max = INPUT_MAX, .out_high = OUTPUT_HIGH, .out_max = OUTPUT_MAX };
	char c;

	s->mode = MODE_COMMAND;
	hello_discard(s);
	log_info("connect from %s", s->host);
	/* Talking before the greeting (RFC 5321 3.1): no mail client does; worms and HTTP do. */
	const bool early = !s->fc.implicit_tls && !s->profile->local && !greet_waits(s) && recv(s->fc.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	s->c = conn_new(s->env->loop, s->fc.fd, &limits, on_event, s);
	if (s->fc.implicit_tls) {
		if (s->env->tls == NULL) {
			log_error("%s: profile %s without tls_cert_file", s->host, s->fc.profile);
			session_drop(s);
			return;
		}
		tls_counted(s);
		session_run(s);
		return;
	}
	if (early) {
		log_info("improper command pipelining after CONNECT from %s", s->host);
		smtp_reply_put(&s->out, 554, "5.5.0", STR("Error: SMTP protocol synchronization"));
		session_finish(s);
		return;
	}
	if (greet_waits(s))
		greet_start(s);
	else
		session_greet(s);
	session_run(s);
}

void session_start(struct front_env *env, const struct front_conn *fc)
{
	struct session *s = xzalloc(sizeof *s);

	s->env = env;
	s->conf = conf_for(env->conf, str_c(fc->listener), fc->stress);
	s->fc = *fc;
	s->profile = profile_find(fc->profile);
	s->state = ST_START;
	s->cmd = s->last_cmd = CMD_UNKNOWN;
	s->data_fd = s->ready_fd = -1;
	s->unit = arena_new(0);
	buf_init(&s->helo, 4096);
	buf_init(&s->out, REPLY_MAX * 2);
	name_host(s);
	s->may_xclient = peer_in(s, s->conf->smtpd_authorized_xclient_hosts);
	s->may_xforward = peer_in(s, s->conf->smtpd_authorized_xforward_hosts);
	if (upstream_expected(s))
		upstream_start(s);
	else
		session_begin(s);
}
