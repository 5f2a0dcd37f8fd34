/* Milters, as queued sees them: policy speaks with them (policy_milter.h), here the transaction's facts are told and what they want is done. They hear of connection, HELO and
 * MAIL when MAIL comes, of each recipient that is otherwise accepted, and of the message when filterd has accepted it. What they change are edits, recipients
 * and the sender of the envelope; the received file stays as it is. */
#include <stdio.h>
#include <string.h>

#include "deliver/policy/milter_wire.h"
#include "deliver/policy/policy_milter.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

enum { MACROS_MAX = 32 };

struct milting {
	struct trans *t;
	trans_passed_fn *fn;
	struct ipc_strs changes;	/* of recipients */
	size_t at;
};

static const char *milters_of(const struct trans *t)
{
	return t->conn->local ? t->conf->non_smtpd_milters : t->milters ? t->milters : t->conf->smtpd_milters;
}

static struct milting *milting(struct trans *t, trans_passed_fn *fn)
{
	struct milting *g = ARENA_NEW(t->arena, struct milting);

	if (g)
		*g = (struct milting){ .t = t, .fn = fn };
	return g;
}

void milter_end(struct trans *t)
{
	if (t->talk)
		milter_tell_end(t->q, t->talk);
	t->talk = 0;
}

/* The longest that a stage may take, over all milters: policy keeps to it itself. */
static uint64_t patience_ms(const struct trans *t, bool content)
{
	const struct conf *c = t->conf;
	struct str list = str_c(milters_of(t)), one;
	struct err e = { 0 };
	uint64_t ms = 0;

	while (milter_list_next(&list, &one)) {
		struct milter_setting s = {
			.connect_ms = c->milter_connect_timeout * 1000, .command_ms = c->milter_command_timeout * 1000, .content_ms = c->milter_content_timeout * 1000,
		};
		if (milter_setting_parse(one, &s, &e) == 0)
			ms += POLICY_STAGE_FACTOR * (content ? s.content_ms : s.connect_ms + s.command_ms);
	}
	return ms;
}

/* --- facts --- */

struct macros {
	struct str names[MACROS_MAX], values[MACROS_MAX];
	size_t n;
};

static void add(struct macros *m, const char *name, struct str value)
{
	if (value.n == 0 || m->n == MACROS_MAX)
		return;
	m->names[m->n] = str_c(name);
	m->values[m->n++] = str_sub(value, 0, 1024);
}

static struct str number(struct trans *t, uint64_t n)
{
	return n ? str_c(arena_printf(t->arena, "%llu", (unsigned long long)n)) : STR("");
}

/* "TLSv1.3 with cipher NAME (256/256 bits)", as the front says it. */
static void add_tls(struct macros *m, struct str tls)
{
	const struct str with = STR(" with cipher ");
	const ptrdiff_t at = str_find(tls, with);

	if (at < 0)
		return;
	struct str rest = str_from(tls, (size_t)at + with.n);
	add(m, "tls_version", str_sub(tls, 0, (size_t)at));
	add(m, "cipher", str_split(&rest, ' '));
	if (rest.n > 1 && rest.p[0] == '(') {
		rest = str_from(rest, 1);
		add(m, "cipher_bits", str_split(&rest, '/'));
	}
}

static bool has_name(const struct conn_entry *c)
{
	return c->name[0] && strcmp(c->name, "unknown") != 0;
}

static void add_client(struct trans *t, struct macros *m, struct str name, struct str addr)
{
	const struct conn_entry *c = t->conn;
	const struct str reverse = str_c(c->reverse[0] ? c->reverse : "unknown");

	add(m, "_", str_c(arena_printf(t->arena, "%.*s [%.*s]", STR_ARG(name), STR_ARG(addr))));
	add(m, "client_addr", addr);
	add(m, "client_name", name);
	add(m, "client_port", number(t, c->client_port));
	add(m, "client_ptr", reverse);
	add(m, "client_resolve", has_name(c) || c->local ? STR("OK") : str_eq(reverse, STR("unknown")) ? STR("FAIL") : STR("FORGED"));
}

