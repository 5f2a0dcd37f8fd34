"""APPENDs that are sent without waiting for the answers (LITERAL+): each is answered, in order, and what was at hand together is one sync."""
import re
import subprocess

import pytest

from imapraw import Imap
from test_slices import Trace

ALICE = "alice@example.com"


def text(key, size=60):
    return b"Subject: %s\r\n\r\n%s\r\n" % (key.encode(), b"x" * size)


def append(tag, folder, message, args=""):
    return b"%s APPEND %s %s{%d+}\r\n%s\r\n" % (tag.encode(), folder.encode(), args.encode(), len(message), message)


def answers(c, last):
    """Tagged answers up to that tag: [(tag, status, line)]"""
    got = []
    while not got or got[-1][0] != last:
        line = c.line().decode()
        if not line.startswith(("* ", "+ ")):
            tag, status, _ = (line + " ").split(" ", 2)
            got.append((tag, status, line))
    return got


def subjects(c, folder):
    """By UID."""
    c.ok("EXAMINE " + folder)
    found = {}
    for line in c.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
        m = re.search(rb"UID (\d+) .*Subject: (\S+)", line, re.S)
        if m:
            found[int(m.group(1))] = m.group(2).decode()
    return found


def test_each_is_answered_in_order_with_its_own_uid(imap, folder):
    c = imap()
    c.send(b"".join(append("p%d" % k, folder, text("s%d" % k)) for k in range(30)))
    got = answers(c, "p29")
    assert [(tag, status) for tag, status, _ in got] == [("p%d" % k, "OK") for k in range(30)]
    told = [int(re.search(r"APPENDUID \d+ (\d+)\]", line).group(1)) for _, _, line in got]
    assert told == sorted(told)
    assert subjects(c, folder) == {uid: "s%d" % k for k, uid in enumerate(told)}


def test_a_row_of_them_is_one_sync(imap, folder, suite, tmp_path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(suite.maildir(ALICE))], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    if kind not in ("ext2/ext3", "xfs", "tmpfs"):
        pytest.skip("mail is on " + kind)
    c = imap()
    c.append(folder, text("first"))
    with Trace(tmp_path / "trace", "fsync,fdatasync,renameat2") as t:
        c.send(b"".join(append("p%d" % k, folder, text("s%d" % k)) for k in range(20)))
        assert all(status == "OK" for _, status, _ in answers(c, "p19"))
    lines = "\n".join(t.lines())
    assert lines.count("renameat2(") == 20
    # One where all of it comes in one piece; what lies between may cut it.
    assert 1 <= len(re.findall(r"f(?:data)?sync\(", lines)) <= 5, lines


def test_what_fails_takes_no_other_along(imap, folder):
    c = imap()
    c.ok("CREATE %s-2" % folder)
    big = b"x" * 100
    c.send(append("a", folder, text("one")) + append("b", folder, text("two")) +
           b"c APPEND %s (\\Seen {3+}\r\nxyz\r\n" % folder.encode() + append("d", folder, text("three")) + append("e", "no-such-folder", text("four")) +
           append("f", folder + "-2", text("five")) + append("g", folder + "-2", text("six"), "($Key) ") + append("h", folder + "-2", text("seven")) +
           b"i NOOP\r\n" + b"j APPEND %s {%d+}\r\n" % (folder.encode(), len(big) + len(text("8"))) + text("8") + big + b"\r\nk STATUS %s (MESSAGES)\r\n" % folder.encode())
    got = answers(c, "k")
    assert [(tag, status) for tag, status, _ in got] == [("a", "OK"), ("b", "OK"), ("c", "BAD"), ("d", "OK"), ("e", "NO"), ("f", "OK"), ("g", "OK"), ("h", "OK"),
                                                         ("i", "OK"), ("j", "OK"), ("k", "OK")]
    assert "TRYCREATE" in got[4][2]
    assert list(subjects(c, folder).values()) == ["one", "two", "three", "8"]
    assert list(subjects(c, folder + "-2").values()) == ["five", "six", "seven"]
    c.ok("CLOSE")
    c.ok("DELETE %s-2" % folder)


def test_nobody_waits_for_what_has_not_come(imap, folder):
    """Half a message more, then nothing: what was complete is answered, and the rest goes on later."""
    c = imap()
    half = append("d", folder, text("d", 500))
    c.send(b"".join(append(t, folder, text(t)) for t in "abc") + half[:200])
    assert [(tag, status) for tag, status, _ in answers(c, "c")] == [("a", "OK"), ("b", "OK"), ("c", "OK")]
    c.send(half[200:] + append("e", folder, text("e")))
    assert [(tag, status) for tag, status, _ in answers(c, "e")] == [("d", "OK"), ("e", "OK")]
    assert list(subjects(c, folder).values()) == list("abcde")


def test_synchronizing_literals_between_them(imap, folder):
    c = imap()
    c.send(append("a", folder, text("a")) + append("b", folder, text("b")) + b"c APPEND %s {%d}\r\n" % (folder.encode(), len(text("c"))))
    assert [(tag, status) for tag, status, _ in answers(c, "b")] == [("a", "OK"), ("b", "OK")]
    line = c.line()
    while line.startswith(b"* "):
        line = c.line()
    assert line.startswith(b"+"), line
    c.send(text("c") + b"\r\n")
    assert answers(c, "c")[-1][1] == "OK"
    assert list(subjects(c, folder).values()) == list("abc")


def test_the_selected_mailbox_hears_of_them(imap, folder):
    c = imap()
    c.ok("SELECT " + folder)
    c.send(b"".join(append(t, folder, text(t)) for t in "abcd") + b"n NOOP\r\n")
    told, line = [], b""
    while not line.startswith(b"n "):
        line = c.line()
        if line.endswith(b" EXISTS"):
            told.append(int(line.split()[1]))
    assert told[-1] == 4 and told == sorted(told)
    assert c.ok("FETCH 4 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")


def test_a_client_that_closes_behind_them_has_stored_them(imap, folder):
    c, other = imap(), imap()
    c.send(b"".join(append(t, folder, text(t)) for t in "abc") + b"z LOGOUT\r\n")
    assert [(tag, status) for tag, status, _ in answers(c, "z")] == [("a", "OK"), ("b", "OK"), ("c", "OK"), ("z", "OK")]
    assert list(subjects(other, folder).values()) == list("abc")


def test_the_quota_takes_those_for_which_there_is_room(imap, suite):
    bob = "bob@example.com"
    c = imap(login=bob)
    c.ok("CREATE room")
    suite.tool("postern", "user", "quota", bob, "1G,3")
    try:
        c = imap(login=bob)
        total = sum(int(re.search(rb"MESSAGES (\d+)", line).group(1)) for line in c.ok('LIST "" "*" RETURN (STATUS (MESSAGES))') if b"STATUS" in line)
        room = max(0, 3 - total)
        c.send(b"".join(append("q%d" % k, "room", text("q%d" % k)) for k in range(6)))
        got = answers(c, "q5")
        assert [status for _, status, _ in got] == ["OK"] * room + ["NO"] * (6 - room)
        assert all("OVERQUOTA" in line for _, status, line in got if status == "NO")
        assert list(subjects(c, "room").values()) == ["q%d" % k for k in range(room)]
        c.ok("CLOSE")
        c.ok("DELETE room")
    finally:
        suite.tool("postern", "user", "quota", bob, "none")
