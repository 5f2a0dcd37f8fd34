/* The outgoing client against servers of straw, in one loop on loopback: good ones, rude ones, hostile ones (CVE-2020-8794, CVE-2021-38371 and the
 * like). One dns process of straw answers for example.org and its neighbours.
 *
 * Steps of a server: "S:" send, "C:" the next line must begin so, "D" message data up to the lone dot, "X" close, "N" what follows is the next
 * connection. Results: one "status enhanced text-prefix" per recipient.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "deliver/remote/remote_priv.h"
#include "dns/wire.h"
#include "ipc/dns.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/os.h"
#include "test/tap.h"

enum { CASE_MS = 5000, STEPS_MAX = 60, RCPTS_MAX = 3 };

#define EHLO1 "S:220 mx ESMTP\r\n", "C:EHLO mail.example.com", "S:250-mx\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n"
#define ENV1 "C:MAIL FROM:<a@b> SIZE=", "S:250 2.1.0 Ok\r\n", "C:RCPT TO:<x@example.org>", "S:250 2.1.5 Ok\r\n", "C:DATA", "S:354 go\r\n", "D"
#define OK1 "S:250 2.0.0 Ok: queued as 123\r\n"

static const struct server_case {
	const char *name, *nexthop;	/* "%d" is the server's port */
	const char *rcpts[RCPTS_MAX];
	const char *steps[STEPS_MAX];
	const char *want[RCPTS_MAX];
	const char *data;		/* what the server got, wire form; NULL: not looked at */
	const char *message, *edit;
	int sends;			/* the same message this many times; 0: once */
	const char *conf;		/* lines of configuration; NULL: none */
	bool utf8;
} cases[] = {
	{ "a message", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1, "C:QUIT" }, { "sent 2.0.0 250 2.0.0 Ok: queued as 123" },
	  "A: b\r\n\r\n..\r\n..x\r\ny\r\n.\r\n", "A: b\n\n.\n.x\ny\n", NULL, 0, NULL, false },
	{ "stray CR and a line without end never leave", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent " }, "A: b\r\n\r\nq .\r\n.\r\n",
	  "A: b\n\nq\r.\n", NULL, 0, NULL, false },
	{ "header edits", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent " }, "Received: z\r\nA: b\r\n\r\nq\r\n.\r\n", "A: b\n\nq\n", "+Received: z", 0, NULL, false },
	{ "header edits where there is no header", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent " }, "Received: z\r\n\r\nq\r\n.\r\n", "\nq\n", "+Received: z", 0, NULL, false },
	{ "HELO where EHLO is refused", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 mx\r\n", "C:EHLO", "S:500 what\r\n", "C:HELO", "S:250 mx\r\n", "C:MAIL FROM:<a@b>", "S:250 Ok\r\n",
		"C:RCPT", "S:250 Ok\r\n", "C:DATA", "S:354 go\r\n", "D", "S:250 Ok\r\n" }, { "sent 2.0.0 250 Ok" }, NULL, NULL, NULL, 0, NULL, false },
	{ "several recipients", "[127.0.0.1]:%d", { "x@example.org", "y@example.org", "z@example.org" }, { EHLO1, "C:MAIL", "S:250 Ok\r\n", "C:RCPT TO:<x@example.org>", "C:RCPT TO:<y@example.org>",
		"C:RCPT TO:<z@example.org>", "S:250 Ok\r\n550 5.1.1 no such user\r\n450 4.2.1 later\r\n", "C:DATA", "S:354 go\r\n", "D", OK1 },
	  { "sent ", "bounced 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)", "deferred 4.2.1 host 127.0.0.1" }, NULL, NULL, NULL, 0, NULL, false },
	{ "all recipients refused", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "C:RCPT", "C:DATA", "S:250 Ok\r\n550 no\r\n554 5.5.1 no recipients\r\n", "C:RSET", "S:250 Ok\r\n" }, { "bounced 5.0.0 host" }, NULL, NULL, NULL, 0, NULL, false },
	{ "the sender refused", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "C:RCPT", "C:DATA", "S:550 5.7.1 no\r\n503 5.5.1 need MAIL\r\n503 5.5.1 need RCPT\r\n", "C:RSET" }, { "bounced 5.7.1 host" }, NULL, NULL, NULL, 0, NULL, false },
	{ "refused at the end of data", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, "S:554 5.7.1 spam\r\n", "C:RSET" }, { "bounced 5.7.1 host 127.0.0.1[127.0.0.1] said: 554 5.7.1 spam (in reply to end of DATA command)" }, NULL, NULL, NULL, 0, NULL, false },
	{ "lost after the data", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, "X" }, { "deferred 4.4.2 lost connection with 127.0.0.1[127.0.0.1] while sending end of data" }, NULL, NULL, NULL, 0, NULL, false },
	{ "lost in the greeting", "[127.0.0.1]:%d", { "x@example.org" }, { "X" }, { "deferred 4.4.2 lost connection with" }, NULL, NULL, NULL, 0, NULL, false },
	{ "too large for the server", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 SIZE 5\r\n", "C:QUIT" }, { "bounced 5.3.4 message size" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a greeting of 554", "[127.0.0.1]:%d", { "x@example.org" }, { "S:554 no mail here\r\n", "C:QUIT" }, { "deferred 4.4.2 host 127.0.0.1[127.0.0.1] refused to talk to me: 554 no mail here" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a reply without text", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "C:RCPT", "C:DATA", "S:250\r\n550-\r\n550\r\n503\r\n", "C:RSET" }, { "bounced 5.0.0 host" }, NULL, NULL, NULL, 0, NULL, false },
	{ "controls in a reply", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "C:RCPT", "C:DATA", "S:250 Ok\r\n550-5.1.1 a\033[2J\xff\r\n550 5.1.1 b\r\n503 5.5.1 no\r\n", "C:RSET" },
	  { "bounced 5.1.1 host 127.0.0.1[127.0.0.1] said: 550 5.1.1 a?[2J? 5.1.1 b (in" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a bare line feed in a reply", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "C:RCPT", "S:250 Ok\n" }, { "deferred 4.4.2 host 127.0.0.1[127.0.0.1] broke the SMTP protocol" }, NULL, NULL, NULL, 0, NULL, false },
	{ "no SMTP at all", "[127.0.0.1]:%d", { "x@example.org" }, { "S:HTTP/1.1 400 Bad Request\r\n" }, { "deferred 4.4.2 host 127.0.0.1[127.0.0.1] broke" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a reply of endless lines", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "L" }, { "deferred 4.4.2 host 127.0.0.1[127.0.0.1] broke" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a line without end", "[127.0.0.1]:%d", { "x@example.org" }, { "B" }, { "deferred 4.4.2 host 127.0.0.1[127.0.0.1] broke" }, NULL, NULL, NULL, 0, NULL, false },
	{ "text behind the answer to STARTTLS", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 STARTTLS\r\n", "C:STARTTLS", "S:220 go\r\n250 fake\r\n" },
	  { "deferred 4.7.0 host 127.0.0.1[127.0.0.1] sent text behind its answer to STARTTLS" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a handshake that fails: once more in the clear", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 STARTTLS\r\n", "C:STARTTLS", "S:220 go\r\n", "X", "N",
		"S:220 x\r\n", "C:EHLO", "S:250-x\r\n250-SIZE\r\n250 STARTTLS\r\n", ENV1, OK1 }, { "sent " }, NULL, NULL, NULL, 0, NULL, false },
	{ "data refused in the middle", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "S:250 Ok\r\n", "C:RCPT", "S:250 Ok\r\n", "C:DATA", "S:451 4.3.0 no room\r\n", "C:RSET" }, { "deferred 4.3.0 host" }, NULL, NULL, NULL, 0, NULL, false },
	{ "by MX", "example.org:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent 2.0.0" }, NULL, NULL, NULL, 0, NULL, false },
	{ "without MX, by address", "plain.example:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent 2.0.0" }, NULL, NULL, NULL, 0, NULL, false },
	{ "no such domain", "nowhere.example:%d", { "x@example.org" }, { NULL }, { "bounced 5.4.4 Host or domain name not found. Name service error for name=nowhere.example type=MX" }, NULL, NULL, NULL, 0, NULL, false },
	{ "null MX", "null.example:%d", { "x@example.org" }, { NULL }, { "bounced 5.1.10 Domain null.example does not accept mail" }, NULL, NULL, NULL, 0, NULL, false },
	{ "we are the MX", "ours.example:%d", { "x@example.org" }, { NULL }, { "bounced 5.4.6 mail for ours.example loops back to myself" }, NULL, NULL, NULL, 0, NULL, false },
	{ "the second MX, when nobody listens on the first", "two.example:%d", { "x@example.org" }, { EHLO1, ENV1, OK1 }, { "sent 2.0.0" }, NULL, NULL, NULL, 0, NULL, false },
	{ "no usable exchanger", "rude.example:%d", { "x@example.org" }, { NULL }, { "deferred 4.4.3" }, NULL, NULL, NULL, 0, NULL, false },
	{ "nobody listens", "[127.0.0.1]:1", { "x@example.org" }, { NULL }, { "deferred 4.4.1 connect to 127.0.0.1[127.0.0.1]:1: Connection refused" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a bad next hop", "[127.0.0.1", { "x@example.org" }, { NULL }, { "deferred 4.3.5" }, NULL, NULL, NULL, 0, NULL, false },
	{ "a command in an address", "[127.0.0.1]:%d", { "x@example.org>\r\nDATA" }, { EHLO1 }, { "bounced 5.1.3" }, NULL, NULL, NULL, 0, NULL, false },
	{ "two messages on one connection", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1, ENV1, OK1 }, { "sent " }, NULL, NULL, NULL, 2, NULL, false },
	{ "a kept connection that has gone stale", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1, OK1, "C:MAIL", "X", "N", EHLO1, ENV1, OK1 }, { "sent " }, NULL, NULL, NULL, 2, NULL, false },
	{ "silence instead of a greeting", "[127.0.0.1]:%d", { "x@example.org" }, { NULL }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while receiving the initial server greeting" }, NULL, NULL, NULL, 0, "smtp_helo_timeout = 1s\n", false },
	{ "silence after EHLO", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO" }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while performing the EHLO handshake" }, NULL, NULL, NULL, 0, "smtp_helo_timeout = 1s\n", false },
	{ "silence after STARTTLS", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 STARTTLS\r\n", "C:STARTTLS" }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while performing the STARTTLS handshake" }, NULL, NULL, NULL, 0, "smtp_starttls_timeout = 1s\n", false },
	{ "silence in the envelope", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "S:250 Ok\r\n" }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while sending MAIL FROM or RCPT TO" }, NULL, NULL, NULL, 0, "smtp_rcpt_timeout = 1s\n", false },
	{ "silence after DATA", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, "C:MAIL", "S:250 Ok\r\n", "C:RCPT", "S:250 Ok\r\n", "C:DATA" }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while sending DATA command" }, NULL, NULL, NULL, 0, "smtp_data_init_timeout = 1s\n", false },
	{ "silence after the message", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1, ENV1 }, { "deferred 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while sending end of data" }, NULL, NULL, NULL, 0, "smtp_data_done_timeout = 1s\n", false },
	{ "the name that is said", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 mx ESMTP\r\n", "C:EHLO other.example.net\r\n", "S:250 mx\r\n", "C:MAIL", "S:550 5.7.1 no\r\n" }, { "bounced 5.7.1" }, NULL, NULL, NULL, 0,
	  "smtp_helo_name = other.example.net\n", false },
	{ "keywords that are not to be seen", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250-PIPELINING\r\n250 SIZE 5\r\n", "C:MAIL FROM:<a@b>\r\n", "S:550 5.7.1 no\r\n" },
	  { "bounced 5.7.1" }, NULL, NULL, NULL, 0, "smtp_discard_ehlo_keywords = size, Pipelining\n", false },
	{ "keywords that are not to be seen of this server", "[127.0.0.1]:%d", { "x@example.org" },
	  { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250-PIPELINING\r\n250 SIZE 5\r\n", "C:MAIL FROM:<a@b>\r\n", "S:550 5.7.1 no\r\n" }, { "bounced 5.7.1" }, NULL, NULL, NULL, 0,
	  "smtp_discard_ehlo_keyword_address_maps = inline:{ 127.0.0.9=dsn }, inline:{ { 127.0.0.1 = size, Pipelining } }\n", false },
	{ "its table stands in place of the list", "[127.0.0.1]:%d", { "x@example.org" },
	  { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 SIZE 5\r\n", "C:QUIT" }, { "bounced 5.3.4" }, NULL, NULL, NULL, 0,
	  "smtp_discard_ehlo_keywords = size\nsmtp_discard_ehlo_keyword_address_maps = inline:{ 127.0.0.1=dsn }\n", false },
	{ "no more addresses than are allowed", "two.example:%d", { "x@example.org" }, { NULL }, { "deferred 4.4.1 connect to dead.example[127.0.0.2]:" }, NULL, NULL, NULL, 0,
	  "smtp_mx_address_limit = 1\n", false },
	{ "no more attempts than are allowed", "two.example:%d", { "x@example.org" }, { NULL }, { "deferred 4.4.1 connect to dead.example[127.0.0.2]:" }, NULL, NULL, NULL, 0,
	  "smtp_mx_session_limit = 1\n", false },
	{ "SMTPUTF8 where it is not offered", "[127.0.0.1]:%d", { "x@example.org" }, { EHLO1 }, { "bounced 5.6.7 SMTPUTF8 is required, but was not offered by host 127.0.0.1" }, NULL, NULL, NULL, 0, NULL, true },
	{ "SMTPUTF8 where it is offered", "[127.0.0.1]:%d", { "x@example.org" }, { "S:220 x\r\n", "C:EHLO", "S:250-x\r\n250 SMTPUTF8\r\n", "C:MAIL FROM:<a@b> SMTPUTF8\r\n", "S:250 Ok\r\n", "C:RCPT", "S:250 Ok\r\n",
		"C:DATA", "S:354 go\r\n", "D", OK1 }, { "sent 2.0.0" }, NULL, NULL, NULL, 0, NULL, true },
};

struct straw {
	struct loop *loop;
	const struct server_case *t;
	struct remote r;
	struct ipc_chan *queue;
	struct conn *server;
	struct timer *limit;
	struct ipc_chan *dns;
	int listener, body;
	uint16_t port;
	size_t step;
	struct buf data;
	int sends;
	bool failed, done;
};

static void advance(struct straw *w);
static void send_job(struct straw *w);

static void finish(struct straw *w, bool good)
{
	w->failed = w->failed || !good;
	w->done = true;
	loop_stop(w->loop);
}

/* --- the dns process of straw: answers for a handful of names --- */

static const struct record {
	const char *name;
	unsigned type;
	const char *values[3];
} zone[] = {
	{ "example.org", DNS_MX, { "10 mx.example.org", "20 unused.example.org" } },
	{ "null.example", DNS_MX, { "0 ." } },
	{ "ours.example", DNS_MX, { "10 mail.example.com", "20 mx.example.org" } },
	{ "two.example", DNS_MX, { "20 mx.example.org", "10 dead.example" } },
	{ "rude.example", DNS_MX, { "10 a\\010b.example", "x", "" } },
	{ "dead.example", DNS_A, { "127.0.0.2" } },
};

static void on_query(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct ipc_dns_QUERY *q = msg;
	struct str v[3];
	struct ipc_dns_ANSWER a = { .records = { v, 0 }, .canonical = q->name };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(zone); i++)
		for (size_t k = 0; str_eq(q->name, str_c(zone[i].name)) && q->type == zone[i].type && k < 3 && zone[i].values[k]; k++)
			v[a.records.n++] = str_c(zone[i].values[k]);
	if (str_eq(q->name, STR("nowhere.example")))
		a.rcode = DNS_RCODE_NO_NAME;
	else if (q->type == DNS_A && a.records.n == 0)
		v[a.records.n++] = STR("127.0.0.1");
	if (ipc_send(ch, IPC_dns_ANSWER, &a, id, -1, &e) < 0)
		abort();
}

