/* MAIL and DATA, and the life of a transaction (RCPT: queued_rcpt.c): what is decided about an envelope. Facts about the client come from the acceptor
 * and authd (conn_entry), about recipients from resolve; the front only reports what the client said. Answers in the words that other servers use (log
 * parsers and fail2ban know them).
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

enum { HEAD_FIRST = 16384, TRANS_BYTES_MAX = 256 << 20 };

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

static void say(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text)
{
	if (t->conn && t->conn->lmtp)
		lmtp_reply(t, by, code, enhanced, text);
	else if (t->conn)
		conn_refuse(t->conn, t->reply_id, by, code, enhanced, text, (struct str){ 0 });
}

void trans_say(struct trans *t, uint64_t code, const char *enhanced, struct str text)
{
	say(t, REFUSER_US, code, enhanced, text);
}

void trans_refuse(struct trans *t, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text)
{
	say(t, by, code, enhanced, text);
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

/* --- DATA --- */

int trans_receive(struct trans *t, int *wfd_out, struct err *e)
{
	if (spool_receive(t->q->spool, trans_qid(t), t->declared, wfd_out, &t->fd, e) < 0)
		return -1;
	t->incoming = true;
	return 0;
}

static void data_passed(struct trans *t)
{
	struct ipc_queue_OPEN m = { .size_max = t->conf->message_size_limit };
	struct err e = { 0 };
	int wfd = -1;

	if (trans_receive(t, &wfd, &e) < 0) {
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
		.submission = conn_trusted(c), .own = c->mynetworks, .complete = conn_completes(c), .esmtp = t->esmtp, .sender = t->sender,
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
