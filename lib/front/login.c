/* The exchange with authd, for this connection only (lib/ipc/auth.def), what follows a success, and the end with its log line. Nothing that authd says of
 * other connections could reach us: the channel is ours alone. */
#include "front/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "log/log.h"
#include "os/os.h"

enum {
	DELAY_MAX_MS = 60000,
	RELAY_IDLE_MS = 2 * 3600 * 1000,	/* the session times its clients out; a relay that sees nothing for so long has lost both */
	LINGER_MS = 2000,
	NAME_MAX_ = 200,
	SASL_MAX = 16384,
};
static const uint16_t during_exchange[] = { IPC_auth_CHALLENGE, IPC_auth_OK, IPC_auth_FAIL };
static const uint16_t during_handover[] = { IPC_auth_SESSION_OK, IPC_auth_SESSION_FAIL };
static const struct conn_limits limits = { .in_max = LOGIN_IN_MAX, .out_high = 65536, .out_max = 1 << 20 };

void login_enter(struct login *s, enum login_state state)
{
	log_debug("%s: %016llx: state %d -> %d", s->p->log_name, (unsigned long long)s->fc.conn, s->state, state);
	s->state = state;
}

bool login_reading(const struct login *s)
{
	return s->state == LOGIN_ST_COMMAND || s->state == LOGIN_ST_RESPONSE;
}

bool login_can_starttls(const struct login *s)
{
	return s->env->tls && !conn_secure(s->conn);
}

bool login_can_login(const struct login *s)
{
	return conn_secure(s->conn) || s->plain_ok;
}

bool login_offers(const struct login *s, struct str mech)
{
	const struct conf_list *const m = &s->env->conf->auth_mechanisms;

	for (size_t i = 0; i < m->n; i++)
		if (str_case_eq(mech, str_c(m->v[i])))
			return mech.n <= LOGIN_MECH_MAX;
	return false;
}

/* Neutral, and without what would confuse a reader of the log line. */
void login_name(struct login *s, struct str name)
{
	struct buf b;

	buf_init(&b, 1024);
	text_neutral(&b, name, NAME_MAX_, true);
	snprintf(s->user, sizeof(s->user), "%s", b.n ? b.p : "");
	buf_fini(&b);
	for (char *c = s->user; *c; c++)
		if (*c == '<' || *c == '>' || *c == ',')
			*c = '?';
}

/* --- the end --- */

static void log_end(struct login *s, const char *why)
{
	char what[80];
	const unsigned secs = (unsigned)((clock_mono_ms() - s->started_ms) / 1000);

	if (s->state == LOGIN_ST_RELAY)
		return;
	if (s->attempts)
		snprintf(what, sizeof(what), "auth failed, %u attempts in %u secs", s->attempts, secs);
	else
		snprintf(what, sizeof(what), "no auth attempts in %u secs", secs);
	log_as("dovecot", LOG_LV_INFO, "%s: %s (%s): user=<%s>, %s%s%srip=%s, lip=%s, %ssession=<%016llx>", s->p->log_name, why, what, s->user,
	       s->mech[0] ? "method=" : "", s->mech, s->mech[0] ? ", " : "", s->fc.client, s->fc.server, conn_secure(s->conn) ? "TLS, " : "",
	       (unsigned long long)s->fc.conn);
}

static void forget(struct login *s)
{
	if (s->p->forget)
		s->p->forget(s);
}

