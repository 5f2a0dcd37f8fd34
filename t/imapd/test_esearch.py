"""Searches beyond RFC 3501: ESEARCH (4731), SEARCHRES (5182), WITHIN (5032), SAVEDATE (8514), OBJECTID (8474), CONTEXT=SEARCH (5267), PARTIAL (9394),
SEARCH=FUZZY (6203), MULTISEARCH (7377)."""
import datetime
import re

import pytest

from imapmessages import SIMPLE, crlf, numbered


@pytest.fixture
def c(imap, folder):
    c = imap()
    for i in range(1, 11):
        c.append(folder, numbered(i), "(\\Flagged) " if i % 2 else "")
    c.ok("SELECT " + folder)
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")			# now nine messages: numbers are UIDs less one
    return c


def esearch(lines):
    got = [l.decode() for l in lines if l.startswith(b"* ESEARCH")]
    assert len(got) == 1, lines
    return got[0][len("* ESEARCH "):]


def answer(c, cmd):
    """What follows the correlator."""
    status, line, lines = c.cmd(cmd, tag="A282")
    assert status == "OK", (cmd, line)
    return esearch(lines).replace('(TAG "A282")', "", 1).strip()


# --- ESEARCH ---

@pytest.mark.parametrize("cmd, want", [
    ("SEARCH RETURN (MIN COUNT) FLAGGED", "MIN 2 COUNT 4"), ("SEARCH RETURN () FLAGGED", "ALL 2,4,6,8"), ("SEARCH RETURN (ALL) UNFLAGGED", "ALL 1,3,5,7,9"),
    ("SEARCH RETURN (MIN) FLAGGED", "MIN 2"), ("SEARCH RETURN (MAX) FLAGGED", "MAX 8"), ("SEARCH RETURN (MIN MAX) 3:5", "MIN 3 MAX 5"),
    ("SEARCH RETURN (ALL COUNT) 1:*", "COUNT 9 ALL 1:9"), ("UID SEARCH RETURN (ALL MIN MAX) 1:3,7", "UID MIN 2 MAX 8 ALL 2:4,8"),
    ("SEARCH RETURN (COUNT) SUBJECT nowhere", "COUNT 0"), ("SEARCH RETURN (MIN MAX ALL) SUBJECT nowhere", ""), ("UID SEARCH RETURN (ALL) KEYWORD none", "UID"),
    ("SEARCH RETURN (COUNT) CHARSET UTF-8 SUBJECT \"message 1\"", "COUNT 1"), ("UID SEARCH RETURN (MAX) UID 1:5", "UID MAX 5"),
])
def test_return(c, cmd, want):
    assert answer(c, cmd) == want


def test_return_with_modseq(c):
    # RFC 4731 3.2: of the messages that the answer names
    m = [int(re.search(rb"MODSEQ \((\d+)\)", l).group(1)) for l in c.ok("FETCH 1:9 (MODSEQ)") if b"FETCH" in l]
    assert answer(c, "SEARCH RETURN (MIN) MODSEQ 1") == "MIN 1 MODSEQ %d" % m[0]
    assert answer(c, "SEARCH RETURN (MIN MAX) MODSEQ 1") == "MIN 1 MAX 9 MODSEQ %d" % max(m[0], m[8])
    assert answer(c, "SEARCH RETURN (ALL) MODSEQ 1") == "ALL 1:9 MODSEQ %d" % max(m)


def test_return_is_checked(c):
    for bad in ("SEARCH RETURN ALL", "SEARCH RETURN (FOO) ALL", "SEARCH RETURN (MIN", "SEARCH RETURN (MIN)", "SEARCH RETURN (ALL PARTIAL 1:2) ALL",
                "SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL", "SEARCH RETURN (PARTIAL 0:2) ALL", "SEARCH RETURN (PARTIAL -1:2) ALL", "SEARCH RETURN (PARTIAL) ALL",
                "SEARCH RETURN (PARTIAL 1) ALL"):
        c.bad(bad)


# --- SEARCHRES ---

