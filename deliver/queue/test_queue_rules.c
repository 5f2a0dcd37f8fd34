/* The pure rules of the queue: back-off, dead destinations, header edits, notifications. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deliver/queue/dsn.h"
#include "deliver/queue/queued.h"
#include "mail/edit.h"
#include "mail/mime.h"
#include "os/os.h"
#include "test/tap.h"

/* --- retry --- */

static void test_retry(void)
{
	size_t wrong = 0;

	for (uint64_t age = 0; age < 500000; age += 777)
		for (uint32_t r = 0; r < 4000000000u; r += 399999999u) {
			const uint64_t d = retry_delay(age, 300, 4000, r);
			const uint64_t base = age < 300 ? 300 : age > 4000 ? 4000 : age;
			wrong += d < base - base / 10 || d > base + base / 10;
		}
	tap_is_int((long long)wrong, 0, "a message waits as long as it is old, within its limits, plus or minus a tenth");
	tap_ok(!retry_expired(432001, 2, 432000), "old but hardly tried is kept (a clock may have jumped)");
	tap_ok(retry_expired(432001, 3, 432000), "old and tried is given up");
	tap_ok(!retry_expired(431999, 100, 432000), "young is kept");
	tap_ok(retry_expired(0, 1, 0) && !retry_expired(0, 0, 0), "lifetime 0 is one try");
}

static void test_feedback(void)
{
	static const struct { const char *text; double amount; int form; } good[] = {
		{ "1", 1, RETRY_CONSTANT }, { "0.25", 0.25, RETRY_CONSTANT }, { "1/4", 0.25, RETRY_CONSTANT }, { " 1 / concurrency ", 1, RETRY_PER_WINDOW },
		{ "0.5/sqrt_concurrency", 0.5, RETRY_PER_ROOT },
	};
	static const char *const bad[] = { "", "x", "1/", "1/0", "2", "1/x", "-1", "1e5", "1..2" };
	struct retry_feedback f;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		tap_ok(retry_feedback_parse(str_c(good[i].text), &f, &e) == 0 && f.amount == good[i].amount && (int)f.form == good[i].form, "feedback \"%s\"", good[i].text);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		tap_ok(retry_feedback_parse(str_c(bad[i]), &f, &e) < 0, "no feedback: \"%s\"", bad[i]);
}

static void test_destination(void)
{
	const struct retry_rules r = { .positive = { 1, RETRY_CONSTANT }, .negative = { 1, RETRY_CONSTANT }, .initial = 4, .limit = 6, .cohorts = 1, .backoff_min_s = 300,
				       .backoff_max_s = 4000 };
	struct retry_rules gentle = r;
	struct retry_dest d = { 0 };

	tap_is_int((long long)retry_dest_window(&d, &r), 4, "a window begins as configured");
	for (int i = 0; i < 10; i++)
		retry_dest_result(&d, &r, true, 1000);
	tap_is_int((long long)retry_dest_window(&d, &r), 6, "success widens it up to the limit");
	retry_dest_result(&d, &r, false, 1000);
	tap_ok(retry_dest_window(&d, &r) == 5 && !retry_dest_dead(&d, 1000), "a failure narrows it, and is no death");
	retry_dest_result(&d, &r, true, 1000);
	for (int i = 0; i < 5; i++)
		retry_dest_result(&d, &r, false, 1000);
	tap_ok(retry_dest_dead(&d, 1299) && !retry_dest_dead(&d, 1300), "a windowful of failures in a row is, for the shortest time");
	tap_is_int((long long)retry_dest_window(&d, &r), 1, "the first one afterwards goes alone");
	for (int i = 0; i < 40; i++)
		retry_dest_result(&d, &r, false, 2000);
	tap_ok(retry_dest_dead(&d, 5999) && !retry_dest_dead(&d, 6000), "many: at most the longest time");
	retry_dest_result(&d, &r, true, 2000);
	tap_ok(!retry_dest_dead(&d, 2000) && d.deaths == 0, "an answer revives");
	gentle.cohorts = 0;
	gentle.positive = (struct retry_feedback){ 1, RETRY_PER_WINDOW };
	d = (struct retry_dest){ 0 };
	for (int i = 0; i < 100; i++)
		retry_dest_result(&d, &gentle, false, 1000);
	tap_ok(!retry_dest_dead(&d, 1000) && retry_dest_window(&d, &gentle) == 1, "no cohort limit: never dead");
	retry_dest_result(&d, &gentle, true, 1000);
	retry_dest_result(&d, &gentle, true, 1000);
	tap_is_int((long long)retry_dest_window(&d, &gentle), 2, "feedback per concurrency moves slower");
}

