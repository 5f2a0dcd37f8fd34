# One transcript for each section that commands.def and extensions.def name (t/lib/transcript.py says how to read them). What takes a queue, a second
# server or many bytes to show is in test_esmtp.py, test_smtp.py and test_listeners.py.

== RFC 5321 4.1.1.1: EHLO and HELO begin a session, and begin it again
@ SMTP
S: 220 mail.example.com ESMTP Postern
C: EHLO
S: 501 5.5.4 *
C: EHLO client.test
S: 250-mail.example.com
S~ 250 *
C: ehlo [127.0.0.1]
S: 250-mail.example.com
S~ 250 *
C: EHLO [IPv6:::1]
S: 250-mail.example.com
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: EHLO again.test
S: 250-mail.example.com
S~ 250 *
C: RCPT TO:<bob@example.com>
S: 503 5.5.1 *
C: HELO client.test
S: 250 mail.example.com
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: HELO
S: 501 5.5.4 *

== RFC 5321 4.1.1.2: MAIL
@ SMTP
S: 220 *
C: MAIL FROM:<s@elsewhere.example>
S: 503 5.5.1 *
C: EHLO client.test
S~ 250 *
C: MAIL
S: 501 5.5.4 *
C: MAIL FROM:
S: 501 5.1.7 *
C: MAIL FROM:<s@elsewhere.example
S: 501 5.*
C: MAIL FROM:<s@elsewhere.example> NONSENSE=1
S: 555 5.5.4 *
C: MAIL FROM:<@relay.example:s@elsewhere.example>
S: 250 2.1.0 Ok
C: MAIL FROM:<other@elsewhere.example>
S: 503 5.5.1 *
C: RSET
S: 250 2.0.0 Ok
C: mail from:<>
S: 250 2.1.0 Ok

== RFC 5321 4.1.1.3: RCPT
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: RCPT TO:<bob@example.com>
S: 503 5.5.1 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com
S: 501 5.*
C: RCPT TO:<bob@example.com> NONSENSE
S: 555 5.5.4 *
C: RCPT TO:<nobody-here@example.com>
S: 550 5.1.1 <nobody-here@example.com>: *
C: RCPT TO:<x@elsewhere.example>
S: 554 5.7.1 <x@elsewhere.example>: Relay access denied
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: RCPT TO:<Postmaster>
S: 250 2.1.5 Ok
C: RCPT TO:<@relay.example:alice@example.com>
S: 250 2.1.5 Ok

== RFC 5321 4.1.1.4: DATA
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: DATA
S: 503 5.5.1 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: DATA
S: 554 5.5.1 *
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: DATA x
S: 501 5.5.4 *
C: DATA
S: 354 *
C: Subject: a
C:
C: ..
C: .
S: 250 2.0.0 Ok: queued as *
C: DATA
S: 503 5.5.1 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok

== RFC 5321 4.1.1.5: RSET
@ SMTP
S: 220 *
C: RSET
S: 250 2.0.0 Ok
C: EHLO client.test
S~ 250 *
C: RSET x
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: RSET
S: 250 2.0.0 Ok
C: RCPT TO:<bob@example.com>
S: 503 5.5.1 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok

== RFC 5321 3.5.3: VRFY and EXPN tell nobody who is here
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-VRFY
S~ 250 *
C: VRFY
S: 501 5.5.4 *
C: VRFY bob@example.com
S: 252 2.0.0 *
C: VRFY nobody-here@example.com
S: 252 2.0.0 *
C: EXPN staff
S: 502 5.5.1 *

== RFC 5321 4.1.1.8: HELP
@ SMTP
S: 220 *
C: HELP
S: 214-2.0.0 Commands:
S~ 214-2.0.0 RCPT TO:<address>
S~ 214 2.0.0 HELP
C: HELP MAIL
S~ 214 2.0.0 *

== RFC 5321 4.1.1.9: NOOP
@ SMTP
S: 220 *
C: NOOP
S: 250 2.0.0 Ok
C: noop whatever this says
S: 250 2.0.0 Ok

== RFC 5321 4.1.1.10: QUIT
@ SMTP
S: 220 *
C: QUIT now
S: 501 5.5.4 *
C: QUIT
S: 221 2.0.0 Bye
END

== RFC 1870: SIZE is announced, and what is larger is refused before it is sent
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-SIZE 20971520
S~ 250 *
C: MAIL FROM:<s@elsewhere.example> SIZE=20971521
S: 552 5.3.4 *
C: MAIL FROM:<s@elsewhere.example> SIZE=-1
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example> SIZE=99999999999999999999
S: 5*
C: MAIL FROM:<s@elsewhere.example> SIZE=1 SIZE=1
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example> SIZE=20971520
S: 250 2.1.0 Ok

