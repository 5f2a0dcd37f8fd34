"""A disk that is full in the middle of an APPEND, folders and messages that cannot be read or have gone, headers without end: what is told, what stays, what goes on."""
import os
import random
import re
import smtplib
import threading
import time

import pytest

import powercut
from imapmessages import SIMPLE, numbered
from imapraw import Imap

ALICE, BOB = "alice@example.com", "bob@example.com"


# --- a full disk ---

def fill_up(disk, left):
    """Not a byte is free, then so many are."""
    ballast = disk.at / "ballast"
    with open(ballast, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                pass
        size = f.tell()
        os.fsync(f.fileno())
    os.truncate(ballast, size - left)
    return ballast


def bodies(c):
    """{UID: message}"""
    c.ok("SELECT INBOX")
    found = (re.match(rb"\* \d+ FETCH \(UID (\d+) BODY\[\] \{\d+\}\r\n(.*)\)$", line, re.S) for line in c.ok("UID FETCH 1:* (BODY.PEEK[])"))
    return {int(m.group(1)): m.group(2) for m in found if m}


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_full_disk(fresh_suite, kind):
    """What was answered with OK is there, under its UID; NO is told for the rest, and the connection goes on; mail that comes waits in the queue; with room, all is well."""
    disk, = powercut.disks("full-" + kind, kind)
    suite = fresh_suite("full", start=False, users=(), settings={"virtual_mail_directory": disk.at / "mail", "filter_enable": "no", "minimal_backoff_time": "1h"})
    try:
        suite.passwords[ALICE] = "secret"
        suite.user_add(ALICE, "secret")
        suite.start()
        c, stored = Imap(suite, login=ALICE), {}

        def append(message):
            c.send(b"f APPEND INBOX {%d+}\r\n%s\r\n" % (len(message), message))
            status, line, _ = c.finish("f")
            if status == "OK":
                stored[int(re.search(r"APPENDUID \d+ (\d+)", line).group(1))] = message
            return status, line
        for n in range(3):
            assert append(numbered(n))[0] == "OK"
        ballast = fill_up(disk, 600 << 10)
        refused = []
        for n in range(40):
            status, line = append(numbered(100 + n, 100000 if n % 2 else 500))
            if status != "OK":
                refused.append(line)
        assert refused and all(line.startswith("NO [") for line in refused), refused
        status, line = append(numbered(200, 5000000))
        assert status == "NO", line
        # a change of flags and an expunge are done, or are told not to be
        c.ok("SELECT INBOX")
        for command in ("STORE 1 +FLAGS.SILENT (\\Flagged)", "COPY 1:2 INBOX", "STORE 2 +FLAGS.SILENT (\\Deleted)"):
            assert c.cmd(command)[0] in ("OK", "NO")
        with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
            s.sendmail("x@elsewhere.example", [ALICE], b"Subject: waits\r\n\r\n" + b"y" * 70 * 1000 + b"\r\n")
        assert suite.logged(r"to=<alice@example\.com>, .*dsn=4\.\d\.\d, status=deferred")
        c.close()
        ballast.unlink()
        c = Imap(suite, login=ALICE)
        got = bodies(c)
        assert {uid: got.get(uid) for uid in stored} == stored
        assert append(numbered(300))[0] == "OK" and max(stored) > max(got)
        suite.tool("postern-queue", "flush")
        end = time.monotonic() + 30
        while not any(b"Subject: waits" in m for m in bodies(c).values()):
            assert time.monotonic() < end, suite.trouble()
            time.sleep(0.1)
        c.close()
        suite.stop()
        suite.start()
        c = Imap(suite, login=ALICE)
        got = bodies(c)
        assert {uid: got.get(uid) for uid in stored} == stored
        assert len([m for m in got.values() if b"Subject: waits" in m]) == 1
        assert all(m in stored.values() or b"Subject: waits" in m for m in got.values()), "something half-written is shown"
        assert suite.tool("postern-mailbox", "-q", "check", ALICE, check=False).returncode == 0
        c.close()
    finally:
        if suite.pid() is not None:
            suite.stop()
        disk.unmount()


# --- what cannot be read, or has gone ---

def test_a_folder_that_cannot_be_read(imap, folder, suite):
    """It is told so; the other folders, and the connection, go on; with its rights back it is as it was."""
    c = imap()
    c.append(folder, SIMPLE)
    cur = suite.maildir(ALICE) / ("." + folder) / "cur"
    other = imap()
    other.ok("SELECT INBOX")
    os.chmod(cur, 0)
    try:
        c.cmd("SELECT " + folder)
        status, line, _ = c.cmd("FETCH 1 BODY.PEEK[]")
        assert status in ("NO", "BAD"), line
        assert other.ok("NOOP") is not None
        assert any(folder.encode() in line for line in c.ok('LIST "" *'))
        c.ok("SELECT INBOX")
    finally:
        os.chmod(cur, 0o700)
    c.ok("SELECT " + folder)
    assert c.fetch1("1 BODY.PEEK[]", "BODY[]") == SIMPLE


def test_messages_that_cannot_be_read_or_have_gone(imap, folder, suite):
    """The others are told of, in the same answer; one that has gone is expunged at the next moment when that may be told."""
    c = imap()
    for n in range(1, 6):
        c.append(folder, numbered(n))
    c.ok("SELECT " + folder)
    cur = suite.maildir(ALICE) / ("." + folder) / "cur"
    by_subject = {int(re.search(rb"message (\d+)", f.read_bytes()).group(1)): f for f in cur.iterdir()}
    os.chmod(by_subject[2], 0)
    by_subject[4].unlink()
    status, line, lines = c.cmd("FETCH 1:* (BODY.PEEK[])")
    told = [int(line.split()[1]) for line in lines if b"BODY[] {" in line and b"message" in line]
    assert {1, 3, 5} <= set(told) and not {2, 4} & set(told), (status, line, lines)
    os.chmod(by_subject[2], 0o600)
    end = time.monotonic() + 30
    while b"MESSAGES 4" not in c.ok("STATUS %s (MESSAGES)" % folder)[0]:
        assert time.monotonic() < end
        c.ok("NOOP")
    d = imap()
    d.ok("SELECT " + folder)
    subjects = [int(m) for line in d.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") for m in re.findall(rb"message (\d+)", line)]
    assert subjects == [1, 2, 3, 5]


@pytest.mark.parametrize("head", [b"Subject: " + b"a " * (5 << 20), b"X-Long: " + b"y" * (10 << 20), b"".join(b"X-%d: y\n" % n for n in range(800000))],
                         ids=["a long subject", "one long field", "many fields"])
def test_headers_without_end(imap, folder, suite, head):
    """10 MB of them: all that is asked of such a message is answered, and of the one beside it too; the process does not grow without bound."""
    c = imap()
    root = suite.maildir(ALICE) / ("." + folder)
    owner, text = (root / "cur").stat(), head.rstrip(b"\n") + b"\nFrom: ann@example.com\n\nsomewhere in the body\n"
    f = root / "cur" / "1700000000.M1P1.h:2,"
    f.write_bytes(text)
    os.chown(f, owner.st_uid, owner.st_gid)
    c.append(folder, SIMPLE)
    c.ok("SELECT " + folder)
    pid = [p[0] for p in suite.processes() if p[3].startswith("imapd: session " + ALICE)][0]
    for command in ("FETCH 1:2 (UID ENVELOPE BODYSTRUCTURE PREVIEW)", "SEARCH SUBJECT simple", "SEARCH BODY \"in the body\"", "SEARCH HEADER X-None \"\"", "SORT (SUBJECT DATE) UTF-8 ALL",
                    "THREAD REFERENCES UTF-8 ALL", "FETCH 2 BODY.PEEK[HEADER.FIELDS (From)]"):
        c.ok(command)
    numbers = [line for line in c.ok("FETCH 1:2 (RFC822.SIZE)")]
    assert len(numbers) == 2 and b"* SEARCH" in c.ok("SEARCH SUBJECT simple")[-1]
    assert c.fetch1("2 BODY.PEEK[TEXT]", "BODY[TEXT]") == b"somewhere in the body\r\n"
    peak = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/%d/status" % pid).read()).group(1))
    assert peak < 200 << 10, "%d KB" % peak


# --- everybody at once ---

def test_delivery_sessions_and_another_program_at_once(fresh_suite):
    """Mail comes, two sessions set flags and move, and a program that knows nothing of us takes files from new to cur and renames them, as mail readers of a maildir
    do: every message is there once and has the flags that nobody took away, no UID is given twice, and what the index says is what the files are."""
    suite = fresh_suite("at-once", users=(BOB,), settings={"filter_enable": "no"})
    imap = [Imap(suite, login=BOB) for _ in range(3)]
    imap[0].ok("CREATE Kept")
    root, over, sent, failed, marked = suite.maildir(BOB), threading.Event(), [], [], set()

    def deliver(n):
        for k in range(60):
            mid = "<once-%d-%d@test.example>" % (n, k)
            with smtplib.SMTP(suite.host, suite.port("SMTP"), timeout=60) as s:
                s.sendmail("x@elsewhere.example", [BOB], "Subject: once\r\nMessage-ID: %s\r\n\r\nx\r\n" % mid)
            sent.append(mid)

    def session(c, r):
        c.ok("SELECT INBOX")
        while not over.is_set():
            uids = [u for line in c.ok("UID SEARCH ALL") if line.startswith(b"* SEARCH") for u in line.split()[2:]]
            if uids:
                some = b",".join(r.sample(uids, min(len(uids), 3))).decode()
                c.cmd(r.choice(["UID STORE %s +FLAGS (\\Seen $Key)", "UID STORE %s -FLAGS (\\Flagged)", "UID MOVE %s Kept", "UID FETCH %s (FLAGS ENVELOPE)"]) % some)
                if r.random() < 0.3:
                    c.cmd("UID STORE %s +FLAGS.SILENT (\\Draft)" % some)
                    lines = b"".join(c.ok("UID FETCH %s (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])" % some))
                    marked.update(m.group(1).decode() for m in re.finditer(rb"FLAGS \([^)]*Draft[^)]*\)[^<]*(<once-[^>]*>)", lines))
            c.ok("NOOP")

    def reader(r):
        """Another program: as the user, by names alone."""
        while not over.is_set():
            for f in list((root / "new").iterdir()):
                try:
                    os.rename(f, root / "cur" / (f.name + ":2,"))
                except FileNotFoundError:
                    pass
            there = list((root / "cur").iterdir())
            for f in r.sample(there, min(len(there), 3)):
                base, _, flags = f.name.partition(":2,")
                try:
                    os.rename(f, root / "cur" / (base + ":2," + "".join(sorted(set(flags) ^ {"R"}))))
                except FileNotFoundError:
                    pass

    def run(what, *args):
        try:
            what(*args)
        except Exception as e:     # noqa: BLE001
            failed.append((what.__name__, repr(e)))
            over.set()
    threads = [threading.Thread(target=run, args=(deliver, n)) for n in range(3)]
    others = [threading.Thread(target=run, args=(session, imap[n], random.Random(n))) for n in (1, 2)] + [threading.Thread(target=run, args=(reader, random.Random(9)))]
    for t in threads + others:
        t.start()
    for t in threads:
        t.join()
    over.set()
    for t in others:
        t.join()
    assert not failed, failed
    c, found, uids, unmarked = imap[0], [], {}, set()
    for name in ("INBOX", "Kept"):
        c.ok("SELECT " + name)
        for line in c.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"):
            m = re.search(rb"UID (\d+) .*Message-ID: (<once-\S+>)", line, re.S)
            if m and b"\\Draft" not in line:
                unmarked.add(m.group(2).decode())
            if m:
                found.append(m.group(2).decode())
                uids.setdefault(name, []).append(int(m.group(1)))
    twice = {mid for mid in found if found.count(mid) > 1}
    assert not twice, [(mid, [str(f.relative_to(root)) for f in sorted(root.rglob("*")) if f.is_file() and "postern" not in f.name and mid.encode() in f.read_bytes()],
                        [line for line in suite.log.read_text().splitlines() if "mailbox" in line][-5:]) for mid in twice]
    assert sorted(found) == sorted(sent)
    assert marked and not marked & unmarked
    assert all(len(set(u)) == len(u) for u in uids.values()) and "Kept" in uids
    for c in imap:
        c.close()
    assert suite.tool("postern-mailbox", "-q", "check", BOB, check=False).stdout == b""
