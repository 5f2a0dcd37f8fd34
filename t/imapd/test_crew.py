"""A folder that nobody has looked at is read by several threads where the machine has several processors (store/ahead.h), and by one where it has not: the same answers.
lib/store/test_ahead.c has files that vanish or change meanwhile, and other sizes of crews."""
import os
import pathlib
import subprocess
import time

import pytest

from imapraw import Imap

COUNT = 400
FOLDER = "seen-by-nobody"
COMMANDS = ("SEARCH SUBJECT third", "SEARCH NOT FROM person3 SENTSINCE 10-Jan-2024", "SEARCH UNSEEN BODY needle7", "SEARCH OR SUBJECT fifth TEXT needle11", "SEARCH HEADER X-Odd 1",
            "FETCH 1:* (UID INTERNALDATE RFC822.SIZE BODYSTRUCTURE)", "FETCH 1:* (UID ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT REFERENCES)])", "SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL", "FETCH 200:300 (ENVELOPE BODY)")


def message(n):
    words = ("first", "second", "third", "fourth", "fifth", "=?iso-8859-1?Q?s=E9chs?=")
    head = "Date: Mon, %d Jan 2024 10:00:%02d +0100\r\nFrom: Person <person%d@example.org>\r\nTo: a@b\r\nSubject: %s %d\r\nMessage-ID: <crew%d@x>\r\n" % (
        1 + n % 28, n % 60, n % 7, words[n % 6], n // 6, n)
    if n:
        head += "References: <crew%d@x>\r\n" % (n // 3)
    if n % 5 == 0:
        head += "X-Odd: %d\r\n" % (n % 2)
    if n % 4:
        return (head + "\r\nneedle%d in hay\r\n" % (n % 13)).encode() + (b"hay " * 20 + b"\r\n") * (2500 if n % 50 == 1 else 3)
    return (head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nneedle%d\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n" % (
        n % 13)).encode()


def fill(suite, user):
    c = Imap(suite, login=user)
    c.cmd("DELETE " + FOLDER)
    c.ok("CREATE " + FOLDER)
    for first in range(0, COUNT, 100):
        parts = b""
        for n in range(first, first + 100):
            parts += b' %s"01-Feb-2024 10:%02d:%02d +0000" {%d+}\r\n' % (b"(\\Seen) " if n % 3 else b"", n // 60, n % 60, len(message(n))) + message(n)
        c.n += 1
        c.send(b"f%d APPEND %s" % (c.n, FOLDER.encode()) + parts + b"\r\n")
        while not c.line().startswith(b"f%d OK" % c.n):
            pass
    c.close()


def session(user):
    pids = subprocess.run(["pgrep", "-f", "^imapd: session " + user], stdout=subprocess.PIPE).stdout.split()
    return [int(p) for p in pids]


def forget(suite, user):
    """The session has ended, and so has all that it computed."""
    end = time.monotonic() + 60
    while session(user):
        assert time.monotonic() < end, "the session does not end"
        time.sleep(0.1)
    box = next(pathlib.Path(suite.state).glob("mail/%s/Maildir/.%s" % (user, FOLDER)))
    for pattern in ("postern.cache*", "postern.search*", "postern.keys*"):
        for f in box.glob(pattern):
            f.unlink()


def tasks(pid):
    return {t.name: (t / "status").read_text() for t in pathlib.Path("/proc/%d/task" % pid).iterdir()}


def look(suite, user, cpus):
    """Answers to all commands, and what /proc said of each thread that was there after one."""
    fill(suite, user)
    forget(suite, user)
    c = Imap(suite, login=user)
    pid, = session(user)
    os.sched_setaffinity(pid, cpus)
    seen = {}
    c.ok("SELECT " + FOLDER)
    answers = []
    for command in COMMANDS:
        answers.append((command, c.ok(command)))
        seen.update(tasks(pid))
    c.ok("CLOSE")
    c.ok("DELETE " + FOLDER)
    c.close()
    return answers, seen


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_threads_find_what_one_finds(suite):
    cpus = os.sched_getaffinity(0)
    many, seen_many = look(suite, "alice@example.com", cpus)
    one, seen_one = look(suite, "bob@example.com", {min(cpus)})
    assert len(seen_one) == 1 and len(seen_many) > 1, (len(seen_one), len(seen_many))
    assert len(many[0][1]) == 1 and b" 3 " in many[0][1][0]
    for (command, a), (_, b) in zip(many, one):
        assert a == b, command
    for text in seen_many.values():     # threads are behind the same walls
        status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1" and int(status["CapEff"], 16) == 0
