/* remote's jobs: from a SEND of queued to its RESULT. Owns next hops and the order of attempts (RFC 5321 5.1); leaves the conversation to
 * remote_smtp.c and names to remote_dns.c. A job always ends: DNS, connections and each step of SMTP have time limits, and the number of
 * connections of one attempt is bounded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote_priv.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"
#include "smtp/addr.h"

static void try_next(struct job *j);

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
	arena_free(&j->a);
	loop_free_later(j->r->loop, j);
}

void job_done(struct job *j)
{
	static const char *const words[] = { [RCPT_OPEN] = "deferred", [RCPT_SENT] = "sent", [RCPT_DEFERRED] = "deferred", [RCPT_BOUNCED] = "bounced" };
	struct ipc_remote_RESULT m = { .relay = str_c(j->relay[0] ? j->relay : "none") };
	struct err e = { 0 };

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
	if (ipc_send(j->r->queue, IPC_remote_RESULT, &m, j->id, -1, &e) < 0)
		log_error("%.*s: RESULT: %s", STR_ARG(j->qid), e.text);
	job_free(j);
}

static void job_fail(struct job *j, enum rcpt_status st, const char *enhanced, const char *text)
{
	job_close_open(j, st, enhanced, text);
	job_done(j);
}

void job_next(struct job *j, const char *enhanced, const char *text)
{
	(void)snprintf(j->last_enhanced, sizeof j->last_enhanced, "%s", enhanced);
	(void)snprintf(j->last_text, sizeof j->last_text, "%s", text);
	try_next(j);
}

/* --- where to --- */

static void dns_failed(struct job *j, enum dns_status st, const char *name, const char *type, const char *why)
{
	char text[500];
	const bool final = st == DNS_NO_NAME || st == DNS_NO_DATA;

	(void)snprintf(text, sizeof text, "Host or domain name not found. Name service error for name=%.255s type=%s: %s", name, type,
		       final ? "Host not found" : "Host not found, try again");
	log_debug("dns: %s %s: %s", name, type, why);
	(void)snprintf(j->last_enhanced, sizeof j->last_enhanced, "%s", final ? "5.4.4" : "4.4.3");
	(void)snprintf(j->last_text, sizeof j->last_text, "%s", text);
}

static void on_addrs(void *ctx, enum dns_status st, struct dns_addr *v, size_t n, const char *why)
{
	struct job *j = ctx;

	j->n_addrs = n < REMOTE_ADDRS_MAX ? n : REMOTE_ADDRS_MAX;
	j->next_addr = 0;
	if (st == DNS_FOUND)
		memcpy(j->addrs, v, j->n_addrs * sizeof v[0]);
	else
		dns_failed(j, st, j->host, "A", why);
	try_next(j);
}

static void next_host(struct job *j)
{
	(void)snprintf(j->host, sizeof j->host, "%s", j->mx[j->next_mx++].host);
	j->n_addrs = j->next_addr = 0;
	dns_addrs(j->r->dns, j->host, j->port, on_addrs, j);
}

/* The next address of this host, else the next host, else the end. */
static void try_next(struct job *j)
{
	if (j->next_addr < j->n_addrs && j->tries < REMOTE_TRIES_MAX) {
		j->tries++;
		j->no_tls = false;
		smtp_open(j, &j->addrs[j->next_addr++]);
	} else if (j->next_mx < j->n_mx && j->tries < REMOTE_TRIES_MAX) {
		next_host(j);
	} else {
		const bool final = j->last_enhanced[0] == '5';
		job_fail(j, final ? RCPT_BOUNCED : RCPT_DEFERRED, j->last_enhanced[0] ? j->last_enhanced : "4.4.1",
			 j->last_text[0] ? j->last_text : "no address to connect to");
	}
}

/* This machine is a mail exchanger of the domain: only better ones may be tried (RFC 5321 5.1). */
static size_t above_us(const struct job *j, const struct dns_mx *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!str_case_eq(str_c(v[i].host), str_c(j->r->conf->myhostname)))
			continue;
		size_t k = i;
		while (k > 0 && v[k - 1].pref == v[i].pref)
			k--;
		return k;
	}
	return n;
}

static void on_mx(void *ctx, enum dns_status st, struct dns_mx *v, size_t n, const char *why)
{
	struct job *j = ctx;
	char text[400];

	if (st == DNS_NO_DATA) {		/* no MX: the name itself (RFC 5321 5.1) */
		next_host(j);
		return;
	}
	if (st != DNS_FOUND) {
		dns_failed(j, st, j->mx[0].host, "MX", why);
		j->n_mx = 0;
		try_next(j);
		return;
	}
	if (n == 1 && v[0].host[0] == '\0') {
		(void)snprintf(text, sizeof text, "Domain %s does not accept mail (nullMX)", j->mx[0].host);
		job_fail(j, RCPT_BOUNCED, "5.1.10", text);
		return;
	}
	const size_t ours = above_us(j, v, n);
	if (ours == 0) {
		(void)snprintf(text, sizeof text, "mail for %s loops back to myself", j->mx[0].host);
		job_fail(j, RCPT_BOUNCED, "5.4.6", text);
		return;
	}
	j->n_mx = ours < REMOTE_MX_MAX ? ours : REMOTE_MX_MAX;
	j->mx = ARENA_ARRAY(j->a, struct dns_mx, j->n_mx);
	memcpy(j->mx, v, j->n_mx * sizeof v[0]);
	next_host(j);
}

