/* MAIL, RCPT, DATA: what is decided about an envelope. Facts about the client come from the acceptor and authd (conn_entry), about recipients from resolve;
 * the front only reports what the client said. Answers in the words that other servers use (log parsers and fail2ban know them).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "mail/edit.h"
#include "os/os.h"
#include "smtp/dsn.h"

enum { HEAD_FIRST = 16384, FINALS_FEW = 32, TRANS_BYTES_MAX = 256 << 20 };

/* --- life --- */

void trans_free(struct trans *t)
{
	struct arena *a = t->arena;

	t->q->n_trans--;
	ask_forget(&t->ask);
	judge_free(&t->judge);
	milter_end(t);
	timer_del(&t->deadline);
	for (size_t i = 0; i < t->n_finals; i++)
		copy_abort(&t->finals[i].copy);
	copy_abort(&t->room);
	map_free(&t->seen);
	arena_free(&t->asking);
	close_fd(&t->fd);
	close_fd(&t->new_body);
	if (t->incoming)
		spool_discard(t->q->spool, trans_qid(t));
	if (t->conn && t->conn->trans == t) {
		client_forget_forwarded(t->conn);
		t->conn->trans = NULL;
		conn_phase(t->conn, PHASE_IDLE);
	}
	arena_free(&a);
}

static struct trans *trans_new(struct conn_entry *c)
{
	struct arena *a = arena_new(TRANS_BYTES_MAX);
	struct trans *t = ARENA_NEW(a, struct trans);

	t->arena = a;
	t->asking = arena_new(TRANS_BYTES_MAX);
	t->q = c->q;
	t->conn = c;
	t->conf = c->conf;
	t->fd = t->new_body = -1;
	t->start_us = clock_mono_us();
	spool_qid_new(t->qid);
	memcpy(t->main.qid, t->qid, sizeof(t->qid));
	c->trans = t;
	c->q->n_trans++;
	return t;
}

void trans_drop(struct trans **tp)
{
	struct trans *t = *tp;

	if (t == NULL)
		return;
	*tp = NULL;
	if (t->step >= STEP_RECORD) {
		t->conn->trans = NULL;
		t->conn = NULL;
		commit_drop(t);
		return;
	}
	trans_free(t);
}

struct str trans_due_qid(struct trans *t)
{
	const bool due = t->mail_due;

	t->mail_due = false;
	return due ? trans_qid(t) : (struct str){ 0 };
}

void trans_reply(struct trans *t, uint64_t code, const char *enhanced, struct str text)
{
	const struct str qid = trans_due_qid(t);

	if (t->conn)
		conn_reply(t->conn, t->reply_id, code, enhanced, text, qid);
}

struct str trans_discarded(const struct trans *t)
{
	return str_c(arena_printf(t->arena, "Ok, discarded, id=%s", t->qid));
}

void trans_left_out(struct trans *t, const struct final *f)
{
	for (size_t k = 0; t->discarded && k < t->n_accepted; k++)
		t->discarded[k] |= final_named(f, k).p != NULL;
}

/* RFC 2033 4.2: what became of recipient k. One that is queued is accepted, and an alias one of whose members has the message: who hears of a failure sends again,
 * or tells the sender. The words name what the client named, for whom it leads to is not its business. A failure of all others is none of one that is left out in
 * silence. */
static void lmtp_status(const struct trans *t, size_t k, struct str *code, struct str *enhanced, struct str *text)
{
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		const struct str named = final_named(f, k);
		if (!named.p || !f->told)
			continue;
		*code = str_eq(f->enhanced, STR("5.2.2")) ? STR("552") : STR("550");
		*enhanced = f->enhanced.n > 0 && f->enhanced.p[0] == '5' ? f->enhanced : STR("5.0.0");
		*text = str_c(arena_printf(t->arena, "<%.*s>: %.*s", STR_ARG(named), STR_ARG(f->text)));
		return;
	}
	if (t->discarded && t->discarded[k] && code->n > 0 && code->p[0] == '5') {
		*code = STR("250");
		*enhanced = STR("2.7.0");
		*text = trans_discarded(t);
	}
}

