/* One attempt: from a SEND of queued to its RESULT. Owns next hops and the order of attempts (RFC 5321 5.1): all mail exchangers' addresses are looked up, those from
 * this machine's own on are left out, then they are tried in order, then the fallback relays. Leaves the conversation to remote_smtp.c and names to
 * remote_dns.c. A job always ends: DNS, connections and each step of SMTP have time limits, and the number of connections is bounded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote/remote_priv.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

enum { SMTP_PORT = 25, LMTP_PORT = 24 };

static void try_next(struct job *j);
static void start(struct job *j);
static void gather(struct job *j);

/* --- results --- */

void rcpt_close(struct job *j, struct rcpt *r, enum rcpt_status st, const char *enhanced, const char *text)
{
	if (r->status != RCPT_OPEN)
		return;
	r->status = st;
	(void)snprintf(r->enhanced, sizeof r->enhanced, "%s", enhanced);
	r->text = arena_strdup(j->a, text);
}

void job_close_open(struct job *j, enum rcpt_status st, const char *enhanced, const char *text)
{
	for (size_t i = 0; i < j->n_rcpts; i++)
		rcpt_close(j, &j->rcpts[i], st, enhanced, text);
}

static void job_free(struct job *j)
{
	list_del(&j->node);
	j->r->n_jobs--;
	close_fd(&j->fd);
	close_fd(&j->given);
	mem_wipe((char *)(uintptr_t)j->login.p, j->login.n);
	arena_free(&j->a);
	loop_free_later(j->r->loop, j);
}

void job_done(struct job *j)
{
	static const char *const words[] = { [RCPT_OPEN] = "deferred", [RCPT_SENT] = "sent", [RCPT_DEFERRED] = "deferred", [RCPT_BOUNCED] = "bounced" };
	struct ipc_remote_RESULT m = {
		.relay = str_c(j->relay[0] ? j->relay : "none"), .mx = str_c(j->best_mx), .uses = j->uses, .reached = j->reached, .dsn = j->dsn,
		.tls = str_c(j->tls_note), .setup_us = j->begun_us > j->start_us ? j->begun_us - j->start_us : 0,
	};
	struct err e = { 0 };

	close_fd(&j->fd);	/* before the queue hears that we are done with the message */
	m.status = (struct ipc_strs){ ARENA_ARRAY(j->a, struct str, j->n_rcpts), j->n_rcpts };
	m.enhanced = (struct ipc_strs){ ARENA_ARRAY(j->a, struct str, j->n_rcpts), j->n_rcpts };
	m.texts = (struct ipc_strs){ ARENA_ARRAY(j->a, struct str, j->n_rcpts), j->n_rcpts };
	for (size_t i = 0; i < j->n_rcpts; i++) {
		const struct rcpt *r = &j->rcpts[i];
		m.status.v[i] = str_c(words[r->status]);
		m.enhanced.v[i] = str_c(r->enhanced[0] ? r->enhanced : "4.0.0");
		m.texts.v[i] = str_c(r->text ? r->text : "no result");
		if (m.texts.v[i].n > 590)
			m.texts.v[i].n = 590;
	}
	if (j->r->queue && ipc_send(j->r->queue, IPC_remote_RESULT, &m, j->id, -1, &e) < 0)
		log_error("%.*s: RESULT: %s", STR_ARG(j->qid), e.text);
	job_free(j);
}

static void job_fail(struct job *j, enum rcpt_status st, const char *enhanced, const char *text)
{
	job_close_open(j, st, enhanced, text);
	job_done(j);
}

static void failed_so(struct job *j, const char *enhanced, const char *text)
{
	(void)snprintf(j->last_enhanced, sizeof j->last_enhanced, "%s", enhanced);
	(void)snprintf(j->last_text, sizeof j->last_text, "%s", text);
}

void job_next(struct job *j, const char *enhanced, const char *text)
{
	failed_so(j, enhanced, text);
	try_next(j);
}

/* No address of this hop is left: the next fallback relay, else the end. */
static void hop_failed(struct job *j)
{
	const struct conf_list l = j->r->conf->smtp_fallback_relay;

	if (!j->lmtp && j->fallback < l.n) {
		j->hop = str_c(l.v[j->fallback++]);
		j->tries = 0;
		j->fresh = true;
		start(j);
		return;
	}
	const bool final = j->last_enhanced[0] == '5';
	job_fail(j, final ? RCPT_BOUNCED : RCPT_DEFERRED, j->last_enhanced[0] ? j->last_enhanced : "4.4.1",
		 j->last_text[0] ? j->last_text : "no address to connect to");
}

/* --- trying --- */

