/* Lines as the log process makes them: form, neutralising, who may say what, rates. And the sender over a real socket. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/frame.h"
#include "log/log.h"
#include "test/tap.h"

static const struct frame_user users[] = { { 0, true }, { 100, false } };
enum { NOON = 1000000000 };		/* 2001-09-09 01:46:40 UTC */

static const struct {
	const char *name, *datagram;
	size_t n;		/* 0: strlen */
	uid_t uid;
	const char *want;
} cases[] = {
	{ "a line", "2 postern/smtpd connect from a[1.2.3.4]", 0, 100, "Sep  9 01:46:40 mx postern/smtpd[7]: connect from a[1.2.3.4]\n" },
	{ "line breaks cannot split a line", "2 a/b x\r\nSep  9 forged", 0, 100, "Sep  9 01:46:40 mx a/b[7]: x??Sep  9 forged\n" },
	{ "escapes and NUL are neutralised", "2 a/b \033[1mred\0x", 15, 100, "Sep  9 01:46:40 mx a/b[7]: ?[1mred?x\n" },
	{ "bad UTF-8 too", "2 a/b \xff\xc3\xa4", 0, 100, "Sep  9 01:46:40 mx a/b[7]: ?\xc3\xa4\n" },
	{ "no level", "x a/b y", 0, 100, "" },
	{ "a level that is none", "9 a/b y", 0, 100, "" },
	{ "no ident", "2 justtext", 0, 100, "" },
	{ "an ident with a bracket", "2 a[1]:b y", 0, 100, "" },
	{ "empty", "", 0, 100, "" },
	{ "a session may write its line", "2 dovecot imap(joe)<7><x>: Logged out", 0, 1000, "Sep  9 01:46:40 mx dovecot[7]: imap(joe)<7><x>: Logged out\n" },
	{ "a user may not fake a login failure", "2 dovecot imap-login: Aborted login (auth failed", 0, 1000,
	  "Sep  9 01:46:40 mx user-1000[7]: imap-login: Aborted login (auth failed\n" },
	{ "nor a delivery", "2 postfix/local X: to=<a>, status=sent", 0, 1000, "Sep  9 01:46:40 mx user-1000[7]: X: to=<a>, status=sent\n" },
};

static void forms(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct frame *f = frame_new("mx.example.com", users, ARRAY_LEN(users));
		struct buf out;
		int level = -1;

		buf_init(&out, 65536);
		frame_line(f, str_n(cases[i].datagram, cases[i].n ? cases[i].n : strlen(cases[i].datagram)),
			   (struct frame_sender){ 7, cases[i].uid }, NOON, 1, &out, &level);
		tap_is_mem(buf_view(&out), str_c(cases[i].want), "%s", cases[i].name);
		buf_fini(&out);
		frame_free(&f);
	}
}

static size_t count_lines(const struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->p[i] == '\n';
	return n;
}

static void rates(void)
{
	struct frame *f = frame_new("", users, ARRAY_LEN(users));
	struct buf out;
	int level;

	buf_init(&out, 1 << 24);
	for (int i = 0; i < 1000; i++)
		frame_line(f, STR("2 a/b x"), (struct frame_sender){ 7, 100 }, NOON, 5, &out, &level);
	tap_is_int((long long)count_lines(&out), 200, "200 lines a second of one process");
	buf_reset(&out);
	frame_tick(f, NOON, 5, &out);
	tap_is_int((long long)out.n, 0, "nothing is told in the same second");
	frame_tick(f, NOON, 6, &out);
	tap_is_str(out.p, "Sep  9 01:46:40 localhost a/b[7]: warning: 800 lines suppressed\n", "then what was cut is told");
	buf_reset(&out);
	frame_line(f, STR("2 a/b x"), (struct frame_sender){ 7, 100 }, NOON, 6, &out, &level);
	tap_is_int((long long)count_lines(&out), 1, "the next second is free again");
	buf_reset(&out);
	for (int i = 0; i < 20000; i++)
		frame_line(f, STR("2 a/b x"), (struct frame_sender){ 9, 0 }, NOON, 7, &out, &level);
	tap_is_int((long long)count_lines(&out), 20000, "the queue manager speaks for many");
	buf_reset(&out);
	for (int i = 0; i < 9000; i++)
		frame_line(f, STR("2 a/b x"), (struct frame_sender){ 1000 + i, 100 }, NOON, 8, &out, &level);
	tap_is_int((long long)count_lines(&out), 5000, "all processes of a user together are limited");
	buf_fini(&out);
	frame_free(&f);
}

static void sender(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct err e = { 0 };
	char got[4096];

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "/tmp/test_log.%d", (int)getpid());
	if (bind(sock, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		abort();
	tap_is_int(log_open("postern", "smtpd", sa.sun_path, &e), 0, "connects %s", e.text);
	log_warning("%s: bad", "x");
	ssize_t n = recv(sock, got, sizeof(got), 0);

	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("1 postern/smtpd warning: x: bad"), "a warning says so");
	log_warning("warning: y");
	n = recv(sock, got, sizeof(got), 0);
	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("1 postern/smtpd warning: y"), "once");
	log_as("dovecot", LOG_LV_WARNING, "imap-login: z");
	n = recv(sock, got, sizeof(got), 0);
	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("1 dovecot imap-login: z"), "an ident without a slash has no word");
	log_gather();
	log_info("one\ntwo");
	log_as("postern/local", LOG_LV_INFO, "three");
	tap_ok(recv(sock, got, sizeof(got), MSG_DONTWAIT) < 0, "lines wait");
	log_flush();
	n = recv(sock, got, sizeof(got), 0);
	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("2 postern/smtpd one?two\n2 postern/local three"), "and go together");
	log_info("four");
	log_warning("five");
	n = recv(sock, got, sizeof(got), 0);
	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("2 postern/smtpd four"), "but not for long when there is worse:");
	n = recv(sock, got, sizeof(got), 0);
	tap_is_mem(str_n(got, n > 0 ? (size_t)n : 0), STR("1 postern/smtpd warning: five"), "that goes at once");
	log_debug("not seen");
	tap_ok(recv(sock, got, sizeof(got), MSG_DONTWAIT) < 0, "debug lines stay here");
	const uint64_t start = clock_mono_ms();

	for (int i = 0; i < 20000; i++)
		log_info("flood %d", i);
	log_flush();
	tap_ok(clock_mono_ms() - start < 20000, "a log that is not read holds nobody up");
	while (recv(sock, got, sizeof(got), MSG_DONTWAIT) > 0)
		;
	log_info("after");
	log_flush();
	n = recv(sock, got, sizeof(got), 0);
	tap_ok(n > 0 && memmem(got, (size_t)n, "lines lost", 10), "what was lost is told");
	close(sock);
	unlink(sa.sun_path);
	log_info("to nobody");
	log_flush();
	tap_ok(true, "a dead log holds nobody up");
}

int main(void)
{
	if (setenv("TZ", "UTC", 1) < 0)
		return 1;
	forms();
	rates();
	sender();
	return tap_done();
}