static void fill_macros(struct trans *t, struct macros *m, struct str name, struct str addr)
{
	const struct conn_entry *c = t->conn;

	add(m, "i", trans_qid(t));
	add(m, "j", str_c(t->conf->myhostname));
	add(m, "v", str_c(t->conf->milter_macro_v));
	add(m, "daemon_name", str_c(t->conf->milter_macro_daemon_name));
	add(m, "daemon_addr", str_c(c->server));
	add(m, "daemon_port", number(t, c->server_port));
	add_client(t, m, name, addr);
	add_tls(m, t->tls);
	if (c->cert != NULL && c->cert->trusted) {
		add(m, "cert_subject", str_c(c->cert->subject));
		add(m, "cert_issuer", str_c(c->cert->issuer));
	}
	if (c->has_user) {
		add(m, "auth_type", t->auth_method);
		add(m, "auth_authen", str_c(c->user));
	}
	add(m, "mail_addr", t->sender);
	add(m, "mail_host", smtp_domain_of(t->sender));
	add(m, "mail_mailer", STR("smtp"));
}

static struct ipc_strs params(struct trans *t)
{
	struct str *v = ARENA_ARRAY(t->arena, struct str, 4);
	struct ipc_strs l = { v, 0 };

	if (v == NULL)
		return l;
	if (t->size_said)
		v[l.n++] = str_c(arena_printf(t->arena, "SIZE=%llu", (unsigned long long)t->size_said));
	if (t->body.n > 0)
		v[l.n++] = str_c(arena_printf(t->arena, "BODY=%.*s", STR_ARG(t->body)));
	if (t->smtputf8)
		v[l.n++] = STR("SMTPUTF8");
	return l;
}

/* --- verdicts --- */

static void refuse(struct trans *t, const struct ipc_policy_VERDICT *v, uint64_t *code, const char **enhanced, struct str *text)
{
	*code = 451;
	*enhanced = "4.7.1";
	*text = STR("Service unavailable - try again later");
	if (v == NULL || !str_eq(v->action, STR("refuse")) || v->code < 400 || v->code > 599)
		return;
	*code = v->code;
	*enhanced = v->enhanced.n > 0 ? arena_cstr(t->arena, v->enhanced) : v->code < 500 ? "4.7.1" : "5.7.1";
	*text = str_sub(arena_str(t->arena, v->text), 0, RESTRICT_TEXT_MAX);
}

static void note(const struct trans *t, const char *what, const char *stage, struct str text)
{
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: milter-%s: %s from %s[%s]: %.*s; from=<%.*s> to=<%.*s> proto=%s helo=<%.*s>", t->qid, what, stage,
	       has_name(t->conn) ? t->conn->name : "unknown", t->conn->client, STR_ARG(text), STR_ARG(t->sender), STR_ARG(t->first_rcpt), t->esmtp ? "ESMTP" : "SMTP",
	       STR_ARG(t->helo));
}

static void take_hold(struct trans *t, const struct ipc_policy_VERDICT *v)
{
	if (v->quarantine.p && !t->effects.hold.p)
		t->effects.hold = arena_str(t->arena, v->quarantine.n > 0 ? v->quarantine : STR("quarantined by a milter"));
}

static void refuse_command(struct trans *t, const struct ipc_policy_VERDICT *v)
{
	const char *enhanced;
	struct str text;
	uint64_t code;

	refuse(t, v, &code, &enhanced, &text);
	conn_refuse(t->conn, t->reply_id, REFUSER_CONTENT, code, enhanced, text, trans_due_qid(t));
}

/* true: it goes on. */
static bool envelope_passes(struct trans *t, const struct ipc_policy_VERDICT *v)
{
	if (v == NULL || str_eq(v->action, STR("refuse")))
		return false;
	take_hold(t, v);
	if (str_eq(v->action, STR("discard"))) {
		t->effects.discard = STR("a milter discards it");
		milter_end(t);
	}
	return true;
}

/* --- MAIL --- */

