/* Listeners: sockets passed by systemd (by name, which is the profile, or by address: the configuration's row), or bound here; smtpd also has its UNIX
 * socket for local submission. And the facts of what they accept. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/format.h"
#include "front/front_priv.h"
#include "log/log.h"
#include "os/os.h"

bool front_profile_tls(const char *profile)
{
	const size_t n = strlen(profile);
	return strcmp(profile, "smtp") != 0 && n > 0 && profile[n - 1] == 's';	/* submissions imaps pop3s */
}

static void set_profile(struct front_listener *l, const char *profile, const char *name)
{
	(void)snprintf(l->profile, sizeof(l->profile), "%s", profile);
	(void)snprintf(l->name, sizeof(l->name), "%s", name);
}

/* The configured row of a passed socket: of its address, else of its port; or NULL. */
static const struct conf_listener *row_of(const struct conf_listener *rows, size_t n, int fd)
{
	uint8_t addr[16];
	char text[INET6_ADDRSTRLEN];
	uint16_t port;
	for (size_t i = 0; i < n; i++)
		if (sock_is_at(fd, rows[i].host, rows[i].port))
			return &rows[i];
	if (sock_own_addr(fd, addr, text, &port) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (rows[i].port == port)
			return &rows[i];
	return NULL;
}

static bool known_profile(const char *name, const char *service)
{
	static const char *const names[][2] = {
		{ "smtp", "smtp" }, { "submission", "smtp" }, { "submissions", "smtp" }, { "lmtp", "smtp" }, { "imap", "imap" }, { "imaps", "imap" }, { "pop3", "pop3" }, { "pop3s", "pop3" },
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i][0], name) == 0)
			return strcmp(names[i][1], service) == 0;
	return false;
}

/* Ports and configuration come from one file, but are read at other times. */
static const char stale[] = "systemctl daemon-reload, then systemctl restart postern.target";

/* A socket that no row and no name knows is not served where the configuration says what is. */
static bool refused(const struct front_run *run, const struct front_listener *l, const struct conf_listener *row, const char *name)
{
	uint8_t addr[16];
	char text[INET6_ADDRSTRLEN] = "";
	uint16_t port = 0;
	if (!run->options.separate || l->local || row || known_profile(name, run->service->name))
		return false;
	if (sock_own_addr(l->fd, addr, text, &port) < 0)
		text[0] = 0;
	log_error("port %u (%s) was passed, and the configuration names no such listener: it is not served; %s", port, text, stale);
	close(l->fd);
	return true;
}

