"""Shared folders and access lists: RFC 4314, 2342, 8440; across two users' processes."""
import itertools
import json
import os
import re
import signal
import smtplib
import time

import pytest


from imapraw import Closed, Imap

MSG = "From: a@b\r\nSubject: %s\r\n\r\nbody of %s\r\n"
ALICE, BOB = "alice@example.com", "bob@example.com"
numbers = itertools.count(1)


def lines(got, word):
    return sorted(l.decode() for l in got if l.startswith(b"* " + word.encode() + b" "))


@pytest.fixture
def bob(suite):
    made = []

    def new():
        c = Imap(suite, login=BOB)
        made.append(c)
        return c
    yield new
    for c in made:
        c.close()


class Share:
    def __init__(self, imap):
        self.name = "share-%d" % next(numbers)
        self.other = "Other/%s/%s" % (ALICE, self.name)
        self.owner = imap()
        self.owner.ok("CREATE " + self.name)

    def rights(self, rights, who=BOB, sub=""):
        self.owner.ok('SETACL %s%s %s "%s"' % (self.name, sub, who, rights))

    def fill(self, *subjects):
        for s in subjects:
            self.owner.append(self.name, MSG % (s, s))


@pytest.fixture
def share(imap):
    s = Share(imap)
    yield s
    c = imap()
    for l in c.ok('LIST "" "%s*"' % s.name)[::-1]:
        c.cmd("DELETE %s" % l.decode().split(" ")[-1])


# --- access lists of one's own folders (RFC 4314 section 3) ---

def test_capabilities_and_namespaces(imap, bob):
    caps = imap().ok("CAPABILITY")[0].decode().split()
    assert {"ACL", "RIGHTS=kxte", "LIST-MYRIGHTS", "NAMESPACE"} <= set(caps)
    assert bob().ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Other/" "/")) (("Shared/" "/"))']


def test_lists(imap, share):
    c, f = share.owner, share.name
    own = "%s lrswipkxteacd" % ALICE
    assert c.ok("GETACL " + f) == [("* ACL %s %s" % (f, own)).encode()]
    c.ok("SETACL %s Fred@Example.com rwipslda" % f)     # the obsolete "d" of RFC 2086
    assert c.ok("GETACL " + f) == [("* ACL %s %s fred@example.com lrswiptead" % (f, own)).encode()]
    c.ok("SETACL %s fred@example.com -wte" % f)
    c.ok("SETACL %s fred@example.com +k" % f)
    c.ok("SETACL %s -anyone x" % f)
    assert c.ok("GETACL " + f) == [("* ACL %s %s fred@example.com lrsipkac -anyone xc" % (f, own)).encode()]
    c.ok("DELETEACL %s fred@example.com" % f)
    c.ok("DELETEACL %s -anyone" % f)
    c.ok("DELETEACL %s nobody" % f)
    assert c.ok("GETACL " + f) == [("* ACL %s %s" % (f, own)).encode()]
    assert c.ok("MYRIGHTS " + f) == [("* MYRIGHTS %s lrswipkxteacd" % f).encode()]
    assert c.ok("LISTRIGHTS %s smith" % f) == [("* LISTRIGHTS %s smith \"\" l r s w i p k x t e a c d" % f).encode()]
    assert c.ok("LISTRIGHTS %s %s" % (f, ALICE)) == [("* LISTRIGHTS %s %s lrswipkxteacd" % (f, ALICE)).encode()]


@pytest.mark.parametrize("cmd,status", [
    ("SETACL %s bob lrq", "BAD"), ("SETACL %s bob", "BAD"), ("SETACL %s bob lr x", "BAD"), ("GETACL", "BAD"), ("GETACL %s x", "BAD"),
    ("SETACL %s $group lr", "NO"), ("SETACL %s \"a b\" lr", "NO"), ("SETACL %s ../x lr", "NO"), ("SETACL %s " + ALICE + " l", "NO"),
    ("DELETEACL %s " + ALICE, "NO"), ("SETACL nothing bob lr", "NO"), ("GETACL nothing", "NO"), ("MYRIGHTS nothing", "NO"),
    ("LISTRIGHTS nothing bob", "NO"), ("GETACL Other/" + ALICE + "/x", "NO"), ("SETACL Other bob lr", "NO"),
])
def test_what_is_refused(share, cmd, status):
    text = cmd % share.name if "%s" in cmd else cmd
    assert share.owner.cmd(text)[0] == status, text


def test_list_with_rights(share):
    """RFC 8440."""
    got = share.owner.ok('LIST "" "%s" RETURN (MYRIGHTS)' % share.name)
    assert got[1:] == [("* MYRIGHTS %s lrswipkxteacd" % share.name).encode()]


# --- a guest ---

