/* The exchange with authd, for this connection only (lib/ipc/auth.def), and what follows a success: the descriptor goes to the user's session,
 * the front becomes a relay or ends. Nothing that authd says of other connections could reach us: the channel is ours alone. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "log/log.h"
#include "login.h"
#include "os/os.h"

static const uint16_t during_exchange[] = { IPC_auth_CHALLENGE, IPC_auth_OK, IPC_auth_FAIL };
static const uint16_t during_handover[] = { IPC_auth_SESSION_OK, IPC_auth_SESSION_FAIL };
static const uint16_t nothing[] = { 0 };

static void allow(struct login *s, const uint16_t *types, size_t n)
{
	ipc_chan_allow(s->chan, (struct ipc_allow){ types, n });
}

void auth_close(struct login *s)
{
	ipc_chan_free(&s->chan);
}

static void lost(struct login *s)
{
	login_tagged(s, "NO", "UNAVAILABLE", "Authentication is temporarily unavailable.");
	login_end(s, "Disconnected: authd is gone", "Temporary failure, try again later.");
}

static void tell(struct login *s, uint16_t type, const void *msg, int fd)
{
	struct err e = { 0 };

	if (!s->chan)
		return;
	if (ipc_send(s->chan, type, msg, s->request, fd, &e) < 0) {
		log_warning("imap-login: to authd: %s", e.text);
		ipc_chan_free(&s->chan);
	}
}

/* --- the answer to a failed login waits (throttling is authd's decision) --- */

static void after_delay(void *ctx)
{
	struct login *s = ctx;
	const struct err_row *row = err_row(s->fail_code);

	login_tagged(s, s->fail_code == ERR_INPUT ? "BAD" : "NO", s->fail_code == ERR_INPUT ? "" : row->imap, s->fail_text);
	login_reset(s);
	login_enter(s, LOGIN_ST_COMMAND);
	if (s->attempts >= LOGIN_ATTEMPTS_MAX) {
		login_end(s, "Disconnected: Too many login attempts", "Too many login attempts.");
		return;
	}
	conn_pause(s->conn, false);
}

static void delay(struct login *s, uint64_t ms)
{
	timer_del(&s->timer);
	login_enter(s, LOGIN_ST_DELAY);
	conn_pause(s->conn, true);
	/* Never from inside a callback of the connection, whose input would be read again. */
	s->timer = loop_timer(s->env->loop, ms > 60000 ? 60000 : ms, after_delay, s);
}

static void on_fail(struct login *s, const struct ipc_auth_FAIL *m)
{
	struct buf b;

	buf_init(&b, 1024);
	if (m->user.n) {
		text_neutral(&b, m->user, 250, true);
		snprintf(s->user, sizeof(s->user), "%s", b.p);
		buf_reset(&b);
	}
	for (char *c = s->user; *c; c++) {
		if (*c == '<' || *c == '>' || *c == ',')
			*c = '?';
	}
	text_neutral(&b, m->text, sizeof(s->fail_text) - 4, true);
	snprintf(s->fail_text, sizeof(s->fail_text), "%s", b.n ? b.p : "Authentication failed.");
	buf_fini(&b);
	s->fail_code = m->code < ERR_MAX_ && m->code != ERR_NONE ? (enum err_code)m->code : ERR_AUTH;
	if (s->fail_code == ERR_AUTH || s->fail_code == ERR_DENIED || s->fail_code == ERR_INPUT)
		s->attempts++;
	allow(s, nothing, 0);
	delay(s, m->delay_ms);
}

static void on_challenge(struct login *s, const struct ipc_auth_CHALLENGE *m)
{
	struct buf b;

	buf_init(&b, LOGIN_SASL_LINE_MAX + 16);
	buf_c(&b, "+ ");
	base64_encode(&b, m->data);
	buf_c(&b, "\r\n");
	conn_write(s->conn, buf_view(&b));
	buf_fini(&b);
	login_enter(s, LOGIN_ST_RESPONSE);
	conn_pause(s->conn, false);
}

/* --- handing over --- */