static void lmtp_reply(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text)
{
	const size_t n = t->n_accepted;
	struct str *v = ARENA_ARRAY(t->arena, struct str, 3 * n);
	const struct ipc_queue_REPLIES m = { .codes = { v, n }, .enhanced = { v + n, n }, .texts = { v + 2 * n, n }, .refuser = by };
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++) {
		v[i] = str_c(arena_printf(t->arena, "%llu", (unsigned long long)code));
		v[n + i] = str_c(enhanced);
		v[2 * n + i] = text;
		lmtp_status(t, i, &v[i], &v[n + i], &v[2 * n + i]);
		v[2 * n + i] = str_sub(v[2 * n + i], 0, 160);
	}
	if (ipc_send(t->conn->chan, IPC_queue_REPLIES, &m, t->reply_id, -1, &e) < 0)
		log_error("%s: %s", t->qid, e.text);
}

void trans_refuse(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text)
{
	if (t->conn && t->conn->lmtp)
		lmtp_reply(t, by, code, enhanced, text);
	else if (t->conn)
		conn_refuse(t->conn, t->reply_id, by, code, enhanced, text, (struct str){ 0 });
	trans_free(t);
}

void trans_answer(struct trans *t, uint64_t code, const char *enhanced, struct str text)
{
	trans_refuse(t, REFUSER_US, code, enhanced, text);
}

bool trans_written(struct trans *t)
{
	struct err e = { 0 };

	if (t == NULL || t->step > STEP_DATA || t->fd < 0)
		return false;
	t->sealed = spool_sealed(t->fd, &t->size, &e) == 0;
	return !t->sealed;
}

bool trans_ready(const struct trans *t)
{
	return t != NULL && t->step == STEP_ENVELOPE && t->fd >= 0;
}

const char *trans_id(const struct trans *t)
{
	return t->qid;
}

/* --- MAIL --- */

static const char *sender_domain(const struct queued *q, const struct conn_entry *c, struct str sender)
{
	/* Only our own clients' addresses are completed (myorigin). */
	const bool own = conn_trusted(c) || c->mynetworks;

	return own && sender.n > 0 && str_rchr(sender, '@') < 0 ? q->conf->myorigin : NULL;
}

static bool needs_login(const struct conn_entry *c)
{
	return str_starts(str_c(c->profile), STR("submission")) && !conn_trusted(c);
}

static uint64_t room_needed(const struct conf *c)
{
	return c->message_size_limit + c->message_size_limit / 2;
}

static void mail_milted(struct trans *t)
{
	conn_phase(t->conn, PHASE_OPEN);
	t->mail_due = true;
	if (t->first)
		trans_rcpt(t, t->reply_id, t->first);
	else
		trans_reply(t, 250, "2.1.0", STR("Ok"));
}

static void mail_passed(struct trans *t)
{
	milter_mail(t, mail_milted);
}

/* The RCPT that came with it. */
static struct ipc_queue_RCPT *first_rcpt(struct trans *t, const struct ipc_queue_MAIL *m)
{
	struct ipc_queue_RCPT *r = m->recipient.n > 0 ? ARENA_NEW(t->arena, struct ipc_queue_RCPT) : NULL;

	if (r)
		*r = (struct ipc_queue_RCPT){ .recipient = arena_str(t->arena, m->recipient), .notify = m->notify, .orcpt = arena_str(t->arena, m->orcpt), .ready = m->ready };
	return r;
}