static void on_dns_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct straw *w = ctx;

	ipc_chan_free(&w->dns);
}

/* --- the server --- */

static void on_server(void *ctx, struct conn *c, enum conn_event ev)
{
	struct straw *w = ctx;

	if (ev == CONN_EV_CLOSED || ev == CONN_EV_ERROR)
		conn_free(&w->server);
	advance(w);
}

static void on_accept(void *ctx, unsigned events)
{
	static const struct conn_limits limits = { .in_max = 1 << 20, .out_high = 8 << 20, .out_max = 16 << 20 };
	struct straw *w = ctx;
	const int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	conn_free(&w->server);
	w->server = conn_new(w->loop, fd, &limits, on_server, w);
	if (w->step < STEPS_MAX && w->t->steps[w->step] != NULL && w->t->steps[w->step][0] == 'N')
		w->step++;
	advance(w);
}

/* Line by line, so that commands that come together are taken one step at a time. */
static bool take_line(struct straw *w, struct buf *line)
{
	const struct str in = conn_input(w->server);
	const ptrdiff_t lf = str_chr(in, '\n');

	if (lf < 0)
		return false;
	buf_reset(line);
	buf_str(line, str_sub(in, 0, (size_t)lf + 1));
	conn_consume(w->server, (size_t)lf + 1);
	if (lf < 1 || line->p[lf - 1] != '\r') {
		tap_diag("bare line feed from the client");
		w->failed = true;
	}
	return true;
}