def test_saved_result(c):
    assert [l for l in c.ok("SEARCH RETURN (SAVE) FLAGGED") if b"SEARCH" in l] == []
    assert [l.split()[1] for l in c.ok("FETCH $ (UID)")] == [b"2", b"4", b"6", b"8"]
    assert answer(c, "SEARCH RETURN (ALL) $ SMALLER 100000") == "ALL 2,4,6,8"
    assert answer(c, "UID SEARCH RETURN (ALL) UID $") == "UID ALL 3,5,7,9"
    # a new result may be made of the old one
    assert answer(c, "UID SEARCH RETURN (SAVE ALL) $ 1:5") == "UID ALL 3,5"
    assert len([l for l in c.ok("STORE $ +FLAGS (x)") if b" FETCH (" in l]) == 2
    assert answer(c, "SEARCH RETURN (SAVE MIN) ALL") == "MIN 1" and answer(c, "SEARCH RETURN (COUNT ALL) $") == "COUNT 1 ALL 1"
    assert answer(c, "SEARCH RETURN (SAVE MIN MAX) ALL") == "MIN 1 MAX 9" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 1,9"
    assert answer(c, "SEARCH RETURN (SAVE MAX COUNT) 2:4") == "MAX 4 COUNT 3" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 2:4"
    assert answer(c, "SEARCH RETURN (SAVE PARTIAL -1:-2) ALL") == "PARTIAL (-1:-2 8:9)" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 8:9"
    # RFC 9394 3.2: beside MIN and MAX they are all saved; with COUNT all that was found.
    assert answer(c, "SEARCH RETURN (SAVE PARTIAL 3:4 MIN) ALL") == "MIN 1 PARTIAL (3:4 3:4)" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 1,3:4"
    assert answer(c, "SEARCH RETURN (SAVE PARTIAL 1:2 MIN MAX) ALL") == "MIN 1 MAX 9 PARTIAL (1:2 1:2)" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 1:2,9"
    assert answer(c, "SEARCH RETURN (SAVE PARTIAL 50:60 MAX) ALL") == "MAX 9 PARTIAL (50:60 NIL)" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 9"
    assert answer(c, "SEARCH RETURN (SAVE PARTIAL 3:4 COUNT) ALL") == "COUNT 9 PARTIAL (3:4 3:4)" and answer(c, "SEARCH RETURN (ALL) $") == "ALL 1:9"


def test_saved_result_and_expunge(c, folder):
    c.ok("SEARCH RETURN (SAVE) 1:3")
    c.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    assert answer(c, "UID SEARCH RETURN (ALL) $") == "UID ALL 2,4"
    c.ok("UID COPY $ " + folder)
    c.ok("UID STORE $ +FLAGS.SILENT (\\Deleted)")
    c.ok("UID EXPUNGE $")
    assert answer(c, "SEARCH RETURN (COUNT) $") == "COUNT 0"
    assert c.ok("FETCH $ (UID)") == []


def test_saved_result_is_reset(c, folder):
    c.ok("SEARCH RETURN (SAVE) 1:3")
    c.bad("SEARCH RETURN (SAVE) FOO")		# BAD: stays
    assert answer(c, "SEARCH RETURN (COUNT) $") == "COUNT 3"
    c.no("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL", "BADCHARSET")	# NO: empty
    assert answer(c, "SEARCH RETURN (COUNT) $") == "COUNT 0"
    c.ok("SEARCH RETURN (SAVE) 1:3")
    c.ok("SELECT " + folder)
    assert answer(c, "SEARCH RETURN (COUNT) $") == "COUNT 0"


# --- WITHIN, SAVEDATE ---

def test_within(imap, folder):
    c = imap()
    old = (datetime.datetime.utcnow() - datetime.timedelta(days=2)).strftime("%d-%b-%Y %H:%M:%S +0000")
    c.append(folder, numbered(1), '"%s" ' % old)
    c.append(folder, numbered(2))
    c.ok("SELECT " + folder)
    assert answer(c, "SEARCH RETURN (ALL) OLDER 86400") == "ALL 1"
    assert answer(c, "SEARCH RETURN (ALL) YOUNGER 86400") == "ALL 2"
    assert answer(c, "SEARCH RETURN (ALL) NOT YOUNGER 4000000000") == ""
    for bad in ("SEARCH OLDER 0", "SEARCH YOUNGER", "SEARCH OLDER x", "SEARCH OLDER 4294967296"):
        c.bad(bad)


def test_savedate(imap, folder):
    c = imap()
    c.append(folder, numbered(1), '"17-Jul-1996 02:44:25 -0700" ')
    c.ok("SELECT " + folder)
    day = datetime.datetime.utcnow()
    got = c.ok("FETCH 1 (INTERNALDATE SAVEDATE)")[0].decode()
    saved = datetime.datetime.strptime(re.search(r'SAVEDATE "([^"]+) \+0000"', got).group(1).strip(), "%d-%b-%Y %H:%M:%S")
    assert "1996" in got and abs((saved - day).total_seconds()) < 300
    d = saved.strftime("%d-%b-%Y")
    assert answer(c, "SEARCH RETURN (ALL) SAVEDON %s SAVEDSINCE %s SAVEDATESUPPORTED" % (d, d)) == "ALL 1"
    assert answer(c, "SEARCH RETURN (COUNT) SAVEDBEFORE %s" % d) == "COUNT 0"


