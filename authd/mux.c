/* Requests of authd-mux: the saslauthd protocol. There is no connection and no address behind them, only a name, a service and a verdict. */
#include <stdio.h>
#include <stdlib.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/enc.h"
#include "log/log.h"
#include "os/os.h"

enum { REQUESTS_MAX = 1024 };

struct request {
	struct list node;
	struct monitor *m;
	struct ipc_chan *ch;
	uint32_t id;
	struct facts facts;
	char service[65], user[513], login[513], realm[257];
	struct attempt *attempt;
};

static struct list requests = { &requests, &requests };
static unsigned n_requests;

static void request_free(struct request *r)
{
	attempt_cancel(&r->attempt);
	list_del(&r->node);
	n_requests--;
	loop_free_later(r->m->loop, r);
}

/* The line that log readers of saslauthd know: nothing may be added to it. */
static void log_failure(const struct request *r)
{
	struct buf b[3];
	const char *const in[3] = { r->login, r->service, r->realm };

	for (int i = 0; i < 3; i++) {
		buf_init(&b[i], 1024);
		text_neutral(&b[i], str_c(in[i]), 64, false);
		for (size_t k = 0; k < b[i].n; k++)
			if (b[i].p[k] == '[' || b[i].p[k] == ']')
				b[i].p[k] = '?';
	}
	log_as("saslauthd", LOG_LV_INFO, "do_auth         : auth failure: [user=%s] [service=%s] [realm=%s] [mech=pam] [reason=PAM auth error]",
	       b[0].n ? b[0].p : "", b[1].n ? b[1].p : "", b[2].n ? b[2].p : "");
	for (int i = 0; i < 3; i++)
		buf_fini(&b[i]);
}

static void verdict(struct monitor *m, struct ipc_chan *ch, uint32_t id, bool ok, uint64_t delay_ms)
{
	struct err e = { 0 };

	if (ipc_send(ch, IPC_helper_VERDICT, &(struct ipc_helper_VERDICT){ .ok = ok, .delay_ms = delay_ms }, id, -1, &e) < 0)
		log_error("%s", e.text);
}

static void on_done(void *ctx, const struct attempt_result *res)
{
	struct request *r = ctx;

	r->attempt = NULL;
	if (res->code != ERR_NONE)
		log_failure(r);
	verdict(r->m, r->ch, r->id, res->code == ERR_NONE, res->delay_ms);
	request_free(r);
}

static void on_challenge(void *ctx, struct str data)
{
	/* passwords only */
}

static const struct attempt_ops ops = { on_done, on_challenge };

/* login and realm are one name when there is such an account; the library splits user@realm at the last @. */
static void name_choose(struct request *r)
{
	struct account a;
	struct err e = { 0 };

	snprintf(r->user, sizeof r->user, "%s", r->login);
	if (!r->realm[0])
		return;
	char joined[800];
	snprintf(joined, sizeof joined, "%s@%s", r->login, r->realm);
	if (strlen(joined) < sizeof r->user && accounts_find(r->m, str_c(joined), &a, &e) == 0)
		snprintf(r->user, sizeof r->user, "%s", a.name);
}

void mux_message(struct monitor *m, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int password_fd)
{
	const struct ipc_helper_CREDS *c = msg;

	if (n_requests >= REQUESTS_MAX) {
		close_fd(&password_fd);
		verdict(m, ch, id, false, 0);
		return;
	}
	struct request *r = xzalloc(sizeof *r);
	r->m = m;
	r->ch = ch;
	r->id = id;
	snprintf(r->service, sizeof r->service, "%.*s", STR_ARG(c->service));
	snprintf(r->login, sizeof r->login, "%.*s", STR_ARG(c->given));
	snprintf(r->realm, sizeof r->realm, "%.*s", STR_ARG(c->realm));
	r->facts = (struct facts){ .service = r->service, .client = "", .server = "" };
	list_append(&requests, &r->node);
	n_requests++;
	name_choose(r);
	r->attempt = attempt_password_as(m, &r->facts, "saslauthd", c->given, str_c(r->user), c->tag, password_fd, &ops, r);
}

/* authd-mux died: nobody waits for these answers. */
void mux_closed(struct monitor *m)
{
	list_each_safe(it, &requests)
		request_free(list_of(it, struct request, node));
}