void trans_mail(struct conn_entry *c, uint32_t id, const struct ipc_queue_MAIL *m)
{
	struct queued *q = c->q;
	struct err e = { 0 };

	trans_drop(&c->trans);
	if (q->draining) {
		conn_reply(c, id, 451, "4.3.2", STR("Error: the system is going down, try again later"), (struct str){ 0 });
	} else if (needs_login(c)) {
		conn_reply(c, id, 530, "5.7.0", STR("Authentication required"), (struct str){ 0 });
	} else if (limit_refuses(c, RATE_MAIL, id) || user_limit_refuses(c, RATE_MAIL, id)) {
		;	/* answered */
	} else if (m->size > c->conf->message_size_limit) {
		conn_reply(c, id, 552, "5.3.4", STR("Message size exceeds fixed limit"), (struct str){ 0 });
	} else if (spool_room(q->spool, room_needed(c->conf), q->conf->queue_minfree, &e) < 0) {
		log_warning("not enough free space in the queue file system");
		conn_reply(c, id, 452, "4.3.1", STR("Insufficient system storage"), (struct str){ 0 });
	} else {
		struct trans *t = trans_new(c);
		const char *domain = sender_domain(q, c, m->sender);
		t->sender = domain ? str_c(arena_printf(t->arena, "%.*s@%s", STR_ARG(m->sender), domain)) : arena_str(t->arena, m->sender);
		t->helo = arena_str(t->arena, m->helo);
		t->tls = arena_str(t->arena, m->tls);
		t->auth_method = arena_str(t->arena, m->auth_method);
		t->body = arena_str(t->arena, m->body);
		t->esmtp = m->esmtp != 0;
		t->size_said = m->size;
		t->smtputf8 = m->smtputf8 != 0;
		t->ret = m->ret <= SMTP_RET_HDRS ? m->ret : SMTP_RET_NONE;
		t->envid = arena_str(t->arena, m->envid);
		t->declared = m->size;
		t->first = first_rcpt(t, m);
		t->reply_id = id;
		conn_phase(c, PHASE_WAIT);
		if (restrict_has(c->rules->restrictions, RESTRICT_MAIL))
			trans_judge(t, RESTRICT_MAIL, mail_passed);
		else
			mail_passed(t);
	}
}

/* --- RCPT --- */

/* Whose own policy keeps or refuses the message. Somebody else's may send it to him nevertheless: that is a copy of its own. */
static bool is_left_out(struct trans *t, const struct final *f)
{
	return f->state == FINAL_FAILED || batch_of(t, f)->quarantine.p != NULL;
}

/* What makes two finals the same: kind, address without case, account. */
static struct str final_key(struct trans *t, const struct final *f, bool left_out)
{
	char *k = arena_printf(t->arena, "%d %.*s %.*s %.*s", left_out, STR_ARG(f->kind), STR_ARG(f->user), STR_ARG(f->address));

	for (char *p = k; p && *p; p++)
		*p = ch_lower(*p);
	return str_c(k);
}

/* Few are compared one by one; many through a map, so that a big alias costs no quadratic time. */
static bool final_known(struct trans *t, const struct final *f)
{
	/* Each RCPT of LMTP has an answer of its own, and so a copy of its own. */
	if (t->conn && t->conn->lmtp)
		return false;
	const bool any = f->batch == NULL;	/* else it is a redirected copy */
	if (t->n_finals < FINALS_FEW) {
		for (size_t i = 0; i < t->n_finals; i++) {
			const struct final *has = &t->finals[i];
			if (str_eq(has->kind, f->kind) && str_case_eq(has->address, f->address) && str_eq(has->user, f->user) && (any || !is_left_out(t, has)))
				return true;
		}
		return false;
	}
	if (t->seen == NULL) {
		t->seen = map_new();
		for (size_t i = 0; i < t->n_finals; i++)
			(void)map_set(t->seen, final_key(t, &t->finals[i], is_left_out(t, &t->finals[i])), t);
	}
	const struct arena_mark mark = arena_mark(t->arena);
	const struct str key = final_key(t, f, false);
	const bool known = map_get(t->seen, key) || (any && map_get(t->seen, final_key(t, f, true)));
	if (!known)
		(void)map_set(t->seen, key, t);
	arena_release(t->arena, mark);
	return known;
}

