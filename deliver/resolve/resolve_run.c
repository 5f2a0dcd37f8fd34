/* The process: confined to reading the directories that hold maps, one channel, one question at a time but for those about parts of messages. */
#include "deliver/resolve/resolve.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/map.h"
#include "deliver/restrict/restrict.h"
#include "io/loop.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { PATHS_MAX = 64, EXIT_CONFIG = 78, SLICE_US = 2000 };

/* A message whose parts are to be looked at. */
struct parts_job {
	struct list node;
	uint32_t id;
	int fd;
	struct ipc_resolve_PARTS asked;
	struct arena *arena;
	struct parts_walk *walk;	/* NULL: its turn has not come */
};

struct server {
	struct loop *loop;
	struct resolver *resolver;
	struct ipc_chan *chan;
	struct list parts;
	struct timer *slice;
};

/* --- confinement --- */

struct paths {
	struct confine_path v[PATHS_MAX];
	size_t n;
};

/* The directory of a file: files are replaced by rename. */
static void add_directory(struct paths *p, const char *file)
{
	const ptrdiff_t slash = str_rchr(str_c(file), '/');
	char *dir = xstrndup(file, slash > 0 ? (size_t)slash : 1);
	struct stat st;

	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].path, dir) == 0)
			goto done;
	if (p->n == PATHS_MAX || stat(dir, &st) < 0) {
		log_warning("%s: cannot be read by resolve", dir);
		goto done;
	}
	p->v[p->n++] = (struct confine_path){ .path = dir };
	return;
done:
	free(dir);
}

static void add_tables(void *ctx, const char *parameter, struct conf_list list)
{
	struct paths *p = ctx;

	for (size_t i = 0; i < list.n; i++) {
		const char *file = strstr(list.v[i], ":/");

		if (file)
			add_directory(p, file + 1);
	}
}

/* The tables that the restriction lists name, those of each listener's own lists included. */
static int add_access_tables(struct server *s, const struct conf *all, struct paths *p, struct err *e)
{
	struct arena *a = arena_new(0);
	struct restrict_set *set;
	const struct conf *c;
	const char *spec, *name;
	int r = 0;

	for (size_t v = 0; r == 0 && conf_variant_next(all, &v, &name, &c);) {
		r = restrict_compile(c, a, &set, e);
		for (size_t it = 0; r == 0 && restrict_table_next(set, &it, &spec);) {
			const char *file = strstr(spec, ":/");

			r = resolver_table_add(s->resolver, spec, e);
			if (file)
				add_directory(p, file + 1);
		}
	}
	arena_free(&a);
	return r;
}

static int enter(struct server *s, const struct resolve_env *env, struct err *e)
{
	const struct conf *c = env->conf;
	struct paths p = { .n = 0 };
	char accounts[PATH_MAX];

	(void)snprintf(accounts, sizeof(accounts), "%s/accounts.cdb", c->state_directory);
	add_directory(&p, accounts);
	resolver_lists(c, add_tables, &p);
	if (add_access_tables(s, c, &p, e) < 0)
		return -1;
	if (geteuid() != 0)
		return 0;
	return confine_enter(&(struct confine){ .role = CONFINE_RESOLVE,
						.user = c->user_map,
						.paths = p.v,
						.n_paths = p.n,
						.unconfined = env->unconfined },
			     e);
}

/* --- serving --- */

static void put_too_large(struct ipc_resolve_RESULT *out)
{
	*out = (struct ipc_resolve_RESULT){ .class = STR("error"),
					    .code = 451,
					    .enhanced = STR("4.6.0"),
					    .text = STR("Alias expansion error: too large") };
}

