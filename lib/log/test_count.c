/* Which line is which event; the page of counters between a writer and a reader. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "log/count.h"
#include "test/tap.h"

#define BIT(name) (1ULL << EV_##name)

static const struct {
	const char *ident, *text;
	uint64_t want;
} lines[] = {
	{ "postern/smtpd", "connect from unknown[127.0.0.1]", BIT(smtp_connections) },
	{ "postfix/smtpd", "Anonymous TLS connection established from unknown[127.0.0.1]: TLSv1.3", BIT(smtp_tls) },
	{ "postfix/smtpd", "Anonymous TLS connection established from unknown[127.0.0.1] to mail.example.net: TLSv1.3", BIT(smtp_tls) },
	{ "postern/smtpd", "1M1CJ73WRJ7: client=localhost[127.0.0.1]", BIT(mail_received) },
	{ "postern/smtpd", "1M1CJ73ALZV: client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=a@b.c", BIT(mail_received) | BIT(mail_submitted) },
	{ "postern/smtpd", "NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 550 5.1.1 x", BIT(smtp_rejected) },
	{ "postern/cleanup", "1M1CJ7402RL: milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 5.7.1 x", BIT(mail_refused) },
	{ "postern/smtpd", "1M1CJ7402RL: reject: END-OF-MESSAGE from localhost[127.0.0.1]: 552 5.3.4 x", BIT(smtp_rejected) },
	{ "postern/smtpd", "NOQUEUE: milter-reject: MAIL from localhost[127.0.0.1]: 550 5.7.1 x", BIT(smtp_milter_rejected) },
	{ "postern/cleanup", "1M1CJ7402RL: reject: header Subject: x from localhost[127.0.0.1]; from=<a@b.c> proto=ESMTP helo=<h>: no", BIT(mail_pattern) },
	{ "postern/qmgr", "1M1CJ7408LH: from=<a@b.c>, size=173, nrcpt=1 (queue active)", BIT(mail_accepted) },
	{ "postern/qmgr", "1M1CJ7408LH: removed", BIT(mail_finished) },
	{ "postern/qmgr", "1M1CJ7408LH: from=<a@b.c>, status=expired, returned to sender", 0 },
	{ "amavis", "(133-1) Passed CLEAN, [127.0.0.1] <a@b.c> -> <d@e.f>, Queue-ID: 1M1CJ73WRJ7, Hits: -", BIT(filter_clean) },
	{ "amavis", "(133-3) Blocked INFECTED (Eicar), [127.0.0.1] <a@b.c> -> <d@e.f>", BIT(filter_infected) },
	{ "amavis", "(133-3) Blocked SPAM {RejectedInbound}, [127.0.0.1] <a@b.c> -> <d@e.f>", BIT(filter_spam) },
	{ "postern/local", "1M1CJ73ALZV: to=<bob@example.com>, relay=local, dsn=2.0.0, status=sent (delivered to maildir)", BIT(delivered_local) },
	{ "postern/smtp", "1M1CJ73ALZV: to=<bob@example.com>, relay=mx, dsn=2.0.0, status=sent (ok)", BIT(delivered_remote) },
	{ "postern/smtp", "1M1CJ7408LH: to=<z@y.x>, relay=none, dsn=4.4.3, status=deferred (no)", BIT(delivery_deferred) },
	{ "postern/authd", "login ok: service=smtp", BIT(login_ok) },
	{ "postern/authd", "login failed: service=smtp", BIT(login_failed) },
	{ "amavis", "(131-1) Passed BAD-HEADER (missing required header field: \"Date\"), [127.0.0.1] <a@b.c> -> <d@e.f>", BIT(filter_bad_header) },
	{ "amavis", "(133-4) Blocked BANNED (a.exe), [127.0.0.1] <a@b.c> -> <d@e.f>", BIT(filter_banned) },
	{ "dovecot", "pop3-login: Login: user=<a@b.c>", BIT(pop3_logins) },
	{ "dovecot", "imap-login: Login: user=<a@b.c>", BIT(imap_logins) },
	{ "postern/filterd", "warning: no signatures", BIT(warnings) },
	{ "user-1000", "connect from unknown[127.0.0.1]", 0 },
	{ "postern/authd", "1M1CJ7408LH: removed", 0 },
	{ "", "", 0 },
};

static void test_page(const char *dir)
{
	struct counters *w = NULL, *r = NULL;
	struct err e = { 0 };

	tap_ok(counters_open(dir, false, &r, &e) < 0 && e.code == ERR_NOENT, "nothing to read before a writer was there");
	err_clear(&e);
	tap_is_int(counters_open(dir, true, &w, &e), 0, "made: %s", e.text);
	counters_tick(w, 1000);
	counters_add(w, BIT(login_ok) | BIT(errors));
	counters_add(w, BIT(login_ok));
	tap_is_int(counters_open(dir, false, &r, &e), 0, "read: %s", e.text);
	tap_is_int((long long)counter_total(r, EV_login_ok), 2, "a reader sees the count");
	tap_is_int((long long)counter_minute(r, EV_login_ok), 0, "no minute is full");
	counters_tick(w, 1059);
	tap_is_int((long long)counter_minute(r, EV_login_ok), 0, "nor after 59 s");
	counters_tick(w, 1060);
	tap_is_int((long long)counter_minute(r, EV_login_ok), 2, "a minute's count");
	counters_add(w, BIT(login_ok));
	counters_tick(w, 9000);
	tap_is_int((long long)counter_minute(r, EV_login_ok), 0, "after a pause nothing is called a minute");
	counters_close(&w);
	tap_is_int(counters_open(dir, true, &w, &e), 0, "opened again");
	tap_is_int((long long)counter_total(w, EV_login_ok), 3, "counts outlive the writer");
	counters_close(&w);
	counters_close(&r);
}

int main(void)
{
	char dir[] = "/tmp/test_count.XXXXXX", path[200];

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		tap_is_int((long long)event_find(str_c(lines[i].ident), str_c(lines[i].text)), (long long)lines[i].want, "%s: %.40s", lines[i].ident, lines[i].text);
	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	if (mkdir(path, 0755) < 0)
		return 1;
	test_page(dir);
	(void)snprintf(path, sizeof(path), "%s/log/counters", dir);
	unlink(path);
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	rmdir(path);
	rmdir(dir);
	return tap_done();
}
