# The examples of the standards, with their names. What this server does otherwise, and may, is said at the transcript. RFC 5321 D.3, where mail goes on, is in
# test_sections.py.

== RFC 5321 D.1: a typical SMTP transaction
@ SMTP
S: 220 mail.example.com *
C: EHLO bar.com
S: 250-mail.example.com
S~ 250-SIZE *
S~ 250-8BITMIME
S~ 250-DSN
S~ 250 *
C: MAIL FROM:<Smith@bar.com>
S: 250 *
C: RCPT TO:<Jones@foo.com>
S: 250 *
C: RCPT TO:<Green@foo.com>
S: 550 *
C: RCPT TO:<Brown@foo.com>
S: 250 *
C: DATA
S: 354 *
C: Blah blah blah...
C: ...etc. etc. etc.
C: .
S: 250 *
C: QUIT
S: 221 *
END

== RFC 5321 D.2: an aborted transaction
@ SMTP
S: 220 *
C: EHLO bar.com
S~ 250 *
C: MAIL FROM:<Smith@bar.com>
S: 250 *
C: RCPT TO:<Jones@foo.com>
S: 250 *
C: RCPT TO:<Green@foo.com>
S: 550 *
C: RSET
S: 250 *
C: QUIT
S: 221 *
END

# VRFY says what 3.5.3 allows in place of a name.
== RFC 5321 D.4: verifying and sending
@ SMTP
S: 220 *
C: EHLO bar.com
S~ 250-VRFY
S~ 250 *
C: VRFY Crispin
S: 252 *
C: MAIL FROM:<EAK@bar.com>
S: 250 *
C: RCPT TO:<Admin.MRC@foo.com>
S: 250 *
C: DATA
S: 354 *
C: Blah blah blah...
C: ...etc. etc. etc.
C: .
S: 250 *
C: QUIT
S: 221 *
END

# The reply to a recipient elsewhere is 554 here, as Postfix has it, in place of 551, and that to a message 2.0.0 in place of 2.6.0.
== RFC 2034 6: the usage example
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-ENHANCEDSTATUSCODES
S~ 250 *
C: MAIL FROM:<ned@ymir.claremont.edu>
S: 250 2.1.0 *
C: RCPT TO:<mrose@dbc.mtview.ca.us>
S: 250 2.1.5 *
C: RCPT TO:<nosuchuser@dbc.mtview.ca.us>
S: 550 5.1.1 *
C: RCPT TO:<remoteuser@isi.edu>
S: 554 5.7.1 *
C: DATA
S: 354 *
C: A message.
C: .
S: 250 2.0.0 *
C: QUIT
S: 221 2.0.0 *
END

== RFC 2920 4: the dialogue without pipelining
@ SMTP
S: 220 *
C: HELO dbc.mtview.ca.us
S: 250 mail.example.com
C: MAIL FROM:<mrose@dbc.mtview.ca.us>
S: 250 *
C: RCPT TO:<ned@innosoft.com>
S: 250 *
C: RCPT TO:<dan@innosoft.com>
S: 250 *
C: RCPT TO:<kvc@innosoft.com>
S: 250 *
C: DATA
S: 354 *
C: Subject: a message
C:
C: of some lines
C: .
S: 250 *
C: QUIT
S: 221 *
END

== RFC 2920 4: the dialogue with pipelining
@ SMTP
S: 220 *
C: EHLO dbc.mtview.ca.us
S~ 250-PIPELINING
S~ 250 *
C: MAIL FROM:<mrose@dbc.mtview.ca.us>
C: RCPT TO:<ned@innosoft.com>
C: RCPT TO:<dan@innosoft.com>
C: RCPT TO:<kvc@innosoft.com>
C: DATA
S: 250 *
S: 250 *
S: 250 *
S: 250 *
S: 354 *
C: Subject: a message
C:
C: of some lines
C: .
C: QUIT
S: 250 *
S: 221 *
END