static int take_passed(const struct front_run *run, const struct conf_listener *rows, size_t n_rows, struct front_listener *out, size_t *n_out,
		       struct err *e)
{
	struct listen_fd fds[LISTENERS_MAX];
	size_t n, taken = 0;
	if (listen_fds(fds, LISTENERS_MAX, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct front_listener *l = &out[taken];
		int domain = 0;
		socklen_t len = sizeof(domain);
		*l = (struct front_listener){ .fd = fds[i].fd };
		if (getsockopt(l->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
			return err_set(e, ERR_CONF, 0, "passed descriptor %d (%s) is not a socket", l->fd, fds[i].name);
		l->local = domain == AF_UNIX;
		const struct conf_listener *row = l->local ? NULL : row_of(rows, n_rows, l->fd);
		if (refused(run, l, row, fds[i].name))
			continue;
		const char *profile = l->local ? "local" : known_profile(fds[i].name, run->service->name) ? fds[i].name : row ? row->profile : run->service->name;
		set_profile(l, profile, row ? row->name : "");
		taken++;
	}
	*n_out = taken;
	return 0;
}

/* Where none is bound here: which are missing. None at all is no service. */
static int say_missing(const struct conf_listener *rows, size_t n_rows, const struct front_listener *have, size_t n, struct err *e)
{
	for (size_t i = 0; i < n_rows; i++) {
		bool found = false;
		for (size_t k = 0; k < n && !found; k++)
			found = !have[k].local && sock_is_at(have[k].fd, rows[i].host, rows[i].port);
		if (!found)
			log_error("cannot listen on %s:%u: the service manager has passed no such socket; %s", *rows[i].host ? rows[i].host : "*", rows[i].port, stale);
	}
	return n > 0 ? 0 : err_set(e, ERR_CONF, 0, "option -s, and no socket was passed");
}

/* One that cannot be bound is said and left out; the others stand. */
static void bind_own(const struct conf_listener *rows, size_t n_rows, struct front_listener *out, size_t *n_out)
{
	for (size_t i = 0; i < n_rows && *n_out < LISTENERS_MAX - 1; i++) {
		struct front_listener *l = &out[*n_out];
		struct err e = { 0 };
		*l = (struct front_listener){ .fd = -1 };
		set_profile(l, rows[i].profile, rows[i].name);
		if (sock_tcp_listen(rows[i].host, rows[i].port, &l->fd, &e) < 0)
			log_error("cannot listen on %s", e.text);
		else
			(*n_out)++;
	}
}

static int bind_submit(const struct front_run *run, struct front_listener *out, size_t *n_out, struct err *e)
{
	char path[4096];
	for (size_t i = 0; i < *n_out; i++)
		if (out[i].local)
			return 0;
	if (*n_out == LISTENERS_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d listeners", LISTENERS_MAX);
	(void)snprintf(path, sizeof(path), "%s/smtpd", run->conf->run_directory);
	if (dir_make(path, 0755, 0, 0, e) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/smtpd/submit", run->conf->run_directory);
	const int fd = sock_unix_listen(path, SOCK_STREAM, 0666, 0, 0, e);
	if (fd < 0)
		return -1;
	out[*n_out] = (struct front_listener){ .fd = fd, .local = true, .profile = "local" };
	(*n_out)++;
	return 0;
}

int front_listeners_open(const struct front_run *run, struct front_listener *out, size_t *n_out, struct err *e)
{
	struct arena *a = arena_new(0);
	struct conf_listener *rows = NULL;
	size_t n_rows = 0, n = 0;
	int r = conf_listeners(run->conf, run->service->listeners(run->conf), run->service->name, a, &rows, &n_rows, e);
	if (r == 0)
		r = take_passed(run, rows, n_rows, out, &n, e);
	if (r == 0 && run->options.separate)
		r = say_missing(rows, n_rows, out, n, e);
	else if (r == 0 && n == 0)
		bind_own(rows, n_rows, out, &n);
	if (r == 0 && n == 0 && n_rows > 0)
		r = err_set(e, ERR_CONF, 0, "none of the configured addresses can be listened on");
	if (r == 0 && run->service->uses_queue)
		r = bind_submit(run, out, &n, e);
	arena_free(&a);
	const int on = 1;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!out[i].local)
			(void)setsockopt(out[i].fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));	/* inherited by what it accepts */
	if (r == 0)
		*n_out = n;
	return r;
}

int front_conn_facts(int fd, bool local, const char *profile, struct front_conn *out, uint64_t *uid_out, uint8_t addr_out[16])
{
	uint8_t own[16];
	*out = (struct front_conn){ .conn = 0, .fd = fd, .auth_fd = -1, .key_fd = -1, .queue_fd = -1, .again_fd = -1, .client_known = true };
	*uid_out = 0;
	(void)text_format(out->profile, sizeof(out->profile), "%s", profile);
	out->implicit_tls = front_profile_tls(profile);
	if (!local)
		return sock_peer_addr(fd, addr_out, out->client, &out->client_port) < 0 || sock_own_addr(fd, own, out->server, &out->server_port) < 0 ? -1 : 0;
	struct peer_cred cred;
	struct err e = { 0 };
	if (sock_peer_cred(fd, &cred, &e) < 0)
		return -1;
	(void)snprintf(out->client, sizeof(out->client), "local");
	(void)snprintf(out->server, sizeof(out->server), "local");
	*uid_out = (uint64_t)cred.uid + 1;
	memset(addr_out, 0, 16);	/* counted by uid, in a range that is no address */
	memcpy(addr_out, &cred.uid, sizeof(cred.uid));
	addr_out[7] = 1;
	return 0;
}
