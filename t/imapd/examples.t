# The examples of the standards, in their order, with this server's answers where a standard leaves a choice; the form is that of sections.t. What takes more
# than a transcript to set up (mail for SORT and THREAD, mod-sequences, quotas) is in the test_*.py beside it.

== RFC 3691 2: UNSELECT
C: A340 UNSELECT
S: A340 BAD *
C: A341 SELECT INBOX
S~ A341 OK *
C: A342 UNSELECT now
S: A342 BAD *
C: A343 UNSELECT
S: A343 OK *
C: A344 FETCH 1 FLAGS
S: A344 BAD *

== RFC 5161 3.1: what is announced stays so; what cannot be enabled is not answered
C: t1 CAPABILITY
S: * CAPABILITY * ENABLE *
S: t1 OK *
C: t2 ENABLE CONDSTORE X-GOOD-IDEA
S: * ENABLED CONDSTORE
S: t2 OK *
C: t3 CAPABILITY
S: * CAPABILITY * CONDSTORE *
S: t3 OK *
C: a1 ENABLE CONDSTORE
S: * ENABLED CONDSTORE
S: a1 OK *
C: a2 ENABLE IDLE
S: * ENABLED
S: a2 OK *
C: a3 ENABLE CONDSTORE (
S: a3 BAD *

== RFC 2342 5: the folders of others are asked for by name
C: A001 NAMESPACE
S: * NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))
S: A001 OK *
C: A002 LIST "" "Other/%"
S: A002 OK *
C: A003 CREATE "Other/mike@example.com/new"
S: A003 NO *
C: A004 NAMESPACE all
S: A004 BAD *

== RFC 3502 6.3.11: two messages, each with flags and date of its own
C: A000 CREATE saved-messages
S: A000 OK *
C: A003 APPEND saved-messages (\Seen) {}
L: Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
L: From: Fred Foobar <foobar@Blurdybloop.example.COM>
L: Subject: afternoon meeting
L: To: mooch@owatagu.example.net
L:
L: Hello Joe, do you think we can meet at 3:30 tomorrow?
C:  (\Answered) " 7-Feb-1994 22:43:04 -0800" {}
L: Date: Mon, 7 Feb 1994 22:43:04 -0800 (PST)
L: From: Joe Mooch <mooch@OWaTaGu.example.net>
L: Subject: Re: afternoon meeting
L:
L: 3:30 is fine with me.
C:
S: A003 OK [APPENDUID * 1:2] *
C: A004 APPEND bogusname (\Flagged) {1023}
S: A004 NO [TRYCREATE] *
C: A005 EXAMINE saved-messages
S~ A005 OK *
C: A006 FETCH 2 (FLAGS INTERNALDATE)
S: * 2 FETCH (FLAGS (\Answered*) INTERNALDATE " 8-Feb-1994 06:43:04 +0000")
S: A006 OK *
# a second one that is refused takes the first along
C: A007 APPEND saved-messages (\Flagged) {+}
L: Subject: hmm...
C:  {20971521}
S: A007 NO [TOOBIG] *
C: A008 STATUS saved-messages (MESSAGES)
S: * STATUS saved-messages (MESSAGES 2)
S: A008 OK *

== RFC 4315 2.1: UID EXPUNGE takes those of the set that are \Deleted, and no others
C: A000 APPEND INBOX {+}
L: Subject: three
C:
S: A000 OK [APPENDUID * 3] *
C: A001 SELECT INBOX
S~ A001 OK *
C: A002 STORE 2:3 +FLAGS.SILENT (\Deleted)
S: A002 OK *
C: A003 UID EXPUNGE 1:2
S: * 2 EXPUNGE
S: A003 OK *
C: A004 UID EXPUNGE
S: A004 BAD *
C: A005 UID EXPUNGE 3000:3002
S: A005 OK *

== RFC 4315 3: COPYUID, and nothing to copy
C: A000 CREATE meeting
S: A000 OK *
C: A001 SELECT INBOX
S~ A001 OK *
C: A004 COPY 1:2 meeting
S: A004 OK [COPYUID * 1:2 1:2] *
C: A005 UID COPY 305:310 meeting
S: A005 OK No messages found.
C: A006 COPY 2 funny
S: A006 NO [TRYCREATE] *
C: A007 COPY 3 meeting
S: A007 BAD *