int trans_final(struct trans *t, const struct final *f)
{
	if (final_known(t, f))
		return 0;
	if (t->n_finals == QUEUED_FINALS_MAX)
		return -1;
	if (t->n_finals == t->cap_finals) {
		const size_t cap = t->cap_finals ? t->cap_finals * 2 : 4;
		struct final *v = ARENA_ARRAY(t->arena, struct final, cap);
		if (v == NULL)
			return -1;
		if (t->n_finals > 0)
			memcpy(v, t->finals, t->n_finals * sizeof(*v));
		t->finals = v;
		t->cap_finals = cap;
	}
	struct final *to = &t->finals[t->n_finals];
	*to = *f;
	to->t = t;
	to->kind = arena_str(t->arena, f->kind);
	to->address = arena_str(t->arena, f->address);
	to->user = arena_str(t->arena, f->user);
	to->extension = arena_str(t->arena, f->extension);
	to->original = arena_str(t->arena, f->original);
	to->orcpt = arena_str(t->arena, f->orcpt);
	to->sender = arena_str(t->arena, f->sender);
	if (to->original.p == NULL)
		return -1;	/* the arena's limit */
	t->n_finals++;
	return 0;
}

void trans_rcpt_undo(struct trans *t)
{
	t->n_finals = t->before;
	t->n_rows = t->before_rows;
	t->row_bytes = t->before_bytes;
	map_free(&t->seen);	/* made anew when it is needed */
}

/* Is there anybody who would take it? What allow_mail_to_commands and allow_mail_to_files do not allow is refused at once. */
static bool deliverable(const struct conf *c, struct str kind)
{
	if (str_eq(kind, STR("command")) || str_eq(kind, STR("file")))
		return program_allowed(c, kind, "alias");
	return true;
}

/* client= once a transaction has its first recipient, as other servers log it. */
static void announce(struct trans *t)
{
	const struct conn_entry *c = t->conn;
	char user[400] = "";

	if (t->announced)
		return;
	t->announced = true;
	if (c->local) {
		log_as(log_ident("pickup"), LOG_LV_INFO, "%s: uid=%llu from=<%.*s>", t->qid, (unsigned long long)c->uid, STR_ARG(t->sender));
		return;
	}
	if (c->has_user)
		snprintf(user, sizeof(user), ", sasl_method=%.*s, sasl_username=%s", STR_ARG(t->auth_method), c->user);
	struct buf client;
	buf_init(&client, 2048);
	client_log_text(c, &client);
	log_as(log_ident("smtpd"), LOG_LV_INFO, "%s: %s%s", t->qid, client.p, user);
	buf_fini(&client);
}

static void refuse_rcpt(struct trans *t, uint64_t code, const char *enhanced, struct str text)
{
	conn_phase(t->conn, PHASE_OPEN);
	trans_reply(t, code, enhanced, text);
}

/* The answer to RCPT as resolve gave it, in the usual frame. */
static void refuse_as_said(struct trans *t, const struct ipc_resolve_RESULT *r, uint64_t code, const char *enhanced, const char *text)
{
	char own[13];
	struct str say = r->text.n > 0 ? r->text : str_c(text);

	if (r->enhanced.n > 0)
		snprintf(own, sizeof(own), "%.*s", STR_ARG(r->enhanced));
	else
		snprintf(own, sizeof(own), "%s", enhanced);
	if (r->code >= 400 && r->code <= 599)
		code = r->code;
	if (say.n == 0 || say.p[0] != '<')
		say = str_c(arena_printf(t->arena, "<%.*s>: Recipient address rejected: %.*s", STR_ARG(t->asked), STR_ARG(say)));
	refuse_rcpt(t, code, own, say);
}

static int add_finals(struct trans *t, const struct ipc_resolve_RESULT *r)
{
	bool any = false;

	for (size_t i = 0; i < r->kinds.n; i++) {
		const struct final f = {
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i], .extension = r->extensions.v[i], .original = t->asked,
			.rcpt = t->n_accepted, .notify = t->asked_notify, .orcpt = t->asked_orcpt,
			.sender = t->sender.n > 0 ? resolved_owner(r, i) : STR(""),
		};
		any |= deliverable(t->q->conf, f.kind);
		if (trans_final(t, &f) < 0)
			return -1;
	}
	return any ? 0 : 1;
}

