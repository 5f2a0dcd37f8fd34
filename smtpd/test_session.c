/* Sessions in memory: transcripts against one session with a queued and an authd of straw in the same loop. Every transcript is run three ways: each C:
 * step in one write, byte by byte, and cut at a place that moves. Network, root and the frame are not needed.
 *
 * Steps: "C:" bytes from the client (as they are), "S:" the start of the next reply line, "M:" the message that queued now holds, "E:" the server
 * closes, "X:" and does not wait for our end, "W:" it does wait, "Q:" the number of messages that queued was given so far.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/enc.h"
#include "ipc/auth.h"
#include "ipc/queue.h"
#include "log/log.h"
#include "os/os.h"
#include "smtpd/session.h"
#include "test/tap.h"

enum { CASE_MS = 8000, STEPS_MAX = 80 };
enum { BYTEWISE_NO = 1, KEEP_OPEN = 2, TRUSTED = 4 /* may XCLIENT, XFORWARD */, PROXIED = 8 /* a proxy */, ASKED = 16 /* MAIL is queued's to answer */ };

struct transcript {
	const char *name;
	const char *profile;
	unsigned flags;		/* BYTEWISE_NO: what counts as one segment matters */
	const char *steps[STEPS_MAX];
};

#define HELLO "S:220 ", "C:EHLO me\r\n", "S:250-mail.example.com", "S:250-PIPELINING", "S:250-SIZE 100000", "S:250-VRFY", "S:250-ETRN", \
	"S:250-AUTH PLAIN LOGIN", "S:250-AUTH=PLAIN LOGIN", "S:250-ENHANCEDSTATUSCODES", "S:250-8BITMIME", "S:250-DSN", "S:250-SMTPUTF8", "S:250-CHUNKING", \
	"S:250 LIMITS RCPTMAX=100"
#define HELLO1 "C:EHLO me\r\n", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250 "
#define HELLO2 "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250 "
/* Of who has logged in, and may not speak for others. */
#define UHELLO "S:250-mail", "S:250-PIPELINING", "S:250-SIZE", "S:250-VRFY", "S:250-ETRN", "S:250-ENHANCEDSTATUSCODES", "S:250-8BITMIME", "S:250-DSN", \
	"S:250-SMTPUTF8", "S:250-CHUNKING", "S:250 LIMITS"
#define THELLO "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", \
	"S:250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", "S:250-", "S:250-", "S:250-", "S:250-", "S:250-", "S:250 "
#define LHELLO "S:220 ", "C:HELO me\r\n", "S:250 "
#define MAIL1 "C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0", "C:RCPT TO:<joe@example.com>\r\n", "S:250 2.1.5"
#define DATA1 "C:DATA\r\n", "S:354 "
#define BYE "C:QUIT\r\n", "S:221 2.0.0 Bye", "E:", "X:"