== RFC 2034: each answer after EHLO's has an enhanced code of its class
@ SMTP
S: 220 mail.example.com *
C: EHLO client.test
S~ 250-ENHANCEDSTATUSCODES
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 *
C: RCPT TO:<nobody-here@example.com>
S: 550 5.1.1 *
C: DATA
S: 554 5.5.1 *
C: FROBNICATE
S: 500 5.5.* *
C: QUIT
S: 221 2.0.0 *

== RFC 2920: commands come in groups, and are answered in their order
@ SMTP
S: 220 *
C: EHLO client.test
S: 250-mail.example.com
S~ 250-PIPELINING
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
C: RCPT TO:<nobody-here@example.com>
C: RCPT TO:<bob@example.com>
C: RSET
C: MAIL FROM:<t@elsewhere.example>
C: RCPT TO:<alice@example.com>
C: DATA
S: 250 2.1.0 Ok
S: 550 5.1.1 *
S: 250 2.1.5 Ok
S: 250 2.0.0 Ok
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 *
C: Subject: one of a group
C:
C: .
C: MAIL FROM:<s@elsewhere.example>
C: RSET
C: QUIT
S: 250 2.0.0 Ok: queued as *
S: 250 2.1.0 Ok
S: 250 2.0.0 Ok
S: 221 2.0.0 Bye
END

== RFC 6152: 8BITMIME
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-8BITMIME
S~ 250 *
C: MAIL FROM:<s@elsewhere.example> BODY=9BIT
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example> BODY=8BITMIME
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: Subject: grüße
C:
C: grüße
C: .
S: 250 2.0.0 Ok: queued as *
C: MAIL FROM:<s@elsewhere.example> BODY=7BIT
S: 250 2.1.0 Ok

== RFC 3461: DSN
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-DSN
S~ 250 *
C: MAIL FROM:<s@elsewhere.example> RET=SOME
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example> ENVID=+ZZ
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example> RET=HDRS ENVID=QQ+2B314
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com> NOTIFY=NEVER,DELAY
S: 501 5.5.4 *
C: RCPT TO:<bob@example.com> ORCPT=bob@example.com
S: 501 5.5.4 *
C: RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Bob+2Bx@example.com
S: 250 2.1.5 Ok

== RFC 6531: SMTPUTF8
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-SMTPUTF8
S~ 250 *
C: MAIL FROM:<jö@bücher.example>
S: 553 5.6.7 *
C: MAIL FROM:<jö@bücher.example> SMTPUTF8=1
S: 501 5.5.4 *
C: MAIL FROM:<jö@bücher.example> SMTPUTF8
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok

== RFC 6531 3.5: an address beyond ASCII that nobody has, and words of it
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: RSET
S: 250 *
C: MAIL FROM:<> SMTPUTF8
S: 250 2.1.0 Ok
C: RCPT TO:<用户@example.com>
S: 550 5.1.1 *
C: RCPT TO:<用户@例子.example>
S: 554 5.7.1 *
C: RSET
S: 250 *
C: MAIL FROM:<>
S: 250 2.1.0 Ok
C: RCPT TO:<用户@example.com>
S: 553 5.6.7 *

== RFC 6531 3.6: BODY with SMTPUTF8
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: MAIL FROM:<jö@bücher.example> BODY=8BITMIME SMTPUTF8
S: 250 2.1.0 Ok

== RFC 6531 3.7.4.2: VRFY and EXPN with SMTPUTF8
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: VRFY 用户@example.com SMTPUTF8
S: 252 2.*
C: EXPN 用户 SMTPUTF8
S: 50* 5.*

== RFC 6532 3.2: a header in UTF-8, and what the mailbox has of it
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: MAIL FROM:<jö@bücher.example> SMTPUTF8
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: From: Jörg <jö@bücher.example>
C: To: bob@example.com
C: Subject: 例子, grüße
C: Message-ID: <rfc6532.例@bücher.example>
C: 
C: x
C: .
S: 250 2.0.0 Ok: queued as *
C: QUIT
S: 221 *
END

== RFC 6533 3: ORCPT of the type utf-8
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-DSN
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com> ORCPT=utf-8;j\x{F6}@b\x{FC}cher.example
S: 250 2.1.5 Ok
C: RCPT TO:<bob@example.com> ORCPT=utf-8;jö@bücher.example
S: 501 5.5.4 *
C: RSET
S: 250 *
C: MAIL FROM:<s@elsewhere.example> SMTPUTF8
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com> ORCPT=utf-8;jö@bücher.example
S: 250 2.1.5 Ok

