# One transcript for each section that front.def, commands.def and extensions.def name (t/lib/transcript.py says how to read them), where no other file here
# names it. Without "@" a transcript begins after the login of a user whose INBOX holds two messages.

== RFC 3501 6.1.1: CAPABILITY before and after login
@ IMAP
S: * OK [CAPABILITY IMAP4rev1 *STARTTLS*] *
C: a CAPABILITY
S: * CAPABILITY IMAP4rev1 * STARTTLS* AUTH=PLAIN*
S: a OK *
C: b CAPABILITY now
S: b BAD *
C: c LOGIN $USER $PASSWORD
S: c OK [CAPABILITY IMAP4rev1 *] *
C: d CAPABILITY
S: * CAPABILITY IMAP4rev1 * MOVE *
S: d OK *

== RFC 3501 6.1.2: NOOP
@ IMAP
S: * OK *
C: a NOOP
S: a OK *
C: b LOGIN $USER $PASSWORD
S: b OK *
C: c NOOP
S: c OK *
C: d NOOP x
S: d BAD *

== RFC 3501 6.1.3: LOGOUT
@ IMAP
S: * OK *
C: a LOGOUT
S: * BYE *
S: a OK *
END
@ IMAP
S: * OK *
C: a LOGIN $USER $PASSWORD
S: a OK *
C: b LOGOUT
S: * BYE *
S: b OK *
END