void login_end(struct login *s, const char *why, const char *bye)
{
	if (s->state == LOGIN_ST_OVER)
		return;
	if (bye)
		s->p->bye(s, bye);
	log_end(s, why);
	login_enter(s, LOGIN_ST_OVER);
	ipc_chan_free(&s->chan);
	close_fd(&s->relay_fd);
	timer_del(&s->timer);
	forget(s);
	conn_finish(&s->conn, LINGER_MS);
	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

/* The client's command has had its answer. */
static void end_answered(struct login *s, const char *why, const char *bye)
{
	login_end(s, why, s->p->bye_follows ? bye : NULL);
}

/* --- the channel to authd --- */

static void allow(struct login *s, const uint16_t *types, size_t n)
{
	ipc_chan_allow(s->chan, (struct ipc_allow){ types, n });
}

static const char unavailable[] = "Authentication is temporarily unavailable.";

static void lost(struct login *s)
{
	s->p->refuse(s, ERR_TEMP, unavailable);
	end_answered(s, "Disconnected: authd is gone", "Temporary failure, try again later.");
}

static void tell(struct login *s, uint16_t type, const void *msg, int fd)
{
	struct err e = { 0 };

	if (s->chan && ipc_send(s->chan, type, msg, s->request, fd, &e) < 0) {
		log_warning("%s: to authd: %s", s->p->log_name, e.text);
		ipc_chan_free(&s->chan);
	}
}

/* --- the answer to a failed login waits (throttling is authd's decision) --- */

static void after_delay(void *ctx)
{
	struct login *const s = ctx;

	s->p->refuse(s, s->fail_code, s->fail_text);
	login_enter(s, LOGIN_ST_COMMAND);
	if (!s->chan)
		end_answered(s, "Disconnected: authd is gone", "Temporary failure, try again later.");
	else if (s->attempts >= LOGIN_ATTEMPTS_MAX)
		end_answered(s, "Disconnected: Too many login attempts", "Too many login attempts.");
	else
		conn_pause(s->conn, false);
}

/* Never from inside a callback of the connection, whose input would be read again, or whose command is still in use. */
static void fail_after(struct login *s, uint64_t ms)
{
	timer_del(&s->timer);
	login_enter(s, LOGIN_ST_DELAY);
	conn_pause(s->conn, true);
	s->timer = loop_timer(s->env->loop, ms > DELAY_MAX_MS ? DELAY_MAX_MS : ms, after_delay, s);
}

static void fail_without_authd(struct login *s)
{
	s->fail_code = ERR_TEMP;
	snprintf(s->fail_text, sizeof(s->fail_text), "%s", unavailable);
	fail_after(s, 0);
}

static void on_fail(struct login *s, const struct ipc_auth_FAIL *m)
{
	struct buf b;

	if (m->user.n)
		login_name(s, m->user);
	buf_init(&b, 1024);
	text_neutral(&b, m->text, sizeof(s->fail_text) - 4, true);
	snprintf(s->fail_text, sizeof(s->fail_text), "%s", b.n ? b.p : "Authentication failed.");
	buf_fini(&b);
	s->fail_code = m->code < ERR_MAX_ && m->code != ERR_NONE ? (enum err_code)m->code : ERR_AUTH;
	if (s->fail_code == ERR_AUTH || s->fail_code == ERR_DENIED || s->fail_code == ERR_INPUT)
		s->attempts++;
	allow(s, NULL, 0);
	fail_after(s, m->delay_ms);
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

	login_name(s, m->user);
	login_enter(s, LOGIN_ST_HANDOVER);
	conn_pause(s->conn, true);
	if (relay && sock_pair(SOCK_STREAM, pair, &e) < 0) {
		log_error("%s: %s", s->p->log_name, e.text);
		lost(s);
		return;
	}
	const struct ipc_auth_SESSION msg = { .tag = s->tag, .input = input, .relayed = relay, .client_id = str_c(s->client_id) };
	allow(s, during_handover, ARRAY_LEN(during_handover));
	tell(s, IPC_auth_SESSION, &msg, relay ? pair[1] : conn_fd(s->conn));
	conn_consume(s->conn, input.n);
	close_fd(&pair[1]);
	s->relay_fd = pair[0];
	if (!s->chan)
		lost(s);
}

static void on_session_fail(struct login *s, const struct ipc_auth_SESSION_FAIL *m)
{
	struct buf b;

	buf_init(&b, 400);
	text_neutral(&b, m->text, 200, true);
	s->p->refuse(s, m->code < ERR_MAX_ && m->code != ERR_NONE ? (enum err_code)m->code : ERR_TEMP, b.n ? b.p : "Session could not be started.");
	buf_fini(&b);
	/* Input went with the message: the connection cannot go on. */
	end_answered(s, "Disconnected: no session", "No session could be started.");
}

static void log_login(const struct login *s, uint64_t pid)
{
	log_as("dovecot", LOG_LV_INFO, "%s: Login: user=<%s>, method=%s, rip=%s, lip=%s, mpid=%llu, %ssession=<%016llx>", s->p->log_name, s->user, s->mech,
	       s->fc.client, s->fc.server, (unsigned long long)pid, conn_secure(s->conn) ? "TLS, " : "", (unsigned long long)s->fc.conn);
	if (s->client_id[0])
		log_as("dovecot", LOG_LV_INFO, "%s: ID sent: %s: user=<%s>, session=<%016llx>", s->p->log_name, s->client_id, s->user,
		       (unsigned long long)s->fc.conn);
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
	struct buf rest;

	log_login(s, pid);
	login_enter(s, LOGIN_ST_RELAY);
	timer_del(&s->timer);
	ipc_chan_free(&s->chan);
	forget(s);
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
	conn_relay(&s->conn, &session, RELAY_IDLE_MS, relay_done, s);
}

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

	log_debug("%s: authd: %s", s->p->log_name, why->text);
	ipc_chan_free(&s->chan);
	if (s->state == LOGIN_ST_AUTHD || s->state == LOGIN_ST_HANDOVER || s->state == LOGIN_ST_RESPONSE)
		lost(s);
}