static void answer(struct server *s, const struct ipc_resolve_ADDRESS *m, uint32_t id)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_RESULT r;
	struct err e = { 0 };

	resolver_refresh(s->resolver);
	resolver_answer(s->resolver, a, m->address, m->explain != 0, &r);
	if (ipc_send(s->chan, IPC_resolve_RESULT, &r, id, -1, &e) < 0) {
		log_error("answer for \"%.*s\": %s", STR_ARG(str_sub(m->address, 0, 200)), e.text);
		put_too_large(&r);
		if (ipc_send(s->chan, IPC_resolve_RESULT, &r, id, -1, &e) < 0)
			loop_stop(s->loop);
	}
	arena_free(&a);
}

static void rewrite(struct server *s, const struct ipc_resolve_REWRITE *m, uint32_t id)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_REWRITTEN r;
	struct err e = { 0 };

	resolver_refresh(s->resolver);
	resolver_rewrite(s->resolver, a, m, &r);
	if (ipc_send(s->chan, IPC_resolve_REWRITTEN, &r, id, -1, &e) < 0) {
		log_error("rewritten addresses: %s", e.text);
		r = (struct ipc_resolve_REWRITTEN){ .code = 451 };
		if (ipc_send(s->chan, IPC_resolve_REWRITTEN, &r, id, -1, &e) < 0)
			loop_stop(s->loop);
	}
	arena_free(&a);
}

static void answer_routes(struct server *s, const struct ipc_resolve_ROUTE *m, uint32_t id)
{
	struct arena *a = arena_new(0);
	const size_t n = m->addresses.n;
	struct str *v = ARENA_ARRAY(a, struct str, 4 * n + 1);
	struct ipc_resolve_ROUTES r = { .transports = { v, n }, .nexthops = { v + n, n }, .logins = { v + 2 * n, n }, .policies = { v + 3 * n, n } };
	struct err e = { 0 };

	resolver_refresh(s->resolver);
	for (size_t i = 0; i < n; i++) {
		struct route one;
		resolver_route(s->resolver, a, m->sender, m->addresses.v[i], &one);
		v[i] = one.transport;
		v[n + i] = one.nexthop;
		v[2 * n + i] = one.login;
		v[3 * n + i] = one.policy;
	}
	if (ipc_send(s->chan, IPC_resolve_ROUTES, &r, id, -1, &e) < 0) {
		log_error("routes: %s", e.text);
		loop_stop(s->loop);
	}
	arena_free(&a);
}

static void look_up(struct server *s, const struct ipc_resolve_LOOKUP *m, uint32_t id)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_VALUE v = { .found = 2, .value = STR("unknown kind of lookup") };
	struct err e = { 0 };

	resolver_refresh(s->resolver);
	if (m->how < ACCESS_HOW_MAX_)
		resolver_lookup(s->resolver, a, m->table, m->key, (enum access_how)m->how, &v);
	if (ipc_send(s->chan, IPC_resolve_VALUE, &v, id, -1, &e) < 0) {
		v = (struct ipc_resolve_VALUE){ .found = 2, .value = STR("value too long") };
		if (ipc_send(s->chan, IPC_resolve_VALUE, &v, id, -1, &e) < 0)
			loop_stop(s->loop);
	}
	arena_free(&a);
}

static void check(struct server *s, const struct ipc_resolve_CHECK *m, uint32_t id)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_MATCHES r;
	struct err e = { 0 };

	resolver_refresh(s->resolver);
	resolver_check(s->resolver, a, m, &r);
	if (ipc_send(s->chan, IPC_resolve_MATCHES, &r, id, -1, &e) < 0) {
		log_error("matches: %s", e.text);
		r = (struct ipc_resolve_MATCHES){ .trouble = 1 };
		if (ipc_send(s->chan, IPC_resolve_MATCHES, &r, id, -1, &e) < 0)
			loop_stop(s->loop);
	}
	arena_free(&a);
}

/* --- parts of messages: one after the other, a slice at a time, others are answered in between --- */

