/* Registered connections. A front's parent (root) says that a connection exists and from where; the front then speaks auth.def over the
 * descriptor that came along, about this connection only. What it may send is a table by phase; anything else closes its channel and
 * harms nobody else. What makes a connection logged in is in login.c. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/conns.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/rate.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

static const char text_changed[] = "account has changed";

static const uint16_t may_idle[] = { IPC_auth_START, IPC_auth_CLIENT };
static const uint16_t may_working[] = { IPC_auth_CANCEL };
static const uint16_t may_challenge[] = { IPC_auth_STEP, IPC_auth_CANCEL };
static const uint16_t may_user[] = { IPC_auth_SESSION };
static const struct {
	const char *name;
	struct ipc_allow allow;
} phases[PHASES] = {
	[PH_IDLE] = { "idle", { may_idle, ARRAY_LEN(may_idle) } },
	[PH_WORKING] = { "working", { may_working, ARRAY_LEN(may_working) } },
	[PH_CHALLENGE] = { "challenge", { may_challenge, ARRAY_LEN(may_challenge) } },
	[PH_GRANT] = { "grant", { NULL, 0 } },
	[PH_USER] = { "user", { may_user, ARRAY_LEN(may_user) } },
	[PH_ATTACH] = { "attach", { NULL, 0 } },
	[PH_OVER] = { "over", { NULL, 0 } },
};

size_t conns_count(const struct monitor *m)
{
	return m->conns->n;
}

/* --- small things --- */

void conn_phase(struct conn *c, enum phase p)
{
	log_debug("connection %016llx: %s -> %s", (unsigned long long)c->facts.conn, phases[c->phase].name, phases[p].name);
	c->phase = p;
	ipc_chan_allow(c->ch, phases[p].allow);
}

void conn_send(struct conn *c, uint16_t type, const void *msg)
{
	struct err e = { 0 };

	if (ipc_send(c->ch, type, msg, c->request, -1, &e) < 0)
		log_error("%s", e.text);
}

void conn_free(struct conn *c)
{
	struct conns *all = c->m->conns;

	login_drop(c);
	attach_cancel(&c->attach);
	ipc_chan_free(&c->ch);
	(void)map_del(all->by_id, str_n(&c->facts.conn, sizeof c->facts.conn));
	list_del(&c->node);
	all->n--;
	loop_free_later(c->m->loop, c);
}

/* --- what the front asks --- */

/* May the host that the connection was accepted from say for whom it acts? */
static bool may_act_for_others(const struct conn *c)
{
	const struct monitor *m = c->m;

	if (str_eq(str_c(c->service), STR("smtp")))
		return cidr_match(m->proxies.v, m->proxies.n, c->peer) || cidr_match(m->xclients.v, m->xclients.n, c->peer);
	return cidr_match(m->webmail.v, m->webmail.n, c->peer);
}

/* A webmail on webmail_hosts says for whom it acts; a proxy in front of smtpd, or a host that may use XCLIENT. */
static void on_client(struct conn *c, struct str address)
{
	uint8_t a[16];

	if (!c->facts.from.has_addr || !may_act_for_others(c) || addr_parse(address, a) < 0) {
		log_info("session=%016llx rip=%s: the address it acts for is not believed", (unsigned long long)c->facts.conn, c->client);
		return;
	}
	memcpy(c->facts.from.addr, a, sizeof a);
	c->facts.from.exempt = cidr_match(c->m->exempt.v, c->m->exempt.n, a);
	if (str_eq(str_c(c->service), STR("smtp")))	/* a proxy beside the webmail brings strangers */
		c->facts.webmail = cidr_match(c->m->webmail.v, c->m->webmail.n, a);
	snprintf(c->client, sizeof c->client, "%.*s", STR_ARG(address));
}

