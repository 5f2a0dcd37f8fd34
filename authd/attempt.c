/* One login attempt, from a name to a verdict: account, limits, cache, check worker, limits again, log. The same for every service and for
 * the saslauthd protocol. The answer for an unknown name, a wrong password and a disabled account is the same and comes
 * at the same time after the start, because the delay is counted from there. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "log/log.h"
#include "os/os.h"

enum { GIVEN_MAX = 512, SCRAM_LIFE_MS = 120000, LOG_NAME_MAX = 64 };

static const char text_wrong[] = "authentication failed";
static const char text_temp[] = "temporary authentication failure";
static const char text_many[] = "too many failed logins, try again later";

struct attempt {
	struct list node;		/* of the waiting ones */
	struct monitor *m;
	const struct facts *f;
	const struct attempt_ops *ops;
	void *ctx;
	char mech[32], given[GIVEN_MAX + 1], name[GIVEN_MAX + 1];	/* name: of the account, or the folded given one */
	bool scram, waiting, running, finished, exists, wanted;	/* wanted: an account that may log in */
	bool pam;			/* PAM is asked, for who may not log in about nobody */
	bool guarded;			/* the account is under attack: an application password alone can be right */
	struct account account;
	uint8_t tag[CACHE_TAG];
	bool has_tag;
	struct cache_stamp stamp;
	uint64_t started;
	int password_fd;		/* until the check worker has it; -1 */
	struct worker *worker;
	bool sound;			/* the worker has given a verdict that can be true */
	struct timer *timer;
	struct attempt_result result;
	struct buf data;
	/* nobody waits any more; the verdict is counted all the same */
	bool abandoned;
	struct facts own;
	char own_service[65], own_client[65], own_server[65];
};

struct checks {
	unsigned running, scram;
	struct list waiting;
	unsigned n_waiting;
};

static void next_waiting(struct monitor *m);

void attempts_init(struct monitor *m)
{
	m->checks = xzalloc(sizeof *m->checks);
	list_init(&m->checks->waiting);
}

/* --- life --- */

static struct attempt *attempt_new(struct monitor *m, const struct facts *f, const char *mech, const struct attempt_ops *ops, void *ctx)
{
	struct attempt *a = xzalloc(sizeof *a);

	a->m = m;
	a->f = f;
	a->ops = ops;
	a->ctx = ctx;
	a->started = clock_mono_ms();
	a->password_fd = -1;
	list_init(&a->node);
	buf_init(&a->data, 16384);
	snprintf(a->mech, sizeof a->mech, "%s", mech);
	return a;
}

static void worker_drop(struct attempt *a)
{
	worker_release(&a->worker, a->sound);
	if (a->running) {
		a->running = false;
		if (a->scram)
			a->m->checks->scram--;
		else
			a->m->checks->running--;
		next_waiting(a->m);
	}
	if (a->waiting) {
		a->waiting = false;
		a->m->checks->n_waiting--;
		list_del(&a->node);
	}
}

static void attempt_free(struct attempt *a)
{
	worker_drop(a);
	close_fd(&a->password_fd);
	timer_del(&a->timer);
	buf_fini(&a->data);
	loop_free_later(a->m->loop, a);
}

static void nobody_done(void *ctx, const struct attempt_result *r)
{
}

static void nobody_challenge(void *ctx, struct str data)
{
}

/* A password is being checked: who goes away before the answer neither makes room for further checks nor escapes the limits. */
static void abandon(struct attempt *a)
{
	static const struct attempt_ops nobody = { nobody_done, nobody_challenge };

	a->own = *a->f;
	snprintf(a->own_service, sizeof a->own_service, "%s", a->f->service);
	snprintf(a->own_client, sizeof a->own_client, "%s", a->f->client);
	snprintf(a->own_server, sizeof a->own_server, "%s", a->f->server);
	a->own.service = a->own_service;
	a->own.client = a->own_client;
	a->own.server = a->own_server;
	a->f = &a->own;
	a->ops = &nobody;
	a->ctx = NULL;
	a->abandoned = true;
}