/* An enforced policy makes more of a level that DANE has not raised (RFC 8461 2: it never takes DANE's place). */
static void demand_sts(struct job *j)
{
	if (tls_obeys_sts(j) && j->sts == STS_ENFORCE)
		j->effective = TLS_STS;
}

void job_tls_note(struct job *j, const char *result, const struct target *t, const char *own)
{
	const char *policy = j->effective == TLS_DANE ? "tlsa" : tls_obeys_sts(j) ? "sts" : "no-policy-found";

	if (j->tls_note[0] != '\0' && !strstr(j->tls_note, " success "))
		return;
	(void)snprintf(j->tls_note, sizeof j->tls_note, "%s %s %s %s %s", policy, result, t->host, t->addr.text, own);
}

static void on_tlsa(void *ctx, enum names_status st, struct tls_tlsa *v, size_t n, bool secure)
{
	struct job *j = ctx;
	const struct target *t = &j->targets[j->at_target - 1];
	char text[400];

	j->n_tlsa = 0;
	if (tls_level_for(&j->tls, t->secure, st, secure, v, n, &j->effective) < 0) {
		(void)snprintf(text, sizeof text, "TLSA lookup error for %s:%u", t->host, j->port);
		job_tls_note(j, "dane-required", t, "");
		job_next(j, "4.7.5", text);
		return;
	}
	if (j->effective == TLS_DANE) {
		struct tls_tlsa *copy = ARENA_ARRAY(j->a, struct tls_tlsa, n);
		memcpy(copy, v, n * sizeof v[0]);
		j->tlsa = copy;
		j->n_tlsa = n;
	}
	else
		demand_sts(j);
	smtp_open(j, t);
}

static void try_target(struct job *j, const struct target *t)
{
	char text[600];

	j->no_tls = false;
	j->n_tlsa = 0;
	j->effective = j->tls.level;
	j->sts_miss = tls_obeys_sts(j) && !tls_sts_names(j, t->host);
	if (j->sts_miss && j->sts == STS_ENFORCE) {
		(void)snprintf(text, sizeof text, "%s is not a mail exchanger that the MTA-STS policy of %s names", t->host, j->domain);
		job_tls_note(j, "validation-failure", t, "");
		job_next(j, "4.7.5", text);	/* no deeper than there are targets */
		return;
	}
	if (j->tls.level < TLS_DANE) {
		demand_sts(j);
		smtp_open(j, t);
	} else if (t->secure)
		names_tlsa(j->r->names, t->host, j->port, on_tlsa, j);
	else
		on_tlsa(j, NAMES_NO_DATA, NULL, 0, false);
}

static void try_next(struct job *j)
{
	const uint64_t max = j->r->conf->smtp_mx_session_limit;

	if (j->at_target < j->n_targets && (max == 0 || j->tries < max)) {
		j->tries++;
		try_target(j, &j->targets[j->at_target++]);
	} else {
		hop_failed(j);
	}
}

/* --- where to --- */

static void dns_failed(struct job *j, enum names_status st, const char *name, const char *type, const char *why)
{
	char text[500];
	const bool final = st == NAMES_NO_NAME || st == NAMES_NO_DATA;

	(void)snprintf(text, sizeof text, "Host or domain name not found. Name service error for name=%.255s type=%s: %s", name, type,
		       final ? "Host not found" : "Host not found, try again");
	log_debug("dns: %s %s: %s", name, type, why);
	/* A temporary failure of one exchanger must not be hidden by a final one of another. */
	if (final && j->last_enhanced[0] == '4')
		return;
	failed_so(j, final ? "5.4.4" : "4.4.3", text);
}

static bool is_own(const struct remote *r, const struct address *a)
{
	uint8_t addr[16];

	return addr_parse(str_c(a->text), addr) == 0 && own_has(&r->own, addr);
}

/* Is this target us? By name where MX records led here; by address on SMTP's port alone, for something else may listen on others. */
static bool is_us(const struct job *j, const struct target *t)
{
	if (j->lmtp)
		return false;
	return (j->by_mx && str_case_eq(str_c(t->host), str_c(j->r->conf->myhostname))) || (j->port == SMTP_PORT && is_own(j->r, &t->addr));
}

/* Only exchangers that are better than this machine itself may be tried (RFC 5321 5.1). *self_out: it is one. */
static size_t above_us(const struct job *j, bool *self_out)
{
	*self_out = false;
	for (size_t i = 0; i < j->n_targets; i++) {
		if (!is_us(j, &j->targets[i]))
			continue;
		size_t k = i;
		while (k > 0 && j->targets[k - 1].pref == j->targets[i].pref)
			k--;
		*self_out = true;
		return k;
	}
	return j->n_targets;
}