def test_read(share, bob):
    share.fill("one", "two")
    b = bob()
    b.no("SELECT " + share.other, "NONEXISTENT")
    share.rights("lr")
    got = b.ok("SELECT " + share.other)
    assert b"* 2 EXISTS" in got and b"* OK [PERMANENTFLAGS ()] Read-only mailbox." in got
    assert b.fetch1("1 BODY.PEEK[TEXT]", "BODY[TEXT]") == b"body of one\r\n"
    b.ok("FETCH 1:* (BODY[] FLAGS)")
    share.owner.ok("EXAMINE " + share.name)
    assert b"\\Seen" not in b"".join(share.owner.ok("FETCH 1:* FLAGS"))
    assert b.ok("SEARCH SUBJECT two") == [b"* SEARCH 2"]
    assert b.ok("UID SORT (REVERSE SUBJECT) UTF-8 ALL") == [b"* SORT 2 1"]
    assert len(b.ok("THREAD REFERENCES UTF-8 ALL")) == 1
    assert b.ok("STATUS %s (MESSAGES)" % share.other) == [("* STATUS %s (MESSAGES 2)" % share.other).encode()]
    assert b.ok("MYRIGHTS " + share.other) == [("* MYRIGHTS %s lr" % share.other).encode()]
    for cmd in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "GETACL " + share.other, "SETACL %s %s lra" % (share.other, BOB), "DELETE " + share.other,
                "CREATE %s/x" % share.other, "RENAME %s %s-x" % (share.other, share.other), "MOVE 1 Trash",
                "SETMETADATA %s (/shared/comment \"x\")" % share.other):
        assert b.cmd(cmd)[0] == "NO", cmd
    b.ok("CLOSE")
    assert b.bad("FETCH 1 FLAGS")


def test_flags_by_right(share, bob):
    """RFC 4314 section 4: s, t and w each for their flags."""
    share.fill("one")
    c = share.owner
    c.ok("SELECT " + share.name)
    c.ok("STORE 1 FLAGS (\\Answered $Label1)")
    b = bob()
    for rights, given, want in (("s", "\\Seen \\Deleted \\Flagged", {"\\Answered", "$Label1", "\\Seen"}),
                                ("t", "\\Seen \\Deleted $Label2", {"\\Answered", "$Label1", "\\Seen", "\\Deleted"}),
                                ("w", "\\Flagged $Label2", {"\\Seen", "\\Deleted", "\\Flagged", "$Label2"})):
        share.rights("lr" + rights)
        got = b.ok("SELECT " + share.other)
        assert ("$Label1" in [l for l in map(bytes.decode, got) if "PERMANENTFLAGS" in l][0]) == (rights == "w")
        b.ok("STORE 1 FLAGS (%s)" % given)
        flags = re.search(rb"FLAGS \(([^)]*)\)", b"".join(b.ok("FETCH 1 FLAGS"))).group(1).decode().split()
        assert set(flags) - {"\\Recent"} == want
    b.no("STORE 1 +FLAGS (\\Seen)", "NOPERM")
    b.no("STORE 1 -FLAGS.SILENT (\\Deleted)", "NOPERM")
    b.no("EXPUNGE", "NOPERM")
    b.ok("CLOSE")       # expunges nothing
    assert ("* STATUS %s (MESSAGES 1 DELETED 1)" % share.name).encode() in c.ok("STATUS %s (MESSAGES DELETED)" % share.name)


def test_append_and_expunge(share, bob):
    share.rights("li")
    b = bob()
    line = b.append(share.other, MSG % ("new", "new"), "(\\Seen \\Flagged) ")
    assert "[APPENDUID " in line
    c = share.owner
    c.ok("SELECT " + share.name)
    assert b"\\Seen" not in b"".join(c.ok("FETCH 1 FLAGS"))
    b.no("SELECT " + share.other, "NOPERM")
    share.rights("lrite")
    # a synchronising literal, and several messages
    m = (MSG % ("sync", "sync")).encode()
    b.send("s1 APPEND %s {%d}\r\n" % (share.other, len(m)))
    assert b.line().startswith(b"+ ")
    b.send(m + b" {%d}\r\n" % len(m))
    assert b.line().startswith(b"+ ")
    b.send(m + b"\r\n")
    assert b.finish("s1")[0] == "OK"
    got = b.ok("SELECT " + share.other)
    assert b"* 3 EXISTS" in got
    b.ok("STORE 1 +FLAGS (\\Deleted)")
    assert b"* 1 EXPUNGE" in b.ok("EXPUNGE")
    assert b"* 1 EXPUNGE" in c.ok("NOOP")


def test_idle_both_ways(share, bob):
    share.rights("lrsiw")
    b, c = bob(), share.owner
    b.ok("SELECT " + share.other)
    b.send("i IDLE\r\n")
    assert b.line() == b"+ idling"
    share.fill("hello")
    assert b.line() == b"* 1 EXISTS"
    c.ok("SELECT " + share.name)
    c.send("i IDLE\r\n")
    assert c.line() == b"+ idling"
    while b"\r\n" in b.data:
        b.line()
    b.send("DONE\r\n")
    assert b.finish("i")[0] == "OK"
    b.ok("STORE 1 +FLAGS (\\Flagged)")
    while b"\\Flagged" not in c.line():
        pass
    c.send("DONE\r\n")
    assert c.finish("i")[0] == "OK"
    assert b.ok("SELECT INBOX") and b.ok("NOOP") is not None


def test_enabled_extensions_follow(share, bob):
    share.fill("one", "two")
    share.rights("lrste")
    b = bob()
    b.ok("ENABLE QRESYNC")
    got = b"".join(b.ok("SELECT " + share.other))
    uidvalidity, modseq = re.search(rb"UIDVALIDITY (\d+)", got).group(1).decode(), re.search(rb"HIGHESTMODSEQ (\d+)", got).group(1).decode()
    assert any(b"MODSEQ (" in l for l in b.ok("UID FETCH 1 (FLAGS) (CHANGEDSINCE 0)"))
    b.ok("UID STORE 1 +FLAGS (\\Deleted)")
    assert b"* VANISHED 1" in b.ok("UID EXPUNGE 1")
    assert b"* OK [CLOSED] Previous mailbox is closed." in b.ok("SELECT INBOX")
    assert b"* VANISHED (EARLIER) 1" in b.ok("SELECT %s (QRESYNC (%s %s))" % (share.other, uidvalidity, modseq))


