/* The only file that talks to the other daemons. Channels are opened on first use: most connections never need authd. One request is outstanding at a
 * time; an answer that was not asked for closes the channel. */
#include "smtpd/peers.h"

#include <unistd.h>

#include "io/tls.h"
#include "ipc/auth.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/xclient.h"

static const uint16_t queue_may_send[] = { IPC_queue_REPLY, IPC_queue_OPEN, IPC_queue_REPLIES, IPC_queue_READY };
static const uint16_t auth_may_send[] = { IPC_auth_CHALLENGE, IPC_auth_OK, IPC_auth_FAIL };

static void queue_lost(struct session *s)
{
	ipc_chan_free(&s->queue);
	close_fd(&s->ready_fd);
	s->t.open = false;
	if (s->mode == MODE_QUEUE)
		session_abort(s, "4.3.0", "Error: queue service not available");
}

static void on_queue_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct session *s = ctx;

	log_warning("%s: queued: %s", s->host, why->text);
	queue_lost(s);
}

/* An answer for each recipient, to the end of an LMTP message. */
static bool replies_sane(const struct session *s, const struct ipc_queue_REPLIES *m)
{
	return s->profile->lmtp && s->asked == IPC_queue_DATA_END && m->codes.n > 0 && m->codes.n == s->t.rcpt_ok && m->enhanced.n == m->codes.n &&
	       m->texts.n == m->codes.n;
}

static bool reply_sane(const struct ipc_queue_REPLY *r)
{
	return r->code >= 200 && r->code <= 599 && r->code / 100 != 3;
}

static bool ready_sane(const struct session *s)
{
	return s->cmd == CMD_RCPT && s->ready_fd < 0;
}

/* The usual answer to RCPT, and a descriptor for what follows. */
static void ready(struct session *s, const struct ipc_queue_READY *m, int fd, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_REPLY r = { .code = 250, .enhanced = STR("2.1.5"), .text = STR("Ok"), .qid = m->qid };

	s->ready_fd = fd;
	s->ready_max = m->size_max;
	session_host(s, m->host);
	then(s, &r);
}

static void on_queue(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct session *s = ctx;
	void (*const then)(struct session *, const struct ipc_queue_REPLY *) = s->on_queue;

	if (s->mode != MODE_QUEUE || id != s->wait_id || then == NULL || (type == IPC_queue_OPEN || type == IPC_queue_READY) != (fd >= 0) ||
	    (type == IPC_queue_OPEN && s->cmd != CMD_DATA && s->cmd != CMD_BDAT) || (type == IPC_queue_REPLY && !reply_sane(msg)) ||
	    (type == IPC_queue_REPLIES && !replies_sane(s, msg)) || (type == IPC_queue_READY && !ready_sane(s))) {
		if (fd >= 0)
			close(fd);
		log_warning("%s: queued sent an answer that was not asked for", s->host);
		queue_lost(s);
		return;
	}
	s->wait_id = 0;
	s->on_queue = NULL;
	s->unheard = false;
	if (type == IPC_queue_REPLY) {
		session_host(s, ((const struct ipc_queue_REPLY *)msg)->host);
		s->refuser = ((const struct ipc_queue_REPLY *)msg)->refuser;
	} else if (type == IPC_queue_REPLIES) {
		s->refuser = ((const struct ipc_queue_REPLIES *)msg)->refuser;
	}
	if (type == IPC_queue_OPEN)
		data_open(s, fd, ((const struct ipc_queue_OPEN *)msg)->size_max);
	else if (type == IPC_queue_REPLIES)
		data_each(s, msg);
	else if (type == IPC_queue_READY)
		ready(s, msg, fd, then);
	else
		then(s, msg);
	s->refuser = REFUSER_US;
	session_run(s);
}

static void queue_tell(struct session *s, uint16_t type, const void *m)
{
	struct err e = { 0 };

	s->unheard = true;
	if (ipc_send(s->queue, type, m, 0, -1, &e) < 0)
		log_error("%s: %s", s->host, e.text);
}