static int receive(struct trans *t, int *wfd_out, struct err *e)
{
	if (spool_receive(t->q->spool, trans_qid(t), t->declared, wfd_out, &t->fd, e) < 0)
		return -1;
	t->incoming = true;
	return 0;
}

/* With the first recipient, where nobody has to be asked at DATA: the descriptor then comes with this answer, and saves the client a wait. What is wrong with
 * the spool is said at DATA. */
static bool answer_ready(struct trans *t)
{
	struct err e = { 0 };
	int wfd = -1;

	if (!t->ready_wanted || t->n_accepted != 1 || t->talk != 0 || restrict_has(t->conn->rules->restrictions, RESTRICT_DATA) || receive(t, &wfd, &e) < 0)
		return false;
	conn_phase(t->conn, PHASE_OPEN);
	conn_ready(t->conn, t->reply_id, wfd, trans_due_qid(t));
	close_fd(&wfd);
	return true;
}

static void rcpt_milted(struct trans *t)
{
	if (t->n_accepted++ == 0)
		t->first_rcpt = t->asked;
	announce(t);
	if (answer_ready(t))
		return;
	conn_phase(t->conn, PHASE_OPEN);
	trans_reply(t, 250, "2.1.5", STR("Ok"));
}

static void accept_rcpt(struct trans *t)
{
	milter_rcpt(t, rcpt_milted);
}

/* Only "full" is an answer: whatever else is wrong shows at delivery. */
static void on_room(void *ctx, enum copy_event ev, const struct copy_result *r)
{
	struct trans *t = ctx;
	const bool full = ev == COPY_FAILED && r->enhanced.n == 5 && str_ends(r->enhanced, STR(".2.2"));

	t->room = NULL;
	if (!full) {
		accept_rcpt(t);
		return;
	}
	trans_rcpt_undo(t);
	refuse_rcpt(t, r->permanent ? 552 : 452, r->permanent ? "5.2.2" : "4.2.2",
		    str_c(arena_printf(t->arena, "<%.*s>: Recipient address rejected: Mailbox is full", STR_ARG(t->asked))));
}

/* A mailbox with a quota: better refused here than returned later. */
static void ask_room(struct trans *t, const struct final *f)
{
	const struct copy_request r = { .user = f->user, .qid = trans_qid(t), .size = t->size_said ? t->size_said : 1, .room = true, .fd = -1 };

	if (!str_eq(f->kind, STR("mailbox")))
		accept_rcpt(t);
	else
		t->room = copy_start(t->q, &r, on_room, t);
}

static void rcpt_listed(struct trans *t, bool full)
{
	const size_t before = t->before;

	if (full) {
		trans_rcpt_undo(t);
		refuse_rcpt(t, 452, "4.5.3", STR("Error: too many recipients with policies of their own"));
	} else if (t->resolved->limited && t->n_finals == before + 1) {
		ask_room(t, &t->finals[before]);
	} else {
		accept_rcpt(t);
	}
}

/* The lists let the recipient pass: does it exist, and can it get this? */
static void rcpt_passed(struct trans *t)
{
	const struct ipc_resolve_RESULT *r = t->resolved;
	const size_t before = t->before = t->n_finals;
	int added;

	t->before_rows = t->n_rows;
	t->before_bytes = t->row_bytes;
	if (str_eq(r->class, STR("unknown")) || r->kinds.n == 0) {
		refuse_as_said(t, r, t->conf->unknown_local_recipient_reject_code, "5.1.1", "User unknown in local recipient table");
	} else if (r->bounces && t->sender.n > 0) {
		refuse_rcpt(t, 550, "5.7.1", str_c(arena_printf(t->arena, "<%.*s>: Recipient address rejected: only bounces are taken for this address", STR_ARG(t->asked))));
	} else if ((added = add_finals(t, r)) != 0) {
		trans_rcpt_undo(t);
		if (added < 0)
			refuse_rcpt(t, 452, "4.5.3", STR("Error: too many recipients"));
		else
			refuse_rcpt(t, 550, "5.7.1", str_c(arena_printf(t->arena,
				    "<%.*s>: Recipient address rejected: delivery to commands and files is not allowed by configuration", STR_ARG(t->asked))));
	} else if (!batches_room(t, before)) {
		trans_rcpt_undo(t);
		refuse_rcpt(t, 452, "4.5.3", STR("Error: too many recipients with policies of their own"));
	} else if (!batches_lists(t, rcpt_listed)) {
		rcpt_listed(t, false);
	}
}