/* --- what the client does --- */

/* authzid NUL authcid NUL password: the name is for our log line. Without a third part the second may be the password. */
static void name_from_plain(struct login *s, struct str initial)
{
	(void)str_split(&initial, '\0');
	const struct str user = initial.p ? str_split(&initial, '\0') : (struct str){ 0 };
	login_name(s, initial.n > 0 ? user : (struct str){ 0 });
}

static void start(struct login *s, const char *mech, struct str initial)
{
	const struct ipc_auth_START msg = { .mech = str_c(mech), .initial = initial };

	snprintf(s->mech, sizeof(s->mech), "%s", mech);
	if (str_eq(str_c(mech), STR("PLAIN")) && initial.p)
		name_from_plain(s, initial);
	if (s->chan) {
		s->request = ipc_next_id(s->chan);
		allow(s, during_exchange, ARRAY_LEN(during_exchange));
		login_enter(s, LOGIN_ST_AUTHD);
		conn_pause(s->conn, true);
		tell(s, IPC_auth_START, &msg, -1);
	}
	if (!s->chan)
		fail_without_authd(s);
}

int login_auth(struct login *s, struct str mech, struct str initial, struct err *e)
{
	struct buf decoded;
	char name[LOGIN_MECH_MAX + 1];
	int r = 0;

	for (size_t i = 0; i < mech.n; i++)
		name[i] = ch_up(mech.p[i]);
	name[mech.n] = '\0';
	buf_init(&decoded, SASL_MAX);
	if (str_eq(initial, STR("="))) {
		initial = STR("");
	} else if (initial.p) {
		r = base64_decode(&decoded, initial) < 0 || buf_failed(&decoded) ? err_set(e, ERR_INPUT, 0, "Invalid base64 data in initial response") : 0;
		initial = decoded.n ? buf_view(&decoded) : STR("");
	}
	if (r == 0)
		start(s, name, initial);
	buf_wipe(&decoded);
	buf_fini(&decoded);
	return r;
}

int login_plain(struct login *s, struct str user, struct str password, struct err *e)
{
	struct buf plain;

	/* The same road as the mechanism PLAIN (RFC 4616): authzid is empty. */
	buf_init(&plain, SASL_MAX);
	buf_ch(&plain, '\0');
	buf_str(&plain, user);
	buf_ch(&plain, '\0');
	buf_str(&plain, password);
	const int r = buf_failed(&plain) ? err_set(e, ERR_LIMIT, 0, "user name or password too long") : 0;
	if (r == 0)
		start(s, "PLAIN", buf_view(&plain));
	buf_wipe(&plain);
	buf_fini(&plain);
	return r;
}

void login_cancel(struct login *s)
{
	tell(s, IPC_auth_CANCEL, &(struct ipc_auth_CANCEL){ 0 }, -1);
	s->request = 0;
}