# --- OBJECTID ---

def emailids(c, what="1:*"):
    return [re.search(rb"EMAILID \((M[0-9a-f]{32})\)", l).group(1) for l in c.ok("FETCH %s (EMAILID)" % what)]


def test_emailid(c, folder, imap):
    ids = emailids(c)
    assert len(set(ids)) == 9 and emailids(c) == ids
    assert b"THREADID NIL" in c.ok("FETCH 1 (THREADID)")[0]
    c.ok("CREATE %s/copy" % folder)
    c.ok("COPY 1:2 %s/copy" % folder)
    c.ok("MOVE 3 %s/copy" % folder)
    c.ok("RENAME %s/copy %s/other" % (folder, folder))
    o = imap()
    o.ok("SELECT %s/other" % folder)
    assert emailids(o) == ids[:3]
    assert answer(o, "SEARCH RETURN (ALL) EMAILID " + ids[1].decode()) == "ALL 2"
    assert answer(o, "SEARCH RETURN (COUNT) EMAILID Mnone") == "COUNT 0" and answer(o, "SEARCH RETURN (COUNT) THREADID Tx") == "COUNT 0"
    o.ok("CLOSE")
    c.ok("DELETE %s/other" % folder)


def test_mailboxid(imap, folder):
    c = imap()
    _, line, _ = c.cmd("CREATE %s/sub" % folder)
    made = re.search(r"\[MAILBOXID \((F[0-9a-f]{32})\)\]", line).group(1)
    assert any(b"[MAILBOXID (%s)]" % made.encode() in l for l in c.ok("SELECT %s/sub" % folder))
    c.ok("UNSELECT")
    c.ok("RENAME %s/sub %s/renamed" % (folder, folder))
    assert any(b"MAILBOXID (%s)" % made.encode() in l for l in c.ok("STATUS %s/renamed (MAILBOXID MESSAGES)" % folder))
    listed = [l for l in c.ok('LIST "" "%s/*" RETURN (STATUS (MAILBOXID))' % folder) if l.startswith(b"* STATUS")]
    assert listed == [b"* STATUS %s/renamed (MAILBOXID (%s))" % (folder.encode(), made.encode())]
    c.ok("DELETE %s/renamed" % folder)


# --- PARTIAL ---

@pytest.mark.parametrize("part, want", [
    ("1:3", "1:3 1:3"), ("3:1", "1:3 1:3"), ("8:20", "8:20 8:9"), ("10:20", "10:20 NIL"), ("-1:-2", "-1:-2 8:9"), ("-2:-1", "-1:-2 8:9"), ("-8:-20", "-8:-20 1:2"),
    ("-10:-20", "-10:-20 NIL"),
])
def test_partial(c, part, want):
    assert answer(c, "SEARCH RETURN (PARTIAL %s) ALL" % part) == "PARTIAL (%s)" % want


def test_partial_uid_and_count(c):
    assert answer(c, "UID SEARCH RETURN (PARTIAL 2:3 COUNT) FLAGGED") == "UID COUNT 4 PARTIAL (2:3 5,7)"


def test_partial_fetch(c):
    uids = lambda what: [int(re.search(rb"UID (\d+)", l).group(1)) for l in c.ok(what)]
    assert uids("UID FETCH 1:* (FLAGS) (PARTIAL -1:-3)") == [8, 9, 10]
    assert uids("UID FETCH 1:3,5:7,9:20 (UID) (PARTIAL 3:5)") == [5, 6, 7]
    assert uids("UID FETCH 1:* (UID) (PARTIAL 20:30)") == []
    c.bad("FETCH 1:3 (UID) (PARTIAL 1:2)")
    c.bad("UID FETCH 1:3 (UID) (PARTIAL 0:2)")
    for twice in ("PARTIAL 1:2 PARTIAL 1:2", "CHANGEDSINCE 1 CHANGEDSINCE 1", "VANISHED CHANGEDSINCE 1 VANISHED"):
        c.bad("UID FETCH 1:3 (UID) (%s)" % twice)


# --- CONTEXT=SEARCH ---

