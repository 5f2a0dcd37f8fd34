/* Who speaks: parents register connections, authd says who a connection's user is; both are believed because the kernel says that they are root. A front speaks about its
 * own connection only, and which of its messages is legal when is the table below.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deliver/queue/queued.h"
#include "ipc/reg.h"
#include "log/log.h"
#include "os/os.h"

/* --- fronts --- */

static const uint16_t in_idle[] = { IPC_queue_MAIL, IPC_queue_RESET, IPC_queue_ETRN, IPC_queue_PROXIED, IPC_queue_XCLIENT, IPC_queue_XFORWARD, IPC_queue_EVENT,
				    IPC_queue_CCERT, IPC_queue_NEXT };
static const uint16_t in_open[] = { IPC_queue_RCPT, IPC_queue_DATA, IPC_queue_RESET };
static const uint16_t in_wait[] = { IPC_queue_RESET };
static const uint16_t in_ready[] = { IPC_queue_RCPT, IPC_queue_DATA_END, IPC_queue_RESET };
static const uint16_t in_data[] = { IPC_queue_DATA_END, IPC_queue_RESET };
static const uint16_t in_between[] = { IPC_queue_NEXT, IPC_queue_MAIL, IPC_queue_RESET };	/* RESET: the last word of the connection before */

static const struct ipc_allow phases[] = {
	[PHASE_IDLE] = { in_idle, ARRAY_LEN(in_idle) },
	[PHASE_OPEN] = { in_open, ARRAY_LEN(in_open) },
	[PHASE_WAIT] = { in_wait, ARRAY_LEN(in_wait) },
	[PHASE_DATA] = { in_data, ARRAY_LEN(in_data) },
	[PHASE_READY] = { in_ready, ARRAY_LEN(in_ready) },
	[PHASE_BETWEEN] = { in_between, ARRAY_LEN(in_between) },
};

void conn_phase(struct conn_entry *c, enum conn_phase p)
{
	if (p == PHASE_OPEN && trans_ready(c->trans))
		p = PHASE_READY;
	if (c->chan)
		ipc_chan_allow(c->chan, phases[p]);
}

static struct str host_of(const struct conn_entry *c)
{
	return c->name[0] == '\0' || strcmp(c->name, "unknown") == 0 ? (struct str){ 0 } : str_c(c->name);
}

void conn_ready(struct conn_entry *c, uint32_t id, int fd, struct str qid)
{
	const struct ipc_queue_READY m = { .size_max = c->conf->message_size_limit, .host = host_of(c), .qid = qid };
	struct err e = { 0 };

	if (c->chan && ipc_send(c->chan, IPC_queue_READY, &m, id, fd, &e) < 0)
		log_error("reply: %s", e.text);
}

static void reply(struct conn_entry *c, uint32_t id, uint64_t code, const char *enhanced, struct str text, struct str qid, enum queue_refuser by)
{
	struct ipc_queue_REPLY m = { .code = code, .enhanced = str_c(enhanced), .text = str_sub(text, 0, 400), .qid = qid, .refuser = by, .host = host_of(c) };
	struct err e = { 0 };

	trouble_refused(c, code, enhanced, text);
	if (c->chan && ipc_send(c->chan, IPC_queue_REPLY, &m, id, -1, &e) < 0)
		log_error("reply: %s", e.text);
}

void conn_reply(struct conn_entry *c, uint32_t id, uint64_t code, const char *enhanced, struct str text, struct str qid)
{
	reply(c, id, code, enhanced, text, qid, REFUSER_US);
}

void conn_refuse(struct conn_entry *c, uint32_t id, enum queue_refuser by, uint64_t code, const char *enhanced, struct str text, struct str qid)
{
	reply(c, id, code, enhanced, text, qid, by);
}

bool conn_trusted(const struct conn_entry *c)
{
	return c->has_user || c->local;
}

bool conn_completes(const struct conn_entry *c)
{
	return conn_trusted(c) || c->conf->always_add_missing_headers;
}

void conn_facts(const struct conn_entry *c, struct restrict_facts *f)
{
	*f = (struct restrict_facts){
		.mynetworks = c->mynetworks || c->local, .local = c->local, .user = c->has_user, .stress = c->stress, .addr_known = c->addr_known, .client = str_c(c->client),
		.login = c->has_user ? str_c(c->user) : STR(""), .server = str_c(c->server), .client_port = c->client_port, .server_port = c->server_port,
		.client_name = c->named ? c->name : NULL, .reverse_name = c->reverse,
	};
	memcpy(f->addr, c->addr, sizeof(f->addr));
	if (c->cert == NULL)
		return;
	f->ccert = str_c(c->cert->cert);
	f->ccert_key = str_c(c->cert->key);
	f->ccert_trusted = c->cert->trusted;
	f->ccert_subject = str_c(c->cert->subject);
	f->ccert_issuer = str_c(c->cert->issuer);
}

