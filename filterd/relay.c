/* See relay.h. */
#include "relay.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "authres/auth.h"
#include "log/log.h"
#include "os/os.h"

struct relay {
	struct dns_client *dns;
	const struct conf *conf;
	bool told;	/* that the dns process cannot be reached */
};

static int open_dns(void *ctx, int *fd_out)
{
	struct relay *r = ctx;
	char path[1100];
	struct err e = { 0 };
	snprintf(path, sizeof(path), "%s/dns/sock", r->conf->run_directory);
	const int fd = sock_unix_connect(path, SOCK_SEQPACKET, &e);
	if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) {
		r->told = false;
		*fd_out = fd;
		return 0;
	}
	if (!r->told)
		log_warning("dns: %s: senders cannot be checked", e.text);
	r->told = true;
	if (fd >= 0)
		close_fd(&(int){ fd });
	return -1;
}

struct relay *relay_new(struct loop *l, const struct conf *conf)
{
	struct relay *r = xzalloc(sizeof(*r));
	r->conf = conf;
	r->dns = dns_client_new(l, -1, open_dns, r);
	return r;
}

static void answer(struct relay_ask *s, enum auth_known known, const struct str *v, size_t n)
{
	struct ipc_filter_ANSWER m = { .known = known, .records = { (struct str *)(uintptr_t)v, n < IPC_STRS_MAX ? n : IPC_STRS_MAX } };
	struct err e = { 0 };
	if (ipc_send(s->to, IPC_filter_ANSWER, &m, s->id, -1, &e) == 0)
		return;
	m = (struct ipc_filter_ANSWER){ .known = AUTH_TROUBLE };	/* too long for a message */
	if (ipc_send(s->to, IPC_filter_ANSWER, &m, s->id, -1, &e) < 0)
		log_warning("worker: %s", e.text);
}

static void on_answer(void *ctx, const struct dns_answer *a)
{
	static const enum auth_known known[] = { [DNS_HAS] = AUTH_HAS, [DNS_HAS_NONE] = AUTH_HAS_NONE, [DNS_NO_SUCH] = AUTH_NO_SUCH, [DNS_TROUBLE] = AUTH_TROUBLE };
	struct relay_ask *s = ctx;
	s->q = NULL;
	answer(s, known[a->result], a->v, a->result == DNS_HAS ? a->n : 0);
}

void relay_ask(struct relay *r, struct relay_ask *s, struct ipc_chan *to, uint32_t id, const struct ipc_filter_ASK *m, bool refused)
{
	relay_forget(s);
	s->to = to;
	s->id = id;
	if (refused || m->type > UINT16_MAX || dns_type_name((unsigned)m->type) == NULL)
		answer(s, AUTH_TROUBLE, NULL, 0);
	else
		s->q = dns_ask(r->dns, m->name, (unsigned)m->type, on_answer, s);
}

void relay_forget(struct relay_ask *s)
{
	dns_forget(&s->q);
}