# --- what each has read (shared_seen) ---

CAROL = "carol@example.com"


@pytest.fixture
def carol(suite):
    if not suite.user_exists(CAROL):
        suite.passwords[CAROL] = "carol-secret"
        suite.user_add(CAROL, suite.passwords[CAROL])
    made = []

    def new():
        made.append(Imap(suite, login=CAROL))
        return made[-1]
    yield new
    for c in made:
        c.close()


def has_seen(c):
    found = {int(l.split()[1]): b"\\Seen" in l for l in c.ok("FETCH 1:* (FLAGS)") if b" FETCH " in l}
    return [found[n] for n in sorted(found)]


def test_each_reader_has_a_seen_of_their_own(share, bob, carol):
    share.fill("one", "two", "three")
    c, b, k = share.owner, bob(), carol()
    share.rights("lrs")
    share.rights("lrs", CAROL)
    c.ok("SELECT " + share.name)
    for reader in (b, k):
        assert any(b"[UNSEEN 1]" in l for l in reader.ok("SELECT " + share.other))
    assert b.fetch1("1 BODY[TEXT]", "BODY[TEXT]") == b"body of one\r\n"
    b.ok("STORE 3 +FLAGS (\\Seen)")
    k.ok("STORE 2 FLAGS (\\Seen)")
    c.ok("STORE 2:3 +FLAGS (\\Seen)")
    assert (has_seen(c), has_seen(b), has_seen(k)) == ([False, True, True], [True, False, True], [False, True, False])
    assert b.ok("SEARCH UNSEEN") == [b"* SEARCH 2"] and k.ok("SEARCH SEEN") == [b"* SEARCH 2"]
    assert b.ok("SORT (SUBJECT) UTF-8 UNSEEN") == [b"* SORT 2"] and k.ok("SORT (SUBJECT) UTF-8 UNSEEN") == [b"* SORT 1 3"]
    status = lambda who, name: who.ok("STATUS %s (UNSEEN)" % name)[-1].rsplit(b" ", 1)[1]
    assert (status(c, share.name), status(b, share.other), status(k, share.other)) == (b"1)", b"1)", b"2)")
    assert b'* STATUS %s (UNSEEN 1)' % share.other.encode() in b.ok('LIST "" "%s" RETURN (STATUS (UNSEEN))' % share.other)
    assert any(b"[UNSEEN 2]" in l for l in b.ok("SELECT " + share.other))
    got = lines(k.ok("ESEARCH IN (mailboxes %s) RETURN (ALL) UNSEEN" % share.other), "ESEARCH")
    assert got and got[0].endswith(" ALL 1,3")
    b.ok("STORE 1 -FLAGS (\\Seen)")
    assert has_seen(b) == [False, False, True]
    # nobody can name or see what stands for it
    assert "(seen)" not in str(c.ok("SELECT " + share.name)) + str(c.ok("FETCH 1:* (FLAGS)"))
    c.bad("SEARCH KEYWORD (seen)" + BOB)


def test_a_readers_other_connections_hear_of_it_and_nobody_else(share, bob, carol):
    share.fill("one")
    share.rights("lrs")
    share.rights("lrs", CAROL)
    b, other, k, c = bob(), bob(), carol(), share.owner
    for reader in (other, k):
        reader.ok("SELECT " + share.other)
        reader.send("i IDLE\r\n")
        assert reader.line() == b"+ idling"
    c.ok("SELECT " + share.name)
    b.ok("ENABLE CONDSTORE")
    got = b"".join(b.ok("SELECT " + share.other))
    before = int(re.search(rb"HIGHESTMODSEQ (\d+)", got).group(1))
    b.ok("STORE 1 +FLAGS (\\Seen)")
    assert other.line().startswith(b"* 1 FETCH (FLAGS (\\Seen")
    assert b.ok("FETCH 1 (FLAGS) (CHANGEDSINCE %d)" % before)
    share.fill("two")           # what comes next is the first that the others are told
    assert k.line() == b"* 2 EXISTS"
    assert not [l for l in c.ok("NOOP") if b"FETCH" in l]
    for reader in (other, k):
        reader.send("DONE\r\n")
        assert reader.finish("i")[0] == "OK"


def test_what_was_read_is_forgotten_with_the_right(share, bob):
    share.fill("one")
    share.rights("lrs")
    b = bob()
    b.ok("SELECT " + share.other)
    b.ok("STORE 1 +FLAGS (\\Seen)")
    b.ok("UNSELECT")
    share.owner.ok("DELETEACL %s %s" % (share.name, BOB))
    share.rights("lrs")
    b.ok("SELECT " + share.other)
    assert has_seen(b) == [False]
    share.rights("lr")          # without s nothing is kept
    b.no("STORE 1 +FLAGS (\\Seen)", "NOPERM")


def test_append_and_copies_by_a_reader(share, bob):
    share.fill("one")
    share.rights("lrsi")
    b, c = bob(), share.owner
    b.append(share.other, MSG % ("mine", "mine"), "(\\Seen) ")
    b.ok("SELECT " + share.other)
    assert has_seen(b) == [False, True]
    b.ok("COPY 2 " + share.other)
    c.ok("SELECT " + share.name)
    assert has_seen(c) == [False] * 3 and has_seen(b) == [False, True, True]
    c.ok("STORE 1 +FLAGS (\\Seen)")
    b.ok("COPY 1 " + share.other)
    b.ok("NOOP")
    assert has_seen(b) == [False, True, True, False]
    c.ok("NOOP")
    assert has_seen(c) == [True, False, False, False]


