/* The process: questions of queued, each with a look at the domain's TXT record; fetches, which several questions may wait for. What is answered (RFC 8461 5.1): a
 * kept policy while it lasts, unless the record names another and that can be had; without any, none. */
#include "deliver/sts/sts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "authres/psl.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "ipc/sts.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"
#include "smtp/addr.h"

enum { EXIT_CONFIG = 78 };

struct server {
	struct loop *loop;
	struct ipc_chan *queue;
	struct dns_client *dns;
	struct tls_ctx *tls;
	struct sts_cache *cache;
	struct psl *suffixes;		/* NULL: an organisation is two labels */
	struct map *fetches;		/* domain -> struct fetch */
};

struct question {
	struct list node;		/* of the fetch it waits for */
	struct server *s;
	uint32_t id;
	char domain[256];
};

struct fetch {
	struct server *s;
	struct list waiting;		/* questions; none: a refresh */
	char domain[256], id[STS_ID_MAX + 1];
};

/* --- answers --- */

static void answer(struct server *s, uint32_t id, const char *domain, const char *trouble)
{
	struct sts_entry *x = sts_cache_get(s->cache, str_c(domain));
	struct ipc_sts_POLICY m = { .mode = STR("none"), .trouble = str_c(trouble ? trouble : "") };
	struct err e = { 0 };

	if (sts_entry_usable(x)) {
		x->used = clock_wall();
		m = (struct ipc_sts_POLICY){
			.mode = str_c(sts_mode_word(x->policy.mode)), .mx = { (struct str *)(uintptr_t)x->policy.mx, x->policy.n_mx }, .max_age = x->policy.max_age_s,
		};
	}
	if (s->queue && ipc_send(s->queue, IPC_sts_POLICY, &m, id, -1, &e) < 0)
		log_error("%s", e.text);
}

static void answer_and_free(struct question *q, const char *trouble)
{
	list_del(&q->node);
	answer(q->s, q->id, q->domain, trouble);
	free(q);
}

/* --- fetches --- */

/* NULL: it is kept now. */
static const char *take_policy(struct fetch *f, struct str text)
{
	struct sts_policy p;
	struct err e = { 0 };

	if (sts_policy_parse(text, &p, &e) < 0) {
		log_warning("policy of %s: %s", f->domain, e.text);
		return "sts-policy-invalid";
	}
	if (sts_cache_put(f->s->cache, str_c(f->domain), str_c(f->id), &p, &e) < 0) {
		log_error("policy of %s: %s", f->domain, e.text);
		return "sts-policy-fetch-error";
	}
	log_info("policy of %s: mode %s, id %s, for %llu s", f->domain, sts_mode_word(p.mode), f->id, (unsigned long long)p.max_age_s);
	return NULL;
}

static void on_fetched(void *ctx, struct str text, const char *result)
{
	struct fetch *f = ctx;

	if (result != NULL)
		log_warning("policy of %s cannot be had: %.*s", f->domain, STR_ARG(text));
	else
		result = take_policy(f, text);
	if (result != NULL)
		sts_cache_back_off(f->s->cache, str_c(f->domain), clock_mono_ms() + STS_BACKOFF_S * 1000);
	while (!list_empty(&f->waiting))
		answer_and_free(list_of(f->waiting.next, struct question, node), result);
	(void)map_del(f->s->fetches, str_c(f->domain));
	free(f);
}

/* NULL: not now. */
static struct fetch *fetch_of(struct server *s, const char *domain, struct str id)
{
	struct fetch *f = map_get(s->fetches, str_c(domain));
	const struct sts_entry *x = sts_cache_get(s->cache, str_c(domain));

	if (f != NULL)
		return f;
	if (map_count(s->fetches) >= STS_FETCHES_MAX || (x != NULL && x->not_before_ms > clock_mono_ms()))
		return NULL;
	f = xzalloc(sizeof(*f));
	f->s = s;
	list_init(&f->waiting);
	(void)snprintf(f->domain, sizeof(f->domain), "%s", domain);
	(void)snprintf(f->id, sizeof(f->id), "%.*s", STR_ARG(id));
	(void)map_set(s->fetches, str_c(f->domain), f);
	(void)sts_fetch(s->loop, s->dns, s->tls, str_c(f->domain), on_fetched, f);
	return f;
}

