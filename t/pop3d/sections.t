# One transcript for each section that commands.def and capabilities.def name (t/lib/transcript.py says how to read them). The mailbox of $USER holds two
# messages. Limits and hostile cases are in test_login.py and test_mail.py.

== RFC 1939 4: the greeting, QUIT before a login, what is not legal yet
@ POP3
S: +OK *
C: STAT
S: -ERR *
C: RETR 1
S: -ERR *
C: FROBNICATE
S: -ERR *
C: QUIT
S: +OK *
END

== RFC 1939 7: USER and PASS
@ POP3
S: +OK *
C: USER
S: -ERR *
C: PASS $PASSWORD
S: -ERR *
C: USER $USER
S: +OK*
C: PASS wrong
S: -ERR [AUTH] *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK Logged in*
C: USER $USER
S: -ERR *

== RFC 1939 5: STAT, LIST, RETR, DELE, NOOP, RSET
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: STAT
S: +OK 2 62
C: STAT 1
S: -ERR *
C: LIST
S: +OK*
S: 1 31
S: 2 31
S: .
C: LIST 2
S: +OK 2 31
C: LIST 3
S: -ERR *
C: RETR 1
S: +OK*
S: From: a@b
S: Subject: 1
S:
S: ..dot
S: .
C: RETR 0
S: -ERR *
C: DELE 1
S: +OK*
C: DELE 1
S: -ERR *
C: LIST 1
S: -ERR *
C: STAT
S: +OK 1 31
C: NOOP
S: +OK*
C: RSET
S: +OK*
C: STAT
S: +OK 2 62

== RFC 1939 6: only QUIT deletes
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: DELE 1
S: +OK*
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: STAT
S: +OK 2 62
C: DELE 1
S: +OK*
C: QUIT
S: +OK*
END
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: STAT
S: +OK 1 31

== RFC 1939 7: TOP and UIDL
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: TOP 1 0
S: +OK*
S: From: a@b
S: Subject: 1
S:
S: .
C: TOP 1
S: -ERR *
C: TOP 1 9
S: +OK*
S: From: a@b
S: Subject: 1
S:
S: ..dot
S: .
C: UIDL 1
S: +OK 1 *
C: UIDL
S: +OK*
S: 1 *
S: 2 *
S: .
C: DELE 1
S: +OK*
C: UIDL
S: +OK*
S: 2 *
S: .

== RFC 2449 5: CAPA in both states
@ POP3
S: +OK *
C: CAPA
S: +OK*
S~ TOP
S~ STLS
S~ USER
S~ .
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: CAPA
S: +OK*
S~ UIDL
S~ IMPLEMENTATION Postern
S: .

== RFC 2449: what CAPA says has an effect
@ POP3
S: +OK *
C: CAPA
S: +OK*
S~ CAPA
S~ RESP-CODES
S~ .

== RFC 2449 6.5: LOGIN-DELAY is not announced while there is none
@ POP3
S: +OK *
C: CAPA
S: +OK*
S: CAPA
S: TOP
S: UIDL
S: RESP-CODES
S: AUTH-RESP-CODE
S: PIPELINING
S: EXPIRE NEVER
S: UTF8 USER
S: LANG
S: STLS
S: USER
S: SASL PLAIN LOGIN SCRAM-SHA-256
S: .

== RFC 2449 6.6: PIPELINING
@ POP3
S: +OK *
C: USER $USER
C: PASS $PASSWORD
C: STAT
C: DELE 2
C: LIST
C: QUIT
S: +OK*
S: +OK Logged in*
S: +OK 2 62
S: +OK*
S: +OK*
S: 1 31
S: .
S: +OK*
END

== RFC 2449 6.7: EXPIRE NEVER
@ POP3
S: +OK *
C: CAPA
S: +OK*
S~ EXPIRE NEVER
S~ .

== RFC 2449 6.9: IMPLEMENTATION is said to those who are logged in
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: CAPA
S: +OK*
S~ IMPLEMENTATION Postern
S~ .