static void conn_forget(struct conn_entry *c)
{
	judge_free(&c->judge);
	trans_drop(&c->trans);
	(void)map_del(c->q->conns, str_n(&c->id, sizeof(c->id)));
	client_forget_forwarded(c);
	client_forget_cert(c);
}

static void first_free(struct conn_entry *c)
{
	if (c->first)
		arena_free(&c->first->arena);
	free(c->first);
	c->first = NULL;
}

static void conn_end(struct conn_entry *c)
{
	ipc_chan_free(&c->chan);
	conn_forget(c);
	first_free(c);
	list_del(&c->siblings);
	free(c);
}

/* It says that it is done with the message, but keeps a descriptor to write to it. Again and again, that would fill the disk with files without names. */
static bool keeps_writing(struct conn_entry *c, uint16_t type, uint32_t id)
{
	if ((type != IPC_queue_RESET && type != IPC_queue_DATA_END) || !trans_written(c->trans))
		return false;
	log_warning("%s: the front keeps the message open: channel closed", trans_id(c->trans));
	if (type == IPC_queue_DATA_END)
		conn_reply(c, id, 451, "4.3.0", STR("Error: queue file write error"), (struct str){ 0 });
	conn_end(c);
	return true;
}

/* --- the next connection on the same channel --- */

/* Parent and front both tell of it, over sockets that nothing orders. What the front says of the next connection is read when the parent has told whose that is;
 * what it said of the one before has been read by then, and who the client is it does not say at all. */
static bool next_begins(struct conn_entry *c, uint64_t conn)
{
	if (c->between && conn == c->id) {
		c->between = false;
		conn_phase(c, PHASE_IDLE);
		return true;
	}
	if (conn == c->id || list_empty(&c->siblings))
		return false;	/* it speaks of this one already; or nobody is left to tell of another */
	c->next = conn;
	ipc_chan_hold(c->chan, true);
	return true;
}

/* MAIL, which may bring NEXT's word along: then it waits here when that is too early. */
static bool mail_begins(struct conn_entry *c, uint32_t id, const struct ipc_queue_MAIL *m)
{
	if (c->first || (m->next == 0 ? c->between : !next_begins(c, m->next)))
		return false;
	if (c->next == 0) {
		trans_mail(c, id, m);
		return true;
	}
	c->first = xzalloc(sizeof(*c->first));
	c->first->arena = arena_new(0);
	c->first->id = id;
	c->first->mail = ipc_copy(&ipc_queue, IPC_queue_MAIL, m, c->first->arena);
	return c->first->mail != NULL;
}

/* The parent has told of it, too. */
static void first_begins(struct conn_entry *c)
{
	struct first_mail *m = c->first;

	if (m == NULL)
		return;
	c->first = NULL;
	trans_mail(c, m->id, m->mail);
	arena_free(&m->arena);
	free(m);
}

static void on_front(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct conn_entry *c = ctx;
	bool allowed = true;

	close_fd(&fd);
	if (keeps_writing(c, type, id))
		return;
	switch (type) {
	case IPC_queue_MAIL:
		allowed = mail_begins(c, id, msg);
		break;
	case IPC_queue_RCPT:
		trans_rcpt(c->trans, id, msg);
		break;
	case IPC_queue_DATA:
		trans_data(c->trans, id);
		break;
	case IPC_queue_DATA_END:
		trans_data_end(c->trans, id, msg);
		break;
	case IPC_queue_ETRN:
		etrn_ask(c, id, ((const struct ipc_queue_ETRN *)msg)->domain);
		break;
	case IPC_queue_EVENT:
		limit_event(c, id, msg);
		break;
	case IPC_queue_PROXIED:
		allowed = client_proxied(c, msg);
		break;
	case IPC_queue_CCERT:
		allowed = client_cert(c, msg);
		break;
	case IPC_queue_XCLIENT:
		allowed = client_xclient(c, id, msg);
		break;
	case IPC_queue_XFORWARD:
		allowed = client_xforward(c, id, msg);
		break;
	case IPC_queue_RESET:
		trouble_data(c, ((const struct ipc_queue_RESET *)msg)->malformed);
		judge_free(&c->judge);	/* of an ETRN: its end would be taken for the end of what comes now */
		trans_drop(&c->trans);
		conn_phase(c, c->between ? PHASE_BETWEEN : PHASE_IDLE);
		break;
	case IPC_queue_NEXT:
		allowed = next_begins(c, ((const struct ipc_queue_NEXT *)msg)->conn);
		break;
	default:
		break;
	}
	if (!allowed)
		conn_end(c);
}

static void on_front_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	conn_end(ctx);
}

/* --- parents --- */

