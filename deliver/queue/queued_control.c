/* The administrator's requests ($run/queue/control, peer must be root): one request, rows, END. A request is a word of the table below. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "deliver/queue/queued.h"
#include "ipc/control.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"

enum { ROW_MAX = 16, LIST_MAX = 1000000, PAGE_ROWS = 200 };

struct client {
	struct queued *q;
	struct ipc_chan *chan;
	uint32_t id;
	char **qids;		/* list, show: what is written page by page */
	size_t n, next, rcpt;	/* next message, and its next recipient */
	size_t rows;		/* of this page */
	bool all;
};

struct row {
	struct str keys[ROW_MAX], values[ROW_MAX];
	size_t n;
	struct arena *a;
};

static void add(struct row *r, const char *key, struct str value)
{
	if (r->n == ROW_MAX)
		return;
	r->keys[r->n] = str_c(key);
	r->values[r->n++] = str_sub(value, 0, 2048);
}

static void add_u64(struct row *r, const char *key, uint64_t v)
{
	add(r, key, str_c(arena_printf(r->a, "%llu", (unsigned long long)v)));
}

static void send_row(struct client *c, struct row *r)
{
	struct ipc_control_LINE m = { .keys = { r->keys, r->n }, .values = { r->values, r->n } };
	struct err e = { 0 };

	if (c->chan && ipc_send(c->chan, IPC_control_LINE, &m, c->id, -1, &e) < 0)
		log_warning("control: %s", e.text);
}

static void end(struct client *c, enum err_code code, const char *text)
{
	struct ipc_control_END m = { .code = code, .text = str_c(text) };
	struct err e = { 0 };

	if (c->chan && ipc_send(c->chan, IPC_control_END, &m, c->id, -1, &e) < 0)
		log_warning("control: %s", e.text);
}

/* --- list --- */

static const char *state_word(const struct qmsg *m)
{
	return m->quarantined ? "quarantine" : m->active ? "active" : m->held ? "hold" : "deferred";
}

/* What the client asked to be told (RFC 3461); only when it did. */
static void add_dsn(struct row *r, const struct spool_msg *m)
{
	if (m->envid.n > 0)
		add(r, "envid", m->envid);
	if (m->ret != SMTP_RET_NONE)
		add(r, "ret", m->ret == SMTP_RET_FULL ? STR("FULL") : STR("HDRS"));
}

static void add_notify(struct row *r, const struct spool_rcpt *x)
{
	struct buf b;

	buf_init(&b, 100);
	smtp_notify_format(x->notify, &b);
	if (b.n > 0)
		add(r, "notify", arena_str(r->a, buf_view(&b)));
	if (x->orcpt.n > 0)
		add(r, "orcpt", x->orcpt);
	buf_fini(&b);
}

static void message_row(struct client *c, struct arena *a, const struct qmsg *m, const struct spool_msg *msg, bool all)
{
	struct row r = { .a = a };

	add(&r, "queue_id", str_c(m->qid));
	add(&r, "queue_name", str_c(state_word(m)));
	add_u64(&r, "arrival_time", (uint64_t)m->arrived);
	add_u64(&r, "message_size", m->size);
	if (m->quarantined)
		add(&r, "quarantine", msg->quarantine);
	if (m->expired)
		add(&r, "forced_expire", STR("yes"));
	add(&r, "sender", msg->sender);
	add_u64(&r, "tries", m->tries);
	add_u64(&r, "next_try", (uint64_t)m->next_try);
	if (all) {
		add(&r, "client", msg->client);
		add(&r, "user", msg->user);
		add(&r, "message_id", msg->message_id);
		add_dsn(&r, msg);
	}
	send_row(c, &r);
}

static void rcpt_row(struct client *c, struct arena *a, const struct spool_rcpt *x, bool all)
{
	static const char *const states[SPOOL_STATE_MAX_] = { "pending", "sent", "bounced", "told", "replaced" };
	struct row r = { .a = a };

	add(&r, "recipient", spool_rcpt_shown(x));
	add(&r, "state", str_c(states[x->state]));
	add(&r, "delay_reason", x->text);
	if (all) {
		add(&r, "kind", x->kind);
		add(&r, "original", x->original);
		add_notify(&r, x);
		add_u64(&r, "tries", x->tries);
	}
	send_row(c, &r);
}

