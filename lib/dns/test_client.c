/* The client's half: answers reach who asked, a closed channel is temporary trouble, a forgotten question is silent, a new channel serves what waits. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "dns/client.h"
#include "ipc/dns.h"
#include "os/os.h"
#include "test/tap.h"

struct scene {
	struct loop *loop;
	struct dns_client *client;
	struct ipc_chan *server;
	bool mute, dead;
	int opened, asked, answered;
	struct buf got;
};

static void on_query(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct scene *s = ctx;
	const struct ipc_dns_QUERY *m = msg;
	struct str v[] = { STR("10 mx.test"), STR("20 b.test") };
	struct ipc_dns_ANSWER a = { .canonical = m->name, .ttl = 60, .ad = 1, .records = { v, 2 } };
	struct err e = { 0 };

	s->asked++;
	if (s->mute)
		return;
	if (str_starts(m->name, STR("no.")))
		a = (struct ipc_dns_ANSWER){ .rcode = 3 };
	else if (str_starts(m->name, STR("none.")))
		a.records.n = 0;
	else if (str_starts(m->name, STR("fail.")))
		a = (struct ipc_dns_ANSWER){ .rcode = 2 };
	else if (str_starts(m->name, STR("slow.")))
		a = (struct ipc_dns_ANSWER){ .rcode = 2, .trouble = STR("timed out") };
	if (ipc_send(ch, IPC_dns_ANSWER, &a, id, -1, &e) < 0)
		tap_ok(false, "%s", e.text);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct scene *s = ctx;

	ipc_chan_free(&s->server);
}

static int new_pair(struct scene *s)
{
	int fds[2];
	struct err e = { 0 };

	if (sock_pair(SOCK_SEQPACKET, fds, &e) < 0)
		return -1;
	ipc_chan_free(&s->server);
	s->server = ipc_chan_new(s->loop, fds[1], &ipc_dns, on_query, on_closed, s);
	return fds[0];
}

static int open_one(void *ctx, int *fd_out)
{
	struct scene *s = ctx;

	s->opened++;
	if (s->dead)
		return -1;
	*fd_out = new_pair(s);
	return *fd_out < 0 ? -1 : 0;
}

static void on_answer(void *ctx, const struct dns_answer *a)
{
	static const char *const words[] = { "has", "none", "no", "trouble" };
	struct scene *s = ctx;

	buf_printf(&s->got, "%s%s", s->got.n ? " " : "", words[a->result]);
	for (size_t i = 0; i < a->n; i++)
		buf_printf(&s->got, "(%.*s)", STR_ARG(a->v[i]));
	if (--s->answered == 0)
		loop_stop(s->loop);
}

static void known(struct scene *s, const char *name, unsigned type, const char *want, const char *what)
{
	struct dns_answer a;

	s->answered = 0;
	if (dns_known(s->client, str_c(name), type, &a))
		on_answer(s, &a);
	else
		buf_c(&s->got, "unknown");
	tap_is_str(s->got.p, want, "%s", what);
	buf_reset(&s->got);
}

static void until(struct scene *s, int answers, const char *want, const char *what)
{
	s->answered = answers;
	loop_run(s->loop);
	tap_is_str(s->got.p, want, "%s", what);
	buf_reset(&s->got);
}

int main(void)
{
	struct scene s = { .loop = loop_new() };

	buf_init(&s.got, 4096);
	s.client = dns_client_new(s.loop, -1, open_one, &s);
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	tap_is_int((long long)s.got.n, 0, "no answer from inside the question");
	until(&s, 1, "has(10 mx.test)(20 b.test)", "records reach who asked");
	tap_is_int(s.opened, 1, "the channel is opened at the first question");
	static const char *const names[] = { "no.test", "none.test", "fail.test", "slow.test" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)dns_ask(s.client, str_c(names[i]), DNS_MX, on_answer, &s);
	until(&s, 4, "no none trouble trouble", "no such name, no such record, failures");
	struct dns_ask *q = dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	(void)dns_ask(s.client, STR("no.test"), DNS_MX, on_answer, &s);
	dns_forget(&q);
	until(&s, 1, "no", "what is forgotten is silent");
	s.mute = true;
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	(void)dns_ask(s.client, STR("b.test"), DNS_MX, on_answer, &s);
	ipc_chan_free(&s.server);
	until(&s, 2, "trouble trouble", "a channel that closes is temporary trouble for all");
	s.mute = false;
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	until(&s, 1, "has(10 mx.test)(20 b.test)", "the next question opens a new channel");
	tap_is_int(s.opened, 2, "which was opened once");
	known(&s, "a.test", DNS_MX, "unknown", "nothing is remembered unless it is wanted");
	dns_client_remember(s.client, 10, 10000);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)dns_ask(s.client, str_c(names[i]), DNS_MX, on_answer, &s);
	until(&s, 4, "no none trouble trouble", "questions of one who remembers");
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	until(&s, 1, "has(10 mx.test)(20 b.test)", "and one with records");
	known(&s, "a.test", DNS_MX, "has(10 mx.test)(20 b.test)", "records are remembered");
	known(&s, "a.test", DNS_A, "unknown", "for their type");
	known(&s, "none.test", DNS_MX, "none", "so is that there are none");
	known(&s, "no.test", DNS_MX, "unknown", "but nothing that says no time");
	known(&s, "fail.test", DNS_MX, "unknown", "and no failure");
	known(&s, "slow.test", DNS_MX, "unknown", "nor silence");
	ipc_chan_free(&s.server);
	s.dead = true;
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	until(&s, 1, "trouble", "nobody there: trouble");
	(void)dns_ask(s.client, STR("a.test"), DNS_MX, on_answer, &s);
	until(&s, 1, "trouble", "and again, without waiting");
	dns_client_free(&s.client);
	ipc_chan_free(&s.server);
	buf_fini(&s.got);
	loop_free(&s.loop);
	return tap_done();
}