const char *attempt_account(const struct attempt *a)
{
	return a->name;
}

void attempt_cancel(struct attempt **ap)
{
	struct attempt *a = *ap;

	*ap = NULL;
	if (!a)
		return;
	if (a->running && !a->scram && !a->finished)
		abandon(a);
	else
		attempt_free(a);
}

/* --- the log: one line per attempt, what the client controls comes last --- */

static void log_attempt(const struct facts *f, const char *mech, bool ok, const char *reason, uint32_t count, struct str given)
{
	struct buf name;

	buf_init(&name, 1024);
	text_neutral(&name, given, LOG_NAME_MAX, false);
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == '"' || name.p[i] == '\\')
			name.p[i] = '?';
	log_info("login %s: service=%s session=%016llx rip=%s rport=%u lip=%s method=%s reason=%s count=%u user=\"%s\"", ok ? "ok" : "failed",
		 f->service, (unsigned long long)f->conn, f->client[0] ? f->client : "none", f->client_port, f->server[0] ? f->server : "none",
		 mech, reason, count, name.p ? name.p : "");
	buf_fini(&name);
}

void attempt_log_refused(const struct facts *f, const char *mech, const char *reason, struct str given)
{
	log_attempt(f, mech, false, reason, 0, given);
}

/* --- the end --- */

static void on_done(void *ctx)
{
	struct attempt *a = ctx;

	a->ops->done(a->ctx, &a->result);
	attempt_free(a);
}

/* Answer from the loop: the caller of attempt_password() has its pointer first. */
static void finish(struct attempt *a, enum err_code code, const char *text, uint64_t delay_ms, const char *reason)
{
	const uint64_t passed = clock_mono_ms() - a->started;

	if (a->finished)
		return;
	a->finished = true;
	worker_drop(a);
	close_fd(&a->password_fd);
	a->result.code = code;
	a->result.text = text;
	a->result.delay_ms = delay_ms > passed ? delay_ms - passed : 0;
	a->result.data = buf_view(&a->data);
	if (a->abandoned && code == ERR_NONE)
		reason = "client-gone";
	log_attempt(a->f, a->mech, code == ERR_NONE, reason, throttle_count(a->m->throttle, (uint32_t)clock_wall(), &a->f->from), str_c(a->given));
	timer_del(&a->timer);
	a->timer = loop_timer(a->m->loop, 0, on_done, a);
}

static void finish_temp(struct attempt *a, const char *reason)
{
	finish(a, ERR_TEMP, text_temp, 0, reason);
}

/* main: the account's own password was right, just now: then what was counted for this pair is forgiven. Whoever has stolen an application password shall not
 * be able to guess on. */
static void finish_ok(struct attempt *a, const char *reason, bool main)
{
	a->m->count.ok++;
	throttle_success(a->m->throttle, (uint32_t)clock_wall(), &a->f->from, str_c(a->name), main);
	a->result.account = a->account;
	finish(a, ERR_NONE, "", 0, reason);
}

static void finish_wrong(struct attempt *a, const char *reason, uint64_t tag)
{
	uint64_t delay;

	a->m->count.failed++;
	const uint32_t now = (uint32_t)clock_wall();
	/* The client chose the wrong method, nobody guessed anything. Only where the user is known: elsewhere an answer that is not counted would tell the
	 * names that exist from those that do not. */
	if (a->wanted && strcmp(reason, "no SCRAM verifier") == 0 && throttle_knows(a->m->throttle, now, &a->f->from, str_c(a->name)))
		delay = FAIL_DELAY_MS;
	else
		delay = throttle_fail(a->m->throttle, now, &a->f->from, str_c(a->name), a->exists, tag);
	finish(a, ERR_AUTH, text_wrong, delay, a->exists && !a->wanted ? "disabled" : reason);
}

/* --- before the check --- */