/* Rows of one message from recipient *at on (0: with its own row), until the page is full. True: all were written. */
static bool list_message(struct client *c, struct qmsg *m, size_t *at, bool all)
{
	struct arena *a = arena_new(0);
	struct spool_msg *msg = NULL;
	struct err e = { 0 };

	if (spool_load(c->q->spool, str_c(m->qid), m->size, a, &msg, NULL, &e) < 0) {
		arena_free(&a);
		return true;
	}
	if (*at == 0) {
		message_row(c, a, m, msg, all);
		c->rows++;
	}
	for (; *at < msg->n_rcpts && c->rows < PAGE_ROWS; ++*at) {
		const struct spool_rcpt *x = &msg->rcpts[*at];
		if (!all && x->state != SPOOL_PENDING && x->state != SPOOL_BOUNCED)
			continue;
		rcpt_row(c, a, x, all);
		c->rows++;
	}
	const bool done = *at == msg->n_rcpts;
	arena_free(&a);
	return done;
}

/* The next page: what fits the channel's queue even if the tool reads nothing meanwhile. The tool asks for more. */
static void do_more(struct client *c, struct ipc_strs args)
{
	c->rows = 0;
	while (c->next < c->n && c->rows < PAGE_ROWS) {
		struct qmsg *m = sched_find(c->q, str_c(c->qids[c->next]));
		if (m == NULL || list_message(c, m, &c->rcpt, c->all)) {
			c->next++;
			c->rcpt = 0;
		}
	}
	end(c, ERR_NONE, c->next < c->n ? "more" : "");
}

static void snapshot(struct client *c, size_t max)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->qids[i]);
	free(c->qids);
	c->qids = xzalloc((max + 1) * sizeof(*c->qids));
	c->n = c->next = c->rcpt = 0;
}

static void list_those(struct client *c, bool quarantined)
{
	struct qmsg *m;
	size_t it = 0;

	snapshot(c, sched_count(c->q));
	while (c->n < LIST_MAX && sched_each(c->q, &it, &m))
		if (m->quarantined == quarantined)
			c->qids[c->n++] = xstrdup(m->qid);
	c->all = false;
	do_more(c, (struct ipc_strs){ NULL, 0 });
}

static void do_list(struct client *c, struct ipc_strs args) { list_those(c, false); }
static void do_quarantine_list(struct client *c, struct ipc_strs args) { list_those(c, true); }

/* --- one or all --- */

typedef void each_fn(struct queued *q, struct qmsg *m);

static void flush_one(struct queued *q, struct qmsg *m)
{
	if (!m->active && !m->held)
		sched_when(q, m, 0);
}

void control_journal(struct queued *q, const struct qmsg *m)
{
	struct arena *a = arena_new(0);
	struct spool_msg *msg = NULL;
	struct buf b;
	struct err e = { 0 };

	buf_init(&b, 4096);
	if (spool_load(q->spool, str_c(m->qid), m->size, a, &msg, NULL, &e) == 0) {	/* the record knows what the index does not: when its sender was warned */
		msg->tries = m->tries;
		msg->next_try = m->next_try;
		msg->held = m->held;
		msg->expired = m->expired;
		spool_journal_try(msg, &b);
		if (spool_append(q->spool, msg->qid, m->size, buf_view(&b), true, &e) < 0)
			log_error("%s: %s", m->qid, e.text);
	} else {
		log_error("%s: %s", m->qid, e.text);
	}
	buf_fini(&b);
	arena_free(&a);
}

static void hold_one(struct queued *q, struct qmsg *m)
{
	if (m->held)
		return;
	m->held = true;
	if (!m->active) {	/* else written when the try ends */
		control_journal(q, m);
		sched_when(q, m, m->next_try);
	}
	log_info("%s: placed on hold", m->qid);
}

static void release_one(struct queued *q, struct qmsg *m)
{
	if (!m->held)
		return;
	m->held = false;
	if (!m->active) {
		control_journal(q, m);
		sched_when(q, m, 0);
	}
	log_info("%s: released from hold", m->qid);
}

/* Returned to its sender unless the next try, which is now, gets rid of it. */
static void expire_one(struct queued *q, struct qmsg *m)
{
	m->expired = true;
	if (!m->active) {
		control_journal(q, m);
		if (!m->held)
			sched_when(q, m, 0);
	}
	log_info("%s: expired by hand", m->qid);
}

static void expire_release_one(struct queued *q, struct qmsg *m)
{
	m->expired = true;
	if (m->held)
		release_one(q, m);
	else
		expire_one(q, m);
}

void control_delete(struct queued *q, struct qmsg *m)
{
	if (m->active) {
		m->doomed = true;
		return;
	}
	spool_remove(q->spool, str_c(m->qid), m->size);
	qlog_removed(str_c(m->qid));
	sched_forget(q, &m);
}

/* First their names: the queue must not change while it is walked, and fn may take any message out of it. */
static size_t every(struct queued *q, each_fn *fn, bool quarantined)
{
	char **qids = xmalloc((sched_count(q) + 1) * sizeof(*qids));
	size_t n = 0, it = 0;
	struct qmsg *m;

	while (sched_each(q, &it, &m))
		if (m->quarantined == quarantined)
			qids[n++] = xstrdup(m->qid);
	for (size_t i = 0; i < n; i++) {
		if ((m = sched_find(q, str_c(qids[i]))) != NULL)
			fn(q, m);
		free(qids[i]);
	}
	free(qids);
	return n;
}

