/* Bounces, delay warnings, reports of success: multipart/report with a text for people (the plain reason first), message/delivery-status for programs, and the
 * original or its header. */
#include <string.h>

#include "base/enc.h"
#include "deliver/queue/dsn.h"
#include "mail/edit.h"
#include "mail/head.h"

enum { TEXT_MAX = 600, ADDRESS_MAX = 1024, HEAD_MAX = 65536 };

static void put_neutral(struct buf *out, struct str s, size_t max)
{
	text_neutral(out, s, max, false);
}

/* The types of the parts for mail of either kind: RFC 3464, RFC 6533 4. */
static const struct {
	const char *report, *status, *message, *head;
} types[] = {
	[false] = { "delivery-status", "message/delivery-status\n", "message/rfc822\n", "text/rfc822-headers\n" },
	[true] = { "global-delivery-status", "message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n", "message/global\n", "message/global-headers\n" },
};

/* "utf-8" is the type of those that need it (RFC 6533 3). */
static void put_address(struct buf *out, const char *field, const char *space, struct str address)
{
	buf_printf(out, "%s: %s;%s", field, ascii_plain(address) == address.n ? "rfc822" : "utf-8", space);
	put_neutral(out, address, ADDRESS_MAX);
}

/* The code without its class: "5.1.1" and "4.1.1" mean the same thing, now and for good. "1.1" must not fit "1.10". */
static bool reason_fits(struct str status, struct str row)
{
	const ptrdiff_t dot = str_chr(status, '.');
	const struct str rest = dot < 0 ? STR("") : str_from(status, (size_t)dot + 1);

	return row.n == 0 || (str_starts(rest, row) && (row.p[row.n - 1] == '.' || rest.n == row.n));
}

const char *dsn_reason(struct str status, bool failed)
{
	static const struct {
		const char *code, *failure, *delay;
	} rows[] = {	/* code without its class; the first whose beginning fits is taken, the last fits all (RFC 3463) */
		{ "1.1", "There is no such address there.", "The address could not be checked yet." },
		{ "1.2", "There is no such domain.", "The domain could not be looked up yet." },
		{ "1.3", "The address is not written as an address must be.", "The address was not understood yet." },
		{ "1.6", "The recipient has moved, and left no new address.", "The recipient has moved." },
		{ "1.10", "The domain takes no mail at all.", "The domain takes no mail." },
		{ "1.", "The address was not accepted.", "The address was not accepted yet." },
		{ "2.1", "The mailbox is not in use any more.", "The mailbox is not in use at the moment." },
		{ "2.2", "The mailbox is full.", "The mailbox is full." },
		{ "2.3", "The message is too large for this mailbox.", "The message is too large for this mailbox at the moment." },
		{ "2.", "The mailbox did not take the message.", "The mailbox does not take the message at the moment." },
		{ "3.4", "The message is too large for the other mail server.", "The message is too large for the other mail server at the moment." },
		{ "3.", "The other mail system could not handle the message.", "The other mail system cannot handle the message at the moment." },
		{ "4.1", "The other mail server does not answer.", "The other mail server does not answer." },
		{ "4.2", "The connection to the other mail server broke.", "The connection to the other mail server broke." },
		{ "4.3", "The name servers of the domain do not answer.", "The name servers of the domain do not answer." },
		{ "4.4", "No mail server is known for the domain.", "No mail server can be found for the domain at the moment." },
		{ "4.6", "The mail goes in a circle.", "The mail goes in a circle." },
		{ "4.7", "It could not be delivered in time.", "It could not be delivered yet." },
		{ "4.", "The way to the other mail server is blocked.", "The way to the other mail server is blocked at the moment." },
		{ "5.3", "The message has too many recipients.", "The message has too many recipients for one go." },
		{ "5.", "The mail servers did not understand each other.", "The mail servers did not understand each other." },
		{ "6.7", "The other mail server does not know addresses in this script.", "The other mail server does not know addresses in this script." },
		{ "6.", "The message's format was not accepted.", "The message's format is not accepted at the moment." },
		{ "7.0", "The other mail server refuses the message by its rules.", "The other mail server asks to try later." },
		{ "7.1", "The other mail server refuses the message by its rules.", "The other mail server does not take the message yet." },
		{ "7.4", "The other mail server has no encryption that is good enough.", "The other mail server has no encryption that is good enough." },
		{ "7.5", "The other mail server could not prove who it is.", "The other mail server could not prove who it is." },
		{ "7.2", "The other mail server refuses this sender.", "The other mail server refuses this sender for now." },
		{ "7.", "The other mail server refuses the message by its rules.", "The other mail server does not take the message yet." },
		{ "", "It could not be delivered.", "It could not be delivered yet." },
	};
	size_t i = 0;

	while (!reason_fits(status, str_c(rows[i].code)))
		i++;
	return failed ? rows[i].failure : rows[i].delay;
}

static const struct {
	const char *subject, *postmaster_subject, *text, *part;
} words[] = {
	[DSN_FAILED] = { "Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail",
			 "I'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients. It's attached below.\n",
			 "Undelivered Message" },
	[DSN_DELAYED] = { "Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail",
			  "####################################################################\n"
			  "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n"
			  "####################################################################\n\n"
			  "Your message could not be delivered yet. It will be retried\nuntil it is too old.\n", "Delayed Message" },
	[DSN_SUCCESS] = { "Successful Mail Delivery Report", "Postmaster Copy: Successful Mail Delivery",
			  "You asked to be told: your message was handed on as said below.\n", "Message" },
};