static void gathered(struct job *j)
{
	const uint64_t max = j->r->conf->smtp_mx_address_limit;
	bool self;
	char text[400];

	j->n_targets = above_us(j, &self);
	if (self && j->n_targets == 0) {
		(void)snprintf(text, sizeof text, "mail for %s loops back to myself", j->domain);
		job_fail(j, RCPT_BOUNCED, "5.4.6", text);
		return;
	}
	if (max > 0 && j->n_targets > max)
		j->n_targets = max;
	if (j->n_targets > 0 && j->fallback == 0)
		(void)snprintf(j->best_mx, sizeof j->best_mx, "%s", j->targets[0].host);
	try_next(j);
}

static void on_addrs(void *ctx, enum names_status st, struct address *v, size_t n, bool secure, const char *why)
{
	struct job *j = ctx;
	const struct mx *mx = &j->mx[j->at_mx++];

	if (st != NAMES_FOUND)
		dns_failed(j, st, mx->host, "A", why);
	for (size_t i = 0; i < n && j->n_targets < REMOTE_TARGETS_MAX; i++) {
		struct target *t = &j->targets[j->n_targets++];
		*t = (struct target){ .addr = v[i], .pref = mx->pref, .secure = secure && (!j->by_mx || j->mx_secure) };
		(void)snprintf(t->host, sizeof t->host, "%s", mx->host);
	}
	gather(j);
}

/* The addresses of all exchangers, one after the other. */
static void gather(struct job *j)
{
	if (j->at_mx < j->n_mx)
		names_addresses(j->r->names, j->mx[j->at_mx].host, j->port, on_addrs, j);
	else
		gathered(j);
}

static void on_mx(void *ctx, enum names_status st, struct mx *v, size_t n, bool secure, const char *why)
{
	struct job *j = ctx;
	char text[400];

	j->mx_secure = secure;
	if (st == NAMES_NO_DATA) {		/* no MX: the name itself (RFC 5321 5.1) */
		j->by_mx = false;
		gather(j);
		return;
	}
	if (st != NAMES_FOUND) {
		dns_failed(j, st, j->domain, "MX", why);
		hop_failed(j);
		return;
	}
	if (n == 1 && v[0].host[0] == '\0') {
		(void)snprintf(text, sizeof text, "Domain %s does not accept mail (nullMX)", j->domain);
		job_fail(j, RCPT_BOUNCED, "5.1.10", text);
		return;
	}
	j->n_mx = 0;
	j->mx = ARENA_ARRAY(j->a, struct mx, REMOTE_MX_MAX);
	for (size_t i = 0; i < n && j->n_mx < REMOTE_MX_MAX; i++)
		if (v[i].host[0] != '\0')	/* beside others a null MX means nothing (RFC 7505 3) */
			j->mx[j->n_mx++] = v[i];
	gather(j);
}

/* "[host]:port", "[host]", "host:port", "host"; of lmtp also "inet:…". 0 with j->by_mx: ask for MX records. */
static int parse_hop(struct job *j)
{
	struct str s = j->hop, host;
	uint64_t port = j->lmtp ? LMTP_PORT : SMTP_PORT;

	j->by_mx = !j->lmtp;
	if (j->lmtp && str_case_starts(s, STR("inet:")))
		s = str_from(s, 5);
	if (s.n > 0 && s.p[0] == '[') {
		const ptrdiff_t end = str_chr(s, ']');
		if (end < 0)
			return -1;
		host = str_sub(s, 1, (size_t)end - 1);
		if (str_case_starts(host, STR("IPv6:")))	/* for the log the bare address, as of an MX record */
			host = str_from(host, 5);
		s = str_from(s, (size_t)end + 1);
		j->by_mx = false;
	} else {
		const ptrdiff_t colon = str_chr(s, ':');
		host = colon < 0 ? s : str_sub(s, 0, (size_t)colon);
		s = colon < 0 ? STR("") : str_from(s, (size_t)colon);
	}
	if (s.n > 0 && (s.p[0] != ':' || num_parse(str_from(s, 1), 1, 65535, &port) < 0))
		return -1;
	if (host.n == 0 || host.n > 255 || !str_printable(host))
		return -1;
	j->port = (uint16_t)port;
	(void)snprintf(j->domain, sizeof j->domain, "%.*s", STR_ARG(host));
	return 0;
}

