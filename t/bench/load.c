/* Load for the benchmarks: many sessions from one process, the same for every server that is measured.
 *
 *	load smtp  HOST PORT SESSIONS MESSAGES BYTES USERS DOMAIN [PER_CONNECTION]
 *	load submit HOST PORT SESSIONS MESSAGES BYTES USERS DOMAIN PASSWORD
 *	load login HOST PORT SESSIONS LOGINS USERS DOMAIN PASSWORD tls|plain
 *	load idle  HOST PORT CONNECTIONS USERS DOMAIN PASSWORD tls|plain
 *
 * smtp: mail to user0..user(USERS-1)@DOMAIN in turn. submit: the same over TLS, with AUTH PLAIN as the recipient, one message a connection.
 * login: IMAP connect, LOGIN, LOGOUT. idle: logs in, SELECT INBOX, IDLE, prints "ready", holds until
 * standard input ends. DOMAIN "-": names without one; with a "#": that many domains, one user each. Prints "done N seconds S errors E". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "io/conn.h"
#include "io/tls.h"

enum mode { SMTP, LOGIN, IDLE };
enum { IN_MAX = 65536, STEP_TIMEOUT_MS = 60000 };

static struct {
	enum mode mode;
	const char *host, *domain, *password;
	uint16_t port;
	uint64_t sessions, total, bytes, users, per_conn;
	struct tls_ctx *tls;
	struct loop *loop;
	struct buf body;
	uint64_t started, done, errors, live, ready, next_user;
} g;

struct session {
	struct conn *c;
	unsigned step;
	uint64_t left;		/* messages of this connection */
	char user[128];
	bool authenticated;
};

static void start(void);

static void fail(const char *why)
{
	if (g.errors++ < 5)
		fprintf(stderr, "load: %s\n", why);
}

static void next_user(struct session *s)
{
	uint64_t n = g.next_user++ % g.users;
	const char *mark = strchr(g.domain, '#');
	if (mark)
		snprintf(s->user, sizeof(s->user), "user@%.*s%llu%s", (int)(mark - g.domain), g.domain, (unsigned long long)n, mark + 1);
	else if (strcmp(g.domain, "-") == 0)
		snprintf(s->user, sizeof(s->user), "user%llu", (unsigned long long)n);
	else
		snprintf(s->user, sizeof(s->user), "user%llu@%s", (unsigned long long)n, g.domain);
}

static void end(struct session *s)
{
	conn_free(&s->c);
	loop_free_later(g.loop, s);
	g.live--;
	if (g.mode != IDLE)
		start();
	if (g.live == 0)
		loop_stop(g.loop);
}

static void put(struct session *s, const char *text)
{
	conn_write(s->c, str_c(text));
}

/* With the size, as other servers and mail clients send it. */
static const char *mail_from(void)
{
	static char text[128];

	snprintf(text, sizeof(text), "MAIL FROM:<sender@bench.example> SIZE=%llu\r\n", (unsigned long long)g.bytes);
	return text;
}

static void put_auth(struct session *s)
{
	struct buf plain, text;

	buf_init(&plain, 1000);
	buf_init(&text, 2000);
	buf_str(&plain, str_n("\0", 1));
	buf_c(&plain, s->user);
	buf_str(&plain, str_n("\0", 1));
	buf_c(&plain, g.password);
	base64_encode(&text, buf_view(&plain));
	conn_printf(s->c, "AUTH PLAIN %s\r\n", text.p);
	buf_fini(&plain);
	buf_fini(&text);
}

/* SMTP steps: 0 greeting, 1 EHLO, 2 MAIL, 3 RCPT, 4 DATA, 5 the message, 6 QUIT. */
static void smtp_line(struct session *s, struct str line)
{
	static const char want[] = "2222322";
	char text[300];
	if (line.n < 4 || line.p[3] == '-')
		return;
	if (line.p[0] != want[s->step]) {
		snprintf(text, sizeof(text), "step %u: %.*s", s->step, STR_ARG(line));
		fail(text);
		g.done += s->step < 6;
		end(s);
		return;
	}
	switch (s->step++) {
	case 0:
		put(s, "EHLO bench.example\r\n");
		break;
	case 1:
		next_user(s);
		if (g.password != NULL && !s->authenticated) {
			s->authenticated = true;
			s->step = 1;	/* its answer stands where EHLO's did */
			put_auth(s);
			break;
		}
		put(s, mail_from());
		break;
	case 2:
		conn_printf(s->c, "RCPT TO:<%s>\r\n", s->user);
		break;
	case 3:
		put(s, "DATA\r\n");
		break;
	case 4:
		conn_write(s->c, buf_view(&g.body));
		break;
	case 5:
		g.done++;
		s->left--;
		if (s->left > 0 && g.started < g.total) {
			g.started++;
			s->step = 2;
			next_user(s);
			put(s, mail_from());
		} else {
			put(s, "QUIT\r\n");
		}
		break;
	default:
		end(s);
	}
}