/* --- header edits --- */

static bool has_edit(const struct head_result *r, const char *start)
{
	for (size_t i = 0; i < r->n_edits; i++)
		if (str_starts(r->edits[i], str_c(start)))
			return true;
	return false;
}

/* RFC 8601 5: none that claims our name stays, however it is written, and however many there are. */
static void forged_results(struct arena *a, const struct head_facts *f)
{
	static const char *const ours[] = { "mail.example.com; spf=pass", "MAIL.example.COM 1; spf=pass", "\"mail.example.com\"; spf=pass", "(a (b) \\) c) mail.example.com; none",
		"\n\t(x)\n\t\"mail\\.example.com\" (y) 1;none", "mail.example.com(x);none", "mail.example.com.; none", "mail.example.com" };
	static const char *const others[] = { "other.example; spf=pass", "(mail.example.com) other.example; none", "sub.mail.example.com; none", "mail.example.com.net; none",
		"\"mail.example.com x\"; none", "(mail.example.com", "\"", "" };
	struct head_result r;
	struct err e = { 0 };
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(ours) + ARRAY_LEN(others); i++) {
		const bool mine = i < ARRAY_LEN(ours);
		const char *const value = mine ? ours[i] : others[i - ARRAY_LEN(ours)];
		const struct str head = str_c(arena_printf(a, "Authentication-Results: %s\nSubject: s\n", value));
		tap_ok(head_edits(a, head, f, &r, &e) == 0 && has_edit(&r, "-Authentication-Results#1") == mine, "results %zu: %s", i, mine ? "ours, and go" : "stay");
	}
	buf_init(&b, 10000);
	for (int i = 0; i < 100; i++)
		buf_printf(&b, "Authentication-Results: %s; spf=pass\n", i % 2 ? "mail.example.com" : "other.example");
	tap_ok(head_edits(a, buf_view(&b), f, &r, &e) == 0 && has_edit(&r, "-Authentication-Results#0") && !has_edit(&r, "-Authentication-Results#2"),
	       "many: all go");
	buf_fini(&b);
}