/* --- questions --- */

/* The one record that is ours; more than one, or a broken one, is none (RFC 8461 3.1). */
static struct str id_of(const struct dns_answer *a)
{
	struct str id = { 0 }, one;
	struct err e = { 0 };
	size_t n = 0;

	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++) {
		const int r = sts_txt_parse(a->v[i], &one, &e);
		n += r <= 0;
		id = r == 0 ? one : id;
	}
	return n == 1 ? id : (struct str){ 0 };
}

static void on_txt(void *ctx, const struct dns_answer *a)
{
	struct question *q = ctx;
	struct server *s = q->s;
	const struct str id = id_of(a);
	const struct sts_entry *x = sts_cache_get(s->cache, str_c(q->domain));
	const bool kept = sts_entry_usable(x), same = kept && str_eq(id, str_c(x->id));

	if (id.n == 0 || same) {
		if (same && clock_wall() - x->fetched > STS_REFRESH_S)
			(void)fetch_of(s, q->domain, id);
		answer_and_free(q, NULL);
		return;
	}
	struct fetch *f = fetch_of(s, q->domain, id);
	if (f != NULL)
		list_append(&f->waiting, &q->node);
	else
		answer_and_free(q, "sts-policy-fetch-error");
}

static void on_query(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_sts_QUERY *m = msg;
	struct server *s = ctx;
	struct question *q = xzalloc(sizeof(*q));
	char name[300];

	q->s = s;
	q->id = id;
	list_init(&q->node);
	for (size_t i = 0; i < m->domain.n && i < sizeof(q->domain) - 1; i++)
		q->domain[i] = ch_lower(m->domain.p[i]);
	if (!smtp_domain_valid(m->domain) || m->domain.n + 9 > 255) {
		answer_and_free(q, NULL);
		return;
	}
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", q->domain);
	(void)dns_ask(s->dns, str_c(name), DNS_TXT, on_txt, q);
}

/* --- start --- */

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

void sts_directory(const struct conf *c, char *out, size_t max)
{
	(void)snprintf(out, max, "%s/mta-sts", c->state_directory);
}

static int set_up(struct server *s, const struct sts_env *env, struct err *e)
{
	char dir[4096];

	sts_directory(env->conf, dir, sizeof(dir));
	const struct confine_path path = { .path = dir, .write = true };
	const struct confine how = {
		.role = CONFINE_STS, .user = env->conf->user_sts, .root = dir, .paths = &path, .n_paths = 1, .unconfined = env->unconfined,
	};
	if (tls_client_new(false, *env->conf->smtp_tls_CAfile ? env->conf->smtp_tls_CAfile : NULL, &s->tls, e) < 0)
		return -1;
	if (psl_load(env->conf->public_suffix_list, &s->suffixes, e) < 0)
		err_clear(e);	/* filterd, whose business it is, tells of it */
	return confine_enter(&how, e);
}

void sts_run(void *ctx)
{
	static const uint16_t types[] = { IPC_sts_QUERY };
	static struct server s;
	const struct sts_env *env = ctx;
	const int keep[] = { 0, 1, 2, log_fd(), env->queue_fd, env->dns_fd };
	struct err e = { 0 };

	proc_title("sts", "sts");
	log_program("sts");
	close_all_but(keep, ARRAY_LEN(keep));
	str_hash_reseed();
	if (set_up(&s, env, &e) < 0) {
		log_error("sts: %s", e.text);
		_exit(EXIT_CONFIG);
	}
	s.loop = loop_new();
	loop_signal(s.loop, SIGTERM, on_term, &s);
	loop_signal(s.loop, SIGHUP, on_hup, &s);
	s.cache = sts_cache_open(STS_ENTRIES_MAX, STS_ORGANISATION_MAX, s.suffixes);
	s.fetches = map_new();
	s.dns = dns_client_new(s.loop, env->dns_fd, NULL, NULL);
	s.queue = ipc_chan_new(s.loop, env->queue_fd, &ipc_sts, on_query, on_closed, &s);
	ipc_chan_waiting_max(s.queue, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(s.queue, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(s.loop);
	_exit(0);
}