static void on_mail(void *ctx, const struct ipc_policy_VERDICT *v)
{
	struct milting *g = ctx;
	struct trans *t = g->t;

	t->ask = NULL;
	if (envelope_passes(t, v)) {
		g->fn(t);
		return;
	}
	refuse_command(t, v);
	trans_free(t);
}

static void begin(struct trans *t)
{
	const struct conn_entry *c = t->conn;
	const struct conf *o = t->conf;
	struct milting *g = t->milting;
	struct macros m = { .n = 0 };
	const struct str addr = str_c(c->local ? "127.0.0.1" : c->client);
	const struct str name = c->local ? STR("localhost") : has_name(c) ? str_c(c->name) : str_c(arena_printf(t->arena, "[%s]", c->client));
	struct str lists[MILTER_STAGES] = {
		[MILTER_CONNECT] = str_c(o->milter_connect_macros), [MILTER_HELO] = str_c(o->milter_helo_macros), [MILTER_MAIL] = str_c(o->milter_mail_macros),
		[MILTER_RCPT] = str_c(o->milter_rcpt_macros), [MILTER_DATA] = str_c(o->milter_data_macros), [MILTER_EOM] = str_c(o->milter_end_of_data_macros),
		[MILTER_EOH] = str_c(o->milter_end_of_header_macros),
	};

	fill_macros(t, &m, name, addr);
	t->talk = ++t->q->last_talk;
	const struct ipc_policy_BEGIN b = {
		.talk = t->talk, .milters = str_c(milters_of(t)), .fallback = str_c(o->milter_default_action), .protocol = o->milter_protocol,
		.connect_s = o->milter_connect_timeout, .command_s = o->milter_command_timeout, .content_s = o->milter_content_timeout, .lists = { lists, MILTER_STAGES },
		.names = { m.names, m.n }, .values = { m.values, m.n }, .client_name = name, .client = addr, .client_port = c->client_port, .helo = t->helo, .sender = t->sender,
		.params = params(t),
	};
	t->ask = milter_ask(t->q, IPC_policy_BEGIN, &b, -1, patience_ms(t, false), on_mail, g);
}

static void milters_known(struct trans *t)
{
	if (!milters_of(t)[0])
		t->milting->fn(t);
	/* Milters are told the client's name, which is usually looked up at the first recipient. */
	else if (t->conn->named || t->conn->local)
		begin(t);
	else
		trans_judge(t, RESTRICT_NAMES, begin);
}

static void look_up(struct milting *g);

static void on_milters(void *ctx, const struct ipc_resolve_VALUE *v)
{
	struct milting *g = ctx;
	struct trans *t = g->t;

	t->ask = NULL;
	if (v && v->found == 1) {
		t->milters = str_case_eq(str_trim(v->value), STR("DISABLE")) ? "" : arena_cstr(t->arena, v->value);
		milters_known(t);
	} else if (v && v->found == 0) {
		g->at++;
		look_up(g);
	} else {	/* whom it may not pass unseen cannot be told */
		log_warning("smtpd_milter_maps: %.*s", STR_ARG(v ? v->value : STR("resolve does not answer")));
		conn_reply(t->conn, t->reply_id, 451, "4.3.0", STR("Error: temporary lookup failure"), trans_due_qid(t));
		trans_free(t);
	}
}

static void look_up(struct milting *g)
{
	struct trans *t = g->t;
	const struct conf_list l = t->conf->smtpd_milter_maps;

	if (t->conn->local || g->at == l.n) {
		milters_known(t);
		return;
	}
	const struct ipc_resolve_LOOKUP m = { .table = str_c(l.v[g->at]), .key = str_c(t->conn->client), .how = ACCESS_WHOLE };
	t->ask = lookup_ask(t->q, &m, on_milters, g);
}

void milter_mail(struct trans *t, trans_passed_fn *fn)
{
	if (t->conf->smtpd_milter_maps.n == 0 && !milters_of(t)[0]) {
		fn(t);
		return;
	}
	t->milting = milting(t, fn);
	look_up(t->milting);
}

/* --- RCPT --- */