== RFC 5258 5: examples 1 to 3, 6: what is subscribed to, and what has children
C: 1 CREATE Fruit/Apple
S: 1 OK *
C: 2 CREATE Fruit/Banana
S: 2 OK *
C: 3 CREATE Tofu
S: 3 OK *
C: 4 CREATE Vegetable/Broccoli
S: 4 OK *
C: 5 SUBSCRIBE Fruit/Banana
S: 5 OK *
C: 6 SUBSCRIBE Fruit/Peach
S: 6 OK *
C: 7 SUBSCRIBE Vegetable
S: 7 OK *
C: A02 LIST (SUBSCRIBED) "" ("Fruit*" "Vege*" "Tofu")
S: * LIST (\HasNoChildren \Subscribed) "/" Fruit/Banana
S: * LIST (\NonExistent \HasNoChildren \Subscribed) "/" Fruit/Peach
S: * LIST (\HasChildren \Subscribed) "/" Vegetable
S: A02 OK *
C: A03 LIST () "" ("Fruit%" "Tofu%") RETURN (CHILDREN)
S: * LIST (*\HasChildren) "/" Fruit
S: * LIST (\HasNoChildren) "/" Tofu
S: A03 OK *
C: A05 LIST (REMOTE SUBSCRIBED) "" "Fruit/*"
S: * LIST (\HasNoChildren \Subscribed) "/" Fruit/Banana
S: * LIST (\NonExistent \HasNoChildren \Subscribed) "/" Fruit/Peach
S: A05 OK *
C: A06 LIST (REMOTE) "" "Fruit/*" RETURN (SUBSCRIBED)
S: * LIST (\HasNoChildren) "/" Fruit/Apple
S: * LIST (\HasNoChildren \Subscribed) "/" Fruit/Banana
S: A06 OK *

== RFC 5258 5: examples 7, 8: several patterns; what is subscribed to below
C: 1 CREATE Foo/Bar
S: 1 OK *
C: 2 CREATE Foo/Baz
S: 2 OK *
C: 3 CREATE Moo
S: 3 OK *
C: BBB LIST "" ("INBOX" "Moo" "Foo/%")
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\HasNoChildren) "/" Foo/Bar
S: * LIST (\HasNoChildren) "/" Foo/Baz
S: * LIST (\HasNoChildren) "/" Moo
S: BBB OK *
C: B1 LIST (SUBSCRIBED RECURSIVEMATCH) "" "?oo"
S: B1 OK *
C: 4 SUBSCRIBE Foo/Baz
S: 4 OK *
C: C02 LIST (SUBSCRIBED) "" "Foo*"
S: * LIST (\HasNoChildren \Subscribed) "/" Foo/Baz
S: C02 OK *
C: C03 LIST (SUBSCRIBED) "" ("Foo" "Moo")
S: C03 OK *
# A2: Foo is no mailbox
C: C04 LIST (SUBSCRIBED RECURSIVEMATCH) "" ("Foo%" "Moo")
S: * LIST (*\HasChildren) "/" Foo ("CHILDINFO" ("SUBSCRIBED"))
S: C04 OK *
# A1
C: 5 SUBSCRIBE Foo
S: 5 OK *
C: C05 LIST (SUBSCRIBED RECURSIVEMATCH) "" ("Foo%" "Moo")
S: * LIST (*\HasChildren \Subscribed) "/" Foo ("CHILDINFO" ("SUBSCRIBED"))
S: C05 OK *
# C
C: 6 UNSUBSCRIBE Foo/Baz
S: 6 OK *
C: 7 SUBSCRIBE Moo
S: 7 OK *
C: C06 LIST (SUBSCRIBED RECURSIVEMATCH) "" ("Foo%" "Moo") RETURN (CHILDREN)
S: * LIST (*\HasChildren \Subscribed) "/" Foo
S: * LIST (\HasNoChildren \Subscribed) "/" Moo
S: C06 OK *

== RFC 5258 5: example 9: CHILDINFO is about those below that the pattern leaves out
C: 1 CREATE foo2/bar1
S: 1 OK *
C: 2 CREATE foo2/bar2
S: 2 OK *
C: 3 CREATE baz2/bar2
S: 3 OK *
C: 4 CREATE eps2/mamba
S: 4 OK *
C: 5 CREATE qux2/bar2
S: 5 OK *
C: 6 SUBSCRIBE foo2/bar1
S: 6 OK *
C: 7 SUBSCRIBE foo2/bar2
S: 7 OK *
C: 8 SUBSCRIBE baz2/bar2
S: 8 OK *
C: 9 SUBSCRIBE eps2
S: 9 OK *
C: 10 SUBSCRIBE eps2/mamba
S: 10 OK *
C: 11 SUBSCRIBE qux2/bar2
S: 11 OK *
C: D03 LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"
S: * LIST (\HasNoChildren \Subscribed) "/" baz2/bar2
S: * LIST (*\HasChildren \Subscribed) "/" eps2 ("CHILDINFO" ("SUBSCRIBED"))
S: * LIST (*\HasChildren) "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))
S: * LIST (\HasNoChildren \Subscribed) "/" foo2/bar2
S: * LIST (\HasNoChildren \Subscribed) "/" qux2/bar2
S: D03 OK *

== RFC 5258 5: example 10: a child that is no mailbox
C: 1 CREATE foo
S: 1 OK *
C: 2 SUBSCRIBE foo/bar
S: 2 OK *
C: a1 LIST "" ("foo" "foo/*")
S: * LIST (\HasNoChildren) "/" foo
S: a1 OK *
C: a2 LIST (SUBSCRIBED) "" "foo/*"
S: * LIST (\NonExistent \HasNoChildren \Subscribed) "/" foo/bar
S: a2 OK *
C: a3 LIST (SUBSCRIBED RECURSIVEMATCH) "" foo RETURN (CHILDREN)
S: * LIST (\HasNoChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))
S: a3 OK *

