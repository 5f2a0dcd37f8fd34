/* APPENDs that a client sends without waiting for the answer to the one before (LITERAL+, as mbsync does): what is complete waits as long as more input is at hand,
 * and then all of it becomes visible and durable together, with one sync. Nothing is answered before. A client that waits for an answer never waits for
 * this: its input is dry then.
 *
 * The mailbox is the same for all; they succeed or fail together. What could fail for one of them alone (keywords, room) is not held. */
#include <stdlib.h>

#include "held.h"
#include "log/log.h"

struct held {
	struct mbox *mbox;
	struct mbox_append *to;
	uint64_t bytes;
	size_t messages, n;
	struct held_one {
		char *tag;
		size_t messages;
	} v[HELD_MAX];
};

static void held_free(struct held **hp)
{
	struct held *h = *hp;

	*hp = NULL;
	mbox_append_abort(&h->to);
	mbox_close(&h->mbox);
	for (size_t i = 0; i < h->n; i++)
		free(h->v[i].tag);
	free(h);
}

static bool room_for(struct client *c, const struct append *a)
{
	const struct held *h = c->held;
	struct err e = { 0 };

	return h->mbox == a->mbox && h->n < HELD_MAX && h->bytes + a->all <= HELD_BYTES_MAX &&
	       store_quota_check(c->user->store, h->bytes + a->all, h->messages + a->n, &e) == 0;
}

bool held_take(struct client *c, struct append *a)
{
	struct err e = { 0 };

	if (a->replace || a->keywords || c->guest || a->all > HELD_BYTES_MAX)
		return false;
	if (c->held && !room_for(c, a))
		held_commit(c);
	/* Also the last one of a row, so that the answers keep the commands' order. */
	if (!c->held && client_input(c).n == 0)
		return false;
	if (!c->held) {
		c->held = xzalloc(sizeof(*c->held));
		c->held->mbox = a->mbox;
		c->held->to = a->to;
		a->mbox = NULL;
		a->to = NULL;
	} else if (mbox_append_join(c->held->to, &a->to, &e) < 0) {
		return false;
	}
	struct held *h = c->held;

	h->bytes += a->all;
	h->messages += a->n;
	h->v[h->n++] = (struct held_one){ xstrndup(c->run.tag.p, c->run.tag.n), a->n };
	return true;
}

/* Each as if it were the command in progress. */
static void answer_all(struct client *c, const struct held *h, const uint32_t *uids, uint32_t validity, enum cmd_result failed, struct err *e)
{
	const struct run failure = c->run;

	for (size_t i = 0; i < h->n; i++) {
		enum cmd_result r = failed;

		c->run = failure;
		c->run.tag = str_c(h->v[i].tag);
		if (failed == CMD_OK) {
			r = command_answer(c, "OK", append_uid_code(c, uids, h->v[i].messages, validity), "Append completed.");
			uids += h->v[i].messages;
		}
		command_reply(c, r, e);
	}
}

static void commit(struct client *c, struct held *h)
{
	uint32_t *const uids = xzalloc((h->messages + 1) * sizeof(*uids));
	enum cmd_result failed = CMD_OK;
	struct err e = { 0 };
	size_t n;

	c->run.cmd = command_find(STR("APPEND"));	/* nothing is begun aside of it: its run goes */
	if (mbox_append_commit(&h->to, uids, &n, &e) < 0)
		failed = store_no(c, &e, false);
	else
		folder_changed(c->user, h->mbox);
	answer_all(c, h, uids, mbox_uidvalidity(h->mbox), failed, &e);
	free(uids);
}

void held_commit(struct client *c)
{
	struct held *h = c->held;
	const struct run run = c->run;

	if (!h)
		return;
	c->held = NULL;
	c->run = (struct run){ 0 };
	commit(c, h);
	c->run = run;
	resp_flush(c);
	held_free(&h);
}

void held_end(struct client *c)
{
	struct held *h = c->held;
	struct err e = { 0 };
	size_t n;

	if (!h)
		return;
	c->held = NULL;
	uint32_t *const uids = xzalloc((h->messages + 1) * sizeof(*uids));

	if (mbox_append_commit(&h->to, uids, &n, &e) < 0)
		log_warning("imap(%s): messages of a connection that ended are not stored: %s", c->user->name, e.text);
	free(uids);
	held_free(&h);
}