static void on_rcpt(void *ctx, const struct ipc_policy_VERDICT *v)
{
	struct milting *g = ctx;
	struct trans *t = g->t;

	t->ask = NULL;
	if (envelope_passes(t, v)) {
		g->fn(t);
		return;
	}
	trans_rcpt_undo(t);
	conn_phase(t->conn, PHASE_OPEN);
	refuse_command(t, v);
}

static struct str mailer_of(const struct trans *t)
{
	return t->n_finals > t->before && !str_eq(t->finals[t->before].kind, STR("mailbox")) ? t->finals[t->before].kind : STR("local");
}

void milter_rcpt(struct trans *t, trans_passed_fn *fn)
{
	struct milting *g = t->talk ? milting(t, fn) : NULL;
	struct macros m = { .n = 0 };

	if (t->talk == 0) {
		fn(t);
		return;
	}
	if (g == NULL) {
		on_rcpt(&(struct milting){ .t = t }, NULL);
		return;
	}
	add(&m, "rcpt_addr", t->asked);
	add(&m, "rcpt_host", smtp_domain_of(t->asked));
	add(&m, "rcpt_mailer", mailer_of(t));
	const struct ipc_policy_RCPT r = { .talk = t->talk, .recipient = t->asked, .names = { m.names, m.n }, .values = { m.values, m.n } };
	t->ask = milter_ask(t->q, IPC_policy_RCPT, &r, -1, patience_ms(t, false), on_rcpt, g);
}

/* --- the message --- */

static void next_change(struct milting *g);

static void discard(struct trans *t, struct str why)
{
	note(t, "discard", "END-OF-MESSAGE", why);
	trans_answer(t, 250, "2.0.0", str_c(arena_printf(t->arena, "Ok: queued as %s", t->qid)));
}

static void remove_recipient(struct trans *t, struct str address)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_finals; i++)
		if (!str_case_eq(t->finals[i].original, address) && !str_case_eq(t->finals[i].address, address))
			t->finals[n++] = t->finals[i];
		else
			trans_left_out(t, &t->finals[i]);
	t->n_finals = n;
	map_free(&t->seen);
}

static void on_added(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct milting *g = ctx;
	struct trans *t = g->t;

	t->ask = NULL;
	if (r == NULL || str_eq(r->class, STR("error"))) {
		trans_answer(t, 451, "4.3.0", STR("Error: a recipient that a milter adds could not be looked up"));
		return;
	}
	if (r->kinds.n == 0)
		log_warning("%s: <%.*s>, which a milter adds, does not exist", t->qid, STR_ARG(t->asked));
	for (size_t i = 0; i < r->kinds.n; i++) {
		/* No RCPT of the client: LMTP has no answer for it. */
		const struct final f = {
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i], .extension = r->extensions.v[i], .original = t->asked, .rcpt = SIZE_MAX,
			.sender = t->sender.n > 0 ? resolved_owner(r, i) : STR(""),
		};
		if (trans_final(t, &f) < 0) {
			trans_answer(t, 452, "4.5.3", STR("Error: too many recipients"));
			return;
		}
	}
	next_change(g);
}

static void next_change(struct milting *g)
{
	struct trans *t = g->t;

	while (g->at < g->changes.n) {
		const struct str x = g->changes.v[g->at++];
		if (x.p[0] == '-') {
			remove_recipient(t, str_from(x, 1));
			continue;
		}
		t->asked = str_from(x, 1);
		t->ask = resolve_ask(t->q, t->asked, on_added, g);
		return;
	}
	if (t->n_finals == 0)
		discard(t, STR("no recipient is left"));
	else
		commit_milted(t);
}

static int take_edits(struct trans *t, const struct ipc_policy_VERDICT *v, struct err *e)
{
	if (!v->edited)
		return 0;
	t->n_edits = 0;
	return trans_edits(t, v->edits.v, v->edits.n, e);
}