static void stamp_take(struct attempt *a)
{
	char file[1100];
	const char *const names[CACHE_FILES] = { "/etc/shadow", "/etc/passwd", file };
	struct stat st;

	snprintf(file, sizeof file, "%s/passwd.cdb", a->m->conf->state_directory);
	for (unsigned i = 0; i < CACHE_FILES; i++)
		cache_stamp_file(&a->stamp, i, stat(names[i], &st) == 0 ? &st : NULL);
}

/* Whose name is it? -1: the attempt is finished. */
static int find_account(struct attempt *a, struct str name)
{
	struct err e = { 0 };
	const int rc = accounts_find(a->m, name, &a->account, &e);

	if (rc < 0) {
		log_error("accounts: %s", e.text);
		finish_temp(a, "accounts");
		return -1;
	}
	a->exists = rc == 0;
	a->wanted = a->exists && !(a->account.flags & ACCOUNT_F_DISABLED);
	a->pam = a->exists ? !(a->account.flags & ACCOUNT_F_VIRTUAL) : accounts_system_like(a->m, name);
	if (a->exists)
		snprintf(a->name, sizeof a->name, "%s", a->account.name);
	else
		for (size_t i = 0; i < name.n && i < GIVEN_MAX; i++)
			a->name[i] = ch_lower(name.p[i]);
	return 0;
}

static void finish_guarded(struct attempt *a)
{
	a->m->count.refused++;
	finish(a, ERR_TEMP, "temporarily unavailable", FAIL_DELAY_MS, "account-limit");
}

/* May it be tried at all? -1: the attempt is finished. */
static int ask_limits(struct attempt *a)
{
	switch (throttle_ask(a->m->throttle, (uint32_t)clock_wall(), &a->f->from, str_c(a->name))) {
	case THROTTLE_REFUSED:
		a->m->count.refused++;
		finish(a, ERR_DENIED, text_many, FAIL_DELAY_MS, "limit");
		return -1;
	case THROTTLE_GUARDED:
		a->guarded = a->wanted && !a->scram;
		if (!a->guarded)
			finish_guarded(a);
		return a->guarded ? 0 : -1;
	default:
		return 0;
	}
}

/* The cache's key: the tag with the service in it, and the account, which need not follow from the name in the tag (saslauthd's realms); and whether it is the webmail, which
 * may use passwords that others may not. */
static void cache_tag(const struct attempt *a, uint8_t out[CACHE_TAG])
{
	memcpy(out, a->tag, CACHE_TAG);
	put_le64(out + CACHE_TAG - 8, get_le64(a->tag + CACHE_TAG - 8) ^ str_hash(str_c(a->f->service)) ^ a->f->webmail);
	put_le64(out + CACHE_TAG - 16, get_le64(a->tag + CACHE_TAG - 16) ^ str_hash(str_c(a->name)));
}

static bool cached(struct attempt *a)
{
	const uint64_t ttl = a->m->conf->auth_cache_time * 1000;
	uint8_t tag[CACHE_TAG];

	cache_tag(a, tag);
	return a->wanted && !a->guarded && ttl && cache_has(a->m->cache, clock_mono_ms(), ttl, &a->stamp, tag);
}

/* Not what ends before the cache would forget it. */
static void remember(struct attempt *a, uint64_t expires)
{
	uint8_t tag[CACHE_TAG];

	if (expires && expires <= (uint64_t)clock_wall() + a->m->conf->auth_cache_time)
		return;
	cache_tag(a, tag);
	cache_put(a->m->cache, clock_mono_ms(), &a->stamp, tag);
}

/* --- the check worker --- */

