/* A delivery agent, and the copy that it writes: what it is given, what it says, and what its end means. One agent serves one copy at a time. One that dies before
 * it answered is replaced once; whatever else goes wrong with it is a temporary failure of its copy. So is silence: an agent is the user's process, who may stop
 * it, and no copy waits for that longer than local_time_limit. Who gets one, and when, is in queued_lines.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued_agent.h"
#include "log/log.h"
#include "os/os.h"

enum { RUNNER_GRACE_S = 30 };	/* for the agent to end a command that runs too long */

/* --- the end of a copy --- */

static void copy_free(struct copy *c)
{
	struct queued *q = c->q;
	struct user *u = c->user;

	timer_del(&c->deadline);
	if (c->state == CP_WAITING) {
		list_del(&c->node);
		u->n_line--;
		q->agents->n_line--;
		if (u->n_line == 0)
			user_waits(q, u, false);
	}
	free(c);
	user_maybe_free(q, u);
}

static void copy_end(struct copy *c, enum copy_event ev, const struct copy_result *r)
{
	copy_fn *fn = c->fn;
	void *ctx = c->ctx;

	copy_free(c);
	fn(ctx, ev, r);
}

void copy_fail(struct copy *c, const char *text)
{
	const struct copy_result r = { .enhanced = STR("4.3.0"), .text = str_c(text) };

	copy_end(c, COPY_FAILED, &r);
}

static void on_deadline(void *ctx);

void copy_deadline(struct copy *c, bool on)
{
	timer_del(&c->deadline);
	if (on)
		c->deadline = loop_timer(c->q->loop, (c->r.runner ? c->q->conf->command_time_limit + RUNNER_GRACE_S : c->q->conf->local_time_limit) * 1000,
					 on_deadline, c);
}

/* --- agents --- */

void agent_set_idle(struct agent *a, bool idle)
{
	if (idle == a->idle)
		return;
	a->idle = idle;
	a->user->n_idle += idle ? 1 : (size_t)-1;
	a->q->agents->n_idle += idle ? 1 : (size_t)-1;
	if (idle)
		a->idle_since_ms = clock_mono_ms();
}

struct str agent_start_key(const uint32_t *id)
{
	return str_n(id, sizeof(*id));
}

/* The agent died with c in hand: a second agent when nothing can have happened yet, else it has failed for now. */
static void copy_settle(struct user *u, struct copy *c, bool untouched, int status)
{
	char text[120];

	c->agent = NULL;
	if (untouched && c->state == CP_SENT && !c->again) {
		c->again = true;
		c->r.attempt = c->r.attempt < 2 ? 2 : c->r.attempt;	/* it may be there already */
		c->state = CP_WAITING;
		list_push(&u->line, &c->node);
		u->n_line++;
		c->q->agents->n_line++;
		return;
	}
	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "delivery agent died of signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "delivery agent ended with status %d", WEXITSTATUS(status));
	log_warning("user %s: %s", u->name, text);
	copy_fail(c, text);
}

/* Channel closed and exit status known. */
void agent_gone(struct agent *a)
{
	struct queued *q = a->q;
	struct user *u = a->user;

	u->pins++;
	agent_set_idle(a, false);
	list_del(&a->node);
	u->n_agents--;
	q->agents->n--;
	(void)map_del(q->agents->starts, agent_start_key(&a->start_id));
	if (a->copy)
		copy_settle(u, a->copy, a->answered || a->leaving, a->status);
	free(a);
	agents_pump(q, u);
	user_unpin(q, u);
	agents_look(q);
}

void agent_close(struct agent *a)
{
	agent_set_idle(a, false);
	a->leaving = true;
	ipc_chan_free(&a->chan);
	if (a->exited)
		agent_gone(a);
}

void agent_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct agent *a = ctx;

	agent_set_idle(a, false);
	a->draining = false;
	ipc_chan_free(&a->chan);
	if (a->exited)
		agent_gone(a);	/* else its exit status follows */
}

static void agent_send(struct agent *a, uint16_t type, const void *m, int fd)
{
	struct err e = { 0 };

	if (a->chan && ipc_send(a->chan, type, m, a->copy ? a->copy->id : a->drain_id, fd, &e) < 0) {
		log_error("agent of %s: %s", a->user->name, e.text);
		ipc_chan_free(&a->chan);	/* it ends; the copy is settled with its status */
	}
}

/* "80 95", as much of it as fits. */
static struct str quota_percentages(const struct conf *conf, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->quota_warnings.n; i++) {
		const size_t len = strlen(conf->quota_warnings.v[i]);
		if (len + 1 > max - n)
			break;
		memcpy(out + n, conf->quota_warnings.v[i], len);
		n += len;
		out[n++] = ' ';
	}
	return str_n(out, n > 0 ? n - 1 : 0);
}