static void flood(struct straw *w, char kind)
{
	struct buf b;

	buf_init(&b, 8 << 20);
	for (int i = 0; i < (kind == 'L' ? 5000 : 2000000); i++)
		buf_c(&b, kind == 'L' ? "250-x\r\n" : "x");
	conn_write(w->server, buf_view(&b));
	buf_fini(&b);
}

static void advance(struct straw *w)
{
	struct buf line;

	buf_init(&line, 1 << 20);
	while (w->server != NULL && w->step < STEPS_MAX && w->t->steps[w->step] != NULL) {
		const char *s = w->t->steps[w->step];
		if (s[0] == 'S') {
			conn_write(w->server, str_c(s + 2));
		} else if (s[0] == 'C') {
			if (!take_line(w, &line))
				break;
			if (!str_starts(buf_view(&line), str_c(s + 2))) {
				tap_diag("step %zu: wanted %s, got %.*s", w->step, s, STR_ARG(buf_view(&line)));
				finish(w, false);
				break;
			}
		} else if (s[0] == 'D') {
			bool end = false;
			while (!end && take_line(w, &line)) {
				buf_str(&w->data, buf_view(&line));
				end = str_eq(buf_view(&line), STR(".\r\n"));
			}
			if (!end)
				break;
		} else if (s[0] == 'X') {
			w->step++;
			conn_finish(&w->server, 0);
			break;
		} else if (s[0] == 'N') {
			break;
		} else {
			flood(w, s[0]);
		}
		w->step++;
	}
	buf_fini(&line);
}