static void on_attached(void *ctx, enum err_code code, const char *text, pid_t pid)
{
	struct conn *c = ctx;

	c->attach = NULL;
	if (code == ERR_NONE) {
		const struct ipc_auth_SESSION_OK ok = { .pid = (uint64_t)pid };

		conn_send(c, IPC_auth_SESSION_OK, &ok);
		conn_phase(c, PH_OVER);
	} else {
		conn_send(c, IPC_auth_SESSION_FAIL, &(struct ipc_auth_SESSION_FAIL){ .code = code, .text = str_c(text) });
		conn_phase(c, PH_USER);
	}
}

static void session_fail(struct conn *c, enum err_code code, const char *text)
{
	conn_send(c, IPC_auth_SESSION_FAIL, &(struct ipc_auth_SESSION_FAIL){ .code = code, .text = str_c(text) });
}

static void on_session(struct conn *c, const struct ipc_auth_SESSION *m, int fd)
{
	struct account now;
	struct err e = { 0 };
	const int rc = accounts_find(c->m, str_c(c->account.name), &now, &e);
	int type;
	socklen_t n = sizeof type;

	/* Nothing may have changed between the password and now. */
	if (rc != 0 || c->revoked || now.uid != c->account.uid || (now.flags & ACCOUNT_F_DISABLED)) {
		session_fail(c, rc < 0 ? ERR_TEMP : ERR_AUTH, rc < 0 ? "temporary failure" : text_changed);
		close_fd(&fd);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM) {
		log_warning("session=%016llx: what the front hands over is no stream socket", (unsigned long long)c->facts.conn);
		session_fail(c, ERR_INPUT, "not a connection");
		close_fd(&fd);
		return;
	}
	const struct attach_ask ask = { .conn = c->facts.conn, .service = c->service, .client = c->client, .server = c->server, .account = &now,
					.fd = fd, .tag = m->tag, .input = m->input, .relayed = m->relayed };
	conn_phase(c, PH_ATTACH);
	c->attach = session_attach(c->m, &ask, on_attached, c);
}

/* It is told when it asks the next time: between its questions it expects nothing. */
static void login_revoke(struct conn *c)
{
	c->revoked = true;
	if (!c->attach)
		return;
	attach_cancel(&c->attach);
	session_fail(c, ERR_AUTH, text_changed);
	conn_phase(c, PH_USER);
}

void conns_revoke(struct monitor *m, struct str user)
{
	list_each(it, &m->conns->all) {
		struct conn *c = list_of(it, struct conn, node);

		if (str_case_eq(str_c(c->attempt ? attempt_account(c->attempt) : c->account.name), user))
			login_revoke(c);
	}
}

static void on_front(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct conn *c = ctx;

	c->request = id;
	switch (type) {
	case IPC_auth_START:
		login_start(c, msg);
		break;
	case IPC_auth_STEP:
		login_step(c, ((const struct ipc_auth_STEP *)msg)->data);
		break;
	case IPC_auth_CANCEL:
		login_drop(c);
		conn_phase(c, PH_IDLE);
		break;
	case IPC_auth_CLIENT:
		on_client(c, ((const struct ipc_auth_CLIENT *)msg)->address);
		break;
	case IPC_auth_SESSION:
		on_session(c, msg, fd);
		break;
	}
}

static void on_front_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct conn *c = ctx;

	if (why->code != ERR_CLOSED)
		log_warning("session=%016llx rip=%s: channel closed: %s", (unsigned long long)c->facts.conn, c->client, why->text);
	conn_free(c);
}

/* --- registration --- */

static void put(char *to, size_t max, struct str s)
{
	snprintf(to, max, "%.*s", STR_ARG(s));
}

static bool service_known(struct str s)
{
	return str_eq(s, STR("smtp")) || str_eq(s, STR("imap")) || str_eq(s, STR("pop3"));
}

