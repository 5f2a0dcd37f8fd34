/* A front that echoes lines, for test_front.py: it proves the frame itself. "crash" ends it by SIGILL, "peers" tells which channels it has,
 * "quit" ends the session. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "front/front.h"
#include "ipc/queue.h"
#include "log/log.h"
#include "os/os.h"

enum { LINE_MAX_ = 512, IDLE_MS = 60000, LINGER_MS = 1000 };

struct session {
	struct front_env *env;
	struct front_conn fc;
	struct conn *c;
};

static void end(struct session *s)
{
	conn_finish(&s->c, LINGER_MS);
	if (s->fc.queue_fd >= 0)
		s->fc.queue = ipc_chan_new(s->env->loop, s->fc.queue_fd, &ipc_queue, NULL, NULL, NULL);
	front_keep(s->env, s->fc.auth_fd, s->fc.queue);
	front_done(s->env, &s->fc);
	loop_free_later(s->env->loop, s);
}

/* false: the session has ended. */
static bool one_line(struct session *s, struct str line)
{
	if (str_eq(line, STR("crash")))
		__builtin_trap();
	if (str_eq(line, STR("quit"))) {
		conn_printf(s->c, "bye\r\n");
		end(s);
		return false;
	}
	if (str_eq(line, STR("secret")))
		front_last(s->env);
	if (str_eq(line, STR("login")) && send(s->fc.auth_fd, "x", 1, MSG_NOSIGNAL) != 1)	/* taken over: it does not say that it has seen one */
		return true;
	if (str_eq(line, STR("lose"))) {
		close_fd(&s->fc.queue_fd);
		ipc_chan_free(&s->fc.queue);
	}
	if (str_eq(line, STR("narrow"))) {
		front_narrow(s->env);
		conn_printf(s->c, "narrowed\r\n");
	} else if (str_eq(line, STR("peers"))) {
		conn_printf(s->c, "%s %s pid %d auth %d key %d queue %d tls %d\r\n", s->fc.client, s->fc.profile, (int)getpid(), s->fc.auth_fd >= 0,
			    s->fc.key_fd >= 0, s->fc.queue_fd >= 0 || s->fc.queue, s->env->tls != NULL);
	} else {
		conn_printf(s->c, "echo %.*s\r\n", STR_ARG(line));
	}
	return true;
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct session *s = ctx;
	struct str line;
	struct err e = { 0 };
	if (ev == CONN_EV_SECURED)
		conn_printf(c, "hello %s\r\n", conn_tls_version(c));
	if (ev == CONN_EV_DATA) {
		while (conn_line(c, LINE_MAX_, &line, &e) == 0)
			if (!one_line(s, line))
				return;
	}
	if (ev == CONN_EV_CLOSED || ev == CONN_EV_ERROR || ev == CONN_EV_TIMEOUT)
		end(s);
}

static void session(struct front_env *env, const struct front_conn *fc)
{
	struct session *s = xzalloc(sizeof(*s));
	bool dropped;
	s->env = env;
	s->fc = *fc;
	s->c = conn_new(env->loop, fc->fd, &(struct conn_limits){ .in_max = 4096, .out_high = 65536, .out_max = 1 << 20 }, on_event, s);
	conn_idle(s->c, IDLE_MS);
	if (fc->implicit_tls && env->tls)
		conn_starttls_server(s->c, env->tls, &dropped);
	else
		conn_printf(s->c, "hello\r\n");
}

static struct conf_list listeners(const struct conf *c)
{
	return c->smtp_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_smtp;
}

static bool may_log_in(const struct conf *c, const char *profile)
{
	return c->smtpd_sasl_auth_enable;
}

int main(int argc, char **argv)
{
	static const struct front_service echo = {
		.name = "smtp",
		.program = "smtpd",
		.log_program = "echo",
		.alpn = "",
		.busy_line = "421 4.3.2 busy\r\n",
		.uses_queue = true,
		.uses_auth = true,
		.may_log_in = may_log_in,
		.seldom_profile = "submission",
		.listeners = listeners,
		.user = user,
		.session = session,
	};
	return front_main(argc, argv, &echo);
}
