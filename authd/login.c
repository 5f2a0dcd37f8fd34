/* A login: from the front's START over the sasl worker's or SCRAM's steps and the attempt's verdict to OK, which for SMTP queued hears first. */
#include <stdio.h>
#include <string.h>

#include "authd/conns.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/rate.h"
#include "log/log.h"
#include "os/os.h"

enum { SASL_LIFE_MS = 600000, RATE_CLIENTS_MAX = 65536 };

static void sasl_release(struct conn *c, bool sound)
{
	if (c->sasl)
		c->m->conns->n_sasl--;
	worker_release(&c->sasl, sound);
}

void login_drop(struct conn *c)
{
	sasl_release(c, false);
	attempt_cancel(&c->attempt);
	queue_tell_cancel(&c->tell);
	c->is_scram = c->want_first = c->want_last = false;
}

void conn_fail(struct conn *c, enum err_code code, const char *text, uint64_t delay_ms)
{
	const struct ipc_auth_FAIL m = { .code = code, .text = str_c(text), .delay_ms = delay_ms,
					 .user = c->given[0] ? str_sub(str_c(c->given), 0, 255) : (struct str){ 0 } };

	login_drop(c);
	conn_send(c, IPC_auth_FAIL, &m);
	conn_phase(c, PH_IDLE);
}

/* --- granting --- */

/* Of a connection to smtpd that was all that there is to say: queued knows whose it is, and to see it end would be for nothing. */
static void granted(struct conn *c)
{
	conn_send(c, IPC_auth_OK, &(struct ipc_auth_OK){ .user = str_c(c->account.name) });
	if (strcmp(c->service, "smtp") == 0)
		conn_free(c);
	else
		conn_phase(c, PH_USER);
}

static void on_told(void *ctx, bool ok)
{
	struct conn *c = ctx;

	c->tell = NULL;
	if (ok)
		granted(c);
	else
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
}

/* The password is right. For SMTP the queue must know before the client does. */
static void grant(struct conn *c)
{
	const struct account a = c->account;

	login_drop(c);
	c->account = a;
	if (strcmp(c->service, "smtp") != 0) {
		granted(c);
		return;
	}
	conn_phase(c, PH_GRANT);
	c->tell = queue_tell_user(c->m, c->facts.conn, c->account.name, on_told, c);
}

/* --- an attempt's answers --- */

static void on_attempt_done(void *ctx, const struct attempt_result *r)
{
	struct conn *c = ctx;

	c->attempt = NULL;
	if (r->code != ERR_NONE) {
		conn_fail(c, r->code, r->text, r->delay_ms);
		return;
	}
	if (c->revoked) {
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
		return;
	}
	c->account = r->account;
	if (c->is_scram) {
		/* The server's signature is the last challenge; the client answers it with nothing. */
		c->want_last = true;
		conn_send(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = r->data });
		conn_phase(c, PH_CHALLENGE);
	} else {
		sasl_release(c, strcmp(c->owner.user, c->given) == 0);
		grant(c);
	}
}

static void on_scram_challenge(void *ctx, struct str data)
{
	struct conn *c = ctx;

	conn_send(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = data });
	conn_phase(c, PH_CHALLENGE);
}

static const struct attempt_ops ops = { on_attempt_done, on_scram_challenge };

/* --- the sasl worker --- */

/* The library lets nobody in, whatever the password. */
static void on_sasl_done(struct conn *c, const struct ipc_helper_DONE *d)
{
	const bool malformed = d->code == ERR_INPUT;

	snprintf(c->given, sizeof c->given, "%.*s", STR_ARG(d->given));
	attempt_log_refused(&c->facts, c->mech, malformed ? "malformed" : "refused-by-sasl", str_c(c->given));
	conn_fail(c, malformed ? ERR_INPUT : d->code == ERR_TEMP ? ERR_TEMP : ERR_AUTH,
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
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
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
	conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
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
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
		return;
	}
	c->m->conns->n_sasl++;
	conn_phase(c, PH_WORKING);
	if (worker_send(c->sasl, IPC_helper_BEGIN, &begin, -1, &e) < 0)
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
}

/* --- what the front asks for a login --- */

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
		conn_send(c, IPC_auth_CHALLENGE, &(struct ipc_auth_CHALLENGE){ .data = STR("") });
		conn_phase(c, PH_CHALLENGE);
		return;
	}
	conn_phase(c, PH_WORKING);
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

void login_start(struct conn *c, const struct ipc_auth_START *m)
{
	for (size_t i = 0; i <= m->mech.n; i++)
		c->mech[i] = i < m->mech.n ? ch_up(m->mech.p[i]) : 0;
	c->given[0] = 0;
	c->revoked = false;
	c->started = clock_mono_ms();
	if (!c->client_known) {
		conn_fail(c, ERR_DENIED, "no login from an unknown address", 0);
		return;
	}
	if (!mech_offered(c)) {
		conn_fail(c, ERR_INPUT, "mechanism not offered", 0);
		return;
	}
	if (too_often(c)) {
		conn_fail(c, ERR_LIMIT, "Error: too many AUTH commands from your address", 0);
		return;
	}
	if (c->attempts++ >= ATTEMPTS_PER_CONN ||
	    throttle_ask_client(c->m->throttle, (uint32_t)clock_wall(), &c->facts.from) == THROTTLE_REFUSED) {
		c->m->count.refused++;
		attempt_log_refused(&c->facts, c->mech, "limit", STR(""));
		conn_fail(c, ERR_DENIED, "too many failed logins, try again later", FAIL_DELAY_MS);
		return;
	}
	if (strcmp(c->mech, "SCRAM-SHA-256") == 0)
		scram_start(c, m->initial, m->initial.p != NULL);
	else
		sasl_start(c, m);
}

void login_step(struct conn *c, struct str data)
{
	struct err e = { 0 };

	if (c->revoked) {
		conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
	} else if (c->want_last) {
		if (data.n == 0)
			grant(c);
		else
			conn_fail(c, ERR_INPUT, "malformed authentication data", 0);
	} else if (c->want_first) {
		c->want_first = false;
		scram_start(c, data, true);
	} else if (c->is_scram && c->attempt) {
		conn_phase(c, PH_WORKING);
		attempt_step(c->attempt, data);
	} else if (c->sasl) {
		conn_phase(c, PH_WORKING);
		if (worker_send(c->sasl, IPC_helper_STEP, &(struct ipc_helper_STEP){ .data = data }, -1, &e) < 0)
			conn_fail(c, ERR_TEMP, TEXT_TEMP, 0);
	}
}
