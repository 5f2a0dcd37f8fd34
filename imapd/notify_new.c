/* NOTIFY: what the client wants to know of each new message of the selected mailbox (RFC 5465 section 5.2), in FETCH responses that it need not ask for. There may
 * be thousands at once, and whole bodies may be wanted: they go in slices like the answer of a command, and until they are told no command is read. */
#include "fetch.h"
#include "notify_priv.h"

void notify_new(struct client *c, uint32_t from, uint32_t to)
{
	struct notify *y = c->notify;

	if (!y || !y->selected || !y->selected->has_fetch || from > to)
		return;
	if (!y->new_from)
		y->new_from = mbox_view_uid(c->view, from);
	y->new_to = mbox_view_uid(c->view, to);
}

void notify_unselected(struct client *c)
{
	if (c->notify)
		c->notify->new_from = 0;
}

/* By UIDs: numbers have moved where the command in which they were announced went on. */
static bool new_range(const struct client *c, uint32_t *from, uint32_t *to)
{
	struct notify *y = c->notify;

	if (!y || !y->new_from)
		return false;
	*from = mbox_view_seq_from(c->view, y->new_from);
	*to = mbox_view_seq_from(c->view, y->new_to + 1) - 1;
	y->new_from = 0;
	return *from <= *to;
}

void notify_fetch(struct client *c)
{
	uint32_t from, to;

	if (c->over || notify_busy(c) || c->append || c->relay)
		return;
	if (new_range(c, &from, &to))
		fetch_aside(c, &c->notify->selected->fetch, from, to);
}

void notify_new_now(struct client *c)
{
	uint32_t from, to;

	if (!new_range(c, &from, &to))
		return;
	for (; from <= to; from++)
		fetch_now(c, &c->notify->selected->fetch, from);
}