== RFC 5258 5: example 11, and options that are none
C: 1 CREATE music/rock
S: 1 OK *
C: a2 LIST () "" music%
S: * LIST (*\HasChildren) "/" music
S: a2 OK *
C: a3.1 LIST "" (music/rock)
S: * LIST (\HasNoChildren) "/" music/rock
S: a3.1 OK *
C: b1 LIST (FOO) "" *
S: b1 BAD *
C: b2 LIST "" * RETURN (FOO)
S: b2 BAD *
C: b3 LIST "" * RETURN SUBSCRIBED
S: b3 BAD *
C: b4 LIST "" () RETURN (SUBSCRIBED)
S: b4 BAD *

== RFC 6154 5: what mailboxes are for
C: t1 LIST "" "Se%"
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: t1 OK *
C: t2 LIST "" "%" RETURN (SPECIAL-USE)
S~ * LIST (*\Drafts) "/" Drafts
S~ t2 OK *
C: t3 LIST (SPECIAL-USE) "" ("Se%" "INBOX")
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: t3 OK *
C: t4 CREATE Everything (USE (\All))
S: t4 NO [USEATTR] *
C: t5 CREATE MySpecial (USE (\Drafts \Sent))
S: t5 NO [USEATTR] *
C: t6 CREATE MySpecial (USE (\Archive))
S: t6 OK *
C: t7 LIST "" MySpecial
S: * LIST (\HasNoChildren \Archive) "/" MySpecial
S: t7 OK *

== RFC 5819 3: STATUS with LIST, not of what cannot be selected
C: 1 CREATE bar/foo
S: 1 OK *
C: 2 DELETE bar
S: 2 *
C: A01 LIST "" (INBOX bar bar/%) RETURN (STATUS (MESSAGES UNSEEN))
S: * LIST (*) "/" INBOX
S: * STATUS INBOX (MESSAGES 2 UNSEEN 2)
S: * LIST (\NonExistent \HasChildren) "/" bar
S: * LIST (\HasNoChildren) "/" bar/foo
S: * STATUS bar/foo (MESSAGES 0 UNSEEN 0)
S: A01 OK *
C: 3 SUBSCRIBE bar/foo
S: 3 OK *
C: A02 LIST (SUBSCRIBED RECURSIVEMATCH) "" b% RETURN (STATUS (MESSAGES))
S: * LIST (\NonExistent \HasChildren) "/" bar ("CHILDINFO" ("SUBSCRIBED"))
S: A02 OK *
C: A03 LIST "" INBOX RETURN (STATUS)
S: A03 BAD *
C: A04 LIST "" INBOX RETURN (STATUS (FOO))
S: A04 BAD *

== RFC 8440 4: MYRIGHTS with LIST
C: 1 CREATE bar/foo
S: 1 OK *
C: 2 DELETE bar
S: 2 *
C: A01 LIST "" (INBOX bar) RETURN (MYRIGHTS)
S: * LIST (*) "/" INBOX
S: * MYRIGHTS INBOX lrswipkxteacd
S: * LIST (\NonExistent \HasChildren) "/" bar
S: A01 OK *
C: A02 LIST "" INBOX RETURN (MYRIGHTS (x))
S: A02 BAD *

== RFC 8438 3: SIZE is the sum of the messages' sizes
C: A01 STATUS INBOX (MESSAGES SIZE UIDNEXT)
S: * STATUS INBOX (MESSAGES 2 UIDNEXT 3 SIZE 236)
S: A01 OK *
C: A02 SELECT INBOX
S~ A02 OK *
C: A03 FETCH 1:* (RFC822.SIZE)
S: * 1 FETCH (RFC822.SIZE 118)
S: * 2 FETCH (RFC822.SIZE 118)
S: A03 OK *
C: A04 LIST "" INBOX RETURN (STATUS (MESSAGES SIZE))
S: * LIST (*) "/" INBOX
S: * STATUS INBOX (MESSAGES 2 SIZE 236)
S: A04 OK *

== RFC 7889 2, 3: APPENDLIMIT
C: t1 CAPABILITY
S: * CAPABILITY * APPENDLIMIT=20971520 *
S: t1 OK *
C: t2 STATUS INBOX (APPENDLIMIT)
S: * STATUS INBOX (APPENDLIMIT 20971520)
S: t2 OK *
C: t3 LIST "" INBOX RETURN (STATUS (APPENDLIMIT))
S: * LIST (*) "/" INBOX
S: * STATUS INBOX (APPENDLIMIT 20971520)
S: t3 OK *

