/* The words of administrators and of tools: status, users-changed, end-user, dkim-changed, shares, app-uses, forgive. The peer is root, checked again here. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/clock.h"
#include "ipc/control.h"
#include "log/log.h"
#include "os/os.h"

enum { CLIENTS_MAX = 64, NAMES_MAX = 256 };

struct client {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	uint32_t id;
	struct str *names;	/* of users-changed: owned */
	size_t n_names;
	bool waiting;		/* accounts_refresh will call back */
	bool gone;		/* freed when it does */
};

struct control {
	struct list all;
	unsigned n;
};

static void client_free(struct client *c)
{
	for (size_t i = 0; i < c->n_names; i++)
		free((char *)(uintptr_t)c->names[i].p);
	free(c->names);
	loop_free_later(c->m->loop, c);
}

static void end(struct client *c, enum err_code code, const char *text)
{
	struct err e = { 0 };

	if (ipc_send(c->ch, IPC_control_END, &(struct ipc_control_END){ .code = code, .text = str_c(text) }, c->id, -1, &e) < 0)
		log_error("%s", e.text);
}

static void line(struct client *c, const char *const *keys, struct str *values, size_t n)
{
	struct str k[16];
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++)
		k[i] = str_c(keys[i]);
	const struct ipc_control_LINE m = { .keys = { k, n }, .values = { values, n } };
	if (ipc_send(c->ch, IPC_control_LINE, &m, c->id, -1, &e) < 0)
		log_error("%s", e.text);
}

/* --- status --- */

static void number_line(struct client *c, const char *what, unsigned long long v)
{
	static const char *const keys[] = { "what", "value" };
	char text[32];

	snprintf(text, sizeof text, "%llu", v);
	struct str values[] = { str_c(what), str_c(text) };
	line(c, keys, values, 2);
}

struct session_count {
	struct client *c;
	unsigned shown;
};

static void session_line(void *ctx, const struct session_row *r)
{
	static const char *const keys[] = { "user", "service", "pid", "connections" };
	struct session_count *s = ctx;
	char pid[16], conns[16];

	if (s->shown++ >= 150)	/* a channel holds 256 packets */
		return;
	snprintf(pid, sizeof pid, "%d", (int)r->pid);
	snprintf(conns, sizeof conns, "%u", r->conns);
	struct str values[] = { str_c(r->user), str_c(r->service), str_c(pid), str_c(conns) };
	line(s->c, keys, values, 4);
}

static void do_status(struct client *c, const struct ipc_strs *args)
{
	struct monitor *m = c->m;
	struct session_count s = { c, 0 };

	number_line(c, "accounts", accounts_count(m));
	number_line(c, "connections", conns_count(m));
	number_line(c, "sessions", sessions_count(m));
	number_line(c, "logins-ok", m->count.ok);
	number_line(c, "logins-cached", m->count.cached);
	number_line(c, "logins-failed", m->count.failed);
	number_line(c, "logins-refused", m->count.refused);
	number_line(c, "throttle-bytes", throttle_bytes(m->throttle));
	number_line(c, "throttle-evicted", throttle_evicted(m->throttle));
	sessions_each(m, session_line, &s);
	end(c, ERR_NONE, "");
}

/* --- users --- */

static void on_refreshed(void *ctx, bool ok)
{
	struct client *c = ctx;

	c->waiting = false;
	for (size_t i = 0; i < c->n_names; i++) {
		conns_revoke(c->m, c->names[i]);
		(void)sessions_end_user(c->m, c->names[i], "password or rights changed");
	}
	if (c->gone)
		client_free(c);
	else
		end(c, ok ? ERR_NONE : ERR_TEMP, ok ? "" : "the accounts could not be installed, see the log");
}

/* args: users whose password or rights changed; their sessions end. */
static void do_users_changed(struct client *c, const struct ipc_strs *args)
{
	cache_flush(c->m->cache);
	c->names = xzalloc((args->n + 1) * sizeof *c->names);
	for (size_t i = 0; i < args->n && i < NAMES_MAX; i++)
		c->names[c->n_names++] = str_n(xstrndup(args->v[i].p, args->v[i].n), args->v[i].n);
	c->waiting = true;
	accounts_refresh(c->m, on_refreshed, c);
}

/* --- signing keys --- */

static void on_dkim_loaded(void *ctx, bool ok, const char *text)
{
	struct client *c = ctx;

	c->waiting = false;
	if (c->gone)
		client_free(c);
	else
		end(c, ok ? ERR_NONE : ERR_TEMP, text);
}

