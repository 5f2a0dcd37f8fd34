"""SORT and THREAD (RFC 5256, RFC 5957, RFC 5267's ESORT, RFC 6203's RELEVANCY)."""
import os
import random
import re
import signal
import time

import pytest

from imapmessages import crlf
from imapraw import Closed
from threadmodel import references


def mail(subject, date="Mon, 7 Feb 1994 21:52:25 -0800", id=None, refs=None, sender="a@x", to="t@x", cc=None, body="x"):
    head = "From: %s\nTo: %s\nSubject: %s\n" % (sender, to, subject)
    head += "Date: %s\n" % date if date else ""
    head += "Cc: %s\n" % cc if cc else ""
    head += "Message-ID: <%s@h>\n" % id if id else ""
    head += "References: %s\n" % " ".join("<%s@h>" % r for r in refs) if refs else ""
    return crlf(head + "\n" + body + "\n")


MAILS = [
    (mail("Re: banana", "Tue, 8 Feb 1994 10:00:00 +0000", "b2", ["b1"], '"Zoe" <mallory@x>', '"A" <x@h>', "z@x", "x" * 500), "01-Jan-2001 00:00:03 +0000"),
    (mail("apple", "Tue, 8 Feb 1994 12:00:00 +0300", "a1", None, "bob@x", '"Z" <y@h>'), "01-Jan-2001 00:00:01 +0000"),
    (mail("Banana", "Mon, 7 Feb 1994 21:52:25 -0800", "b1", None, "=?utf-8?q?=C3=84nne?= <carl@x>", "=?utf-8?q?b?= <z@h>", "a@x"), "01-Jan-2001 00:00:02 +0000"),
    (mail("[list] cherry (fwd)", None, "c1", ["none"], "alice@x"), "01-Jan-1990 00:00:00 +0000"),
    (mail("Re: other", "Wed, 9 Feb 1994 10:00:00 +0000", "b3", ["b1", "b2"], "dave@x"), "01-Jan-2001 00:00:04 +0000"),
]