== RFC 8474 4, 5.3, 6: identifiers of mailboxes and messages
C: 3 CREATE foo
S: 3 OK [MAILBOXID (F*)] *
C: 4 CREATE bar
S: 4 OK [MAILBOXID (F*)] *
C: 5 CREATE foo
S: 5 NO *
C: 27 SELECT "foo"
S~ * OK [MAILBOXID (F*)] *
S~ 27 OK [READ-WRITE] *
C: 6 STATUS foo (MAILBOXID)
S: * STATUS foo (MAILBOXID (F*))
S: 6 OK *
C: 8 RENAME foo renamed
S: 8 OK *
C: 9 STATUS renamed (MAILBOXID)
S: * STATUS renamed (MAILBOXID (F*))
S: 9 OK *
C: 11 LIST "" (bar) RETURN (STATUS (MAILBOXID))
S: * LIST (\HasNoChildren) "/" bar
S: * STATUS bar (MAILBOXID (F*))
S: 11 OK *
C: 21 SELECT INBOX
S~ 21 OK *
C: 22 FETCH 1:* (EMAILID THREADID)
S: * 1 FETCH (EMAILID (M*) THREADID NIL)
S: * 2 FETCH (EMAILID (M*) THREADID NIL)
S: 22 OK *
C: 28 SEARCH EMAILID M6d99ac3275bb4e
S: * SEARCH
S: 28 OK *
C: 29 SEARCH THREADID T64b478a75b7ea9
S: * SEARCH
S: 29 OK *
C: 30 SEARCH EMAILID
S: 30 BAD *

== RFC 8514 4: when a message was saved
C: A100 SELECT INBOX
S~ A100 OK *
C: A101 FETCH 1 (SAVEDATE)
S: * 1 FETCH (SAVEDATE "*-*-* *:*:* *")
S: A101 OK *
C: A102 SEARCH SAVEDON 28-Dec-2014
S: * SEARCH
S: A102 OK *
C: A103 SEARCH SAVEDSINCE 28-Dec-2014
S: * SEARCH 1 2
S: A103 OK *
C: A104 SEARCH SAVEDBEFORE 28-Dec-2014
S: * SEARCH
S: A104 OK *
C: A105 SEARCH SAVEDSINCE yesterday
S: A105 BAD *
C: A106 SEARCH SAVEDON
S: A106 BAD *

== RFC 5032 4: YOUNGER, OLDER
C: a0 SELECT INBOX
S~ a0 OK *
C: a1 SEARCH UNSEEN YOUNGER 4000000000
S: * SEARCH 1 2
S: a1 OK *
C: a2 SEARCH OLDER 0
S: a2 BAD *
C: a3 SEARCH YOUNGER -1
S: a3 BAD *