static void on_result(struct attempt *a, const struct ipc_helper_RESULT *r)
{
	char reason[101];

	snprintf(reason, sizeof reason, "%.*s", STR_ARG(r->reason));
	for (char *p = reason; *p; p++)
		if (*p == ' ')
			*p = '-';
	if (!a->scram && r->verdict != 2 && (r->tag.n != CACHE_TAG || !mem_equal_ct(r->tag.p, a->tag, CACHE_TAG))) {
		/* Who sent us the tag did not send the check worker the same password. */
		log_error("a login helper named one password and showed another");
		finish_temp(a, "mismatch");
		return;
	}
	a->sound = r->verdict != 2;
	if (r->verdict == 1 && a->wanted) {
		if (!a->scram)
			remember(a, r->expires);
		if (r->app.n)
			uses_seen(a->m, r->app, a->f->client);
		buf_str(&a->data, r->data);
		finish_ok(a, reason, r->app.n == 0);
	} else if (r->verdict == 0 && a->guarded) {
		finish_guarded(a);
	} else if (r->verdict == 2) {
		log_warning("a password could not be checked: %s", reason);
		finish_temp(a, reason);
	} else {
		if (str_eq(r->reason, STR("no SCRAM verifier")))
			snprintf(reason, sizeof reason, "no SCRAM verifier");
		finish_wrong(a, reason, a->scram ? 0 : get_le64(a->tag));
	}
}

/* SCRAM: the worker has read a name. */
static void on_scram_name(struct attempt *a, struct str given)
{
	struct err e = { 0 };

	if (a->given[0] || given.n == 0 || given.n > GIVEN_MAX) {
		finish_temp(a, "protocol");
		return;
	}
	memcpy(a->given, given.p, given.n);
	if (find_account(a, str_c(a->given)) < 0 || ask_limits(a) < 0)
		return;
	const struct ipc_helper_ACCOUNT_IS m = { .user = a->wanted ? str_c(a->name) : STR(""), .webmail = a->f->webmail };
	if (worker_send(a->worker, IPC_helper_ACCOUNT_IS, &m, -1, &e) < 0)
		finish_temp(a, "protocol");
}

static void on_worker(void *ctx, uint16_t type, void *msg, int fd)
{
	struct attempt *a = ctx;

	switch (type) {
	case IPC_helper_RESULT:
		on_result(a, msg);
		break;
	case IPC_helper_NAME:
		on_scram_name(a, ((const struct ipc_helper_NAME *)msg)->given);
		break;
	default:
		a->ops->challenge(a->ctx, ((const struct ipc_helper_CHALLENGE *)msg)->data);
	}
}

/* Death by any cause is "could not be checked". */
static void on_worker_gone(void *ctx, const char *why)
{
	struct attempt *a = ctx;

	log_warning("check worker: %s", why);
	finish_temp(a, "check-worker-died");
}

static void on_timeout(void *ctx)
{
	struct attempt *a = ctx;

	log_warning("a password check took longer than allowed");
	finish_temp(a, "timeout");
}

static int worker_make(struct attempt *a, enum worker_kind kind, uint64_t life_ms, struct err *e)
{
	static const struct worker_ops ops = { on_worker, on_worker_gone };

	a->worker = worker_take(a->m, kind, NULL, life_ms, &ops, a, e);
	if (a->worker == NULL)
		return -1;
	a->running = true;
	timer_del(&a->timer);
	a->timer = loop_timer(a->m->loop, life_ms, on_timeout, a);
	return 0;
}

static const char *pam_service(const struct attempt *a)
{
	const char *own = a->m->conf->auth_pam_service;

	if (a->f->conn == 0)
		return a->f->service;	/* saslauthd protocol: the service asked for */
	return own[0] ? own : strcmp(a->f->service, "pop3") == 0 ? "pop" : a->f->service;
}

/* helper.def, CHECK. */
static const char *check_how(const struct attempt *a)
{
	if (!a->wanted)
		return a->pam ? "pam-none" : "none";
	if (a->guarded)
		return a->pam ? "pam-app" : "app";
	return a->pam ? "pam" : "file";
}