static bool is_stored_here(struct str class)
{
	return str_eq(class, STR("local")) || str_eq(class, STR("virtual")) || str_eq(class, STR("unknown"));
}

static void on_resolved(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct trans *t = ctx;

	t->ask = NULL;
	arena_reset(t->asking);
	t->resolved = r ? ipc_copy(&ipc_resolve, IPC_resolve_RESULT, r, t->asking) : NULL;
	/* Before the restrictions: what could not be looked up must not be taken for foreign and refused for good. */
	if (t->resolved == NULL)
		refuse_rcpt(t, 451, "4.3.0", str_c(arena_printf(t->arena, "<%.*s>: Temporary lookup failure", STR_ARG(t->asked))));
	else if (str_eq(t->resolved->class, STR("error")))
		refuse_as_said(t, t->resolved, 451, "4.3.0", "Temporary lookup failure");
	else if (t->conn->lmtp && !is_stored_here(t->resolved->class))
		refuse_rcpt(t, 550, "5.7.1", str_c(arena_printf(t->arena, "<%.*s>: Relay access denied", STR_ARG(t->asked))));
	else
		trans_judge(t, RESTRICT_RCPT, rcpt_passed);
}

void trans_rcpt(struct trans *t, uint32_t id, const struct ipc_queue_RCPT *m)
{
	t->reply_id = id;
	if (t->n_accepted >= t->conf->smtpd_recipient_limit || (t->conn->lmtp && t->n_accepted >= QUEUED_LMTP_RCPTS_MAX) || t->n_finals >= QUEUED_FINALS_MAX) {
		trans_reply(t, 452, "4.5.3", STR("Error: too many recipients"));
		return;
	}
	if (limit_refuses(t->conn, RATE_RCPT, id) || user_limit_refuses(t->conn, RATE_RCPT, id)) {
		if (t->mail_due)
			trans_free(t);	/* the answer had no qid */
		return;
	}
	t->asked = arena_str(t->arena, m->recipient);
	if (t->asked.p == NULL) {
		trans_reply(t, 452, "4.5.3", STR("Error: too many recipients"));
		return;
	}
	t->asked_notify = smtp_notify_valid(m->notify) ? m->notify : 0;
	t->asked_orcpt = arena_str(t->arena, m->orcpt);
	t->ready_wanted = m->ready == 1 && t->fd < 0;
	conn_phase(t->conn, PHASE_WAIT);
	t->ask = resolve_ask(t->q, t->asked, on_resolved, t);
}

/* --- DATA --- */

static void data_passed(struct trans *t)
{
	struct ipc_queue_OPEN m = { .size_max = t->conf->message_size_limit };
	struct err e = { 0 };
	int wfd = -1;

	if (receive(t, &wfd, &e) < 0) {
		log_error("%s: %s", t->qid, e.text);
		conn_phase(t->conn, PHASE_OPEN);
		trans_reply(t, e.code == ERR_LIMIT ? 452 : 451, e.code == ERR_LIMIT ? "4.3.1" : "4.3.0",
			    e.code == ERR_LIMIT ? STR("Insufficient system storage") : STR("Error: queue file write error"));
		return;
	}
	t->step = STEP_DATA;
	conn_phase(t->conn, PHASE_DATA);
	if (ipc_send(t->conn->chan, IPC_queue_OPEN, &m, t->reply_id, wfd, &e) < 0)
		log_error("%s: %s", t->qid, e.text);
	close_fd(&wfd);
}

void trans_data(struct trans *t, uint32_t id)
{
	t->reply_id = id;
	if (t->n_accepted == 0) {
		trans_reply(t, 554, "5.5.1", STR("Error: no valid recipients"));
	} else if (restrict_has(t->conn->rules->restrictions, RESTRICT_DATA)) {
		conn_phase(t->conn, PHASE_WAIT);
		trans_judge(t, RESTRICT_DATA, data_passed);
	} else {
		data_passed(t);
	}
}