== RFC 4731 3.1: results of SEARCH
C: A280 SELECT INBOX
S~ A280 OK *
C: A281 STORE 1:2 +FLAGS.SILENT (\Flagged)
S: A281 OK *
C: A282 SEARCH RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"
S: * ESEARCH (TAG "A282") MIN 1 COUNT 2
S: A282 OK *
C: A283 SEARCH RETURN () FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"
S: * ESEARCH (TAG "A283") ALL 1:2
S: A283 OK *
C: A284 SEARCH RETURN (MIN) SINCE 1-Feb-1994 NOT FROM "Smith"
S: * ESEARCH (TAG "A284") MIN 1
S: A284 OK *
C: A285 UID SEARCH RETURN (MIN MAX) SINCE 1-Feb-1994 NOT FROM "Smith"
S: * ESEARCH (TAG "A285") UID MIN 1 MAX 2
S: A285 OK *
C: A286 SEARCH RETURN (MIN MAX ALL COUNT) FROM "Smith"
S: * ESEARCH (TAG "A286") COUNT 0
S: A286 OK *
C: A287 SEARCH RETURN (MOST) ALL
S: A287 BAD *
C: A288 SEARCH RETURN (MIN
S: A288 BAD *

== RFC 5182 2.2, 2.3, 2.4: the result that is kept, commands in one go
C: A280 SELECT INBOX
S~ A280 OK *
C: A281 STORE 2 +FLAGS.SILENT (\Flagged $$Junk)
S~ A281 OK *
C: A282 SEARCH RETURN (SAVE) FLAGGED SINCE 1-Feb-1994
C: A283 FETCH $$ (UID INTERNALDATE)
S: A282 OK *
S~ * 2 FETCH (UID 2 INTERNALDATE *)
S: A283 OK *
C: A300 SEARCH RETURN (SAVE) SINCE 1-Jan-2004
C: A301 UID SEARCH UID $$ SMALLER 4096
S: A300 OK *
S: * SEARCH 1 2
S: A301 OK *
C: P283 SEARCH CHARSET UTF-8 (OR $$ 1,2) TEXT {8+}
C: ÿÿÿÿ
S: * SEARCH
S: P283 OK *
C: B283 SEARCH RETURN (SAVE) CHARSET KOI8-R (OR $$ 1,2) TEXT {4+}
C: XXXX
S: B283 NO [BADCHARSET (US-ASCII UTF-8)] *
C: E283 COPY $$ "Sent"
S: E283 OK *
C: F282 SEARCH RETURN (SAVE) KEYWORD $$Junk
C: F283 COPY $$ "Junk"
C: F284 STORE $$ +FLAGS.Silent (\Deleted)
S: F282 OK *
S: F283 OK [COPYUID * 2 1] *
S: F284 OK *
C: G283 SEARCH RETURN (ALL) $$
S: * ESEARCH (TAG "G283") ALL 2
S: G283 OK *
C: C284 SEARCH RETURN (SAVE MIN) SINCE 12-Feb-2006
S: * ESEARCH (TAG "C284") MIN 1
S: C284 OK *
C: C285 SEARCH RETURN (COUNT) $$
S: * ESEARCH (TAG "C285") COUNT 1
S: C285 OK *

== RFC 5267 4.2, 4.3: a search that is kept up to date, refused where it cannot last
C: A00 SELECT INBOX
S~ A00 OK *
C: A01 SEARCH RETURN (CONTEXT COUNT) UNDELETED
S: * ESEARCH (TAG "A01") COUNT 2
S: A01 OK *
C: B01 UID SEARCH RETURN (UPDATE COUNT) DELETED
S: * ESEARCH (TAG "B01") UID COUNT 0
S: B01 OK *
& other
C: a SELECT INBOX
S~ a OK *
C: b STORE 1:2 +FLAGS.SILENT (\Deleted)
S: b OK *
& 
C: B02 NOOP
S: * 1 FETCH (FLAGS (*\Deleted*))
S: * 2 FETCH (FLAGS (*\Deleted*))
S: * ESEARCH (TAG "B01") UID ADDTO (0 1:2)
S: B02 OK *
& other
C: c STORE 1 -FLAGS.SILENT (\Deleted)
S: c OK *
C: d EXPUNGE
S: * 2 EXPUNGE
S: d OK *
& 
C: B03 NOOP
S~ * ESEARCH (TAG "B01") UID REMOVEFROM (0 2)
S: * 2 EXPUNGE
S: * 1 FETCH (FLAGS (*))
S: * ESEARCH (TAG "B01") UID REMOVEFROM (0 1)
S~ B03 OK *
C: B04 CANCELUPDATE "B01"
S: B04 OK *
C: B05 CANCELUPDATE "B01"
S: B05 NO *
C: B06 CANCELUPDATE
S: B06 BAD *
C: B07 UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL
S: * NO [NOUPDATE "B07"] *
S: * ESEARCH (TAG "B07") UID COUNT 1
S: B07 OK *

== RFC 9394 3: pieces of a result, counted from either end
C: A00 SELECT INBOX
S~ A00 OK *
C: A01 UID SEARCH RETURN (PARTIAL -1:-100) UNDELETED
S: * ESEARCH (TAG "A01") UID PARTIAL (-1:-100 1:2)
S: A01 OK *
C: A02 UID SEARCH RETURN (PARTIAL 2:500) UNDELETED
C: A03 UID SEARCH RETURN (PARTIAL 24000:24500) UNDELETED
S: * ESEARCH (TAG "A02") UID PARTIAL (2:500 2)
S: A02 OK *
S: * ESEARCH (TAG "A03") UID PARTIAL (24000:24500 NIL)
S: A03 OK *
C: A04 UID SEARCH RETURN (PARTIAL 1:2 ALL) UNDELETED
S: A04 BAD *
C: A05 UID SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) UNDELETED
S: A05 BAD *
C: 10 UID FETCH 1:26600 (UID) (PARTIAL -1:-1)
S: * 2 FETCH (UID 2)
S: 10 OK *
C: 11 UID FETCH 1:26600 (UID) (PARTIAL 0:5)
S: 11 BAD *
C: 101 UID FETCH 1:26600 (UID FLAGS) (PARTIAL -1:-3 CHANGEDSINCE 98305)
S~ 101 OK *

== RFC 7377 3: searches in several mailboxes
C: 1 CREATE folder1
S: 1 OK *
C: 2 CREATE folder2/banana
S: 2 OK *
C: 3 APPEND folder1 {+}
L: Subject: chad
C:
S: 3 OK *
C: 4 APPEND folder2/banana {+}
L: Subject: chad
C:  {+}
L: Subject: other
C:
S: 4 OK *
C: tag1 ESEARCH IN (mailboxes "folder1" subtree "folder2") UNSEEN
S: * ESEARCH (TAG "tag1" MAILBOX folder1 UIDVALIDITY *) UID ALL 1
S: * ESEARCH (TAG "tag1" MAILBOX folder2/banana UIDVALIDITY *) UID ALL 1:2
S: tag1 OK *
C: tag2 ESEARCH IN (mailboxes "folder1" subtree-one "folder2") SUBJECT "chad"
S: * ESEARCH (TAG "tag2" MAILBOX folder1 UIDVALIDITY *) UID ALL 1
S: * ESEARCH (TAG "tag2" MAILBOX folder2/banana UIDVALIDITY *) UID ALL 1
S: tag2 OK *
C: tag3 UID ESEARCH FROM "frobozz" 1:100
S: tag3 BAD *
C: tag4 ESEARCH IN (mailboxes "no such") ALL
S: tag4 OK *

