/* inetd, nowait: the connection is descriptor 0. Started as root it takes the peer's address, registers, drops, and serves this one session.
 * Started as another user the peer counts as unknown; whether the daemons then talk to it is their decision. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "front/front_priv.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { EXIT_CONF = 78, EXIT_BUSY = 75 };

/* Nothing may be written to the client but by the session: 0, 1 and 2 lead nowhere from now on. */
int inetd_take_client(void)
{
	const int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	const int null = open("/dev/null", O_RDWR | O_NOCTTY);
	if (fd < 0 || null < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	if (null > 2)
		close(null);
	return fd;
}

static const struct conf_listener *row_of(const struct front_run *run, uint16_t port)
{
	static struct conf_listener *rows;
	static size_t n;
	struct err e = { 0 };
	struct arena *a = arena_new(0);		/* for the life of this short process */
	if (conf_listeners(run->conf, run->service->listeners(run->conf), run->service->name, a, &rows, &n, &e) < 0)
		log_warning("%s", e.text);
	for (size_t i = 0; i < n; i++)
		if (rows[i].port == port)
			return &rows[i];
	return NULL;
}

static int find_facts(const struct front_run *run, int fd, struct front_conn *fc, uint64_t *uid_out)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	uint8_t addr[16];
	char text[64];
	uint16_t port = 0;
	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return -1;
	const bool local = ss.ss_family == AF_UNIX;
	if (!local && sock_own_addr(fd, addr, text, &port) < 0)
		return -1;
	const struct conf_listener *row = local ? NULL : row_of(run, port);
	const int r = front_conn_facts(fd, local, local ? "local" : row ? row->profile : run->service->name, fc, uid_out, addr);
	(void)snprintf(fc->listener, sizeof(fc->listener), "%s", row ? row->name : "");
	return r;
}

static int drop(const struct front_run *run, struct err *e)
{
	struct confine c = { .role = CONFINE_FRONT, .user = run->user, .root = run->empty_dir, .unconfined = run->options.unconfined };
	if (geteuid() != 0) {
		c.user = NULL;
		c.root = NULL;
	} else if (dir_make(run->empty_dir, 0555, 0, 0, e) < 0) {
		return -1;
	}
	return confine_enter(&c, e);
}

int inetd_main(struct front_run *run, int fd)
{
	static struct front_env env;
	static struct front_conn fc;
	struct err e = { 0 };
	uint64_t uid;
	if (fd < 0 || find_facts(run, fd, &fc, &uid) < 0) {
		log_error("inetd mode: descriptor 0 is not a connected socket");
		return EXIT_CONF;
	}
	fc.conn = random_u64();
	fc.client_known = geteuid() == 0;
	proc_title(run->service->program, "%s: inetd %s %s", run->service->program, fc.client, fc.profile);
	struct loop *l = loop_new();
	struct reg *reg = reg_new(l, run, (struct reg_calls){ NULL, NULL });
	/* Prepared before the daemons hear of it: they need not wait for us. */
	if (template_prepare(run, &(struct front_certs){ .key_fd = -1 }, &env, &e) < 0 || reg_announce(reg, &fc, uid, NULL, &e) < 0 ||
	    reg_settle(reg, &e) < 0 || drop(run, &e) < 0) {
		log_error("connection from %s refused: %s", fc.client, e.text);
		front_busy(run, fd, fc.profile, NULL);
		return EXIT_BUSY;
	}
	reg_free(&reg);
	loop_free(&l);
	front_serve_one(&env, &fc);
}