/* Of those in quarantine, or of the others: what releases or deletes ALL of one must not reach the other. *missing_out: the first that is not there. */
static size_t each(struct queued *q, struct ipc_strs args, each_fn *fn, bool quarantined, struct str *missing_out)
{
	size_t n = 0;
	struct qmsg *m;

	for (size_t i = 0; i < args.n; i++) {
		if (str_case_eq(args.v[i], STR("ALL"))) {
			n += every(q, fn, quarantined);
		} else if ((m = sched_find(q, args.v[i])) != NULL && m->quarantined == quarantined) {
			fn(q, m);
			n++;
		} else if (missing_out->n == 0) {
			*missing_out = args.v[i];
		}
	}
	return n;
}

static void say_each(struct client *c, size_t n, const char *done, bool may_be_none)
{
	char text[100];

	snprintf(text, sizeof(text), "%s: %zu message%s", done, n, n == 1 ? "" : "s");
	end(c, n > 0 || may_be_none ? ERR_NONE : ERR_NOENT, text);
}

static void do_each(struct client *c, struct ipc_strs args, each_fn *fn, const char *done)
{
	static struct str all[] = { { "ALL", 3 } };
	struct str gone = { 0 };	/* mail leaves the queue all the time */

	if (args.n == 0 && fn == flush_one) {
		args = (struct ipc_strs){ all, 1 };
		remote_flush(c->q);
	}
	say_each(c, each(c->q, args, fn, false, &gone), done, fn == flush_one);
}

static void do_flush(struct client *c, struct ipc_strs args) { do_each(c, args, flush_one, "Flushed"); }
/* One domain after the other, each in slices beside the loop. */
static void do_flush_domain(struct client *c, struct ipc_strs args)
{
	remote_flush(c->q);
	for (size_t i = 0; i < args.n; i++)
		if (flush_domain(c->q, args.v[i]) < 0) {
			end(c, ERR_TEMP, "too many flushes are under way, or an empty name");
			return;
		}
	end(c, args.n > 0 ? ERR_NONE : ERR_INPUT, args.n > 0 ? "Flush begun" : "which domain?");
}

/* As if it had just come: tried at once, its history forgotten (and its route asked anew, as at each try). */
static void requeue_one(struct queued *q, struct qmsg *m)
{
	m->held = false;
	if (m->active)
		return;
	m->tries = 0;
	m->next_try = 0;
	control_journal(q, m);
	sched_when(q, m, 0);
	log_info("%s: requeued", m->qid);
}

static void do_hold(struct client *c, struct ipc_strs args) { do_each(c, args, hold_one, "Placed on hold"); }
static void do_requeue(struct client *c, struct ipc_strs args) { do_each(c, args, requeue_one, "Requeued"); }
static void do_expire(struct client *c, struct ipc_strs args) { do_each(c, args, expire_one, "Expired"); }
static void do_expire_release(struct client *c, struct ipc_strs args) { do_each(c, args, expire_release_one, "Expired and released"); }
static void do_release(struct client *c, struct ipc_strs args) { do_each(c, args, release_one, "Released from hold"); }
static void do_delete(struct client *c, struct ipc_strs args) { do_each(c, args, control_delete, "Deleted"); }

/* What is not there is a mistake of who typed it: nothing but an id names what is kept, no recipient. */
static void do_quarantined(struct client *c, struct ipc_strs args, each_fn *fn, const char *done)
{
	struct str missing = { 0 };
	const size_t n = each(c->q, args, fn, true, &missing);
	char text[200];

	if (missing.n == 0) {
		say_each(c, n, done, false);
		return;
	}
	snprintf(text, sizeof(text), "%s: %zu message%s; not there: %.*s", done, n, n == 1 ? "" : "s", (int)(missing.n < 80 ? missing.n : 80), missing.p);
	end(c, ERR_NOENT, text);
}

static void do_quarantine_delete(struct client *c, struct ipc_strs args) { do_quarantined(c, args, control_delete, "Deleted from quarantine"); }
static void do_quarantine_release(struct client *c, struct ipc_strs args) { do_quarantined(c, args, quarantine_release, "Released from quarantine"); }

/* "quarantine-expire AGE": what is older, in seconds. */
static void do_quarantine_expire(struct client *c, struct ipc_strs args)
{
	uint64_t age;

	if (args.n != 1 || num_parse(args.v[0], 0, UINT32_MAX, &age) < 0)
		end(c, ERR_INPUT, "how old?");
	else
		say_each(c, quarantine_expire(c->q, age), "Deleted from quarantine", true);
}

