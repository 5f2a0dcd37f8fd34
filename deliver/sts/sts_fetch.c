/* One policy over HTTPS (RFC 8461 3.3): https://mta-sts.DOMAIN/.well-known/mta-sts.txt, from a server whose certificate is good for that name; no redirects, one
 * deadline for all of it, and never more read than a policy and its header may have. */
#include <stdio.h>
#include <stdlib.h>

#include "deliver/policy/dial.h"
#include "deliver/sts/sts.h"
#include "io/conn.h"

enum { HTTPS_PORT = 443 };

struct sts_fetch {
	struct loop *loop;
	struct tls_ctx *tls;
	struct dial *dial;
	struct conn *conn;
	char host[256];
	uint64_t end_ms;
	sts_fetched_fn *fn;
	void *ctx;
};

static void end(struct sts_fetch *f, struct str text, const char *result)
{
	sts_fetched_fn *fn = f->fn;
	void *ctx = f->ctx;

	dial_cancel(&f->dial);
	conn_free(&f->conn);
	loop_free_later(f->loop, f);
	fn(ctx, text, result);
}

static void on_answer(struct sts_fetch *f, bool ended)
{
	struct err e = { 0 };
	struct buf body;

	buf_init(&body, STS_BODY_MAX + 1);
	const int r = sts_http_parse(conn_input(f->conn), ended, &body, &e);
	if (r == 0)
		end(f, buf_view(&body), NULL);
	else if (r < 0)
		end(f, str_c(e.text), "sts-policy-fetch-error");
	buf_fini(&body);
}

static void ask(struct sts_fetch *f)
{
	conn_printf(f->conn, "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: %s\r\nUser-Agent: Postern/%s\r\nAccept: text/plain\r\nConnection: close\r\n\r\n", f->host,
		    POSTERN_VERSION);
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct sts_fetch *f = ctx;

	switch (ev) {
	case CONN_EV_SECURED: ask(f); break;
	case CONN_EV_DATA: on_answer(f, false); break;
	case CONN_EV_CLOSED: on_answer(f, true); break;
	case CONN_EV_TIMEOUT: end(f, STR("timed out"), "sts-policy-fetch-error"); break;
	case CONN_EV_ERROR: end(f, str_c(conn_error(c)), conn_secure(c) ? "sts-policy-fetch-error" : "sts-webpki-invalid"); break;
	case CONN_EV_DRAINED: break;
	}
}

static void on_dialled(void *ctx, int fd, const char *why)
{
	static const struct conn_limits limits = { .in_max = STS_HEAD_MAX + 2 * STS_BODY_MAX, .out_high = 8192, .out_max = 16384 };
	struct sts_fetch *f = ctx;
	const struct str name = str_c(f->host);
	const struct tls_peer peer = { .sni = f->host, .verify = true, .names = &name, .n_names = 1 };
	const uint64_t now = loop_now(f->loop);

	f->dial = NULL;
	if (fd < 0) {
		end(f, str_c(why), "sts-policy-fetch-error");
		return;
	}
	f->conn = conn_new(f->loop, fd, &limits, on_event, f);
	conn_deadline(f->conn, f->end_ms > now ? f->end_ms - now : 1);
	conn_starttls_client_peer(f->conn, f->tls, &peer);
}

struct sts_fetch *sts_fetch(struct loop *l, struct dns_client *dns, struct tls_ctx *tls, struct str domain, sts_fetched_fn *fn, void *ctx)
{
	struct sts_fetch *f = xzalloc(sizeof(*f));
	struct dial_target t = { .port = HTTPS_PORT };

	*f = (struct sts_fetch){ .loop = l, .tls = tls, .fn = fn, .ctx = ctx, .end_ms = loop_now(l) + STS_FETCH_MS };
	(void)snprintf(f->host, sizeof(f->host), "mta-sts.%.*s", STR_ARG(domain));
	(void)snprintf(t.host, sizeof(t.host), "%s", f->host);
	f->dial = dial(l, dns, &t, STS_FETCH_MS, on_dialled, f);
	return f;
}