/* --- queued --- */

static void on_result(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct straw *w = ctx;
	const struct ipc_remote_RESULT *m = msg;
	char got[800];

	for (size_t i = 0; i < m->status.n && i < RCPTS_MAX; i++) {
		(void)snprintf(got, sizeof got, "%.*s %.*s %.*s", STR_ARG(m->status.v[i]), STR_ARG(m->enhanced.v[i]), STR_ARG(m->texts.v[i]));
		if (w->t->want[i] == NULL || !str_starts(str_c(got), str_c(w->t->want[i])) || !str_printable(str_c(got))) {
			tap_diag("recipient %zu: wanted %s, got %s", i, w->t->want[i] ? w->t->want[i] : "nothing", got);
			w->failed = true;
		}
	}
	if (++w->sends < w->t->sends)
		send_job(w);
	else
		finish(w, true);
}

static void on_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	tap_diag("channel: %s", why->text);
	finish(ctx, false);
}

static void send_job(struct straw *w)
{
	struct str rcpts[RCPTS_MAX], edit = str_c(w->t->edit);
	char nexthop[100];
	struct err e = { 0 };
	size_t n = 0;
	const char *text = w->t->message ? w->t->message : "A: b\n\nhello\n";

	while (n < RCPTS_MAX && w->t->rcpts[n] != NULL) {
		rcpts[n] = str_c(w->t->rcpts[n]);
		n++;
	}
	const ptrdiff_t mark = str_find(str_c(w->t->nexthop), STR("%d"));
	if (mark >= 0)
		(void)snprintf(nexthop, sizeof nexthop, "%.*s%u", (int)mark, w->t->nexthop, w->port);
	else
		(void)snprintf(nexthop, sizeof nexthop, "%s", w->t->nexthop);
	close_fd(&w->body);
	w->body = memfd_create("body", MFD_CLOEXEC);
	/* Behind the message lies the queue's journal, which nobody may see. */
	if (w->body < 0 || write_all(w->body, text, strlen(text), &e) < 0 || write_all(w->body, "PoJ1 journal", 12, &e) < 0)
		abort();
	const struct ipc_remote_SEND m = {
		.qid = STR("TESTQ1"), .nexthop = str_c(nexthop), .sender = STR("a@b"), .recipients = { rcpts, n },
		.edits = { &edit, w->t->edit != NULL }, .size = strlen(text), .transport = STR("smtp"), .smtputf8 = w->t->utf8,
	};
	if (ipc_send(w->queue, IPC_remote_SEND, &m, ipc_next_id(w->queue), w->body, &e) < 0)
		abort();
}