/* The header section, read once. A section that does not end within the limit is refused by the front; here it just ends there. */
static int read_head(struct trans *t, struct str *out, struct err *e)
{
	const uint64_t max = t->conf->header_size_limit + 1024;

	for (uint64_t want = HEAD_FIRST;; want *= 8) {
		const uint64_t lim = want < max ? want : max;
		const size_t n = (size_t)(t->size < lim ? t->size : lim);
		char *p = arena_alloc(t->arena, n + 1);
		size_t head_n = 0, body;
		if (p == NULL)
			return err_set(e, ERR_LIMIT, 0, "header too long");
		if (n > 0 && pread_all(t->fd, p, n, 0, e) < 0)
			return -1;
		if (mail_head_find(str_n(p, n), n == t->size || lim == max, &head_n, &body) == 0) {
			*out = str_n(p, head_n);
			return 0;
		}
		if (lim == max || n == t->size) {
			*out = str_n(p, 0);
			return 0;
		}
	}
}

static int look_at_head(struct trans *t, struct str *head, struct err *e)
{
	const struct conn_entry *c = t->conn;
	struct head_facts f = {
		.submission = conn_trusted(c), .complete = conn_completes(c), .esmtp = t->esmtp, .sender = t->sender,
		.name_user = t->conf->smtpd_sasl_authenticated_header, .hide_client = t->conf->smtpd_hide_client_address, .utf8 = t->smtputf8, .lmtp = c->lmtp,
		.client = c->local ? STR("local") : str_c(c->client), .client_name = str_c(c->name), .helo = t->helo, .tls = t->tls,
		.user = c->has_user ? str_c(c->user) : STR(""), .recipient = t->n_accepted == 1 ? t->first_rcpt : STR(""), .qid = trans_qid(t),
		.hostname = t->conf->myhostname, .mail_name = t->conf->mail_name, .now = clock_wall(),
	};
	if (read_head(t, head, e) < 0 || head_edits(t->arena, *head, &f, &t->head, e) < 0)
		return -1;
	t->edits = t->head.edits;
	t->n_edits = t->head.n_edits;
	return 0;
}

static void effects_applied(struct trans *t)
{
	rewrite_message(t, t->head_text);
}

static void end_passed(struct trans *t)
{
	effects_apply(t, effects_applied);
}

static void checks_passed(struct trans *t)
{
	if (restrict_has(t->conn->rules->restrictions, RESTRICT_END))
		trans_judge(t, RESTRICT_END, end_passed);
	else
		end_passed(t);
}

void trans_data_end(struct trans *t, uint32_t id, const struct ipc_queue_DATA_END *m)
{
	struct str head = { 0 };
	struct err e = { 0 };

	t->reply_id = id;
	t->step = STEP_DATA;
	t->data_us = clock_mono_us();
	conn_phase(t->conn, PHASE_WAIT);
	if (!t->sealed || t->size != m->size || look_at_head(t, &head, &e) < 0) {
		log_error("%s: %s", t->qid, e.code ? e.text : "the front wrote another size than it says");
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
	} else if (t->size > t->conf->message_size_limit) {
		trans_answer(t, 552, "5.3.4", STR("Error: message file too big"));
	} else if (t->head.twice != NULL) {
		trans_answer(t, 550, "5.6.0", str_c(arena_printf(t->arena, "Error: more than one %s field (RFC 5322 3.6)", t->head.twice)));
	} else if (t->head.received > t->conf->hopcount_limit) {
		trans_answer(t, 554, "5.4.6", STR("Error: too many hops"));
	} else {
		struct buf id_text;
		buf_init(&id_text, 1024);
		text_neutral(&id_text, t->head.message_id, 998, false);
		log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: message-id=%s", t->qid, id_text.n > 0 ? id_text.p : "<>");
		buf_fini(&id_text);
		t->head_text = head;
		checks_run(t, checks_passed);
	}
}
