/* The exchange with authd, for this connection only (lib/ipc/auth.def), and what follows a success: the descriptor goes to the user's session, the
 * front becomes a relay or ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/enc.h"
#include "ipc/ipc.h"
#include "log/log.h"
#include "login.h"
#include "os/os.h"

enum { DELAY_MAX_MS = 60000, RELAY_IDLE_MS = 2 * 3600 * 1000 };
static const uint16_t during_exchange[] = { IPC_auth_CHALLENGE, IPC_auth_OK, IPC_auth_FAIL };
static const uint16_t during_handover[] = { IPC_auth_SESSION_OK, IPC_auth_SESSION_FAIL };

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
	login_err(s, "SYS/TEMP", "Authentication is temporarily unavailable.");
	login_end(s, "Disconnected: authd is gone");
}

static void tell(struct login *s, uint16_t type, const void *msg, int fd)
{
	struct err e = { 0 };

	if (s->chan && ipc_send(s->chan, type, msg, s->request, fd, &e) < 0) {
		log_warning("pop3-login: to authd: %s", e.text);
		ipc_chan_free(&s->chan);
	}
}

/* Neutral, and without what would confuse a reader of the log line. */
void auth_name(struct login *s, struct str name)
{
	struct buf b;

	buf_init(&b, 1024);
	text_neutral(&b, name, 200, true);
	snprintf(s->user, sizeof(s->user), "%s", b.n ? b.p : "");
	buf_fini(&b);
	for (char *c = s->user; *c; c++)
		if (*c == '<' || *c == '>' || *c == ',')
			*c = '?';
}

/* --- the answer to a failed login waits (throttling is authd's decision) --- */

static void after_delay(void *ctx)
{
	struct login *const s = ctx;
	/* Too many failures are a passing state. */
	const char *const code = s->fail_code == ERR_DENIED ? "SYS/TEMP" : err_row(s->fail_code)->pop3;

	login_err(s, code, s->fail_text);
	login_enter(s, LOGIN_ST_COMMAND);
	if (s->attempts >= LOGIN_ATTEMPTS_MAX)
		login_end(s, "Disconnected: Too many login attempts");
	else
		conn_pause(s->conn, false);
}

static void on_fail(struct login *s, const struct ipc_auth_FAIL *m)
{
	struct buf b;

	if (m->user.n)
		auth_name(s, m->user);
	buf_init(&b, 1024);
	text_neutral(&b, m->text, sizeof(s->fail_text) - 4, true);
	snprintf(s->fail_text, sizeof(s->fail_text), "%s", b.n ? b.p : "Authentication failed.");
	buf_fini(&b);
	s->fail_code = m->code < ERR_MAX_ && m->code != ERR_NONE ? (enum err_code)m->code : ERR_AUTH;
	if (s->fail_code == ERR_AUTH || s->fail_code == ERR_DENIED || s->fail_code == ERR_INPUT)
		s->attempts++;
	allow(s, NULL, 0);
	timer_del(&s->timer);
	login_enter(s, LOGIN_ST_DELAY);
	conn_pause(s->conn, true);
	s->timer = loop_timer(s->env->loop, m->delay_ms > DELAY_MAX_MS ? DELAY_MAX_MS : m->delay_ms, after_delay, s);
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
	const struct str input = conn_input(s->conn);
	const bool relay = conn_secure(s->conn);
	int pair[2] = { -1, -1 };
	struct err e = { 0 };

	auth_name(s, m->user);
	login_enter(s, LOGIN_ST_HANDOVER);
	conn_pause(s->conn, true);
	if (relay && sock_pair(SOCK_STREAM, pair, &e) < 0) {
		log_error("pop3-login: %s", e.text);
		lost(s);
		return;
	}
	const struct ipc_auth_SESSION msg = { .input = input, .relayed = relay };
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
	const char *const code = err_row(m->code < ERR_MAX_ ? (enum err_code)m->code : ERR_TEMP)->pop3;
	struct buf b;

	buf_init(&b, 400);
	text_neutral(&b, m->text, 200, true);
	login_err(s, *code ? code : "SYS/TEMP", b.n ? b.p : "Session could not be started.");
	buf_fini(&b);
	/* Input went with the message: the connection cannot go on. */
	login_end(s, "Disconnected: no session");
}

static void relay_done(void *ctx)
{
	struct login *const s = ctx;

	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

static void nobody(void *ctx, struct conn *c, enum conn_event ev)
{
}

static void on_session_ok(struct login *s, uint64_t pid)
{
	static const struct conn_limits limits = { .in_max = 65536, .out_high = 65536, .out_max = 1 << 20 };
	struct buf rest;

	log_as("dovecot", LOG_LV_INFO, "pop3-login: Login: user=<%s>, method=%s, rip=%s, lip=%s, mpid=%llu, %ssession=<%016llx>", s->user, s->mech, s->fc.client,
	       s->fc.server, (unsigned long long)pid, conn_secure(s->conn) ? "TLS, " : "", (unsigned long long)s->fc.conn);
	login_enter(s, LOGIN_ST_RELAY);
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
	/* The session times its clients out; a relay that sees nothing for hours has lost both. */
	conn_relay(&s->conn, &session, RELAY_IDLE_MS, relay_done, s);
}

/* --- the channel --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct login *const s = ctx;

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
		on_session_ok(s, ((const struct ipc_auth_SESSION_OK *)msg)->pid);
	else if (type == IPC_auth_SESSION_FAIL && s->state == LOGIN_ST_HANDOVER)
		on_session_fail(s, msg);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct login *const s = ctx;

	log_debug("pop3-login: authd: %s", why->text);
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

/* authzid NUL authcid NUL password: the name is for our log line. Without a third part the second may be the password. */
static void name_from_plain(struct login *s, struct str initial)
{
	(void)str_split(&initial, '\0');
	const struct str user = initial.p ? str_split(&initial, '\0') : (struct str){ 0 };
	auth_name(s, initial.n > 0 ? user : (struct str){ 0 });
}

void auth_start(struct login *s, const char *mech, struct str initial)
{
	const struct ipc_auth_START msg = { .mech = str_c(mech), .initial = initial };

	if (!s->chan) {
		login_err(s, "SYS/TEMP", "Authentication is temporarily unavailable.");
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
	login_enter(s, LOGIN_ST_COMMAND);
	login_bad(s, text);
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
		const struct ipc_auth_STEP msg = { .data = decoded.n ? buf_view(&decoded) : STR("") };
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