def updates(lines):
    return [re.sub(r"^\(TAG \"\w+\"\) ", "", l[len("* ESEARCH "):].decode()) for l in lines if l.startswith(b"* ESEARCH")]


def test_update(c, imap, folder):
    # RFC 5267 4.3
    status, _, lines = c.cmd("UID SEARCH RETURN (COUNT UPDATE CONTEXT) FLAGGED", tag="B01")
    assert status == "OK" and updates(lines) == ["UID COUNT 4"]
    other = imap()
    other.ok("SELECT " + folder)
    other.ok("UID STORE 2 +FLAGS (\\Flagged)")
    other.ok("UID STORE 3 -FLAGS (\\Flagged)")
    assert updates(c.ok("NOOP")) == ["UID REMOVEFROM (0 3)", "UID ADDTO (0 2)"]
    other.append(folder, numbered(11), "(\\Flagged) ")
    other.append(folder, numbered(12))
    assert updates(c.ok("NOOP")) == ["UID ADDTO (0 11)"]
    c.ok("UID STORE 4 +FLAGS.SILENT (\\Flagged)")		# one's own changes count
    assert updates(c.ok("NOOP")) in ([], ["UID ADDTO (0 4)"])
    other.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    lines = c.ok("NOOP")
    assert updates(lines) == ["UID REMOVEFROM (0 2)"]
    order = [l for l in lines if b"REMOVEFROM" in l or b"EXPUNGE" in l]
    assert b"REMOVEFROM" in order[0]
    c.ok('CANCELUPDATE "B01"')
    other.ok("UID STORE 5 -FLAGS (\\Flagged)")
    assert updates(c.ok("NOOP")) == []
    c.no('CANCELUPDATE "B01"')
    c.bad("CANCELUPDATE B01")


def test_update_by_number_and_idle(c, imap, folder):
    assert updates(c.cmd("SEARCH RETURN (ALL UPDATE) UNSEEN", tag="C1")[2]) == ["ALL 1:9"]
    other = imap()
    other.ok("SELECT " + folder)
    c.send("i IDLE\r\n")
    while not c.line().startswith(b"+"):
        pass
    other.ok("STORE 3 +FLAGS (\\Seen)")
    got = []
    while not any(b"REMOVEFROM" in l for l in got):
        got.append(c.line())
    assert updates(got) == ["REMOVEFROM (0 3)"]
    c.send("DONE\r\n")
    c.finish("i")


def test_update_is_refused_where_it_cannot_last(c):
    for keys in ("1:3", "NOT 2", "$"):
        lines = c.cmd("SEARCH RETURN (COUNT UPDATE) " + keys, tag="D1")[2]
        assert b'* NO [NOUPDATE "D1"]' in b"".join(lines), keys
    for i in range(20):
        last = c.cmd("SEARCH RETURN (COUNT UPDATE) SEEN", tag="E%d" % i)[2]
    assert any(b'[NOUPDATE "E19"]' in l for l in last)


# --- SEARCH=FUZZY ---

def test_fuzzy(imap, folder):
    c = imap()
    c.append(folder, crlf("Subject: Working Meeting in room 5\n\nagenda\n"))
    c.append(folder, crlf("Subject: meeting\n\nabout working hours\n"))
    c.append(folder, crlf("Subject: the Meeting Working group\n\nx\n"))
    c.ok("SELECT " + folder)
    assert answer(c, 'SEARCH RETURN (ALL) SUBJECT "meeting working"') == "ALL 3"
    assert answer(c, 'SEARCH RETURN (ALL RELEVANCY) FUZZY SUBJECT "meeting working"') == "ALL 1,3 RELEVANCY (50 100)"
    assert answer(c, 'SEARCH RETURN (ALL) FUZZY (SUBJECT "room meeting" BODY "agenda")') == "ALL 1"
    assert answer(c, 'SEARCH RETURN (ALL) NOT FUZZY SUBJECT "working meeting"') == "ALL 2"
    c.bad("SEARCH FUZZY")


