/* Registered connections. A front's parent (root) says that a connection exists and from where; the front then speaks auth.def over the
 * descriptor that came along, about this connection only. What it may send is a table by phase; anything else closes its channel and
 * harms nobody else. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/rate.h"
#include "ipc/auth.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

enum { SASL_LIFE_MS = 600000, RATE_CLIENTS_MAX = 65536 };

enum phase {
	PH_IDLE,	/* not logged in; no exchange */
	PH_WORKING,	/* a worker has the client's last step */
	PH_CHALLENGE,	/* the client is asked */
	PH_GRANT,	/* right; queued is being told */
	PH_USER,	/* logged in */
	PH_ATTACH,	/* the session process is being given the connection */
	PH_OVER,
	PHASES
};

static const char text_temp[] = "temporary authentication failure", text_changed[] = "account has changed";

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

struct conn {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	enum phase phase;
	char service[17], profile[33], client[65], server[65];
	struct facts facts;
	uint8_t peer[16];		/* registered; facts.from may become the client it acts for */
	bool client_known;
	unsigned attempts;
	uint32_t request;		/* id of the front's last request: answers carry it */
	char mech[65];
	uint64_t started;
	/* the exchange */
	struct worker *sasl;		/* PLAIN, LOGIN */
	struct worker_owner owner;	/* user "": it serves once */
	bool is_scram, want_first, want_last;
	bool revoked;			/* since the login began, the user's password or rights have changed */
	char given[513];
	struct attempt *attempt;
	struct account account;
	struct queue_tell *tell;
	struct attach *attach;
};

struct registrar {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	char service[17];
};

struct conns {
	struct list all, registrars;
	struct map *by_id;		/* conn name -> struct conn, so that a name is used once */
	size_t n, n_registrars, n_sasl;
};

size_t conns_count(const struct monitor *m)
{
	return m->conns->n;
}

/* --- small things --- */

static void phase_set(struct conn *c, enum phase p)
{
	log_debug("connection %016llx: %s -> %s", (unsigned long long)c->facts.conn, phases[c->phase].name, phases[p].name);
	c->phase = p;
	ipc_chan_allow(c->ch, phases[p].allow);
}

static void to_front(struct conn *c, uint16_t type, const void *msg)
{
	struct err e = { 0 };

	if (ipc_send(c->ch, type, msg, c->request, -1, &e) < 0)
		log_error("%s", e.text);
}

static void sasl_release(struct conn *c, bool sound)
{
	if (c->sasl)
		c->m->conns->n_sasl--;
	worker_release(&c->sasl, sound);
}

static void exchange_drop(struct conn *c)
{
	sasl_release(c, false);
	attempt_cancel(&c->attempt);
	queue_tell_cancel(&c->tell);
	c->is_scram = c->want_first = c->want_last = false;
}

static void fail(struct conn *c, enum err_code code, const char *text, uint64_t delay_ms)
{
	const struct ipc_auth_FAIL m = { .code = code, .text = str_c(text), .delay_ms = delay_ms,
					 .user = c->given[0] ? str_sub(str_c(c->given), 0, 255) : (struct str){ 0 } };

	exchange_drop(c);
	to_front(c, IPC_auth_FAIL, &m);
	phase_set(c, PH_IDLE);
}

static void conn_free(struct conn *c)
{
	struct conns *all = c->m->conns;

	exchange_drop(c);
	attach_cancel(&c->attach);
	ipc_chan_free(&c->ch);
	(void)map_del(all->by_id, str_n(&c->facts.conn, sizeof c->facts.conn));
	list_del(&c->node);
	all->n--;
	loop_free_later(c->m->loop, c);
}

/* --- granting --- */

/* Of a connection to smtpd that was all that there is to say: queued knows whose it is, and to see it end would be for nothing. */
static void granted(struct conn *c)
{
	to_front(c, IPC_auth_OK, &(struct ipc_auth_OK){ .user = str_c(c->account.name) });
	if (strcmp(c->service, "smtp") == 0)
		conn_free(c);
	else
		phase_set(c, PH_USER);
}

static void on_told(void *ctx, bool ok)
{
	struct conn *c = ctx;

	c->tell = NULL;
	if (ok)
		granted(c);
	else
		fail(c, ERR_TEMP, text_temp, 0);
}

/* The password is right. For SMTP the queue must know before the client does. */
static void grant(struct conn *c)
{
	const struct account a = c->account;

	exchange_drop(c);
	c->account = a;
	if (strcmp(c->service, "smtp") != 0) {
		granted(c);
		return;
	}
	phase_set(c, PH_GRANT);
	c->tell = queue_tell_user(c->m, c->facts.conn, c->account.name, on_told, c);
}

/* --- an attempt's answers --- */

static void on_attempt_done(void *ctx, const struct attempt_result *r)
{
	struct conn *c = ctx;

	c->attempt = NULL;
	if (r->code != ERR_NONE) {
		fail(c, r->code, r->text, r->delay_ms);
		return;
	}
	if (c->revoked) {
		fail(c, ERR_TEMP, text_temp, 0);
		return;
	}
	c->account = r->account;
	if (c->is_scram) {
		/* The server's signature is the last challenge; the client answers it with nothing. */
		c->want_last = true;
		to_front(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = r->data });
		phase_set(c, PH_CHALLENGE);
	} else {
		sasl_release(c, strcmp(c->owner.user, c->given) == 0);
		grant(c);
	}
}