/* IMAP steps: 0 greeting, 1 LOGIN, then LOGOUT or SELECT, IDLE. */
static void imap_line(struct session *s, struct str line)
{
	bool tagged = str_starts(line, STR("a OK"));
	if (str_starts(line, STR("a ")) && !tagged) {
		char text[300];
		snprintf(text, sizeof(text), "step %u: %.*s", s->step, STR_ARG(line));
		fail(text);
		g.done++;
		end(s);
		return;
	}
	if (s->step == 0 && str_starts(line, STR("* OK"))) {
		s->step = 1;
		next_user(s);
		conn_printf(s->c, "a LOGIN %s %s\r\n", s->user, g.password);
	} else if (s->step == 1 && tagged) {
		s->step = 2;
		put(s, g.mode == LOGIN ? "a LOGOUT\r\n" : "a SELECT INBOX\r\n");
	} else if (s->step == 2 && tagged && g.mode == LOGIN) {
		g.done++;
		end(s);
	} else if (s->step == 2 && tagged) {
		s->step = 3;
		put(s, "a IDLE\r\n");
	} else if (s->step == 3 && line.n > 0 && line.p[0] == '+') {
		s->step = 4;
		conn_idle(s->c, 0);
		start();
		if (++g.ready == g.total) {
			puts("ready");
			fflush(stdout);
		}
	}
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct session *s = ctx;
	struct str line;
	struct err e = { 0 };
	switch (ev) {
	case CONN_EV_DATA:
		while (s->c != NULL && conn_line(s->c, IN_MAX, &line, &e) == 0)
			(g.mode == SMTP ? smtp_line : imap_line)(s, line);
		return;
	case CONN_EV_DRAINED:
	case CONN_EV_SECURED:
		return;
	case CONN_EV_CLOSED:
	case CONN_EV_ERROR:
	case CONN_EV_TIMEOUT:
		break;
	}
	fail(ev == CONN_EV_TIMEOUT ? "time limit" : ev == CONN_EV_CLOSED ? "the server has closed" : conn_error(c));
	g.done++;
	end(s);
}

static void start(void)
{
	if (g.started >= g.total || (g.mode == IDLE && g.live - g.ready >= 20))
		return;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(g.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET, g.host, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("load: connect");
		exit(1);
	}
	struct session *s = xzalloc(sizeof(*s));
	static const struct conn_limits limits = { .in_max = IN_MAX, .out_high = 1 << 20, .out_max = 64 << 20 };
	s->left = g.per_conn;
	g.started++;
	g.live++;
	s->c = conn_new(g.loop, fd, &limits, on_event, s);
	conn_idle(s->c, STEP_TIMEOUT_MS);
	if (g.tls != NULL)
		conn_starttls_client(s->c, g.tls, "localhost");
}

static void make_body(void)
{
	buf_init(&g.body, g.bytes + 1000);
	buf_printf(&g.body, "From: sender@bench.example\r\nTo: users@bench.example\r\nSubject: bench\r\nMessage-ID: <%llx@bench.example>\r\n\r\n",
		   (unsigned long long)random_u64());
	while (g.body.n + 80 < g.bytes)
		buf_c(&g.body, "All work and no play makes a dull mail, and seventy-six bytes make one line.\r\n");
	buf_c(&g.body, ".\r\n");
}

static uint64_t number(const char *s)
{
	uint64_t v;
	if (num_parse(str_c(s), 1, UINT32_MAX, &v) < 0) {
		fprintf(stderr, "load: \"%s\" is no number\n", s);
		exit(2);
	}
	return v;
}

static void on_stdin(void *ctx, unsigned events)
{
	char c[64];
	(void)ctx;
	(void)events;
	if (read(0, c, sizeof(c)) <= 0)
		loop_stop(g.loop);
}

static void use_tls(const char *word)
{
	struct err e = { 0 };
	if (strcmp(word, "tls") == 0 && tls_client_new(false, NULL, &g.tls, &e) < 0) {
		fprintf(stderr, "load: %s\n", e.text);
		exit(1);
	}
}

static int usage(void)
{
	fputs("usage: load smtp HOST PORT SESSIONS MESSAGES BYTES USERS DOMAIN [PER_CONNECTION]\n"
	      "       load submit HOST PORT SESSIONS MESSAGES BYTES USERS DOMAIN PASSWORD\n"
	      "       load login HOST PORT SESSIONS LOGINS USERS DOMAIN PASSWORD tls|plain\n"
	      "       load idle HOST PORT CONNECTIONS USERS DOMAIN PASSWORD tls|plain\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return usage();
	g.host = argv[2];
	g.port = (uint16_t)number(argv[3]);
	g.loop = loop_new();
	if (strcmp(argv[1], "smtp") == 0 && (argc == 9 || argc == 10)) {
		g.mode = SMTP;
		g.sessions = number(argv[4]);
		g.total = number(argv[5]);
		g.bytes = number(argv[6]);
		g.users = number(argv[7]);
		g.domain = argv[8];
		g.per_conn = argc == 10 ? number(argv[9]) : 1;
		make_body();
	} else if (strcmp(argv[1], "submit") == 0 && argc == 10) {
		g.mode = SMTP;
		g.sessions = number(argv[4]);
		g.total = number(argv[5]);
		g.bytes = number(argv[6]);
		g.users = number(argv[7]);
		g.domain = argv[8];
		g.password = argv[9];
		g.per_conn = 1;
		make_body();
		use_tls("tls");
	} else if (strcmp(argv[1], "login") == 0 && argc == 10) {
		g.mode = LOGIN;
		g.sessions = number(argv[4]);
		g.total = number(argv[5]);
		g.users = number(argv[6]);
		g.domain = argv[7];
		g.password = argv[8];
		use_tls(argv[9]);
	} else if (strcmp(argv[1], "idle") == 0 && argc == 9) {
		g.mode = IDLE;
		g.sessions = 10;
		g.total = number(argv[4]);
		g.users = number(argv[5]);
		g.domain = argv[6];
		g.password = argv[7];
		use_tls(argv[8]);
		loop_watch(g.loop, 0, LOOP_READ, on_stdin, NULL);
	} else {
		return usage();
	}
	uint64_t t0 = clock_mono_us();
	for (uint64_t i = 0; i < g.sessions; i++)
		start();
	loop_run(g.loop);
	printf("done %llu seconds %.3f errors %llu\n", (unsigned long long)g.done, (double)(clock_mono_us() - t0) / 1e6,
	       (unsigned long long)g.errors);
	return g.errors > 0;
}