/* The exchange ends before the protocol's answer, which may end the connection. */
static void give_up(struct login *s, const char *text)
{
	login_cancel(s);
	login_enter(s, LOGIN_ST_COMMAND);
	s->p->bad(s, text);
}

void login_response(struct login *s, struct str line)
{
	struct buf decoded;

	if (str_eq(line, STR("*"))) {
		give_up(s, "Authentication cancelled.");
		return;
	}
	buf_init(&decoded, SASL_MAX);
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
			fail_without_authd(s);
	}
	buf_wipe(&decoded);
	buf_fini(&decoded);
}

static bool client_in(const struct front_conn *fc, struct conf_list networks)
{
	uint8_t addr[16];

	return fc->client_known && addr_parse(str_c(fc->client), addr) == 0 && conf_networks_have(networks, addr);
}

void login_client(struct login *s, struct str address)
{
	uint8_t addr[16];

	if (addr_parse(address, addr) < 0)
		return;
	tell(s, IPC_auth_CLIENT, &(struct ipc_auth_CLIENT){ .address = address }, -1);
	/* Log lines name the one who is to blame, or a log watcher shuts out the webmail. */
	if (client_in(&s->fc, s->env->conf->webmail_hosts))
		snprintf(s->fc.client, sizeof(s->fc.client), "%.*s", STR_ARG(address));
}

void login_starttls(struct login *s)
{
	bool dropped = false;

	front_select_key(&s->fc);
	conn_starttls_server(s->conn, s->env->tls, &dropped);
	if (dropped)	/* CVE-2021-38084: what came in the clear is never run */
		log_as("dovecot", LOG_LV_WARNING, "%s: input after STARTTLS dropped: rip=%s, lip=%s", s->p->log_name, s->fc.client, s->fc.server);
	/* RFC 2595 4 */
	s->client_id[0] = s->user[0] = s->mech[0] = '\0';
	s->bad = 0;
}

/* --- the connection --- */

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct login *const s = ctx;

	switch (ev) {
	case CONN_EV_DATA:
		if (login_reading(s))
			s->p->read(s);
		break;
	case CONN_EV_SECURED:
		if (s->state == LOGIN_ST_START) {
			login_enter(s, LOGIN_ST_COMMAND);
			s->p->greet(s);
		}
		break;
	case CONN_EV_TIMEOUT:
		login_end(s, "Disconnected: Inactivity", "Disconnected for inactivity.");
		break;
	case CONN_EV_CLOSED:
		/* Commands that came with the end are still run; an exchange with authd has nobody left to hear of it. */
		if (login_reading(s))
			s->p->read(s);
		if (s->state != LOGIN_ST_OVER && s->state != LOGIN_ST_RELAY)
			login_end(s, s->attempts ? "Aborted login" : "Disconnected", NULL);
		break;
	case CONN_EV_ERROR:
		log_debug("%s: %s: %s", s->p->log_name, s->fc.client, conn_error(c));
		login_end(s, s->attempts ? "Aborted login" : "Disconnected", NULL);
		break;
	case CONN_EV_DRAINED:
		break;
	}
}

void login_begin(struct login *s, const struct login_protocol *p, struct front_env *env, const struct front_conn *fc)
{
	s->p = p;
	s->env = env;
	s->fc = *fc;
	s->relay_fd = -1;
	s->started_ms = clock_mono_ms();
	s->plain_ok = client_in(fc, env->conf->plaintext_login_networks);
	s->conn = conn_new(env->loop, fc->fd, &limits, on_conn, s);
	conn_deadline(s->conn, env->conf->login_timeout * 1000);
	if (fc->auth_fd >= 0)
		s->chan = ipc_chan_new(env->loop, fc->auth_fd, &ipc_auth, on_message, on_closed, s);
	if (!fc->implicit_tls) {
		login_enter(s, LOGIN_ST_COMMAND);
		p->greet(s);
	} else if (!env->tls) {
		login_end(s, "Disconnected: no TLS certificate", "TLS is not configured");
	} else {
		front_select_key(fc);
		conn_starttls_server(s->conn, env->tls, NULL);
	}
}
