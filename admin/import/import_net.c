/* The connection to another server, and the frame of the fetcher: it answers the writer's questions one after another, with the language's help. Order of its
 * life: resolve and connect (as user_remote already), read the certificates it trusts, give everything else up, then TLS and the first byte
 * of the server. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/num.h"
#include "admin/import/import_net.h"
#include "ipc/import.h"
#include "os/confine.h"
#include "os/os.h"

enum { IN_HIGH = 256 * 1024, CONNECT_S = 30, CHUNK = 65536, LISTED_AT_ONCE = 500, PLACES_MAX = 1024 };

/* --- the connection --- */

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct net *const n = ctx;
	struct str in;

	switch (ev) {
	case CONN_EV_DATA:
	case CONN_EV_CLOSED:
		in = conn_input(c);
		buf_str(&n->in, in);
		conn_consume(c, in.n);
		if (ev == CONN_EV_CLOSED) {
			n->closed = true;
			snprintf(n->why, sizeof n->why, "the server has closed the connection");
		} else if (n->in.n - n->used > IN_HIGH) {
			conn_pause(c, true);
		}
		break;
	case CONN_EV_SECURED:
		n->secured = true;
		break;
	case CONN_EV_DRAINED:
		break;
	case CONN_EV_TIMEOUT:
		n->closed = true;
		snprintf(n->why, sizeof n->why, "the server says nothing");
		break;
	case CONN_EV_ERROR:
		n->closed = true;
		snprintf(n->why, sizeof n->why, "%s", conn_error(c));
		break;
	}
	loop_stop(n->l);
}

static int fill(struct net *n, struct err *e)
{
	const size_t had = n->in.n;

	if (n->used > 0 && (n->used == n->in.n || n->used > IN_HIGH)) {
		buf_shift(&n->in, n->used);
		n->used = 0;
		return fill(n, e);
	}
	conn_pause(n->c, false);
	while (!n->closed && n->in.n == had)
		loop_run(n->l);
	if (n->in.n > had)
		return 0;
	return err_set(e, ERR_CLOSED, 0, "%s", n->why);
}

/* Names and the connection: tried in order. */
static int dial(const char *host, const char *port, int *fd_out, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	const struct timeval wait = { .tv_sec = CONNECT_S };
	struct addrinfo *list = NULL;
	const int r = getaddrinfo(host, port, &hints, &list);
	int fd = -1;

	if (r != 0)
		return err_set(e, ERR_TEMP, 0, "%s: %s", host, gai_strerror(r));
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0)
			close_fd(&fd);
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "%s port %s", host, port);
	*fd_out = fd;
	return 0;
}

int net_open(struct net *n, const struct import_options *o, const char *port, struct err *e)
{
	static const struct conn_limits limits = { .in_max = 65536, .out_high = 1 << 20, .out_max = 4 << 20 };
	int fd;

	buf_init(&n->in, (size_t)NET_LINE_MAX + 2 * IN_HIGH);
	if (dial(o->host, port, &fd, e) < 0)
		return -1;
	if ((o->tls == NULL || strcmp(o->tls, "none") != 0) && tls_client_new(!o->no_verify, o->ca_file, &n->tls, e) < 0) {
		close(fd);
		return -1;
	}
	n->l = loop_new();
	n->c = conn_new(n->l, fd, &limits, on_conn, n);
	conn_idle(n->c, NET_WAIT_MS);
	return 0;
}

int net_secure(struct net *n, const char *host, struct err *e)
{
	buf_reset(&n->in);
	n->used = 0;
	conn_starttls_client(n->c, n->tls, host);
	while (!n->secured && !n->closed)
		loop_run(n->l);
	return n->secured ? 0 : err_set(e, ERR_CLOSED, 0, "TLS: %s", n->why);
}

void net_close(struct net *n)
{
	conn_free(&n->c);
	tls_ctx_free(&n->tls);
	buf_fini(&n->in);
	if (n->l)
		loop_free(&n->l);
}

int net_line(struct net *n, struct str *line, struct err *e)
{
	size_t seen = 0;

	for (;;) {
		const struct str in = str_n(n->in.p + n->used, n->in.n - n->used);
		const char *const nl = in.n > seen ? memchr(in.p + seen, '\n', in.n - seen) : NULL;
		if (nl) {
			size_t len = (size_t)(nl - in.p);
			n->used += len + 1;
			if (len > 0 && in.p[len - 1] == '\r')
				len--;
			*line = str_n(in.p, len);
			return memchr(line->p, '\0', line->n) ? err_set(e, ERR_INPUT, 0, "NUL in the server's answer") : 0;
		}
		seen = in.n;
		if (in.n > NET_LINE_MAX)
			return err_set(e, ERR_LIMIT, 0, "the server's answer is longer than %d bytes", NET_LINE_MAX);
		if (fill(n, e) < 0)
			return -1;
	}
}

int net_bytes(struct net *n, uint64_t want, struct buf *out, struct err *e)
{
	while (want > 0) {
		size_t have = n->in.n - n->used;
		if (have == 0) {
			if (fill(n, e) < 0)
				return -1;
			continue;
		}
		have = want < have ? (size_t)want : have;
		buf_mem(out, n->in.p + n->used, have);
		n->used += have;
		want -= have;
	}
	return buf_check(out, "message", e);
}

int net_write(struct net *n, struct str s, struct err *e)
{
	if (n->closed)
		return err_set(e, ERR_CLOSED, 0, "%s", n->why);
	conn_write(n->c, s);
	conn_flush(n->c);
	return 0;
}

/* --- to the writer --- */