== RFC 2971: ID, before and after login
@ IMAP
S: * OK *
C: a ID NIL
S: * ID ("name" "Postern"*)
S: a OK *
C: b ID ("name" "test" "version" NIL)
S: * ID (*
S: b OK *
C: c LOGIN $USER $PASSWORD
S: c OK *
C: d ID ("name" "test")
S: * ID (*
S: d OK *
C: e ID name
S: e BAD *

== RFC 3501 6.2.1: STARTTLS
@ IMAP
S: * OK *
C: a STARTTLS now
S: a BAD *
C: b STARTTLS
S: b OK *
TLS
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 * AUTH=PLAIN*
S: c OK *
C: d STARTTLS
S: d BAD *
C: e LOGIN $USER $PASSWORD
S: e OK *

== RFC 3501 6.2.2: AUTHENTICATE
@ IMAP
S: * OK *
C: a AUTHENTICATE CRAM-MD5
S: a NO *
C: b AUTHENTICATE PLAIN
S: + *
C: *
S: b BAD *
C: c AUTHENTICATE PLAIN
S: + *
C: !!!
S: c BAD *
C: d AUTHENTICATE PLAIN
S: + *
C: $PLAIN
S: d OK [CAPABILITY *] *
C: e AUTHENTICATE PLAIN
S: e BAD *

== RFC 3501 6.2.3: LOGIN
@ IMAP
S: * OK *
C: a LOGIN $USER
S: a BAD *
C: b LOGIN $USER wrong
S: b NO [AUTHENTICATIONFAILED] *
C: c LOGIN "$USER" {14}
S: + *
C: $PASSWORD
S: c OK *
C: d LOGIN $USER $PASSWORD
S: d BAD *

== RFC 7888: literals that wait for nothing
@ IMAP
S: * OK [CAPABILITY * LITERAL+ *
C: a LOGIN $USER {14+}
C: $PASSWORD
S: a OK *
C: b APPEND INBOX {10+}
C: Subject: x
S: b OK *

== RFC 5161: ENABLE
C: a ENABLE CONDSTORE NONSENSE
S: * ENABLED CONDSTORE
S: a OK *
C: b ENABLE
S: b BAD *
C: c ENABLE NONSENSE
S: * ENABLED
S: c OK *

== RFC 3501 6.3.1: SELECT
C: a SELECT nowhere
S: a NO *
C: b SELECT INBOX
S~ * FLAGS (\Answered \Flagged \Deleted \Seen \Draft*)
S~ * 2 EXISTS
S~ b OK [READ-WRITE] *
C: c SELECT nowhere
S: * OK [CLOSED] *
S: c NO *
C: d FETCH 1 FLAGS
S: d BAD *

== RFC 3501 6.3.2: EXAMINE
C: a EXAMINE INBOX
S~ * 2 EXISTS
S~ a OK [READ-ONLY] *
C: b STORE 1 +FLAGS (\Deleted)
S: b NO *
C: c FETCH 1 BODY[TEXT]
S: * 1 FETCH (BODY[TEXT] {8}
S: body 1
S: )
S: c OK *
C: d FETCH 1 FLAGS
S: * 1 FETCH (FLAGS (*))
S: d OK *

== RFC 3501 6.3.3: CREATE
C: a CREATE one/two
S: a OK *
C: b CREATE one/two
S: b NO [ALREADYEXISTS] *
C: c CREATE INBOX
S: c NO *
C: d LIST "" one*
S~ * LIST (*) "/" one/two
S~ d OK *

== RFC 3501 6.3.4: DELETE
C: a CREATE gone
S: a OK *
C: b DELETE gone
S: b OK *
C: c DELETE gone
S: c NO [NONEXISTENT] *
C: d DELETE INBOX
S: d NO *
C: e SELECT gone
S: e NO [NONEXISTENT] No such mailbox.
C: f STATUS gone (MESSAGES)
S: f NO [NONEXISTENT] No such mailbox.

== RFC 3501 6.3.5: RENAME
C: a CREATE old/sub
S: a OK *
C: b RENAME old new
S: b OK *
C: c STATUS new/sub (MESSAGES)
S: * STATUS new/sub (MESSAGES 0)
S: c OK *
C: d RENAME old new2
S: d NO [NONEXISTENT] *
C: e RENAME INBOX kept
S: e OK *
C: f STATUS kept (MESSAGES)
S: * STATUS kept (MESSAGES 2)
S: f OK *
C: g STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S: g OK *

== RFC 3501 6.3.6: SUBSCRIBE; RFC 3501 6.3.7: UNSUBSCRIBE; RFC 3501 6.3.9: LSUB
C: a CREATE wanted
S: a OK *
C: b SUBSCRIBE wanted
S: b OK *
C: c LSUB "" wanted
S: * LSUB (*) "/" wanted
S: c OK *
C: d DELETE wanted
S: d OK *
C: e LSUB "" wanted
S: * LSUB (*) "/" wanted
S: e OK *
C: f UNSUBSCRIBE wanted
S: f OK *
C: g LSUB "" wanted
S: g OK *

== RFC 3501 6.3.8: LIST
C: a LIST "" ""
S: * LIST (\Noselect) "/" ""
S: a OK *
C: b LIST "" INBOX
S: * LIST (*) "/" INBOX
S: b OK *
C: c LIST "nowhere/" *
S: c OK *
C: d LIST ""
S: d BAD *

== RFC 5258: LIST with selection and return options
C: a CREATE parent/child
S: a OK *
C: b SUBSCRIBE parent/child
S: b OK *
C: c LIST (SUBSCRIBED) "" parent* RETURN (CHILDREN)
S: * LIST (*\Subscribed*) "/" parent/child
S: c OK *
C: d LIST (SUBSCRIBED RECURSIVEMATCH) "" parent%
S: * LIST (*) "/" parent ("CHILDINFO" ("SUBSCRIBED"))
S: d OK *
C: e LIST "" (INBOX parent/%)
S~ * LIST (*) "/" parent/child
S~ e OK *
C: f LIST (RECURSIVEMATCH) "" *
S: f BAD *

== RFC 3348: CHILDREN
C: a CREATE parent/child
S: a OK *
C: b LIST "" parent
S: * LIST (*\HasChildren*) "/" parent
S: b OK *
C: c LIST "" parent/child
S: * LIST (*\HasNoChildren*) "/" parent/child
S: c OK *

== RFC 3501 6.3.10: STATUS
C: a STATUS INBOX (MESSAGES UIDNEXT UNSEEN)
S: * STATUS INBOX (MESSAGES 2 UIDNEXT 3 UNSEEN 2)
S: a OK *
C: b STATUS nowhere (MESSAGES)
S: b NO *
C: c STATUS INBOX
S: c BAD *
C: d STATUS INBOX (NONSENSE)
S: d BAD *

== RFC 2342: NAMESPACE
C: a NAMESPACE
S: * NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))
S: a OK *

== RFC 3502: several messages in one APPEND, all or none
C: a APPEND INBOX (\Seen) {10+}
C: Subject: x {10+}
C: Subject: y
S: a OK [APPENDUID * 3:4] *
C: b STATUS INBOX (MESSAGES UNSEEN)
S: * STATUS INBOX (MESSAGES 4 UNSEEN 3)
S: b OK *
C: c APPEND nowhere {10+}
C: Subject: x {10+}
C: Subject: y
S: c NO [TRYCREATE] *

== RFC 7889: APPENDLIMIT
C: a STATUS INBOX (APPENDLIMIT)
S: * STATUS INBOX (APPENDLIMIT 20971520)
S: a OK *
C: b APPEND INBOX {20971521}
S: b NO [TOOBIG] *

== RFC 9208: QUOTA; RFC 9208 4.1.2: GETQUOTA; RFC 9208 4.1.3: GETQUOTAROOT; RFC 9208 4.1.1: SETQUOTA
C: a GETQUOTAROOT INBOX
S: * QUOTAROOT INBOX*
S~ a OK *
C: b GETQUOTA nowhere
S: b NO *
C: c SETQUOTA "" (STORAGE 1)
S: c NO *

== RFC 5464: METADATA; RFC 5464 4.2: GETMETADATA; RFC 5464 4.3: SETMETADATA
C: a SETMETADATA INBOX (/private/comment "mine")
S: a OK *
C: b GETMETADATA INBOX /private/comment
S: * METADATA INBOX (/private/comment *mine*)
S: b OK *
C: c SETMETADATA INBOX (/private/comment NIL)
S: c OK *
C: d GETMETADATA INBOX /private/comment
S: * METADATA INBOX (/private/comment NIL)
S: d OK *
C: e GETMETADATA nowhere /private/comment
S: e NO *

== RFC 4314 3.1: SETACL; RFC 4314 3.2: DELETEACL; RFC 4314 3.3: GETACL
C: a CREATE team
S: a OK *
C: b SETACL team bob@example.com lrs
S: b OK *
C: c GETACL team
S: * ACL team $USER lrswipkxteacd bob@example.com lrs
S: c OK *
C: d SETACL team bob@example.com -s
S: d OK *
C: e GETACL team
S: * ACL team $USER lrswipkxteacd bob@example.com lr
S: e OK *
C: f DELETEACL team bob@example.com
S: f OK *
C: g GETACL team
S: * ACL team $USER lrswipkxteacd
S: g OK *
C: h SETACL team bob@example.com Q
S: h BAD *

== RFC 4314 3.4: LISTRIGHTS; RFC 4314 3.5: MYRIGHTS
C: a MYRIGHTS INBOX
S: * MYRIGHTS INBOX lrswipkxtea*
S: a OK *
C: b LISTRIGHTS INBOX bob@example.com
S: * LISTRIGHTS INBOX bob@example.com "" *
S: b OK *

== RFC 4314 2.1.1: the examples: what the rights of RFC 2086 stand for, and that they are shown
C: A000 CREATE INBOX/Drafts
S: A000 OK *
C: A001 SeTacl INBOX/Drafts David lrswida
S: A001 OK *
C: A002 getacl INBOX/Drafts
S: * ACL INBOX/Drafts $USER lrswipkxteacd david lrswitead
S: A002 OK *
C: A003 DELETEACL INBOX/Drafts David
S: A003 OK *
C: A004 Setacl INBOX/Drafts Byron lrswikda
S: A004 OK *
C: A005 getAcl INBOX/Drafts
S: * ACL INBOX/Drafts $USER lrswipkxteacd byron lrswikteacd
S: A005 OK *

== RFC 4314 3.1: the examples: rights added, rights that are none
C: A000 CREATE INBOX/Drafts
S: A000 OK *
C: A000 SETACL INBOX/Drafts Chris lrswi
S: A000 OK *
C: A001 GETACL INBOX/Drafts
S: * ACL INBOX/Drafts $USER lrswipkxteacd chris lrswi
S: A001 OK *
C: A002 SETACL INBOX/Drafts Chris +cda
S: A002 OK *
C: A003 GETACL INBOX/Drafts
S: * ACL INBOX/Drafts $USER lrswipkxteacd chris lrswikxteacd
S: A003 OK *
C: A035 SETACL INBOX/Drafts John lrQswicda
S: A035 BAD *
C: A036 SETACL INBOX/Drafts John lrqswicda
S: A036 BAD *
C: A037 GETACL INBOX/Drafts
S: * ACL INBOX/Drafts $USER lrswipkxteacd chris lrswikxteacd
S: A037 OK *

== RFC 4314 3.2: the example: an identifier and its negative are two entries; there are no groups here
C: B000 SETACL INBOX Fred rwipslxetad
S: B000 OK *
C: B000 SETACL INBOX -Fred wetd
S: B000 OK *
C: B000 SETACL INBOX $$team w
S: B000 NO [CANNOT] *
C: B001 getacl INBOX
S: * ACL INBOX $USER lrswipkxteacd fred lrswipxteacd -fred wted
S: B001 OK *
C: B002 DeleteAcl INBOX Fred
S: B002 OK *
C: B003 GETACL INBOX
S: * ACL INBOX $USER lrswipkxteacd -fred wted
S: B003 OK *

== RFC 4314 3.3: the example; RFC 4314 3.5: the example
C: A002 GETACL INBOX
S: * ACL INBOX $USER lrswipkxteacd
S: A002 OK *
C: A003 MYRIGHTS INBOX
S: * MYRIGHTS INBOX lrswipkxteacd
S: A003 OK *

== RFC 4314 3.4: the examples: nothing is granted to all, nothing is tied
C: a000 CREATE Mail/saved
S: a000 OK *
C: a001 LISTRIGHTS Mail/saved smith
S: * LISTRIGHTS Mail/saved smith "" l r s w i p k x t e a c d
S: a001 OK *
C: a005 listrights Mail/saved anyone
S: * LISTRIGHTS Mail/saved anyone "" l r s w i p k x t e a c d
S: a005 OK *
C: a006 LISTRIGHTS Mail/saved Smith
S: * LISTRIGHTS Mail/saved Smith "" l r s w i p k x t e a c d
S: a006 OK *
C: a007 LISTRIGHTS archive/imap anyone
S: a007 NO *

== RFC 4978: COMPRESS
C: a COMPRESS ZSTD
S: a BAD *
C: b COMPRESS
S: b BAD *
C: c CAPABILITY
S: * CAPABILITY * COMPRESS=DEFLATE *
S: c OK *
C: d COMPRESS DEFLATE
S: d OK *

== RFC 2177: IDLE
C: a SELECT INBOX
S~ a OK *
C: b IDLE
S: + *
C: DONE
S: b OK *
C: c IDLE
S: + *
C: NOOP
S: c BAD *

== RFC 3501 6.4.1: CHECK
C: a CHECK
S: a BAD *
C: b SELECT INBOX
S~ b OK *
C: c CHECK
S: c OK *

== RFC 3501 6.4.2: CLOSE removes what is deleted and tells nothing of it
C: a SELECT INBOX
S~ a OK *
C: b STORE 1 +FLAGS.SILENT (\Deleted)
S: b OK *
C: c CLOSE
S: c OK *
C: d CLOSE
S: d BAD *
C: e STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 1)
S: e OK *

