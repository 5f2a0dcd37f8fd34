/* The policy process: questions from queued, answers from services and milters. A service is opened when it is first named; milters are connected for each transaction,
 * or are there from the one before. */
#include "deliver/policy/policy.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "deliver/policy/policy_milter.h"
#include "ipc/policy.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

struct server {
	struct loop *loop;
	const struct conf *conf;
	struct ipc_chan *queue;
	struct dns_client *dns;
	struct map *services;		/* as named -> struct service */
	struct milter_pool *pool;
	struct map *talks;		/* 8 bytes of talk -> struct talk */
};

struct asking {
	struct server *s;
	struct service *service;
	uint32_t id;
};

static int tell(struct server *s, uint16_t type, uint32_t id, const void *m)
{
	struct err e = { 0 };

	if (s->queue == NULL || ipc_send(s->queue, type, m, id, -1, &e) == 0)
		return 0;
	log_error("policy: %s", e.text);
	return -1;
}

static void on_action(void *ctx, struct str action, const char *trouble)
{
	struct asking *a = ctx;
	const struct ipc_policy_ACTION m = {
		.action = trouble ? (struct str){ 0 } : str_sub(action, 0, 4096), .trouble = trouble ? str_sub(str_c(trouble), 0, 300) : (struct str){ 0 },
		.fallback = trouble ? str_c(service_fallback(a->service)) : (struct str){ 0 },
	};

	(void)tell(a->s, IPC_policy_ACTION, a->id, &m);
	free(a);
}

static struct service *find(struct server *s, struct str text, struct err *e)
{
	struct service *v = map_get(s->services, text);

	if (v)
		return v;
	if (map_count(s->services) >= POLICY_SERVICES_MAX) {
		(void)err_set(e, ERR_LIMIT, 0, "more than %d policy services", POLICY_SERVICES_MAX);
		return NULL;
	}
	if (service_open(s->loop, s->dns, s->conf, text, &v, e) < 0)
		return NULL;
	(void)map_set(s->services, text, v);
	return v;
}

static void on_ask(struct server *s, uint32_t id, const struct ipc_policy_ASK *m)
{
	struct err e = { 0 };
	struct service *v = find(s, m->service, &e);

	if (v == NULL) {
		const struct ipc_policy_ACTION no = { .trouble = str_c(e.text) };
		(void)tell(s, IPC_policy_ACTION, id, &no);
		return;
	}
	struct asking *a = xzalloc(sizeof(*a));
	*a = (struct asking){ s, v, id };
	service_ask(v, m->request, on_action, a);
}

/* --- milters --- */

static void tell_trouble(struct server *s, uint32_t id, const char *why)
{
	const struct ipc_policy_VERDICT m = { .action = STR("refuse"), .code = 451, .enhanced = STR("4.7.1"), .text = STR("Service unavailable - try again later") };

	log_warning("milters: %s", why);
	(void)tell(s, IPC_policy_VERDICT, id, &m);
}

static int tell_body(struct server *s, const struct talk *t)
{
	const struct ipc_policy_BODY m = { .size = t->size };
	struct err e = { 0 };

	if (s->queue == NULL || ipc_send(s->queue, IPC_policy_BODY, &m, t->request, t->fd, &e) == 0)
		return 0;
	log_error("policy: %s", e.text);
	return -1;
}

static void on_talked(void *ctx, struct talk *t)
{
	static const char *const actions[] = { [TALK_ACCEPT] = "accept", [TALK_REFUSE] = "refuse", [TALK_DISCARD] = "discard" };
	const struct talk_verdict *v = &t->verdict;
	struct ipc_policy_VERDICT m = {
		.action = str_c(actions[v->action]), .code = (uint64_t)v->code, .enhanced = str_c(v->enhanced), .text = v->text, .quarantine = t->quarantine, .sender = t->sender,
		.recipients = { t->changes, t->n_changes }, .edited = t->edited,
	};
	struct err e = { 0 };

	if (t->edited && v->action == TALK_ACCEPT && talk_edits(t, &m.edits, &e) < 0) {
		tell_trouble(ctx, t->request, e.text);
		return;
	}
	if (t->replaced && v->action == TALK_ACCEPT && tell_body(ctx, t) < 0) {
		tell_trouble(ctx, t->request, "a new body that cannot be passed on");
		return;
	}
	if (tell(ctx, IPC_policy_VERDICT, t->request, &m) < 0)
		tell_trouble(ctx, t->request, "changes that are too large");
}