static const struct transcript transcripts[] = {
	{ "RFC 5321 D.1: a message", "smtp", 0, { HELLO, MAIL1, DATA1, "C:Subject: x\r\n\r\n..dot\r\n.\r\n", "S:250 2.0.0 Ok: queued as", "M:Subject: x\n\n.dot\n", BYE } },
	{ "HELO gives no extensions", "smtp", 0, { LHELLO, MAIL1, DATA1, "C:\r\nx\r\n.\r\n", "S:250 ", "M:\nx\n", BYE } },
	{ "RFC 2920: a pipelined group", "smtp", 0, { HELLO, "C:MAIL FROM:<a@b>\r\nRCPT TO:<joe@example.com>\r\nRCPT TO:<unknown@example.com>\r\nDATA\r\n",
		"S:250 2.1.0", "S:250 2.1.5", "S:550 5.1.1 <unknown@example.com>", "S:354 ", "C:\r\nx\r\n.\r\nQUIT\r\n", "S:250 2.0.0", "S:221 ", "E:", "M:\nx\n" } },
	{ "all recipients refused", "smtp", 0, { HELLO, "C:MAIL FROM:<a@b>\r\nRCPT TO:<unknown@example.com>\r\nDATA\r\n", "S:250 ", "S:550 5.1.1", "S:554 5.5.1", BYE } },
	{ "the null sender, two recipients", "smtp", 0, { HELLO, "C:MAIL FROM:<>\r\nRCPT TO:<joe@example.com>\r\nRCPT TO:<postmaster>\r\n", "S:250 ", "S:250 ", "S:250 ", BYE } },
	{ "commands out of order", "smtp", 0, { "S:220 ", "C:MAIL FROM:<a@b>\r\n", "S:503 5.5.1", HELLO1, "C:RCPT TO:<joe@example.com>\r\n", "S:503 5.5.1", "C:DATA\r\n", "S:503 5.5.1", MAIL1, "C:MAIL FROM:<a@b>\r\n", "S:503 5.5.1", BYE } },
	{ "a refused MAIL leaves nothing behind", "smtp", 0, { HELLO, "C:MAIL FROM:<j\xc3\xb6@b>\r\n", "S:553 5.6.7",
		"C:RCPT TO:<joe@example.com>\r\n", "S:503 ", "C:DATA\r\n", "S:503 ", BYE } },
	{ "RSET and EHLO drop the transaction", "smtp", 0, { HELLO, MAIL1, "C:RSET\r\n", "S:250 2.0.0", "C:DATA\r\n", "S:503 ", MAIL1, "C:HELO x\r\n", "S:250 ", "C:DATA\r\n", "S:503 ", BYE } },
	{ "two messages", "smtp", 0, { HELLO, MAIL1, DATA1, "C:\r\n1\r\n.\r\n", "S:250 ", "M:\n1\n", MAIL1, DATA1, "C:\r\n2\r\n.\r\n", "S:250 ", "M:\n2\n", "Q:2", BYE } },
	{ "an empty message", "smtp", 0, { HELLO, MAIL1, DATA1, "C:.\r\n", "S:250 ", "M:", BYE } },
	{ "SIZE", "smtp", 0, { HELLO, "C:MAIL FROM:<a@b> SIZE=100001\r\n", "S:552 5.3.4", "C:MAIL FROM:<a@b> SIZE=-1\r\n", "S:501 ", "C:MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "S:552 5.3.4",
		"C:MAIL FROM:<a@b> SIZE=1 SIZE=1\r\n", "S:501 ", "C:MAIL FROM:<a@b> SIZE=\r\n", "S:501 ",
		"C:MAIL FROM:<a@b> SIZE\r\n", "S:501 ", "C:MAIL FROM:<a@b> SIZE=0\r\n", "S:250 ", BYE } },
	{ "parameters", "smtp", 0, { HELLO, "C:MAIL FROM:<a@b> BODY=BINARYMIME\r\n", "S:501 ", "C:MAIL FROM:<a@b> REQUIRETLS\r\n", "S:555 5.5.4", "C:MAIL FROM:<a@b> AUTH=+ZZ\r\n", "S:501 ",
		"C:MAIL FROM:<a@b> SMTPUTF8=1\r\n", "S:501 ", "C:MAIL FROM:<a@b> AUTH=<> BODY=8BITMIME\r\n", "S:250 ",
		"C:RCPT TO:<joe@example.com> SIZE=1\r\n", "S:555 ", BYE } },
	{ "addresses", "smtp", 0, { HELLO, "C:MAIL FROM:a@b\r\n", "S:250 ", "C:RCPT TO:<\"\"@d>\r\n", "S:501 5.1.3", "C:RCPT TO:<>\r\n", "S:501 5.1.3", "C:RCPT TO:joe@example.com\r\n", "S:250 ",
		"C:RCPT TO:<@x,@y:joe@example.com>\r\n", "S:250 ",
		"C:RCPT TO:<a@other.example>\r\n", "S:554 5.7.1 <a@other.example>: Relay access denied", "C:RCPT TO <x@y>\r\n", "S:501 ", BYE } },
	{ "a control in a command", "smtp", 0, { HELLO, "C:NO\1\r\n", "S:501 ", BYE } },
	{ "a bare LF ends nothing and closes", "smtp", 0, { HELLO, "C:NOOP\n", "S:500 5.5.2 Error: bare LF", "E:" } },
	{ "a bare CR in a command, twice", "smtp", 0, { HELLO, "C:NO\rOP\r\n", "S:501 5.5.2", "C:NO\rOP\r\n", "S:501 5.5.2", "E:" } },
	{ "EHLO names", "smtp", 0, { "S:220 ", "C:EHLO\r\n", "S:501 ", "C:EHLO [IPv6:::::]\r\n", "S:501 5.5.2", "C:EHLO a\xff\r\n", "S:501 ", "C:HELO [127.0.0.1]\r\n", "S:250 mail.example.com", BYE } },
	{ "small commands", "smtp", 0, { HELLO, "C:noop x\r\n", "S:250 2.0.0", "C:VRFY joe\r\n", "S:252 2.0.0", "C:EXPN joe\r\n", "S:502 ", "C:XCLIENT ADDR=1.2.3.4\r\n", "S:550 5.7.0", "C:ETRN\r\n", "S:501 ",
		"C:QUIT now\r\n", "S:501 ", "C:\r\n", "S:500 ", "C: NOOP\r\n", "S:501 ", BYE } },
	{ "RFC 5321 4.1.1.8: HELP", "smtp", 0, { HELLO, "C:HELP\r\n", "S:214-2.0.0 Commands:", "S:214-2.0.0 EHLO hostname", "S:214-", "S:214-2.0.0 MAIL FROM:<address>", "S:214-", "S:214-",
		"S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214-", "S:214 2.0.0 HELP", BYE } },
	{ "HTTP", "smtp", 0, { "S:220 ", "C:GET / HTTP/1.1\r\n", "S:221 2.7.0 Error: I can break rules", "E:", "W:" } },
	{ "a header field", "smtp", 0, { "S:220 ", "C:Host: mail.example.com\r\n", "S:221 2.7.0", "E:" } },
	{ "what follows QUIT is not run", "smtp", BYTEWISE_NO, { HELLO, "C:QUIT\r\nMAIL FROM:<a@b>\r\n", "S:221 ", "E:" } },
	{ "text behind EHLO", "smtp", BYTEWISE_NO, { "S:220 ", "C:EHLO me\r\nMAIL FROM:<a@b>\r\n", "S:554 5.5.0", "E:" } },
	{ "text behind DATA", "smtp", BYTEWISE_NO, { HELLO, MAIL1, "C:DATA\r\nSubject: x\r\n", "S:554 5.5.0", "E:", "Q:0" } },
	{ "text behind AUTH", "smtp", BYTEWISE_NO, { HELLO, "C:AUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\n", "S:554 5.5.0", "E:" } },
	{ "text behind a SASL response", "smtp", BYTEWISE_NO, { HELLO, "C:AUTH PLAIN\r\n", "S:334 ", "C:AGpvZQBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\n", "S:554 5.5.0", "E:" } },
	/* smuggling: one message or none, never two, and the connection ends */
	{ "LF . LF", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\n.\nMAIL FROM:<x@y>\r\nRCPT TO:<joe@example.com>\r\nDATA\r\nb\r\n.\r\n", "S:550 5.5.2 Error: bare <LF> received", "E:", "Q:0" } },
	{ "LF . CRLF", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<joe@example.com>\r\nDATA\r\nb\r\n.\r\n", "S:550 5.5.2 Error: bare <LF>", "E:", "Q:0" } },
	{ "CRLF . LF", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\r\n.\nMAIL FROM:<x@y>\r\nRCPT TO:<joe@example.com>\r\nDATA\r\nb\r\n.\r\n", "S:550 5.5.2 Error: bare <LF>", "E:", "Q:0" } },
	{ "CR . CR", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\r.\rMAIL FROM:<x@y>\r\n.\r\n", "S:550 5.5.2 Error: bare <CR>", "E:", "Q:0" } },
	{ "CRLF . CR CRLF", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\r\n.\r\r\nMAIL FROM:<x@y>\r\n.\r\n", "S:550 5.5.2 Error: bare <CR>", "E:", "Q:0" } },
	{ "a fake end, a real end, and commands behind", "smtp", 0, { HELLO, MAIL1, DATA1, "C:a\r\r\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<joe@example.com>\r\n", "S:550 5.5.2 Error: bare <CR>", "E:", "Q:0" } },
	{ "200 Received fields", "smtp", 0, { HELLO, MAIL1, DATA1, "C:R51", "C:\r\n.\r\n", "S:554 5.4.6", "C:NOOP\r\n", "S:250 ", "Q:0", BYE } },
	/* AUTH */
	{ "AUTH PLAIN with initial response", "submission", 0, { HELLO, "C:MAIL FROM:<a@b>\r\n", "S:530 5.7.0 Authentication required", "C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:235 2.7.0", MAIL1,
		"C:RSET\r\n", "S:250 ", "C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:503 5.5.1", BYE } },
	{ "AUTH PLAIN in two steps, lower case", "submission", 0, { HELLO, "C:auth plain\r\n", "S:334 ", "C:AGpvZQBzZWNyZXQ=\r\n", "S:235 ", BYE } },
	{ "AUTH LOGIN", "submission", 0, { HELLO, "C:AUTH LOGIN\r\n", "S:334 VXNlcm5hbWU6", "C:am9l\r\n", "S:334 UGFzc3dvcmQ6", "C:c2VjcmV0\r\n", "S:235 ", BYE } },
	{ "a wrong password", "submission", 0, { HELLO, "C:AUTH PLAIN AGpvZQB3cm9uZw==\r\n", "S:535 5.7.8", "C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:235 ", BYE } },
	{ "AUTH cancelled, in each step", "submission", 0, { HELLO, "C:AUTH LOGIN\r\n", "S:334 ", "C:*\r\n", "S:501 5.7.0", "C:AUTH LOGIN\r\n", "S:334 ", "C:am9l\r\n", "S:334 ", "C:*\r\n", "S:501 5.7.0",
		"C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:235 ", BYE } },
	{ "AUTH syntax", "submission", 0, { HELLO, "C:AUTH\r\n", "S:501 5.5.4", "C:AUTH CRAM-MD5\r\n", "S:504 5.5.4", "C:AUTH PLAIN a b\r\n", "S:501 5.5.4", "C:AUTH PLAIN ====\r\n", "S:501 5.5.2",
		"C:AUTH PLAIN =\r\n", "S:535 ", "C:AUTH PLAIN A\r\n", "S:501 5.5.2", BYE } },
	{ "the back end is down", "submission", 0, { HELLO, "C:AUTH PLAIN AGRvd24Ac2VjcmV0\r\n", "S:454 4.7.0", BYE } },
	{ "AUTH inside a transaction", "smtp", 0, { HELLO, MAIL1, "C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:503 5.5.1", BYE } },
	{ "AUTH before EHLO", "smtp", 0, { "S:220 ", "C:AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", "S:503 5.5.1", BYE } },
	{ "STARTTLS where there is none", "smtp", 0, { HELLO, "C:STARTTLS x\r\n", "S:501 ", "C:STARTTLS\r\n", "S:502 5.5.1", BYE } },
	{ "no AUTH for local users", "local", 0, { "S:220 ", "C:EHLO me\r\n", "S:250-", "S:250-PIPELINING", "S:250-SIZE", "S:250-VRFY", "S:250-ETRN", "S:250-ENH", "S:250-8BITMIME", "S:250-DSN",
		"S:250-SMTPUTF8", "S:250-CHUNKING", "S:250 LIMITS", "C:AUTH PLAIN\r\n", "S:503 ", MAIL1, BYE } },
	{ "unknown profiles are the strictest", "whatever", 0, { HELLO, "C:MAIL FROM:<a@b>\r\n", "S:530 5.7.0", BYE } },
	/* DSN */
	{ "RFC 3461: what is asked reaches queued", "smtp", ASKED, { HELLO, "C:MAIL FROM:<a@b> RET=HDRS ENVID=QQ+2B1\r\n", "S:250 2.1.0 ret=2 envid=QQ+1",
		"C:RCPT TO:<joe@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Joe+40example.com\r\n", "S:250 2.1.5 notify=5 orcpt=rfc822;Joe@example.com",
		"C:RCPT TO:<ann@example.com> NOTIFY=NEVER\r\n", "S:250 2.1.5 notify=8 orcpt=", "C:RCPT TO:<bob@example.com>\r\n", "S:250 2.1.5 Ok", BYE } },
	{ "RFC 3461: bad values", "smtp", 0, { HELLO, "C:MAIL FROM:<a@b> RET=ALL\r\n", "S:501 5.5.4", "C:MAIL FROM:<a@b> ENVID=a+0D+0Ab\r\n", "S:501 5.5.4", "C:MAIL FROM:<a@b> ENVID=a+00\r\n", "S:501 5.5.4",
		"C:MAIL FROM:<a@b> RET=FULL RET=FULL\r\n", "S:501 ", "C:MAIL FROM:<a@b>\r\n", "S:250 ", "C:RCPT TO:<joe@example.com> NOTIFY=NEVER,SUCCESS\r\n", "S:501 5.5.4",
		"C:RCPT TO:<joe@example.com> ORCPT=joe\r\n", "S:501 5.5.4", "C:RSET\r\n", "S:250 ", BYE } },
	/* SMTPUTF8 */
	{ "RFC 6531: addresses", "smtp", 0, { HELLO,
		"C:MAIL FROM:<j\xc3\xb6@b\xc3\xbc.example> SMTPUTF8\r\n", "S:250 2.1.0", "C:RCPT TO:<j\xc3\xb6@example.com>\r\n", "S:250 2.1.5",
		"C:RCPT TO:<j\xff@example.com>\r\n", "S:501 5.1.3", "C:RSET\r\n", "S:250 ", "C:MAIL FROM:<a@b>\r\n", "S:250 ",
		"C:RCPT TO:<j\xc3\xb6@example.com>\r\n", "S:553 5.6.7",
		"C:VRFY j\xc3\xb6 SMTPUTF8\r\n", "S:252 ", BYE } },
	/* ETRN */
	{ "RFC 1985: ETRN", "smtp", 0, { "S:220 ", "C:ETRN relayed.example\r\n", "S:503 5.5.1", HELLO1, "C:ETRN relayed.example\r\n", "S:250 2.0.0 Queuing started", "C:ETRN @relayed.example\r\n", "S:250 ",
		"C:ETRN other.example\r\n", "S:459 4.7.1 <other.example>: service unavailable", BYE } },
	{ "ETRN syntax", "smtp", 0, { HELLO, "C:ETRN #queue\r\n", "S:501 ", "C:ETRN a..b\r\n", "S:501 ", MAIL1, "C:ETRN relayed.example\r\n", "S:503 ", BYE } },
	/* BDAT */
	{ "RFC 3030: a message in one chunk", "smtp", 0, { HELLO, MAIL1, "C:BDAT 11 LAST\r\n\r\n.x\r\n..\r\n!", "S:250 2.0.0 Ok: queued as", "M:\n.x\n..\n!\n", "Q:1", BYE } },
	{ "RFC 3030: chunks cut in a line end, pipelined", "smtp", 0, { HELLO, MAIL1, "C:BDAT 4\r\n\r\na\rBDAT 2\r\n\nbBDAT 2 LAST\r\n\r\nQUIT\r\n", "S:250 2.0.0 Ok: 4 bytes", "S:250 2.0.0 Ok: 2 bytes", "S:250 2.0.0 Ok: queued",
		"S:221 ", "E:", "M:\na\nb\n" } },
	{ "RFC 3030: an empty last chunk", "smtp", 0, { HELLO, MAIL1, "C:BDAT 3\r\n\r\na", "S:250 ", "C:BDAT 0 LAST\r\n", "S:250 2.0.0 Ok: queued", "M:\na\n", MAIL1, "C:BDAT 0 LAST\r\n", "S:250 2.0.0 Ok: queued", "M:", BYE } },
	{ "a chunk that looks like commands is none", "smtp", 0, { HELLO, MAIL1, "C:BDAT 37 LAST\r\n\r\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<z@w>\r\n", "S:250 ", "Q:1", BYE } },
	{ "BDAT out of order takes its chunk", "smtp", 0, { "S:220 ", "C:BDAT 6\r\nQUIT\r\n", "S:503 5.5.1", HELLO1, "C:BDAT 6 LAST\r\nQUIT\r\n", "S:503 ", "C:MAIL FROM:<a@b>\r\nRCPT TO:<unknown@example.com>\r\nBDAT 6 LAST\r\nQUIT\r\n",
		"S:250 ", "S:550 ", "S:554 5.5.1 Error: no valid recipients", BYE } },
	{ "between chunks only chunks, RSET and the like", "smtp", 0, { HELLO, MAIL1, "C:BDAT 3\r\n\r\na", "S:250 ", "C:DATA\r\n", "S:503 ", "C:RCPT TO:<joe@example.com>\r\n", "S:503 ", "C:MAIL FROM:<a@b>\r\n", "S:503 ", "C:NOOP\r\n", "S:250 ",
		"C:BDAT 1 LAST\r\nb", "S:250 ", "M:\nab\n", BYE } },
	{ "RSET between chunks", "smtp", 0, { HELLO, MAIL1, "C:BDAT 3\r\n\r\na", "S:250 ", "C:RSET\r\n", "S:250 ", "C:BDAT 1 LAST\r\nb", "S:503 ", MAIL1, DATA1, "C:\r\nx\r\n.\r\n", "S:250 ", "M:\nx\n", "Q:1", BYE } },
	{ "EHLO between chunks", "smtp", 0, { HELLO, MAIL1, "C:BDAT 3\r\n\r\na", "S:250 ", HELLO1, "C:BDAT 1 LAST\r\nb", "S:503 ", "Q:0", BYE } },
	{ "DATA after a failed chunk needs MAIL", "smtp", 0, { HELLO, MAIL1, "C:BDAT 100004\r\n", "C:B100000", "C:y", "S:552 5.3.4", "C:DATA\r\n", "S:503 ", "C:BDAT 1 LAST\r\nb", "S:503 ", "Q:0", BYE } },
	{ "chunks that are too much together", "smtp", BYTEWISE_NO, { HELLO, MAIL1, "C:BDAT 99999\r\n", "C:B99996", "S:250 ", "C:BDAT 4 LAST\r\nabcd", "S:552 5.3.4", "C:NOOP\r\n", "S:250 ", "Q:0", BYE } },
	{ "BDAT without a count that can be read", "smtp", 0, { HELLO, MAIL1, "C:BDAT x\r\n", "S:501 5.5.4 Syntax: BDAT count [LAST]", "E:", "Q:0" } },
	{ "a negative BDAT", "smtp", 0, { HELLO, MAIL1, "C:BDAT -1 LAST\r\n", "S:501 ", "E:" } },
	{ "a BDAT of twenty digits", "smtp", 0, { HELLO, MAIL1, "C:BDAT 99999999999999999999 LAST\r\n", "S:501 ", "E:" } },
	{ "BDAT with another word", "smtp", 0, { HELLO, MAIL1, "C:BDAT 1 FIRST\r\n", "S:501 ", "E:" } },
	{ "a bare LF in a chunk", "smtp", 0, { HELLO, MAIL1, "C:BDAT 6\r\n\r\na\nb", "C:\r\nBDAT 0 LAST\r\n", "S:550 5.5.2 Error: bare <LF>", "E:", "Q:0" } },
	{ "a CR at the very end of the last chunk", "smtp", 0, { HELLO, MAIL1, "C:BDAT 4 LAST\r\n\r\na\r", "S:550 5.5.2 Error: bare <CR>", "E:", "Q:0" } },
	{ "200 Received fields in chunks", "smtp", 0, { HELLO, MAIL1, "C:BDAT 663\r\n", "C:R51", "S:250 ", "C:BDAT 3 LAST\r\n\r\nx", "S:554 5.4.6", "Q:0", BYE } },
	{ "endless empty chunks", "smtp", 0, { HELLO, MAIL1, "C:BDAT 0\r\nBDAT 0\r\nBDAT 0\r\nBDAT 0\r\nBDAT 0\r\nBDAT 0\r\nBDAT 0\r\n", "S:250 2.0.0 Ok: 0", "S:421 4.7.0", "E:" } },
	/* XCLIENT, XFORWARD, PROXY: queued of straw says in the answer to MAIL what it was told */
	{ "XCLIENT makes another client", "submission", TRUSTED | ASKED, { "S:220 ", "C:EHLO me\r\n", THELLO, "C:XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.7 LOGIN=joe HELO=their.host PROTO=ESMTP\r\n", "S:220 mail.example.com",
		"C:MAIL FROM:<a@b>\r\n", "S:503 5.5.1 Error: send HELO", "C:EHLO me\r\n", UHELLO, "C:MAIL FROM:<a@b>\r\n",
		"S:250 2.1.0 203.0.113.7 joe", "C:XCLIENT ADDR=203.0.113.8\r\n", "S:550 ",
		"C:RSET\r\n", "S:250 ", "C:XCLIENT ADDR=203.0.113.8\r\n", "S:550 5.7.0 Error: insufficient authorization",
		"C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0 203.0.113.7 joe", BYE } },
	{ "XCLIENT syntax", "smtp", TRUSTED, { "S:220 ", "C:EHLO me\r\n", THELLO, "C:XCLIENT\r\n", "S:501 5.5.4", "C:XCLIENT ADDR=x\r\n", "S:501 ", "C:XCLIENT ADDR=1.2.3.4 EVIL=1\r\n", "S:501 ", BYE } },
	{ "text behind XCLIENT", "smtp", TRUSTED | BYTEWISE_NO, { "S:220 ", "C:EHLO me\r\n", THELLO, "C:XCLIENT ADDR=1.2.3.4\r\nMAIL FROM:<a@b>\r\n", "S:554 5.5.0", "E:" } },
	{ "XFORWARD adds up, and ends with the message", "smtp", TRUSTED, { "S:220 ", "C:EHLO me\r\n", THELLO, "C:XFORWARD NAME=far.example ADDR=203.0.113.7\r\n", "S:250 2.0.0",
		"C:XFORWARD IDENT=1ABC SOURCE=REMOTE\r\n", "S:250 2.0.0", "C:XFORWARD LOGIN=joe\r\n", "S:501 ", "C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0 far.example 203.0.113.7 1ABC",
		"C:XFORWARD IDENT=2\r\n", "S:503 ", "C:RSET\r\n", "S:250 ", "C:XFORWARD IDENT=3\r\n", "S:250 ", "C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0   3", BYE } },
	{ "XFORWARD of a stranger", "smtp", 0, { HELLO, "C:XFORWARD NAME=a.example\r\n", "S:550 5.7.0 Error: insufficient authorization", BYE } },
	{ "a PROXY header before the greeting", "smtp", PROXIED | ASKED, { "C:PROXY TCP4 203.0.113.7 192.0.2.2 4000 25\r\n", "S:220 ", "C:EHLO me\r\n", HELLO2, "C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0 203.0.113.7 ", BYE } },
	{ "a proxy that speaks for itself", "smtp", PROXIED, { "C:PROXY UNKNOWN\r\n", "S:220 ", "C:EHLO me\r\n", HELLO2, "C:MAIL FROM:<a@b>\r\n", "S:250 2.1.0 Ok", BYE } },
	{ "no PROXY header from a proxy", "smtp", PROXIED, { "C:EHLO me\r\n", "E:", "Q:0" } },
	{ "a PROXY header of a stranger", "smtp", 0, { "S:220 ", "C:PROXY TCP4 203.0.113.7 192.0.2.2 4000 25\r\n", "S:500 ", BYE } },
	{ "text behind the PROXY header", "smtp", PROXIED | BYTEWISE_NO, { "C:PROXY TCP4 203.0.113.7 192.0.2.2 4000 25\r\nEHLO me\r\n", "S:554 5.5.0", "E:" } },
	/* limits */
	{ "a recipient too many", "smtp", BYTEWISE_NO, { HELLO, "C:MAIL FROM:<a@b>\r\n", "S:250 ", "C:R100", "S:452 4.5.3 Error: too many recipients", DATA1, "C:\r\nx\r\n.\r\n", "S:250 ", BYE } },
	{ "too many errors", "smtp", 0, { HELLO, "C:X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n", "S:500 ", "S:500 ", "S:500 ", "S:500 ", "S:500 ", "S:500 ", "S:500 ", "S:421 4.7.0 mail.example.com Error: too many errors", "E:" } },
	{ "too many idle commands", "smtp", 0, { HELLO, "C:N20", "S:421 4.7.0", "E:" } },
	{ "a message of the size limit and one above it", "smtp", BYTEWISE_NO, { HELLO, MAIL1, DATA1, "C:B100000", "S:250 ", MAIL1, DATA1, "C:B100001", "S:552 5.3.4 Error: message file too big", BYE } },
	/* MAIL, where nobody is asked about it alone: straw says of MAIL that comes with a recipient how many came, and what they said */
	{ "the first RCPT brings MAIL", "smtp", 0, { HELLO, "C:MAIL FROM:<told@b> RET=HDRS ENVID=QQ+2B1\r\n", "S:250 2.1.0 Ok",
		"C:RCPT TO:<joe@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Joe+40example.com\r\n",
		"S:250 2.1.5 1. told@b ret=2 envid=QQ+1 notify=5 orcpt=rfc822;Joe@example.com",
		"C:RCPT TO:<ann@example.com> NOTIFY=NEVER\r\n", "S:250 2.1.5 notify=8 orcpt=", DATA1, "C:\r\nx\r\n.\r\n", "S:250 ", "M:\nx\n",
		"C:MAIL FROM:<told@b>\r\n", "S:250 2.1.0 Ok", "C:RCPT TO:<joe@example.com>\r\n", "S:250 2.1.5 2. told@b ret=0 envid= notify=0 orcpt=", "Q:1", BYE } },
	{ "a first RCPT that is refused has brought MAIL", "smtp", 0, { HELLO, "C:MAIL FROM:<told@b>\r\n", "S:250 ",
		"C:RCPT TO:<unknown@example.com>\r\n", "S:550 5.1.1 ",
		"C:RCPT TO:<joe@example.com>\r\n", "S:250 2.1.5 Ok", BYE } },
	{ "MAIL that queued refuses comes again with the next RCPT", "smtp", 0, { HELLO,
		"C:MAIL FROM:<full@b>\r\n", "S:250 ", "C:RCPT TO:<joe@example.com>\r\n", "S:452 4.3.1 1. full@b",
		"C:DATA\r\n", "S:554 5.5.1",
		"C:RCPT TO:<joe@example.com>\r\n", "S:452 4.3.1 2. full@b", "C:RSET\r\n", "S:250 ", MAIL1, DATA1, "C:\r\nx\r\n.\r\n", "S:250 ", "Q:1", BYE } },
	{ "queued hears nothing of MAIL without RCPT", "smtp", 0, { HELLO, "C:MAIL FROM:<told@b>\r\n", "S:250 ", "C:RSET\r\n", "S:250 ",
		"C:MAIL FROM:<told@b>\r\n", "S:250 ", "C:RCPT TO:<joe@example.com>\r\n", "S:250 2.1.5 1. told@b", BYE } },
	{ "queued has gone", "smtp", ASKED, { HELLO, "C:MAIL FROM:<die@b>\r\n", "S:421 4.3.0", "E:" } },
	{ "queued has gone, the first RCPT notices", "smtp", 0, { HELLO, "C:MAIL FROM:<die@b>\r\n", "S:250 ", "C:RCPT TO:<joe@example.com>\r\n", "S:421 4.3.0", "E:" } },
};

struct straw {
	struct loop *loop;
	struct front_env env;
	struct conn *client;
	struct ipc_chan *queue, *auth;
	const struct transcript *t;
	size_t step, cut;
	int way;			/* 0 whole, 1 bytewise, 2 cut */
	struct timer *pace, *limit;
	struct buf pending, seen;
	int msg_fd, login;
	char told[300];		/* by PROXIED, XCLIENT, XFORWARD */
	unsigned messages, mails;
	bool closed, failed, finished, done;
	int end_fd;		/* our end of the connection once it is closed */
	struct buf message;
};

static struct straw *current;

void front_keep(struct front_env *env, int auth_fd, struct ipc_chan *queue)
{
	close_fd(&auth_fd);
	ipc_chan_free(&queue);
}

void front_last(struct front_env *env)
{
}

void front_done(struct front_env *env, const struct front_conn *fc)
{
	current->done = true;
}

void front_select_key(const struct front_conn *fc)
{
}

/* --- queued --- */

static void queue_say(struct straw *w, uint32_t id, uint64_t code, const char *enhanced, const char *text)
{
	const struct ipc_queue_REPLY m = { .code = code, .enhanced = str_c(enhanced), .text = str_c(text), .qid = code == 452 ? STR("") : STR("TESTQ1") };
	struct err e = { 0 };

	if (ipc_send(w->queue, IPC_queue_REPLY, &m, id, -1, &e) < 0)
		abort();
}

static void take_message(struct straw *w, const struct ipc_queue_DATA_END *m)
{
	struct err e = { 0 };
	char *p;

	buf_reset(&w->message);
	p = buf_room(&w->message, m->size + 1);
	if (p == NULL || (m->size > 0 && pread_all(w->msg_fd, p, m->size, 0, &e) < 0))
		w->failed = true;
	else
		buf_added(&w->message, m->size);
	w->messages++;
	close_fd(&w->msg_fd);
}

static const char *rcpt_said(const struct ipc_queue_RCPT *m, char *text, size_t size)
{
	if (m->notify == 0 && m->orcpt.n == 0)
		return "Ok";
	(void)snprintf(text, size, "notify=%d orcpt=%.*s", (int)m->notify, STR_ARG(m->orcpt));
	return text;
}

static void take_client(struct straw *w, uint16_t type, uint32_t id, const void *msg)
{
	const struct ipc_queue_PROXIED *p = msg;
	const struct ipc_queue_XCLIENT *x = msg;
	const struct ipc_queue_XFORWARD *f = msg;

	if (type == IPC_queue_PROXIED) {
		(void)snprintf(w->told, sizeof w->told, "%.*s ", STR_ARG(p->client));
	} else if (type == IPC_queue_XCLIENT) {
		(void)snprintf(w->told, sizeof w->told, "%.*s %.*s", STR_ARG(x->addr), STR_ARG(x->login));
		queue_say(w, id, 220, "2.0.0", "Ok");
	} else {
		(void)snprintf(w->told, sizeof w->told, "%.*s %.*s %.*s", STR_ARG(f->name), STR_ARG(f->addr), STR_ARG(f->ident));
		queue_say(w, id, 250, "2.0.0", "Ok");
	}
}

static void etrn_said(struct straw *w, uint32_t id, struct str domain)
{
	char text[100];

	(void)snprintf(text, sizeof text, "<%.*s>: service unavailable", STR_ARG(domain));
	if (str_ends(domain, STR("relayed.example")))
		queue_say(w, id, 250, "2.0.0", "Queuing started");
	else
		queue_say(w, id, 459, "4.7.1", text);
}

static void rcpt_answer(struct straw *w, uint32_t id, const struct ipc_queue_RCPT *m, const char *said)
{
	const struct str to = m->recipient;
	char text[200];
	const bool unknown = str_starts(to, STR("unknown")), ours = str_ends(to, STR("@example.com")) || str_eq(to, STR("postmaster"));

	(void)snprintf(text, sizeof text, "<%.*s>: %s", STR_ARG(to), unknown ? "Recipient address rejected: User unknown" : "Relay access denied");
	if (unknown)
		queue_say(w, id, 550, "5.1.1", text);
	else if (!ours)
		queue_say(w, id, 554, "5.7.1", text);
	else
		queue_say(w, id, 250, "2.1.5", said ? said : rcpt_said(m, text, sizeof text));
}

/* MAIL with the first recipient. */
static void take_both(struct straw *w, uint32_t id, const struct ipc_queue_MAIL *m)
{
	const struct ipc_queue_RCPT r = { .recipient = m->recipient, .notify = m->notify, .orcpt = m->orcpt };
	char text[300];

	(void)snprintf(text, sizeof text, "%u. %.*s ret=%d envid=%.*s notify=%d orcpt=%.*s", ++w->mails, STR_ARG(m->sender), (int)m->ret, STR_ARG(m->envid), (int)m->notify,
		       STR_ARG(m->orcpt));
	if (str_starts(m->sender, STR("full")))
		queue_say(w, id, 452, "4.3.1", text);
	else
		rcpt_answer(w, id, &r, str_starts(m->sender, STR("told")) ? text : NULL);
}

static void on_queue(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct straw *w = ctx;
	struct err e = { 0 };

	if (type == IPC_queue_MAIL) {
		if (str_eq(((struct ipc_queue_MAIL *)msg)->sender, STR("die@b"))) {
			ipc_chan_free(&w->queue);
			return;
		}
		const struct ipc_queue_MAIL *m = msg;
		char text[200] = "Ok";
		if (m->recipient.n > 0) {
			take_both(w, id, m);
			return;
		}
		if (m->ret || m->envid.n)
			(void)snprintf(text, sizeof text, "ret=%d envid=%.*s", (int)m->ret, STR_ARG(m->envid));
		queue_say(w, id, 250, "2.1.0", w->told[0] ? w->told : text);
	} else if (type == IPC_queue_RCPT) {
		rcpt_answer(w, id, msg, NULL);
	} else if (type == IPC_queue_DATA) {
		const struct ipc_queue_OPEN m = { .size_max = 100000 };
		close_fd(&w->msg_fd);
		w->msg_fd = memfd_create("message", MFD_CLOEXEC);
		if (ipc_send(w->queue, IPC_queue_OPEN, &m, id, w->msg_fd, &e) < 0)
			abort();
	} else if (type == IPC_queue_PROXIED || type == IPC_queue_XCLIENT || type == IPC_queue_XFORWARD) {
		take_client(w, type, id, msg);
	} else if (type == IPC_queue_ETRN) {
		etrn_said(w, id, ((struct ipc_queue_ETRN *)msg)->domain);
	} else if (type == IPC_queue_DATA_END) {
		take_message(w, msg);
		queue_say(w, id, 250, "2.0.0", "Ok: queued as TESTQ1");
	}
	if (fd >= 0)
		close(fd);
}

static void on_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct straw *w = ctx;

	if (ch == w->queue)
		ipc_chan_free(&w->queue);
	else
		ipc_chan_free(&w->auth);
}

/* --- authd --- */

static void challenge(struct straw *w, uint32_t id, const char *text)
{
	const struct ipc_auth_CHALLENGE m = { .data = str_c(text) };
	struct err e = { 0 };

	if (ipc_send(w->auth, IPC_auth_CHALLENGE, &m, id, -1, &e) < 0)
		abort();
}

static void decide(struct straw *w, uint32_t id, struct str cred)
{
	const struct ipc_auth_OK ok = { .user = STR("joe") };
	struct ipc_auth_FAIL fail = { .code = ERR_AUTH, .text = STR("Error: authentication failed"), .delay_ms = 5, .user = STR("joe") };
	struct err e = { 0 };
	int r;

	w->login = 0;
	if (str_eq(cred, str_n("\0joe\0secret", 11)) || str_eq(cred, STR("secret"))) {
		r = ipc_send(w->auth, IPC_auth_OK, &ok, id, -1, &e);
	} else {
		if (str_starts(cred, str_n("\0down", 5))) {
			fail.code = ERR_TEMP;
			fail.text = STR("Temporary authentication failure");
		}
		r = ipc_send(w->auth, IPC_auth_FAIL, &fail, id, -1, &e);
	}
	if (r < 0)
		abort();
}

static void on_auth(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct straw *w = ctx;

	if (type == IPC_auth_START) {
		const struct ipc_auth_START *m = msg;
		w->login = str_eq(m->mech, STR("LOGIN")) ? 1 : 0;
		if (w->login)
			challenge(w, id, "Username:");
		else if (m->initial.p != NULL)
			decide(w, id, m->initial);
		else
			challenge(w, id, "");
	} else if (type == IPC_auth_STEP) {
		const struct ipc_auth_STEP *m = msg;
		if (w->login == 1) {
			w->login = 2;
			challenge(w, id, "Password:");
		} else {
			decide(w, id, m->data);
		}
	} else {
		w->login = 0;
	}
	if (fd >= 0)
		close(fd);
}

/* --- the client --- */

static void finish(struct straw *w, bool good)
{
	w->failed = w->failed || !good;
	w->finished = true;
	loop_stop(w->loop);
}

static void send_some(struct straw *w)
{
	size_t n = w->pending.n;

	if (n == 0 || w->client == NULL)
		return;
	if (w->way == 1)
		n = 1;
	else if (w->way == 2 && n > w->cut)
		n = w->cut;
	conn_write(w->client, str_n(w->pending.p, n));
	buf_shift(&w->pending, n);
}

static void on_pace(void *ctx)
{
	struct straw *w = ctx;

	send_some(w);
	timer_again(w->pace, 0);
}

/* Short forms of long input. */
static void expand(struct straw *w, const char *text)
{
	if (str_eq(str_c(text), STR("R51"))) {
		for (int i = 0; i < 51; i++)
			buf_c(&w->pending, "Received: x\r\n");
	} else if (str_eq(str_c(text), STR("R100"))) {
		for (int i = 0; i < 101; i++)
			buf_printf(&w->pending, "RCPT TO:<u%d@example.com>\r\n", i);
	} else if (str_eq(str_c(text), STR("N20"))) {
		for (int i = 0; i < 20; i++)
			buf_c(&w->pending, "NOOP\r\n");
	} else if (text[0] == 'B' && ch_digit(text[1])) {
		const long n = strtol(text + 1, NULL, 10);
		buf_c(&w->pending, "\r\n");
		for (long i = 0; i < n - 4; i++)
			buf_ch(&w->pending, 'x');
		buf_c(&w->pending, "\r\n.\r\n");
	} else {
		buf_c(&w->pending, text);
	}
}

static bool end_is_wanted(const struct straw *w)
{
	for (size_t i = w->step; i < STEPS_MAX && w->t->steps[i]; i++)
		if (w->t->steps[i][0] == 'X' || w->t->steps[i][0] == 'W')
			return true;
	return false;
}

/* The server has ended its direction: does it still take what we send? Ours ends with this. */
static bool waited_for(struct straw *w)
{
	const bool taken = send(w->end_fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
	close_fd(&w->end_fd);
	return taken;
}

/* Do the steps that wait for nothing. */
static void advance(struct straw *w)
{
	while (!w->finished) {
		const char *step = w->step < STEPS_MAX ? w->t->steps[w->step] : NULL;
		if (step == NULL) {
			finish(w, true);
			return;
		}
		if (step[0] == 'C') {
			expand(w, step + 2);
			if (w->way == 0)
				send_some(w);
		} else if (step[0] == 'M') {
			if (!str_eq(buf_view(&w->message), str_c(step + 2))) {
				tap_diag("step %zu: message differs: %zu bytes", w->step, w->message.n);
				finish(w, false);
			}
		} else if (step[0] == 'Q') {
			if (w->messages != (unsigned)(step[2] - '0')) {
				tap_diag("step %zu: queued has %u messages", w->step, w->messages);
				finish(w, false);
			}
		} else if (step[0] == 'X' || step[0] == 'W') {
			if (waited_for(w) != (step[0] == 'W')) {
				tap_diag("step %zu: the server %s", w->step, step[0] == 'W' ? "has closed" : "waits");
				finish(w, false);
			}
		} else if (step[0] == 'E') {
			if (!w->closed)
				return;
			if (w->seen.n > 0) {
				tap_diag("step %zu: more text before the end: %s", w->step, w->seen.p);
				finish(w, false);
			}
		} else {
			ptrdiff_t lf = str_chr(buf_view(&w->seen), '\n');
			if (lf < 0 && w->closed) {
				tap_diag("step %zu: closed, wanted %s", w->step, step);
				finish(w, false);
			}
			if (lf < 0)
				return;
			const struct str line = str_n(w->seen.p, (size_t)lf + 1);
			/* The short forms that make many answers: the last is what counts. */
			const bool skip = (str_starts(str_c(step + 2), STR("452")) || str_starts(str_c(step + 2), STR("421 4.7.0"))) &&
					  (str_starts(line, STR("250 2.")) || str_starts(line, STR("500 ")));
			if (!str_ends(line, STR("\r\n")) || (!skip && !str_starts(line, str_c(step + 2)))) {
				tap_diag("step %zu: wanted %s, got %.*s", w->step, step, STR_ARG(str_sub(line, 0, (size_t)lf - 1)));
				finish(w, false);
			}
			buf_shift(&w->seen, (size_t)lf + 1);
			if (skip)
				continue;
		}
		w->step++;
	}
}

static void on_client(void *ctx, struct conn *c, enum conn_event ev)
{
	struct straw *w = ctx;

	if (ev == CONN_EV_DATA) {
		const struct str in = conn_input(c);
		buf_str(&w->seen, in);
		conn_consume(c, in.n);
	} else if (ev == CONN_EV_CLOSED || ev == CONN_EV_ERROR) {
		w->closed = true;
		w->end_fd = end_is_wanted(w) ? dup(conn_fd(c)) : -1;
		buf_reset(&w->pending);
		conn_free(&w->client);
	}
	advance(w);
}

static void on_limit(void *ctx)
{
	struct straw *w = ctx;

	tap_diag("step %zu: nothing more came", w->step);
	finish(w, false);
}

static void on_finished(void *ctx)
{
	loop_stop(((struct straw *)ctx)->loop);
}

static void run(const struct conf *conf, const struct transcript *t, int way, size_t cut)
{
	struct straw w = { .t = t, .way = way, .cut = cut, .msg_fd = -1, .end_fd = -1 };
	struct front_conn fc = { .conn = 1, .key_fd = -1, .client = "192.0.2.1", .server = "192.0.2.2", .client_known = true };
	const struct conn_limits limits = { .in_max = 65536, .out_high = 1 << 20, .out_max = 1 << 22 };
	struct err e = { 0 };
	int a[2], b[2], c[2];

	current = &w;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) < 0 || sock_pair(SOCK_SEQPACKET, b, &e) < 0 || sock_pair(SOCK_SEQPACKET, c, &e) < 0)
		abort();
	w.loop = loop_new();
	w.env = (struct front_env){ .loop = w.loop, .conf = conf };
	buf_init(&w.pending, 1 << 22);
	buf_init(&w.seen, 1 << 22);
	buf_init(&w.message, 1 << 22);
	w.queue = ipc_chan_new(w.loop, b[0], &ipc_queue, on_queue, on_gone, &w);
	w.auth = ipc_chan_new(w.loop, c[0], &ipc_auth, on_auth, on_gone, &w);
	w.client = conn_new(w.loop, a[0], &limits, on_client, &w);
	w.limit = loop_timer(w.loop, CASE_MS, on_limit, &w);
	if (way != 0)
		w.pace = loop_timer(w.loop, 0, on_pace, &w);
	(void)snprintf(fc.profile, sizeof fc.profile, "%s", t->profile);
	if (t->flags & TRUSTED)
		(void)snprintf(fc.client, sizeof fc.client, "192.0.2.9");
	if (t->flags & PROXIED)
		(void)snprintf(fc.client, sizeof fc.client, "192.0.2.8");
	fc.fd = a[1];
	fc.queue_fd = b[1];
	fc.auth_fd = c[1];
	session_start(&w.env, &fc);
	advance(&w);	/* a client that speaks first */
	loop_run(w.loop);
	tap_ok(!w.failed && w.step > 0, "%s (%s)", t->name, way == 0 ? "whole" : way == 1 ? "byte by byte" : "cut");
	conn_free(&w.client);
	/* The client has gone: the session must end by itself, whatever it was doing. */
	if (!w.done) {
		timer_again(w.limit, 500);
		w.finished = false;
		w.step = STEPS_MAX;
		loop_run(w.loop);
		(void)tap_ok(w.done, "%s: the session ends with its client", t->name);
	}
	timer_again(w.limit, 3000);
	conn_when_finished(w.loop, on_finished, &w);
	loop_run(w.loop);
	ipc_chan_free(&w.queue);
	ipc_chan_free(&w.auth);
	timer_del(&w.limit);
	timer_del(&w.pace);
	close_fd(&w.msg_fd);
	loop_free(&w.loop);
	buf_fini(&w.pending);
	buf_fini(&w.seen);
	buf_fini(&w.message);
}

/* Log lines go to a socket that nobody reads: a full log must never hold a session up. */
static void mute(void)
{
	char path[64];
	struct err e = { 0 };

	(void)snprintf(path, sizeof path, "/tmp/test_session.%d", (int)getpid());
	const int fd = sock_unix_listen(path, SOCK_DGRAM, 0600, (uid_t)-1, (gid_t)-1, &e);
	if (fd < 0 || log_open("postern", "smtpd", path, &e) < 0)
		tap_diag("%s", e.text);
	(void)unlink(path);
}

static struct conf *make_conf(bool asked)
{
	static const char text[] = "myhostname = mail.example.com\nmessage_size_limit = 100000\nsmtpd_tls_auth_only = no\nbroken_sasl_auth_clients = yes\n"
				   "auth_mechanisms = PLAIN LOGIN\nsmtpd_hard_error_limit = 7\nsmtpd_soft_error_limit = 100\n"
				   "smtpd_junk_command_limit = 5\nsmtpd_recipient_limit = 100\nsmtpd_authorized_xclient_hosts = 192.0.2.9\n"
				   "smtpd_authorized_xforward_hosts = 192.0.2.9\nsmtpd_upstream_proxy_protocol = haproxy\nsmtpd_upstream_proxy_hosts = 192.0.2.8\n";
	static const char delay[] = "smtpd_delay_reject = no\n";
	char path[] = "/tmp/test_session.XXXXXX";
	struct conf *c = NULL;
	struct err e = { 0 };
	struct buf problems;
	const int fd = mkstemp(path);

	buf_init(&problems, 65536);
	if (fd < 0 || write_all(fd, text, sizeof text - 1, &e) < 0 || (asked && write_all(fd, delay, sizeof delay - 1, &e) < 0) || conf_load(path, &c, &problems, &e) < 0)
		tap_diag("%s %s", e.text, problems.p ? problems.p : "");
	close(fd);
	(void)unlink(path);
	buf_fini(&problems);
	return c;
}

int main(int argc, char **argv)
{
	struct conf *usual = make_conf(false), *asked = make_conf(true);

	if (!tap_ok(usual != NULL && asked != NULL, "configuration"))
		return tap_done();
	if (argc > 1)
		log_verbose(true);
	else
		mute();
	for (size_t i = 0; i < ARRAY_LEN(transcripts); i++) {
		if (argc > 1 && str_find(str_c(transcripts[i].name), str_c(argv[1])) < 0)
			continue;
		const struct conf *conf = transcripts[i].flags & ASKED ? asked : usual;
		run(conf, &transcripts[i], 0, 0);
		if (transcripts[i].flags & BYTEWISE_NO)
			continue;
		run(conf, &transcripts[i], 1, 0);
		for (size_t cut = 2; cut < 12; cut += 3)
			run(conf, &transcripts[i], 2, cut);
	}
	conf_free(&usual);
	conf_free(&asked);
	return tap_done();
}