static void start(struct job *j)
{
	struct address unused;

	if (j->lmtp && str_case_starts(j->hop, STR("unix:"))) {
		j->n_targets = j->at_target = 0;
		if (j->given >= 0)
			smtp_adopt(j);
		else
			hop_failed(j);	/* it has had its try */
		return;
	}
	if (parse_hop(j) < 0) {
		job_fail(j, RCPT_DEFERRED, "4.3.5", "bad next hop");
		return;
	}
	j->at_mx = j->n_targets = j->at_target = 0;
	j->mx = ARENA_NEW(j->a, struct mx);
	j->n_mx = 1;
	(void)snprintf(j->mx[0].host, sizeof j->mx[0].host, "%s", j->domain);
	j->by_mx = j->by_mx && names_numeric(j->domain, j->port, &unused) < 0;
	if (smtp_reuse(j))
		return;
	if (!j->by_mx)
		gather(j);
	else if (!smtp_domain_valid(str_c(j->domain)))
		job_fail(j, RCPT_BOUNCED, "5.1.2", "bad domain name");
	else
		names_mx(j->r->names, j->domain, on_mx, j);
}

void job_restart(struct job *j)
{
	j->fresh = true;
	start(j);
}

/* --- queued's side --- */

static struct str *copy_list(struct arena *a, struct ipc_strs l)
{
	struct str *v = ARENA_ARRAY(a, struct str, l.n + 1);

	for (size_t i = 0; i < l.n; i++)
		v[i] = arena_str(a, l.v[i]);
	return v;
}

static void take_recipients(struct job *j, const struct ipc_remote_SEND *m)
{
	j->n_rcpts = m->recipients.n;
	j->rcpts = ARENA_ARRAY(j->a, struct rcpt, j->n_rcpts + 1);
	for (size_t i = 0; i < j->n_rcpts; i++) {
		j->rcpts[i].addr = arena_str(j->a, m->recipients.v[i]);
		if (m->notify.n == j->n_rcpts)
			j->rcpts[i].notify = arena_str(j->a, m->notify.v[i]);
		if (m->orcpt.n == j->n_rcpts)
			j->rcpts[i].orcpt = arena_str(j->a, m->orcpt.v[i]);
	}
}

static void on_send(struct remote *r, uint32_t id, const struct ipc_remote_SEND *m, int fd)
{
	struct job *j = xzalloc(sizeof *j);
	struct err e = { 0 };

	j->r = r;
	j->a = arena_new(0);
	j->id = id;
	j->fd = fd;
	j->start_us = clock_mono_us();
	j->qid = arena_str(j->a, m->qid);
	j->hop = j->nexthop = arena_str(j->a, m->nexthop);
	j->given = r->given;
	r->given = -1;
	j->lmtp = str_eq(m->transport, STR("lmtp"));
	j->sender = arena_str(j->a, m->sender);
	j->body = arena_str(j->a, m->body);
	j->login = arena_str(j->a, m->login);
	j->policy_text = arena_str(j->a, m->policy);
	j->envid = arena_str(j->a, m->envid);
	j->ret = arena_str(j->a, m->ret);
	j->edits = copy_list(j->a, m->edits);
	j->n_edits = m->edits.n;
	j->size = m->size;
	j->utf8 = m->smtputf8 != 0;
	j->probe = m->probe != 0;
	j->sts = str_eq(m->sts_mode, STR("enforce")) ? STS_ENFORCE : str_eq(m->sts_mode, STR("testing")) ? STS_TESTING : STS_NONE;
	j->sts_mx = copy_list(j->a, m->sts_mx);
	j->n_sts_mx = m->sts_mx.n;
	j->targets = ARENA_ARRAY(j->a, struct target, REMOTE_TARGETS_MAX);
	take_recipients(j, m);
	list_append(&r->jobs, &j->node);
	if (++r->n_jobs > REMOTE_JOBS_MAX)
		job_fail(j, RCPT_DEFERRED, "4.3.2", "too many deliveries at once");
	else if (tls_policy_parse(r->conf, j->policy_text, j->a, &j->tls, &e) < 0)
		job_fail(j, RCPT_DEFERRED, "4.7.5", e.text);
	else
		start(j);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct remote *r = ctx;

	if (type == IPC_remote_SEND) {
		on_send(r, id, msg, fd);
	} else {
		close_fd(&r->given);
		r->given = fd;
	}
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct remote *r = ctx;

	ipc_chan_free(&r->queue);
	loop_stop(r->loop);
}

void remote_serve(struct remote *r, struct loop *l, int queue_fd, int dns_fd)
{
	static const uint16_t may_send[] = { IPC_remote_SEND, IPC_remote_CONNECTION };

	r->loop = l;
	r->names = names_new(r->conf, l, dns_fd);
	r->queue = ipc_chan_new(l, queue_fd, &ipc_remote, on_message, on_closed, r);
	ipc_chan_allow(r->queue, (struct ipc_allow){ may_send, ARRAY_LEN(may_send) });
}