== RFC 3691: UNSELECT removes nothing
C: a SELECT INBOX
S~ a OK *
C: b STORE 1 +FLAGS.SILENT (\Deleted)
S: b OK *
C: c UNSELECT
S: c OK *
C: d STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 2)
S: d OK *

== RFC 3501 6.4.3: EXPUNGE
C: a SELECT INBOX
S~ a OK *
C: b STORE 1:2 +FLAGS.SILENT (\Deleted)
S: b OK *
C: c UID EXPUNGE 2
S: * 2 EXPUNGE
S: c OK *
C: d EXPUNGE
S: * 1 EXPUNGE
S: d OK *

== RFC 3501 6.4.6: STORE
C: a SELECT INBOX
S~ a OK *
C: b STORE 1 FLAGS (\Seen custom)
S: * FLAGS (*custom*)
S~ * 1 FETCH (FLAGS (*\Seen*custom*))
S: b OK *
C: c STORE 1 -FLAGS (\Seen)
S: * 1 FETCH (FLAGS (*custom*))
S: c OK *
C: d STORE 1 +FLAGS.SILENT (\Flagged)
S: d OK *
C: e STORE 9 FLAGS (\Seen)
S: e BAD *
C: f STORE 1 FLAGS (\Nonsense)
S: f BAD *