static void put_header(const struct dsn *d, struct buf *out)
{
	buf_printf(out, "From: MAILER-DAEMON@%s (Mail Delivery System)\n", d->hostname);
	buf_printf(out, "Subject: %s\n", d->postmaster ? words[d->kind].postmaster_subject : words[d->kind].subject);
	buf_c(out, "To: ");
	put_neutral(out, d->to, ADDRESS_MAX);
	buf_c(out, "\nDate: ");
	mail_date_format(d->now, 0, out);
	buf_printf(out, "\nMessage-Id: <%.*s@%s>\n", STR_ARG(d->bounce_qid), d->hostname);
	buf_printf(out, "Auto-Submitted: %s\nMIME-Version: 1.0\n", d->postmaster ? "auto-generated" : "auto-replied");
	buf_printf(out, "Content-Type: multipart/report; report-type=%s;\n\tboundary=\"%.*s.%.*s/%s\"\n\n", types[d->utf8].report, STR_ARG(d->qid), STR_ARG(d->bounce_qid),
		   d->hostname);
	buf_c(out, "This is a MIME-encapsulated message.\n");
}

static void put_boundary(const struct dsn *d, struct buf *out, const char *end)
{
	buf_printf(out, "\n--%.*s.%.*s/%s%s\n", STR_ARG(d->qid), STR_ARG(d->bounce_qid), d->hostname, end);
}

static void put_rcpt_text(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out)
{
	buf_c(out, "\n<");
	put_neutral(out, r->address, ADDRESS_MAX);
	if (d->kind == DSN_SUCCESS)
		buf_printf(out, ">: %s\n", strcmp(r->action, "relayed") == 0 ? "given to a mail server that does not tell of its success"
					   : strcmp(r->action, "expanded") == 0 ? "sent on to other addresses" : "delivered");
	else
		buf_printf(out, ">: %s\n", dsn_reason(r->enhanced, d->kind == DSN_FAILED));
	buf_c(out, "    In technical words: ");
	put_neutral(out, r->text, TEXT_MAX);
	buf_c(out, "\n");
}

static void put_text(const struct dsn *d, struct buf *out)
{
	put_boundary(d, out, "");
	buf_c(out, "Content-Description: Notification\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
	buf_printf(out, "This is the mail system at host %s.\n\n", d->hostname);
	if (d->postmaster) {
		buf_c(out, "A copy for the postmaster. The message was from <");
		put_neutral(out, d->sender, ADDRESS_MAX);
		buf_c(out, ">.\n");
	} else {
		buf_c(out, words[d->kind].text);
	}
	for (size_t i = 0; i < d->n_rcpts; i++)
		put_rcpt_text(d, &d->rcpts[i], out);
	if (!d->postmaster)
		buf_c(out, "\nFor further assistance, please send mail to postmaster.\n");
	buf_printf(out, "\n                   The mail system (%s)\n", d->mail_name);
}

static void put_rcpt_status(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out)
{
	static const char *const defaults[] = { [DSN_FAILED] = "5.0.0", [DSN_DELAYED] = "4.0.0", [DSN_SUCCESS] = "2.0.0" };
	const ptrdiff_t bracket = str_chr(r->relay, '[');

	put_address(out, "\nFinal-Recipient", " ", r->address);
	if (r->orcpt.n > 0) {
		buf_c(out, "\nOriginal-Recipient: ");
		put_neutral(out, r->orcpt, ADDRESS_MAX);
	} else if (r->original.n > 0) {
		put_address(out, "\nOriginal-Recipient", "", r->original);
	}
	buf_printf(out, "\nAction: %s\nStatus: ", d->kind == DSN_SUCCESS ? r->action : d->kind == DSN_FAILED ? "failed" : "delayed");
	put_neutral(out, r->enhanced.n > 0 ? r->enhanced : str_c(defaults[d->kind]), 12);
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
	buf_printf(out, "Content-Description: Delivery report\nContent-Type: %s\nReporting-MTA: dns; %s\n", types[d->utf8].status, d->hostname);
	if (d->envid.n > 0) {
		buf_c(out, "Original-Envelope-Id: ");
		put_neutral(out, d->envid, ADDRESS_MAX);
		buf_c(out, "\n");
	}
	buf_printf(out, "X-%s-Queue-ID: %.*s\nX-%s-", d->mail_name, STR_ARG(d->qid), d->mail_name);
	put_address(out, "Sender", " ", d->sender);
	buf_c(out, "\nArrival-Date: ");
	mail_date_format(d->arrived, 0, out);
	buf_c(out, "\n");
	for (size_t i = 0; i < d->n_rcpts; i++)
		put_rcpt_status(d, &d->rcpts[i], out);
}

static void put_original(const struct dsn *d, struct buf *out)
{
	size_t head_n = 0, body = 0;
	const bool whole = d->original_whole && d->kind == DSN_FAILED && !d->head_only && d->original.n <= d->original_max;

	put_boundary(d, out, "");
	if (whole) {
		buf_printf(out, "Content-Description: %s\nContent-Type: %sContent-Transfer-Encoding: 8bit\n\n", words[d->kind].part, types[d->utf8].message);
		buf_str(out, d->original);
		return;
	}
	buf_printf(out, "Content-Description: %s Headers\nContent-Type: %sContent-Transfer-Encoding: 8bit\n\n", words[d->kind].part, types[d->utf8].head);
	if (mail_head_find(d->original, true, &head_n, &body) != 0 || head_n > HEAD_MAX)
		head_n = d->original.n < HEAD_MAX ? d->original.n : HEAD_MAX;
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