static int take_changes(struct milting *g, const struct ipc_policy_VERDICT *v, struct err *e)
{
	struct trans *t = g->t;

	g->changes.v = ARENA_ARRAY(t->arena, struct str, v->recipients.n + 1);
	for (size_t i = 0; g->changes.v && i < v->recipients.n; i++)
		if (v->recipients.v[i].n > 1)
			g->changes.v[g->changes.n++] = arena_str(t->arena, v->recipients.v[i]);
	if (v->sender.p)
		t->sender = arena_str(t->arena, v->sender);
	return take_edits(t, v, e);
}

/* --- a new body --- */

void milter_body(void *ctx, int fd, uint64_t size)
{
	const struct milting *g = ctx;

	close_fd(&g->t->new_body);
	g->t->new_body = fd;
	g->t->new_body_size = size;
}

static int copy_body(const struct trans *t, int to, struct err *e)
{
	char piece[65536];
	uint64_t at = 0;

	while (at < t->new_body_size) {
		const size_t n = (size_t)(t->new_body_size - at < sizeof(piece) ? t->new_body_size - at : sizeof(piece));
		if (pread_all(t->new_body, piece, n, at, e) < 0 || write_all(to, piece, n, e) < 0)
			return -1;
		at += n;
	}
	return 0;
}

static int write_message(const struct trans *t, int to, struct err *e)
{
	return write_all(to, t->head_text.p, t->head_text.n, e) < 0 || write_all(to, "\n", 1, e) < 0 ? -1 : copy_body(t, to, e);
}

/* Beside the header, what a message may have. */
static uint64_t body_max(const struct trans *t)
{
	const uint64_t max = t->conf->message_size_limit;

	return t->head_text.n < max ? max - t->head_text.n : 0;
}

/* A file that was received never changes: another one takes its place, with the same header section. */
static int replace_body(struct trans *t, struct err *e)
{
	struct spool *sp = t->q->spool;
	int to = -1;

	if (t->new_body_size > body_max(t))	/* policy was told */
		return err_set(e, ERR_LIMIT, 0, "a milter's body of %llu bytes", (unsigned long long)t->new_body_size);
	close_fd(&t->fd);
	t->incoming = false;
	spool_discard(sp, trans_qid(t));
	if (spool_receive(sp, trans_qid(t), t->head_text.n + 1 + t->new_body_size, &to, &t->fd, e) < 0)
		return -1;
	t->incoming = true;
	const int r = write_message(t, to, e);
	close_fd(&to);
	close_fd(&t->new_body);
	if (r < 0 || spool_sealed(t->fd, &t->size, e) < 0)
		return -1;
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: a milter has replaced the body: %llu bytes", t->qid, (unsigned long long)t->new_body_size);
	return 0;
}

static void on_message(void *ctx, const struct ipc_policy_VERDICT *v)
{
	struct milting *g = ctx;
	struct trans *t = g->t;
	const char *enhanced;
	struct str text;
	struct err e = { 0 };
	uint64_t code;

	t->ask = NULL;
	if (v && str_eq(v->action, STR("discard"))) {
		discard(t, STR("milter triggers DISCARD action"));
	} else if (v == NULL || !str_eq(v->action, STR("accept"))) {
		refuse(t, v, &code, &enhanced, &text);
		trans_refuse(t, REFUSER_CONTENT, code, enhanced, text);
	} else if (take_changes(g, v, &e) < 0 || (t->new_body >= 0 && replace_body(t, &e) < 0)) {
		log_error("%s: %s", t->qid, e.text);
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
	} else {
		take_hold(t, v);
		if (v->quarantine.p)
			note(t, "hold", "END-OF-MESSAGE", v->quarantine);
		next_change(g);
	}
}

void milter_message(struct trans *t)
{
	struct milting *g = t->talk ? milting(t, NULL) : NULL;

	if (t->talk == 0) {
		commit_milted(t);
		return;
	}
	if (g == NULL) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	const struct ipc_policy_MESSAGE m = { .talk = t->talk, .size = t->size, .head = t->head_text.n, .edits = { t->edits, t->n_edits },
					     .size_max = body_max(t) };
	t->ask = milter_ask(t->q, IPC_policy_MESSAGE, &m, t->fd, patience_ms(t, true), on_message, g);
}