static void do_show(struct client *c, struct ipc_strs args)
{
	struct qmsg *m = args.n > 0 ? sched_find(c->q, args.v[0]) : NULL;

	if (m == NULL) {
		end(c, ERR_NOENT, "no such message");
		return;
	}
	snapshot(c, 1);
	c->qids[c->n++] = xstrdup(m->qid);
	c->all = true;
	do_more(c, args);
}

static void do_status(struct client *c, struct ipc_strs args)
{
	struct arena *a = arena_new(0);
	struct row r = { .a = a };

	add_u64(&r, "messages", sched_count(c->q));
	add_u64(&r, "transactions", c->q->n_trans);
	add_u64(&r, "connections", map_count(c->q->conns));
	add_u64(&r, "agents", agents_count(c->q));
	send_row(c, &r);
	arena_free(&a);
	end(c, ERR_NONE, "");
}

/* What fits one answer; the rest is named by its number. */
static void do_tls(struct client *c, struct ipc_strs args)
{
	const struct tlsrpt_row *x;
	size_t it = 0, rows = 0;
	char text[100] = "", day[32];

	while ((x = tlsrpt_next(c->q, &it)) != NULL) {
		struct arena *a = arena_new(0);
		struct row r = { .a = a };
		if (rows++ < PAGE_ROWS) {
			tlsrpt_time_format(x->day * TLSRPT_DAY_S, day);
			add(&r, "day", str_sub(str_c(day), 0, 10));
			add(&r, "domain", x->domain);
			add(&r, "policy_type", x->policy);
			add(&r, "result_type", x->result);
			add(&r, "exchanger", x->exchanger);
			add_u64(&r, "sessions", x->n);
			send_row(c, &r);
		}
		arena_free(&a);
	}
	if (rows > PAGE_ROWS)
		snprintf(text, sizeof(text), "%zu more rows are not shown", rows - (size_t)PAGE_ROWS);
	end(c, ERR_NONE, text);
}

/* Now, today's included: what is counted from here on is another report's. */
static void do_tls_report(struct client *c, struct ipc_strs args)
{
	char text[100];

	if (!c->q->conf->smtp_tlsrpt_enable) {
		end(c, ERR_CONF, "smtp_tlsrpt_enable is off");
		return;
	}
	snprintf(text, sizeof(text), "domains that are asked whether they want a report: %zu", tlsrpt_send(c->q, clock_wall() / TLSRPT_DAY_S + 1));
	end(c, ERR_NONE, text);
}

static const struct {
	const char *word;
	void (*fn)(struct client *c, struct ipc_strs args);
} requests[] = {
	{ "list", do_list },
	{ "more", do_more },
	{ "flush", do_flush },
	{ "flush-domain", do_flush_domain },
	{ "requeue", do_requeue },
	{ "hold", do_hold },
	{ "release", do_release },
	{ "delete", do_delete },
	{ "expire", do_expire },
	{ "expire-release", do_expire_release },
	{ "show", do_show },
	{ "status", do_status },
	{ "tls", do_tls },
	{ "tls-report", do_tls_report },
	{ "quarantine-list", do_quarantine_list },
	{ "quarantine-release", do_quarantine_release },
	{ "quarantine-delete", do_quarantine_delete },
	{ "quarantine-expire", do_quarantine_expire },
};

static void on_request(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct client *c = ctx;
	const struct ipc_control_REQUEST *m = msg;

	close_fd(&fd);
	c->id = id;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		if (str_eq(m->word, str_c(requests[i].word))) {
			requests[i].fn(c, m->args);
			return;
		}
	end(c, ERR_INPUT, "unknown request");
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct client *c = ctx;

	for (size_t i = 0; i < c->n; i++)
		free(c->qids[i]);
	free(c->qids);
	ipc_chan_free(&c->chan);
	free(c);
}

struct listener {
	struct queued *q;
	int fd;
};

static void on_listener(void *ctx, unsigned events)
{
	static const uint16_t types[] = { IPC_control_REQUEST };
	struct listener *l = ctx;
	struct peer_cred who;
	struct err e = { 0 };
	const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &who, &e) < 0 || who.uid != 0) {
		log_warning("uid %u may not control the queue", (unsigned)who.uid);
		close(fd);
		return;
	}
	struct client *c = xzalloc(sizeof(*c));
	c->q = l->q;
	c->chan = ipc_chan_new(l->q->loop, fd, &ipc_control, on_request, on_closed, c);
	ipc_chan_allow(c->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

void control_start(struct queued *q, int fd)
{
	struct listener *l = xzalloc(sizeof(*l));

	l->q = q;
	l->fd = fd;
	loop_watch(q->loop, fd, LOOP_READ, on_listener, l);
}