@pytest.fixture
def c(imap, folder):
    c = imap()
    for m, when in MAILS:
        c.append(folder, m, '"%s" ' % when)
    c.append(folder, mail("gone"))
    c.ok("SELECT " + folder)
    c.ok("STORE 6 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    return c


def result(c, cmd, verb="SORT"):
    got = [l.decode() for l in c.ok(cmd) if l.startswith(b"* " + verb.encode())]
    assert len(got) == 1, got
    return got[0][len("* " + verb):].strip()


@pytest.mark.parametrize("by, want", [
    ("ARRIVAL", "4 2 3 1 5"), ("REVERSE ARRIVAL", "5 1 3 2 4"), ("DATE", "4 3 2 1 5"), ("REVERSE DATE", "5 1 2 3 4"), ("SUBJECT", "2 1 3 4 5"),
    ("SUBJECT DATE", "2 3 1 4 5"), ("SUBJECT REVERSE ARRIVAL", "2 1 3 4 5"), ("REVERSE SUBJECT", "5 4 1 3 2"), ("FROM", "4 2 3 5 1"),
    ("TO", "4 5 1 2 3"), ("CC", "2 4 5 3 1"), ("DISPLAYFROM", "4 3 2 5 1"), ("DISPLAYTO", "1 3 4 5 2"), ("REVERSE REVERSE DATE", "BAD"), ("FOO", "BAD"),
])
def test_criteria(c, by, want):
    cmd = "SORT (%s) UTF-8 ALL" % by
    if want == "BAD":
        c.bad(cmd)
    else:
        assert result(c, cmd) == want


def test_sort_forms(c):
    assert result(c, "SORT (REVERSE SIZE) UTF-8 ALL").split()[0] == "1"
    assert result(c, "SORT (DATE) US-ASCII SUBJECT banana") == "3 1"
    assert result(c, "UID SORT (REVERSE DATE) UTF-8 UNDELETED 1:3") == "1 2 3"
    assert result(c, "SORT (DATE) UTF-8 SUBJECT nothing") == ""
    assert re.match(r"5 1 2 3 4 \(MODSEQ \d+\)$", result(c, "SORT (REVERSE DATE) UTF-8 MODSEQ 1"))
    c.no("SORT (DATE) KOI8-R ALL", "BADCHARSET")
    for bad in ("SORT", "SORT (DATE)", "SORT (DATE) UTF-8", "SORT () UTF-8 ALL", "SORT DATE UTF-8 ALL", "SORT (DATE) ALL", "THREAD FOO UTF-8 ALL", "THREAD REFERENCES UTF-8",
                "THREAD REFERENCES ALL"):
        c.bad(bad)


def test_esort(c):
    def esearch(cmd):
        got = [l.decode() for l in c.cmd(cmd, tag="E1")[2] if l.startswith(b"* ESEARCH")]
        return got[0][len('* ESEARCH (TAG "E1")'):].strip()
    assert esearch("SORT RETURN (MIN MAX COUNT) (REVERSE DATE) UTF-8 ALL") == "MIN 5 MAX 4 COUNT 5"
    assert esearch("SORT RETURN () (REVERSE DATE) UTF-8 ALL") == "ALL 5,1:4"
    assert esearch("UID SORT RETURN (PARTIAL 2:3) (REVERSE DATE) UTF-8 ALL") == "UID PARTIAL (2:3 1:2)"
    assert esearch("SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 ALL") == "PARTIAL (-1:-2 1,5)"
    assert esearch("SORT RETURN (COUNT SAVE) (DATE) UTF-8 SUBJECT banana") == "COUNT 2"
    assert c.ok("SEARCH $") == [b"* SEARCH 1 3"]
    assert any(b'[NOUPDATE "E2"]' in l for l in c.cmd("SORT RETURN (COUNT UPDATE) (DATE) UTF-8 ALL", tag="E2")[2])
    assert esearch("SORT RETURN (ALL RELEVANCY) (RELEVANCY DATE) UTF-8 FUZZY SUBJECT \"banana re\"") == "ALL 1 RELEVANCY (50)"


@pytest.mark.parametrize("alg, want", [
    ("ORDEREDSUBJECT", "(4)(3 1)(2)(5)"), ("REFERENCES", "(4)(3 1 5)(2)"), ("REFS", "(4)(2)(3 1 5)"),
])
def test_thread(c, alg, want):
    assert result(c, "THREAD %s UTF-8 ALL" % alg, "THREAD") == want


def test_thread_forms(c):
    assert result(c, "UID THREAD REFERENCES US-ASCII 2:3", "THREAD") == "(3)(2)"
    assert result(c, "THREAD REFERENCES UTF-8 SUBJECT nothing", "THREAD") == ""
    # the middle of a thread is not found: its ends stay together
    assert result(c, "THREAD REFERENCES UTF-8 NOT 1", "THREAD") == "(4)(3 5)(2)"


def test_thread_merges_by_subject(imap, folder):
    c = imap()
    c.append(folder, mail("hello", "Mon, 7 Feb 1994 00:00:00 +0000", "x1"))
    c.append(folder, mail("Re: hello", "Tue, 8 Feb 1994 00:00:00 +0000", "x2"))
    c.append(folder, mail("hello", "Wed, 9 Feb 1994 00:00:00 +0000", "x3"))
    c.ok("SELECT " + folder)
    assert result(c, "THREAD REFERENCES UTF-8 ALL", "THREAD") == "((1 2)(3))"
    assert result(c, "THREAD REFS UTF-8 ALL", "THREAD") == "(1)(2)(3)"


KEPT = ["SORT (SUBJECT) UTF-8 ALL", "UID SORT (REVERSE DATE) UTF-8 UNSEEN", "THREAD REFERENCES UTF-8 ALL", "UID THREAD ORDEREDSUBJECT US-ASCII UNDELETED",
        "SORT (ARRIVAL) UTF-8 OLDER 86400", "SORT (SIZE) UTF-8 RECENT", "SORT (CC) UTF-8 SUBJECT {1+}\r\na"]


def answers(c):
    return [[l for l in c.ok(cmd) if l.startswith((b"* SORT", b"* THREAD"))] for cmd in KEPT]


def test_a_kept_answer_is_what_a_new_one_would_be(c, imap, folder):
    """Answers are kept with the folder while nothing changes: each change by anybody must show, and a connection that was not told of an expunge keeps its
    numbers. The judge is a folder of the same messages, whose answers nobody has kept."""
    def judged():
        judge = imap()
        judge.ok("CREATE %s-judge" % folder)
        c.ok("COPY 1:* %s-judge" % folder)
        judge.ok("EXAMINE %s-judge" % folder)       # peeks: recent stays
        want = answers(judge)
        judge.ok("CLOSE")
        judge.ok("DELETE %s-judge" % folder)
        judge.close()
        return want

    def same(got, want):
        return [g for n, g in enumerate(got) if n not in (1, 3, 5)] == [w for n, w in enumerate(want) if n not in (1, 3, 5)]     # no UIDs, no \Recent

    other = imap()
    other.ok("SELECT " + folder)
    first = answers(c)
    assert answers(c)[:5] == first[:5] and answers(other)[:5] == first[:5] and same(first, judged())
    changes = [lambda: c.append(folder, mail("aaa first", "Sun, 6 Feb 1994 10:00:00 +0000", "n1", ["b1"])),
               lambda: other.ok("STORE 2 +FLAGS (\\Seen)"),
               lambda: other.ok("STORE 1,4 +FLAGS (\\Deleted)")]
    for change in changes:
        change()
        c.ok("NOOP")
        assert same(answers(c), judged())
        other.ok("NOOP")
        assert answers(other)[:5] == answers(c)[:5]
    assert b" 2" not in answers(c)[1][0].split(b"SORT", 1)[1] + b" "
    kept = answers(c)
    # While numbers are in use no expunge is told: the numbers of c hold, and so does what it is answered by them.
    other.ok("EXPUNGE")
    assert answers(other)[0] != kept[0]
    assert len(answers(other)[0][0].split()) == len(kept[0][0].split()) - 2
    c.ok("NOOP")
    assert answers(c)[:5] == answers(other)[:5] and same(answers(c), judged())


SUBJECTS = ["apple", "Re: apple", "banana split for all", "banana split for nobody", "cherry", ""]
SENDERS = ["ann", "bob", "carl"]


class Model:
    """What the folder holds, in order."""

    def __init__(self, rng, names):
        self.rng, self.rows, self.names = rng, [], names

    def mail(self):
        subject, sender, day = self.rng.choice(SUBJECTS), self.rng.choice(SENDERS), self.rng.randrange(1, 8)
        name, refs = "m%d" % self.rng.randrange(self.names), ["m%d" % self.rng.randrange(self.names) for _n in range(self.rng.choice((0, 0, 1, 1, 2, 3)))]
        text = mail(subject, "%d Feb 1994 10:00:00 +0000" % day, name, refs, sender + "@x")
        return text, {"SUBJECT": subject.replace("Re: ", "").upper(), "FROM": sender.upper(), "DATE": day, "id": name, "refs": refs, "reply": subject.startswith("Re:"),
                      "seen": False}

    def sort(self, by, wanted):
        """Equals stay in the order of their numbers, in a reverse order, too (RFC 5256 section 3): as Python does it."""
        rows = [(seq, r) for seq, r in enumerate(self.rows, 1) if wanted(r)]
        for name in reversed(by):
            rows.sort(key=lambda row: row[1][name.replace("REVERSE ", "")], reverse=name.startswith("REVERSE "))
        return rows


def connected(imap, folder):
    """Two that have it selected. A session that was killed leaves connections that end while they log in."""
    end = time.monotonic() + 30
    while True:
        try:
            a, b = imap(), imap()
            a.ok("SELECT " + folder)
            b.ok("SELECT " + folder)
            return a, b
        except (Closed, AssertionError, OSError):
            assert time.monotonic() < end
            time.sleep(0.05)


def follow(rng, imap, folder, first, rounds, between=lambda: False):
    """Orders and answers against a model, while another connection adds, removes and flags; where between() says so, the session process is another one."""
    model = Model(rng, first * 4 // 3)
    a, b = connected(imap, folder)
    next_uid = 1

    def add(n):
        nonlocal next_uid
        for _k in range(n):
            text, facts = model.mail()
            b.append(folder, text)
            model.rows.append({"uid": next_uid, **facts})
            next_uid += 1

    def remove():
        n = rng.randrange(1, 4)
        for uid in [r["uid"] for r in rng.sample(model.rows, min(n, len(model.rows)))]:
            b.ok("UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
            model.rows = [r for r in model.rows if r["uid"] != uid]
        b.ok("EXPUNGE")

    def flag():
        row = rng.choice(model.rows)
        row["seen"] = not row["seen"]
        b.ok("UID STORE %d %sFLAGS.SILENT (\\Seen)" % (row["uid"], "+" if row["seen"] else "-"))

    add(first)
    for _round in range(rounds):
        if between():
            a, b = connected(imap, folder)
        rng.choice([lambda: add(1), lambda: add(3), remove, flag, flag, lambda: add(80) if rng.random() < 0.1 else None])()
        if rng.random() < 0.3:      # behind what the other one did
            a.ok("SORT (SUBJECT DATE) UTF-8 ALL")
        c = rng.choice([a, b])
        c.ok("NOOP")
        by = rng.choice([["DATE"], ["REVERSE DATE"], ["SUBJECT"], ["SUBJECT", "DATE"], ["REVERSE SUBJECT", "REVERSE DATE"], ["FROM", "SUBJECT"]])
        keys, wanted = rng.choice([("ALL", lambda r: True), ("ALL", lambda r: True), ("UNSEEN", lambda r: not r["seen"]), ("FROM bob", lambda r: r["FROM"] == "BOB")])
        want = model.sort(by, wanted)
        assert result(c, "SORT (%s) UTF-8 %s" % (" ".join(by), keys)) == " ".join(str(seq) for seq, _r in want), (by, keys)
        assert result(c, "UID SORT (%s) UTF-8 %s" % (" ".join(by), keys)) == " ".join(str(r["uid"]) for _seq, r in want), (by, keys)
        for alg in ("REFERENCES", "REFS"):
            assert result(c, "THREAD %s UTF-8 ALL" % alg, "THREAD") == result(c, "THREAD %s UTF-8 UNKEYWORD round%d" % (alg, _round), "THREAD")
        assert result(c, "THREAD REFERENCES UTF-8 ALL", "THREAD") == references(model.rows)
        few = min(rng.randrange(1, 20), len(model.rows))
        assert result(c, "THREAD REFERENCES UTF-8 1:%d" % few, "THREAD") == references(model.rows[:few])


@pytest.mark.parametrize("seed", range(3))
def test_orders_follow_the_folder(imap, folder, seed):
    follow(random.Random(seed), imap, folder, 30, 60)


def test_orders_from_a_file(suite, imap, folder):
    """A folder that is sorted or threaded as a whole gets a file of keys. What a process that has nothing but it answers follows the folder all the same."""
    rng, kept, rounds = random.Random(7), suite.maildir("alice@example.com") / ("." + folder) / "postern.keys", iter(range(1000))
    seen = set()

    def between():
        n = next(rounds)
        if n == 0 or (not kept.exists() and n % 7):
            return False
        end = time.monotonic() + 30
        while not kept.exists():
            assert time.monotonic() < end, "no file of keys is made"
            time.sleep(0.02)
        seen.add(kept.stat().st_ino)
        if rng.random() < 0.6:
            return False
        for pid, _user, _comm, cmd in suite.processes():
            if "imapd: session alice" in cmd:
                os.kill(pid, signal.SIGKILL)
        return True
    follow(rng, imap, folder, 300, 40, between)
    assert seen