== RFC 3030 2: BDAT
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-CHUNKING
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: BDAT 14
C: Subject: abc
S: 250 2.0.0 *
C: RSET
S: 250 2.0.0 Ok
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: BDAT 17
C: Subject: abcd
C:
S: 250 2.0.0 *
C: DATA
S: 503 5.5.1 *
C: BDAT 3 LAST
C: .
S: 250 2.0.0 Ok: queued as *

== RFC 3030 2: where a chunk without a size ends nobody knows
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: BDAT -1 LAST
S: 501 5.5.4 *
END

== RFC 3030: each chunk is answered; the last one may be empty
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-CHUNKING
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
C: RCPT TO:<bob@example.com>
C: BDAT 17
C: Subject: abcd
C:
C: BDAT 0 LAST
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.0.0 *
S: 250 2.0.0 Ok: queued as *

== RFC 9422: LIMITS
@ SMTP
S: 220 *
C: EHLO client.test
S: 250-mail.example.com
S~ 250*LIMITS RCPTMAX=1000

== RFC 1985: ETRN is for domains that are relayed
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-ETRN
S~ 250 *
C: ETRN
S: 501 5.5.4 *
C: ETRN elsewhere.example
S: 459 4.7.1 <elsewhere.example>: *

== RFC 3207 4: STARTTLS
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250-STARTTLS
S~ 250 *
C: STARTTLS now
S: 501 5.5.4 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: STARTTLS
S: 503 5.5.1 *
C: RSET
S: 250 2.0.0 Ok
C: STARTTLS
S: 220 2.0.0 *
TLS
C: MAIL FROM:<s@elsewhere.example>
S: 503 5.5.1 *
C: EHLO client.test
S~ 250 *
C: STARTTLS
S: 503 5.5.1 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok

== RFC 3207: nothing is accepted without TLS where the listener demands it
@ SUBMISSION
S: 220 *
C: EHLO client.test
S~ 250-STARTTLS
S~ 250 *
C: MAIL FROM:<alice@example.com>
S: 530 5.7.0 *STARTTLS*
C: NOOP
S: 250 2.0.0 Ok
C: QUIT
S: 221 2.0.0 Bye

== RFC 4954 4: AUTH
@ SUBMISSIONS tls
S: 220 *
C: AUTH PLAIN $PLAIN
S: 503 5.5.1 *
C: EHLO client.test
S~ 250-AUTH PLAIN LOGIN SCRAM-SHA-256
S~ 250 *
C: MAIL FROM:<alice@example.com>
S: 530 5.7.0 *
C: AUTH
S: 501 5.5.4 *
C: AUTH CRAM-MD5
S: 504 5.5.4 *
C: AUTH PLAIN !!!
S: 501 5.5.2 *
C: AUTH PLAIN
S: 334 *
C: *
S: 501 5.7.0 *
C: AUTH PLAIN $WRONG
S: 535 5.7.8 *
C: AUTH PLAIN
S: 334 *
C: $PLAIN
S: 235 2.7.0 *
C: AUTH PLAIN $PLAIN
S: 503 5.5.1 *
C: EHLO client.test
S: 250-mail.example.com
S~ 250 *
C: MAIL FROM:<alice@example.com> AUTH=<>
S: 250 2.1.0 Ok
C: AUTH PLAIN $PLAIN
S: 503 5.5.1 *

== RFC 4954: neither offered nor taken without TLS
@ SMTP
S: 220 *
C: EHLO client.test
S~ 250 *
C: AUTH PLAIN $PLAIN
S: 538 5.7.11 *

== RFC 2033 4.1: LHLO, and neither EHLO nor HELO
@ 24
S: 220 mail.example.com LMTP Postern
C: EHLO client.test
S: 500 5.5.2 *
C: HELO client.test
S: 500 5.5.2 *
C: LHLO client.test
S: 250-mail.example.com
S~ 250 *
C: MAIL FROM:<s@elsewhere.example>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.com>
S: 250 2.1.5 Ok
C: RCPT TO:<nobody-here@example.com>
S: 550 5.1.1 *
C: RCPT TO:<alice@example.com>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: Subject: an answer for each
C:
C: .
S: 250 2.0.0 *
S: 250 2.0.0 *
C: QUIT
S: 221 2.0.0 Bye