static void on_begin(struct server *s, uint32_t id, const struct ipc_policy_BEGIN *m)
{
	const struct str key = str_n(&m->talk, sizeof(m->talk));
	struct err e = { 0 };
	struct talk *t;

	if (map_get(s->talks, key) != NULL || map_count(s->talks) >= POLICY_TALKS_MAX) {
		tell_trouble(s, id, "too many transactions");
	} else if (talk_new(s->loop, s->dns, s->pool, m, on_talked, s, &t, &e) < 0) {
		tell_trouble(s, id, e.text);
	} else {
		(void)map_set(s->talks, key, t);
		t->request = id;
		talk_begin(t);
	}
}

/* Of a transaction that is not being judged just now. */
static struct talk *talk_of(struct server *s, uint64_t talk, uint32_t id)
{
	struct talk *t = map_get(s->talks, str_n(&talk, sizeof(talk)));

	if (t == NULL || t->busy) {
		tell_trouble(s, id, "no such transaction");
		return NULL;
	}
	t->request = id;
	return t;
}

static void on_rcpt(struct server *s, uint32_t id, const struct ipc_policy_RCPT *m)
{
	struct talk *t = talk_of(s, m->talk, id);

	if (t)
		talk_rcpt(t, m);
}

static void on_content(struct server *s, uint32_t id, const struct ipc_policy_MESSAGE *m, int fd)
{
	struct talk *t = talk_of(s, m->talk, id);
	struct err e = { 0 };

	if (t == NULL)
		close_fd(&fd);
	else if (talk_message(t, m, fd, &e) < 0)
		tell_trouble(s, id, e.text);
}

static void on_end(struct server *s, const struct ipc_policy_END *m)
{
	struct talk *t = map_del(s->talks, str_n(&m->talk, sizeof(m->talk)));

	talk_free(&t);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	switch (type) {
	case IPC_policy_ASK: on_ask(ctx, id, msg); break;
	case IPC_policy_BEGIN: on_begin(ctx, id, msg); break;
	case IPC_policy_RCPT: on_rcpt(ctx, id, msg); break;
	case IPC_policy_MESSAGE: on_content(ctx, id, msg, fd); break;
	case IPC_policy_END: on_end(ctx, msg); break;
	}
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct server *s = ctx;

	ipc_chan_free(&s->queue);
	loop_stop(s->loop);
}

static void on_term(void *ctx, int signo)
{
	loop_stop(((struct server *)ctx)->loop);
}

static void on_hup(void *ctx, int signo)
{
}

void policy_run(void *ctx)
{
	static const uint16_t types[] = { IPC_policy_ASK, IPC_policy_BEGIN, IPC_policy_RCPT, IPC_policy_MESSAGE, IPC_policy_END };
	static struct server s;
	const struct policy_env *env = ctx;
	const int keep[] = { 0, 1, 2, log_fd(), env->queue_fd, env->dns_fd };
	const struct confine how = { .role = CONFINE_POLICY, .user = env->conf->user_policy, .unconfined = env->unconfined };
	struct err e = { 0 };

	proc_title("policy", "policy");
	log_program("smtpd");
	close_all_but(keep, ARRAY_LEN(keep));
	str_hash_reseed();
	if (confine_enter(&how, &e) < 0) {
		log_error("policy: %s", e.text);
		_exit(78);
	}
	s.conf = env->conf;
	s.loop = loop_new();
	loop_signal(s.loop, SIGTERM, on_term, &s);
	loop_signal(s.loop, SIGHUP, on_hup, &s);
	s.services = map_new();
	s.talks = map_new();
	s.pool = pool_new(s.loop, s.conf->milter_max_idle * 1000);
	s.dns = dns_client_new(s.loop, env->dns_fd, NULL, NULL);
	s.queue = ipc_chan_new(s.loop, env->queue_fd, &ipc_policy, on_message, on_closed, &s);
	ipc_chan_waiting_max(s.queue, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(s.queue, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(s.loop);
	_exit(0);
}
