/* Bounces and delay warnings: multipart/report with a text for people, message/delivery-status for programs, and the original (or its header). */
#include "base/enc.h"
#include "deliver/dsn.h"
#include "mail/edit.h"
#include "mail/head.h"

enum { TEXT_MAX = 600, ADDRESS_MAX = 1024 };

static void put_neutral(struct buf *out, struct str s, size_t max)
{
	text_neutral(out, s, max, false);
}

static void put_header(const struct dsn *d, struct buf *out)
{
	buf_printf(out, "From: MAILER-DAEMON@%s (Mail Delivery System)\n", d->hostname);
	buf_printf(out, "Subject: %s\n", d->kind == DSN_FAILED ? "Undelivered Mail Returned to Sender" : "Delayed Mail (still being retried)");
	buf_c(out, "To: ");
	put_neutral(out, d->sender, ADDRESS_MAX);
	buf_c(out, "\nDate: ");
	mail_date_format(d->now, 0, out);
	buf_printf(out, "\nMessage-Id: <%.*s@%s>\n", STR_ARG(d->bounce_qid), d->hostname);
	buf_c(out, "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n");
	buf_printf(out, "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"%.*s.%.*s/%s\"\n\n", STR_ARG(d->qid), STR_ARG(d->bounce_qid),
		   d->hostname);
	buf_c(out, "This is a MIME-encapsulated message.\n");
}

static void put_boundary(const struct dsn *d, struct buf *out, const char *end)
{
	buf_printf(out, "\n--%.*s.%.*s/%s%s\n", STR_ARG(d->qid), STR_ARG(d->bounce_qid), d->hostname, end);
}

static void put_text(const struct dsn *d, struct buf *out)
{
	put_boundary(d, out, "");
	buf_c(out, "Content-Description: Notification\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
	buf_printf(out, "This is the mail system at host %s.\n\n", d->hostname);
	if (d->kind == DSN_FAILED)
		buf_c(out, "I'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients. It's attached below.\n\n"
			   "For further assistance, please send mail to postmaster.\n\n");
	else
		buf_c(out, "####################################################################\n# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n"
			   "####################################################################\n\nYour message could not be delivered yet. It will be retried\nuntil it "
			   "is too old.\n\n");
	buf_printf(out, "                   The mail system (%s)\n", d->mail_name);
	for (size_t i = 0; i < d->n_rcpts; i++) {
		buf_c(out, "\n<");
		put_neutral(out, d->rcpts[i].address, ADDRESS_MAX);
		buf_c(out, ">: ");
		put_neutral(out, d->rcpts[i].text, TEXT_MAX);
		buf_c(out, "\n");
	}
}

static void put_rcpt_status(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out)
{
	const ptrdiff_t bracket = str_chr(r->relay, '[');

	buf_c(out, "\nFinal-Recipient: rfc822; ");
	put_neutral(out, r->address, ADDRESS_MAX);
	if (r->original.n > 0) {
		buf_c(out, "\nOriginal-Recipient: rfc822;");
		put_neutral(out, r->original, ADDRESS_MAX);
	}
	buf_printf(out, "\nAction: %s\nStatus: ", d->kind == DSN_FAILED ? "failed" : "delayed");
	put_neutral(out, r->enhanced.n > 0 ? r->enhanced : d->kind == DSN_FAILED ? STR("5.0.0") : STR("4.0.0"), 12);
	if (bracket > 0) {
		buf_c(out, "\nRemote-MTA: dns; ");
		put_neutral(out, str_sub(r->relay, 0, (size_t)bracket), 255);
	}
	buf_printf(out, "\nDiagnostic-Code: %s; ", bracket > 0 ? "smtp" : "X-Postern");
	put_neutral(out, r->text, TEXT_MAX);
	if (d->kind == DSN_DELAYED && d->retry_until > 0) {
		buf_c(out, "\nWill-Retry-Until: ");
		mail_date_format(d->retry_until, 0, out);
	}
	buf_c(out, "\n");
}

static void put_status(const struct dsn *d, struct buf *out)
{
	put_boundary(d, out, "");
	buf_printf(out, "Content-Description: Delivery report\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; %s\n", d->hostname);
	buf_printf(out, "X-%s-Queue-ID: %.*s\nX-%s-Sender: rfc822; ", d->mail_name, STR_ARG(d->qid), d->mail_name);
	put_neutral(out, d->sender, ADDRESS_MAX);
	buf_c(out, "\nArrival-Date: ");
	mail_date_format(d->arrived, 0, out);
	buf_c(out, "\n");
	for (size_t i = 0; i < d->n_rcpts; i++)
		put_rcpt_status(d, &d->rcpts[i], out);
}

static void put_original(const struct dsn *d, struct buf *out)
{
	size_t head_n = 0, body = 0;
	const bool whole = d->original_whole && d->kind == DSN_FAILED && d->original.n <= DSN_ORIGINAL_MAX;

	put_boundary(d, out, "");
	if (whole) {
		buf_c(out, "Content-Description: Undelivered Message\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n");
		buf_str(out, d->original);
		return;
	}
	buf_c(out, "Content-Description: Message Headers\nContent-Type: text/rfc822-headers\nContent-Transfer-Encoding: 8bit\n\n");
	if (mail_head_find(d->original, true, &head_n, &body) != 0 || head_n > DSN_ORIGINAL_MAX)
		head_n = d->original.n < DSN_ORIGINAL_MAX ? d->original.n : DSN_ORIGINAL_MAX;
	buf_str(out, str_sub(d->original, 0, head_n));
}

int dsn_format(const struct dsn *d, struct buf *out, struct err *e)
{
	put_header(d, out);
	put_text(d, out);
	put_status(d, out);
	put_original(d, out);
	put_boundary(d, out, "--");
	return buf_check(out, "notification", e);
}