static void conn_new(struct registrar *r, const struct ipc_reg_CONN *m, int fd)
{
	struct conns *all = r->m->conns;
	const struct str key = str_n(&m->conn, sizeof m->conn);

	if (all->n >= CONNS_MAX || map_get(all->by_id, key) || !str_eq(m->service, str_c(r->service))) {
		log_warning("connection of %s is not registered: %s", r->service, all->n >= CONNS_MAX ? "too many" : "doubled name or wrong service");
		close(fd);
		return;
	}
	struct conn *c = xzalloc(sizeof *c);
	c->m = r->m;
	put(c->service, sizeof c->service, m->service);
	put(c->profile, sizeof c->profile, m->profile);
	put(c->client, sizeof c->client, m->client);
	put(c->server, sizeof c->server, m->server);
	c->client_known = !str_eq(m->client, STR("unknown"));
	c->facts = (struct facts){ .conn = m->conn, .service = c->service, .client = c->client, .server = c->server,
				   .client_port = (unsigned)m->client_port };
	c->facts.from.has_addr = addr_parse(m->client, c->facts.from.addr) == 0;
	memcpy(c->peer, c->facts.from.addr, sizeof c->peer);
	c->facts.webmail = c->facts.from.has_addr && cidr_match(r->m->webmail.v, r->m->webmail.n, c->peer);
	c->facts.from.exempt = c->facts.from.has_addr && cidr_match(r->m->exempt.v, r->m->exempt.n, c->facts.from.addr);
	list_append(&all->all, &c->node);
	all->n++;
	(void)map_set(all->by_id, key, c);
	c->ch = ipc_chan_new(r->m->loop, fd, &ipc_auth, on_front, on_front_closed, c);
	ipc_chan_allow(c->ch, phases[PH_IDLE].allow);
}

static const uint16_t reg_first[] = { IPC_reg_HELLO }, reg_then[] = { IPC_reg_CONN };

/* Its connections go on. */
static void registrar_end(struct registrar *r)
{
	ipc_chan_free(&r->ch);
	list_del(&r->node);
	r->m->conns->n_registrars--;
	loop_free_later(r->m->loop, r);
}

static void on_registrar(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct registrar *r = ctx;
	struct err e = { 0 };

	if (type == IPC_reg_CONN) {
		conn_new(r, msg, fd);
		return;
	}
	const struct ipc_reg_HELLO *h = msg;
	if (!service_known(h->service))
		(void)err_set(&e, ERR_INPUT, 0, "there is no service \"%.*s\"", STR_ARG(h->service));
	if (e.code != ERR_NONE || reg_welcome(ch, h, &ipc_auth, &e) < 0) {
		log_error("registration refused: %s", e.text);
		registrar_end(r);
		return;
	}
	put(r->service, sizeof r->service, h->service);
	ipc_chan_allow(ch, (struct ipc_allow){ reg_then, ARRAY_LEN(reg_then) });
	log_debug("%s registers connections", r->service);
}

static void on_registrar_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	if (why->code != ERR_CLOSED)
		log_error("registration of %s closed: %s", ((struct registrar *)ctx)->service, why->text);
	registrar_end(ctx);
}

static void on_listener(void *ctx, unsigned events)
{
	struct monitor *m = ctx;
	struct peer_cred cred;
	struct err e = { 0 };
	const int fd = accept4(m->listen[LISTEN_REGISTER], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &cred, &e) < 0 || cred.uid != 0 || m->conns->n_registrars >= REGISTRARS_MAX) {
		log_warning("registration refused: %s", e.text[0] ? e.text : "the peer is not root, or there are too many");
		close(fd);
		return;
	}
	struct registrar *r = xzalloc(sizeof *r);
	r->m = m;
	list_append(&m->conns->registrars, &r->node);
	m->conns->n_registrars++;
	r->ch = ipc_chan_new(m->loop, fd, &ipc_reg, on_registrar, on_registrar_closed, r);
	ipc_chan_allow(r->ch, (struct ipc_allow){ reg_first, ARRAY_LEN(reg_first) });
}

void conns_init(struct monitor *m)
{
	m->conns = xzalloc(sizeof *m->conns);
	list_init(&m->conns->all);
	list_init(&m->conns->registrars);
	m->conns->by_id = map_new();
	(void)loop_watch(m->loop, m->listen[LISTEN_REGISTER], LOOP_READ, on_listener, m);
}
