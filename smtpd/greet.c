/* The pause before the greeting (postscreen_greet_wait): who talks into it is no mail client (RFC 5321 3.1). A client that has waited once is not made to wait again for
 * postscreen_greet_ttl; queued remembers it. Only for port 25's profile, and not for mynetworks. Log lines are those of Postfix's postscreen. */
#include <stdio.h>

#include "base/enc.h"
#include "log/log.h"
#include "smtp/reply.h"
#include "smtpd/peers.h"

enum { SHOWN_MAX = 100 };

static void say(const struct session *s, const char *what, const char *more)
{
	log_as(log_ident("postscreen"), LOG_LV_INFO, "%s [%s]:%u%s", what, s->fc.client, s->fc.client_port, more);
}

bool greet_waits(const struct session *s)
{
	return s->conf->postscreen_greet_wait > 0 && str_eq(str_c(s->profile->name), STR("smtp")) && !s->fc.implicit_tls;
}

static void go_on(struct session *s)
{
	timer_del(&s->timer);
	s->mode = MODE_COMMAND;
	session_greet(s);
}

static void remembered(struct session *s, const struct ipc_queue_REPLY *r)
{
	go_on(s);
}

static void on_waited(void *ctx)
{
	struct session *s = ctx;

	if (s->early) {
		go_on(s);
	} else {
		say(s, "PASS NEW", "");
		peers_event(s, STR("greeted"), remembered);
	}
	session_run(s);
}

static void answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	if (r->code != 251) {
		if (r->code == 250)
			say(s, "PASS OLD", "");
		go_on(s);
		return;
	}
	if (s->conf->postscreen_greet_banner[0]) {
		struct buf b;
		buf_init(&b, 1024);
		buf_printf(&b, "220-%s\r\n", s->conf->postscreen_greet_banner);
		conn_write(s->c, buf_view(&b));
		buf_fini(&b);
	}
	s->mode = MODE_GREET;
	s->greet_from_ms = loop_now(s->env->loop);
	conn_deadline(s->c, 0);
	timer_del(&s->timer);
	s->timer = loop_timer(s->env->loop, s->conf->postscreen_greet_wait * 1000, on_waited, s);
	if (conn_input(s->c).n > 0)
		greet_early(s);
}

void greet_start(struct session *s)
{
	char to[100];

	(void)snprintf(to, sizeof to, " to [%s]:%u", s->fc.server, s->fc.server_port);
	say(s, "CONNECT from", to);
	peers_event(s, STR("greet"), answered);
}

void greet_early(struct session *s)
{
	const struct str in = conn_input(s->c);
	const double after = (double)(loop_now(s->env->loop) - s->greet_from_ms) / 1000;
	struct buf b;
	char head[64];

	if (s->early || in.n == 0)
		return;
	s->early = true;
	buf_init(&b, 1024);
	text_neutral(&b, in, SHOWN_MAX, true);
	(void)snprintf(head, sizeof head, "PREGREET %zu after %.2g from", in.n, after);
	log_as(log_ident("postscreen"), LOG_LV_INFO, "%s [%s]:%u: %s", head, s->fc.client, s->fc.client_port, b.n > 0 ? b.p : "");
	buf_fini(&b);
	if (str_eq(str_c(s->conf->postscreen_greet_action), STR("drop"))) {
		smtp_reply_put(&s->out, 521, "5.5.1", STR("Protocol error"));
		session_finish(s);
	}
}

bool greet_refuses(const struct session *s)
{
	return s->early && str_eq(str_c(s->conf->postscreen_greet_action), STR("enforce"));
}
