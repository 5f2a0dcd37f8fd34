/* The policy process: questions from queued, answers from services. A service is opened when it is first named. */
#include "deliver/policy.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
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
};

struct asking {
	struct server *s;
	struct service *service;
	uint32_t id;
};

static void tell(struct server *s, uint32_t id, const struct ipc_policy_ACTION *m)
{
	struct err e = { 0 };

	if (s->queue && ipc_send(s->queue, IPC_policy_ACTION, m, id, -1, &e) < 0)
		log_error("policy: %s", e.text);
}

static void on_action(void *ctx, struct str action, const char *trouble)
{
	struct asking *a = ctx;
	const struct ipc_policy_ACTION m = {
		.action = trouble ? (struct str){ 0 } : str_sub(action, 0, 4096), .trouble = trouble ? str_sub(str_c(trouble), 0, 300) : (struct str){ 0 },
		.fallback = trouble ? str_c(service_fallback(a->service)) : (struct str){ 0 },
	};

	tell(a->s, a->id, &m);
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

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct server *s = ctx;
	const struct ipc_policy_ASK *m = msg;
	struct err e = { 0 };
	struct service *v = find(s, m->service, &e);

	if (v == NULL) {
		const struct ipc_policy_ACTION no = { .trouble = str_c(e.text) };
		tell(s, id, &no);
		return;
	}
	struct asking *a = xzalloc(sizeof(*a));
	*a = (struct asking){ s, v, id };
	service_ask(v, m->request, on_action, a);
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
	static const uint16_t types[] = { IPC_policy_ASK };
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
	s.dns = dns_client_new(s.loop, env->dns_fd, NULL, NULL);
	s.queue = ipc_chan_new(s.loop, env->queue_fd, &ipc_policy, on_message, on_closed, &s);
	ipc_chan_waiting_max(s.queue, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(s.queue, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(s.loop);
	_exit(0);
}
