/* Opening folders in slices, and looking through those that another program has changed. Owns: the command until its folder is open. */
#include "opening.h"

struct opening {
	struct str name;
	struct mbox *m;
	bool trycreate;
	opened_fn *then;
	void *ctx;
};

static int piece(struct client *c, struct str name, bool news, struct mbox **m, struct err *e)
{
	int r = *m ? mbox_open_step(*m, e) : mbox_open_begin(c->user->store, name, m, e);

	if (r == 0 && news)
		r = mbox_refresh_step(*m, e);
	if (r < 0)
		mbox_close(m);
	return r;
}

static int pieces(struct client *c, struct str name, bool news, struct mbox **m, struct err *e)
{
	int r;

	/* A folder that is being opened is locked, and a command whose client does not read gets no further steps: what others wait for is not left in its hands. */
	do
		r = piece(c, name, news, m, e);
	while (r > 0 && resp_full(c));
	return r;
}

int opening_step(struct client *c, struct str name, struct mbox **m, struct err *e)
{
	return pieces(c, name, true, m, e);
}

int opening_target_step(struct client *c, struct str name, struct mbox **m, struct err *e)
{
	return pieces(c, name, false, m, e);
}

static void cleanup(struct client *c)
{
	struct opening *o = c->run.data;

	mbox_close(&o->m);
}

/* The command is its handler's again. */
static enum cmd_result opened(struct client *c, struct opening *o, struct err *e)
{
	struct mbox *m = o->m;

	c->run.step = NULL;
	c->run.cleanup = NULL;
	c->run.data = NULL;
	c->run.done = c->run.goal = 0;
	const enum cmd_result r = o->then(c, o->name, o->ctx, e);

	mbox_close(&m);
	return r;
}

static enum cmd_result step(struct client *c, struct err *e)
{
	struct opening *o = c->run.data;
	const int r = opening_step(c, o->name, &o->m, e);

	if (r > 0) {
		mbox_open_progress(o->m, &c->run.done, &c->run.goal);
		return CMD_MORE;
	}
	return r == 0 ? opened(c, o, e) : store_no(c, e, o->trycreate);
}

enum cmd_result opening(struct client *c, struct str name, bool trycreate, opened_fn *then, void *ctx, struct err *e)
{
	struct opening *o = ARENA_NEW(c->arena, struct opening);

	*o = (struct opening){ .name = name, .trycreate = trycreate, .then = then, .ctx = ctx };
	c->run.step = step;
	c->run.cleanup = cleanup;
	c->run.data = o;
	return step(c, e);
}