static bool queue_open(struct session *s)
{
	const bool again = s->fc.queue_fd < 0;

	if (s->queue != NULL)
		return true;
	if (!again)
		s->queue = ipc_chan_new(s->env->loop, s->fc.queue_fd, &ipc_queue, on_queue, on_queue_closed, s);
	else if (s->fc.queue != NULL && ipc_chan_pass(s->fc.queue, on_queue, on_queue_closed, s))
		s->queue = s->fc.queue;
	else
		return false;
	s->fc.queue = NULL;
	s->fc.queue_fd = -1;
	ipc_chan_allow(s->queue, (struct ipc_allow){ queue_may_send, ARRAY_LEN(queue_may_send) });
	ipc_chan_alone(s->queue);
	s->next_due = again;	/* queued must not take what comes for words of the connection before */
	return true;
}

static bool queue_next(struct session *s)
{
	const struct ipc_queue_NEXT next = { .conn = s->fc.conn };

	if (!queue_open(s))
		return false;
	if (s->next_due)
		queue_tell(s, IPC_queue_NEXT, &next);
	s->next_due = false;
	return true;
}

static void queue_ask(struct session *s, uint16_t type, const void *m, uint64_t ms, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	struct err e = { 0 };

	if (!queue_next(s)) {
		session_reply(s, 421, "4.3.0", "%s Error: queue service not available", s->conf->myhostname);
		return;
	}
	s->wait_id = ipc_next_id(s->queue);
	s->on_queue = then;
	s->asked = type;
	if (ipc_send(s->queue, type, m, s->wait_id, -1, &e) < 0) {
		log_error("%s: %s", s->host, e.text);
		s->wait_id = 0;
		s->on_queue = NULL;
		session_reply(s, 451, "4.3.0", "Error: internal error");
		return;
	}
	session_wait(s, MODE_QUEUE, ms);
}

void peers_mail(struct session *s, const struct ipc_queue_MAIL *m, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	struct ipc_queue_MAIL with_next = *m;

	/* Most connections say this first: it has room for NEXT's word, and spares both sides a message. */
	if (queue_open(s) && s->next_due) {
		with_next.next = s->fc.conn;
		s->next_due = false;
	}
	queue_ask(s, IPC_queue_MAIL, &with_next, QUEUE_MS, then);
}

void peers_rcpt(struct session *s, const struct ipc_queue_RCPT *m, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	queue_ask(s, IPC_queue_RCPT, m, QUEUE_MS, then);
}

void peers_data(struct session *s, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_DATA m = { 0 };

	queue_ask(s, IPC_queue_DATA, &m, QUEUE_MS, then);
}

void peers_data_end(struct session *s, const struct ipc_queue_DATA_END *m, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	queue_ask(s, IPC_queue_DATA_END, m, QUEUE_END_MS, then);
}

void peers_etrn(struct session *s, struct str domain, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_ETRN m = { .domain = domain };

	queue_ask(s, IPC_queue_ETRN, &m, QUEUE_MS, then);
}

void peers_proxied(struct session *s, uint16_t client_port, uint16_t server_port)
{
	const struct ipc_queue_PROXIED m = { .client = str_c(s->fc.client), .client_port = client_port, .server_port = server_port };

	if (queue_next(s))
		queue_tell(s, IPC_queue_PROXIED, &m);
}

void peers_xclient(struct session *s, const struct smtp_xattrs *x, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_XCLIENT m = { .name = x->v[XATTR_NAME], .addr = x->v[XATTR_ADDR], .login = x->v[XATTR_LOGIN] };

	queue_ask(s, IPC_queue_XCLIENT, &m, QUEUE_MS, then);
}

void peers_xforward(struct session *s, const struct smtp_xattrs *x, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_XFORWARD m = { .name = x->v[XATTR_NAME], .addr = x->v[XATTR_ADDR], .helo = x->v[XATTR_HELO], .ident = x->v[XATTR_IDENT] };

	queue_ask(s, IPC_queue_XFORWARD, &m, QUEUE_MS, then);
}

void peers_ccert(struct session *s, const struct tls_cert_facts *f)
{
	const struct ipc_queue_CCERT m = {
		.cert = str_c(f->cert), .key = str_c(f->key), .trusted = f->trusted, .subject = str_c(f->subject), .issuer = str_c(f->issuer),
	};

	if (queue_next(s))
		queue_tell(s, IPC_queue_CCERT, &m);
}

void peers_event(struct session *s, struct str what, void (*then)(struct session *, const struct ipc_queue_REPLY *))
{
	const struct ipc_queue_EVENT m = { .what = what };

	queue_ask(s, IPC_queue_EVENT, &m, QUEUE_MS, then);
}