def test_many_are_found(imap, folder):
    """More than a search has room for at first: numbers, scores and mod-sequences go with them."""
    c = imap()
    for n in range(900):
        c.append(folder, b"Subject: %s\r\n\r\nx\r\n" % (b"working meeting" if n % 3 else b"a meeting working"))
    c.ok("SELECT " + folder)
    got = answer(c, 'SEARCH RETURN (ALL RELEVANCY) FUZZY SUBJECT "meeting working"')
    assert got == "ALL 1:900 RELEVANCY (%s)" % " ".join("50" if n % 3 else "100" for n in range(900))
    c.ok("STORE 700 +FLAGS.SILENT (\\Flagged)")
    modseq = int(re.search(rb"FETCH \(MODSEQ \((\d+)\)", b" ".join(c.ok("FETCH 700 (MODSEQ)"))).group(1))
    assert answer(c, "SEARCH RETURN (MIN MAX COUNT) SUBJECT meeting MODSEQ 1") == "MIN 1 MAX 900 COUNT 900 MODSEQ %d" % modseq


def test_collation(imap, folder):
    # I18NLEVEL=1: i;unicode-casemap
    c = imap()
    c.append(folder, "Subject: =?utf-8?q?CAF=C3=89_stra=C3=9Fe?=\r\n\r\nx\r\n")
    c.ok("SELECT " + folder)
    for text, want in (("café", True), ("CAFE\u0301", True), ("caf", True), ("STRAßE", True), ("cafè", False)):
        b = text.encode()
        assert bool(c.ok(b"SEARCH SUBJECT {%d+}\r\n%s" % (len(b), b))[-1].split()[2:]) == want, text


# --- MULTISEARCH ---

def test_multisearch(imap, folder):
    c = imap()
    for sub in ("a", "a/b", "c"):
        c.ok("CREATE %s/%s" % (folder, sub))
    c.append(folder, SIMPLE)
    c.append(folder + "/a", numbered(1))
    c.append(folder + "/a/b", SIMPLE)
    c.append(folder + "/a/b", SIMPLE)

    def multi(cmd, status="OK"):
        got, line, lines = c.cmd(cmd, tag="m1")
        assert got == status, line
        out = []
        for l in lines:
            if not l.startswith(b"* ESEARCH"):
                continue
            m = re.match(r'\* ESEARCH \(TAG "m1" MAILBOX (\S+) UIDVALIDITY \d+\) UID ?(.*)', l.decode())
            out.append((m.group(1)[len(folder):], m.group(2)))
        return out
    assert multi("ESEARCH IN (subtree %s) RETURN (ALL COUNT) SUBJECT simple" % folder) == [("", "COUNT 1 ALL 1"), ("/a/b", "COUNT 2 ALL 1:2")]
    assert multi("ESEARCH IN (subtree-one %s) SUBJECT simple" % folder) == [("", "ALL 1")]
    assert multi("ESEARCH IN (mailboxes (%s/a %s/a/b %s/none)) ALL" % (folder, folder, folder)) == [("/a", "ALL 1"), ("/a/b", "ALL 1:2")]
    assert multi("ESEARCH IN (mailboxes %s/a subtree %s/a) RETURN (COUNT) UID 1" % (folder, folder)) == [("/a", "COUNT 1"), ("/a/b", "COUNT 1")]
    assert multi("ESEARCH ALL") == []			# nothing is selected
    c.ok("SUBSCRIBE %s/a/b" % folder)
    assert multi("ESEARCH IN (subscribed) SUBJECT simple") == [("/a/b", "ALL 1:2")]
    assert ("/a", "ALL 1") in multi('ESEARCH IN (personal) HEADER Message-ID "m1@example.com"')
    c.ok("UNSUBSCRIBE %s/a/b" % folder)
    # new mail stays recent, and nothing is selected
    assert b"1 RECENT" in b"".join(c.ok("SELECT %s/a" % folder))
    assert multi("ESEARCH IN (selected mailboxes %s/a/b) ALL" % folder) == [("/a/b", "ALL 1:2"), ("/a", "ALL 1")]
    assert multi("ESEARCH SUBJECT message") == [("/a", "ALL 1")]
    for bad in ("ESEARCH", "ESEARCH IN ALL", "ESEARCH IN (foo) ALL", "ESEARCH IN (subtree) ALL", "ESEARCH IN () ALL", "ESEARCH IN (personal)",
                "ESEARCH IN (personal) RETURN (SAVE) ALL", "ESEARCH IN (personal) 1:3", "ESEARCH IN (personal) $", "ESEARCH IN (personal ALL"):
        c.bad(bad)
    c.no("ESEARCH IN (mailboxes %s/..) ALL" % folder)
    c.no("ESEARCH IN (personal) CHARSET KOI8-R ALL", "BADCHARSET")
    c.ok("UNSELECT")
    for sub in ("c", "a/b", "a"):
        c.ok("DELETE %s/%s" % (folder, sub))