void agent_give(struct agent *a, struct copy *c)
{
	struct ipc_deliver_COPY m = {
		.qid = c->r.qid, .sender = c->r.sender, .recipient = c->r.recipient, .original = c->r.original, .extension = c->r.extension,
		.edits = c->r.edits, .attempt = c->r.attempt, .folder = c->r.folder, .size = c->r.size,
		.commit = c->r.commit, .kind = c->r.kind, .item = c->r.item, .programs = c->r.programs,
		.sync_dirs = strcmp(c->q->conf->sync_directories, "yes") == 0,
		.quota_reject = strcmp(c->q->conf->quota_full_action, "reject") == 0,
		.hostname = str_sub(str_c(c->q->conf->myhostname), 0, 255),
	};
	char percentages[200];

	m.quota_warnings = quota_percentages(c->q->conf, percentages, sizeof(percentages));

	list_del(&c->node);
	a->user->n_line--;
	a->q->agents->n_line--;
	a->copy = c;
	c->agent = a;
	c->state = CP_SENT;
	copy_deadline(c, true);
	c->id = ipc_next_id(a->chan);
	if (c->r.room) {
		const struct ipc_deliver_ROOM room = { .size = c->r.size, .quota_reject = m.quota_reject };
		agent_send(a, IPC_deliver_ROOM, &room, -1);
		return;
	}
	agent_send(a, IPC_deliver_COPY, &m, c->r.fd);
}

static void on_end(struct agent *a, enum copy_event ev, const struct copy_result *r, bool last);

static void on_ready(struct agent *a)
{
	struct copy *c = a->copy;

	if (c && c->r.room) {
		const struct copy_result fits = { .text = STR("") };
		on_end(a, COPY_DONE, &fits, false);
		return;
	}
	if (c == NULL || (c->state != CP_SENT && c->state != CP_FORWARDED))
		return;
	c->state = CP_READY;
	copy_deadline(c, false);
	c->fn(c->ctx, COPY_READY, NULL);
}

static void on_forward(struct agent *a, const struct ipc_deliver_FORWARD *m)
{
	struct copy *c = a->copy;
	const struct copy_result r = { .recipients = m->recipients, .keep = m->keep != 0, .runner = m->runner != 0 };

	if (c == NULL || c->state != CP_SENT || (r.runner && c->r.runner))
		return;
	c->state = r.keep ? CP_FORWARDED : CP_READY;
	copy_deadline(c, r.keep);
	c->fn(c->ctx, COPY_FORWARD, &r);
}

/* Nobody has answered in time. What the agent did nevertheless is recognised by the next attempt. */
static void on_deadline(void *ctx)
{
	struct ipc_deliver_ABORT m = { 0 };
	struct copy *c = ctx;
	struct queued *q = c->q;
	struct user *u = c->user;
	struct agent *a = c->agent;

	u->pins++;
	if (a) {
		log_warning("user %s: a delivery agent does not answer", u->name);
		if (c->state != CP_DECIDED)
			agent_send(a, IPC_deliver_ABORT, &m, -1);
		a->copy = NULL;
		a->draining = true;
		a->drain_id = c->id;
		c->agent = NULL;
	}
	copy_fail(c, a ? "delivery agent does not answer" : "no delivery agent is free");
	agents_pump(q, u);
	user_unpin(q, u);
}

/* DONE and FAILED end a message, whoever waits for it. */
static void on_end(struct agent *a, enum copy_event ev, const struct copy_result *r, bool last)
{
	struct queued *q = a->q;
	struct copy *c = a->copy;
	struct user *u = a->user;

	u->pins++;
	a->copy = NULL;
	a->draining = false;
	if (last)
		agent_close(a);
	else
		agent_set_idle(a, true);
	if (c) {
		c->agent = NULL;
		copy_end(c, ev, r);
	}
	agents_pump(q, u);
	user_unpin(q, u);
}

void agent_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct agent *a = ctx;
	const uint32_t awaited = a->copy ? a->copy->id : a->drain_id;
	struct copy_result r = { 0 };

	close_fd(&fd);
	a->answered = true;
	if (id != awaited || (a->copy == NULL && !a->draining))
		return;
	switch (type) {
	case IPC_deliver_READY:
		on_ready(a);
		break;
	case IPC_deliver_FORWARD:
		on_forward(a, msg);
		break;
	case IPC_deliver_DONE: {
		const struct ipc_deliver_DONE *m = msg;
		r.text = m->text;
		r.enhanced = STR("2.0.0");
		on_end(a, COPY_DONE, &r, m->last != 0);
		break;
	}
	case IPC_deliver_FAILED: {
		const struct ipc_deliver_FAILED *m = msg;
		r.text = m->text;
		r.enhanced = m->enhanced;
		r.permanent = m->permanent != 0;
		on_end(a, COPY_FAILED, &r, m->last != 0);
		break;
	}
	default:
		break;
	}
}

/* --- for callers --- */

void copy_commit(struct copy *c)
{
	struct ipc_deliver_COMMIT m = { 0 };

	c->state = CP_DECIDED;
	copy_deadline(c, true);
	agent_send(c->agent, IPC_deliver_COMMIT, &m, -1);
}

void copy_abort(struct copy **cp)
{
	struct ipc_deliver_ABORT m = { 0 };
	struct copy *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	struct agent *a = c->agent;
	if (a) {
		if (c->state != CP_DECIDED)
			agent_send(a, IPC_deliver_ABORT, &m, -1);
		a->copy = NULL;
		a->draining = true;
		a->drain_id = c->id;
	}
	copy_free(c);
}