# Of the two forms that are shown, this server has the first: it refuses DATA, and is sent no empty message. Recipients elsewhere are 554 in place of 550.
== RFC 2920 4: no recipient is left when DATA comes
@ SMTP
S: 220 *
C: EHLO dbc.mtview.ca.us
S~ 250-PIPELINING
S~ 250 *
C: MAIL FROM:<mrose@dbc.mtview.ca.us>
C: RCPT TO:<nsb@thumper.bellcore.com>
C: RCPT TO:<galvin@tis.com>
C: DATA
S: 250 *
S: 554 *
S: 554 *
S: 554 *
C: QUIT
S: 221 *
END

== RFC 3030 4.1: simple chunking
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-CHUNKING
S~ 250 *
C: MAIL FROM:<Sam@Random.com>
S: 250 *
C: RCPT TO:<Susan@Random.com>
S: 250 *
C: BDAT 86 LAST
C: To: Susan@random.com
C: From: Sam@random.com
C: Subject: This is a bodyless test message
S: 250 *
C: QUIT
S: 221 *
END

# BINARYMIME is not announced, and so no parameter of MAIL; the chunks, of fewer octets, follow each other as there.
== RFC 3030 4.2: pipelining BINARYMIME
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-CHUNKING
S~ 250 *
C: MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME
S: 5* 5.5.4 *
C: MAIL FROM:<ned@ymir.claremont.edu>
C: RCPT TO:<gvaudre@cnri.reston.va.us>
C: RCPT TO:<jstewart@cnri.reston.va.us>
S: 250 *
S: 250 *
S: 250 *
C: BDAT 26
C: Subject: the first chunk
C: BDAT 22
C:
C: and the second one
C: BDAT 0 LAST
S: 250 *
S: 250 *
S: 250 *
C: QUIT
S: 221 *
END

# One limit for all recipients here: those elsewhere are refused for being there.
== RFC 1870 8: the example
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-SIZE 20971520
S~ 250 *
C: MAIL FROM:<ned@thor.innosoft.com> SIZE=500000
S: 250 *
C: RCPT TO:<ned@innosoft.com>
S: 250 *
C: RCPT TO:<ned@ymir.claremont.edu>
S: 554 *
C: RCPT TO:<ned@hmcvax.claremont.edu>
S: 554 *
C: DATA
S: 354 *
C: Some text.
C: .
S: 250 *
C: QUIT
S: 221 *
END

== RFC 6152 4: the usage example
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-8BITMIME
S~ 250 *
C: MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME
S: 250 *
C: RCPT TO:<mrose@dbc.mtview.ca.us>
S: 250 *
C: DATA
S: 354 *
C: Subject: eight bits
C: MIME-Version: 1.0
C: Content-Type: text/plain; charset=utf-8
C: Content-Transfer-Encoding: 8bit
C:
C: grüße
C: .
S: 250 *
C: QUIT
S: 221 *
END

# The sender is one who may send to them.
== RFC 3461 10.1: submission
@ SUBMISSIONS tls
S: 220 *
C: EHLO Example.ORG
S~ 250-DSN
S~ 250 *
C: AUTH PLAIN $PLAIN
S: 235 *
C: MAIL FROM:<alice@example.com> RET=HDRS ENVID=QQ314159
S: 250 *
C: RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM
S: 250 *
C: RCPT TO:<Carol@Ivory.EDU> NOTIFY=FAILURE ORCPT=rfc822;Carol@Ivory.EDU
S: 250 *
C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU
S: 250 *
C: RCPT TO:<Eric@Bombs.AF.MIL> NOTIFY=FAILURE ORCPT=rfc822;Eric@Bombs.AF.MIL
S: 250 *
C: RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER
S: 250 *
C: RCPT TO:<George@Tax-ME.GOV> NOTIFY=FAILURE ORCPT=rfc822;George@Tax-ME.GOV
S: 250 *
C: DATA
S: 354 *
C: Subject: the message
C:
C: goes here
C: .
S: 250 *
C: QUIT
S: 221 *
END