static void on_ok(struct login *s, const struct ipc_auth_OK *m)
{
	struct err e = { 0 };
	struct buf b;
	const struct str input = conn_input(s->conn);
	const bool relay = conn_secure(s->conn);
	int pair[2] = { -1, -1 };

	buf_init(&b, 1024);
	text_neutral(&b, m->user, 250, true);
	snprintf(s->user, sizeof(s->user), "%s", b.p ? b.p : "");
	buf_fini(&b);
	login_enter(s, LOGIN_ST_HANDOVER);
	conn_pause(s->conn, true);
	if (relay && sock_pair(SOCK_STREAM, pair, &e) < 0) {
		log_error("imap-login: %s", e.text);
		lost(s);
		return;
	}
	struct ipc_auth_SESSION msg = { .tag = s->tag, .input = input, .relayed = relay, .client_id = str_c(s->client_id) };

	allow(s, during_handover, ARRAY_LEN(during_handover));
	tell(s, IPC_auth_SESSION, &msg, relay ? pair[1] : conn_fd(s->conn));
	conn_consume(s->conn, input.n);
	if (relay) {
		close(pair[1]);
		s->relay_fd = pair[0];
	}
	if (!s->chan)
		lost(s);
}

static void on_session_fail(struct login *s, const struct ipc_auth_SESSION_FAIL *m)
{
	struct buf b;

	buf_init(&b, 400);
	text_neutral(&b, m->text, 200, true);
	login_tagged(s, "NO", err_row(m->code < ERR_MAX_ ? (enum err_code)m->code : ERR_TEMP)->imap, b.n ? b.p : "Session could not be started.");
	buf_fini(&b);
	/* Input is gone with the message: the connection cannot go on. */
	login_end(s, "Disconnected: no session", "No session could be started.");
}

static void log_login(struct login *s, uint64_t pid)
{
	log_as("dovecot", LOG_LV_INFO, "imap-login: Login: user=<%s>, method=%s, rip=%s, lip=%s, mpid=%llu, %ssession=<%016llx>", s->user, s->mech,
	       s->fc.client, s->fc.server, (unsigned long long)pid, conn_secure(s->conn) ? "TLS, " : "", (unsigned long long)s->fc.conn);
	if (s->client_id[0])
		log_as("dovecot", LOG_LV_INFO, "imap-login: ID sent: %s: user=<%s>, session=<%016llx>", s->client_id, s->user,
		       (unsigned long long)s->fc.conn);
}

static void relay_done(void *ctx)
{
	struct login *s = ctx;

	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

static void nobody(void *ctx, struct conn *c, enum conn_event ev)
{
	(void)ctx, (void)c, (void)ev;
}

static void on_session_ok(struct login *s, uint64_t pid)
{
	const struct conn_limits limits = { .in_max = 65536, .out_high = 65536, .out_max = 1 << 20 };
	struct buf rest;

	log_login(s, pid);
	login_enter(s, LOGIN_ST_RELAY);
	login_reset(s);
	arena_free(&s->arena);
	timer_del(&s->timer);
	auth_close(s);
	if (s->relay_fd < 0) {
		/* The session has the client's own socket; our copy goes without a word. */
		buf_init(&rest, LOGIN_IN_MAX);
		close(conn_detach(&s->conn, &rest));
		buf_fini(&rest);
		relay_done(s);
		return;
	}
	struct conn *session = conn_new(s->env->loop, s->relay_fd, &limits, nobody, s);

	s->relay_fd = -1;
	front_narrow(s->env);
	conn_deadline(s->conn, 0);
	conn_pause(s->conn, false);
	/* The session times its clients out; a relay that sees nothing for two hours has lost both. */
	conn_relay(&s->conn, &session, 2 * 3600 * 1000, relay_done, s);
}

/* --- the channel --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct login *s = ctx;
	const struct ipc_auth_SESSION_OK *ok = msg;

	(void)ch;
	close_fd(&fd);
	if (id != s->request)	/* of an exchange that was cancelled */
		return;
	if (type == IPC_auth_CHALLENGE && s->state == LOGIN_ST_AUTHD)
		on_challenge(s, msg);
	else if (type == IPC_auth_OK && s->state == LOGIN_ST_AUTHD)
		on_ok(s, msg);
	else if (type == IPC_auth_FAIL && s->state == LOGIN_ST_AUTHD)
		on_fail(s, msg);
	else if (type == IPC_auth_SESSION_OK && s->state == LOGIN_ST_HANDOVER)
		on_session_ok(s, ok->pid);
	else if (type == IPC_auth_SESSION_FAIL && s->state == LOGIN_ST_HANDOVER)
		on_session_fail(s, msg);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct login *s = ctx;

	(void)ch;
	log_debug("imap-login: authd: %s", why->text);
	ipc_chan_free(&s->chan);
	if (s->state == LOGIN_ST_AUTHD || s->state == LOGIN_ST_HANDOVER || s->state == LOGIN_ST_RESPONSE)
		lost(s);
}