static void test_head(void)
{
	struct arena *a = arena_new(0);
	struct head_facts f = {
		.esmtp = true, .client = STR("192.0.2.1"), .helo = STR("evil) with (x"), .tls = STR("TLSv1.3 with cipher X (256/256 bits)"), .qid = STR("1ABC"),
		.recipient = STR("joe@example.com"), .hostname = "mail.example.com", .mail_name = "Postern", .now = 1700000000,
	};
	struct head_result r;
	struct err e = { 0 };
	const struct str head = STR("Received: a\nReceived: b\nReturn-Path: <x>\nBcc: secret\nResent-Bcc: secret\nAuthentication-Results: other.example; spf=pass\n"
				    "authentication-results:\n mail.example.com; dkim=pass\nSubject: s\n");

	tap_is_int(head_edits(a, head, &f, &r, &e), 0, "a stranger's header");
	tap_is_int(r.received, 2, "two hops");
	tap_ok(has_edit(&r, "-Return-Path#0"), "Return-Path goes");
	tap_ok(has_edit(&r, "-Authentication-Results#2") && !has_edit(&r, "-Authentication-Results#1"), "a verdict in our name goes, another's stays");
	tap_ok(!has_edit(&r, "-Bcc") && !has_edit(&r, "-Resent-Bcc") && !has_edit(&r, ">Date"), "the rest of a stranger's header stays as it is");
	f.own = true;
	tap_is_int(head_edits(a, head, &f, &r, &e), 0, "a header of mynetworks");
	tap_ok(has_edit(&r, "-Bcc#0") && has_edit(&r, "-Resent-Bcc#0") && !has_edit(&r, ">Date"), "nobody is to see who has a blind copy");
	f.own = false;
	tap_is_int(head_edits(a, head, &f, &r, &e), 0, "a stranger's header again");
	tap_ok(has_edit(&r, "+Received: from evil??with??x (unknown [192.0.2.1])\n\t(using TLSv1.3 with cipher X (256/256 bits))\n\tby mail.example.com (Postern) "
			    "with ESMTPS id 1ABC\n\tfor <joe@example.com>; "), "the client's words cannot leave their place");
	forged_results(a, &f);
	f.complete = true;
	f.sender = STR("s@example.net");
	tap_is_int(head_edits(a, head, &f, &r, &e), 0, "a stranger's header, always_add_missing_headers");
	tap_ok(has_edit(&r, ">Date: Tue, 14 Nov 2023 22:13:20 +0000") && has_edit(&r, ">Message-Id: <20231114221320.1ABC@mail.example.com>") &&
	       has_edit(&r, ">From: <s@example.net>") && !has_edit(&r, "-Bcc"), "what is missing is added, and that is all");
	f.complete = false;
	f.sender = STR("");
	f.submission = true;
	f.user = STR("joe");
	tap_is_int(head_edits(a, head, &f, &r, &e), 0, "a user's header");
	tap_ok(has_edit(&r, "-Bcc#0") && has_edit(&r, ">Date: Tue, 14 Nov 2023 22:13:20 +0000") && has_edit(&r, ">Message-Id: <20231114221320.1ABC@mail.example.com>"),
	       "Date and Message-Id are added, Bcc goes");
	tap_is_int(head_edits(a, STR("Date: x\nMessage-ID:\n <a@b>\nFrom: y\n"), &f, &r, &e), 0, "a complete one");
	tap_ok(!has_edit(&r, ">Date") && !has_edit(&r, ">Message-Id") && !has_edit(&r, ">From") && str_eq(r.message_id, STR("<a@b>")) && r.twice == NULL,
	       "nothing is added twice");
	f.sender = STR("joe@example.com");
	tap_is_int(head_edits(a, STR("Subject: s\n"), &f, &r, &e), 0, "no From");
	tap_ok(has_edit(&r, ">From: <joe@example.com>"), "it is the sender");
	tap_is_int(head_edits(a, STR("From: a\nFrom: b\n"), &f, &r, &e), 0, "two From");
	tap_ok(r.twice && strcmp(r.twice, "From") == 0, "are one too many");
	tap_is_int(head_edits(a, STR("From: a\nMessage-Id: <1@a>\nDate: x\nMessage-ID: <2@b>\nDate: y\n"), &f, &r, &e), 0, "a second Date and Message-ID");
	tap_ok(r.twice == NULL && has_edit(&r, "-Date#2") && has_edit(&r, "-Message-Id#2") && str_eq(r.message_id, STR("<1@a>")), "go, the first ones stay");
	tap_is_int(head_edits(a, STR("From: a\nMessage-Id: <1@a>\nMessage-ID: <2@b>\nMessage-ID: <3@b>\n"), &f, &r, &e), 0, "three of them");
	tap_ok(r.twice && strcmp(r.twice, "Message-ID") == 0, "are too many");
	f.name_user = true;
	tap_is_int(head_edits(a, STR(""), &f, &r, &e), 0, "smtpd_sasl_authenticated_header");
	tap_ok(has_edit(&r, "+Received: from evil??with??x (unknown [192.0.2.1])\n\t(using TLSv1.3 with cipher X (256/256 bits))"
			    "\n\t(Authenticated sender: joe)\n\tby mail.example.com "
			    "(Postern) with ESMTPSA id 1ABC"), "names the user");
	f.hide_client = true;
	f.name_user = false;
	tap_is_int(head_edits(a, STR(""), &f, &r, &e), 0, "smtpd_hide_client_address");
	tap_ok(has_edit(&r, "+Received: by mail.example.com (Postern) with ESMTPSA id 1ABC"), "hides the client");
	tap_is_int(head_edits(a, STR(""), &f, &r, &e), 0, "no header at all");
	for (size_t i = 0; i < r.n_edits; i++)
		tap_is_int(mail_edit_check(r.edits[i], &e), 0, "edit %zu is well formed", i);
	arena_free(&a);
}

