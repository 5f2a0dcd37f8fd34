/* See policy_pool.h. */
#include "deliver/policy/policy_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "os/os.h"

struct idle {
	struct list node;
	struct milter_pool *pool;
	char *key, *macros[MILTER_STAGES];
	struct milter_options options;
	struct watch *watch;
	struct timer *timer;
	int fd;
};

struct milter_pool {
	struct loop *loop;
	struct list idle;	/* the last used one is last */
	size_t n;
	uint64_t idle_ms;
};

struct milter_pool *pool_new(struct loop *l, uint64_t idle_ms)
{
	struct milter_pool *p = xzalloc(sizeof(*p));

	p->loop = l;
	p->idle_ms = idle_ms;
	list_init(&p->idle);
	return p;
}

bool pool_keeps(const struct milter_pool *p)
{
	return p->idle_ms > 0;
}

static void forget(struct idle *x)
{
	list_del(&x->node);
	x->pool->n--;
	watch_del(&x->watch);
	timer_del(&x->timer);
	close_fd(&x->fd);
	for (size_t i = 0; i < MILTER_STAGES; i++)
		free(x->macros[i]);
	free(x->key);
	loop_free_later(x->pool->loop, x);
}

static void on_input(void *ctx, unsigned events)
{
	forget(ctx);
}

static void on_time(void *ctx)
{
	forget(ctx);
}

void pool_put(struct milter_pool *p, const char *key, int fd, const struct milter_options *options)
{
	if (p->n == POLICY_POOL_MAX)
		forget(list_of(p->idle.next, struct idle, node));
	struct idle *x = xzalloc(sizeof(*x));
	*x = (struct idle){ .pool = p, .key = xstrdup(key), .options = *options, .fd = fd };
	for (size_t i = 0; i < MILTER_STAGES; i++)
		if (options->macros[i].p)
			x->macros[i] = xstrndup(options->macros[i].p, options->macros[i].n);
	list_append(&p->idle, &x->node);
	p->n++;
	x->watch = loop_watch(p->loop, fd, LOOP_READ, on_input, x);
	x->timer = loop_timer(p->loop, p->idle_ms, on_time, x);
}

static struct idle *find(struct milter_pool *p, const char *key)
{
	struct idle *found = NULL;

	list_each(it, &p->idle) {
		struct idle *x = list_of(it, struct idle, node);
		if (strcmp(x->key, key) == 0)
			found = x;
	}
	return found;
}

int pool_take(struct milter_pool *p, const char *key, struct arena *a, struct milter_options *options_out)
{
	struct idle *x = find(p, key);

	if (x == NULL)
		return -1;
	const int fd = x->fd;
	*options_out = x->options;
	for (size_t i = 0; i < MILTER_STAGES; i++)
		if (x->macros[i])
			options_out->macros[i] = arena_str(a, str_c(x->macros[i]));
	x->fd = -1;
	forget(x);
	return fd;
}