static void check_start(struct attempt *a)
{
	struct err e = { 0 };
	const struct ipc_helper_CHECK m = {
		.user = str_c(a->wanted ? a->name : "nobody"),
		.given = str_c(a->given),
		.how = str_c(check_how(a)),
		.service = str_c(pam_service(a)),
		.client = str_c(a->f->client),
		.protocol = str_c(a->f->service),
		.webmail = a->f->webmail,
		.since = a->wanted ? a->account.since : 0,
	};

	a->m->checks->running++;
	if (worker_make(a, a->pam ? WORKER_PAM : WORKER_FILE, a->m->conf->auth_check_timeout * 1000, &e) < 0) {
		a->m->checks->running--;
		log_warning("%s", e.text);
		finish_temp(a, "no-worker");
		return;
	}
	if (worker_send(a->worker, IPC_helper_CHECK, &m, a->password_fd, &e) < 0) {
		log_warning("%s", e.text);
		finish_temp(a, "no-worker");
	}
	close_fd(&a->password_fd);
}

static void next_waiting(struct monitor *m)
{
	struct checks *k = m->checks;

	if (list_empty(&k->waiting) || k->running >= m->conf->auth_check_workers_max)
		return;
	struct attempt *a = list_of(k->waiting.next, struct attempt, node);
	list_del(&a->node);
	a->waiting = false;
	k->n_waiting--;
	check_start(a);
}

static void check_or_wait(struct attempt *a)
{
	struct checks *k = a->m->checks;

	if (k->running < a->m->conf->auth_check_workers_max) {
		check_start(a);
	} else if (k->n_waiting >= CHECKS_WAITING_MAX) {
		finish_temp(a, "queue-full");
	} else {
		a->waiting = true;
		k->n_waiting++;
		list_append(&k->waiting, &a->node);
	}
}

/* --- beginnings --- */

struct attempt *attempt_password(struct monitor *m, const struct facts *f, const char *mech, struct str given, struct str tag, int password_fd,
				 const struct attempt_ops *ops, void *ctx)
{
	return attempt_password_as(m, f, mech, given, given, tag, password_fd, ops, ctx);
}

struct attempt *attempt_password_as(struct monitor *m, const struct facts *f, const char *mech, struct str given, struct str name,
				    struct str tag, int password_fd, const struct attempt_ops *ops, void *ctx)
{
	struct attempt *a = attempt_new(m, f, mech, ops, ctx);

	a->password_fd = password_fd;
	if (given.n == 0 || given.n > GIVEN_MAX || memchr(given.p, 0, given.n) || tag.n != CACHE_TAG) {
		finish(a, ERR_AUTH, text_wrong, FAIL_DELAY_MS, "malformed");
		return a;
	}
	memcpy(a->given, given.p, given.n);
	memcpy(a->tag, tag.p, CACHE_TAG);
	stamp_take(a);
	if (find_account(a, name) < 0 || ask_limits(a) < 0)
		return a;
	if (cached(a)) {
		m->count.cached++;
		finish_ok(a, "cached", false);
		return a;
	}
	check_or_wait(a);
	return a;
}

struct attempt *attempt_scram(struct monitor *m, const struct facts *f, struct str initial, const struct attempt_ops *ops, void *ctx)
{
	struct attempt *a = attempt_new(m, f, "SCRAM-SHA-256", ops, ctx);
	struct err e = { 0 };

	a->scram = true;
	if (m->checks->scram >= SCRAM_WORKERS_MAX) {
		finish_temp(a, "queue-full");
		return a;
	}
	m->checks->scram++;
	if (worker_make(a, WORKER_SCRAM, SCRAM_LIFE_MS, &e) < 0) {
		m->checks->scram--;
		log_warning("%s", e.text);
		finish_temp(a, "no-worker");
	} else if (worker_send(a->worker, IPC_helper_SCRAM, &(struct ipc_helper_SCRAM){ .initial = initial }, -1, &e) < 0) {
		finish_temp(a, "protocol");
	}
	return a;
}

void attempt_step(struct attempt *a, struct str data)
{
	struct err e = { 0 };

	if (!a->worker || worker_send(a->worker, IPC_helper_STEP, &(struct ipc_helper_STEP){ .data = data }, -1, &e) < 0)
		finish_temp(a, "protocol");
}