== RFC 8508 3.2, 3.3, 4.2: REPLACE
C: A000 SELECT INBOX
S~ A000 OK *
C: A003 REPLACE 1 Drafts (\Seen \Draft) {}
L: From: Fritz Schmidt <fritz.ze@example.org>
L: Subject: happy new year !!
L:
L: Just saw the best fireworks show. Wish you were here.
C:
S: * OK [APPENDUID * 1] *
S: * 1 EXPUNGE
S: A003 OK *
C: A004 SELECT Drafts
S~ A004 OK *
C: A005 UID REPLACE 1 Drafts (\Seen \Draft) {+}
L: Subject: happy new year !!
L:
L: Hopefully next year you can join us.
C:
S: * OK [APPENDUID * 2] *
S~ A005 OK *
C: A011 UID REPLACE 2 Drafts CATENATE (TEXT {+}
L: To: Mitzy <miss.mitzy@example.org>
C:  URL "/Drafts/;UID=2")
S: * OK [APPENDUID * 3] *
S~ A011 OK *
C: A012 UID FETCH 3 BODY.PEEK[HEADER.FIELDS (TO SUBJECT)]
S: * 1 FETCH (UID 3 BODY[HEADER.FIELDS (TO SUBJECT)] {*}
S: To: Mitzy <miss.mitzy@example.org>
S: Subject: happy new year !!
S:
S: )
S: A012 OK *
C: A013 REPLACE 1 nowhere {1}
S: A013 NO [TRYCREATE] *
C: A014 REPLACE 2 Drafts {1+}
C: x
S: A014 BAD *
C: A015 UID REPLACE 77 Drafts {1+}
C: x
S: A015 NO [NONEXISTENT] *

== RFC 8970 3.2, 5: PREVIEW
C: A0 SELECT INBOX
S~ A0 OK *
C: A1 FETCH 1 (PREVIEW)
S: * 1 FETCH (PREVIEW "body 1")
S: A1 OK *
C: A2 FETCH 1 (RFC822.SIZE PREVIEW)
S: * 1 FETCH (RFC822.SIZE 118 PREVIEW "body 1")
S: A2 OK *
C: C2 SEARCH RETURN (SAVE) FROM "b.example"
C: C3 FETCH $$ (UID PREVIEW (LAZY))
S: C2 OK *
S: * 1 FETCH (UID 1 PREVIEW "body 1")
S: * 2 FETCH (UID 2 PREVIEW *)
S: C3 OK *
C: C4 UID FETCH 2 (PREVIEW)
S: * 2 FETCH (UID 2 PREVIEW "body 2")
S: C4 OK *
C: C5 FETCH 1 (PREVIEW (EAGER))
S: C5 BAD *

== RFC 9208 4: quotas: one root, which only the administrator sets
C: G0001 GETQUOTA "!partition/sda4"
S: G0001 NO [NONEXISTENT] *
C: G0002 GETQUOTAROOT INBOX
S: * QUOTAROOT INBOX ""
S~ G0002 OK *
C: G0003 GETQUOTAROOT comp.mail.mime
S: G0003 NO [NONEXISTENT] *
C: S0001 SETQUOTA "" (STORAGE 510)
S: S0001 NO [NOPERM] *
C: S0002 SETQUOTA "" STORAGE 510
S: S0002 BAD *
C: S0003 STATUS INBOX (MESSAGES DELETED DELETED-STORAGE)
S: * STATUS INBOX (MESSAGES 2 DELETED 0 DELETED-STORAGE 0)
S: S0003 OK *