/* --- notifications --- */

static bool says(const struct dsn *d, const char *what)
{
	struct buf b;
	struct err e = { 0 };

	buf_init(&b, 1 << 20);
	const bool r = dsn_format(d, &b, &e) == 0 && str_find(buf_view(&b), str_c(what)) >= 0;
	buf_fini(&b);
	return r;
}

static void test_dsn_wishes(void)
{
	struct dsn_rcpt r = { .address = STR("x@example.net"), .orcpt = STR("rfc822;y@example.com"), .enhanced = STR("2.0.0"), .text = STR("250 ok"),
			      .action = "relayed" };
	struct dsn d = { .kind = DSN_SUCCESS, .hostname = "h.example", .mail_name = "P", .qid = STR("1A"), .bounce_qid = STR("1B"), .sender = STR("a@b"),
			 .to = STR("a@b"), .envid = STR("E1"), .rcpts = &r, .n_rcpts = 1, .original = STR("S: t\n\nbody\n"), .original_whole = true,
			 .original_max = 50000 };

	tap_ok(says(&d, "\nAction: relayed\nStatus: 2.0.0\n") && says(&d, "\nOriginal-Envelope-Id: E1\n"), "success");
	tap_ok(says(&d, "\nOriginal-Recipient: rfc822;y@example.com\n"), "the recipient as it was asked about");
	d.kind = DSN_FAILED;
	tap_ok(says(&d, "\n\nbody\n"), "a failure returns the message");
	d.head_only = true;
	tap_ok(!says(&d, "\n\nbody\n") && says(&d, "S: t\n"), "RET=HDRS: its header");
	d.head_only = false;
	d.original_max = 4;
	tap_ok(!says(&d, "\n\nbody\n"), "a long one: its header");
	d.postmaster = true;
	tap_ok(says(&d, "Subject: Postmaster Copy: Undelivered Mail\n") && says(&d, "Auto-Submitted: auto-generated\n"), "a copy for postmaster");
	d = (struct dsn){ .kind = DSN_FAILED, .hostname = "h.example", .mail_name = "P", .qid = STR("1A"), .bounce_qid = STR("1B"), .sender = STR("j\xc3\xb6@b"),
			  .to = STR("j\xc3\xb6@b"), .utf8 = true, .rcpts = &r, .n_rcpts = 1,
			  .original = STR("S: \xc3\xb6\n\nbody\n"), .original_whole = true, .original_max = 50000 };
	r = (struct dsn_rcpt){ .address = STR("\xc3\xb6@example.net"), .original = STR("y@example.com"), .enhanced = STR("5.1.1"), .text = STR("550 no") };
	tap_ok(says(&d, "\nFinal-Recipient: utf-8; \xc3\xb6@example.net\nOriginal-Recipient: rfc822;y@example.com\n") && says(&d, "Sender: utf-8; j\xc3\xb6@b\n"),
	       "addresses beyond ASCII, and others");
	tap_ok(says(&d, "report-type=global-delivery-status;") && says(&d, "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n\nReporting-MTA: ") &&
		       says(&d, "Content-Type: message/global\nContent-Transfer-Encoding: 8bit\n\nS: "), "the types of RFC 6533");
	d.head_only = true;
	tap_ok(says(&d, "Content-Type: message/global-headers\nContent-Transfer-Encoding: 8bit\n\nS: "), "and of a header alone");
	tap_is_str(dsn_reason(STR("5.1.1"), true), "There is no such address there.", "a reason for people");
	tap_is_str(dsn_reason(STR("5.1.10"), true), "The domain takes no mail at all.", "no digit is taken for another");
	tap_is_str(dsn_reason(STR("4.2.2"), false), "The mailbox is full.", "a reason for a delay");
	tap_is_str(dsn_reason(STR("5.99.99"), true), "It could not be delivered.", "an unknown code");
	tap_is_str(dsn_reason(STR(""), true), "It could not be delivered.", "no code");
}

