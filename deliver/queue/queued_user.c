/* Limits of one login over all its connections and addresses: messages and recipients in smtpd_user_limit_time. An account whose password has been stolen sends no more than
 * that, and postmaster is told when a limit is first passed in a window, for a person has to look. The counts live as long as this process.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/rate.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "mail/head.h"

enum { RATE_USERS_MAX = 65536, LETTER_MAX = 8192 };

static const char *word(enum rate_kind kind)
{
	return kind == RATE_MAIL ? "messages" : "recipients";
}

/* --- the alarm --- */

static void on_posted(void *ctx, struct str qid, bool permanent)
{
	if (qid.n == 0)
		log_warning("postmaster could not be told that a user passed a limit: %s", permanent ? "error_notice_recipient does not exist" : "no queue file");
}

static void put_letter(const struct conn_entry *c, enum rate_kind kind, uint64_t max, const char *id, struct buf *b)
{
	const struct conf *conf = c->conf;
	const unsigned long long minutes = (unsigned long long)(conf->smtpd_user_limit_time + 59) / 60;

	buf_printf(b, "From: MAILER-DAEMON@%s (Mail Delivery System)\nTo: %s\nSubject: Postmaster Alarm: ", conf->myhostname, conf->error_notice_recipient);
	text_neutral(b, str_c(c->user), 255, false);
	buf_c(b, " sends too much mail\nDate: ");
	mail_date_format(clock_wall(), 0, b);
	buf_printf(b, "\nMessage-Id: %s\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n", id);
	buf_printf(b, "The account \"");
	text_neutral(b, str_c(c->user), 255, false);
	buf_printf(b, "\" has sent more than %llu %s within %llu minutes,\nand what it sends beyond that is refused for now. The last came from [%s].\n\n", (unsigned long long)max,
		   word(kind), minutes, c->client);
	buf_c(b, "If that is not what its owner does, somebody else has the password: change it\n(postern user passwd), and look for what is still queued (postern queue).\n");
	buf_printf(b, "The limit is smtpd_user_%s_limit.\n", kind == RATE_MAIL ? "message" : "recipient");
}

static void tell_postmaster(const struct conn_entry *c, enum rate_kind kind, uint64_t max)
{
	const struct conf *conf = c->conf;
	const struct str to = str_c(conf->error_notice_recipient);
	char qid[SPOOL_QID_MAX + 1], id[SPOOL_QID_MAX + 300], sender[600];
	struct err e = { 0 };

	spool_qid_new(qid);
	snprintf(id, sizeof(id), "<%s@%.255s>", qid, conf->myhostname);
	snprintf(sender, sizeof(sender), "%.255s@%.255s", conf->double_bounce_sender, conf->myorigin);
	struct post_request r = { .sender = str_c(sender), .qid = str_c(qid), .message_id = str_c(id), .to = &to, .n_to = 1, .flags = SPOOL_F_BOUNCE };
	buf_init(&r.content, LETTER_MAX);
	put_letter(c, kind, max, id, &r.content);
	if (buf_check(&r.content, "alarm", &e) == 0) {
		post(c->q, &r, on_posted, NULL);
		return;
	}
	log_error("%s", e.text);
	buf_fini(&r.content);
}

/* --- counting --- */

bool user_limit_refuses(struct conn_entry *c, enum rate_kind kind, uint32_t id)
{
	const uint64_t max = kind == RATE_MAIL ? c->conf->smtpd_user_message_limit : c->conf->smtpd_user_recipient_limit;
	char text[100];

	if (max == 0 || !c->has_user)
		return false;
	if (c->q->user_rates == NULL)
		c->q->user_rates = rate_new(RATE_USERS_MAX);
	const uint64_t n = rate_hit(c->q->user_rates, str_c(c->user), kind, clock_mono_ms(), c->conf->smtpd_user_limit_time * 1000);
	if (n <= max)
		return false;
	if (n == max + 1) {
		log_as(log_ident("smtpd"), LOG_LV_WARNING, "limit of %s exceeded: %llu from user %s, %s[%s]", word(kind), (unsigned long long)n, c->user,
		       c->name[0] ? c->name : "unknown", c->client);
		tell_postmaster(c, kind, max);
	}
	snprintf(text, sizeof(text), "Error: too many %s from this account, try again later", word(kind));
	conn_reply(c, id, 450, "4.7.1", str_c(text), (struct str){ 0 });
	return true;
}