void auth_open(struct login *s)
{
	if (s->fc.auth_fd >= 0)
		s->chan = ipc_chan_new(s->env->loop, s->fc.auth_fd, &ipc_auth, on_message, on_closed, s);
}

/* --- what the client does --- */

static void name_from_plain(struct login *s, struct str initial)
{
	struct buf b;

	/* authzid NUL authcid NUL password: the name is for our log line. Without a third part the second may be the password. */
	(void)str_split(&initial, '\0');
	struct str user = initial.p ? str_split(&initial, '\0') : (struct str){ 0 };

	if (initial.n == 0)
		user = (struct str){ 0 };

	buf_init(&b, 1024);
	text_neutral(&b, user, 200, true);
	snprintf(s->user, sizeof(s->user), "%s", b.p ? b.p : "");
	buf_fini(&b);
	for (char *c = s->user; *c; c++) {
		if (*c == '<' || *c == '>' || *c == ',')
			*c = '?';
	}
}

void auth_start(struct login *s, const char *mech, struct str initial)
{
	struct ipc_auth_START msg = { .mech = str_c(mech), .initial = initial };

	if (!s->chan) {
		login_tagged(s, "NO", "UNAVAILABLE", "Authentication is temporarily unavailable.");
		return;
	}
	snprintf(s->mech, sizeof(s->mech), "%s", mech);
	if (str_eq(str_c(mech), STR("PLAIN")) && initial.p)
		name_from_plain(s, initial);
	s->request = ipc_next_id(s->chan);
	allow(s, during_exchange, ARRAY_LEN(during_exchange));
	login_enter(s, LOGIN_ST_AUTHD);
	conn_pause(s->conn, true);
	tell(s, IPC_auth_START, &msg, -1);
	if (!s->chan)
		lost(s);
}

void auth_cancel(struct login *s)
{
	tell(s, IPC_auth_CANCEL, &(struct ipc_auth_CANCEL){ 0 }, -1);
	s->request = 0;
}

static void give_up(struct login *s, const char *text)
{
	auth_cancel(s);
	login_tagged(s, "BAD", "", text);
	login_reset(s);
	login_enter(s, LOGIN_ST_COMMAND);
	conn_pause(s->conn, false);
}

void auth_response(struct login *s, struct str line)
{
	struct buf decoded;

	if (str_eq(line, STR("*"))) {
		give_up(s, "Authentication cancelled.");
		return;
	}
	buf_init(&decoded, 16384);
	if (base64_decode(&decoded, line) < 0 || buf_failed(&decoded)) {
		give_up(s, "Invalid base64 data in response.");
	} else {
		struct ipc_auth_STEP msg = { .data = decoded.n ? buf_view(&decoded) : STR("") };

		if (str_eq(str_c(s->mech), STR("PLAIN")))
			name_from_plain(s, msg.data);
		login_enter(s, LOGIN_ST_AUTHD);
		conn_pause(s->conn, true);
		tell(s, IPC_auth_STEP, &msg, -1);
		if (!s->chan)
			lost(s);
	}
	buf_wipe(&decoded);
	buf_fini(&decoded);
}

void auth_client(struct login *s, struct str address)
{
	uint8_t addr[16];

	if (addr_parse(address, addr) == 0)
		tell(s, IPC_auth_CLIENT, &(struct ipc_auth_CLIENT){ .address = address }, -1);
}