static bool put_text(char *out, size_t max, struct str s)
{
	if (s.n >= max)
		return false;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

/* --- whose connection it is --- */

static void name_user(struct conn_entry *c, struct ipc_chan *ch, uint32_t id, struct str user, struct str rights)
{
	const struct ipc_queue_USER_OK ok = { 0 };
	struct err e = { 0 };
	struct str w;

	c->has_user = false;
	if (put_text(c->user, sizeof(c->user), user) && put_text(c->rights, sizeof(c->rights), rights))
		while (str_token(&rights, " ,", &w))
			c->has_user |= str_eq(w, STR("submit"));
	if (ipc_send(ch, IPC_queue_USER_OK, &ok, id, -1, &e) < 0)
		log_error("authd: %s", e.text);
}

/* What authd said of a connection whose registration still lies unread in the parent's channel: nothing orders the two. It is acknowledged when that
 * has come; of a connection that has ended meanwhile it never comes, and nobody waits for the answer. */
struct early {
	struct list node;
	struct queued *q;
	struct ipc_chan *chan;
	struct timer *timer;
	uint64_t conn;
	uint32_t id;
	char *user, *rights;
};

static void early_free(struct early *u)
{
	timer_del(&u->timer);
	list_del(&u->node);
	u->q->n_early--;
	free(u->user);
	free(u->rights);
	loop_free_later(u->q->loop, u);
}

static void early_expired(void *ctx)
{
	early_free(ctx);
}

static void early_add(struct queued *q, struct ipc_chan *ch, uint32_t id, const struct ipc_queue_USER *m)
{
	if (q->n_early >= QUEUED_EARLY_MAX) {
		log_warning("authd names more than %d connections that are not registered", QUEUED_EARLY_MAX);
		return;
	}
	struct early *u = xzalloc(sizeof(*u));
	*u = (struct early){ .q = q, .chan = ch, .conn = m->conn, .id = id, .user = xstrndup(m->user.p, m->user.n), .rights = xstrndup(m->rights.p, m->rights.n) };
	u->timer = loop_timer(q->loop, QUEUED_EARLY_MS, early_expired, u);
	list_append(&q->early, &u->node);
	q->n_early++;
}

static void early_apply(struct conn_entry *c)
{
	list_each_safe(it, &c->q->early) {
		struct early *u = list_of(it, struct early, node);

		if (u->conn != c->id)
			continue;
		name_user(c, u->chan, u->id, str_c(u->user), str_c(u->rights));
		early_free(u);
	}
}

static void early_forget(struct queued *q, const struct ipc_chan *ch)
{
	list_each_safe(it, &q->early) {
		struct early *u = list_of(it, struct early, node);

		if (u->chan == ch)
			early_free(u);
	}
}

struct parent {
	struct queued *q;
	struct ipc_chan *chan;
	struct list conns;	/* that it registered */
};

static void on_conn(struct parent *p, const struct ipc_reg_CONN *m, int fd)
{
	struct queued *q = p->q;
	const struct rules *rules = rules_of(q, m->listener);
	struct conn_entry *c;

	/* A parent with a newer configuration than ours: refused until we have it too. */
	if (rules == NULL || !str_eq(m->service, STR("smtp")) || map_count(q->conns) >= QUEUED_CONNS_MAX || map_get(q->conns, str_n(&m->conn, sizeof(m->conn)))) {
		log_warning("connection from %.*s not taken", STR_ARG(m->client));
		close_fd(&fd);
		return;
	}
	c = xzalloc(sizeof(*c));
	c->q = q;
	c->id = m->conn;
	c->rules = rules;
	c->conf = rules->conf;
	if (!put_text(c->profile, sizeof(c->profile), m->profile) || !client_register(c, m->client)) {
		free(c);
		close_fd(&fd);
		return;
	}
	(void)put_text(c->server, sizeof(c->server), m->server);
	c->client_port = m->client_port;
	c->stress = m->stress == 1;
	c->server_port = m->server_port;
	c->lmtp = str_eq(m->profile, STR("lmtp"));
	if (str_eq(m->profile, STR("local")) && m->uid > 0) {
		c->local = true;
		c->uid = m->uid - 1;
	}
	(void)map_set(q->conns, str_n(&c->id, sizeof(c->id)), c);
	list_append(&p->conns, &c->siblings);
	c->chan = ipc_chan_new(q->loop, fd, &ipc_queue, on_front, on_front_closed, c);
	conn_phase(c, PHASE_IDLE);
	early_apply(c);
}

/* Of the connection before nothing is left: what does not stand here is as new. */
static bool conn_renew(struct conn_entry *c, const struct ipc_reg_AGAIN *m)
{
	struct conn_entry fresh = { .q = c->q, .id = m->conn, .chan = c->chan, .rules = c->rules, .conf = c->conf, .client_port = m->client_port,
				    .server_port = m->server_port, .stress = m->stress == 1, .lmtp = c->lmtp, .between = true, .next = c->next, .first = c->first,
				    .siblings = c->siblings };

	memcpy(fresh.profile, c->profile, sizeof(fresh.profile));
	conn_forget(c);
	*c = fresh;
	(void)map_set(c->q->conns, str_n(&c->id, sizeof(c->id)), c);
	return put_text(c->server, sizeof(c->server), m->server) && client_register(c, m->client);
}

static void on_again(struct queued *q, const struct ipc_reg_AGAIN *m)
{
	struct conn_entry *c = map_get(q->conns, str_n(&m->was, sizeof(m->was)));

	if (c == NULL)
		return;		/* its channel was closed here: so it is for the next one */
	/* An honest front has closed the message before its connection was over: see keeps_writing. */
	if (c->local || trans_written(c->trans) || map_get(q->conns, str_n(&m->conn, sizeof(m->conn))) || !conn_renew(c, m)) {
		log_warning("connection from %.*s not taken", STR_ARG(m->client));
		conn_end(c);
		return;
	}
	conn_phase(c, PHASE_BETWEEN);
	if (c->next == c->id) {
		(void)next_begins(c, c->id);
		c->next = 0;
		ipc_chan_hold(c->chan, false);
	}
	early_apply(c);
	if (c->next == 0)
		first_begins(c);
}

static const uint16_t reg_first[] = { IPC_reg_HELLO };
static const uint16_t reg_then[] = { IPC_reg_CONN, IPC_reg_AGAIN };

static void on_parent(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct parent *p = ctx;

	if (type == IPC_reg_CONN) {
		on_conn(p, msg, fd);
		return;
	}
	if (type == IPC_reg_AGAIN) {
		on_again(p->q, msg);
		return;
	}
	struct err e = { 0 };
	close_fd(&fd);
	if (reg_welcome(ch, msg, &ipc_queue, &e) < 0) {
		log_error("registration refused: %s", e.text);
		ipc_chan_free(&p->chan);
		free(p);
		return;
	}
	ipc_chan_allow(p->chan, (struct ipc_allow){ reg_then, ARRAY_LEN(reg_then) });
}

/* Its connections live on: their channels are the fronts'. But what it was still to tell of a next one never comes: a front that waits for that hears it now. */
static void on_parent_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct parent *p = ctx;

	list_each_safe(it, &p->conns) {
		struct conn_entry *c = list_of(it, struct conn_entry, siblings);

		list_del(&c->siblings);
		if (c->next != 0)
			conn_end(c);
	}
	early_forget(p->q, ch);
	ipc_chan_free(&p->chan);
	free(p);
}