static void on_scram_challenge(void *ctx, struct str data)
{
	struct conn *c = ctx;

	to_front(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = data });
	phase_set(c, PH_CHALLENGE);
}

static const struct attempt_ops ops = { on_attempt_done, on_scram_challenge };

/* --- the sasl worker --- */

/* The library lets nobody in, whatever the password. */
static void on_sasl_done(struct conn *c, const struct ipc_helper_DONE *d)
{
	const bool malformed = d->code == ERR_INPUT;

	snprintf(c->given, sizeof c->given, "%.*s", STR_ARG(d->given));
	attempt_log_refused(&c->facts, c->mech, malformed ? "malformed" : "refused-by-sasl", str_c(c->given));
	fail(c, malformed ? ERR_INPUT : d->code == ERR_TEMP ? ERR_TEMP : ERR_AUTH,
	     malformed ? "malformed authentication data" : "authentication failed", malformed ? 0 : FAIL_DELAY_MS);
}

/* The library would let this name in, if the password is its own: what is left to be found out is not the worker's to say. */
static void on_sasl_creds(struct conn *c, const struct ipc_helper_CREDS *m, int password_fd)
{
	snprintf(c->given, sizeof c->given, "%.*s", STR_ARG(m->given));
	c->attempt = attempt_password(c->m, &c->facts, c->mech, m->given, m->tag, password_fd, &ops, c);
}

static void on_sasl(void *ctx, uint16_t type, void *msg, int fd)
{
	struct conn *c = ctx;

	if (c->attempt || c->phase != PH_WORKING) {	/* it has said its last word, or was not asked */
		close_fd(&fd);
		fail(c, ERR_TEMP, text_temp, 0);
		return;
	}
	switch (type) {
	case IPC_helper_CHALLENGE:
		on_scram_challenge(c, ((const struct ipc_helper_CHALLENGE *)msg)->data);
		break;
	case IPC_helper_CREDS:
		on_sasl_creds(c, msg, fd);
		break;
	default:
		on_sasl_done(c, msg);
	}
}

static void on_sasl_gone(void *ctx, const char *why)
{
	struct conn *c = ctx;

	log_warning("sasl worker: %s", why);
	fail(c, ERR_TEMP, text_temp, 0);
}

/* Whose password comes, where the first words of PLAIN say so: compared only, for what counts is what the worker says, and whether the password is right. */
static bool owner_known(const struct conn *c, struct str initial, struct worker_owner *o)
{
	*o = (struct worker_owner){ .user = "" };
	if (!c->facts.from.has_addr || !str_eq(str_c(c->mech), STR("PLAIN")) || initial.n == 0 || initial.p[0] != 0)
		return false;
	const struct str rest = str_from(initial, 1);
	const ptrdiff_t end = str_chr(rest, 0);

	if (end <= 0 || (size_t)end >= sizeof o->user)
		return false;
	memcpy(o->addr, c->facts.from.addr, sizeof o->addr);
	memcpy(o->user, rest.p, (size_t)end);
	return true;
}

static void sasl_start(struct conn *c, const struct ipc_auth_START *m)
{
	static const struct worker_ops sasl_ops = { on_sasl, on_sasl_gone };
	const struct worker_owner *owner = owner_known(c, m->initial, &c->owner) ? &c->owner : NULL;
	const struct ipc_helper_BEGIN begin = { .service = str_c(c->service), .mech = str_c(c->mech), .initial = m->initial };
	struct err e = { 0 };

	if (c->m->conns->n_sasl >= SASL_WORKERS_MAX || (c->sasl = worker_take(c->m, WORKER_SASL, owner, SASL_LIFE_MS, &sasl_ops, c, &e)) == NULL) {
		log_warning("no sasl worker: %s", e.text[0] ? e.text : "too many at once");
		fail(c, ERR_TEMP, text_temp, 0);
		return;
	}
	c->m->conns->n_sasl++;
	phase_set(c, PH_WORKING);
	if (worker_send(c->sasl, IPC_helper_BEGIN, &begin, -1, &e) < 0)
		fail(c, ERR_TEMP, text_temp, 0);
}

/* --- what the front asks --- */

static bool mech_offered(const struct conn *c)
{
	const struct conf_list *l = &c->m->conf->auth_mechanisms;

	for (size_t i = 0; i < l->n; i++)
		if (str_case_eq(str_c(l->v[i]), str_c(c->mech)))
			return true;
	return false;
}

static void scram_start(struct conn *c, struct str initial, bool has_initial)
{
	c->is_scram = true;
	if (!has_initial) {
		c->want_first = true;
		to_front(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = STR("") });
		phase_set(c, PH_CHALLENGE);
		return;
	}
	phase_set(c, PH_WORKING);
	c->attempt = attempt_scram(c->m, &c->facts, initial, &ops, c);
}