static void parts_answer(struct server *s, const struct parts_job *j)
{
	struct ipc_resolve_PART_MATCHES r;
	struct err e = { 0 };

	resolver_parts_answer(j->walk, &r);
	if (ipc_send(s->chan, IPC_resolve_PART_MATCHES, &r, j->id, -1, &e) < 0) {
		log_error("matches in parts: %s", e.text);
		r = (struct ipc_resolve_PART_MATCHES){ .trouble = 1 };
		if (ipc_send(s->chan, IPC_resolve_PART_MATCHES, &r, j->id, -1, &e) < 0)
			loop_stop(s->loop);
	}
}

static void on_slice(void *ctx)
{
	struct server *s = ctx;
	struct parts_job *j = list_of(s->parts.next, struct parts_job, node);

	if (j->walk == NULL) {
		j->arena = arena_new(0);
		j->walk = resolver_parts_begin(s->resolver, j->arena, &j->asked);
	}
	if (!resolver_parts_step(j->walk, j->fd, SLICE_US)) {
		parts_answer(s, j);
		arena_free(&j->arena);
		close_fd(&j->fd);
		list_del(&j->node);
		free(j);
	}
	if (!list_empty(&s->parts))
		timer_again(s->slice, 0);
}

/* Takes fd. */
static void parts(struct server *s, const struct ipc_resolve_PARTS *m, int fd, uint32_t id)
{
	struct parts_job *j = xzalloc(sizeof(*j));

	resolver_refresh(s->resolver);
	*j = (struct parts_job){ .id = id, .fd = fd, .asked = *m };	/* numbers alone */
	if (list_empty(&s->parts)) {
		timer_del(&s->slice);
		s->slice = loop_timer(s->loop, 0, on_slice, s);
	}
	list_append(&s->parts, &j->node);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg,
		       int fd)
{
	struct server *s = ctx;

	if (type == IPC_resolve_PARTS) {
		parts(s, msg, fd, id);
		return;
	}
	if (type == IPC_resolve_ADDRESS)
		answer(s, msg, id);
	else if (type == IPC_resolve_REWRITE)
		rewrite(s, msg, id);
	else if (type == IPC_resolve_ROUTE)
		answer_routes(s, msg, id);
	else if (type == IPC_resolve_LOOKUP)
		look_up(s, msg, id);
	else if (type == IPC_resolve_CHECK)
		check(s, msg, id);
	else
		resolver_refresh(s->resolver);
	close_fd(&fd);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct server *s = ctx;

	if (why->code != ERR_CLOSED)
		log_error("channel: %s", why->text);
	ipc_chan_free(&ch);
	s->chan = NULL;
	loop_stop(s->loop);
}

static void on_term(void *ctx, int signo)
{
	loop_stop(((struct server *)ctx)->loop);
}

static void on_hup(void *ctx, int signo)
{
	resolver_refresh(((struct server *)ctx)->resolver);
}

void resolve_run(struct resolve_env *env)
{
	static const uint16_t types[] = { IPC_resolve_ADDRESS, IPC_resolve_REWRITE, IPC_resolve_ROUTE, IPC_resolve_LOOKUP, IPC_resolve_CHECK, IPC_resolve_PARTS,
					  IPC_resolve_RELOAD };
	struct server s = { 0 };
	struct err e = { 0 };

	proc_title("resolve", "resolve");
	log_program("resolve");
	s.loop = loop_new();
	loop_signal(s.loop, SIGTERM, on_term, &s);
	loop_signal(s.loop, SIGHUP, on_hup, &s);
	if (srs_key_load(env->conf, &(struct srs){ 0 }, &e) < 0 || resolver_new(env->conf, &s.resolver, &e) < 0 || enter(&s, env, &e) < 0) {
		log_error("%s", e.text);
		_exit(EXIT_CONFIG);
	}
	/* What root could open and user_map cannot must show now, not at the first replaced file. */
	resolver_reload(s.resolver);
	list_init(&s.parts);
	s.chan = ipc_chan_new(s.loop, env->fd, &ipc_resolve, on_message, on_closed, &s);
	ipc_chan_waiting_max(s.chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(s.chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(s.loop);
	_exit(0);
}