@pytest.mark.parametrize("command", ['LIST "" "Other/*"', "ESEARCH IN (mailboxes %s) RETURN (COUNT) ALL", "COPY 1 INBOX", "MOVE 1 INBOX"])
def test_news_of_the_selected_mailbox_is_told_whatever_is_asked(share, bob, command):
    """The owner's process tells what has changed with its answer to any question, also to those that are not the client's own."""
    share.fill("one", "two", "three")
    share.rights("lrte")
    b, c = bob(), share.owner
    b.ok("SELECT " + share.other)
    c.ok("SELECT " + share.name)
    numbers = [1, 2, 3]     # as bob knows them

    def told(lines):
        for l in lines:
            m = re.match(rb"\* (\d+) (EXPUNGE|EXISTS)", l)
            if m and m.group(2) == b"EXPUNGE":
                del numbers[int(m.group(1)) - 1]
            elif m:
                numbers.extend(range(4, 4 + int(m.group(1)) - len(numbers)))
    c.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    share.fill("four")
    told(b.ok(command.replace("%s", share.other)))
    told(b.ok("NOOP"))
    assert numbers == ([3, 4] if command.startswith("MOVE") else [1, 3, 4])
    assert [int(re.search(rb"UID (\d+)", l).group(1)) for l in b.ok("UID FETCH 1:* (UID)")] == numbers


# --- LIST, subscriptions ---

def test_list_shows_what_is_shared(share, bob):
    c, b, f = share.owner, bob(), share.name
    c.ok("CREATE %s/open" % f)
    c.ok("CREATE %s/closed/deep" % f)
    share.rights("lr", sub="/open")
    share.rights("l", sub="/closed/deep")
    got = lines(b.ok('LIST "" "Other/*"'), "LIST")
    assert [l for l in got if f in l] == [
        '* LIST (\\HasNoChildren) "/" %s/closed/deep' % share.other,
        '* LIST (\\HasNoChildren) "/" %s/open' % share.other,
        '* LIST (\\Noselect \\HasChildren) "/" %s' % share.other,
        '* LIST (\\Noselect \\HasChildren) "/" %s/closed' % share.other]
    assert '* LIST (\\Noselect \\HasChildren) "/" Other' in lines(b.ok('LIST "" "%"'), "LIST")
    got = b.ok('LIST "" "%s/*" RETURN (MYRIGHTS STATUS (MESSAGES))' % share.other)
    assert ("* MYRIGHTS %s/open lr" % share.other).encode() in got and ("* STATUS %s/open (MESSAGES 0)" % share.other).encode() in got
    assert not [l for l in got if l.startswith(b"* STATUS") and b"deep" in l]
    # what is subscribed to is the guest's own matter
    b.ok("SUBSCRIBE %s/open" % share.other)
    assert lines(b.ok('LIST (SUBSCRIBED) "" "Other/*"'), "LIST") == ['* LIST (\\HasNoChildren \\Subscribed) "/" %s/open' % share.other]
    assert lines(b.ok('LSUB "" "Other/*"'), "LSUB") == ['* LSUB () "/" %s/open' % share.other]
    assert not [l for l in c.ok('LSUB "" "*"') if b"open" in l]
    b.ok("UNSUBSCRIBE %s/open" % share.other)
    # nothing of it among the owner's own, and nothing below another reference
    assert not [l for l in c.ok('LIST "" "*"') if b"Other" in l]


def test_hidden_is_like_missing(share, bob):
    """Without l there is no telling whether a folder exists (RFC 4314 section 6)."""
    b = bob()
    share.rights("r", who="someone@example.com")
    share.owner.ok("CREATE %s/seen" % share.name)
    share.rights("lr", sub="/seen")
    for cmd in ("SELECT %s", "EXAMINE %s", "STATUS %s (MESSAGES)", "DELETE %s", "GETACL %s", "MYRIGHTS %s", "SETACL %s bob lr", "LISTRIGHTS %s bob",
                "DELETEACL %s bob", "GETQUOTAROOT %s", "GETMETADATA %s /shared/comment", "RENAME %s Other/" + ALICE + "/z"):
        hidden = b.cmd(cmd % share.other)
        missing = b.cmd(cmd % (share.other + "-not"))
        nobody = b.cmd((cmd % ("Other/nobody@example.com/x")).replace(ALICE, "nobody@example.com"))
        assert hidden[0] == "NO" and hidden == missing == nobody, cmd
    m = MSG % ("x", "x")
    answers = set()
    for name in (share.other, share.other + "-not", "Other/nobody@example.com/x"):
        b.send("x APPEND %s {%d+}\r\n%s\r\n" % (name, len(m), m))
        answers.add(b.finish("x")[:2])
        b.send("y APPEND %s {%d}\r\n" % (name, len(m)))
        answers.add(b.finish("y")[:2])
    assert len(answers) == 1 and "TRYCREATE" in answers.pop()[1]
    b.ok("NOOP")


@pytest.mark.parametrize("name", ["Other/%s/../%s/%s", "Other/../%s/%s/%s", "Other/%s/./%s/%s", "Other/%s//%s/%s", "Other//%s/%s/%s"])
def test_climbing(share, bob, name):
    share.rights("lr")
    assert bob().cmd('SELECT "%s"' % (name % (ALICE, ALICE, share.name)))[0] == "NO"