static void test_dsn(void)
{
	static const struct dsn_rcpt rcpts[] = {
		{ .address = { "bad@example.net", 15 }, .original = { "alias@example.com", 17 }, .enhanced = { "5.1.1", 5 }, .text = { "host mx said: 550\r\nX: y", 23 },
		  .relay = { "mx.example.net[192.0.2.9]:25", 28 } },
		{ .address = { "full@example.com", 16 }, .text = { "mailbox is full", 15 }, .relay = { "local", 5 } },
	};
	struct dsn d = {
		.kind = DSN_FAILED, .hostname = "mail.example.com", .mail_name = "Postern", .qid = STR("1OLD"), .bounce_qid = STR("1NEW"), .sender = STR("joe@example.com"),
		.to = STR("joe@example.com"), .original_max = 50000,
		.arrived = 1700000000, .now = 1700000100, .retry_until = 1700432000, .rcpts = rcpts, .n_rcpts = 2, .original = STR("Subject: s\n\nbody\n"),
		.original_whole = true,
	};
	struct arena *a = arena_new(0);
	struct buf b;
	struct err e = { 0 };

	buf_init(&b, 1 << 20);
	tap_is_int(dsn_format(&d, &b, &e), 0, "formats: %s", e.text);
	struct mime_part *m = mime_parse(a, buf_view(&b)), *p = m->children;
	tap_ok(mime_type_is(m, "multipart", "report"), "multipart/report");
	tap_ok(p && mime_type_is(p, "text", "plain") && p->next && mime_type_is(p->next, "message", "delivery-status") && p->next->next &&
		       mime_type_is(p->next->next, "message", "rfc822") && p->next->next->next == NULL, "of three parts (RFC 3462)");
	const struct str s = p && p->next ? p->next->body : STR("");
	tap_ok(str_find(s, STR("Reporting-MTA: dns; mail.example.com\n")) == 0, "Reporting-MTA first");
	tap_ok(str_find(s, STR("\nFinal-Recipient: rfc822; bad@example.net\nOriginal-Recipient: rfc822;alias@example.com\nAction: failed\nStatus: 5.1.1\n"
			       "Remote-MTA: dns; mx.example.net\nDiagnostic-Code: smtp; host mx said: 550??X: y\n")) > 0, "a remote failure, its text neutralised");
	tap_ok(str_find(s, STR("\nFinal-Recipient: rfc822; full@example.com\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: X-Postern; mailbox is full\n")) > 0,
	       "a local failure");
	tap_ok(str_ends(buf_view(&b), STR("\n--1OLD.1NEW/mail.example.com--\n")), "closed");
	buf_reset(&b);
	d.kind = DSN_DELAYED;
	tap_is_int(dsn_format(&d, &b, &e), 0, "a warning");
	tap_ok(str_find(buf_view(&b), STR("Action: delayed\n")) > 0 && str_find(buf_view(&b), STR("Will-Retry-Until: ")) > 0 &&
		       str_find(buf_view(&b), STR("text/rfc822-headers")) > 0 && str_find(buf_view(&b), STR("body")) < 0, "delayed, with the header only");
	buf_fini(&b);
	arena_free(&a);
}

int main(void)
{
	test_retry();
	test_feedback();
	test_destination();
	test_head();
	test_dsn();
	test_dsn_wishes();
	return tap_done();
}