== RFC 3207 5: the usage example
@ SMTP
S: 220 *
C: EHLO mail.example.com
S: 250-mail.example.com
S~ 250-STARTTLS
S~ 250-8BITMIME
S~ 250-DSN
S~ 250 *
C: STARTTLS
S: 220 *
TLS
C: EHLO mail.example.com
S: 250-mail.example.com
S~ 250-8BITMIME
S~ 250-DSN
S~ 250 *
C: MAIL FROM:<user@bar.com>
S: 250 *
C: RCPT TO:<Jones@foo.com>
S: 250 *
C: QUIT
S: 221 *
END

== RFC 4954 4.1: an initial response under TLS
@ SUBMISSION
S: 220 *
C: EHLO client.example.com
S: 250-mail.example.com
S~ 250-STARTTLS
S~ 250-ENHANCEDSTATUSCODES
S~ 250 *
C: STARTTLS
S: 220 *
TLS
C: EHLO client.example.com
S~ 250-AUTH *PLAIN*
S~ 250 *
C: AUTH PLAIN $PLAIN
S: 235 2.7.0 *

== RFC 4954 4.1: the same without an initial response
@ SUBMISSIONS tls
S: 220 *
C: EHLO client.example.com
S~ 250-AUTH *PLAIN*
S~ 250 *
C: AUTH PLAIN
S: 334 *
C: $PLAIN
S: 235 2.7.0 *

# Not offered here: the answer is that of 4 for a mechanism that is not supported.
== RFC 4954 4.1: CRAM-MD5
@ SUBMISSIONS tls
S: 220 *
C: EHLO client.example.com
S~ 250 *
C: AUTH CRAM-MD5
S: 504 5.5.4 *

# By a user, who may send as himself only. The address is xtext (RFC 3461 4).
== RFC 4954 5.1: MAIL with AUTH
@ SUBMISSIONS tls
S: 220 *
C: EHLO client.example.com
S~ 250 *
C: AUTH PLAIN $PLAIN
S: 235 2.7.0 *
C: MAIL FROM:<alice@example.com> AUTH=e+3Dmc2@example.com
S: 250 2.1.0 *
C: RSET
S: 250 *
C: MAIL FROM:<alice@example.com> AUTH=<>
S: 250 2.1.0 *
C: RSET
S: 250 *
C: MAIL FROM:<alice@example.com> AUTH=e+3Dmc2@example.com+0
S: 501 5.5.4 *

# ETRN alone lacks an argument, which is not a wrong command (RFC 5321 4.2.2), and one without dots a name like others.
== RFC 1985: the examples
@ SMTP
S: 220 *
C: EHLO ymir.claremont.edu
S~ 250-ETRN
S~ 250 *
C: ETRN
S: 501 5.5.4 *
C: ETRN localname
S: 459 *
C: ETRN uu.net
S: 459 *
C: ETRN sigurd.innosoft.com
S: 250 *
C: ETRN innosoft.com
S: 250 *
C: QUIT
S: 221 *
END

# The names of 4.2; a recipient who is over quota is test_lmtp_tells_which_mailbox_is_full.
== RFC 2033 4.2: an answer for each recipient that was accepted
@ 24
S: 220 *
C: LHLO foo.edu
S: 250-mail.example.com
S~ 250-PIPELINING
S~ 250 *
C: MAIL FROM:<chris@bar.com>
S: 250 *
C: RCPT TO:<pat@foo.edu>
S: 250 *
C: RCPT TO:<jones@foo.edu>
S: 550 *
C: RCPT TO:<green@foo.edu>
S: 250 *
C: DATA
S: 354 *
C: Blah blah blah...
C: ...etc. etc. etc.
C: .
S: 250 *
S: 250 *
C: QUIT
S: 221 *
END