static void do_dkim_changed(struct client *c, const struct ipc_strs *args)
{
	c->waiting = true;
	dkim_load(c->m, on_dkim_loaded, c);
}

static void do_end_user(struct client *c, const struct ipc_strs *args)
{
	char text[64];
	size_t n = 0;

	for (size_t i = 0; i < args->n; i++)
		n += sessions_end_user(c->m, args->v[i], "ended by the administrator");
	snprintf(text, sizeof text, "%zu ended", n);
	end(c, ERR_NONE, text);
}

/* args: an owner, and to whom anything of theirs is open now. */
static void do_shares(struct client *c, const struct ipc_strs *args)
{
	struct buf b;

	if (args->n == 0) {
		end(c, ERR_INPUT, "whose?");
		return;
	}
	char *const owner = xstrndup(args->v[0].p, args->v[0].n);

	buf_init(&b, IPC_PACKET_MAX);
	for (size_t i = 1; i < args->n; i++) {
		buf_str(&b, args->v[i]);
		buf_ch(&b, '\n');
	}
	shares_told(c->m, owner, b.n ? buf_view(&b) : STR(""));
	shares_save(c->m);	/* the owner of public folders never logs in, so this is not told again */
	buf_fini(&b);
	free(owner);
	end(c, ERR_NONE, "");
}

/* Write down when application passwords were used: the tool reads the file then. */
static void do_app_uses(struct client *c, const struct ipc_strs *args)
{
	struct err e = { 0 };

	if (uses_save(c->m, &e) < 0)
		end(c, e.code, e.text);
	else
		end(c, ERR_NONE, "");
}

/* args: a user, and the address whose failed logins with that name are forgotten. */
static void do_forgive(struct client *c, const struct ipc_strs *args)
{
	struct throttle_client from = { .has_addr = true };

	if (args->n != 2 || addr_parse(args->v[1], from.addr) < 0) {
		end(c, ERR_INPUT, "a user and an address are needed");
		return;
	}
	const bool was = throttle_forgive(c->m->throttle, (uint32_t)clock_wall(), &from, args->v[0]);
	log_info("failed logins forgiven by the administrator: rip=%.*s user=\"%.*s\"", STR_ARG(args->v[1]), STR_ARG(args->v[0]));
	end(c, ERR_NONE, was ? "was refused" : "was not refused");
}

static const struct {
	const char *word;
	void (*fn)(struct client *c, const struct ipc_strs *args);
} words[] = {
	{ "status", do_status },
	{ "users-changed", do_users_changed },
	{ "end-user", do_end_user },
	{ "shares", do_shares },
	{ "dkim-changed", do_dkim_changed },
	{ "app-uses", do_app_uses },
	{ "forgive", do_forgive },
};

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct client *c = ctx;
	const struct ipc_control_REQUEST *r = msg;

	c->id = id;
	if (c->waiting || c->names) {
		end(c, ERR_INPUT, "one request of this kind for each connection");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(r->word, str_c(words[i].word))) {
			words[i].fn(c, &r->args);
			return;
		}
	end(c, ERR_INPUT, "unknown word: status users-changed end-user dkim-changed shares app-uses forgive");
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct client *c = ctx;

	ipc_chan_free(&c->ch);
	list_del(&c->node);
	c->m->control->n--;
	if (c->waiting)
		c->gone = true;
	else
		client_free(c);
}

static void on_listener(void *ctx, unsigned events)
{
	static const uint16_t allowed[] = { IPC_control_REQUEST };
	struct monitor *m = ctx;
	struct peer_cred cred;
	struct err e = { 0 };
	const int fd = accept4(m->listen[LISTEN_CONTROL], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (sock_peer_cred(fd, &cred, &e) < 0 || cred.uid != 0 || m->control->n >= CLIENTS_MAX) {
		log_warning("control connection refused");
		close(fd);
		return;
	}
	struct client *c = xzalloc(sizeof *c);
	c->m = m;
	list_append(&m->control->all, &c->node);
	m->control->n++;
	c->ch = ipc_chan_new(m->loop, fd, &ipc_control, on_message, on_closed, c);
	ipc_chan_allow(c->ch, (struct ipc_allow){ allowed, ARRAY_LEN(allowed) });
}

void control_init(struct monitor *m)
{
	m->control = xzalloc(sizeof *m->control);
	list_init(&m->control->all);
	(void)loop_watch(m->loop, m->listen[LISTEN_CONTROL], LOOP_READ, on_listener, m);
}