== RFC 6851: MOVE
C: a SELECT INBOX
S~ a OK *
C: b MOVE 1 nowhere
S: b NO [TRYCREATE] *
C: c MOVE 1 Archive
S: * OK [COPYUID * 1 1] *
S: * 1 EXPUNGE
S: c OK *
C: d STATUS Archive (MESSAGES)
S: * STATUS Archive (MESSAGES 1)
S: d OK *

== RFC 5032: WITHIN
C: a SELECT INBOX
S~ a OK *
C: b SEARCH YOUNGER 1
S: * SEARCH
S: b OK *
C: c SEARCH OLDER 1
S: * SEARCH 1 2
S: c OK *
C: d SEARCH OLDER 0
S: d BAD *

== RFC 5182: the result that is kept
C: a SELECT INBOX
S~ a OK *
C: b SEARCH RETURN (SAVE) SUBJECT "message 2"
S: b OK *
C: c FETCH $ UID
S: * 2 FETCH (UID 2)
S: c OK *

== RFC 8514: SAVEDATE
C: a SELECT INBOX
S~ a OK *
C: b FETCH 1 SAVEDATE
S: * 1 FETCH (SAVEDATE "*")
S: b OK *
C: c SEARCH SAVEDATESUPPORTED
S: * SEARCH 1 2
S: c OK *