/* "[host]:port", "[host]", "host:port", "host". 0 with *mx: ask for MX records. */
static int parse_nexthop(struct job *j, bool *mx)
{
	struct str s = j->nexthop, host;
	uint64_t port = 25;

	*mx = true;
	if (s.n > 0 && s.p[0] == '[') {
		const ptrdiff_t end = str_chr(s, ']');
		if (end < 0)
			return -1;
		host = str_sub(s, 1, (size_t)end - 1);
		s = str_from(s, (size_t)end + 1);
		*mx = false;
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
	j->next_mx = j->next_addr = j->n_addrs = 0;
	j->mx = ARENA_NEW(j->a, struct dns_mx);
	j->n_mx = 1;
	(void)snprintf(j->mx[0].host, sizeof j->mx[0].host, "%.*s", STR_ARG(host));
	return 0;
}

static void start(struct job *j)
{
	struct dns_addr unused;
	bool mx;

	if (parse_nexthop(j, &mx) < 0) {
		job_fail(j, RCPT_BOUNCED, "5.3.5", "bad next hop");
		return;
	}
	if (smtp_reuse(j))
		return;
	if (!mx || dns_numeric(j->mx[0].host, j->port, &unused) == 0)
		next_host(j);
	else if (!smtp_domain_valid(str_c(j->mx[0].host)))
		job_fail(j, RCPT_BOUNCED, "5.1.2", "bad domain name");
	else
		dns_mx(j->r->dns, j->mx[0].host, on_mx, j);
}

void job_restart(struct job *j)
{
	j->fresh = true;
	start(j);
}

/* --- queued's side --- */

static struct str *copy_list(struct arena *a, struct ipc_strs l)
{
	struct str *v = ARENA_ARRAY(a, struct str, l.n);

	for (size_t i = 0; i < l.n; i++)
		v[i] = arena_str(a, l.v[i]);
	return v;
}

static void on_send(struct remote *r, uint32_t id, const struct ipc_remote_SEND *m, int fd)
{
	struct job *j = xzalloc(sizeof *j);

	j->r = r;
	j->a = arena_new(0);
	j->id = id;
	j->fd = fd;
	j->qid = arena_str(j->a, m->qid);
	j->nexthop = arena_str(j->a, m->nexthop);
	j->sender = arena_str(j->a, m->sender);
	j->body = arena_str(j->a, m->body);
	j->edits = copy_list(j->a, m->edits);
	j->n_edits = m->edits.n;
	j->size = m->size;
	j->utf8 = m->smtputf8 != 0;
	j->n_rcpts = m->recipients.n;
	j->rcpts = ARENA_ARRAY(j->a, struct rcpt, j->n_rcpts);
	for (size_t i = 0; i < j->n_rcpts; i++)
		j->rcpts[i].addr = arena_str(j->a, m->recipients.v[i]);
	list_append(&r->jobs, &j->node);
	if (++r->n_jobs > REMOTE_JOBS_MAX)
		job_fail(j, RCPT_DEFERRED, "4.3.2", "too many deliveries at once");
	else
		start(j);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	on_send(ctx, id, msg, fd);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct remote *r = ctx;

	ipc_chan_free(&r->queue);
	loop_stop(r->loop);
}

static void on_term(void *ctx, int signo)
{
	loop_stop(((struct remote *)ctx)->loop);
}

/* The supervisor tells everybody; the new configuration comes with the next start. */
static void on_hup(void *ctx, int signo)
{
}

static int set_up(struct remote *r, const struct remote_env *env, struct err *e)
{
	char root[4096];

	if (remote_init(r, env->conf, e) < 0)
		return -1;
	(void)snprintf(root, sizeof root, "%s/empty", env->conf->run_directory);
	const struct confine c = {
		.role = CONFINE_REMOTE,
		.user = env->conf->user_remote,
		.root = root,
		.unconfined = env->unconfined,
	};
	return confine_enter(&c, e);
}

int remote_init(struct remote *r, const struct conf *conf, struct err *e)
{
	r->conf = conf;
	list_init(&r->jobs);
	list_init(&r->idle);
	r->dns = dns_new(conf, e);
	if (r->dns == NULL)
		return -1;
	if (str_eq(str_c(conf->smtp_tls_security_level), STR("none")))
		return 0;
	return tls_client_new(false, NULL, &r->tls, e);
}

void remote_serve(struct remote *r, struct loop *l, int queue_fd)
{
	static const uint16_t may_send[] = { IPC_remote_SEND };

	r->loop = l;
	dns_attach(r->dns, l);
	r->queue = ipc_chan_new(l, queue_fd, &ipc_remote, on_message, on_closed, r);
	ipc_chan_allow(r->queue, (struct ipc_allow){ may_send, ARRAY_LEN(may_send) });
}

void remote_run(void *ctx)
{
	const struct remote_env *env = ctx;
	struct remote r = { 0 };
	struct err e = { 0 };

	log_program("smtp");
	proc_title("remote", "remote");
	if (set_up(&r, env, &e) < 0) {
		log_error("remote: %s", e.text);
		_exit(1);
	}
	struct loop *l = loop_new();
	loop_signal(l, SIGTERM, on_term, &r);
	loop_signal(l, SIGHUP, on_hup, &r);
	remote_serve(&r, l, env->queue_fd);
	loop_run(l);
	_exit(0);
}