static int say(struct fetcher *f, uint16_t type, const void *msg, struct err *e)
{
	return ipc_send_fd(f->chan, &ipc_import, type, msg, f->request, -1, e);
}

int fetched(struct fetcher *f, uint32_t place, uint32_t flags, int64_t date, struct str *keywords, size_t n_keywords, struct str text, struct err *e)
{
	const struct ipc_import_MESSAGE m = { .place = place, .size = text.n, .flags = flags, .date = date > 0 ? (uint64_t)date : 0,
		.keywords = { keywords, n_keywords } };

	if (say(f, IPC_import_MESSAGE, &m, e) < 0)
		return -1;
	for (size_t at = 0; at < text.n; at += CHUNK) {
		const struct ipc_import_CHUNK c = { .data = str_sub(text, at, text.n - at < CHUNK ? text.n - at : CHUNK) };
		if (say(f, IPC_import_CHUNK, &c, e) < 0)
			return -1;
	}
	return 0;
}

static int say_folders(struct fetcher *f, struct err *e)
{
	for (size_t i = 0; i < f->n_folders; i++) {
		const struct ipc_import_FOLDER m = { .name = f->folders[i].name, .special = f->folders[i].special, .subscribed = f->folders[i].subscribed };
		if (say(f, IPC_import_FOLDER, &m, e) < 0)
			return -1;
	}
	return 0;
}

static int say_ids(struct fetcher *f, struct err *e)
{
	for (size_t i = 0; i < f->n_ids; i += LISTED_AT_ONCE) {
		const struct ipc_import_LISTED m = { .ids = { f->ids + i, f->n_ids - i < LISTED_AT_ONCE ? f->n_ids - i : LISTED_AT_ONCE } };
		if (say(f, IPC_import_LISTED, &m, e) < 0)
			return -1;
	}
	return 0;
}

static size_t places_read(const struct fetcher *f, struct str s, uint32_t out[PLACES_MAX])
{
	size_t n = 0;

	for (; s.n >= 4 && n < PLACES_MAX; s = str_from(s, 4)) {
		const uint32_t place = get_le32(s.p);
		if (place < f->n_ids)
			out[n++] = place;
	}
	return n;
}

static int answer(struct fetcher *f, const struct language *lang, uint16_t type, const void *msg, struct err *e)
{
	uint32_t places[PLACES_MAX];

	switch (type) {
	case IPC_import_FOLDERS:
		return lang->folders(f, e) < 0 ? -1 : say_folders(f, e);
	case IPC_import_SELECT:
		if (((const struct ipc_import_SELECT *)msg)->number >= f->n_folders)
			return err_set(e, ERR_BUG, 0, "no such folder");
		return lang->select(f, (size_t)((const struct ipc_import_SELECT *)msg)->number, e) < 0 ? -1 : say_ids(f, e);
	case IPC_import_GET:
		return lang->get(f, places, places_read(f, ((const struct ipc_import_GET *)msg)->places, places), e);
	case IPC_import_DELETE:
		return lang->remove(f, places, places_read(f, ((const struct ipc_import_DELETE *)msg)->places, places), e);
	default:
		return err_set(e, ERR_BUG, 0, "the writer talks nonsense");
	}
}

/* Until the writer has gone. */
static int serve(struct fetcher *f, const struct language *lang, const struct err *broken)
{
	struct arena *a = arena_new(0);
	struct err e = *broken;
	int status = broken->code != ERR_NONE ? EXIT_TEMP : 0;
	uint16_t type;
	void *msg;
	int fd;

	for (;;) {
		struct err gone = { 0 };
		arena_reset(a);
		if (ipc_recv_fd(f->chan, &ipc_import, -1, a, &type, &f->request, &msg, &fd, &gone) < 0)
			break;
		close_fd(&fd);
		const bool dead = e.code != ERR_NONE;
		if (!dead && answer(f, lang, type, msg, &e) == 0) {
			const struct ipc_import_END end = { .uidvalidity = f->uidvalidity };
			if (say(f, IPC_import_END, &end, &gone) < 0)
				break;
			continue;
		}
		struct ipc_import_FAILED m = { .code = e.code, .text = str_sub(str_c(e.text), 0, 400) };
		status = EXIT_TEMP;
		if (say(f, IPC_import_FAILED, &m, &gone) < 0)
			break;
		if (e.code == ERR_NOENT)	/* that folder only */
			err_clear(&e);
	}
	arena_free(&a);
	return status;
}

int import_fetcher(const struct import_options *o, const struct conf *conf, struct buf *password, int chan)
{
	const struct language *const lang = strcmp(o->word, "imap") == 0 ? &language_imap : &language_pop3;
	const bool implicit = o->tls == NULL || strcmp(o->tls, "implicit") == 0;
	const struct confine c = { .role = CONFINE_REMOTE, .unconfined = o->unconfined };
	struct fetcher f = { .o = o, .password = password, .a = arena_new(0), .chan = chan };
	struct err e = { 0 };

	(void)conf;
	int r = net_open(&f.net, o, o->port ? o->port : implicit ? lang->port_tls : lang->port, &e);
	if (r == 0)
		r = confine_enter(&c, &e);
	if (r == 0 && implicit)
		r = net_secure(&f.net, o->host, &e);
	if (r == 0)
		r = lang->login(&f, &e);
	buf_wipe(password);
	if (r < 0 && e.code == ERR_NOENT)
		e.code = ERR_TEMP;
	const int status = serve(&f, lang, &e);
	if (r == 0 && !f.net.closed)
		lang->logout(&f);
	net_close(&f.net);
	free(f.folders);
	free(f.ids);
	arena_free(&f.a);
	return status;
}