== RFC 8474: OBJECTID
C: a SELECT INBOX
S~ * OK [MAILBOXID (*)] *
S~ a OK *
C: b FETCH 1 (EMAILID THREADID)
S: * 1 FETCH (EMAILID (*) THREADID *)
S: b OK *
C: c STATUS INBOX (MAILBOXID)
S: * STATUS INBOX (MAILBOXID (*))
S: c OK *

== RFC 5267 4.3.2: CANCELUPDATE
C: a SELECT INBOX
S~ a OK *
C: b SEARCH RETURN (ALL UPDATE) ALL
S: * ESEARCH (TAG "b") ALL 1:2
S: b OK *
C: c CANCELUPDATE "b"
S: c OK *
C: d CANCELUPDATE "b"
S: d *

== RFC 9394: PARTIAL
C: a SELECT INBOX
S~ a OK *
C: b SEARCH RETURN (PARTIAL -1:-1) ALL
S: * ESEARCH (TAG "b") PARTIAL (-1:-1 2)
S: b OK *
C: c UID FETCH 1:* (UID) (PARTIAL 1:1)
S: * 1 FETCH (UID 1)
S: c OK *

== RFC 7377: searches in folders that are not selected
C: a ESEARCH IN (mailboxes INBOX) RETURN (ALL) SUBJECT "message 2"
S: * ESEARCH (TAG "a" MAILBOX INBOX UIDVALIDITY *) UID ALL 2
S: a OK *
C: b ESEARCH IN (nonsense) ALL
S: b BAD *

== RFC 8970: PREVIEW
C: a SELECT INBOX
S~ a OK *
C: b FETCH 1 PREVIEW
S: * 1 FETCH (PREVIEW "body 1")
S: b OK *

== RFC 6855: UTF8=ACCEPT
C: a CREATE "grüße"
S: a *
C: b ENABLE UTF8=ACCEPT
S: * ENABLED UTF8=ACCEPT
S: b OK *
C: c CREATE "tschüß"
S: c OK *
C: d LIST "" "tsch*"
S: * LIST (*) "/" "tschüß"
S: d OK *

== RFC 5255: I18NLEVEL=1: i;unicode-casemap decides what is found
C: a SELECT INBOX
S~ a OK *
C: b APPEND INBOX {16+}
C: Subject: GRÜSSE
S~ b OK *
C: c SEARCH CHARSET UTF-8 SUBJECT {7+}
C: grüsse
S: * SEARCH 3
S: c OK *