void peers_reset(struct session *s, const char *malformed)
{
	const struct ipc_queue_RESET m = { .malformed = malformed ? str_c(malformed) : (struct str){ 0 } };
	struct err e = { 0 };

	if (s->queue != NULL && ipc_send(s->queue, IPC_queue_RESET, &m, 0, -1, &e) < 0)
		log_error("%s: %s", s->host, e.text);
}

/* --- authd --- */

static void on_auth_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct session *s = ctx;

	ipc_chan_free(&s->auth);
	if (s->mode != MODE_AUTH) {
		if (s->mode == MODE_SASL_LINE)
			log_info("%s: authd: %s", s->host, why->text);
		return;
	}
	const struct ipc_auth_FAIL f = { .code = ERR_TEMP, .text = STR("Temporary authentication failure") };
	auth_failed(s, &f);
}

static void on_auth(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct session *s = ctx;

	if (fd >= 0)
		close(fd);
	if (s->mode != MODE_AUTH) {
		log_warning("%s: authd sent an answer that was not asked for", s->host);
		ipc_chan_free(&s->auth);
		return;
	}
	if (type == IPC_auth_CHALLENGE) {
		auth_challenge(s, ((const struct ipc_auth_CHALLENGE *)msg)->data);
	} else if (type == IPC_auth_OK) {
		ipc_chan_free(&s->auth);
		auth_done(s, ((const struct ipc_auth_OK *)msg)->user);
	} else {
		auth_failed(s, msg);
	}
}

static int auth_send(struct session *s, uint16_t type, const void *m)
{
	struct err e = { 0 };

	if (s->auth == NULL)
		return -1;
	if (ipc_send(s->auth, type, m, 1, -1, &e) < 0) {
		log_error("%s: %s", s->host, e.text);
		return -1;
	}
	return 0;
}

int peers_auth_start(struct session *s, struct str mech, struct str initial)
{
	const struct ipc_auth_START m = { .mech = mech, .initial = initial };

	if (s->auth == NULL && s->fc.auth_fd >= 0 && !s->auth_gone) {
		s->auth = ipc_chan_new(s->env->loop, s->fc.auth_fd, &ipc_auth, on_auth, on_auth_closed, s);
		ipc_chan_allow(s->auth, (struct ipc_allow){ auth_may_send, ARRAY_LEN(auth_may_send) });
		s->auth_gone = true;	/* the descriptor is the channel's now; there is no second one */
	}
	const struct ipc_auth_CLIENT who = { .address = str_c(s->fc.client) };
	if (s->other_client && auth_send(s, IPC_auth_CLIENT, &who) < 0)
		return -1;
	s->other_client = false;
	if (auth_send(s, IPC_auth_START, &m) < 0)
		return -1;
	session_wait(s, MODE_AUTH, AUTH_MS);
	return 0;
}

int peers_auth_step(struct session *s, struct str data)
{
	const struct ipc_auth_STEP m = { .data = data };

	if (auth_send(s, IPC_auth_STEP, &m) < 0)
		return -1;
	session_wait(s, MODE_AUTH, AUTH_MS);
	return 0;
}

void peers_auth_cancel(struct session *s)
{
	const struct ipc_auth_CANCEL m = { 0 };

	(void)auth_send(s, IPC_auth_CANCEL, &m);
}

/* The channel for the client's next connection. While an answer is outstanding there is none: it would be taken for one of that connection's. Nor while what was said
 * may lie there unread: queued would meet it when the parent has told it of that connection already. Of RESET alone it knows that it may come late. */
static struct ipc_chan *queue_left(struct session *s)
{
	struct ipc_chan *left = s->fc.queue;

	if (s->queue == NULL && s->fc.queue_fd >= 0)	/* never asked: queued waits for a first word */
		left = ipc_chan_new(s->env->loop, s->fc.queue_fd, &ipc_queue, on_queue, on_queue_closed, s);
	s->fc.queue = NULL;
	s->fc.queue_fd = -1;
	if (s->queue == NULL)
		return left;
	if (s->wait_id != 0 || s->unheard) {
		ipc_chan_free(&s->queue);
		return NULL;
	}
	if (s->t.open)
		peers_reset(s, NULL);
	left = s->queue;
	s->queue = NULL;
	return left;
}

void peers_close(struct session *s)
{
	const int auth = s->auth_gone ? -1 : s->fc.auth_fd;

	ipc_chan_free(&s->auth);
	s->fc.auth_fd = -1;
	front_keep(s->env, auth, queue_left(s));
}