/* smtpd_client_auth_rate_limit: AUTH commands of one address, right or wrong. */
static bool too_often(struct conn *c)
{
	const struct conf *conf = c->m->conf;
	const uint64_t max = conf->smtpd_client_auth_rate_limit;
	const struct str key = str_n(c->facts.from.addr, ip_is_v4(c->facts.from.addr) ? 16 : 8);	/* IPv6: a /64 */

	if (max == 0 || !str_eq(str_c(c->service), STR("smtp")) || !c->facts.from.has_addr ||
	    conf_networks_have(conf->smtpd_client_event_limit_exceptions, c->facts.from.addr))
		return false;
	if (!c->m->rates)
		c->m->rates = rate_new(RATE_CLIENTS_MAX);
	return rate_hit(c->m->rates, key, RATE_AUTH, clock_mono_ms(), conf->anvil_rate_time_unit * 1000) > max;
}

static void on_start(struct conn *c, const struct ipc_auth_START *m)
{
	for (size_t i = 0; i <= m->mech.n; i++)
		c->mech[i] = i < m->mech.n ? ch_up(m->mech.p[i]) : 0;
	c->given[0] = 0;
	c->revoked = false;
	c->started = clock_mono_ms();
	if (!c->client_known) {
		fail(c, ERR_DENIED, "no login from an unknown address", 0);
		return;
	}
	if (!mech_offered(c)) {
		fail(c, ERR_INPUT, "mechanism not offered", 0);
		return;
	}
	if (too_often(c)) {
		fail(c, ERR_LIMIT, "Error: too many AUTH commands from your address", 0);
		return;
	}
	if (c->attempts++ >= ATTEMPTS_PER_CONN ||
	    throttle_ask_client(c->m->throttle, (uint32_t)clock_wall(), &c->facts.from) == THROTTLE_REFUSED) {
		c->m->count.refused++;
		attempt_log_refused(&c->facts, c->mech, "limit", STR(""));
		fail(c, ERR_DENIED, "too many failed logins, try again later", FAIL_DELAY_MS);
		return;
	}
	if (strcmp(c->mech, "SCRAM-SHA-256") == 0)
		scram_start(c, m->initial, m->initial.p != NULL);
	else
		sasl_start(c, m);
}

static void on_step(struct conn *c, struct str data)
{
	struct err e = { 0 };

	if (c->revoked) {
		fail(c, ERR_TEMP, text_temp, 0);
	} else if (c->want_last) {
		if (data.n == 0)
			grant(c);
		else
			fail(c, ERR_INPUT, "malformed authentication data", 0);
	} else if (c->want_first) {
		c->want_first = false;
		scram_start(c, data, true);
	} else if (c->is_scram && c->attempt) {
		phase_set(c, PH_WORKING);
		attempt_step(c->attempt, data);
	} else if (c->sasl) {
		phase_set(c, PH_WORKING);
		if (worker_send(c->sasl, IPC_helper_STEP, &(struct ipc_helper_STEP){ .data = data }, -1, &e) < 0)
			fail(c, ERR_TEMP, text_temp, 0);
	}
}

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

		to_front(c, IPC_auth_SESSION_OK, &ok);
		phase_set(c, PH_OVER);
	} else {
		to_front(c, IPC_auth_SESSION_FAIL, &(struct ipc_auth_SESSION_FAIL){ .code = code, .text = str_c(text) });
		phase_set(c, PH_USER);
	}
}

static void session_fail(struct conn *c, enum err_code code, const char *text)
{
	to_front(c, IPC_auth_SESSION_FAIL, &(struct ipc_auth_SESSION_FAIL){ .code = code, .text = str_c(text) });
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
	phase_set(c, PH_ATTACH);
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
	phase_set(c, PH_USER);
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
		on_start(c, msg);
		break;
	case IPC_auth_STEP:
		on_step(c, ((const struct ipc_auth_STEP *)msg)->data);
		break;
	case IPC_auth_CANCEL:
		exchange_drop(c);
		phase_set(c, PH_IDLE);
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

static void on_registrar(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct registrar *r = ctx;

	if (type == IPC_reg_CONN) {
		conn_new(r, msg, fd);
		return;
	}
	const struct ipc_reg_HELLO *h = msg;
	if (h->version != 1 || !service_known(h->service)) {
		log_error("registration of \"%.*s\", version %llu, refused", STR_ARG(h->service), (unsigned long long)h->version);
		ipc_chan_allow(ch, (struct ipc_allow){ NULL, 0 });
		return;
	}
	put(r->service, sizeof r->service, h->service);
	ipc_chan_allow(ch, (struct ipc_allow){ reg_then, ARRAY_LEN(reg_then) });
	log_debug("%s registers connections", r->service);
}

/* The parent has gone; its connections go on. */
static void on_registrar_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct registrar *r = ctx;

	if (why->code != ERR_CLOSED)
		log_error("registration of %s closed: %s", r->service, why->text);
	ipc_chan_free(&r->ch);
	list_del(&r->node);
	r->m->conns->n_registrars--;
	loop_free_later(r->m->loop, r);
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