== RFC 2595 4: STLS
@ POP3
S: +OK *
C: STLS now
S: -ERR *
C: STLS
S: +OK*
TLS
C: STLS
S: -ERR *
C: CAPA
S: +OK*
S: CAPA
S: TOP
S: UIDL
S: RESP-CODES
S: AUTH-RESP-CODE
S: PIPELINING
S: EXPIRE NEVER
S: UTF8 USER
S: LANG
S: USER
S: SASL PLAIN LOGIN SCRAM-SHA-256
S: .
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK Logged in*
C: STLS
S: -ERR *

== RFC 3206: the reason of a failure is in brackets
@ POP3
S: +OK *
C: CAPA
S: +OK*
S~ AUTH-RESP-CODE
S~ .
C: USER $USER
S: +OK*
C: PASS wrong
S: -ERR [AUTH] *

== RFC 5034 4: AUTH
@ POP3
S: +OK *
C: AUTH
S: +OK*
S: PLAIN
S: LOGIN
S: SCRAM-SHA-256
S: .
C: AUTH CRAM-MD5
S: -ERR *
C: AUTH PLAIN !!!
S: -ERR *
C: AUTH PLAIN
S: +*
C: *
S: -ERR *
C: AUTH PLAIN
S: +*
C: $PLAIN
S: +OK Logged in*
C: STAT
S: +OK 2 62

== RFC 6856 2: UTF8
@ POP3
S: +OK *
C: UTF8 now
S: -ERR *
C: UTF8
S: +OK*
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK Logged in*
C: UTF8
S: -ERR *

== RFC 6856 3: LANG
@ POP3
S: +OK *
C: LANG
S: +OK*
S~ .
C: LANG *
S: +OK *
C: LANG tlh
S: -ERR *

== RFC 1939 10: the example session, without APOP
@ POP3
S: +OK *
C: APOP mrose c4c9334bac560ecc979e58001b3e22fb
S: -ERR *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: STAT
S: +OK 2 62
C: LIST
S: +OK*
S: 1 31
S: 2 31
S: .
C: RETR 1
S: +OK*
S: From: a@b
S: Subject: 1
S:
S: ..dot
S: .
C: DELE 1
S: +OK*
C: RETR 2
S: +OK*
S~ .
C: DELE 2
S: +OK*
C: QUIT
S: +OK*
END

== RFC 1939 5, 7: numbers that are none, or gone
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: DELE 1
S: +OK*
C: RETR 1
S: -ERR *
C: LIST 1
S: -ERR *
C: TOP 1 1
S: -ERR *
C: UIDL 1
S: -ERR *
C: DELE 3
S: -ERR *
C: UIDL 3
S: -ERR *
C: TOP 3 1
S: -ERR *
C: TOP 2 -1
S: -ERR *
C: LIST -1
S: -ERR *
C: RETR 99999999999999999999
S: -ERR *
C: RETR
S: -ERR *
C: DELE
S: -ERR *
C: NOOP x
S: -ERR *
C: LIST
S: +OK*
S: 2 31
S: .

== RFC 5034 4: an initial response, an empty one, one that is cancelled
@ POP3
S: +OK *
C: AUTH PLAIN =
S: -ERR *
C: AUTH PLAIN $PLAIN more
S: -ERR *
C: AUTH LOGIN
S: + *
C: *
S: -ERR *
C: AUTH PLAIN $PLAIN
S: +OK Logged in*
C: AUTH PLAIN
S: -ERR *

== RFC 6856 3: languages: one, which stays when another is asked for
@ POP3
S: +OK *
C: USER $USER
S: +OK*
C: PASS $PASSWORD
S: +OK *
C: LANG MUL
S: -ERR *
C: LANG
S: +OK*
S: en *
S~ .
C: LANG uga
S: -ERR *
C: LANG *
S: +OK *
C: LANG en more
S: -ERR *