/* --- authd --- */

static void on_auth(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct parent *p = ctx;
	const struct ipc_queue_USER *m = msg;
	struct conn_entry *c = map_get(p->q->conns, str_n(&m->conn, sizeof(m->conn)));

	close_fd(&fd);
	if (c)
		name_user(c, ch, id, m->user, m->rights);
	else
		early_add(p->q, ch, id, m);
}

/* --- listeners --- */

struct listener {
	struct queued *q;
	int fd;
	bool auth;
};

static void accept_one(struct listener *l, int fd)
{
	static const uint16_t auth_types[] = { IPC_queue_USER };
	struct peer_cred who;
	struct err e = { 0 };

	if (sock_peer_cred(fd, &who, &e) < 0 || (who.uid != 0 && who.uid != geteuid())) {
		log_warning("uid %u may not connect here", (unsigned)who.uid);
		close(fd);
		return;
	}
	struct parent *p = xzalloc(sizeof(*p));
	p->q = l->q;
	list_init(&p->conns);
	p->chan = ipc_chan_new(l->q->loop, fd, l->auth ? &ipc_queue : &ipc_reg, l->auth ? on_auth : on_parent, on_parent_closed, p);
	ipc_chan_bursts(p->chan);	/* many fronts wait for what one parent says */
	ipc_chan_allow(p->chan, l->auth ? (struct ipc_allow){ auth_types, ARRAY_LEN(auth_types) } : (struct ipc_allow){ reg_first, ARRAY_LEN(reg_first) });
}

static void on_listener(void *ctx, unsigned events)
{
	struct listener *l = ctx;
	const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		accept_one(l, fd);
}

static void listen_on(struct queued *q, int fd, bool auth)
{
	struct listener *l = xzalloc(sizeof(*l));

	l->q = q;
	l->fd = fd;
	l->auth = auth;
	loop_watch(q->loop, fd, LOOP_READ, on_listener, l);
}

void conns_start(struct queued *q, int register_fd, int auth_fd)
{
	q->conns = map_new();
	list_init(&q->early);
	listen_on(q, register_fd, false);
	listen_on(q, auth_fd, true);
}