== RFC 5464 4.2: GETMETADATA, also with its options where the standard's examples have them
C: 0 SETMETADATA "" (/shared/comment "Shared comment")
S: 0 OK *
C: 1 SETMETADATA INBOX (/private/comment "My own comment" /shared/comment "Shared comment")
S: 1 OK *
C: a GETMETADATA "" /shared/comment
S: * METADATA "" (/shared/comment "Shared comment")
S: a OK *
C: b GETMETADATA "INBOX" /private/comment
S: * METADATA INBOX (/private/comment "My own comment")
S: b OK *
C: c GETMETADATA "INBOX" (/shared/comment /private/comment)
S: * METADATA INBOX (/shared/comment "Shared comment" /private/comment "My own comment")
S: c OK *
C: d GETMETADATA "INBOX" (MAXSIZE 13) (/shared/comment /private/comment)
S: d OK [METADATA LONGENTRIES 14] *
C: e GETMETADATA (MAXSIZE 1024) INBOX /private/comment
S: * METADATA INBOX (/private/comment "My own comment")
S: e OK *
C: f SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM \"boss@example.com\"")
S: f OK *
C: g GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)
S: * METADATA INBOX (/private/filters/values/* "*" /private/filters/values/* "*")
S: g OK *
C: h GETMETADATA "INBOX" (DEPTH 1) (/private/filters)
S: h OK *
C: i GETMETADATA (DEPTH 0) "INBOX" (DEPTH 1) (/private/filters)
S: i BAD *
C: j GETMETADATA "INBOX" (DEEP 1) /private/filters
S: j BAD *

== RFC 5464 4.3: SETMETADATA
C: a SETMETADATA INBOX (/private/comment {}
L: My new comment across
L: two lines.
C: )
S: a OK *
C: b SETMETADATA INBOX (/private/comment NIL)
S: b OK *
C: c SETMETADATA INBOX (/private/comment "My new comment" /shared/comment "This one is for you!")
S: c OK *
C: d SETMETADATA nowhere (/private/comment "x")
S: d NO [NONEXISTENT] *
C: e SETMETADATA INBOX (/other/comment "x")
S: e BAD *

== RFC 4469, appendix A, examples 1 to 3: an attachment replaced, kept, removed
C: 1 APPEND Drafts {+}
L: Subject: About our holiday trip
L: MIME-Version: 1.0
L: Content-Type: multipart/mixed; boundary=x
L:
L: --x
L: Content-Type: text/plain
L:
L: Our travel agent has sent the updated schedule.
L: --x
L: Content-Type: application/x-zip-compressed
L: Content-Transfer-Encoding: base64
L:
L: UEsDBAo=
L: --x--
C:
S: 1 OK [APPENDUID * 1] *
C: A003 APPEND Drafts (\Seen \Draft $$MDNSent) CATENATE (URL "/Drafts/;UID=1/;section=HEADER" TEXT {}
L:
L: --x
C:  URL "/Drafts/;UID=1/;section=1.MIME" URL "/Drafts/;UID=1/;section=1" TEXT {}
L:
L: --x
C:  URL "/INBOX/;UID=2" TEXT {}
L:
L: --x--
C: )
S: A003 OK [APPENDUID * 2] *
C: 2 SELECT Drafts
S~ 2 OK *
C: 3 FETCH 2 (FLAGS BODY.PEEK[1])
S: * 2 FETCH (FLAGS (*\Seen*$$MDNSent*) BODY[1] {*}
S: Our travel agent has sent the updated schedule.)
S: 3 OK *
C: A004 UID STORE 1 +FLAGS.SILENT (\Deleted)
S: A004 OK *

== RFC 4469, appendix A, example 4: one wrong URL, and nothing is stored
C: A003 APPEND Sent (\Seen $$MDNSent) CATENATE (TEXT {}
L: Subject: Digest of the mailing list for today
C:  URL "/INBOX/;UID=1" TEXT {+}
L: --x
C:  URL "/INBOX/;UID=113330/;section=1.5.9" TEXT {+}
L: --x--
C: )
S: A003 NO [BADURL "/INBOX/;UID=113330/;section=1.5.9"] *
C: A004 STATUS Sent (MESSAGES)
S: * STATUS Sent (MESSAGES 0)
S: A004 OK *
C: A005 APPEND Sent CATENATE (TEXT {20971521}
S: A005 NO [TOOBIG] *

== RFC 3516 4: BINARY: contents as they are, and what cannot be decoded
C: 1 APPEND INBOX {+}
L: MIME-Version: 1.0
L: Content-Type: text/plain
L: Content-Transfer-Encoding: base64
L:
L: SGVsbG8=
C:  {+}
L: Content-Transfer-Encoding: x-odd
L:
L: ?
C:
S: 1 OK *
C: 2 SELECT INBOX
S~ 2 OK *
C: 3 FETCH 3 (BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[1]<1.3>)
S: * 3 FETCH (BINARY.SIZE[1] 5 BINARY[1] {5}
S: Hello BINARY[1]<1> {3}
S: ell)
S: 3 OK *
C: 4 FETCH 4 BINARY.PEEK[1]
S: * 4 FETCH (BINARY[1] NIL)
S: 4 NO [UNKNOWN-CTE] *
C: 5 FETCH 4 BINARY.SIZE[1]
S: * 4 FETCH (BINARY.SIZE[1] 0)
S: 5 NO [UNKNOWN-CTE] *
C: 6 FETCH 3 BINARY.SIZE[1]<0.1>
S: 6 BAD *

== RFC 6203 3, 4, 6: FUZZY, with scores
C: A0 SELECT INBOX
S~ A0 OK *
C: A1 SEARCH FUZZY (SUBJECT "2 message")
S: * SEARCH 2
S: A1 OK *
C: A2 SEARCH FUZZY SUBJECT message FROM a@b.example
S: * SEARCH 1 2
S: A2 OK *
C: B1 SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT "message"
S: * ESEARCH (TAG "B1") ALL 1:2 RELEVANCY (100 100)
S: B1 OK *
C: C1 SORT (RELEVANCY) UTF-8 FUZZY SUBJECT "message 1"
S: * SORT 1
S: C1 OK *
C: C3 SORT RETURN (PARTIAL 1:10) (RELEVANCY) UTF-8 FUZZY TEXT "message 1"
S: * ESEARCH (TAG "C3") PARTIAL (1:10 1)
S: C3 OK *

== RFC 5256 3: SORT and THREAD of what is not there
C: A281 SELECT INBOX
S~ A281 OK *
C: A282 SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994
S: * SORT 1 2
S: A282 OK *
C: A283 SORT (SUBJECT REVERSE DATE) UTF-8 ALL
S: * SORT 1 2
S: A283 OK *
C: A284 SORT (SUBJECT) US-ASCII TEXT "not in mailbox"
S: * SORT
S: A284 OK *
C: A285 THREAD ORDEREDSUBJECT UTF-8 SINCE 5-MAR-2000
S: * THREAD (1)(2)
S: A285 OK *
C: A286 THREAD ORDEREDSUBJECT US-ASCII TEXT "gewp"
S: * THREAD
S: A286 OK *
C: A287 SORT (SUBJECT) KOI8-R ALL
S: A287 NO [BADCHARSET (US-ASCII UTF-8)] *
C: A288 THREAD NONSENSE UTF-8 ALL
S: A288 BAD *

== RFC 5267 3.3: ESORT keeps the order
C: E00 SELECT INBOX
S~ E00 OK *
C: E01 UID SORT RETURN () (REVERSE DATE) UTF-8 UNDELETED
S: * ESEARCH (TAG "E01") UID ALL 2,1
S: E01 OK *
C: E02 SORT RETURN (FOO) (DATE) UTF-8 ALL
S: E02 BAD *

== RFC 5957 3: names as they are shown
C: 1 SELECT INBOX
S~ 1 OK *
C: 2 SORT (DISPLAYFROM REVERSE DISPLAYTO) UTF-8 ALL
S: * SORT 1 2
S: 2 OK *
C: 3 SORT (DISPLAYCC) UTF-8 ALL
S: 3 BAD *

== RFC 6855 3, 4: UTF8=ACCEPT has to be enabled
C: 1 APPEND INBOX UTF8 (~{+}
L: Subject: grüße
C: )
S: 1 BAD *
C: 2 ENABLE UTF8=ACCEPT
S: * ENABLED UTF8=ACCEPT
S: 2 OK *
C: 3 APPEND INBOX UTF8 (~{+}
L: Subject: grüße
C: )
S: 3 OK [APPENDUID * 3] *
C: 4 SELECT INBOX
S~ 4 OK *
C: 5 FETCH 3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]
S: * 3 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {20}
S: Subject: grüße
S:
S: )
S: 5 OK *
C: 6 SEARCH CHARSET UTF-8 ALL
S: 6 BAD *
C: 7 SEARCH SUBJECT "grüße"
S: * SEARCH 3
S: 7 OK *

== RFC 9585 4: a command that is over at once tells of no progress
C: 1 SELECT INBOX
S~ 1 OK *
C: 2 SEARCH TEXT "nowhere"
S: * SEARCH
S: 2 OK *

== RFC 4978 3: COMPRESS once
C: a COMPRESS GZIP
S: a BAD *
C: b COMPRESS DEFLATE now
S: b BAD *

== RFC 5465 3.1: what is to be told; NONE; what is unknown
C: b NOTIFY SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Drafts (MessageNew MessageExpunge))
S: * STATUS Drafts (MESSAGES 0 UIDNEXT 1 UIDVALIDITY * UNSEEN 0)
S: b OK *
C: c SELECT INBOX
S~ c OK *
& other
C: a APPEND Drafts {+}
L: Subject: x
C:
S: a OK *
& 
S: * STATUS Drafts (MESSAGES 1 UIDNEXT 2 UIDVALIDITY * UNSEEN 1)
& other
C: b APPEND INBOX {+}
L: From: alice@example.org
L: Subject: Re: good morning
C:
S: b OK *
& 
S: * 3 EXISTS
S: * 3 RECENT
S: * 3 FETCH (UID 3 BODY[header.fields (from to subject)] {54}
S: From: alice@example.org
S: Subject: Re: good morning
S:
S: )
C: d NOTIFY SET (selected (MessageNew MessageExpunge Nonsense))
S: d NO [BADEVENT (MessageNew *)] *
C: e NOTIFY SET (selected MessageNew)
S: e BAD *
C: f NOTIFY SET (selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))
S: f BAD *
C: g NOTIFY NONE
S~ g OK *
& other
C: c APPEND Drafts {+}
L: Subject: y
C:
S: c OK *
& 
C: h NOOP
S: h OK *

== RFC 5465 5.1: flags that changed in the selected mailbox are told with the UID
C: a SELECT INBOX
S~ a OK *
C: b NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))
S: b OK *
& other
C: a SELECT INBOX
S~ a OK *
C: b STORE 2 +FLAGS.SILENT ($$Junk)
S~ b OK *
& 
S~ * 2 FETCH (UID 2 FLAGS (*$$Junk*))

== RFC 5465 6: several filters about one mailbox
C: a NOTIFY SET (mailboxes INBOX (MessageNew MessageExpunge)) (personal (SubscriptionChange))
S: a OK *
& other
C: a APPEND INBOX {+}
L: Subject: x
C:
S: a OK *
C: b UNSUBSCRIBE Drafts
S: b OK *
& 
S: * STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY * UNSEEN 3)
S: * LIST (*) "/" Drafts