static void on_limit(void *ctx)
{
	tap_diag("step %zu: nothing more came", ((struct straw *)ctx)->step);
	finish(ctx, false);
}

static int listen_on(int type, uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sin;
	const int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof sin) < 0 || (type == SOCK_STREAM && listen(fd, 16) < 0) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		abort();
	*port = ntohs(sin.sin_port);
	return fd;
}

static struct conf *make_conf(const char *lines)
{
	char path[] = "/tmp/test_remote.XXXXXX", text[200];
	struct conf *c = NULL;
	struct err e = { 0 };
	const int fd = mkstemp(path);

	(void)snprintf(text, sizeof text, "myhostname = mail.example.com\n%s", lines ? lines : "");
	if (fd < 0 || write_all(fd, text, strlen(text), &e) < 0 || conf_load(path, &c, NULL, &e) < 0)
		tap_diag("%s", e.text);
	close(fd);
	(void)unlink(path);
	return c;
}

/* What the worker holds is the process's until it ends: it has no way back by design. left keeps it in sight of leak checkers. */
static void run(const struct server_case *t, struct remote *left)
{
	struct straw w = { .t = t, .body = -1 };
	struct err e = { 0 };
	int pair[2], dns[2];

	w.loop = loop_new();
	w.listener = listen_on(SOCK_STREAM, &w.port);
	struct conf *conf = make_conf(t->conf);
	buf_init(&w.data, 1 << 20);
	if (conf == NULL || sock_pair(SOCK_SEQPACKET, pair, &e) < 0 || sock_pair(SOCK_SEQPACKET, dns, &e) < 0 || remote_init(&w.r, conf, &e) < 0) {
		tap_ok(false, "%s: %s", t->name, e.text);
		return;
	}
	struct watch *wl = loop_watch(w.loop, w.listener, LOOP_READ, on_accept, &w);
	w.dns = ipc_chan_new(w.loop, dns[0], &ipc_dns, on_query, on_dns_gone, &w);
	remote_serve(&w.r, w.loop, pair[1], dns[1]);
	w.queue = ipc_chan_new(w.loop, pair[0], &ipc_remote, on_result, on_gone, &w);
	w.limit = loop_timer(w.loop, CASE_MS, on_limit, &w);
	send_job(&w);
	loop_run(w.loop);
	bool good = !w.failed;
	if (good && t->data != NULL)
		good = tap_is_mem(buf_view(&w.data), str_c(t->data), "%s: what the server got", t->name);
	tap_ok(good, "%s", t->name);
	watch_del(&wl);
	timer_del(&w.limit);
	conn_free(&w.server);
	ipc_chan_free(&w.queue);
	close_fd(&w.listener);
	ipc_chan_free(&w.dns);
	close_fd(&w.body);
	buf_fini(&w.data);
	*left = w.r;
}

int main(int argc, char **argv)
{
	static struct remote left[ARRAY_LEN(cases)];
	struct err e = { 0 };

	if (argc > 1)
		log_verbose(true);
	else if (log_open("postern", "smtp", NULL, &e) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (argc < 2 || str_find(str_c(cases[i].name), str_c(argv[1])) >= 0)
			run(&cases[i], &left[i]);
	return tap_done();
}
