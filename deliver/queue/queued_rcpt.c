/* RCPT: what resolve says of a recipient, what the restriction lists, the filter's room, a full mailbox and milters have against it, and the finals that it leads to. */
#include <stdio.h>
#include <string.h>

#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"
#include "smtp/reply.h"

enum { FINALS_FEW = 32 };

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
		const struct str owner = t->sender.n > 0 ? resolved_owner(r, i) : STR("");
		const struct final f = {
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i], .extension = r->extensions.v[i], .original = t->asked,
			.rcpt = t->n_accepted, .sender = owner, .asked_notify = t->asked_notify, .asked_orcpt = t->asked_orcpt,
			.notify = r->kinds.n > 1 || owner.n > 0 ? smtp_notify_without_success(t->asked_notify) : t->asked_notify,
			.orcpt = owner.n > 0 ? STR("") : t->asked_orcpt,
		};
		any |= deliverable(t->q->conf, f.kind);
		if (trans_final(t, &f) < 0)
			return -1;
	}
	return any ? 0 : 1;
}

/* With the first recipient, where nobody has to be asked at DATA: the descriptor then comes with this answer, and saves the client a wait. What is wrong with
 * the spool is said at DATA. */
static bool answer_ready(struct trans *t)
{
	struct err e = { 0 };
	int wfd = -1;

	if (!t->ready_wanted || t->n_accepted != 1 || t->talk != 0 || restrict_has(t->conn->rules->restrictions, RESTRICT_DATA) || trans_receive(t, &wfd, &e) < 0)
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

static void rcpt_routed(struct trans *t)
{
	if (!batches_room(t, t->before)) {
		trans_rcpt_undo(t);
		refuse_rcpt(t, 452, "4.5.3", STR("Error: too many recipients with policies of their own"));
	} else if (!batches_lists(t, rcpt_listed)) {
		rcpt_listed(t, false);
	}
}

/* --- transport error --- */

static bool is_error(struct str transport)
{
	return str_case_eq(transport, STR("error"));
}

/* Without an answer it is accepted: the question comes again at delivery. */
static void on_routes(void *ctx, const struct ipc_resolve_ROUTES *r)
{
	struct trans *t = ctx;
	struct str text, enhanced;
	bool all = r != NULL;
	char code[13];

	t->ask = NULL;
	for (size_t i = 0; r && i < r->transports.n; i++)
		all &= is_error(r->transports.v[i]);
	if (!all) {
		rcpt_routed(t);
		return;
	}
	enhanced = smtp_enhanced_split(r->nexthops.v[0], "5.1.1", &text);
	(void)snprintf(code, sizeof(code), "%.*s", STR_ARG(enhanced));
	trans_rcpt_undo(t);
	refuse_rcpt(t, 550, code, str_c(arena_printf(t->arena, "<%.*s>: Recipient address rejected: %.*s", STR_ARG(t->asked), STR_ARG(text))));
}

/* As in Postfix a recipient whose transport is error is refused now, and need not be told of in a bounce; here also one whose aliases lead nowhere else. */
static bool ask_routes(struct trans *t)
{
	const size_t n = t->n_finals - t->before;
	struct str addresses[ROUTES_MAX];

	if (n == 0 || n > ROUTES_MAX || !routes_need_maps(t->q->conf))
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct final *f = &t->finals[t->before + i];
		if (!str_eq(f->kind, STR("remote")) || f->user.n > 0)
			return false;
		addresses[i] = f->address;
	}
	t->ask = route_ask(t->q, t->sender, (struct ipc_strs){ addresses, n }, on_routes, t);
	return true;
}

/* The lists let the recipient pass: does it exist, and can it get this? */
static void rcpt_passed(struct trans *t)
{
	const struct ipc_resolve_RESULT *r = t->resolved;
	int added;

	t->before = t->n_finals;
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
	} else if (!ask_routes(t)) {
		rcpt_routed(t);
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
