/* Recipients with mailboxes: through agents, as their users. What a .forward names becomes a new message, durable before this one is done with. */
#include <stdio.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"

static void commit_forwarded(struct arcpt *x)
{
	if (x->posted && x->ready)
		copy_commit(x->copy);
}

static void on_forward_posted(void *ctx, struct str qid, bool permanent)
{
	struct arcpt *x = ctx;
	struct active *a = x->a;

	x->forwarding = false;
	if (qid.n > 0) {
		x->posted = true;
		snprintf(x->forwarded_as, sizeof(x->forwarded_as), "%.*s", STR_ARG(qid));
		if (x->copy) {
			commit_forwarded(x);
			return;
		}
		/* the agent died meanwhile: the forwarded copy is on its way, so this recipient is done but for the local copy */
	} else {
		copy_abort(&x->copy);
	}
	active_result(x, SPOOL_PENDING, permanent ? STR("4.1.1") : STR("4.3.0"),
	       permanent ? STR(".forward names only unknown addresses") : STR("mail forwarding is not possible now"), STR("local"));
	active_one_done(a);
}

static int read_content(const struct active *a, struct buf *out, struct err *e)
{
	buf_init(out, (size_t)a->msg->size + 1);
	char *p = buf_room(out, (size_t)a->msg->size);
	if (p == NULL && a->msg->size > 0)
		return err_set(e, ERR_LIMIT, 0, "message too big to be forwarded");
	if (a->msg->size > 0 && pread_all(a->fd, p, (size_t)a->msg->size, 0, e) < 0)
		return -1;
	buf_added(out, (size_t)a->msg->size);
	return 0;
}

static bool is_mailbox(const struct spool_rcpt *r)
{
	return str_eq(r->kind, STR("mailbox"));
}

/* What a forwarded copy's reports call the recipient: as the sender did (RFC 3461 5.2.7.1). Those to a list's owner name the member instead. */
static struct str original_recipient(const struct active *a, const struct spool_rcpt *r)
{
	if (r->sender.n > 0)
		return STR("");
	if (r->orcpt.n > 0 || r->original.n == 0)
		return r->orcpt;
	return str_c(arena_printf(a->arena, "%s;%.*s", ascii_plain(r->original) == r->original.n ? "rfc822" : "utf-8", STR_ARG(r->original)));
}

/* The user's .forward: a new message to those addresses, marked with our Delivered-To so that a loop is noticed. */
static void forward(struct arcpt *x, const struct copy_result *r)
{
	struct active *a = x->a;
	const struct spool_msg *m = a->msg;
	const struct spool_rcpt *from = &m->rcpts[x->at];
	struct post_request p = {
		.sender = active_sender_of(m, from), .message_id = m->message_id, .flags = m->flags | SPOOL_F_FORWARDED, .body = m->body, .to = r->recipients.v,
		.n_to = r->recipients.n, .envid = m->envid, .ret = m->ret, .notify = smtp_notify_without_success(from->notify), .orcpt = original_recipient(a, from),
	};
	struct str *edits = ARENA_ARRAY(a->arena, struct str, m->n_edits + 1);
	struct err e = { 0 };

	for (size_t i = 0; i < m->n_edits; i++)
		edits[i] = m->edits[i];
	edits[m->n_edits] = str_c(arena_printf(a->arena, "+Delivered-To: %.*s",
					       STR_ARG(is_mailbox(from) ? from->address : from->original)));
	p.edits = edits;
	p.n_edits = m->n_edits + 1;
	x->forwarding = true;
	x->ready = !r->keep;
	if (read_content(a, &p.content, &e) < 0) {
		log_error("%.*s: %s", STR_ARG(m->qid), e.text);
		buf_fini(&p.content);
		on_forward_posted(x, STR(""), false);
		return;
	}
	post(a->q, &p, on_forward_posted, x);
}

static void ask_agent(struct arcpt *x, bool runner);

static void on_copy(void *ctx, enum copy_event ev, const struct copy_result *r)
{
	struct arcpt *x = ctx;
	struct active *a = x->a;
	char text[64];

	switch (ev) {
	case COPY_READY:
		if (x->forwarding || x->posted) {
			x->ready = true;
			commit_forwarded(x);
		} else {
			copy_commit(x->copy);
		}
		return;
	case COPY_FORWARD:
		if (r->runner) {
			copy_abort(&x->copy);
			ask_agent(x, true);
		} else {
			forward(x, r);
		}
		return;
	case COPY_DONE:
		x->copy = NULL;
		x->success = x->posted ? "expanded" : "delivered";
		snprintf(text, sizeof(text), "forwarded as %s", x->forwarded_as);
		active_result(x, SPOOL_SENT, STR("2.0.0"), x->posted ? str_c(text) : r->text, STR("local"));
		break;
	case COPY_FAILED:
		x->copy = NULL;
		if (x->forwarding)
			return;		/* on_forward_posted goes on */
		active_result(x, r->permanent ? SPOOL_BOUNCED : SPOOL_PENDING, r->enhanced, r->text, STR("local"));
		break;
	}
	active_one_done(a);
}

/* To an agent: a mailbox, or a command, file or include list of an alias. runner: one that can execute commands. */
static void ask_agent(struct arcpt *x, bool runner)
{
	struct active *a = x->a;
	const struct spool_rcpt *r = &a->msg->rcpts[x->at];
	const bool mailbox = is_mailbox(r);
	const struct copy_request c = {
		.user = r->user, .qid = a->msg->qid, .sender = active_sender_of(a->msg, r), .recipient = mailbox ? r->address : r->original,
		.original = r->original, .extension = r->extension,
		.kind = mailbox ? STR("") : r->kind, .item = mailbox ? STR("") : r->address, .programs = true, .runner = runner,
		.folder = r->folder, .edits = { a->msg->edits, a->msg->n_edits }, .size = a->msg->size,
		.attempt = r->tries + 1 + (a->m->recovered ? 1 : 0), .fd = a->fd,
	};

	x->copy = copy_start(a->q, &c, on_copy, x);
}

void local_start(struct arcpt *x)
{
	x->a->outstanding++;
	x->program = "local";
	x->start_us = clock_mono_us();
	ask_agent(x, str_eq(x->a->msg->rcpts[x->at].kind, STR("command")));
}
