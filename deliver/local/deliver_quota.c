/* The letter that tells a user how full the mailbox is. deliver writes it itself, as the user, into the INBOX: it passes no queue, and has no sender that could be
 * bounced to. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/local/deliver_priv.h"
#include "mail/head.h"
#include "store/maildir.h"

enum { LETTER_MAX = 8192 };

static unsigned levels_parse(struct str text, unsigned levels[QUOTA_LEVELS_MAX])
{
	unsigned n = 0;
	uint64_t v;

	while (text.p != NULL && n < QUOTA_LEVELS_MAX) {
		const struct str word = str_split(&text, ' ');
		if (num_parse(word, 1, 100, &v) == 0)
			levels[n++] = (unsigned)v;
	}
	return n;
}

static void put_use(struct buf *b, const char *what, uint64_t used, uint64_t limit)
{
	if (limit > 0)
		buf_printf(b, "    %s: %llu of %llu\n", what, (unsigned long long)used, (unsigned long long)limit);
}

static void letter(struct buf *b, const struct account *a, struct str hostname, unsigned level, const struct quota *limits, const struct quota *use)
{
	const int64_t now = clock_wall();

	buf_c(b, "Return-Path: <>\nFrom: MAILER-DAEMON@");
	text_neutral(b, hostname.n > 0 ? hostname : STR("localhost"), 255, false);
	buf_printf(b, " (Mail Delivery System)\nTo: %s\nDate: ", a->name);
	mail_date_format(now, 0, b);
	buf_printf(b, "\nMessage-ID: <%llx.quota@", (unsigned long long)random_u64());
	text_neutral(b, hostname.n > 0 ? hostname : STR("localhost"), 255, false);
	buf_printf(b, ">\nSubject: Your mailbox is %u%% full\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n",
		   level);
	buf_c(b, "Your mail has passed ");
	buf_printf(b, "%u%% of what may be kept on this server:\n\n", level);
	put_use(b, "bytes", use->bytes, limits->bytes);
	put_use(b, "messages", use->count, limits->count);
	buf_c(b, "\nNew mail is refused when the mailbox is full. Please delete what you do not need;\nmail that is only marked as deleted counts until the folder is expunged.\n");
}

void quota_warn(int rootfd, const struct account *acct, struct str percentages, struct str hostname)
{
	const struct quota limits = account_quota(acct);
	unsigned levels[QUOTA_LEVELS_MAX], level = 0;
	const unsigned n = levels_parse(percentages, levels);
	struct maildir_copy *c = NULL;
	struct err ignored = { 0 };
	struct quota use;
	struct buf b;

	if (quota_warn_level(rootfd, &limits, levels, n, &level, &ignored) < 0 || level == 0 || quota_use(rootfd, &limits, &use, &ignored) < 0)
		return;
	buf_init(&b, LETTER_MAX);
	letter(&b, acct, hostname, level, &limits, &use);
	if (maildir_copy_begin(rootfd, "quota", &c, &ignored) == 0 && maildir_copy_write(c, buf_view(&b), &ignored) == 0 &&
	    maildir_copy_sync(c, &ignored) == 0 && maildir_copy_commit(&c, NULL, &ignored) == 0)
		quota_add(rootfd, &limits, (int64_t)b.n, 1);
	maildir_copy_abort(&c);
	buf_fini(&b);
}