def test_own_name_is_nobody(imap):
    imap().no("SELECT Other/%s/INBOX" % ALICE)
    imap().no("SELECT Other/%s" % BOB)
    imap().no("CREATE Other/x")


# --- copies between users ---

def subjects(c, folder):
    c.ok("SELECT " + folder)
    return re.findall(rb"Subject: (\S+)", b"".join(c.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")))


def test_copy_and_move_across(share, bob):
    b = bob()
    mine = "mine-" + share.name
    b.ok("CREATE " + mine)
    share.fill("one", "two", "three")
    share.rights("lrsw")
    b.ok("SELECT " + share.other)
    b.ok("STORE 2 +FLAGS (\\Flagged $Label9)")
    status, line, _ = b.cmd("COPY 1:2 " + mine)
    assert status == "OK" and re.search(r"\[COPYUID \d+ 1:2 1:2\]", line)
    b.no("MOVE 3 " + mine, "NOPERM")
    share.rights("lrswte")
    untagged = b.ok("UID MOVE 3 " + mine)
    assert re.match(rb"\* OK \[COPYUID \d+ 3 3\]", untagged[0]) and b"* 3 EXPUNGE" in untagged
    assert subjects(b, mine) == [b"one", b"two", b"three"]
    flags = b"".join(b.ok("FETCH 2 (FLAGS BODY.PEEK[TEXT])"))
    assert b"\\Flagged" in flags and b"$Label9" in flags and b"body of two\r\n" in flags
    # and back
    b.no("COPY 1 " + share.other, "NOPERM")
    share.rights("lrswi")
    status, line, _ = b.cmd("COPY 3 " + share.other)
    assert status == "OK" and re.search(r"\[COPYUID \d+ 3 4\]", line), line
    untagged = b.ok("MOVE 1:2 " + share.other)
    assert re.match(rb"\* OK \[COPYUID \d+ 1:2 5:6\]", untagged[0]) and untagged.count(b"* 1 EXPUNGE") + untagged.count(b"* 2 EXPUNGE") == 2
    assert subjects(b, share.other) == [b"one", b"two", b"three", b"one", b"two"]
    b.no("COPY 1 Other/%s/nothing" % ALICE, "TRYCREATE")
    b.no("COPY 1 nothing", "TRYCREATE")
    assert b.cmd("COPY 99 " + mine)[0] == "BAD"
    b.ok("UID COPY 9999 " + mine)
    b.ok("SELECT INBOX")
    b.ok("DELETE " + mine)


def test_big_messages_and_many(share, bob):
    """More than any buffer, and more than one write."""
    b = bob()
    share.rights("lri")
    big = "From: a@b\r\nSubject: big\r\n\r\n" + "0123456789abcdef\r\n" * 150000
    share.owner.append(share.name, big)
    share.fill(*["m%d" % i for i in range(30)])
    mine = "mine-" + share.name
    b.ok("CREATE " + mine)
    b.ok("SELECT " + share.other)
    assert b.fetch1("1 BODY.PEEK[]", "BODY[]") == big.encode()
    b.ok("COPY 1:* " + mine)
    b.ok("SELECT " + mine)
    assert b.fetch1("1 BODY.PEEK[]", "BODY[]") == big.encode()
    b.ok("COPY 1:* " + share.other)
    got = b.ok("SELECT " + share.other)
    assert b"* 62 EXISTS" in got
    assert b.fetch1("32 BODY.PEEK[]", "BODY[]") == big.encode()
    b.ok("DELETE " + mine)


# --- folders below, administration by guests ---

def test_search_of_folders_of_others_and_own_together(share, bob):
    """RFC 7377: each folder answers by itself, with the client's tag; what may not be read is passed over."""
    share.fill("one apple", "two", "three apple")
    share.owner.ok("CREATE %s/sub" % share.name)
    share.owner.append(share.name + "/sub", MSG % ("four apple", "x"))
    share.owner.ok("CREATE %s/hidden" % share.name)
    share.owner.append(share.name + "/hidden", MSG % ("five apple", "x"))
    b = bob()
    own = "own-%s" % share.name
    b.ok("CREATE " + own)
    b.append(own, MSG % ("six apple", "x"))

    def search(sources, rest='SUBJECT "apple"'):
        got = lines(b.ok("ESEARCH IN (%s) RETURN (ALL) %s" % (sources, rest), tag="find.1"), "ESEARCH")
        assert all(l.startswith('* ESEARCH (TAG "find.1" MAILBOX ') for l in got), got
        return sorted((re.search(r"MAILBOX (\S+) UIDVALIDITY [1-9]", l).group(1), l.rsplit(" ", 1)[1]) for l in got)

    assert search("mailboxes (%s %s)" % (share.other, own)) == [(own, "1")], "nothing is shared yet"
    share.rights("lr")
    share.rights("lr", sub="/sub")
    share.rights("l", sub="/hidden")
    assert search("mailboxes (%s %s)" % (share.other, own)) == sorted([(share.other, "1,3"), (own, "1")])
    assert search("subtree %s" % share.other) == [(share.other, "1,3"), (share.other + "/sub", "1")]
    assert search("mailboxes (%s/hidden %s/sub) subtree-one %s" % (share.other, share.other, own)) == sorted([(share.other + "/sub", "1"), (own, "1")])
    assert search("mailboxes (%s Other/nobody@example.com/x)" % share.other, "ALL") == [(share.other, "1:3")]
    assert [x for x in search("personal", 'SUBJECT "six apple"')] == [(own, "1")]
    b.send("x ESEARCH IN (mailboxes %s) RETURN (COUNT) SUBJECT {5+}\r\napple\r\n" % share.other)
    status, _, got = b.finish("x")
    assert status == "OK" and lines(got, "ESEARCH")[0].endswith("UID COUNT 2")
    b.ok("SELECT " + share.other)
    assert search("mailboxes %s selected" % own) == [(own, "1")], "the selected mailbox of another one is not ours to search"
    assert sorted(l.decode() for l in b.ok("SEARCH SUBJECT apple") if b"SEARCH" in l) == ["* SEARCH 1 3"]
    b.ok("UNSELECT")
    status, line, got = b.cmd("ESEARCH IN (mailboxes %s) RETURN (ALL) NONSENSE" % share.other)
    assert status == "BAD" and not got
    b.ok("NOOP")
    b.ok("DELETE " + own)


def test_refused_searches_keep_no_memory(suite, share, bob):
    """What was gathered about the owners goes with the command, however it ends."""
    b = bob()
    sources = " ".join(share.other + "/" + "x" * 400 + str(i) for i in range(100))
    (pid,) = [p[0] for p in suite.processes() if p[3] == "imapd: session %s" % BOB]

    def refused(times):
        for _ in range(times):
            assert b.cmd("ESEARCH IN (mailboxes (%s)) RETURN (SAVE) ALL" % sources)[0] == "BAD"
            assert b.cmd("ESEARCH IN (mailboxes (%s)) RETURN (ALL) CHARSET X-NONE ALL" % sources)[0] == "NO"

    def kilobytes():
        with open("/proc/%d/status" % pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmData:"))

    refused(10)
    before = kilobytes()
    refused(100)        # 8 MB of names
    assert kilobytes() - before < 2048


def test_a_search_whose_owner_dies_goes_on(suite, share, bob):
    share.fill("apple")
    share.rights("lr")
    b = bob()
    b.append("INBOX", MSG % ("apple in my inbox", "x"))
    b.ok("STATUS %s (MESSAGES)" % share.other)
    owner = [p[0] for p in suite.processes() if p[3] == "imapd: session %s" % ALICE][0]
    os.kill(owner, signal.SIGSTOP)
    try:
        b.send("y ESEARCH IN (mailboxes (%s INBOX)) RETURN (COUNT) SUBJECT apple\r\n" % share.other)
    finally:
        os.kill(owner, signal.SIGKILL)
    status, line, got = b.finish("y")
    assert status == "OK" and [l for l in lines(got, "ESEARCH") if "MAILBOX INBOX" in l], (line, got)


@pytest.mark.parametrize("command, answer", [("SELECT %s", "* 1 EXISTS"), ('LIST "" Other/*', '"/" %s')])
def test_what_was_shared_with_ok_is_there_at_once(suite, share, imap, command, answer):
    """authd may read the guest's question before the owner's word, on another socket, whichever came first: here it reads both in one round, the question first. The
    guest is somebody with whom nobody has shared anything."""
    share.fill("one")
    guest = "guest-%d@example.com" % next(numbers)
    suite.user_add(guest, "secret")
    suite.passwords[guest] = "secret"
    asks, other = imap(guest), imap(guest)
    command, answer = (text.replace("%s", share.other) for text in (command, answer))
    authd = [p[0] for p in suite.processes() if p[3].startswith("authd: monitor")][0]
    os.kill(authd, signal.SIGSTOP)
    try:
        asks.send("a %s\r\n" % command)
        other.ok("NOOP")
        share.rights("lr", guest)
    finally:
        os.kill(authd, signal.SIGCONT)
    status, line, got = asks.finish("a")
    assert status == "OK" and [l for l in got if l.decode().endswith(answer)], (line, got)
    asks.no("SELECT Other/nobody@example.com/x", "NONEXISTENT")


def test_guest_makes_and_removes_folders(share, bob):
    b = bob()
    share.rights("lrkxa")
    b.ok("CREATE %s/below/deep" % share.other)      # inherits the list
    b.ok("SELECT %s/below/deep" % share.other)
    b.ok("RENAME %s/below/deep %s/new" % (share.other, share.other))
    b.no("RENAME %s/new mine" % share.other)
    b.no("RENAME %s/new Other/%s/top" % (share.other, ALICE), "NOPERM")
    b.ok("UNSELECT")
    b.ok("DELETE %s/new" % share.other)
    b.ok("SETACL %s fred@example.com lr" % share.other)
    assert b"fred@example.com lr" in share.owner.ok("GETACL " + share.name)[0]
    assert ("* ACL %s " % share.other).encode() in b.ok("GETACL " + share.other)[0]
    b.no("CREATE Other/%s/top" % ALICE, "NOPERM")


def test_metadata_and_quota_root(share, bob):
    b = bob()
    share.rights("lrw")
    share.owner.ok('SETMETADATA %s (/private/comment "secret" /shared/comment "open")' % share.name)
    got = b.ok("GETMETADATA (DEPTH infinity) %s (/private/comment /shared/comment)" % share.other)
    assert len(got) == 1 and b"open" in got[0] and b"secret" not in got[0], got
    b.ok("SETMETADATA %s (/shared/comment \"new\")" % share.other)
    b.no("SETMETADATA %s (/private/comment \"new\")" % share.other, "METADATA NOPRIVATE")
    assert b.ok("GETQUOTAROOT " + share.other) == [("* QUOTAROOT " + share.other).encode()]


# --- hostile, and bad luck ---

def session_pid(user):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            title = open("/proc/%s/cmdline" % pid, "rb").read().split(b"\0")[0]
        except OSError:
            continue
        if title == b"imapd: session " + user.encode():
            return int(pid)
    return None


def test_right_withdrawn_while_selected(share, bob):
    share.fill("one")
    share.rights("lr")
    b = bob()
    b.ok("SELECT " + share.other)
    share.owner.ok("DELETEACL %s %s" % (share.name, BOB))
    with pytest.raises(Closed):
        while not b.line().startswith(b"* BYE"):
            pass
        b.line()
    bob().no("SELECT " + share.other, "NONEXISTENT")


@pytest.mark.parametrize("by", ["command", "tool"])
def test_right_withdrawn_while_idling(suite, share, bob, by):
    share.rights("lr")
    b = bob()
    b.ok("SELECT " + share.other)
    b.send("i IDLE\r\n")
    assert b.line() == b"+ idling"
    if by == "command":
        share.owner.ok("DELETEACL %s %s" % (share.name, BOB))
    else:
        share_tool(suite, "-f", share.name, "share", ALICE, BOB, "none")
    share.fill("secret")
    told = []
    with pytest.raises(Closed):
        while True:
            told.append(b.line())
    assert told and told[-1].startswith(b"* BYE") and not [l for l in told if b"EXISTS" in l], told


@pytest.mark.parametrize("command", ["COPY", "MOVE"])
def test_copy_to_an_owner_who_is_not_there(share, bob, command):
    """The target's link ends before the first message has come from the source."""
    share.fill("one", "two")
    share.rights("lrte")
    b = bob()
    b.ok("SELECT " + share.other)
    for n in range(5):
        b.no("%s 1:* Other/nobody%d@example.com/x" % (command, n), "TRYCREATE")
    b.ok("SELECT INBOX")
    b.append("INBOX", MSG % ("mine", "mine"))
    b.no("%s 1:* Other/nobody@example.com/x" % command, "TRYCREATE")
    b.ok("SELECT " + share.other)
    assert b.fetch1("1 BODY.PEEK[TEXT]", "BODY[TEXT]") == b"body of one\r\n"


def test_more_copies_than_the_source_answers(share, bob):
    """Each copy fails at once at its target, but the owner's process still has to answer for it; it stands still meanwhile."""
    share.fill("one")
    share.rights("lr")
    b = bob()
    b.ok("SELECT " + share.other)
    pid = session_pid(ALICE)
    os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(8):
            b.no("COPY 1 Other/nobody@example.com/x", "TRYCREATE")
        for command in ("COPY 1 Other/nobody@example.com/x", "MOVE 1 INBOX", "NOOP", "SELECT " + share.other, "APPEND %s {3+}\r\nx\r\n" % share.other):
            b.no(command, "LIMIT")
    finally:
        os.kill(pid, signal.SIGCONT)
    b.ok("SELECT INBOX")
    assert b"* 1 EXISTS" in b.ok("SELECT " + share.other)


def test_owner_process_is_killed(share, bob):
    share.fill("one")
    share.rights("lr")
    b, other = bob(), bob()
    b.ok("SELECT " + share.other)
    os.kill(session_pid(ALICE), signal.SIGKILL)
    with pytest.raises(Closed):
        while True:
            b.line()
    # others of the guest's connections go on, and the owner's process comes back on demand
    assert b"* 1 EXISTS" in other.ok("SELECT " + share.other)


def test_guest_that_does_not_read(share, bob, imap):
    big = "From: a@b\r\nSubject: big\r\n\r\n" + "0123456789abcdef\r\n" * 60000
    for _ in range(8):
        share.owner.append(share.name, big)
    share.rights("lr")
    b = bob()
    b.ok("SELECT " + share.other)
    b.send("".join("f%d FETCH 1:* BODY.PEEK[]\r\n" % i for i in range(20)))     # 170 MB
    c = imap()
    for _ in range(20):
        c.ok("STATUS %s (MESSAGES)" % share.name)
    status = open("/proc/%d/status" % session_pid(ALICE)).read()
    assert int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) < 40000
    status = open("/proc/%d/status" % session_pid(BOB)).read()
    assert int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) < 40000
    b.close()
    c.ok("NOOP")


def test_nothing_of_ones_own_is_served_to_guests(share, bob):
    """A CATENATE URL is not a way around the lists."""
    share.owner.append("INBOX", MSG % ("private", "private"))
    share.rights("lri")
    b = bob()
    b.ok("SELECT " + share.other)
    for url in ("/INBOX/;UID=1", "/Other/%s/INBOX/;UID=1" % ALICE, "imap://x/INBOX/;UID=1"):
        b.no('APPEND %s CATENATE (URL "%s")' % (share.other, url), "BADURL")
    assert b.cmd("ESEARCH IN (personal) RETURN (ALL) ALL")[0] in ("OK", "BAD", "NO")


# --- the administrator's tools, public folders ---

def share_tool(suite, *args, check=True):
    return suite.tool("postern-mailbox", *args, check=check)


def test_a_list_that_changes_all_the_time_is_written_now_and_then(suite, share):
    """authd's file of who shares with whom: each write is a sync that the logins of all users wait for."""
    path, writes, turns = suite.state / "shares", set(), 60
    start = time.monotonic()
    for i in range(turns):
        share.rights("lr" if i % 2 == 0 else "", who="toggled@example.com")
        if path.exists():
            writes.add((path.stat().st_ino, path.stat().st_mtime_ns))
    share.rights("lr", who="kept@example.com")
    assert len(writes) <= 2 + (time.monotonic() - start) / 2
    end = time.monotonic() + 30
    while "kept@example.com" not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < end, "the last change was never written"
        time.sleep(0.05)


def test_the_last_change_is_written_at_the_end(fresh_suite):
    s = fresh_suite("ending")
    c = Imap(s, login=ALICE)
    c.ok("CREATE kept")
    c.ok("SETACL kept %s lr" % BOB)
    s.stop()
    assert BOB in (s.state / "shares").read_text()


def test_public_folders(suite, bob):
    if not suite.user_exists("_postern_public"):
        suite.tool("postern-user", "public")
    share_tool(suite, "-f", "ideas", "create", "_postern_public")
    share_tool(suite, "-f", "ideas", "share", "_postern_public", "anyone", "lrsp")
    b = bob()
    assert '* LIST (\\HasNoChildren) "/" Shared/ideas' in lines(b.ok('LIST "" "Shared/*"'), "LIST")
    b.ok("SELECT Shared/ideas")
    rows = [json.loads(l) for l in share_tool(suite, "--json", "-f", "ideas", "acl", "_postern_public").stdout.splitlines()]
    assert rows == [{"folder": "ideas", "state": "ok", "identifier": "anyone", "kind": "positive", "rights": "lrsp"}]
    assert share_tool(suite, "-f", "ideas", "share", "_postern_public", "anyone", "lq", check=False).returncode != 0
    assert share_tool(suite, "-f", "nothing", "share", "_postern_public", "anyone", "l", check=False).returncode != 0
    # nobody logs in as their owner
    c = Imap(suite)
    assert c.cmd('LOGIN _postern_public ""')[0] in ("NO", "BAD")
    assert c.cmd('LOGIN _postern_public x')[0] == "NO"
    c.close()
    share_tool(suite, "-f", "ideas", "share", "_postern_public", "anyone", "none")
    b.ok("UNSELECT") if b.cmd("NOOP")[0] == "OK" else None
    bob().no("SELECT Shared/ideas", "NONEXISTENT")


def rights_of(suite, folder):
    rows = [json.loads(l) for l in share_tool(suite, "--json", "-f", folder, "acl", ALICE).stdout.splitlines()]
    return {r["identifier"]: r["rights"] for r in rows}


def test_words_for_rights(suite, share):
    """A word is not taken for its letters: of "read" one would be the right to give rights."""
    for word, letters in (("read", "lrs"), ("write", "lrswite"), ("all", "lrswipkxtea")):
        share_tool(suite, "-f", share.name, "share", ALICE, BOB, word)
        assert sorted(rights_of(suite, share.name)[BOB]) == sorted(letters)
    share_tool(suite, "-f", share.name, "share", ALICE, BOB, "read")
    for word in ("readwrite", "lrr", "Read", "+readwrite"):
        got = share_tool(suite, "-f", share.name, "share", ALICE, BOB, word, check=False)
        assert got.returncode != 0 and b"right" in got.stdout, got.stdout
        assert rights_of(suite, share.name)[BOB] == "lrs"
    share_tool(suite, "-f", share.name, "share", ALICE, BOB, "+write")
    share_tool(suite, "-f", share.name, "share", "--", ALICE, BOB, "-read")
    assert sorted(rights_of(suite, share.name)[BOB]) == sorted("wite")


def test_who_is_no_user_is_told_of(suite, share):
    got = share_tool(suite, "-f", share.name, "share", ALICE, "bbo@example.com", "read")
    assert b"there is no user bbo@example.com" in got.stdout and rights_of(suite, share.name)["bbo@example.com"] == "lrs"
    for who in ("anyone", BOB):
        assert b"no user" not in share_tool(suite, "-f", share.name, "share", ALICE, who, "read").stdout
    for args, told in ((("share", ALICE, BOB, "read"), b"of which folder?"), (("-f", share.name, "share", ALICE, BOB), b"which rights?"),
                       (("shaer", ALICE), b'no word "shaer"'), (("stat",), b"of which user?")):
        got = share_tool(suite, *args, check=False)
        assert got.returncode == 64 and told in got.stdout, got.stdout


def test_mail_to_public_folders(suite, mail, bob):
    """Only where anyone has p."""
    if not suite.user_exists("_postern_public"):
        suite.tool("postern-user", "public")
    for name, rights in (("post", "lrp"), ("read", "lr")):
        share_tool(suite, "-f", name, "create", "_postern_public")
        share_tool(suite, "-f", name, "share", "_postern_public", "anyone", rights)
    with smtplib.SMTP("127.0.0.1", suite.port("SMTP"), timeout=30) as s:
        s.sendmail("a@example.net", ["_postern_public+post@localhost"], MSG % ("p", "p"))
        for ext in ("+read", "", "+nothing", "+../alice"):
            with pytest.raises((smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)) as why:
                s.sendmail("a@example.net", ["_postern_public%s@localhost" % ext], MSG % ("x", "x"))
            assert "(5" in str(why.value), why.value
    b = bob()
    assert b"* 1 EXISTS" in b.ok("SELECT Shared/post")
    assert b"* 0 EXISTS" in b.ok("SELECT Shared/read")
