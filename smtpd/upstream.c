/* The PROXY header of an upstream proxy (smtpd_upstream_proxy_protocol), before TLS and greeting. Read from the socket exactly: what is behind it
 * belongs to the next layer, which may be TLS. The front reports the address; queued and authd believe it only of a connection that was registered
 * from a host of smtpd_upstream_proxy_hosts. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "log/log.h"
#include "os/os.h"
#include "smtp/proxy.h"
#include "smtpd/peers.h"

enum { HEADER_MAX = SMTP_PROXY_V2_HEAD + SMTP_PROXY_V2_MAX };

bool upstream_expected(const struct session *s)
{
	uint8_t addr[16];

	return s->conf->smtpd_upstream_proxy_protocol[0] && !s->profile->local && addr_parse(str_c(s->fc.client), addr) == 0 &&
	       conf_networks_have(s->conf->smtpd_upstream_proxy_hosts, addr);
}

static void end(struct session *s, const char *why)
{
	log_warning("haproxy read: %s: %s", s->host, why);
	watch_del(&s->upstream);
	session_drop(s);
}

static void adopt(struct session *s, const struct smtp_proxy *p)
{
	if (p->local)
		return;
	session_client(s, (struct str){ 0 }, str_c(p->client));
	s->fc.client_port = p->client_port;
	(void)snprintf(s->fc.server, sizeof s->fc.server, "%s", p->server);
	s->fc.server_port = p->server_port;
	peers_proxied(s, p->client_port, p->server_port);
}

/* What is there is peeked at; all of it is taken while the header is not whole, and up to its end when it is. */
static void look(struct session *s)
{
	char in[HEADER_MAX];
	struct smtp_proxy p;
	struct err e = { 0 };
	size_t used = 0;

	const ssize_t n = recv(s->fc.fd, in, sizeof in, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(s, "lost connection");
		return;
	}
	const size_t before = s->upstream_head.n;
	buf_mem(&s->upstream_head, in, (size_t)n);
	const int r = smtp_proxy_parse(buf_view(&s->upstream_head), &p, &used, &e);
	const size_t take = r == 0 ? used - before : (size_t)n;
	if (r < 0) {
		end(s, e.text);
	} else if (recv(s->fc.fd, in, take, MSG_DONTWAIT) != (ssize_t)take) {
		end(s, "the header cannot be taken");
	} else if (r == 0) {
		watch_del(&s->upstream);
		timer_del(&s->timer);
		buf_fini(&s->upstream_head);
		adopt(s, &p);
		session_begin(s);
	}
}

static void on_readable(void *ctx, unsigned events)
{
	look(ctx);
}

static void on_timeout(void *ctx)
{
	end(ctx, "timeout");
}

void upstream_start(struct session *s)
{
	s->mode = MODE_UPSTREAM;
	buf_init(&s->upstream_head, 2 * HEADER_MAX);
	s->upstream = loop_watch(s->env->loop, s->fc.fd, LOOP_READ, on_readable, s);
	s->timer = loop_timer(s->env->loop, s->conf->smtpd_upstream_proxy_timeout * 1000, on_timeout, s);
}
